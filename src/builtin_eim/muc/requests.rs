//! Requests of the server's users: what every XMPP entity answers, and links to meetings.

use super::super::mirror::has_muc_room;
use super::super::service;
use super::bridge::{Bridge, Turn};
use super::meetings::{self, MeetingRequest};
use super::room::{MucRoom, Phase, Who};
use super::stanzas;
use crate::clock::Now;
use crate::ids::{ConfId, UserId};
use crate::refusal::Reason;
use crate::xmpp::jid::Jid;
use crate::xmpp::xml::{Element, Stanza};

/// How long a link serves that was asked for by XMPP: for today's meeting.
const LINK_MS: u64 = 24 * 3600 * 1000;
const INFO_NS: &str = "http://jabber.org/protocol/disco#info";
const ITEMS_NS: &str = "http://jabber.org/protocol/disco#items";

impl Bridge {
    pub(super) fn take_request(&mut self, from: &Jid<'_>, iq: &Stanza, turn: &mut Turn<'_>) {
        let (Some("get" | "set"), Some(_)) = (iq.attr("type"), iq.attr("id")) else { return };
        let answer = match iq.payload() {
            Some(payload) if meetings::is_request(payload) => return self.take_meeting(from, iq, turn),
            Some(payload) => self.generic(iq, payload),
            None => meetings::refusal(iq, "modify", "bad-request", ""),
        };
        self.out.push(answer);
    }

    fn generic(&self, iq: &Stanza, payload: &Element) -> Stanza {
        let is_read = iq.attr("type") == Some("get") && payload.attr("node").is_none();
        let is_service = iq.attr("to").is_some_and(|to| !to.contains('@'));
        match (payload.name.as_str(), payload.ns.as_str()) {
            ("query", INFO_NS) if is_read => {
                let known = service::answer(payload, "", &self.settings.domain).and_then(Result::ok).flatten();
                let info = known.unwrap_or_else(|| Element::new("query", INFO_NS));
                let features = meetings::FEATURES.into_iter().filter(|_| is_service);
                let info = features
                    .fold(info, |info, feature| info.with_child(Element::new("feature", INFO_NS).with("var", feature)));
                meetings::back(iq, "result").with_child(info)
            }
            ("query", ITEMS_NS) if is_read => meetings::back(iq, "result").with_child(Element::new("query", ITEMS_NS)),
            _ => match service::answer(payload, "", &self.settings.domain).filter(|_| is_read) {
                Some(Ok(content)) => content.into_iter().fold(meetings::back(iq, "result"), Stanza::with_child),
                _ => meetings::refusal(iq, "cancel", "service-unavailable", ""),
            },
        }
    }

    fn take_meeting(&mut self, from: &Jid<'_>, iq: &Stanza, turn: &mut Turn<'_>) {
        let until = turn.now.moment.plus_ms(self.settings.timeout_ms);
        let read = MeetingRequest::read(iq, from, &self.settings, until);
        match read.and_then(|request| self.meetings.add(request, turn.now.moment)) {
            Ok(number) => self.consider(number, turn),
            Err(refused) => self.out.push(refused),
        }
    }

    /// Answers a request, or takes it a step further.
    fn consider(&mut self, number: u64, turn: &mut Turn<'_>) {
        let Some(request) = self.meetings.pending.get(&number) else { return };
        let (user, name) = (request.user.clone(), request.name());
        let Some(conf) = request.conf.clone() else { return self.create(number, &user, &name, None, turn) };
        match turn.eim.room(&conf) {
            Some(room) if !has_muc_room(room) => self.refuse(number, "cancel", "item-not-found", "it is not open"),
            Some(room) => {
                let moderates = self.rooms.get(&conf).is_some_and(|muc| moderates(muc, &user));
                match room.is_chair(&user) || moderates {
                    true => self.link(number, &conf, turn),
                    false => self.refuse(number, "auth", "forbidden", "only a moderator of the room has its links"),
                }
            }
            None => self.look(&conf, turn.now),
        }
    }

    /// Looks whether a room is there that no conference has yet.
    fn look(&mut self, conf: &ConfId, now: Now) {
        let room = self.rooms.entry(conf.clone());
        let room = room.or_insert_with(|| MucRoom::new(conf.clone(), true, &self.settings));
        room.takes_subject = true;
        if matches!(room.phase, Phase::Out { .. }) {
            room.phase = Phase::Looking { until: now.moment.plus_ms(self.settings.timeout_ms) };
            let (id, query) = (format!("disco:{conf}"), Element::new("query", INFO_NS));
            self.out.push(stanzas::iq("get", &id, &self.settings.observer(), &room.jid, query));
        }
    }

    /// A room that no conference has: it becomes one as soon as one of its moderators is seen to want it.
    pub(super) fn consider_candidate(&mut self, conf: &ConfId, turn: &mut Turn<'_>) {
        let Some(room) = self.rooms.get(conf) else { return };
        let is_named = |request: &MeetingRequest| request.conf.as_ref() == Some(conf) && !request.is_linking;
        let waiting = self.meetings.pending.iter().filter(|(_, request)| is_named(request));
        let waiting: Vec<(u64, UserId)> = waiting.map(|(number, request)| (*number, request.user.clone())).collect();
        let is_refused = !room.trouble.is_empty() || room.is_due(turn.now.moment);
        if room.phase != Phase::In && !is_refused {
            return;
        }
        let subject = room.subject_name();
        let (found, rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(_, user)| room.phase == Phase::In && moderates(room, user));
        let text = match room.phase == Phase::In {
            true => format!("be in the room as its moderator, and make {} its admin", self.settings.observer_bare()),
            false => format!("the room can't be entered: {}", room.trouble),
        };
        let (kind, condition) =
            if room.phase == Phase::In { ("auth", "forbidden") } else { ("cancel", "item-not-found") };
        for (number, _) in rest {
            self.refuse(number, kind, condition, &text);
        }
        let mut is_adopted = false;
        for (number, user) in found {
            match is_adopted {
                true => self.link(number, conf, turn),
                false => {
                    let wanted = self.meetings.pending.get(&number).map(MeetingRequest::name).unwrap_or_default();
                    let name = subject.clone().unwrap_or(wanted);
                    self.create(number, &user, &name, Some(conf), turn);
                    is_adopted = turn.eim.room(conf).is_some();
                }
            }
        }
        if !is_adopted && let Some(mut room) = self.rooms.remove(conf) {
            room.leave(&mut Self::sender(&self.settings, &mut self.out, turn.now));
        }
    }

    fn create(&mut self, number: u64, user: &UserId, name: &str, id: Option<&ConfId>, turn: &mut Turn<'_>) {
        if !turn.may_change {
            return self.refuse(number, "wait", "resource-constraint", "try again");
        }
        let (made, output) = turn.eim.create_mirrored(user, name, id, turn.now, turn.rng);
        self.absorb(output, turn);
        match made {
            Ok(conf) => self.link(number, &conf, turn),
            Err(refused) => {
                let is_many = matches!(refused.reason, Reason::TooManyConferences | Reason::TooManyConferencesOfUser);
                let condition = if is_many { "resource-constraint" } else { "forbidden" };
                self.refuse(number, "wait", condition, refused.reason.key());
            }
        }
    }

    /// Asks the gateway for a guest's link.
    fn link(&mut self, number: u64, conf: &ConfId, turn: &mut Turn<'_>) {
        if let Some(request) = self.meetings.pending.get_mut(&number) {
            request.is_linking = true;
            turn.output.stanzas.push(meetings::question(number, conf, LINK_MS, &self.settings));
        }
    }

    /// Takes the gateway's answer to [`Bridge::link`]; false: it is none.
    pub fn take_link(&mut self, answer: &Stanza) -> bool {
        let Some((number, link)) = meetings::linked(answer) else { return false };
        match link {
            Some((url, code)) => {
                let request = self.meetings.pending.remove(&number);
                self.out.extend(request.map(|request| request.answer(&url, &code)));
            }
            None => self.refuse(number, "wait", "internal-server-error", "there is no link"),
        }
        true
    }

    fn refuse(&mut self, number: u64, kind: &str, condition: &str, text: &str) {
        let request = self.meetings.pending.remove(&number);
        self.out.extend(request.map(|request| request.refusal(kind, condition, text)));
    }

    pub(super) fn drop_late_meetings(&mut self, now: Now) {
        let late = self.meetings.pending.iter().filter(|(_, request)| request.until <= now.moment);
        for number in late.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.refuse(number, "wait", "remote-server-timeout", "the room doesn't answer");
        }
    }
}

/// Whether a user of the server is seen as a moderator of the room.
fn moderates(room: &MucRoom, user: &UserId) -> bool {
    let is_theirs = |who: &Who| matches!(who, Who::Native { user: u, bare: Some(_) } if u == user);
    room.occupants.values().any(|occupant| occupant.is_moderator && is_theirs(&occupant.who))
}
