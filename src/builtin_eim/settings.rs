//! The settings of the built-in EIM.

use crate::config::{self, Config, EventsMode};
use crate::ids::Secret;

/// A day in milliseconds.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// The domain that the built-in EIM serves, whom it believes, its address book and its bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The EIM's domain; its modules are at `je<module>.<domain>`.
    pub domain: String,
    /// Component domains whose `user%domain@component` addresses are believed.
    pub components: Vec<String>,
    /// Domains that provision: their bare address may do what no user may.
    pub admin_domains: Vec<String>,
    /// The part of the address book that stands in the configuration. It wins over a stored account of the same id.
    pub users: Vec<ConfiguredUser>,
    /// How events leave.
    pub event_delivery: EventDelivery,
    /// The bounds.
    pub limits: Limits,
}

/// How events leave the EIM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventDelivery {
    /// As headlines, to those who are subscribed.
    Headlines,
    /// To the broker, once each.
    Publications,
}

impl From<EventsMode> for EventDelivery {
    fn from(mode: EventsMode) -> Self {
        if mode == EventsMode::Amqp { Self::Publications } else { Self::Headlines }
    }
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            domain: config.eim.domain.clone(),
            components: config.eim.trusted_components(),
            admin_domains: config.eim.trusted_admin_domains(),
            users: config.eim.users.iter().map(ConfiguredUser::from).collect(),
            event_delivery: EventDelivery::from(config.events.mode),
            limits: Limits::from(&config.limits),
        }
    }
}

/// One person of the configured address book.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfiguredUser {
    /// `[a-z0-9._-]{1,64}`; an entry with another id is left out (the configuration refuses it before).
    pub user_id: String,
    /// The name.
    pub name: String,
    /// Absent: the user can't sign in with a password.
    pub password: Option<Secret>,
    /// The department's name.
    pub department: Option<String>,
    /// The mobile number.
    pub mobile: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
}

impl From<&config::EimUser> for ConfiguredUser {
    fn from(user: &config::EimUser) -> Self {
        Self {
            user_id: user.user_id.to_string(),
            name: user.name.clone(),
            password: user.password.clone(),
            department: user.department.clone(),
            mobile: user.mobile.clone(),
            email: user.email.clone(),
        }
    }
}

/// Bounds of what the EIM keeps. Each is reached only with a refusal of `resource-constraint`, never by dropping
/// what was acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Conferences that are not over.
    pub conferences: usize,
    /// Those of one chair.
    pub conferences_per_user: usize,
    /// Members of one conference, kept seats counted; as many may wait beside them.
    pub conference_members: usize,
    /// Accounts, temporary ones counted.
    pub users: usize,
    /// Conferences that are over and still known by name; the oldest are forgotten first.
    pub ended_kept: usize,
    /// How long a conference that is over is known by name.
    pub ended_kept_ms: u64,
    /// After so long without anybody in it, an open conference ends: nobody's forgotten conference may occupy a
    /// password and a place for ever.
    pub abandoned_ms: u64,
    /// Messages of one conference that can be read back.
    pub messages: usize,
    /// Longest time that the seat of somebody who is away is kept.
    pub seat_max_ms: u64,
    /// How long who was sent out stays out of the conference.
    pub kick_ms: u64,
    /// Calls that are not over.
    pub calls: usize,
    /// Calls that somebody is in or that ring for them; who has as many is busy.
    pub calls_per_user: usize,
    /// Callees of one call.
    pub call_callees: usize,
    /// How long a call rings.
    pub ring_ms: u64,
    /// How long a call lasts at most: it may not hold its people busy when nobody tells any more that they are gone.
    pub call_max_ms: u64,
}

impl From<&config::Limits> for Limits {
    fn from(limits: &config::Limits) -> Self {
        Self {
            conferences: limits.conferences,
            conferences_per_user: limits.conferences_per_user,
            conference_members: limits.conference_members,
            calls: limits.calls,
            calls_per_user: limits.calls_per_user,
            call_callees: limits.call_callees,
            ring_ms: limits.ring.as_millis() as u64,
            kick_ms: limits.kick.as_millis() as u64,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            conferences: 10_000,
            conferences_per_user: 500,
            conference_members: 500,
            users: 100_000,
            ended_kept: 10_000,
            ended_kept_ms: DAY_MS,
            abandoned_ms: 30 * DAY_MS,
            messages: 1000,
            seat_max_ms: 3600 * 1000,
            kick_ms: 600_000,
            calls: 10_000,
            calls_per_user: 8,
            call_callees: 32,
            ring_ms: 45_000,
            call_max_ms: DAY_MS,
        }
    }
}
