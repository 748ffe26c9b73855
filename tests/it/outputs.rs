//! The program's outputs when nobody takes them: a full stdout or one without a reader, a log without a reader, and a
//! stop without warnings.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use http::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::fixture::Fixture;
use crate::support::plain_http::get;
use crate::support::ports::Port;
use crate::support::wait::{PATIENCE, until};

fn shell(folder: &Path, script: &str) -> Output {
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", script]).env("CONFGATE", env!("CARGO_BIN_EXE_confgate"));
    command.current_dir(folder).stdin(Stdio::null()).output().expect("a shell runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["openrpc", "asyncapi", "config"] {
        let output = shell(folder.path(), &format!("$CONFGATE {command} | head -c 9"));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 9), "{command}: {}", said(&output));
        assert_eq!(said(&output), "", "{command}");
    }
}

#[test]
fn failed_output_is_a_failure_with_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let [http, admin] = [Port::claim(), Port::claim()].map(|port| port.address());
    let serve = format!("CONFGATE_ADMIN__LISTEN={admin} $CONFGATE --listen {http}");
    for command in ["$CONFGATE openrpc", "$CONFGATE config", "$CONFGATE check", &serve] {
        let output = shell(folder.path(), &format!("{command} >/dev/full"));
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("stdout") && !said.contains("panicked"), "{command}: {said}");
    }
    // Neither is there anybody who could be told.
    for streams in [">&-", "2>&-", ">&- 2>&-", ">/dev/full 2>/dev/full"] {
        let output = shell(folder.path(), &format!("$CONFGATE openrpc {streams}"));
        let expected = i32::from(streams.starts_with(">/dev/full"));
        assert_eq!((output.status.code(), said(&output)), (Some(expected), String::new()), "{streams}");
        let output = shell(folder.path(), &format!("$CONFGATE serve --config none.toml {streams}"));
        assert_eq!(output.status.code(), Some(2), "{streams}");
    }
}

#[tokio::test]
async fn a_log_that_nobody_takes_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [http, admin] = [Port::claim(), Port::claim()];
    // A pipe without a reader, and a full disk.
    for log in [None, Some(File::options().write(true).open("/dev/full").unwrap())] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_confgate"));
        command.args(["--listen", &http.address().to_string()]).current_dir(folder.path()).stdout(Stdio::null());
        command.env("CONFGATE_ADMIN__LISTEN", admin.address().to_string()).env("RUST_LOG", "debug");
        let mut child = command.stderr(log.map_or(Stdio::piped(), Stdio::from)).spawn().unwrap();
        drop(child.stderr.take());
        let is_ready = async || get(admin.address(), "/readyz").await.ok().filter(|(code, _)| *code == StatusCode::OK);
        let ready = until(PATIENCE, is_ready).await;
        let sent = kill_process(Pid::from_child(&child), Signal::TERM);
        let status = until(PATIENCE, async || child.try_wait().unwrap()).await;
        child.kill().ok();
        assert!(ready.is_some() && sent.is_ok());
        assert_eq!(status.and_then(|status| status.code()), Some(0));
    }
}

#[tokio::test]
async fn a_stop_under_load_warns_of_nothing() {
    let mut fixture = Fixture::with("[limits]\ndrain_s = 10\n").await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let mut load = tokio::task::JoinSet::new();
    let mut sockets = Vec::new();
    for n in 0..8 {
        let guest = fixture.guest(&code, &format!("Guest {n}")).await;
        let mut socket = guest.open_socket().await;
        socket.call("conference.join", json!({ "confId": conf })).await.result();
        sockets.push(socket);
        let conf = conf.clone();
        // Until it is refused or cut.
        load.spawn(async move {
            let params = json!({ "confId": conf, "action": "raiseHand" }).to_string();
            let raise = format!(r#"{{"id":1,"method":"conference.control","params":{params}}}"#);
            let lower = raise.replace("raiseHand", "lowerHand");
            let mut answered = 0_u64;
            loop {
                for body in [&raise, &lower] {
                    let token = format!("Bearer {}", guest.token().unwrap());
                    let request = http::Request::post(format!("{}/jsonrpc", crate::support::client::BASE))
                        .header("host", guest.address().to_string())
                        .header("authorization", token)
                        .body(http_body_util::Full::new(bytes::Bytes::from(body.clone())))
                        .unwrap();
                    if guest.exchange(request).await.is_err() {
                        return answered;
                    }
                    answered += 1;
                }
            }
        });
    }
    sockets[0].expect_event("member.updated").await;
    let status = fixture.gateway.stop(Duration::from_secs(20)).await.expect("it stops");
    assert_eq!(status.code(), Some(0));
    let answered: u64 = load.join_all().await.into_iter().sum();
    let log = fixture.gateway.logs();
    assert!(answered > 0 && log.contains("stopping"), "{answered}\n{log}");
    let loud: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).collect();
    assert_eq!(loud, Vec::<&str>::new());
    drop(sockets);
}
