//! An error of the EIM to a refusal.

use serde_json::json;

use crate::event;
use crate::refusal::{Kind, Reason, Refusal};
use crate::schema::{XIq, XReason};
use crate::xmpp::xml::{Element, Stanza};

/// Conditions and their text: RFC 6120 section 8.3.
const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// Longest reason, in bytes; one that is longer is none.
const KEY_MAX: usize = 64;
/// Longest text of the EIM that is told to the client, in characters.
const TEXT_MAX: usize = 500;
/// The condition of an error that names none.
const UNDEFINED: &str = "undefined-condition";

/// Reasons of `resource-constraint` that pass within moments, and how long a client is asked to wait.
const PASSING: [Reason; 2] = [Reason::EimBusy, Reason::StoreUnavailable];
const RETRY_AFTER_MS: u64 = 1000;
/// The same for a bound of what there may be.
const FULL_RETRY_MS: u64 = 10_000;

/// The content of `<error>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::eim) struct StanzaError {
    pub(in crate::eim) kind: String,
    pub(in crate::eim) condition: String,
    text: Option<String>,
    pub(in crate::eim) reason: Option<String>,
}

/// The refusal that an answer of `type="error"` stands for. What the entry's `errors` says of the condition comes
/// first; then, for an error with a reason, the dialect's own meaning; anything else is -32012 with the EIM's
/// words in `data`.
pub(super) fn refusal(x_iq: &XIq, answer: &Stanza, reason: &XReason) -> Refusal {
    let error = StanzaError::of(answer, reason);
    let by_dialect = || error.reason.as_ref().and_then(|_| kind_of(&error.condition));
    let Some(kind) = x_iq.refusal(&error.condition).or_else(by_dialect).filter(|kind| *kind != Kind::EimRefused) else {
        return eim_refused(&error);
    };
    let reason = reason_of(kind);
    let key = error.reason.as_deref().unwrap_or(reason.key());
    let text = error.text.as_deref();
    match kind {
        // In our dialect the text names the argument.
        Kind::InvalidParams => {
            let path = text.filter(|text| is_key(text)).unwrap_or_default();
            let errors = json!([{"path": path, "message": "is not accepted by the EIM"}]);
            Refusal::by_eim(kind, key, reason.text()).with("errors", errors)
        }
        _ => {
            let refusal = Refusal::by_eim(kind, key, text.unwrap_or(reason.text()));
            match kind {
                Kind::NotOpen => refusal.with("state", state_of(&error.condition)),
                Kind::TooMany => {
                    let passes = PASSING.iter().any(|reason| refusal.is(*reason));
                    refusal.with("retryAfterMs", if passes { RETRY_AFTER_MS } else { FULL_RETRY_MS })
                }
                _ => refusal,
            }
        }
    }
}

/// For an answer that can't be read: the EIM's fault, told in the EIM's terms.
pub(super) fn bad_answer(why: &str) -> Refusal {
    eim_refused(&StanzaError {
        kind: "cancel".to_owned(),
        condition: UNDEFINED.to_owned(),
        text: Some(cut(why)),
        reason: Some(Reason::EimBadAnswer.key().to_owned()),
    })
}

fn eim_refused(error: &StanzaError) -> Refusal {
    let key = error.reason.as_deref().unwrap_or(Reason::EimRefused.key());
    Refusal::by_eim(Kind::EimRefused, key, Reason::EimRefused.text())
        .with("type", error.kind.as_str())
        .with("condition", error.condition.as_str())
        .with("text", error.text.clone())
}

/// The meaning of a condition that comes with a reason.
fn kind_of(condition: &str) -> Option<Kind> {
    Some(match condition {
        "forbidden" => Kind::Forbidden,
        "item-not-found" => Kind::NotFound,
        "conflict" => Kind::Conflict,
        "gone" | "unexpected-request" => Kind::NotOpen,
        "resource-constraint" => Kind::TooMany,
        "bad-request" => Kind::InvalidParams,
        _ => return None,
    })
}

/// `data.state` of "conference not open".
fn state_of(condition: &str) -> u8 {
    match condition {
        "unexpected-request" => event::NOT_STARTED,
        "item-not-found" => event::UNKNOWN,
        _ => event::ENDED,
    }
}

/// For an error that brings no reason of its own.
fn reason_of(kind: Kind) -> Reason {
    match kind {
        Kind::Unauthenticated => Reason::AuthFailed,
        Kind::Forbidden => Reason::EimForbidden,
        Kind::NotFound => Reason::EimNotFound,
        Kind::Conflict => Reason::EimConflict,
        Kind::NotOpen => Reason::NotOpen,
        Kind::TooMany => Reason::EimTooMany,
        Kind::InvalidParams => Reason::InvalidParams,
        Kind::EimTimeout => Reason::EimTimeout,
        Kind::EimUnreachable => Reason::EimUnreachable,
        _ => Reason::EimRefused,
    }
}

impl StanzaError {
    pub(in crate::eim) fn of(answer: &Stanza, rule: &XReason) -> Self {
        let none = Element::default();
        let error = answer.child("error").unwrap_or(&none);
        let defined = |name: &str| error.children().find(|e| e.ns == STANZAS && e.name == name);
        let condition = error.children().find(|e| e.ns == STANZAS && e.name != "text");
        let reason = word_of(error, rule).map(|word| rule.key(&word).to_owned());
        Self {
            kind: cut(error.attr("type").unwrap_or("cancel")),
            condition: condition.map_or(UNDEFINED.to_owned(), |e| cut(&e.name)),
            text: defined("text").map(|e| cut(&e.text())),
            reason: reason.filter(|key| is_key(key)),
        }
    }
}

/// The EIM's word for the reason, as the rule finds it.
fn word_of(error: &Element, rule: &XReason) -> Option<String> {
    let is_named = |e: &&Element| rule.element.as_ref().is_none_or(|name| e.name == name);
    let found = error.children().filter(|e| e.ns == rule.ns).find(is_named)?;
    match (&rule.element, &rule.attr) {
        (None, _) => Some(found.name.to_string()),
        (Some(_), Some(attr)) => found.attr(attr).map(str::to_owned),
        (Some(_), None) => Some(found.text().trim().to_owned()),
    }
}

/// Keys are what a page translates: names, not sentences.
fn is_key(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= KEY_MAX && text.bytes().all(allowed)
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}
