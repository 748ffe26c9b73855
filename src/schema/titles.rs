//! Titles of schemas, by which generators name the types that they make. A schema without one is named by where it
//! stands: by its method and param, by its type and property.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The titles of one document, each given once.
#[derive(Default)]
pub(super) struct Titles(BTreeSet<String>);

impl Titles {
    /// Keeps the name for something else.
    pub fn reserve(&mut self, name: String) {
        self.0.insert(name);
    }

    /// Gives a title to the schema, and to each within it, that has none. A reference has that of its target.
    pub fn give(&mut self, schema: &mut Value, name: &str) {
        let Value::Object(members) = schema else { return };
        if !members.contains_key("$ref") {
            let title = self.title(members, name);
            members.iter_mut().for_each(|(keyword, inner)| self.give_within(keyword, inner, &title));
        }
    }

    fn title(&mut self, members: &mut Map<String, Value>, name: &str) -> String {
        let own = members.get("title").and_then(Value::as_str).map(str::to_owned);
        let title = own.unwrap_or_else(|| {
            let free = self.free(name);
            members.shift_insert(0, "title".to_owned(), free.as_str().into());
            free
        });
        self.0.insert(title.clone());
        title
    }

    fn free(&self, name: &str) -> String {
        let numbered = (2_u32..).map(|number| format!("{name}{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        names.find(|name| !self.0.contains(name)).unwrap_or_else(|| name.to_owned())
    }

    fn give_within(&mut self, keyword: &str, inner: &mut Value, title: &str) {
        match (keyword, inner) {
            ("properties", Value::Object(properties)) => {
                properties.iter_mut().for_each(|(name, property)| self.give(property, &joined(title, name)));
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(parts)) => {
                for part in parts {
                    let kind = part.get("type").and_then(Value::as_str).unwrap_or("part").to_owned();
                    self.give(part, &joined(title, &kind));
                }
            }
            ("items", inner) => self.give(inner, &joined(title, "item")),
            ("additionalProperties", inner) => self.give(inner, &joined(title, "value")),
            _ => {}
        }
    }
}

/// Both as one name: `conference.create` and `startAt` as `ConferenceCreateStartAt`.
pub(super) fn joined(before: &str, name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.fold(before.to_owned(), |joined, word| {
        let (first, rest) = word.split_at(word.len().min(1));
        joined + &first.to_ascii_uppercase() + rest
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_schema_is_named_by_where_it_stands_and_keeps_a_name_of_its_own() {
        let mut titles = Titles::default();
        titles.reserve("AskWhen".to_owned());
        let mut schema = json!({
            "type": "object",
            "properties": {
                "to-whom": { "type": "array", "items": { "anyOf": [{ "type": "string" }, { "type": "null" }, { "$ref": "#/x" }] } },
                "when": { "title": "Time", "type": "object", "properties": { "ms": { "type": "integer" } } },
                "any": true
            },
            "additionalProperties": { "type": "string" }
        });
        titles.give(&mut schema, "Ask");
        let mut other = json!({ "allOf": [{ "properties": {} }, { "properties": {} }] });
        titles.give(&mut other, &joined("Ask", "when"));
        assert_eq!(schema["title"], "Ask");
        assert_eq!(schema["properties"]["to-whom"]["title"], "AskToWhom");
        let item = &schema["properties"]["to-whom"]["items"];
        assert_eq!(item["title"], "AskToWhomItem");
        assert_eq!(
            (&item["anyOf"][0]["title"], &item["anyOf"][1]["title"]),
            (&json!("AskToWhomItemString"), &json!("AskToWhomItemNull"))
        );
        assert_eq!(item["anyOf"][2], json!({ "$ref": "#/x" }));
        assert_eq!(schema["properties"]["when"]["title"], "Time");
        assert_eq!(schema["properties"]["when"]["properties"]["ms"]["title"], "TimeMs");
        assert_eq!(schema["additionalProperties"]["title"], "AskValue");
        assert_eq!(schema["properties"]["any"], true);
        assert_eq!(other["title"], "AskWhen2");
        assert_eq!(
            (&other["allOf"][0]["title"], &other["allOf"][1]["title"]),
            (&json!("AskWhen2Part"), &json!("AskWhen2Part2"))
        );
        assert_eq!(schema.as_object().unwrap().keys().next().unwrap(), "title", "first, where a reader looks");
    }
}
