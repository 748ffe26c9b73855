//! Calls between two, pure: who can be called under which name, who rings whom, and the connection that each side of a
//! call has. Kurento's one-to-one call, the media relayed: told what happened and when; answers what is to be done.
//!
//! Nothing is said of a call to who isn't in it, and each `call` has exactly one `callResponse`, unless its caller has
//! taken it back.

mod calls;
mod control;
mod registrations;
mod streams;

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use confgate_sfu::protocol::{Command, EndpointId, Notice};

use self::calls::{Call, CallId};
use self::registrations::{Challenge, Registration};
use super::group::{Bans, ClientCredentials, Input, Output, Permits, SocketId, Token};
use super::message::{Code, Message, Reply, Unreadable};
use crate::clock::{Moment, Now};
use crate::http::ws::send_queue::Close;
use crate::rate_limit::limiter::{Limiter, Rate};
use crate::token::CallGatewayClaims;

/// Sockets whose message budget is remembered; more can't be open by far (`limits.connections`).
const BUDGETS: usize = 1 << 20;
/// The cost of a message with an offer, in messages: it makes a peer connection.
const OFFER_COST: u32 = 10;
/// Where the numbers of these connections begin: the group calls' begin at 0.
const FIRST_ENDPOINT: u64 = 1 << 63;

/// The section `limits`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Calls at once.
    pub calls: usize,
    /// How long a socket may be open without a name, in milliseconds.
    pub join_ms: u64,
    /// How long somebody is rung for, in milliseconds.
    pub ring_ms: u64,
    /// Messages a minute of one socket.
    pub messages_per_minute: u32,
    /// Whether clients without a token are admitted, to a space apart.
    pub open: bool,
}

struct Socket {
    credentials: ClientCredentials,
    /// Since when it has no name.
    idle_since: u64,
    registration: Option<Registration>,
    /// The token that admitted them.
    token: Option<Token>,
    /// The name, and by which token, until a gateway says that the roster has them.
    wanted: Option<(String, Box<CallGatewayClaims>)>,
    call: Option<CallId>,
    /// Candidates that came before their connection.
    early: Vec<String>,
    /// Somebody else wants the name.
    challenge: Option<Challenge>,
}

/// The whole state of a node's calls between two. Owned by the node's task.
pub struct OneToOneCalls {
    /// Of the input that is being handled, ms since 1970.
    date: u64,
    limits: Limits,
    sockets: HashMap<SocketId, Socket>,
    registrations: HashMap<Registration, SocketId>,
    calls: HashMap<CallId, Call>,
    endpoints: HashMap<EndpointId, (CallId, SocketId)>,
    next_call: u64,
    next_endpoint: u64,
    bans: Bans,
    permits: Permits,
    budget: Limiter<SocketId>,
    draining: bool,
    out: Vec<Output>,
}

impl OneToOneCalls {
    /// No calls yet.
    pub fn new(limits: Limits) -> Self {
        let rate = Rate::per_minute(limits.messages_per_minute);
        Self {
            date: 0,
            limits,
            sockets: HashMap::new(),
            registrations: HashMap::new(),
            calls: HashMap::new(),
            endpoints: HashMap::new(),
            next_call: 0,
            next_endpoint: FIRST_ENDPOINT,
            bans: Bans::default(),
            permits: Permits::default(),
            budget: Limiter::new(rate, BUDGETS),
            draining: false,
            out: Vec::new(),
        }
    }

    /// Whether the socket is one of these calls'.
    pub fn has(&self, socket: SocketId) -> bool {
        self.sockets.contains_key(&socket)
    }

    /// Whether a connection of that number is one of these calls'.
    pub fn is_of_pair(endpoint: EndpointId) -> bool {
        endpoint.0 >= FIRST_ENDPOINT
    }

    /// Sockets, and calls that somebody rings or talks in.
    pub fn counts(&self) -> (usize, usize) {
        (self.sockets.len(), self.calls.len())
    }

    /// Takes one input. Within, `now` is of the monotonic clock; the date is for what tokens say.
    pub fn handle(&mut self, now: impl Into<Now>, input: Input) -> Vec<Output> {
        let Now { date, moment } = now.into();
        self.date = date;
        let now = moment.ms();
        match input {
            Input::Opened(socket, credentials) => self.open(now, socket, credentials),
            Input::Message(socket, message, credentials) => self.on_message(now, socket, message, credentials),
            Input::Closed(socket) => self.forget(now, socket),
            Input::Alive(socket) => self.alive(socket),
            Input::Notice(notice) => self.notice(notice),
            Input::Control(order) => self.order(now, order),
            Input::Drain => self.draining = true,
            Input::Stop => self.stop_all(),
            Input::Tick => self.tick(now),
            // Sessions and links to other nodes are group calls'.
            Input::Began(..) | Input::Restarted(..) | Input::Linked(..) => {}
        }
        std::mem::take(&mut self.out)
    }

    fn open(&mut self, now: u64, socket: SocketId, credentials: ClientCredentials) {
        let open = Socket {
            credentials,
            idle_since: now,
            registration: None,
            token: None,
            wanted: None,
            call: None,
            early: Vec::new(),
            challenge: None,
        };
        self.sockets.insert(socket, open);
    }

    fn on_message(
        &mut self,
        now: u64,
        socket: SocketId,
        message: Result<Message, Unreadable>,
        credentials: ClientCredentials,
    ) {
        if !self.has(socket) {
            // The client sent this before it learned that its socket is closed.
            return;
        }
        let offers =
            matches!(message, Ok(Message::Call { .. } | Message::IncomingCallResponse { sdp_offer: Some(_), .. }));
        let cost = if offers { OFFER_COST } else { 1 };
        if (0..cost).any(|_| self.budget.allow(&socket, Moment::at(now)).is_err()) {
            return self.dismiss(now, socket, Code::TooMany, Close::TooMany);
        }
        match message {
            Ok(Message::Register { name, .. }) => self.register(now, socket, &name, credentials),
            Ok(Message::Call { from, to, sdp_offer }) => self.call(now, socket, from.as_deref(), &to, sdp_offer),
            Ok(Message::IncomingCallResponse { from, call_response, sdp_offer, message }) => {
                match (call_response == "accept", sdp_offer) {
                    (true, Some(offer)) => self.accept(socket, &from, offer),
                    (true, None) => self.error(socket, Code::BadMessage),
                    (false, _) => self.decline(socket, &from, message),
                }
            }
            Ok(Message::OnIceCandidate { candidate, .. }) => {
                self.candidate(socket, candidate.map(|c| c.candidate).unwrap_or_default());
            }
            Ok(Message::Stop) => self.stop(socket),
            Ok(Message::Play) => {
                self.send(socket, Reply::PlayResponse { response: "rejected", error: "nothing is recorded here" });
            }
            Ok(Message::StopPlay | Message::Unknown) => {}
            Ok(_) | Err(Unreadable) => self.error(socket, Code::BadMessage),
        }
    }

    fn tick(&mut self, now: u64) {
        self.bans.forget(self.date);
        self.ring_out(now);
        self.check_challenges(now);
        let due = |socket: &Socket| {
            let is_free = self.limits.open && matches!(socket.credentials, ClientCredentials::Nothing);
            let waits_for_a_person = is_free && socket.wanted.is_none();
            socket.registration.is_none()
                && !waits_for_a_person
                && now.saturating_sub(socket.idle_since) >= self.limits.join_ms
        };
        let mut late: Vec<SocketId> =
            self.sockets.iter().filter(|(_, socket)| due(socket)).map(|(id, _)| *id).collect();
        late.sort_unstable();
        for socket in late {
            self.dismiss(now, socket, Code::Unauthorized, Close::Unauthorized);
        }
    }

    fn stop_all(&mut self) {
        self.draining = true;
        for call in std::mem::take(&mut self.calls).into_values() {
            self.out.push(Output::Media(Command::CloseRoom { room: call.room }));
        }
        (self.endpoints, self.registrations) = (HashMap::new(), HashMap::new());
        let all = std::mem::take(&mut self.sockets);
        self.out.extend(all.into_keys().map(|socket| Output::Close(socket, Close::GoingAway)));
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Answer { endpoint, answer } => self.answered(endpoint, answer),
            Notice::Candidate { endpoint, candidate, mid, mline } => {
                self.node_candidate(endpoint, candidate, mid, mline);
            }
            Notice::Refused { endpoint, refusal } => self.refused(endpoint, refusal),
            Notice::Closed { endpoint, reason } => self.lost(endpoint, reason),
            Notice::NoCommonCodec { viewer, publisher } => {
                for endpoint in [viewer, publisher] {
                    if let Some((_, socket)) = self.endpoints.get(&endpoint).copied() {
                        self.error(socket, Code::NoCommonCodec);
                    }
                }
            }
            // Nothing is pulled from other nodes, nobody is told who speaks, and who is connected is the client's and
            // the media's business.
            Notice::Offer { .. } | Notice::Connected { .. } | Notice::Speaker { .. } => {}
        }
    }

    /// Says why, and ends the socket.
    fn dismiss(&mut self, now: u64, socket: SocketId, code: Code, close: Close) {
        self.error(socket, code);
        self.end(now, socket, close);
    }

    fn end(&mut self, now: u64, socket: SocketId, close: Close) {
        self.out.push(Output::Close(socket, close));
        self.forget(now, socket);
    }

    /// The socket is no more, nor is the call that it was in.
    fn forget(&mut self, now: u64, socket: SocketId) {
        self.stop(socket);
        let Some(Socket { registration: Some(registration), challenge, .. }) = self.sockets.remove(&socket) else {
            return;
        };
        self.registrations.remove(&registration);
        if let Some(challenge) = challenge {
            self.takes_over(now, challenge, registration);
        }
    }

    fn error(&mut self, socket: SocketId, code: Code) {
        self.send(socket, Reply::Error { code, message: code.words(), name: None });
    }

    fn send(&mut self, socket: SocketId, reply: Reply) {
        self.out.push(Output::Send(socket, reply));
    }

    fn media(&mut self, command: Command) {
        self.out.push(Output::Media(command));
    }
}
