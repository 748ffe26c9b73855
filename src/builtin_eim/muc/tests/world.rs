//! The built-in EIM, the bridge and a MUC service, with a clock that the test holds.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::{Bridge, MucSettings, Turn};
use super::service::Service;
use crate::builtin_eim::{Eim, EventDelivery, Limits, Output, Settings};
use crate::clock::Now;
use crate::event::Event;
use crate::ids::ConfId;
use crate::xmpp::xml::{Element, Stanza};

pub const COMPONENT: &str = "webconf.ips3000";
const CONF: &str = "je:x:client:conference";
/// Exchanges with the service until nothing is to be said; more is a quarrel without end.
const EXCHANGES_MAX: usize = 400;

pub struct World {
    pub eim: Eim,
    pub bridge: Bridge,
    pub service: Service,
    pub now: u64,
    pub rng: StdRng,
    pub is_up: bool,
    /// All events, in order.
    pub events: Vec<Event>,
    /// Stanzas for the gateway in this process.
    pub inside: Vec<Stanza>,
}

impl World {
    pub fn new() -> Self {
        let settings = Settings {
            domain: "ips3000".into(),
            components: vec![COMPONENT.into()],
            admin_domains: vec!["webconf-admin.ips3000".into()],
            users: Vec::new(),
            event_delivery: EventDelivery::Headlines,
            limits: Limits { conference_members: 6, ..Limits::default() },
        };
        let muc = MucSettings {
            domain: "ips3000".into(),
            component: COMPONENT.into(),
            service: "conference.ips3000".into(),
            resource: "uc".into(),
            members: 6,
            timeout_ms: 10_000,
        };
        let eim = Eim::new(settings).mirrored();
        let (bridge, service, rng) = (Bridge::new(muc), Service::default(), StdRng::seed_from_u64(1));
        let (events, inside) = Default::default();
        let mut world = Self { eim, bridge, service, now: 1_000_000, rng, is_up: false, events, inside };
        world.connect();
        world
    }

    fn turn(&mut self, work: impl FnOnce(&mut Bridge, &mut Turn<'_>)) {
        let now = Now::from(self.now);
        let rng = &mut self.rng;
        let mut turn = Turn { eim: &mut self.eim, now, rng, may_change: true, output: Output::default() };
        work(&mut self.bridge, &mut turn);
        let output = turn.output;
        self.inside.extend(output.stanzas);
    }

    pub fn connect(&mut self) {
        self.is_up = true;
        self.turn(Bridge::up);
    }

    pub fn disconnect(&mut self) {
        self.is_up = false;
        self.bridge.down(Now::from(self.now));
        self.service.take_for(COMPONENT);
    }

    /// An operation in a member's name through a browser. Gives the answer.
    pub fn operate(&mut self, user: &str, kind: &str, operation: Element) -> Stanza {
        let payload = Element::new("jeExtension", CONF).with_child(operation);
        let from = format!("{user}%ips3000@{COMPONENT}/uc");
        let iq = Stanza::iq(kind, payload).with("id", "1").with("from", from).with("to", "jeconference.ips3000");
        let mut output = self.eim.handle(&iq, self.now, &mut self.rng);
        let events = std::mem::take(&mut output.mirrored);
        self.events.extend(events.clone());
        self.turn(|bridge, turn| bridge.note(&events, turn));
        output.stanzas.remove(0)
    }

    pub fn set(&mut self, user: &str, name: &str, attributes: &[(&str, &str)]) -> Stanza {
        let operation = attributes.iter().fold(Element::new(name, CONF), |o, (name, value)| o.with(name, *value));
        self.operate(user, "set", operation)
    }

    /// A conference of Ann's.
    pub fn create(&mut self) -> ConfId {
        let made = self.set("ann", "create", &[("name", "Weekly"), ("password", "12345678")]);
        let conference = made.payload().and_then(|p| p.child("create")).and_then(|c| c.child("conference"));
        let conf = ConfId::parse(conference.unwrap().attr("confId").unwrap()).unwrap();
        self.reconcile();
        conf
    }

    /// Until the service and the bridge have nothing more to say.
    pub fn reconcile(&mut self) {
        for _ in 0..EXCHANGES_MAX {
            self.turn(Bridge::reconcile);
            let sent = self.bridge.take_out();
            for stanza in &sent {
                let text = stanza.to_xml();
                assert_eq!(Stanza::parse(&text).as_ref(), Ok(stanza), "an ill-formed stanza: {text}");
                if self.is_up {
                    self.service.take(stanza);
                }
            }
            let back = if self.is_up { self.service.take_for(COMPONENT) } else { Vec::new() };
            if sent.is_empty() && back.is_empty() {
                return;
            }
            for stanza in back {
                self.turn(|bridge, turn| bridge.take(&stanza, turn));
            }
        }
        panic!("the bridge and the service quarrel");
    }

    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        let mut output = self.eim.tick(self.now, &mut self.rng);
        let events = std::mem::take(&mut output.mirrored);
        self.turn(|bridge, turn| bridge.note(&events, turn));
        self.reconcile();
    }

    /// A stanza of the server's, to the bridge.
    pub fn receive(&mut self, text: &str) {
        let stanza = Stanza::parse(text).unwrap();
        self.turn(|bridge, turn| bridge.take(&stanza, turn));
        self.reconcile();
    }

    /// Somebody enters with a client of their own.
    pub fn native(&mut self, conf: &ConfId, user: &str, nick: &str) {
        let ns = "http://jabber.org/protocol/muc";
        let x = Element::new("x", ns).with_child(Element::new("password", ns).with_text("12345678"));
        let (from, to) = (format!("{user}@ips3000/phone"), format!("{conf}@conference.ips3000/{nick}"));
        let presence = Stanza::new("presence").with("from", from).with("to", to).with_child(x);
        self.service.take(&presence);
        self.reconcile();
    }

    pub fn native_leaves(&mut self, conf: &ConfId, user: &str, nick: &str) {
        let (from, to) = (format!("{user}@ips3000/phone"), format!("{conf}@conference.ips3000/{nick}"));
        let presence = Stanza::new("presence").with("type", "unavailable").with("from", from).with("to", to);
        self.service.take(&presence);
        self.reconcile();
    }

    pub fn native_writes(&mut self, conf: &ConfId, user: &str, name: &str, text: &str) {
        let content = Element::new(name, crate::xmpp::xml::CONTENT_NS).with_text(text);
        let (from, to) = (format!("{user}@ips3000/phone"), format!("{conf}@conference.ips3000"));
        let message = Stanza::new("message").with("type", "groupchat").with("from", from).with("to", to);
        self.service.take(&message.with_child(content));
        self.reconcile();
    }

    /// A room of somebody's that the bridge may administrate.
    pub fn native_room(&mut self, name: &str, user: &str, nick: &str) {
        let (from, to) = (format!("{user}@ips3000/phone"), format!("{name}@conference.ips3000/{nick}"));
        let x = Element::new("x", "http://jabber.org/protocol/muc");
        self.service.take(&Stanza::new("presence").with("from", from).with("to", to).with_child(x));
        let room = self.service.rooms.get_mut(&format!("{name}@conference.ips3000")).unwrap();
        room.affiliations.insert(format!("confgate@{COMPONENT}"), "owner".into());
        self.reconcile();
    }

    /// A request of a user's to the bridge, whose questions for a link are answered; gives its answer.
    pub fn request(&mut self, text: &str) -> Stanza {
        let request = Stanza::parse(text).unwrap();
        let id = request.attr("id").unwrap().to_owned();
        self.turn(|bridge, turn| bridge.take(&request, turn));
        for _ in 0..50 {
            self.turn(Bridge::reconcile);
            for question in std::mem::take(&mut self.inside) {
                let operation = Element::new("getWebAddress", CONF);
                let operation = operation.with("url", "https://gateway/conference/~x").with("code", "~x");
                let answer = Stanza::iq("result", Element::new("jeExtension", CONF).with_child(operation));
                assert!(self.bridge.take_link(&answer.with("id", question.attr("id").unwrap())));
            }
            for stanza in self.bridge.take_out() {
                if stanza.name == "iq" && stanza.attr("id") == Some(&id) {
                    return stanza;
                }
                self.service.take(&stanza);
            }
            for stanza in self.service.take_for(COMPONENT) {
                self.turn(|bridge, turn| bridge.take(&stanza, turn));
            }
        }
        panic!("no answer");
    }

    /// The roster's members by id, in order of their ids.
    pub fn members(&self, conf: &ConfId) -> Vec<String> {
        let Some(room) = self.eim.room(conf) else { return Vec::new() };
        let mut members: Vec<_> = room.roster.members.iter().map(|m| m.user_id.to_string()).collect();
        members.sort();
        members
    }

    /// The room's occupants by nickname, without the observer.
    pub fn occupants(&self, conf: &ConfId) -> Vec<(String, String)> {
        let Some(room) = self.service.rooms.get(&format!("{conf}@conference.ips3000")) else { return Vec::new() };
        let occupants = room.occupants.iter().filter(|(_, o)| !o.jid.starts_with("confgate@"));
        occupants.map(|(nick, o)| (nick.clone(), o.jid.clone())).collect()
    }

    pub fn messages(&self, conf: &ConfId) -> Vec<String> {
        self.eim.room(conf).unwrap().roster.messages.iter().map(|m| m.text.clone()).collect()
    }
}
