//! The sender of a stanza, by the address that the server vouches for.

use super::settings::Settings;
use crate::event::Role;
use crate::ids::{ConfId, UserId};
use crate::xmpp::jid::{Jid, same_domain};

/// A sender that the EIM believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sender {
    /// A gateway in its own name.
    Gateway,
    /// A user, through a gateway's component or in a session of their own.
    User(UserId),
}

/// A caller, with what the address book knows of them.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    Gateway,
    User(Visitor),
}

#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub id: UserId,
    /// The full address that the user speaks from, and where events go.
    pub address: String,
    /// The account's name. `None`: the EIM has no account for the user, their gateway or server vouches for them.
    pub name: Option<String>,
    /// A temporary account, made for somebody who came by a link.
    pub temporary: bool,
    /// The only conference that a temporary account may be in, if it was made for one.
    pub guest_of: Option<ConfId>,
    /// Of a temporary account: what it was made to be there.
    pub role: Role,
}

impl Visitor {
    /// Whether a temporary account was made for another conference than this one.
    pub fn belongs_elsewhere(&self, conf: &ConfId) -> bool {
        self.temporary && self.guest_of.as_ref().is_some_and(|own| own != conf)
    }

    /// Whether the user holds an invitation to this conference: their account was made for it.
    pub fn is_guest_of(&self, conf: &ConfId) -> bool {
        self.temporary && self.guest_of.as_ref() == Some(conf)
    }
}

/// `None` for everybody whom the settings don't name.
pub(super) fn sender(from: &str, settings: &Settings) -> Option<Sender> {
    let jid = Jid::parse(from)?;
    let mut components = settings.components.iter();
    if jid.local.is_empty() {
        let known = settings.admin_domains.iter().chain(components).any(|domain| jid.is_at(domain));
        return known.then_some(Sender::Gateway);
    }
    let local = jid.prepared_local();
    let user = match local.rsplit_once('%') {
        Some((user, home)) if same_domain(home, &settings.domain) && components.any(|c| jid.is_at(c)) => user,
        None if jid.is_at(&settings.domain) => &local,
        _ => return None,
    };
    UserId::parse(user).map(Sender::User)
}

/// The domain of an address as servers compare it; empty where it is no address.
pub(super) fn domain_of(address: &str) -> String {
    Jid::parse(address).map_or_else(String::new, |jid| jid.prepared_domain().into_owned())
}

/// The component domain of a gateway, where the address is one that a gateway made for its user.
pub(super) fn gateway_of(address: &str) -> Option<&str> {
    Jid::parse(address).filter(|jid| jid.local.contains('%')).map(|jid| jid.domain)
}

#[cfg(test)]
mod tests {
    use super::super::settings::{EventDelivery, Limits};
    use super::*;

    #[test]
    fn only_vouched_addresses_are_believed() {
        let settings = Settings {
            domain: "ips3000".into(),
            components: vec!["webconf.ips3000".into()],
            admin_domains: vec!["webconf-admin.ips3000".into()],
            users: Vec::new(),
            event_delivery: EventDelivery::Headlines,
            limits: Limits::default(),
        };
        let user = |id: &str| Some(Sender::User(UserId::parse(id).unwrap()));
        let table = [
            ("webconf-admin.ips3000", Some(Sender::Gateway)),
            ("webconf.ips3000", Some(Sender::Gateway)),
            ("webconf.ips3000/node1", Some(Sender::Gateway)),
            ("u1%ips3000@webconf.ips3000/uc", user("u1")),
            ("u1@ips3000/uc", user("u1")),
            ("u1@ips3000", user("u1")),
            ("U1@IPS3000/x", user("u1")),
            ("U1%IPS3000@WebConf.ips3000/uc", user("u1")),
            ("WebConf-Admin.ips3000", Some(Sender::Gateway)),
            ("\u{200B}@ips3000", None),
            ("", None),
            ("ips3000", None),
            ("evil.ips3000", None),
            ("x@webconf-admin.ips3000", None),
            ("u1%ips3000@evil.ips3000/uc", None),
            ("u1%elsewhere@webconf.ips3000/uc", None),
            ("u1%ips3000@webconf-admin.ips3000", None),
            ("u1%ips3000@ips3000", None),
            ("u1@webconf.ips3000", None),
            ("a%b%ips3000@webconf.ips3000", None),
            ("U 1@ips3000", None),
            ("@ips3000", None),
            ("u1@evil@ips3000", None),
        ];
        for (from, who) in table {
            assert_eq!(sender(from, &settings), who, "{from}");
        }
    }
}
