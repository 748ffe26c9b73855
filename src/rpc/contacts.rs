//! `org.contacts.*`: the EIM's address book; for a guest, their conference's members only.

use serde_json::{Value, json};

use crate::auth::{AuthService, Caller};
use crate::eim::requests::Requests;
use crate::refusal::Kind;
use crate::schema::Method;

use super::context::{Outcome, Params, text};

/// Their parts.
pub(super) struct ContactsMethods {
    /// Requests to the EIM.
    pub calls: Requests,
    /// Logins, links and guests.
    pub auth: AuthService,
}

impl ContactsMethods {
    /// Lists of the address book.
    pub async fn list(&self, method: &Method, caller: &Caller, params: &Params) -> Outcome {
        let Some(conf) = &caller.confined_to else {
            return self.calls.as_user_method(method, &caller.user_id, params).await;
        };
        if method.name == "org.contacts.departments" {
            return Ok(json!({"departments": []}));
        }
        let query = text(params, "query").unwrap_or_default().to_lowercase();
        let members = match self.auth.members(conf, &caller.user_id).await {
            // A caller that isn't in sees nobody.
            Err(refusal) if refusal.kind == Kind::Forbidden => Vec::new(),
            members => members?,
        };
        let users: Vec<Value> = members
            .into_iter()
            .filter(|m| m.name.to_lowercase().contains(&query))
            .map(|m| json!({"userId": m.user_id, "name": m.name, "departmentId": null, "mobile": null, "email": null}))
            .collect();
        let number = |name: &str| params.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let total = users.len();
        let page: Vec<Value> =
            users.into_iter().skip(number("offset").unwrap_or(0)).take(number("limit").unwrap_or(usize::MAX)).collect();
        match method.name.as_str() {
            "org.contacts.search" => Ok(json!({"users": page})),
            _ => Ok(json!({"users": page, "total": total})),
        }
    }
}
