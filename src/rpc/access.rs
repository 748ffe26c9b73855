//! Access to methods: the schema's `x-access`, held against the caller and the conference.

use serde_json::Value;

use crate::auth::{AuthService, Caller};
use crate::conference::{ConferenceRef, Conferences};
use crate::eim::Eim;
use crate::eim::requests::Requests;
use crate::event::{Conference, Role};
use crate::ids::ConfId;
use crate::refusal::{Kind, Reason, Refusal};
use crate::schema::{Access, Method};

use super::context::{Params, conf_id};

/// The parts that know who belongs where.
#[derive(Clone)]
pub struct Authorization {
    pub(super) conferences: Conferences,
    pub(super) auth: AuthService,
    pub(super) calls: Requests,
    pub(super) eim: Eim,
}

impl Authorization {
    pub(super) async fn check(&self, caller: &Caller, method: &Method, params: &Params) -> Result<(), Refusal> {
        match &method.access {
            Access::Open | Access::Token => Ok(()),
            Access::User if caller.is_guest() => Err(not_for_guests()),
            Access::User => Ok(()),
            Access::Scope(scope) if caller.has(scope) => Ok(()),
            Access::GuestOr(scope) if caller.is_guest() || caller.has(scope) => Ok(()),
            Access::GuestOr(scope) | Access::Scope(scope) => Err(scope_missing(scope)),
            // Not among the methods that clients may name.
            Access::Internal => Err(Refusal::of(Reason::MethodNotFound)),
            Access::Invited => visible(caller, &conf_id(params)?),
            Access::Conference => Box::pin(self.belongs(caller, &conf_id(params)?)).await,
            Access::Chair => Box::pin(self.is_chair(caller, &conf_id(params)?)).await,
        }
    }

    /// A guest to their own conference; a user to those that they chair or are in.
    pub(super) async fn belongs(&self, caller: &Caller, conf: &ConfId) -> Result<(), Refusal> {
        visible(caller, conf)?;
        if caller.is_guest() {
            return Ok(());
        }
        if let Some(roster) = self.conferences.roster(conf).await {
            let user = &caller.user_id;
            let there = roster.member(user).is_some() || roster.waiter(user).is_some();
            if there || roster.conference.chair == *user {
                return Ok(());
            }
        }
        // The EIM knows best: asked as the user, it answers for conferences that they belong to only.
        let own = self.own_conferences(caller).await?;
        if own.iter().any(|own| own.conf_id == *conf) || self.conference(caller, conf).await?.chair == caller.user_id {
            return Ok(());
        }
        Err(Refusal::of(Reason::NotMember))
    }

    async fn is_chair(&self, caller: &Caller, conf: &ConfId) -> Result<(), Refusal> {
        visible(caller, conf)?;
        if caller.chairs || self.conference(caller, conf).await?.chair == caller.user_id {
            return Ok(());
        }
        let member = match self.conferences.roster(conf).await {
            Some(roster) => roster.member(&caller.user_id).cloned(),
            None => self.auth.member(conf, &caller.user_id).await?,
        };
        if member.is_some_and(|member| member.role == Role::Chair) {
            return Ok(());
        }
        Err(Refusal::of(Reason::ChairOnly))
    }

    /// The conference as it is now: as followed here, else as the EIM says, asked within the caller's share.
    pub(super) async fn conference(&self, caller: &Caller, conf: &ConfId) -> Result<Conference, Refusal> {
        if let Some(roster) = self.conferences.roster(conf).await {
            return Ok(roster.conference.clone());
        }
        self.auth.conference_within(Some(self.eim.guard(&caller.user_id)?), conf).await
    }

    /// Refuses who was sent out of the conference. Its chair is stopped by its end alone, and no chair by the bar of a
    /// browser in which somebody was a guest as well.
    pub(super) async fn may_enter(&self, caller: &Caller, device: Option<&str>, conf: &ConfId) -> Result<(), Refusal> {
        let device = device.filter(|_| !caller.chairs);
        let barred = self.auth.check_not_banned(conf, Some(&caller.user_id), device).await;
        match barred {
            Err(refusal) if refusal.kind == Kind::Forbidden => {
                let is_chair = self.conference(caller, conf).await?.chair == caller.user_id;
                if is_chair { Ok(()) } else { Err(refusal) }
            }
            other => other,
        }
    }

    /// The conferences that a caller belongs to: a guest's own, a user's as the EIM lists them.
    pub(super) async fn own_conferences(&self, caller: &Caller) -> Result<Vec<ConferenceRef>, Refusal> {
        if let Some(own) = &caller.confined_to {
            return Ok(vec![ConferenceRef { conf_id: own.clone(), call: false }]);
        }
        let with_calls = Params::from_iter([("calls".to_owned(), true.into())]);
        let listed = self.calls.as_user("conference.list", &caller.user_id, &with_calls).await?;
        let listed = listed["conferences"].as_array().cloned().unwrap_or_default();
        let own = |c: Value| {
            let conf_id = serde_json::from_value(c["confId"].clone()).map_err(Refusal::fault)?;
            Ok(ConferenceRef { conf_id, call: c["call"].is_object() })
        };
        listed.into_iter().map(own).collect()
    }
}

/// A conference that isn't a guest's own does not exist for them.
fn visible(caller: &Caller, conf: &ConfId) -> Result<(), Refusal> {
    if caller.may_see(conf) { Ok(()) } else { Err(Refusal::of(Reason::ConferenceNotFound)) }
}

fn scope_missing(scope: &str) -> Refusal {
    Refusal::of(Reason::ScopeMissing).with("scope", scope)
}

fn not_for_guests() -> Refusal {
    Refusal::of(Reason::NotForGuests)
}
