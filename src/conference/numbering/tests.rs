use super::*;
use crate::event::{Audio, Message, MutePolicy, OPEN, Role, Video};

const EVERY: u64 = 15_000;

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn conf() -> ConfId {
    ConfId::parse("r1").unwrap()
}

pub(in crate::conference) fn conference() -> Conference {
    Conference {
        conf_id: conf(),
        conf_name: "Weekly".into(),
        state: OPEN,
        start_at: None,
        chair: user("u0"),
        locked: false,
        lobby: false,
        mute_policy: MutePolicy::Free,
        main_video: None,
        call: None,
    }
}

pub(in crate::conference) fn member(id: &str, joined_at: u64) -> Member {
    Member {
        user_id: user(id),
        name: id.to_uppercase(),
        role: Role::Member,
        state: MemberState::Joined,
        audio: Audio::Off,
        video: Video::Off,
        hand: false,
        unmute_asked: false,
        joined_at,
    }
}

fn roster(members: &[Member]) -> Roster {
    let members = members.to_vec();
    Roster { epoch: String::new(), seq: 0, conference: conference(), members, waiting: vec![], messages: vec![] }
}

pub(in crate::conference) fn event(change: Change, time: u64) -> ConferenceEvent {
    ConferenceEvent { numbering: None, conf_id: conf(), time, change, actor: None }
}

pub(super) fn claim(generation: u64) -> Claim {
    Claim { node: "a".into(), generation }
}

fn message(id: &str) -> Message {
    Message { message_id: id.into(), user_id: user("u1"), text: "hi".into(), time: 5 }
}

/// A numbering of the EIM's conference, with these members.
fn begun(members: &[Member]) -> Numbering {
    let mut numbering = Numbering::new(conf(), 256, EVERY);
    let mut out = Vec::new();
    numbering.tick(0, &mut out);
    assert_eq!(out, [Order::ReadRoster]);
    assert_eq!(numbering.on_roster(roster(members), "e".into(), 1, 1, &mut out), 0);
    numbering
}

/// Number and type of each event.
fn delivered(out: &[Order]) -> Vec<(u64, &str)> {
    let event = |order: &'_ Order| match order {
        Order::Deliver(event) => Some((event.seq, event.change.name().to_owned())),
        _ => None,
    };
    let names = ["member.joined", "member.updated", "member.left", "message", "conference.ended", "waiting.removed"];
    let known = |(seq, name): (u64, String)| (seq, *names.iter().find(|known| **known == name).unwrap_or(&"other"));
    out.iter().filter_map(event).map(known).collect()
}

#[test]
fn a_change_gets_the_next_number_and_its_repeat_none() {
    let mut numbering = begun(&[]);
    let joined = event(Change::MemberJoined(member("u1", 10)), 10);
    let left = event(Change::MemberLeft(Left { user_id: user("u1"), reason: LeftReason::Left }), 20);
    let mut out = Vec::new();
    assert!(numbering.change(joined.clone(), 2, &mut out));
    assert!(!numbering.change(joined.clone(), 2, &mut out), "it came twice");
    assert!(numbering.change(left.clone(), 3, &mut out));
    assert!(!numbering.change(joined, 4, &mut out), "it came late");
    assert!(!numbering.change(left, 4, &mut out));
    assert!(numbering.change(event(Change::Message(message("m1")), 5), 5, &mut out));
    assert!(!numbering.change(event(Change::Message(message("m1")), 6), 6, &mut out));
    assert_eq!(delivered(&out), [(2, "member.joined"), (3, "member.left"), (4, "message")]);
    out.clear();
    numbering.tick(1001, &mut out);
    assert_eq!(out, [Order::ReadRoster], "a doubt is looked at soon");
    numbering.tick(1001 + EVERY, &mut out);
    assert_eq!(out.len(), 1, "one request at a time");
}

#[test]
fn a_difference_becomes_events_but_for_what_changed_meanwhile() {
    let mut numbering = begun(&[member("u1", 10), member("u2", 20)]);
    let mut out = Vec::new();
    numbering.tick(EVERY, &mut out);
    out.clear();
    // While the roster is on its way.
    numbering.change(event(Change::MemberJoined(member("u3", 30)), 30), EVERY, &mut out);
    let theirs = Roster { messages: vec![message("m1")], ..roster(&[member("u2", 20), member("u4", 25)]) };
    assert_eq!(numbering.on_roster(theirs, "f".into(), EVERY, 40, &mut out), 3);
    let expected = [(2, "member.joined"), (3, "member.left"), (4, "member.joined"), (5, "message")];
    assert_eq!(delivered(&out), expected);
    let ids: Vec<_> = numbering.roster().unwrap().members.iter().map(|m| m.user_id.to_string()).collect();
    assert_eq!(ids, ["u2", "u4", "u3"]);
    out.clear();
    numbering.tick(EVERY + 1000, &mut out);
    assert_eq!(out, [Order::ReadRoster], "what changed meanwhile is compared once more");
}

#[test]
fn a_member_is_reconnecting_then_gone_then_back_on_the_same_seat() {
    let mut numbering = begun(&[Member { hand: true, ..member("u1", 10) }]);
    let mut out = Vec::new();
    let state = |numbering: &Numbering| numbering.roster().unwrap().member(&user("u1")).map(|m| (m.state, m.hand));
    numbering.subscribe(&user("u1"), &claim(5), 2, 2, &mut out).unwrap();
    assert_eq!(out, [], "nothing has changed");
    numbering.away(&user("u1"), &claim(5), 3, 3, &mut out);
    assert_eq!(state(&numbering), Some((MemberState::Reconnecting, true)));
    numbering.away(&user("u1"), &claim(4), 3, 3, &mut out);
    out.clear();
    assert_eq!(numbering.subscribe(&user("u1"), &claim(4), 3, 3, &mut out), Ok(()));
    assert_eq!(out, [], "an older socket");
    numbering.gone(&user("u1"), &claim(5), 1000, 4, 4, &mut out);
    assert_eq!(state(&numbering), None);
    // The EIM has them in, and says so.
    numbering.tick(EVERY, &mut Vec::new());
    out.clear();
    numbering.subscribe(&user("u1"), &claim(6), 5, 5, &mut out).unwrap();
    assert_eq!((delivered(&out), state(&numbering)), (vec![(4, "member.joined")], Some((MemberState::Joined, true))));
}

#[test]
fn a_member_who_does_not_come_back_leaves_at_the_eim_when_the_seat_is_over() {
    let u1 = member("u1", 10);
    let mut numbering = begun(std::slice::from_ref(&u1));
    let mut out = Vec::new();
    numbering.subscribe(&user("u1"), &claim(5), 2, 2, &mut out).unwrap();
    numbering.gone(&user("u1"), &claim(5), 1000, 4, 4, &mut out);
    out.clear();
    numbering.tick(1003, &mut out);
    assert!(!out.contains(&Order::Leave(user("u1"))));
    numbering.tick(1004, &mut out);
    assert!(out.contains(&Order::Leave(user("u1"))));
    numbering.on_left(&user("u1"), None, 1005);
    out.clear();
    numbering.tick(1005 + 2000, &mut out);
    assert!(out.contains(&Order::Leave(user("u1"))), "the EIM was away");
    numbering.on_left(&user("u1"), Some(true), 3100);
    let left = event(Change::MemberLeft(Left { user_id: user("u1"), reason: LeftReason::Left }), 3000);
    out.clear();
    assert!(!numbering.change(left, 3200, &mut out), "clients know it");
    assert!(out.is_empty() && numbering.is_unused());
}

#[test]
fn the_next_owner_goes_on_with_the_numbers() {
    let mut numbering = begun(&[member("u1", 10)]);
    let mut out = Vec::new();
    let first = numbering.roster().unwrap().clone();
    numbering.subscribe(&user("u1"), &claim(5), 2, 2, &mut out).unwrap();
    numbering.change(event(Change::MemberJoined(member("u2", 30)), 30), 3, &mut out);
    numbering.change(event(Change::Message(message("m1")), 40), 4, &mut out);
    let kept = serde_json::to_string(&numbering.kept()).unwrap();
    let events: Vec<Event> = numbering.log().unwrap().entries().cloned().collect();
    let mut next = Numbering::new(conf(), 256, EVERY);
    next.resume(first, events, serde_json::from_str(&kept).unwrap());
    assert_eq!(next.roster(), numbering.roster());
    out.clear();
    assert_eq!(next.reset(&claim(9), 5, 5, &mut out), [user("u1")]);
    assert!(!next.change(event(Change::Message(message("m1")), 40), 4, &mut out), "it had its number");
    next.change(event(Change::Message(message("m2")), 41), 4, &mut out);
    assert_eq!(delivered(&out), [(4, "member.updated"), (5, "message")]);
}

#[test]
fn a_removed_user_may_not_listen_until_they_are_let_in_again() {
    let mut numbering = begun(&[member("u1", 10)]);
    let mut out = Vec::new();
    let kicked = Change::MemberLeft(Left { user_id: user("u1"), reason: LeftReason::Kicked });
    numbering.change(event(kicked, 20), 2, &mut out);
    assert_eq!(numbering.subscribe(&user("u1"), &claim(5), 3, 3, &mut out), Err(NoSubscription::Refused));
    numbering.change(event(Change::MemberJoined(member("u1", 30)), 30), 4, &mut out);
    assert_eq!(numbering.subscribe(&user("u1"), &claim(5), 5, 5, &mut out), Ok(()));
    let over = Conference { state: ENDED, ..conference() };
    numbering.change(event(Change::Ended(over), 50), 6, &mut out);
    assert_eq!(numbering.subscribe(&user("u1"), &claim(6), 7, 7, &mut out), Err(NoSubscription::Over));
}

#[test]
fn a_socket_at_another_node_takes_over_and_the_first_ones_end_removes_nobody() {
    let mut numbering = begun(&[member("u1", 10)]);
    let (mut out, u1) = (Vec::new(), user("u1"));
    let at = |node: &str, generation| Claim { node: node.into(), generation };
    let state = |numbering: &Numbering| numbering.roster().unwrap().member(&u1).map(|m| m.state);
    numbering.subscribe(&u1, &at("a", 50), 2, 2, &mut out).unwrap();
    // Generations of two nodes don't compare.
    numbering.subscribe(&u1, &at("b", 7), 3, 3, &mut out).unwrap();
    numbering.away(&u1, &at("a", 50), 4, 4, &mut out);
    out.clear();
    assert_eq!(numbering.subscribe(&u1, &at("a", 50), 4, 4, &mut out), Ok(()));
    assert_eq!(out, [], "it was taken over");
    assert_eq!(state(&numbering), Some(MemberState::Joined));
    // The node is gone, and another one answers for its members.
    assert_eq!(numbering.reset(&at("b", 90), 5, 5, &mut out), std::slice::from_ref(&u1));
    numbering.away(&u1, &at("c", 91), 6, 6, &mut out);
    assert_eq!(state(&numbering), Some(MemberState::Reconnecting));
    out.clear();
    assert_eq!(numbering.subscribe(&u1, &at("b", 7), 7, 7, &mut out), Ok(()));
    assert_eq!(out, [], "it is gone");
    // It was only stopped.
    assert_eq!(numbering.reset(&at("b", 5), 8, 8, &mut out), []);
    numbering.subscribe(&u1, &at("b", 7), 9, 9, &mut out).unwrap();
    numbering.gone(&u1, &at("c", 91), 1000, 10, 10, &mut out);
    assert_eq!(state(&numbering), Some(MemberState::Joined));
}

#[test]
fn a_node_that_answers_for_its_own_members_again_counts_from_its_first_socket() {
    let mut numbering = begun(&[member("u1", 10)]);
    let (mut out, u1) = (Vec::new(), user("u1"));
    numbering.subscribe(&u1, &claim(5), 2, 2, &mut out).unwrap();
    // Another node in its name, which then dies before it has claimed anybody.
    assert_eq!(numbering.reset(&claim(100), 3, 3, &mut out), std::slice::from_ref(&u1));
    out.clear();
    assert_eq!(numbering.subscribe(&u1, &claim(5), 4, 4, &mut out), Ok(()));
    assert_eq!(out, []);
    assert_eq!(numbering.reset(&claim(1), 5, 5, &mut out), std::slice::from_ref(&u1));
    assert_eq!(numbering.subscribe(&u1, &claim(5), 6, 6, &mut out), Ok(()));
    assert_eq!(numbering.reset(&claim(1), 7, 7, &mut out), [], "who has come since stays");
}
