//! Random histories, seen by the clients as Kurento's page sees them and by the media node: whatever happens, no client
//! is told of a name that it doesn't hold, everybody holds exactly who is there, and no connection is left behind.

use std::collections::{BTreeMap, BTreeSet};

use confgate_sfu::protocol::{Command, EndpointId, Notice, Reason, Refusal};
use proptest::prelude::*;

use super::tests::{between_two, claims};
use super::*;
use crate::ids::{ConfId, UserId};
use crate::node_protocol::Closed;

const ROOMS: [&str; 2] = ["r1", "r2"];
/// Its tokens say that media may go straight.
const STRAIGHT: &str = "r2";
const NAMES: [&str; 3] = ["anna", "ben", "carl"];
const STREAMS: [&str; 6] = ["anna", "ben", "carl", "anna/screen", "ben/screen", "carl/screen"];
const SOCKETS: usize = 5;
const LINKS: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    Open(usize),
    /// By token, or openly.
    Join(usize, usize, usize, bool),
    Offer(usize, usize),
    Cancel(usize, usize),
    Candidate(usize, usize),
    Garbage(usize),
    Leave(usize),
    Close(usize),
    /// A session over HTTP in the place of a socket: it sends, or watches that stream, or the main one.
    Publish(usize, usize, usize),
    Watch(usize, usize, usize, Option<usize>),
    Restart(usize),
    /// The media answers its oldest offer, refuses it, or has lost one of its connections.
    Answer,
    Refuse,
    Lose(usize),
    MediaCandidate(usize),
    Speaker(usize, Option<usize>),
    Permit(usize, usize, bool),
    /// To another's browser; and that it can't go straight.
    Signal(usize, usize),
    Relay(usize),
    Expel(usize, usize),
    Move(usize),
    CloseRoom(usize),
    Pass(u64),
    /// A link to another node opens, by hand or not; it has a stream, or lacks it; it answers its oldest offer, by which
    /// the stream may come from here; it closes.
    Link(usize, usize, bool),
    Has(usize, usize),
    Lacks(usize, usize),
    FeedAnswer(bool),
    Unlink(usize),
    Stop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (socket, room, name, stream) = (0..SOCKETS, 0..ROOMS.len(), 0..NAMES.len(), 0..STREAMS.len());
    let pair = (socket.clone(), stream.clone());
    let feed = (0..LINKS, stream.clone());
    let step = prop_oneof![
        6 => socket.clone().prop_map(Step::Open),
        9 => (socket.clone(), room.clone(), name.clone(), prop::bool::weighted(0.8))
            .prop_map(|(s, r, n, by_token)| Step::Join(s, r, n, by_token)),
        9 => pair.clone().prop_map(|(s, n)| Step::Offer(s, n)),
        2 => pair.clone().prop_map(|(s, n)| Step::Cancel(s, n)),
        3 => pair.prop_map(|(s, n)| Step::Candidate(s, n)),
        1 => socket.clone().prop_map(Step::Garbage),
        4 => (socket.clone(), name.clone()).prop_map(|(s, n)| Step::Signal(s, n)),
        1 => socket.clone().prop_map(Step::Relay),
        2 => socket.clone().prop_map(Step::Leave),
        2 => socket.clone().prop_map(Step::Close),
        4 => (socket.clone(), room.clone(), name.clone()).prop_map(|(s, r, n)| Step::Publish(s, r, n)),
        4 => (socket.clone(), room.clone(), name.clone(), prop::option::of(stream))
            .prop_map(|(s, r, n, w)| Step::Watch(s, r, n, w)),
        2 => socket.prop_map(Step::Restart),
        9 => Just(Step::Answer),
        1 => Just(Step::Refuse),
        1 => (0..20usize).prop_map(Step::Lose),
        2 => (0..20usize).prop_map(Step::MediaCandidate),
        1 => (room.clone(), prop::option::of(name.clone())).prop_map(|(r, n)| Step::Speaker(r, n)),
        1 => (room.clone(), name.clone(), any::<bool>()).prop_map(|(r, n, on)| Step::Permit(r, n, on)),
        1 => (room.clone(), name).prop_map(|(r, n)| Step::Expel(r, n)),
        1 => room.clone().prop_map(Step::Move),
        1 => room.clone().prop_map(Step::CloseRoom),
        3 => (1..2000u64).prop_map(Step::Pass),
        2 => (0..LINKS, room.clone(), any::<bool>()).prop_map(|(l, r, by_hand)| Step::Link(l, r, by_hand)),
        6 => feed.clone().prop_map(|(l, s)| Step::Has(l, s)),
        2 => feed.prop_map(|(l, s)| Step::Lacks(l, s)),
        6 => prop::bool::weighted(0.1).prop_map(Step::FeedAnswer),
        1 => (0..LINKS).prop_map(Step::Unlink),
    ];
    (prop::collection::vec(step, 0..200), prop::bool::weighted(0.2)).prop_map(|(mut steps, stops)| {
        steps.extend(stops.then_some(Step::Stop));
        steps
    })
}

/// A client as Kurento's page: it holds the participants that it was told of, itself included.
#[derive(Default)]
struct Page {
    open: bool,
    room: Option<String>,
    name: String,
    asked: Option<(String, String)>,
    holds: BTreeSet<String>,
    /// Offers that wait for an answer, by stream.
    offered: BTreeMap<String, usize>,
    /// Whether media goes straight, as it was told.
    p2p: bool,
    relayed: bool,
    /// A session over HTTP, which sends nothing but its offers.
    session: bool,
    watches: bool,
}

struct World {
    group: Group,
    now: u64,
    ids: u64,
    /// The socket and the page of each.
    pages: Vec<(SocketId, Page)>,
    /// Connections of the media, in the order in which they began; `true`: answered.
    connections: BTreeMap<EndpointId, bool>,
    /// The tracks that the media was told to forward, for each stream.
    forwarded: BTreeMap<(RoomId, StreamId), (bool, bool)>,
    published: BTreeMap<EndpointId, (RoomId, StreamId)>,
    /// Those whose second offer isn't answered: refused, they stay as they were.
    restarting: BTreeSet<EndpointId>,
    /// Those of them that pull: offered, and answered.
    pulls: BTreeSet<EndpointId>,
    links: Vec<Option<LinkId>>,
    /// Offers that links carry.
    asked: Vec<(LinkId, StreamId)>,
}

impl World {
    fn new() -> Self {
        let node = "n1".to_owned();
        let limits = Limits {
            node,
            rooms: 3,
            members: 3,
            streams: 4,
            join_ms: 3000,
            messages_per_minute: 6000,
            open: true,
            holds_tracks: true,
            changes_codecs: true,
        };
        Self {
            group: Group::new(limits),
            now: 1_000_000,
            ids: 100,
            pages: (0..SOCKETS).map(|i| (SocketId(i as u64), Page::default())).collect(),
            connections: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            published: BTreeMap::new(),
            restarting: BTreeSet::new(),
            pulls: BTreeSet::new(),
            links: vec![None; LINKS],
            asked: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        let said = |text: String| Message::read(&text);
        match step {
            Step::Open(i) => self.open(i),
            Step::Join(i, room, name, by_token) => self.join(i, ROOMS[room], NAMES[name], by_token),
            Step::Offer(i, stream) => {
                let stream = STREAMS[stream];
                if self.pages[i].1.session {
                    return;
                }
                *self.pages[i].1.offered.entry(stream.to_owned()).or_default() += 1;
                self.send(i, said(format!(r#"{{"id":"receiveVideoFrom","sender":"{stream}","sdpOffer":"o"}}"#)));
            }
            Step::Cancel(i, stream) => {
                self.send(i, said(format!(r#"{{"id":"cancelVideoFrom","sender":"{}"}}"#, STREAMS[stream])));
            }
            Step::Candidate(i, stream) => {
                let name = STREAMS[stream];
                self.send(
                    i,
                    said(format!(r#"{{"id":"onIceCandidate","name":"{name}","candidate":{{"candidate":"x"}}}}"#)),
                );
            }
            Step::Garbage(i) => self.send(i, said("{".to_owned())),
            Step::Publish(i, room, name) => self.begin(i, ROOMS[room], NAMES[name], Purpose::Publish),
            Step::Watch(i, room, name, stream) => {
                let purpose = Purpose::Watch(stream.map(|stream| STREAMS[stream].to_owned()));
                self.begin(i, ROOMS[room], NAMES[name], purpose);
            }
            Step::Restart(i) => self.restart(i),
            Step::Leave(i) if self.pages[i].1.session => {}
            Step::Leave(i) => {
                let page = &mut self.pages[i].1;
                (page.room, page.asked, page.p2p, page.relayed) = (None, None, false, false);
                page.holds.clear();
                self.send(i, Ok(Message::LeaveRoom));
            }
            Step::Signal(i, to) => {
                self.send(i, said(format!(r#"{{"id":"signal","to":"{}","candidate":null}}"#, NAMES[to])));
            }
            Step::Relay(i) => self.send(i, said(r#"{"id":"mode","mode":"group"}"#.to_owned())),
            Step::Close(i) => self.close(i),
            Step::Answer | Step::Refuse => self.answer(matches!(step, Step::Answer)),
            Step::Lose(n) => self.lose(n),
            Step::MediaCandidate(n) => self.media_candidate(n),
            Step::Speaker(room, name) => {
                let member = name.map(|name| NAMES[name].into());
                self.take(Input::Notice(Notice::Speaker { room: format!("conf/{}", ROOMS[room]).into(), member }));
            }
            Step::Permit(room, name, audio) => self.permit(room, name, audio),
            Step::Expel(room, name) => {
                let issued_until = self.now;
                self.take(Input::Control(ToNode::Expel { room: conf(room), name: user(name), issued_until }));
            }
            Step::Move(room) => self.take(Input::Control(ToNode::Move { room: conf(room), url: "wss://x".into() })),
            Step::CloseRoom(room) => self.take(Input::Control(ToNode::CloseRoom { room: conf(room) })),
            Step::Pass(ms) => {
                self.now += ms;
                self.take(Input::Tick);
            }
            Step::Link(l, room, by_hand) => {
                self.unlink(l);
                self.ids += 1;
                self.links[l] = Some(LinkId(self.ids));
                self.linked(l, LinkEvent::Opened { space: RoomNamespace::Conference, room: conf(room), by_hand });
            }
            Step::Has(l, stream) => self.linked(l, LinkEvent::Has(stream_named(STREAMS[stream]).unwrap())),
            Step::Lacks(l, stream) => self.linked(l, LinkEvent::Lacks(stream_named(STREAMS[stream]).unwrap())),
            Step::FeedAnswer(loops) => self.feed_answer(loops),
            Step::Unlink(l) => self.unlink(l),
            Step::Stop => self.take(Input::Stop),
        }
        self.everybody_holds_who_is_there();
        self.forwarded_tracks_are_those_of_the_roster();
    }

    fn permit(&mut self, room: usize, name: usize, audio: bool) {
        let (room, name, closed) = (conf(room), user(name), Closed { audio: false, video: true });
        self.take(Input::Control(ToNode::Permit { room, name, audio, video: false, closed, role: None }));
    }

    fn open(&mut self, i: usize) {
        self.close(i);
        self.ids += 1;
        self.pages[i] = (SocketId(self.ids), Page { open: true, ..Page::default() });
        self.take(Input::Opened(SocketId(self.ids), ClientCredentials::Nothing));
    }

    fn close(&mut self, i: usize) {
        let (socket, page) = &mut self.pages[i];
        let socket = *socket;
        *page = Page::default();
        self.take(Input::Closed(socket));
    }

    fn begin(&mut self, i: usize, room: &str, name: &str, purpose: Purpose) {
        self.close(i);
        self.ids += 1;
        let watches = purpose != Purpose::Publish;
        let asked = (!watches).then(|| (format!("conf/{room}"), name.to_owned()));
        let offered = BTreeMap::from([(if watches { String::new() } else { name.to_owned() }, 1)]);
        let page = Page { open: true, session: true, watches, asked, offered, ..Page::default() };
        self.pages[i] = (SocketId(self.ids), page);
        let ClientCredentials::Claims(claims) = claims(room, name, self.now, &format!("{}", self.ids)) else {
            unreachable!()
        };
        self.take(Input::Began(SocketId(self.ids), Session { claims, purpose, offer: "o".into() }));
    }

    fn restart(&mut self, i: usize) {
        let (socket, page) = &mut self.pages[i];
        // One offer at a time: the next waits for the answer.
        if page.session && page.open && page.offered.values().all(|waiting| *waiting == 0) {
            page.offered.values_mut().for_each(|waiting| *waiting += 1);
            let socket = *socket;
            self.take(Input::Restarted(socket, "o".into()));
        }
    }

    fn join(&mut self, i: usize, room: &str, name: &str, by_token: bool) {
        let (socket, page) = &mut self.pages[i];
        if page.session {
            return;
        }
        let space = if by_token { "conf" } else { "open" };
        if page.room.is_none() {
            page.asked = Some((format!("{space}/{room}"), name.to_owned()));
        }
        let socket = *socket;
        let message = Message::JoinRoom { room: room.into(), name: name.into(), token: None };
        let nonce = self.ids.to_string();
        let credentials = match by_token {
            true if room == STRAIGHT => between_two(claims(room, name, self.now, &nonce)),
            true => claims(room, name, self.now, &nonce),
            false => ClientCredentials::Nothing,
        };
        self.ids += 1;
        self.take(Input::Message(socket, Ok(message), credentials));
    }

    fn send(&mut self, i: usize, message: Result<Message, Unreadable>) {
        let is_candidate = matches!(message, Ok(Message::OnIceCandidate { .. }));
        if self.pages[i].1.session && !is_candidate {
            return;
        }
        self.take(Input::Message(self.pages[i].0, message, ClientCredentials::Nothing));
    }

    fn answer(&mut self, well: bool) {
        let waiting = self.connections.iter().find(|(_, answered)| !**answered).map(|(id, _)| *id);
        let Some(endpoint) = waiting else { return };
        let restarts = self.restarting.remove(&endpoint);
        if well && self.pulls.contains(&endpoint) {
            self.connections.insert(endpoint, true);
            self.take(Input::Notice(Notice::Offer { endpoint, offer: "o".into() }));
        } else if well {
            self.connections.insert(endpoint, true);
            self.take(Input::Notice(Notice::Answer { endpoint, answer: "a".into() }));
        } else {
            if !restarts {
                self.connections.remove(&endpoint);
            }
            self.take(Input::Notice(Notice::Refused { endpoint, refusal: Refusal::BadSdp }));
        }
    }

    fn linked(&mut self, l: usize, event: LinkEvent) {
        if let Some(link) = self.links[l] {
            self.take(Input::Linked(link, event));
        }
    }

    fn unlink(&mut self, l: usize) {
        self.linked(l, LinkEvent::Closed);
        if let Some(link) = self.links[l].take() {
            self.asked.retain(|(of, _)| *of != link);
        }
    }

    fn feed_answer(&mut self, loops: bool) {
        if self.asked.is_empty() {
            return;
        }
        let (link, stream) = self.asked.remove(0);
        let route = vec![if loops { "n1" } else { "n2" }.to_owned()];
        self.take(Input::Linked(link, LinkEvent::Answered { stream, answer: "a".into(), route }));
    }

    fn ask(&mut self, link: LinkId, ask: LinkCommand) {
        assert!(self.links.contains(&Some(link)), "asked of a link that is gone: {ask:?}");
        match ask {
            LinkCommand::Offer { stream, .. } => self.asked.push((link, stream)),
            LinkCommand::Cancel(stream) => self.asked.retain(|asked| *asked != (link, stream.clone())),
            LinkCommand::End => {
                self.links.iter_mut().filter(|known| **known == Some(link)).for_each(|known| *known = None);
                self.asked.retain(|(of, _)| *of != link);
            }
            LinkCommand::Flows(_) | LinkCommand::Failed(_) | LinkCommand::Loops(_) => {}
        }
    }

    fn lose(&mut self, n: usize) {
        let Some(endpoint) = self.connections.keys().nth(n).copied() else { return };
        // An endpoint that is ended twice was restarted and lost at once: the media ignores the second end.
        if self.restarting.contains(&endpoint) {
            return;
        }
        self.connections.remove(&endpoint);
        self.take(Input::Notice(Notice::Closed { endpoint, reason: Reason::IceFailed }));
    }

    fn media_candidate(&mut self, n: usize) {
        let Some(endpoint) = self.connections.keys().nth(n).copied() else { return };
        let (candidate, mid) = ("n".to_owned(), "0".to_owned());
        self.take(Input::Notice(Notice::Candidate { endpoint, candidate, mid, mline: 0 }));
    }

    fn take(&mut self, input: Input) {
        for output in self.group.handle(self.now, input) {
            match output {
                Output::Media(command) => self.command(command),
                Output::Link(link, ask) => self.ask(link, ask),
                Output::Cascade(_, peers) => assert!(peers.is_empty(), "nobody ordered it"),
                Output::Send(socket, reply) => {
                    let page = self.page(socket);
                    assert!(page.open, "said to a closed socket: {reply:?}");
                    page.on_reply(reply);
                }
                Output::Probe(socket) => panic!("nobody asks whether {socket:?} is there"),
                Output::Close(socket, _) => {
                    let page = self.page(socket);
                    assert!(page.open, "closed twice");
                    *page = Page::default();
                }
            }
        }
    }

    fn page(&mut self, socket: SocketId) -> &mut Page {
        &mut self.pages.iter_mut().find(|(id, _)| *id == socket).expect("said to a socket that there is").1
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Publish { endpoint, room, stream, .. } => {
                assert!(self.connections.insert(endpoint, false).is_none(), "a number is used twice");
                self.published.insert(endpoint, (room, stream));
            }
            Command::Subscribe { endpoint, .. } | Command::Forward { endpoint, .. } => {
                assert!(self.connections.insert(endpoint, false).is_none(), "a number is used twice");
            }
            Command::Pull { endpoint, .. } => {
                assert!(self.connections.insert(endpoint, false).is_none(), "a number is used twice");
                self.pulls.insert(endpoint);
            }
            Command::Answered { endpoint, .. } => {
                assert!(self.pulls.contains(&endpoint) && self.connections[&endpoint], "answered without an offer");
            }
            Command::Candidate { endpoint, .. } => {
                assert!(self.connections.contains_key(&endpoint), "a candidate before its offer, or after its end");
            }
            Command::Close { endpoint } => {
                assert!(self.connections.remove(&endpoint).is_some(), "ended twice");
            }
            Command::CloseRoom { .. } => {
                // A connection that is still open then belonged to the room: nothing else forgets a connection without
                // ending it.
                let (known, pulled_streams) = (&self.group.endpoints, &self.group.pulled_streams);
                self.connections.retain(|endpoint, _| known.contains_key(endpoint) || pulled_streams.has(*endpoint));
            }
            Command::Renegotiate { endpoint, .. } => {
                assert_eq!(self.connections.insert(endpoint, false), Some(true), "offered anew before it was answered");
                self.restarting.insert(endpoint);
            }
            Command::SetForwarding { room, stream, audio, video } => {
                self.forwarded.insert((room, stream), (audio, video));
            }
            Command::View { .. } => {}
            other => panic!("not a group call's: {other:?}"),
        }
    }

    /// Of each stream that is sent in a conference, the media was told last what the roster says now.
    fn forwarded_tracks_are_those_of_the_roster(&self) {
        let sent = self.published.iter().filter(|(endpoint, _)| self.connections.contains_key(endpoint));
        for (_, (room, stream)) in sent.filter(|(_, (room, _))| room.starts_with("conf/")) {
            let permit = self.group.permits.get(room, &stream.member);
            let wanted = permit.map_or((false, false), |permit| permit.forwarded(stream.source, true));
            assert_eq!(self.forwarded.get(&(room.clone(), stream.clone())), Some(&wanted), "{stream:?} in {room}");
        }
    }

    fn everybody_holds_who_is_there(&self) {
        let here: Vec<&Page> = self.pages.iter().map(|(_, page)| page).filter(|page| page.room.is_some()).collect();
        for page in &here {
            let known = |other: &&&Page| other.room == page.room && (other.name == page.name || self.is_known(other));
            let others = here.iter().filter(known).map(|other| other.name.clone());
            let people: BTreeSet<String> = page.holds.iter().filter(|name| !name.contains('/')).cloned().collect();
            let pulled = self.pulled(page).filter(|name| !name.contains('/'));
            assert_eq!(people, others.chain(pulled).collect(), "in {:?} as {} sees it", page.room, page.name);
            let same_room = here.iter().filter(known).filter(|other| other.name != page.name && self.is_known(page));
            let screens = |page: &Page| -> BTreeSet<String> {
                page.holds.iter().filter(|name| name.contains('/')).cloned().collect()
            };
            assert!(!page.p2p || page.holds.len() <= 2, "more than two, from browser to browser");
            for other in same_room {
                assert_eq!(page.p2p, other.p2p, "one way for both");
                let foreign = |holds: BTreeSet<String>| -> BTreeSet<String> {
                    holds.into_iter().filter(|s| !s.starts_with(&page.name) && !s.starts_with(&other.name)).collect()
                };
                assert_eq!(foreign(screens(page)), foreign(screens(other)), "screens of third parties");
            }
        }
        let counts = self.group.counts();
        assert_eq!(counts.members, here.len());
        assert_eq!(counts.sockets, self.pages.iter().filter(|(_, page)| page.open).count());
        let known = self.group.endpoints.keys().copied().chain(self.group.pulled_streams.connections());
        let known: BTreeSet<EndpointId> = known.collect();
        assert_eq!(known, self.connections.keys().copied().collect(), "connections of the node and of the media");
    }
}

impl World {
    /// Whether the others were told of them: of a session only when its offer is answered.
    fn is_known(&self, page: &Page) -> bool {
        let room = page.room.as_deref().and_then(|room| self.group.rooms.get(room));
        room.and_then(|room| room.member(&page.name)).is_some_and(|member| !page.session || member.camera)
    }

    /// The streams of other nodes that are shown in the page's room.
    fn pulled(&self, page: &Page) -> impl Iterator<Item = String> {
        let room = page.room.as_deref().and_then(|room| self.group.rooms.get(room));
        let remotes = room.into_iter().flat_map(|room| &room.remotes).filter(|remote| remote.is_known());
        remotes.map(|remote| name_of(&remote.stream))
    }
}

impl Page {
    fn on_reply(&mut self, reply: Reply) {
        let of_members = matches!(
            reply,
            Reply::ExistingParticipants { .. } | Reply::NewParticipantArrived { .. } | Reply::ParticipantLeft { .. }
        );
        assert!(!(self.watches && of_members), "a viewer is told who is there");
        match reply {
            Reply::ExistingParticipants { data } => {
                let (room, name) = self.asked.take().expect("joined without asking");
                assert!(self.room.is_none(), "joined twice");
                self.holds = data.into_iter().chain([name.clone()]).collect();
                (self.room, self.name) = (Some(room), name);
            }
            Reply::NewParticipantArrived { name } => {
                assert!(self.room.is_some() && self.holds.insert(name), "arrived twice, or before the room");
            }
            Reply::ParticipantLeft { name } => assert!(self.holds.remove(&name), "{name} left who isn't here"),
            Reply::ReceiveVideoAnswer { .. } if self.watches => {
                let offers = self.offered.get_mut("").expect("it has offered");
                *offers = offers.checked_sub(1).expect("answered twice");
            }
            Reply::IceCandidate { .. } if self.watches => {}
            Reply::ReceiveVideoAnswer { name, .. } => {
                let own_screen = format!("{}/screen", self.name);
                assert!(self.holds.contains(&name) || name == own_screen, "an answer for {name}");
                let offers = self.offered.get_mut(&name).expect("an answer without an offer");
                *offers = offers.checked_sub(1).expect("answered twice");
            }
            Reply::IceCandidate { name, .. } => {
                assert!(self.holds.contains(&name) || name == format!("{}/screen", self.name));
                assert!(self.offered.contains_key(&name), "a candidate before the offer");
            }
            Reply::Signal { from, .. } => {
                assert!(self.p2p && from != self.name && self.holds.contains(&from), "a signal of {from}");
            }
            Reply::Mode { mode, .. } => {
                self.p2p = mode == CallMode::P2p;
                assert!(self.room.is_some() && !(self.p2p && self.relayed), "straight again");
                self.relayed |= !self.p2p;
            }
            Reply::Speaker { name } => assert!(name.is_none_or(|name| self.holds.contains(&name))),
            Reply::PreferCodec { .. } => {}
            Reply::Enforce { audio, video } => assert!(!self.p2p || audio && video, "enforced by nobody"),
            Reply::Moved { .. } | Reply::Error { .. } => {}
            others => panic!("no client's of a group call: {others:?}"),
        }
    }
}

fn conf(room: usize) -> ConfId {
    ConfId::parse(ROOMS[room]).expect("the rooms' names are ids")
}

fn user(name: usize) -> UserId {
    UserId::parse(NAMES[name]).expect("the names are ids")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_histories_keep_every_members_view_equal_to_the_room(steps in steps()) {
        let mut world = World::new();
        for (room, name) in (0..ROOMS.len()).flat_map(|room| (0..NAMES.len()).map(move |name| (room, name))) {
            world.permit(room, name, true);
        }
        for step in steps {
            world.step(step);
        }
        for i in 0..SOCKETS {
            world.close(i);
        }
        for l in 0..LINKS {
            world.unlink(l);
        }
        prop_assert!(world.group.rooms.is_empty() && world.connections.is_empty());
        prop_assert_eq!(world.group.counts(), RoomCounts::default());
    }
}
