//! Replays `rpc-schema/dialogues` against the running binary: every reply as written, every result as the schema
//! promises it, every error in its shape.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use confgate::refusal::Reason;
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
        named(schema, &request, &reply);
    } else if let Some(method) = request["method"].as_str().and_then(|name| schema.method(name)) {
        let fits = method.validate_result(&reply["result"]);
        assert_eq!(fits, Ok(()), "{} answers what its schema does not promise: {reply}", method.name);
    }
}

/// Holds a refusal against the reasons that the schema gives its method.
fn named(schema: &Schema, request: &Value, reply: &Value) {
    let methods = schema.openrpc()["methods"].as_array().expect("methods are a list");
    let Some(method) = methods.iter().find(|method| method["name"] == request["method"]) else { return };
    let key = reply["error"]["data"]["key"].as_str().unwrap_or_default();
    let own = method["x-reasons"].as_array().is_some_and(|own| own.iter().any(|own| own == key));
    let shared = ["any", "eim"].into_iter().flat_map(|name| group(schema, name)).any(|shared| shared == key);
    assert!(own || shared, "{} is refused by {key}, which its schema does not name", request["method"]);
}

#[tokio::test]
async fn every_dialogue_is_answered_as_it_is_written() {
    let schema = Schema::load(None).unwrap_or_else(|errors| panic!("{errors:?}"));
    let node = Node::start("a").await;
    let gateway = Gateway::with(&format!("{}{}", world(), node.section())).start().await;
    probed(&gateway, &[&node]).await;
    let dialogues = Dialogue::all();
    // Next to each other, since the description says that they may be.
    let of_this_world = dialogues.iter().filter(|dialogue| dialogue.configuration.is_empty());
    let played = of_this_world.map(|dialogue| {
        let play = async { Cast::assemble(&gateway).await.play(dialogue, &schema).await };
        AssertUnwindSafe(play).catch_unwind()
    });
    // Each panic has been printed where it happened.
    let failed = join_all(played).await.iter().filter(|played| played.is_err()).count();
    assert_eq!(failed, 0, "dialogues that are answered otherwise");
    assert!(!gateway.logs().contains("panicked"));
}

#[tokio::test]
async fn dialogues_of_small_limits_are_answered_as_they_are_written() {
    let schema = Schema::load(None).unwrap_or_else(|errors| panic!("{errors:?}"));
    for dialogue in Dialogue::all().into_iter().filter(|dialogue| !dialogue.configuration.is_empty()) {
        let mut gateway = Gateway::with(&world());
        for (key, value) in &dialogue.configuration {
            gateway = gateway.environment(&format!("CONFGATE_{}", key.to_uppercase().replace('.', "__")), value);
        }
        let gateway = gateway.start().await;
        Cast::assemble(&gateway).await.play(&dialogue, &schema).await;
    }
}

/// Reasons that no dialogue can show, and the test that does.
const ELSEWHERE: [(Reason, &str, &str); 19] = [
    (Reason::TokenExpired, "tests/it/hostile_rpc/tokens.rs", "an_expired_token_is_told_from_a_wrong_one"),
    (Reason::SessionLost, "tests/it/eim_health.rs", "password_login_is_told_of_its_lost_session_after_a_restart"),
    (Reason::LinkExpired, "tests/it/links.rs", "a_signed_link_holds_its_terms"),
    (Reason::EimConflict, "src/eim/convert/tests.rs", "every_entry_speaks_the_dialect"),
    (Reason::EimUnreachable, "tests/it/eim_faults.rs", "a_cut_link_is_told_at_once"),
    (Reason::EimTimeout, "tests/it/eim_faults.rs", "an_answer_that_comes_too_late_is_a_timeout"),
    (Reason::EimRefused, "tests/it/eim_faults.rs", "a_refusal_of_the_eims_is_told_as_it_is"),
    (Reason::EimBadAnswer, "src/eim/convert/tests.rs", "a_hostile_answer_is_told_as_the_eims_fault"),
    (Reason::NoCallGateway, "tests/it/callgw.rs", "without_a_living_node_operators_alone_are_told_why"),
    (Reason::TooManyRequests, "tests/it/bounds.rs", "a_batchs_entries_count_as_requests"),
    (Reason::TooManyOfUser, "tests/it/shares.rs", "one_users_unanswered_requests_leave_room_for_others"),
    (Reason::EntryBusy, "tests/it/shares.rs", "of_one_address_only_so_many_passwords_are_proved_at_once"),
    (
        Reason::EimBusy,
        "tests/it/shares.rs",
        "beyond_the_requests_that_the_gateway_may_have_under_way_all_are_told_to_wait",
    ),
    (Reason::TooManyLinks, "tests/it/links.rs", "a_conference_has_so_many_live_links_and_a_revoked_one_makes_room"),
    (Reason::TooManyReports, "tests/it/call_failover.rs", "reports_of_several_members_move_a_conference"),
    (Reason::GoingAway, "tests/it/commands.rs", "a_second_signal_ends_it_at_once"),
    (Reason::StoreUnavailable, "tests/it/full_disk.rs", "on_a_full_disk_writes_are_refused_for_now"),
    (Reason::ChairStays, "src/builtin_eim/tests/control.rs", "a_chairs_link_makes_a_further_chair"),
    (Reason::TooManyUsers, "src/builtin_eim/tests/accounts.rs", "accounts_are_bounded"),
];

/// Reasons that no test brings about by a request, and what they take.
const UNSHOWN: [(Reason, &str); 3] = [
    (Reason::Internal, "a fault of ours: none is known"),
    (Reason::PasswordNotFound, "an EIM whose conferences have no passwords"),
    (Reason::ConferenceUnknown, "an EIM that gives a conference the state of none"),
];

/// The keys of one group of the schema's `x-reasons`.
fn group<'a>(schema: &'a Schema, name: &str) -> impl Iterator<Item = &'a str> {
    let keys = schema.openrpc()["x-reasons"][name].as_array().unwrap_or_else(|| panic!("no group {name}"));
    keys.iter().filter_map(Value::as_str)
}

#[test]
fn every_reason_that_a_client_can_get_has_a_dialogue_or_is_shown_elsewhere() {
    let schema = Schema::load(None).unwrap_or_else(|errors| panic!("{errors:?}"));
    let dialogues = Dialogue::all();
    let in_dialogues: BTreeSet<&str> = dialogues.iter().flat_map(Dialogue::refusals).collect();
    // Not a client's, or by files of an integrator's only.
    let others: BTreeSet<&str> = group(&schema, "iq").chain(group(&schema, "dialect")).collect();
    for reason in Reason::ALL.iter().filter(|reason| !others.contains(reason.key())) {
        let elsewhere = ELSEWHERE.iter().find(|(shown, ..)| shown == reason);
        let unshown = UNSHOWN.iter().any(|(shown, _)| shown == reason);
        let ways = [in_dialogues.contains(reason.key()), elsewhere.is_some(), unshown];
        let ways = ways.into_iter().filter(|way| *way).count();
        assert_eq!(ways, 1, "{}: in a dialogue, shown elsewhere, or not at all", reason.key());
        if let Some((_, file, test)) = elsewhere {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(text.contains(&format!("fn {test}")), "{file} has no test {test}");
        }
    }
}
