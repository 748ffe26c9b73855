//! Random histories, seen by the clients as Kurento's page sees them and by the media: whatever happens, each call that
//! was made has one outcome, both sides know whether they talk, and no connection is left behind.

use std::collections::BTreeSet;

use confgate_sfu::protocol::{Command, EndpointId, Notice, Reason, Refusal, RoomId};
use proptest::prelude::*;

use super::tests::claims;
use super::*;
use crate::ids::{ConfId, UserId};
use crate::node_protocol::{Closed, ToNode};

const NAMES: [&str; 3] = ["anna", "ben", "carl"];
const SOCKETS: usize = 5;

#[derive(Debug, Clone)]
enum Step {
    Open(usize),
    /// By token, or openly.
    Register(usize, usize, bool),
    Call(usize, usize, usize),
    Accept(usize, usize),
    Reject(usize, usize),
    Candidate(usize),
    Hangup(usize),
    Garbage(usize),
    Close(usize),
    /// Answers the ping, if it was asked.
    Alive(usize),
    /// The media answers its oldest offer, refuses it, finds a candidate, or has lost one of its connections.
    Answer,
    Refuse,
    Find(usize),
    Lose(usize),
    Permit(usize, bool),
    Expel(usize),
    CloseRoom,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (socket, name) = (0..SOCKETS, 0..NAMES.len());
    let named = (socket.clone(), name.clone());
    let step = prop_oneof![
        6 => socket.clone().prop_map(Step::Open),
        9 => (socket.clone(), name.clone(), prop::bool::weighted(0.4)).prop_map(|(s, n, t)| Step::Register(s, n, t)),
        9 => (socket.clone(), name.clone(), name.clone()).prop_map(|(s, f, t)| Step::Call(s, f, t)),
        9 => named.clone().prop_map(|(s, n)| Step::Accept(s, n)),
        2 => named.prop_map(|(s, n)| Step::Reject(s, n)),
        3 => socket.clone().prop_map(Step::Candidate),
        3 => socket.clone().prop_map(Step::Hangup),
        1 => socket.clone().prop_map(Step::Garbage),
        2 => socket.clone().prop_map(Step::Close),
        2 => socket.prop_map(Step::Alive),
        12 => Just(Step::Answer),
        1 => Just(Step::Refuse),
        2 => (0..20usize).prop_map(Step::Find),
        1 => (0..20usize).prop_map(Step::Lose),
        1 => (name.clone(), any::<bool>()).prop_map(|(n, on)| Step::Permit(n, on)),
        1 => name.prop_map(Step::Expel),
        1 => Just(Step::CloseRoom),
        3 => (1..3000u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..250)
}

/// A client as Kurento's page is one.
#[derive(Debug, Default, PartialEq)]
enum Page {
    #[default]
    Idle,
    /// Its call has no outcome yet.
    Calling,
    /// Somebody rings, or it has accepted and waits for the answer.
    Rung,
    Talking,
}

#[derive(Default)]
struct Client {
    open: bool,
    registered: bool,
    page: Page,
}

struct World {
    pairs: OneToOneCalls,
    now: u64,
    ids: u64,
    clients: Vec<(SocketId, Client)>,
    /// Connections of the media, in the order in which they began.
    connections: Vec<(EndpointId, RoomId, bool)>,
}

impl World {
    fn new() -> Self {
        let limits = Limits { calls: 2, join_ms: 3000, ring_ms: 4000, messages_per_minute: 6000, open: true };
        Self {
            pairs: OneToOneCalls::new(limits),
            now: 1_000_000,
            ids: 100,
            clients: (0..SOCKETS).map(|i| (SocketId(i as u64), Client::default())).collect(),
            connections: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Open(i) => self.open(i),
            Step::Register(i, name, by_token) => {
                self.ids += 1;
                let credentials = match by_token {
                    true => claims("c1", NAMES[name], self.now, &self.ids.to_string()),
                    false => ClientCredentials::Nothing,
                };
                let message = Message::Register { name: NAMES[name].into(), token: None };
                self.take(Input::Message(self.clients[i].0, Ok(message), credentials));
            }
            Step::Call(i, from, to) => {
                let client = &mut self.clients[i].1;
                // A page that is in a call has no button for another.
                if client.page != Page::Idle || !client.open {
                    return;
                }
                client.page = Page::Calling;
                self.send(
                    i,
                    &format!(r#"{{"id":"call","from":"{}","to":"{}","sdpOffer":"o"}}"#, NAMES[from], NAMES[to]),
                );
                assert!(self.pairs.sockets.values().filter(|socket| socket.call.is_some()).count() <= 4);
            }
            Step::Accept(i, from) => self.respond(i, from, r#""callResponse":"accept","sdpOffer":"o""#),
            Step::Reject(i, from) => {
                let rings = self.rings_from(i, NAMES[from]);
                self.respond(i, from, r#""callResponse":"reject","message":"user declined""#);
                if rings {
                    self.clients[i].1.page = Page::Idle;
                }
            }
            Step::Candidate(i) => self.send(i, r#"{"id":"onIceCandidate","candidate":{"candidate":"x"}}"#),
            Step::Hangup(i) => {
                self.send(i, r#"{"id":"stop"}"#);
                self.clients[i].1.page = Page::Idle;
            }
            Step::Garbage(i) => self.send(i, "{"),
            Step::Close(i) => {
                self.clients[i].1 = Client::default();
                self.take(Input::Closed(self.clients[i].0));
            }
            Step::Alive(i) => self.take(Input::Alive(self.clients[i].0)),
            Step::Permit(name, audio) => {
                let name = UserId::parse(NAMES[name]).unwrap();
                self.permit(name, audio);
            }
            Step::Expel(name) => {
                let (room, name) = (ConfId::parse("c1").unwrap(), UserId::parse(NAMES[name]).unwrap());
                self.order(ToNode::Expel { room, name, issued_until: self.now });
            }
            Step::CloseRoom => self.order(ToNode::CloseRoom { room: ConfId::parse("c1").unwrap() }),
            Step::Pass(ms) => {
                self.now += ms;
                self.take(Input::Tick);
            }
            Step::Answer | Step::Refuse | Step::Find(_) | Step::Lose(_) => self.media(&step),
        }
    }

    fn media(&mut self, step: &Step) {
        let pick = |at: &usize| self.connections.get(*at).map(|(endpoint, ..)| *endpoint);
        let oldest = self.connections.iter().find(|(.., answered)| !answered).map(|(endpoint, ..)| *endpoint);
        let notice = match step {
            Step::Answer => oldest.map(|endpoint| Notice::Answer { endpoint, answer: "a".into() }),
            Step::Refuse => oldest.map(|endpoint| Notice::Refused { endpoint, refusal: Refusal::Overloaded }),
            Step::Find(at) => pick(at).map(|endpoint| {
                let (candidate, mid) = ("c".into(), "0".into());
                Notice::Candidate { endpoint, candidate, mid, mline: 0 }
            }),
            Step::Lose(at) => pick(at).map(|endpoint| Notice::Closed { endpoint, reason: Reason::IceFailed }),
            _ => None,
        };
        match &notice {
            Some(Notice::Answer { endpoint, .. }) => {
                let known = self.connections.iter_mut().find(|(id, ..)| id == endpoint);
                known.expect("it was picked").2 = true;
            }
            Some(Notice::Refused { endpoint, .. } | Notice::Closed { endpoint, .. }) => {
                self.connections.retain(|(id, ..)| id != endpoint);
            }
            _ => {}
        }
        if let Some(notice) = notice {
            self.take(Input::Notice(notice));
        }
    }

    fn open(&mut self, i: usize) {
        if self.clients[i].1.open {
            return;
        }
        self.ids += 1;
        self.clients[i] = (SocketId(self.ids), Client { open: true, ..Client::default() });
        self.take(Input::Opened(SocketId(self.ids), ClientCredentials::Nothing));
    }

    fn permit(&mut self, name: UserId, audio: bool) {
        let (room, closed) = (ConfId::parse("c1").unwrap(), Closed::default());
        self.order(ToNode::Permit { room, name, audio, video: true, closed, role: None });
    }

    fn order(&mut self, order: ToNode) {
        self.take(Input::Control(order));
    }

    fn send(&mut self, i: usize, message: &str) {
        self.take(Input::Message(self.clients[i].0, Message::read(message), ClientCredentials::Nothing));
    }

    fn rings_from(&self, i: usize, name: &str) -> bool {
        let call = self.pairs.sockets.get(&self.clients[i].0).and_then(|open| self.pairs.calls.get(&open.call?));
        call.is_some_and(|call| {
            matches!(call.phase, super::calls::Phase::Ringing { .. })
                && call.callee.socket == self.clients[i].0
                && *call.caller.name == *name
        })
    }

    fn respond(&mut self, i: usize, from: usize, answer: &str) {
        self.send(i, &format!(r#"{{"id":"incomingCallResponse","from":"{}",{answer}}}"#, NAMES[from]));
    }

    fn take(&mut self, input: Input) {
        for output in self.pairs.handle(self.now, input) {
            match output {
                Output::Send(socket, reply) => self.on_reply(socket, &reply),
                Output::Close(socket, _) => {
                    let client = self.clients.iter_mut().find(|(id, _)| *id == socket);
                    client.expect("a closed socket was open").1 = Client::default();
                }
                Output::Probe(_) => {}
                Output::Media(command) => self.command(command),
                Output::Link(..) | Output::Cascade(..) => panic!("a group call's"),
            }
        }
        self.agree();
    }

    fn on_reply(&mut self, socket: SocketId, reply: &Reply) {
        let client = self.clients.iter_mut().find(|(id, _)| *id == socket).map(|(_, client)| client);
        let client = client.filter(|client| client.open).expect("nothing is said to a closed socket");
        let page = &mut client.page;
        match reply {
            Reply::RegisterResponse { response, .. } => client.registered |= response == "accepted",
            Reply::IncomingCall { .. } => {
                assert_eq!(*page, Page::Idle, "nobody is rung in a call");
                *page = Page::Rung;
            }
            Reply::CallResponse { response, sdp_answer, message } => {
                assert_eq!(*page, Page::Calling, "one outcome for each call");
                assert_eq!(response == "accepted", sdp_answer.is_some());
                assert_ne!(sdp_answer.is_some(), message.is_some(), "a refusal has words");
                *page = if sdp_answer.is_some() { Page::Talking } else { Page::Idle };
            }
            Reply::StartCommunication { .. } => {
                assert_eq!(*page, Page::Rung);
                *page = Page::Talking;
            }
            Reply::StopCommunication { .. } => *page = Page::Idle,
            Reply::PairCandidate { .. } => assert_eq!(*page, Page::Talking, "candidates follow their answer"),
            _ => {}
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::SendRecv { endpoint, room, .. } => self.connections.push((endpoint, room, false)),
            Command::CloseRoom { room } => self.connections.retain(|(_, of, _)| *of != room),
            Command::Candidate { .. } | Command::SetForwarding { .. } => {}
            other => panic!("not a command of these calls: {other:?}"),
        }
    }

    /// The clients, the node and the media are of one mind.
    fn agree(&self) {
        for (socket, client) in &self.clients {
            let held = self.pairs.sockets.get(socket);
            assert_eq!(held.is_some(), client.open);
            if let Some(held) = held {
                assert_eq!(held.registration.is_some(), client.registered);
            }
        }
        for call in self.pairs.calls.values() {
            let of = |socket| self.pairs.sockets.get(&socket).and_then(|open| open.call);
            assert!(of(call.caller.socket).is_some() && of(call.caller.socket) == of(call.callee.socket));
        }
        let known: BTreeSet<EndpointId> = self.pairs.endpoints.keys().copied().collect();
        let open: BTreeSet<EndpointId> = self.connections.iter().map(|(endpoint, ..)| *endpoint).collect();
        assert!(open.is_subset(&known), "a connection that nobody has any more");
        assert_eq!(self.pairs.registrations.len(), self.clients.iter().filter(|(_, client)| client.registered).count());
    }
}

#[test]
fn a_socket_that_asks_for_another_name_meanwhile_does_not_get_the_first_one_too() {
    let mut world = World::new();
    let [anna, carl] = [0, 2];
    let steps = [Step::Open(4), Step::Open(2), Step::Register(2, carl, false), Step::Register(4, carl, false)];
    steps.into_iter().for_each(|step| world.step(step));
    // Not in the roster yet.
    world.step(Step::Register(4, anna, true));
    world.step(Step::Close(2));
    world.step(Step::Permit(anna, false));
    world.step(Step::Close(4));
    assert!(world.pairs.registrations.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_give_each_call_one_outcome_and_leave_nothing_behind(steps in steps()) {
        let mut world = World::new();
        NAMES.iter().for_each(|name| world.permit(UserId::parse(name).unwrap(), true));
        for step in steps {
            world.step(step);
        }
        for i in 0..SOCKETS {
            world.step(Step::Close(i));
        }
        prop_assert_eq!(world.pairs.counts(), (0, 0));
        prop_assert!(world.connections.is_empty() && world.pairs.endpoints.is_empty() && world.pairs.registrations.is_empty());
    }
}
