//! Which call gateway a member is to use, and what admits them to it.

use serde_json::{Value, json};

use crate::auth::Caller;
use crate::callgw::{NoNodeAvailable, Pool};
use crate::conference::Conferences;
use crate::config::Scope;
use crate::event::{CallMode, Role};
use crate::ids::ConfId;
use crate::placement::{Placement, PlacementError};
use crate::refusal::{Reason, Refusal};

use super::access::Authorization;
use super::context::Outcome;

/// The parts that decide it.
#[derive(Clone)]
pub(super) struct Allocations {
    /// The call gateways.
    pub pool: Pool,
    /// The placement of conferences.
    pub placement: Placement,
    /// The conferences.
    pub conferences: Conferences,
    /// The checks of access.
    pub authorization: Authorization,
    /// `callgw.p2p`.
    pub p2p: bool,
}

impl Allocations {
    /// The conference's gateway while it lives, else another that does: near `region`, where the caller is the first.
    pub async fn for_member(&self, caller: &Caller, conf: &ConfId, role: Role, region: Option<&str>) -> Outcome {
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
        let fallbacks: Vec<String> = self.pool.addresses(None).into_iter().filter(|other| *other != url).collect();
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
        if !self.p2p {
            return Ok(CallMode::Group);
        }
        Ok(self.authorization.conference(caller, conf).await?.call.map_or(CallMode::Group, |call| call.mode))
    }
}

/// Operators are told why; guests need only know that it is so.
fn no_gateway(caller: &Caller, nowhere: NoNodeAvailable) -> Refusal {
    let refusal = Refusal::of(Reason::NoCallGateway);
    if !caller.can(Scope::Operator) {
        return refusal;
    }
    let reason = |(gateway, reason): (String, String)| json!({"gatewayId": gateway, "reason": reason});
    refusal.with("nodes", nowhere.0.into_iter().map(reason).collect::<Vec<Value>>())
}
