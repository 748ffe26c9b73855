//! A link to another node, which is for that one a client that sees without being seen: kept open, and opened again
//! with a jittered back-off. It says what streams the other node has, and carries offers and answers for them.

use std::collections::HashMap;
use std::sync::Arc;

use confgate_sfu::protocol::StreamId;
use futures_util::{SinkExt, StreamExt};
use http::Uri;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::targets::{Named, Target};
use super::{LinkReport, PullLinkConfig, Refused, State};
use crate::clock::backoff::Backoff;
use crate::clock::date_ms;
use crate::clock::stall::patience;
use crate::http::bearer;
use crate::http::dial::{self, Socket};
use crate::ids::ConfId;
use crate::media::group::{LinkCommand, LinkEvent, LinkId, RoomNamespace, name_of, stream_named};
use crate::node_protocol::RemoteNode;
use crate::tls_client::Fingerprint;
use crate::token::PullClaims;

/// Longest message that a node may send: a description, or the streams of a large conference.
const MESSAGE_MAX: usize = 1024 * 1024;
/// Streams of a node that are remembered: more than a conference has.
const STREAMS_MAX: usize = 16_384;

/// The streams that a link pulls.
pub(super) enum Wanted {
    /// By hand: the other node's stream `from`, to be `local` here.
    One { target: Box<Target>, from: Named, local: Named },
    /// All that the conference's members send there. The token is the gateways', who send a new one in time.
    All(watch::Receiver<RemoteNode>),
}

/// A message of the other node.
#[derive(Debug, Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum ServerMessage {
    ExistingParticipants {
        data: Vec<String>,
    },
    NewParticipantArrived {
        name: String,
    },
    ParticipantLeft {
        name: String,
    },
    Route {
        name: String,
        nodes: Vec<String>,
    },
    ReceiveVideoAnswer {
        name: String,
        sdp_answer: String,
    },
    Error {
        code: String,
        #[serde(default)]
        name: Option<String>,
    },
    #[serde(other)]
    Other,
}

/// The reason why a link isn't open.
enum End {
    /// To be opened again.
    Lost(Refused),
    /// The pulled stream has ended, or can't be had.
    Over(Refused),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        End::Lost(Refused::Dead(error.to_string()))
    }
}

pub(super) struct Link {
    pub id: LinkId,
    pub room: ConfId,
    pub wanted: Wanted,
    pub reach: Arc<PullLinkConfig>,
    pub state: watch::Sender<State>,
    pub commands: mpsc::Receiver<LinkCommand>,
    pub reports: mpsc::Sender<LinkReport>,
    /// Streams that the other node has, by its names for them, and the nodes that each has come through.
    pub has: HashMap<String, Vec<String>>,
    /// The streams that failed, and when each is tried again.
    pub again: Vec<(Instant, StreamId)>,
    /// How long what fails next waits for that.
    pub backoff: Backoff,
}

impl Link {
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(self.reach.reconnect_min, self.reach.reconnect_max);
        loop {
            let ended = match patience(self.reach.timeout, self.open()).await {
                Ok(Ok((socket, names))) => {
                    backoff.reset();
                    let ended = self.exchange_messages(socket, names).await;
                    self.report(LinkEvent::Closed).await;
                    ended
                }
                Ok(Err(end)) => end,
                Err(_) => End::Lost(Refused::Dead("no answer in time".into())),
            };
            let why = match ended {
                End::Lost(why) if self.is_tried_again() => why,
                End::Lost(why) | End::Over(why) => {
                    tracing::info!(room = %self.room, ?why, "a link to another node has ended");
                    self.state.send_replace(State::Failed(why));
                    break;
                }
            };
            // Once for each time that it goes away: those who are here don't see those who are there.
            if self.state.send_replace(State::Away) != State::Away {
                tracing::warn!(room = %self.room, node = self.node(), ?why, "another node can't be reached to pull from");
            }
            sleep(backoff.pause(false, rand::random())).await;
        }
        // The node has stopped: nobody needs to know.
        self.reports.send(LinkReport::Over(self.id)).await.ok();
    }

    /// By hand: once it has flowed. For a conference: while the gateways send tokens.
    fn is_tried_again(&self) -> bool {
        match &self.wanted {
            Wanted::One { .. } => *self.state.borrow() != State::New,
            Wanted::All(peer) => peer.borrow().serves_until > date_ms(),
        }
    }

    /// Where to, with what token, into which room, and by which certificates the node is known.
    fn address(&self) -> Result<(Uri, String, ConfId, Vec<Fingerprint>), End> {
        match &self.wanted {
            Wanted::One { target, from, .. } => {
                let (id, name) = (target.gateway_id.as_deref(), name_of(&from.stream));
                let claims = PullClaims::new(id, from.room.clone(), Some(&name), self.reach.token_ttl);
                let claims = claims.outside_conferences(from.space == RoomNamespace::Flat);
                Ok((target.uri.clone(), target.keys.sign(&claims), from.room.clone(), target.pins.clone()))
            }
            Wanted::All(peer) => {
                let RemoteNode { url, token, pins, .. } = peer.borrow().clone();
                let uri = url.parse().map_err(|_| End::Over(Refused::Dead("no address".into())))?;
                let pins = pins.iter().filter_map(|pin| Fingerprint::parse(pin)).collect();
                Ok((uri, token, self.room.clone(), pins))
            }
        }
    }

    /// Opens the socket and comes in; the streams that are there.
    async fn open(&mut self) -> Result<(Socket, Vec<String>), End> {
        let (uri, token, room, pins) = self.address()?;
        let tls = self.reach.tls.pinned(&pins).map_err(|why| End::Lost(Refused::Dead(why)))?;
        let opened = dial::websocket(&uri, &bearer::offer(&token), &tls, MESSAGE_MAX).await;
        let mut socket = opened.map_err(|error| End::Lost(Refused::Dead(error.to_string())))?;
        let join = json!({ "id": "joinRoom", "room": room, "name": self.reach.node });
        socket.send(Message::text(join.to_string())).await?;
        loop {
            match parse_frame(socket.next().await)? {
                Some(ServerMessage::ExistingParticipants { data }) => return Ok((socket, data)),
                Some(ServerMessage::Error { code, .. }) => return Err(End::Lost(Refused::Dead(code))),
                _ => {}
            }
        }
    }

    async fn exchange_messages(&mut self, mut socket: Socket, names: Vec<String>) -> End {
        if names.is_empty() && self.is_by_hand() && *self.state.borrow() == State::New {
            return End::Over(Refused::NoStream);
        }
        self.has.clear();
        self.again.clear();
        while self.commands.try_recv().is_ok() {}
        let (space, room, by_hand) = (self.space(), self.room.clone(), self.is_by_hand());
        self.report(LinkEvent::Opened { space, room, by_hand }).await;
        for name in names {
            self.arrived(name).await;
        }
        let flows_until = Instant::now() + self.reach.timeout;
        loop {
            let again = self.again.iter().map(|(at, _)| *at).min();
            let is_new = self.is_by_hand() && *self.state.borrow() == State::New;
            let done = tokio::select! {
                message = patience(self.reach.silence, socket.next()) => match message {
                    Ok(message) => self.message(message).await,
                    Err(_) => Err(End::Lost(Refused::Dead("silent".into()))),
                },
                Some(command) = self.commands.recv() => match self.on_command(command) {
                    Ok(Some(request)) => socket.send(Message::text(request.to_string())).await.map_err(End::from),
                    Ok(None) => Ok(()),
                    Err(end) => Err(end),
                },
                () = sleep_until(again.unwrap_or(flows_until)), if again.is_some() => {
                    self.try_again().await;
                    Ok(())
                }
                () = sleep_until(flows_until), if is_new => Err(End::Over(Refused::Dead("no media in time".into()))),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn message(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        match parse_frame(message)? {
            Some(ServerMessage::NewParticipantArrived { name }) => self.arrived(name).await,
            Some(ServerMessage::ParticipantLeft { name }) => self.left(&name).await?,
            Some(ServerMessage::Route { name, nodes }) => {
                if let Some(route) = self.has.get_mut(&name) {
                    *route = nodes;
                }
            }
            Some(ServerMessage::ReceiveVideoAnswer { name, sdp_answer }) => {
                if let (Some(stream), Some(route)) = (self.local(&name), self.has.get(&name)) {
                    let route = route.clone();
                    self.report(LinkEvent::Answered { stream, answer: sdp_answer, route }).await;
                }
            }
            Some(ServerMessage::Error { code, name: Some(name) }) => self.refused(&name, code).await?,
            Some(ServerMessage::Error { code, name: None }) => return Err(End::Lost(Refused::Dead(code))),
            Some(ServerMessage::ExistingParticipants { .. } | ServerMessage::Other) | None => {}
        }
        Ok(())
    }

    async fn arrived(&mut self, name: String) {
        let Some(stream) = self.local(&name).filter(|_| self.has.len() < STREAMS_MAX) else { return };
        if self.has.insert(name, Vec::new()).is_none() {
            self.report(LinkEvent::Has(stream)).await;
        }
    }

    /// Pulled by hand, the stream's end is the pull's.
    async fn left(&mut self, name: &str) -> Result<(), End> {
        let Some(stream) = self.local(name).filter(|_| self.has.remove(name).is_some()) else { return Ok(()) };
        self.again.retain(|(_, failed)| *failed != stream);
        self.report(LinkEvent::Lacks(stream)).await;
        if self.is_by_hand() { Err(End::Over(Refused::NoStream)) } else { Ok(()) }
    }

    /// The other node can't give the stream now.
    async fn refused(&mut self, name: &str, code: String) -> Result<(), End> {
        let Some(stream) = self.local(name).filter(|_| self.has.contains_key(name)) else { return Ok(()) };
        self.report(LinkEvent::Lacks(stream.clone())).await;
        self.failed(stream, code)
    }

    fn on_command(&mut self, command: LinkCommand) -> Result<Option<Value>, End> {
        match command {
            LinkCommand::Offer { stream, offer } => {
                let sender = self.remote(&stream);
                Ok(Some(json!({ "id": "receiveVideoFrom", "sender": sender, "sdpOffer": offer })))
            }
            LinkCommand::Cancel(stream) => Ok(Some(json!({ "id": "cancelVideoFrom", "sender": self.remote(&stream) }))),
            LinkCommand::Flows(_) => {
                self.backoff.reset();
                self.state.send_replace(State::Flows);
                Ok(None)
            }
            LinkCommand::Failed(stream) => self.failed(stream, "no media".into()).map(|()| None),
            LinkCommand::Loops(_) if self.is_by_hand() => Err(End::Over(Refused::Loop)),
            LinkCommand::Loops(_) => Ok(None),
            LinkCommand::End => Err(End::Over(Refused::NoStream)),
        }
    }

    fn failed(&mut self, stream: StreamId, why: String) -> Result<(), End> {
        metrics::counter!("confgate_pull_failed_total").increment(1);
        tracing::debug!(room = %self.room, ?stream, why, "a stream can't be pulled now");
        if self.is_by_hand() && *self.state.borrow() == State::New {
            return Err(End::Over(Refused::Dead(why)));
        }
        self.state.send_if_modified(|state| std::mem::replace(state, State::Away) != State::Away);
        if self.has.contains_key(&self.remote(&stream)) {
            self.again.push((Instant::now() + self.backoff.pause(false, rand::random()), stream));
        }
        Ok(())
    }

    async fn try_again(&mut self) {
        let now = Instant::now();
        let due: Vec<StreamId> = self.again.extract_if(.., |(at, _)| *at <= now).map(|(_, stream)| stream).collect();
        for stream in due {
            self.report(LinkEvent::Has(stream)).await;
        }
    }

    async fn report(&self, event: LinkEvent) {
        // The node has stopped: nobody needs to know.
        self.reports.send(LinkReport::Of(self.id, event)).await.ok();
    }

    /// Where what it brings is here.
    fn space(&self) -> RoomNamespace {
        match &self.wanted {
            Wanted::One { local, .. } => local.space,
            Wanted::All(_) => RoomNamespace::Conference,
        }
    }

    fn is_by_hand(&self) -> bool {
        matches!(self.wanted, Wanted::One { .. })
    }

    /// Which node it leads to, for the log.
    fn node(&self) -> String {
        match &self.wanted {
            Wanted::One { target, .. } => target.uri.to_string(),
            Wanted::All(peer) => peer.borrow().gateway_id.clone(),
        }
    }

    /// The local name of the other node's stream, if it is wanted.
    fn local(&self, theirs: &str) -> Option<StreamId> {
        match &self.wanted {
            Wanted::One { from, local, .. } => (name_of(&from.stream) == theirs).then(|| local.stream.clone()),
            Wanted::All(_) => stream_named(theirs),
        }
    }

    fn remote(&self, stream: &StreamId) -> String {
        match &self.wanted {
            Wanted::One { from, .. } => name_of(&from.stream),
            Wanted::All(_) => name_of(stream),
        }
    }
}

/// A message of the node; `None` for what is none, or is more than this version knows.
fn parse_frame(message: Option<Result<Message, Error>>) -> Result<Option<ServerMessage>, End> {
    match message {
        None | Some(Ok(Message::Close(_))) => Err(End::Lost(Refused::Dead("closed by the node".into()))),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(Message::Text(text))) => Ok(serde_json::from_str(&text).ok()),
        Some(Ok(_)) => Ok(None),
    }
}
