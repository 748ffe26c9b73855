//! `events.mode = "amqp"`: `confgate eim` publishes to a real RabbitMQ, a gateway consumes, and both are components of a
//! real XMPP server. Judged by the clients' event sockets, and at the broker by a client that isn't ours.

mod bad_input;
mod bindings;
mod connections;
mod outages;
mod own_types;
mod story;

use std::collections::BTreeMap;

use confgate::event::Event;
use serde_json::{Value, json};

use crate::fixture::{CLIENTS, Fixture};
use crate::support::client::Client;
use crate::support::event_socket::{EventSocket, Notification};
use crate::support::gateway::{Eim, Gateway, eim_with};
use crate::support::rabbitmq::{RabbitMq, Taken};
use crate::support::wait::{PATIENCE, until, until_true};
use crate::support::xmpp_server::{COMPONENT, XmppServer};

/// The gateway's name at the broker.
const NODE: &str = "gw1";
const QUEUE: &str = "confgate.gw1";
const DEAD: &str = "confgate.dead";
/// A queue of the test's own, which gets every event of every conference.
const RECORD: &str = "record";
/// Hasty: a test waits for the next attempt to connect.
const TIMES: &str = "reconnect_min_ms = 50\nreconnect_max_ms = 400\n";

/// A chair without a socket stays for as long as the test lasts.
const PATIENT: &str = "[limits]\ngrace_ms = 300000\nresume_window_ms = 300000\n";

/// The section for both ends.
fn events(url: &str, more: &str) -> String {
    format!("[events]\nmode = \"amqp\"\nurl = {url:?}\n{TIMES}{more}\n")
}

/// All parts, each a process of its own. They end in this order.
struct Scene {
    fixture: Fixture,
    eim: Eim,
    broker: RabbitMq,
    server: XmppServer,
}

impl Scene {
    async fn start(more: &str) -> Self {
        Self::with(more, |broker| events(&broker.url(), "")).await
    }

    /// With that section for both ends, and more for the gateway.
    async fn with(more: &str, section: impl Fn(&RabbitMq) -> String) -> Self {
        let (server, broker) = tokio::join!(XmppServer::prosody(), RabbitMq::start());
        broker.declare(RECORD, "conf.#").await;
        let section = section(&broker);
        let eim = eim_with(&format!("{}{section}", server.eim_section())).await;
        let component = server.component_section(COMPONENT);
        let config = format!("{CLIENTS}\n{component}{section}[node]\nid = \"{NODE}\"\n{more}");
        let gateway = Gateway::with(&config).start().await;
        state(&gateway, "events", "up").await;
        Self { fixture: Fixture::on(gateway), eim, broker, server }
    }

    fn gateway(&self) -> &Gateway {
        &self.fixture.gateway
    }

    /// Waits until the record has every event of that conference up to that number, and takes it.
    async fn record(&self, conf: &str, last: u64) -> Vec<Event> {
        let mut taken = Vec::new();
        let found = until(PATIENCE, async || {
            taken.extend(self.broker.take(RECORD).await);
            let recorded = recorded(&taken).remove(conf).unwrap_or_default();
            recorded.last().is_some_and(|event| event.seq >= last).then_some(recorded)
        });
        found.await.unwrap_or_else(|| panic!("the broker has not got event {last} of {conf} within {PATIENCE:?}"))
    }
}

/// The conferences' events, each once. Fails the test where one is missing, out of place, or not as it must be published.
fn recorded(taken: &[Taken]) -> BTreeMap<String, Vec<Event>> {
    let mut all = BTreeMap::<String, Vec<Event>>::new();
    for message in taken {
        let body = message.body.as_deref().expect("events are small");
        let event: Event = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e} in {body}"));
        let json: Value = serde_json::from_str(body).expect("it is JSON");
        let kind = json["type"].as_str().expect("an event has a type");
        assert_eq!(message.key, format!("conf.{}.{kind}", event.conf_id));
        assert_eq!(message.id, Some(format!("{}/{}/{}", event.conf_id, event.epoch, event.seq)));
        assert!(message.persistent, "{message:?}");
        assert_eq!(message.content_type.as_deref(), Some("application/json"));
        let before = all.entry(event.conf_id.to_string()).or_default();
        let next = before.last().map_or(1, |last| last.seq + 1);
        // Without the broker's confirmation an event is published again.
        if event.seq < next {
            let first = before.iter().find(|known| known.seq == event.seq);
            assert_eq!(first, Some(&event), "another event under a number that was used");
        } else {
            assert_eq!(event.seq, next, "a gap before {event:?}");
            before.push(event);
        }
    }
    all
}

fn part(readyz: &Value, name: &str) -> Value {
    let parts = readyz["parts"].as_array().expect("parts are listed");
    let found = parts.iter().find(|part| part["part"] == name);
    found.unwrap_or_else(|| panic!("no part {name} in {readyz}")).clone()
}

async fn state(gateway: &Gateway, name: &str, expected: &str) {
    let is_so = async || part(&gateway.readyz().await, name)["state"] == expected;
    until_true(&format!("{name} is {expected}"), is_so).await;
}

/// A member with a socket, which has the conference's state.
async fn enter(client: &Client, conf: &str) -> EventSocket {
    let mut socket = client.open_socket().await;
    socket.wait_for("conference.snapshot").await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    socket
}

/// The texts of a conference's messages, as that client knows them.
fn texts(socket: &EventSocket, conf: &str) -> Vec<String> {
    socket.follower.roster(conf).messages.iter().map(|message| message.text.clone()).collect()
}

/// Reads until the client knows exactly those messages, by events or by snapshots. The notifications that it read.
async fn until_known(socket: &mut EventSocket, conf: &str, expected: &[&str]) -> Vec<Notification> {
    let mut read = Vec::new();
    while texts(socket, conf) != expected {
        match socket.next_notification(PATIENCE).await {
            Some(notification) => read.push(notification),
            None => panic!("not {expected:?} within {PATIENCE:?}, but {:?}; read {read:#?}", texts(socket, conf)),
        }
    }
    read
}

/// Reads until `degraded` or `restored`, whichever is asked for, of that part.
async fn until_part(socket: &mut EventSocket, method: &str, part: &str) {
    while socket.wait_for(method).await["part"] != part {}
}
