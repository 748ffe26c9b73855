//! The core without a server: what it asks, when it waits, and what it makes of each answer.

use confgate_sfu::protocol::{Command, EndpointId, Notice, Reason, Refusal, Source, StreamId};
use proptest::prelude::*;

use super::core::{Output, Settings, Whip};
use super::request::Done;
use super::request::{Begun, Failure, Request, Session, SessionBearer};
use super::sdp;
use crate::media::session::{Side, is_whole};

const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a v\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=mid:a\r\na=sendonly\r\n\
    m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=mid:v\r\n\
    a=bundle-only\r\na=sendonly\r\n";
const ANSWER: &str =
    "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\na=group:BUNDLE v\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\n";
const CANDIDATE: &str = "candidate:1 1 udp 1 192.0.2.1 1 typ host";
const T0: u64 = 1_000_000;

struct Driver {
    core: Whip,
    now: u64,
}

impl Driver {
    fn new() -> Self {
        Self { core: Whip::new(Settings { endpoints_max: 4, timeout_ms: 1000 }), now: T0 }
    }

    fn send(&mut self, command: Command) -> Vec<Output> {
        self.core.command(self.now, command)
    }

    fn publish(&mut self, id: u64) -> Vec<Output> {
        let (room, endpoint) = ("conf/c".into(), EndpointId(id));
        self.send(Command::Publish { room, endpoint, stream: stream(), offer: OFFER.into() })
    }

    fn subscribe(&mut self, id: u64) -> Vec<Output> {
        let (room, endpoint, viewer) = ("conf/c".into(), EndpointId(id), "ben".into());
        self.send(Command::Subscribe { room, endpoint, viewer, stream: stream(), offer: OFFER.into() })
    }

    fn permit(&mut self, audio: bool, video: bool) -> Vec<Output> {
        self.send(Command::SetForwarding { room: "conf/c".into(), stream: stream(), audio, video })
    }

    fn close(&mut self, id: u64) -> Vec<Output> {
        self.send(Command::Close { endpoint: EndpointId(id) })
    }

    fn begun(&mut self, id: u64) -> Vec<Output> {
        let begun = Begun { answer: ANSWER.into(), session: session(id) };
        self.core.done(self.now, EndpointId(id), Done::Begun(Ok(begun)))
    }

    fn failed(&mut self, id: u64, failure: Failure) -> Vec<Output> {
        self.core.done(self.now, EndpointId(id), Done::Begun(Err(failure)))
    }

    fn ended(&mut self, id: u64) -> Vec<Output> {
        self.core.done(self.now, EndpointId(id), Done::Ended)
    }

    fn later(&mut self, ms: u64) -> Vec<Output> {
        self.now += ms;
        self.core.tick(self.now)
    }
}

fn stream() -> StreamId {
    StreamId { member: "anna".into(), source: Source::Camera }
}

fn session(id: u64) -> Session {
    let address = format!("http://127.0.0.1/s/{id}").parse().unwrap();
    Session { address, tag: Some(format!("\"{id}\"")), bearer: SessionBearer::nothing() }
}

fn ends(id: u64) -> Output {
    Output::Request(EndpointId(id), Request::End { session: session(id) })
}

fn hung_up(id: u64) -> Output {
    Output::Notify(Notice::Closed { endpoint: EndpointId(id), reason: Reason::Hangup })
}

/// Which endpoints' offers are posted, and what in them is sent or received.
fn posted(outputs: &[Output]) -> Vec<(u64, Side, String)> {
    let post = |output: &Output| match output {
        Output::Request(id, Request::Begin { side, offer, .. }) => {
            let kinds: Vec<&str> =
                ["audio", "video"].into_iter().filter(|k| offer.contains(&format!("m={k}"))).collect();
            Some((id.0, *side, kinds.join("+")))
        }
        _ => None,
    };
    outputs.iter().filter_map(post).collect()
}

#[test]
fn a_viewer_is_asked_for_when_the_stream_has_begun() {
    let mut driver = Driver::new();
    assert_eq!(driver.subscribe(2), []);
    assert_eq!(posted(&driver.publish(1)), [(1, Side::Sends, "audio+video".into())]);
    let outputs = driver.begun(1);
    assert!(matches!(&outputs[0], Output::Notify(Notice::Answer { endpoint: EndpointId(1), .. })), "{outputs:?}");
    assert_eq!(posted(&outputs), [(2, Side::Receives, "audio+video".into())]);
    // The server may not know yet what it has just answered.
    assert_eq!(driver.failed(2, Failure::NotLive), []);
    assert_eq!(driver.later(100), []);
    assert_eq!(posted(&driver.later(300)).len(), 1);
    driver.now += 1000;
    let refused = Notice::Refused { endpoint: EndpointId(2), refusal: Refusal::Unavailable };
    assert_eq!(driver.failed(2, Failure::NotLive), [Output::Notify(refused)]);
}

#[test]
fn candidates_wait_for_the_session_and_for_each_other() {
    let mut driver = Driver::new();
    driver.publish(1);
    let trickle =
        |driver: &mut Driver| driver.send(Command::Candidate { endpoint: EndpointId(1), candidate: CANDIDATE.into() });
    assert_eq!(trickle(&mut driver), []);
    let outputs = driver.begun(1);
    let Some(Output::Request(_, Request::Trickle { fragment, .. })) = outputs.get(1) else { panic!("{outputs:?}") };
    assert!(fragment.starts_with("a=ice-ufrag:EsAw\r\na=ice-pwd:"), "{fragment}");
    assert!(fragment.ends_with(&format!("a=mid:a\r\na={CANDIDATE}\r\n")), "{fragment}");
    assert_eq!(trickle(&mut driver), [], "one request at a time");
    assert_eq!(driver.core.done(T0, EndpointId(1), Done::Trickled(true)).len(), 1);
    trickle(&mut driver);
    assert_eq!(driver.core.done(T0, EndpointId(1), Done::Trickled(false)), [], "the server takes none");
    assert_eq!(trickle(&mut driver), []);
}

#[test]
fn a_muted_member_is_ended_at_the_server_and_comes_again_without_sound() {
    let mut driver = Driver::new();
    driver.publish(1);
    driver.begun(1);
    driver.subscribe(2);
    driver.begun(2);
    let outputs = driver.permit(false, true);
    assert_eq!(outputs, [ends(1), ends(2), hung_up(2), hung_up(1)]);
    assert_eq!(driver.permit(false, true), [], "said again, it changes nothing");
    assert_eq!(driver.publish(3), [], "not while the one before is there");
    assert_eq!(posted(&driver.ended(1)), [(3, Side::Sends, "video".into())]);
    let outputs = driver.begun(3);
    let Output::Notify(Notice::Answer { answer, .. }) = &outputs[0] else { panic!("{outputs:?}") };
    assert!(answer.contains("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n") && !is_whole(answer), "{answer}");
    assert!(answer.find("m=audio") < answer.find("m=video"), "{answer}");
    assert_eq!(driver.permit(true, true), [ends(3), hung_up(3)], "who may speak again offers again");
    driver.permit(false, false);
    let refused = Notice::Refused { endpoint: EndpointId(4), refusal: Refusal::Unavailable };
    driver.publish(4);
    assert_eq!(driver.ended(3), [Output::Notify(refused)], "nothing is left to send");
}

#[test]
fn stream_forbidden_during_the_request_is_ended_at_the_answer() {
    let mut driver = Driver::new();
    driver.publish(1);
    assert_eq!(driver.permit(false, true), []);
    assert_eq!(driver.begun(1)[1..], [ends(1), hung_up(1)]);
}

#[test]
fn every_begun_session_is_ended_once() {
    let mut driver = Driver::new();
    driver.publish(1);
    assert_eq!(driver.close(1), [], "it isn't known yet what to end");
    assert_eq!(driver.begun(1), [ends(1)]);
    driver.ended(1);
    driver.publish(2);
    driver.begun(2);
    driver.subscribe(3);
    driver.begun(3);
    let outputs = driver.send(Command::CloseRoom { room: "conf/c".into() });
    assert!(outputs.contains(&ends(2)) && outputs.contains(&ends(3)), "{outputs:?}");
    assert_eq!(driver.core.endpoints(), 0);
    assert_eq!(driver.close(2), []);
}

#[test]
fn failures_are_told_for_what_they_are() {
    let failures = [
        (Failure::BadSdp, Refusal::BadSdp),
        (Failure::Full, Refusal::Overloaded),
        (Failure::Unreachable, Refusal::Unavailable),
        (Failure::NotLive, Refusal::Unavailable),
    ];
    let mut driver = Driver::new();
    for (id, (failure, refusal)) in (1..).zip(failures) {
        driver.publish(id);
        let refused = Notice::Refused { endpoint: EndpointId(id), refusal };
        assert_eq!(driver.failed(id, failure), [Output::Notify(refused)]);
    }
    for id in 11..15 {
        driver.subscribe(id);
    }
    let full = Notice::Refused { endpoint: EndpointId(15), refusal: Refusal::Overloaded };
    assert_eq!(driver.subscribe(15), [Output::Notify(full)]);
    for command in [
        Command::Renegotiate { endpoint: EndpointId(20), offer: OFFER.into() },
        Command::Pull { room: "conf/c".into(), endpoint: EndpointId(20), stream: stream() },
    ] {
        let refused = Notice::Refused { endpoint: EndpointId(20), refusal: Refusal::Unavailable };
        assert_eq!(driver.send(command), [Output::Notify(refused)]);
    }
}

#[test]
fn an_offer_without_its_sound_stands_on_its_own() {
    let offer = sdp::permitted(OFFER, false, true).unwrap();
    assert!(offer.contains("a=group:BUNDLE v\r\n") && offer.contains("m=video 9 "), "{offer}");
    assert!(!offer.contains("m=audio") && !offer.contains("bundle-only"), "{offer}");
    let silent = sdp::permitted(OFFER, true, false).unwrap();
    assert!(silent.contains("a=group:BUNDLE a\r\n") && !silent.contains("m=video"), "{silent}");
    assert_eq!(sdp::permitted(OFFER, true, true).as_deref(), Some(OFFER));
    assert_eq!(sdp::permitted(OFFER, false, false), None);
}

proptest! {
    #[test]
    fn no_sdp_is_too_odd(offer in "(?s)(v=0|m=audio |m=video |a=mid:|\r\n|.){0,60}", answer in "(?s)(v=0|m=|\r\n|.){0,60}") {
        sdp::permitted(&offer, false, true);
        sdp::completed(&answer, &offer);
        sdp::fragment_head(&offer);
    }
}
