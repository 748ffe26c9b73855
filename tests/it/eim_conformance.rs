//! `confgate check --eim`: its table on the built-in EIM, and on EIMs that are wrong in one thing.

use std::process::Command;

use confgate::cli::conformance::operations::{Need, OPERATIONS};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::CLIENTS;
use crate::support::gateway::{Eim, Gateway, eim, eim_with};
use crate::support::process::{Output, Process};
use crate::support::rabbitmq::RabbitMq;
use crate::support::rewriter::{Change, Rewriter};
use crate::support::wait::PATIENCE;
use crate::support::xmpp_server::{COMPONENT, MODULES, XmppServer, on_each_server};
use crate::xmpp::has_account;

/// The check's end, and its rows.
struct Checked {
    code: Option<i32>,
    rows: Vec<Value>,
    output: String,
}

fn start(config: &str, arguments: &[&str]) -> (TempDir, Process) {
    let directory = tempfile::Builder::new().prefix("confgate-check-").tempdir();
    let directory = directory.expect("the system's directory for temporary files is writable");
    std::fs::write(directory.path().join("confgate.toml"), config).expect("the directory is writable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_confgate"));
    command.args(["check", "--config", "confgate.toml", "--eim"]).args(arguments).current_dir(directory.path());
    let process = Process::start("confgate check --eim", &mut command);
    (directory, process)
}

async fn check(config: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let (_directory, mut process) = start(config, arguments);
    let status = process.exit(PATIENCE).await.expect("it ends by itself");
    let printed = process.lines().into_iter().filter(|line| line.output == Output::Stdout);
    (status.code(), printed.map(|line| line.text + "\n").collect())
}

impl Checked {
    async fn of(config: &str) -> Self {
        let (code, output) = check(config, &["--json"]).await;
        let lines = output.lines().map(|line| serde_json::from_str::<Value>(line).expect("each line is JSON"));
        let rows = lines.filter(|line| line["operation"].is_string()).collect();
        Self { code, rows, output }
    }

    fn names(&self, outcome: &str) -> Vec<&str> {
        let rows = self.rows.iter().filter(|row| row["outcome"] == outcome);
        rows.filter_map(|row| row["operation"].as_str()).collect()
    }

    fn row(&self, name: &str) -> &Value {
        let found = self.rows.iter().find(|row| row["operation"] == name);
        found.unwrap_or_else(|| panic!("no row {name}:\n{}", self.output))
    }

    /// All but what is never asked here has passed, in the table's order.
    fn conforms(&self, not_asked: &[&str]) {
        assert_eq!(self.names("failed"), [""; 0], "{}", self.output);
        assert_eq!(self.names("not asked"), not_asked, "{}", self.output);
        let rows: Vec<_> = self.rows.iter().filter_map(|row| row["operation"].as_str()).collect();
        assert_eq!(rows, OPERATIONS.iter().map(|operation| operation.name).collect::<Vec<_>>());
        assert_eq!(self.code, Some(0));
        assert!(!self.output.contains("remark"), "nothing is left behind: {}", self.output);
    }

    /// Exactly these rows have failed, and the first one's reason and stanzas say that.
    fn fails(&self, rows: &[&str], words: &str) -> &Value {
        assert_eq!(self.names("failed"), rows, "{}", self.output);
        let row = self.row(rows[0]);
        let note = row["note"].as_str().unwrap_or_default();
        assert!(note.contains(words), "{note}");
        let is_must = self.rows.iter().any(|row| row["need"] == "must" && row["outcome"] == "failed");
        assert_eq!(self.code, Some(i32::from(is_must)), "only a must counts");
        row
    }
}

/// A gateway's configuration: it is patient with the EIM for so long.
fn gateway(server: &XmppServer, timeout_ms: u32) -> String {
    format!("{CLIENTS}\n{}timeout_ms = {timeout_ms}\n", server.component_section(COMPONENT))
}

on_each_server! {
    async fn the_built_in_eim_passes_the_whole_conversation(server) {
        server.register("chair", "chair-password").await;
        let _eim = eim(server).await;
        let checked = Checked::of(&gateway(server, 10_000)).await;
        checked.conforms(&["eim.account.verify", "account (XEP-0133)", "call.start"]);
    }

    async fn the_built_in_eim_passes_it_by_sessions_of_users(server) {
        server.register("chair", "chair-password").await;
        let _eim = eim(server).await;
        let checked = Checked::of(&format!("{CLIENTS}\n{}", server.c2s_section("starttls"))).await;
        checked.conforms(&["eim.account.verify", "call.start"]);
    }
}

#[tokio::test]
async fn the_built_in_eim_passes_it_with_events_over_a_broker() {
    let (server, broker) = tokio::join!(XmppServer::prosody(), RabbitMq::start());
    let events = format!("[events]\nmode = \"amqp\"\nurl = {:?}\n", broker.url());
    let _eim = eim_with(&format!("{}{events}", server.eim_section())).await;
    let checked = Checked::of(&format!("{}{events}", gateway(&server, 10_000))).await;
    checked.conforms(&["eim.account.verify", "account (XEP-0133)", "call.start"]);
}

/// The built-in EIM on a server, whose stanzas pass through that change.
async fn eim_with_fault(server: &XmppServer, change: Change) -> (Eim, Rewriter) {
    let rewriter = Rewriter::to(server.door(MODULES[0]).port.address(), change).await;
    (eim_with(&server.eim_section_via(rewriter.address())).await, rewriter)
}

async fn check_with_fault(timeout_ms: u32, change: Change) -> Checked {
    let server = XmppServer::prosody().await;
    let _eim = eim_with_fault(&server, change).await;
    Checked::of(&gateway(&server, timeout_ms)).await
}

/// The chair's conferences that are open, by a gateway.
async fn open_conferences(config: &str) -> Value {
    let gateway = Gateway::with(config).start().await;
    let chair = gateway.client().login_client("chair", "the chair's secret").await;
    let listed = chair.rpc("conference.list", serde_json::json!({})).await.result();
    listed["conferences"].as_array().expect("it is a list").iter().filter(|one| one["state"] == 0).cloned().collect()
}

/// Whether it is the result of that operation.
fn answers(stanza: &str, operation: &str) -> bool {
    let begins = |end: &str| stanza.contains(&format!("<{operation}{end}"));
    stanza.starts_with("<iq") && stanza.contains("type=\"result\"") && (begins(" ") || begins(">") || begins("/"))
}

/// Whether it is an event of that type.
fn tells(stanza: &str, kind: &str) -> bool {
    stanza.starts_with("<message") && stanza.contains(&format!("\"type\":\"{kind}\""))
}

/// The answer as a refusal.
fn refused(stanza: &str) -> String {
    let head = stanza.split('>').next().unwrap_or_default().replace("\"result\"", "\"error\"");
    format!("{head}><error type=\"cancel\"><not-allowed xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\"/></error></iq>")
}

#[tokio::test]
async fn a_refusal_in_place_of_a_result_is_named_with_its_stanzas() {
    let change = |stanza: &str| Some(if answers(stanza, "leave") { refused(stanza) } else { stanza.to_owned() });
    let checked = check_with_fault(10_000, change).await;
    let row = checked.fails(&["conference.leave"], "refused with not-allowed");
    assert!(row["request"].as_str().is_some_and(|request| request.contains("<leave ")), "{row}");
    assert!(row["answer"].as_str().is_some_and(|answer| answer.contains("not-allowed")), "{row}");
    assert_eq!(row["see"], "rpc-schema/iq/conference.leave.iq");
}

#[tokio::test]
async fn a_member_that_is_missing_in_a_result_is_named() {
    let change = |stanza: &str| {
        let is_it = answers(stanza, "snapshot");
        Some(if is_it { stanza.replace(" epoch=\"", " age=\"") } else { stanza.to_owned() })
    };
    let checked = check_with_fault(10_000, change).await;
    checked.fails(&["eim.snapshot"], "epoch is required");
}

#[tokio::test]
async fn an_event_that_does_not_come_is_named_after_its_request() {
    let change = |stanza: &str| (!tells(stanza, "conference.ended")).then(|| stanza.to_owned());
    let checked = check_with_fault(1500, change).await;
    let row = checked.fails(&["event conference.ended"], "no event conference.ended came within 1500 ms");
    assert!(row["request"].as_str().is_some_and(|request| request.contains("<end ")), "{row}");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_named_with_the_reason() {
    let change = |stanza: &str| {
        let is_it = tells(stanza, "message");
        Some(if is_it { stanza.replace("\"messageId\"", "\"id\"") } else { stanza.to_owned() })
    };
    let checked = check_with_fault(1500, change).await;
    let row = checked.row("event message");
    let note = row["note"].as_str().unwrap_or_default();
    assert!(row["outcome"] == "failed" && note.contains("can't be read") && note.contains("messageId"), "{note}");
}

#[tokio::test]
async fn a_wrong_number_is_named_in_an_event_and_in_an_answer() {
    let change = |stanza: &str| {
        // A later one says that there is none any more, when the guest leaves.
        let is_event = tells(stanza, "conference.mainVideo") && stanza.contains("\"mainVideo\":\"g");
        let stanza = if is_event { stanza.replace("\"seq\":", "\"seq\":5") } else { stanza.to_owned() };
        Some(if answers(&stanza, "sendMessage") { stanza.replace(" seq=\"", " seq=\"5") } else { stanza })
    };
    let checked = check_with_fault(10_000, change).await;
    checked.fails(&["event conference.mainVideo", "conference.sendMessage"], "comes next");
    let note = checked.row("conference.sendMessage")["note"].as_str().unwrap_or_default().to_owned();
    assert!(note.contains("the answer's seq is 5"), "{note}");
}

#[tokio::test]
async fn silence_is_named_and_the_conversation_goes_on() {
    let change = |stanza: &str| (!answers(stanza, "unsubscribe")).then(|| stanza.to_owned());
    let checked = check_with_fault(1500, change).await;
    let row = checked.fails(&["eim.unsubscribe"], "no answer came in time");
    assert_eq!(row["answer"], "none: nothing came within 1500 ms");
}

#[tokio::test]
async fn an_eim_that_lets_guests_lead_is_named() {
    let change = |stanza: &str| {
        let is_refusal = stanza.starts_with("<iq") && stanza.contains("conference.chairOnly");
        let head = stanza.split('>').next().unwrap_or_default().replace("\"error\"", "\"result\"");
        Some(if is_refusal { format!("{head}/>") } else { stanza.to_owned() })
    };
    let checked = check_with_fault(10_000, change).await;
    let rows = ["conference.control (not the chair)", "conference.end (not the chair)"];
    checked.fails(&rows, "a result where a refusal must be");
}

#[tokio::test]
async fn without_an_eim_the_rest_is_not_asked_and_the_table_is_for_people() {
    let server = XmppServer::prosody().await;
    let (code, output) = check(&gateway(&server, 1500), &["--as", "chair"]).await;
    assert_eq!(code, Some(1), "{output}");
    let line = |name: &str| output.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line("  ping  ").starts_with("FAILED     must    ping"), "{output}");
    assert!(line("  conference.create  ").starts_with("FAILED     must"), "{output}");
    assert!(line("  conference.leave  ").contains("not asked  must    conference.leave"), "{output}");
    assert!(line("  conference.leave  ").ends_with("conference.create failed"), "{output}");
    let musts = OPERATIONS.iter().filter(|operation| operation.need == Need::Must).count();
    let sum = output.lines().find(|line| line.starts_with("must: ")).unwrap_or_default();
    let numbers: Vec<usize> = sum.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers.iter().take(3).sum::<usize>(), musts, "{sum}");
}

#[tokio::test]
async fn a_check_that_fails_takes_back_what_it_made() {
    let server = XmppServer::prosody().await;
    server.register("chair", "chair-password").await;
    let change = |stanza: &str| {
        let is_it = answers(stanza, "join") && stanza.contains("role=\"guest\"");
        Some(if is_it { refused(stanza) } else { stanza.to_owned() })
    };
    let _eim = eim_with_fault(&server, change).await;
    let config = format!("{CLIENTS}\n{}", server.c2s_section("starttls"));
    let checked = Checked::of(&config).await;
    checked.fails(&["conference.join"], "refused with not-allowed");
    let account = checked.row("eim.account.create")["note"].as_str().unwrap_or_default();
    let account = account.strip_prefix("account ").expect("it names the account");
    assert!(!has_account(&server, account).await, "{account}");
    assert!(!checked.output.contains("remark"), "{}", checked.output);
    assert_eq!(open_conferences(&config).await, serde_json::json!([]));
}

#[tokio::test]
async fn an_account_that_the_eim_deletes_by_itself_is_no_failure() {
    let change = |stanza: &str| {
        let gone = "<error type=\"cancel\"><item-not-found xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\"/></error>";
        let head = stanza.split('>').next().unwrap_or_default().replace("\"result\"", "\"error\"");
        Some(if answers(stanza, "deleteUser") { format!("{head}>{gone}</iq>") } else { stanza.to_owned() })
    };
    let checked = check_with_fault(10_000, change).await;
    checked.conforms(&["eim.account.verify", "account (XEP-0133)", "call.start"]);
}

#[tokio::test]
async fn an_interrupted_check_takes_back_what_it_made() {
    let server = XmppServer::prosody().await;
    let change = |stanza: &str| (!answers(stanza, "snapshot")).then(|| stanza.to_owned());
    let _eim = eim_with_fault(&server, change).await;
    let config = gateway(&server, 60_000);
    let (_directory, mut process) = start(&config, &[]);
    let before = "eim.subscribe (older generation)";
    process.line(PATIENCE, |line| line.text.contains(before).then_some(())).await.expect("it comes so far");
    process.signal(Signal::INT);
    let status = process.exit(PATIENCE).await.expect("it ends when it is interrupted");
    let output: String = process.lines().into_iter().map(|line| line.text + "\n").collect();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(
        output.lines().any(|line| line.contains("  conference.leave  ") && line.ends_with("interrupted")),
        "{output}"
    );
    assert_eq!(open_conferences(&config).await, serde_json::json!([]));
}

#[tokio::test]
async fn no_secret_is_shown() {
    let change = |stanza: &str| {
        let is_it = answers(stanza, "create") || answers(stanza, "find");
        Some(if is_it { stanza.replace(" confName=\"", " title=\"") } else { stanza.to_owned() })
    };
    let checked = check_with_fault(10_000, change).await;
    let row = checked.row("conference.create");
    let request = row["request"].as_str().unwrap_or_default();
    assert!(row["outcome"] == "failed" && request.contains("password=\"***\""), "{row}");
    assert!(row["answer"].as_str().is_some_and(|answer| answer.contains("password=\"***\"")), "{row}");
}

#[tokio::test]
async fn the_embedded_eim_is_refused_as_wrong_usage() {
    let (code, _) = check("", &[]).await;
    assert_eq!(code, Some(2));
}

/// The rows of the document's table.
fn documented() -> Vec<[String; 3]> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/integration.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let (_, section) = text.split_once("### What an EIM must answer").expect("it has the section");
    let section = section.split("\n#").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells =
        rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    cells.map(|cells| cells.try_into().expect("a row has three cells")).collect()
}

#[test]
fn the_document_lists_the_operations_as_they_are_checked() {
    let rows = OPERATIONS.iter().map(|operation| {
        [format!("`{}`", operation.name), operation.need.word().to_owned(), operation.effect.to_owned()]
    });
    assert_eq!(documented(), rows.collect::<Vec<_>>());
}
