//! An EIM with a clock, dice and a disk that a test holds in its hands.

use std::collections::{BTreeMap, HashMap};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::builtin_eim::{ConfiguredUser, Eim, EventDelivery, Limits, Output, Settings, Write};
use crate::event::{CallEvent, Conference, Event, Member, Message, Publication, Roster};
use crate::ids::Secret;
use crate::xmpp::xml::{Element, Stanza};

pub const CONF: &str = "je:x:client:conference";
pub const ORG: &str = "je:x:client:org";
pub const CALL: &str = "je:x:client:call";
pub const CONTACTS: &str = "je:x:client:contacts";
pub const GATEWAY: &str = "webconf-admin.ips3000";

/// A user's address through the first gateway.
pub fn via(user: &str) -> String {
    format!("{user}%ips3000@webconf.ips3000/uc")
}

/// A user's address in a session of their own.
pub fn session(user: &str) -> String {
    format!("{user}@ips3000/uc")
}

/// Condition and reason of an error.
pub type Refused = (String, String);

pub struct World {
    pub eim: Eim,
    pub now: u64,
    rng: StdRng,
    disk: HashMap<(String, String), String>,
    /// Events by the address that they went to.
    heard: BTreeMap<String, Vec<Event>>,
    /// News of calls by the address that they went to.
    rung: BTreeMap<String, Vec<CallEvent>>,
    /// Publications that nobody has taken.
    publications: Vec<Publication>,
}

pub fn settings() -> Settings {
    let user = |id: &str, name: &str, password: Option<&str>, department: Option<&str>| ConfiguredUser {
        user_id: id.into(),
        name: name.into(),
        password: password.map(Secret::new),
        department: department.map(Into::into),
        mobile: None,
        email: None,
    };
    Settings {
        domain: "ips3000".into(),
        components: vec!["webconf.ips3000".into(), "webconf-b.ips3000".into()],
        admin_domains: vec![GATEWAY.into()],
        users: vec![
            user("ann", "Ann", Some("annspass"), Some("sales")),
            user("ben", "Ben", None, Some("sales")),
            user("cat", "Cat", None, Some("lab")),
        ],
        event_delivery: EventDelivery::Headlines,
        limits: Limits { conference_members: 5, conferences: 50, users: 60, calls_per_user: 4, ..Limits::default() },
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(settings())
    }

    /// Events leave as publications.
    pub fn publishing() -> Self {
        Self::with(Settings { event_delivery: EventDelivery::Publications, ..settings() })
    }

    fn with(settings: Settings) -> Self {
        let (disk, heard, rung) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        let (rng, publications) = (StdRng::seed_from_u64(7), Vec::new());
        Self { eim: Eim::new(settings), now: 1_000_000, rng, disk, heard, rung, publications }
    }

    pub fn operation(name: &str, attrs: &[(&str, &str)]) -> Element {
        attrs.iter().fold(Element::new(name, ""), |e, (k, v)| e.with(k, *v))
    }

    /// Hands the stanza over and returns the answer, if there is one.
    pub fn send(&mut self, stanza: &Stanza) -> Option<Stanza> {
        let mut output = self.eim.handle(stanza, self.now, &mut self.rng);
        let jobs = std::mem::take(&mut output.jobs);
        let mut answer = self.take(output);
        for job in jobs {
            let output = self.eim.finish(job.run(), self.now, &mut self.rng);
            answer = answer.or(self.take(output));
        }
        answer
    }

    /// Keeps the writes, files the events, returns the answer, which is always first.
    fn take(&mut self, output: Output) -> Option<Stanza> {
        let outbox = output.writes.iter().filter(|write| write.kind == "outbox");
        let kept = outbox.map(|write| serde_json::from_str(write.body.as_deref().unwrap()).unwrap());
        assert_eq!(kept.collect::<Vec<Publication>>(), output.publications, "kept with the change");
        self.publications.extend(output.publications);
        for write in output.writes {
            let key = (write.kind.to_owned(), write.key);
            assert!(key.1.len() <= 160);
            match write.body {
                Some(body) => drop(self.disk.insert(key, body)),
                None => drop(self.disk.remove(&key)),
            }
        }
        let mut answer = None;
        for (i, stanza) in output.stanzas.into_iter().enumerate() {
            let text = stanza.to_xml();
            assert_eq!(Stanza::parse(&text).as_ref(), Ok(&stanza), "an ill-formed stanza: {text}");
            if stanza.name == "iq" {
                assert_eq!(i, 0, "an answer after an event");
                answer = Some(stanza);
                continue;
            }
            assert_eq!(stanza.attr("type"), Some("headline"));
            let body = stanza.payload().unwrap();
            assert_eq!((body.name.as_str(), body.ns.as_str()), ("event", "je:x:client:event"));
            let to = stanza.attr("to").unwrap().to_owned();
            match stanza.attr("from") {
                Some("jecall.ips3000") => {
                    self.rung.entry(to).or_default().push(serde_json::from_str(&body.text()).unwrap());
                }
                from => {
                    assert_eq!(from, Some("jeconference.ips3000"));
                    self.heard.entry(to).or_default().push(serde_json::from_str(&body.text()).unwrap());
                }
            }
        }
        answer
    }

    fn ask(&mut self, kind: &str, from: &str, ns: &str, operation: Element) -> Result<Element, Refused> {
        let request = Stanza::iq(kind, in_module(ns, operation.clone()));
        let request = request.with("from", from).with("to", "jeconference.ips3000").with("id", "7");
        let answer = self.send(&request).expect("an answer");
        assert_eq!(answer.attr("to"), Some(from));
        assert_eq!(answer.attr("from"), Some("jeconference.ips3000"));
        assert_eq!(answer.attr("id"), Some("7"));
        let payload = answer.payload().expect("an answer has content");
        if answer.attr("type") == Some("error") {
            return Err(refused(payload));
        }
        let wrapper = payload;
        assert_eq!((wrapper.name.as_str(), wrapper.ns.as_str()), ("jeExtension", ns));
        let result = wrapper.child(&operation.name).expect("the operation's element").clone();
        assert_eq!(result.ns, ns);
        Ok(result)
    }

    pub fn set(&mut self, from: &str, name: &str, attrs: &[(&str, &str)]) -> Result<Element, Refused> {
        self.ask("set", from, CONF, Self::operation(name, attrs))
    }

    pub fn get(&mut self, from: &str, name: &str, attrs: &[(&str, &str)]) -> Result<Element, Refused> {
        self.ask("get", from, CONF, Self::operation(name, attrs))
    }

    pub fn org(&mut self, kind: &str, name: &str, attrs: &[(&str, &str)]) -> Result<Element, Refused> {
        self.ask(kind, GATEWAY, ORG, Self::operation(name, attrs))
    }

    pub fn contacts(&mut self, from: &str, name: &str, attrs: &[(&str, &str)]) -> Result<Element, Refused> {
        self.ask("get", from, CONTACTS, Self::operation(name, attrs))
    }

    /// Ann's conference, with further arguments.
    pub fn conference(&mut self, attrs: &[(&str, &str)]) -> String {
        let attrs = [&[("name", "Standup")], attrs].concat();
        let created = self.set(&via("ann"), "create", &attrs).unwrap();
        created.child("conference").unwrap().attr("confId").unwrap().to_owned()
    }

    pub fn join(&mut self, user: &str, conf: &str) -> Result<Member, Refused> {
        let joined = self.set(&via(user), "join", &[("confId", conf)])?;
        Ok(member(joined.child("member").unwrap()))
    }

    pub fn control(&mut self, user: &str, conf: &str, attrs: &[(&str, &str)]) -> Result<u64, Refused> {
        let attrs = [&[("confId", conf)], attrs].concat();
        let answer = self.set(&via(user), "control", &attrs)?;
        Ok(answer.attr("seq").unwrap().parse().unwrap())
    }

    pub fn send_message(&mut self, user: &str, conf: &str, text: &str) -> Result<Message, Refused> {
        let operation = Self::operation("sendMessage", &[("confId", conf)]).with_text(text);
        let said = self.ask("set", &via(user), CONF, operation)?.with("userId", user).with_text(text);
        Ok(message(&said))
    }

    pub fn subscribe(&mut self, from: &str, conf: &str, node: &str, generation: u64) -> Result<Roster, Refused> {
        let generation = generation.to_string();
        let attrs = [("confId", conf), ("node", node), ("generation", generation.as_str())];
        self.set(from, "subscribe", &attrs).map(|answer| roster(&answer))
    }

    pub fn presence(&mut self, user: &str, conf: &str, attrs: &[(&str, &str)]) -> Result<(), Refused> {
        let attrs = [&[("confId", conf), ("userId", user)], attrs].concat();
        self.set(GATEWAY, "presence", &attrs).map(drop)
    }

    pub fn snapshot(&mut self, conf: &str) -> Roster {
        roster(&self.get(GATEWAY, "snapshot", &[("confId", conf)]).unwrap())
    }

    pub fn guest(&mut self, user: &str, conf: &str) {
        let attrs = [("name", "A guest"), ("userId", user), ("temporary", "true"), ("confId", conf)];
        self.org("set", "createUser", &attrs).unwrap();
    }

    /// Somebody who came by a link of that role.
    pub fn linked(&mut self, user: &str, conf: &str, role: &str) {
        let attrs = [("name", "By a link"), ("userId", user), ("temporary", "true"), ("confId", conf), ("role", role)];
        self.org("set", "createUser", &attrs).unwrap();
    }

    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        let output = self.eim.tick(self.now, &mut self.rng);
        assert!(self.eim.wait(self.now).is_none_or(|wait| !wait.is_zero()));
        assert_eq!(self.take(output), None);
    }

    pub fn call(&mut self, from: &str, operation: Element) -> Result<Element, Refused> {
        self.ask("set", from, CALL, operation)
    }

    /// An operation of module `call` with nothing but the call's id.
    pub fn on_call(&mut self, user: &str, name: &str, call: &str) -> Result<Element, Refused> {
        self.call(&via(user), Self::operation(name, &[("callId", call)]))
    }

    /// Callid and confId of a call that the user starts.
    pub fn ring(&mut self, user: &str, callees: &[&str]) -> Result<(String, String), Refused> {
        let to = |e: Element, id: &&str| e.with_child(Element::new("to", CALL).with_text(*id));
        let started = self.call(&via(user), callees.iter().fold(Element::new("start", CALL), to))?;
        Ok((started.attr("callId").unwrap().to_owned(), started.attr("confId").unwrap().to_owned()))
    }

    /// A socket of the user's opens on that node.
    pub fn listen(&mut self, user: &str, node: &str, generation: u64) -> Result<Element, Refused> {
        let generation = generation.to_string();
        let attrs = [("node", node), ("generation", generation.as_str())];
        self.call(&via(user), Self::operation("watch", &attrs))
    }

    /// News of calls that the address has heard since it was asked last.
    pub fn rung_at(&mut self, address: &str) -> Vec<CallEvent> {
        self.rung.remove(address).unwrap_or_default()
    }

    pub fn rung(&mut self, user: &str) -> Vec<CallEvent> {
        self.rung_at(&via(user))
    }

    /// Their names, without `call.`, with who and why.
    pub fn rings(&mut self, user: &str) -> String {
        let told = self.rung(user).into_iter().map(|e| {
            let who = e.data.user_id.map(|user| format!("({user})")).unwrap_or_default();
            let why = e.data.reason.map(|reason| format!(":{reason}")).unwrap_or_default();
            format!("{}{who}{why}", &e.step.name()["call.".len()..])
        });
        told.collect::<Vec<_>>().join(" ")
    }

    /// The events that the address has got since the last call.
    pub fn events_at(&mut self, address: &str) -> Vec<Event> {
        self.heard.remove(address).unwrap_or_default()
    }

    /// Types of the events that the address has heard since it was asked last, in their order.
    pub fn hear_types(&mut self, address: &str) -> String {
        self.events_at(address).iter().map(|e| e.change.name()).collect::<Vec<_>>().join(" ")
    }

    /// The publications since the last call.
    pub fn publications(&mut self) -> Vec<Publication> {
        std::mem::take(&mut self.publications)
    }

    /// Their routing keys.
    pub fn published_keys(&mut self) -> Vec<String> {
        self.publications().into_iter().map(|publication| publication.routing_key).collect()
    }

    /// The broker has confirmed it.
    pub fn confirm(&mut self, publication: &Publication) {
        let write = Write::published(publication.number);
        assert!(self.disk.remove(&(write.kind.to_owned(), write.key)).is_some());
    }

    /// The EIM that the disk gives.
    pub fn reloaded(&self) -> Eim {
        let documents = self.disk.iter().map(|((kind, key), body)| (kind.clone(), key.clone(), body.clone()));
        Eim::load(self.eim.settings.clone(), documents).unwrap()
    }

    pub fn disk(&self) -> &HashMap<(String, String), String> {
        &self.disk
    }
}

/// Puts an operation, whose namespace is left to its surroundings, into its module.
pub fn in_module(ns: &str, mut operation: Element) -> Element {
    operation.ns = ns.into();
    Element::new("jeExtension", ns).with_child(operation)
}

pub fn refused(error: &Element) -> Refused {
    assert_eq!(error.name, "error");
    assert!(error.attr("type").is_some());
    let condition = error.children().next().unwrap();
    assert_eq!(condition.ns, "urn:ietf:params:xml:ns:xmpp-stanzas");
    let reason = error.child("reason").expect("every error has our reason");
    assert_eq!(reason.ns, "je:x:client:error");
    (condition.name.to_string(), reason.text())
}

pub fn refusal<T: std::fmt::Debug>(result: Result<T, Refused>) -> String {
    let (condition, reason) = result.expect_err("a refusal");
    format!("{condition} {reason}")
}

fn value(e: &Element, name: &str) -> serde_json::Value {
    match e.attr(name) {
        None => serde_json::Value::Null,
        Some("true") => true.into(),
        Some("false") => false.into(),
        Some(text) if matches!(name, "startAt" | "joinedAt" | "time" | "state") && text.parse::<u64>().is_ok() => {
            text.parse::<u64>().unwrap().into()
        }
        Some(text) => text.into(),
    }
}

fn object(e: &Element, names: &[&str]) -> serde_json::Value {
    names.iter().map(|name| ((*name).to_owned(), value(e, name))).collect::<serde_json::Map<_, _>>().into()
}

pub fn conference(e: &Element) -> Conference {
    let names = ["confId", "confName", "state", "startAt", "chair", "locked", "lobby", "mutePolicy", "mainVideo"];
    let mut all = object(e, &names);
    if let Some(call) = e.child("call") {
        all["call"] = object(call, &["callId", "mode"]);
    }
    serde_json::from_value(all).unwrap()
}

pub fn member(e: &Element) -> Member {
    let names = ["userId", "name", "role", "state", "audio", "video", "hand", "joinedAt"];
    let mut all = object(e, &names);
    all["unmuteAsked"] = e.attr("unmuteAsked").is_some().into();
    serde_json::from_value(all).unwrap()
}

pub fn message(e: &Element) -> Message {
    let mut all = object(e, &["messageId", "userId", "time"]);
    all["text"] = e.text().into();
    serde_json::from_value(all).unwrap()
}

pub fn roster(answer: &Element) -> Roster {
    let all = |name: &str| answer.child(name).unwrap().children();
    Roster {
        epoch: answer.attr("epoch").unwrap().into(),
        seq: answer.attr("seq").unwrap().parse().unwrap(),
        conference: conference(answer.child("conference").unwrap()),
        members: all("members").map(member).collect(),
        waiting: all("waiting").map(member).collect(),
        messages: all("messages").map(message).collect(),
    }
}
