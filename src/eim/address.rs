//! Addresses: JIDs taken apart and compared, and the scheme by which one component speaks for all users. Pure.
//!
//! A user `u1` of the EIM's domain `ips3000` speaks as `u1%ips3000@webconf.ips3000/uc`: an address of the component's
//! own domain, so that every server routes the answer back to it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use stringprep::tables;
use unicode_normalization::UnicodeNormalization;

use crate::ids::UserId;

/// RFC 7622 section 3.1: most bytes of each part.
const PART_MAX: usize = 1023;
/// Most bytes of a caller's resource that we take over onto the wire.
const RESOURCE_MAX: usize = 64;

/// A JID's parts, borrowed. See [`Jid::parse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jid<'a> {
    /// Empty for none.
    pub local: &'a str,
    pub domain: &'a str,
    /// Empty for none.
    pub resource: &'a str,
}

/// What a part of an address is: each kind is prepared in its own way (RFC 6122 sections 2.2 to 2.4, as servers do).
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
        let ok = Part::Domain.fits(domain)
            && local.is_none_or(|local| Part::Local.fits(local))
            && resource.is_none_or(|resource| Part::Resource.fits(resource));
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

    fn fits(self, text: &str) -> bool {
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

/// What no part may hold (RFC 3454 appendix C, but for the blank).
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

/// Who speaks for the EIM: whose events are believed, and who may ask for links. Others live below its domain too:
/// rooms, other gateways, uploads.
#[derive(Debug, Clone)]
pub struct Peers(Arc<[String]>);

impl Peers {
    /// The EIM's domain, and the addresses at which it is asked.
    pub fn new(eim_domain: &str, asked_at: impl IntoIterator<Item = String>) -> Self {
        Self(asked_at.into_iter().chain([eim_domain.to_owned()]).collect())
    }

    /// Whether the address is one of theirs, whatever its resource.
    pub fn include(&self, address: &str) -> bool {
        let is_one = |jid: Jid<'_>| self.0.iter().any(|peer| Jid::parse(peer).is_some_and(|peer| peer.same_bare(&jid)));
        Jid::parse(address).is_some_and(is_one)
    }
}

/// The user whom an address on the wire stands for, in either scheme. `None`: another domain's, or nobody's.
pub fn user_at(address: &str, eim_domain: &str) -> Option<UserId> {
    let jid = Jid::parse(address)?;
    let local = jid.prepared_local();
    match local.rsplit_once('%') {
        Some((user, home)) => UserId::parse(user).filter(|_| same_domain(home, eim_domain)),
        None => user_of(address, eim_domain),
    }
}

/// The user of an address `user@domain[/resource]` at that domain.
pub fn user_of(address: &str, domain: &str) -> Option<UserId> {
    let jid = Jid::parse(address).filter(|jid| jid.is_at(domain))?;
    UserId::parse(&jid.prepared_local())
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

/// Which address a user's request bears on the component's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JidScheme {
    /// `user%domain@component/resource`
    #[default]
    Escaped,
    /// `user@domain/resource`: only for a server that routes the answer back to the component.
    Own,
}

impl JidScheme {
    /// From the configuration's spelling, which is the form itself.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "user%domain@component/resource" => Some(Self::Escaped),
            "user@domain/resource" => Some(Self::Own),
            _ => None,
        }
    }
}

/// How users look, on the wire and to themselves. One for each EIM.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub scheme: JidScheme,
    /// The EIM's domain, where accounts live.
    pub domain: String,
    /// The component's domain.
    pub component: String,
    /// The resource of a user who names none.
    pub resource: String,
}

impl Addresses {
    /// The user's address on the component's stream. `written` is the `from` that the caller wrote, if any: its
    /// resource goes along where it is plain enough for every server, else ours stands in, so that no resource can
    /// make a server close the stream that all users share.
    pub fn on_wire(&self, user: &UserId, written: Option<&str>) -> String {
        let resource = written.and_then(|w| w.split_once('/')).map(|(_, r)| r).filter(|r| is_wire_resource(r));
        let (domain, resource) = (&self.domain, resource.unwrap_or(&self.resource));
        match self.scheme {
            JidScheme::Escaped => format!("{user}%{domain}@{}/{resource}", self.component),
            JidScheme::Own => format!("{user}@{domain}/{resource}"),
        }
    }

    /// The user's address as the user knows it.
    pub fn own(&self, user: &UserId) -> String {
        format!("{user}@{}/{}", self.domain, self.resource)
    }
}

fn is_wire_resource(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'+' | b'=' | b':' | b'@');
    !text.is_empty() && text.len() <= RESOURCE_MAX && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_on_the_wire_stands_for_a_user_of_the_eims_domain_only() {
        let user = UserId::parse("u1");
        for own in
            ["u1%ips3000@webconf.ips3000/uc", "u1@ips3000/uc", "u1@ips3000", "U1@IPS3000", "U1%IPS3000@Webconf.ips3000"]
        {
            assert_eq!(user_at(own, "ips3000"), user, "{own}");
        }
        for other in
            ["", "ips3000", "u1%other@webconf.ips3000", "u1@other", "\u{200B}@ips3000", "@ips3000", "u1%ips3000"]
        {
            assert_eq!(user_at(other, "ips3000"), None, "{other}");
        }
    }

    fn addresses() -> Addresses {
        Addresses {
            scheme: JidScheme::Escaped,
            domain: "ips3000".into(),
            component: "webconf.ips3000".into(),
            resource: "uc".into(),
        }
    }

    #[test]
    fn a_user_speaks_from_the_components_domain() {
        let (a, user) = (addresses(), UserId::parse("u1074808").unwrap());
        assert_eq!(a.on_wire(&user, None), "u1074808%ips3000@webconf.ips3000/uc");
        assert_eq!(a.on_wire(&user, Some("u1074808@ips3000/phone")), "u1074808%ips3000@webconf.ips3000/phone");
        assert_eq!(a.on_wire(&user, Some("u1074808@ips3000/\u{1F600}")), "u1074808%ips3000@webconf.ips3000/uc");
        assert_eq!(a.on_wire(&user, Some("u1074808@ips3000")), "u1074808%ips3000@webconf.ips3000/uc");
        assert_eq!(a.own(&user), "u1074808@ips3000/uc");
        let own = Addresses { scheme: JidScheme::Own, ..a };
        assert_eq!(own.on_wire(&user, None), "u1074808@ips3000/uc");
    }

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
    fn only_the_eims_domain_and_where_it_is_asked_speak_for_it() {
        let peers = Peers::new("ips3000", ["jeconference.ips3000".to_owned()]);
        for yes in ["ips3000", "jeconference.ips3000", "JeConference.IPS3000", "jeconference.ips3000/x"] {
            assert!(peers.include(yes), "{yes}");
        }
        for no in [
            "u1@ips3000",
            "u1%ips3000@webconf.ips3000",
            "webconf-2.ips3000",
            "x@jeconference.ips3000",
            "evilips3000",
            "ips3000.evil",
            "",
            "evil/ips3000",
            "@ips3000",
            "ips3000/",
        ] {
            assert!(!peers.include(no), "{no}");
        }
    }

    #[test]
    fn what_a_server_would_refuse_is_no_address() {
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

    proptest! {
        #[test]
        fn the_speaker_is_found_again(user in "[a-z0-9._-]{1,64}", resource in ".{0,20}") {
            let (a, id) = (addresses(), UserId::parse(&user).unwrap());
            let wire = a.on_wire(&id, Some(&format!("{user}@ips3000/{resource}")));
            prop_assert_eq!(user_at(&wire, "ips3000"), Some(id));
            prop_assert!(belongs_to(&wire, "webconf.ips3000"));
        }
    }
}
