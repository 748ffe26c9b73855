//! Accounts and the address book.

use super::world::{World, refusal, session, via};
use crate::builtin_eim::{Eim, tests::world};

fn field<'a>(answer: &'a crate::xmpp::xml::Element, name: &str) -> Option<&'a str> {
    answer.child("user").unwrap().attr(name)
}

#[test]
fn an_account_needs_a_name_only_and_has_the_seeds_fields() {
    let mut world = World::new();
    let made = world.org("set", "createUser", &[("name", "张三")]).unwrap();
    let id = field(&made, "userId").unwrap().to_owned();
    assert!(id.starts_with('u') && id[1..].bytes().all(|b| b.is_ascii_digit()));
    for (name, value) in [
        ("name", Some("张三")),
        ("tenements", Some("[]")),
        ("gender", Some("0")),
        ("properties", Some(r#"{"custom.isClientLoginEnable":"true"}"#)),
        ("customId", Some("")),
        ("isLoggedIn", Some("false")),
        ("loggedIn", Some("false")),
        ("clientEnabled", Some("true")),
        ("ipWhiteEnabled", Some("false")),
        ("ipBlockEnabled", Some("false")),
        ("status", Some("normal")),
        ("creationDate", Some("1000000")),
        ("modificationDate", Some("1000000")),
        ("activeDate", Some("1000000")),
        ("birthday", None),
        ("englishName", None),
        ("signature", None),
        ("mobile", None),
        ("avatar", None),
        ("avatarBinVal", None),
        ("email", None),
        ("deleteDate", None),
        ("password", None),
    ] {
        assert_eq!(field(&made, name), value, "{name}");
    }
    assert!(field(&made, "sipAccount").is_some_and(|sip| sip.starts_with('u')));
    assert_eq!(world.org("get", "getUser", &[("userId", &id)]).unwrap().child("user"), made.child("user"));
    assert_eq!(world.reloaded(), world.eim);
}

#[test]
fn given_fields_come_back_and_a_taken_id_is_a_conflict() {
    let mut world = World::new();
    let given = [
        ("name", "Zoë"),
        ("userId", "u110001"),
        ("password", "123456"),
        ("mobile", "13422821882"),
        ("email", "dyqx@126.com"),
        ("gender", "1"),
        ("properties", r#"{"a":"<&\"'>"}"#),
        ("tenements", "[1, 2]"),
        ("clientEnabled", "false"),
        ("activeDate", "17"),
        ("isLoggedIn", "true"),
        ("status", "new"),
    ];
    let made = world.org("set", "createUser", &given).unwrap();
    for (name, value) in given {
        assert_eq!(field(&made, name), Some(value).filter(|_| name != "password"), "{name}");
    }
    assert_eq!(field(&made, "loggedIn"), Some("true"));
    assert_eq!(refusal(world.org("set", "createUser", &given)), "conflict user.taken");
    let configured = world.org("set", "createUser", &[("name", "x"), ("userId", "ann")]);
    assert_eq!(refusal(configured), "conflict user.taken");
    for bad in [
        &[("name", " ")][..],
        &[],
        &[("name", "x"), ("userId", "Upper Case")],
        &[("name", "x"), ("tenements", "{}")],
        &[("name", "x"), ("properties", "{")],
        &[("name", "x"), ("clientEnabled", "maybe")],
        &[("name", "x"), ("birthday", &"9".repeat(65))],
        &[("name", &"x".repeat(129))],
        &[("name", "x"), ("temporary", "true"), ("confId", "a b")],
    ] {
        assert_eq!(refusal(world.org("set", "createUser", bad)), "bad-request argument.invalid", "{bad:?}");
    }
    let nowhere = world.org("set", "createUser", &[("name", "x"), ("temporary", "true"), ("confId", "none")]);
    assert_eq!(refusal(nowhere), "item-not-found conference.notFound");
}

#[test]
fn a_password_is_verified_and_kept_as_a_hash_only() {
    let mut world = World::new();
    world.org("set", "createUser", &[("name", "Zoë"), ("userId", "zoe"), ("password", "open sesame")]).unwrap();
    assert!(world.disk().values().all(|body| !body.contains("sesame")));
    assert!(!format!("{:?}", world.eim).contains("sesame"));
    world.eim = world.reloaded();
    let verify = |world: &mut World, user: &str, password: &str| {
        world.org("get", "verifyPassword", &[("userId", user), ("password", password)])
    };
    assert_eq!(verify(&mut world, "zoe", "open sesame").unwrap().attr("name"), Some("Zoë"));
    assert_eq!(verify(&mut world, "ann", "annspass").unwrap().attr("userId"), Some("ann"));
    let conf = world.conference(&[]);
    world.guest("g1", &conf);
    for (user, password) in
        [("zoe", "open sesam"), ("ann", ""), ("ben", ""), ("ben", "x"), ("g1", ""), ("nobody", "x"), ("NOT AN ID", "x")]
    {
        assert_eq!(refusal(verify(&mut world, user, password)), "not-authorized auth.failed", "{user}");
    }
}

#[test]
fn a_deleted_user_is_out_of_every_conference() {
    let mut world = World::new();
    let conf = world.conference(&[]);
    world.guest("g1", &conf);
    world.join("g1", &conf).unwrap();
    world.subscribe(&session("ann"), &conf, "own", 1).unwrap();
    world.org("set", "deleteUser", &[("userId", "g1")]).unwrap();
    assert_eq!(world.hear_types(&session("ann")), "member.left");
    assert_eq!(refusal(world.org("set", "deleteUser", &[("userId", "g1")])), "item-not-found user.notFound");
    assert_eq!(refusal(world.org("set", "deleteUser", &[("userId", "ann")])), "forbidden user.configured");
    assert_eq!(world.reloaded(), world.eim);
    world.guest("g1", &conf);
}

#[test]
fn accounts_are_bounded() {
    let mut world = World::new();
    for _ in 0..57 {
        world.org("set", "createUser", &[("name", "x")]).unwrap();
    }
    assert_eq!(refusal(world.org("set", "createUser", &[("name", "x")])), "resource-constraint user.tooMany");
}

#[test]
fn the_address_book_is_for_users_and_shows_a_guest_their_conference_only() {
    let mut world = World::new();
    let conf = world.conference(&[]);
    world.guest("g1", &conf);
    world.join("ben", &conf).unwrap();
    let attrs = [("name", "Zoë"), ("department", "lab"), ("mobile", "555"), ("password", "secret")];
    world.org("set", "createUser", &attrs).unwrap();
    let names = |world: &mut World, from: &str, name: &str, attrs: &[(&str, &str)]| {
        let answer = world.contacts(from, name, attrs).unwrap();
        let names = answer.children().map(|c| c.attr("name").unwrap().to_owned()).collect::<Vec<_>>();
        (names.join(" "), answer.attr("total").map(str::to_owned))
    };
    let ann = via("ann");
    assert_eq!(names(&mut world, &ann, "departments", &[]).0, "lab sales");
    assert_eq!(names(&mut world, &ann, "departments", &[("parentId", "lab")]).0, "");
    assert_eq!(names(&mut world, &ann, "users", &[]), ("Ann Ben Cat Zoë".into(), Some("4".into())));
    assert_eq!(names(&mut world, &ann, "users", &[("departmentId", "lab")]), ("Cat Zoë".into(), Some("2".into())));
    assert_eq!(names(&mut world, &ann, "users", &[("offset", "1"), ("limit", "2")]).0, "Ben Cat");
    assert_eq!(names(&mut world, &ann, "search", &[("query", "55")]).0, "Zoë");
    assert_eq!(refusal(world.contacts(&ann, "search", &[])), "bad-request argument.invalid");
    let guest = via("g1");
    assert_eq!(names(&mut world, &guest, "users", &[]).0, "", "not in yet");
    world.join("g1", &conf).unwrap();
    assert_eq!(names(&mut world, &guest, "users", &[]).0, "Ben A guest");
    assert_eq!(names(&mut world, &guest, "search", &[("query", "BEN")]).0, "Ben");
    assert_eq!(names(&mut world, &guest, "search", &[("query", "zo")]).0, "");
    assert_eq!(names(&mut world, &guest, "departments", &[]).0, "");
}

#[test]
fn the_configuration_wins_over_a_stored_account() {
    let mut world = World::new();
    world.org("set", "createUser", &[("name", "Old name"), ("userId", "zoe")]).unwrap();
    let mut settings = world::settings();
    settings.users.push(crate::builtin_eim::ConfiguredUser {
        user_id: "zoe".into(),
        name: "New name".into(),
        ..Default::default()
    });
    let documents = world.disk().iter().map(|((kind, key), body)| (kind.clone(), key.clone(), body.clone()));
    world.eim = Eim::load(settings, documents).unwrap();
    let zoe = world.org("get", "getUser", &[("userId", "zoe")]).unwrap();
    assert_eq!(field(&zoe, "name"), Some("New name"));
}
