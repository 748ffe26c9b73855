//! The caller: the identity that a valid access token proves.

use crate::config::Scope;
use crate::event::Role;
use crate::ids::{ConfId, UserId};
use crate::token::Access;

/// A caller with a valid access token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The user.
    pub user_id: UserId,
    /// The name to show.
    pub name: String,
    /// The only conference that the caller may enter: a guest's, or that of another link.
    pub confined_to: Option<ConfId>,
    /// Whether their link made them a chair there.
    pub chairs: bool,
    /// The refresh family: the token ends with it.
    pub family: String,
    /// When the token ends, in milliseconds since 1970.
    pub deadline: u64,
    scope: String,
}

impl Caller {
    /// The caller of an access token's claims.
    pub fn new(claims: Access) -> Self {
        Self {
            user_id: claims.user_id,
            name: claims.user_name,
            chairs: claims.role == Some(Role::Chair) && claims.conf_id.is_some(),
            confined_to: claims.conf_id,
            family: claims.sid,
            deadline: claims.deadline.min(claims.exp.saturating_mul(1000)),
            scope: claims.scope,
        }
    }

    /// Confined to one conference, with no rights beyond it.
    pub fn is_guest(&self) -> bool {
        self.confined_to.is_some()
    }

    /// Whether the token has the scope.
    pub fn has(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|s| s == scope)
    }

    /// Whether the token has the scope.
    pub fn can(&self, scope: Scope) -> bool {
        self.has(scope.as_str())
    }

    /// Whether the caller may know of the conference at all.
    pub fn may_see(&self, conf: &ConfId) -> bool {
        self.confined_to.as_ref().is_none_or(|own| own == conf)
    }
}
