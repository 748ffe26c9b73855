//! Orders of gateways, and the end of rooms.

use super::*;
use crate::node_protocol::{Closed, EndedBy};

#[test]
fn permissions_are_told_and_outlive_the_members_absence() {
    let mut node = Node::new();
    let permit = |audio| permit(&conf("c"), &user("anna"), audio);
    assert_eq!(node.order(permit(false)), [], "before she is here");
    let enforce = |audio| Output::Send(SocketId(1), Reply::Enforce { audio, video: true });
    assert_eq!(node.join(1, "c", "anna"), [existing(1, &[]), enforce(false)]);
    assert_eq!(node.offer_and_permits(1, "anna")[0], forwarded("anna", false, true), "before anything can flow");
    assert_eq!(node.order(permit(false)), [], "repeated");
    assert_eq!(node.order(permit(true)), [forwarded("anna", true, true), enforce(true)]);
}

#[test]
fn track_closed_by_its_member_is_not_forwarded_and_sends_no_order() {
    let mut node = Node::new();
    let roster = |audio, video| ToNode::Permit {
        room: conf("c"),
        name: user("anna"),
        audio,
        video,
        closed: Closed { audio: !audio, video: !video },
        role: Some(Role::Guest),
    };
    node.order(roster(false, false));
    assert_eq!(node.join(1, "c", "anna"), [existing(1, &[])]);
    assert_eq!(node.offer_and_permits(1, "anna")[0], forwarded("anna", false, false));
    assert_eq!(
        node.offer_and_permits(1, "anna/screen")[0],
        forwarded("anna/screen", true, true),
        "a screen is no camera"
    );
    let screen = forwarded("anna/screen", true, true);
    assert_eq!(node.order(roster(true, false)), [forwarded("anna", true, false), screen.clone()]);
    assert_eq!(node.order(roster(true, true)), [forwarded("anna", true, true), screen]);
}

#[test]
fn media_that_holds_no_tracks_holds_back_what_orders_do() {
    let mut node = Node { group: Group::new(Limits { holds_tracks: false, ..limits() }), now: T0 };
    let closed = Closed { audio: false, video: true };
    let (room, name) = (conf("c"), user("anna"));
    node.order(ToNode::Permit { room, name, audio: false, video: false, closed, role: None });
    node.join(1, "c", "anna");
    assert_eq!(node.offer_and_permits(1, "anna")[0], forwarded("anna", false, true));
    assert_eq!(
        node.offer_and_permits(1, "anna/screen")[0],
        forwarded("anna/screen", false, true),
        "silenced is silenced"
    );
}

#[test]
fn of_whom_the_roster_has_nobody_is_let_in_before_a_gateway_says_so() {
    let mut node = Node::new();
    let credentials = claims("c", "anna", T0, "n");
    assert_eq!(node.join_unknown(1, "c", "anna", credentials.clone()), [], "she waits");
    assert_eq!(node.order(permit(&conf("c"), &user("ben"), true)), []);
    assert_eq!(node.order(permit(&conf("c"), &user("anna"), true)), [existing(1, &[])]);
    node.take(Input::Closed(SocketId(1)));
    node.order(ToNode::Expel { room: conf("c"), name: user("anna"), issued_until: T0 - 1 });
    node.join_unknown(2, "c", "anna", claims("c", "anna", T0, "m"));
    let expelled = node.order(ToNode::Expel { room: conf("c"), name: user("anna"), issued_until: T0 });
    assert_eq!((errors(&expelled), &expelled[1]), (vec![(2, Code::Expelled, None)], &close(2, Close::Kicked)));
    node.join_unknown(3, "d", "anna", claims("d", "anna", T0, "o"));
    node.now += 5000;
    assert_eq!(errors(&node.take(Input::Tick)), [(3, Code::Unauthorized, None)], "no word in time");
}

#[test]
fn a_token_of_another_role_than_the_rosters_is_refused() {
    let mut node = Node::new();
    let (room, name, closed) = (conf("c"), user("anna"), Closed::default());
    node.order(ToNode::Permit { room, name, audio: true, video: true, closed, role: Some(Role::Chair) });
    let refused = node.join(1, "c", "anna");
    assert_eq!((errors(&refused), &refused[1]), (vec![(1, Code::Unauthorized, None)], &close(1, Close::Unauthorized)));
}

#[test]
fn the_end_of_a_login_ends_what_its_tokens_admitted() {
    let mut node = Node::new();
    let of = |family: &str, name: &str, nonce: &str| match claims("c", name, T0, nonce) {
        ClientCredentials::Claims(claims) => ClientCredentials::Claims(Box::new(claims.of_family(family))),
        other => other,
    };
    node.join_with(1, "c", "anna", of("f1", "anna", "a"));
    node.join_with(2, "c", "ben", of("f2", "ben", "b"));
    node.join_unknown(3, "c", "carl", of("f1", "carl", "c"));
    let over = node.order(ToNode::Revoke { families: vec!["f1".into(), "f3".into()], by: EndedBy::Itself });
    assert_eq!(errors(&over), [(1, Code::Unauthorized, None), (3, Code::Unauthorized, None)]);
    assert!(over.contains(&left(2, "anna")), "{over:?}");
    assert_eq!(errors(&node.join_with(4, "c", "anna", of("f1", "anna", "d"))), [(4, Code::Unauthorized, None)]);
    assert_eq!(errors(&node.join_with(5, "c", "anna", of("f4", "anna", "e"))), [], "another login of hers");
}

#[test]
fn a_kicked_guest_is_told_so_whichever_of_both_orders_comes_first() {
    let expel = || ToNode::Expel { room: conf("c"), name: user("anna"), issued_until: T0 };
    let revoke = |by| ToNode::Revoke { families: vec!["f1".into()], by };
    for orders in [[expel(), revoke(EndedBy::Kick)], [revoke(EndedBy::Kick), expel()]] {
        let mut node = Node::new();
        let ClientCredentials::Claims(claims) = claims("c", "anna", T0, "a") else { panic!("claims") };
        node.join_with(1, "c", "anna", ClientCredentials::Claims(Box::new(claims.of_family("f1"))));
        let out: Vec<Output> = orders.into_iter().flat_map(|order| node.order(order)).collect();
        assert_eq!(errors(&out), [(1, Code::Expelled, None)]);
        assert!(out.contains(&close(1, Close::Kicked)), "{out:?}");
    }
    let mut node = Node::new();
    let of = |nonce: &str| match claims("c", "anna", T0, nonce) {
        ClientCredentials::Claims(claims) => ClientCredentials::Claims(Box::new(claims.of_family("f1"))),
        other => other,
    };
    node.order(revoke(EndedBy::Kick));
    node.order(revoke(EndedBy::Itself));
    assert_eq!(errors(&node.join_with(1, "c", "anna", of("b"))), [(1, Code::Expelled, None)], "nor does she come in");
    let mut node = Node::new();
    let ClientCredentials::Claims(claims) = claims("c", "anna", T0, "a") else { panic!("claims") };
    node.join_with(1, "c", "anna", ClientCredentials::Claims(Box::new(claims.of_family("f1"))));
    assert!(node.order(revoke(EndedBy::Conference)).contains(&close(1, Close::Over)));
}

#[test]
fn of_a_conference_that_is_over_nothing_is_pulled() {
    let mut node = Node::new();
    node.order(ToNode::CloseRoom { room: conf("c") });
    let claims = PullClaims::new(Some("n1"), conf("c"), None, std::time::Duration::from_secs(60));
    let refused = node.join_with(1, "c", "n2", ClientCredentials::Pull(Box::new(claims)));
    assert_eq!(errors(&refused), [(1, Code::Unauthorized, None)]);
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
    assert_eq!(node.group.counts(), RoomCounts::default());
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
    assert_eq!(node.group.counts(), RoomCounts::default());
}
