//! Signed links: their form, the form that they had before, and what is checked before anything is asked.

use std::path::Path;

use confgate::clock::date_ms;
use confgate::ids::Secret;
use confgate::token::{Kind, KindKeys};
use http::Method;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use crate::fixture::Fixture;
use crate::support::client::{Answer, BASE, Client};
use crate::support::gateway::Gateway;
use crate::support::wait::until_true;

/// Most characters of a code.
const CODE_MAX: usize = 48;
const KEY: &str = "the key that signs in this test, 32 bytes or more";
const HOUR_MS: u64 = 3_600_000;

/// A gateway whose signing key the test knows.
async fn fixture(more: &str) -> Fixture {
    Fixture::with(&format!("[[auth.keys]]\nid = \"k1\"\nsecret = \"{KEY}\"\n{more}")).await
}

async fn link(chair: &Client, conf: &str, terms: Value) -> (String, String) {
    let mut params = terms;
    params["confId"] = conf.into();
    let made = chair.rpc("conference.createLink", params).await.result();
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{name} in {made}")).to_owned();
    (text("linkId"), text("code"))
}

/// The code that the link had in the form of former versions: signed claims, and nothing but its id taken from them now.
fn former(link_id: &str, claims: Value) -> String {
    let mut all = json!({ "typ": "link", "aud": "confgate", "jti": link_id });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    format!("~{}", KindKeys::new(&[("k1".into(), Secret::new(KEY))], Kind::Link).sign(&all))
}

async fn state(fixture: &Fixture, code: &str) -> i64 {
    let path = format!("{BASE}/conference/{code}");
    let reply = fixture.gateway.client().request(Method::POST, &path, &[], "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["state"].as_i64().expect("a page has a state")
}

async fn try_login(fixture: &Fixture, code: &str) -> Result<Client, Answer> {
    let params = json!({ "grantType": "conference_link", "link": code, "name": "Guest" });
    fixture.gateway.client().try_login(params).await
}

/// Code and key of the refusal of a login by that link.
async fn turned_away(fixture: &Fixture, code: &str) -> (i64, String) {
    let refused = try_login(fixture, code).await.err().unwrap_or_else(|| panic!("{code} is let in")).error();
    (refused["code"].as_i64().unwrap(), refused["data"]["key"].as_str().unwrap().to_owned())
}

fn not_found() -> (i64, String) {
    (-32004, "link.notFound".to_owned())
}

/// The code with something made of it that the gateway never signed.
fn forged(code: &str) -> Vec<String> {
    let (rest, last) = code.split_at(code.len() - 1);
    let swapped = |at: usize| {
        let by = if &code[at..=at] == "x" { "y" } else { "x" };
        format!("{}{by}{}", &code[..at], &code[at + 1..])
    };
    vec![
        swapped(1),
        swapped(22),
        swapped(23),
        swapped(code.len() - 2),
        format!("{code}x"),
        rest.to_owned(),
        format!("{rest}{}", char::from(last.as_bytes()[0] + 1)),
        code.to_uppercase(),
        "~".to_owned() + &"A".repeat(44),
    ]
}

/// Another program's connection to the gateway's database.
async fn database(gateway: &Gateway) -> SqliteConnection {
    let file = gateway.directory().join("data/confgate.db");
    SqliteConnectOptions::new().filename(Path::new(&file)).connect().await.expect("the database opens")
}

async fn run(database: &mut SqliteConnection, sql: &'static str) {
    sqlx::query(sql).execute(database).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

#[tokio::test]
async fn a_signed_code_has_at_most_48_characters_and_leads_where_it_should() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, first) = fixture.conference(&chair, json!({})).await;
    let terms = json!({ "role": "chair", "notBefore": date_ms() - 1000, "expiresAt": date_ms() + HOUR_MS, "maxUses": 1_000_000 });
    for code in [first, link(&chair, &conf, terms).await.1] {
        assert!(code.len() <= CODE_MAX && code.starts_with('~'), "{code}");
        assert!(code[1..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{code}");
        for hung_on in ["", ".", "_", "-", "~", "/", "=", "_.", "?a=b", "%3E", "%E3%80%82"] {
            assert_eq!(state(&fixture, &format!("{code}{hung_on}")).await, 0, "{code}{hung_on}");
        }
        assert_eq!(fixture.guest(&code, "Guest").await.login()["confId"], conf.as_str());
    }
}

#[tokio::test]
async fn a_code_of_the_former_form_goes_on_working_by_the_stores_terms() {
    let fixture = fixture("").await;
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({})).await;
    let (other, _) = fixture.conference(&chair, json!({})).await;
    let (link_id, _) = link(&chair, &conf, json!({ "role": "chair", "maxUses": 2 })).await;
    let code = former(&link_id, json!({ "cid": conf, "role": "chair", "max": 2 }));
    assert!(code.len() > CODE_MAX, "{code}");
    for hung_on in ["", ".", "_", "?a=b"] {
        assert_eq!(state(&fixture, &format!("{code}{hung_on}")).await, 0, "{code}{hung_on}");
    }
    let bearer = fixture.guest(&code, "Boss").await;
    let joined = bearer.rpc("conference.join", json!({ "confId": conf })).await.result();
    assert_eq!(joined["member"]["role"], "chair");
    // The store alone says what it allows.
    let claims = former(&link_id, json!({ "cid": other, "role": "guest" }));
    assert_eq!(fixture.guest(&claims, "Second").await.login()["confId"], conf.as_str());
    assert_eq!(turned_away(&fixture, &code).await.1, "link.exhausted");
    chair.rpc("conference.revokeLink", json!({ "confId": conf, "linkId": link_id })).await.result();
    assert_eq!(turned_away(&fixture, &code).await.1, "link.revoked");
    for made_up in
        [former("no-such-link", json!({ "cid": conf, "role": "chair" })), format!("{code}x"), code.replace('.', "")]
    {
        assert_eq!(turned_away(&fixture, &made_up).await, not_found(), "{made_up}");
    }
}

#[tokio::test]
async fn an_expired_and_a_revoked_link_are_refused_by_name_and_one_for_later_waits() {
    let fixture = fixture("").await;
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({})).await;
    for is_former in [false, true] {
        let made = async |terms: Value| {
            let (link_id, code) = link(&chair, &conf, terms).await;
            let code = if is_former { former(&link_id, json!({ "cid": conf, "role": "guest" })) } else { code };
            (link_id, code)
        };
        let (_, expired) = made(json!({ "expiresAt": date_ms() + 1500 })).await;
        let (link_id, revoked) = made(json!({})).await;
        let (_, early) = made(json!({ "notBefore": date_ms() + HOUR_MS })).await;
        until_true("the link has expired", async || state(&fixture, &expired).await == 32).await;
        assert_eq!(turned_away(&fixture, &expired).await, (-32003, "link.expired".to_owned()));
        assert_eq!(state(&fixture, &revoked).await, 0);
        chair.rpc("conference.revokeLink", json!({ "confId": conf, "linkId": link_id })).await.result();
        assert_eq!(state(&fixture, &revoked).await, 32);
        assert_eq!(turned_away(&fixture, &revoked).await, (-32003, "link.revoked".to_owned()));
        assert_eq!((state(&fixture, &early).await, turned_away(&fixture, &early).await.0), (30, -32006));
    }
}

#[tokio::test]
async fn a_forged_link_is_refused_without_asking_the_store_and_is_no_guess() {
    let fixture = fixture("[limits]\njoins_per_minute = 1000").await;
    let chair = fixture.chair().await;
    let (conf, signed) = fixture.conference(&chair, json!({ "password": "right-one" })).await;
    let old = former(&link(&chair, &conf, json!({})).await.0, json!({ "cid": conf, "role": "guest" }));
    let mut database = database(&fixture.gateway).await;
    run(&mut database, "ALTER TABLE links RENAME TO links_away").await;
    // A request to the store fails now.
    for asked in [&signed, &old] {
        assert_eq!(turned_away(&fixture, asked).await.0, -32603, "{asked}");
    }
    for code in [forged(&signed), forged(&old), vec!["~".into(), "~a.b.c".into(), "~right-one".into()]].concat() {
        assert_eq!(turned_away(&fixture, &code).await, not_found(), "{code}");
        assert_eq!(state(&fixture, &code).await, 32, "{code}");
    }
    run(&mut database, "ALTER TABLE links_away RENAME TO links").await;
    assert_eq!(state(&fixture, &signed).await, 0);
    // More than `limits.guesses_per_minute` have been tried, and passwords are still looked at.
    assert_eq!(state(&fixture, "right-one").await, 0);
}
