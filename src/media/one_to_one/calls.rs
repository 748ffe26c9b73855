//! A call: rung, answered or not, over.

use std::sync::Arc;

use confgate_sfu::protocol::{Command, EndpointId, MemberId, RoomId, Source, StreamId};

use super::{OneToOneCalls, SocketId};
use crate::media::message::{Candidate, Reply};

/// Longest name that is said back, in bytes.
const NAME_BACK: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct CallId(pub u64);

pub(super) struct Call {
    /// The media's room, of this call only.
    pub room: RoomId,
    pub caller: Side,
    pub callee: Side,
    pub phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// With the caller's offer, until then.
    Ringing {
        offer: String,
        until: u64,
    },
    /// The media answers both offers.
    Connecting,
    Talking,
}

pub(super) struct Side {
    pub socket: SocketId,
    pub name: MemberId,
    /// Once the callee has accepted.
    pub endpoint: Option<EndpointId>,
    /// Candidates of the client that were passed on.
    pub candidates: usize,
    /// The media's answer, and its candidates that came before it could be passed on.
    pub answer: Option<String>,
    pub held: Vec<Candidate>,
}

impl Side {
    fn new(socket: SocketId, name: &Arc<str>) -> Self {
        Self { socket, name: name.clone(), endpoint: None, candidates: 0, answer: None, held: Vec::new() }
    }

    pub fn stream(&self) -> StreamId {
        StreamId { member: self.name.clone(), source: Source::Camera }
    }
}

impl Call {
    pub fn side_mut(&mut self, socket: SocketId) -> &mut Side {
        if self.caller.socket == socket { &mut self.caller } else { &mut self.callee }
    }
}

impl OneToOneCalls {
    pub(super) fn call(&mut self, now: u64, socket: SocketId, from: Option<&str>, to: &str, offer: String) {
        let callee = match self.may_call(socket, from, to) {
            Ok(callee) => callee,
            Err((response, message)) => return self.answer_no(socket, response, message),
        };
        let (Some(own), Some(other)) = (self.registration_of(socket).cloned(), self.registration_of(callee).cloned())
        else {
            return;
        };
        let id = CallId(self.next_call);
        self.next_call += 1;
        let phase = Phase::Ringing { offer, until: now + self.limits.ring_ms };
        let room = format!("pair/{}", id.0).into();
        let (caller, called) = (Side::new(socket, &own.name), Side::new(callee, &other.name));
        self.calls.insert(id, Call { room, caller, callee: called, phase });
        for side in [socket, callee] {
            self.sockets.get_mut(&side).expect("both are open").call = Some(id);
        }
        self.send(callee, Reply::IncomingCall { from: own.name.to_string() });
    }

    /// The callee's socket, or why not: the `response` and the `message`.
    fn may_call(&self, socket: SocketId, from: Option<&str>, to: &str) -> Result<SocketId, (String, String)> {
        let refused = |message: &str| Err(("rejected".to_owned(), message.to_owned()));
        let Some(own) = self.registration_of(socket) else { return refused("register first") };
        if from.is_some_and(|from| *own.name != *from) {
            return refused("`from` is another name than the registered one");
        }
        if self.sockets.get(&socket).is_some_and(|open| open.call.is_some()) {
            return refused("in a call already");
        }
        if *own.name == *to {
            return refused("that is the caller");
        }
        let Some(callee) = self.registrations.get(&own.beside(to)).copied() else {
            let name = if to.len() <= NAME_BACK { to } else { "" };
            let response = format!("rejected: user '{name}' is not registered");
            return Err((response.clone(), response));
        };
        if self.sockets.get(&callee).is_some_and(|open| open.call.is_some()) {
            // As the page itself says it.
            return refused("bussy");
        }
        if self.draining || self.calls.len() >= self.limits.calls {
            return refused("no room for more calls now");
        }
        Ok(callee)
    }

    /// The media is asked for both connections; what they answer goes out when both have.
    pub(super) fn accept(&mut self, socket: SocketId, from: &str, callees_offer: String) {
        let Some(id) = self.rung(socket, from) else { return self.too_late(socket) };
        let call = self.calls.get_mut(&id).expect("it was found");
        let Phase::Ringing { offer: callers_offer, .. } = std::mem::replace(&mut call.phase, Phase::Connecting) else {
            return;
        };
        let (caller, callee) = (call.caller.socket, call.callee.socket);
        self.permit_sides(id);
        self.connect(id, callee, callees_offer);
        self.connect(id, caller, callers_offer);
    }

    fn connect(&mut self, id: CallId, socket: SocketId, offer: String) {
        let endpoint = EndpointId(self.next_endpoint);
        self.next_endpoint += 1;
        self.endpoints.insert(endpoint, (id, socket));
        let early = self.sockets.get_mut(&socket).map(|open| std::mem::take(&mut open.early)).unwrap_or_default();
        let call = self.calls.get_mut(&id).expect("a call is connected while it is");
        let streams = [&call.caller, &call.callee].map(Side::stream);
        let [stream, other] = if call.caller.socket == socket { streams } else { reversed(streams) };
        let side = call.side_mut(socket);
        (side.endpoint, side.candidates) = (Some(endpoint), early.len());
        let room = call.room.clone();
        self.media(Command::SendRecv { room, endpoint, stream, other, offer });
        for candidate in early {
            self.media(Command::Candidate { endpoint, candidate });
        }
    }

    /// The callee doesn't want it.
    pub(super) fn decline(&mut self, socket: SocketId, from: &str, why: Option<String>) {
        let Some(id) = self.rung(socket, from) else { return };
        let call = self.end_call(id);
        self.answer_no(call.caller.socket, "rejected".to_owned(), why.unwrap_or_else(|| "user declined".to_owned()));
    }

    /// The call that rings for the socket, if it is from that caller.
    fn rung(&self, socket: SocketId, from: &str) -> Option<CallId> {
        let id = self.sockets.get(&socket)?.call?;
        let call = self.calls.get(&id)?;
        let rings = matches!(call.phase, Phase::Ringing { .. }) && call.callee.socket == socket;
        (rings && *call.caller.name == *from).then_some(id)
    }

    /// Taken back in the moment in which it was accepted: the page that has begun is to end.
    fn too_late(&mut self, socket: SocketId) {
        if self.sockets.get(&socket).is_some_and(|open| open.call.is_none()) {
            self.send(socket, Reply::StopCommunication { message: "the call is over" });
        }
    }

    /// One side has gone: hung up, taken back, declined without a word, or lost.
    pub(super) fn stop(&mut self, socket: SocketId) {
        let Some(id) = self.sockets.get(&socket).and_then(|open| open.call) else { return };
        let call = self.end_call(id);
        let is_callers = call.caller.socket == socket;
        let was_answered = matches!(call.phase, Phase::Talking);
        let other = if is_callers { call.callee.socket } else { call.caller.socket };
        match (is_callers, was_answered) {
            (false, false) => self.answer_no(other, "rejected".to_owned(), "user declined".to_owned()),
            (true, false) => self.send(other, Reply::StopCommunication { message: "the caller has given up" }),
            (_, true) => self.send(other, Reply::StopCommunication { message: "remote user hanged out" }),
        }
    }

    pub(super) fn ring_out(&mut self, now: u64) {
        let is_due = |call: &Call| matches!(call.phase, Phase::Ringing { until, .. } if until <= now);
        let mut due: Vec<CallId> = self.calls.iter().filter(|(_, call)| is_due(call)).map(|(id, _)| *id).collect();
        due.sort_unstable();
        for id in due {
            self.fail(id, "no answer");
        }
    }

    /// Ends it for both, whoever they are.
    pub(super) fn fail(&mut self, id: CallId, message: &'static str) {
        let call = self.end_call(id);
        self.send(call.callee.socket, Reply::StopCommunication { message });
        match call.phase {
            Phase::Talking => self.send(call.caller.socket, Reply::StopCommunication { message }),
            _ => self.answer_no(call.caller.socket, "rejected".to_owned(), message.to_owned()),
        }
    }

    /// Takes the call out of everything.
    fn end_call(&mut self, id: CallId) -> Call {
        let call = self.calls.remove(&id).expect("a call ends once");
        for side in [&call.caller, &call.callee] {
            if let Some(open) = self.sockets.get_mut(&side.socket) {
                open.call = None;
                open.early.clear();
            }
            if let Some(endpoint) = side.endpoint {
                self.endpoints.remove(&endpoint);
            }
        }
        if !matches!(call.phase, Phase::Ringing { .. }) {
            self.media(Command::CloseRoom { room: call.room.clone() });
        }
        call
    }

    pub(super) fn answer_no(&mut self, caller: SocketId, response: String, message: String) {
        self.send(caller, Reply::CallResponse { response, sdp_answer: None, message: Some(message) });
    }
}

fn reversed<T>([one, other]: [T; 2]) -> [T; 2] {
    [other, one]
}
