//! `x-access`: who may call a method.

/// The access that a method demands of its caller. The gateway decides by it; the EIM decides finally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a token.
    Open,
    /// Any valid access token.
    Token,
    /// A user of the EIM: no guest.
    User,
    /// `params.confId`: a guest of exactly that conference, or a user who is its chair or member.
    Conference,
    /// `params.confId`: a guest of exactly that conference, or any user of the EIM.
    Invited,
    /// The chair of the conference `params.confId`.
    Chair,
    /// A token with this scope.
    Scope(String),
    /// A guest, whose view ends at their own conference, or a token with this scope.
    GuestOr(String),
    /// Nobody from outside: the gateway's own requests.
    Internal,
}

impl Access {
    /// `None` where the text is no `x-access`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "open" => Self::Open,
            "token" => Self::Token,
            "user" => Self::User,
            "conference" => Self::Conference,
            "invited" => Self::Invited,
            "chair" => Self::Chair,
            _ => match text.strip_prefix("guest|").unwrap_or(text).strip_prefix("scope:")? {
                "" => return None,
                scope if text.starts_with("guest|") => Self::GuestOr(scope.to_owned()),
                scope => Self::Scope(scope.to_owned()),
            },
        })
    }

    /// Whether the decision needs the param `confId`.
    pub fn names_conference(&self) -> bool {
        matches!(self, Self::Conference | Self::Invited | Self::Chair)
    }
}
