//! The addresses of rooms and of those in them.

use aws_lc_rs::digest::{SHA256, digest};

use crate::config;
use crate::ids::{ConfId, UserId};
use crate::precis::display_name;
use crate::xmpp::jid::Jid;

/// The local part of the gateway's own address, which observes every room. No user's: those have a `%`.
const OBSERVER: &str = "confgate";
/// Its nickname, as far as it is free.
const OBSERVER_NICK: &str = "confgate";
/// Bytes of the hash that names a native whose address is no user's of the domain: 2^64 addresses until two meet.
const HASHED: usize = 8;
/// From this try on a nickname bears its user's id, which nobody else has.
const TRY_BY_ID: u32 = 4;

/// Where the rooms are, and who speaks there.
#[derive(Debug, Clone)]
pub struct MucSettings {
    /// The domain of the users.
    pub domain: String,
    /// The component's domain, which the observer and the members of browsers speak from.
    pub component: String,
    /// The domain of the server's MUC service.
    pub service: String,
    /// The resource of every user.
    pub resource: String,
    /// Most members of one conference.
    pub members: usize,
    /// How long the server may take to answer, in milliseconds.
    pub timeout_ms: u64,
}

impl From<&config::Config> for MucSettings {
    fn from(config: &config::Config) -> Self {
        let eim = &config.eim;
        Self {
            domain: eim.domain.clone(),
            component: eim.component_domain(),
            service: eim.muc_service(),
            resource: eim.resource.clone(),
            members: config.limits.conference_members,
            timeout_ms: eim.timeout.as_millis() as u64,
        }
    }
}

impl MucSettings {
    /// The conference's room.
    pub(super) fn room(&self, conf: &ConfId) -> String {
        format!("{conf}@{}", self.service)
    }

    /// The conference of a room, or of somebody in it.
    pub(super) fn conf_of(&self, address: &Jid<'_>) -> Option<ConfId> {
        let is_room = !address.local.is_empty() && address.is_at(&self.service);
        is_room.then(|| ConfId::parse(&address.prepared_local())).flatten()
    }

    /// The gateway itself, in every room.
    pub(super) fn observer(&self) -> String {
        format!("{OBSERVER}@{}/{OBSERVER}", self.component)
    }

    /// The gateway's address as rooms list it.
    pub(super) fn observer_bare(&self) -> String {
        format!("{OBSERVER}@{}", self.component)
    }

    /// Whether an address is the gateway's own.
    pub(super) fn is_observer(&self, address: &Jid<'_>) -> bool {
        address.is_at(&self.component) && address.prepared_local() == OBSERVER
    }

    /// A member of a browser, as they speak in a room.
    pub(super) fn own(&self, user: &UserId) -> String {
        format!("{}/{}", self.own_bare(user), self.resource)
    }

    /// The same as rooms list it.
    pub(super) fn own_bare(&self, user: &UserId) -> String {
        format!("{user}%{}@{}", self.domain, self.component)
    }

    /// The member of a browser at an address of ours.
    pub(super) fn own_user(&self, address: &Jid<'_>) -> Option<UserId> {
        let local = address.prepared_local();
        let user = local.rsplit_once('%')?.0;
        UserId::parse(user).filter(|_| address.is_at(&self.component))
    }

    /// A user of the server.
    pub(super) fn real(&self, user: &UserId) -> String {
        format!("{user}@{}", self.domain)
    }

    /// The user behind a client's address: the account's name, or for an address elsewhere one that is always the same.
    pub(super) fn native(&self, address: &Jid<'_>) -> UserId {
        let local = address.prepared_local();
        let account = UserId::parse(&local).filter(|_| address.is_at(&self.domain));
        account.unwrap_or_else(|| hashed(&format!("{local}@{}", address.prepared_domain())))
    }

    /// The user of the domain at an address.
    pub(super) fn account(&self, address: &Jid<'_>) -> Option<UserId> {
        UserId::parse(&address.prepared_local()).filter(|_| address.is_at(&self.domain))
    }
}

/// The user of an occupant whose address the room does not tell: the same as long as the nickname is.
pub(super) fn unknown(room: &str, nick: &str) -> UserId {
    hashed(&format!("{room}/{nick}"))
}

fn hashed(text: &str) -> UserId {
    let hash = digest(&SHA256, text.as_bytes());
    let hex: String = hash.as_ref().iter().take(HASHED).map(|byte| format!("{byte:02x}")).collect();
    UserId::parse(&format!("x{hex}")).expect("a letter and hexadecimal digits")
}

/// The nickname of a try, from 0: the name, then with a number, at last with the user's id.
pub(super) fn nick(name: &str, user: &UserId, tries: u32) -> String {
    let named = match tries {
        0 => name.to_owned(),
        1..TRY_BY_ID => format!("{name} ({})", tries + 1),
        TRY_BY_ID => format!("{name} ({user})"),
        _ => format!("{user} ({tries})"),
    };
    let is_resource = Jid::parse(&format!("a@b/{named}")).is_some();
    if is_resource { named } else { format!("{user} ({tries})") }
}

/// The observer's nickname of a try, from 0.
pub(super) fn observer_nick(tries: u32) -> String {
    if tries == 0 { OBSERVER_NICK.to_owned() } else { format!("{OBSERVER_NICK} ({})", tries + 1) }
}

/// A nickname as a member's name; the user's id where nothing of it can be shown.
pub(super) fn shown_name(nick: &str, user: &UserId) -> String {
    let short: String = nick.chars().take(display_name::MAX).collect();
    display_name::checked(&short, display_name::MAX).unwrap_or_else(|| user.to_string())
}
