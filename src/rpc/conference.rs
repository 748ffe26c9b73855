//! `conference.*` where the gateway has a part of its own; the rest is the schema's conversion alone.

use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::auth::{AuthService, Caller, LinkTerms};
use crate::clock::{Moment, date_ms};
use crate::conference::sockets::Sockets;
use crate::conference::{ConferenceRef, Conferences, LifecycleEvent};
use crate::eim::requests::Requests;
use crate::event::{Member, MemberState};
use crate::ids::{ConfId, UserId};
use crate::refusal::Refusal;
use crate::schema::Method;
use crate::store::{AuditEntry, DONE, Store};

use super::access::Authorization;
use super::admission::Admission;
use super::allocations::Allocations;
use super::context::{Context, Outcome, Params, conf_id, text, typed};
use super::links::{qr, wants_qr};

/// The actions of `conference.control` that are about oneself.
const OWN_ACTIONS: [&str; 6] = ["muteSelf", "unmuteSelf", "openCamera", "closeCamera", "raiseHand", "lowerHand"];

/// Their parts.
pub(super) struct ConferenceMethods {
    /// Requests to the EIM.
    pub calls: Requests,
    /// Logins, links and guests.
    pub auth: AuthService,
    /// The conferences.
    pub conferences: Conferences,
    /// The open event sockets.
    pub sockets: Sockets,
    /// The store.
    pub store: Store,
    /// Allocations of call gateways.
    pub allocations: Allocations,
    /// The checks of access.
    pub authorization: Authorization,
    /// The admission to conferences.
    pub admission: Admission,
}

impl ConferenceMethods {
    pub(super) async fn create(&self, method: &Method, caller: &Caller, params: &Params) -> Outcome {
        let mut result = self.calls.as_user_method(method, &caller.user_id, params).await?;
        let conf: ConfId = serde_json::from_value(result["confId"].clone()).map_err(Refusal::fault)?;
        let link = self.auth.create_link(&conf, LinkTerms::guest(), &caller.user_id).await?;
        result["link"] = serde_json::to_value(&link).map_err(Refusal::fault)?;
        if wants_qr(params) {
            result["link"]["qr"] = qr(&link.url)?.into();
        }
        self.sockets.created(&caller.user_id, &ConferenceRef { conf_id: conf, call: false }).await;
        Ok(result)
    }

    pub(super) async fn join(
        &self,
        context: &Context<'_>,
        method: &Method,
        caller: &Caller,
        mut params: Params,
    ) -> Outcome {
        self.admission.check()?;
        let conf = conf_id(&params)?;
        self.authorization.may_enter(caller, context.device.as_deref(), &conf).await?;
        // Where the name is but the id, the EIM knows a better one.
        if caller.name != caller.user_id.as_str() {
            params.insert("name".into(), caller.name.clone().into());
        }
        let entry = Entry::new(&self.sockets, &self.conferences, &caller.user_id, &conf);
        let outcome = self.calls.as_user_method(method, &caller.user_id, &params).await;
        entry.conclude(outcome.as_ref().err()).await;
        let answer = outcome?;
        let member: Member = serde_json::from_value(answer["member"].clone()).map_err(Refusal::fault)?;
        let gateway = match member.state {
            MemberState::Waiting => Value::Null,
            _ => {
                let region = text(&params, "region");
                self.allocations.for_member(caller, &conf, member.role, region).await.unwrap_or(Value::Null)
            }
        };
        Ok(json!({"confId": conf, "member": member, "callGateway": gateway}))
    }

    pub(super) async fn control(&self, method: &Method, caller: &Caller, params: &Params) -> Outcome {
        let conf = conf_id(params)?;
        let outcome = self.calls.as_user_method(method, &caller.user_id, params).await;
        let action = text(params, "action").unwrap_or_default();
        if !is_own(action, caller, params) {
            self.record(caller, &conf, action, text(params, "userId"), &outcome).await;
        }
        if outcome.is_ok() {
            self.conferences.look(&conf).await;
            self.after_control(&conf, action, params).await?;
        }
        outcome
    }

    /// Keeps who did what, or was refused it. What was done is done: that its record could not be kept is ours to know,
    /// not the chair's.
    async fn record(&self, caller: &Caller, conf: &ConfId, action: &str, target: Option<&str>, outcome: &Outcome) {
        let recorded = outcome.as_ref().err().map_or(DONE, |refusal| refusal.key());
        let entry = AuditEntry {
            time: date_ms(),
            actor: Some(caller.user_id.clone()),
            conf_id: conf.clone(),
            action: action.to_owned(),
            target: target.map(str::to_owned),
            outcome: recorded.to_owned(),
        };
        if let Err(error) = self.store.append_audit(&entry).await {
            drop(Refusal::from(error));
        }
    }

    /// The consequences of a control for tokens and links, at once, whether or not the conference's events come by
    /// here.
    async fn after_control(&self, conf: &ConfId, action: &str, params: &Params) -> Result<(), Refusal> {
        match action {
            "end" => self.follow_up(conf, LifecycleEvent::Ended).await,
            "kick" | "ban" => {
                let user = typed(params, "userId")?;
                self.follow_up(conf, LifecycleEvent::Removed { user, banned: action == "ban" }).await;
            }
            _ => {}
        }
        Ok(())
    }

    /// At once, or, as the EIM has done it already, as soon as the store can keep it.
    async fn follow_up(&self, conf: &ConfId, event: LifecycleEvent) {
        if self.auth.carry_out(conf, &event, Moment::now()).await.is_err() {
            self.conferences.retry_later(conf, event).await;
        }
    }

    pub(super) async fn end(&self, method: &Method, caller: &Caller, params: &Params) -> Outcome {
        let conf = conf_id(params)?;
        let outcome = self.calls.as_user_method(method, &caller.user_id, params).await;
        self.record(caller, &conf, "end", None, &outcome).await;
        if outcome.is_ok() {
            self.conferences.look(&conf).await;
            self.follow_up(&conf, LifecycleEvent::Ended).await;
        }
        outcome
    }

    pub(super) async fn leave(&self, method: &Method, caller: &Caller, params: &Params) -> Outcome {
        let result = self.calls.as_user_method(method, &caller.user_id, params).await?;
        self.conferences.look(&conf_id(params)?).await;
        Ok(result)
    }
}

/// Whether the action is about the caller themselves, which is nobody else's concern.
pub(super) fn is_own(action: &str, caller: &Caller, params: &Params) -> bool {
    let others = text(params, "userId").is_some_and(|user| user != caller.user_id.as_str());
    OWN_ACTIONS.contains(&action) && !others
}

/// A member that has come in gets the events, and without a socket is away.
pub(super) async fn listen_in(sockets: &Sockets, conferences: &Conferences, user: &UserId, conf: &ConferenceRef) {
    if !sockets.attach(user, conf).await {
        conferences.joined(&conf.conf_id, user).await;
    }
}

/// A join that the EIM is being asked for. Where its answer doesn't come, or the request's task ends before it, the EIM
/// may have let the user in, and nobody else would answer for them: then they would stay in for ever. For one who was
/// not let in, what follows is without effect.
struct Entry(Option<(Sockets, Conferences, UserId, ConferenceRef)>);

impl Entry {
    fn new(sockets: &Sockets, conferences: &Conferences, user: &UserId, conf: &ConfId) -> Self {
        let conf = ConferenceRef { conf_id: conf.clone(), call: false };
        Self(Some((sockets.clone(), conferences.clone(), user.clone(), conf)))
    }

    async fn conclude(mut self, refusal: Option<&Refusal>) {
        let entry = self.0.take();
        if let Some((sockets, conferences, user, conf)) = entry.filter(|_| refusal.is_none_or(Refusal::is_uncertain)) {
            listen_in(&sockets, &conferences, &user, &conf).await;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (Some((sockets, conferences, user, conf)), Ok(runtime)) = (self.0.take(), Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move { listen_in(&sockets, &conferences, &user, &conf).await });
    }
}
