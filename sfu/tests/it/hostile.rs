//! Hostile input to a node: the node neither dies of it nor serves others worse.

use std::net::SocketAddr;
use std::time::Duration;

use confgate_sfu::protocol::{Command, EndpointId, Notice, Refusal};
use confgate_sfu::sdp::SDP_MAX;
use proptest::prelude::*;

use crate::support::{Client, Media, Network, camera, member, room};

const SECOND: Duration = Duration::from_secs(1);

fn refused(offer: &str) -> bool {
    let mut network = Network::new();
    let endpoint = EndpointId(1);
    let offer = offer.to_owned();
    network.command(Command::Publish { room: room(), endpoint, stream: camera("anna"), offer });
    let refused = network.notices == [Notice::Refused { endpoint, refusal: Refusal::BadSdp }];
    assert!(!refused || (network.worker.endpoints(), network.worker.rooms()) == (0, 0), "it leaves nothing behind");
    refused
}

fn an_offer() -> String {
    let network = Network::new();
    let address = "198.51.100.1:9".parse().unwrap();
    Client::new(Media::SENDS, address, str0m::net::Protocol::Udp, network.now).offer
}

#[test]
fn offers_that_cannot_be_answered_are_refused() {
    let offer = an_offer();
    assert!(!refused(&offer));
    assert!(refused(""));
    assert!(refused("v=0"));
    assert!(refused("{\"type\":\"offer\"}"));
    assert!(refused(&"a".repeat(SDP_MAX + 1)));
    assert!(refused(&format!("{offer}{}", "a=x:y\r\n".repeat(SDP_MAX / 7))), "too large");
    let session: String =
        offer.lines().take_while(|line| !line.starts_with("m=")).map(|line| format!("{line}\r\n")).collect();
    assert!(refused(&session), "without media");
    let media = offer.find("m=video").unwrap();
    let many: String = (0..200).map(|n| offer[media..].replace("a=mid:", &format!("a=mid:{n}"))).collect();
    assert!(refused(&format!("{}{many}", &offer[..media])), "200 tracks");
    let codecs = offer.replace("VP8/90000", "CELB/90000").replace("opus/48000/2", "G729/8000");
    assert!(refused(&codecs), "no codec in common");
}

#[test]
fn useless_candidates_are_ignored() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    for text in [
        "",
        "candidate:1 1 udp 2122260223 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 51472 typ host",
        "candidate:1 1 udp 2122260223 192.168.1.5 51472 typ host generation 0 ufrag abcd network-id 1",
        "1 1 udp 2122260223 192.168.1.6 0 typ host",
        "a=candidate:1 1 tcp 1518280447 192.168.1.5 9 typ host tcptype active",
        "candidate:nonsense",
        &"x".repeat(100_000),
    ] {
        network.command(Command::Candidate { endpoint: anna, candidate: text.to_owned() });
    }
    for number in 0..1_000 {
        let candidate = format!("candidate:1 1 udp 2122260223 10.0.{}.{} 1000 typ host", number / 250, number % 250);
        network.command(Command::Candidate { endpoint: anna, candidate });
    }
    network.command(Command::Candidate { endpoint: EndpointId(77), candidate: "candidate:x".into() });
    network.call(&[anna], SECOND);
    assert!(network.clients[&anna].connected);
}

/// A STUN request (RFC 8489) that names this user, signed with a wrong key.
fn stun_request(user: &str, transaction: u64) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut attribute = |kind: u16, value: &[u8]| {
        attributes.extend(kind.to_be_bytes());
        attributes.extend((value.len() as u16).to_be_bytes());
        attributes.extend(value);
        attributes.resize(attributes.len().next_multiple_of(4), 0);
    };
    attribute(0x0006, user.as_bytes());
    attribute(0x0024, &1u32.to_be_bytes());
    attribute(0x802a, &transaction.to_be_bytes());
    attribute(0x0008, &[7; 20]);
    attribute(0x8028, &[9; 4]);
    let mut message = vec![0, 1];
    message.extend((attributes.len() as u16).to_be_bytes());
    message.extend(0x2112_a442u32.to_be_bytes());
    message.extend([0; 4]);
    message.extend(transaction.to_be_bytes());
    message.extend(attributes);
    message
}

#[test]
fn floods_beside_a_running_call_are_dropped_and_counted_and_the_call_goes_on() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let boris = network.watch("boris", "anna");
    network.call(&[anna], SECOND);
    let fragment = network.clients[&boris].offer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap();
    let fragment = fragment.to_owned();
    let before = network.worker.counts().stray;
    let frames = network.frames(boris);
    let client = network.clients[&boris].address;
    for round in 0..100_u64 {
        for packet in 0..50_u64 {
            let number = round * 50 + packet;
            let source = SocketAddr::from(([203, 0, 113, number as u8], 1_000 + (number % 5_000) as u16));
            network.inject(source, &stun_request(&format!("{fragment}:nobody"), number));
            network.inject(source, &[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3]);
            network.inject(source, b"GET / HTTP/1.1\r\n\r\n");
        }
        // From the client's own address, as a spoofer would.
        network.inject(client, &[0x90; 200]);
        network.inject(client, &[22; 60]);
        network.call(&[anna], Duration::from_millis(30));
    }
    assert_eq!(network.worker.counts().stray - before, 15_000);
    assert!(network.frames(boris) > frames + 90, "{} frames of 100", network.frames(boris) - frames);
    assert!(!network.notices.iter().any(|notice| matches!(notice, Notice::Closed { .. })));
}

#[test]
fn packets_larger_than_any_path_takes_go_no_further() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let boris = network.watch("boris", "anna");
    network.call(&[anna], SECOND);
    let (frames, excess) = (network.frames(boris), network.worker.counts().excess);
    for size in [1_400, 1_500, 1_501, 1_700, 1_930] {
        let now = network.now;
        network.clients.get_mut(&anna).unwrap().send_layer(0, false, size, (320, 240), now);
        network.run(SECOND / 5);
    }
    assert_eq!(network.frames(boris) - frames, 2);
    assert!(network.worker.counts().excess >= excess + 3, "and once more for each time they are asked for");
    network.call(&[anna], SECOND);
    assert!(network.frames(boris) > frames + 20);
}

/// The offer with the fingerprint of a certificate that nobody has.
fn with_another_fingerprint(offer: &str) -> String {
    let swapped = offer.lines().map(|line| match line.rsplit_once(':') {
        Some((before, last)) if line.starts_with("a=fingerprint:") => {
            let other = if last == "00" { "01" } else { "00" };
            format!("{before}:{other}\r\n")
        }
        _ => format!("{line}\r\n"),
    });
    swapped.collect()
}

#[test]
fn a_client_whose_certificate_is_not_the_offered_one_is_never_heard_or_seen() {
    let mut network = Network::new();
    network.spoofed = true;
    let anna = network.client(Media::SENDS, str0m::net::Protocol::Udp);
    let offer = with_another_fingerprint(&network.clients[&anna].offer);
    assert_ne!(offer, network.clients[&anna].offer);
    network.command(Command::Publish { room: room(), endpoint: anna, stream: camera("anna"), offer });
    let boris = network.watch("boris", "anna");
    network.call(&[anna], 5 * SECOND);
    assert_eq!(network.frames(boris), 0);
    assert!(network.clients[&boris].connected, "the others go on");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_datagram_harms_a_node(
        datagrams in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..1_600)), 1..60),
        first in prop::sample::select(vec![0u8, 1, 20, 22, 23, 63, 128, 144, 191, 255]),
    ) {
        let mut network = Network::new();
        let anna = network.publish("anna");
        network.call(&[anna], Duration::from_millis(300));
        prop_assert!(network.clients[&anna].connected);
        for (from_anna, mut bytes) in datagrams {
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            let source = if from_anna { network.clients[&anna].address } else { "203.0.113.1:5".parse().unwrap() };
            network.inject(source, &bytes);
        }
        network.run(Duration::from_millis(50));
        prop_assert_eq!(network.worker.endpoints(), 1);
    }

    #[test]
    fn no_payload_harms_a_node(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..40)) {
        let mut network = Network::new();
        let anna = network.publish("anna");
        let boris = network.watch("boris", "anna");
        network.call(&[anna], Duration::from_millis(400));
        for payload in payloads {
            let now = network.now;
            network.clients.get_mut(&anna).unwrap().send_payload(payload, now);
            network.run(Duration::from_millis(3));
        }
        let frames = network.frames(boris);
        network.call(&[anna], Duration::from_millis(400));
        prop_assert!(network.frames(boris) > frames);
    }

    #[test]
    fn no_mutilated_offer_harms_a_node(cut in 0usize..4_000, drop in 0usize..60, byte in any::<u8>(), swap in 0usize..4_000) {
        let offer = an_offer();
        let mut bytes = offer.into_bytes();
        let at = swap % bytes.len();
        bytes[at] = byte;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.remove(drop % lines.len());
        let text = lines.join("\r\n") + "\r\n";
        let end = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        for offer in [text[..end].to_owned(), text] {
            let mut network = Network::new();
            let endpoint = EndpointId(1);
            network.command(Command::Subscribe {
                room: room(), endpoint, viewer: member("boris"), stream: camera("anna"), offer: offer.clone(),
            });
            network.command(Command::Publish { room: room(), endpoint: EndpointId(2), stream: camera("anna"), offer: offer.clone() });
            network.command(Command::Renegotiate { endpoint, offer });
            network.run(Duration::from_millis(20));
        }
    }

    #[test]
    fn no_order_of_commands_harms_a_node(commands in prop::collection::vec((0u8..11, 0u64..4, 0u8..3), 1..40)) {
        let mut network = Network::new();
        let offers = [an_offer(), String::new(), "v=0\r\n".to_owned()];
        for (kind, number, which) in commands {
            let endpoint = EndpointId(number);
            let name = ["anna", "boris", "clara"][usize::from(which)];
            let offer = offers[usize::from(which)].clone();
            let stream = camera(name);
            let room = room();
            network.command(match kind {
                0 => Command::Publish { room, endpoint, stream, offer },
                1 => Command::Subscribe { room, endpoint, viewer: member("boris"), stream, offer },
                2 => Command::Pull { room, endpoint, stream },
                3 => Command::Answered { endpoint, answer: offer },
                4 => Command::Renegotiate { endpoint, offer },
                5 => Command::Candidate { endpoint, candidate: offer },
                6 => Command::Close { endpoint },
                7 => Command::SetForwarding { room, stream, audio: number % 2 == 0, video: which == 0 },
                8 => Command::View { endpoint, width: number as u32 * 500, height: u32::from(which) * 300 },
                9 => Command::SendRecv { room, endpoint, stream, other: camera("boris"), offer },
                _ => Command::CloseRoom { room },
            });
            network.run(Duration::from_millis(3));
        }
        network.command(Command::CloseRoom { room: room() });
        network.run(Duration::from_millis(200));
        prop_assert_eq!((network.worker.endpoints(), network.worker.rooms()), (0, 0));
    }
}
