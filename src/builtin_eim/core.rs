//! The EIM's state, and the way of one stanza through it.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{Rng, RngExt};

use super::accounts::Accounts;
use super::address::{self, Caller, Sender, Visitor};
use super::call_subscriptions::CallSubscriptions;
use super::calls::Calls;
use super::dialect::Module;
use super::directory::{Directory, Stored};
use super::outbox::Outbox;
use super::persistence::{self, LoadError, Write};
use super::recent_events::RecentEvents;
use super::room::{Cause, Posted, Room};
use super::settings::{EventDelivery, Settings};
use super::stanza_error::{Envelope, StanzaError};
use super::work::{Outcome, Work};
use super::{events, menu, service};
use crate::clock::Now;
use crate::event::{Event, Publication, Role};
use crate::ids::{ConfId, UserId};
use crate::refusal::Reason;
use crate::xmpp::jid::Jid;
use crate::xmpp::xml::{Element, SENT_MAX, Stanza};

/// The effects of a stanza or of the passing of time. The writes must be durable before anything is sent or published;
/// the stanzas are sent in their order: the answer, then events by number.
#[derive(Debug, Default)]
pub struct Output {
    /// Stanzas to send, in order.
    pub stanzas: Vec<Stanza>,
    /// Writes that must be durable first.
    pub writes: Vec<Write>,
    /// Events for the broker, in order; the writes have each of them too.
    pub publications: Vec<Publication>,
    /// Work for other threads.
    pub jobs: Vec<Job>,
    /// The conferences' events, in order, where [`Eim::mirrored`] is on.
    pub mirrored: Vec<Event>,
}

impl Output {
    /// Adds the effects of what was done next.
    pub(super) fn add(&mut self, next: Self) {
        self.stanzas.extend(next.stanzas);
        self.writes.extend(next.writes);
        self.publications.extend(next.publications);
        self.jobs.extend(next.jobs);
        self.mirrored.extend(next.mirrored);
    }
}

/// Work of tens of milliseconds that is done elsewhere, so that nobody waits for somebody's password.
#[derive(Debug)]
pub struct Job {
    envelope: Envelope,
    work: Work,
}

/// A job's outcome, for [`Eim::finish`].
#[derive(Debug)]
pub struct Done {
    envelope: Envelope,
    outcome: Outcome,
}

impl Done {
    /// The requester.
    pub(super) fn envelope(&self) -> Envelope {
        self.envelope.clone()
    }

    /// Whether taking it changes anything.
    pub(super) fn changes(&self) -> bool {
        matches!(self.outcome, Outcome::Hashed(_))
    }
}

impl Job {
    /// Blocks for tens of milliseconds.
    pub fn run(self) -> Done {
        Done { envelope: self.envelope, outcome: self.work.run() }
    }
}

/// One call of the EIM under way.
pub(super) struct CallContext<'a> {
    /// Now.
    pub now: Now,
    pub rng: &'a mut dyn Rng,
    pub events: Vec<Stanza>,
    /// Writes that must be durable first.
    pub writes: Vec<Write>,
    pub publications: Vec<Publication>,
    pub mirrored: Vec<Event>,
}

impl<'a> CallContext<'a> {
    pub fn new(now: Now, rng: &'a mut dyn Rng) -> Self {
        let (events, writes, publications, mirrored) = Default::default();
        Self { now, rng, events, writes, publications, mirrored }
    }

    pub fn output(self, answer: Option<Stanza>) -> Output {
        let Self { events, writes, publications, mirrored, .. } = self;
        let stanzas = answer.into_iter().chain(events).collect();
        Output { stanzas, writes, publications, jobs: Vec::new(), mirrored }
    }

    /// Random decimal digits.
    pub fn digits(&mut self, n: usize) -> String {
        self.pick(b"0123456789", n)
    }

    /// Random text of `[a-z0-9]`.
    pub fn text(&mut self, n: usize) -> String {
        self.pick(b"abcdefghijklmnopqrstuvwxyz0123456789", n)
    }

    fn pick(&mut self, alphabet: &[u8], n: usize) -> String {
        (0..n).map(|_| alphabet[self.rng.random_range(0..alphabet.len())] as char).collect()
    }
}

/// The result of an operation.
pub(super) enum Response {
    Now(Element),
    Later(Work),
}

/// The built-in EIM. No task, no lock, no clock: whoever owns it calls it with the time.
#[derive(Debug, PartialEq)]
pub struct Eim {
    pub(super) settings: Settings,
    pub(super) directory: Directory,
    pub(super) people: Accounts,
    /// How often each gateway node has been reset.
    pub(super) nodes: BTreeMap<String, u64>,
    pub(super) calls: Calls,
    pub(super) call_subscriptions: CallSubscriptions,
    pub(super) recent_events: RecentEvents,
    outbox: Outbox,
    /// Whether each event is given out in [`Output::mirrored`] too.
    mirrored: bool,
}

impl Eim {
    /// An EIM that knows nobody but the configured users.
    pub fn new(settings: Settings) -> Self {
        let people = Accounts::load(&settings, &BTreeMap::new()).expect("nothing is read");
        Self {
            settings,
            directory: Directory::default(),
            people,
            nodes: BTreeMap::new(),
            calls: Calls::default(),
            call_subscriptions: CallSubscriptions::default(),
            recent_events: RecentEvents::default(),
            outbox: Outbox::default(),
            mirrored: false,
        }
    }

    /// The same, which gives each event out in [`Output::mirrored`] too, for who mirrors the conferences.
    pub fn mirrored(self) -> Self {
        Self { mirrored: true, ..self }
    }

    /// The EIM that wrote these documents: `(kind, key, body)`, in any order.
    ///
    /// # Errors
    /// A document that can't be read: to go on without it would lose what was acknowledged.
    pub fn load(
        settings: Settings,
        documents: impl IntoIterator<Item = (String, String, String)>,
    ) -> Result<Self, LoadError> {
        let (mut stored, mut users, mut nodes) = (Stored::default(), BTreeMap::new(), BTreeMap::new());
        let (mut calls, mut call_subscriptions) = (Calls::default(), CallSubscriptions::default());
        let mut outbox = Outbox::default();
        for (kind, key, body) in documents {
            match kind.as_str() {
                persistence::CONFERENCE => drop(stored.conferences.insert(key, body)),
                persistence::PERSON => drop(stored.people.insert(key, body)),
                persistence::MESSAGE => drop(stored.messages.insert(key, body)),
                persistence::USER => drop(users.insert(key, body)),
                persistence::NODE => {
                    let resets = persistence::read(persistence::NODE, &key, &body)?;
                    nodes.insert(key, resets);
                }
                persistence::CALL => calls.restore(persistence::read(persistence::CALL, &key, &body)?),
                persistence::LISTENER => call_subscriptions.restore(&key, &body)?,
                persistence::OUTBOX => outbox.restore(&key, &body)?,
                _ => return Err(LoadError { kind, key, why: "an unknown kind".into() }),
            }
        }
        let directory = Directory::load(stored, &settings.limits)?;
        let people = Accounts::load(&settings, &users)?;
        let recent_events = RecentEvents::default();
        let mirrored = false;
        Ok(Self { settings, directory, people, nodes, calls, call_subscriptions, recent_events, outbox, mirrored })
    }

    /// This EIM with other documents. Its publications go on by number.
    ///
    /// # Errors
    /// As for [`Eim::load`].
    pub fn reload(&self, documents: impl IntoIterator<Item = (String, String, String)>) -> Result<Self, LoadError> {
        let mut eim = Self::load(self.settings.clone(), documents)?;
        eim.outbox.continue_after(&self.outbox);
        eim.mirrored = self.mirrored;
        Ok(eim)
    }

    /// The publications that the documents had, in order: once. The broker may have some of them.
    pub fn take_unpublished(&mut self) -> Vec<Publication> {
        self.outbox.take()
    }

    /// Conferences that are not over.
    pub fn conferences(&self) -> usize {
        self.directory.open_count()
    }

    /// Calls that are not over.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// The domain that the EIM serves.
    pub fn domain(&self) -> &str {
        &self.settings.domain
    }

    /// Whether the EIM itself is at this address.
    pub fn is_at(&self, address: &str) -> bool {
        let is_own =
            |jid: Jid<'_>| jid.is_at(&self.settings.domain) || self.module_addresses().any(|module| jid.is_at(&module));
        Jid::parse(address).is_some_and(is_own)
    }

    /// `je<module>.<domain>`.
    pub fn module_addresses(&self) -> impl Iterator<Item = String> {
        Module::ALL.into_iter().map(|module| format!("{}.{}", module.host(), self.settings.domain))
    }

    /// Handles one stanza whose `from` the server vouches for. Requests are always answered; what needs no answer
    /// (presence, messages, answers to us) is without effect.
    pub fn handle(&mut self, stanza: &Stanza, now: impl Into<Now>, rng: &mut dyn Rng) -> Output {
        let mut context = CallContext::new(now.into(), rng);
        let kind = stanza.attr("type").unwrap_or_default();
        if stanza.name != "iq" || matches!(kind, "result" | "error") {
            return Output::default();
        }
        self.pass_time(&mut context);
        let envelope = Envelope::answering(stanza);
        let mut jobs = Vec::new();
        let answer = match self.answer(stanza, kind, &mut context) {
            Ok(Some(Response::Later(work))) => {
                jobs.push(Job { envelope, work });
                None
            }
            Ok(Some(Response::Now(payload))) => Some(bounded(envelope, payload)),
            Ok(None) => Some(envelope.result(None)),
            Err(deny) => Some(envelope.error(&deny)),
        };
        Output { jobs, ..context.output(answer) }
    }

    /// Does what has become due. To be called when [`Eim::wait`] is over.
    pub fn tick(&mut self, now: impl Into<Now>, rng: &mut dyn Rng) -> Output {
        let mut context = CallContext::new(now.into(), rng);
        self.pass_time(&mut context);
        context.output(None)
    }

    /// How long there is nothing to do unless somebody asks, as long as nobody sets the wall clock.
    pub fn wait(&self, now: impl Into<Now>) -> Option<Duration> {
        let now = now.into();
        let moment = self.directory.next_due().into_iter().chain(self.calls.next_due()).min();
        let date = self.directory.next_start().map(|at| Duration::from_millis(at.saturating_sub(now.date)));
        moment.map(|at| at.since(now.moment)).into_iter().chain(date).min()
    }

    /// Takes a job's outcome and answers the request that it was for.
    pub fn finish(&mut self, done: Done, now: impl Into<Now>, rng: &mut dyn Rng) -> Output {
        let mut context = CallContext::new(now.into(), rng);
        let answer = match self.conclude(done.outcome, &mut context) {
            Ok(payload) => bounded(done.envelope, wrapped(Module::Org, payload)),
            Err(deny) => done.envelope.error(&deny),
        };
        context.output(Some(answer))
    }

    /// Answers a job's request that there is too much to do, instead of doing it.
    pub fn refuse(&mut self, job: Job) -> Output {
        self.abandon(&job.work);
        let answer = job.envelope.error(&StanzaError::of(Reason::EimBusy));
        Output { stanzas: vec![answer], ..Output::default() }
    }

    fn answer(
        &mut self,
        stanza: &Stanza,
        kind: &str,
        context: &mut CallContext<'_>,
    ) -> Result<Option<Response>, StanzaError> {
        let mut children = stanza.children();
        let (Some(request), None) = (children.next(), children.next()) else { return Err(StanzaError::argument("iq")) };
        if !matches!(kind, "get" | "set") {
            return Err(StanzaError::argument("type"));
        }
        let to = stanza.attr("to").unwrap_or(&self.settings.domain);
        if kind == "get"
            && let Some(answer) = service::answer(request, to, &self.settings.domain)
        {
            return answer.map(|payload| payload.map(Response::Now));
        }
        let module = Module::of_ns(&request.ns).filter(|_| request.name == "jeExtension");
        let module = module.ok_or(StanzaError::of(Reason::ServiceUnknown))?;
        let caller = self.caller(stanza.attr("from").unwrap_or_default())?;
        let mut operations = request.children();
        let (Some(operation), None) = (operations.next(), operations.next()) else {
            return Err(StanzaError::argument("jeExtension"));
        };
        let answer = self.operate(module, &caller, kind, operation, context)?;
        Ok(Some(match answer {
            Response::Now(payload) => Response::Now(wrapped(module, payload)),
            later => later,
        }))
    }

    fn operate(
        &mut self,
        module: Module,
        caller: &Caller,
        kind: &str,
        operation: &Element,
        context: &mut CallContext<'_>,
    ) -> Result<Response, StanzaError> {
        match module {
            Module::Conference => self.conference(caller, kind, operation, context).map(Response::Now),
            Module::Contacts => self.contacts(caller, kind, operation).map(Response::Now),
            Module::Org => self.org(caller, kind, operation, context),
            Module::Config => menu::answer(kind, operation).map(Response::Now),
            Module::Call => self.call(caller, kind, operation, context).map(Response::Now),
        }
    }

    fn caller(&self, from: &str) -> Result<Caller, StanzaError> {
        match address::sender(from, &self.settings) {
            None => Err(StanzaError::of(Reason::CallerUnknown)),
            Some(Sender::Gateway) => Ok(Caller::Gateway),
            Some(Sender::User(id)) => {
                let account = self.people.get(&id);
                Ok(Caller::User(Visitor {
                    address: from.to_owned(),
                    name: account.map(|a| a.name.clone()),
                    temporary: account.is_some_and(|a| a.temporary),
                    guest_of: account.and_then(|a| a.guest_of.clone()),
                    role: account.map_or(Role::Guest, |a| a.role),
                    id,
                }))
            }
        }
    }

    /// Does one operation on a conference, and whatever follows from it.
    pub(super) fn in_room<T>(
        &mut self,
        context: &mut CallContext<'_>,
        id: &ConfId,
        actor: Option<&UserId>,
        operation: impl FnOnce(&mut Room, &Cause<'_>) -> Result<T, StanzaError>,
    ) -> Result<T, StanzaError> {
        let cause = Cause { now: context.now, actor, limits: &self.settings.limits };
        let room = self.directory.get_mut(id)?;
        let result = operation(room, &cause);
        room.admit_waiting(&cause);
        let call = room.roster.conference.call.as_ref().map(|call| call.call_id.clone());
        let notices = call.map_or_else(Vec::new, |call| self.calls.follow(&call, room, &cause));
        self.calls.take_writes(&mut context.writes);
        self.publish_changes(context, id);
        self.send_call_notices(context, notices);
        result
    }

    /// Takes what has happened in a conference.
    pub(super) fn publish_changes(&mut self, context: &mut CallContext<'_>, id: &ConfId) {
        for posted in self.directory.commit(id, &self.settings.limits, &mut context.writes) {
            self.post(context, posted);
        }
    }

    fn post(&mut self, context: &mut CallContext<'_>, posted: Posted) {
        let Posted { event, to } = posted;
        let json = events::json(&event);
        self.recent_events.add(&event, &json, context.now.moment);
        if self.mirrored {
            context.mirrored.push(event.clone());
        }
        match self.settings.event_delivery {
            EventDelivery::Headlines => self.send_headlines(context, &to, json),
            EventDelivery::Publications => {
                let key = events::conference_key(&event.conf_id, event.change.name());
                self.publish(context, key, events::message_id(&event), json);
            }
        }
    }

    /// `json`: the event's, for each of the addresses.
    pub(super) fn send_headlines(&self, context: &mut CallContext<'_>, to: &[String], json: String) {
        let from = format!("{}.{}", Module::Conference.host(), self.settings.domain);
        context.events.extend(events::stanzas(&from, to, json));
    }

    /// Keeps a publication together with the change that it follows from.
    pub(super) fn publish(&mut self, context: &mut CallContext<'_>, key: String, message_id: String, body: String) {
        let (publication, write) = self.outbox.add(key, message_id, body);
        context.writes.push(write);
        context.publications.push(publication);
    }

    fn pass_time(&mut self, context: &mut CallContext<'_>) {
        while let Some(conf) = self.calls.pop_due(context.now.moment) {
            // A call's conference is there as long as the call: what is due is found by looking at it.
            let _ = self.in_room(context, &conf, None, |_, _| Ok(()));
        }
        while let Some(id) = self.directory.pop_due(context.now) {
            let limits = &self.settings.limits;
            let ended = self.directory.get(&id).ok().and_then(|room| Some((room.ended_at?, room.kept_ms(limits))));
            if ended.is_some_and(|(at, kept_ms)| at.plus_ms(kept_ms) <= context.now.moment) {
                self.forget(&id, context);
                continue;
            }
            // The conference is there: it was due.
            let _ = self.in_room(context, &id, None, |room, cause| {
                room.tick(cause);
                Ok(())
            });
        }
    }

    /// A conference that is over long enough goes, and the guests' accounts that were made for it.
    fn forget(&mut self, id: &ConfId, context: &mut CallContext<'_>) {
        self.directory.forget(id, &mut context.writes);
        for guest in self.people.guests_of(id) {
            context.writes.extend(self.people.delete(&guest).ok());
        }
    }
}

fn wrapped(module: Module, payload: Element) -> Element {
    Element::new("jeExtension", module.ns()).with_child(payload)
}

/// The answer, if a stream can carry it.
fn bounded(envelope: Envelope, payload: Element) -> Stanza {
    let answer = envelope.clone().result(Some(payload));
    if answer.fits(SENT_MAX) { answer } else { envelope.error(&StanzaError::of(Reason::AnswerTooLarge)) }
}
