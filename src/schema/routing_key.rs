//! The routing keys of a file of `events/`: words with dots between, some of which are values.

use super::value::KeyPart;
use crate::ids::{ConfId, UserId};

/// Most words of one.
const WORDS_MAX: usize = 16;
/// AMQP 0-9-1: a short string.
const BYTES_MAX: usize = 255;

/// A routing key as a file writes it: `conf.{confId}.{type}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern {
    text: String,
    words: Vec<Word>,
}

/// A word of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Literal(String),
    /// `*`: any one word.
    Any,
    /// `{confId}`: one word.
    ConfId,
    /// `{userId}`: one word or more, since a user's id may have dots. What follows is literal, or a type.
    UserId,
    /// `{type}`: the words to the end, one at the least.
    Type,
    /// `#`: the words to the end, of which there may be none.
    Rest,
}

/// The values of a routing key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyValues<'k> {
    /// `{confId}`
    pub conf_id: Option<&'k str>,
    /// `{userId}`
    pub user_id: Option<&'k str>,
    /// `{type}`
    pub kind: Option<&'k str>,
}

impl<'k> KeyValues<'k> {
    /// The value of that part.
    pub fn get(&self, part: KeyPart) -> Option<&'k str> {
        match part {
            KeyPart::ConfId => self.conf_id,
            KeyPart::UserId => self.user_id,
            KeyPart::Type => self.kind,
        }
    }
}

impl Word {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "*" => Self::Any,
            "#" => Self::Rest,
            "{confId}" => Self::ConfId,
            "{userId}" => Self::UserId,
            "{type}" => Self::Type,
            "" => return Err("an empty word".to_owned()),
            _ if text.contains(['*', '#', '{', '}']) || text.bytes().any(|b| b.is_ascii_control()) => {
                return Err(format!("{text} is no word of a key"));
            }
            _ => Self::Literal(text.to_owned()),
        })
    }
}

impl KeyPattern {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("longer than {BYTES_MAX} bytes"));
        }
        let words = text.split('.').map(Word::parse).collect::<Result<Vec<_>, _>>()?;
        if words.len() > WORDS_MAX {
            return Err(format!("more than {WORDS_MAX} words"));
        }
        let count = |word: &Word| words.iter().filter(|other| *other == word).count();
        if count(&Word::ConfId) + count(&Word::UserId) > 1 {
            return Err("one of {confId} and {userId}, once".to_owned());
        }
        let last = words.len() - 1;
        if words[..last].iter().any(|word| matches!(word, Word::Type | Word::Rest)) {
            return Err("{type} and # stand at the end".to_owned());
        }
        let user = words.iter().position(|word| *word == Word::UserId);
        if user.is_some_and(|at| words[at + 1..].iter().any(|word| matches!(word, Word::Any | Word::Rest))) {
            return Err("a user's id may have dots: neither * nor # behind {userId}".to_owned());
        }
        Ok(Self { text: text.to_owned(), words })
    }

    /// As it stands in the file.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the key has that part.
    pub fn has(&self, part: KeyPart) -> bool {
        let word = match part {
            KeyPart::ConfId => Word::ConfId,
            KeyPart::UserId => Word::UserId,
            KeyPart::Type => Word::Type,
        };
        self.words.contains(&word)
    }

    /// Whether a word is fixed: without one it takes every key.
    pub fn is_particular(&self) -> bool {
        self.words.iter().any(|word| matches!(word, Word::Literal(_)))
    }

    /// The values of a key. `kind`: the event's type where it is known otherwise; another one in the key doesn't fit.
    /// `None`: the key isn't of this form.
    pub fn values<'k>(&self, key: &'k str, kind: Option<&str>) -> Option<KeyValues<'k>> {
        let (mut values, mut rest) = (KeyValues::default(), Some(key));
        for (at, word) in self.words.iter().enumerate() {
            match word {
                Word::Rest => return Some(values),
                Word::Type => {
                    values.kind = rest.filter(|rest| !rest.is_empty() && kind.is_none_or(|kind| kind == *rest));
                    return values.kind.map(|_| values);
                }
                Word::UserId => return self.user(values, rest?, at + 1, kind),
                _ => {
                    let (first, after) = split_first(rest?);
                    match word {
                        Word::Literal(literal) if literal != first => return None,
                        Word::ConfId => values.conf_id = Some(first),
                        _ => {}
                    }
                    rest = after;
                }
            }
        }
        rest.is_none().then_some(values)
    }

    /// The user's id is what stands before the words behind it.
    fn user<'k>(
        &self,
        mut values: KeyValues<'k>,
        mut rest: &'k str,
        behind: usize,
        kind: Option<&str>,
    ) -> Option<KeyValues<'k>> {
        for word in self.words[behind..].iter().rev() {
            let last = match (word, kind) {
                (Word::Literal(literal), _) => literal.as_str(),
                (Word::Type, Some(kind)) => kind,
                // The type isn't known yet, nor where the user's id ends.
                _ => return rest.contains('.').then_some(values),
            };
            let before = rest.strip_suffix(last).and_then(|rest| rest.strip_suffix('.'))?;
            if *word == Word::Type {
                values.kind = Some(&rest[before.len() + 1..]);
            }
            rest = before;
        }
        values.user_id = Some(rest).filter(|user| !user.is_empty());
        values.user_id.map(|_| values)
    }

    /// The pattern by which a queue is bound for that conference; `None`: the key has no conference.
    pub fn of_conference(&self, conf: &ConfId) -> Option<String> {
        self.has(KeyPart::ConfId).then(|| self.bound(conf.as_str()))
    }

    /// The same for a user.
    pub fn of_user(&self, user: &UserId) -> Option<String> {
        self.has(KeyPart::UserId).then(|| self.bound(user.as_str()))
    }

    /// The pattern of a key that has neither: it is bound for all.
    pub fn of_all(&self) -> Option<String> {
        (!self.has(KeyPart::ConfId) && !self.has(KeyPart::UserId)).then(|| self.bound(""))
    }

    fn bound(&self, id: &str) -> String {
        let word = |word: &Word| match word {
            Word::Literal(literal) => literal.clone(),
            Word::Any => "*".to_owned(),
            Word::ConfId | Word::UserId => id.to_owned(),
            Word::Type | Word::Rest => "#".to_owned(),
        };
        self.words.iter().map(word).collect::<Vec<_>>().join(".")
    }

    /// Whether some key is of both forms.
    pub fn overlaps(&self, other: &Self) -> bool {
        overlap(&self.words, &other.words)
    }
}

fn split_first(words: &str) -> (&str, Option<&str>) {
    words.split_once('.').map_or((words, None), |(first, rest)| (first, Some(rest)))
}

fn overlap(one: &[Word], other: &[Word]) -> bool {
    match (one.split_first(), other.split_first()) {
        (None, None) => true,
        (Some((Word::Rest, _)), _) | (_, Some((Word::Rest, _))) => {
            // It may take no word, and stands at the end.
            true
        }
        (None, _) | (_, None) => false,
        (Some((a, after_a)), Some((b, after_b))) => {
            let fits = !matches!((a, b), (Word::Literal(a), Word::Literal(b)) if a != b);
            let takes_more = |word: &Word| matches!(word, Word::UserId | Word::Type);
            fits && (overlap(after_a, after_b)
                || takes_more(a) && overlap(one, after_b)
                || takes_more(b) && overlap(after_a, other))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> KeyPattern {
        KeyPattern::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn a_key_gives_its_values() {
        let of = |text: &str, key: &'static str, kind: Option<&str>| {
            let values = pattern(text).values(key, kind)?;
            Some([values.conf_id, values.user_id, values.kind].map(|value| value.unwrap_or("-")).join(" "))
        };
        let cases = [
            ("conf.{confId}.{type}", "conf.c1.member.left", None, Some("c1 - member.left")),
            ("conf.{confId}.{type}", "conf.c1.member.left", Some("member.left"), Some("c1 - member.left")),
            ("conf.{confId}.{type}", "conf.c1.member.left", Some("left"), None),
            ("conf.{confId}.{type}", "conf.c1", None, None),
            ("conf.{confId}.{type}", "conf.c1.", None, None),
            ("user.{userId}.{type}", "user.anna.b.member.left", Some("member.left"), Some("- anna.b member.left")),
            ("user.{userId}.{type}", "user.anna.b.member.left", None, Some("- - -")),
            ("user.{userId}.{type}", "user.member.left", Some("member.left"), None),
            ("user.{userId}.{type}", "user.anna", None, None),
            ("user.{userId}.call", "user.anna.b.call", None, Some("- anna.b -")),
            ("user.{userId}", "user.anna.b", None, Some("- anna.b -")),
            ("room.{confId}.#", "room.c1", None, Some("c1 - -")),
            ("room.{confId}.#", "room.c1.a.b", None, Some("c1 - -")),
            ("room.{confId}.#", "rooms.c1", None, None),
            ("*.{confId}.x", "a.c1.x", None, Some("c1 - -")),
            ("*.{confId}.x", "a.c1.x.y", None, None),
            ("all", "all", None, Some("- - -")),
            ("all", "", None, None),
        ];
        for (text, key, kind, expected) in cases {
            assert_eq!(of(text, key, kind).as_deref(), expected, "{text} {key} {kind:?}");
        }
    }

    #[test]
    fn keys_that_could_be_read_in_two_ways_are_refused() {
        for text in [
            "",
            "a..b",
            "{confId}.{userId}",
            "{type}.a",
            "#.a",
            "{userId}.#",
            "{userId}.*",
            "a{confId}",
            "{conf}",
            "a*",
            "{confId}.{confId}",
        ] {
            assert!(KeyPattern::parse(text).is_err(), "{text}");
        }
        assert!(KeyPattern::parse(&"a".repeat(256)).is_err());
        assert!(KeyPattern::parse(&["a"; 17].join(".")).is_err());
    }

    #[test]
    fn a_queue_is_bound_by_the_key_of_what_it_is_for() {
        let (conf, user) = (ConfId::parse("c1").unwrap(), UserId::parse("anna.b").unwrap());
        assert_eq!(pattern("conf.{confId}.{type}").of_conference(&conf).as_deref(), Some("conf.c1.#"));
        assert_eq!(pattern("user.{userId}.{type}").of_user(&user).as_deref(), Some("user.anna.b.#"));
        assert_eq!(pattern("*.x.#").of_all().as_deref(), Some("*.x.#"));
        assert_eq!(pattern("conf.{confId}").of_all(), None);
        assert_eq!(pattern("conf.{confId}").of_user(&user), None);
    }

    #[test]
    fn keys_overlap_where_one_key_is_of_both_forms() {
        let together = |one: &str, other: &str| {
            let (one, other) = (pattern(one), pattern(other));
            assert_eq!(one.overlaps(&other), other.overlaps(&one));
            one.overlaps(&other)
        };
        for (one, other) in [
            ("conf.{confId}.{type}", "conf.{confId}.#"),
            ("conf.{confId}.{type}", "*.x.y"),
            ("user.{userId}.call", "user.a.b.c.call"),
            ("a.#", "a"),
            ("#", "a.b"),
            ("user.{userId}", "user.{userId}.{type}"),
        ] {
            assert!(together(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("conf.{confId}.{type}", "user.{userId}.{type}"),
            ("conf.{confId}.{type}", "conf.c1"),
            ("room.{confId}.enter", "room.{confId}.leave"),
            ("a.b", "a.b.c"),
        ] {
            assert!(!together(one, other), "{one} {other}");
        }
    }
}
