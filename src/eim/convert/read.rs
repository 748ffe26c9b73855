//! An answer of the EIM to a result.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::refused::{bad_answer, refusal};
use crate::precis::display_name;
use crate::refusal::Refusal;
use crate::schema::{Step, ValueForm, ValueRule, XIq};
use crate::xmpp::xml::{Element, Stanza};

/// Most entries of one list of an answer. A stanza of the largest size holds about 1700 members.
const LIST_MAX: usize = 4096;

/// The result that an answer stands for. A value that is not there becomes its rule's default, or is left out; so
/// does everything of an answer without content.
///
/// # Errors
/// For `type="error"` the refusal that the error stands for; -32012 with `undefined-condition` for an answer that
/// can't be read.
pub fn from_iq(x_iq: &XIq, answer: &Stanza) -> Result<Value, Refusal> {
    match answer.attr("type") {
        Some("result") => {}
        Some("error") => return Err(refusal(x_iq, answer)),
        _ => return Err(bad_answer("the answer is neither a result nor an error")),
    }
    let reader = Reader { ns: &x_iq.ns };
    let operation = operation(x_iq, answer)?;
    let result = match x_iq.result.as_slice() {
        [(name, rule)] if name == XIq::WHOLE => Ok(reader.value(operation, rule)?.unwrap_or(Value::Null)),
        members => reader.members(operation, members),
    };
    result.map_err(|e: Unreadable| bad_answer(&e.0))
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

/// Which value could not be read, and why.
struct Unreadable(String);

impl From<Unreadable> for Refusal {
    fn from(why: Unreadable) -> Self {
        bad_answer(&why.0)
    }
}

struct Reader<'x> {
    ns: &'x str,
}

impl Reader<'_> {
    fn members(&self, element: Option<&Element>, rules: &[(String, ValueRule)]) -> Result<Value, Unreadable> {
        let mut members = Map::new();
        for (name, rule) in rules {
            let value = self.value(element, rule).map_err(|e| Unreadable(format!("{name}: {}", e.0)))?;
            if let Some(value) = value {
                members.insert(name.clone(), value);
            }
        }
        Ok(Value::Object(members))
    }

    fn value(&self, element: Option<&Element>, rule: &ValueRule) -> Result<Option<Value>, Unreadable> {
        let mut found = Vec::new();
        if let Some(element) = element {
            self.find(element, &rule.place.steps, rule.list, &mut found)?;
        }
        if rule.list {
            let values: Vec<Value> = found
                .into_iter()
                .map(|e| self.read(e, rule))
                .filter_map(Result::transpose)
                .collect::<Result<_, _>>()?;
            return Ok(if values.is_empty() { rule.default.clone() } else { Some(Value::Array(values)) });
        }
        let value = match found.first() {
            Some(element) => self.read(element, rule)?,
            None => None,
        };
        Ok(value.or_else(|| rule.default.clone()))
    }

    /// The first match of each step; for a list all matches of the last one.
    fn find<'e>(
        &self,
        element: &'e Element,
        steps: &[Step],
        all: bool,
        found: &mut Vec<&'e Element>,
    ) -> Result<(), Unreadable> {
        let Some((step, rest)) = steps.split_first() else {
            found.push(element);
            return Ok(());
        };
        let ns = step.ns.as_deref().unwrap_or(self.ns);
        let mut matches = element.children().filter(|e| e.name == step.name && e.ns == ns);
        if !(all && rest.is_empty()) {
            return matches.next().map_or(Ok(()), |child| self.find(child, rest, all, found));
        }
        found.extend(matches.by_ref().take(LIST_MAX));
        if matches.next().is_some() { Err(Unreadable(format!("more than {LIST_MAX} entries"))) } else { Ok(()) }
    }

    /// `None` where the attribute isn't there.
    fn read(&self, element: &Element, rule: &ValueRule) -> Result<Option<Value>, Unreadable> {
        if let ValueForm::Object(members) = &rule.form {
            return self.members(Some(element), members).map(Some);
        }
        match &rule.place.attr {
            Some(name) => element.attr(name).map(|text| scalar(text, &rule.form)).transpose(),
            None => scalar(&element.text(), &rule.form).map(Some),
        }
    }
}

fn scalar(text: &str, form: &ValueForm) -> Result<Value, Unreadable> {
    let unreadable = |what: &str| Unreadable(format!("not {what}"));
    match form {
        ValueForm::String | ValueForm::Object(_) => Ok(Value::from(text)),
        ValueForm::Name => Ok(display_name::cleaned(text).into()),
        ValueForm::Integer => {
            let text = text.trim();
            let positive = text.parse::<u64>().map(Value::from);
            positive.or_else(|_| text.parse::<i64>().map(Value::from)).map_err(|_| unreadable("an integer"))
        }
        // XML Schema part 2, section 3.2.2.1.
        ValueForm::Boolean => match text.trim() {
            "true" | "1" => Ok(Value::Bool(true)),
            "false" | "0" => Ok(Value::Bool(false)),
            _ => Err(unreadable("a boolean")),
        },
        ValueForm::Json => serde_json::from_str(text).map_err(|_| unreadable("JSON")),
        ValueForm::Base64Json => {
            // XML may break the text into lines.
            let text: String = text.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(text).map_err(|_| unreadable("base64"))?;
            serde_json::from_slice(&bytes).map_err(|_| unreadable("JSON within base64"))
        }
    }
}
