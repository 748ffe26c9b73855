//! Links: what a code leads to, who comes in by it and how often, and what keeps the others out.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use confgate::clock::date_ms;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::client::{Answer, BASE, Client, Reply};
use crate::support::wait::until_true;
use crate::support::xmpp_server::XmppServer;

/// In base64 it has `+` and `/`, or `-` and `_`.
const AWKWARD: &str = "a?b>~~ÿÿ?>1";
const HOUR_MS: u64 = 3_600_000;

/// The request of the guest page: `POST {base}/conference/{code}`.
async fn post(fixture: &Fixture, code: &str) -> Reply {
    fixture.gateway.client().request(Method::POST, &format!("{BASE}/conference/{code}"), &[], "").await
}

/// Its answer, which always comes with 200.
async fn page(fixture: &Fixture, code: &str) -> Value {
    let reply = post(fixture, code).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn state(fixture: &Fixture, code: &str) -> i64 {
    page(fixture, code).await["state"].as_i64().expect("a page has a state")
}

fn unknown() -> Value {
    json!({ "confId": "", "confName": "", "state": 32, "code": 200 })
}

fn legacy(password: &str) -> String {
    format!("xY7a{}", URL_SAFE_NO_PAD.encode(password))
}

async fn link(chair: &Client, conf: &str, terms: Value) -> Value {
    let mut params = terms;
    params["confId"] = conf.into();
    chair.rpc("conference.createLink", params).await.result()
}

async fn code(chair: &Client, conf: &str, terms: Value) -> String {
    link(chair, conf, terms).await["code"].as_str().expect("a link has a code").to_owned()
}

fn by_link(code: &str) -> Value {
    json!({ "grantType": "conference_link", "link": code, "name": "Guest" })
}

/// The refusal of a login by that code.
async fn turned_away(fixture: &Fixture, code: &str) -> Answer {
    fixture.gateway.client().try_login(by_link(code)).await.err().expect("the login is refused")
}

fn key(answer: &Answer) -> String {
    answer.error()["data"]["key"].as_str().expect("every error has a key").to_owned()
}

#[tokio::test]
async fn a_legacy_code_is_read_in_both_alphabets_padded_or_not_and_with_its_slashes_encoded() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({ "password": AWKWARD })).await;
    let expected = json!({ "confId": conf, "confName": "周会 Weekly", "state": 0, "code": 200 });
    let standard = STANDARD.encode(AWKWARD);
    assert!(standard.contains('+') && standard.contains('/') && standard.ends_with('='), "{standard}");
    let forms = [standard, STANDARD_NO_PAD.encode(AWKWARD), URL_SAFE.encode(AWKWARD), URL_SAFE_NO_PAD.encode(AWKWARD)];
    for form in forms {
        let code = format!("Ab9z{form}");
        assert_eq!(page(&fixture, &code).await, expected, "{code}");
        let encoded = utf8_percent_encode(&code, NON_ALPHANUMERIC).to_string();
        assert_eq!(page(&fixture, &encoded).await, expected, "{encoded}");
        assert_eq!(fixture.guest(&code, "Guest").await.login()["confId"], conf.as_str());
    }
}

#[tokio::test]
async fn a_link_made_for_the_seeds_apps_is_url_safe_and_unpadded() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({ "password": AWKWARD })).await;
    let made = link(&chair, &conf, json!({ "legacy": true })).await;
    let code = made["code"].as_str().expect("a link has a code");
    assert_eq!(code[4..], URL_SAFE_NO_PAD.encode(AWKWARD));
    assert!(code[..4].bytes().all(|b| b.is_ascii_alphanumeric()), "{code}");
    assert!(made["url"].as_str().unwrap().ends_with(&format!("{BASE}/conference/{code}")));
    assert_eq!(made.get("linkId"), None);
    fixture.guest(code, "Guest").await;
    let terms = json!({ "confId": conf, "legacy": true, "role": "chair" });
    chair.rpc("conference.createLink", terms).await.refused(-32602);
    let (other, _) = fixture.conference(&chair, json!({ "password": "1234" })).await;
    let guest = fixture.guest(code, "Guest").await;
    guest.rpc("conference.createLink", json!({ "confId": other, "legacy": true })).await.refused(-32004);
    guest.rpc("conference.createLink", json!({ "confId": conf, "legacy": true })).await.refused(-32003);
}

#[tokio::test]
async fn a_link_tells_its_conferences_state_before_during_and_after_it() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let later = json!({ "password": "tomorrow-1", "startAt": date_ms() + 24 * HOUR_MS });
    let (conf, signed) = fixture.conference(&chair, later).await;
    let told = |state: u8| json!({ "confId": conf, "confName": "周会 Weekly", "state": state, "code": 200 });
    let codes = [signed, legacy("tomorrow-1"), "tomorrow-1".to_owned()];
    for code in &codes {
        assert_eq!(page(&fixture, code).await, told(30), "{code}");
        assert_eq!(turned_away(&fixture, code).await.refused(-32006)["data"]["state"], 30);
    }
    // The chair who comes starts it.
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    for code in &codes {
        assert_eq!(page(&fixture, code).await, told(0), "{code}");
    }
    chair.rpc("conference.end", json!({ "confId": conf })).await.result();
    for code in &codes {
        assert_eq!(page(&fixture, code).await, told(31), "{code}");
        assert_eq!(turned_away(&fixture, code).await.refused(-32006)["data"]["state"], 31);
    }
}

#[tokio::test]
async fn a_code_that_leads_nowhere_is_unknown_however_ill_formed_it_is() {
    let fixture = Fixture::embedded().await;
    let long = "x".repeat(4000);
    let codes =
        ["12345678", "xY7a!!!!", "xY7a/w==", "~", "~a.b.c", "~~~", "%ff%fe", "%00", "a/b/c", "%E4%BC%9A", &long];
    for code in codes {
        assert_eq!(page(&fixture, code).await, unknown(), "{code}");
    }
    let refused = turned_away(&fixture, "12345678").await.refused(-32004);
    assert_eq!(refused["data"]["state"], 32);
}

#[tokio::test]
async fn a_link_leads_where_it_led_whatever_mail_and_chat_hang_on_it() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, signed) = fixture.conference(&chair, json!({ "password": AWKWARD })).await;
    let token = signed.strip_prefix('~').expect("it is signed");
    let legacy = format!("Ab9z{}", STANDARD.encode(AWKWARD));
    let paths = [
        signed.clone(),
        format!("%7E{token}"),
        format!("{signed}?utm_source=mail&x=~y"),
        format!("{signed}."),
        format!("{signed}%E3%80%82"),
        format!("%20{signed}%0A"),
        format!("{signed}%3E,"),
        format!("{signed}%E2%80%8B"),
        format!("{signed}%EF%BC%8C%E8%AF%B7"),
        format!("{legacy}?utm_source=mail"),
        format!("{legacy}."),
        format!("{}%E3%80%82", utf8_percent_encode(&legacy, NON_ALPHANUMERIC)),
    ];
    for path in &paths {
        let page = page(&fixture, path).await;
        assert_eq!((&page["confId"], &page["state"]), (&json!(conf), &json!(0)), "{path}");
    }
    let around = [
        ("", ""),
        ("https://h.example", ""),
        (" HTTPS://h.example:9092", "\r\n"),
        ("h.example", "?utm_source=mail"),
        ("<https://h.example", ">."),
        ("会议（https://h.example", "）。"),
        ("\u{FEFF}https://h.example", "#x\u{200B}"),
    ];
    for path in &paths {
        for (before, after) in around {
            let link = format!("{before}{BASE}/conference/{path}{after}");
            let login = fixture.gateway.client().try_login(by_link(&link)).await;
            let login = login.unwrap_or_else(|refusal| panic!("{link}: {}", refusal.0));
            assert_eq!(login.login()["confId"], conf.as_str(), "{link}");
            login.rpc("auth.http.logout", json!({})).await.result();
        }
    }
}

#[tokio::test]
async fn every_password_that_a_conference_may_have_opens_its_link() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let passwords =
        ["회".repeat(64), "😀".repeat(64), "x".repeat(64), "ends in a stop.".to_owned(), "is it? #1".to_owned()];
    for password in passwords {
        let (conf, _) = fixture.conference(&chair, json!({ "password": password })).await;
        let made = link(&chair, &conf, json!({ "legacy": true })).await;
        let code = made["code"].as_str().expect("a link has a code");
        let raw = utf8_percent_encode(&password, NON_ALPHANUMERIC).to_string();
        for path in [code, &legacy(&password), &raw] {
            assert_eq!(page(&fixture, path).await["confId"], conf.as_str(), "{path}");
        }
        for text in [code, made["url"].as_str().expect("a link has an address"), &password] {
            assert_eq!(fixture.guest(text, "Guest").await.login()["confId"], conf.as_str(), "{text}");
        }
    }
    let long = json!({ "name": "x", "password": "x".repeat(65) });
    chair.rpc("conference.create", long).await.refused(-32602);
}

#[tokio::test]
async fn code_is_tried_as_written_before_it_is_trimmed() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (with, _) = fixture.conference(&chair, json!({ "password": "secret." })).await;
    let (without, _) = fixture.conference(&chair, json!({ "password": "secret" })).await;
    for (text, conf) in [("secret.", &with), ("secret", &without), ("secret。", &without), (" secret. ", &with)] {
        let encoded = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        assert_eq!(page(&fixture, &encoded).await["confId"], conf.as_str(), "{text}");
        assert_eq!(fixture.guest(text, "Guest").await.login()["confId"], conf.as_str(), "{text}");
    }
}

#[tokio::test]
async fn a_password_is_the_same_composed_or_not_and_with_whatever_blank() {
    let fixture = Fixture::with("[[eim.users]]\nuser_id = \"zoe\"\nname = \"Zoë\"\npassword = \"Zoë 1\"").await;
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({ "password": "Zoë 会" })).await;
    for written in ["Zoe\u{308} 会", "Zoë\u{3000}会", "Zoe\u{308}\u{A0}会"] {
        for code in [legacy(written), utf8_percent_encode(written, NON_ALPHANUMERIC).to_string()] {
            assert_eq!(page(&fixture, &code).await["confId"], conf.as_str(), "{code}");
        }
        fixture.guest(written, "Guest").await;
    }
    let again = json!({ "name": "Other", "password": "Zoe\u{308}\u{3000}会" });
    chair.rpc("conference.create", again).await.refused(-32005);
    for written in ["Zoë 1", "Zoe\u{308} 1", "Zoë\u{3000}1"] {
        fixture.gateway.client().login_password("zoe", written).await;
    }
}

#[tokio::test]
async fn no_code_at_all_is_one_that_leads_nowhere() {
    let fixture = Fixture::embedded().await;
    assert_eq!(page(&fixture, "").await, unknown());
    assert_eq!(page(&fixture, "%20").await, unknown());
}

#[tokio::test]
async fn the_raw_password_serves_unless_it_is_turned_off() {
    for (config, found) in [("", true), ("[auth]\nraw_password = false", false)] {
        let fixture = Fixture::with(config).await;
        let chair = fixture.chair().await;
        fixture.conference(&chair, json!({ "password": "open sesame" })).await;
        assert_eq!(state(&fixture, "open%20sesame").await == 0, found);
        assert_eq!(fixture.gateway.client().try_login(by_link("open sesame")).await.is_ok(), found);
        assert_eq!(state(&fixture, &legacy("open sesame")).await, 0, "a legacy code is another thing");
    }
}

#[tokio::test]
async fn a_signed_link_holds_its_terms() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({})).await;

    let expired = code(&chair, &conf, json!({ "expiresAt": date_ms() + 1500 })).await;
    until_true("the link has expired", async || page(&fixture, &expired).await == unknown()).await;
    assert_eq!(key(&turned_away(&fixture, &expired).await), "link.expired");

    let early = code(&chair, &conf, json!({ "notBefore": date_ms() + HOUR_MS })).await;
    assert_eq!(state(&fixture, &early).await, 30);
    assert_eq!(turned_away(&fixture, &early).await.refused(-32006)["data"]["state"], 30);

    let revoked = link(&chair, &conf, json!({})).await;
    let revoked_code = revoked["code"].as_str().unwrap();
    assert_eq!(state(&fixture, revoked_code).await, 0);
    let params = json!({ "confId": conf, "linkId": revoked["linkId"] });
    chair.rpc("conference.revokeLink", params).await.result();
    assert_eq!(page(&fixture, revoked_code).await, unknown());
    assert_eq!(key(&turned_away(&fixture, revoked_code).await), "link.revoked");

    let forged = format!("{}x", code(&chair, &conf, json!({})).await);
    assert_eq!(page(&fixture, &forged).await, unknown());
}

#[tokio::test]
async fn a_chairs_link_makes_its_bearer_a_chair_and_nothing_beyond_the_conference() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, guest_code) = fixture.conference(&chair, json!({ "startAt": date_ms() + HOUR_MS })).await;
    let (other, _) = fixture.conference(&chair, json!({})).await;
    let bearer = fixture.guest(&code(&chair, &conf, json!({ "role": "chair" })).await, "Boss").await;
    let terms = json!({ "confId": conf, "role": "guest" });
    bearer.rpc("conference.createLink", terms.clone()).await.result();
    let joined = bearer.rpc("conference.join", json!({ "confId": conf })).await.result();
    assert_eq!((&joined["member"]["role"], &joined["member"]["name"]), (&json!("chair"), &json!("Boss")));
    let bearer = bearer.refreshed().await;
    bearer.rpc("conference.createLink", terms).await.result();
    bearer.rpc("conference.listLinks", json!({ "confId": conf })).await.result();
    for (method, params) in [
        ("conference.create", json!({ "name": "Mine" })),
        ("conference.createLink", json!({ "confId": other, "role": "chair" })),
        ("call.start", json!({ "to": ["u1074304"] })),
    ] {
        assert!(bearer.rpc(method, params).await.0.get("error").is_some(), "{method}");
    }
    assert_eq!(state(&fixture, &guest_code).await, 0, "the chair who comes starts it");
    bearer.rpc("conference.control", json!({ "confId": conf, "action": "lock" })).await.result();
    bearer.rpc("conference.control", json!({ "confId": other, "action": "lock" })).await.refused(-32004);
}

#[tokio::test]
async fn a_name_of_which_nothing_can_be_seen_is_refused_wherever_one_is_given() {
    let fixture = Fixture::embedded().await;
    let (chair, operator) = (fixture.chair().await, fixture.operator().await);
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let unseen = [
        "\u{200B}",
        "\u{3164}",
        "\u{2800}",
        "\u{202E}",
        "\u{FEFF}",
        " \u{2060}\u{A0}",
        "\u{E0041}",
        "\u{FE0F}",
        "\u{301}",
    ];
    for name in unseen {
        let login = json!({ "grantType": "conference_link", "link": code, "name": name });
        let refused = fixture.gateway.client().try_login(login).await.err().expect("a refusal").refused(-32602);
        assert_eq!(refused["data"]["errors"][0]["path"], "name", "{name:?}");
        chair.rpc("conference.create", json!({ "name": name })).await.refused(-32602);
        chair.rpc("conference.update", json!({ "confId": conf, "name": name })).await.refused(-32602);
        operator.rpc("org.user.createUser", json!({ "name": name })).await.refused(-32602);
        chair.rpc("conference.join", json!({ "confId": conf, "name": name })).await.refused(-32602);
    }
    let guest = fixture.guest(&code, "An\u{202E}na \u{200B}👩\u{200D}💻\u{2069}").await;
    assert_eq!(guest.login()["name"], "Anna 👩\u{200D}💻");
    let joined = guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    assert_eq!(joined["member"]["name"], "Anna 👩\u{200D}💻");
    let made = chair.rpc("conference.create", json!({ "name": "\u{202E}gnitee M\u{FEFF}" })).await.result();
    assert_eq!(made["confName"], "gnitee M");
}

/// On the embedded default, and over real XMPP servers in either link mode.
mod two_with_a_chairs_link_and_the_chair_rule_side_by_side_each_in_a_seat_of_their_own {
    use super::*;

    #[tokio::test]
    async fn embedded() {
        they_rule_side_by_side(Fixture::embedded().await).await;
    }

    #[tokio::test]
    async fn ejabberd_component() {
        they_rule_side_by_side(Fixture::component(XmppServer::ejabberd().await, "").await).await;
    }

    #[tokio::test]
    async fn prosody_component() {
        they_rule_side_by_side(Fixture::component(XmppServer::prosody().await, "").await).await;
    }

    #[tokio::test]
    async fn ejabberd_sessions() {
        they_rule_side_by_side(Fixture::c2s(XmppServer::ejabberd().await, "starttls", "").await).await;
    }

    #[tokio::test]
    async fn prosody_sessions() {
        they_rule_side_by_side(Fixture::c2s(XmppServer::prosody().await, "starttls", "").await).await;
    }
}

async fn they_rule_side_by_side(fixture: Fixture) {
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({})).await;
    let code = code(&chair, &conf, json!({ "role": "chair" })).await;
    let mut app = chair.open_socket().await;
    app.call("conference.join", json!({ "confId": conf })).await.result();
    let mut sockets = Vec::new();
    let mut users = vec![chair.user_id().to_owned()];
    for name in ["One", "Two"] {
        let bearer = fixture.guest(&code, name).await;
        let mut socket = bearer.open_socket().await;
        let joined = socket.call("conference.join", json!({ "confId": conf })).await.result();
        assert_eq!((&joined["member"]["name"], &joined["member"]["role"]), (&json!(name), &json!("chair")));
        users.push(bearer.user_id().to_owned());
        sockets.push((bearer, socket));
    }
    let members = chair.rpc("conference.members", json!({ "confId": conf })).await.result();
    let seen: Vec<_> = members["members"].as_array().unwrap().iter().map(|m| m["userId"].as_str().unwrap()).collect();
    assert_eq!(seen, users, "three people: {members}");
    for (at, (bearer, socket)) in sockets.iter_mut().enumerate() {
        let action = ["lock", "unlock"][at];
        socket.call("conference.control", json!({ "confId": conf, "action": action })).await.result();
        let told = app.expect_event(&format!("conference.{action}ed")).await;
        assert_eq!(told["actor"], bearer.user_id());
    }
    // Nobody lost a socket, and a removed member is no chair any more.
    let (one, _) = &sockets[0];
    let out = json!({ "confId": conf, "action": "kick", "userId": one.user_id() });
    app.call("conference.control", out).await.result();
    assert_eq!(sockets[0].1.close_code().await, 4003);
    sockets[0].0.rpc("conference.control", json!({ "confId": conf, "action": "lock" })).await.refused(-32001);
    sockets[1].0.rpc("conference.control", json!({ "confId": conf, "action": "end" })).await.result();
}

#[tokio::test]
async fn a_use_is_one_successful_login_and_nothing_else() {
    let fixture = Fixture::with("[limits]\nguests_per_link = 2").await;
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({})).await;
    let made = link(&chair, &conf, json!({ "maxUses": 3 })).await;
    let code = made["code"].as_str().unwrap();
    let uses = async || {
        let all = chair.rpc("conference.listLinks", json!({ "confId": conf })).await.result();
        let mut links = all["links"].as_array().unwrap().iter();
        links.find(|l| l["linkId"] == made["linkId"]).expect("the link is listed")["uses"].as_u64().unwrap()
    };

    let guest = fixture.guest(code, "Guest").await;
    assert_eq!(uses().await, 1);
    // Looking, refreshing, joining, and a socket that breaks and resumes use nothing.
    assert_eq!(state(&fixture, code).await, 0);
    let guest = guest.refreshed().await;
    let mut socket = guest.open_socket().await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    socket.wait_for("conference.snapshot").await;
    let mut again = guest.resume_socket(socket.vanish()).await;
    again.expect("hello").await;
    assert_eq!(uses().await, 1);

    // Two live accounts are all that the link may have: the third login fails and gives its use back.
    fixture.guest(code, "Second").await;
    let full = turned_away(&fixture, code).await;
    assert_eq!((key(&full), uses().await), ("link.full".into(), 2));
    assert!(full.refused(-32029)["data"]["retryAfterMs"].as_u64().is_some());
    // A guest that leaves for good makes room.
    guest.rpc("auth.http.logout", json!({})).await.result();
    let third = fixture.guest(code, "Third").await;
    third.rpc("auth.http.logout", json!({})).await.result();
    assert_eq!((key(&turned_away(&fixture, code).await), uses().await), ("link.exhausted".into(), 3));
}

#[tokio::test]
async fn a_password_is_one_live_conferences_own() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (first, _) = fixture.conference(&chair, json!({ "password": "20260101" })).await;
    let operator = fixture.login(json!({ "grantType": "client_credentials", "clientId": "u1074304" })).await;
    let again = json!({ "name": "Other", "password": "20260101" });
    let refused = operator.rpc("conference.create", again.clone()).await.refused(-32005);
    assert!(!refused.to_string().contains(&first), "whose it is, is not said: {refused}");

    chair.rpc("conference.end", json!({ "confId": first })).await.result();
    assert_eq!(page(&fixture, &legacy("20260101")).await["confId"], first.as_str(), "ended, and no other has it");
    let second = operator.rpc("conference.create", again).await.result();
    assert_eq!(page(&fixture, &legacy("20260101")).await["confId"], second["confId"], "one that goes on comes first");
    let made = operator.rpc("conference.create", json!({ "name": "Third" })).await.result();
    let password = made["password"].as_str().expect("the chair is told the password");
    assert!(password.len() >= 8 && password.bytes().all(|b| b.is_ascii_digit()), "{password}");
}

#[tokio::test]
async fn twenty_wrong_guesses_a_minute_are_enough_and_a_signed_link_works_meanwhile() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (_, signed) = fixture.conference(&chair, json!({ "password": "right-one" })).await;
    // Right ones are no guesses.
    for _ in 0..25 {
        assert_eq!(state(&fixture, &legacy("right-one")).await, 0);
    }
    for guess in 0..20 {
        assert_eq!(page(&fixture, &legacy(&format!("wrong-{guess}"))).await, unknown());
    }
    let refused = post(&fixture, &legacy("wrong-20")).await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").parse().expect("Retry-After in seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    let login = turned_away(&fixture, &legacy("wrong-21")).await.refused(-32029);
    assert!((1..=60_000).contains(&login["data"]["retryAfterMs"].as_u64().unwrap()), "{login}");

    assert_eq!(state(&fixture, &signed).await, 0);
    fixture.guest(&signed, "Guest").await;
}

#[tokio::test]
async fn text_that_cannot_be_a_password_is_no_guess() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, signed) = fixture.conference(&chair, json!({ "password": "right-one" })).await;
    let expired = code(&chair, &conf, json!({ "expiresAt": date_ms() + 1000 })).await;
    until_true("the link has expired", async || page(&fixture, &expired).await == unknown()).await;
    let long = "x".repeat(200);
    let visits = [format!("{signed}x"), format!("{signed}."), expired, "~a.b.c".into(), "~".into(), "abc".into(), long];
    for code in visits {
        for _ in 0..25 {
            assert_eq!(post(&fixture, &code).await.status, 200, "{code}");
        }
    }
    assert_eq!(page(&fixture, &legacy("wrong-one")).await, unknown());
    assert_eq!(state(&fixture, &legacy("right-one")).await, 0);
}

#[tokio::test]
async fn guesses_from_everywhere_slow_newcomers_and_lock_nobody_out() {
    let config =
        "[http]\ntrusted_proxies = [\"127.0.0.1/32\"]\n[limits]\nguesses_total_per_minute = 20\nslow_login_ms = 400";
    let fixture = Fixture::with(config).await;
    let chair = fixture.chair().await;
    fixture.conference(&chair, json!({ "password": "right-one" })).await;
    let visit = async |address: &str, code: &str| {
        let path = format!("{BASE}/conference/{code}");
        fixture.gateway.client().request(Method::POST, &path, &[("x-forwarded-for", address)], "").await
    };
    for n in 0..20 {
        let guess = visit(&format!("198.51.{n}.1"), &legacy(&format!("wrong-{n}"))).await;
        assert_eq!(guess.json(), unknown());
    }
    let began = std::time::Instant::now();
    let newcomer = visit("203.0.113.1", &legacy("right-one")).await;
    assert_eq!(newcomer.json()["state"], 0, "{newcomer:?}");
    assert!(began.elapsed().as_millis() >= 400, "held for a moment: {:?}", began.elapsed());
    // A quarter of the usual guesses is left to each newcomer.
    for n in 0..5 {
        assert_eq!(visit("203.0.114.1", &legacy(&format!("wrong-{n}"))).await.json(), unknown());
    }
    assert_eq!(visit("203.0.114.1", &legacy("wrong-5")).await.status, 429);
}

#[tokio::test]
async fn times_in_seconds_or_already_over_are_refused_by_name() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({})).await;
    let now = date_ms();
    let (seconds, hour) = (now / 1000 + 3600, now + HOUR_MS);
    let link = |terms: Value| ("conference.createLink", terms);
    for ((method, mut params), path) in [
        (link(json!({ "expiresAt": seconds })), "expiresAt"),
        (link(json!({ "notBefore": seconds })), "notBefore"),
        (link(json!({ "notBefore": 0 })), "notBefore"),
        (link(json!({ "expiresAt": now - 1000 })), "expiresAt"),
        (link(json!({ "notBefore": hour, "expiresAt": hour - 1 })), "expiresAt"),
        (link(json!({ "notBefore": hour, "expiresAt": hour })), "expiresAt"),
        (("conference.update", json!({ "startAt": seconds })), "startAt"),
        (("conference.create", json!({ "name": "x", "startAt": seconds })), "startAt"),
    ] {
        if method != "conference.create" {
            params["confId"] = conf.as_str().into();
        }
        let refused = chair.rpc(method, params.clone()).await.refused(-32602);
        assert_eq!(refused["data"]["errors"][0]["path"], path, "{method} {params}: {refused}");
    }
    link_made(&chair, &conf, json!({ "notBefore": now - 1000, "expiresAt": hour })).await;
    link_made(&chair, &conf, json!({ "notBefore": null, "expiresAt": null })).await;
}

async fn link_made(chair: &Client, conf: &str, terms: Value) {
    assert!(link(chair, conf, terms).await["linkId"].is_string());
}

/// Logs in with that device cookie, if any: the reply and the cookie that it sets.
async fn login_in_browser(fixture: &Fixture, code: &str, cookie: Option<&str>) -> (Answer, Option<String>) {
    let body = json!({ "id": 1, "method": "auth.http.login", "params": by_link(code) }).to_string();
    let headers: Vec<(&str, &str)> = cookie.map(|cookie| ("cookie", cookie)).into_iter().collect();
    let reply = fixture.gateway.client().raw(body, &headers).await;
    let set = reply.header("set-cookie").to_owned();
    if set.is_empty() {
        return (reply.answer(), None);
    }
    for attribute in ["; HttpOnly", "; Secure", "; SameSite=Strict"] {
        assert!(set.contains(attribute), "{set}");
    }
    (reply.answer(), set.split(';').next().map(str::to_owned))
}

/// Comes in with a browser of its own and is sent out by that action: the browser's cookie.
async fn sent_out(fixture: &Fixture, chair: &Client, conf: &str, code: &str, action: &str) -> String {
    let (login, cookie) = login_in_browser(fixture, code, None).await;
    let login = login.result();
    let guest = fixture.gateway.client().bearing(login["accessToken"].as_str().unwrap());
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    let params = json!({ "confId": conf, "action": action, "userId": login["userId"] });
    chair.rpc("conference.control", params).await.result();
    guest.rpc("conference.members", json!({ "confId": conf })).await.refused(-32001);
    cookie.expect("a browser is given a name")
}

#[tokio::test]
async fn a_kick_bars_the_browser_for_a_while_and_a_ban_for_the_conference() {
    let fixture = Fixture::with("[limits]\nkick_s = 0").await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let kicked = sent_out(&fixture, &chair, &conf, &code, "kick").await;
    login_in_browser(&fixture, &code, Some(&kicked)).await.0.result();
    let banned = sent_out(&fixture, &chair, &conf, &code, "ban").await;
    let (refused, _) = login_in_browser(&fixture, &code, Some(&banned)).await;
    assert_eq!((refused.refused(-32003)["code"].as_i64(), key(&refused)), (Some(-32003), "conference.banned".into()));
    // Another browser may, and so may this one elsewhere.
    login_in_browser(&fixture, &code, None).await.0.result();
    let (_, other) = fixture.conference(&chair, json!({})).await;
    login_in_browser(&fixture, &other, Some(&banned)).await.0.result();
}

#[tokio::test]
async fn a_kicked_browser_is_turned_away_and_a_forged_cookie_is_nobodys() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let kicked = sent_out(&fixture, &chair, &conf, &code, "kick").await;
    let (refused, cookie) = login_in_browser(&fixture, &code, Some(&kicked)).await;
    assert_eq!((key(&refused), cookie), ("conference.banned".into(), None));
    let forged = format!("{kicked}x");
    let (login, cookie) = login_in_browser(&fixture, &code, Some(&forged)).await;
    login.result();
    assert!(cookie.is_some(), "a cookie that isn't ours is replaced");
}

#[tokio::test]
async fn checks_come_in_order_link_banned_started_locked_full_lobby() {
    let fixture = Fixture::with("[limits]\nconference_members = 2").await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({ "startAt": date_ms() + HOUR_MS })).await;
    let control = async |action: &str, user: Value| {
        let params = json!({ "confId": conf, "action": action, "userId": user });
        chair.rpc("conference.control", params).await.result();
    };
    let enter = async |cookie: Option<&str>| -> Answer {
        let (login, _) = login_in_browser(&fixture, &code, cookie).await;
        let Some(token) = login.0["result"]["accessToken"].as_str() else { return login };
        let guest = fixture.gateway.client().bearing(token);
        guest.rpc("conference.join", json!({ "confId": conf })).await
    };
    assert_eq!(enter(None).await.refused(-32006)["data"]["state"], 30, "not started comes before full and lobby");
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    let banned = sent_out(&fixture, &chair, &conf, &code, "ban").await;

    chair.rpc("conference.update", json!({ "confId": conf, "lobby": true })).await.result();
    let waiting = enter(None).await.result();
    assert_eq!((&waiting["member"]["state"], &waiting["callGateway"]), (&json!("waiting"), &Value::Null));
    control("admit", waiting["member"]["userId"].clone()).await;
    assert_eq!(key(&enter(None).await), "conference.full", "full comes before the lobby");
    control("lock", Value::Null).await;
    assert_eq!(key(&enter(None).await), "conference.locked", "locked comes before full");
    assert_eq!(key(&enter(Some(&banned)).await), "conference.banned", "banned comes before locked");
    let (login, _) = login_in_browser(&fixture, "xY7aMTIzNDU2", Some(&banned)).await;
    assert_eq!(login.refused(-32004)["data"]["state"], 32, "the link comes before all");
}

/// A user of the EIM who logs in with that device cookie, if any; and the cookie that is set.
async fn user_in_browser(fixture: &Fixture, cookie: Option<&str>) -> (Client, Option<String>) {
    let params = json!({ "grantType": "client_credentials", "clientId": "u1074304" });
    let body = json!({ "id": 1, "method": "auth.http.login", "params": params }).to_string();
    let headers: Vec<(&str, &str)> = cookie.map(|cookie| ("cookie", cookie)).into_iter().collect();
    let reply = fixture.gateway.client().raw(body, &headers).await;
    let cookie = reply.header("set-cookie").split(';').next().filter(|cookie| !cookie.is_empty()).map(str::to_owned);
    let login = reply.answer().result();
    (fixture.gateway.client().bearing(login["accessToken"].as_str().expect("a token")), cookie)
}

/// The key of the refusal of each way into the conference.
async fn is_kept_out(user: &Client, conf: &str) {
    for (method, params) in [
        ("conference.join", json!({ "confId": conf })),
        ("callgw.allocate", json!({ "confId": conf })),
        ("conference.members", json!({ "confId": conf })),
        ("conference.sendMessage", json!({ "confId": conf, "text": "x" })),
    ] {
        user.rpc(method, params).await.refused(-32003);
    }
    let join = format!(
        "<iq to='jeconference.ips3000' type='set' id='j'><jeExtension xmlns='je:x:client:conference'>\
         <join confId='{conf}'/></jeExtension></iq>"
    );
    let answer = user.rpc("org.user.processIQ", json!({ "reqXml": join })).await.result();
    assert!(answer["xml"].as_str().is_some_and(|xml| xml.contains("forbidden")), "by an IQ of their own: {answer}");
    let mut socket = user.open_socket().await;
    socket.expect("hello").await;
    socket.call("conference.join", json!({ "confId": conf })).await.refused(-32003);
}

#[tokio::test]
async fn a_kicked_user_of_the_eim_stays_out_of_that_conference_by_account_and_by_browser() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let (other, other_code) = fixture.conference(&chair, json!({})).await;
    let (user, cookie) = user_in_browser(&fixture, None).await;
    let cookie = cookie.expect("every browser is given a name");
    for conf in [&conf, &other] {
        user.rpc("conference.join", json!({ "confId": conf })).await.result();
    }
    let out = json!({ "confId": conf, "action": "kick", "userId": "u1074304" });
    chair.rpc("conference.control", out).await.result();
    is_kept_out(&user, &conf).await;
    is_kept_out(&user_in_browser(&fixture, None).await.0, &conf).await;
    // Not by the guests' link in the same browser either; others of the same office come in.
    let (refused, _) = login_in_browser(&fixture, &code, Some(&cookie)).await;
    assert_eq!((refused.refused(-32003)["code"].as_i64(), key(&refused)), (Some(-32003), "conference.banned".into()));
    login_in_browser(&fixture, &code, None).await.0.result();
    // A conference that is forbidden here does not exist elsewhere.
    user.rpc("conference.members", json!({ "confId": other })).await.result();
    login_in_browser(&fixture, &other_code, Some(&cookie)).await.0.result();
}

#[tokio::test]
async fn a_kick_ends_with_its_time_and_a_ban_with_the_conference() {
    let fixture = Fixture::with("[limits]\nkick_s = 0").await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let (user, cookie) = user_in_browser(&fixture, None).await;
    for action in ["kick", "ban"] {
        user.rpc("conference.join", json!({ "confId": conf })).await.result();
        let out = json!({ "confId": conf, "action": action, "userId": "u1074304" });
        chair.rpc("conference.control", out).await.result();
    }
    is_kept_out(&user, &conf).await;
    let (refused, _) = login_in_browser(&fixture, &code, cookie.as_deref()).await;
    assert_eq!(key(&refused), "conference.banned");
}

#[tokio::test]
async fn a_chair_who_sends_out_a_guest_of_their_own_browser_is_not_barred() {
    let fixture = Fixture::embedded().await;
    let (user, cookie) = user_in_browser(&fixture, None).await;
    let cookie = cookie.expect("every browser is given a name");
    let (conf, code) = fixture.conference(&user, json!({})).await;
    let (login, _) = login_in_browser(&fixture, &code, Some(&cookie)).await;
    let guest = fixture.gateway.client().bearing(login.result()["accessToken"].as_str().expect("a token"));
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    let out = json!({ "confId": conf, "action": "kick", "userId": login.result()["userId"] });
    user.rpc("conference.control", out).await.result();
    let body = json!({ "id": 1, "method": "conference.join", "params": { "confId": conf } }).to_string();
    user.raw(body, &[("cookie", &cookie)]).await.answer().result();
    assert_eq!(key(&login_in_browser(&fixture, &code, Some(&cookie)).await.0), "conference.banned", "the guest is");
}

#[tokio::test]
async fn a_conference_has_so_many_live_links_and_a_revoked_one_makes_room() {
    const LINKS: usize = 1000;
    let fixture = Fixture::with("[limits]\norders_per_minute = 100000").await;
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({})).await;
    let had = chair.rpc("conference.listLinks", json!({ "confId": conf })).await.result();
    let had = had["links"].as_array().expect("links").len();
    let one = |id: usize| json!({ "id": id, "method": "conference.createLink", "params": { "confId": conf } });
    for from in (had..LINKS).step_by(50) {
        let batch: Value = (from..LINKS.min(from + 50)).map(one).collect();
        let made = chair.post(&batch).await.json();
        assert!(made.as_array().expect("a batch").iter().all(|answer| answer["result"].is_object()), "{made}");
    }
    let refused = chair.rpc("conference.createLink", json!({ "confId": conf })).await;
    assert_eq!(key(&refused), "link.tooMany");
    let listed = chair.rpc("conference.listLinks", json!({ "confId": conf })).await.result();
    let first = &listed["links"][0]["linkId"];
    chair.rpc("conference.revokeLink", json!({ "confId": conf, "linkId": first })).await.result();
    link(&chair, &conf, json!({})).await;
}
