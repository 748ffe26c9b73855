//! Replays `rpc-schema/dialogues` against the running binary: every reply as written, every result as the schema
//! promises it, every error in its shape.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use confgate::schema::Schema;
use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::rpc_shape::assert_error_shape;
use crate::support::call_gateway::{Node, probed};
use crate::support::client::Client;
use crate::support::dialogue::{Captures, Dialogue, NOBODY};
use crate::support::gateway::Gateway;

/// The world of the dialogues, as their description gives it to the reader.
fn world() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/rpc-schema/dialogues/README.md");
    let text = std::fs::read_to_string(path).expect("the dialogues are described");
    let (_, block) = text.split_once("```toml\n").expect("the description holds the configuration");
    block.split_once("```").expect("the block ends").0.to_owned()
}

/// The clients of one file, by role.
struct Cast {
    speakers: BTreeMap<&'static str, Client>,
    captures: Captures,
}

impl Cast {
    async fn assemble(gateway: &Gateway) -> Self {
        let nobody = gateway.client();
        let open = json!({ "grantType": "client_credentials", "clientId": "u1074304" });
        let chair = nobody.try_login(open).await.unwrap_or_else(|refusal| panic!("the chair: {}", refusal.0));
        let user = nobody.login_client("u1074808", "user-dialogue").await;
        let operator = nobody.login_client("operator", "operator-dialogue").await;
        let made = chair.rpc("conference.create", json!({ "name": "周会" })).await.result();
        let code = made["link"]["code"].as_str().expect("a link has a code").to_owned();
        let guest = nobody.login_link(&code, "李四").await;
        let captures = [
            ("confId", made["confId"].clone()),
            ("password", made["password"].clone()),
            ("code", code.into()),
            ("chairId", chair.user_id().into()),
            ("userId", user.user_id().into()),
            ("guestId", guest.user_id().into()),
        ];
        let captures = captures.map(|(name, value)| (name.to_owned(), value)).into();
        let speakers =
            [(NOBODY, nobody), ("chair", chair), ("user", user), ("operator", operator), ("guest", guest)].into();
        Self { speakers, captures }
    }

    async fn play(self, dialogue: &Dialogue, schema: &Schema) {
        let say = async |role: &str, text: String| {
            let speaker = self.speakers.get(role).unwrap_or_else(|| panic!("{}: no such role: {role}", dialogue.name));
            let reply = speaker.raw(text.clone(), &[]).await;
            let body = String::from_utf8(reply.body.to_vec()).expect("a reply is UTF-8");
            assert_eq!(reply.status.as_u16(), if body.is_empty() { 204 } else { 200 }, "{text}");
            promised(schema, &text, &body);
            body
        };
        dialogue.replay(self.captures.clone(), say).await;
    }
}

/// Holds a reply against the schema: a result against its method's, an error against the shape of all errors.
fn promised(schema: &Schema, request: &str, reply: &str) {
    let (Ok(request), Ok(reply)) = (serde_json::from_str::<Value>(request), serde_json::from_str::<Value>(reply))
    else {
        return;
    };
    if reply.get("error").is_some() {
        assert_error_shape(&reply);
    } else if let Some(method) = request["method"].as_str().and_then(|name| schema.method(name)) {
        let fits = method.validate_result(&reply["result"]);
        assert_eq!(fits, Ok(()), "{} answers what its schema does not promise: {reply}", method.name);
    }
}

#[tokio::test]
async fn every_dialogue_is_answered_as_it_is_written() {
    let schema = Schema::load(None).unwrap_or_else(|errors| panic!("{errors:?}"));
    let node = Node::start("a").await;
    let gateway = Gateway::with(&format!("{}{}", world(), node.section())).start().await;
    probed(&gateway, &[&node]).await;
    let dialogues = Dialogue::all();
    // Next to each other, since the description says that they may be.
    let played = dialogues.iter().map(|dialogue| {
        let play = async { Cast::assemble(&gateway).await.play(dialogue, &schema).await };
        AssertUnwindSafe(play).catch_unwind()
    });
    // Each panic has been printed where it happened.
    let failed = join_all(played).await.iter().filter(|played| played.is_err()).count();
    assert_eq!(failed, 0, "dialogues that are answered otherwise");
    assert!(!gateway.logs().contains("panicked"));
}

/// Refusals that need a broken world, and where they are shown.
const ELSEWHERE: [(i64, &str); 6] = [
    (-32603, "a fault of ours: none is known"),
    (-32002, "hostile_rpc::tokens, with tokens that expire within a second"),
    (-32010, "eim_faults, without a link to the EIM"),
    (-32011, "eim_faults, with an EIM that is silent"),
    (-32012, "eim_faults, with an EIM that refuses in other words"),
    (-32020, "callgw, with every node dead"),
];

#[test]
fn every_refusal_of_the_schema_has_a_dialogue_or_is_shown_elsewhere() {
    let schema = Schema::load(None).unwrap_or_else(|errors| panic!("{errors:?}"));
    let errors = schema.openrpc()["components"]["errors"].as_object().expect("errors are components");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/rpc-schema/dialogues");
    let files = std::fs::read_dir(directory).expect("the dialogues are there").flatten();
    let texts: String = files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
    for (name, error) in errors {
        let code = error["code"].as_i64().unwrap_or_else(|| panic!("{name} has no code"));
        let shown = texts.contains(&format!("\"error\":{{\"code\":{code},"));
        let elsewhere = ELSEWHERE.iter().any(|(broken, _)| *broken == code);
        assert!(shown != elsewhere, "{name} ({code}): in a dialogue {shown}, elsewhere {elsewhere}");
    }
}

#[test]
fn every_method_has_a_dialogue() {
    let schema = Schema::load(None).unwrap_or_else(|errors| panic!("{errors:?}"));
    let dialogues = Dialogue::all();
    for method in schema.methods() {
        assert!(dialogues.iter().any(|d| d.name == method.name), "{} has no dialogue", method.name);
    }
}
