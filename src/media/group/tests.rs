//! One thing at a time: what was said, then exactly what came of it.

use confgate_sfu::vocabulary::{Command, EndpointId, Notice, Reason, Refusal};

use super::room::Space;
use super::*;
use crate::event::Role;
use crate::ids::{ConfId, UserId};
use crate::media::message::Candidate;

const T0: u64 = 1_000_000;

fn limits() -> Limits {
    Limits { rooms: 3, members: 3, streams: 3, join_ms: 5000, messages_per_minute: 200, open: true }
}

pub(super) fn claims(room: &str, name: &str, issued_ms: u64, nonce: &str) -> Shown {
    let (room, name) = (ConfId::parse(room).unwrap(), UserId::parse(name).unwrap());
    let mut claims = CallGatewayClaims::new("n1", room, name, Role::Guest, std::time::Duration::from_secs(60));
    (claims.issued_ms, claims.nonce) = (issued_ms, nonce.to_owned());
    Shown::Claims(Box::new(claims))
}

struct Node {
    group: Group,
    now: u64,
}

impl Node {
    fn new() -> Self {
        Self { group: Group::new(limits()), now: T0 }
    }

    fn take(&mut self, input: Input) -> Vec<Output> {
        self.group.handle(self.now, input)
    }

    fn say(&mut self, socket: u64, message: &str) -> Vec<Output> {
        self.take(Input::Said(SocketId(socket), Message::read(message), Shown::Nothing))
    }

    fn join_with(&mut self, socket: u64, room: &str, name: &str, shown: Shown) -> Vec<Output> {
        self.take(Input::Opened(SocketId(socket), Shown::Nothing));
        let message = Message::JoinRoom { room: room.into(), name: name.into(), token: None };
        self.take(Input::Said(SocketId(socket), Ok(message), shown))
    }

    /// By a token that was issued now.
    fn join(&mut self, socket: u64, room: &str, name: &str) -> Vec<Output> {
        let shown = claims(room, name, self.now, &format!("nonce{socket}"));
        self.join_with(socket, room, name, shown)
    }

    fn offer(&mut self, socket: u64, sender: &str) -> Vec<Output> {
        self.say(socket, &format!(r#"{{"id":"receiveVideoFrom","sender":"{sender}","sdpOffer":"o"}}"#))
    }

    fn candidate(&mut self, socket: u64, name: &str, text: &str) -> Vec<Output> {
        self.say(socket, &format!(r#"{{"id":"onIceCandidate","name":"{name}","candidate":{{"candidate":"{text}"}}}}"#))
    }

    fn notice(&mut self, notice: Notice) -> Vec<Output> {
        self.take(Input::Notice(notice))
    }

    fn answer(&mut self, endpoint: u64) -> Vec<Output> {
        self.notice(Notice::Answer { endpoint: EndpointId(endpoint), answer: "a".into() })
    }

    fn order(&mut self, order: ToNode) -> Vec<Output> {
        self.take(Input::Control(order))
    }
}

fn conf(text: &str) -> ConfId {
    ConfId::parse(text).unwrap()
}

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn arrived(socket: u64, name: &str) -> Output {
    Output::Send(SocketId(socket), Reply::NewParticipantArrived { name: name.into() })
}

fn left(socket: u64, name: &str) -> Output {
    Output::Send(SocketId(socket), Reply::ParticipantLeft { name: name.into() })
}

fn existing(socket: u64, names: &[&str]) -> Output {
    let data = names.iter().map(|name| (*name).to_owned()).collect();
    Output::Send(SocketId(socket), Reply::ExistingParticipants { data })
}

fn close(socket: u64, why: Close) -> Output {
    Output::Close(SocketId(socket), why)
}

fn ended(endpoint: u64) -> Output {
    Output::Media(Command::Close { endpoint: EndpointId(endpoint) })
}

fn room_closed(room: &str) -> Output {
    Output::Media(Command::CloseRoom { room: room.into() })
}

/// The errors' codes and streams, and everything else as it is.
fn errors(outputs: &[Output]) -> Vec<(u64, Code, Option<String>)> {
    let error = |output: &Output| match output {
        Output::Send(socket, Reply::Error { code, name, .. }) => Some((socket.0, *code, name.clone())),
        _ => None,
    };
    outputs.iter().filter_map(error).collect()
}

fn answered(socket: u64, name: &str) -> Output {
    Output::Send(SocketId(socket), Reply::ReceiveVideoAnswer { name: name.into(), sdp_answer: "a".into() })
}

#[test]
fn the_others_hear_of_a_newcomer_before_the_newcomer_hears_of_them() {
    let mut node = Node::new();
    assert_eq!(node.join(1, "c", "anna"), [existing(1, &[])]);
    assert_eq!(node.join(2, "c", "ben"), [arrived(1, "ben"), existing(2, &["anna"])]);
    assert_eq!(node.join(3, "c", "carl"), [arrived(1, "carl"), arrived(2, "carl"), existing(3, &["anna", "ben"])]);
    assert_eq!(node.say(2, r#"{"id":"leaveRoom"}"#), [left(1, "ben"), left(3, "ben")]);
    assert_eq!(node.take(Input::Closed(SocketId(2))), []);
    assert_eq!(node.take(Input::Closed(SocketId(1))), [left(3, "anna")]);
    assert_eq!(node.take(Input::Closed(SocketId(3))), [room_closed("conf/c")]);
    assert_eq!(node.group.census(), Census::default());
}

#[test]
fn two_rooms_have_an_anna_each() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    assert_eq!(node.join(2, "d", "anna"), [existing(2, &[])]);
    assert_eq!(node.group.census(), Census { sockets: 2, rooms: 2, members: 2 });
}

#[test]
fn a_socket_that_never_joined_ends_without_a_trace() {
    let mut node = Node::new();
    node.take(Input::Opened(SocketId(1), Shown::Nothing));
    for text in [r#"{"id":"leaveRoom"}"#, r#"{"id":"cancelVideoFrom","sender":"x"}"#, r#"{"id":"other"}"#] {
        assert_eq!(node.say(1, text), []);
    }
    assert_eq!(errors(&node.offer(1, "x")), [(1, Code::BadMessage, Some("x".into()))]);
    assert_eq!(node.candidate(1, "x", "c"), []);
    assert_eq!(node.take(Input::Closed(SocketId(1))), []);
    assert_eq!(node.group.census(), Census::default());
}

#[test]
fn an_own_offer_publishes_and_any_other_subscribes() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    let (room, stream) = ("conf/c".into(), Space::Conference.stream("anna"));
    let publish = Command::Publish { room, endpoint: EndpointId(0), stream, offer: "o".into() };
    assert_eq!(node.offer(1, "anna"), [Output::Media(publish)]);
    let (room, stream) = ("conf/c".into(), Space::Conference.stream("anna"));
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
    assert_eq!(node.say(2, null), [Output::Media(candidate(""))]);

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
    assert_eq!(of_media(&node.offer(1, "anna")), 1 + streams::CANDIDATES);
    assert_eq!(of_media(&node.candidate(1, "anna", "x")), 0);
}

#[test]
fn cancelling_ends_one_connection_and_nothing_else() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    let cancel = |name: &str| format!(r#"{{"id":"cancelVideoFrom","sender":"{name}"}}"#);
    assert_eq!(node.say(2, &cancel("anna")), [], "never subscribed: nothing to end");
    node.offer(2, "anna");
    assert_eq!(node.say(2, &cancel("anna")), [ended(0)]);
    node.offer(1, "anna");
    assert_eq!(node.say(1, &cancel("anna")), [ended(1)], "nobody has left");
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
    assert_eq!(node.say(1, cancel), [ended(2), left(2, "anna/screen"), ended(3), left(3, "anna/screen")]);
    node.offer(1, "anna/screen");
    node.answer(4);
    let gone = node.take(Input::Closed(SocketId(1)));
    assert_eq!(gone, [ended(4), left(2, "anna/screen"), left(3, "anna/screen"), left(2, "anna"), left(3, "anna")]);
}

#[test]
fn a_token_admits_to_its_own_room_under_its_own_name() {
    let mut node = Node::new();
    let refused = |outputs: Vec<Output>| {
        assert_eq!(errors(&outputs).len(), 1);
        assert!(matches!(outputs[..], [_, Output::Close(_, Close::Unauthorized)]), "{outputs:?}");
    };
    refused(node.join_with(1, "other", "anna", claims("c", "anna", T0, "n")));
    refused(node.join_with(2, "c", "ben", claims("c", "anna", T0, "n")));
    refused(node.join_with(3, "c", "anna", Shown::Refused));
    assert_eq!(node.join_with(4, "c", "anna", claims("c", "anna", T0, "n")), [existing(4, &[])]);
    refused(node.join_with(5, "c", "anna", claims("c", "anna", T0, "n")));
    node.take(Input::Closed(SocketId(4)));
    assert_eq!(node.join_with(6, "c", "anna", claims("c", "anna", T0, "n")), [existing(6, &[])], "its socket is gone");
}

#[test]
fn a_second_join_on_a_socket_changes_nothing() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    let again = r#"{"id":"joinRoom","room":"c","name":"anna"}"#;
    assert_eq!(errors(&node.say(1, again)), [(1, Code::BadMessage, None)]);
    assert_eq!(node.group.census(), Census { sockets: 1, rooms: 1, members: 1 });
}

#[test]
fn the_same_user_from_another_socket_takes_over() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    node.offer(1, "anna");
    let taken = node.join(3, "c", "anna");
    assert_eq!(errors(&taken), [(1, Code::Replaced, None)]);
    let rest = [close(1, Close::TakenOver), ended(0), left(2, "anna"), arrived(2, "anna"), existing(3, &["ben"])];
    assert_eq!(taken[1..], rest);
    assert_eq!(node.take(Input::Closed(SocketId(1))), [], "its end removes nobody");
}

#[test]
fn open_rooms_and_conferences_share_nothing() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    assert_eq!(node.join_with(2, "c", "Ben Müller/screen", Shown::Nothing), [existing(2, &[])]);
    node.offer(2, "Ben Müller/screen");
    assert_eq!(node.answer(0), [answered(2, "Ben Müller/screen")], "a name like any other: nothing is announced");
    let order = ToNode::CloseRoom { room: conf("c") };
    assert!(node.order(order).iter().all(|o| !matches!(o, Output::Close(SocketId(2), _))));
    let mut closed = Node { group: Group::new(Limits { open: false, ..limits() }), now: T0 };
    assert_eq!(errors(&closed.join_with(1, "c", "Ben", Shown::Nothing)), [(1, Code::Unauthorized, None)]);
}

#[test]
fn rooms_members_and_streams_are_bounded() {
    let mut node = Node::new();
    for (socket, name) in [(1, "a"), (2, "b"), (3, "c")] {
        node.join(socket, "r1", name);
    }
    let full = node.join(4, "r1", "d");
    assert_eq!((errors(&full), &full[1]), (vec![(4, Code::Overloaded, None)], &close(4, Close::Later)));
    assert_eq!(errors(&node.join(5, "r1", "a")), [(1, Code::Replaced, None)], "taking over needs no more room");
    node.join(6, "r2", "a");
    node.join(7, "r3", "a");
    assert_eq!(errors(&node.join(8, "r4", "a")), [(8, Code::Overloaded, None)]);
    for name in ["a", "b", "c"] {
        assert_eq!(errors(&node.offer(5, name)), []);
    }
    assert_eq!(errors(&node.offer(5, "a/screen")), [(5, Code::TooMany, Some("a/screen".into()))]);
}

#[test]
fn a_flood_ends_its_socket_and_no_other() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    let mut last = Vec::new();
    for _ in 0..10_000 {
        let outputs = node.say(1, "garbage");
        if !outputs.is_empty() {
            last = outputs;
        }
    }
    assert_eq!(errors(&last), [(1, Code::TooMany, None)]);
    assert_eq!(last[1..], [close(1, Close::TooMany), left(2, "anna")]);
    assert_eq!(errors(&node.say(2, "garbage")), [(2, Code::BadMessage, None)]);
}

#[test]
fn a_socket_that_joins_nowhere_is_ended_in_time_unless_a_person_may_be_typing() {
    let mut node = Node::new();
    node.take(Input::Opened(SocketId(1), claims("c", "anna", T0, "n")));
    node.take(Input::Opened(SocketId(2), Shown::Nothing));
    node.now += 4999;
    assert_eq!(node.take(Input::Tick), []);
    node.now += 1;
    assert_eq!(node.take(Input::Tick)[1..], [close(1, Close::Unauthorized)]);
    assert_eq!(node.group.census().sockets, 1);
}

#[test]
fn what_is_forwarded_is_told_and_outlives_the_members_absence() {
    let mut node = Node::new();
    let permit = |audio| ToNode::Permit { room: conf("c"), name: user("anna"), audio, video: true };
    assert_eq!(node.order(permit(false)), [], "before she is here");
    let enforce = |audio| Output::Send(SocketId(1), Reply::Enforce { audio, video: true });
    assert_eq!(node.join(1, "c", "anna"), [existing(1, &[]), enforce(false)]);
    let to_media =
        |audio| Output::Media(Command::Permit { room: "conf/c".into(), member: "anna".into(), audio, video: true });
    assert_eq!(node.offer(1, "anna")[0], to_media(false), "before anything can flow");
    assert_eq!(node.order(permit(false)), [], "repeated");
    assert_eq!(node.order(permit(true)), [to_media(true), enforce(true)]);
}

#[test]
fn the_expelled_stay_out_until_a_later_token() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    let expel = ToNode::Expel { room: conf("c"), name: user("anna"), issued_until: T0 };
    let expelled = node.order(expel.clone());
    assert_eq!(errors(&expelled), [(1, Code::Expelled, None)]);
    assert_eq!(expelled[1..], [close(1, Close::Kicked), left(2, "anna")]);
    let again = node.join_with(3, "c", "anna", claims("c", "anna", T0, "other"));
    assert_eq!((errors(&again), &again[1]), (vec![(3, Code::Expelled, None)], &close(3, Close::Kicked)));
    assert_eq!(node.join_with(4, "c", "anna", claims("c", "anna", T0 + 1, "n")).len(), 2);
    assert_eq!(node.order(expel), [], "repeated, but she was let in again since");
}

#[test]
fn a_moved_rooms_members_are_told_and_old_tokens_turned_away() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    let moved = |socket| Output::Send(SocketId(socket), Reply::Moved { url: "wss://n2/x".into() });
    let order = ToNode::Move { room: conf("c"), url: "wss://n2/x".into() };
    assert_eq!(node.order(order), [moved(1)]);
    assert_eq!(node.join(2, "c", "ben"), [moved(2), close(2, Close::GoingAway)]);
    node.now += 1;
    assert_eq!(node.join(3, "c", "ben"), [arrived(1, "ben"), existing(3, &["anna"])], "moved back here");
}

#[test]
fn a_conference_that_is_over_ends_its_sockets_and_its_tokens() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    let over = node.order(ToNode::CloseRoom { room: conf("c") });
    assert_eq!(errors(&over), [(1, Code::Ended, None), (2, Code::Ended, None)]);
    assert!(over.contains(&close(1, Close::Over)) && over.contains(&close(2, Close::Over)));
    assert_eq!(over.last(), Some(&room_closed("conf/c")));
    assert_eq!(node.group.census(), Census::default());
    assert_eq!(errors(&node.join(3, "c", "carl")), [(3, Code::Ended, None)]);
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
fn while_draining_no_room_begins_and_the_stop_ends_all() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.take(Input::Drain);
    assert_eq!(node.join(2, "c", "ben").len(), 2);
    let refused = node.join(3, "d", "carl");
    assert_eq!((errors(&refused), &refused[1]), (vec![(3, Code::Unavailable, None)], &close(3, Close::GoingAway)));
    let stopped = node.take(Input::Stop);
    assert!(stopped.contains(&close(1, Close::GoingAway)) && stopped.contains(&close(2, Close::GoingAway)));
    assert_eq!(node.group.census(), Census::default());
}

#[test]
fn the_size_at_which_a_stream_is_shown_reaches_its_connection() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    let view = r#"{"id":"view","sender":"anna","width":320,"height":180}"#;
    assert_eq!(node.say(2, view), [], "not shown yet");
    node.offer(2, "anna");
    let command = Command::View { endpoint: EndpointId(0), width: 320, height: 180 };
    assert_eq!(node.say(2, view), [Output::Media(command)]);
}
