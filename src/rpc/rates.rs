//! How often one user may do what others pay for, by kind of act, and how often all of a conference may together.

use std::sync::{Mutex, MutexGuard};

use crate::auth::Caller;
use crate::clock::Moment;
use crate::config;
use crate::ids::{ConfId, UserId};
use crate::rate_limit::limiter::{Limiter, Rate};
use crate::refusal::{Reason, Refusal};
use crate::schema::{IqKind, Method};
use crate::sync;

use super::conference::is_own;
use super::context::{Params, conf_id, text};

/// Most users, and conferences, that each limiter remembers.
const KEYS: usize = 65_536;

/// A kind of act. Each has a rate of its own: none of them uses up another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// About oneself in a conference or a call, coming and going included.
    Own,
    /// An order of the chair.
    Order,
    /// A message.
    Message,
    /// The creation of a conference.
    Create,
    /// A call.
    Call,
    /// A search in the address book.
    Search,
    /// An allocation of a call gateway.
    Allocate,
    /// The creation of a user.
    CreateUser,
    /// An IQ of type set in the caller's own words.
    IqSet,
    /// An event socket opened.
    Socket,
}

impl Act {
    const ALL: [Self; 10] = [
        Self::Own,
        Self::Order,
        Self::Message,
        Self::Create,
        Self::Call,
        Self::Search,
        Self::Allocate,
        Self::CreateUser,
        Self::IqSet,
        Self::Socket,
    ];

    /// The key of its rate, and what that says.
    fn rate(self, limits: &config::Limits) -> (&'static str, u32) {
        match self {
            Self::Own => ("limits.own_controls_per_minute", limits.own_controls_per_minute),
            Self::Order => ("limits.orders_per_minute", limits.orders_per_minute),
            Self::Message => ("limits.messages_per_minute", limits.messages_per_minute),
            Self::Create => ("limits.conference_creates_per_minute", limits.conference_creates_per_minute),
            Self::Call => ("limits.calls_per_minute", limits.calls_per_minute),
            Self::Search => ("limits.searches_per_minute", limits.searches_per_minute),
            Self::Allocate => ("limits.allocations_per_minute", limits.allocations_per_minute),
            Self::CreateUser => ("limits.user_creates_per_minute", limits.user_creates_per_minute),
            Self::IqSet => ("limits.iq_sets_per_minute", limits.iq_sets_per_minute),
            Self::Socket => ("limits.sockets_per_minute", limits.sockets_per_minute),
        }
    }

    /// Whether everybody in the conference is told of it, so that many members' acts add up.
    fn is_broadcast(self) -> bool {
        matches!(self, Self::Own | Self::Message)
    }
}

/// The kind of act that a method is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActRule {
    Always(Act),
    /// `conference.control`: one's own, or the chair's order, by what is asked for.
    OwnOrOrder,
}

impl ActRule {
    /// `None`: nothing that others pay for. `org.user.processIQ` says so itself, once its IQ is read.
    pub fn of(method: &Method) -> Option<Self> {
        Some(Self::Always(match method.name.as_str() {
            "conference.control" => return Some(Self::OwnOrOrder),
            "conference.join" | "conference.leave" => Act::Own,
            "call.accept" | "call.decline" | "call.cancel" | "call.hangup" => Act::Own,
            "conference.update" | "conference.end" => Act::Order,
            "conference.createLink" | "conference.revokeLink" => Act::Order,
            "conference.sendMessage" => Act::Message,
            "conference.create" => Act::Create,
            "call.start" => Act::Call,
            "org.contacts.departments" | "org.contacts.users" | "org.contacts.search" => Act::Search,
            "callgw.allocate" => Act::Allocate,
            "org.user.createUser" => Act::CreateUser,
            // An integrator's own methods.
            _ if method.x_iq.as_ref().is_some_and(|x_iq| x_iq.kind == IqKind::Set) => Act::IqSet,
            _ => return None,
        }))
    }

    fn act(self, caller: &Caller, params: &Params) -> Act {
        match self {
            Self::Always(act) => act,
            Self::OwnOrOrder if is_own(text(params, "action").unwrap_or_default(), caller, params) => Act::Own,
            Self::OwnOrOrder => Act::Order,
        }
    }
}

/// One lock for all: held for the time of a look-up in a map.
pub struct Rates(Mutex<Inner>);

struct Inner {
    limits: config::Limits,
    /// By act, in the order of [`Act::ALL`].
    by_user: Vec<Limiter<UserId>>,
    by_conference: Limiter<ConfId>,
}

impl Rates {
    /// The configured rates.
    pub fn new(limits: &config::Limits) -> Self {
        let of = |act: Act| Limiter::new(Rate::per_minute(act.rate(limits).1), KEYS);
        Self(Mutex::new(Inner {
            limits: limits.clone(),
            by_user: Act::ALL.into_iter().map(of).collect(),
            by_conference: Limiter::new(Rate::per_minute(limits.conference_acts_per_minute), KEYS),
        }))
    }

    /// Counts a request, if it is one that is counted.
    pub(super) fn request(&self, caller: &Caller, rule: Option<ActRule>, params: &Params) -> Result<(), Refusal> {
        let Some(rule) = rule else { return Ok(()) };
        let act = rule.act(caller, params);
        self.act(&caller.user_id, act)?;
        match conf_id(params) {
            Ok(conf) if act.is_broadcast() => self.check_broadcast(&caller.user_id, act, &conf),
            _ => Ok(()),
        }
    }

    /// Counts an act of the user's.
    pub fn act(&self, user: &UserId, act: Act) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let allowed = inner.of(act).allow(user, Moment::now());
        allowed.map_err(|wait| {
            metrics::counter!("confgate_acts_too_fast_total").increment(1);
            Refusal::too_many(Reason::TooFast, wait).with("limit", act.rate(&inner.limits).0)
        })
    }

    fn check_broadcast(&self, user: &UserId, act: Act, conf: &ConfId) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let allowed = inner.by_conference.allow(conf, Moment::now());
        allowed.map_err(|wait| {
            metrics::counter!("confgate_acts_too_fast_total").increment(1);
            inner.of(act).refund(user);
            Refusal::too_many(Reason::ConferenceTooBusy, wait).with("limit", "limits.conference_acts_per_minute")
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        sync::lock(&self.0)
    }
}

impl Inner {
    fn of(&mut self, act: Act) -> &mut Limiter<UserId> {
        &mut self.by_user[act as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acts_are_in_the_order_of_their_limiters() {
        for (at, act) in Act::ALL.into_iter().enumerate() {
            assert_eq!(act as usize, at);
        }
    }

    /// Methods that change nothing, are counted elsewhere, or are an operator's.
    const UNCOUNTED: [&str; 15] = [
        "auth.http.login",
        "auth.http.logout",
        "callgw.drain",
        "callgw.list",
        "callgw.release",
        "callgw.report",
        "conference.get",
        "conference.list",
        "conference.listLinks",
        "conference.members",
        "conference.messages",
        "config.getProperties",
        "events.resume",
        "org.user.processIQ",
        "rpc.discover",
    ];

    #[test]
    fn each_built_in_method_that_changes_something_has_a_rate_of_its_kind() {
        let schema = crate::schema::Schema::load(None).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
        for method in schema.methods() {
            let rule = ActRule::of(method);
            assert_eq!(rule.is_none(), UNCOUNTED.contains(&method.name.as_str()), "{}", method.name);
            assert_ne!(rule, Some(ActRule::Always(Act::IqSet)), "{} is counted like an integrator's", method.name);
        }
    }

    #[test]
    fn each_user_and_each_kind_of_act_has_a_rate_of_its_own() {
        let limits =
            config::Limits { own_controls_per_minute: 12, messages_per_minute: 3, ..config::Limits::default() };
        let (rates, user) = (Rates::new(&limits), |name: &str| UserId::parse(name).unwrap());
        for _ in 0..12 {
            rates.act(&user("u1"), Act::Own).unwrap();
        }
        let refused = rates.act(&user("u1"), Act::Own).unwrap_err();
        assert_eq!((refused.key(), &refused.data["limit"]), ("rpc.tooFast", &"limits.own_controls_per_minute".into()));
        assert!(refused.data["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0));
        rates.act(&user("u1"), Act::Message).unwrap();
        rates.act(&user("u2"), Act::Own).unwrap();
    }

    #[test]
    fn many_members_together_are_bounded_and_none_pays_for_the_others() {
        let limits = config::Limits { conference_acts_per_minute: 5, ..config::Limits::default() };
        let rates = Rates::new(&limits);
        let (c, d) = (ConfId::parse("c").unwrap(), ConfId::parse("d").unwrap());
        let users: Vec<UserId> = (0..6).map(|n| UserId::parse(&format!("u{n}")).unwrap()).collect();
        for user in &users[..5] {
            rates.check_broadcast(user, Act::Own, &c).unwrap();
        }
        assert_eq!(rates.check_broadcast(&users[5], Act::Own, &c).unwrap_err().key(), "conference.tooBusy");
        rates.check_broadcast(&users[5], Act::Own, &d).unwrap();
    }
}
