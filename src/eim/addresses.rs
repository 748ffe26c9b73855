//! The EIM's own addresses, and the scheme by which one component stands for all users. Pure.
//!
//! A user `u1` of the EIM's domain `ips3000` has the address `u1%ips3000@webconf.ips3000/uc`: one of the component's
//! own domain, so that every server routes the answer back to it.

use std::sync::Arc;

use crate::ids::UserId;
use crate::xmpp::jid::{Jid, same_domain};

/// Most bytes of a caller's resource that we take over onto the wire.
const RESOURCE_MAX: usize = 64;

/// The EIM's own addresses: their events are believed, and they may ask for links. Others live below its domain too:
/// rooms, other gateways, uploads.
#[derive(Debug, Clone)]
pub struct Peers(Arc<[String]>);

impl Peers {
    /// The EIM's domain, and the addresses at which it is asked.
    pub fn new(eim_domain: &str, asked_at: impl IntoIterator<Item = String>) -> Self {
        Self(asked_at.into_iter().chain([eim_domain.to_owned()]).collect())
    }

    /// Those addresses alone.
    pub fn of(addresses: impl IntoIterator<Item = String>) -> Self {
        Self(addresses.into_iter().collect())
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
    /// The form of users' addresses.
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
    use crate::xmpp::jid::belongs_to;
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
