//! The entrances of a node, fuzzed: datagrams from anywhere, before and during a call, and descriptions of calls.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use confgate_sfu::protocol::{Command, EndpointId};
use proptest::prelude::*;

use crate::support::fuzz::{Change, changes, corpus, fuzz, mutated};
use crate::support::{Network, camera, member, room};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target)
}

/// The apparent sender of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Stranger,
    Publisher,
    Viewer,
}

/// A datagram, some milliseconds after the one before. As text: who, when, and its bytes in hexadecimal.
#[derive(Debug, Clone)]
struct Shot {
    from: From,
    after_ms: u64,
    bytes: Vec<u8>,
}

impl Shot {
    fn read(line: &str) -> Shot {
        let words: Vec<&str> = line.split(' ').collect();
        let [from, after_ms, hex] = words[..] else { panic!("no datagram: {line}") };
        let from = match from {
            "publisher" => From::Publisher,
            "viewer" => From::Viewer,
            _ => From::Stranger,
        };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        let bytes = (0..hex.len()).step_by(2).map(byte).collect();
        Shot { from, after_ms: after_ms.parse().expect("a number"), bytes }
    }

    fn text(&self) -> String {
        let from = match self.from {
            From::Stranger => "stranger",
            From::Publisher => "publisher",
            From::Viewer => "viewer",
        };
        let hex: String = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{from} {} {hex}", self.after_ms)
    }
}

fn text(shots: &[Shot]) -> String {
    shots.iter().map(|shot| shot.text() + "\n").collect()
}

fn recorded(target: &str) -> Vec<Vec<Shot>> {
    corpus(&folder(target)).iter().map(|(_, text)| text.lines().map(Shot::read).collect()).collect()
}

/// Some of the datagrams, changed.
fn shots(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<Shot>> {
    let from = prop_oneof![Just(From::Stranger), Just(From::Publisher), Just(From::Viewer)];
    let shot = (from, 0u64..12, prop::sample::select(seeds), changes())
        .prop_map(|(from, after_ms, seed, changes)| Shot { from, after_ms, bytes: mutated(&seed, &changes) });
    prop::collection::vec(shot, 1..16)
}

/// A publisher and a viewer who have only just made their offers.
fn begun() -> (Network, EndpointId, EndpointId) {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let boris = network.watch("boris", "anna");
    (network, anna, boris)
}

fn shoot(network: &mut Network, publishers: &[EndpointId], shots: &[Shot]) {
    for shot in shots {
        network.call(publishers, Duration::from_millis(shot.after_ms));
        let source: SocketAddr = match shot.from {
            From::Stranger => "203.0.113.7:5000".parse().unwrap(),
            From::Publisher => Network::address(EndpointId(1)),
            From::Viewer => Network::address(EndpointId(2)),
        };
        network.inject(source, &shot.bytes);
    }
}

/// The datagrams that a call's clients send, one of each kind at least.
fn of_a_call(target: &str) -> Vec<Vec<u8>> {
    recorded(target).into_iter().flatten().map(|shot| shot.bytes).collect()
}

#[test]
fn no_datagram_ends_or_stops_a_call() {
    let target = "datagrams";
    let (mut network, anna, boris) = begun();
    network.record = Some(Vec::new());
    network.call(&[anna], Duration::from_secs(1));
    let recorded_now = network.record.take().expect("as just set").into_iter().map(|(_, bytes)| bytes);
    // Those of this very call get further: their SSRCs and numbers are right. Not its ICE checks (RFC 7983: 0 to 3):
    // whoever could say them again from elsewhere has the path, as ICE has it.
    let mut seeds = of_a_call(target);
    seeds.extend(recorded_now.filter(|bytes| bytes[0] > 3));
    let kept = RefCell::new(Some(network));
    let survives = |shots: Vec<Shot>| {
        // One that failed is not used again.
        let mut network = kept.borrow_mut().take().unwrap_or_else(|| {
            let (mut network, anna, _) = begun();
            network.call(&[anna], Duration::from_secs(1));
            network
        });
        let frames = network.frames(boris);
        shoot(&mut network, &[anna], &shots);
        network.call(&[anna], Duration::from_millis(150));
        assert_eq!(network.worker.endpoints(), 2, "both are still there");
        assert!(network.frames(boris) > frames, "and pictures come");
        network.notices.clear();
        network.clients.values_mut().for_each(|client| client.received.clear());
        kept.replace(Some(network));
    };
    recorded(target).into_iter().for_each(&survives);
    fuzz(&folder(target), &shots(seeds), |shots| text(shots), survives);
}

#[test]
fn no_datagram_harms_a_node_whose_calls_begin() {
    let target = "datagrams";
    let survives = |shots: Vec<Shot>| {
        let (mut network, anna, _) = begun();
        network.spoofed = true;
        shoot(&mut network, &[anna], &shots);
        network.call(&[anna], Duration::from_millis(60));
        assert!(network.worker.endpoints() <= 2);
    };
    recorded(target).into_iter().for_each(survives);
    fuzz(&folder(target), &shots(of_a_call(target)), |shots| text(shots), survives);
}

/// Offers, answers and candidates, each as a client would send it; what the node says of them is its own affair.
#[test]
fn no_description_harms_a_node() {
    let target = "descriptions";
    let seeds: Vec<String> = corpus(&folder(target)).into_iter().map(|(_, text)| text).collect();
    let survives = |text: String| {
        let mut network = Network::new();
        let endpoint = EndpointId;
        let stream = || camera("anna");
        for command in [
            Command::Publish { room: room(), endpoint: endpoint(1), stream: stream(), offer: text.clone() },
            Command::Subscribe {
                room: room(),
                endpoint: endpoint(2),
                viewer: member("boris"),
                stream: stream(),
                offer: text.clone(),
            },
            Command::Renegotiate { endpoint: endpoint(1), offer: text.clone() },
            Command::Pull { room: room(), endpoint: endpoint(3), stream: camera("clara") },
            Command::Answered { endpoint: endpoint(3), answer: text.clone() },
        ] {
            network.command(command);
        }
        for line in text.lines().filter(|line| line.contains("candidate")) {
            network.command(Command::Candidate { endpoint: endpoint(2), candidate: line.to_owned() });
        }
        network.run(Duration::from_millis(5));
        network.command(Command::CloseRoom { room: room() });
        network.run(Duration::from_millis(5));
        assert_eq!((network.worker.endpoints(), network.worker.rooms()), (0, 0), "nothing stays");
    };
    seeds.iter().cloned().for_each(survives);
    fuzz(&folder(target), &descriptions(seeds), Clone::clone, survives);
}

/// Lines of one description, some left out, said twice or taken from another; then changed as bytes.
fn descriptions(seeds: Vec<String>) -> impl Strategy<Value = String> {
    let all: Vec<String> = seeds.iter().flat_map(|text| text.lines().map(str::to_owned)).collect();
    let edit = (any::<u16>(), 0u8..3, prop::sample::select(all));
    (
        prop::sample::select(seeds),
        prop::collection::vec(edit, 0..5),
        prop_oneof![2 => Just(Vec::<Change>::new()), 3 => changes()],
    )
        .prop_map(|(seed, edits, changes)| {
            let mut lines: Vec<&str> = seed.lines().collect();
            for (at, what, line) in &edits {
                let at = lines.len() * usize::from(*at) / 65_536;
                match what {
                    0 if !lines.is_empty() => drop(lines.remove(at)),
                    1 if !lines.is_empty() => lines.insert(at, lines[at]),
                    _ => lines.insert(at, line),
                }
            }
            let text = lines.join("\r\n") + "\r\n";
            String::from_utf8_lossy(&mutated(text.as_bytes(), &changes)).into_owned()
        })
}

/// Writes the seeds anew: the first datagrams of each kind in a call, and what its clients offered.
#[test]
#[ignore = "it makes the corpus, it tests nothing"]
fn the_corpus_is_recorded() {
    let (mut network, anna, _) = begun();
    network.record = Some(Vec::new());
    network.call(&[anna], Duration::from_secs(4));
    let mut kinds = std::collections::HashSet::new();
    let mut shots = Vec::new();
    for (client, bytes) in network.record.take().expect("as just set") {
        let from = if client == network.clients[&anna].address { From::Publisher } else { From::Viewer };
        let kind = match bytes[0] {
            // DTLS (RFC 7983): its content and, of a handshake, its message.
            20..=63 => (bytes[0], bytes[13], true),
            128..=191 => (0, bytes[1] & 0x7f, true),
            _ => (bytes[0], bytes[1], false),
        };
        if kinds.insert((kind, from == From::Publisher)) {
            shots.push(Shot { from, after_ms: 1, bytes });
        }
    }
    std::fs::create_dir_all(folder("datagrams")).unwrap();
    std::fs::write(folder("datagrams").join("a-call"), text(&shots)).unwrap();
    std::fs::create_dir_all(folder("descriptions")).unwrap();
    for (id, client) in &network.clients {
        let name = if *id == anna { "an-offer-to-send" } else { "an-offer-to-receive" };
        std::fs::write(folder("descriptions").join(name), &client.offer).unwrap();
    }
}
