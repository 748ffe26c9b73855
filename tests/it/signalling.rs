//! A node's signalling, fuzzed: text frames of clients and orders of gateways go into the calls' cores, what they ask
//! of media into a real media core, and its notices back. No socket, no clock.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use confgate::ids::{ConfId, UserId};
use confgate::media::group::{Input, Output, SocketId};
use confgate::media::message::Message;
use confgate::media::{CallDispatcher, ClientCredentials, Limits, one_to_one};
use confgate::node_protocol::{Closed, ToNode};
use confgate_sfu::Worker;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::fuzz::{changes, corpus, fuzz, mutated};
use crate::support::media::claims;

/// Those with a token, then those without.
const MEMBERS: [Option<&str>; 4] = [Some("anna"), Some("ben"), None, None];
const ROOM: &str = "r1";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/signalling")
}

/// As text a line: who says it (a client's number, or `gateway`), and the frame.
#[derive(Debug, Clone)]
struct Frame {
    from: String,
    text: String,
}

fn read(text: &str) -> Vec<Frame> {
    let frame = |line: &str| {
        let (from, text) = line.split_once(' ').expect("who, and what");
        Frame { from: from.to_owned(), text: text.to_owned() }
    };
    text.lines().map(frame).collect()
}

fn text(frames: &[Frame]) -> String {
    frames.iter().map(|frame| format!("{} {}\n", frame.from, frame.text)).collect()
}

/// Whole scenes as they were recorded, with frames said by others, said again, left out or changed.
fn frames(scenes: Vec<Vec<Frame>>) -> impl Strategy<Value = Vec<Frame>> {
    let all: Vec<Frame> = scenes.iter().flatten().cloned().collect();
    let edit = (any::<u16>(), any::<bool>(), prop::sample::select(all), 0..MEMBERS.len(), changes());
    (prop::sample::select(scenes), prop::collection::vec(edit, 1..12)).prop_map(|(mut scene, edits)| {
        for (at, replaces, frame, from, changes) in edits {
            let from = if frame.from == "gateway" { frame.from } else { from.to_string() };
            let bytes = mutated(frame.text.as_bytes(), &changes);
            // A line each, in the corpus; a frame that isn't UTF-8 never comes this far.
            let text = String::from_utf8_lossy(&bytes).replace(['\n', '\r'], " ");
            let at = scene.len() * usize::from(at) / 65_536;
            if replaces {
                scene.remove(at);
            }
            scene.insert(at, Frame { from, text });
        }
        scene
    })
}

/// A node without its shell.
struct Node {
    calls: CallDispatcher,
    media: Worker,
    /// Milliseconds since the beginning.
    passed: u64,
    begun: Instant,
    sockets: Vec<SocketId>,
    opened: u64,
}

impl Node {
    fn new() -> Self {
        let (node, join_ms, messages_per_minute, open) = ("n1".to_owned(), 3_000, 6_000, true);
        let group = Limits {
            node,
            rooms: 3,
            members: 3,
            streams: 4,
            join_ms,
            messages_per_minute,
            open,
            holds_tracks: true,
            changes_codecs: true,
        };
        let pairs = one_to_one::Limits { calls: 3, join_ms, ring_ms: 1_000, messages_per_minute, open };
        let calls = CallDispatcher::new(group, pairs);
        let begun = Instant::now();
        let address = "192.0.2.1:4000".parse().expect("an address");
        let media = Worker::new(confgate_sfu::Limits::default(), vec![(str0m::net::Protocol::Udp, address)], begun);
        let media = media.expect("the system has randomness");
        let mut node = Self { calls, media, passed: 0, begun, sockets: Vec::new(), opened: 0 };
        for name in MEMBERS.into_iter().flatten() {
            let (room, name) = (ConfId::parse(ROOM).expect("an id"), UserId::parse(name).expect("an id"));
            let closed = Closed::default();
            node.take(Input::Control(ToNode::Permit { room, name, audio: true, video: true, closed, role: None }));
        }
        for place in 0..MEMBERS.len() {
            let socket = node.open(place);
            node.sockets.push(socket);
        }
        node
    }

    fn open(&mut self, place: usize) -> SocketId {
        self.opened += 1;
        let socket = SocketId(self.opened);
        self.take(Input::Opened(socket, shown(place)));
        socket
    }

    fn on_frame(&mut self, frame: &Frame) {
        self.passed += 20;
        let now = self.begun + Duration::from_millis(self.passed);
        match frame.from.parse::<usize>() {
            Ok(place) => {
                let place = place % MEMBERS.len();
                self.take(Input::Message(self.sockets[place], Message::read(&frame.text), shown(place)));
            }
            Err(_) => {
                if let Ok(order) = serde_json::from_str::<ToNode>(&frame.text) {
                    self.take(Input::Control(order));
                }
            }
        }
        self.take(Input::Tick);
        self.media.timeout(now);
        self.media.transmits().clear();
    }

    fn take(&mut self, input: Input) {
        let now = self.begun + Duration::from_millis(self.passed);
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.calls.handle((1_000_000 + self.passed).into(), input) {
                match output {
                    Output::Send(_, reply) => {
                        let said: Value = serde_json::from_str(&reply.text()).expect("a reply is JSON");
                        assert!(said["id"].is_string(), "{said}");
                    }
                    Output::Media(command) => self.media.command(command, now),
                    Output::Close(socket, _) => self.reopen(socket),
                    // Nobody answers, and no other node does.
                    Output::Probe(_) | Output::Link(..) | Output::Cascade(..) => {}
                }
            }
            while let Some(notice) = self.media.poll_notice() {
                inputs.push_back(Input::Notice(notice));
            }
        }
    }

    /// A client that was sent away comes back.
    fn reopen(&mut self, closed: SocketId) {
        if let Some(place) = self.sockets.iter().position(|socket| *socket == closed) {
            self.opened += 1;
            self.sockets[place] = SocketId(self.opened);
            self.calls.handle((1_000_000 + self.passed).into(), Input::Opened(self.sockets[place], shown(place)));
        }
    }

    fn end(mut self) {
        for place in 0..MEMBERS.len() {
            self.take(Input::Closed(self.sockets[place]));
        }
        let counts = self.calls.counts();
        assert_eq!((counts.members, self.calls.pairs()), (0, 0), "nobody is left");
        assert_eq!((counts.rooms, self.media.endpoints()), (0, 0), "and nothing of them");
    }
}

fn shown(place: usize) -> ClientCredentials {
    MEMBERS[place]
        .map_or(ClientCredentials::Nothing, |name| ClientCredentials::Claims(Box::new(claims("n1", ROOM, name))))
}

#[test]
fn no_frame_of_anybody_harms_a_node_or_leaves_anything_behind() {
    let scenes: Vec<Vec<Frame>> = corpus(&folder()).iter().map(|(_, text)| read(text)).collect();
    let survives = |frames: Vec<Frame>| {
        let mut node = Node::new();
        frames.iter().for_each(|frame| node.on_frame(frame));
        node.end();
    };
    scenes.iter().cloned().for_each(survives);
    fuzz(&folder(), &frames(scenes), |frames| text(frames), survives);
}
