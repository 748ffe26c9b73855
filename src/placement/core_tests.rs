use super::*;
use crate::event::Role;

fn conf() -> ConfId {
    ConfId::parse("c1").unwrap()
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn at(gateway: &str, assigned_at: u64) -> Allocation {
    Allocation { gateway_id: gateway.to_owned(), more: Vec::new(), assigned_at }
}

fn well(id: &str) -> Seen {
    Seen { id: id.to_owned(), judged: true, fault: None, leave: false, openings: 1 }
}

fn dead(id: &str) -> Seen {
    Seen { fault: Some(Fault::Down), ..well(id) }
}

/// A conference of two at `a`, whose second member is muted; `a` and `b` are well.
fn placed() -> Core {
    let mut core = Core::default();
    core.survey(vec![well("a"), well("b")]);
    core.granted(conf(), MediaPermissions::All(vec![(user("u1"), right(true)), (user("u2"), right(false))]), 0);
    core.placed(&conf(), at("a", 1));
    core
}

/// A guest with a closed camera, who may speak or is silenced.
fn right(audio: bool) -> Right {
    let audio = if audio { Audio::On } else { Audio::ForcedOff };
    Right { role: Role::Guest, audio, video: Video::Off }
}

fn member(name: &str, audio: bool) -> MediaPermissions {
    MediaPermissions::Member { user: user(name), right: right(audio) }
}

fn permit(gateway: &str, name: &str, audio: bool) -> Effect {
    let closed = Closed { audio: false, video: true };
    let (room, name) = (conf(), user(name));
    let command = ToNode::Permit { room, name, audio, video: false, closed, role: Some(Role::Guest) };
    Effect::Send { gateway: gateway.to_owned(), command }
}

fn expel(gateway: &str, name: &str, issued_until: u64) -> Effect {
    let command = ToNode::Expel { room: conf(), name: user(name), issued_until };
    Effect::Send { gateway: gateway.to_owned(), command }
}

fn announce(from: Option<&str>, to: Option<&str>, reason: Reason) -> Effect {
    Effect::Announce(conf(), Change { from: from.map(str::to_owned), to: to.map(str::to_owned), reason })
}

fn leave(from: &str, members: u64) -> Effect {
    Effect::Move { conf: conf(), from: from.to_owned(), members }
}

/// The same, in an order of their own: members have none.
fn sorted(mut effects: Vec<Effect>) -> Vec<Effect> {
    effects.sort_by_key(|effect| format!("{effect:?}"));
    effects
}

#[test]
fn earlier_decisions_are_told_once_the_gateway_is_known() {
    let mut core = Core::default();
    core.survey(vec![well("a")]);
    let out = core.granted(conf(), member("u1", false), 0);
    assert_eq!(out, [Effect::Locate(conf())]);
    assert_eq!(core.granted(conf(), member("u1", false), 0), [], "asked once");
    assert_eq!(core.placed(&conf(), at("a", 1)), [permit("a", "u1", false)]);
    assert_eq!(core.placed(&conf(), at("a", 1)), []);
}

#[test]
fn a_mute_a_kick_and_the_end_reach_the_gateway_at_once() {
    let mut core = placed();
    let muted = core.granted(conf(), member("u1", false), 0);
    assert_eq!(muted, [permit("a", "u1", false)]);
    let kicked = core.granted(conf(), MediaPermissions::Gone { user: user("u2"), at: 77, sent_away: true }, 0);
    assert_eq!(kicked, [expel("a", "u2", 77), Effect::Left(user("u2"))]);
    let close = Effect::Send { gateway: "a".into(), command: ToNode::CloseRoom { room: conf() } };
    assert_eq!(core.granted(conf(), MediaPermissions::Over, 0), [close, Effect::Left(user("u1"))]);
    assert_eq!(core.len(), 0);
}

#[test]
fn a_link_that_opens_hears_all_that_holds_on_that_gateway_and_no_other() {
    let mut core = placed();
    core.granted(conf(), MediaPermissions::Gone { user: user("u1"), at: 5, sent_away: true }, 0);
    let other = ConfId::parse("c2").unwrap();
    core.granted(other.clone(), member("u9", true), 0);
    core.placed(&other, at("b", 1));
    let opened = |openings| vec![Seen { openings, ..well("a") }, well("b")];
    assert_eq!(core.survey(opened(1)), [], "it has heard all");
    assert_eq!(core.survey(opened(2)), [expel("a", "u1", 5), permit("a", "u2", false)]);
    core.granted(conf(), member("u1", true), 0);
    assert_eq!(sorted(core.survey(opened(3))), [permit("a", "u1", true), permit("a", "u2", false)], "u1 is back");
    core.granted(conf(), MediaPermissions::Over, 9);
    let close = Effect::Send { gateway: "a".into(), command: ToNode::CloseRoom { room: conf() } };
    assert_eq!(core.survey(opened(4)), [close]);
}

#[test]
fn a_roster_that_was_missed_expels_who_is_no_longer_in_it() {
    let mut core = placed();
    let out =
        core.granted(conf(), MediaPermissions::All(vec![(user("u2"), right(true)), (user("u3"), right(true))]), 50);
    let expected = [expel("a", "u1", 50), Effect::Left(user("u1")), permit("a", "u2", true), permit("a", "u3", true)];
    assert_eq!(sorted(out), sorted(expected.to_vec()));
}

#[test]
fn conferences_of_a_dead_gateway_move_once_and_members_are_told_where() {
    let mut core = placed();
    assert_eq!(core.survey(vec![dead("a"), well("b")]), [leave("a", 2)]);
    assert_eq!(core.survey(vec![dead("a"), well("b")]), [], "under way");
    let out = core.placed(&conf(), at("b", 2));
    assert_eq!(out[0], announce(Some("a"), Some("b"), Reason::Down));
    assert_eq!(out[1], Effect::SendOn { gateway: "a".into(), conf: conf(), to: "b".into() });
    assert_eq!(sorted(out[2..].to_vec()), [permit("b", "u1", true), permit("b", "u2", false)]);
    assert_eq!(core.survey(vec![dead("a"), well("b")]), []);
    assert_eq!(core.placed(&conf(), at("a", 1)), [], "an older word");
}

#[test]
fn with_no_gateway_left_members_are_told_so_once_and_again_when_there_is_one() {
    let mut core = placed();
    let all_dead = || vec![dead("a"), dead("b")];
    assert_eq!(core.survey(all_dead()), [leave("a", 2)]);
    assert_eq!(core.stays(&conf()), [announce(Some("a"), None, Reason::Down)]);
    assert_eq!(core.survey(all_dead()), [leave("a", 2)], "tried again");
    assert_eq!(core.stays(&conf()), []);
    assert_eq!(core.survey(vec![dead("a"), well("b")]), [leave("a", 2)]);
    assert_eq!(core.placed(&conf(), at("b", 2))[0], announce(None, Some("b"), Reason::Down));
}

#[test]
fn the_same_gateway_coming_back_is_told_too() {
    let mut core = placed();
    core.survey(vec![dead("a")]);
    core.stays(&conf());
    assert_eq!(core.survey(vec![well("a")]), [announce(None, Some("a"), Reason::Moved)]);
    assert_eq!(core.survey(vec![well("a")]), []);
}

#[test]
fn a_drained_gateway_is_left_at_its_deadline_if_there_is_another() {
    let mut core = placed();
    let leaving = || vec![Seen { leave: true, ..well("a") }, well("b")];
    assert_eq!(core.survey(leaving()), [leave("a", 2)]);
    assert_eq!(core.stays(&conf()), [], "better there than nowhere");
    assert_eq!(core.survey(leaving()), [leave("a", 2)]);
    assert_eq!(core.placed(&conf(), at("b", 2))[0], announce(Some("a"), Some("b"), Reason::Drain));
}

#[test]
fn a_gateway_of_which_nothing_is_known_yet_is_not_left() {
    let mut core = placed();
    let unjudged = || vec![Seen { judged: false, ..dead("a") }, well("b")];
    assert_eq!(core.survey(unjudged()), []);
    assert_eq!(core.survey(vec![dead("a"), well("b")]), [leave("a", 2)]);
    core.stays(&conf());
    assert_eq!(core.survey(unjudged()), [], "it may be back: members learn so when it is");
    assert_eq!(core.survey(vec![well("a")]), [announce(None, Some("a"), Reason::Moved)]);
}

#[test]
fn a_gateway_that_is_not_known_here_is_left_only_if_the_register_was_read_later() {
    let mut core = placed();
    core.placed(&conf(), at("new", 10));
    core.register_read(10);
    assert_eq!(core.survey(vec![well("a"), well("b")]), [], "it may have come since");
    core.register_read(11);
    assert_eq!(core.survey(vec![well("a"), well("b")]), [leave("new", 2)]);
    assert_eq!(core.placed(&conf(), at("b", 12))[0], announce(Some("new"), Some("b"), Reason::Down));
}

#[test]
fn failed_store_request_is_repeated() {
    let mut core = placed();
    assert_eq!(core.survey(vec![dead("a"), well("b")]), [leave("a", 2)]);
    core.not_yet(&conf());
    assert_eq!(core.survey(vec![dead("a"), well("b")]), [leave("a", 2)]);
}

#[test]
fn a_conference_that_ended_on_the_way_leaves_nothing_in_the_store() {
    let mut core = placed();
    core.survey(vec![dead("a"), well("b")]);
    core.granted(conf(), MediaPermissions::Over, 0);
    assert_eq!(core.placed(&conf(), at("b", 2)), [Effect::Release(conf())]);
    assert_eq!(core.placed(&ConfId::parse("elsewhere").unwrap(), at("b", 2)), [], "followed by others");
}

#[test]
fn departed_members_are_remembered_within_bounds() {
    let mut core = placed();
    for i in 0..2 * GONE_MAX as u64 {
        core.granted(conf(), MediaPermissions::Gone { user: user(&format!("g{i}")), at: i, sent_away: true }, i);
    }
    let told = core.survey(vec![Seen { openings: 2, ..well("a") }]);
    assert_eq!(told.len(), GONE_MAX + 2);
    assert!(told.contains(&expel("a", &format!("g{}", 2 * GONE_MAX - 1), 2 * GONE_MAX as u64 - 1)), "the latest are");
}

fn grown(nodes: &[&str], assigned_at: u64) -> Allocation {
    let (first, more) = nodes.split_first().unwrap();
    Allocation { more: more.iter().map(|id| (*id).to_owned()).collect(), ..at(first, assigned_at) }
}

fn cascade(nodes: &[&str], left: &[&str]) -> Effect {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    Effect::Cascade { conf: conf(), nodes: owned(nodes), left: owned(left) }
}

#[test]
fn a_conference_that_grows_is_enforced_at_each_gateway_and_nobody_is_sent_away() {
    let mut core = placed();
    let out = core.placed(&conf(), grown(&["a", "b"], 2));
    assert_eq!(sorted(out[..2].to_vec()), [permit("b", "u1", true), permit("b", "u2", false)]);
    assert_eq!(out[2..], [cascade(&["a", "b"], &[])]);
    assert_eq!(core.cascades(), [cascade(&["a", "b"], &[])], "with new tokens");
    let muted = core.granted(conf(), member("u1", false), 0);
    assert_eq!(muted, [permit("a", "u1", false), permit("b", "u1", false)]);
    let opened = core.survey(vec![well("a"), Seen { openings: 2, ..well("b") }]);
    assert_eq!(
        sorted(opened),
        sorted(vec![permit("b", "u1", false), permit("b", "u2", false), cascade(&["a", "b"], &[])])
    );
    let close = |id: &str| Effect::Send { gateway: id.into(), command: ToNode::CloseRoom { room: conf() } };
    assert_eq!(core.granted(conf(), MediaPermissions::Over, 0)[..2], [close("a"), close("b")]);
    assert_eq!(core.cascades(), []);
}

#[test]
fn conference_stays_at_its_other_gateway_when_one_dies_or_drains() {
    for (gone, stays) in [("a", "b"), ("b", "a")] {
        let mut core = placed();
        core.placed(&conf(), grown(&["a", "b"], 2));
        let leaving = || vec![Seen { leave: true, ..well(gone) }, well(stays)];
        let leave = Effect::Leave { conf: conf(), at: grown(&["a", "b"], 2), from: gone.to_owned() };
        assert_eq!(core.survey(leaving()), [leave]);
        assert_eq!(core.survey(leaving()), [], "under way");
        let send_on = Effect::SendOn { gateway: gone.into(), conf: conf(), to: stays.into() };
        let told = announce(Some(gone), Some(stays), Reason::Drain);
        assert_eq!(core.placed(&conf(), at(stays, 3)), [told, send_on, cascade(&[stays], &[gone])]);
        assert_eq!((core.survey(leaving()), core.cascades()), (vec![], vec![]));
    }
}
