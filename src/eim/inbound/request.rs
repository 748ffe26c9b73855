//! Questions of the EIM: how it asks for a conference's web address, and how it is answered.

use serde_json::{Map, Value};

use super::InboundSchema;
use crate::eim::convert::{self, Scope};
use crate::event::Role;
use crate::ids::ConfId;
use crate::schema::KeyValues;
use crate::xmpp::xml::{Element, Stanza};

/// What an IQ of the EIM asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Where the conference is joined in that role.
    WebAddress {
        /// The conference.
        conf_id: ConfId,
        /// The role.
        role: Role,
        /// How long the link is to serve, in milliseconds; `None`: as long as the conference.
        valid_ms: Option<u64>,
    },
    /// The question is one of the files', and can't be read.
    Bad,
}

impl InboundSchema {
    /// Whether that address is one of the EIM's own.
    pub fn is_own_address(&self, from: &str) -> bool {
        self.senders.are_own(from)
    }

    /// What an IQ request from one of the EIM's own addresses asks; `None`: nothing that a file names.
    pub fn question(&self, iq: &Stanza) -> Option<Question> {
        let rule = &*self.web_address;
        if iq.attr("type") != Some(rule.kind.as_str()) || !iq.attr("from").is_some_and(|from| self.is_own_address(from))
        {
            return None;
        }
        let find = |among: &Element, name: &str, ns: &str| {
            among.children().find(|child| child.name == name && child.ns == ns).cloned()
        };
        let operation = match &rule.wrapper {
            Some(wrapper) => {
                let outer = find(iq, &wrapper.element, wrapper.ns.as_deref().unwrap_or(&rule.ns))?;
                find(&outer, &rule.element, &rule.ns)?
            }
            None => find(iq, &rule.element, &rule.ns)?,
        };
        let scope = Scope { root: &operation, ns: &rule.ns, key: KeyValues::default(), domain: &self.domain };
        let Ok(params) = scope.members(Some(&operation), &rule.params) else { return Some(Question::Bad) };
        let role = if params["role"] == "chair" { Role::Chair } else { Role::Guest };
        let conf_id = params["confId"].as_str().and_then(ConfId::parse);
        let valid_ms = params.get("validMs").and_then(Value::as_u64);
        Some(conf_id.map_or(Question::Bad, |conf_id| Question::WebAddress { conf_id, role, valid_ms }))
    }

    /// The payload of the answer; `None` where the values can't be written as the file has it.
    pub fn web_address(&self, url: &str, code: &str) -> Option<Element> {
        let rule = &*self.web_address;
        let values =
            Map::from_iter([("url", url), ("code", code)].map(|(name, value)| (name.to_owned(), Value::from(value))));
        convert::to_payload(&rule.element, &rule.ns, rule.wrapper.as_ref(), &rule.result, &values).ok()
    }
}
