//! A broker that can't be reached, doesn't answer, or refuses: the rest of the gateway works, and `check` names the reason.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{NODE, Scene, enter, events, part, state, until_known};
use crate::fixture::{CLIENTS, Fixture};
use crate::support::certificate::Certificate;
use crate::support::gateway::{Gateway, eim};
use crate::support::ports::Port;
use crate::support::rabbitmq::RabbitMq;
use crate::support::wait::{PATIENCE, until};
use crate::support::xmpp_server::{COMPONENT, XmppServer};
use crate::xmpp::check;

const WRONG: &str = "not-the-brokers-password";

/// The section of a gateway without provisioning.
fn component(server: &XmppServer) -> String {
    let section = server.component_section(COMPONENT);
    section.lines().filter(|line| !line.starts_with("admin_")).map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn a_broker_that_refuses_is_named_with_the_reason_and_the_rest_works() {
    let (server, broker) = tokio::join!(XmppServer::prosody(), RabbitMq::start());
    let _eim = eim(&server).await;
    let section = component(&server);
    let good = events(&broker.tls_url(), &format!("ca = {:?}\n", broker.ca()));
    let (code, output) = check(&format!("{section}{good}")).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("ok     events: "), "{output}");

    let other = tempfile::tempdir().expect("the system's directory for temporary files is writable");
    Certificate::for_names(&["localhost", "127.0.0.1"]).write(other.path());
    let untrusted = events(&broker.tls_url(), &format!("ca = {:?}\n", other.path().join("cert.pem")));
    let refused = events(&broker.url().replace(RabbitMq::PASSWORD, WRONG), "");
    for (broken, reason) in [(refused, "ACCESS_REFUSED"), (untrusted, "certificate")] {
        let (code, output) = check(&format!("{section}{broken}")).await;
        assert_eq!(code, Some(1), "{output}");
        let line = output.lines().find(|line| line.starts_with("FAILED events: "));
        assert!(line.is_some_and(|line| line.contains(reason)), "{output}");
        assert!(![RabbitMq::PASSWORD, WRONG].iter().any(|secret| output.contains(secret)), "{output}");

        let fixture = Fixture::on(Gateway::with(&format!("{CLIENTS}\n{section}{broken}")).start().await);
        let gateway = &fixture.gateway;
        let why = until(PATIENCE, async || {
            let why = part(&gateway.readyz().await, "events")["reason"].as_str()?.to_owned();
            why.contains(reason).then_some(why)
        });
        assert!(why.await.is_some(), "{}", gateway.readyz().await);
        state(gateway, "eim", "up").await;
        state(gateway, "events", "down").await;
        assert_eq!(gateway.admin_get("/readyz").await.0, 200);
        let chair = fixture.chair().await;
        chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
        let (readyz, log) = (gateway.readyz().await.to_string(), gateway.logs());
        assert!(![RabbitMq::PASSWORD, WRONG].iter().any(|secret| (readyz.clone() + &log).contains(secret)), "{log}");
    }
}

/// Entries of that folder of the process (proc(5)).
fn count(pid: u32, folder: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{folder}")).expect("it runs").count()
}

fn threads_and_handles(pid: u32) -> [usize; 2] {
    [count(pid, "task"), count(pid, "fd")]
}

/// Accepts, and never answers: how many times it has.
async fn mute_broker() -> (std::net::SocketAddr, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let (attempts, count) = watch::channel(0);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
            attempts.send_replace(held.len());
        }
    });
    (address, count)
}

#[tokio::test]
async fn attempts_at_a_broker_that_never_answers_leave_no_thread_and_no_handle() {
    let server = XmppServer::prosody().await;
    let (address, mut attempts) = mute_broker().await;
    let section = events(&format!("amqp://confgate:{WRONG}@{address}/%2f"), "timeout_ms = 200\n");
    let mut gateway = Gateway::with(&format!("{CLIENTS}\n{}{section}", component(&server))).start().await;
    state(&gateway, "events", "down").await;
    let mut after = async |count: usize| {
        let counted = attempts.wait_for(|attempts| *attempts >= count);
        let counted = tokio::time::timeout(PATIENCE, counted).await;
        drop(counted.expect("it goes on trying").expect("it listens"));
        threads_and_handles(gateway.pid())
    };
    let early = after(5).await;
    let late = after(20).await;
    for (early, late) in early.into_iter().zip(late) {
        assert!(late <= early + 3, "of threads and handles {early} after 5 attempts, {late} after 20");
    }
    assert!(part(&gateway.readyz().await, "events")["reason"].as_str().is_some_and(|why| why.contains("no answer")));
    assert_eq!(gateway.admin_get("/readyz").await.0, 200);
    // Stopping doesn't wait for the broker.
    assert!(gateway.stop(Duration::from_secs(10)).await.is_some_and(|status| status.success()), "{}", gateway.logs());
}

#[tokio::test]
async fn a_second_node_of_the_same_id_takes_nothing_from_the_first() {
    let scene = Scene::start("").await;
    // Another machine's: a store of its own, and no way to the EIM.
    let mut away = component(&scene.server);
    away.push_str("reconnect_min_ms = 50\n");
    let port = Port::claim();
    let away = away.replace(
        &format!("port = {}\n", scene.server.door(COMPONENT).port.number()),
        &format!("port = {}\n", port.number()),
    );
    let section = events(&scene.broker.url(), "");
    let second = Gateway::with(&format!("{CLIENTS}\n{away}{section}[node]\nid = \"{NODE}\"\n")).start().await;
    let why = until(PATIENCE, async || {
        let why = part(&second.readyz().await, "events")["reason"].as_str()?.to_owned();
        why.contains("in use").then_some(why)
    });
    assert!(why.await.is_some(), "{}", second.readyz().await);
    let chair = scene.fixture.chair().await;
    let (conf, _) = scene.fixture.conference(&chair, json!({})).await;
    let mut socket = enter(&chair, &conf).await;
    chair.rpc("conference.sendMessage", json!({ "confId": conf, "text": "here" })).await.result();
    until_known(&mut socket, &conf, &["here"]).await;
    state(scene.gateway(), "events", "up").await;
}
