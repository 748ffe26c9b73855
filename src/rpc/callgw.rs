//! `callgw.*`: what members and operators ask of the call gateways.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::auth::{AuthService, Caller};
use crate::callgw::{Pool, Report};
use crate::clock::date_ms;
use crate::conference::Conferences;
use crate::event::{MemberState, Role};
use crate::ids::ConfId;
use crate::placement::Placement;
use crate::refusal::{Reason, Refusal};

use super::access::Authorization;
use super::allocations::Allocations;
use super::context::{Outcome, Params, conf_id, text};

/// Their parts.
pub(super) struct CallgwMethods {
    /// Allocations of call gateways.
    pub allocations: Allocations,
    /// The call gateways.
    pub pool: Pool,
    /// The placement of conferences.
    pub placement: Placement,
    /// The conferences.
    pub conferences: Conferences,
    /// Logins, links and guests.
    pub auth: AuthService,
    /// The checks of access.
    pub authorization: Authorization,
    /// `limits.drain_s`: how long a node is given where its operator names no deadline.
    pub drain: Duration,
}

impl CallgwMethods {
    pub(super) async fn allocate(&self, caller: &Caller, params: &Params) -> Outcome {
        let conf = conf_id(params)?;
        let role = self.admitted(caller, &conf).await?;
        self.allocations.for_member(caller, &conf, role, text(params, "region")).await
    }

    /// The caller's role, if they are in the conference and not merely waiting.
    async fn admitted(&self, caller: &Caller, conf: &ConfId) -> Result<Role, Refusal> {
        let refused = || Refusal::of(Reason::NotMember);
        // A member that has just come in may not be in the roster that is followed here: then the EIM is asked.
        let followed = self.conferences.roster(conf).await;
        let member = match followed.and_then(|roster| roster.member(&caller.user_id).cloned()) {
            Some(member) => Some(member),
            None => self.auth.member(conf, &caller.user_id).await?,
        };
        let member = member.filter(|m| m.state != MemberState::Waiting).ok_or_else(refused)?;
        Ok(member.role)
    }

    pub(super) fn release(&self, caller: &Caller) -> Outcome {
        self.pool.forget(&caller.user_id);
        Ok(Value::Object(Map::new()))
    }

    pub(super) async fn report(&self, caller: &Caller, params: &Params) -> Outcome {
        if params.contains_key("confId") {
            self.authorization.belongs(caller, &conf_id(params)?).await?;
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
        let by_default = || date_ms() + self.drain.as_millis() as u64;
        let deadline = params.get("deadlineMs").and_then(Value::as_u64);
        let leave_at = (!is_cancelled).then(|| deadline.unwrap_or_else(by_default));
        self.placement.drain(gateway, leave_at).await.map_err(Refusal::from)?;
        Ok(json!({"gatewayId": gateway, "draining": leave_at.is_some(), "deadlineMs": leave_at}))
    }
}

/// A node as the schema's `CallGatewayNode` has it.
fn listed(node: Report) -> Value {
    let status = node.status;
    json!({
        "gatewayId": node.id,
        "kind": node.kind,
        "url": node.url,
        "region": node.region,
        "healthy": status.is_up(),
        "draining": status.draining,
        "deadlineMs": status.leave_at,
        "since": status.since,
        "load": status.load,
        "assigned": status.members,
        "reason": status.reason,
    })
}
