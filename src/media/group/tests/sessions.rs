//! Sessions over HTTP: who is a member by one, who only watches, and what ends them.

use confgate_sfu::protocol::{Command, EndpointId, Notice, Reason, Refusal};

use super::*;

/// Ben is in the room, obs publishes by a session (connection 0), and its answer was given.
fn publishing() -> Node {
    let mut node = Node::new();
    node.join(1, "c", "ben");
    node.begin(2, "obs", Purpose::Publish);
    node.answer(0);
    node
}

fn watch(stream: Option<&str>) -> Purpose {
    Purpose::Watch(stream.map(str::to_owned))
}

fn subscribes(outputs: &[Output]) -> Option<String> {
    outputs.iter().find_map(|output| match output {
        Output::Media(Command::Subscribe { stream, .. }) => Some(super::super::names::name_of(stream)),
        _ => None,
    })
}

#[test]
fn http_publisher_is_a_member_like_any_other() {
    let mut node = Node::new();
    node.join(1, "c", "ben");
    let outputs = node.begin(2, "obs", Purpose::Publish);
    let (room, stream) = ("conf/c".into(), RoomNamespace::Conference.stream("obs"));
    let publish = Command::Publish { room, endpoint: EndpointId(0), stream, offer: "o".into() };
    assert_eq!(outputs, [existing(2, &["ben"]), Output::Media(publish)]);
    assert_eq!(node.answer(0), [answered(2, "obs"), arrived(1, "obs")]);
    assert_eq!(node.join(3, "c", "carl")[1], arrived(2, "carl"));
    assert_eq!(node.take(Input::Closed(SocketId(2)))[..2], [ended(0), left(1, "obs")]);
}

#[test]
fn refused_http_publisher_is_never_announced() {
    let mut node = Node::new();
    node.join(1, "c", "ben");
    node.begin(2, "obs", Purpose::Publish);
    assert_eq!(node.join(3, "c", "carl")[2], existing(3, &["ben"]), "nor is it listed");
    assert_eq!(errors(&node.offer(1, "obs")), [(1, Code::BadMessage, Some("obs".into()))]);
    let outputs = node.notice(Notice::Refused { endpoint: EndpointId(0), refusal: Refusal::Overloaded });
    assert_eq!(errors(&outputs), [(2, Code::Overloaded, None)]);
    assert_eq!(outputs[1..], [close(2, Close::Later)]);
    assert_eq!(node.group.counts(), RoomCounts { sockets: 2, rooms: 1, members: 2 });
    // The member's browser socket is closed for the session, and is told so.
    let outputs = node.begin(4, "ben", Purpose::Publish);
    assert!(outputs.contains(&left(3, "ben")) && !outputs.contains(&arrived(3, "ben")), "{outputs:?}");
    assert_eq!(node.answer(1), [answered(4, "ben"), arrived(3, "ben")]);
}

#[test]
fn two_browsers_go_straight_until_the_media_has_taken_a_sessions_offer() {
    let mut node = Node::new();
    for (socket, name) in [(1, "anna"), (2, "ben")] {
        node.join_with(socket, "c", name, between_two(claims("c", name, T0, name)));
    }
    let outputs = node.begin(3, "obs", Purpose::Publish);
    let relayed = |outputs: &[Output]| {
        let told = |output: &&Output| matches!(output, Output::Send(_, Reply::Mode { mode: CallMode::Group, .. }));
        outputs.iter().filter(told).count()
    };
    assert_eq!(relayed(&outputs), 0, "{outputs:?}");
    let outputs = node.answer(0);
    assert_eq!(relayed(&outputs), 3, "{outputs:?}");
    assert_eq!(outputs[4..], [arrived(1, "obs"), arrived(2, "obs")]);
}

#[test]
fn a_session_ends_with_its_connection() {
    let mut node = publishing();
    let lost = Notice::Closed { endpoint: EndpointId(0), reason: Reason::IceFailed };
    let outputs = node.notice(lost);
    assert_eq!(errors(&outputs), [(2, Code::IceFailed, None)]);
    assert_eq!(outputs[1..], [close(2, Close::Later), left(1, "obs")]);
    let mut node = Node::new();
    node.begin(1, "obs", Purpose::Publish);
    let outputs = node.notice(Notice::Refused { endpoint: EndpointId(0), refusal: Refusal::Overloaded });
    assert_eq!(errors(&outputs), [(1, Code::Overloaded, None)]);
    assert_eq!(outputs[1..], [close(1, Close::Later), room_closed("conf/c")]);
    assert_eq!(node.group.counts(), RoomCounts::default());
}

#[test]
fn http_viewer_is_known_to_nobody() {
    let mut node = publishing();
    let outputs = node.begin(3, "viewer", watch(Some("obs")));
    let (room, stream) = ("conf/c".into(), RoomNamespace::Conference.stream("obs"));
    let (viewer, offer) = ("viewer".into(), "o".into());
    assert_eq!(outputs, [Output::Media(Command::Subscribe { room, endpoint: EndpointId(1), viewer, stream, offer })]);
    assert_eq!(node.answer(1), [answered(3, "obs")]);
    assert_eq!(node.group.counts(), RoomCounts { sockets: 3, rooms: 1, members: 2 });
    assert_eq!(node.join(4, "c", "carl")[2], existing(4, &["ben", "obs"]));
    assert_eq!(node.take(Input::Closed(SocketId(3))), [ended(1)]);
}

#[test]
fn one_may_watch_oneself() {
    let mut node = publishing();
    assert_eq!(subscribes(&node.begin(3, "obs", watch(Some("obs")))).as_deref(), Some("obs"));
}

#[test]
fn unpublished_stream_cannot_be_watched() {
    let mut node = Node::new();
    assert_eq!(errors(&node.begin(1, "viewer", watch(None))), [(1, Code::NotLive, None)]);
    node.join(2, "c", "ben");
    for stream in [None, Some("ben"), Some("nobody"), Some("ben/screen")] {
        assert_eq!(errors(&node.begin(3, "viewer", watch(stream))), [(3, Code::NotLive, None)], "{stream:?}");
    }
    node.offer(2, "ben");
    assert_eq!(errors(&node.begin(4, "viewer", watch(None))), [(4, Code::NotLive, None)], "before the answer");
    node.answer(0);
    assert_eq!(subscribes(&node.begin(5, "viewer", watch(None))).as_deref(), Some("ben"));
}

#[test]
fn the_main_stream_is_of_who_publishes_over_http_else_of_who_speaks_else_of_who_came_first() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    node.join(2, "c", "ben");
    node.offer(1, "anna");
    node.offer(2, "ben");
    node.answer(0);
    node.answer(1);
    let main = |node: &mut Node, socket| subscribes(&node.begin(socket, &format!("v{socket}"), watch(None)));
    assert_eq!(main(&mut node, 11).as_deref(), Some("anna"));
    node.notice(Notice::Speaker { room: "conf/c".into(), member: Some("ben".into()) });
    assert_eq!(main(&mut node, 12).as_deref(), Some("ben"));
    node.begin(3, "obs", Purpose::Publish);
    node.answer(4);
    assert_eq!(main(&mut node, 13).as_deref(), Some("obs"));
}

#[test]
fn a_viewers_session_ends_with_the_stream_its_token_and_its_room() {
    let mut node = publishing();
    node.begin(3, "viewer", watch(None));
    let outputs = node.take(Input::Closed(SocketId(2)));
    assert!(outputs.contains(&close(3, Close::Later)) && outputs.contains(&ended(1)), "{outputs:?}");

    let mut node = publishing();
    node.begin(3, "viewer", watch(None));
    let expel = ToNode::Expel { room: conf("c"), name: user("viewer"), issued_until: T0 };
    assert_eq!(errors(&node.order(expel)), [(3, Code::Expelled, None)]);
    assert_eq!(errors(&node.begin(4, "viewer", watch(None))), [(4, Code::Expelled, None)], "nor does it come back");

    let mut node = publishing();
    node.begin(3, "viewer", watch(None));
    let moved = node.order(ToNode::Move { room: conf("c"), url: "wss://x".into() });
    assert!(moved.contains(&Output::Send(SocketId(3), Reply::Moved { url: "wss://x".into() })));
    let over = node.order(ToNode::CloseRoom { room: conf("c") });
    assert!(over.contains(&close(2, Close::Over)) && over.contains(&close(3, Close::Over)), "{over:?}");
    assert_eq!(node.group.counts(), RoomCounts::default());
}

#[test]
fn a_token_serves_one_session() {
    let mut node = publishing();
    node.begin(3, "viewer", watch(None));
    let ClientCredentials::Claims(again) = claims("c", "viewer", T0, "nonce3") else { unreachable!() };
    for purpose in [watch(None), Purpose::Publish] {
        let session = Session { claims: again.clone(), purpose, offer: "o".into() };
        assert_eq!(errors(&node.take(Input::Began(SocketId(4), session))), [(4, Code::Unauthorized, None)]);
    }
    let outputs = node.begin(5, "viewer", watch(None));
    assert_eq!(errors(&outputs), [(3, Code::Replaced, None)], "a later one takes its place");
}

#[test]
fn as_many_watch_as_may_be_members() {
    let mut node = publishing();
    for socket in 11..14 {
        assert_eq!(errors(&node.begin(socket, &format!("v{socket}"), watch(None))), []);
    }
    assert_eq!(errors(&node.begin(14, "v14", watch(None))), [(14, Code::Overloaded, None)]);
}

#[test]
fn new_ice_credentials_are_offered_on_the_same_connection() {
    let mut node = publishing();
    let renegotiate = Command::Renegotiate { endpoint: EndpointId(0), offer: "again".into() };
    assert_eq!(node.take(Input::Restarted(SocketId(2), "again".into())), [Output::Media(renegotiate)]);
    assert_eq!(node.answer(0), [answered(2, "obs")]);
    assert_eq!(node.answer(0), [], "never twice");
    node.take(Input::Restarted(SocketId(2), "again".into()));
    let outputs = node.notice(Notice::Refused { endpoint: EndpointId(0), refusal: Refusal::BadSdp });
    assert!(outputs.contains(&ended(0)) && outputs.contains(&close(2, Close::Later)), "{outputs:?}");
}

#[test]
fn member_that_sends_and_watches_itself_is_expelled_once() {
    let mut node = publishing();
    node.begin(3, "obs", watch(None));
    let outputs = node.order(ToNode::Expel { room: conf("c"), name: user("obs"), issued_until: T0 });
    assert_eq!(errors(&outputs), [(3, Code::Expelled, None), (2, Code::Expelled, None)]);
    assert_eq!(node.group.counts(), RoomCounts { sockets: 1, rooms: 1, members: 1 });
}
