//! Accounts made and removed by standard means: XEP-0133 commands over XEP-0050 (ejabberd, Prosody, others).
//!
//! They go from the bare provisioning domain, never from the domain that callers speak from: servers grant such
//! rights to whole domains.

use std::time::Duration;

use crate::eim::link::{EimError, Link};
use crate::ids::{Secret, UserId};
use crate::precis::password::opaque;
use crate::xmpp::xml::{Element, Stanza};

const COMMANDS_NS: &str = "http://jabber.org/protocol/commands";
const FORM_NS: &str = "jabber:x:data";
const ADD_USER: &str = "http://jabber.org/protocol/admin#add-user";
const DELETE_USER: &str = "http://jabber.org/protocol/admin#delete-user";

/// Why an account was not made or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum ProvisionError {
    /// The account exists already.
    #[error("the user id is taken")]
    Taken,
    /// `condition` as in RFC 6120 section 8.3.3, `text` the server's own words. No secret is in either.
    #[error("the server refused: {condition} {text}")]
    Refused { condition: String, text: String },
    /// The request has failed.
    #[error(transparent)]
    Eim(#[from] EimError),
}

/// The asking component and the asked server.
#[derive(Clone)]
pub struct Provision {
    /// The link of the administrating component.
    pub link: Link,
    /// The bare provisioning domain.
    pub from: String,
    /// The EIM's domain, where the accounts are.
    pub domain: String,
    /// For each of a command's two steps.
    pub timeout: Duration,
}

impl Provision {
    /// Makes the account `user@domain`. `name` is given to servers whose form asks for it.
    pub async fn add(&self, user: &UserId, password: &Secret, name: &str) -> Result<(), ProvisionError> {
        if password.is_empty() {
            // Prosody would make an account that everybody can enter.
            return Err(ProvisionError::Refused { condition: "bad-request".into(), text: "an empty password".into() });
        }
        let jid = format!("{user}@{}", self.domain);
        let form = self.begin(ADD_USER).await?;
        let done = self.submit(&form, |var| match var {
            "accountjid" => Some(jid.clone()),
            "password" | "password-verify" => Some(opaque(password.expose()).into_owned()),
            "given_name" => Some(name.to_owned()),
            _ => None,
        });
        done.await.map_err(taken)
    }

    /// Removes the account; one that is not there is removed already.
    pub async fn delete(&self, user: &UserId) -> Result<(), ProvisionError> {
        let jid = format!("{user}@{}", self.domain);
        let form = self.begin(DELETE_USER).await?;
        let done = self.submit(&form, |var| matches!(var, "accountjid" | "accountjids").then(|| jid.clone()));
        match done.await {
            Err(ProvisionError::Refused { condition, .. }) if condition == "item-not-found" => Ok(()),
            done => done,
        }
    }

    /// Proves that we may: begins to add a user, and leaves it at that.
    pub async fn probe(&self) -> Result<(), ProvisionError> {
        let form = self.begin(ADD_USER).await?;
        let cancel = Element::new("command", COMMANDS_NS)
            .with("node", ADD_USER)
            .with("sessionid", &form.session)
            .with("action", "cancel");
        // Its answer is ignored: the form was the purpose.
        self.request(cancel).await.map(|_| ()).or_else(|e| match e {
            ProvisionError::Refused { .. } => Ok(()),
            e => Err(e),
        })
    }

    async fn begin(&self, node: &'static str) -> Result<Form, ProvisionError> {
        let execute = Element::new("command", COMMANDS_NS).with("node", node).with("action", "execute");
        let command = self.request(execute).await?;
        Form::of(node, &command).ok_or_else(|| refused(&command))
    }

    async fn submit(&self, form: &Form, value: impl Fn(&str) -> Option<String>) -> Result<(), ProvisionError> {
        let command = self.request(form.filled_in(value)).await?;
        let note = command.children().find(|c| c.name == "note" && c.attr("type") == Some("error"));
        if command.attr("status") == Some("completed") && note.is_none() { Ok(()) } else { Err(refused(&command)) }
    }

    /// One step: the command element of the answer.
    async fn request(&self, command: Element) -> Result<Element, ProvisionError> {
        let iq = Stanza::iq("set", command).with("from", &self.from).with("to", &self.domain);
        let answer = self.link.request(iq, self.timeout).await?;
        if answer.attr("type") == Some("error") {
            return Err(error_of(answer.child("error")));
        }
        let command = answer.children().find(|c| c.name == "command" && c.ns == COMMANDS_NS);
        command.cloned().ok_or_else(|| error_of(None))
    }
}

/// A command's form, waiting to be filled in.
struct Form {
    node: &'static str,
    session: String,
    /// Field names with their preset values.
    fields: Vec<(String, Vec<String>)>,
}

impl Form {
    fn of(node: &'static str, command: &Element) -> Option<Self> {
        let form = command.children().find(|c| c.name == "x" && c.ns == FORM_NS)?;
        let field = |f: &Element| {
            let values = f.children().filter(|v| v.name == "value").map(Element::text).collect();
            f.attr("var").map(|var| (var.to_owned(), values))
        };
        let fields = form.children().filter(|f| f.name == "field").filter_map(field).collect();
        Some(Self { node, session: command.attr("sessionid").unwrap_or("").to_owned(), fields })
    }

    /// The command that submits the form: `value` where it knows one, else what the server has preset.
    fn filled_in(&self, value: impl Fn(&str) -> Option<String>) -> Element {
        let mut form = Element::new("x", FORM_NS).with("type", "submit");
        for (var, preset) in &self.fields {
            let values = value(var).map_or_else(|| preset.clone(), |v| vec![v]);
            if values.is_empty() {
                continue;
            }
            let field = Element::new("field", FORM_NS).with("var", var);
            let field = values.iter().fold(field, |f, v| f.with_child(Element::new("value", FORM_NS).with_text(v)));
            form = form.with_child(field);
        }
        // Without an action: XEP-0050 then takes the one that ends a form of one page.
        let command = Element::new("command", COMMANDS_NS).with("node", self.node).with("sessionid", &self.session);
        command.with_child(form)
    }
}

/// A command that ended otherwise than completed.
fn refused(command: &Element) -> ProvisionError {
    let text = command.child("note").map(Element::text).unwrap_or_default();
    ProvisionError::Refused { condition: "undefined-condition".into(), text }
}

fn error_of(error: Option<&Element>) -> ProvisionError {
    let children: Vec<&Element> = error.map(|e| e.children().collect()).unwrap_or_default();
    let condition = children.iter().find(|c| c.name != "text").map_or("undefined-condition", |c| c.name.as_str());
    let text = children.iter().find(|c| c.name == "text").map(|c| c.text()).unwrap_or_default();
    ProvisionError::Refused { condition: condition.to_owned(), text }
}

/// Servers say by condition or in words that an account is there already.
fn taken(e: ProvisionError) -> ProvisionError {
    match &e {
        ProvisionError::Refused { condition, text }
            if condition == "conflict" || text.to_ascii_lowercase().contains("already exists") =>
        {
            ProvisionError::Taken
        }
        _ => e,
    }
}
