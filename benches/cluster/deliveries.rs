//! One conference event to 500 guests at two gateway nodes, and to 500 subscribers of web_stomp: CPU of a delivery with
//! all processes of either side, and its latency from the moment at which the event was to be sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until};

use super::measure::others::Others;
use super::measure::{Compared, percentile_ms};
use super::subscriber::{Deliveries, drain, open, read, read_until};
use super::support::client::{BASE, Client};
use super::support::cpu;
use super::support::gateway::{Eim, Gateway, eim_with};
use super::support::mariadb::MariaDb;
use super::support::rabbitmq::RabbitMq;
use super::support::wait::until_true;
use super::support::xmpp_server::{COMPONENT, SECOND_COMPONENT, THIRD_COMPONENT, XmppServer};
use super::{SECRET, SETTINGS, stomp};

const SUBSCRIBERS: usize = 500;
/// Those that log in and subscribe at the same time.
const AT_ONCE: usize = 16;
const ROUNDS: usize = 7;
const EVENTS: u32 = 50;
const INTERVAL: Duration = Duration::from_millis(100);
/// After deliveries by web_stomp: RabbitMQ uses some 100 ms of CPU more in the next 5 s, which would be counted for the
/// next side.
const SETTLE: Duration = Duration::from_secs(5);
/// Of a round.
const DELIVERIES: usize = EVENTS as usize * SUBSCRIBERS;
/// web_stomp's CPU of a delivery is to be at least so many times the gateway's.
const AIM: u32 = 6;

/// In the order of [`Scene::used`].
const PROCESSES: [&str; 8] = [
    "first gateway node",
    "second gateway node",
    "gateways' MariaDB",
    "RabbitMQ",
    "sender's gateway node",
    "EIM",
    "Prosody",
    "this client",
];
/// CPU time of each.
type Used = [Duration; PROCESSES.len()];
/// Counted for the gateway: all that an event passes from the exchange to the guests, and the nodes' store.
const OURS: &[usize] = &[0, 1, 2, 3];
/// Counted for web_stomp, which is a part of the broker.
const BROKER: &[usize] = &[3];

/// All parts, each a process of its own. They end in this order.
struct Scene {
    nodes: [Gateway; 2],
    /// Takes the chair's messages: what it, the EIM and the XMPP server do is the same for either side.
    sender: Gateway,
    eim: Eim,
    broker: RabbitMq,
    database: MariaDb,
    server: XmppServer,
}

/// A conference and those that hear of it.
struct Side {
    title: &'static str,
    processes: &'static [usize],
    conf: String,
    code: String,
    deliveries: Arc<Deliveries>,
}

/// One side's numbers of one round.
struct Round {
    used: Used,
    p50_ms: f64,
    p99_ms: f64,
}

pub async fn compare() {
    let scene = Scene::start().await;
    let chair = Arc::new(scene.sender.client().login_client("chair", SECRET).await);
    drain(event_socket(&chair).await);
    let titles = [("gateway", OURS), ("STOMP, wss", BROKER), ("STOMP, ws", BROKER)];
    let mut sides = Vec::new();
    for (title, processes) in titles {
        sides.push(Side::create(title, processes, &chair).await);
    }
    scene.fill(&sides).await;

    let others = Others::than(&scene.processes());
    let (mut rounds, mut at_rest) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut of_sides = Vec::new();
        for side in &sides {
            of_sides.push(scene.round(side, &chair).await);
            if side.processes == BROKER {
                sleep(SETTLE).await;
            }
        }
        let used = scene.rest().await;
        // The first round warms everything up.
        if round > 0 {
            rounds.push(of_sides);
            at_rest.push(used);
        }
    }
    others.report();
    report(&sides, &rounds, &at_rest);
    report_processes(&sides, &rounds, &at_rest);
}

impl Scene {
    async fn start() -> Self {
        let (server, broker, database) =
            tokio::join!(XmppServer::prosody(), RabbitMq::with_web_stomp(), MariaDb::without_tls());
        let events = format!("[events]\nmode = \"amqp\"\nurl = {:?}\n", broker.url());
        // The EIM has a store of its own: MariaDB is the gateways'.
        let eim = eim_with(&format!("{}{events}{SETTINGS}", server.eim_section())).await;
        let node = async |id: &str, component: &str| {
            let (section, store) = (server.component_section(component), database.url());
            let own = format!("[node]\nid = {id:?}\n[store]\nurl = {store:?}\n");
            Gateway::with(&format!("{section}{events}{own}{SETTINGS}")).environment("RUST_LOG", "info").start().await
        };
        let nodes = [node("gw1", COMPONENT).await, node("gw2", SECOND_COMPONENT).await];
        let sender = node("gw3", THIRD_COMPONENT).await;
        Self { nodes, sender, eim, broker, database, server }
    }

    fn processes(&self) -> [u32; PROCESSES.len()] {
        let [first, second] = self.nodes.each_ref().map(Gateway::pid);
        let (database, broker, server) = (self.database.pid(), self.broker.pid(), self.server.pid());
        [first, second, database, broker, self.sender.pid(), self.eim.process.pid(), server, std::process::id()]
    }

    fn used(&self) -> Used {
        self.processes().map(cpu::used)
    }

    fn used_since(&self, before: &Used) -> Used {
        let after = self.used();
        std::array::from_fn(|at| after[at] - before[at])
    }

    /// The CPU of a round's time in which nobody sends.
    async fn rest(&self) -> Used {
        let before = self.used();
        sleep(INTERVAL * EVENTS).await;
        self.used_since(&before)
    }

    /// Guests into the first side's conference, half at either node, and subscribers to those of the others.
    async fn fill(&self, sides: &[Side]) {
        let [guests, tls, plain] = sides else { panic!("three sides") };
        let ports = self.broker.web_stomp();
        let secure = Client::new(ports.tls.address(), &self.broker.ca());
        let all = (0..SUBSCRIBERS).map(async |number| {
            guests.enter(&self.nodes[number % self.nodes.len()], number).await;
            let stream = secure.connect("http/1.1").await.expect("the broker listens");
            let address = format!("wss://{}/ws", ports.tls.address());
            read(stomp::subscribe(stream, &address, &tls.conf).await, Arc::clone(&tls.deliveries));
            let stream = TcpStream::connect(ports.plain.address()).await.expect("the broker listens");
            let address = format!("ws://{}/ws", ports.plain.address());
            read(stomp::subscribe(stream, &address, &plain.conf).await, Arc::clone(&plain.deliveries));
        });
        iter(all).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }

    /// Sends events at their times, whatever has become of those before.
    async fn round(&self, side: &Side, chair: &Arc<Client>) -> Round {
        let (before, begun) = (self.used(), Instant::now());
        for event in 0..EVENTS {
            let due = begun + INTERVAL * event;
            sleep_until(due.into()).await;
            let message = json!({ "confId": side.conf, "text": side.deliveries.next(due) });
            let chair = Arc::clone(chair);
            // They leave in their order: the client asks one after the other.
            tokio::spawn(async move { chair.rpc("conference.sendMessage", message).await.result() });
        }
        until_true("every event has come to everybody", async || side.deliveries.count() == DELIVERIES).await;
        let used = self.used_since(&before);
        let latencies = side.deliveries.take();
        Round { used, p50_ms: percentile_ms(&latencies, 50), p99_ms: percentile_ms(&latencies, 99) }
    }
}

impl Side {
    /// A conference of its own, which the chair is in.
    async fn create(title: &'static str, processes: &'static [usize], chair: &Client) -> Self {
        let made = chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let (conf, code) = (text(&made["confId"]), text(&made["link"]["code"]));
        chair.rpc("conference.join", json!({ "confId": conf })).await.result();
        Self { title, processes, conf, code, deliveries: Arc::default() }
    }

    /// A guest of this conference, with an event socket at that node.
    async fn enter(&self, node: &Gateway, number: usize) {
        let guest = node.client().login_link(&self.code, &format!("Guest {number}")).await;
        let mut socket = event_socket(&guest).await;
        guest.rpc("conference.join", json!({ "confId": self.conf })).await.result();
        // A snapshot with this guest in it, or the event of their joining: from then on there are events only.
        read_until(&mut socket, guest.user_id()).await;
        read(socket, Arc::clone(&self.deliveries));
    }
}

pub type EventSocket = tokio_tungstenite::WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

/// The event socket of one who is logged in.
pub async fn event_socket(client: &Client) -> EventSocket {
    let stream = client.connect("http/1.1").await.expect("the gateway listens");
    let protocols = format!("confgate, bearer.{}", client.token().expect("it is logged in"));
    open(stream, &format!("wss://{}{BASE}/websck", client.address()), &protocols).await
}

fn report(sides: &[Side], rounds: &[Vec<Round>], at_rest: &[Used]) {
    let per_second = 1.0 / INTERVAL.as_secs_f64();
    println!(
        "\nan event to {SUBSCRIBERS} sockets, {per_second} events a second, medians of {ROUNDS} rounds of {EVENTS}"
    );
    for other in 1..sides.len() {
        println!();
        Compared::head([sides[0].title, sides[other].title]);
        let compared = |value: &dyn Fn(&Round, &[usize], &Used) -> f64| {
            let of_side = |round: &[Round], rest, side: usize| value(&round[side], sides[side].processes, rest);
            let pairs = rounds.iter().zip(at_rest);
            Compared::of(pairs.map(|(round, rest)| [0, other].map(|side| of_side(round, rest, side))))
        };
        let cpu = compared(&|round, processes, _| of_delivery(processes, &round.used));
        cpu.print("CPU of a delivery, us");
        let above = |round: &Round, processes: &[usize], rest: &Used| {
            of_delivery(processes, &round.used) - of_delivery(processes, rest)
        };
        compared(&above).print("  of that above rest, us");
        compared(&|round, _, _| round.p50_ms).print("latency of a delivery, p50, ms");
        compared(&|round, _, _| round.p99_ms).print("latency of a delivery, p99, ms");
        println!("CPU of a delivery: 1/{:.1} of web_stomp's; the aim is 1/{AIM} or less", 1.0 / cpu.ratio());
    }
}

/// Of those processes, in microseconds.
fn of_delivery(processes: &[usize], used: &Used) -> f64 {
    let counted: Duration = processes.iter().map(|at| used[*at]).sum();
    counted.as_secs_f64() * 1e6 / DELIVERIES as f64
}

fn report_processes(sides: &[Side], rounds: &[Vec<Round>], at_rest: &[Used]) {
    println!("\nCPU of all rounds, us of a delivery; in brackets what isn't counted; at rest: of as long a time");
    let titles: String = sides.iter().map(|side| format!("{:>14}", side.title)).collect();
    println!("  {:<24}{titles}{:>14}", "", "at rest");
    let mean = |at: usize, of_rounds: &mut dyn Iterator<Item = &Used>| {
        of_rounds.map(|used| of_delivery(&[at], used)).sum::<f64>() / rounds.len() as f64
    };
    for (at, name) in PROCESSES.iter().enumerate() {
        let of_side = |(number, side): (usize, &Side)| {
            let us = mean(at, &mut rounds.iter().map(|round| &round[number].used));
            let text = if side.processes.contains(&at) { format!("{us:.1} ") } else { format!("({us:.1})") };
            format!("{text:>14}")
        };
        let rest = mean(at, &mut at_rest.iter());
        println!("  {name:<24}{}{rest:>13.1}", sides.iter().enumerate().map(of_side).collect::<String>());
    }
}
