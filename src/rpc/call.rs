//! `call.start` and `call.accept`: the EIM rings and answers; who is in a call then listens to its conference. The other
//! `call.*` are the schema's conversion alone.

use crate::auth::Caller;
use crate::conference::ConferenceRef;
use crate::refusal::Refusal;
use crate::schema::Method;

use super::{Door, Outcome, Params};

impl Door {
    pub(super) async fn enter_call(&self, method: &Method, caller: &Caller, mut params: Params) -> Outcome {
        self.open_for_joins()?;
        // Where the name is but the id, the EIM knows a better one.
        if caller.name != caller.user_id.as_str() {
            params.insert("displayName".into(), caller.name.clone().into());
        }
        let result = self.calls.as_user_method(method, &caller.user_id, &params).await?;
        let conf_id = serde_json::from_value(result["confId"].clone()).map_err(Refusal::fault)?;
        self.listen_in(caller, &ConferenceRef { conf_id, call: true }).await;
        Ok(result)
    }
}
