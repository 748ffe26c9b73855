//! `callgw.*`: which call gateway a caller is to use, and what admits them to it.

use serde_json::{Map, Value, json};

use crate::auth::Caller;
use crate::callgw::{NoNodeAvailable, Report};
use crate::clock::date_ms;
use crate::event::{CallMode, MemberState, Role};
use crate::ids::ConfId;
use crate::placement::PlacementError;
use crate::refusal::{Reason, Refusal};

use super::{Door, Outcome, Params, conf_id, text};

impl Door {
    pub(super) async fn allocate(&self, caller: &Caller, params: &Params) -> Outcome {
        let conf = conf_id(params)?;
        let role = self.admitted(caller, &conf).await?;
        self.gateway_for(caller, &conf, role, text(params, "region")).await
    }

    /// The caller's role, if they are in the conference and not merely waiting.
    async fn admitted(&self, caller: &Caller, conf: &ConfId) -> Result<Role, Refusal> {
        let refused = || Refusal::of(Reason::NotMember);
        // Who has just come in may not be in the roster that is followed here: then the EIM is asked.
        let followed = self.conferences.roster(conf).await;
        let member = match followed.and_then(|roster| roster.member(&caller.user_id).cloned()) {
            Some(member) => Some(member),
            None => self.entry.member(conf, &caller.user_id).await?,
        };
        let member = member.filter(|m| m.state != MemberState::Waiting).ok_or_else(refused)?;
        Ok(member.role)
    }

    /// The conference's gateway while it lives, else another that does: near `region`, where the caller is the first.
    pub(super) async fn gateway_for(
        &self,
        caller: &Caller,
        conf: &ConfId,
        role: Role,
        region: Option<&str>,
    ) -> Outcome {
        let gateway = self.placement.place(conf, &caller.user_id, region).await.map_err(|unplaced| match unplaced {
            PlacementError::NoNodeAvailable(nowhere) => no_gateway(caller, nowhere),
            PlacementError::Store(error) => error.into(),
        })?;
        let lost = || no_gateway(caller, NoNodeAvailable(vec![(gateway.clone(), "lost a moment ago".into())]));
        let url = self.pool.address_of(&gateway).ok_or_else(lost)?;
        let mode = self.mode_of(caller, conf).await?;
        let way = (role, mode);
        let token = self.pool.token(&gateway, conf, &caller.user_id, &caller.family, way).ok_or_else(lost)?;
        self.conferences.placed(conf, &caller.user_id).await;
        let fallbacks: Vec<&str> = self.pool.addresses(None).into_iter().filter(|other| *other != url).collect();
        Ok(json!({
            "gatewayId": gateway,
            "url": url,
            "token": token,
            "mode": mode.as_str(),
            "iceServers": self.pool.ice_servers(&caller.user_id),
            "fallbacks": fallbacks,
        }))
    }

    /// Whether media goes straight from the one to the other, as long as it can.
    async fn mode_of(&self, caller: &Caller, conf: &ConfId) -> Result<CallMode, Refusal> {
        if !self.config.callgw.p2p {
            return Ok(CallMode::Group);
        }
        Ok(self.conference(caller, conf).await?.call.map_or(CallMode::Group, |call| call.mode))
    }

    /// `webrtcAddress`: the living nodes, the caller's own first.
    pub(super) fn addresses(&self, caller: &Caller) -> String {
        self.pool.addresses(self.pool.last_of(&caller.user_id).as_deref()).join(",")
    }

    pub(super) fn release(&self, caller: &Caller) -> Outcome {
        self.pool.forget(&caller.user_id);
        Ok(Value::Object(Map::new()))
    }

    pub(super) async fn report(&self, caller: &Caller, params: &Params) -> Outcome {
        if params.contains_key("confId") {
            self.belongs(caller, &conf_id(params)?).await?;
        }
        let (gateway, problem) = (text(params, "gatewayId").unwrap_or_default(), text(params, "problem"));
        let counted = self.pool.report_failure(gateway, &caller.user_id);
        let failed = counted.map_err(|wait| Refusal::too_many(Reason::TooManyReports, wait))?;
        metrics::counter!("confgate_call_gateway_reports_total").increment(1);
        tracing::info!(user = %caller.user_id, gateway, problem, failed, "a member reports trouble with a call gateway");
        Ok(Value::Object(Map::new()))
    }

    pub(super) fn list_gateways(&self) -> Outcome {
        let nodes: Vec<Value> = self.pool.reports().into_iter().map(listed).collect();
        Ok(json!({"nodes": nodes}))
    }

    /// No new conferences at the node; at the deadline its own go elsewhere. Or, with `cancel`, no longer so.
    pub(super) async fn drain(&self, params: &Params) -> Outcome {
        let gateway = text(params, "gatewayId").unwrap_or_default();
        if !self.pool.has(gateway) {
            return Err(Refusal::of(Reason::CallGatewayNotFound));
        }
        let is_cancelled = params.get("cancel").and_then(Value::as_bool).unwrap_or_default();
        let by_default = || date_ms() + self.config.limits.drain.as_millis() as u64;
        let deadline = params.get("deadlineMs").and_then(Value::as_u64);
        let leave_at = (!is_cancelled).then(|| deadline.unwrap_or_else(by_default));
        self.placement.drain(gateway, leave_at).await.map_err(Refusal::from)?;
        Ok(json!({"gatewayId": gateway, "draining": leave_at.is_some(), "deadlineMs": leave_at}))
    }
}

/// Operators are told why; guests need only know that it is so.
fn no_gateway(caller: &Caller, nowhere: NoNodeAvailable) -> Refusal {
    let refusal = Refusal::of(Reason::NoCallGateway);
    if !caller.can(crate::config::Scope::Operator) {
        return refusal;
    }
    let reason = |(gateway, reason): (String, String)| json!({"gatewayId": gateway, "reason": reason});
    refusal.with("nodes", nowhere.0.into_iter().map(reason).collect::<Vec<Value>>())
}

/// A node as the schema's `CallGatewayNode` has it.
fn listed(node: Report) -> Value {
    let standing = node.standing;
    json!({
        "gatewayId": node.id,
        "kind": node.kind,
        "url": node.url,
        "region": node.region,
        "healthy": standing.is_up(),
        "draining": standing.draining,
        "deadlineMs": standing.leave_at,
        "since": standing.since,
        "load": standing.load,
        "assigned": standing.members,
        "reason": standing.reason,
    })
}
