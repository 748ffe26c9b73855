//! Exclusive resources of one process: a node's name, the built-in EIM, the store's file. A second process is refused
//! with words, and the first one keeps them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fixture::{CLIENTS, Fixture};
use crate::support::gateway::Gateway;
use crate::support::ports::Port;
use crate::support::process::Process;
use crate::support::wait::PATIENCE;

/// How long a newcomer may take to be refused.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Runs it in that folder to its end: its exit code and all that it said.
async fn told(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confgate"));
    command.args(arguments).current_dir(folder).envs(environment.iter().copied());
    let mut process = Process::start("newcomer", &mut command);
    let status = process.exit(AT_ONCE).await.unwrap_or_else(|| panic!("{arguments:?} is not refused"));
    (status.code(), process.lines().into_iter().map(|line| line.text + "\n").collect())
}

/// Every file of the folder and below, with its content.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            files.extend(content(&entry.path()));
        } else if !entry.file_name().to_string_lossy().contains("db-") {
            // SQLite's log and its index belong to the living one.
            files.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap()));
        }
    }
    files.sort();
    files
}

#[tokio::test]
async fn a_second_start_is_refused_with_words_and_the_first_goes_on() {
    let mut first = Gateway::embedded().environment("CONFGATE_NODE__LEASE_MS", "1000").start().await;
    let printed = first.printed().await;
    let admin = first.client().login_password("admin", &printed.password).await;
    let mut socket = admin.open_socket().await;
    let before = content(first.directory());
    let other = [Port::claim(), Port::claim()];
    let [http, own_admin] = [&other[0], &other[1]].map(|port| port.address().to_string());
    let same = first.http().to_string();
    let elsewhere: [&[(&str, &str)]; 3] = [
        &[("CONFGATE_ADMIN__LISTEN", &first.admin().to_string())],
        &[("CONFGATE_ADMIN__LISTEN", &own_admin)],
        &[("CONFGATE_ADMIN__LISTEN", &own_admin), ("CONFGATE_NODE__ID", "node2")],
    ];
    for (arguments, environment) in [
        (["serve", "--listen", &same], elsewhere[0]),
        (["serve", "--listen", &http], elsewhere[1]),
        (["serve", "--listen", &http], elsewhere[2]),
    ] {
        let (code, said) = told(first.directory(), &arguments, environment).await;
        assert_eq!(code, Some(1), "{said}");
        let pid = format!("process {}", first.pid());
        for word in ["\"node1\"", &pid, "since 20", &same, "stop that process"] {
            assert!(said.contains(word) || word == "\"node1\"", "{word} is missing in: {said}");
        }
        assert!(!said.contains("password"), "{said}");
    }
    assert_eq!(content(first.directory()), before, "nothing was made anew");
    let (code, said) = told(first.directory(), &["check"], elsewhere[1]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("running"), "{said}");

    // Past the time in which it would have noticed that its lease is taken.
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1500) {
        socket.call("conference.list", json!({})).await.result();
    }
    assert!(!first.logs().contains("WARN") && !first.logs().contains("ERROR"), "{}", first.logs());
    assert_eq!(first.stop(PATIENCE).await.and_then(|status| status.code()), Some(0));
}

#[tokio::test]
async fn after_a_kill_it_starts_again_at_once() {
    let mut gateway = Gateway::embedded().start().await;
    gateway.kill();
    let begun = Instant::now();
    gateway.restart().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    gateway.logged("without letting go of its lease").await;
}

#[tokio::test]
async fn two_built_in_eims_on_one_store_are_refused() {
    let fixture = Fixture::embedded().await;
    let file = fixture.gateway.directory().join("data/confgate.db").display().to_string();
    let config = format!("{CLIENTS}\n[node]\nid = \"node2\"\n[store]\nurl = \"sqlite:{file}\"\n");
    let (status, said) = Gateway::with(&config).fail().await;
    assert_eq!(status.code(), Some(1), "{said}");
    for word in ["built-in EIM", &format!("process {}", fixture.gateway.pid()), "a store of its own"] {
        assert!(said.contains(word), "{word} is missing in: {said}");
    }
    let eim = format!(
        "[store]\nurl = \"sqlite:{file}\"\n[eim]\nmode = \"component\"\nhost = \"127.0.0.1\"\nsecret = \"s\"\n"
    );
    std::fs::write(fixture.gateway.directory().join("eim.toml"), eim).unwrap();
    let (code, said) = told(fixture.gateway.directory(), &["eim", "--config", "eim.toml"], &[]).await;
    assert_eq!((code, said.contains("built-in EIM")), (Some(1), true), "{said}");
    fixture.chair().await;
}

#[tokio::test]
async fn a_node_that_can_not_have_its_ports_makes_nothing() {
    let taken = Gateway::embedded().start().await;
    let folder = tempfile::tempdir().unwrap();
    let http = taken.http().to_string();
    let (code, said) = told(folder.path(), &["serve", "--listen", &http], &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&http), "{said}");
    assert_eq!(content(folder.path()), [], "no certificate, no store");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn after_a_clean_stop_one_file_holds_all() {
    let mut fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({})).await;
    let mut socket = chair.open_socket().await;
    socket.expect("hello").await;
    let data = fixture.gateway.directory().join("data");
    assert!(names(&data).len() > 1, "while it runs there is a log: {:?}", names(&data));
    assert_eq!(fixture.gateway.stop(PATIENCE).await.and_then(|status| status.code()), Some(0));
    assert_eq!(names(&data), ["confgate.db"]);
    let alone = std::fs::read(data.join("confgate.db")).unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("confgate.db"), alone).unwrap();
    fixture.gateway.restart().await;
    chair.rpc("conference.get", json!({ "confId": conf })).await.result();
}

/// The commands of the section's code blocks in docs/operation.md, as an operator would type them.
fn commands(section: &str) -> Vec<String> {
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operation.md")).unwrap();
    let text = docs.split(&format!("\n## {section}\n")).nth(1).expect("the section is there");
    let text = text.split("\n## ").next().unwrap();
    text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

fn shell(folder: &Path, script: &str) {
    let ran = Command::new("sh").args(["-euc", script]).current_dir(folder).stdin(Stdio::null()).output();
    let ran = ran.expect("a shell runs");
    assert!(ran.status.success(), "{script}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn backup_and_restore_work_as_the_documentation_says() {
    let [back_up, restore] = &commands("Backup and restore")[..] else { panic!("two blocks of commands") };
    for cleanly in [true, false] {
        let mut fixture = Fixture::embedded().await;
        let chair = fixture.chair().await;
        let (kept, _) = fixture.conference(&chair, json!({})).await;
        shell(fixture.gateway.directory(), back_up);
        let (later, _) = fixture.conference(&chair, json!({})).await;
        match cleanly {
            true => drop(fixture.gateway.stop(PATIENCE).await.expect("it stops")),
            false => fixture.gateway.kill(),
        }
        shell(fixture.gateway.directory(), restore);
        fixture.gateway.restart().await;
        let chair = fixture.chair().await;
        chair.rpc("conference.get", json!({ "confId": kept })).await.result();
        chair.rpc("conference.get", json!({ "confId": later })).await.refused(-32004);
    }
}
