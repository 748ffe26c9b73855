//! Admission, and bounds of requests.

use super::*;

#[test]
fn a_token_admits_to_its_own_room_under_its_own_name() {
    let mut node = Node::new();
    let refused = |outputs: Vec<Output>| {
        assert_eq!(errors(&outputs).len(), 1);
        assert!(matches!(outputs[..], [_, Output::Close(_, Close::Unauthorized)]), "{outputs:?}");
    };
    refused(node.join_with(1, "other", "anna", claims("c", "anna", T0, "n")));
    refused(node.join_with(2, "c", "ben", claims("c", "anna", T0, "n")));
    refused(node.join_with(3, "c", "anna", ClientCredentials::Refused));
    assert_eq!(node.join_with(4, "c", "anna", claims("c", "anna", T0, "n")), [existing(4, &[])]);
    refused(node.join_with(5, "c", "anna", claims("c", "anna", T0, "n")));
    node.take(Input::Closed(SocketId(4)));
    assert_eq!(node.join_with(6, "c", "anna", claims("c", "anna", T0, "n")), [existing(6, &[])], "its socket is gone");
}

#[test]
fn open_rooms_and_conferences_share_nothing() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    assert_eq!(node.join_with(2, "c", "Ben Müller/screen", ClientCredentials::Nothing), [existing(2, &[])]);
    node.offer(2, "Ben Müller/screen");
    assert_eq!(node.answer(0), [answered(2, "Ben Müller/screen")], "a name like any other: nothing is announced");
    let order = ToNode::CloseRoom { room: conf("c") };
    assert!(node.order(order).iter().all(|o| !matches!(o, Output::Close(SocketId(2), _))));
    let mut closed = Node { group: Group::new(Limits { open: false, ..limits() }), now: T0 };
    assert_eq!(errors(&closed.join_with(1, "c", "Ben", ClientCredentials::Nothing)), [(1, Code::Unauthorized, None)]);
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
        let outputs = node.send(1, "garbage");
        if !outputs.is_empty() {
            last = outputs;
        }
    }
    assert_eq!(errors(&last), [(1, Code::TooMany, None)]);
    assert_eq!(last[1..], [close(1, Close::TooMany), left(2, "anna")]);
    assert_eq!(errors(&node.send(2, "garbage")), [(2, Code::BadMessage, None)]);
}

#[test]
fn an_offer_costs_as_much_as_ten_messages() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    let offers = (0..).take_while(|_| errors(&node.offer(1, "anna")).is_empty()).count();
    assert_eq!(offers, 19, "of 200 messages, one of which was to join");
}

#[test]
fn a_socket_that_joins_nowhere_is_ended_in_time_unless_a_person_may_be_typing() {
    let mut node = Node::new();
    node.take(Input::Opened(SocketId(1), claims("c", "anna", T0, "n")));
    node.take(Input::Opened(SocketId(2), ClientCredentials::Nothing));
    node.now += 4999;
    assert_eq!(node.take(Input::Tick), []);
    node.now += 1;
    assert_eq!(node.take(Input::Tick)[1..], [close(1, Close::Unauthorized)]);
    assert_eq!(node.group.counts().sockets, 1);
}
