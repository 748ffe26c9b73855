//! `conference.*` where the gateway has a part of its own; the rest is the schema's conversion alone.

use serde_json::{Value, json};

use crate::auth::{Caller, LinkTerms};
use crate::clock::{Moment, date_ms};
use crate::conference::{ConferenceRef, LifecycleEvent};
use crate::eim::requests::Calls;
use crate::event::{Member, MemberState};
use crate::ids::ConfId;
use crate::refusal::{Kind, Refusal};
use crate::schema::Method;
use crate::store::{AuditEntry, DONE};

use super::links::{qr, wants_qr};
use super::{Context, Door, Outcome, Params, conf_id, text, typed};

/// The actions of `conference.control` that are about oneself.
const OWN_ACTIONS: [&str; 6] = ["muteSelf", "unmuteSelf", "openCamera", "closeCamera", "raiseHand", "lowerHand"];

impl Door {
    pub(super) async fn create_conference(&self, method: &Method, caller: &Caller, params: &Params) -> Outcome {
        let mut result = self.calls.as_user_method(method, &caller.user_id, params).await?;
        let conf: ConfId = serde_json::from_value(result["confId"].clone()).map_err(Refusal::fault)?;
        let link = self.entry.create_link(&conf, LinkTerms::guest(), &caller.user_id).await?;
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
        self.open_for_joins()?;
        let conf = conf_id(&params)?;
        self.may_enter(caller, context.device.as_deref(), &conf).await?;
        // Where the name is but the id, the EIM knows a better one.
        if caller.name != caller.user_id.as_str() {
            params.insert("name".into(), caller.name.clone().into());
        }
        let answer = self.calls.as_user_method(method, &caller.user_id, &params).await?;
        let member: Member = serde_json::from_value(answer["member"].clone()).map_err(Refusal::fault)?;
        self.listen_in(caller, &ConferenceRef { conf_id: conf.clone(), call: false }).await;
        let gateway = match member.state {
            MemberState::Waiting => Value::Null,
            _ => {
                let region = text(&params, "region");
                self.gateway_for(caller, &conf, member.role, region).await.unwrap_or(Value::Null)
            }
        };
        Ok(json!({"confId": conf, "member": member, "callGateway": gateway}))
    }

    /// Refuses who was sent out of the conference. Its chair is stopped by its end alone, and no chair by the bar of a
    /// browser in which somebody was a guest as well.
    pub async fn may_enter(&self, caller: &Caller, device: Option<&str>, conf: &ConfId) -> Result<(), Refusal> {
        let device = device.filter(|_| !caller.chairs);
        let barred = self.entry.check_not_banned(conf, Some(&caller.user_id), device).await;
        match barred {
            Err(refusal) if refusal.kind == Kind::Forbidden => {
                let is_chair = self.conference(caller, conf).await?.chair == caller.user_id;
                if is_chair { Ok(()) } else { Err(refusal) }
            }
            other => other,
        }
    }

    /// Whoever has come in hears what happens, and without a socket is away.
    pub(super) async fn listen_in(&self, caller: &Caller, conf: &ConferenceRef) {
        if !self.sockets.attach(&caller.user_id, conf).await {
            self.conferences.joined(&conf.conf_id, &caller.user_id).await;
        }
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
        let said = outcome.as_ref().err().map_or(DONE, |refusal| refusal.key());
        let entry = AuditEntry {
            time: date_ms(),
            actor: Some(caller.user_id.clone()),
            conf_id: conf.clone(),
            action: action.to_owned(),
            target: target.map(str::to_owned),
            outcome: said.to_owned(),
        };
        if let Err(error) = self.store.append_audit(&entry).await {
            drop(Refusal::from(error));
        }
    }

    /// What a control means for tokens and links, at once, whether or not the conference's events come by here.
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
    async fn follow_up(&self, conf: &ConfId, happening: LifecycleEvent) {
        if self.entry.carry_out(conf, &happening, Moment::now()).await.is_err() {
            self.conferences.happened(conf, happening).await;
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

/// The conferences that a caller belongs to: a guest's own, a user's as the EIM lists them.
pub async fn own_conferences(calls: &Calls, caller: &Caller) -> Result<Vec<ConferenceRef>, Refusal> {
    if let Some(own) = &caller.confined_to {
        return Ok(vec![ConferenceRef { conf_id: own.clone(), call: false }]);
    }
    let with_calls = Params::from_iter([("calls".to_owned(), true.into())]);
    let listed = calls.as_user("conference.list", &caller.user_id, &with_calls).await?;
    let listed = listed["conferences"].as_array().cloned().unwrap_or_default();
    let own = |c: Value| {
        let conf_id = serde_json::from_value(c["confId"].clone()).map_err(Refusal::fault)?;
        Ok(ConferenceRef { conf_id, call: c["call"].is_object() })
    };
    listed.into_iter().map(own).collect()
}
