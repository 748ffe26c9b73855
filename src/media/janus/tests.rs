//! The core without Janus: what it asks, when it waits, and what it makes of each answer.

use std::net::IpAddr;
use std::sync::Arc;

use confgate_sfu::protocol::{Command, EndpointId, Notice, Reason, Refusal, RoomId, Source, StreamId};
use serde_json::{Value, json};

use super::core::{Janus, Output, Settings};
use super::message::ServerMessage;
use super::sdp::{Unmirrored, mirror};

mod cascade;

const CLIENT: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a v\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:cu\r\na=ice-pwd:client-password-0123456\r\n\
    a=fingerprint:sha-256 AA:BB\r\na=setup:actpass\r\na=mid:a\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
    a=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:cu\r\na=ice-pwd:client-password-0123456\r\n\
    a=fingerprint:sha-256 AA:BB\r\na=setup:actpass\r\na=mid:v\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n\
    a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 VP9/90000\r\n";
const JANUS: &str = "v=0\r\no=- 7 7 IN IP4 192.0.2.2\r\ns=VideoRoom 1\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    a=fingerprint:sha-256 6E:04\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 192.0.2.2\r\na=sendonly\r\na=mid:0\r\na=rtcp-mux\r\na=ice-ufrag:ju\r\n\
    a=ice-pwd:janus-password-01234567\r\na=setup:actpass\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\n\
    a=rtcp-fb:96 transport-cc\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=msid:janus janus0\r\n\
    a=ssrc:1943426432 cname:janus\r\na=candidate:1 1 udp 2015363327 192.0.2.2 21194 typ host\r\na=end-of-candidates\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 192.0.2.2\r\na=sendonly\r\na=mid:1\r\na=rtcp-mux\r\na=ice-ufrag:ju\r\n\
    a=ice-pwd:janus-password-01234567\r\na=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\na=msid:janus janus1\r\n\
    a=ssrc:806934797 cname:janus\r\n";

fn section<'a>(sdp: &'a str, kind: &str) -> &'a str {
    let begin = sdp.find(&format!("m={kind}")).expect("there is such a section");
    let rest = &sdp[begin..];
    rest[2..].find("m=").map_or(rest, |end| &rest[..end + 2])
}

#[test]
fn two_offers_make_two_answers_in_the_order_and_with_the_mids_of_each() {
    let mirrored = mirror(CLIENT, JANUS, "anna").unwrap();
    assert_eq!(mirrored.mids, [("a".to_owned(), "1".to_owned()), ("v".to_owned(), "0".to_owned())]);
    let client = &mirrored.for_client;
    assert!(client.find("m=audio") < client.find("m=video"), "{client}");
    for line in ["m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "a=mid:a\r\n", "a=sendonly\r\n", "a=setup:passive\r\n"] {
        assert!(section(client, "audio").contains(line), "{line} in {client}");
    }
    let video = section(client, "video");
    for line in [
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n",
        "a=ice-ufrag:ju\r\n",
        "a=fingerprint:sha-256 6E:04\r\n",
        "a=rtcp-fb:96 nack pli\r\n",
        "a=fmtp:97 apt=96\r\n",
        "a=ssrc:1943426432 cname:janus\r\n",
        "a=msid:anna janus0\r\n",
    ] {
        assert!(video.contains(line), "{line} in {client}");
    }
    let candidate = "a=candidate:1 1 udp 2015363327 192.0.2.2 21194 typ host\r\na=end-of-candidates\r\n";
    assert!(section(client, "audio").contains(candidate), "the first section describes the transport: {client}");
    assert!(!client.contains("extmap") && !client.contains("transport-cc"), "{client}");
    let janus = &mirrored.for_janus;
    assert!(janus.find("m=video") < janus.find("m=audio"), "{janus}");
    for line in ["a=mid:0\r\n", "a=recvonly\r\n", "a=setup:active\r\n", "a=ice-ufrag:cu\r\n"] {
        assert!(section(janus, "video").contains(line), "{line} in {janus}");
    }
    assert!(!janus.contains("ssrc"), "{janus}");
}

#[test]
fn section_without_a_common_codec_is_refused_alone() {
    let other = CLIENT.replace("VP8", "H263");
    let mirrored = mirror(&other, JANUS, "anna").unwrap();
    assert_eq!(mirrored.mids.len(), 1);
    assert!(mirrored.lacks_codec);
    assert!(section(&mirrored.for_client, "video").starts_with("m=video 0 "), "{}", mirrored.for_client);
    assert!(mirrored.for_client.contains("a=group:BUNDLE a\r\n"));
    assert_eq!(mirror(&other.replace("opus", "G729"), JANUS, "anna"), Err(Unmirrored::Nothing));
    for bad in ["", "v=0\r\n", "m=\r\n", "m=audio\r\n", &"m=audio 9 x 111\r\n".repeat(200), &"x".repeat(70_000)] {
        assert_eq!(mirror(bad, JANUS, "anna"), Err(Unmirrored::Nothing));
        assert_eq!(mirror(CLIENT, bad, "anna"), Err(Unmirrored::Nothing));
    }
}

/// Janus would send under numbers that the client doesn't know.
#[test]
fn other_payload_types_are_told_from_no_common_codec() {
    let firefox = CLIENT.replace("96 97 98", "120 97 98").replace("rtpmap:96 VP8", "rtpmap:120 VP8");
    assert_eq!(mirror(&firefox, JANUS, "anna"), Err(Unmirrored::PayloadTypes));
    assert_eq!(mirror(&firefox.replace("111", "109"), JANUS, "anna"), Err(Unmirrored::PayloadTypes));
}

#[test]
fn both_answers_fit_their_offers() {
    let mirrored = mirror(CLIENT, JANUS, "anna").unwrap();
    assert_eq!(confgate_sfu::sdp::check(CLIENT, &mirrored.for_client), Ok(()), "{}", mirrored.for_client);
    assert_eq!(confgate_sfu::sdp::check(JANUS, &mirrored.for_janus), Ok(()), "{}", mirrored.for_janus);
}

/// Janus's to who publishes.
const ANSWER: &str =
    "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=extmap:3 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";

/// The core, and the numbers of what it asked last.
struct Scene {
    janus: Janus,
    asked: Vec<(u64, Value)>,
    told: Vec<Notice>,
}

fn room() -> RoomId {
    Arc::from("conf/c1")
}

fn stream() -> StreamId {
    StreamId { member: Arc::from("anna"), source: Source::Camera }
}

fn publish(endpoint: u64) -> Command {
    Command::Publish { room: room(), endpoint: EndpointId(endpoint), stream: stream(), offer: "offer".into() }
}

fn subscribe(endpoint: u64) -> Command {
    let (viewer, offer) = (Arc::from("ben"), CLIENT.into());
    Command::Subscribe { room: room(), endpoint: EndpointId(endpoint), viewer, stream: stream(), offer }
}

impl Scene {
    fn new() -> Self {
        let (admin_key, rtp_address) = (Some("k".to_owned()), None);
        let settings = Settings { admin_key, secret: "s".into(), timeout_ms: 1000, publishers: 10, rtp_address };
        Self { janus: Janus::new(settings, 1), asked: Vec::new(), told: Vec::new() }
    }

    /// With a session.
    fn up() -> Self {
        let mut scene = Self::new();
        scene.connect(500);
        scene
    }

    fn connect(&mut self, control: u64) {
        let out = self.janus.connected(0, Some(IpAddr::from([192, 0, 2, 2])));
        self.take(out);
        self.on_created("attach", control);
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Request(request) => self.asked.push((request.transaction, request.body)),
                Output::Notify(notice) => self.told.push(notice),
            }
        }
    }

    fn command(&mut self, command: Command) {
        let out = self.janus.command(0, command);
        self.take(out);
    }

    fn on_message(&mut self, message: ServerMessage) {
        let out = self.janus.on_message(0, message);
        self.take(out);
    }

    fn tick(&mut self, now: u64) {
        let out = self.janus.tick(now);
        self.take(out);
    }

    /// The request of that name, taken out: its transaction and body.
    fn asked(&mut self, name: &str) -> (u64, Value) {
        let is = |(_, body): &(u64, Value)| body["janus"] == name || body["body"]["request"] == name;
        let at = self.asked.iter().position(is).unwrap_or_else(|| panic!("{name} in {:?}", self.asked));
        self.asked.remove(at)
    }

    fn on_created(&mut self, name: &str, id: u64) {
        let (transaction, _) = self.asked(name);
        self.on_message(ServerMessage::Made { transaction, id });
    }

    fn done(&mut self, name: &str, data: Value, sdp: Option<&str>) -> Value {
        let (transaction, body) = self.asked(name);
        self.on_message(ServerMessage::Done { transaction, data, sdp: sdp.map(str::to_owned) });
        body
    }

    /// Anna's camera, up on that handle; gives its feed.
    fn publishes(&mut self, endpoint: u64, handle: u64) -> u64 {
        self.command(publish(endpoint));
        if self.asked.iter().any(|(_, body)| body["body"]["request"] == "create") {
            self.done("create", json!({"videoroom": "created"}), None);
        }
        self.on_created("attach", handle);
        let streams = json!({"streams": [
            {"type": "audio", "mindex": 0, "mid": "0", "codec": "opus"},
            {"type": "video", "mindex": 1, "mid": "1", "codec": "vp8", "simulcast": true},
        ]});
        let feed = self.done("joinandconfigure", streams, Some(ANSWER))["body"]["id"].as_u64().unwrap();
        self.on_message(ServerMessage::Up { handle });
        feed
    }

    fn watches(&mut self, handle: u64) {
        self.on_created("attach", handle);
        self.done(
            "join",
            json!({"streams": [{"type": "video", "mid": "0"}, {"type": "audio", "mid": "1"}]}),
            Some(JANUS),
        );
        self.asked("start");
    }
}

#[test]
fn a_viewer_waits_for_the_stream_and_then_has_an_answer() {
    let mut scene = Scene::up();
    scene.command(subscribe(1));
    scene.command(Command::Candidate { endpoint: EndpointId(1), candidate: "candidate:1".into() });
    scene.done("create", json!({"videoroom": "created"}), None);
    assert_eq!(scene.asked, [], "nothing is there to watch");
    scene.publishes(2, 20);
    assert_eq!(scene.told[0], Notice::Answer { endpoint: EndpointId(2), answer: ANSWER.into() });
    assert_eq!(scene.told[1], Notice::Connected { endpoint: EndpointId(2) });
    scene.watches(10);
    assert!(matches!(&scene.told[2], Notice::Answer { endpoint: EndpointId(1), .. }));
    let (_, trickle) = scene.asked("trickle");
    assert_eq!(trickle["candidate"]["candidate"], "candidate:1");
    assert_eq!(trickle["handle_id"], 10);
}

#[test]
fn a_viewer_whom_janus_lets_in_too_early_comes_again_at_once() {
    let mut scene = Scene::up();
    scene.publishes(1, 20);
    scene.command(subscribe(2));
    scene.on_created("attach", 30);
    let (transaction, _) = scene.asked("join");
    scene.on_message(ServerMessage::Refused { transaction, code: 428, reason: "No such feed".into() });
    assert_eq!(scene.asked("detach").1["handle_id"], 30);
    scene.tick(250);
    scene.watches(31);
    assert!(matches!(scene.told.last(), Some(Notice::Answer { endpoint: EndpointId(2), .. })), "{:?}", scene.told);
    scene.tick(500);
    assert!(scene.asked.iter().all(|(_, body)| body["janus"] != "attach"), "{:?}", scene.asked);
}

#[test]
fn a_stream_that_comes_again_is_switched_to_on_the_same_connection() {
    let mut scene = Scene::up();
    scene.publishes(1, 20);
    scene.command(subscribe(2));
    scene.watches(30);
    scene.told.clear();
    scene.command(publish(3));
    scene.on_created("attach", 40);
    assert_eq!(scene.told, [Notice::Closed { endpoint: EndpointId(1), reason: Reason::Replaced }]);
    let streams = json!({"streams": [{"type": "audio", "mid": "a0"}, {"type": "video", "mid": "v0"}]});
    let feed = scene.done("joinandconfigure", streams, Some("answer"))["body"]["id"].clone();
    scene.on_message(ServerMessage::Up { handle: 40 });
    let (_, switch) = scene.asked("switch");
    assert_eq!(switch["handle_id"], 30);
    let wanted = json!([{"feed": feed, "mid": "v0", "sub_mid": "0"}, {"feed": feed, "mid": "a0", "sub_mid": "1"}]);
    assert_eq!(switch["body"]["streams"], wanted);
}

#[test]
fn permission_set_before_a_stream_applies_when_it_comes() {
    let mut scene = Scene::up();
    let permit = |audio| Command::SetForwarding { room: room(), stream: stream(), audio, video: true };
    scene.command(permit(false));
    let feed = scene.publishes(1, 20);
    let (_, audio) = scene.asked("moderate");
    let (_, video) = scene.asked("moderate");
    assert_eq!((&audio["body"]["id"], &audio["body"]["mid"]), (&json!(feed), &json!("0")));
    assert_eq!((&audio["body"]["mute"], &video["body"]["mute"]), (&json!(true), &json!(false)));
    scene.command(permit(true));
    assert_eq!(scene.asked("moderate").1["body"]["mute"], false);
}

#[test]
fn a_browser_with_other_payload_types_is_told_so_and_may_answer_januss_offer() {
    let mut scene = Scene::up();
    scene.publishes(1, 20);
    let subscribe = |endpoint, offer: &str| {
        let (viewer, stream, offer) = (Arc::from("ben"), stream(), offer.to_owned());
        Command::Subscribe { room: room(), endpoint: EndpointId(endpoint), viewer, stream, offer }
    };
    let streams = || json!({"streams": [{"type": "video", "mid": "0"}, {"type": "audio", "mid": "1"}]});
    scene.command(subscribe(2, &CLIENT.replace("96", "120").replace("111", "109")));
    scene.on_created("attach", 30);
    scene.done("join", streams(), Some(JANUS));
    assert_eq!(scene.told.last(), Some(&Notice::Refused { endpoint: EndpointId(2), refusal: Refusal::PayloadTypes }));
    assert_eq!(scene.asked("detach").1["handle_id"], 30);

    scene.command(subscribe(3, ""));
    let candidate = Command::Candidate { endpoint: EndpointId(3), candidate: "candidate:1".into() };
    scene.command(candidate);
    scene.on_created("attach", 31);
    scene.done("join", streams(), Some(JANUS));
    let Some(Notice::Offer { endpoint: EndpointId(3), offer }) = scene.told.last() else { panic!("{:?}", scene.told) };
    assert_eq!(*offer, JANUS.replace("msid:janus ", "msid:stream-3 "));
    scene.command(Command::Answered { endpoint: EndpointId(3), answer: "answer".into() });
    let (_, start) = scene.asked("start");
    assert_eq!((&start["handle_id"], &start["jsep"]["sdp"]), (&json!(31), &json!("answer")));
    let (_, trickle) = scene.asked("trickle");
    assert_eq!(trickle["candidate"]["sdpMid"], "0", "{trickle}");
    scene.command(Command::Answered { endpoint: EndpointId(3), answer: "again".into() });
    assert_eq!(scene.told.last(), Some(&Notice::Refused { endpoint: EndpointId(3), refusal: Refusal::BadEndpoint }));
}

#[test]
fn refusals_silence_and_a_lost_link_are_told_for_each_connection() {
    let mut scene = Scene::new();
    scene.command(publish(1));
    assert_eq!(scene.told, [Notice::Refused { endpoint: EndpointId(1), refusal: Refusal::Unavailable }]);

    let mut scene = Scene::up();
    scene.command(publish(1));
    scene.done("create", json!({"videoroom": "created"}), None);
    scene.on_created("attach", 20);
    let (transaction, _) = scene.asked("joinandconfigure");
    scene.on_message(ServerMessage::Refused { transaction, code: 465, reason: "bad SDP".into() });
    assert_eq!(scene.told, [Notice::Refused { endpoint: EndpointId(1), refusal: Refusal::BadSdp }]);
    assert_eq!(scene.asked("detach").1["handle_id"], 20);

    scene.command(publish(2));
    scene.tick(1000);
    assert_eq!(scene.told[1], Notice::Refused { endpoint: EndpointId(2), refusal: Refusal::Unavailable });

    scene.asked.clear();
    scene.publishes(3, 21);
    scene.told.clear();
    let out = scene.janus.disconnected();
    scene.take(out);
    assert_eq!(scene.told, [Notice::Closed { endpoint: EndpointId(3), reason: Reason::Hangup }]);
    assert_eq!(scene.janus.counts(), (0, 0));
}

#[test]
fn nothing_that_janus_may_say_breaks_it() {
    for text in
        ["", "{", "[]", "{}", r#"{"janus":5}"#, r#"{"janus":"event"}"#, r#"{"janus":"success","transaction":"x"}"#]
    {
        assert!(matches!(ServerMessage::read(text), ServerMessage::Other | ServerMessage::Event { .. }), "{text}");
    }
    let event = r#"{"janus":"event","sender":7,"transaction":"3","plugindata":{"data":{"error_code":428,"error":"No such feed"}}}"#;
    let refused = ServerMessage::Refused { transaction: 3, code: 428, reason: "No such feed".into() };
    assert_eq!(ServerMessage::read(event), refused);
}

#[test]
fn speaker_is_reported_on_change_only_despite_many_publishers() {
    let mut scene = Scene::up();
    let feed = scene.publishes(1, 20);
    let bens = StreamId { member: Arc::from("ben"), source: Source::Camera };
    scene.command(Command::Publish { room: room(), endpoint: EndpointId(2), stream: bens, offer: "offer".into() });
    scene.on_created("attach", 21);
    let streams = json!({"streams": [{"type": "audio", "mid": "0"}]});
    let joined = scene.done("joinandconfigure", streams, Some("answer"));
    let (other, number) = (joined["body"]["id"].clone(), joined["body"]["room"].clone());
    scene.told.clear();
    let steps = [("talking", json!(feed)), ("stopped-talking", other), ("stopped-talking", json!(feed))];
    for (what, who) in steps {
        for handle in [20, 21] {
            scene.on_message(ServerMessage::Event {
                handle,
                data: json!({"videoroom": what, "room": number, "id": who}),
            });
        }
    }
    let speaker = |member: Option<&str>| Notice::Speaker { room: room(), member: member.map(Arc::from) };
    assert_eq!(scene.told, [speaker(Some("anna")), speaker(None)]);
}
