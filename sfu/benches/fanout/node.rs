//! The built-in node in a process of its own, signalled over its standard input and output: a line of JSON each.

use std::io::{BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::process::{ChildStdout, Command as Program};
use std::sync::Arc;

use confgate_sfu::protocol::{Command, EndpointId, MemberId, Notice, RoomId, Source, StreamId};
use confgate_sfu::{Config, Limits, Node};
use serde_json::{Value, json};
use str0m::media::Direction;

use crate::peer::Peer;
use crate::server::{Process, Server, line};

/// Says that this process is to be the node; then come its address, threads and most packets a second.
pub const NODE: &str = "--node";

pub struct BuiltIn {
    process: Process,
    output: BufReader<ChildStdout>,
    at: SocketAddr,
    endpoints: u64,
}

impl BuiltIn {
    pub fn start(at: IpAddr, threads: usize, packets_per_s_max: u64) -> BuiltIn {
        let executable = std::env::current_exe().expect("this program is a file");
        let arguments = [NODE.to_owned(), at.to_string(), threads.to_string(), packets_per_s_max.to_string()];
        let mut process = Process::start(Program::new(executable).args(arguments));
        let output = process.stdout();
        BuiltIn { process, output, at: SocketAddr::new(at, 0), endpoints: 0 }
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.process.stdin(), "{question}").expect("the node reads");
        serde_json::from_str(&line(&mut self.output)).expect("JSON")
    }

    fn offer(&mut self, publish: bool, room: u64, peer: &Peer) -> Option<String> {
        self.endpoints += 1;
        let question = json!({ "publish": publish, "room": room, "endpoint": self.endpoints, "offer": peer.offer() });
        self.ask(&question)["answer"].as_str().map(str::to_owned)
    }
}

impl Server for BuiltIn {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn publish(&mut self, room: u64) -> Peer {
        let mut peer = Peer::offers(self.at, Direction::SendOnly);
        peer.answered(&self.offer(true, room, &peer).expect("an empty node takes a publisher"));
        peer
    }

    fn watch(&mut self, room: u64) -> Option<Peer> {
        let mut peer = Peer::offers(self.at, Direction::RecvOnly);
        peer.answered(&self.offer(false, room, &peer)?);
        Some(peer)
    }
}

/// This process is the node, until its standard input ends.
pub fn run(arguments: &[String]) {
    let at: IpAddr = arguments[0].parse().expect("an address");
    let limits = Limits { packets_per_s_max: arguments[2].parse().expect("a number"), ..Limits::default() };
    let threads = arguments[1].parse().expect("a number");
    let (node, mut notices) =
        Node::start(Config { udp: SocketAddr::new(at, 0), threads, limits, ..Config::default() }).expect("a free port");
    for line in std::io::stdin().lines() {
        let question: Value = serde_json::from_str(&line.expect("a pipe")).expect("JSON");
        let endpoint = EndpointId(question["endpoint"].as_u64().expect("a number"));
        node.send(command(&question, endpoint)).expect("its queue isn't full");
        println!("{}", answer(&mut notices, endpoint));
    }
}

fn command(question: &Value, endpoint: EndpointId) -> Command {
    let room: RoomId = Arc::from(question["room"].to_string());
    let stream = StreamId { member: Arc::from("publisher"), source: Source::Camera };
    let offer = question["offer"].as_str().expect("an offer").to_owned();
    let viewer: MemberId = Arc::from(format!("viewer{}", endpoint.0));
    match question["publish"].as_bool() {
        Some(true) => Command::Publish { room, endpoint, stream, offer },
        _ => Command::Subscribe { room, endpoint, viewer, stream, offer },
    }
}

fn answer(notices: &mut tokio::sync::mpsc::Receiver<Notice>, of: EndpointId) -> Value {
    loop {
        match notices.blocking_recv().expect("a node that runs") {
            Notice::Answer { endpoint, answer } if endpoint == of => return json!({ "answer": answer }),
            Notice::Refused { endpoint, refusal } if endpoint == of => {
                return json!({ "refused": format!("{refusal:?}") });
            }
            _ => {}
        }
    }
}
