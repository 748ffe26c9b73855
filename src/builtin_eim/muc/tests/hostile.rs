//! What servers, clients and nicknames may do to the bridge.

use super::world::{COMPONENT, World};
use crate::ids::ConfId;

fn set(world: &mut World, user: &str, name: &str, conf: &ConfId) {
    let answer = world.set(user, name, &[("confId", conf.as_str())]);
    assert_eq!(answer.attr("type"), Some("result"), "{}", answer.to_xml());
    world.reconcile();
}

#[test]
fn members_of_browsers_and_natives_see_each_other() {
    let mut world = World::new();
    let conf = world.create();
    set(&mut world, "ben", "join", &conf);
    world.native(&conf, "cat", "Cat");
    assert_eq!(world.members(&conf), ["ben", "cat"]);
    let own = format!("ben%ips3000@{COMPONENT}/uc");
    assert_eq!(world.occupants(&conf), [("Cat".into(), "cat@ips3000/phone".into()), ("ben".into(), own)]);
    world.native_writes(&conf, "cat", "body", "hello");
    assert_eq!(world.messages(&conf), ["hello"]);
    set(&mut world, "ben", "leave", &conf);
    world.native_leaves(&conf, "cat", "Cat");
    assert!(world.members(&conf).is_empty() && world.occupants(&conf).is_empty());
    set(&mut world, "ann", "end", &conf);
    assert!(world.service.rooms.is_empty(), "the room goes with the conference");
}

#[test]
fn a_nickname_that_is_taken_gets_a_number() {
    let mut world = World::new();
    let conf = world.create();
    world.native(&conf, "cat", "ben");
    world.native(&conf, "dan", "confgate (2)");
    set(&mut world, "ben", "join", &conf);
    let nicks: Vec<String> = world.occupants(&conf).into_iter().map(|(nick, _)| nick).collect();
    assert_eq!(nicks, ["ben", "ben (2)", "confgate (2)"]);
    assert_eq!(world.members(&conf), ["ben", "cat", "dan"]);
}

#[test]
fn a_room_that_hides_addresses_confuses_nobody() {
    let mut world = World::new();
    world.service.hides = true;
    let conf = world.create();
    world.native(&conf, "cat", "ben");
    set(&mut world, "ben", "join", &conf);
    let members = world.members(&conf);
    assert_eq!(members.len(), 2, "{members:?}");
    assert!(members[0] == "ben" && members[1].starts_with('x'), "{members:?}");
    world.native_leaves(&conf, "cat", "ben");
    assert_eq!(world.members(&conf), ["ben"]);
}

#[test]
fn state_survives_a_server_that_strips_it() {
    let mut world = World::new();
    world.service.strips = true;
    let conf = world.create();
    set(&mut world, "ben", "join", &conf);
    world.set("ben", "control", &[("confId", conf.as_str()), ("action", "raiseHand")]);
    world.reconcile();
    assert!(world.eim.room(&conf).unwrap().roster.members[0].hand);
    world.pass(60_000);
    assert!(world.eim.room(&conf).unwrap().roster.members[0].hand);
}

#[test]
fn a_message_is_never_taken_twice_nor_from_the_past() {
    let mut world = World::new();
    let conf = world.create();
    set(&mut world, "ben", "join", &conf);
    world.native(&conf, "cat", "Cat");
    let answer = world.operate(
        "ben",
        "set",
        crate::xmpp::xml::Element::new("sendMessage", "je:x:client:conference")
            .with("confId", conf.as_str())
            .with("text", "once")
            .with_text("once"),
    );
    assert_eq!(answer.attr("type"), Some("result"));
    world.reconcile();
    assert_eq!(world.messages(&conf), ["once"], "the room's copy is no second message");
    world.receive(&format!(
        "<message type='groupchat' from='{conf}@conference.ips3000/Cat' to='confgate@{COMPONENT}/confgate'>\
         <body>old</body><delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/></message>"
    ));
    world.receive(&format!(
        "<message type='groupchat' from='{conf}@conference.ips3000/Nobody' to='confgate@{COMPONENT}/confgate'>\
         <body>from nobody</body></message>"
    ));
    assert_eq!(world.messages(&conf), ["once"]);
}

#[test]
fn floods_and_long_messages_are_bounded() {
    let mut world = World::new();
    let conf = world.create();
    world.native(&conf, "cat", "Cat");
    world.native_writes(&conf, "cat", "body", &"界".repeat(10_000));
    assert_eq!(world.messages(&conf)[0].chars().count(), 4000);
    for n in 0..500 {
        world.native_writes(&conf, "cat", "body", &n.to_string());
    }
    assert!(world.messages(&conf).len() <= 61, "{}", world.messages(&conf).len());
    for n in 0..100 {
        world.native(&conf, "dan", "Dan");
        world.native_leaves(&conf, "dan", "Dan");
        assert!(n < 30 || !world.members(&conf).contains(&"dan".to_owned()));
    }
}

#[test]
fn a_full_conference_sends_natives_out() {
    let mut world = World::new();
    let conf = world.create();
    for n in 0..40 {
        world.native(&conf, &format!("n{n}"), &format!("N{n}"));
    }
    assert_eq!(world.members(&conf).len(), 6);
    assert_eq!(world.occupants(&conf).len(), 6);
}

#[test]
fn a_kicked_native_stays_out_and_a_banned_one_is_an_outcast() {
    let mut world = World::new();
    let conf = world.create();
    set(&mut world, "ann", "join", &conf);
    world.native(&conf, "cat", "Cat");
    world.set("ann", "control", &[("confId", conf.as_str()), ("action", "kick"), ("userId", "cat")]);
    world.reconcile();
    world.native(&conf, "cat", "Cat");
    assert_eq!(world.occupants(&conf).len(), 1, "{:?}", world.occupants(&conf));
    world.native(&conf, "dan", "Dan");
    world.set("ann", "control", &[("confId", conf.as_str()), ("action", "ban"), ("userId", "dan")]);
    world.reconcile();
    let room = &world.service.rooms[&format!("{conf}@conference.ips3000")];
    assert_eq!(room.affiliations.get("dan@ips3000").map(String::as_str), Some("outcast"));
    assert_eq!(world.members(&conf), ["ann"]);
}

#[test]
fn a_guests_name_as_an_account_is_not_that_guest() {
    let mut world = World::new();
    let conf = world.create();
    let payload = crate::xmpp::xml::Element::new("createUser", "je:x:client:org")
        .with("userId", "g1")
        .with("name", "Guest")
        .with("temporary", "true")
        .with("confId", conf.as_str());
    let payload = crate::xmpp::xml::Element::new("jeExtension", "je:x:client:org").with_child(payload);
    let iq = crate::xmpp::xml::Stanza::iq("set", payload)
        .with("id", "1")
        .with("from", "webconf-admin.ips3000")
        .with("to", "jeorg.ips3000");
    let made = world.eim.handle(&iq, world.now, &mut world.rng).stanzas.remove(0);
    assert_eq!(made.attr("type"), Some("result"), "{}", made.to_xml());
    world.native(&conf, "g1", "Me");
    assert!(world.members(&conf).is_empty());
    assert!(world.occupants(&conf).is_empty(), "they are sent out");
}

#[test]
fn a_room_that_is_gone_with_the_server_is_made_again() {
    let mut world = World::new();
    let conf = world.create();
    set(&mut world, "ben", "join", &conf);
    world.native(&conf, "cat", "Cat");
    world.disconnect();
    world.service.rooms.clear();
    world.connect();
    world.reconcile();
    assert_eq!(world.members(&conf), ["ben"], "who is not in the room is not in the conference");
    assert_eq!(world.occupants(&conf).len(), 1);
    let room = &world.service.rooms[&format!("{conf}@conference.ips3000")];
    assert!(room.is_configured && room.password == "12345678");
}

#[test]
fn nonsense_from_the_server_changes_nothing() {
    let mut world = World::new();
    let conf = world.create();
    set(&mut world, "ben", "join", &conf);
    let before = world.members(&conf);
    let observer = format!("confgate@{COMPONENT}/confgate");
    for text in [
        format!("<presence from='{conf}@conference.ips3000' to='{observer}'/>"),
        format!("<presence from='{conf}@conference.ips3000/x' to='{observer}' type='subscribe'/>"),
        format!("<presence from='other@conference.ips3000/x' to='{observer}'/>"),
        format!("<presence from='{conf}@evil/x' to='{observer}'/>"),
        format!("<presence from='{conf}@conference.ips3000/ben' to='ben%ips3000@{COMPONENT}/uc' type='error'/>"),
        format!("<message from='{conf}@conference.ips3000/ben' to='{observer}' type='groupchat'/>"),
        format!("<message from='{conf}@conference.ips3000/ben' to='{observer}'><body>x</body></message>"),
        format!("<iq from='{conf}@conference.ips3000' to='{observer}' type='result' id='config:{conf}'/>"),
        format!("<iq from='{conf}@conference.ips3000' to='{observer}' type='result' id='link:99'/>"),
        format!("<iq from='x@ips3000/y' to='{observer}' type='get' id='1'/>"),
        "<presence/>".to_owned(),
        "<iq type='get' id='1' from='@' to='/'/>".to_owned(),
    ] {
        world.receive(&text);
    }
    world.pass(60_000);
    assert_eq!(world.members(&conf), before);
    assert_eq!(world.occupants(&conf).len(), 1);
}

#[test]
fn a_moderator_of_a_room_has_its_link_and_others_have_not() {
    let mut world = World::new();
    world.native_room("weekly", "cat", "Cat");
    let query = |user: &str, id: &str| {
        format!(
            "<iq type='get' id='{id}' from='{user}@ips3000/phone' to='{COMPONENT}'>\
             <query xmlns='urn:xmpp:http:online-meetings:0' type='confgate' id='weekly@conference.ips3000'/></iq>"
        )
    };
    let refused = world.request(&query("dan", "a"));
    assert!(refused.to_xml().contains("forbidden"), "{}", refused.to_xml());
    assert!(world.eim.room(&ConfId::parse("weekly").unwrap()).is_none());
    let answer = world.request(&query("cat", "b"));
    assert!(answer.to_xml().contains("https://gateway/conference/~x"), "{}", answer.to_xml());
    let conf = ConfId::parse("weekly").unwrap();
    assert_eq!(world.members(&conf), ["cat"]);
    set(&mut world, "cat", "end", &conf);
    assert_eq!(world.occupants(&conf).len(), 1, "the room was there before");
    let missing = world.request(&query("cat", "c").replace("weekly@", "nothing@"));
    assert!(missing.to_xml().contains("item-not-found"), "{}", missing.to_xml());
}

#[test]
fn an_adopted_room_keeps_its_people_its_subject_and_its_list() {
    let mut world = World::new();
    world.native_room("weekly", "cat", "Cat");
    let conf = ConfId::parse("weekly").unwrap();
    for n in 0..20 {
        world.native(&conf, &format!("n{n}"), &format!("N{n}"));
    }
    world.native_writes(&conf, "cat", "subject", "Our  weekly");
    let answer = world.request(&format!(
        "<iq type='get' id='b' from='cat@ips3000/phone' to='{COMPONENT}'>\
         <query xmlns='urn:xmpp:http:online-meetings:0' type='confgate' id='weekly'/></iq>"
    ));
    assert!(answer.to_xml().contains("<url>"), "{}", answer.to_xml());
    world.pass(60_000);
    assert_eq!(world.eim.room(&conf).unwrap().roster.conference.conf_name, "Our weekly");
    assert_eq!((world.members(&conf).len(), world.occupants(&conf).len()), (6, 21), "nobody is sent out");
    let room = "weekly@conference.ips3000";
    assert_eq!(world.service.rooms[room].subject, "Our  weekly");
    world.native_leaves(&conf, "n0", "N0");
    world.native_leaves(&conf, "cat", "Cat");
    world.service.rooms.get_mut(room).unwrap().members_only = true;
    set(&mut world, "ben", "join", &conf);
    assert!(world.occupants(&conf).iter().any(|(nick, _)| nick == "ben"), "{:?}", world.occupants(&conf));
    set(&mut world, "ben", "leave", &conf);
    let listed = world.service.rooms[room].affiliations.get(&format!("ben%ips3000@{COMPONENT}")).cloned();
    assert_eq!(listed.as_deref(), Some("none"));
}
