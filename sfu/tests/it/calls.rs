//! Members of a call see and hear each other.

use std::collections::BTreeSet;
use std::time::Duration;

use confgate_sfu::protocol::{Command, EndpointId, Notice, Reason, Refusal};
use str0m::format::Codec;
use str0m::net::Protocol;

use crate::support::{Client, Link, Media, Network, camera, member, room};

const SECOND: Duration = Duration::from_secs(1);

/// Numbers go up, without gaps.
fn unbroken(client: &Client) {
    for kind in [client.frames(), client.sounds()] {
        for pair in kind.windows(2) {
            assert_eq!(pair[1].seq, pair[0].seq + 1, "a gap or a step back");
            assert_eq!(pair[1].ssrc, pair[0].ssrc, "one stream for the viewer");
        }
    }
}

#[test]
fn three_members_see_and_hear_each_other() {
    let mut network = Network::new();
    let names = ["anna", "boris", "clara"];
    let publishers: Vec<EndpointId> = names.iter().map(|name| network.publish(name)).collect();
    let mut viewers = Vec::new();
    for viewer in names {
        for name in names.iter().filter(|name| **name != viewer) {
            viewers.push(network.watch(viewer, name));
        }
    }
    network.call(&publishers, 3 * SECOND);
    for viewer in viewers {
        let client = &network.clients[&viewer];
        assert!(client.connected);
        assert!(client.frames().len() > 60, "{} frames of 100", client.frames().len());
        assert!(client.sounds().len() > 90, "{} sounds of 150", client.sounds().len());
        unbroken(client);
    }
}

/// Players that synchronize by RTCP find sound and picture under one name, which is the answer's.
#[test]
fn sound_and_picture_of_a_member_have_one_cname_on_the_wire_too() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let boris = network.watch("boris", "anna");
    network.call(&[anna], 6 * SECOND);
    let answer = network.notices.iter().find_map(|notice| match notice {
        Notice::Answer { endpoint, answer } if *endpoint == boris => Some(answer.clone()),
        _ => None,
    });
    let answer = answer.expect("it was answered");
    let said = answer.lines().find_map(|line| Some(line.split_once(" cname:")?.1)).expect("it names a sender");
    let senders = network.clients.get_mut(&boris).unwrap().senders();
    assert_eq!(senders, [said, said], "of sound and of picture");
}

#[test]
fn two_see_and_hear_each_other_on_one_connection_each() {
    let mut network = Network::new();
    let anna = network.exchange("anna", "boris");
    network.call(&[anna], SECOND);
    let boris = network.exchange("boris", "anna");
    network.call(&[anna, boris], 3 * SECOND);
    for one in [anna, boris] {
        let client = &network.clients[&one];
        assert!(client.frames().len() > 60, "{} frames of 100", client.frames().len());
        assert!(client.sounds().len() > 90, "{} sounds of 150", client.sounds().len());
        unbroken(client);
    }
    let (frames, sounds) = (network.frames(boris), network.clients[&boris].sounds().len());
    network.command(Command::SetForwarding { room: room(), stream: camera("anna"), audio: false, video: true });
    network.call(&[anna, boris], SECOND);
    assert!(network.frames(boris) > frames + 10, "her picture goes on");
    assert!(network.clients[&boris].sounds().len() < sounds + 5, "she is muted");
    network.command(Command::Close { endpoint: anna });
    let frames = network.frames(boris);
    network.call(&[boris], SECOND);
    assert_eq!(network.frames(boris), frames);
    let again = network.exchange("anna", "boris");
    network.call(&[again, boris], 2 * SECOND);
    assert!(network.frames(boris) > frames + 20 && network.frames(again) > 20, "one comes back");
    network.command(Command::CloseRoom { room: room() });
    network.run(SECOND);
    assert_eq!((network.worker.endpoints(), network.worker.rooms()), (0, 0));
}

#[test]
fn a_late_joiner_sees_the_publisher_whose_numbers_have_wrapped() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    network.clients.get_mut(&anna).unwrap().number_from(65_500);
    let early = network.watch("boris", "anna");
    network.call(&[anna], 3 * SECOND);
    let late = network.watch("clara", "anna");
    network.call(&[anna], 2 * SECOND);
    assert!(network.frames(early) > 100);
    assert!(network.frames(late) > 40, "{} frames", network.frames(late));
    unbroken(&network.clients[&early]);
    unbroken(&network.clients[&late]);
}

#[test]
fn a_viewer_begins_with_a_key_frame_which_the_publisher_is_asked_for() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    network.call(&[anna], SECOND);
    let asked = network.clients[&anna].keyframes_asked.len();
    let boris = network.watch("boris", "anna");
    network.call(&[anna], SECOND);
    assert!(network.clients[&anna].keyframes_asked.len() > asked);
    let first = network.clients[&boris].frames()[0].payload[4];
    assert_eq!(first & 1, 0, "the first frame is a key frame");
}

#[test]
fn a_publisher_is_asked_for_few_key_frames_however_many_viewers_come() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    network.call(&[anna], SECOND);
    let from = network.now;
    for viewer in 0..20 {
        network.watch(&format!("viewer{viewer}"), "anna");
        network.call(&[anna], Duration::from_millis(30));
    }
    network.call(&[anna], SECOND);
    let asked = network.clients[&anna].asked_within(from, Duration::from_secs(10));
    assert!((1..=7).contains(&asked), "{asked} requests in 1.6 s");
}

#[test]
fn early_viewer_gets_the_stream_when_it_is_published() {
    let mut network = Network::new();
    let boris = network.watch("boris", "anna");
    network.run(2 * SECOND);
    assert!(network.clients[&boris].connected);
    let anna = network.publish("anna");
    network.call(&[anna], 2 * SECOND);
    assert!(network.frames(boris) > 40);
}

#[test]
fn a_viewer_stays_when_the_publisher_comes_anew() {
    let mut network = Network::new();
    let first = network.publish("anna");
    let boris = network.watch("boris", "anna");
    network.call(&[first], 2 * SECOND);
    let before = network.frames(boris);
    let second = network.publish("anna");
    assert!(network.notices.contains(&Notice::Closed { endpoint: first, reason: Reason::Replaced }));
    network.call(&[second], 2 * SECOND);
    assert!(network.frames(boris) > before + 40);
    unbroken(&network.clients[&boris]);
    let pictures: Vec<u16> = network.clients[&boris]
        .frames()
        .iter()
        .map(|frame| u16::from_be_bytes([frame.payload[2] & 0x7f, frame.payload[3]]))
        .collect();
    assert!(pictures.windows(2).all(|pair| pair[1] > pair[0]), "pictures are numbered on: {pictures:?}");
}

#[test]
fn a_viewer_without_the_publishers_codec_hears_them_still() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let media = Media { video: Some(Codec::H264), ..Media::WATCHES };
    let boris = network.watch_as("boris", camera("anna"), media, Protocol::Udp);
    network.call(&[anna], 2 * SECOND);
    assert_eq!(network.frames(boris), 0);
    assert!(network.clients[&boris].sounds().len() > 60);
    let told: Vec<&Notice> =
        network.notices.iter().filter(|notice| matches!(notice, Notice::NoCommonCodec { .. })).collect();
    assert_eq!(told, [&Notice::NoCommonCodec { viewer: boris, publisher: anna }], "once");
}

#[test]
fn a_client_whose_dtls_comes_to_nothing_is_given_up_as_such() {
    let mut network = Network::new();
    network.link.no_dtls = true;
    let anna = network.publish("anna");
    network.run(15 * SECOND);
    assert!(network.notices.contains(&Notice::Closed { endpoint: anna, reason: Reason::DtlsFailed }));
    assert_eq!(network.worker.endpoints(), 0);
}

#[test]
fn a_client_with_another_certificate_than_it_said_is_given_up_at_once() {
    let mut network = Network::new();
    let anna = network.client(Media::SENDS, Protocol::Udp);
    let offer = network.clients[&anna].offer.clone();
    let lines = offer.lines().map(|line| match line.strip_prefix("a=fingerprint:sha-256 ") {
        Some(value) => format!("a=fingerprint:sha-256 {}\r\n", value.replace(['1', '2', '3'], "4")),
        None => format!("{line}\r\n"),
    });
    let offer: String = lines.collect();
    network.spoofed = true;
    network.command(Command::Publish { room: room(), endpoint: anna, stream: camera("anna"), offer });
    network.run(3 * SECOND);
    assert!(network.notices.contains(&Notice::Closed { endpoint: anna, reason: Reason::DtlsFailed }));
}

/// The offer with NACK for its sound (RFC 4585), which has no RTX.
fn with_nack(offer: &str) -> String {
    let opus = offer.lines().find(|line| line.contains("opus/48000")).unwrap();
    let pt = opus.trim_start_matches("a=rtpmap:").split(' ').next().unwrap();
    offer.replacen(opus, &format!("{opus}\r\na=rtcp-fb:{pt} nack"), 1)
}

/// As the viewer's offer asks for it, and only then.
#[test]
fn lost_sound_is_sent_again_to_a_viewer_without_rtx() {
    let lost_per_mille = |asks: bool| {
        let mut network = Network::new();
        let anna = network.publish("anna");
        let boris = network.client(Media::WATCHES, Protocol::Udp);
        let client = network.clients.get_mut(&boris).unwrap();
        client.asks_for_sound = asks;
        let offer = if asks { with_nack(&client.offer) } else { client.offer.clone() };
        let (viewer, stream) = (member("boris"), camera("anna"));
        network.command(Command::Subscribe { room: room(), endpoint: boris, viewer, stream, offer });
        network.call(&[anna], SECOND);
        let first = network.clients[&boris].sounds().last().unwrap().seq;
        network.link = Link { lost_per_mille: 100, lost_towards_clients: true, ..Link::default() };
        network.call(&[anna], 10 * SECOND);
        network.link.lost_per_mille = 0;
        network.call(&[anna], SECOND);
        let sounds = network.clients[&boris].sounds();
        let all: BTreeSet<u64> = sounds.iter().map(|sound| sound.seq).filter(|seq| *seq >= first).collect();
        assert!(sounds.len() - all.len() <= sounds.len() / 5, "not each of them again and again");
        let sent = (all.last().unwrap() - first + 1) as usize;
        (sent - all.len()) * 1_000 / sent
    };
    let (asking, not_asking) = (lost_per_mille(true), lost_per_mille(false));
    assert!(not_asking > 50, "{not_asking} are lost on the way");
    assert!(asking < 10, "{asking} are lost in the end");
}

/// RFC 4585: as the publisher's offer allows it, and only then.
#[test]
fn lost_sound_is_asked_for_again_where_the_publisher_takes_that() {
    for takes in [true, false] {
        let mut network = Network::new();
        let anna = network.client(Media::SENDS, Protocol::Udp);
        let offer = network.clients[&anna].offer.clone();
        let offer = if takes { with_nack(&offer) } else { offer };
        network.command(Command::Publish { room: room(), endpoint: anna, stream: camera("anna"), offer });
        network.call(&[anna], SECOND);
        network.link.lost_per_mille = 100;
        network.call(&[anna], 5 * SECOND);
        assert_eq!(network.clients[&anna].sounds_asked_again > 0, takes);
    }
}

#[test]
fn forbidden_tracks_are_not_forwarded_until_allowed() {
    let mut network = Network::new();
    let permit = |audio, video| Command::SetForwarding { room: room(), stream: camera("anna"), audio, video };
    network.command(permit(false, true));
    let anna = network.publish("anna");
    let boris = network.watch("boris", "anna");
    network.call(&[anna], 2 * SECOND);
    assert_eq!(network.clients[&boris].sounds().len(), 0, "said before the endpoint came");
    assert!(network.frames(boris) > 40);
    network.command(permit(true, false));
    // Packets that are on their way already arrive.
    network.run(Duration::from_millis(20));
    let frames = network.frames(boris);
    network.call(&[anna], SECOND);
    assert_eq!(network.frames(boris), frames, "at once");
    assert!(network.clients[&boris].sounds().len() > 40);
    network.command(permit(true, true));
    network.call(&[anna], SECOND);
    assert!(network.frames(boris) > frames + 20);
    unbroken(&network.clients[&boris]);
}

#[test]
fn lost_packets_come_again() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let boris = network.watch("boris", "anna");
    network.call(&[anna], 2 * SECOND);
    network.link.lost_per_mille = 50;
    network.call(&[anna], 10 * SECOND);
    network.link.lost_per_mille = 0;
    network.call(&[anna], SECOND);
    let frames = network.clients[&boris].frames();
    let mut numbers: Vec<u64> = frames.iter().map(|frame| frame.seq).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let span = numbers.last().unwrap() - numbers[0] + 1;
    assert!(span > 350, "{span} packets were sent");
    assert_eq!(numbers.len() as u64, span, "all of them arrived in the end");
}

#[test]
fn an_end_by_signalling_ends_the_client_and_is_not_reported_back() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let boris = network.watch("boris", "anna");
    network.call(&[anna], SECOND);
    network.command(Command::Close { endpoint: boris });
    network.run(SECOND);
    assert!(network.clients[&boris].closed, "the client learns of it by DTLS");
    assert!(!network.notices.iter().any(|notice| matches!(notice, Notice::Closed { .. })));
    network.command(Command::CloseRoom { room: room() });
    network.run(SECOND);
    assert!(network.clients[&anna].closed);
    assert_eq!((network.worker.endpoints(), network.worker.rooms()), (0, 0));
}

#[test]
fn a_client_that_vanishes_is_given_up() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    network.call(&[anna], SECOND);
    network.vanish(anna);
    network.run(30 * SECOND);
    assert!(network.notices.contains(&Notice::Closed { endpoint: anna, reason: Reason::IceFailed }));
    assert_eq!((network.worker.endpoints(), network.worker.rooms()), (0, 0));
}

#[test]
fn a_client_that_hangs_up_is_gone_at_once() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    network.call(&[anna], SECOND);
    let now = network.now;
    let client = network.clients.get_mut(&anna).unwrap();
    client.rtc.close().unwrap();
    client.timeout = now;
    network.run(Duration::from_millis(100));
    assert!(network.notices.contains(&Notice::Closed { endpoint: anna, reason: Reason::Hangup }));
}

#[test]
fn a_number_serves_once_and_an_unknown_one_is_refused() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let offer = network.clients[&anna].offer.clone();
    network.command(Command::Publish { room: room(), endpoint: anna, stream: camera("anna"), offer: offer.clone() });
    let refused = |endpoint| Notice::Refused { endpoint, refusal: Refusal::BadEndpoint };
    assert!(network.notices.contains(&refused(anna)));
    network.command(Command::Renegotiate { endpoint: EndpointId(99), offer });
    assert!(network.notices.contains(&refused(EndpointId(99))));
    network.call(&[anna], SECOND);
    assert!(network.clients[&anna].connected, "the first one stays");
}

#[test]
fn a_path_that_is_restarted_goes_on() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let boris = network.watch("boris", "anna");
    network.call(&[anna], SECOND);
    let offer = network.clients.get_mut(&boris).unwrap().restart_ice();
    network.command(Command::Renegotiate { endpoint: boris, offer });
    let before = network.frames(boris);
    network.call(&[anna], 3 * SECOND);
    assert!(network.frames(boris) > before + 60);
    assert!(!network.notices.iter().any(|notice| matches!(notice, Notice::Closed { .. } | Notice::Refused { .. })));
}

#[test]
fn a_client_that_moved_to_another_network_goes_on() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let boris = network.watch("boris", "anna");
    network.call(&[anna], SECOND);
    let client = network.clients.get_mut(&boris).unwrap();
    client.moves_to("203.0.113.9:7777".parse().unwrap());
    let offer = client.restart_ice();
    network.command(Command::Renegotiate { endpoint: boris, offer });
    let before = network.frames(boris);
    network.call(&[anna], 3 * SECOND);
    assert!(network.frames(boris) > before + 60, "{} frames more", network.frames(boris) - before);
}

#[test]
fn a_room_that_is_closed_ends_a_pull_that_was_never_answered() {
    let mut network = Network::new();
    let endpoint = EndpointId(500);
    let own = "192.0.2.1:4999".parse().unwrap();
    network.worker.pull(room(), endpoint, camera("anna"), own, network.now);
    network.run(SECOND);
    assert!(matches!(&network.notices[..], [Notice::Offer { .. }]), "{:?}", network.notices);
    assert_eq!((network.worker.endpoints(), network.worker.rooms()), (1, 1));
    network.command(Command::CloseRoom { room: room() });
    assert_eq!((network.worker.endpoints(), network.worker.rooms()), (0, 0));
    network.command(Command::Answered { endpoint, answer: String::new() });
    assert!(network.notices.contains(&Notice::Refused { endpoint, refusal: Refusal::BadEndpoint }));
}
