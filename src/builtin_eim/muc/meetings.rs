//! Requests for a meeting's link: XEP-0483, and `getWebAddress` of our own dialect. Read and answered here.

use std::collections::BTreeMap;

use super::super::stanza_error::STANZAS_NS;
use crate::clock::Moment;
use crate::ids::{ConfId, UserId};
use crate::precis::display_name;
use crate::rate_limit::limiter::{Limiter, Rate};
use crate::xmpp::jid::Jid;
use crate::xmpp::xml::{CONTENT_NS, Element, Stanza};

use super::names::MucSettings;

/// What is offered: of XEP-0483, the initiation of meetings, and the type of ours.
pub(super) const FEATURES: [&str; 2] =
    ["urn:xmpp:http:online-meetings:initiate:0", "urn:xmpp:http:online-meetings#confgate"];
/// The namespaces of a request: the examples of the XEP have another than its text.
const REQUEST_NS: [&str; 3] = [
    "urn:xmpp:http:online-meetings:0",
    "urn:xmpp:http:online-meetings:initiate:0",
    "urn:xmpp:http:online-meetings:invite:0",
];
const TYPE: &str = "confgate";
const CONFERENCE_NS: &str = "je:x:client:conference";
/// Requests that wait for a room or for a link.
const PENDING_MAX: usize = 256;
/// Requests of one user: each makes a link, and may make a conference.
const REQUESTS: Rate = Rate { count: 10, window_ms: 60_000 };
const RATED_MAX: usize = 10_000;

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// XEP-0483.
    Meeting { ns: String, desc: Option<String> },
    /// Our own dialect.
    WebAddress,
}

#[derive(Debug, Clone)]
pub(super) struct MeetingRequest {
    /// Without its content.
    iq: Stanza,
    form: Form,
    pub user: UserId,
    /// The conference that is named; `None`: a new one is wanted.
    pub conf: Option<ConfId>,
    pub until: Moment,
    /// Whether the link is under way.
    pub is_linking: bool,
}

/// Owns the requests that are not answered yet.
pub(super) struct Meetings {
    pub pending: BTreeMap<u64, MeetingRequest>,
    next: u64,
    rates: Limiter<UserId>,
}

impl Default for Meetings {
    fn default() -> Self {
        Self { pending: BTreeMap::new(), next: 1, rates: Limiter::new(REQUESTS, RATED_MAX) }
    }
}

impl Meetings {
    /// Keeps a request until it is answered; an error where there are too many.
    pub fn add(&mut self, request: MeetingRequest, now: Moment) -> Result<u64, Stanza> {
        if self.pending.len() >= PENDING_MAX || self.rates.allow(&request.user, now).is_err() {
            return Err(request.refusal("wait", "resource-constraint", "too many requests"));
        }
        let number = self.next;
        self.next += 1;
        self.pending.insert(number, request);
        Ok(number)
    }
}

/// Whether it asks for a meeting's link.
pub(super) fn is_request(payload: &Element) -> bool {
    form_of(payload).is_some()
}

fn form_of(payload: &Element) -> Option<Form> {
    if payload.name == "query" && REQUEST_NS.contains(&payload.ns.as_str()) {
        let desc = payload.child("desc").map(Element::text);
        let desc = desc.and_then(|text| display_name::checked(text.trim(), display_name::MAX));
        return Some(Form::Meeting { ns: payload.ns.to_string(), desc });
    }
    let is_own = payload.name == "jeExtension" && payload.ns == CONFERENCE_NS;
    (is_own && payload.child("getWebAddress").is_some()).then_some(Form::WebAddress)
}

impl MeetingRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// The answer that refuses it.
    pub fn read(iq: &Stanza, from: &Jid<'_>, settings: &MucSettings, until: Moment) -> Result<Self, Stanza> {
        let mut envelope = iq.clone();
        envelope.nodes.clear();
        let payload = iq.payload().ok_or_else(|| refusal(&envelope, "modify", "bad-request", ""))?;
        let form = form_of(payload).ok_or_else(|| refusal(&envelope, "cancel", "service-unavailable", ""))?;
        let user = settings.account(from);
        let user =
            user.ok_or_else(|| refusal(&envelope, "auth", "forbidden", "only users of the server have links"))?;
        let named = match &form {
            Form::Meeting { .. } => payload.attr("id"),
            Form::WebAddress => payload.child("getWebAddress").and_then(|operation| operation.attr("confId")),
        };
        if matches!(form, Form::Meeting { .. }) && payload.attr("type").is_some_and(|kind| kind != TYPE) {
            return Err(refusal(&envelope, "cancel", "service-unavailable", "the type of meetings here is confgate"));
        }
        let conf = match named {
            None if form == Form::WebAddress => return Err(refusal(&envelope, "modify", "bad-request", "")),
            None => None,
            Some(named) => Some(conference(named, settings).ok_or_else(|| {
                let text = "the name of a room here: of a-z 0-9 _ - up to 64 characters";
                refusal(&envelope, "modify", "not-acceptable", text)
            })?),
        };
        Ok(Self { iq: envelope, form, user, conf, until, is_linking: false })
    }

    /// The name of a new conference.
    pub fn name(&self) -> String {
        match (&self.form, &self.conf) {
            (Form::Meeting { desc: Some(desc), .. }, _) => desc.clone(),
            (_, Some(conf)) => conf.to_string(),
            _ => format!("{}'s meeting", self.user),
        }
    }

    /// The answer with the link. The conference is open already, so nobody has to be the first: there is no `initiate`.
    pub fn answer(&self, url: &str, code: &str) -> Stanza {
        let payload = match &self.form {
            Form::Meeting { ns, desc } => {
                let text = |name: &str, text: &str| Element::new(name, ns).with_text(text);
                let invite = Element::new("invite", ns).with("type", TYPE).with_child(text("url", url));
                let invite = desc.iter().fold(invite, |invite, desc| invite.with_child(text("desc", desc)));
                Element::new("query", ns).with_child(invite)
            }
            Form::WebAddress => {
                let operation = Element::new("getWebAddress", CONFERENCE_NS).with("url", url).with("code", code);
                Element::new("jeExtension", CONFERENCE_NS).with_child(operation)
            }
        };
        back(&self.iq, "result").with_child(payload)
    }

    /// The answer that refuses it.
    pub fn refusal(&self, kind: &str, condition: &str, text: &str) -> Stanza {
        refusal(&self.iq, kind, condition, text)
    }
}

/// The conference of a room that is named by its address or the part before the `@`.
fn conference(named: &str, settings: &MucSettings) -> Option<ConfId> {
    match named.contains('@') {
        true => settings.conf_of(&Jid::parse(named)?),
        false => ConfId::parse(&named.to_ascii_lowercase()),
    }
}

/// The built-in EIM's question for a guest's link, which the gateway answers.
pub(super) fn question(number: u64, conf: &ConfId, valid_ms: u64, settings: &MucSettings) -> Stanza {
    let operation = Element::new("getWebAddress", CONFERENCE_NS)
        .with("confId", conf.as_str())
        .with("role", "guest")
        .with("validMs", valid_ms.to_string());
    let payload = Element::new("jeExtension", CONFERENCE_NS).with_child(operation);
    let from = format!("jeconference.{}", settings.domain);
    Stanza::iq("get", payload).with("id", format!("link:{number}")).with("from", from).with("to", &*settings.component)
}

/// The number of the request that an answer of the gateway is for, and the link, if there is one.
pub(super) fn linked(answer: &Stanza) -> Option<(u64, Option<(String, String)>)> {
    let number = answer.attr("id")?.strip_prefix("link:")?.parse().ok()?;
    let operation = answer.payload().and_then(|payload| payload.child("getWebAddress"));
    let link = operation.and_then(|o| Some((o.attr("url")?.to_owned(), o.attr("code")?.to_owned())));
    Some((number, link))
}

/// An IQ's answer, without content.
pub(super) fn back(iq: &Stanza, kind: &str) -> Stanza {
    let mut answer = Stanza::new("iq").with("type", kind);
    for (name, theirs) in [("from", "to"), ("to", "from"), ("id", "id")] {
        if let Some(value) = iq.attr(theirs) {
            answer.set(name, value);
        }
    }
    answer
}

/// An IQ's error.
pub(super) fn refusal(iq: &Stanza, kind: &str, condition: &str, text: &str) -> Stanza {
    let mut error =
        Element::new("error", CONTENT_NS).with("type", kind).with_child(Element::new(condition, STANZAS_NS));
    if !text.is_empty() {
        error = error.with_child(Element::new("text", STANZAS_NS).with_text(text));
    }
    back(iq, "error").with_child(error)
}
