//! Where a conference's roster comes from, and who is told of its sockets: the EIM, or the owner of its numbers.

use serde_json::{Map, Value, json};

use super::Position;
use super::core::{EimRequest, Failure, Subscribed};
use super::numbering::{Answer, Claim, OwnerRequest};
use super::owner::Owners;
use crate::eim::requests::{Requests, object};
use crate::event::Roster;
use crate::ids::{ConfId, UserId};
use crate::refusal::Refusal;

/// The one that is asked. Cloneable.
#[derive(Clone)]
pub enum Source {
    /// The EIM, which numbers its events.
    Eim(Requests),
    /// This node's owners of the numbers, for an EIM that gives none.
    Owners(Owners),
}

/// The answer to a request.
pub enum EimReply {
    /// To [`EimRequest::Subscribe`].
    Subscribe(UserId, Result<Subscribed, Failure>),
    /// To [`EimRequest::Unsubscribe`], [`EimRequest::Away`] and [`EimRequest::Gone`].
    Presence(UserId, Result<(), Failure>),
    /// To [`EimRequest::Snapshot`].
    Snapshot(Result<Roster, Failure>),
    /// To [`EimRequest::Look`].
    Look(Result<Roster, Failure>),
}

impl Source {
    /// Carries the request out.
    pub async fn perform(&self, request: EimRequest, conf: &ConfId, node: &str) -> EimReply {
        match self {
            Self::Eim(calls) => perform_at_eim(request, calls, conf, node).await,
            Self::Owners(owners) => perform_at_owner(request, owners, conf, node).await,
        }
    }

    /// Whether conferences hear of their events by the EIM's publications, and not by their owners.
    pub fn is_eim(&self) -> bool {
        matches!(self, Self::Eim(_))
    }

    /// This process was taken for gone: whatever it owned may be another one's.
    pub fn doubt(&self) {
        if let Self::Owners(owners) = self {
            owners.doubt();
        }
    }

    /// That node has started anew, or is gone; answers who was on it.
    ///
    /// # Errors
    /// The EIM's refusal, or a fault of the store.
    pub async fn reset_node(&self, node: &str, generation: u64) -> Result<Vec<(ConfId, UserId)>, Refusal> {
        match self {
            Self::Eim(calls) => reset_node(calls, node, generation).await,
            Self::Owners(owners) => owners.reset(Claim { node: node.to_owned(), generation }).await,
        }
    }
}

async fn perform_at_owner(request: EimRequest, owners: &Owners, conf: &ConfId, node: &str) -> EimReply {
    let claim = |generation| Claim { node: node.to_owned(), generation };
    match request {
        EimRequest::Subscribe { user, generation, since } => {
            let request = OwnerRequest::Subscribe { user: user.clone(), claim: claim(generation), since };
            EimReply::Subscribe(user, expected(owners.request(conf, request).await, Answer::subscribed))
        }
        EimRequest::Unsubscribe { user, generation, .. } | EimRequest::Away { user, generation } => {
            let request = OwnerRequest::Away { user: user.clone(), claim: claim(generation) };
            EimReply::Presence(user, owners.request(conf, request).await.map(drop))
        }
        EimRequest::Gone { user, generation, keep_ms } => {
            let request = OwnerRequest::Gone { user: user.clone(), claim: claim(generation), keep_ms };
            EimReply::Presence(user, owners.request(conf, request).await.map(drop))
        }
        EimRequest::Snapshot => {
            EimReply::Snapshot(expected(owners.request(conf, OwnerRequest::Roster).await, Answer::roster))
        }
        EimRequest::Look => EimReply::Look(expected(owners.request(conf, OwnerRequest::Roster).await, Answer::roster)),
    }
}

/// Another kind of answer is none.
fn expected<T>(answer: Result<Answer, Failure>, of: impl Fn(Answer) -> Option<T>) -> Result<T, Failure> {
    answer.and_then(|answer| of(answer).ok_or(Failure::Unreachable))
}

async fn perform_at_eim(request: EimRequest, calls: &Requests, conf: &ConfId, node: &str) -> EimReply {
    let base = |user: &UserId, generation: u64| json!({"confId": conf, "userId": user, "node": node, "generation": generation});
    match request {
        EimRequest::Subscribe { user, generation, since } => {
            let mut params = object(base(&user, generation));
            if let Some(Position { epoch, seq }) = since {
                params.insert("sinceEpoch".into(), epoch.into());
                params.insert("sinceSeq".into(), seq.into());
            }
            let answer = calls.as_user("eim.subscribe", &user, &params).await;
            // A member that isn't admitted is told of themselves only; the log needs the whole.
            let answer = match answer {
                Ok(own) if own["restricted"] == true => calls.as_gateway("eim.snapshot", &conference(conf)).await,
                other => other,
            };
            EimReply::Subscribe(user, subscribed(answer))
        }
        EimRequest::Unsubscribe { user, generation, linger_ms } => {
            let mut params = object(base(&user, generation));
            params.insert("lingerMs".into(), linger_ms.into());
            let answer = calls.as_user("eim.unsubscribe", &user, &params).await;
            EimReply::Presence(user, done(answer))
        }
        EimRequest::Away { user, generation } => {
            let mut params = object(base(&user, generation));
            params.insert("state".into(), "reconnecting".into());
            let answer = calls.as_gateway("eim.presence", &params).await;
            EimReply::Presence(user, done(answer))
        }
        EimRequest::Gone { user, generation, keep_ms } => {
            let mut params = object(base(&user, generation));
            params.insert("state".into(), "gone".into());
            params.insert("keepMs".into(), keep_ms.into());
            let answer = calls.as_gateway("eim.presence", &params).await;
            EimReply::Presence(user, done(answer))
        }
        EimRequest::Snapshot => EimReply::Snapshot(roster(calls.as_gateway("eim.snapshot", &conference(conf)).await)),
        EimRequest::Look => EimReply::Look(roster(calls.as_gateway("eim.snapshot", &conference(conf)).await)),
    }
}

/// Tells the EIM that this node has started anew; answers who was on it.
async fn reset_node(calls: &Requests, node: &str, generation: u64) -> Result<Vec<(ConfId, UserId)>, Refusal> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Seat {
        conf_id: ConfId,
        user_id: UserId,
    }
    let params = object(json!({"node": node, "generation": generation}));
    let answer = calls.as_gateway("eim.resetNode", &params).await?;
    let seats: Vec<Seat> = answer
        .get("seats")
        .cloned()
        .map(serde_json::from_value)
        .transpose()
        .map_err(Refusal::fault)?
        .unwrap_or_default();
    Ok(seats.into_iter().map(|s| (s.conf_id, s.user_id)).collect())
}

fn conference(conf: &ConfId) -> Map<String, Value> {
    object(json!({"confId": conf}))
}

fn roster(answer: Result<Value, Refusal>) -> Result<Roster, Failure> {
    let value = answer.map_err(|refusal| Failure::from(&refusal))?;
    serde_json::from_value(value).map_err(|error| unreadable(&error))
}

fn subscribed(answer: Result<Value, Refusal>) -> Result<Subscribed, Failure> {
    Subscribed::read(answer.map_err(|refusal| Failure::from(&refusal))?).map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> Failure {
    tracing::warn!(%error, "the EIM's roster can't be read");
    Failure::Unreachable
}

fn done(answer: Result<Value, Refusal>) -> Result<(), Failure> {
    answer.map(drop).map_err(|refusal| Failure::from(&refusal))
}
