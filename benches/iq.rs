//! The cost of an IQ through the gateway: `org.user.processIQ` over TLS with a token, through a private ejabberd to the
//! EIM's component, side by side with a component of that ejabberd that sends the same IQ itself. Latency with one in
//! flight, throughput with many, as ratios, and the parts of a call's CPU time. `cargo bench --bench iq`

mod measure;
#[path = "../tests/it/support/mod.rs"]
#[allow(unused_imports, unused_macros, reason = "a vocabulary of which little is needed here")]
mod support;

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use measure::Compared;
use measure::load::{Done, Load, post};
use support::cpu;
use support::gateway::{Gateway, eim};
use support::steal::Since;
use support::wait::PATIENCE;
use support::xml_stream::{Received, XmlStream};
use support::xmpp_server::{COMPONENT, SECOND_COMPONENT, XmppServer};

/// Many and short: what other machines take comes in bursts, and both sides of a round are to have their share.
const ROUNDS: usize = 30;
const ROUND: Duration = Duration::from_millis(400);
/// Requests in flight for the throughput.
const MANY: usize = 64;

const CONFIG: &str = r#"
[limits]
requests_per_minute = 10000000
[[auth.clients]]
id = "bench"
secret = "the bench's secret"
password = "the bench's password"
"#;
const TO: &str = "jeprivacy.ips3000";
const CHILD: &str = r#"<jeExtension xmlns="je:x:client:config"><getMainTabs/></jeExtension>"#;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(compare());
}

async fn compare() {
    let server = XmppServer::ejabberd().await;
    let eim = eim(&server).await;
    let config = format!("{CONFIG}\n{}", server.component_section(COMPONENT));
    let gateway = Gateway::with(&config).environment("RUST_LOG", "info").start().await;
    let login = gateway.client().login_client("bench", "the bench's secret").await;
    let iq = format!(r#"<iq to="{TO}" type="get" id="01">{CHILD}</iq>"#);
    let call = json!({"jsonrpc": "2.0", "id": "1", "method": "org.user.processIQ", "params": {"reqXml": iq}});
    let request = post("/gzbwclient/jsonrpc", login.token(), &call.to_string());
    let processes = [
        ("client", std::process::id()),
        ("gateway", gateway.pid()),
        ("ejabberd", server.pid()),
        ("EIM", eim.process.pid()),
    ];
    for in_flight in [1, MANY] {
        let mut direct = Direct::connect(&server, in_flight).await;
        let mut through = Load::open(gateway.http(), &gateway.certificate(), in_flight, request.clone()).await;
        let answer = String::from_utf8_lossy(&through.answer).into_owned();
        assert!(answer.contains(r#""result":{"xml":"#), "{answer}");
        let mut rounds = Vec::new();
        let begun = Since::now();
        for round in 0..=ROUNDS {
            let before = processes.map(|(_, pid)| cpu::used(pid));
            let plain = direct.run(ROUND).await;
            let between = processes.map(|(_, pid)| cpu::used(pid));
            let ours = through.run(ROUND).await;
            let after = processes.map(|(_, pid)| cpu::used(pid));
            // The first round warms everything up.
            if round > 0 {
                rounds.push([Round::new(&ours, between, after), Round::new(&plain, before, between)]);
            }
        }
        report(in_flight, &processes.map(|(name, _)| name), &rounds);
        println!("other machines took {:.0} % of the cores", begun.stolen());
    }
}

/// One side's numbers of one round.
struct Round {
    requests: u64,
    per_second: f64,
    /// Microseconds.
    latency: f64,
    /// Of each process.
    cpu: [Duration; 4],
}

impl Round {
    fn new(done: &Done, before: [Duration; 4], after: [Duration; 4]) -> Self {
        let cpu = std::array::from_fn(|at| after[at] - before[at]);
        Self { requests: done.requests, per_second: done.per_second(), latency: done.median_latency(), cpu }
    }
}

fn report(in_flight: usize, processes: &[&str; 4], rounds: &[[Round; 2]]) {
    println!("\nprocessIQ, {in_flight} in flight, medians of {ROUNDS} rounds");
    Compared::head(["gateway", "direct"]);
    let line = |title: &str, value: &dyn Fn(&Round) -> f64| {
        Compared::of(rounds.iter().map(|sides| [&sides[0], &sides[1]].map(value))).print(title);
    };
    line("latency, us", &|round| round.latency);
    line("calls per second", &|round| round.per_second);
    println!("CPU of all rounds, us per call");
    for (at, name) in processes.iter().enumerate() {
        // The kernel counts in steps that are long beside a round.
        let [gateway, direct] = [0, 1].map(|side: usize| {
            let used: Duration = rounds.iter().map(|round| round[side].cpu[at]).sum();
            let requests: u64 = rounds.iter().map(|round| round[side].requests).sum();
            used.as_secs_f64() * 1e6 / requests as f64
        });
        println!("  {name:<32}{gateway:>12.1}{direct:>12.1}");
    }
}

/// A component that sends the IQ as fast as a component can: text that is made once, answers that are only counted.
struct Direct {
    socket: TcpStream,
    in_flight: usize,
    iq: String,
}

impl Direct {
    async fn connect(server: &XmppServer, in_flight: usize) -> Self {
        let door = server.door(SECOND_COMPONENT);
        let mut stream = XmlStream::connect(door.port.address()).await.expect("the server listens");
        let header = stream.open("jabber:component:accept", SECOND_COMPONENT, "").await.expect("a stream");
        let proof = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{}{}", header.attr("id"), door.secret).as_bytes());
        let hex: String = proof.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        stream.send(&format!("<handshake>{hex}</handshake>")).await.expect("the server reads");
        let accepted = stream.next_within(PATIENCE).await;
        assert!(matches!(&accepted, Some(Received::Stanza(s)) if s.name == "handshake"), "{accepted:?}");
        let from = format!("bench%ips3000@{SECOND_COMPONENT}/uc");
        let iq = format!(r#"<iq from="{from}" to="{TO}" type="get" id="01">{CHILD}</iq>"#);
        stream.send(&iq).await.expect("the server reads");
        let answer = stream.next().await;
        assert_eq!(answer.attr("type"), "result", "{}", answer.text);
        Self { socket: stream.into_socket(), in_flight, iq }
    }

    /// Keeps that many in flight for that long, then takes in what is still under way.
    async fn run(&mut self, length: Duration) -> Done {
        const END: &str = "</iq>";
        let begun = Instant::now();
        // Answers come in the order of their questions: one EIM, one stream each way.
        let mut sent = std::collections::VecDeque::from(vec![begun; self.in_flight]);
        let mut latencies = Vec::new();
        let mut came = Vec::with_capacity(64 * 1024);
        self.write(self.in_flight).await;
        while !sent.is_empty() {
            let read = self.socket.read_buf(&mut came).await.expect("the server answers");
            assert_ne!(read, 0, "the server ended the stream");
            let now = Instant::now();
            let text = String::from_utf8_lossy(&came);
            let (answers, kept) = (text.matches(END).count(), text.rfind(END).map_or(0, |at| at + END.len()));
            came.drain(..kept);
            latencies.extend(sent.drain(..answers).map(|at| now - at));
            if now - begun < length {
                self.write(answers).await;
                sent.extend(vec![now; answers]);
            }
        }
        Done { requests: latencies.len() as u64, elapsed: begun.elapsed(), latencies }
    }

    async fn write(&mut self, iqs: usize) {
        self.socket.write_all(self.iq.repeat(iqs).as_bytes()).await.expect("the server reads");
    }
}
