//! The EIM's process: the real [`Eim`] with the glue of `builtin_eim/runtime/worker.rs` (batches, transactions, what
//! can't be kept is undone) and of `eim/amqp/publisher.rs` (what isn't confirmed is published again). The store is what
//! its transactions have made durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::history::History;
use super::messages::{Connected, EimCall, Kept, Message, Timer, World, pause};
use super::schedule::{ConnectionId, End, Ms};
use crate::builtin_eim::{Eim, EventDelivery, Limits, Output, Settings, Write};
use crate::conference::core::Failure;
use crate::eim::convert::{self, Dialect};
use crate::eim::requests::object;
use crate::event::{Publication, Roster};
use crate::ids::{ConfId, UserId};
use crate::schema::Schema;
use crate::xmpp::xml::Stanza;

/// `WRITE_RETRY_PAUSE` and `KEEP_TRYING` of the runtime.
const REST_MS: Ms = 500;
const WAKE_MS: Ms = 250;
/// Publications under way at once.
const WINDOW: usize = 16;
/// How long somebody who was sent out stays out here.
const KICK_MS: u64 = 3000;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::load(None).expect("the built-in schema is right"));
static DIALECT: LazyLock<Dialect> = LazyLock::new(|| Dialect::new(&SCHEMA, "ips3000"));

struct Request {
    connection: ConnectionId,
    number: u64,
    call: EimCall,
    iq: Stanza,
}

/// What waits for its transaction.
struct Batch {
    writes: Vec<Write>,
    publications: Vec<Publication>,
    replies: Vec<(ConnectionId, u64, Result<Value, Failure>)>,
    taken: Vec<Request>,
    now: Ms,
}

#[derive(Default)]
struct Publisher {
    queue: VecDeque<Publication>,
    /// The number of the last one that came in.
    last: u64,
    /// How many of the queue's first are on their way over the connection.
    under_way: usize,
    connection: Connected,
}

/// Owns the EIM, its store and the publisher.
pub struct EimHost {
    /// `None` while the process is down.
    eim: Option<Eim>,
    pub run: u32,
    store: BTreeMap<(String, String), String>,
    inbox: VecDeque<Request>,
    batch: Option<Batch>,
    /// Nothing is changed until then.
    rest: Option<Ms>,
    kept_at: Ms,
    publisher: Publisher,
    /// Transactions fail until then.
    pub trouble_until: Ms,
    rng: StdRng,
    pub history: History,
    pub conf: ConfId,
}

fn settings() -> Settings {
    Settings {
        domain: "ips3000".into(),
        components: vec!["webconf.ips3000".into()],
        admin_domains: vec!["webconf-admin.ips3000".into()],
        users: vec![],
        event_delivery: EventDelivery::Publications,
        limits: Limits { kick_ms: KICK_MS, ..Limits::default() },
    }
}

fn x_iq(call: &EimCall) -> &'static crate::schema::XIq {
    let method = SCHEMA.internal(call.name).or_else(|| SCHEMA.method(call.name)).expect("an entry of the schema");
    method.x_iq.as_ref().expect("the EIM answers it")
}

fn to_iq(call: &EimCall) -> Stanza {
    let mut iq = convert::to_iq(x_iq(call), &object(call.params.clone()), "ips3000").expect("a request is right");
    let user = |u: &UserId| format!("{u}%ips3000@webconf.ips3000/uc");
    iq.set("from", call.user.as_ref().map_or("webconf-admin.ips3000".to_owned(), user));
    iq.set("id", "1");
    iq
}

impl EimHost {
    /// With a conference of the user's.
    pub fn new(seed: u64, chair: &UserId, now: Ms) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0xE1);
        let mut eim = Eim::new(settings());
        let params = json!({"name": "Simulated"});
        let call = EimCall { name: "conference.create", user: Some(chair.clone()), params };
        let output = eim.handle(&to_iq(&call), now, &mut rng);
        let made = convert::from_iq(x_iq(&call), &output.stanzas[0], &DIALECT).expect("it is made");
        let conf: ConfId = serde_json::from_value(made["confId"].clone()).expect("an id");
        let snapshot = EimCall { name: "eim.snapshot", user: None, params: json!({"confId": conf}) };
        let first = eim.handle(&to_iq(&snapshot), now, &mut rng);
        let first = convert::from_iq(x_iq(&snapshot), &first.stanzas[0], &DIALECT).expect("there is one");
        let history = History::new(serde_json::from_value(first).expect("a roster"));
        let mut host = Self {
            eim: Some(eim),
            run: 0,
            store: BTreeMap::new(),
            inbox: VecDeque::new(),
            batch: None,
            rest: None,
            kept_at: now,
            publisher: Publisher::default(),
            trouble_until: 0,
            rng,
            history,
            conf,
        };
        host.keep(output.writes);
        host.publisher.put(output.publications);
        host
    }

    pub fn is_up(&self) -> bool {
        self.eim.is_some()
    }

    pub fn start(&mut self, world: &mut World) {
        if self.eim.is_none() {
            let mut eim = Eim::load(settings(), self.documents()).expect("it reads what it wrote");
            self.publisher.put(eim.take_unpublished());
            self.eim = Some(eim);
        }
        let run = self.run;
        world.after(0, Timer::PublisherConnect { run });
        world.after(WAKE_MS, Timer::EimWake { run });
    }

    /// The process ends. A transaction under way may be durable.
    pub fn crash(&mut self, world: &mut World) {
        self.eim = None;
        self.run += 1;
        if let Some(batch) = self.batch.take()
            && world.chance(0.5)
        {
            self.keep(batch.writes);
        }
        self.inbox.clear();
        (self.rest, self.publisher) = (None, Publisher::default());
        world.cut_all(End::Eim);
    }

    fn documents(&self) -> Vec<(String, String, String)> {
        self.store.iter().map(|((kind, key), body)| (kind.clone(), key.clone(), body.clone())).collect()
    }

    fn keep(&mut self, writes: Vec<Write>) {
        for write in writes {
            if let Some(body) = write.body.as_ref().filter(|_| write.kind == "outbox") {
                self.history.note(body);
            }
            let key = (write.kind.to_owned(), write.key);
            match write.body {
                Some(body) => drop(self.store.insert(key, body)),
                None => drop(self.store.remove(&key)),
            }
        }
    }

    pub fn wake(&mut self, world: &mut World) {
        world.after(WAKE_MS, Timer::EimWake { run: self.run });
        self.work(world);
    }

    pub fn on_request(&mut self, connection: ConnectionId, number: u64, mut call: EimCall, world: &mut World) {
        if self.eim.is_none() {
            // The server answers in its place.
            let answer = Err(Failure::Unreachable);
            return world.send(connection, End::Eim, Message::Reply { number, answer });
        }
        if call.name != "eim.resetNode" && call.name != "conference.list" {
            call.params["confId"] = self.conf.as_str().into();
        }
        let iq = to_iq(&call);
        self.inbox.push_back(Request { connection, number, call, iq });
        self.work(world);
    }

    /// One turn of the worker's loop, unless a transaction is under way.
    fn work(&mut self, world: &mut World) {
        let Some(eim) = self.eim.as_mut().filter(|_| self.batch.is_none()) else { return };
        self.rest = self.rest.filter(|until| *until > world.now);
        let now = if self.rest.is_some() { self.kept_at } else { world.now };
        let mut all = if self.rest.is_none() { eim.tick(now, &mut self.rng) } else { Output::default() };
        let mut batch = Batch { writes: vec![], publications: vec![], replies: vec![], taken: vec![], now };
        for request in std::mem::take(&mut self.inbox) {
            let is_change = request.iq.attr("type") == Some("set");
            let answer = if self.rest.is_some() && is_change {
                Err(Failure::Unreachable)
            } else {
                let mut output = eim.handle(&request.iq, now, &mut self.rng);
                all.writes.append(&mut output.writes);
                all.publications.append(&mut output.publications);
                read(&request.call, &output.stanzas)
            };
            batch.replies.push((request.connection, request.number, answer));
            batch.taken.push(request);
        }
        (batch.writes, batch.publications) = (all.writes, all.publications);
        if batch.writes.is_empty() {
            self.kept_at = now;
            return self.send(batch, world);
        }
        let is_in_trouble = world.now < self.trouble_until;
        let kept = match world.range(0, 99) {
            0..70 if is_in_trouble => Kept::No,
            70..80 if is_in_trouble => Kept::Unsure,
            _ => Kept::Yes,
        };
        let ms = if kept == Kept::Yes { world.range(1, 15) } else { REST_MS };
        self.batch = Some(batch);
        world.after(ms, Timer::Committed { run: self.run, kept });
    }

    pub fn committed(&mut self, kept: Kept, world: &mut World) {
        let Some(mut batch) = self.batch.take() else { return };
        if kept != Kept::No {
            self.keep(std::mem::take(&mut batch.writes));
        }
        if kept == Kept::Yes {
            self.kept_at = batch.now;
        } else {
            self.undo(&mut batch, world);
        }
        self.send(batch, world);
        self.work(world);
    }

    /// The EIM is what the store has. Changes are refused, what only reads is answered anew.
    fn undo(&mut self, batch: &mut Batch, world: &World) {
        let mut eim = self.eim.take().expect("it is up").reload(self.documents()).expect("it reads what it wrote");
        self.publisher.put(eim.take_unpublished());
        self.rest = Some(world.now + REST_MS);
        batch.publications.clear();
        for (request, reply) in batch.taken.iter().zip(&mut batch.replies) {
            reply.2 = match request.iq.attr("type") {
                Some("set") => Err(Failure::Unreachable),
                _ => read(&request.call, &eim.handle(&request.iq, self.kept_at, &mut self.rng).stanzas),
            };
        }
        self.eim = Some(eim);
    }

    fn send(&mut self, batch: Batch, world: &mut World) {
        self.publisher.put(batch.publications);
        self.publisher.publish(world);
        for (connection, number, answer) in batch.replies {
            world.send(connection, End::Eim, Message::Reply { number, answer });
        }
    }

    /// What the EIM says of the conference at this moment.
    pub fn roster(&mut self, now: Ms) -> Roster {
        let call = EimCall { name: "eim.snapshot", user: None, params: json!({"confId": self.conf}) };
        let eim = self.eim.as_mut().expect("it is up at the end");
        let answer = read(&call, &eim.handle(&to_iq(&call), now, &mut self.rng).stanzas).expect("it answers");
        serde_json::from_value(answer).expect("a roster")
    }

    pub fn connect_publisher(&mut self, broker_is_up: bool, world: &mut World) {
        if self.publisher.connection.is_some() {
            return;
        }
        if broker_is_up {
            self.publisher.connection = Some(world.connect(End::Eim, End::Broker));
            self.publisher.under_way = 0;
            self.publisher.publish(world);
        } else {
            let ms = pause(world);
            world.after(ms, Timer::PublisherConnect { run: self.run });
        }
    }

    pub fn on_confirm(&mut self, connection: ConnectionId, number: u64, world: &mut World) {
        if self.publisher.connection != Some(connection) {
            return;
        }
        let first = self.publisher.queue.pop_front().expect("one is under way");
        assert_eq!(first.number, number, "confirmed in order");
        self.publisher.under_way -= 1;
        let ms = world.range(1, 300);
        world.after(ms, Timer::Forget { run: self.run, number });
        self.publisher.publish(world);
    }

    pub fn forget(&mut self, number: u64) {
        self.keep(vec![Write::published(number)]);
    }

    pub fn lost(&mut self, connection: ConnectionId, world: &mut World) {
        if self.publisher.connection == Some(connection) {
            self.publisher.connection = None;
            let ms = pause(world);
            world.after(ms, Timer::PublisherConnect { run: self.run });
        }
    }

    pub fn publisher_connection(&self) -> Connected {
        self.publisher.connection
    }
}

/// The answer to a request is the first of the stanzas, as events leave by the broker.
fn read(call: &EimCall, stanzas: &[Stanza]) -> Result<Value, Failure> {
    convert::from_iq(x_iq(call), &stanzas[0], &DIALECT).map_err(|refusal| Failure::from(&refusal))
}

impl Publisher {
    /// Each once, by number: the store may give some that are known already.
    fn put(&mut self, publications: Vec<Publication>) {
        for publication in publications {
            if publication.number > self.last {
                self.last = publication.number;
                self.queue.push_back(publication);
            }
        }
    }

    fn publish(&mut self, world: &mut World) {
        let Some(connection) = self.connection else { return };
        while let Some(next) = self.queue.get(self.under_way).filter(|_| self.under_way < WINDOW) {
            world.send(connection, End::Eim, Message::Publish(next.clone()));
            self.under_way += 1;
        }
    }
}
