//! The effect of each action, and the roles that may order it.

use super::world::{World, conference, refusal, via};
use crate::event::{Audio, Member, MutePolicy, Role, Video};

const OWN: [&str; 6] = ["muteSelf", "unmuteSelf", "openCamera", "closeCamera", "raiseHand", "lowerHand"];
const ORDERS: [&str; 14] = [
    "mute",
    "unmute",
    "muteAll",
    "unmuteAll",
    "allowUnmute",
    "kick",
    "ban",
    "lock",
    "unlock",
    "setMainVideo",
    "setChair",
    "admit",
    "deny",
    "end",
];

fn full_house() -> (World, String) {
    let mut world = World::new();
    let conf = world.conference(&[]);
    for user in ["ann", "ben", "cat"] {
        world.join(user, &conf).unwrap();
        world.pass(1);
    }
    (world, conf)
}

fn seen(world: &mut World, conf: &str, user: &str) -> Member {
    world.snapshot(conf).members.into_iter().find(|m| m.user_id.as_str() == user).unwrap()
}

fn audio(world: &mut World, conf: &str, user: &str) -> Audio {
    seen(world, conf, user).audio
}

#[test]
fn orders_are_the_chairs_and_acts_ones_own() {
    let (mut world, conf) = full_house();
    let before = world.snapshot(&conf);
    for action in ORDERS.into_iter().chain(["lowerHand"]) {
        let attrs = [("action", action), ("userId", "cat")];
        assert_eq!(refusal(world.control("ben", &conf, &attrs)), "forbidden conference.chairOnly", "{action}");
        assert_eq!(refusal(world.control("dan", &conf, &attrs)), "forbidden conference.notMember", "{action}");
    }
    for action in OWN {
        let attrs = [("action", action)];
        assert_eq!(refusal(world.control("dan", &conf, &attrs)), "forbidden conference.notMember", "{action}");
        if action != "lowerHand" {
            let other = [("action", action), ("userId", "cat")];
            assert_eq!(refusal(world.control("ben", &conf, &other)), "bad-request argument.invalid", "{action}");
        }
    }
    for action in ["mute", "unmute", "allowUnmute", "kick", "ban", "setMainVideo", "setChair", "admit", "deny"] {
        let attrs = [("action", action), ("userId", "dan")];
        assert_eq!(refusal(world.control("ann", &conf, &attrs)), "item-not-found member.notFound", "{action}");
    }
    for action in ["mute", "unmute", "allowUnmute", "kick", "ban", "setChair", "admit", "deny"] {
        let nobody = world.control("ann", &conf, &[("action", action)]);
        assert_eq!(refusal(nobody), "bad-request argument.invalid", "{action}");
    }
    assert_eq!(refusal(world.control("ann", &conf, &[("action", "explode")])), "bad-request argument.invalid");
    assert_eq!(world.snapshot(&conf), before, "a refusal changes nothing");
    world.control("ann", &conf, &[("action", "end")]).unwrap();
    for action in OWN.into_iter().chain(ORDERS) {
        assert_eq!(refusal(world.control("ann", &conf, &[("action", action)])), "gone conference.ended", "{action}");
    }
}

#[test]
fn acts_about_oneself_are_told_once_and_repeats_are_not() {
    let (mut world, conf) = full_house();
    let chair = "ann@ips3000/home";
    world.subscribe(chair, &conf, "own", 1).unwrap();
    let before = world.snapshot(&conf).seq;
    let act = |world: &mut World, action: &str| world.control("ben", &conf, &[("action", action)]).unwrap();
    for (i, action) in
        ["unmuteSelf", "muteSelf", "openCamera", "closeCamera", "raiseHand", "lowerHand"].iter().enumerate()
    {
        let seq = act(&mut world, action);
        assert_eq!(seq, before + 1 + i as u64, "{action}");
        assert_eq!(act(&mut world, action), seq, "{action} again");
        let heard = world.events_at(chair);
        assert_eq!(heard.len(), 1);
        assert_eq!((heard[0].seq, heard[0].actor.as_ref().unwrap().as_str()), (seq, "ben"));
    }
    act(&mut world, "openCamera");
    act(&mut world, "raiseHand");
    let ben = seen(&mut world, &conf, "ben");
    assert_eq!((ben.video, ben.hand, ben.audio), (Video::On, true, Audio::Off));
    world.control("ann", &conf, &[("action", "lowerHand"), ("userId", "ben")]).unwrap();
    assert!(!seen(&mut world, &conf, "ben").hand);
}

#[test]
fn a_forced_mute_holds_until_the_chair_lifts_it_even_over_leaving() {
    let (mut world, conf) = full_house();
    let ben = [("userId", "ben")];
    let order = |world: &mut World, action| world.control("ann", &conf, &[("action", action), ben[0]]).unwrap();
    let unmute = |world: &mut World| world.control("ben", &conf, &[("action", "unmuteSelf")]);
    order(&mut world, "mute");
    assert_eq!(audio(&mut world, &conf, "ben"), Audio::ForcedOff);
    assert_eq!(refusal(unmute(&mut world)), "forbidden conference.unmuteDenied");
    world.control("ben", &conf, &[("action", "muteSelf")]).unwrap();
    assert_eq!(audio(&mut world, &conf, "ben"), Audio::ForcedOff, "muting oneself lifts nothing");
    world.set(&via("ben"), "leave", &[("confId", &conf)]).unwrap();
    world.eim = world.reloaded();
    assert_eq!(world.join("ben", &conf).unwrap().audio, Audio::ForcedOff);
    order(&mut world, "allowUnmute");
    assert_eq!(audio(&mut world, &conf, "ben"), Audio::Off);
    unmute(&mut world).unwrap();
    world.set(&via("ben"), "leave", &[("confId", &conf)]).unwrap();
    assert_eq!(world.join("ben", &conf).unwrap().audio, Audio::Off, "free to speak, and silent at first");
    unmute(&mut world).unwrap();
}

#[test]
fn a_chair_asks_for_a_microphone_and_only_its_owner_opens_it() {
    let (mut world, conf) = full_house();
    let state = |world: &mut World| {
        let ben = seen(world, &conf, "ben");
        (ben.audio, ben.unmute_asked)
    };
    let order = |world: &mut World, action| {
        world.control("ann", &conf, &[("action", action), ("userId", "ben")]).unwrap();
        state(world)
    };
    let act = |world: &mut World, action| {
        world.control("ben", &conf, &[("action", action)]).unwrap();
        state(world)
    };
    let (asked, silent, speaking) = ((Audio::Off, true), (Audio::Off, false), (Audio::On, false));
    assert_eq!(order(&mut world, "unmute"), asked, "who is silent is asked");
    assert_eq!(act(&mut world, "muteSelf"), silent, "no");
    assert_eq!(order(&mut world, "unmute"), asked, "asked again");
    assert_eq!(act(&mut world, "unmuteSelf"), speaking, "yes");
    assert_eq!(order(&mut world, "unmute"), speaking, "who speaks is not asked");
    assert_eq!(act(&mut world, "muteSelf"), silent);
    assert_eq!(order(&mut world, "allowUnmute"), silent, "nothing was forbidden");
    for lifted in ["unmute", "allowUnmute"] {
        assert_eq!(order(&mut world, "mute"), (Audio::ForcedOff, false));
        assert_eq!(order(&mut world, lifted), asked, "{lifted}");
    }
    world.eim = world.reloaded();
    assert_eq!(state(&mut world), asked, "over a restart");
    assert_eq!(order(&mut world, "mute"), (Audio::ForcedOff, false), "the question is taken back");
}

#[test]
fn everybody_is_asked_at_once_and_the_seats_of_those_who_are_away_are_free() {
    let (mut world, conf) = full_house();
    world.join("dan", &conf).unwrap();
    world.control("cat", &conf, &[("action", "unmuteSelf")]).unwrap();
    world.control("ann", &conf, &[("action", "mute"), ("userId", "ben")]).unwrap();
    world.control("ann", &conf, &[("action", "mute"), ("userId", "dan")]).unwrap();
    let gone = [("node", "n1"), ("generation", "1"), ("state", "gone"), ("keepMs", "40000")];
    world.presence("dan", &conf, &gone).unwrap();
    world.control("ann", &conf, &[("action", "unmuteAll")]).unwrap();
    let state = |world: &mut World, user| {
        let member = seen(world, &conf, user);
        (member.audio, member.unmute_asked)
    };
    assert_eq!(state(&mut world, "ann"), (Audio::Off, false), "who asks is not asked");
    assert_eq!(state(&mut world, "ben"), (Audio::Off, true));
    assert_eq!(state(&mut world, "cat"), (Audio::On, false));
    assert_eq!(world.join("dan", &conf).unwrap().audio, Audio::Off);
}

#[test]
fn muting_all_binds_those_who_come_later() {
    let (mut world, conf) = full_house();
    let policy = |world: &mut World| world.snapshot(&conf).conference.mute_policy;
    let all = |world: &mut World| ["ann", "ben", "cat"].map(|user| audio(world, &conf, user));
    for user in ["ann", "ben"] {
        world.control(user, &conf, &[("action", "unmuteSelf")]).unwrap();
    }
    world.control("ann", &conf, &[("action", "mute"), ("userId", "cat")]).unwrap();
    world.control("ann", &conf, &[("action", "muteAll")]).unwrap();
    assert_eq!(all(&mut world), [Audio::On, Audio::Off, Audio::ForcedOff]);
    assert_eq!(policy(&mut world), MutePolicy::JoinMuted);
    assert_eq!(world.join("dan", &conf).unwrap().audio, Audio::Off);
    world.control("dan", &conf, &[("action", "unmuteSelf")]).unwrap();
    world.control("ann", &conf, &[("action", "muteAll"), ("value", "locked")]).unwrap();
    assert_eq!(all(&mut world), [Audio::On, Audio::ForcedOff, Audio::ForcedOff]);
    assert_eq!(policy(&mut world), MutePolicy::Locked);
    let denied = world.control("dan", &conf, &[("action", "unmuteSelf")]);
    assert_eq!(refusal(denied), "forbidden conference.unmuteDenied");
    world.control("ann", &conf, &[("action", "muteAll")]).unwrap();
    assert_eq!(policy(&mut world), MutePolicy::Locked, "muting all loosens nothing");
    assert_eq!(world.join("eve", &conf).unwrap().audio, Audio::ForcedOff);
    world.control("ann", &conf, &[("action", "unmuteAll")]).unwrap();
    assert_eq!(all(&mut world), [Audio::On, Audio::Off, Audio::Off], "nobody's microphone is opened for them");
    assert_eq!(policy(&mut world), MutePolicy::Free);
    world.control("ben", &conf, &[("action", "unmuteSelf")]).unwrap();
}

#[test]
fn a_policy_that_changes_binds_and_frees_those_who_are_in() {
    let (mut world, conf) = full_house();
    let update = |world: &mut World, policy| {
        let updated = world.set(&via("ann"), "update", &[("confId", &conf), ("mutePolicy", policy)]).unwrap();
        conference(updated.child("conference").unwrap()).mute_policy
    };
    assert_eq!(update(&mut world, "locked"), MutePolicy::Locked);
    assert_eq!(audio(&mut world, &conf, "ben"), Audio::ForcedOff);
    assert_eq!(audio(&mut world, &conf, "ann"), Audio::Off, "a chair is never forced");
    update(&mut world, "joinMuted");
    assert_eq!(audio(&mut world, &conf, "ben"), Audio::Off);
}

#[test]
fn the_chair_is_handed_over_and_stays_with_whom_it_was_given() {
    let (mut world, conf) = full_house();
    world.guest("g1", &conf);
    world.join("g1", &conf).unwrap();
    world.control("ann", &conf, &[("action", "muteAll"), ("value", "locked")]).unwrap();
    world.control("ann", &conf, &[("action", "setChair"), ("userId", "g1")]).unwrap();
    let guest = seen(&mut world, &conf, "g1");
    assert_eq!((guest.role, guest.audio), (Role::Chair, Audio::Off));
    assert_eq!(seen(&mut world, &conf, "ann").role, Role::Member);
    assert_eq!(refusal(world.control("ann", &conf, &[("action", "lock")])), "forbidden conference.chairOnly");
    world.set(&via("g1"), "leave", &[("confId", &conf)]).unwrap();
    world.set(&via("ann"), "leave", &[("confId", &conf)]).unwrap();
    world.eim = world.reloaded();
    assert_eq!(world.join("ann", &conf).unwrap().role, Role::Member);
    assert_eq!(world.join("g1", &conf).unwrap().role, Role::Chair, "the role is bound to the identity");
    world.control("g1", &conf, &[("action", "setChair"), ("userId", "ben")]).unwrap();
    assert_eq!(seen(&mut world, &conf, "g1").role, Role::Guest);
}

#[test]
fn subscribed_chair_gets_the_creation_event() {
    let mut world = World::new();
    world.listen("ann", "n1", 1).unwrap();
    world.listen("ben", "n1", 1).unwrap();
    let conf = world.conference(&[]);
    let heard = world.events_at(&via("ann"));
    assert_eq!((heard.len(), heard[0].seq, heard[0].change.name()), (1, 1, "conference.created"));
    assert_eq!(heard[0].conf_id.as_str(), conf);
    assert_eq!(heard[0].epoch, world.snapshot(&conf).epoch);
    assert_eq!(world.hear_types(&via("ben")), "", "it is nobody else's");
}

#[test]
fn a_chairs_link_makes_a_further_chair_with_a_seat_of_their_own() {
    let mut world = World::new();
    let conf = world.conference(&[("startAt", "2000000"), ("lobby", "true")]);
    for chair in ["c1", "c2"] {
        world.linked(chair, &conf, "chair");
    }
    world.linked("m1", &conf, "member");
    let roles = |world: &mut World| -> Vec<(String, Role)> {
        world.snapshot(&conf).members.into_iter().map(|m| (m.user_id.to_string(), m.role)).collect()
    };
    let first = world.join("c1", &conf).unwrap();
    assert_eq!((first.role, first.name.as_str()), (Role::Chair, "By a link"));
    assert_eq!(world.snapshot(&conf).conference.state, 0, "the chair who comes starts it");
    world.control("c1", &conf, &[("action", "lock")]).unwrap();
    for (user, pass) in [("c2", 1), ("ann", 1)] {
        world.pass(pass);
        assert_eq!(world.join(user, &conf).unwrap().role, Role::Chair, "{user}");
    }
    assert_eq!(refusal(world.join("m1", &conf)), "forbidden conference.locked");
    world.control("c2", &conf, &[("action", "unlock")]).unwrap();
    world.set(&via("c2"), "update", &[("confId", &conf), ("lobby", "false")]).unwrap();
    world.pass(1);
    assert_eq!(world.join("m1", &conf).unwrap().role, Role::Member, "as their link says");
    assert_eq!(world.snapshot(&conf).conference.chair.as_str(), "ann");
    world.eim = world.reloaded();
    world.control("c1", &conf, &[("action", "mute"), ("userId", "c2")]).unwrap();
    assert_eq!(audio(&mut world, &conf, "c2"), Audio::Off, "no chair is forced");
    let expected = [("c1", Role::Chair), ("c2", Role::Chair), ("ann", Role::Chair), ("m1", Role::Member)];
    assert_eq!(roles(&mut world), expected.map(|(user, role)| (user.to_owned(), role)));

    for action in ["kick", "ban"] {
        let attrs = [("action", action), ("userId", "ann")];
        assert_eq!(refusal(world.control("c1", &conf, &attrs)), "forbidden conference.chairStays");
    }
    world.control("c1", &conf, &[("action", "kick"), ("userId", "c2")]).unwrap();
    assert_eq!(refusal(world.control("c2", &conf, &[("action", "lock")])), "forbidden conference.notMember");
    world.pass(600_000);
    assert_eq!(world.join("c2", &conf).unwrap().role, Role::Member, "who was sent out has no chair to come back to");
    world.org("set", "deleteUser", &[("userId", "c1")]).unwrap();
    assert_eq!(refusal(world.control("c1", &conf, &[("action", "lock")])), "forbidden conference.notMember");
    assert_eq!(world.eim, world.reloaded());
}

#[test]
fn handing_over_a_foreign_chair_changes_nothing() {
    let (mut world, conf) = full_house();
    world.linked("c1", &conf, "chair");
    world.join("c1", &conf).unwrap();
    world.control("c1", &conf, &[("action", "setChair"), ("userId", "ben")]).unwrap();
    let chairs = |world: &mut World| {
        let roster = world.snapshot(&conf);
        let chairs = roster.members.iter().filter(|m| m.role == Role::Chair).map(|m| m.user_id.to_string());
        (roster.conference.chair.to_string(), chairs.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(chairs(&mut world), ("ben".into(), "ann ben c1".into()));
    world.control("ben", &conf, &[("action", "setChair"), ("userId", "cat")]).unwrap();
    assert_eq!(chairs(&mut world), ("cat".into(), "ann cat c1".into()), "his own is handed on");
    world.control("cat", &conf, &[("action", "setChair"), ("userId", "ann")]).unwrap();
    world.control("ann", &conf, &[("action", "kick"), ("userId", "c1")]).unwrap();
    assert_eq!(chairs(&mut world), ("ann".into(), "ann".into()));
    assert_eq!(world.eim, world.reloaded());
}

#[test]
fn a_role_is_a_gateways_to_give_with_an_account_of_one_conference() {
    let mut world = World::new();
    let conf = world.conference(&[]);
    let attrs = [("name", "Mallory"), ("userId", "m1"), ("role", "chair")];
    world.org("set", "createUser", &attrs).unwrap();
    assert_eq!(world.join("m1", &conf).unwrap().role, Role::Member, "an account of no conference chairs none");
    world.linked("c1", &conf, "chair");
    let other = world.conference(&[]);
    assert_eq!(refusal(world.control("c1", &other, &[("action", "lock")])), "item-not-found conference.notFound");
    let attrs = [("name", "Mallory"), ("temporary", "true"), ("confId", conf.as_str()), ("role", "owner")];
    assert_eq!(refusal(world.org("set", "createUser", &attrs)), "bad-request argument.invalid");
    world.control("ann", &conf, &[("action", "end")]).unwrap();
    world.pass(24 * 3600 * 1000);
    assert_eq!(world.eim, world.reloaded());
}

#[test]
fn the_main_picture_is_a_members_and_goes_with_them() {
    let (mut world, conf) = full_house();
    let chair = "ann@ips3000/home";
    world.subscribe(chair, &conf, "own", 1).unwrap();
    world.control("ann", &conf, &[("action", "setMainVideo"), ("userId", "ben")]).unwrap();
    world.control("ann", &conf, &[("action", "setMainVideo"), ("userId", "ben")]).unwrap();
    assert_eq!(world.hear_types(chair), "conference.mainVideo");
    world.set(&via("ben"), "leave", &[("confId", &conf)]).unwrap();
    assert_eq!(world.hear_types(chair), "member.left conference.mainVideo");
    assert_eq!(world.snapshot(&conf).conference.main_video, None);
    world.control("ann", &conf, &[("action", "setMainVideo"), ("userId", "cat")]).unwrap();
    world.control("ann", &conf, &[("action", "setMainVideo")]).unwrap();
    assert_eq!(world.snapshot(&conf).conference.main_video, None);
}

#[test]
fn a_chair_may_order_without_being_in_the_conference() {
    let mut world = World::new();
    let conf = world.conference(&[]);
    world.join("ben", &conf).unwrap();
    world.control("ann", &conf, &[("action", "mute"), ("userId", "ben")]).unwrap();
    let own = world.control("ann", &conf, &[("action", "raiseHand")]);
    assert_eq!(refusal(own), "forbidden conference.notMember");
    for name in ["update", "end"] {
        let denied = world.set(&via("ben"), name, &[("confId", &conf), ("name", "Mine")]);
        assert_eq!(refusal(denied), "forbidden conference.chairOnly");
    }
}

#[test]
fn messages_are_members_to_write_and_read_back_in_pages() {
    let (mut world, conf) = full_house();
    assert_eq!(refusal(world.send_message("dan", &conf, "x")), "forbidden conference.notMember");
    for bad in ["", " \n", &"字".repeat(4001)] {
        assert_eq!(refusal(world.send_message("ben", &conf, bad)), "bad-request argument.invalid");
    }
    let chair = "ann@ips3000/home";
    world.subscribe(chair, &conf, "own", 1).unwrap();
    let text = "字".repeat(4000);
    let first = world.send_message("ben", &conf, &text).unwrap();
    let heard = world.events_at(chair);
    assert_eq!(heard[0].change, crate::event::Change::Message(first.clone()));
    for i in 0..1100 {
        world.send_message("cat", &conf, &format!("<{i}>")).unwrap();
    }
    assert_eq!(world.eim, world.reloaded());
    let page = |world: &mut World, user: &str, attrs: &[(&str, &str)]| {
        let attrs = [&[("confId", conf.as_str())], attrs].concat();
        let answer = world.get(&via(user), "messages", &attrs)?;
        Ok::<_, super::world::Refused>(answer.children().map(super::world::message).collect::<Vec<_>>())
    };
    let newest = page(&mut world, "ben", &[]).unwrap();
    assert_eq!((newest.len(), newest[49].text.as_str()), (50, "<1099>"));
    let (mut before, mut read) = (newest[0].message_id.clone(), newest.len());
    loop {
        let older = page(&mut world, "ben", &[("before", &before), ("limit", "999")]).unwrap();
        let Some(oldest) = older.first() else { break };
        before = oldest.message_id.clone();
        read += older.len();
    }
    assert_eq!(read, 1000, "the newest are kept");
    assert_eq!(refusal(page(&mut world, "dan", &[])), "forbidden conference.notMember");
    world.control("ann", &conf, &[("action", "end")]).unwrap();
    assert_eq!(refusal(page(&mut world, "ben", &[])), "gone conference.ended");
    assert_eq!(page(&mut world, "ann", &[]).unwrap().len(), 50);
}
