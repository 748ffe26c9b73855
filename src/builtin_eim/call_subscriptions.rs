//! Where news of a user's own go: the addresses of their open sockets, each with the node and generation that told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::persistence::{self, LoadError, Write};
use super::stanza_error::StanzaError;
use crate::ids::UserId;
use crate::refusal::Reason;

/// Nodes of one user; the one that came first gives way. One socket on each is all that a gateway lets a user have.
const NODES_MAX: usize = 8;

/// One node that holds a socket of the user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CallSubscription {
    pub claim: Claim,
    pub address: String,
}

impl CallSubscription {
    /// A node's counter may begin anew when it starts.
    fn is_later_than(&self, claim: &Claim) -> bool {
        self.claim.node == claim.node && (self.claim.resets, self.claim.generation) > (claim.resets, claim.generation)
    }
}

/// Owns the users' subscriptions to their own news.
#[derive(Debug, Default, PartialEq)]
pub(super) struct CallSubscriptions(BTreeMap<UserId, Vec<CallSubscription>>);

impl CallSubscriptions {
    /// `max_users`: most users who are subscribed.
    pub fn subscribe(
        &mut self,
        user: &UserId,
        listener: CallSubscription,
        max_users: usize,
    ) -> Result<Write, StanzaError> {
        if self.0.len() >= max_users && !self.0.contains_key(user) {
            return Err(StanzaError::of(Reason::TooManyUsers));
        }
        let all = self.0.entry(user.clone()).or_default();
        if all.iter().any(|known| known.is_later_than(&listener.claim)) {
            return Err(StanzaError::of(Reason::PresenceSuperseded));
        }
        all.retain(|known| known.claim.node != listener.claim.node);
        let surplus = (all.len() + 1).saturating_sub(NODES_MAX);
        all.drain(..surplus);
        all.push(listener);
        Ok(Write::put(persistence::LISTENER, user.to_string(), all))
    }

    /// Without effect where a later generation of the node has subscribed.
    pub fn unsubscribe(&mut self, user: &UserId, claim: &Claim) -> Option<Write> {
        let all = self.0.get_mut(user)?;
        let before = all.len();
        all.retain(|known| known.claim.node != claim.node || known.is_later_than(claim));
        (all.len() < before).then(|| self.write(user))
    }

    /// The node has started anew: what it told before this generation is over.
    pub fn reset(&mut self, node: &str, generation: u64, writes: &mut Vec<Write>) {
        let over = |known: &CallSubscription| known.claim.node == node && known.claim.generation < generation;
        let users = self.0.iter().filter(|(_, all)| all.iter().any(over)).map(|(user, _)| user.clone());
        for user in users.collect::<Vec<_>>() {
            if let Some(all) = self.0.get_mut(&user) {
                all.retain(|known| !over(known));
                writes.push(self.write(&user));
            }
        }
    }

    /// Two nodes may speak from one address; it is told once.
    pub fn addresses(&self, user: &UserId) -> Vec<&str> {
        let mut addresses: Vec<&str> = self.0.get(user).into_iter().flatten().map(|l| l.address.as_str()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    pub fn restore(&mut self, key: &str, body: &str) -> Result<(), LoadError> {
        let orphan = || LoadError { kind: persistence::LISTENER.into(), key: key.into(), why: "not a user".into() };
        let user = UserId::parse(key).ok_or_else(orphan)?;
        self.0.insert(user, persistence::read(persistence::LISTENER, key, body)?);
        Ok(())
    }

    fn write(&mut self, user: &UserId) -> Write {
        match self.0.get(user) {
            Some(all) if !all.is_empty() => Write::put(persistence::LISTENER, user.to_string(), all),
            _ => {
                self.0.remove(user);
                Write::delete(persistence::LISTENER, user.to_string())
            }
        }
    }
}
