//! One thing at a time: what was said, then exactly what came of it.

use std::time::Duration;

use confgate_sfu::protocol::{Command, EndpointId, Notice, Reason, Refusal, Source, StreamId};

use super::*;
use crate::event::Role;
use crate::ids::{ConfId, UserId};
use crate::media::message::Candidate;
use crate::node_protocol::{Closed, EndedBy, ToNode};
use crate::token::CallGatewayClaims;

const T0: u64 = 1_000_000;

pub(super) fn claims(conf: &str, user: &str, issued_ms: u64, nonce: &str) -> ClientCredentials {
    let (conf, user) = (ConfId::parse(conf).unwrap(), UserId::parse(user).unwrap());
    let mut claims = CallGatewayClaims::new("n1", conf, user, Role::Member, Duration::from_secs(60));
    (claims.issued_ms, claims.nonce) = (issued_ms, nonce.to_owned());
    ClientCredentials::Claims(Box::new(claims))
}

struct Node {
    pairs: OneToOneCalls,
    now: u64,
}

impl Node {
    fn new() -> Self {
        let limits = Limits { calls: 2, join_ms: 5000, ring_ms: 30_000, messages_per_minute: 200, open: true };
        Self { pairs: OneToOneCalls::new(limits), now: T0 }
    }

    fn take(&mut self, input: Input) -> Vec<Output> {
        self.pairs.handle(self.now, input)
    }

    fn send(&mut self, socket: u64, message: &str) -> Vec<Output> {
        self.take(Input::Message(SocketId(socket), Message::read(message), ClientCredentials::Nothing))
    }

    fn register_with(&mut self, socket: u64, name: &str, credentials: ClientCredentials) -> Vec<Output> {
        if let ClientCredentials::Claims(claims) = &credentials {
            let room = crate::media::group::RoomNamespace::Conference.room(claims.conf_id.as_str());
            if self.pairs.permits.get(&room, claims.user_id.as_str()).is_none() {
                self.take(Input::Control(permit(&claims.conf_id, &claims.user_id, true)));
            }
        }
        self.take(Input::Opened(SocketId(socket), ClientCredentials::Nothing));
        self.take(Input::Message(
            SocketId(socket),
            Ok(Message::Register { name: name.into(), token: None }),
            credentials,
        ))
    }

    fn register(&mut self, socket: u64, name: &str) -> Vec<Output> {
        self.register_with(socket, name, ClientCredentials::Nothing)
    }

    fn call(&mut self, socket: u64, from: &str, to: &str) -> Vec<Output> {
        self.send(socket, &format!(r#"{{"id":"call","from":"{from}","to":"{to}","sdpOffer":"{from}'s"}}"#))
    }

    fn accept(&mut self, socket: u64, from: &str) -> Vec<Output> {
        let accept = r#""callResponse":"accept","sdpOffer":"the callee's""#;
        self.send(socket, &format!(r#"{{"id":"incomingCallResponse","from":"{from}",{accept}}}"#))
    }

    fn candidate(&mut self, socket: u64, text: &str) -> Vec<Output> {
        self.send(socket, &format!(r#"{{"id":"onIceCandidate","candidate":{{"candidate":"{text}"}}}}"#))
    }

    fn answer(&mut self, endpoint: u64) -> Vec<Output> {
        self.take(Input::Notice(Notice::Answer { endpoint: number(endpoint), answer: format!("answer {endpoint}") }))
    }

    /// Anna at socket 1 and Ben at 2, who talk: connection 0 is Ben's, 1 is Anna's.
    fn talk(&mut self) {
        self.register(1, "anna");
        self.register(2, "ben");
        self.call(1, "anna", "ben");
        self.accept(2, "anna");
        self.answer(0);
        assert_eq!(self.answer(1).len(), 2, "they talk");
    }

    fn pass(&mut self, ms: u64) -> Vec<Output> {
        self.now += ms;
        self.take(Input::Tick)
    }
}

/// In the roster, the microphone held back or not.
fn permit(room: &ConfId, name: &UserId, audio: bool) -> ToNode {
    let (room, name, closed) = (room.clone(), name.clone(), Closed::default());
    ToNode::Permit { room, name, audio, video: true, closed, role: None }
}

fn number(endpoint: u64) -> EndpointId {
    EndpointId(FIRST_ENDPOINT + endpoint)
}

fn accepted(socket: u64) -> Output {
    registered(socket, "accepted", "")
}

fn registered(socket: u64, response: &str, message: &str) -> Output {
    Output::Send(SocketId(socket), Reply::RegisterResponse { response: response.into(), message: message.into() })
}

fn no(socket: u64, response: &str, message: &str) -> Output {
    let (response, message) = (response.to_owned(), Some(message.to_owned()));
    Output::Send(SocketId(socket), Reply::CallResponse { response, sdp_answer: None, message })
}

fn stopped(socket: u64, message: &'static str) -> Output {
    Output::Send(SocketId(socket), Reply::StopCommunication { message })
}

fn rings(socket: u64, from: &str) -> Output {
    Output::Send(SocketId(socket), Reply::IncomingCall { from: from.into() })
}

fn room_closed(call: u64) -> Output {
    Output::Media(Command::CloseRoom { room: format!("pair/{call}").into() })
}

fn camera(name: &str) -> StreamId {
    StreamId { member: name.into(), source: Source::Camera }
}

fn node_candidate(socket: u64, text: &str) -> Output {
    let candidate = Candidate { candidate: text.into(), sdp_mid: Some("0".into()), sdp_mline_index: Some(0) };
    Output::Send(SocketId(socket), Reply::PairCandidate { candidate })
}

#[test]
fn a_call_is_rung_accepted_and_hung_up() {
    let mut node = Node::new();
    assert_eq!(node.register(1, "anna"), [accepted(1)]);
    assert_eq!(node.register(2, "ben"), [accepted(2)]);
    assert_eq!(node.candidate(1, "early"), []);
    assert_eq!(node.call(1, "anna", "ben"), [rings(2, "anna")]);
    let exchange = |endpoint, one: &str, other: &str, offer: &str| {
        let (stream, other, offer) = (camera(one), camera(other), offer.to_owned());
        Output::Media(Command::SendRecv { room: "pair/0".into(), endpoint: number(endpoint), stream, other, offer })
    };
    let candidate =
        |endpoint, text: &str| Output::Media(Command::Candidate { endpoint: number(endpoint), candidate: text.into() });
    let exchanged = node.accept(2, "anna");
    assert_eq!(
        exchanged,
        [exchange(0, "ben", "anna", "the callee's"), exchange(1, "anna", "ben", "anna's"), candidate(1, "early")]
    );
    assert_eq!(node.candidate(2, "later"), [candidate(0, "later")]);
    // The caller's answer came first, and a candidate with it: the callee is told first nevertheless.
    assert_eq!(node.answer(1), []);
    let found = Notice::Candidate { endpoint: number(1), candidate: "c".into(), mid: "0".into(), mline: 0 };
    assert_eq!(node.take(Input::Notice(found)), []);
    let (response, sdp_answer) = ("accepted".to_owned(), Some("answer 1".to_owned()));
    assert_eq!(
        node.answer(0),
        [
            Output::Send(SocketId(2), Reply::StartCommunication { sdp_answer: "answer 0".into() }),
            Output::Send(SocketId(1), Reply::CallResponse { response, sdp_answer, message: None }),
            node_candidate(1, "c"),
        ]
    );
    assert_eq!(node.send(1, r#"{"id":"stop"}"#), [room_closed(0), stopped(2, "remote user hanged out")]);
    assert_eq!(node.send(2, r#"{"id":"stop"}"#), []);
    assert_eq!(node.call(2, "ben", "anna"), [rings(1, "ben")], "both can call again");
}

#[test]
fn a_callee_declines_with_a_reason_and_without() {
    let mut node = Node::new();
    node.register(1, "anna");
    node.register(2, "ben");
    let decline =
        |more: &str| format!(r#"{{"id":"incomingCallResponse","from":"anna","callResponse":"reject"{more}}}"#);
    node.call(1, "anna", "ben");
    assert_eq!(node.send(2, &decline(r#","message":"bussy""#)), [no(1, "rejected", "bussy")]);
    node.call(1, "anna", "ben");
    assert_eq!(node.send(2, &decline("")), [no(1, "rejected", "user declined")]);
    node.call(1, "anna", "ben");
    assert_eq!(node.send(2, r#"{"id":"stop"}"#), [no(1, "rejected", "user declined")]);
    node.call(1, "anna", "ben");
    assert_eq!(node.accept(2, "carl"), [], "another's call doesn't ring here");
    let accept_without_offer = r#"{"id":"incomingCallResponse","from":"anna","callResponse":"accept"}"#;
    assert!(matches!(node.send(2, accept_without_offer)[..], [Output::Send(_, Reply::Error { .. })]));
    assert_eq!(node.take(Input::Closed(SocketId(2))), [no(1, "rejected", "user declined")]);
}

#[test]
fn a_caller_gives_up_before_the_answer() {
    let mut node = Node::new();
    node.register(1, "anna");
    node.register(2, "ben");
    node.call(1, "anna", "ben");
    assert_eq!(node.send(1, r#"{"id":"stop"}"#), [stopped(2, "the caller has given up")]);
    assert_eq!(node.accept(2, "anna"), [stopped(2, "the call is over")], "accepted in the same moment");
    node.call(1, "anna", "ben");
    assert_eq!(node.take(Input::Closed(SocketId(1))), [stopped(2, "the caller has given up")]);
}

#[test]
fn nobody_is_rung_for_ever() {
    let mut node = Node::new();
    node.register(1, "anna");
    node.register(2, "ben");
    node.call(1, "anna", "ben");
    assert_eq!(node.pass(29_999), []);
    assert_eq!(node.pass(1), [stopped(2, "no answer"), no(1, "rejected", "no answer")]);
    assert_eq!(node.accept(2, "anna"), [stopped(2, "the call is over")]);
}

#[test]
fn calls_that_can_not_be_are_refused_with_words() {
    let mut node = Node::new();
    node.take(Input::Opened(SocketId(9), ClientCredentials::Nothing));
    assert_eq!(node.call(9, "anna", "ben"), [no(9, "rejected", "register first")]);
    node.register(1, "anna");
    let unknown = "rejected: user 'ben' is not registered";
    assert_eq!(node.call(1, "anna", "ben"), [no(1, unknown, unknown)]);
    assert_eq!(node.call(1, "anna", "anna"), [no(1, "rejected", "that is the caller")]);
    node.register(2, "ben");
    let spoofed = "`from` is another name than the registered one";
    assert_eq!(node.call(1, "carl", "ben"), [no(1, "rejected", spoofed)]);
    node.call(1, "anna", "ben");
    assert_eq!(node.call(1, "anna", "ben"), [no(1, "rejected", "in a call already")]);
    node.register(3, "carl");
    assert_eq!(node.call(3, "carl", "ben"), [no(3, "rejected", "bussy")]);
    assert_eq!(node.call(3, "carl", "anna"), [no(3, "rejected", "bussy")]);
    node.register(4, "dora");
    node.call(3, "carl", "dora");
    node.register(5, "emil");
    node.register(6, "fred");
    assert_eq!(node.call(5, "emil", "fred"), [no(5, "rejected", "no room for more calls now")]);
    assert_eq!(node.send(5, r#"{"id":"play","user":"anna","sdpOffer":"o"}"#).len(), 1, "recordings are refused");
}

#[test]
fn an_open_name_is_its_holders_while_they_are_there() {
    let mut node = Node::new();
    node.register(1, "anna");
    assert_eq!(node.register(2, "anna"), [Output::Probe(SocketId(1))]);
    let taken = "rejected: user 'anna' already registered";
    assert_eq!(node.register(3, "anna"), [registered(3, taken, "the name is taken")], "one at a time");
    assert_eq!(node.take(Input::Alive(SocketId(1))), [registered(2, taken, "the name is taken")]);
    assert_eq!(node.send(1, r#"{"id":"register","name":"anna"}"#), [accepted(1)], "the same again is nothing new");
    let other = "registered under another name already";
    assert_eq!(node.send(1, r#"{"id":"register","name":"anne"}"#), [registered(1, "rejected", other)]);
    // A holder who is silent has gone.
    assert_eq!(node.send(2, r#"{"id":"register","name":"anna"}"#), [Output::Probe(SocketId(1))]);
    assert_eq!(node.pass(1999), []);
    let gone = node.pass(1);
    assert_eq!(gone[1..], [Output::Close(SocketId(1), Close::TakenOver), accepted(2)]);
    // One who closes makes room at once.
    assert_eq!(node.send(3, r#"{"id":"register","name":"anna"}"#), [Output::Probe(SocketId(2))]);
    assert_eq!(node.take(Input::Closed(SocketId(2))), [accepted(3)]);
}

#[test]
fn a_name_is_a_name() {
    let mut node = Node::new();
    assert_eq!(
        node.register(1, ""),
        [registered(1, "rejected: empty user name", "a name is needed")],
        "as Kurento says it"
    );
    let long = "x".repeat(65);
    assert_eq!(node.register(2, &long), [registered(2, "rejected", "a name has 1 to 64 characters")]);
    assert_eq!(node.register(3, "张三"), [accepted(3)]);
}

#[test]
fn by_token_one_is_who_the_token_says_in_the_conference_that_it_says() {
    let mut node = Node::new();
    let refused = |socket: u64| {
        let why = Code::Unauthorized.words();
        let error = Reply::Error { code: Code::Unauthorized, message: why, name: None };
        let id = SocketId(socket);
        [registered(socket, "rejected", why), Output::Send(id, error), Output::Close(id, Close::Unauthorized)]
    };
    assert_eq!(node.register_with(1, "anna", claims("c1", "anna", T0, "a")), [accepted(1)]);
    assert_eq!(node.register_with(2, "anna", claims("c1", "ben", T0, "b")), refused(2));
    assert_eq!(node.register_with(3, "anna", claims("c1", "anna", T0, "a")), refused(3), "a token serves once");
    assert_eq!(node.register_with(4, "ben", ClientCredentials::Refused), refused(4));
    // Neither an open name nor one of another conference is the same.
    assert_eq!(node.register(5, "ben"), [accepted(5)]);
    assert_eq!(node.register_with(6, "carl", claims("c2", "carl", T0, "c")), [accepted(6)]);
    for to in ["ben", "carl"] {
        let unknown = format!("rejected: user '{to}' is not registered");
        assert_eq!(node.call(1, "anna", to), [no(1, &unknown, &unknown)]);
    }
    // The same user from elsewhere takes over at once.
    let over = node.register_with(7, "anna", claims("c1", "anna", T0, "d"));
    assert_eq!(over[1..], [Output::Close(SocketId(1), Close::TakenOver), accepted(7)]);
}

#[test]
fn registration_without_a_token_is_refused_unless_the_space_is_open() {
    let mut node = Node::new();
    node.take(Input::Opened(SocketId(1), claims("c1", "anna", T0, "a")));
    node.take(Input::Opened(SocketId(2), ClientCredentials::Nothing));
    node.pass(4999);
    assert_eq!(node.pass(1).last(), Some(&Output::Close(SocketId(1), Close::Unauthorized)));
    node.pairs.limits.open = false;
    assert_eq!(node.send(2, r#"{"id":"register","name":"ben"}"#).len(), 3, "refused, said, closed");
}

#[test]
fn a_gateways_orders_hold_in_calls_between_two() {
    let mut node = Node::new();
    let (conf, anna) = (ConfId::parse("c1").unwrap(), UserId::parse("anna").unwrap());
    node.register_with(1, "anna", claims("c1", "anna", T0, "a"));
    node.register_with(2, "ben", claims("c1", "ben", T0, "b"));
    let permit = |audio| permit(&conf, &anna, audio);
    let permitted = |call: u64, audio| {
        let (room, stream) =
            (format!("pair/{call}").into(), StreamId { member: "anna".into(), source: Source::Camera });
        Output::Media(Command::SetForwarding { room, stream, audio, video: true })
    };
    let enforced = |audio| Output::Send(SocketId(1), Reply::Enforce { audio, video: true });
    assert_eq!(node.take(Input::Control(permit(false))), [enforced(false)]);
    node.call(1, "anna", "ben");
    assert_eq!(node.accept(2, "anna")[0], permitted(0, false), "before anything can flow");
    assert_eq!(node.take(Input::Control(permit(true))), [permitted(0, true), enforced(true)]);
    let closed = Closed { audio: true, video: false };
    let order =
        ToNode::Permit { room: conf.clone(), name: anna.clone(), audio: false, video: true, closed, role: None };
    assert_eq!(node.take(Input::Control(order)), [permitted(0, false)], "closed by herself");
    let order = ToNode::Expel { room: conf.clone(), name: anna.clone(), issued_until: T0 };
    let expelled = node.take(Input::Control(order));
    assert_eq!(expelled[1], Output::Close(SocketId(1), Close::Kicked));
    assert_eq!(expelled[2..], [room_closed(0), stopped(2, "the caller has given up")]);
    let again = node.register_with(3, "anna", claims("c1", "anna", T0, "c"));
    assert_eq!(again.last(), Some(&Output::Close(SocketId(3), Close::Kicked)), "by a token from before");
    assert_eq!(node.register_with(4, "anna", claims("c1", "anna", T0 + 1, "d")), [accepted(4)], "back in the roster");
    let url = "wss://elsewhere".to_owned();
    let moved = node.take(Input::Control(ToNode::Move { room: conf.clone(), url: url.clone() }));
    let told = |socket| Output::Send(SocketId(socket), Reply::Moved { url: url.clone() });
    assert_eq!(moved, [told(2), told(4)]);
    let over = node.take(Input::Control(ToNode::CloseRoom { room: conf }));
    let closed = |output: &Output| matches!(output, Output::Close(_, Close::Over));
    assert_eq!(over.iter().filter(|output| closed(output)).count(), 2);
}

#[test]
fn refused_or_lost_connection_ends_the_call_for_both() {
    let mut node = Node::new();
    node.register(1, "anna");
    node.register(2, "ben");
    node.call(1, "anna", "ben");
    node.accept(2, "anna");
    let refused = Notice::Refused { endpoint: number(1), refusal: Refusal::BadSdp };
    let why = "an offer can't be answered";
    assert_eq!(node.take(Input::Notice(refused)), [room_closed(0), stopped(2, why), no(1, "rejected", why)]);
    let late = Notice::Answer { endpoint: number(0), answer: "late".into() };
    assert_eq!(node.take(Input::Notice(late)), []);
    let mut node = Node::new();
    node.talk();
    let lost = Notice::Closed { endpoint: number(0), reason: Reason::IceFailed };
    let why = "the connection is lost";
    assert_eq!(node.take(Input::Notice(lost)), [room_closed(0), stopped(2, why), stopped(1, why)]);
}

#[test]
fn floods_and_garbage_end_the_socket_and_not_the_node() {
    let mut node = Node::new();
    node.talk();
    assert!(matches!(node.send(1, "{")[..], [Output::Send(_, Reply::Error { code: Code::BadMessage, .. })]));
    assert!(matches!(node.send(1, r#"{"id":"leaveRoom"}"#)[..], [Output::Send(..)]));
    assert_eq!(node.send(1, r#"{"id":"somethingNew"}"#), []);
    for at in 0..1000 {
        node.candidate(1, &at.to_string());
    }
    assert!(!node.pairs.has(SocketId(1)), "more messages than a client may send");
    assert_eq!(node.pairs.counts(), (1, 0));
    assert!(node.pairs.endpoints.is_empty());
    let stopped = node.take(Input::Stop);
    assert_eq!(stopped, [Output::Close(SocketId(2), Close::GoingAway)]);
}

#[test]
fn of_whom_the_roster_has_nobody_registers_before_a_gateway_says_so() {
    let mut node = Node::new();
    let (conf, anna) = (ConfId::parse("c1").unwrap(), UserId::parse("anna").unwrap());
    let register = |node: &mut Node, socket, credentials| {
        node.take(Input::Opened(SocketId(socket), credentials));
        node.send(socket, r#"{"id":"register","name":"anna"}"#)
    };
    let of_family = |nonce: &str, family: &str| match claims("c1", "anna", T0, nonce) {
        ClientCredentials::Claims(claims) => ClientCredentials::Claims(Box::new(claims.of_family(family))),
        other => other,
    };
    assert_eq!(register(&mut node, 1, of_family("a", "f1")), [], "she waits");
    assert_eq!(node.take(Input::Control(permit(&conf, &anna, true))), [accepted(1)]);
    let over = node.take(Input::Control(ToNode::Revoke { families: vec!["f1".into()], by: EndedBy::Itself }));
    assert_eq!(over.last(), Some(&Output::Close(SocketId(1), Close::Unauthorized)), "her login is over");
    let refused = register(&mut node, 2, of_family("b", "f1"));
    assert_eq!(refused.last(), Some(&Output::Close(SocketId(2), Close::Unauthorized)));
    assert_eq!(register(&mut node, 3, of_family("c", "f2")), [accepted(3)]);
}
