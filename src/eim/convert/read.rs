//! An answer of the EIM to a result.

use serde_json::Value;

use super::Dialect;
use super::refused::{bad_answer, refusal};
use super::value::{Scope, Unreadable};
use crate::refusal::Refusal;
use crate::schema::{KeyValues, XIq};
use crate::xmpp::xml::{Element, Stanza};

/// The result that an answer stands for. A value that is not there becomes its rule's default, or is left out; so
/// does everything of an answer without content.
///
/// # Errors
/// For `type="error"` the refusal that the error stands for; -32012 with `undefined-condition` for an answer that
/// can't be read.
pub fn from_iq(x_iq: &XIq, answer: &Stanza, dialect: &Dialect) -> Result<Value, Refusal> {
    match answer.attr("type") {
        Some("result") => {}
        Some("error") => return Err(refusal(x_iq, answer, &dialect.reason)),
        _ => return Err(bad_answer("the answer is neither a result nor an error")),
    }
    let operation = operation(x_iq, answer)?;
    let scope = Scope { root: &**answer, ns: &x_iq.ns, key: KeyValues::default(), domain: &dialect.domain };
    Ok(match x_iq.result.as_slice() {
        [(name, rule)] if name == XIq::WHOLE => scope.value(operation, rule)?.unwrap_or(Value::Null),
        members => scope.members(operation, members)?,
    })
}

/// The operation element of the answer; `None` where the answer has no content.
fn operation<'e>(x_iq: &XIq, answer: &'e Stanza) -> Result<Option<&'e Element>, Refusal> {
    let missing = |name: &str, ns: &str| bad_answer(&format!("the answer has no <{name} xmlns='{ns}'>"));
    let find = |among: &mut dyn Iterator<Item = &'e Element>, name: &str, ns: &str| {
        let mut among = among.peekable();
        let bare = among.peek().is_none();
        let found = among.find(|e| e.name == name && e.ns == ns);
        if found.is_none() && !bare { Err(missing(name, ns)) } else { Ok(found) }
    };
    let Some(wrapper) = &x_iq.wrapper else {
        return find(&mut answer.children(), &x_iq.element, &x_iq.ns);
    };
    let wrapper_ns = wrapper.ns.as_deref().unwrap_or(&x_iq.ns);
    match find(&mut answer.children(), &wrapper.element, wrapper_ns)? {
        Some(outer) => find(&mut outer.children(), &x_iq.element, &x_iq.ns),
        None => Ok(None),
    }
}

impl From<Unreadable> for Refusal {
    fn from(why: Unreadable) -> Self {
        bad_answer(&why.0)
    }
}
