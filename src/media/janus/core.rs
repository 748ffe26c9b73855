//! The driver's pure core: commands and what Janus says come in, requests and notices go out. Time is an argument.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use confgate_sfu::protocol::{Command, EndpointId, Notice, Reason, Refusal, RoomId, StreamId};
use serde_json::Value;

use super::message::{self, Handle, Request, ServerMessage};
use super::relay::{Busy, Forward, Left, Pull};
use super::rooms::{Forwarding, Room, RoomState, Track};
use super::rtp_forward;

/// Largest number that Janus takes for a room or a feed and JSON carries exactly.
pub(super) const NUMBER_MAX: u64 = (1 << 53) - 1;
/// The plugin's error codes: no such feed (not up yet), and a description that it can't read.
const NO_SUCH_FEED: i64 = 428;
const INVALID_SDP: i64 = 465;

#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    Request(Request),
    Notify(Notice),
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// The key that makes rooms, where the plugin is configured with it (`admin_key`).
    pub admin_key: Option<String>,
    /// The secret and pin of our rooms: random, for this process's life.
    pub secret: String,
    /// For Janus's answer to a request, in ms.
    pub timeout_ms: u64,
    /// Members of a room.
    pub publishers: u64,
    /// Where what other Januses send is taken; `None`: at all of its machine's addresses.
    pub rtp_address: Option<IpAddr>,
}

/// One peer connection.
pub(super) struct Endpoint {
    pub room: RoomId,
    pub stream: StreamId,
    pub part: MediaPart,
    pub handle: Option<Handle>,
    /// The m-section that the client's candidates belong to, as Janus names it: all are bundled.
    pub mid: String,
    /// The client's candidates until the description they belong to was sent.
    pub early: Vec<String>,
    pub described: bool,
}

pub(super) enum MediaPart {
    Publisher {
        offer: String,
    },
    Subscriber {
        /// Empty: the client answers Janus's.
        offer: String,
        tracks: Vec<Track>,
        view: Option<(u32, u32)>,
    },
    /// Of these two, whose other end is another Janus, there is no handle.
    Pull(Pull),
    Forward(Forward),
}

/// The reason for which an answer of Janus is awaited.
#[derive(Debug, Clone)]
pub(super) enum Waiting {
    Control,
    Room(RoomId),
    Handle(EndpointId),
    Joined(EndpointId),
    Offered(EndpointId),
    /// A remote publisher, in the room and as the feed of those numbers.
    Added(EndpointId, u64, u64),
    /// One is gone from the room of that number.
    Removed(u64),
    /// The feed of the second number in the room of the first is sent to another Janus.
    Forwarded(EndpointId, u64, u64),
    /// The outcome changes nothing.
    Nothing,
}

pub struct Janus {
    pub(super) settings: Settings,
    /// The handle for what is no connection's: made with the session.
    pub(super) control: Option<Handle>,
    pub(super) rooms: HashMap<RoomId, Room>,
    pub(super) endpoints: HashMap<EndpointId, Endpoint>,
    pub(super) by_handle: HashMap<Handle, EndpointId>,
    /// Where this Janus is reached by others; known while there is a session.
    pub(super) host: Option<IpAddr>,
    /// By their numbers.
    pub(super) busy: HashMap<u64, Busy>,
    /// Leftovers that are removed at the next session.
    pub(super) left: Vec<Left>,
    /// Viewers who came before Janus let them, though their stream is there.
    pub(super) early: BTreeSet<EndpointId>,
    waiting: HashMap<u64, (Waiting, u64)>,
    transaction: u64,
    pub(super) number: u64,
    now: u64,
    pub(super) out: Vec<Output>,
}

impl Janus {
    /// `number`: where the numbers of rooms and feeds begin; random, so that two drivers on one Janus don't meet.
    pub fn new(settings: Settings, number: u64) -> Self {
        Self {
            settings,
            control: None,
            rooms: HashMap::new(),
            endpoints: HashMap::new(),
            by_handle: HashMap::new(),
            host: None,
            busy: HashMap::new(),
            left: Vec::new(),
            early: BTreeSet::new(),
            waiting: HashMap::new(),
            transaction: 0,
            number: number % (NUMBER_MAX / 2),
            now: 0,
            out: Vec::new(),
        }
    }

    /// Connections and rooms that there are.
    pub fn counts(&self) -> (u64, u64) {
        (self.endpoints.len() as u64, self.rooms.len() as u64)
    }

    /// Whether nothing that was ended waits for Janus's answer to be ended there.
    pub fn is_settled(&self) -> bool {
        self.busy.is_empty()
    }

    pub fn is_up(&self) -> bool {
        self.control.is_some()
    }

    /// A session is there. `host`: where other Januses reach this one.
    pub fn connected(&mut self, now: u64, host: Option<IpAddr>) -> Vec<Output> {
        (self.now, self.host) = (now, host);
        self.request(Waiting::Control, message::attach());
        std::mem::take(&mut self.out)
    }

    /// The session is gone, and with it everything that it held.
    pub fn disconnected(&mut self) -> Vec<Output> {
        self.leave_behind();
        let mut gone: Vec<(EndpointId, Endpoint)> = self.endpoints.drain().collect();
        gone.sort_unstable_by_key(|(endpoint, _)| *endpoint);
        for (endpoint, Endpoint { part, .. }) in gone {
            self.send_notice(match part {
                // A client sees that its path is lost; another Janus doesn't.
                MediaPart::Forward(_) => Notice::Refused { endpoint, refusal: Refusal::Unavailable },
                _ => Notice::Closed { endpoint, reason: Reason::Hangup },
            });
        }
        (self.control, self.by_handle) = (None, HashMap::new());
        self.waiting.clear();
        self.early.clear();
        std::mem::take(&mut self.out)
    }

    pub fn command(&mut self, now: u64, command: Command) -> Vec<Output> {
        self.now = now;
        match command {
            Command::Publish { room, endpoint, stream, offer } => {
                self.open(endpoint, room, stream, MediaPart::Publisher { offer });
            }
            Command::Subscribe { room, endpoint, stream, offer, .. } => {
                self.open(endpoint, room, stream, MediaPart::Subscriber { offer, tracks: Vec::new(), view: None });
            }
            // A node without Janus offers as any client does.
            Command::Forward { room, endpoint, stream, offer, .. } => {
                let part = match rtp_forward::read_offer(&offer) {
                    Some(to) => MediaPart::Forward(Forward::new(to)),
                    None => MediaPart::Subscriber { offer, tracks: Vec::new(), view: None },
                };
                self.open(endpoint, room, stream, part);
            }
            Command::Pull { room, endpoint, stream } => {
                self.open(endpoint, room, stream, MediaPart::Pull(Pull::default()));
            }
            Command::Answered { endpoint, answer } => match self.endpoints.get(&endpoint).map(|known| &known.part) {
                Some(MediaPart::Subscriber { .. }) => self.offer_answered(endpoint, &answer),
                _ => self.answered(endpoint, &answer),
            },
            // VideoRoom has no connection that does both; a second round of offers on one isn't asked for.
            Command::SendRecv { endpoint, .. } | Command::Renegotiate { endpoint, .. } => {
                self.refuse(endpoint, Refusal::Unavailable);
            }
            Command::Candidate { endpoint, candidate } => self.candidate(endpoint, candidate),
            Command::Close { endpoint } => self.close(endpoint),
            Command::SetForwarding { room, stream, audio, video } => {
                let (room, permit) = (self.room(&room), Forwarding { audio, video });
                room.permits.insert(stream.clone(), permit);
                let (number, live) = (room.number, room.live(&stream).cloned());
                if let Some(feed) = live {
                    self.moderate(number, &feed, permit);
                }
            }
            Command::View { endpoint, width: _, height } => self.view(endpoint, height),
            Command::CloseRoom { room } => self.close_room(&room),
        }
        std::mem::take(&mut self.out)
    }

    pub fn on_message(&mut self, now: u64, message: ServerMessage) -> Vec<Output> {
        self.now = now;
        match message {
            ServerMessage::Made { transaction, id } => self.on_created(transaction, id),
            ServerMessage::Done { transaction, data, sdp } => self.done(transaction, &data, sdp),
            ServerMessage::Refused { transaction, code, reason } => self.refused(transaction, code, &reason),
            ServerMessage::Up { handle } => self.up(handle),
            ServerMessage::Down { handle, reason } => self.down(handle, &reason),
            ServerMessage::Event { data, .. } => self.on_event(&data),
            ServerMessage::Other => {}
        }
        std::mem::take(&mut self.out)
    }

    /// Gives up what Janus hasn't answered in time, and tries again what it wasn't ready for.
    pub fn tick(&mut self, now: u64) -> Vec<Output> {
        self.now = now;
        let late: Vec<u64> = self.waiting.iter().filter(|(_, (_, at))| *at <= now).map(|(t, _)| *t).collect();
        for transaction in late {
            self.refused(transaction, 0, "no answer in time");
        }
        for endpoint in std::mem::take(&mut self.early) {
            self.proceed(endpoint);
        }
        std::mem::take(&mut self.out)
    }

    fn open(&mut self, endpoint: EndpointId, room: RoomId, stream: StreamId, part: MediaPart) {
        if self.endpoints.contains_key(&endpoint) {
            return self.refuse(endpoint, Refusal::BadEndpoint);
        }
        if self.control.is_none() {
            return self.refuse(endpoint, Refusal::Unavailable);
        }
        let state = self.room(&room).state;
        let (mid, early) = (String::new(), Vec::new());
        let opened = Endpoint { room, stream, part, handle: None, mid, early, described: false };
        self.endpoints.insert(endpoint, opened);
        if state == RoomState::Made {
            self.proceed(endpoint);
        }
    }

    /// The room, asked for if it isn't there.
    pub(super) fn room(&mut self, id: &RoomId) -> &mut Room {
        if !self.rooms.contains_key(id) {
            let number = self.next_number();
            self.rooms.insert(id.clone(), Room::requested(number));
            self.create(id);
        }
        self.rooms.get_mut(id).expect("it was there or was put there")
    }

    fn create(&mut self, id: &RoomId) {
        let (Some(control), Some(room)) = (self.control, self.rooms.get(id)) else { return };
        let Settings { publishers, secret, admin_key, .. } = &self.settings;
        let create = message::create(room.number, *publishers, secret, admin_key.as_deref());
        self.request(Waiting::Room(id.clone()), message::plugin(control, create, None));
    }

    /// Takes a connection on as soon as its room is there, and for who receives it the stream too.
    pub(super) fn proceed(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        let Some(room) = self.rooms.get(&endpoint.room) else { return };
        match endpoint.part {
            MediaPart::Publisher { .. } => {}
            MediaPart::Pull(_) => return self.inquire(id),
            MediaPart::Subscriber { .. } | MediaPart::Forward(_) if room.live(&endpoint.stream).is_none() => return,
            MediaPart::Forward(_) => return self.forward(id),
            MediaPart::Subscriber { .. } => {}
        }
        if endpoint.handle.is_none() {
            self.request(Waiting::Handle(id), message::attach());
        }
    }

    fn on_created(&mut self, transaction: u64, id: u64) {
        match self.waiting.remove(&transaction).map(|(waiting, _)| waiting) {
            Some(Waiting::Control) => {
                self.control = Some(id);
                self.clear_left();
                let asked: Vec<RoomId> = self.rooms.keys().cloned().collect();
                asked.iter().for_each(|room| self.create(room));
            }
            Some(Waiting::Handle(endpoint)) => self.attached(endpoint, id),
            _ => {}
        }
    }

    fn done(&mut self, transaction: u64, data: &Value, sdp: Option<String>) {
        match self.waiting.remove(&transaction).map(|(waiting, _)| waiting) {
            Some(Waiting::Room(id)) => {
                if let Some(room) = self.rooms.get_mut(&id) {
                    room.state = RoomState::Made;
                }
                let mut waiting: Vec<EndpointId> =
                    self.endpoints.iter().filter(|(_, e)| e.room == id).map(|(id, _)| *id).collect();
                waiting.sort_unstable();
                waiting.into_iter().for_each(|endpoint| self.proceed(endpoint));
            }
            Some(Waiting::Joined(id)) => match sdp {
                Some(answer) => self.joined(id, data, answer),
                None => self.fail(id, Refusal::Unavailable),
            },
            Some(Waiting::Offered(id)) => match sdp {
                Some(offer) => self.offered(id, data, offer),
                None => self.fail(id, Refusal::Unavailable),
            },
            Some(Waiting::Added(id, number, feed)) => self.added(id, number, feed, data),
            Some(Waiting::Removed(number)) => self.settled(number),
            Some(Waiting::Forwarded(id, number, feed)) => self.forwarded(id, number, feed),
            _ => {}
        }
    }

    fn refused(&mut self, transaction: u64, code: i64, reason: &str) {
        let Some((waiting, _)) = self.waiting.remove(&transaction) else { return };
        tracing::debug!(code, reason, ?waiting, "Janus refuses");
        let refusal = if code == INVALID_SDP { Refusal::BadSdp } else { Refusal::Unavailable };
        match waiting {
            Waiting::Offered(id) if code == NO_SUCH_FEED => self.wait_again(id),
            Waiting::Handle(id) | Waiting::Joined(id) | Waiting::Offered(id) => self.fail(id, refusal),
            Waiting::Room(room) => {
                self.rooms.remove(&room);
                let mut waiting: Vec<EndpointId> =
                    self.endpoints.iter().filter(|(_, e)| e.room == room).map(|(id, _)| *id).collect();
                waiting.sort_unstable();
                waiting.into_iter().for_each(|id| self.fail(id, Refusal::Unavailable));
            }
            Waiting::Added(id, number, feed) => self.not_added(id, number, feed),
            Waiting::Removed(number) => self.settled(number),
            Waiting::Forwarded(id, number, feed) => {
                // It may send after all, too late.
                self.unpublish(id, number, feed);
                self.fail(id, Refusal::Unavailable);
            }
            Waiting::Control | Waiting::Nothing => {}
        }
    }

    pub(super) fn fail(&mut self, id: EndpointId, refusal: Refusal) {
        if self.endpoints.contains_key(&id) {
            self.refuse(id, refusal);
            self.close(id);
        }
    }

    pub(super) fn close(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.remove(&id) else { return };
        if let Some(handle) = endpoint.handle {
            self.by_handle.remove(&handle);
            self.request(Waiting::Nothing, message::detach(handle));
        }
        let Some(room) = self.rooms.get_mut(&endpoint.room) else { return };
        let number = room.number;
        if room.feeds.get(&endpoint.stream).is_some_and(|feed| feed.endpoint == id) {
            room.feeds.remove(&endpoint.stream);
        }
        self.take_back(id, number, &endpoint.part);
    }

    fn close_room(&mut self, id: &RoomId) {
        let mut inside: Vec<EndpointId> =
            self.endpoints.iter().filter(|(_, e)| e.room == *id).map(|(id, _)| *id).collect();
        inside.sort_unstable();
        inside.into_iter().for_each(|endpoint| self.close(endpoint));
        if let Some(room) = self.rooms.remove(id) {
            self.destroy(room.number);
        }
    }

    pub(super) fn refuse(&mut self, endpoint: EndpointId, refusal: Refusal) {
        self.send_notice(Notice::Refused { endpoint, refusal });
    }

    pub(super) fn request(&mut self, waiting: Waiting, body: Value) {
        self.transaction += 1;
        self.waiting.insert(self.transaction, (waiting, self.now + self.settings.timeout_ms));
        self.out.push(Output::Request(Request { transaction: self.transaction, body }));
    }

    pub(super) fn send_notice(&mut self, notice: Notice) {
        self.out.push(Output::Notify(notice));
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}
