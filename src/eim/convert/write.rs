//! Params to an IQ.

use serde_json::{Map, Value};

use crate::refusal::Refusal;
use crate::schema::{Step, Wrapper, WriteForm, WritePlace, WriteRule, XIq};
use crate::xmpp::xml::{Element, Node, Stanza, is_xml_char};

/// Integers beyond it have no exact floating-point form (IEEE 754 double: 53 bits).
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// The IQ that asks the EIM, with `type` and `to`; `from` and `id` are the link's. Params that are absent or null
/// are not written.
///
/// # Errors
/// -32602 for a value that XML can't carry or that has not the declared type.
pub fn to_iq(x_iq: &XIq, params: &Map<String, Value>, domain: &str) -> Result<Stanza, Refusal> {
    let payload = to_payload(&x_iq.element, &x_iq.ns, x_iq.wrapper.as_ref(), &x_iq.params, params)?;
    Ok(Stanza::iq(x_iq.kind.as_str(), payload).with("to", x_iq.address(domain)))
}

/// The operation element with those values, in its wrapper.
///
/// # Errors
/// As [`to_iq`].
pub fn to_payload(
    element: &str,
    ns: &str,
    wrapper: Option<&Wrapper>,
    rules: &[WriteRule],
    values: &Map<String, Value>,
) -> Result<Element, Refusal> {
    let mut operation = Element::new(element, ns);
    for rule in rules {
        if let Some(value) = values.get(&rule.name).filter(|value| !value.is_null()) {
            put(&mut operation, ns, rule, value).map_err(|why| Refusal::invalid_params(&rule.name, why))?;
        }
    }
    Ok(match wrapper {
        Some(wrapper) => Element::new(&wrapper.element, wrapper.ns.as_deref().unwrap_or(ns)).with_child(operation),
        None => operation,
    })
}

fn put(operation: &mut Element, ns: &str, rule: &WriteRule, value: &Value) -> Result<(), &'static str> {
    match &rule.place {
        WritePlace::Attr(steps, name) => descend(operation, steps, ns).set(name, text(value, rule.form)?),
        WritePlace::Text => operation.nodes.push(Node::Text(text(value, rule.form)?)),
        WritePlace::Child(steps) => {
            let (last, before) = steps.split_last().ok_or("has no place in the request")?;
            let parent = descend(operation, before, ns);
            match (rule.form, value) {
                (WriteForm::List, Value::Array(entries)) => {
                    for entry in entries {
                        add(parent, last, ns, text(entry, WriteForm::String)?);
                    }
                }
                (WriteForm::List, _) => return Err("is not a list"),
                (form, value) => {
                    // Another param may have written an attribute of the same element.
                    let text = text(value, form)?;
                    descend(parent, std::slice::from_ref(last), ns).nodes.push(Node::Text(text));
                }
            }
        }
    }
    Ok(())
}

fn add(parent: &mut Element, step: &Step, ns: &str, text: String) {
    let child = Element::new(&step.name, step.ns.as_deref().unwrap_or(ns)).with_text(text);
    parent.nodes.push(Node::Element(child));
}

/// The descendant at the path, made where it isn't there.
fn descend<'e>(element: &'e mut Element, steps: &[Step], ns: &str) -> &'e mut Element {
    let Some((step, rest)) = steps.split_first() else { return element };
    let wanted = step.ns.as_deref().unwrap_or(ns);
    let is_it = |node: &Node| matches!(node, Node::Element(e) if e.name == step.name && e.ns == wanted);
    let at = element.nodes.iter().position(is_it).unwrap_or_else(|| {
        element.nodes.push(Node::Element(Element::new(&step.name, wanted)));
        element.nodes.len() - 1
    });
    match &mut element.nodes[at] {
        Node::Element(child) => descend(child, rest, ns),
        Node::Text(_) => unreachable!("the position is an element's"),
    }
}

fn text(value: &Value, form: WriteForm) -> Result<String, &'static str> {
    let text = match (form, value) {
        (WriteForm::Json, value) => value.to_string(),
        (WriteForm::Integer, Value::Number(n)) => match n.as_f64() {
            // JSON has one kind of number: 3.0 is an integer for a JSON Schema.
            Some(float) if n.is_f64() && float.fract() == 0.0 && float.abs() < EXACT_FLOAT => format!("{float:.0}"),
            _ if n.is_f64() => return Err("is not an integer"),
            _ => n.to_string(),
        },
        (WriteForm::Integer, _) => return Err("is not an integer"),
        (WriteForm::Boolean, Value::Bool(flag)) => flag.to_string(),
        (WriteForm::Boolean, _) => return Err("is not a boolean"),
        (_, Value::String(text)) => text.clone(),
        (_, Value::Number(n)) => n.to_string(),
        (_, Value::Bool(flag)) => flag.to_string(),
        _ => return Err("is not a text"),
    };
    if text.chars().all(is_xml_char) { Ok(text) } else { Err("holds a character that XML does not allow") }
}
