//! Media that goes straight between two, and what ends that.

use super::*;
use crate::media::message::{Relayed, Signal};

impl Node {
    fn join_straight(&mut self, socket: u64, name: &str) -> Vec<Output> {
        let credentials = between_two(claims("c1", name, self.now, &format!("nonce{socket}")));
        self.join_with(socket, "c1", name, credentials)
    }
}

fn told(socket: u64, mode: CallMode, reason: Option<Relayed>) -> Output {
    Output::Send(SocketId(socket), Reply::Mode { mode, reason })
}

/// Anna at socket 1 and Ben at 2.
fn two() -> Node {
    let mut node = Node::new();
    assert_eq!(node.join_straight(1, "anna"), [existing(1, &[]), told(1, CallMode::P2p, None)]);
    let joined = node.join_straight(2, "ben");
    assert_eq!(joined, [arrived(1, "ben"), existing(2, &["anna"]), told(2, CallMode::P2p, None)]);
    node
}

fn relayed(reason: Relayed) -> [Output; 2] {
    [1, 2].map(|socket| told(socket, CallMode::Group, Some(reason)))
}

const TO_BEN: &str = r#"{"id":"signal","to":"ben","candidate":null}"#;

#[test]
fn p2p_messages_between_browsers_are_passed_on() {
    let mut node = two();
    let passed = Reply::Signal { from: "anna".into(), signal: Signal::Candidate(None) };
    assert_eq!(node.send(1, TO_BEN), [Output::Send(SocketId(2), passed)]);
    for nobody in ["anna", "carl"] {
        assert_eq!(node.send(1, &TO_BEN.replace("ben", nobody)), []);
    }
    node.join(3, "c2", "ben");
    assert_eq!(node.send(3, TO_BEN), [], "a group call has none of it");
}

#[test]
fn a_member_says_that_it_does_not_work_and_both_go_through_the_node() {
    let mut node = two();
    let says = r#"{"id":"mode","mode":"group","reason":"iceFailed"}"#;
    assert_eq!(node.send(2, says), relayed(Relayed::IceFailed));
    assert_eq!(node.send(1, says), [], "it is so already");
    assert_eq!(node.send(1, TO_BEN), []);
    // A member that comes back meanwhile is told the current state.
    node.take(Input::Closed(SocketId(1)));
    let back = node.join_straight(4, "anna");
    assert_eq!(back.last(), Some(&told(4, CallMode::Group, None)));
    // A call from the start is straight again.
    node.take(Input::Closed(SocketId(4)));
    node.take(Input::Closed(SocketId(2)));
    assert_eq!(node.join_straight(5, "anna").last(), Some(&told(5, CallMode::P2p, None)));
}

#[test]
fn a_client_that_offers_to_the_node_has_its_call_there() {
    let mut node = two();
    let offered = node.offer(2, "anna");
    assert_eq!(offered[..2], relayed(Relayed::Unable));
    assert!(matches!(offered[2..], [Output::Media(Command::Subscribe { .. })]));
}

#[test]
fn a_mute_is_enforced_at_the_node() {
    let mut node = two();
    let permit = |audio| permit(&conf("c1"), &user("anna"), audio);
    let enforced = node.order(permit(false));
    assert_eq!(enforced[..2], relayed(Relayed::Enforced));
    assert_eq!(enforced[2], Output::Send(SocketId(1), Reply::Enforce { audio: false, video: true }));
    assert_eq!(node.order(permit(true)).len(), 1, "and it stays there");
    // The same for one who was muted before they came.
    let mut node = Node::new();
    node.join_straight(1, "anna");
    node.order(super::permit(&conf("c1"), &user("ben"), false));
    let joined = node.join_straight(2, "ben");
    assert_eq!(joined[joined.len() - 3..joined.len() - 1], relayed(Relayed::Enforced));
}

#[test]
fn a_third_one_or_one_whose_token_says_nothing_of_it_needs_the_node() {
    let mut node = two();
    let third = node.join_straight(3, "carl");
    let all = [1, 2, 3].map(|socket| told(socket, CallMode::Group, Some(Relayed::Third)));
    assert_eq!(third[third.len() - 3..], all);
    let mut node = Node::new();
    node.join_straight(1, "anna");
    let joined = node.join(2, "c1", "ben");
    assert_eq!(joined[joined.len() - 2..], relayed(Relayed::Unable));
}
