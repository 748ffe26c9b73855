//! The params that a client may send.

use serde_json::{Value, json};

use super::{built_in, object, paths};

#[test]
fn every_text_list_and_number_that_a_client_sends_is_bounded() {
    let schema = built_in();
    let components = &schema.openrpc()["components"]["schemas"];
    for method in schema.openrpc()["methods"].as_array().expect("methods") {
        for param in method["params"].as_array().expect("params") {
            let place = format!("{}: {}", method["name"], param["name"]);
            assert_bounded(&param["schema"], components, &place);
        }
    }
}

fn assert_bounded(schema: &Value, components: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a name");
        return assert_bounded(&components[name], components, place);
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let has = |member: &str| schema.get(member).is_some();
    let pattern_bounds = schema["pattern"].as_str().is_some_and(|p| p.ends_with("{1,64}$"));
    for kind in types {
        match kind {
            "string" => assert!(has("maxLength") || has("enum") || pattern_bounds, "{place}: text without bound"),
            "integer" | "number" => assert!((has("minimum") && has("maximum")) || has("enum"), "{place}: number"),
            "array" => assert!(has("maxItems"), "{place}: list without bound"),
            _ => {}
        }
    }
    for inner in ["items", "additionalProperties"].iter().filter_map(|member| schema.get(member)) {
        assert_bounded(inner, components, place);
    }
    for (_, inner) in schema["properties"].as_object().into_iter().flatten() {
        assert_bounded(inner, components, place);
    }
}

#[test]
fn the_four_methods_of_the_original_interface_take_its_samples() {
    let schema = built_in();
    let samples = [
        ("auth.http.login", json!({"clientId": "u1074304", "grantType": "client_credentials"})),
        ("config.getProperties", json!({"keys": ["serverName", "webrtcAddress"]})),
        ("org.user.processIQ", json!({"reqXml": "<iq/>"})),
        ("org.user.createUser", json!({"name": "张三"})),
        (
            "org.user.createUser",
            json!({"name": "张三", "birthday": null, "tenements": [], "gender": "0", "isLoggedIn": false,
                "creationDate": 1557226578658u64, "properties": {"custom.isClientLoginEnable": "true"},
                "deleteDate": null, "status": "normal", "clientEnabled": true, "customId": ""}),
        ),
    ];
    for (method, params) in samples {
        assert_eq!(paths(&schema, method, params), Vec::<String>::new(), "{method}");
    }
}

#[test]
fn a_wrong_param_is_told_by_its_path() {
    let schema = built_in();
    let told = |method, params| paths(&schema, method, params).join(" ");
    assert_eq!(told("config.getProperties", json!({})), "keys");
    assert_eq!(told("config.getProperties", json!({"keys": "x"})), "keys");
    assert_eq!(told("config.getProperties", json!({"keys": [1, "a", null]})), "keys[0] keys[2]");
    assert_eq!(told("org.user.processIQ", json!({"reqXml": 1, "timeoutMs": "2"})), "reqXml timeoutMs");
    assert_eq!(told("conference.control", json!({"confId": "a b", "action": "fly"})), "confId action");
    assert_eq!(told("conference.control", json!({"confId": "1", "action": "kick"})), "userId");
    assert_eq!(told("conference.control", json!({"confId": "1", "action": "kick", "userId": null})), "userId");
    assert_eq!(told("conference.control", json!({"confId": "1", "action": "admit", "value": "all"})), "");
    let position = json!({"confId": "1", "epoch": "e"});
    assert_eq!(told("events.resume", json!({"positions": [position]})), "positions[0].seq");
    assert_eq!(told("conference.create", json!({"name": " \t"})), "name");
    assert_eq!(told("conference.create", json!({"name": "x", "startAt": -1, "lobby": 1})), "startAt lobby");
}

#[test]
fn a_login_is_told_what_its_grant_needs() {
    let schema = built_in();
    let told = |params| paths(&schema, "auth.http.login", params).join(" ");
    assert_eq!(told(json!({})), "grantType");
    assert_eq!(told(json!({"grantType": "magic"})), "grantType");
    assert_eq!(told(json!({"grantType": "client_credentials"})), "clientId");
    assert_eq!(told(json!({"grantType": "password"})), "userId password");
    assert_eq!(told(json!({"grantType": "conference_link", "link": "x", "userId": "u1"})), "name");
    assert_eq!(told(json!({"grantType": "refresh_token"})), "refreshToken");
    assert_eq!(told(json!({"grantType": "password", "userId": "U1", "password": "x"})), "userId");
}

#[test]
fn a_params_error_never_repeats_the_value_and_stays_small() {
    let schema = built_in();
    let login = schema.method("auth.http.login").expect("a method");
    let secret = "s3cret".repeat(200);
    let params = json!({"grantType": "password", "userId": &secret, "password": &secret, "refreshToken": [&secret]});
    for error in login.validate_params(&object(params)).expect_err("wrong") {
        assert!(!error.message.contains("s3cret"), "{}", error.message);
    }
    let many = json!({"keys": vec![json!(1); 60]});
    let errors = schema.method("config.getProperties").expect("a method").validate_params(&object(many));
    assert!(errors.expect_err("wrong").len() <= 20);
}

#[test]
fn unknown_params_are_ignored() {
    let schema = built_in();
    let params = json!({"keys": [], "further": {"x": 1}, "grantType": 1});
    assert_eq!(paths(&schema, "config.getProperties", params), Vec::<String>::new());
    let login = json!({"grantType": "refresh_token", "refreshToken": "r", "further": 1});
    assert_eq!(paths(&schema, "auth.http.login", login), Vec::<String>::new());
}
