//! Child processes and ports.

use std::process::Command;

use rustix::process::{Pid, Signal, test_kill_process};

use crate::support::ports::Port;
use crate::support::process::{Output, Process};
use crate::support::wait::{PATIENCE, until_true};

fn shell(script: &str) -> Process {
    Process::start("sh", Command::new("sh").args(["-c", script]))
}

fn alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

#[tokio::test]
async fn a_childs_lines_are_found_on_the_output_they_were_written_to() {
    let mut process = shell("echo out; echo err >&2; exit 3");
    let is = |text: &'static str, output| {
        move |line: &crate::support::process::Line| (line.text == text && line.output == output).then_some(())
    };
    assert!(process.line(PATIENCE, is("out", Output::Stdout)).await.is_some());
    assert!(process.line(PATIENCE, is("err", Output::Stderr)).await.is_some());
    assert!(process.line(PATIENCE, is("never", Output::Stdout)).await.is_none(), "it ended without that line");
    assert_eq!(process.exit(PATIENCE).await.and_then(|status| status.code()), Some(3));
}

#[tokio::test]
async fn a_child_asked_to_end_can_end_by_itself() {
    let mut process = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
    process.line(PATIENCE, |line| (line.text == "ready").then_some(())).await.expect("it is ready");
    process.signal(Signal::TERM);
    assert_eq!(process.exit(PATIENCE).await.and_then(|status| status.code()), Some(7));
}

#[tokio::test]
async fn no_child_outlives_its_test_and_no_grandchild_either() {
    let process = shell("trap '' TERM; sleep 600 & echo $!; wait; sleep 600");
    let grandchild = process.line(PATIENCE, |line| line.text.parse::<i32>().ok()).await.expect("it told its child");
    let child = process.pid() as i32;
    assert!(alive(child) && alive(grandchild));
    drop(process);
    assert!(!alive(child));
    // It is reaped by whoever inherited it.
    until_true("the grandchild is gone", async || {
        let state = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    })
    .await;
}

#[test]
fn a_claimed_port_is_nobody_elses_and_stays_so_when_its_server_stops() {
    let ports: Vec<Port> = (0..50).map(|_| Port::claim()).collect();
    let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), ports.len());
    for _restart in 0..2 {
        drop(std::net::TcpListener::bind(ports[0].address()).expect("it is free for its owner"));
    }
}
