//! What two gateway nodes say to each other about conferences' numbers, as JSON text frames: the one that opens the link
//! asks, the other one is the owner.

use serde::{Deserialize, Serialize};

use super::super::core::Failure;
use super::super::numbering::{Answer, OwnerRequest};
use crate::event::{ConferenceEvent, Event};
use crate::ids::ConfId;

/// Longest frame of the one that asks, in bytes: an event of the EIM's, which came in a stanza.
pub const REQUEST_MAX: usize = 1 << 20;
/// Longest frame of the owner, in bytes: a roster of some thousand members and the events that are kept.
pub const ANSWER_MAX: usize = 16 << 20;

/// A frame to the owner.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToOwner {
    /// Answered under the same number.
    OwnerRequest {
        /// The number.
        number: u64,
        /// The conference.
        conf: ConfId,
        /// The request.
        request: OwnerRequest,
    },
    /// An event of the EIM's, which has no number: see [`unnumbered`].
    Change(Event),
    /// Events of the EIM's may have been lost.
    Doubt,
}

/// A frame from the owner.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FromOwner {
    /// To the request of that number.
    Answer {
        /// The number.
        number: u64,
        /// The answer.
        answer: Result<Answer, Failure>,
    },
    /// A numbered event of a conference that was asked about. It is in the store.
    Event(Event),
    /// The conference's numbers are not, or no longer, at this node.
    Elsewhere(ConfId),
    /// Said at intervals: the process isn't stopped.
    Alive,
}

/// The EIM's event in the form of a numbered one, for [`ToOwner::Change`].
pub fn unnumbered(event: ConferenceEvent) -> Event {
    let ConferenceEvent { conf_id, time, change, actor, .. } = event;
    Event { epoch: String::new(), seq: 0, conf_id, time, change, actor }
}

/// And back.
pub fn of_eim(event: Event) -> ConferenceEvent {
    let Event { conf_id, time, change, actor, .. } = event;
    ConferenceEvent { numbering: None, conf_id, time, change, actor }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conference::log::Position;
    use crate::conference::numbering::Claim;
    use crate::event::{Change, Left, LeftReason};
    use crate::ids::UserId;

    #[test]
    fn frames_are_read_as_they_were_written() {
        let (conf, user) = (ConfId::parse("c1").unwrap(), UserId::parse("u1").unwrap());
        let change = Change::MemberLeft(Left { user_id: user.clone(), reason: LeftReason::Left });
        let event = ConferenceEvent { numbering: None, conf_id: conf.clone(), time: 7, change, actor: None };
        let claim = Claim { node: "a".into(), generation: 5 };
        let since = Some(Position { epoch: "e".into(), seq: 3 });
        let asks = [
            ToOwner::OwnerRequest {
                number: 1,
                conf: conf.clone(),
                request: OwnerRequest::Subscribe { user, claim: claim.clone(), since },
            },
            ToOwner::OwnerRequest { number: 2, conf: conf.clone(), request: OwnerRequest::Roster },
            ToOwner::OwnerRequest { number: 3, conf: conf.clone(), request: OwnerRequest::Reset(claim) },
            ToOwner::Change(unnumbered(event.clone())),
            ToOwner::Doubt,
        ];
        for request in asks {
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<ToOwner>(&text).unwrap(), request, "{text}");
        }
        let numbered = Event { epoch: "e".into(), seq: 4, ..unnumbered(event.clone()) };
        let answers = [
            FromOwner::Answer { number: 1, answer: Err(Failure::Refused) },
            FromOwner::Answer { number: 2, answer: Ok(Answer::Done) },
            FromOwner::Event(numbered),
            FromOwner::Elsewhere(conf),
            FromOwner::Alive,
        ];
        for answer in answers {
            let text = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<FromOwner>(&text).unwrap(), answer, "{text}");
        }
        assert_eq!(of_eim(unnumbered(event.clone())), event);
    }
}
