//! The calls that write to the store or read it, on MariaDB beside SQLite: one gateway on each with everything else in
//! its process, one request in flight, taking turns.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::deliveries::event_socket;
use super::measure::load::{connect, exchange, post};
use super::measure::others::Others;
use super::measure::{Compared, percentile_ms};
use super::subscriber::drain;
use super::support::client::{BASE, Client};
use super::support::cpu;
use super::support::gateway::Gateway;
use super::support::mariadb::MariaDb;
use super::{SECRET, SETTINGS};

const ROUNDS: usize = 15;
/// Guests, each in a conference of their own: an event of it goes to one socket.
const GUESTS: usize = 50;
const CREATES: usize = 100;
const LOOK_UPS: usize = 300;

/// A request again and again, or one for each guest.
struct Operation {
    title: &'static str,
    requests: Vec<Vec<u8>>,
    /// Makes room for the next round, unmeasured.
    undo: Vec<Vec<u8>>,
    /// What every answer must hold.
    expected: &'static str,
}

/// A gateway on one store.
struct Site {
    gateway: Gateway,
    connection: TlsStream<TcpStream>,
    operations: Vec<Operation>,
}

/// One site's numbers of one operation in one round.
struct Round {
    p50_ms: f64,
    p99_ms: f64,
    gateway: Duration,
    database: Duration,
    calls: usize,
}

pub async fn compare() {
    let database = MariaDb::without_tls().await;
    let mut sites = [Site::start(&format!("[store]\nurl = {:?}\n", database.url())).await, Site::start("").await];
    let [on_mariadb, on_sqlite] = sites.each_ref().map(|site| site.gateway.pid());
    let others = Others::than(&[on_mariadb, on_sqlite, database.pid()]);
    let titles: Vec<&str> = sites[0].operations.iter().map(|operation| operation.title).collect();
    let mut rounds: Vec<Vec<[Round; 2]>> = titles.iter().map(|_| Vec::new()).collect();
    for round in 0..=ROUNDS {
        for (at, of_operation) in rounds.iter_mut().enumerate() {
            let [first, second] = &mut sites;
            let both = [first.run(at, database.pid()).await, second.run(at, database.pid()).await];
            // The first round warms everything up.
            if round > 0 {
                of_operation.push(both);
            }
        }
    }
    others.report();
    report(&titles, &rounds);
}

impl Site {
    async fn start(store: &str) -> Self {
        let gateway = Gateway::with(&format!("{store}{SETTINGS}")).environment("RUST_LOG", "info").start().await;
        let chair = gateway.client().login_client("chair", SECRET).await;
        let connection = connect(gateway.http(), &gateway.certificate()).await;
        let create = call(&chair, "org.user.createUser", json!({ "name": "Anna Schmidt" }));
        let (mut joins, mut leaves, mut look_up) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..GUESTS {
            let made = chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
            let code = made["link"]["code"].as_str().expect("a code");
            let guest = gateway.client().login_link(code, &format!("Guest {number}")).await;
            drain(event_socket(&guest).await);
            let conf = json!({ "confId": made["confId"] });
            joins.push(call(&guest, "conference.join", conf.clone()));
            leaves.push(call(&guest, "conference.leave", conf));
            look_up = post(&format!("{BASE}/conference/{code}"), None, "");
        }
        let result = r#""result""#;
        let operations = vec![
            Operation {
                title: "org.user.createUser",
                requests: vec![create; CREATES],
                undo: Vec::new(),
                expected: result,
            },
            Operation { title: "conference.join", requests: joins, undo: leaves, expected: result },
            Operation {
                title: "look-up of a link",
                requests: vec![look_up; LOOK_UPS],
                undo: Vec::new(),
                expected: r#""state":0"#,
            },
        ];
        Self { gateway, connection, operations }
    }

    async fn run(&mut self, operation: usize, database: u32) -> Round {
        let Operation { requests, undo, expected, .. } = &self.operations[operation];
        let processes = [self.gateway.pid(), database];
        let before = processes.map(cpu::used);
        let mut latencies = Vec::with_capacity(requests.len());
        for request in requests {
            let begun = Instant::now();
            let answer = exchange(&mut self.connection, request).await;
            latencies.push(begun.elapsed());
            check(&answer, expected);
        }
        let after = processes.map(cpu::used);
        for request in undo {
            check(&exchange(&mut self.connection, request).await, expected);
        }
        Round {
            p50_ms: percentile_ms(&latencies, 50),
            p99_ms: percentile_ms(&latencies, 99),
            gateway: after[0] - before[0],
            database: after[1] - before[1],
            calls: requests.len(),
        }
    }
}

fn call(client: &Client, method: &str, params: Value) -> Vec<u8> {
    let body = json!({ "jsonrpc": "2.0", "id": "1", "method": method, "params": params });
    post(&format!("{BASE}/jsonrpc"), client.token(), &body.to_string())
}

fn check(answer: &[u8], expected: &str) {
    let text = String::from_utf8_lossy(answer);
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains(expected), "{text}");
}

fn report(titles: &[&str], rounds: &[Vec<[Round; 2]>]) {
    println!("one request in flight, medians of {ROUNDS} rounds");
    Compared::head(["MariaDB", "SQLite"]);
    for (title, rounds) in titles.iter().zip(rounds) {
        let line = |what: &str, value: &dyn Fn(&Round) -> f64| {
            let sides = rounds.iter().map(|sides| sides.each_ref().map(value));
            Compared::of(sides).print(&format!("{title}, {what}"));
        };
        line("p50, us", &|round| round.p50_ms * 1e3);
        line("p99, us", &|round| round.p99_ms * 1e3);
    }
    println!("CPU of all rounds, us of a call");
    for (title, rounds) in titles.iter().zip(rounds) {
        for (process, used) in [
            ("gateway", (|round| round.gateway) as fn(&Round) -> Duration),
            ("MariaDB", (|round| round.database) as fn(&Round) -> Duration),
        ] {
            // The kernel counts in steps that are long beside a round.
            let [mariadb, sqlite] = [0, 1].map(|side: usize| {
                let used: Duration = rounds.iter().map(|sides| used(&sides[side])).sum();
                let calls: usize = rounds.iter().map(|sides| sides[side].calls).sum();
                used.as_secs_f64() * 1e6 / calls as f64
            });
            println!("  {:<32}{mariadb:>12.1}{sqlite:>12.1}", format!("{title}, {process}"));
        }
    }
}
