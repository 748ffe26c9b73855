//! Offers as browsers and other stacks make them, and as the standards allow them: each is answered, and each answer
//! is one that its client can take.

use std::path::Path;
use std::time::Duration;

use confgate_sfu::protocol::{Command, EndpointId, Notice, Refusal};
use confgate_sfu::sdp::{self, Description, Direction};
use str0m::net::Protocol;

use crate::support::{Media, Network, camera, member, room};

fn kept(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/offers").join(format!("{name}.sdp"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn all_kept() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/offers");
    let files = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut all: Vec<(String, String)> = files.map(|path| (name(&path), kept(&name(&path)))).collect();
    all.sort();
    all
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Sends,
    Receives,
    Both,
}

fn said(offer: &str, role: Role) -> Notice {
    let mut network = Network::new();
    let (endpoint, offer) = (EndpointId(1), offer.to_owned());
    let (room, stream) = (room(), camera("anna"));
    network.command(match role {
        Role::Sends => Command::Publish { room, endpoint, stream, offer },
        Role::Receives => Command::Subscribe { room, endpoint, viewer: member("boris"), stream, offer },
        Role::Both => Command::SendRecv { room, endpoint, stream, other: camera("boris"), offer },
    });
    network.notices.pop().expect("something is said of it")
}

/// The answer, which was compared with its offer as a whole.
fn answer(offer: &str, role: Role) -> String {
    let Notice::Answer { answer, .. } = said(offer, role) else { panic!("refused:\n{offer}") };
    assert_eq!(sdp::check(offer, &answer), Ok(()), "{answer}");
    answer
}

fn is_refused(offer: &str) -> bool {
    matches!(said(offer, Role::Sends), Notice::Refused { refusal: Refusal::BadSdp, .. })
}

/// The lines, some of them others.
fn changed(offer: &str, change: impl Fn(&str) -> Vec<String>) -> String {
    offer.lines().flat_map(change).map(|line| line + "\r\n").collect()
}

fn same(line: &str) -> Vec<String> {
    vec![line.to_owned()]
}

fn without(offer: &str, heads: &[&str]) -> String {
    changed(offer, |line| if heads.iter().any(|head| line.starts_with(head)) { Vec::new() } else { same(line) })
}

/// Behind each line that begins so.
fn behind(offer: &str, head: &str, more: &[&str]) -> String {
    let more: Vec<String> = more.iter().map(|line| (*line).to_owned()).collect();
    changed(offer, |line| if line.starts_with(head) { [same(line), more.clone()].concat() } else { same(line) })
}

/// The offer with its first `count` sections only.
fn first_sections(offer: &str, count: usize) -> String {
    let at = offer.match_indices("\r\nm=").nth(count).map_or(offer.len(), |(at, _)| at + 2);
    offer[..at].to_owned()
}

#[test]
fn every_stacks_offer_is_answered_in_all_of_its_sections() {
    let all = all_kept();
    assert!(all.len() >= 14, "{} offers are kept", all.len());
    for (name, offer) in all {
        let role = if name.ends_with("-sends") { Role::Sends } else { Role::Receives };
        let answer = answer(&offer, role);
        let read = Description::read(&answer).unwrap();
        let direction = if role == Role::Sends { Direction::RecvOnly } else { Direction::SendOnly };
        for section in &read.media {
            assert_ne!(section.port, 0, "{name}: {answer}");
            assert_eq!(read.direction(section), direction, "{name}: {answer}");
        }
        assert_eq!(read.bundles().len(), 1, "{name}: {answer}");
    }
}

/// One stream and one CNAME for camera and microphone; nothing of that where nothing is sent.
#[test]
fn tracks_of_one_member_are_one_stream_under_one_name() {
    for role in [Role::Receives, Role::Both] {
        let offer = match role {
            Role::Both => kept("pion-sends"),
            _ => kept("chrome-receives"),
        };
        let answer = answer(&offer, role);
        let of = |head: &str, at: usize| {
            let lines = answer.lines().filter(|line| line.starts_with(head));
            let mut words: Vec<String> =
                lines.filter_map(|line| line.split([' ', ':']).nth(at)).map(str::to_owned).collect();
            words.sort();
            words.dedup();
            words
        };
        assert_eq!(of("a=msid:", 1).len(), 1, "one stream: {answer}");
        assert_eq!(of("a=msid:", 2).len(), 2, "two tracks: {answer}");
        let names: Vec<&str> =
            answer.lines().filter_map(|line| line.split_once(" cname:")).map(|(_, name)| name).collect();
        assert!(names.len() >= 2 && names.iter().all(|name| *name == names[0]), "{answer}");
        assert!(!answer.contains("pion"), "the client's own names are not the node's");
    }
    let answer = answer(&kept("chrome-sends"), Role::Sends);
    assert!(!answer.contains("msid") && !answer.contains("a=ssrc"), "{answer}");
}

#[test]
fn camera_and_screen_are_two_streams() {
    let mut network = Network::new();
    let offer = kept("chrome-receives");
    let streams: Vec<String> = [1, 2]
        .into_iter()
        .map(|number| {
            let (endpoint, viewer) = (EndpointId(number), member("boris"));
            let (stream, offer) = (camera("anna"), offer.clone());
            network.command(Command::Subscribe { room: room(), endpoint, viewer, stream, offer });
            let Some(Notice::Answer { answer, .. }) = network.notices.pop() else { panic!("refused") };
            answer.lines().find_map(|line| line.strip_prefix("a=msid:")?.split(' ').next().map(str::to_owned)).unwrap()
        })
        .collect();
    assert_ne!(streams[0], streams[1]);
}

/// RFC 8866: what a description may contain, and the forms in which it may come.
#[test]
fn every_allowed_part_of_a_description_is_answered() {
    let offer = kept("chrome-sends");
    let audio = first_sections(&offer, 1).replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0");
    let cases: Vec<(&str, String)> = vec![
        ("lines that end with LF", offer.replace("\r\n", "\n")),
        ("empty lines at the end", format!("{offer}\r\n\r\n")),
        ("a session name of a blank", offer.replace("s=-", "s= ")),
        ("a session name in words", offer.replace("s=-", "s=\u{4f1a}\u{8b70} of Monday")),
        ("two bandwidths", behind(&offer, "c=", &["b=AS:2500", "b=TIAS:2500000"])),
        ("bandwidth of the session", behind(&offer, "s=", &["b=CT:5000", "b=AS:5000", "b=X-YZ:128"])),
        ("several connection lines", behind(&offer, "c=", &["c=IN IP4 198.51.100.1", "c=IN IP6 2001:db8::1"])),
        ("no connection lines", without(&offer, &["c="])),
        ("keys, titles", behind(&offer, "c=", &["i=the camera", "k=prompt", "k=clear:x"])),
        (
            "everything a session may say",
            behind(
                &offer,
                "s=",
                &[
                    "i=information",
                    "u=https://example.org/call",
                    "e=anna@example.org (Anna)",
                    "p=+49 30 1234567",
                    "c=IN IP4 198.51.100.1",
                    "t=2873397496 2873404696",
                    "r=7d 1h 0 25h",
                    "r=604800 3600 0 90000",
                    "z=2882844526 -1h 2898848070 0",
                    "k=prompt",
                ],
            ),
        ),
        ("no time", without(&offer, &["t="])),
        (
            "unknown attributes",
            behind(&offer, "a=mid:", &["a=x-vendor:1 2 3", "a=x-flag", "a=quality:10", "a=ptime:20"]),
        ),
        ("a number of ports", offer.replace("m=audio 9 ", "m=audio 9/2 ")),
        ("another port", offer.replace("m=audio 9 ", "m=audio 54400 ")),
        (
            "a long user and a large session number",
            offer.replace("o=- 549818", "o=mozilla...THIS 9223372036854775807549818"),
        ),
        (
            "ids of any length",
            offer
                .replace("a=mid:0", "a=mid:the-first-section-of-all")
                .replace("BUNDLE 0", "BUNDLE the-first-section-of-all"),
        ),
        ("a group of another kind before", behind(&offer, "t=", &["a=group:LS 0 1"])),
        ("one section without a group", without(&audio, &["a=group"])),
        ("one section without a mid", without(&audio, &["a=group", "a=mid"])),
        ("sections without mids", without(&offer, &["a=group", "a=mid"])),
        ("attributes before the mid", {
            let first = offer.replace("a=mid:0\r\n", "");
            behind(&first, "a=rtpmap:126", &["a=mid:0"])
        }),
        ("no direction", without(&offer, &["a=sendonly"])),
        ("the session's direction", behind(&without(&offer, &["a=sendonly"]), "t=", &["a=sendonly"])),
        ("an active client", offer.replace("a=setup:actpass", "a=setup:active")),
        ("a passive client", offer.replace("a=setup:actpass", "a=setup:passive")),
        ("no setup", without(&offer, &["a=setup"])),
        (
            "feedback for all formats",
            behind(&without(&offer, &["a=rtcp-fb"]), "a=rtpmap:96", &["a=rtcp-fb:* nack", "a=rtcp-fb:* nack pli"]),
        ),
        (
            "candidates of all kinds",
            behind(
                &offer,
                "a=mid:0",
                &[
                    "a=candidate:1 1 UDP 2122260223 192.0.2.7 51472 typ host generation 0 network-id 1",
                    "a=candidate:2 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active",
                    "a=candidate:3 1 udp 1686052607 198.51.100.9 51472 typ srflx raddr 0.0.0.0 rport 0 generation 0",
                    "a=candidate:4 1 udp 2122260223 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 51472 typ host",
                    "a=candidate:5 2 udp 2122260222 192.0.2.7 51473 typ host",
                    "a=candidate:6 1 udp 1 unresolvable.example.org 1 typ host x y z",
                    "a=end-of-candidates",
                ],
            ),
        ),
        (
            "a fingerprint in lower case",
            offer
                .to_lowercase()
                .replace("bundle", "BUNDLE")
                .replace("udp/tls/rtp/savpf", "UDP/TLS/RTP/SAVPF")
                .replace(" in ip4 ", " IN IP4 ")
                .replace("zcd", "ZcD"),
        ),
        ("fingerprints by several hash functions", {
            let weak = format!("a=fingerprint:sha-1 {}", vec!["AB"; 20].join(":"));
            let strong = format!("a=fingerprint:sha-512 {}", vec!["CD"; 64].join(":"));
            behind(&offer, "a=ice-options", &[&weak, &strong])
        }),
        (
            "numbers of header extensions above 14",
            offer.replace("a=extmap:10 ", "a=extmap:16 ").replace("a=extmap:11 ", "a=extmap:4000 "),
        ),
        ("an extension that is only received", offer.replace("a=extmap:14 ", "a=extmap:14/recvonly ")),
    ];
    for (what, offer) in cases {
        let Notice::Answer { answer, .. } = said(&offer, Role::Sends) else { panic!("{what} is refused:\n{offer}") };
        assert_eq!(sdp::check(&offer, &answer), Ok(()), "{what}: {answer}");
    }
}

#[test]
fn one_section_without_a_group_is_answered_without_one() {
    let audio = without(&first_sections(&kept("chrome-sends"), 1), &["a=group"]);
    let with_mid = answer(&audio, Role::Sends);
    assert!(with_mid.contains("a=mid:0\r\n") && !with_mid.contains("a=group"), "{with_mid}");
    let without_mid = answer(&without(&audio, &["a=mid"]), Role::Sends);
    assert!(!without_mid.contains("a=mid") && !without_mid.contains("a=group"), "{without_mid}");
}

/// One transport is all that a connection has.
#[test]
fn sections_of_another_transport_are_refused_in_the_answer() {
    let offer = without(&kept("chrome-sends"), &["a=group"]);
    let read = answer(&offer, Role::Sends);
    let ports: Vec<u16> = Description::read(&read).unwrap().media.iter().map(|section| section.port).collect();
    assert_eq!(ports, [9, 0], "{read}");
}

/// RFC 9429 section 5.1.2.
#[test]
fn every_profile_that_must_be_accepted_is_answered_as_it_was_offered() {
    for profile in
        ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "TCP/DTLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP"]
    {
        let offer = kept("chrome-sends").replace("UDP/TLS/RTP/SAVPF", profile);
        let answer = answer(&offer, Role::Sends);
        assert!(answer.contains(&format!("m=audio 9 {profile} ")), "{profile}: {answer}");
    }
}

/// RFC 9429 section 5.2.1: what belongs to the transport may be said once, for the session.
#[test]
fn a_transport_that_the_session_describes_is_taken() {
    let heads = ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup"];
    let offer = kept("chrome-sends");
    let of_session: Vec<&str> = offer.lines().filter(|l| heads.iter().any(|h| l.starts_with(h))).take(4).collect();
    answer(&behind(&without(&offer, &heads), "t=", &of_session), Role::Sends);
}

#[test]
fn media_that_the_node_does_not_carry_are_refused_in_their_places() {
    let offer = kept("chrome-sends").replace("a=group:BUNDLE 0 1", "a=group:BUNDLE d 0 1 t").replacen(
        "m=audio",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:4ZcD\r\n\
         a=ice-pwd:2/1muCWoOi3uLifh0NuRHlWN\r\na=mid:d\r\na=sctp-port:5000\r\nm=audio",
        1,
    ) + "m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:t\r\na=rtpmap:98 t140/1000\r\n";
    let answer = answer(&offer, Role::Sends);
    let read = Description::read(&answer).unwrap();
    let sections: Vec<(&str, u16)> = read.media.iter().map(|section| (section.kind, section.port)).collect();
    assert_eq!(sections, [("application", 0), ("audio", 9), ("video", 9), ("text", 0)], "{answer}");
    assert!(answer.contains("a=mid:t\r\na=rtpmap:98 t140/1000\r\n"), "what a refused format means: {answer}");
    assert_eq!(read.bundles(), [["0", "1"]]);
    assert!(read.media[1].has("candidate"), "the transport is the first section's that is taken: {answer}");
}

/// The first section is refused; candidates are where the bundle's transport is.
#[test]
fn a_client_whose_first_section_is_refused_connects() {
    let mut network = Network::new();
    let endpoint = network.client(Media::SENDS, Protocol::Udp);
    let offer = network.clients[&endpoint].offer.clone();
    let section = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:pcmu\r\na=sendonly\r\na=rtcp-mux\r\n";
    let offer = offer.replacen("m=audio", &format!("{section}m=audio"), 1).replace("BUNDLE ", "BUNDLE pcmu ");
    network.worker.command(
        Command::Publish { room: room(), endpoint, stream: camera("anna"), offer: offer.clone() },
        network.now,
    );
    let Some(Notice::Answer { answer, .. }) = network.worker.poll_notice() else { panic!("refused") };
    assert_eq!(sdp::check(&offer, &answer), Ok(()), "{answer}");
    let refused = answer.find("m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n").expect("the first section is refused");
    let rest = answer.find("m=audio 9").expect("the second isn't");
    assert!(!answer[refused..rest].contains("candidate"), "{answer}");
    assert!(answer[rest..].starts_with("m=audio 9") && answer[rest..].contains("a=candidate"), "{answer}");
    network.clients.get_mut(&endpoint).unwrap().answered(&(answer[..refused].to_owned() + &answer[rest..]));
    network.call(&[endpoint], Duration::from_secs(1));
    assert!(network.clients[&endpoint].connected);
}

/// RFC 6184 section 8.2.2: the profile is the offer's, whichever it is.
#[test]
fn h264_of_any_profile_is_answered_with_it() {
    for profile in ["640c1f", "42e01f", "42C02A", "4d0032", "640034", "42001f"] {
        let section = format!(
            "a=rtpmap:100 H264/90000\r\na=rtcp-fb:100 nack pli\r\n\
             a=fmtp:100 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}\r\n"
        );
        let offer = kept("chrome-receives");
        let at = offer.find("m=video").unwrap();
        let video = without(&offer[at..], &["a=rtpmap", "a=fmtp", "a=rtcp-fb"]);
        let video = changed(&video, |line| match line.starts_with("m=video") {
            true => same("m=video 9 UDP/TLS/RTP/SAVPF 100"),
            false => same(line),
        });
        let answer = answer(&format!("{}{video}{section}", &offer[..at]), Role::Receives);
        assert!(answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 100\r\n"), "{answer}");
        assert!(answer.to_lowercase().contains(&format!("profile-level-id={}", profile.to_lowercase())), "{answer}");
    }
}

#[test]
fn payload_types_are_the_offers_whatever_they_are() {
    let answer = answer(&kept("firefox-receives"), Role::Receives);
    assert!(answer.contains("a=rtpmap:109 opus/48000/2") && answer.contains("a=rtpmap:120 VP8/90000"), "{answer}");
    assert!(answer.contains("a=fmtp:124 apt=120"), "{answer}");
}

#[test]
fn sound_is_asked_for_again_and_doubled_where_that_is_offered() {
    let offer = kept("chrome-sends");
    let asking = behind(&offer, "a=rtpmap:111", &["a=rtcp-fb:111 nack"]);
    assert!(answer(&asking, Role::Sends).contains("a=rtcp-fb:111 nack\r\n"));
    assert!(!answer(&offer, Role::Sends).contains("a=rtcp-fb:111 nack\r\n"));
    let preferred = offer.replace("SAVPF 111 63 ", "SAVPF 63 111 ");
    assert!(answer(&preferred, Role::Sends).contains("m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\n"));
    assert!(!answer(&offer, Role::Sends).contains("red/48000"), "browsers name it last: they don't mean it");
    assert!(answer(&kept("chrome-receives"), Role::Receives).contains("a=rtpmap:63 red/48000/2"));
}

#[test]
fn unconnectable_offer_is_refused_at_once() {
    let offer = kept("chrome-sends");
    let hashed = |hash: &str, bytes: usize| {
        let line = format!("a=fingerprint:{hash} {}", vec!["AB"; bytes].join(":"));
        changed(&offer, |old| if old.starts_with("a=fingerprint") { vec![line.clone()] } else { same(old) })
    };
    assert!(!is_refused(&hashed("sha-256", 32)) && !is_refused(&hashed("SHA-256", 32)));
    for (what, offer) in [
        ("a fingerprint by SHA-384 only", hashed("sha-384", 48)),
        ("a fingerprint by SHA-512 only", hashed("sha-512", 64)),
        ("a fingerprint that is too short", hashed("sha-256", 31)),
        ("no fingerprint", without(&offer, &["a=fingerprint"])),
        ("no ICE credentials", without(&offer, &["a=ice-pwd"])),
        ("ICE lite", behind(&offer, "t=", &["a=ice-lite"])),
        ("a setup that connects nothing", offer.replace("a=setup:actpass", "a=setup:holdconn")),
        ("one mid for two sections", offer.replace("a=mid:1", "a=mid:0")),
        ("a line that is none", behind(&offer, "t=", &["nonsense"])),
        ("an m-line without formats", offer.replace("SAVPF 111 63 9 0 8 13 110 126", "SAVPF")),
        ("all sections refused", offer.replace(" 9 UDP", " 0 UDP").replace("a=group:BUNDLE 0 1", "a=x:y")),
        ("no codec in common", offer.replace("opus/48000", "G729/8000").replace("/90000", "/1")),
    ] {
        assert!(is_refused(&offer), "{what} is not refused");
    }
}

/// A payload type that two sections use for two codecs (RFC 9143 section 9.1) is the first's.
#[test]
fn no_payload_type_means_two_codecs() {
    let offer = kept("chrome-sends").replace("SAVPF 111 63 ", "SAVPF 96 63 ").replace("a=rtpmap:111 ", "a=rtpmap:96 ");
    let answer = answer(&offer, Role::Sends);
    assert!(answer.contains("a=rtpmap:96 opus") && !answer.contains("VP8"), "{answer}");
}
