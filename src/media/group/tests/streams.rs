//! Offers, answers, candidates and what is announced of them.

use confgate_sfu::protocol::{Command, EndpointId, Notice, Reason, Refusal};

use super::*;
use crate::media::message::Candidate;

#[test]
fn an_own_offer_publishes_and_any_other_subscribes() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    let (room, stream) = ("conf/c".into(), RoomNamespace::Conference.stream("anna"));
    let publish = Command::Publish { room, endpoint: EndpointId(0), stream, offer: "o".into() };
    assert_eq!(node.offer(1, "anna"), [Output::Media(publish)]);
    let (room, stream) = ("conf/c".into(), RoomNamespace::Conference.stream("anna"));
    let subscribe =
        Command::Subscribe { room, endpoint: EndpointId(1), viewer: "ben".into(), stream, offer: "o".into() };
    assert_eq!(node.offer(2, "anna"), [Output::Media(subscribe)]);
    assert_eq!(node.answer(1), [answered(2, "anna")]);
    assert_eq!(node.answer(1), [], "never twice");
    assert_eq!(errors(&node.offer(2, "nobody")), [(2, Code::BadMessage, Some("nobody".into()))]);
    assert_eq!(errors(&node.offer(2, "anna/screen")), [(2, Code::BadMessage, Some("anna/screen".into()))]);
}

#[test]
fn a_new_offer_takes_the_place_of_the_connection_before() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.offer(1, "anna");
    assert_eq!(node.offer(1, "anna")[0], ended(0));
    assert_eq!(node.answer(0), [], "the answer to an offer that was replaced is nobody's");
    assert_eq!(node.answer(1), [answered(1, "anna")]);
    let replaced = Notice::Closed { endpoint: EndpointId(0), reason: Reason::Replaced };
    assert_eq!(node.notice(replaced), []);
    assert_eq!(node.take(Input::Closed(SocketId(1))), [ended(1), room_closed("conf/c")]);
}

#[test]
fn candidates_wait_for_their_offer_and_the_nodes_for_its_answer() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    assert_eq!(node.candidate(2, "anna", "early"), []);
    let offered = node.offer(2, "anna");
    let candidate = |text: &str| Command::Candidate { endpoint: EndpointId(0), candidate: text.into() };
    assert_eq!(offered[1..], [Output::Media(candidate("early"))]);
    assert_eq!(node.candidate(2, "anna", "late"), [Output::Media(candidate("late"))]);
    let null = r#"{"id":"onIceCandidate","name":"anna","candidate":null}"#;
    assert_eq!(node.send(2, null), [Output::Media(candidate(""))]);

    let endpoint = EndpointId(0);
    let from_node = Notice::Candidate { endpoint, candidate: "n".into(), mid: "0".into(), mline: 0 };
    let wire = Candidate { candidate: "n".into(), sdp_mid: Some("0".into()), sdp_mline_index: Some(0) };
    let sent = Output::Send(SocketId(2), Reply::IceCandidate { name: "anna".into(), candidate: wire });
    assert_eq!(node.notice(from_node.clone()), []);
    assert_eq!(node.answer(0), [answered(2, "anna"), sent.clone()]);
    assert_eq!(node.notice(from_node.clone()), [sent]);
    assert_eq!(node.take(Input::Closed(SocketId(1)))[..], [ended(0), left(2, "anna"),]);
    assert_eq!(node.notice(from_node), [], "nothing about a name that has left");
    assert_eq!(node.candidate(2, "anna", "later"), []);
}

#[test]
fn candidates_are_bounded_before_the_offer_and_after() {
    let mut node = Node { group: Group::new(Limits { messages_per_minute: 100_000, ..limits() }), now: T0 };
    node.join(1, "c", "anna");
    for _ in 0..1000 {
        node.candidate(1, "anna", "x");
    }
    let of_media = |outputs: &[Output]| outputs.iter().filter(|o| matches!(o, Output::Media(_))).count();
    assert_eq!(of_media(&node.offer(1, "anna")), 1 + super::super::streams::CANDIDATES);
    assert_eq!(of_media(&node.candidate(1, "anna", "x")), 0);
}

#[test]
fn cancelling_ends_one_connection_and_nothing_else() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    let cancel = |name: &str| format!(r#"{{"id":"cancelVideoFrom","sender":"{name}"}}"#);
    assert_eq!(node.send(2, &cancel("anna")), [], "never subscribed: nothing to end");
    node.offer(2, "anna");
    assert_eq!(node.send(2, &cancel("anna")), [ended(0)]);
    node.offer(1, "anna");
    assert_eq!(node.send(1, &cancel("anna")), [ended(1)], "nobody has left");
}

#[test]
fn a_screen_is_announced_when_it_is_there_and_left_once() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    node.offer(1, "anna/screen");
    let refused = Notice::Refused { endpoint: EndpointId(0), refusal: Refusal::BadSdp };
    assert_eq!(errors(&node.notice(refused)), [(1, Code::BadSdp, Some("anna/screen".into()))]);
    node.offer(1, "anna/screen");
    assert_eq!(node.answer(1), [answered(1, "anna/screen"), arrived(2, "anna/screen")]);
    node.offer(1, "anna/screen");
    assert_eq!(node.answer(2), [answered(1, "anna/screen")], "announced already");
    assert_eq!(node.join(3, "c", "carl")[2..], [existing(3, &["anna", "anna/screen", "ben"])]);
    node.offer(3, "anna/screen");
    let cancel = r#"{"id":"cancelVideoFrom","sender":"anna/screen"}"#;
    assert_eq!(node.send(1, cancel), [ended(2), left(2, "anna/screen"), ended(3), left(3, "anna/screen")]);
    node.offer(1, "anna/screen");
    node.answer(4);
    let gone = node.take(Input::Closed(SocketId(1)));
    assert_eq!(gone, [ended(4), left(2, "anna/screen"), left(3, "anna/screen"), left(2, "anna"), left(3, "anna")]);
}

#[test]
fn the_room_hears_who_speaks_on_change_only() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    let speaks = |name: Option<&str>| Notice::Speaker { room: "conf/c".into(), member: name.map(Into::into) };
    let told =
        |socket, name: Option<&str>| Output::Send(SocketId(socket), Reply::Speaker { name: name.map(str::to_owned) });
    assert_eq!(node.notice(speaks(Some("anna"))), [told(1, Some("anna"))]);
    assert_eq!(node.notice(speaks(Some("anna"))), []);
    assert_eq!(node.join(2, "c", "ben")[2..], [told(2, Some("anna"))]);
    assert_eq!(node.take(Input::Closed(SocketId(1))), [left(2, "anna"), told(2, None)]);
    assert_eq!(node.notice(speaks(Some("anna"))), [], "who has left doesn't speak");
}

#[test]
fn the_size_at_which_a_stream_is_shown_reaches_its_connection() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    let view = r#"{"id":"view","sender":"anna","width":320,"height":180}"#;
    assert_eq!(node.send(2, view), [], "not shown yet");
    node.offer(2, "anna");
    let command = Command::View { endpoint: EndpointId(0), width: 320, height: 180 };
    assert_eq!(node.send(2, view), [Output::Media(command)]);
}

#[test]
fn a_client_that_cannot_be_answered_answers_the_medias_offer() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    node.offer(2, "anna");
    let refused = Notice::Refused { endpoint: EndpointId(0), refusal: Refusal::PayloadTypes };
    assert_eq!(errors(&node.notice(refused)), [(2, Code::PayloadTypes, Some("anna".into()))]);
    let (room, stream) = ("conf/c".into(), RoomNamespace::Conference.stream("anna"));
    let (endpoint, viewer) = (EndpointId(1), "ben".into());
    let asked = Command::Subscribe { room, endpoint, viewer, stream, offer: String::new() };
    assert_eq!(node.send(2, r#"{"id":"receiveVideoFrom","sender":"anna"}"#), [Output::Media(asked)]);
    let offer = || Notice::Offer { endpoint: EndpointId(1), offer: "theirs".into() };
    let offered = Reply::ReceiveVideoOffer { name: "anna".into(), sdp_offer: "theirs".into() };
    assert_eq!(node.notice(offer()), [Output::Send(SocketId(2), offered)]);
    assert_eq!(node.notice(offer()), [], "never twice");
    let answered = Command::Answered { endpoint: EndpointId(1), answer: "ours".into() };
    let answer = |socket, node: &mut Node| {
        node.send(socket, r#"{"id":"receiveVideoAnswer","sender":"anna","sdpAnswer":"ours"}"#)
    };
    assert_eq!(answer(2, &mut node), [Output::Media(answered)]);
    assert_eq!(answer(1, &mut node), [], "of one's own stream there is no offer");
}

#[test]
fn sender_and_viewer_hear_that_they_have_no_codec_in_common_and_keep_their_connections() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    node.offer(1, "anna");
    node.answer(0);
    node.offer(2, "anna");
    node.answer(1);
    let told = node.notice(Notice::NoCommonCodec { viewer: EndpointId(1), publisher: EndpointId(0) });
    let anna = || Some("anna".into());
    assert_eq!(errors(&told), [(2, Code::NoCommonCodec, anna()), (1, Code::NoCommonCodec, anna())]);
    assert_eq!(told.len(), 2, "nothing ends: {told:?}");
}

#[test]
fn a_client_whose_path_or_dtls_handshake_fails_is_told() {
    for (reason, code) in [(Reason::DtlsFailed, Code::DtlsFailed), (Reason::IceFailed, Code::IceFailed)] {
        let mut node = Node::new();
        node.join(1, "c", "anna");
        node.offer(1, "anna");
        node.answer(0);
        let failed = Notice::Closed { endpoint: EndpointId(0), reason };
        assert_eq!(errors(&node.notice(failed)), [(1, code, Some("anna".into()))]);
    }
}
