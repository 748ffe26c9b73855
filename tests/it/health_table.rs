//! Each part, each way in which it can be broken, and what `check`, `readyz`, clients and the log say of it. The table is
//! the one in docs/operation.md: its rows are what is tried here, its cells what must be seen.

mod scenes;

use std::fmt::Display;
use std::fs;
use std::path::Path;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use self::scenes::{CALLGW_TIMES, CLIENT, HUSH, Scene, World};
use crate::support::gateway::Gateway;
use crate::support::janus::Janus;
use crate::support::turn::Turn;
use crate::support::wait::{PATIENCE, until, until_true};
use crate::xmpp::check;

const HEADING: &str = "## Symptoms of each fault";
/// Rows that are tried at once: each runs a gateway.
const AT_ONCE: usize = 3;

/// A row as it stands in the documents.
struct Row {
    part: String,
    way: String,
    check: String,
    readyz: String,
    clients: String,
    log: String,
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operation.md")).unwrap();
    let section = text.split(HEADING).nth(1).expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect()
    };
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(1).map(cells);
    lines
        .map(|cells| match <[String; 6]>::try_from(cells) {
            Ok([part, way, check, readyz, clients, log]) => Row { part, way, check, readyz, clients, log },
            Err(cells) => panic!("not six cells: {cells:?}"),
        })
        .collect()
}

/// Whether the text's pieces, between dots, stand in that order in it.
fn says(text: &str, pieces: &str) -> bool {
    let mut rest = text;
    pieces.split('…').map(str::trim).all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// A row, and what of it isn't so.
struct Tried<'a> {
    row: &'a Row,
    wrong: Vec<String>,
}

impl Tried<'_> {
    fn expect(&mut self, place: &str, is_so: bool, seen: &dyn Display) {
        if !is_so {
            self.wrong.push(format!("{} {}, {place}: {seen}", self.row.part, self.row.way));
        }
    }

    /// By `confgate check`, and where it is to be refused by `confgate serve`; whether it starts.
    async fn refusals(&mut self, scene: &Scene) -> bool {
        let row = self.row;
        let Some((code, words)) = row.check.split_once(": ") else { return true };
        let (ended, said) = check(&scene.config).await;
        let code = code.parse::<i32>().ok();
        self.expect("check", ended == code && said.lines().any(|line| says(line, words)), &said);
        self.expect("a secret in check", !said.contains(HUSH), &said);
        if row.readyz != "doesn't start" {
            return true;
        }
        let (status, said) = Gateway::with(&scene.config).fail().await;
        // The same words, of the same part.
        let words = words.strip_prefix("FAILED ").unwrap_or(words);
        self.expect("serve", status.code() == code && says(&said, words), &said);
        false
    }

    /// The client can't log in.
    async fn refused(&mut self, gateway: &Gateway) {
        let secret = "the client's secret";
        let login = json!({ "grantType": "client_credentials", "clientId": "u1", "clientSecret": secret });
        let refusal = gateway.client().try_login(login).await.err().map(|answer| answer.error()).unwrap_or_default();
        let expected = self.row.clients.parse::<i64>().ok();
        self.expect("a login", refusal["code"].as_i64() == expected, &refusal);
    }

    async fn running(&mut self, gateway: &Gateway) {
        let row = self.row;
        match row.readyz.split_once(": ") {
            Some((part, words)) => {
                let down = async || is_down(&gateway.readyz().await, part, words).then_some(());
                let is_so = until(PATIENCE / 2, down).await.is_some();
                self.expect("readyz", is_so, &gateway.readyz().await);
            }
            None => {
                let readyz = gateway.readyz().await.to_string();
                self.expect("readyz", !readyz.contains("\"down\""), &readyz);
            }
        }
        if row.log != "–" {
            let logged = async || gateway.logs().lines().any(|line| says(line, &row.log)).then_some(());
            let is_so = until(PATIENCE / 2, logged).await.is_some();
            self.expect("log", is_so, &gateway.logs());
        }
        self.expect("a secret in the log", !gateway.logs().contains(HUSH), &gateway.logs());
    }
}

async fn tried(world: &World, row: &Row) -> Vec<String> {
    let mut tried = Tried { row, wrong: Vec::new() };
    let scene = world.scene(&row.part, &row.way).await;
    if !tried.refusals(&scene).await {
        return tried.wrong;
    }
    let gateway = Gateway::with(&scene.config).start().await;
    if row.clients.starts_with('-') {
        tried.refused(&gateway).await;
    }
    if let Some(part) = row.clients.strip_prefix("degraded ") {
        let client = gateway.client().login_client("u1", "the client's secret").await;
        (scene.then)(&gateway);
        let mut socket = client.open_socket().await;
        while socket.wait_for("degraded").await["part"] != part {}
    }
    tried.running(&gateway).await;
    tried.wrong
}

fn is_down(readyz: &Value, part: &str, words: &str) -> bool {
    let parts = readyz["parts"].as_array().expect("parts are listed");
    let is_it = |each: &&Value| each["part"] == part && each["state"] == "down";
    parts.iter().find(is_it).is_some_and(|each| says(each["reason"].as_str().unwrap_or_default(), words))
}

// What refuses is served by threads of its own: starting servers keeps the test's busy for longer than a probe waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_each_part_is_told_as_the_operators_table_says() {
    let (world, rows) = (World::new().await, rows());
    assert!(rows.len() > 30, "{} rows", rows.len());
    let tried = stream::iter(&rows).map(|row| tried(&world, row)).buffer_unordered(AT_ONCE);
    let wrong: Vec<String> = tried.flat_map(stream::iter).collect().await;
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_turn_server_that_takes_our_credentials_gives_a_relay() {
    let turn = Turn::start("127.0.0.1".parse().expect("an address")).await;
    let (code, said) = check(&turn.section()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.lines().any(|line| line.starts_with("ok     turn ") && line.ends_with("gives a relay")), "{said}");
}

#[tokio::test]
async fn a_janus_that_lets_us_make_rooms_is_well_and_one_that_hangs_is_down() {
    let janus = Janus::start().await;
    let config = format!("{CALLGW_TIMES}{}{CLIENT}", janus.node("j1"));
    let (code, said) = check(&config).await;
    assert_eq!(code, Some(0), "{said}");
    let gateway = Gateway::with(&config).start().await;
    until_true("it is up", async || !gateway.readyz().await.to_string().contains("\"down\"")).await;
    janus.halt();
    until_true("it is down", async || is_down(&gateway.readyz().await, "callgw.j1", "")).await;
    janus.go_on();
    until_true("it is up again", async || !gateway.readyz().await.to_string().contains("\"down\"")).await;
}
