//! Who we are on the wire: JIDs, and the scheme by which one component speaks for all users. Pure.
//!
//! A user `u1` of the EIM's domain `ips3000` speaks as `u1%ips3000@webconf.ips3000/uc`: an address of the component's
//! own domain, so that every server routes the answer back to it.

use std::borrow::Cow;
use std::sync::Arc;

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

impl<'a> Jid<'a> {
    /// Takes an address apart (RFC 7622 section 3.5). `None` for what a server would refuse: an empty part, one that
    /// is too long, a character that no part of its kind may have. A component's stream can be closed for less, so
    /// this is rather too strict than too lax: white space and control characters are refused everywhere.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (bare, resource) = match text.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (text, None),
        };
        let (local, domain) = match bare.split_once('@') {
            Some((local, domain)) => (Some(local), domain),
            None => (None, bare),
        };
        let fits = |part: &str| !part.is_empty() && part.len() <= PART_MAX && part.chars().all(is_plain);
        let local_fits = |l: &str| fits(l) && !l.contains(['"', '&', '\'', ':', '<', '>', ' ']);
        let ok = fits(domain) && is_domain(domain) && local.is_none_or(local_fits) && resource.is_none_or(fits);
        ok.then(|| Self { local: local.unwrap_or(""), domain, resource: resource.unwrap_or("") })
    }

    /// Whether both name the same entity for an XMPP server.
    pub fn same(&self, other: &Jid<'_>) -> bool {
        same_part(self.domain, other.domain, stringprep::nameprep)
            && same_part(self.local, other.local, stringprep::nodeprep)
            && same_part(self.resource, other.resource, stringprep::resourceprep)
    }
}

/// As [`Jid::same`], for addresses that may be no JIDs at all (then they must be equal to the letter).
pub fn same_address(a: &str, b: &str) -> bool {
    a == b || matches!((Jid::parse(a), Jid::parse(b)), (Some(a), Some(b)) if a.same(&b))
}

/// Equal as the server prepares this kind of part (RFC 6122). Prosody answers from the prepared form of the address
/// that it was asked at, ejabberd from the written one. What has no prepared form is compared without regard to case.
fn same_part(a: &str, b: &str, prepare: for<'t> fn(&'t str) -> Result<Cow<'t, str>, stringprep::Error>) -> bool {
    let prepared = |text| prepare(text).map_or_else(|_| text.to_lowercase(), Cow::into_owned);
    a == b || prepared(a) == prepared(b)
}

fn is_plain(c: char) -> bool {
    !c.is_control()
        && (c == ' ' || !c.is_whitespace())
        && !matches!(c, '\u{FFF0}'..='\u{FFFF}' | '\u{E000}'..='\u{F8FF}')
}

fn is_domain(text: &str) -> bool {
    let label = |l: &str| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-');
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    text.chars().all(allowed) && text.split('.').all(label)
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
        let bare = address.split_once('/').map_or(address, |(bare, _)| bare);
        Jid::parse(address).is_some() && self.0.iter().any(|peer| same_address(peer, bare))
    }
}

/// The user whom an address on the wire stands for, in either scheme. `None`: another domain's, or nobody's.
pub fn user_at(address: &str, eim_domain: &str) -> Option<UserId> {
    let jid = Jid::parse(address)?;
    match jid.local.rsplit_once('%') {
        Some((user, home)) => UserId::parse(user).filter(|_| home == eim_domain),
        None => UserId::parse(jid.local).filter(|_| jid.domain == eim_domain),
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

/// The user behind an address of the form `user%domain@component/resource`, for the EIM's side.
/// Gives `(user, domain, component)`; `None` where it has another form.
pub fn speaker(address: &str) -> Option<(&str, &str, &str)> {
    let jid = Jid::parse(address)?;
    let (user, domain) = jid.local.split_once('%')?;
    (!user.is_empty() && !domain.is_empty() && !domain.contains('%')).then_some((user, domain, jid.domain))
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
        for own in ["u1%ips3000@webconf.ips3000/uc", "u1@ips3000/uc", "u1@ips3000"] {
            assert_eq!(user_at(own, "ips3000"), user, "{own}");
        }
        for other in ["", "ips3000", "u1%other@webconf.ips3000", "u1@other", "U1@ips3000", "@ips3000", "u1%ips3000"] {
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
        assert!(!same_address("a@x/\u{1F9FF}", "a@x/\u{1F9FE}"), "no prepared form");
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
        for bad in
            ["", "@", "a@", "@b", "a@b/", "/r", "a b@c", "a@b c", "a@b@c", "a<@b", "a\u{0}@b", "a..b", "-a", "a@[::1"]
        {
            assert!(Jid::parse(bad).is_none(), "accepted {bad:?}");
        }
        let long = format!("{}@b", "a".repeat(PART_MAX + 1));
        assert!(Jid::parse(&long).is_none());
        assert_eq!(Jid::parse("a@b/c/d@e"), Some(Jid { local: "a", domain: "b", resource: "c/d@e" }));
        assert!(Jid::parse("张三@会议.ips3000/网页 1").is_some());
    }

    proptest! {
        #[test]
        fn the_speaker_is_found_again(user in "[a-z0-9._-]{1,64}", resource in ".{0,20}") {
            let (a, id) = (addresses(), UserId::parse(&user).unwrap());
            let wire = a.on_wire(&id, Some(&format!("{user}@ips3000/{resource}")));
            prop_assert_eq!(speaker(&wire), Some((user.as_str(), "ips3000", "webconf.ips3000")));
        }
    }
}
