//! Refusals of the EIM: an XMPP error condition and, beside it, the stable key of the reason.

use crate::refusal::{Kind, Reason};
use crate::xmpp::xml::{CONTENT_NS, Element, Node, Stanza};

/// Namespace of the defined error conditions (RFC 6120 section 8.3.3).
pub(super) const STANZAS_NS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// Namespace of our application-specific condition.
pub(super) const REASON_NS: &str = "je:x:client:error";

/// The conditions in use, each with the error type that RFC 6120 gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    ItemNotFound,
    NotAuthorized,
    PolicyViolation,
    ResourceConstraint,
    ServiceUnavailable,
    UnexpectedRequest,
}

impl Condition {
    /// As gateways read it back: see `eim::convert`.
    const fn of(reason: Reason) -> Self {
        match (reason, reason.kind()) {
            (Reason::NotStarted, _) => Self::UnexpectedRequest,
            (Reason::StanzaNotRead, _) => Self::PolicyViolation,
            (_, Kind::InvalidParams) => Self::BadRequest,
            (_, Kind::Conflict) => Self::Conflict,
            (_, Kind::Forbidden) => Self::Forbidden,
            (_, Kind::NotOpen) => Self::Gone,
            (_, Kind::NotFound) => Self::ItemNotFound,
            (_, Kind::Unauthenticated) => Self::NotAuthorized,
            (_, Kind::TooMany) => Self::ResourceConstraint,
            _ => Self::ServiceUnavailable,
        }
    }

    /// Element name and error type.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => ("bad-request", "modify"),
            Self::Conflict => ("conflict", "cancel"),
            Self::Forbidden => ("forbidden", "auth"),
            Self::Gone => ("gone", "cancel"),
            Self::ItemNotFound => ("item-not-found", "cancel"),
            Self::NotAuthorized => ("not-authorized", "auth"),
            Self::PolicyViolation => ("policy-violation", "modify"),
            Self::ResourceConstraint => ("resource-constraint", "wait"),
            Self::ServiceUnavailable => ("service-unavailable", "cancel"),
            Self::UnexpectedRequest => ("unexpected-request", "wait"),
        }
    }
}

/// Why an operation was not done. Nothing has changed when one is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StanzaError {
    pub condition: Condition,
    /// The reason that the gateway passes on by its key, and that a page translates.
    pub reason: Reason,
    /// For developers: which argument.
    pub text: Option<&'static str>,
}

impl StanzaError {
    pub const fn of(reason: Reason) -> Self {
        Self { condition: Condition::of(reason), reason, text: None }
    }

    /// The argument of that name is missing or ill-formed.
    pub const fn argument(name: &'static str) -> Self {
        let reason = Reason::ArgumentInvalid;
        Self { condition: Condition::of(reason), reason, text: Some(name) }
    }

    /// `<error type=..><CONDITION/><text/>?<reason/></error>`.
    pub fn to_element(&self) -> Element {
        let (name, kind) = self.condition.names();
        let mut error = Element::new("error", CONTENT_NS).with("type", kind).with_child(Element::new(name, STANZAS_NS));
        if let Some(text) = self.text {
            error = error.with_child(Element::new("text", STANZAS_NS).with_text(text));
        }
        error.with_child(Element::new("reason", REASON_NS).with_text(self.reason.key()))
    }
}

/// Where an answer goes: the request's addresses turned round, and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    from: Option<String>,
    to: Option<String>,
    id: Option<String>,
}

impl Envelope {
    pub fn answering(request: &Stanza) -> Self {
        let attr = |name| request.attr(name).map(str::to_owned);
        Self { from: attr("to"), to: attr("from"), id: attr("id") }
    }

    pub fn result(self, payload: Option<Element>) -> Stanza {
        self.into_stanza("result", payload)
    }

    pub fn error(self, deny: &StanzaError) -> Stanza {
        self.into_stanza("error", Some(deny.to_element()))
    }

    fn into_stanza(self, kind: &str, payload: Option<Element>) -> Stanza {
        let mut stanza = Stanza::new("iq").with("type", kind);
        for (name, value) in [("from", self.from), ("to", self.to), ("id", self.id)] {
            if let Some(value) = value {
                stanza.set(name, value);
            }
        }
        stanza.nodes.extend(payload.map(Node::Element));
        stanza
    }
}
