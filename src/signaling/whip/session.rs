//! One session's task: owns its place at the node and what it has agreed on, from the offer to the end.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::refusals::Refused;
use super::sessions::{Answered, SessionRequest};
use super::{OPEN, protocol};
use crate::media::message::{Candidate, Message};
use crate::media::session::{Established, Offer, Side, Step};
use crate::media::{Client, ClientCredentials, SessionEvent};
use crate::signaling::Signal;
use crate::token::CallGatewayClaims;

struct Task {
    client: Client,
    heard: mpsc::Receiver<SessionEvent>,
    requests: mpsc::Receiver<SessionRequest>,
}

/// Starts the task of a session that has begun at the node, and says its address. `told` gets the node's answer.
pub(super) fn start(
    signal: &Arc<Signal>,
    side: Side,
    claims: CallGatewayClaims,
    offer: Offer,
    (client, heard): (Client, mpsc::Receiver<SessionEvent>),
    reply: oneshot::Sender<Result<Answered, Refused>>,
) -> String {
    let protocol = if claims.flat { OPEN } else { protocol(side) };
    let collection = format!("{}/{protocol}/{}", signal.sessions.path, claims.conf_id);
    let (name, requests) = signal.sessions.open(claims);
    let location = format!("{collection}/~/{name}");
    let (signal, mut task) = (signal.clone(), Task { client, heard, requests });
    tokio::spawn(async move {
        let ended = task.run(offer, side, reply).await;
        task.client.closed().await;
        signal.sessions.close(&name);
        if let Some(ended) = ended {
            // The requester may be gone.
            ended.send(()).ok();
        }
    });
    location
}

impl Task {
    /// Runs to the session's end. `Some`: its client asked for that.
    async fn run(
        &mut self,
        offer: Offer,
        side: Side,
        reply: oneshot::Sender<Result<Answered, Refused>>,
    ) -> Option<oneshot::Sender<()>> {
        let (mut session, stream) = match self.established(offer, side).await {
            Ok((session, stream, answer)) => {
                let entity_tag = session.entity_tag();
                // A client that has hung up meanwhile knows no address to end the session at.
                reply.send(Ok(Answered { answer, entity_tag })).ok()?;
                (session, stream)
            }
            Err(refused) => {
                reply.send(Err(refused)).ok();
                return None;
            }
        };
        loop {
            tokio::select! {
                heard = self.heard.recv() => match heard {
                    // A later answer is awaited where it is asked for; all else is its end.
                    Some(SessionEvent::Answered { .. }) => {}
                    Some(SessionEvent::Refused(_) | SessionEvent::Moved | SessionEvent::Closed) | None => return None,
                },
                request = self.requests.recv() => match request? {
                    SessionRequest::End(reply) => return Some(reply),
                    SessionRequest::Patch { condition, fragment, reply } => {
                        let done = self.patch(&mut session, &stream, condition.as_deref(), &fragment).await;
                        // The change stands, whether or not its client still listens.
                        reply.send(done).ok();
                    }
                },
            }
        }
    }

    async fn established(&mut self, offer: Offer, side: Side) -> Result<(Established, String, String), Refused> {
        let (stream, answer) = self.answer().await?;
        Ok((Established::new(offer, side, &answer)?, stream, answer))
    }

    /// The node's next answer.
    async fn answer(&mut self) -> Result<(String, String), Refused> {
        match self.heard.recv().await {
            Some(SessionEvent::Answered { stream, answer }) => Ok((stream, answer)),
            Some(SessionEvent::Refused(code)) => Err(code.into()),
            Some(SessionEvent::Moved) => Err(Refused::moved()),
            Some(SessionEvent::Closed) | None => Err(Refused::unavailable()),
        }
    }

    async fn patch(
        &mut self,
        session: &mut Established,
        stream: &str,
        condition: Option<&str>,
        fragment: &str,
    ) -> Result<Option<Answered>, Refused> {
        match session.patch(condition, fragment)? {
            Step::Candidates(candidates) => {
                self.pass_on(stream, candidates).await;
                Ok(None)
            }
            Step::Restart(offer, candidates) => {
                self.client.restart(offer.text().to_owned()).await;
                let (_, answer) = self.answer().await?;
                let answer = session.restarted(offer, &answer);
                self.pass_on(stream, candidates).await;
                Ok(Some(Answered { answer, entity_tag: session.entity_tag() }))
            }
        }
    }

    async fn pass_on(&self, stream: &str, candidates: Vec<String>) {
        for candidate in candidates {
            let candidate = Some(Candidate { candidate, sdp_mid: None, sdp_mline_index: None });
            let message = Message::OnIceCandidate { name: Some(stream.to_owned()), candidate };
            self.client.on_message(Ok(message), ClientCredentials::Nothing).await;
        }
    }
}
