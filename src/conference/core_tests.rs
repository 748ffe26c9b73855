use serde_json::Value;

use super::super::Ending;
use super::*;
use crate::event::*;

pub(super) const LIMITS: Limits =
    Limits { grace_ms: 20_000, window_ms: 60_000, log: 8, replay: 8, replay_bytes: 100_000, look_ms: u64::MAX / 2 };

pub(super) fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

pub(super) fn member(id: &str, joined_at: u64) -> Member {
    Member {
        user_id: user(id),
        name: id.to_uppercase(),
        role: Role::Guest,
        state: MemberState::Joined,
        audio: Audio::On,
        video: Video::Off,
        hand: false,
        unmute_asked: false,
        joined_at,
    }
}

fn conference(state: u8) -> Conference {
    Conference {
        conf_id: ConfId::parse("c1").unwrap(),
        conf_name: "Weekly".into(),
        state,
        start_at: None,
        chair: user("chair"),
        locked: false,
        lobby: true,
        mute_policy: MutePolicy::Free,
        main_video: None,
        call: None,
    }
}

/// A stand-in for the EIM's side of the numbering: the roster that is true, and its events.
pub(super) struct Truth(pub(super) Roster);

impl Truth {
    pub(super) fn new(members: &[&str]) -> Self {
        let members = members.iter().enumerate().map(|(i, id)| member(id, i as u64)).collect();
        Self(Roster {
            epoch: "e1".into(),
            seq: 10,
            conference: conference(OPEN),
            members,
            waiting: vec![],
            messages: vec![],
        })
    }

    pub(super) fn event(&mut self, change: Change) -> Event {
        self.0.apply(&change);
        self.0.seq += 1;
        let conf_id = self.0.conference.conf_id.clone();
        Event { epoch: self.0.epoch.clone(), seq: self.0.seq, conf_id, time: 0, change, actor: None }
    }
}

pub(super) fn core() -> Core {
    Core::new(ConfId::parse("c1").unwrap(), LIMITS, 0)
}

/// A core with these users' sockets attached, their first frames taken.
pub(super) fn attached(truth: &Truth, users: &[&str]) -> Core {
    let mut core = core();
    for id in users {
        core.attach(user(id), 1, Start::Snapshot, 0);
        core.on_subscribe_reply(&user(id), Ok(truth.0.clone().into()), 0);
    }
    core
}

/// The position of that number.
pub(super) fn at(seq: u64) -> Option<Position> {
    Some(Position { epoch: "e1".into(), seq })
}

/// The frames for one user, as (method, params).
pub(super) fn frames(effects: &[Effect], id: &str) -> Vec<(String, Value)> {
    let frame = |e: &Effect| match e {
        Effect::Send { user, frame, .. } if user.as_str() == id => {
            let mut value: Value = serde_json::from_str(frame).unwrap();
            Some((value["method"].as_str().unwrap().to_owned(), value["params"].take()))
        }
        _ => None,
    };
    effects.iter().filter_map(frame).collect()
}

pub(super) fn requests(effects: &[Effect]) -> Vec<&EimRequest> {
    effects.iter().filter_map(|e| if let Effect::EimRequest(request) = e { Some(request) } else { None }).collect()
}

#[test]
fn reconnect_before_the_start_was_sent_is_reported_again() {
    let truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    let out = core.away_since_restart(&user("a"), 0, 0);
    assert_eq!(requests(&out), [&EimRequest::Subscribe { user: user("a"), generation: 1, since: at(10) }]);

    // Also where the answer to their subscription is still on its way.
    let mut core = self::core();
    core.attach(user("a"), 1, Start::Snapshot, 0);
    assert_eq!(core.away_since_restart(&user("a"), 0, 0), []);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    assert_eq!(requests(&out), [&EimRequest::Subscribe { user: user("a"), generation: 1, since: at(10) }]);
    assert_eq!(requests(&core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0)), [] as [&EimRequest; 0]);
}

#[test]
fn the_end_of_a_call_closes_nobodys_socket() {
    // Told by an event, or found by a socket that comes too late; the EIM forgets a call at its end.
    let mut truth = Truth::new(&["a", "b"]);
    truth.0.conference.call = Some(CallOf { call_id: crate::ids::CallId::parse("k1").unwrap(), mode: CallMode::P2p });
    let mut core = attached(&truth, &["a", "b"]);
    let ended = Conference { call: truth.0.conference.call.clone(), ..conference(ENDED) };
    let out = core.event(truth.event(Change::Ended(ended)), 0);
    assert_eq!(frames(&out, "a")[0].1["type"], "conference.ended");
    assert!(!out.iter().any(|e| matches!(e, Effect::Close { .. })), "{out:?}");
    assert!(core.is_idle(0));

    let mut core = self::core();
    core.set_call();
    core.attach(user("a"), 1, Start::Snapshot, 0);
    let out = core.on_subscribe_reply(&user("a"), Err(Failure::NoConference), 0);
    assert!(!out.iter().any(|e| matches!(e, Effect::Close { .. })), "{out:?}");
    assert!(core.is_idle(0));
}

#[test]
fn member_removed_from_a_call_keeps_socket_and_login() {
    let mut truth = Truth::new(&["a", "b"]);
    truth.0.conference.call = Some(CallOf { call_id: crate::ids::CallId::parse("k1").unwrap(), mode: CallMode::Group });
    let mut core = attached(&truth, &["a", "b"]);
    let kicked = Change::MemberLeft(Left { user_id: user("b"), reason: LeftReason::Kicked });
    let out = core.event(truth.event(kicked), 0);
    assert!(!out.iter().any(|e| matches!(e, Effect::Close { .. } | Effect::Emit(_))), "{out:?}");
}

#[test]
fn a_new_socket_is_subscribed_and_gets_a_snapshot() {
    let truth = Truth::new(&["a", "b"]);
    let mut core = core();
    let out = core.attach(user("a"), 1, Start::Snapshot, 0);
    assert_eq!(requests(&out), [&EimRequest::Subscribe { user: user("a"), generation: 1, since: None }]);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    let [(method, params)] = &frames(&out, "a")[..] else { panic!("one frame") };
    assert_eq!(method, "conference.snapshot");
    assert_eq!(params["reason"], "join");
    assert_eq!(params["seq"], 10);
    assert_eq!(params["members"].as_array().unwrap().len(), 2);
}

#[test]
fn a_session_that_comes_up_is_its_users_concern_alone() {
    let truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["a", "b"]);
    let out = core.session_up(&user("a"));
    assert_eq!(requests(&out), [&EimRequest::Subscribe { user: user("a"), generation: 1, since: at(10) }]);
    assert!(core.session_up(&user("newcomer")).is_empty());
}

#[test]
fn events_go_to_everybody_in_order_and_repeats_to_nobody() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["a", "b"]);
    let event = truth.event(Change::MemberJoined(member("c", 9)));
    let out = core.event(event.clone(), 0);
    assert_eq!(frames(&out, "a")[0].1["type"], "member.joined");
    assert_eq!(frames(&out, "b")[0].1["seq"], 11);
    assert_eq!(core.event(event, 0), []);
}

#[test]
fn a_resumed_socket_gets_the_missed_events_and_nothing_else() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["a", "b"]);
    core.detach(&user("a"), 1, Ending::Closed, 0);
    for at in 0..3 {
        core.event(truth.event(Change::MemberUpdated(member("b", at))), 0);
    }
    core.attach(user("a"), 2, Start::Since(Position { epoch: "e1".into(), seq: 11 }), 0);
    core.on_presence_reply(&user("a"), Ok(()), 0);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    let seqs: Vec<_> = frames(&out, "a").iter().map(|(_, p)| p["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [12, 13]);
}

/// The next event hasn't come by then: the EIM is asked for it with somebody's subscription, and doesn't have it.
pub(super) fn asked_in_vain(core: &mut Core, truth: &Truth, now: u64) -> Effects {
    let out = core.tick(now);
    let asked: Vec<UserId> = requests(&out)
        .into_iter()
        .filter_map(|request| match request {
            EimRequest::Subscribe { user, since: Some(_), .. } => Some(user.clone()),
            _ => None,
        })
        .collect();
    assert_eq!((asked.len(), out.len()), (1, 1), "{out:?}");
    let mut out = core.on_subscribe_reply(&asked[0], Ok(truth.0.clone().into()), now);
    out.extend(core.tick(now));
    out
}

#[test]
fn client_of_a_node_that_was_ahead_resumes_when_this_node_has_caught_up() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["b"]);
    let on_its_way = truth.event(Change::MemberUpdated(member("b", 1)));
    core.attach(user("a"), 1, Start::Since(Position { epoch: "e1".into(), seq: on_its_way.seq }), 0);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    assert_eq!(frames(&out, "a"), []);
    assert_eq!(frames(&core.event(on_its_way, 1), "a"), [], "they have it");
    let next = core.event(truth.event(Change::MemberUpdated(member("b", 2))), 2);
    assert_eq!(frames(&next, "a").len(), 1);

    // The event does not come: nobody waits for ever.
    let mut core = attached(&Truth::new(&["a", "b"]), &["b"]);
    core.attach(user("a"), 1, Start::Since(Position { epoch: "e1".into(), seq: 11 }), 0);
    core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    let out = asked_in_vain(&mut core, &truth, CATCH_UP_MS);
    assert_eq!(frames(&out, "a")[0].1["reason"], "gap");
}

#[test]
fn a_position_that_does_not_serve_gets_a_snapshot_with_the_reason() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["b"]);
    for at in 0..20 {
        core.event(truth.event(Change::MemberUpdated(member("b", at))), 0);
    }
    let mut reason = |generation, epoch: &str, seq| {
        core.attach(user("a"), generation, Start::Since(Position { epoch: epoch.into(), seq }), 0);
        let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
        frames(&out, "a")[0].1["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(1, "other", 12), "epoch");
    assert_eq!(reason(2, "e1", 11), "expired");
    assert_eq!(reason(3, "e1", 99), "gap");
}

#[test]
fn a_gap_is_closed_by_a_fresh_roster_for_everybody() {
    let mut truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    truth.event(Change::MemberJoined(member("b", 5)));
    let later = truth.event(Change::MemberJoined(member("c", 6)));
    let out = core.event(later, 0);
    assert_eq!(requests(&out), [&EimRequest::Snapshot]);
    assert!(frames(&out, "a").is_empty());
    let out = core.on_snapshot_reply(Ok(truth.0.clone()), 0);
    assert_eq!(frames(&out, "a").len(), 1);
    assert_eq!(frames(&out, "a")[0].1["reason"], "gap");
    let out = core.event(truth.event(Change::MemberJoined(member("d", 7))), 0);
    assert_eq!(frames(&out, "a")[0].1["seq"], 13);
}

#[test]
fn an_event_that_no_roster_leads_to_has_it_read_once_and_looked_at_later() {
    let mut truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    for (epoch, seq) in [("e1", u64::MAX), ("another", 1)] {
        let joined = truth.0.clone();
        let event = Event { epoch: epoch.into(), seq, ..truth.event(Change::MemberJoined(member("b", 5))) };
        truth.0 = joined;
        assert_eq!(requests(&core.event(event, 0)), [&EimRequest::Snapshot]);
        assert_eq!(core.on_snapshot_reply(Ok(truth.0.clone()), 0), [], "nothing is new");
    }
    assert_eq!(requests(&core.tick(RETRY_MS - 1)), [] as [&EimRequest; 0]);
    assert_eq!(requests(&core.tick(RETRY_MS)), [&EimRequest::Look]);
    core.on_look_reply(Ok(truth.0.clone()), RETRY_MS);
    let out = core.event(truth.event(Change::MemberJoined(member("d", 7))), RETRY_MS);
    assert_eq!(frames(&out, "a").len(), 1, "true events go on");
}

#[test]
fn an_older_sockets_end_removes_nobody() {
    let truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    core.attach(user("a"), 2, Start::Snapshot, 0);
    core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    assert_eq!(core.detach(&user("a"), 1, Ending::Closed, 0), []);
    assert_eq!(core.tick(1_000_000), []);
    assert!(core.is_live());
}

#[test]
fn a_closed_socket_is_away_at_once_and_gone_after_the_grace() {
    let truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    let out = core.detach(&user("a"), 1, Ending::Closed, 1000);
    assert_eq!(requests(&out), [&EimRequest::Unsubscribe { user: user("a"), generation: 1, linger_ms: 60_000 }]);
    core.on_presence_reply(&user("a"), Ok(()), 1000);
    assert_eq!(requests(&core.tick(20_999)), [&EimRequest::Snapshot], "nobody hears events any more");
    core.on_snapshot_reply(Ok(truth.0.clone()), 20_999);
    let out = core.tick(21_000);
    assert_eq!(requests(&out), [&EimRequest::Gone { user: user("a"), generation: 1, keep_ms: 40_000 }]);
    core.on_presence_reply(&user("a"), Ok(()), 21_000);
    assert!(!core.is_idle(60_999));
    assert!(core.is_idle(61_000));
}

#[test]
fn a_member_who_is_away_has_a_fresh_grace_after_a_stall_of_this_process() {
    let truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    core.detach(&user("a"), 1, Ending::Closed, 1000);
    core.on_presence_reply(&user("a"), Ok(()), 1000);
    core.stalled(100_000);
    let gone = |out: &[Effect]| requests(out).iter().any(|request| matches!(request, EimRequest::Gone { .. }));
    assert!(!gone(&core.tick(100_000)) && !gone(&core.tick(119_999)));
    assert!(gone(&core.tick(120_000)));
}

#[test]
fn member_back_within_the_grace_is_never_gone() {
    let truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    core.detach(&user("a"), 1, Ending::Closed, 0);
    let out = core.attach(user("a"), 2, Start::Snapshot, 10);
    assert_eq!(requests(&out), Vec::<&EimRequest>::new(), "one request at a time, so that none overtakes another");
    let out = core.on_presence_reply(&user("a"), Ok(()), 20);
    assert_eq!(requests(&out), [&EimRequest::Subscribe { user: user("a"), generation: 2, since: at(10) }]);
    core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 30);
    assert_eq!(core.tick(1_000_000), []);
}

#[test]
fn member_that_joins_without_a_socket_is_away() {
    let truth = Truth::new(&["a"]);
    let mut core = core();
    let out = core.joined(&user("a"), 5, 0);
    assert_eq!(requests(&out), [&EimRequest::Away { user: user("a"), generation: 5 }, &EimRequest::Snapshot]);
    core.on_presence_reply(&user("a"), Ok(()), 0);
    core.on_snapshot_reply(Ok(truth.0.clone()), 19_999);
    core.follow_at = u64::MAX;
    assert!(matches!(requests(&core.tick(20_000))[..], [EimRequest::Gone { .. }]));
}

#[test]
fn a_socket_numbered_before_a_join_is_subscribed_at_the_number_of_the_join() {
    let subscribe = |since| EimRequest::Subscribe { user: user("a"), generation: 6, since };
    let mut core = core();
    // The sockets 4 and 5 are being opened while the join is answered.
    core.joined(&user("a"), 6, 0);
    core.on_presence_reply(&user("a"), Ok(()), 0);
    assert_eq!(requests(&core.attach(user("a"), 4, Start::Snapshot, 0)), [&subscribe(None)]);
    let truth = Truth::new(&["a"]);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    assert_eq!(frames(&out, "a").len(), 1);

    // A second one gets its own start, though its number is not above the one that the EIM knows.
    assert_eq!(requests(&core.attach(user("a"), 5, Start::Snapshot, 1)), [&subscribe(at(10))]);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 1);
    assert_eq!(frames(&out, "a").len(), 1);

    // The first one's attachment comes late: it takes nothing from the second.
    assert_eq!(core.attach(user("a"), 4, Start::Snapshot, 2), []);
    assert_eq!(core.detach(&user("a"), 4, Ending::Closed, 2), []);
    let out = core.detach(&user("a"), 5, Ending::Closed, 2);
    assert!(matches!(requests(&out)[..], [EimRequest::Unsubscribe { generation: 6, .. }]), "{out:?}");
}

#[test]
fn an_open_socket_whose_user_the_eim_takes_for_away_is_reported_once_more() {
    let mut truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    let away = Member { state: MemberState::Reconnecting, ..member("a", 0) };
    core.event(truth.event(Change::MemberUpdated(away.clone())), 0);
    assert_eq!(requests(&core.tick(1900)), [] as [&EimRequest; 0], "the socket of another node may be newer");
    let again = EimRequest::Subscribe { user: user("a"), generation: 2, since: at(11) };
    assert_eq!(requests(&core.tick(2000)), [&again]);
    truth.event(Change::MemberUpdated(member("a", 0)));
    assert_eq!(frames(&core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 2000), "a"), []);

    // One that was late only is not reported.
    let mut truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    core.event(truth.event(Change::MemberUpdated(away)), 0);
    core.event(truth.event(Change::MemberUpdated(member("a", 0))), 10);
    assert_eq!(requests(&core.tick(2000)), [] as [&EimRequest; 0]);
}

#[test]
fn refused_subscriber_is_subscribed_once_it_has_joined() {
    let mut truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    core.attach(user("b"), 1, Start::Snapshot, 0);
    core.on_subscribe_reply(&user("b"), Err(Failure::Refused), 0);
    core.event(truth.event(Change::MemberJoined(member("b", 9))), 0);
    assert_eq!(
        requests(&core.attach(user("b"), 1, Start::Snapshot, 0)),
        [&EimRequest::Subscribe { user: user("b"), generation: 1, since: at(11) }]
    );
    let out = core.on_subscribe_reply(&user("b"), Ok(truth.0.clone().into()), 0);
    assert_eq!(frames(&out, "b")[0].0, "conference.snapshot");
    assert_eq!(core.attach(user("b"), 1, Start::Snapshot, 0), [], "who listens already goes on listening");
    assert!(matches!(requests(&core.detach(&user("b"), 1, Ending::Closed, 0))[..], [EimRequest::Unsubscribe { .. }]));
}

#[test]
fn subscription_refused_by_the_eim_is_requested_anew_for_an_admitted_member() {
    let mut truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    for generation in [1, 2] {
        core.attach(user("b"), 1, Start::Snapshot, 0);
        core.event(truth.event(Change::MemberJoined(member("b", 9))), 0);
        assert_eq!(
            requests(&core.attach(user("b"), generation, Start::Snapshot, 0)),
            [] as [&EimRequest; 0],
            "one request at a time"
        );
        let out = core.on_subscribe_reply(&user("b"), Err(Failure::Refused), 0);
        let since = core.log.as_ref().map(Log::end);
        assert_eq!(requests(&out), [&EimRequest::Subscribe { user: user("b"), generation, since }]);
        let out = core.on_subscribe_reply(&user("b"), Ok(truth.0.clone().into()), 0);
        assert_eq!(frames(&out, "b").last().expect("a frame").0, "conference.snapshot");
        let left = Change::MemberLeft(Left { user_id: user("b"), reason: LeftReason::Kicked });
        core.event(truth.event(left), 0);
    }
}

#[test]
fn new_member_gets_a_roster_that_contains_it() {
    for comes_as_event in [true, false] {
        let mut truth = Truth::new(&["a"]);
        let mut core = attached(&truth, &["a"]);
        let joined = truth.event(Change::MemberJoined(member("b", 9)));
        core.attach(user("b"), 1, Start::Snapshot, 0);
        // The EIM's answer overtakes its event.
        assert_eq!(frames(&core.on_subscribe_reply(&user("b"), Ok(truth.0.clone().into()), 0), "b"), []);
        let out = if comes_as_event { core.event(joined, 0) } else { asked_in_vain(&mut core, &truth, CATCH_UP_MS) };
        let snapshot = &frames(&out, "b")[0];
        assert_eq!((snapshot.0.as_str(), &snapshot.1["members"][1]["userId"]), ("conference.snapshot", &"b".into()));
        assert_eq!(frames(&out, "b").len(), 1, "once");
    }
}

#[test]
fn answer_from_before_a_removal_does_not_answer_a_later_request() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["a", "b"]);
    core.detach(&user("b"), 1, Ending::Closed, 0);
    core.event(truth.event(Change::MemberLeft(Left { user_id: user("b"), reason: LeftReason::Kicked })), 0);
    core.event(truth.event(Change::MemberJoined(member("b", 9))), 0);
    assert_eq!(requests(&core.joined(&user("b"), 2, 0)), [] as [&EimRequest; 0], "none may overtake the one under way");
    assert_eq!(requests(&core.tick(20_000)), [] as [&EimRequest; 0]);
    let out = core.on_presence_reply(&user("b"), Ok(()), 20_000);
    assert!(matches!(requests(&out)[..], [EimRequest::Gone { generation: 2, .. }]), "{out:?}");
    core.on_presence_reply(&user("b"), Err(Failure::Unreachable), 20_000);
    assert!(matches!(requests(&core.tick(20_000 + RETRY_MS))[..], [EimRequest::Gone { generation: 2, .. }]));
}

#[test]
fn a_waiting_guest_sees_themselves_only_until_they_are_admitted() {
    let mut truth = Truth::new(&["chair"]);
    let mut guest = member("g", 50);
    guest.state = MemberState::Waiting;
    truth.event(Change::WaitingAdded(guest.clone()));
    let mut core = attached(&truth, &["chair"]);
    core.attach(user("g"), 1, Start::Snapshot, 0);
    let out = core.on_subscribe_reply(&user("g"), Ok(truth.0.clone().into()), 0);
    let snapshot = &frames(&out, "g")[0].1;
    assert_eq!(snapshot["members"].as_array().unwrap().len(), 1);
    assert_eq!(snapshot["members"][0]["state"], "waiting");
    assert!(snapshot.get("messages").is_none() && snapshot.get("waiting").is_none());
    let message = Message { message_id: "m".into(), user_id: user("chair"), text: "secret".into(), time: 0 };
    let out = core.event(truth.event(Change::Message(message)), 0);
    assert_eq!((frames(&out, "g").len(), frames(&out, "chair").len()), (0, 1));
    let gone = WaitingRemoved { user_id: user("g"), reason: WaitingReason::Admitted };
    assert!(frames(&core.event(truth.event(Change::WaitingRemoved(gone)), 0), "g").is_empty());
    let out = core.event(truth.event(Change::MemberJoined(member("g", 50))), 0);
    let snapshot = &frames(&out, "g")[0].1;
    assert_eq!((snapshot["reason"].as_str(), snapshot["members"].as_array().unwrap().len()), (Some("join"), 2));
    assert_eq!(snapshot["messages"][0]["text"], "secret");
}

#[test]
fn admitted_member_gets_a_snapshot_instead_of_events() {
    let mut truth = Truth::new(&["chair"]);
    let mut guest = member("g", 50);
    guest.state = MemberState::Waiting;
    truth.event(Change::WaitingAdded(guest));
    let mut core = attached(&truth, &["chair", "g"]);
    let position = Position { epoch: "e1".into(), seq: truth.0.seq };
    core.detach(&user("g"), 1, Ending::Closed, 0);
    core.on_presence_reply(&user("g"), Ok(()), 0);
    let gone = WaitingRemoved { user_id: user("g"), reason: WaitingReason::Admitted };
    core.event(truth.event(Change::WaitingRemoved(gone)), 0);
    core.event(truth.event(Change::MemberJoined(member("g", 50))), 0);
    core.attach(user("g"), 2, Start::Since(position), 0);
    let out = core.on_subscribe_reply(&user("g"), Ok(truth.0.clone().into()), 0);
    assert_eq!(frames(&out, "g")[0].0, "conference.snapshot");
}

#[test]
fn a_kicked_guest_hears_of_it_is_closed_and_reported() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["a", "b"]);
    core.set_guest(&user("a"));
    let left = Left { user_id: user("a"), reason: LeftReason::Kicked };
    let out = core.event(truth.event(Change::MemberLeft(left)), 0);
    assert_eq!(frames(&out, "a")[0].1["data"]["reason"], "kicked");
    assert!(out.contains(&Effect::Close { user: user("a"), generation: 1, why: Close::Kicked }));
    assert!(out.contains(&Effect::Emit(LifecycleEvent::Removed { user: user("a"), banned: false })));
    assert_eq!(core.detach(&user("a"), 1, Ending::Closed, 0), [], "nothing is left to be told of them");
}

/// The permissions that call gateways are to enforce.
fn granted(effects: &[Effect]) -> Vec<&MediaPermissions> {
    effects.iter().filter_map(|e| if let Effect::Grant(permissions) = e { Some(permissions) } else { None }).collect()
}

#[test]
fn roster_is_enforced_before_anybody_is_notified() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["a", "b"]);
    let mut muted = |core: &mut Core, audio: Audio, hand: bool| {
        core.event(truth.event(Change::MemberUpdated(Member { audio, hand, ..member("a", 0) })), 0)
    };
    for audio in [Audio::Off, Audio::ForcedOff, Audio::Off, Audio::On] {
        let out = muted(&mut core, audio, false);
        let right = right(&Member { audio, ..member("a", 0) });
        assert_eq!(out[0], Effect::Grant(MediaPermissions::Member { user: user("a"), right }));
        assert_eq!(granted(&muted(&mut core, audio, true)), Vec::<&MediaPermissions>::new(), "a hand is no right");
    }
}

fn right(member: &Member) -> Right {
    member.into()
}

#[test]
fn while_nobody_listens_the_roster_of_a_conference_that_has_media_is_looked_at() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = core();
    assert_eq!(requests(&core.place(&user("a"), 5)), [&EimRequest::Snapshot], "at once");
    let out = core.on_snapshot_reply(Ok(truth.0.clone()), 5);
    let (a, b) = (right(&member("a", 0)), right(&member("b", 1)));
    assert_eq!(granted(&out), [&MediaPermissions::All(vec![(user("a"), a), (user("b"), b)])]);
    assert_eq!(core.tick(5 + FOLLOW_MS - 1), []);
    assert_eq!(requests(&core.tick(5 + FOLLOW_MS)), [&EimRequest::Snapshot]);
    truth.event(Change::MemberLeft(Left { user_id: user("a"), reason: LeftReason::Kicked }));
    let out = core.on_snapshot_reply(Ok(truth.0.clone()), 5 + FOLLOW_MS);
    assert_eq!(granted(&out), [&MediaPermissions::All(vec![(user("b"), b)])]);
    assert_eq!(core.tick(1_000_000), [], "who had a place is out");
    assert!(core.is_idle(1_000_000));
    core.place(&user("b"), 1_000_000);
    assert_eq!(core.place(&user("c"), 1_000_001), [], "not yet in what is asked for");
    core.on_snapshot_reply(Ok(truth.0.clone()), 1_000_002);
    assert!(!core.is_idle(u64::MAX), "their places are followed");
}

#[test]
fn call_gateways_are_told_who_is_gone_and_whether_the_chair_sent_them_away() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["b"]);
    for (id, reason, sent_away) in [("a", LeftReason::Kicked, true), ("b", LeftReason::Left, false)] {
        let out = core.event(truth.event(Change::MemberLeft(Left { user_id: user(id), reason })), 900);
        assert_eq!(granted(&out), [&MediaPermissions::Gone { user: user(id), at: 0, sent_away }]);
    }
}

#[test]
fn a_fresh_roster_says_anew_what_everybody_may() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = core();
    core.attach(user("a"), 1, Start::Snapshot, 0);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    let (a, b) = (right(&member("a", 0)), right(&member("b", 1)));
    assert_eq!(granted(&out), [&MediaPermissions::All(vec![(user("a"), a), (user("b"), b)])]);
    // Missed.
    truth.event(Change::MemberUpdated(Member { audio: Audio::ForcedOff, ..member("b", 1) }));
    core.link_up(0);
    assert_eq!(
        core.on_snapshot_reply(Ok(truth.0.clone()), 0),
        [],
        "the answer to the subscription may have the events"
    );
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    assert_eq!(
        granted(&out),
        [&MediaPermissions::All(vec![(user("a"), a), (user("b"), Right { audio: Audio::ForcedOff, ..b })])]
    );
    let out = core.event(truth.event(Change::Ended(conference(ENDED))), 0);
    assert_eq!(granted(&out), [&MediaPermissions::Over]);
}

#[test]
fn non_event_goes_to_members_only() {
    let mut truth = Truth::new(&["a"]);
    let mut guest = member("g", 50);
    guest.state = MemberState::Waiting;
    truth.event(Change::WaitingAdded(guest));
    let core = attached(&truth, &["a", "g", "chair"]);
    let out = core.send_to_members(&r#"{"method":"callgw.changed","params":{}}"#.into());
    assert_eq!((frames(&out, "a").len(), out.len()), (1, 1));
}

#[test]
fn the_end_closes_guests_sockets_and_lets_go_of_the_others() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["a", "b"]);
    core.set_guest(&user("a"));
    let out = core.event(truth.event(Change::Ended(conference(ENDED))), 0);
    for id in ["a", "b"] {
        assert_eq!(frames(&out, id)[0].1["type"], "conference.ended");
    }
    assert!(out.contains(&Effect::Close { user: user("a"), generation: 1, why: Close::Over }));
    assert!(out.contains(&Effect::Release { user: user("b"), generation: 1 }));
    assert_eq!(out.iter().filter(|e| matches!(e, Effect::Close { .. } | Effect::Release { .. })).count(), 2);
    assert!(out.contains(&Effect::Emit(LifecycleEvent::Ended)));
    assert!(core.is_idle(1));
    assert_eq!(core.send_to_members(&"{}".into()), [], "nothing more of it reaches anybody");
}

#[test]
fn a_user_of_the_eim_who_is_kicked_or_denied_hears_of_it_and_nothing_more() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["a", "b"]);
    let left = Left { user_id: user("a"), reason: LeftReason::Kicked };
    let out = core.event(truth.event(Change::MemberLeft(left)), 0);
    assert_eq!(frames(&out, "a")[0].1["data"]["reason"], "kicked");
    assert!(out.contains(&Effect::Release { user: user("a"), generation: 1 }));
    let out = core.event(truth.event(Change::MemberUpdated(member("b", 1))), 0);
    assert_eq!((frames(&out, "a").len(), frames(&out, "b").len()), (0, 1));

    let waiting = Member { state: MemberState::Waiting, ..member("w", 9) };
    truth.event(Change::WaitingAdded(waiting));
    let mut core = attached(&truth, &["w"]);
    let gone = WaitingRemoved { user_id: user("w"), reason: WaitingReason::Denied };
    let out = core.event(truth.event(Change::WaitingRemoved(gone)), 0);
    assert_eq!(frames(&out, "w")[0].1["data"]["reason"], "denied");
    assert!(out.contains(&Effect::Release { user: user("w"), generation: 1 }));
}

/// Sends them away at each moment between their coming in and their first frame; `guest`: their socket is a guest's.
fn sent_away_before_the_first_frame(change: impl Fn() -> Change, guest: bool) -> [Vec<Effect>; 4] {
    let refused = || Err(Failure::Refused);
    let coming = |known: &[&str]| {
        let truth = Truth::new(&["a", "b"]);
        let mut core = attached(&truth, known);
        core.attach(user("b"), 1, Start::Snapshot, 0);
        if guest {
            core.set_guest(&user("b"));
        }
        (truth, core)
    };
    // The event comes before the EIM's answer, where the conference is known here; after it; where it isn't known.
    let (mut truth, mut core) = coming(&["a"]);
    let mut first = core.event(truth.event(change()), 0);
    first.extend(core.on_subscribe_reply(&user("b"), refused(), 0));

    let (mut truth, mut core) = coming(&["a"]);
    let mut second = core.on_subscribe_reply(&user("b"), refused(), 0);
    second.extend(core.event(truth.event(change()), 0));

    let (mut truth, mut core) = coming(&[]);
    let mut third = core.event(truth.event(change()), 0);
    third.extend(core.on_subscribe_reply(&user("b"), refused(), 0));

    // Before their socket is attached.
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["a"]);
    core.event(truth.event(change()), 0);
    let mut fourth = core.attach(user("b"), 1, Start::Snapshot, 0);
    if guest {
        core.set_guest(&user("b"));
    }
    fourth.extend(core.on_subscribe_reply(&user("b"), refused(), 0));
    [first, second, third, fourth]
}

#[test]
fn a_user_of_the_eim_who_is_sent_away_before_their_first_frame_is_told_by_the_event() {
    let left = |reason| move || Change::MemberLeft(Left { user_id: user("b"), reason });
    for (reason, word) in [(LeftReason::Kicked, "kicked"), (LeftReason::Banned, "banned")] {
        for (i, out) in sent_away_before_the_first_frame(left(reason), false).iter().enumerate() {
            let frames = frames(out, "b");
            let events: Vec<&Value> = frames.iter().filter(|f| f.0 == "conference.event").map(|f| &f.1).collect();
            assert_eq!(events.len(), 1, "{word}, case {i}: {frames:?}");
            assert_eq!((&events[0]["type"], &events[0]["data"]["reason"]), (&"member.left".into(), &word.into()));
            let released = Effect::Release { user: user("b"), generation: 1 };
            assert_eq!(out.iter().filter(|e| **e == released).count(), 1, "{word}, case {i}: {out:?}");
        }
    }
    let denied = || Change::WaitingRemoved(WaitingRemoved { user_id: user("b"), reason: WaitingReason::Denied });
    for out in sent_away_before_the_first_frame(denied, false) {
        let last = frames(&out, "b").pop().expect("the event");
        assert_eq!(last.1["type"], "waiting.removed");
    }
    // Where it is known, what precedes the event comes before it.
    let [known, ..] = sent_away_before_the_first_frame(left(LeftReason::Kicked), false);
    let frames = frames(&known, "b");
    assert_eq!((frames[0].0.as_str(), &frames[0].1["seq"]), ("conference.snapshot", &10.into()));
    assert_eq!(frames[1].1["seq"], 11);
}

#[test]
fn a_socket_that_resumes_from_another_position_gets_no_event_out_of_its_place() {
    for (seq, comes_alone) in [(9, false), (10, true)] {
        let mut truth = Truth::new(&["a", "b"]);
        let mut core = attached(&truth, &["a"]);
        let kicked = Change::MemberLeft(Left { user_id: user("b"), reason: LeftReason::Kicked });
        core.event(truth.event(kicked), 0);
        core.attach(user("b"), 1, Start::Since(Position { epoch: "e1".into(), seq }), 0);
        let out = core.on_subscribe_reply(&user("b"), Err(Failure::Refused), 0);
        assert_eq!(!frames(&out, "b").is_empty(), comes_alone, "{seq}: {out:?}");
    }
}

#[test]
fn a_guest_who_is_sent_away_before_their_first_frame_hears_no_event() {
    let kicked = || Change::MemberLeft(Left { user_id: user("b"), reason: LeftReason::Kicked });
    for out in sent_away_before_the_first_frame(kicked, true) {
        assert_eq!(frames(&out, "b"), [], "their socket's close says it");
    }
}

#[test]
fn a_user_who_is_refused_for_another_reason_hears_nothing_and_may_come_again() {
    let mut truth = Truth::new(&["a"]);
    let mut core = attached(&truth, &["a"]);
    core.attach(user("b"), 1, Start::Snapshot, 0);
    let mut out = core.on_subscribe_reply(&user("b"), Err(Failure::Refused), 0);
    out.extend(core.tick(RETRY_MS));
    assert_eq!(frames(&out, "b"), []);
    out = core.attach(user("b"), 1, Start::Snapshot, RETRY_MS);
    assert_eq!(requests(&out), [&EimRequest::Subscribe { user: user("b"), generation: 1, since: at(10) }]);
    core.event(truth.event(Change::MemberJoined(member("b", 1))), RETRY_MS);
    out = core.on_subscribe_reply(&user("b"), Ok(truth.0.clone().into()), RETRY_MS);
    assert_eq!(frames(&out, "b")[0].0, "conference.snapshot");
}

#[test]
fn a_conference_whose_last_listener_was_refused_is_idle_in_the_end() {
    let mut core = core();
    core.attach(user("b"), 1, Start::Snapshot, 0);
    core.on_subscribe_reply(&user("b"), Err(Failure::Refused), 0);
    core.tick(1);
    assert!(!core.is_idle(1) && core.is_idle(1 + LIMITS.window_ms));
}

#[test]
fn remaining_socket_is_told_of_an_end_without_an_event() {
    // Where the EIM has forgotten the conference meanwhile: asked for the roster, or for the subscription.
    for by_roster in [true, false] {
        let truth = Truth::new(&["a"]);
        let mut core = attached(&truth, &["a"]);
        core.link_up(0);
        let out = match by_roster {
            true => core.on_snapshot_reply(Err(Failure::NoConference), 0),
            false => core.on_subscribe_reply(&user("a"), Err(Failure::NoConference), 0),
        };
        assert_eq!(frames(&out, "a")[0].1["conference"]["state"], ENDED, "{out:?}");
        assert!(out.contains(&Effect::Release { user: user("a"), generation: 1 }));
    }
}

#[test]
fn while_the_eim_is_away_nothing_is_lost_and_everything_is_asked_again() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["a", "b"]);
    core.detach(&user("b"), 1, Ending::Closed, 0);
    core.on_presence_reply(&user("b"), Err(Failure::Unreachable), 0);
    assert_eq!(core.tick(RETRY_MS - 1), []);
    assert!(matches!(requests(&core.tick(RETRY_MS))[..], [EimRequest::Unsubscribe { .. }]));
    core.on_presence_reply(&user("b"), Ok(()), RETRY_MS);
    truth.event(Change::MemberUpdated(member("b", 1)));
    let out = core.link_up(RETRY_MS);
    assert!(requests(&out).contains(&&EimRequest::Subscribe { user: user("a"), generation: 1, since: at(10) }));
    assert!(requests(&out).contains(&&EimRequest::Snapshot));
    core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), RETRY_MS);
    let out = core.on_snapshot_reply(Ok(truth.0.clone()), RETRY_MS);
    assert!(frames(&out, "a").len() <= 1, "told at most once what was missed");
}

#[test]
fn a_roster_that_another_stream_brings_early_waits_for_its_events() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = attached(&truth, &["a"]);
    let joined = truth.event(Change::MemberJoined(member("c", 9)));
    core.attach(user("b"), 1, Start::Snapshot, 0);
    let out = core.on_subscribe_reply(&user("b"), Ok(truth.0.clone().into()), 0);
    assert_eq!(frames(&out, "b")[0].1["seq"], 10);
    let out = core.event(joined, 10);
    assert_eq!((frames(&out, "a").len(), frames(&out, "b").len()), (1, 1));
    assert_eq!(core.tick(CATCH_UP_MS + 1), [], "the events came by themselves");
}

/// As [`attached`], with looks at the EIM.
fn looking(truth: &Truth, users: &[&str]) -> Core {
    let mut core = attached(truth, users);
    core.limits.look_ms = 1000;
    core.look = look::Look::new(1000);
    core
}

#[test]
fn an_eim_that_counts_anew_is_subscribed_to_again() {
    let mut truth = Truth::new(&["a", "b"]);
    let mut core = looking(&truth, &["a", "b"]);
    assert_eq!(requests(&core.tick(999)), [] as [&EimRequest; 0]);
    assert_eq!(requests(&core.tick(1000)), [&EimRequest::Look]);
    assert_eq!(requests(&core.tick(5000)), [] as [&EimRequest; 0], "one at a time");
    assert_eq!(core.on_look_reply(Ok(truth.0.clone()), 1100), [], "nothing has changed");
    assert_eq!(requests(&core.tick(2100)), [&EimRequest::Look]);
    (truth.0.epoch, truth.0.seq) = ("e2".into(), 1);
    let out = core.on_look_reply(Ok(truth.0.clone()), 2200);
    assert_eq!(frames(&out, "a")[0].1["reason"], "epoch");
    let subscribed =
        requests(&out).into_iter().filter(|request| matches!(request, EimRequest::Subscribe { .. })).count();
    assert_eq!(subscribed, 2);
}

#[test]
fn events_that_never_come_are_subscribed_to_again() {
    let mut truth = Truth::new(&["a"]);
    let mut core = looking(&truth, &["a"]);
    core.tick(1000);
    let missed = truth.event(Change::MemberJoined(member("b", 9)));
    // They may only be on their way.
    assert_eq!(core.on_look_reply(Ok(truth.0.clone()), 1100), []);
    core.event(missed, 1200);
    assert_eq!(requests(&core.tick(1100 + CATCH_UP_MS)), [] as [&EimRequest; 0]);
    core.tick(2100);
    truth.event(Change::MemberJoined(member("c", 10)));
    core.on_look_reply(Ok(truth.0.clone()), 2200);
    let out = asked_in_vain(&mut core, &truth, 2200 + CATCH_UP_MS);
    assert_eq!(frames(&out, "a")[0].0, "conference.snapshot");
}

#[test]
fn a_refused_subscription_is_told_and_asked_for_until_it_is_granted() {
    let truth = Truth::new(&["a"]);
    let mut core = looking(&truth, &[]);
    core.attach(user("a"), 1, Start::Snapshot, 0);
    assert_eq!(core.on_subscribe_reply(&user("a"), Err(Failure::Unwilling), 0), [], "it may have been a moment's");
    assert!(matches!(requests(&core.tick(RETRY_MS))[..], [EimRequest::Subscribe { .. }]));
    let out = core.on_subscribe_reply(&user("a"), Err(Failure::Unwilling), RETRY_MS);
    assert_eq!(frames(&out, "a"), [("degraded".into(), serde_json::json!({"part": "events", "since": RETRY_MS}))]);
    assert!(core.is_refused());
    assert!(matches!(requests(&core.tick(2 * RETRY_MS))[..], [EimRequest::Subscribe { .. }]));
    assert_eq!(core.on_subscribe_reply(&user("a"), Err(Failure::Unwilling), 2 * RETRY_MS), [], "said once");
    core.tick(3 * RETRY_MS);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 3 * RETRY_MS);
    let told: Vec<String> = frames(&out, "a").into_iter().map(|(method, _)| method).collect();
    assert_eq!(told, ["restored", "conference.snapshot"]);
    assert!(!core.is_refused());
}

#[test]
fn creator_gets_the_creation_event_instead_of_a_snapshot() {
    let mut roster = Truth::new(&[]).0;
    roster.seq = 1;
    let chair = roster.conference.chair.clone();
    let mut core = self::core();
    core.attach(chair.clone(), 1, Start::Creation, 0);
    let out = core.on_subscribe_reply(&chair, Ok(roster.clone().into()), 7);
    let told = frames(&out, chair.as_str());
    assert_eq!((told.len(), told[0].0.as_str()), (1, "conference.event"));
    let event: Event = serde_json::from_value(told[0].1.clone()).unwrap();
    assert_eq!((event.seq, event.epoch.as_str(), event.actor.as_ref()), (1, roster.epoch.as_str(), Some(&chair)));
    assert_eq!(event.change, Change::Created(roster.conference.clone()));
    // Told by the EIM as well, it is a repeat.
    assert_eq!(frames(&core.event(event, 8), chair.as_str()), []);

    let mut core = self::core();
    core.attach(chair.clone(), 1, Start::Creation, 0);
    let out = core.on_subscribe_reply(&chair, Ok(Roster { seq: 2, ..roster }.into()), 7);
    assert_eq!(frames(&out, chair.as_str())[0].0, "conference.snapshot", "more has happened in it");
}

#[test]
fn a_refused_roster_is_told_to_all_who_listen_until_it_is_granted() {
    let truth = Truth::new(&["a", "b"]);
    let mut core = looking(&truth, &["a", "b"]);
    core.link_up(0);
    let out = core.on_snapshot_reply(Err(Failure::Unwilling), 10);
    for id in ["a", "b"] {
        assert_eq!(frames(&out, id), [("degraded".into(), serde_json::json!({"part": "events", "since": 10}))]);
    }
    assert!(core.is_refused());
    assert_eq!(core.on_snapshot_reply(Err(Failure::Unwilling), 20), [], "said once");
    let out = core.on_snapshot_reply(Ok(truth.0.clone()), 30);
    assert_eq!(frames(&out, "a")[0].0, "restored");
    assert!(!core.is_refused());
}

#[test]
fn socket_that_was_taken_over_elsewhere_is_reported_when_the_other_node_had_its_time() {
    let mut core = attached(&Truth::new(&["a", "b"]), &["a", "b"]);
    assert_eq!(core.detach(&user("a"), 1, Ending::TakenOver, 1000), []);
    assert_eq!(core.tick(1000 + 1999), []);
    let out = core.tick(1000 + 2000);
    let unsubscribe = EimRequest::Unsubscribe { user: user("a"), generation: 1, linger_ms: LIMITS.window_ms };
    assert_eq!(requests(&out), [&unsubscribe]);
}
