//! One account, as it is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::password::Stored;
use crate::event::Role;
use crate::ids::{ConfId, UserId};

/// One account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    pub user_id: UserId,
    pub name: String,
    pub password: Option<Stored>,
    /// Milliseconds since 1970.
    pub created: u64,
    /// Made for a guest; not in the address book, no password.
    pub temporary: bool,
    pub guest_of: Option<ConfId>,
    /// Of a temporary account: what they are in their conference.
    #[serde(default = "guest")]
    pub role: Role,
    pub department: Option<String>,
    /// The seed's further fields as they were given, by name.
    pub profile: BTreeMap<String, String>,
    /// Stands in the configuration, which alone may change it.
    #[serde(skip)]
    pub configured: bool,
}

/// Of accounts without a word on it.
fn guest() -> Role {
    Role::Guest
}

impl Account {
    /// A field of the profile.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.profile.get(name).map(String::as_str)
    }
}
