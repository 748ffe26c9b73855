//! Values by their rules, out of XML or JSON. What is read from the EIM's answers and from its messages is read here.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::date_time;
use crate::eim::addresses::user_at;
use crate::ids::UserId;
use crate::precis::display_name;
use crate::schema::{KeyValues, Pointer, Step, ValueForm, ValueRule, ValueSource, Where};
use crate::xmpp::xml::Element;

/// Most entries of one list. A stanza of the largest size holds about 1700 members.
const LIST_MAX: usize = 4096;

/// Which value could not be read, and why. Names the place, and never repeats the value.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::eim) struct Unreadable(pub Cow<'static, str>);

impl Unreadable {
    /// The same, within that member.
    pub fn within(self, member: &str) -> Self {
        Self(format!("{member}: {}", self.0).into())
    }
}

fn not(what: &str) -> Unreadable {
    Unreadable(format!("not {what}").into())
}

/// What values are read from. A part of it is of the same type.
pub(in crate::eim) trait Tree: Sized {
    /// Where a value stands.
    type Path;
    /// The parts at that place: with `all` every match of its last step, else the first. `ns`: of steps without one.
    fn find<'t>(&'t self, place: &Self::Path, ns: &str, all: bool) -> Result<Vec<&'t Self>, Unreadable>;
    /// The text of a part that was found at the place. `None`: it isn't there.
    fn text(&self, place: &Self::Path) -> Result<Option<Cow<'_, str>>, Unreadable>;
    /// The part as JSON. `None`: as for the text.
    fn json(&self, place: &Self::Path) -> Result<Option<Value>, Unreadable>;
    /// The part as XML text.
    fn xml(&self) -> Result<Value, Unreadable>;
}

/// What a rule may refer to beside the part that it is for.
pub(in crate::eim) struct Scope<'s, T> {
    /// The whole.
    pub root: &'s T,
    /// The namespace of steps without one.
    pub ns: &'s str,
    /// The values of the routing key, if there is one.
    pub key: KeyValues<'s>,
    /// The EIM's domain.
    pub domain: &'s str,
}

impl<T: Tree> Scope<'_, T> {
    /// An object of those members. An absent one gets its default, or is left out.
    pub fn members(&self, part: Option<&T>, rules: &[(String, ValueRule<T::Path>)]) -> Result<Value, Unreadable> {
        let mut members = Map::new();
        for (name, rule) in rules {
            if let Some(value) = self.value(part, rule).map_err(|why| why.within(name))? {
                members.insert(name.clone(), value);
            }
        }
        Ok(Value::Object(members))
    }

    /// The value, or its default.
    pub fn value(&self, part: Option<&T>, rule: &ValueRule<T::Path>) -> Result<Option<Value>, Unreadable> {
        let value = match &rule.source {
            ValueSource::Const(value) => Some(value.clone()),
            ValueSource::Key(part) => {
                self.key.get(*part).map(|text| scalar(text, &rule.form, self.domain)).transpose()?
            }
            ValueSource::Path { place, root } => {
                let from = if *root { Some(self.root) } else { part };
                let found = from.map_or(Ok(Vec::new()), |from| from.find(place, self.ns, rule.list))?;
                let mut values = found.into_iter().map(|part| self.read(part, place, rule));
                if rule.list {
                    let values: Vec<Value> = values.filter_map(Result::transpose).collect::<Result<_, _>>()?;
                    (!values.is_empty()).then_some(Value::Array(values))
                } else {
                    values.next().transpose()?.flatten()
                }
            }
        };
        Ok(value.or_else(|| rule.default.clone()))
    }

    /// `None` where the part holds nothing of the kind.
    fn read(&self, part: &T, place: &T::Path, rule: &ValueRule<T::Path>) -> Result<Option<Value>, Unreadable> {
        match &rule.form {
            ValueForm::Object(members) => self.members(Some(part), members).map(Some),
            ValueForm::Json => part.json(place),
            ValueForm::Xml => part.xml().map(Some),
            form => part.text(place)?.map(|text| scalar(&text, form, self.domain)).transpose(),
        }
    }
}

impl Tree for Element {
    type Path = Where;

    fn find<'t>(&'t self, place: &Where, ns: &str, all: bool) -> Result<Vec<&'t Self>, Unreadable> {
        let mut found = Vec::new();
        find(self, &place.steps, ns, all, &mut found)?;
        Ok(found)
    }

    fn text(&self, place: &Where) -> Result<Option<Cow<'_, str>>, Unreadable> {
        Ok(match &place.attr {
            Some(name) => self.attr(name).map(Cow::Borrowed),
            None => Some(Cow::Owned(Element::text(self))),
        })
    }

    fn json(&self, place: &Where) -> Result<Option<Value>, Unreadable> {
        let text = Tree::text(self, place)?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| not("JSON"))).transpose()
    }

    fn xml(&self) -> Result<Value, Unreadable> {
        Ok(self.to_xml().into())
    }
}

fn find<'e>(
    element: &'e Element,
    steps: &[Step],
    ns: &str,
    all: bool,
    found: &mut Vec<&'e Element>,
) -> Result<(), Unreadable> {
    let Some((step, rest)) = steps.split_first() else {
        found.push(element);
        return Ok(());
    };
    let step_ns = step.ns.as_deref().unwrap_or(ns);
    let mut matches = element.children().filter(|e| e.name == step.name && e.ns == step_ns);
    if !(all && rest.is_empty()) {
        return matches.next().map_or(Ok(()), |child| find(child, rest, ns, all, found));
    }
    found.extend(matches.by_ref().take(LIST_MAX));
    if matches.next().is_some() { Err(too_many()) } else { Ok(()) }
}

fn too_many() -> Unreadable {
    Unreadable(format!("more than {LIST_MAX} entries").into())
}

impl Tree for Value {
    type Path = Pointer;

    fn find<'t>(&'t self, place: &Pointer, _ns: &str, all: bool) -> Result<Vec<&'t Self>, Unreadable> {
        let step = |value: &'t Value, step: &String| match value {
            Value::Object(members) => members.get(step),
            // RFC 6901 section 4: an index has no leading zeros.
            Value::Array(entries) if step == "0" || !step.starts_with(['0', '+']) => {
                entries.get(step.parse::<usize>().ok()?)
            }
            _ => None,
        };
        let Some(found) = place.0.iter().try_fold(self, step).filter(|found| !found.is_null()) else {
            return Ok(Vec::new());
        };
        match found {
            Value::Array(entries) if all && entries.len() > LIST_MAX => Err(too_many()),
            Value::Array(entries) if all => Ok(entries.iter().collect()),
            _ if all => Err(not("a list")),
            _ => Ok(vec![found]),
        }
    }

    fn text(&self, _: &Pointer) -> Result<Option<Cow<'_, str>>, Unreadable> {
        match self {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.into())),
            Value::Bool(_) | Value::Number(_) => Ok(Some(self.to_string().into())),
            Value::Array(_) | Value::Object(_) => Err(not("a single value")),
        }
    }

    fn json(&self, _: &Pointer) -> Result<Option<Value>, Unreadable> {
        Ok(Some(self.clone()))
    }

    fn xml(&self) -> Result<Value, Unreadable> {
        Err(not("XML"))
    }
}

/// The value that a text is in that form.
fn scalar<P>(text: &str, form: &ValueForm<P>, domain: &str) -> Result<Value, Unreadable> {
    match form {
        ValueForm::String | ValueForm::Object(_) | ValueForm::Xml => Ok(text.into()),
        ValueForm::Name => Ok(display_name::cleaned(text).into()),
        ValueForm::Integer => {
            let text = text.trim();
            let positive = text.parse::<u64>().map(Value::from);
            positive.or_else(|_| text.parse::<i64>().map(Value::from)).map_err(|_| not("an integer"))
        }
        // XML Schema part 2, section 3.2.2.1.
        ValueForm::Boolean => match text.trim() {
            "true" | "1" => Ok(Value::Bool(true)),
            "false" | "0" => Ok(Value::Bool(false)),
            _ => Err(not("a boolean")),
        },
        ValueForm::Json => serde_json::from_str(text).map_err(|_| not("JSON")),
        ValueForm::Base64Json => {
            // XML may break the text into lines.
            let text: String = text.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(text).map_err(|_| not("base64"))?;
            serde_json::from_slice(&bytes).map_err(|_| not("JSON within base64"))
        }
        ValueForm::User => {
            user(text.trim(), domain).map(|user| user.as_str().into()).ok_or_else(|| not("a user of the EIM's"))
        }
        ValueForm::Seconds => {
            date_time::from_seconds(text.trim()).map(Value::from).ok_or_else(|| not("seconds since 1970"))
        }
        ValueForm::DateTime => {
            date_time::from_profile(text.trim()).map(Value::from).ok_or_else(|| not("a date and time"))
        }
        ValueForm::Words(words) => words.get(text.trim()).cloned().ok_or_else(|| not("in the map")),
    }
}

/// A user's address, or their id, which is an address's local part: case makes no difference.
fn user(text: &str, domain: &str) -> Option<UserId> {
    if text.contains('@') { user_at(text, domain) } else { UserId::parse(&text.to_lowercase()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_form_reads_what_is_of_it_and_refuses_the_rest() {
        let read = |form: ValueForm<Where>, text: &str| scalar(text, &form, "ips3000").ok();
        assert_eq!(read(ValueForm::User, "U1@ips3000/phone"), Some(json!("u1")));
        assert_eq!(read(ValueForm::User, "u1%ips3000@webconf.ips3000"), Some(json!("u1")));
        assert_eq!(read(ValueForm::User, " Anna.B "), Some(json!("anna.b")));
        for nobody in ["", "u1@elsewhere", "a b", "@ips3000", "\u{200b}"] {
            assert_eq!(read(ValueForm::User, nobody), None, "{nobody}");
        }
        assert_eq!(read(ValueForm::Seconds, "1557226509.25"), Some(json!(1_557_226_509_250_u64)));
        assert_eq!(read(ValueForm::DateTime, "2019-05-07T10:55:09Z"), Some(json!(1_557_226_509_000_u64)));
        let known = vec![("on".to_owned(), json!(true))];
        assert_eq!(read(ValueForm::Words(Words { known: known.clone(), others: None }), "off"), None);
        assert_eq!(read(ValueForm::Words(Words { known, others: Some(json!(0)) }), "off"), Some(json!(0)));
    }

    use crate::schema::Words;

    #[test]
    fn a_json_pointer_leads_to_members_and_entries_and_null_is_absent() {
        let value = json!({"a": {"b/c": [1, {"d": null}]}, "0": "zero"});
        let at = |pointer: &str| {
            let place = <Pointer as crate::schema::ValuePath>::parse(pointer).unwrap();
            value.find(&place, "", false).unwrap().first().map(|value| (*value).clone())
        };
        assert_eq!(at("/a/b~1c/0"), Some(json!(1)));
        assert_eq!(at("/0"), Some(json!("zero")));
        assert_eq!(at(""), Some(value.clone()));
        for absent in ["/a/b~1c/00", "/a/b~1c/+0", "/a/b~1c/2", "/a/b~1c/1/d", "/a/x", "/a/b~1c/0/x"] {
            assert_eq!(at(absent), None, "{absent}");
        }
    }
}
