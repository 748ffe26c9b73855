//! `callgw.*`: which call gateway a caller is to use, and what admits them to it.

use serde_json::{Map, Value, json};

use crate::callgw::Report;
use crate::entry::Caller;
use crate::event::{MemberState, Role};
use crate::ids::{ConfId, now_ms};
use crate::refusal::{Refusal, code};

use super::{Door, Outcome, Params, conf_id, text};

impl Door {
    pub(super) async fn allocate(&self, caller: &Caller, params: &Params) -> Outcome {
        let conf = conf_id(params)?;
        let role = self.admitted(caller, &conf).await?;
        self.gateway_for(caller, &conf, role).await
    }

    /// The caller's role, if they are in the conference and not merely waiting.
    async fn admitted(&self, caller: &Caller, conf: &ConfId) -> Result<Role, Refusal> {
        let refused = || Refusal::forbidden("conference.notMember", "not a member of that conference");
        let member = match self.conferences.roster(conf).await {
            Some(roster) => roster.member(&caller.user_id).cloned(),
            None => self.entry.member(conf, &caller.user_id).await?,
        };
        let member = member.filter(|m| m.state != MemberState::Waiting).ok_or_else(refused)?;
        Ok(member.role)
    }

    /// The conference's gateway while it lives, else another that does.
    pub(super) async fn gateway_for(&self, caller: &Caller, conf: &ConfId, role: Role) -> Outcome {
        let current = self.store.allocation(conf).await.map_err(Refusal::fault)?;
        let gateway = match current {
            Some(id) if self.pool.is_up(&id) => id,
            dead => self.assign(caller, conf, dead.as_deref()).await?,
        };
        let lost = || self.no_gateway(caller);
        let url = self.pool.address_of(&gateway).ok_or_else(lost)?;
        let token = self.pool.token(&gateway, conf, &caller.user_id, role).ok_or_else(lost)?;
        let fallbacks: Vec<&str> = self.pool.addresses(None).into_iter().filter(|other| *other != url).collect();
        Ok(json!({
            "gatewayId": gateway,
            "url": url,
            "token": token,
            "mode": "group",
            "iceServers": self.pool.ice_servers(&caller.user_id),
            "fallbacks": fallbacks,
        }))
    }

    async fn assign(&self, caller: &Caller, conf: &ConfId, dead: Option<&str>) -> Result<String, Refusal> {
        let chosen = self.pool.choose().ok_or_else(|| self.no_gateway(caller))?;
        // Two nodes may choose at once; the one that the store holds counts.
        let agreed = self.store.assign(conf, chosen, dead, now_ms()).await.map_err(Refusal::fault)?;
        self.pool.count(&agreed, true);
        Ok(agreed)
    }

    /// Operators are told why; guests need only know that it is so.
    fn no_gateway(&self, caller: &Caller) -> Refusal {
        let refusal = Refusal::new(code::NO_CALL_GATEWAY, "callgw.none", "no call gateway is available");
        if !caller.can(crate::config::Scope::Operator) {
            return refusal;
        }
        let reasons: Map<String, Value> =
            self.pool.reports().into_iter().map(|r| (r.id, r.state.reason.into())).collect();
        refusal.with("reasons", reasons)
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
        let (gateway, problem) = (text(params, "gatewayId"), text(params, "problem"));
        metrics::counter!("confgate_call_gateway_reports_total").increment(1);
        tracing::info!(user = %caller.user_id, gateway, problem, "a client reports trouble with a call gateway");
        Ok(Value::Object(Map::new()))
    }

    pub(super) fn list_gateways(&self) -> Outcome {
        let nodes: Vec<Value> = self.pool.reports().into_iter().map(listed).collect();
        Ok(json!({"nodes": nodes}))
    }
}

/// A node as the schema's `CallGatewayNode` has it. None reports its load or can be drained by us yet.
fn listed(node: Report) -> Value {
    json!({
        "gatewayId": node.id,
        "kind": node.kind,
        "url": node.url,
        "region": node.region,
        "healthy": node.state.up,
        "draining": false,
        "since": node.state.since,
        "load": null,
        "assigned": node.state.assigned,
        "reason": node.state.reason,
    })
}
