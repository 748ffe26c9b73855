//! The connections of calls: candidates both ways, answers in their order, and ends that the media tells.

use confgate_sfu::protocol::{Command, EndpointId, Reason, Refusal, Source, StreamId};

use super::calls::{CallId, Phase};
use super::{OneToOneCalls, SocketId};
use crate::media::message::{Candidate, Reply};

/// Candidates of one connection, each way: a browser with many interfaces and several TURN servers has some 40.
const CANDIDATES: usize = 128;

impl OneToOneCalls {
    /// Passes the client's candidate on, or keeps it until there is a connection. Empty: there are no more.
    pub(super) fn candidate(&mut self, socket: SocketId, candidate: String) {
        let Some(open) = self.sockets.get_mut(&socket) else { return };
        let side = open.call.and_then(|id| self.calls.get_mut(&id)).map(|call| call.side_mut(socket));
        if let Some(endpoint) = side.as_ref().and_then(|side| side.endpoint) {
            let side = side.expect("its connection was found");
            if side.candidates < CANDIDATES {
                side.candidates += 1;
                self.media(Command::Candidate { endpoint, candidate });
            }
        } else if open.registration.is_some() && open.early.len() < CANDIDATES {
            // A browser has them before it has said what they are for.
            open.early.push(candidate);
        }
    }

    /// Once both have an answer they get them: the callee first, each before the candidates that belong to it.
    pub(super) fn answered(&mut self, endpoint: EndpointId, answer: String) {
        let Some((id, socket)) = self.endpoints.get(&endpoint).copied() else { return };
        let call = self.calls.get_mut(&id).expect("a connection is a call's");
        if !matches!(call.phase, Phase::Connecting) {
            return;
        }
        call.side_mut(socket).answer = Some(answer);
        if call.caller.answer.is_none() || call.callee.answer.is_none() {
            return;
        }
        call.phase = Phase::Talking;
        let [callee, caller] = [&mut call.callee, &mut call.caller]
            .map(|side| (side.socket, side.answer.take().expect("both have one"), std::mem::take(&mut side.held)));
        self.send(callee.0, Reply::StartCommunication { sdp_answer: callee.1 });
        self.send_candidates(callee.0, callee.2);
        let (response, sdp_answer) = ("accepted".to_owned(), Some(caller.1));
        self.send(caller.0, Reply::CallResponse { response, sdp_answer, message: None });
        self.send_candidates(caller.0, caller.2);
    }

    fn send_candidates(&mut self, socket: SocketId, candidates: Vec<Candidate>) {
        for candidate in candidates {
            self.send(socket, Reply::PairCandidate { candidate });
        }
    }

    pub(super) fn node_candidate(&mut self, endpoint: EndpointId, candidate: String, mid: String, mline: u32) {
        let Some((id, socket)) = self.endpoints.get(&endpoint).copied() else { return };
        let candidate = Candidate { candidate, sdp_mid: Some(mid), sdp_mline_index: Some(mline) };
        let call = self.calls.get_mut(&id).expect("a connection is a call's");
        if matches!(call.phase, Phase::Talking) {
            return self.send(socket, Reply::PairCandidate { candidate });
        }
        let held = &mut call.side_mut(socket).held;
        if held.len() < CANDIDATES {
            held.push(candidate);
        }
    }

    pub(super) fn refused(&mut self, endpoint: EndpointId, refusal: Refusal) {
        let message = match refusal {
            Refusal::BadSdp | Refusal::PayloadTypes => "an offer can't be answered",
            Refusal::Overloaded => "no room for more calls now",
            Refusal::BadEndpoint | Refusal::Unavailable => "calls between two are not relayed here now",
        };
        self.fail_of(endpoint, message);
    }

    pub(super) fn lost(&mut self, endpoint: EndpointId, reason: Reason) {
        let message = match reason {
            Reason::Hangup => "remote user hanged out",
            Reason::IceFailed => "the connection is lost",
            Reason::DtlsFailed => "the DTLS handshake failed",
            Reason::Overload => "no room for more calls now",
            // Each stream of a call has one connection only.
            Reason::Replaced => return,
        };
        self.fail_of(endpoint, message);
    }

    fn fail_of(&mut self, endpoint: EndpointId, message: &'static str) {
        if let Some((id, _)) = self.endpoints.get(&endpoint).copied() {
            self.fail(id, message);
        }
    }

    /// Says what of both is forwarded, before anything can flow.
    pub(super) fn permit_sides(&mut self, id: CallId) {
        let call = &self.calls[&id];
        let (room, sides) = (call.room.clone(), [call.caller.socket, call.callee.socket]);
        for socket in sides {
            let Some(registration) =
                self.registration_of(socket).filter(|registration| registration.conf.is_some()).cloned()
            else {
                continue;
            };
            let (audio, video) = self.forwarded(&registration);
            let stream = StreamId { member: registration.name, source: Source::Camera };
            self.media(Command::SetForwarding { room: room.clone(), stream, audio, video });
        }
    }
}
