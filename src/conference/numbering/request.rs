//! What the owner of a conference's numbers is asked, here or from another node, and what it answers.

use serde::{Deserialize, Serialize};

use super::super::core::{Failure, Subscribed};
use super::super::log::Position;
use super::{Claim, NoSubscription, Numbering, Orders};
use crate::event::{Event, Roster};
use crate::ids::UserId;

/// A request to an owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OwnerRequest {
    /// A socket is open; the events after the position are wanted too.
    Subscribe {
        /// The user.
        user: UserId,
        /// Their socket.
        claim: Claim,
        /// What the client has.
        since: Option<Position>,
    },
    /// There is no socket.
    Away {
        /// The user.
        user: UserId,
        /// The socket that there was.
        claim: Claim,
    },
    /// The grace is over.
    Gone {
        /// The user.
        user: UserId,
        /// The socket that there was.
        claim: Claim,
        /// How long the seat is kept, in ms.
        keep_ms: u64,
    },
    /// How things stand.
    Roster,
    /// The claim's node is new, or gone: who had a socket there?
    Reset(Claim),
}

/// The answer to an [`OwnerRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// To [`OwnerRequest::Subscribe`].
    Subscribed(Box<Subscribed>),
    /// To [`OwnerRequest::Away`] and [`OwnerRequest::Gone`].
    Done,
    /// To [`OwnerRequest::Roster`].
    Roster(Box<Roster>),
    /// To [`OwnerRequest::Reset`].
    Users(Vec<UserId>),
}

impl Answer {
    /// That of [`OwnerRequest::Subscribe`].
    pub fn subscribed(self) -> Option<Subscribed> {
        if let Self::Subscribed(subscribed) = self { Some(*subscribed) } else { None }
    }

    /// That of [`OwnerRequest::Roster`].
    pub fn roster(self) -> Option<Roster> {
        if let Self::Roster(roster) = self { Some(*roster) } else { None }
    }
}

impl Numbering {
    /// Carries the request out, where the EIM's roster is known. The answer holds once the orders are in the store.
    ///
    /// # Errors
    /// A refusal.
    pub fn request(&mut self, request: OwnerRequest, now: u64, date: u64, out: &mut Orders) -> Result<Answer, Failure> {
        match request {
            OwnerRequest::Subscribe { user, claim, since } => match self.subscribe(&user, &claim, now, date, out) {
                Ok(()) => self.subscribed(since.as_ref()),
                Err(NoSubscription::Refused) => Err(Failure::Refused),
                Err(NoSubscription::Over) => Err(Failure::NoConference),
            },
            OwnerRequest::Away { user, claim } => {
                self.away(&user, &claim, now, date, out);
                Ok(Answer::Done)
            }
            OwnerRequest::Gone { user, claim, keep_ms } => {
                self.gone(&user, &claim, keep_ms, now, date, out);
                Ok(Answer::Done)
            }
            OwnerRequest::Roster => {
                let roster = self.roster().filter(|_| !self.is_over()).cloned();
                roster.map(|roster| Answer::Roster(roster.into())).ok_or(Failure::NoConference)
            }
            OwnerRequest::Reset(claim) => Ok(Answer::Users(self.reset(&claim, now, date, out))),
        }
    }

    /// The roster, and the events since the position where all of them are kept.
    fn subscribed(&self, since: Option<&Position>) -> Result<Answer, Failure> {
        let log = self.log().ok_or(Failure::Unreachable)?;
        let missed = since.and_then(|position| log.since(position).ok());
        let events = missed.map(|entries| entries.map(|entry| Event::clone(&entry.event)).collect());
        let subscribed = Subscribed { roster: log.roster().clone(), events: events.unwrap_or_default() };
        Ok(Answer::Subscribed(subscribed.into()))
    }
}
