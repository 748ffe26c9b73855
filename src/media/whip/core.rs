//! The driver's pure core: commands and what the server answers come in, requests and notices go out. Time is an
//! argument.
//!
//! A connection has one request under way at a time. A stream's next session begins when the one before has ended at
//! the server, and its viewers' when it has begun there.

use std::collections::HashMap;

use confgate_sfu::protocol::{Command, EndpointId, MemberId, Notice, Reason, Refusal, RoomId, StreamId};

use super::request::{Begun, Done, Failure, Request, Session};
use super::sdp;
use crate::media::session::Side;

/// Candidates of the client's that wait to be passed on.
const CANDIDATES: usize = 64;
/// When a viewer is asked for again that the server says nobody sends to.
const AGAIN_MS: u64 = 300;

#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    Request(EndpointId, Request),
    Notify(Notice),
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub endpoints_max: usize,
    /// How long a viewer waits that the server finds a stream that was begun there, in ms.
    pub timeout_ms: u64,
}

/// One connection.
struct Endpoint {
    room: RoomId,
    stream: StreamId,
    viewer: MemberId,
    side: Side,
    offer: String,
    /// Audio and video, as its offer was posted.
    sends: (bool, bool),
    phase: Phase,
    candidates: Vec<String>,
    /// A PATCH is under way, or the server takes none.
    trickling: bool,
}

enum Phase {
    /// To be asked for when it can be; at the earliest then, at the latest then.
    Waiting {
        from: u64,
        until: Option<u64>,
    },
    /// Until when it may be asked for again.
    Asked(Option<u64>),
    Open(Session),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(RoomId, StreamId);

pub struct Whip {
    settings: Settings,
    endpoints: HashMap<EndpointId, Endpoint>,
    /// The members with a held back track: audio, video.
    permits: HashMap<Key, (bool, bool)>,
    /// Sessions that are to end at the server, or have begun there for nobody any more; `true`: publishers'.
    ending: HashMap<EndpointId, (Key, bool)>,
    now: u64,
    out: Vec<Output>,
}

impl Whip {
    pub fn new(settings: Settings) -> Self {
        let (endpoints, permits, ending) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { settings, endpoints, permits, ending, now: 0, out: Vec::new() }
    }

    /// Connections that there are.
    pub fn endpoints(&self) -> u64 {
        self.endpoints.len() as u64
    }

    pub fn command(&mut self, now: u64, command: Command) -> Vec<Output> {
        self.now = now;
        match command {
            Command::Publish { room, endpoint, stream, offer } => {
                let viewer = stream.member.clone();
                self.open(endpoint, Side::Sends, (room, stream, viewer), offer);
            }
            Command::Subscribe { room, endpoint, viewer, stream, offer }
            | Command::Forward { room, endpoint, viewer, stream, offer } => {
                self.open(endpoint, Side::Receives, (room, stream, viewer), offer);
            }
            Command::Pull { endpoint, .. }
            | Command::SendRecv { endpoint, .. }
            | Command::Renegotiate { endpoint, .. }
            | Command::Answered { endpoint, .. } => self.refuse(endpoint, Refusal::Unavailable),
            Command::Candidate { endpoint, candidate } => self.candidate(endpoint, candidate),
            Command::Close { endpoint } => self.close(endpoint),
            Command::SetForwarding { room, stream, audio, video } => self.permit(Key(room, stream), (audio, video)),
            // Such a server knows of no sizes.
            Command::View { .. } => {}
            Command::CloseRoom { room } => self.close_room(&room),
        }
        std::mem::take(&mut self.out)
    }

    pub fn done(&mut self, now: u64, id: EndpointId, done: Done) -> Vec<Output> {
        self.now = now;
        match done {
            Done::Begun(Ok(begun)) => self.begun(id, begun),
            Done::Begun(Err(failure)) => self.failed(id, failure),
            Done::Trickled(taken) => {
                if let Some(endpoint) = self.endpoints.get_mut(&id) {
                    endpoint.trickling = !taken;
                }
                self.trickle(id);
            }
            Done::Ended => {
                self.ending.remove(&id);
                self.proceed();
            }
        }
        std::mem::take(&mut self.out)
    }

    pub fn tick(&mut self, now: u64) -> Vec<Output> {
        self.now = now;
        self.proceed();
        std::mem::take(&mut self.out)
    }

    /// Ends all that is open at the server.
    pub fn stop(&mut self) -> Vec<Output> {
        for id in self.of(|_| true) {
            self.close(id);
        }
        std::mem::take(&mut self.out)
    }

    fn open(&mut self, id: EndpointId, side: Side, at: (RoomId, StreamId, MemberId), offer: String) {
        if self.endpoints.contains_key(&id) || self.ending.contains_key(&id) {
            return self.refuse(id, Refusal::BadEndpoint);
        }
        if offer.is_empty() {
            return self.refuse(id, Refusal::BadSdp);
        }
        if self.endpoints.len() >= self.settings.endpoints_max {
            return self.refuse(id, Refusal::Overloaded);
        }
        let (room, stream, viewer) = at;
        if side == Side::Sends {
            self.replace(&Key(room.clone(), stream.clone()));
        }
        let phase = Phase::Waiting { from: self.now, until: None };
        let (sends, candidates, trickling) = ((true, true), Vec::new(), false);
        self.endpoints.insert(id, Endpoint { room, stream, viewer, side, offer, sends, phase, candidates, trickling });
        self.proceed();
    }

    /// Another endpoint is to send the stream.
    fn replace(&mut self, key: &Key) {
        for former in self.of(|endpoint| endpoint.side == Side::Sends && endpoint.is(key)) {
            self.close(former);
            self.send_notice(Notice::Closed { endpoint: former, reason: Reason::Replaced });
        }
    }

    /// Asks for what waits and can be had now.
    fn proceed(&mut self) {
        let due = |endpoint: &Endpoint| matches!(endpoint.phase, Phase::Waiting { from, .. } if from <= self.now);
        for id in self.of(due) {
            let endpoint = &self.endpoints[&id];
            let key = Key(endpoint.room.clone(), endpoint.stream.clone());
            match endpoint.side {
                Side::Sends if self.ending.values().any(|(ended, sent)| *sent && *ended == key) => {}
                Side::Sends => self.post(id),
                Side::Receives if self.is_live(&key) => self.post(id),
                Side::Receives => {}
            }
        }
    }

    fn is_live(&self, key: &Key) -> bool {
        let live = |endpoint: &Endpoint| {
            endpoint.side == Side::Sends && matches!(endpoint.phase, Phase::Open(_)) && endpoint.is(key)
        };
        self.endpoints.values().any(live)
    }

    fn post(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let key = Key(endpoint.room.clone(), endpoint.stream.clone());
        if endpoint.side == Side::Sends {
            endpoint.sends = self.permits.get(&key).copied().unwrap_or((true, true));
        }
        let Some(offer) = sdp::permitted(&endpoint.offer, endpoint.sends.0, endpoint.sends.1) else {
            return self.fail(id, Refusal::Unavailable);
        };
        let until = match endpoint.phase {
            Phase::Waiting { until: Some(until), .. } => until,
            _ => self.now + self.settings.timeout_ms,
        };
        endpoint.phase = Phase::Asked(Some(until));
        let (side, room, stream, viewer) =
            (endpoint.side, endpoint.room.clone(), endpoint.stream.clone(), endpoint.viewer.clone());
        self.out.push(Output::Request(id, Request::Begin { side, room, stream, viewer, offer }));
    }

    fn begun(&mut self, id: EndpointId, Begun { answer, session }: Begun) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            // Closed in the meantime: it is among those that end.
            return self.out.push(Output::Request(id, Request::End { session }));
        };
        let answer = sdp::completed(&answer, &endpoint.offer);
        let (side, sends) = (endpoint.side, endpoint.sends);
        endpoint.phase = Phase::Open(session);
        let key = Key(endpoint.room.clone(), endpoint.stream.clone());
        self.send_notice(Notice::Answer { endpoint: id, answer });
        self.trickle(id);
        if side == Side::Sends && self.permits.get(&key).copied().unwrap_or((true, true)) != sends {
            return self.hang_up(id);
        }
        self.proceed();
    }

    fn failed(&mut self, id: EndpointId, failure: Failure) {
        if self.ending.remove(&id).is_some() {
            return self.proceed();
        }
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        if let (Failure::NotLive, Side::Receives, Phase::Asked(Some(until))) = (failure, endpoint.side, &endpoint.phase)
            && self.now < *until
        {
            endpoint.phase = Phase::Waiting { from: self.now + AGAIN_MS, until: Some(*until) };
            return;
        }
        self.fail(
            id,
            match failure {
                Failure::BadSdp => Refusal::BadSdp,
                Failure::Full => Refusal::Overloaded,
                Failure::NotLive | Failure::Unreachable => Refusal::Unavailable,
            },
        );
    }

    fn candidate(&mut self, id: EndpointId, candidate: String) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        if !candidate.is_empty() && endpoint.candidates.len() < CANDIDATES {
            endpoint.candidates.push(candidate);
            self.trickle(id);
        }
    }

    /// Passes on what waits, all at once; a server without entity tags takes no candidates (RFC 9725 section 4.3.1).
    fn trickle(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let Phase::Open(session) = &endpoint.phase else { return };
        if endpoint.trickling || endpoint.candidates.is_empty() || session.tag.is_none() {
            return;
        }
        let head = sdp::fragment_head(&endpoint.offer);
        let named = |candidate: &String| format!("a={}\r\n", candidate.trim_start_matches("a="));
        let fragment = head + &endpoint.candidates.drain(..).map(|candidate| named(&candidate)).collect::<String>();
        endpoint.trickling = true;
        let session = session.clone();
        self.out.push(Output::Request(id, Request::Trickle { session, fragment }));
    }

    fn permit(&mut self, key: Key, may: (bool, bool)) {
        match may {
            (true, true) => drop(self.permits.remove(&key)),
            _ => drop(self.permits.insert(key.clone(), may)),
        }
        let sends_otherwise = |endpoint: &Endpoint| {
            let open = matches!(endpoint.phase, Phase::Open(_)) && endpoint.side == Side::Sends;
            open && endpoint.is(&key) && endpoint.sends != may
        };
        for id in self.of(sends_otherwise) {
            self.hang_up(id);
        }
    }

    /// Ends the connection, so that its client makes another.
    fn hang_up(&mut self, id: EndpointId) {
        self.close(id);
        self.send_notice(Notice::Closed { endpoint: id, reason: Reason::Hangup });
    }

    fn close(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.remove(&id) else { return };
        let key = Key(endpoint.room, endpoint.stream);
        let sent = endpoint.side == Side::Sends;
        match endpoint.phase {
            Phase::Waiting { .. } => return,
            Phase::Asked(_) => {}
            Phase::Open(session) => self.out.push(Output::Request(id, Request::End { session })),
        }
        self.ending.insert(id, (key.clone(), sent));
        if sent {
            // They watched what is no more; they ask again, and wait for the next.
            for viewer in self.of(|e| e.side == Side::Receives && e.is(&key) && matches!(e.phase, Phase::Open(_))) {
                self.hang_up(viewer);
            }
        }
    }

    fn close_room(&mut self, room: &RoomId) {
        for id in self.of(|endpoint| endpoint.room == *room) {
            self.close(id);
        }
        self.permits.retain(|key, _| key.0 != *room);
    }

    fn fail(&mut self, id: EndpointId, refusal: Refusal) {
        self.endpoints.remove(&id);
        self.refuse(id, refusal);
    }

    fn of(&self, is: impl Fn(&Endpoint) -> bool) -> Vec<EndpointId> {
        let mut found: Vec<EndpointId> =
            self.endpoints.iter().filter(|(_, endpoint)| is(endpoint)).map(|(id, _)| *id).collect();
        found.sort_unstable();
        found
    }

    fn refuse(&mut self, endpoint: EndpointId, refusal: Refusal) {
        self.send_notice(Notice::Refused { endpoint, refusal });
    }

    fn send_notice(&mut self, notice: Notice) {
        self.out.push(Output::Notify(notice));
    }
}

impl Endpoint {
    fn is(&self, key: &Key) -> bool {
        (&self.room, &self.stream) == (&key.0, &key.1)
    }
}
