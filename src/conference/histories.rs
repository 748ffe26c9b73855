//! Random histories: the built-in EIM on one side, clients on the other, the conference's core between, and a link that
//! breaks. After any history, replaying the events over the snapshots gives the EIM's roster.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Ending;
use super::core::{Core, Effect, EimRequest, Failure, Limits, MediaPermissions, Right, Start, Subscribed};
use super::log::Position;
use crate::builtin_eim::{Eim, Settings};
use crate::eim::convert;
use crate::eim::requests::object;
use crate::event::{Change, Event, Member, Roster};
use crate::ids::{ConfId, UserId};
use crate::refusal::{Kind, Refusal};
use crate::schema::Schema;
use crate::xmpp::xml::Stanza;

pub(super) const LIMITS: Limits =
    Limits { grace_ms: 2000, window_ms: 6000, log: 12, replay: 10, replay_bytes: 1 << 20, look_ms: 3000 };
pub(super) const USERS: usize = 4;
const ACTIONS: [&str; 6] = ["muteSelf", "unmuteSelf", "raiseHand", "lowerHand", "openCamera", "closeCamera"];

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::load(None).expect("the built-in schema is right"));

#[derive(Debug, Clone)]
pub(super) enum Step {
    Join(usize),
    Leave(usize),
    /// A socket opens, in place of one that is open; `bool`: it says where it left off.
    Open(usize, bool),
    Close(usize),
    Act(usize, usize),
    Say(usize),
    Kick(usize),
    Lobby(bool),
    Admit,
    /// The EIM answers the oldest request.
    Answer,
    /// It answers two, and the second answer comes first.
    Overtake,
    /// Another process takes the node's place.
    Restart,
    Cut,
    Mend,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let user = 0..USERS;
    let step = prop_oneof![
        4 => user.clone().prop_map(Step::Join),
        1 => user.clone().prop_map(Step::Leave),
        5 => (user.clone(), any::<bool>()).prop_map(|(u, resumes)| Step::Open(u, resumes)),
        3 => user.clone().prop_map(Step::Close),
        5 => (user.clone(), 0..ACTIONS.len()).prop_map(|(u, a)| Step::Act(u, a)),
        2 => user.clone().prop_map(Step::Say),
        1 => (1..USERS).prop_map(Step::Kick),
        1 => any::<bool>().prop_map(Step::Lobby),
        1 => Just(Step::Admit),
        8 => Just(Step::Answer),
        2 => Just(Step::Overtake),
        1 => Just(Step::Restart),
        1 => Just(Step::Cut),
        2 => Just(Step::Mend),
        2 => (1..4000u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..80)
}

/// A client of the event socket.
#[derive(Default)]
pub(super) struct Client {
    /// The generation of the socket that is open.
    pub(super) open: Option<u64>,
    roster: Option<Roster>,
    /// The snapshots that it got while it had a roster.
    pub(super) snapshots: usize,
}

pub(super) struct World {
    eim: Eim,
    conf: ConfId,
    limits: Limits,
    core: Core,
    pub(super) clients: HashMap<UserId, Client>,
    requests: VecDeque<EimRequest>,
    /// Events on their way, where they take it: as over a broker, beside the answers.
    pub(super) on_the_way: Option<VecDeque<Event>>,
    /// The tracks that call gateways forward for each user, by the commands they got.
    granted: HashMap<UserId, Right>,
    connected: bool,
    generation: u64,
    now: u64,
}

fn user(n: usize) -> UserId {
    UserId::parse(&format!("u{n}")).unwrap()
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        let mut eim = Eim::new(Settings {
            domain: "ips3000".into(),
            components: vec!["webconf.ips3000".into()],
            admin_domains: vec!["webconf-admin.ips3000".into()],
            users: vec![],
            event_delivery: crate::builtin_eim::EventDelivery::Headlines,
            limits: Default::default(),
        });
        let now = 1_000_000;
        let made = ask(&mut eim, "conference.create", Some(&user(0)), json!({"name": "Random"}), now, &mut Vec::new());
        let conf: ConfId = serde_json::from_value(made.unwrap()["confId"].clone()).unwrap();
        let core = Core::new(conf.clone(), limits, now);
        let clients = (0..USERS).map(|n| (user(n), Client::default())).collect();
        Self {
            eim,
            conf,
            limits,
            core,
            clients,
            requests: VecDeque::new(),
            on_the_way: None,
            granted: HashMap::new(),
            connected: true,
            generation: 0,
            now,
        }
    }

    /// Asks the EIM, and brings its events over the link if that is up.
    fn ask(&mut self, name: &str, as_user: Option<&UserId>, mut params: Value) -> Result<Value, Refusal> {
        params["confId"] = self.conf.as_str().into();
        let mut events = Vec::new();
        let answer = ask(&mut self.eim, name, as_user, params, self.now, &mut events);
        self.bring(events);
        answer
    }

    fn bring(&mut self, events: Vec<Event>) {
        if !self.connected {
            return;
        }
        if let Some(on_the_way) = &mut self.on_the_way {
            return on_the_way.extend(events);
        }
        for event in events {
            let effects = self.core.event(event, self.now);
            self.carry_out(effects);
        }
    }

    /// So many of the events that are on their way arrive.
    pub(super) fn arrive(&mut self, count: usize) {
        for _ in 0..count {
            let Some(event) = self.on_the_way.as_mut().and_then(VecDeque::pop_front) else { return };
            let effects = self.core.event(event, self.now);
            self.carry_out(effects);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { user, generation, frame } => self.receive(&user, generation, &frame),
                Effect::Close { user, generation, .. } | Effect::Release { user, generation } => {
                    let client = self.clients.get_mut(&user).unwrap();
                    if client.open == Some(generation) {
                        *client = Client::default();
                    }
                }
                Effect::EimRequest(request) => self.requests.push_back(request),
                Effect::Grant(permissions) => self.grant(permissions),
                Effect::Emit(_) => {}
            }
        }
        if let Some(roster) = self.core.roster() {
            let may = |m: &Member| (m.user_id.clone(), m.into());
            let may: HashMap<UserId, Right> = roster.members.iter().map(may).collect();
            assert_eq!(self.granted, may, "call gateways enforce what the roster says");
        }
    }

    fn grant(&mut self, permissions: MediaPermissions) {
        match permissions {
            MediaPermissions::All(members) => self.granted = members.into_iter().collect(),
            MediaPermissions::Member { user, right } => drop(self.granted.insert(user, right)),
            MediaPermissions::Gone { user, .. } => drop(self.granted.remove(&user)),
            MediaPermissions::Over | MediaPermissions::Unfollowed => self.granted.clear(),
        }
    }

    fn receive(&mut self, user: &UserId, generation: u64, frame: &str) {
        let client = self.clients.get_mut(user).unwrap();
        if client.open != Some(generation) {
            return;
        }
        let frame: Value = serde_json::from_str(frame).unwrap();
        if frame["method"] == "conference.snapshot" {
            client.snapshots += usize::from(client.roster.is_some());
            client.roster = Some(serde_json::from_value(frame["params"].clone()).unwrap());
            return;
        }
        let event: Event = serde_json::from_value(frame["params"].clone()).unwrap();
        let known =
            client.roster.as_ref().filter(|roster| (&event.epoch, event.seq) == (&roster.epoch, roster.seq + 1));
        let sends_away = match &event.change {
            Change::MemberLeft(left) => left.user_id == *user,
            Change::WaitingRemoved(gone) => gone.user_id == *user,
            _ => false,
        };
        if known.is_none() && sends_away {
            // Sent away before their first frame: that event alone, and nothing after it.
            client.roster = None;
            return;
        }
        let roster = client.roster.as_mut().expect("a snapshot precedes the first event");
        assert_eq!((&event.epoch, event.seq), (&roster.epoch, roster.seq + 1), "no gap, no repeat");
        roster.apply(&event.change);
        roster.seq = event.seq;
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Join(n) => {
                let who = user(*n);
                if self.ask("conference.join", Some(&who), json!({})).is_ok() {
                    let open = self.clients[&who].open;
                    self.generation += 1;
                    let effects = match open {
                        Some(generation) => self.core.attach(who, generation, Start::Snapshot, self.now),
                        None => self.core.joined(&who, self.generation, self.now),
                    };
                    self.carry_out(effects);
                }
            }
            Step::Leave(n) => drop(self.ask("conference.leave", Some(&user(*n)), json!({}))),
            Step::Open(n, resumes) => self.open(&user(*n), *resumes),
            Step::Close(n) => self.close(&user(*n)),
            Step::Act(n, action) => {
                drop(self.ask("conference.control", Some(&user(*n)), json!({"action": ACTIONS[*action]})));
            }
            Step::Say(n) => drop(self.ask("conference.sendMessage", Some(&user(*n)), json!({"text": "hm"}))),
            Step::Kick(n) => {
                let params = json!({"action": "kick", "userId": user(*n)});
                drop(self.ask("conference.control", Some(&user(0)), params));
            }
            Step::Lobby(on) => drop(self.ask("conference.update", Some(&user(0)), json!({"lobby": on}))),
            Step::Admit => {
                drop(self.ask("conference.control", Some(&user(0)), json!({"action": "admit", "value": "all"})));
            }
            Step::Answer => self.answer_eim(),
            Step::Overtake => self.overtake(),
            Step::Restart => self.restart(),
            Step::Cut => self.connected = false,
            Step::Mend => self.reconnect(),
            Step::Pass(ms) => self.pass(*ms),
        }
    }

    fn open(&mut self, who: &UserId, resumes: bool) {
        self.generation += 1;
        let generation = self.generation;
        let client = self.clients.get_mut(who).unwrap();
        if !resumes {
            client.roster = None;
        }
        client.open = Some(generation);
        let position = client.roster.as_ref().map(|r| Position { epoch: r.epoch.clone(), seq: r.seq });
        let start = position.map_or(Start::Snapshot, Start::Since);
        let effects = self.core.attach(who.clone(), generation, start, self.now);
        self.carry_out(effects);
    }

    fn close(&mut self, who: &UserId) {
        if let Some(generation) = self.clients.get_mut(who).unwrap().open.take() {
            let effects = self.core.detach(who, generation, Ending::Closed, self.now);
            self.carry_out(effects);
        }
    }

    /// The EIM answers the oldest request.
    pub(super) fn answer_eim(&mut self) {
        if let Some((request, reply)) = self.reply() {
            self.deliver(request, reply);
        }
    }

    pub(super) fn answer_all(&mut self) {
        while !self.requests.is_empty() {
            self.answer_eim();
        }
    }

    /// The EIM answers the two oldest requests, and the answer to the second comes first.
    pub(super) fn overtake(&mut self) {
        let replies = [self.reply(), self.reply()];
        for (request, reply) in replies.into_iter().rev().flatten() {
            self.deliver(request, reply);
        }
    }

    fn reply(&mut self) -> Option<(EimRequest, Result<Value, Failure>)> {
        let request = self.requests.pop_front()?;
        if !self.connected {
            return Some((request, Err(Failure::Unreachable)));
        }
        let claim = |generation: &u64| json!({"node": "n1", "generation": generation});
        let answer = match &request {
            EimRequest::Subscribe { user, generation, since } => {
                let mut params = claim(generation);
                if let Some(Position { epoch, seq }) = since {
                    (params["sinceEpoch"], params["sinceSeq"]) = (epoch.as_str().into(), (*seq).into());
                }
                let own = self.ask("eim.subscribe", Some(user), params);
                match own.as_ref().is_ok_and(|own| own["restricted"] == true) {
                    true => self.ask("eim.snapshot", None, json!({})),
                    false => own,
                }
            }
            EimRequest::Snapshot | EimRequest::Look => self.ask("eim.snapshot", None, json!({})),
            EimRequest::Unsubscribe { user, generation, linger_ms } => {
                let mut params = claim(generation);
                params["lingerMs"] = (*linger_ms).into();
                self.ask("eim.unsubscribe", Some(user), params)
            }
            EimRequest::Away { user, generation } | EimRequest::Gone { user, generation, .. } => {
                let mut params = claim(generation);
                params["userId"] = user.as_str().into();
                params["state"] = "reconnecting".into();
                if let EimRequest::Gone { keep_ms, .. } = &request {
                    params["state"] = "gone".into();
                    params["keepMs"] = (*keep_ms).into();
                }
                self.ask("eim.presence", None, params)
            }
        };
        let failed = |refusal: Refusal| match refusal.kind {
            Kind::NotFound | Kind::NotOpen => Failure::NoConference,
            _ => Failure::Refused,
        };
        Some((request, answer.map_err(failed)))
    }

    fn deliver(&mut self, request: EimRequest, reply: Result<Value, Failure>) {
        let roster = |reply: Result<Value, Failure>| reply.map(|value| serde_json::from_value(value).unwrap());
        let effects = match request {
            EimRequest::Subscribe { user, .. } => {
                let subscribed = reply.map(|value| Subscribed::read(value).unwrap());
                self.core.on_subscribe_reply(&user, subscribed, self.now)
            }
            EimRequest::Snapshot => self.core.on_snapshot_reply(roster(reply), self.now),
            EimRequest::Look => self.core.on_look_reply(roster(reply), self.now),
            EimRequest::Unsubscribe { user, .. } | EimRequest::Away { user, .. } | EimRequest::Gone { user, .. } => {
                self.core.on_presence_reply(&user, reply.map(drop), self.now)
            }
        };
        self.carry_out(effects);
    }

    /// The node's process ends and another begins: no socket is left, and nothing is known. What is on its way to it
    /// comes to the other.
    pub(super) fn restart(&mut self) {
        self.clients.values_mut().for_each(|client| client.open = None);
        self.requests.clear();
        self.granted.clear();
        self.connected = true;
        self.core = Core::new(self.conf.clone(), self.limits, self.now);
        self.generation += 1;
        let generation = self.generation;
        let answer = self.ask("eim.resetNode", None, json!({"node": "n1", "generation": generation})).unwrap();
        for seat in answer["seats"].as_array().into_iter().flatten() {
            let who: UserId = serde_json::from_value(seat["userId"].clone()).unwrap();
            let effects = self.core.away_since_restart(&who, generation, self.now);
            self.carry_out(effects);
        }
    }

    fn reconnect(&mut self) {
        if !self.connected {
            self.connected = true;
            let effects = self.core.link_up(self.now);
            self.carry_out(effects);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        let mut events = Vec::new();
        take(self.eim.tick(self.now, &mut rand::rng()).stanzas, &mut events);
        self.bring(events);
        let effects = self.core.tick(self.now);
        self.carry_out(effects);
    }

    /// Lets everything that is under way come to its end.
    pub(super) fn run_to_rest(&mut self) {
        self.reconnect();
        for _ in 0..200 {
            self.arrive(usize::MAX);
            self.answer_all();
            self.pass(100);
        }
    }

    /// At rest, each client's roster is the EIM's, and a member without a socket has left once the grace was over.
    pub(super) fn check(&mut self) {
        let truth = self.truth();
        for (who, client) in &self.clients {
            let (Some(_), Some(roster)) = (client.open, &client.roster) else { continue };
            if truth.member(who).is_some() || truth.conference.chair == *who {
                assert_eq!(roster, &truth, "{who}");
            }
        }
        for member in &truth.members {
            assert!(self.clients[&member.user_id].open.is_some(), "{} is a ghost", member.user_id);
        }
    }

    fn truth(&mut self) -> Roster {
        serde_json::from_value(self.ask("eim.snapshot", None, json!({})).unwrap()).unwrap()
    }
}

/// One request over the schema's conversion, and the events that came of it.
fn ask(
    eim: &mut Eim,
    name: &str,
    as_user: Option<&UserId>,
    params: Value,
    now: u64,
    events: &mut Vec<Event>,
) -> Result<Value, Refusal> {
    let method = SCHEMA.internal(name).or_else(|| SCHEMA.method(name)).unwrap();
    let x_iq = method.x_iq.as_ref().unwrap();
    let mut iq = convert::to_iq(x_iq, &object(params), "ips3000")?;
    let from = as_user.map_or("webconf-admin.ips3000".to_owned(), |u| format!("{u}%ips3000@webconf.ips3000/uc"));
    iq.set("from", from);
    iq.set("id", "1");
    let mut stanzas = eim.handle(&iq, now, &mut rand::rng()).stanzas;
    let at = stanzas.iter().position(|s| s.name == "iq").expect("every request is answered");
    let answer = stanzas.remove(at);
    take(stanzas, events);
    convert::from_iq(x_iq, &answer, &convert::Dialect::new(&SCHEMA, "ips3000"))
}

fn take(stanzas: Vec<Stanza>, events: &mut Vec<Event>) {
    for message in stanzas {
        let body = message.payload().expect("an event").text();
        events.push(serde_json::from_str(&body).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 3, ..ProptestConfig::default() })]

    #[test]
    fn replaying_events_over_snapshots_gives_the_eims_roster_through_cuts_resumes_and_takeovers(steps in steps()) {
        let mut world = World::new(LIMITS);
        for step in &steps {
            world.step(step);
        }
        world.run_to_rest();
        world.check();
    }
}

/// The event of the user's leaving is handled after their second join: it waits for the events before it.
#[test]
fn a_user_without_a_socket_who_leaves_and_joins_again_is_gone_after_the_grace() {
    use Step::{Answer, Join, Leave, Open, Pass};
    let mut world = World::new(LIMITS);
    let steps = [Join(2), Open(0, false), Join(2), Answer, Answer, Join(0), Answer, Leave(2), Join(2), Pass(500)];
    for step in &steps {
        world.step(step);
    }
    world.run_to_rest();
    world.check();
}
