//! JIDs (RFC 7622) taken apart and compared as servers do. Pure.

use std::borrow::Cow;
use std::fmt;

use stringprep::tables;
use unicode_normalization::UnicodeNormalization;

/// RFC 7622 section 3.1: most bytes of each part.
const PART_MAX: usize = 1023;

/// A JID's parts, borrowed. See [`Jid::parse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jid<'a> {
    /// Empty for none.
    pub local: &'a str,
    /// The domain part.
    pub domain: &'a str,
    /// Empty for none.
    pub resource: &'a str,
}

/// A part of an address: each kind is prepared in its own way (RFC 6122 sections 2.2 to 2.4, as servers do).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Local,
    Domain,
    Resource,
}

impl<'a> Jid<'a> {
    /// Takes an address apart (RFC 7622 section 3.5). `None` for what a server would refuse: a part that is empty or
    /// becomes so when it is prepared, one that is too long, a character that no part of its kind may have. A
    /// component's stream can be closed for less, so this is rather too strict than too lax.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (bare, resource) = match text.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (text, None),
        };
        let (local, domain) = match bare.split_once('@') {
            Some((local, domain)) => (Some(local), domain),
            None => (None, bare),
        };
        let ok = Part::Domain.is_length_allowed(domain)
            && local.is_none_or(|local| Part::Local.is_length_allowed(local))
            && resource.is_none_or(|resource| Part::Resource.is_length_allowed(resource));
        ok.then(|| Self { local: local.unwrap_or(""), domain, resource: resource.unwrap_or("") })
    }

    /// Whether both name the same entity for an XMPP server.
    pub fn same(&self, other: &Jid<'_>) -> bool {
        self.same_bare(other) && Part::Resource.same(self.resource, other.resource)
    }

    /// As [`Jid::same`], whatever their resources.
    pub fn same_bare(&self, other: &Jid<'_>) -> bool {
        self.is_at(other.domain) && Part::Local.same(self.local, other.local)
    }

    /// Whether it is an address of that domain.
    pub fn is_at(&self, domain: &str) -> bool {
        Part::Domain.same(self.domain, domain)
    }

    /// The local part as servers compare it.
    pub fn prepared_local(&self) -> Cow<'a, str> {
        Part::Local.prepared(self.local)
    }

    /// The domain as servers compare it.
    pub fn prepared_domain(&self) -> Cow<'a, str> {
        Part::Domain.prepared(self.domain)
    }
}

impl fmt::Display for Jid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { local, domain, resource } = self;
        let at = if local.is_empty() { "" } else { "@" };
        let slash = if resource.is_empty() { "" } else { "/" };
        write!(f, "{local}{at}{domain}{slash}{resource}")
    }
}

/// Whether two domains are the same for an XMPP server.
pub fn same_domain(a: &str, b: &str) -> bool {
    Part::Domain.same(a, b)
}

/// As [`Jid::same`], for addresses that may be no JIDs at all (then they must be equal to the letter).
pub fn same_address(a: &str, b: &str) -> bool {
    a == b || matches!((Jid::parse(a), Jid::parse(b)), (Some(a), Some(b)) if a.same(&b))
}

impl Part {
    /// The form in which servers compare this kind of part: nodeprep, nameprep, resourceprep. Characters newer than
    /// those are left as they are: servers do not refuse them in what they route.
    fn prepared(self, text: &str) -> Cow<'_, str> {
        let is_prepared = |b: u8| matches!(b, b' '..=b'~') && (self == Self::Resource || !b.is_ascii_uppercase());
        if text.bytes().all(is_prepared) {
            return Cow::Borrowed(text);
        }
        let kept = text.chars().filter(|c| !tables::commonly_mapped_to_nothing(*c));
        Cow::Owned(match self {
            Self::Resource => kept.nfkc().collect(),
            Self::Local | Self::Domain => kept.flat_map(tables::case_fold_for_nfkc).nfkc().collect(),
        })
    }

    fn same(self, a: &str, b: &str) -> bool {
        a == b || self.prepared(a) == self.prepared(b)
    }

    /// Whether it is allowed at the first look, as nearly all are: letters, digits and marks that are allowed everywhere.
    fn is_usual(self, text: &str) -> bool {
        let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
        let is_usual = |byte: u8| is_letter(byte) || matches!(byte, b'.' | b'-' | b'_' | b'%') && self != Self::Domain;
        let label = |label: &[u8]| !label.is_empty() && label.iter().all(|byte| is_usual(*byte));
        match self {
            Self::Domain => text.as_bytes().split(|byte| *byte == b'.').all(label),
            Self::Local | Self::Resource => label(text.as_bytes()),
        }
    }

    fn is_length_allowed(self, text: &str) -> bool {
        if self.is_usual(text) {
            return text.len() <= PART_MAX;
        }
        let prepared = self.prepared(text);
        let is_sized = |part: &str| !part.is_empty() && part.len() <= PART_MAX;
        let allowed = |c: char| match self {
            Self::Local => !matches!(c, '"' | '&' | '\'' | '/' | ':' | '<' | '>' | '@' | ' '),
            Self::Domain => c.is_alphanumeric() || matches!(c, '-' | '.' | '_'),
            Self::Resource => true,
        };
        let label = |l: &str| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-');
        is_sized(text)
            && is_sized(&prepared)
            && prepared.chars().all(|c| allowed(c) && !is_prohibited(c))
            && (self != Self::Domain || prepared.split('.').all(label))
    }
}

/// Characters that no part may hold (RFC 3454 appendix C, but for the blank).
fn is_prohibited(c: char) -> bool {
    !matches!(c, ' '..='~')
        && (c.is_control()
            || tables::non_ascii_space_character(c)
            || tables::non_ascii_control_character(c)
            || tables::private_use(c)
            || tables::non_character_code_point(c)
            || tables::inappropriate_for_plain_text(c)
            || tables::inappropriate_for_canonical_representation(c)
            || tables::change_display_properties_or_deprecated(c)
            || tables::tagging_character(c))
}

/// Whether the address is that of a stream, or one that the stream speaks for: `own` is a component's domain, or a
/// session's full address.
pub fn belongs_to(address: &str, own: &str) -> bool {
    match (Jid::parse(address), Jid::parse(own)) {
        (Some(address), Some(own)) if own.local.is_empty() => address.is_at(own.domain),
        (Some(address), Some(own)) => address.same_bare(&own),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_matched_by_entity_not_by_letter() {
        assert!(same_address("JePrivacy.IPS3000", "jeprivacy.ips3000"));
        assert!(same_address("Ü@x/R", "ü@X/R"));
        assert!(!same_address("a@x/R", "a@x/r"));
        assert!(!same_address("a@x", "a@x/r"));
        assert!(!same_address("a@x", "b@x"));
        assert!(!same_address("", "x"));
        assert!(same_address("ａ@x/ｘ\u{AD}x", "a@x/xx"), "prepared by the server");
        assert!(same_address("ß@x", "ss@x"));
        assert!(!same_address("a@x/\u{1F9FF}", "a@x/\u{1F9FE}"), "newer than the profiles");
    }

    #[test]
    fn address_that_servers_refuse_is_no_address() {
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "a@b/",
            "/r",
            "a b@c",
            "a@b c",
            "a@b@c",
            "a<@b",
            "a\u{0}@b",
            "a..b",
            "-a",
            "a@[::1",
            "\u{200B}@b",
            "\u{AD}\u{2060}@b",
            "a@\u{200B}",
            "a@b/\u{FEFF}",
            "a\u{FF20}b@c",
            "a\u{2028}@b",
            "a@b/\u{E000}",
            "a@b。c",
        ] {
            assert!(Jid::parse(bad).is_none(), "accepted {bad:?}");
        }
        let long = format!("{}@b", "a".repeat(PART_MAX + 1));
        assert!(Jid::parse(&long).is_none());
        assert_eq!(Jid::parse("a@b/c/d@e"), Some(Jid { local: "a", domain: "b", resource: "c/d@e" }));
        assert!(Jid::parse("张三@会议.ips3000/网页 1\u{1F600}").is_some());
        assert_eq!(Jid::parse("a@b/c/d@e").unwrap().to_string(), "a@b/c/d@e");
    }

    #[test]
    fn a_stream_answers_at_its_own_addresses_only() {
        for (address, own, is_own) in [
            ("webconf.ips3000", "webconf.ips3000", true),
            ("x@WebConf.ips3000/y", "webconf.ips3000", true),
            ("@webconf.ips3000", "webconf.ips3000", false),
            ("\u{200B}@webconf.ips3000", "webconf.ips3000", false),
            ("webconf.ips3000/", "webconf.ips3000", false),
            ("ips3000", "webconf.ips3000", false),
            ("", "webconf.ips3000", false),
            ("U1@ips3000", "u1@ips3000/uc", true),
            ("u1@ips3000/other", "u1@ips3000/uc", true),
            ("ips3000", "u1@ips3000/uc", false),
            ("u2@ips3000/uc", "u1@ips3000/uc", false),
        ] {
            assert_eq!(belongs_to(address, own), is_own, "{address} {own}");
        }
    }
}
