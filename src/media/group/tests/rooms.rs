//! Coming, going, and who is told of it.

use super::*;

#[test]
fn the_others_hear_of_a_newcomer_before_the_newcomer_hears_of_them() {
    let mut node = Node::new();
    assert_eq!(node.join(1, "c", "anna"), [existing(1, &[])]);
    assert_eq!(node.join(2, "c", "ben"), [arrived(1, "ben"), existing(2, &["anna"])]);
    assert_eq!(node.join(3, "c", "carl"), [arrived(1, "carl"), arrived(2, "carl"), existing(3, &["anna", "ben"])]);
    assert_eq!(node.send(2, r#"{"id":"leaveRoom"}"#), [left(1, "ben"), left(3, "ben")]);
    assert_eq!(node.take(Input::Closed(SocketId(2))), []);
    assert_eq!(node.take(Input::Closed(SocketId(1))), [left(3, "anna")]);
    assert_eq!(node.take(Input::Closed(SocketId(3))), [room_closed("conf/c")]);
    assert_eq!(node.group.counts(), RoomCounts::default());
}

#[test]
fn two_rooms_have_an_anna_each() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    assert_eq!(node.join(2, "d", "anna"), [existing(2, &[])]);
    assert_eq!(node.group.counts(), RoomCounts { sockets: 2, rooms: 2, members: 2 });
}

#[test]
fn a_socket_that_never_joined_ends_without_a_trace() {
    let mut node = Node::new();
    node.take(Input::Opened(SocketId(1), ClientCredentials::Nothing));
    for text in [r#"{"id":"leaveRoom"}"#, r#"{"id":"cancelVideoFrom","sender":"x"}"#, r#"{"id":"other"}"#] {
        assert_eq!(node.send(1, text), []);
    }
    assert_eq!(errors(&node.offer(1, "x")), [(1, Code::BadMessage, Some("x".into()))]);
    assert_eq!(node.candidate(1, "x", "c"), []);
    assert_eq!(node.take(Input::Closed(SocketId(1))), []);
    assert_eq!(node.group.counts(), RoomCounts::default());
}

#[test]
fn a_second_join_on_a_socket_changes_nothing() {
    let mut node = Node::new();
    node.join(1, "c", "anna");
    let again = r#"{"id":"joinRoom","room":"c","name":"anna"}"#;
    assert_eq!(errors(&node.send(1, again)), [(1, Code::BadMessage, None)]);
    assert_eq!(node.group.counts(), RoomCounts { sockets: 1, rooms: 1, members: 1 });
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
