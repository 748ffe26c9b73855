//! Access: every method of the schema against every kind of caller.

use confgate::schema::Schema;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::rpc_shape::{assert_error_shape, assert_unharmed};
use crate::support::call_gateway::{Node, probed};
use crate::support::client::Client;

/// The callers, in the order of the table's columns.
const CALLERS: [&str; 6] = ["no token", "guest", "guest of another conference", "user", "chair", "operator"];

/// The expected result of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Done,
    /// The error's code.
    No(i64),
}

use Cell::{Done, No};

const NO_TOKEN: Cell = No(-32001);
const FORBIDDEN: Cell = No(-32003);
/// A conference that the caller may not know of does not exist for them.
const HIDDEN: Cell = No(-32004);
/// A method of the event socket, called over HTTP by somebody who might.
const NOT_HERE: Cell = No(-32600);

/// One call and what it comes to for each caller.
struct Row {
    method: &'static str,
    /// With `CONF` for the conference, `GUEST` for its guest, `LINK` for one of its links.
    params: Value,
    expected: [Cell; 6],
}

fn row(method: &'static str, params: Value, expected: [Cell; 6]) -> Row {
    Row { method, params, expected }
}

/// The conference is open; its chair and its guest are in it, the user and the operator are not.
fn table() -> Vec<Row> {
    let conf = || json!({ "confId": "CONF" });
    let control = |action: &str| json!({ "confId": "CONF", "action": action });
    let anybody = [Done; 6];
    let token = [NO_TOKEN, Done, Done, Done, Done, Done];
    let members = [NO_TOKEN, Done, HIDDEN, FORBIDDEN, Done, FORBIDDEN];
    let chair = [NO_TOKEN, FORBIDDEN, HIDDEN, FORBIDDEN, Done, FORBIDDEN];
    let operator = [NO_TOKEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, Done];
    let invited = [NO_TOKEN, Done, HIDDEN, Done, Done, Done];
    let call = || json!({ "callId": "none" });
    let calls = [NO_TOKEN, FORBIDDEN, FORBIDDEN, HIDDEN, HIDDEN, HIDDEN];
    let iq =
        |ns: &str| json!({ "reqXml": format!("<iq to='jeprivacy.ips3000' type='get' id='1'><x xmlns='{ns}'/></iq>") });
    vec![
        row("rpc.discover", json!({}), anybody),
        row("config.getProperties", json!({ "keys": ["serverName", "webrtcAddress"] }), anybody),
        row("auth.http.login", login(), anybody),
        row("events.resume", json!({ "positions": [] }), [NO_TOKEN, NOT_HERE, NOT_HERE, NOT_HERE, NOT_HERE, NOT_HERE]),
        row("org.user.processIQ", iq("je:x:client:config"), token),
        row("org.user.processIQ", iq("je:x:client:org"), [NO_TOKEN, FORBIDDEN, FORBIDDEN, Done, Done, Done]),
        row("org.user.processIQ", iq("http://jabber.org/protocol/commands"), operator),
        row("org.user.createUser", json!({ "name": "刘八" }), operator),
        row("org.contacts.departments", json!({}), token),
        row("org.contacts.users", json!({}), token),
        row("org.contacts.search", json!({ "query": "a" }), token),
        // A configured client has the scopes that its entry names; one that names none, those of a user.
        row("conference.create", json!({ "name": "x" }), [NO_TOKEN, FORBIDDEN, FORBIDDEN, Done, Done, FORBIDDEN]),
        row("conference.list", json!({}), [NO_TOKEN, FORBIDDEN, FORBIDDEN, Done, Done, Done]),
        row("conference.get", conf(), invited),
        row("conference.members", conf(), members),
        row("conference.messages", conf(), members),
        row("conference.sendMessage", json!({ "confId": "CONF", "text": "你好" }), members),
        row("conference.control", control("raiseHand"), members),
        row("conference.control", control("muteAll"), chair),
        row("conference.control", json!({ "confId": "CONF", "action": "mute", "userId": "GUEST" }), chair),
        row("conference.control", control("unlock"), chair),
        row("conference.update", json!({ "confId": "CONF", "name": "新名称" }), chair),
        row("conference.createLink", json!({ "confId": "CONF", "role": "guest" }), chair),
        row("conference.listLinks", conf(), chair),
        row("conference.revokeLink", json!({ "confId": "CONF", "linkId": "LINK" }), chair),
        // The callee is nobody, so that it rings in vain; as for the rest, no such call exists for anybody.
        row("call.start", json!({ "to": ["nobody"] }), [NO_TOKEN, FORBIDDEN, FORBIDDEN, Done, Done, FORBIDDEN]),
        row("call.accept", call(), calls),
        row("call.decline", call(), calls),
        row("call.cancel", call(), calls),
        row("call.hangup", call(), calls),
        row("callgw.allocate", conf(), members),
        row("callgw.release", conf(), members),
        row("callgw.report", report(Some("CONF")), members),
        row("callgw.report", report(None), token),
        row("callgw.list", json!({}), operator),
        row("callgw.drain", json!({ "gatewayId": "a", "cancel": true }), operator),
        // From here on the conference changes under the rows: the order counts.
        row("conference.leave", conf(), members),
        row("conference.join", conf(), invited),
        row("conference.end", conf(), chair),
        // The conference is over and its guest's token with it; the others' go too, last.
        row("auth.http.logout", json!({}), [NO_TOKEN, NO_TOKEN, Done, Done, Done, Done]),
    ]
}

fn login() -> Value {
    json!({ "grantType": "client_credentials", "clientId": "u1074304" })
}

fn report(conf: Option<&str>) -> Value {
    let mut params = json!({ "gatewayId": "a", "problem": "iceFailed" });
    if let Some(conf) = conf {
        params["confId"] = conf.into();
    }
    params
}

/// The callers with the conference that they are held against.
struct Scene {
    callers: [Client; 6],
    conf: String,
    guest: String,
    link: String,
}

impl Scene {
    async fn set(fixture: &Fixture) -> Self {
        let chair = fixture.chair().await;
        let (conf, code) = fixture.conference(&chair, json!({})).await;
        let (_, other) = fixture.conference(&chair, json!({})).await;
        let guest = fixture.guest(&code, "张三").await;
        let stranger = fixture.guest(&other, "李四").await;
        let user = fixture.login(login()).await;
        for member in [&chair, &guest] {
            member.rpc("conference.join", json!({ "confId": conf })).await.result();
        }
        let link = chair.rpc("conference.createLink", json!({ "confId": conf, "role": "guest" })).await.result();
        let link = link["linkId"].as_str().expect("a link has an id").to_owned();
        let guest_id = guest.user_id().to_owned();
        let operator = fixture.operator().await;
        Self {
            callers: [fixture.gateway.client(), guest, stranger, user, chair, operator],
            conf,
            guest: guest_id,
            link,
        }
    }

    fn filled(&self, params: &Value) -> Value {
        let text = params.to_string().replace("CONF", &self.conf).replace("GUEST", &self.guest);
        serde_json::from_str(&text.replace("LINK", &self.link)).expect("ids need no escapes")
    }
}

fn came_to(answer: &Value) -> Cell {
    match answer["error"]["code"].as_i64() {
        Some(code) => {
            assert_error_shape(answer);
            No(code)
        }
        None => Done,
    }
}

#[tokio::test]
async fn every_method_is_done_for_those_who_may_and_refused_to_the_others() {
    let node = Node::start("a").await;
    let fixture = Fixture::with(&node.section()).await;
    probed(&fixture.gateway, &[&node]).await;
    let scene = Scene::set(&fixture).await;
    let mut wrong = Vec::new();
    for Row { method, params, expected } in table() {
        for ((caller, who), expected) in scene.callers.iter().zip(CALLERS).zip(expected) {
            let answer = caller.rpc(method, scene.filled(&params)).await.0;
            if came_to(&answer) != expected {
                wrong.push(format!("{method} {params} by {who} should be {expected:?}: {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_unharmed(&fixture.gateway).await;
}

#[tokio::test]
async fn a_chair_by_a_link_may_what_its_chair_may_there_and_else_what_a_guest_may() {
    let node = Node::start("a").await;
    let fixture = Fixture::with(&node.section()).await;
    probed(&fixture.gateway, &[&node]).await;
    let scene = Scene::set(&fixture).await;
    let terms = json!({ "confId": scene.conf, "role": "chair" });
    let link = scene.callers[4].rpc("conference.createLink", terms).await.result();
    let by_link = fixture.guest(link["code"].as_str().expect("a link has a code"), "By a link").await;
    by_link.rpc("conference.join", json!({ "confId": scene.conf })).await.result();
    let mut wrong = Vec::new();
    for Row { method, params, expected: [_, guest, _, user, chair, operator] } in table() {
        let is_chairs = (guest, user, chair, operator) == (FORBIDDEN, FORBIDDEN, Done, FORBIDDEN);
        let expected = if is_chairs { Done } else { guest };
        let answer = by_link.rpc(method, scene.filled(&params)).await.0;
        if came_to(&answer) != expected {
            wrong.push(format!("{method} {params} should be {expected:?}: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{} calls differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_method_of_the_schema_has_its_row_and_every_row_its_method() {
    let schema = Schema::load(None).unwrap_or_else(|errors| panic!("{errors:?}"));
    let rows = table();
    for method in schema.methods() {
        assert!(rows.iter().any(|row| row.method == method.name), "{} is in no row of the table", method.name);
    }
    for row in &rows {
        assert!(schema.method(row.method).is_some(), "{} is no method", row.method);
    }
}

#[tokio::test]
async fn a_guest_is_shown_the_members_of_their_own_conference_and_nobody_else() {
    let fixture = Fixture::embedded().await;
    let scene = Scene::set(&fixture).await;
    let guest = &scene.callers[1];
    let users = guest.rpc("org.contacts.users", json!({})).await.result();
    let mut shown: Vec<&str> =
        users["users"].as_array().into_iter().flatten().filter_map(|user| user["userId"].as_str()).collect();
    shown.sort_unstable();
    let mut there = [scene.callers[4].user_id(), scene.guest.as_str()];
    there.sort_unstable();
    assert_eq!(shown, there);
    assert_eq!(guest.rpc("org.contacts.departments", json!({})).await.result(), json!({ "departments": [] }));
    // Until they are in themselves, they are shown nobody.
    let outsider = &scene.callers[2];
    assert_eq!(outsider.rpc("org.contacts.users", json!({})).await.result()["users"], json!([]));
}
