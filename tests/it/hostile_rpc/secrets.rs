//! `org.user.createUser`, and what never appears in an answer or in a log.

use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::rpc_shape::assert_unharmed;
use crate::support::gateway::Gateway;

const PASSWORD: &str = "p4ssw0rd-of-a-new-user";

#[tokio::test]
async fn a_user_is_made_with_the_members_of_the_original_interface_and_without_the_password() {
    let fixture = Fixture::embedded().await;
    let operator = fixture.operator().await;
    let before = confgate::clock::date_ms();
    let params = json!({
        "name": "张三", "userId": "u110001", "password": PASSWORD, "mobile": "13422821882", "email": "dyqx@126.com",
    });
    let mut user = operator.rpc("org.user.createUser", params.clone()).await.result();
    assert!(!user.to_string().contains(PASSWORD));
    for time in ["creationDate", "modificationDate", "activeDate"] {
        let at = user[time].take().as_u64().unwrap_or_else(|| panic!("{time} is no time"));
        assert!(at >= before && at <= confgate::clock::date_ms(), "{time}");
    }
    assert!(user["sipAccount"].take().is_string());
    let expected = json!({
        "birthday": null, "englishName": null, "tenements": [], "gender": "0", "signature": null,
        "isLoggedIn": false, "mobile": "13422821882", "clientEnabled": true, "avatar": null, "creationDate": null,
        "sipAccount": null, "customId": "", "ipWhiteEnabled": false, "userId": "u110001", "loggedIn": false,
        "avatarBinVal": null, "modificationDate": null, "activeDate": null, "name": "张三", "ipBlockEnabled": false,
        "email": "dyqx@126.com", "properties": { "custom.isClientLoginEnable": "true" }, "deleteDate": null,
        "status": "normal",
    });
    assert_eq!(user, expected);

    operator.rpc("org.user.createUser", params).await.refused(-32005);
    // The account is one: its password is what was asked for, and the failed second try changed nothing.
    let login = fixture.gateway.client().login_password("u110001", PASSWORD).await;
    assert_eq!(login.login()["name"], "张三");
    assert_unharmed(&fixture.gateway).await;
}

#[tokio::test]
async fn a_user_without_an_id_gets_one_and_every_field_may_be_given() {
    let fixture = Fixture::embedded().await;
    let operator = fixture.operator().await;
    let only_name = operator.rpc("org.user.createUser", json!({ "name": "刘八" })).await.result();
    let id = only_name["userId"].as_str().expect("an id");
    let digits = id.strip_prefix('u').expect("u and digits");
    assert!(!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()), "{id}");

    let given = json!({
        "name": "<b> & \"quotes\" 会", "englishName": "Ann O'Neill", "gender": "1", "signature": "line one\nline two",
        "birthday": "1990-01-01", "avatar": "a.png", "customId": "c-1", "properties": { "k": "v", "键": "值" },
        "tenements": [], "ipWhiteEnabled": true, "ipBlockEnabled": true, "clientEnabled": false,
    });
    let made = operator.rpc("org.user.createUser", given.clone()).await.result();
    for (name, value) in given.as_object().expect("an object") {
        assert_eq!(&made[name], value, "{name}");
    }
    for bad in ["U1", "a b", "", "会", "a/b", "a@b", &"x".repeat(65)] {
        let params = json!({ "name": "x", "userId": bad });
        let error = operator.rpc("org.user.createUser", params).await.refused(-32602);
        assert_eq!(error["data"]["errors"][0]["path"], "userId", "{error}");
    }
    for bad in [json!({}), json!({ "name": "" }), json!({ "name": 5 }), json!({ "name": "a\u{0}b" })] {
        operator.rpc("org.user.createUser", bad).await.refused(-32602);
    }
    assert_unharmed(&fixture.gateway).await;
}

/// Everything secret that one evening brings forth.
async fn use_every_secret(fixture: &Fixture) -> Vec<String> {
    let (chair, operator) = (fixture.chair().await, fixture.operator().await);
    let conference_password = "20251234";
    let (conf, code) = fixture.conference(&chair, json!({ "password": conference_password })).await;
    let guest = fixture.guest(&code, "张三").await;
    let mut socket = guest.open_socket().await;
    let joined = socket.call("conference.join", json!({ "confId": conf })).await.result();
    let message = "a word between the two of us";
    socket.call("conference.sendMessage", json!({ "confId": conf, "text": message })).await.result();
    let in_url = guest.upgrade(&format!("token={}", guest.token().expect("a token")), &[]).await;
    drop(in_url.unwrap_or_else(|reply| panic!("a token in the URL is accepted: {reply:?}")));
    let params = json!({ "name": "x", "userId": "u9", "password": PASSWORD });
    operator.rpc("org.user.createUser", params.clone()).await.result();
    operator.rpc("org.user.createUser", params).await.refused(-32005);
    let user = fixture.gateway.client().login_password("u9", PASSWORD).await.refreshed().await;
    let wrong = "a-wrong-p4ssword";
    let params = json!({ "grantType": "password", "userId": "u9", "password": wrong });
    assert!(fixture.gateway.client().try_login(params).await.is_err());
    let raw = fixture.gateway.client().login_link(conference_password, "李四").await;
    let page = format!("/gzbwclient/conference/{code}");
    assert_eq!(fixture.gateway.client().request(http::Method::POST, &page, &[], "").await.json()["state"], 0);
    fixture.gateway.client().bearing("not.a.token-at-all").rpc("conference.list", json!({})).await.refused(-32001);
    let lock =
        json!({ "reqXml": format!("<iq to='jeprivacy.ips3000' type='get' id='1'><x xmlns='{PASSWORD}'/></iq>") });
    chair.rpc("org.user.processIQ", lock).await.result();

    let mut secrets =
        [PASSWORD, wrong, conference_password, message, "not.a.token-at-all", "the chair's secret", &code]
            .map(str::to_owned)
            .to_vec();
    for client in [&chair, &operator, &guest, &user, &raw] {
        let tokens = ["accessToken", "refreshToken"].map(|name| client.login()[name].as_str().unwrap_or_default());
        secrets.extend(tokens.map(str::to_owned));
    }
    secrets.extend(joined["callGateway"]["token"].as_str().map(str::to_owned));
    chair.rpc("conference.end", json!({ "confId": conf })).await.result();
    secrets
}

#[tokio::test]
async fn no_password_token_code_or_message_is_ever_logged() {
    for format in ["text", "json"] {
        let fixture = Fixture::with(&format!("[log]\nformat = \"{format}\"\nfilter = \"trace\"\n")).await;
        let secrets = use_every_secret(&fixture).await;
        let logs = fixture.gateway.logs();
        for secret in secrets {
            assert!(secret.len() >= 8, "a secret that may stand anywhere by chance: {secret}");
            assert!(!logs.contains(&secret), "{secret} is in the log");
        }
        assert_unharmed(&fixture.gateway).await;
    }
}

#[tokio::test]
async fn with_a_file_nothing_secret_is_printed() {
    let gateway = Gateway::with("").start().await;
    let logs = gateway.logs();
    for word in ["password:", "chair:", "guest:", "~ey"] {
        assert!(!logs.contains(word), "{logs}");
    }
    let _: Value = gateway.readyz().await;
}
