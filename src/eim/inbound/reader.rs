//! A body by a file's rules.

use std::borrow::Cow;

use serde_json::Value;

use super::body::words_of;
use super::{InboundEvent, Outcome, bounds};
use crate::eim::addresses::user_at;
use crate::eim::convert::{Scope, Tree, Unreadable};
use crate::event::{AnyEvent, CallEvent, CallStep, Change, ConferenceEvent, Custom, Numbering};
use crate::ids::{ConfId, UserId};
use crate::schema::{Condition, Demand, EventRule, EventRules, KeyPattern, KeyValues, KindRule, ValueRule};

/// Most events of one message: a larger list is none of what happens in a conference at once.
const EVENTS_MAX: usize = 256;
/// The member of an own type's data that is the whole.
const WHOLE: &str = "$";

pub(super) type Why = Cow<'static, str>;

impl From<Unreadable> for Why {
    fn from(why: Unreadable) -> Self {
        why.0
    }
}

/// What stands around a body.
#[derive(Clone, Copy)]
pub(super) struct Envelope<'m> {
    /// The stanza's receiver.
    pub to: Option<&'m str>,
    /// The routing key, and the form that it has.
    pub key: Option<(&'m KeyPattern, &'m str)>,
    /// The EIM's domain.
    pub domain: &'m str,
    /// Ms since 1970.
    pub now: u64,
}

impl<'m> Envelope<'m> {
    /// The values of the routing key. `kind`: the event's type as the EIM has it, where it stands in the body.
    pub fn values(&self, kind: Option<&str>) -> Result<KeyValues<'m>, Why> {
        let Some((pattern, key)) = self.key else { return Ok(KeyValues::default()) };
        pattern.values(key, kind).ok_or_else(|| "the key has another type, or names nobody".into())
    }

    /// The user that the message is for. `named`: by the body.
    pub fn receiver(&self, named: Option<UserId>, values: &KeyValues<'_>) -> Result<Option<UserId>, Why> {
        let by_key = match values.user_id {
            Some(user) => Some(UserId::parse(user).ok_or("the key names nobody")?),
            None => None,
        };
        if named.is_some() && by_key.is_some() && named != by_key {
            return Err("to: the key is of another user".into());
        }
        Ok(named.or(by_key).or_else(|| user_at(self.to?, self.domain)))
    }
}

/// The event with its receiver, without whom a call's event is none.
pub(super) fn addressed(to: Option<UserId>, event: AnyEvent) -> Result<InboundEvent, Why> {
    match event {
        AnyEvent::Conference(event) => Ok(InboundEvent::Conference { to, event }),
        AnyEvent::Call(event) => {
            let to = to.ok_or("to: a call's event is for a user")?;
            Ok(InboundEvent::Call { to, event })
        }
    }
}

/// The alternative that takes an entry, and the entry's type.
type Found<'r, P> = (&'r EventRule<P>, Kind);

/// A body, the rules that it is read by, and what stands around it.
pub(super) struct Reader<'r, T: Tree> {
    rules: &'r EventRules<T::Path>,
    root: &'r T,
    ns: &'r str,
    envelope: Envelope<'r>,
}

impl<'r, T: Tree> Reader<'r, T> {
    pub fn new(rules: &'r EventRules<T::Path>, root: &'r T, ns: &'r str, envelope: Envelope<'r>) -> Self {
        Self { rules, root, ns, envelope }
    }

    /// `is_last`: by the alternatives that take what is left of a message, in place of all others.
    pub fn read(&self, is_last: bool) -> Outcome {
        match self.events(is_last) {
            Ok(Some(events)) => Outcome::Events(events),
            Ok(None) => Outcome::NotOurs,
            Err(why) => Outcome::Bad(why),
        }
    }

    fn events(&self, is_last: bool) -> Result<Option<Vec<InboundEvent>>, Why> {
        if !self.fits(self.root, &self.rules.matches)? {
            return Ok(None);
        }
        let Some(each) = &self.rules.each else {
            let found = self.alternative(self.root, is_last)?;
            return found.map(|(rule, kind)| Ok(vec![self.event(self.root, rule, &kind)?])).transpose();
        };
        if is_last {
            return Ok(None);
        }
        let entries = self.root.find(each, self.ns, true)?;
        if entries.len() > EVENTS_MAX {
            return Err(format!("more than {EVENTS_MAX} events").into());
        }
        let mut events = Vec::new();
        for (i, entry) in entries.into_iter().enumerate() {
            let found = match self.alternative(entry, false)? {
                None => self.alternative(entry, true)?,
                found => found,
            };
            if let Some((rule, kind)) = found {
                events.push(self.event(entry, rule, &kind).map_err(|why| format!("event {i}: {why}"))?);
            }
        }
        Ok(Some(events))
    }

    fn scope<'s>(&'s self, key: KeyValues<'s>) -> Scope<'s, T> {
        Scope { root: self.root, ns: self.ns, key, domain: self.envelope.domain }
    }

    fn fits(&self, part: &T, conditions: &[Condition<T::Path>]) -> Result<bool, Why> {
        for condition in conditions {
            let found = part.find(&condition.place, self.ns, false)?;
            let is_met = match (&condition.demand, found.first()) {
                (Demand::Absent, None) => true,
                (Demand::Present | Demand::OneOf(_), None) => false,
                (Demand::Absent, Some(found)) => matches!(found.text(&condition.place), Ok(None)),
                (Demand::Present, Some(found)) => !matches!(found.text(&condition.place), Ok(None)),
                (Demand::OneOf(values), Some(found)) => match found.text(&condition.place) {
                    Ok(Some(text)) => values.iter().any(|value| value == text.trim()),
                    _ => false,
                },
            };
            if !is_met {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The alternative that takes the entry, and its type.
    fn alternative(&self, entry: &T, is_last: bool) -> Result<Option<Found<'r, T::Path>>, Why> {
        for rule in &self.rules.events {
            if matches!(rule.kind, KindRule::Own(_)) != is_last || !self.fits(entry, &rule.matches)? {
                continue;
            }
            if let Some(kind) = self.kind(entry, &rule.kind)? {
                return Ok(Some((rule, kind)));
            }
        }
        Ok(None)
    }

    fn kind(&self, entry: &T, rule: &KindRule<T::Path>) -> Result<Option<Kind>, Why> {
        let (rule, words) = match rule {
            KindRule::Const(name) => return Ok(Some(Kind { name: name.clone(), word: None })),
            KindRule::Words(rule, words) => (rule, Some(words)),
            KindRule::Own(rule) => (rule, None),
        };
        let scope = self.scope(self.envelope.values(None)?);
        let value = scope.value(Some(entry), rule).map_err(|why| why.within("type"))?;
        let Some(word) = value.as_ref().and_then(Value::as_str) else { return Ok(None) };
        let name = match words {
            Some(words) => words.get(word).and_then(Value::as_str).map(str::to_owned),
            None => {
                let custom = Custom::new(word, Value::Null).ok_or("type: no name")?;
                Some(custom.name().to_owned())
            }
        };
        Ok(name.map(|name| Kind { name, word: Some(word.to_owned()) }))
    }

    fn event(&self, entry: &T, rule: &EventRule<T::Path>, kind: &Kind) -> Result<InboundEvent, Why> {
        let key = self.envelope.values(kind.word.as_deref())?;
        let scope = self.scope(key);
        let read = |name: &str, rule: &Option<ValueRule<T::Path>>| match rule {
            Some(rule) => scope.value(Some(entry), rule).map_err(|why| Why::from(why.within(name))),
            None => Ok(None),
        };
        let conf_id = self.conf_id(read("confId", &self.rules.conf_id)?, &key)?;
        let numbering = numbering(read("epoch", &self.rules.epoch)?, read("seq", &self.rules.seq)?)?;
        let time = match (&self.rules.time, read("time", &self.rules.time)?) {
            (None, _) => self.envelope.now,
            (Some(_), time) => time.as_ref().and_then(Value::as_u64).ok_or("time: not a time")?,
        };
        let actor = user("actor", read("actor", &self.rules.actor)?)?;
        let to = self.envelope.receiver(user("to", read("to", &self.rules.to)?)?, &key)?;
        let data = match rule.data.as_slice() {
            [(name, rule)] if name == WHOLE => scope.value(Some(entry), rule).map(Option::unwrap_or_default),
            members => scope.members(Some(entry), members),
        };
        let data = data.map_err(|why| why.within("data"))?;
        let of_data = |error: serde_json::Error| format!("data: {}", words_of(&error));
        let event = match CallStep::of_name(&kind.name) {
            Some(step) => {
                let data = serde_json::from_value(data).map_err(of_data)?;
                AnyEvent::Call(CallEvent { conf_id, time, step, actor, data })
            }
            None => {
                let change = Change::read(&kind.name, data).map_err(of_data)?;
                AnyEvent::Conference(ConferenceEvent { numbering, conf_id, time, change, actor })
            }
        };
        bounds::check(&event)?;
        addressed(to, event)
    }

    /// By the body, by the key, or by both alike.
    fn conf_id(&self, named: Option<Value>, key: &KeyValues<'_>) -> Result<ConfId, Why> {
        let named = named.as_ref().and_then(Value::as_str);
        if named.is_some() && key.conf_id.is_some() && named != key.conf_id {
            return Err("confId: the key is of another conference".into());
        }
        let id = named.or(key.conf_id).ok_or("confId: absent")?;
        ConfId::parse(id).ok_or_else(|| "confId: not 1 to 64 of A-Z a-z 0-9 _ -".into())
    }
}

/// An event's type, and the EIM's word for it where it has one.
struct Kind {
    name: String,
    word: Option<String>,
}

fn numbering(epoch: Option<Value>, seq: Option<Value>) -> Result<Option<Numbering>, Why> {
    match (epoch, seq) {
        (None, None) => Ok(None),
        (Some(Value::String(epoch)), Some(seq)) => {
            let seq = seq.as_u64().ok_or("seq: not a number from 1 on")?;
            Ok(Some(Numbering { epoch, seq }))
        }
        (None, _) => Err("epoch: absent".into()),
        (_, None) => Err("seq: absent".into()),
        (Some(_), Some(_)) => Err("epoch: not a text".into()),
    }
}

fn user(member: &str, value: Option<Value>) -> Result<Option<UserId>, Why> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let user = value.as_str().and_then(UserId::parse);
            user.map(Some).ok_or_else(|| format!("{member}: not a user's id").into())
        }
    }
}
