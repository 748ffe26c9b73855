//! Who is believed over XMPP.

use std::collections::BTreeMap;

use crate::eim::addresses::Peers;
use crate::schema::XEvent;

/// The EIM's own addresses, and those of files that name others.
#[derive(Debug)]
pub(super) struct Senders {
    own: Peers,
    /// By the file's name.
    others: BTreeMap<String, Peers>,
}

impl Senders {
    pub fn new(domain: &str, asked_at: Vec<String>, events: &[XEvent]) -> Self {
        let named = events.iter().filter(|event| !event.from.is_empty());
        let others = named.map(|event| {
            let addresses = event.from.iter().map(|address| address.replace("{domain}", domain));
            (event.name.clone(), Peers::of(addresses))
        });
        Self { own: Peers::new(domain, asked_at), others: others.collect() }
    }

    /// Whether that address may send the file's messages.
    pub fn may_send(&self, file: &str, from: &str) -> bool {
        self.others.get(file).unwrap_or(&self.own).include(from)
    }

    /// Whether it is one of the EIM's own.
    pub fn are_own(&self, from: &str) -> bool {
        self.own.include(from)
    }
}
