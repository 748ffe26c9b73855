//! `call.start` and `call.accept`: the EIM rings and answers; who is in a call then listens to its conference. The other
//! `call.*` are the schema's conversion alone.

use crate::auth::Caller;
use crate::conference::sockets::Sockets;
use crate::conference::{ConferenceRef, Conferences};
use crate::eim::requests::Requests;
use crate::refusal::Refusal;
use crate::schema::Method;

use super::admission::Admission;
use super::conference::listen_in;
use super::context::{Outcome, Params};

/// Their parts.
pub(super) struct CallMethods {
    /// Requests to the EIM.
    pub calls: Requests,
    /// The conferences.
    pub conferences: Conferences,
    /// The open event sockets.
    pub sockets: Sockets,
    /// The admission to conferences.
    pub admission: Admission,
}

impl CallMethods {
    /// Starts or accepts a call.
    pub async fn enter(&self, method: &Method, caller: &Caller, mut params: Params) -> Outcome {
        self.admission.check()?;
        // Where the name is but the id, the EIM knows a better one.
        if caller.name != caller.user_id.as_str() {
            params.insert("displayName".into(), caller.name.clone().into());
        }
        let result = self.calls.as_user_method(method, &caller.user_id, &params).await?;
        let conf_id = serde_json::from_value(result["confId"].clone()).map_err(Refusal::fault)?;
        listen_in(&self.sockets, &self.conferences, &caller.user_id, &ConferenceRef { conf_id, call: true }).await;
        Ok(result)
    }
}
