//! What gateways order, and the end.

use confgate_sfu::vocabulary::Command;

use super::*;

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
