//! The event socket: JSON-RPC both ways, and the conference's events out of a bounded queue.

mod attach;
mod call_events;
mod reader;
mod token_watch;

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use crate::auth::{AuthService, Caller};
use crate::conference::sockets::Sockets;
use crate::conference::{Position, notification};
use crate::config::Config;
use crate::eim::Eim;
use crate::eim::requests::Requests;
use crate::health::Health;
use crate::http::ws::pump::{self, Closing, Pace};
use crate::http::ws::send_queue::{Outbox, outbox};
use crate::http::ws::socket::WebSocket;
use crate::ids::ConfId;
use crate::rate_limit::account::SocketSlot;
use crate::refusal::Refusal;

use super::socket_session::SocketSession;
use super::{Authorization, Rpc};
use attach::attach_conferences;
use reader::SocketReader;
use token_watch::watch_token;

/// Handles to the parts that event sockets work with.
pub struct EventSockets {
    /// The methods.
    pub rpc: Arc<Rpc>,
    /// The configuration.
    pub config: Arc<Config>,
    /// Logins, links and guests.
    pub auth: AuthService,
    /// The open event sockets.
    pub sockets: Sockets,
    /// Requests to the EIM.
    pub calls: Requests,
    /// The links to the EIM.
    pub eim: Eim,
    /// The checks of access.
    pub authorization: Authorization,
    /// The parts that sockets are told of: each part's name, and its health.
    pub health: Vec<(&'static str, watch::Receiver<Health>)>,
}

/// The opener of a socket, and the positions from where it resumes.
pub struct Opening {
    /// The opener.
    pub caller: Arc<Caller>,
    /// The client's address.
    pub address: IpAddr,
    /// The browser's id, from its cookie.
    pub device: Option<String>,
    /// The positions to resume from.
    pub positions: Vec<(ConfId, Position)>,
    /// The slot that the socket holds.
    pub slot: SocketSlot,
    /// The socket's number, given when it was asked for.
    pub generation: u64,
}

impl EventSockets {
    /// The number of a socket that is being opened.
    pub fn next_generation(&self) -> u64 {
        self.sockets.next_generation()
    }

    /// Serves one socket to its end.
    pub async fn serve(self: Arc<Self>, socket: WebSocket, mut opening: Opening) {
        let limits = &self.config.limits;
        let (caller, account) = (opening.caller.clone(), opening.slot.account());
        let (user, is_guest) = (caller.user_id.clone(), caller.is_guest());
        let (outbox, inbox) = outbox(limits.socket_queue_frames, limits.socket_queue_bytes, account);
        let ended = self.auth.ended_families();
        let generation = opening.generation;
        let link_up = self.sockets.open(&user, is_guest, &caller.family, generation, outbox.clone());
        self.send_hello(&outbox);
        let session = Arc::new(SocketSession::new(caller, std::mem::take(&mut opening.positions)));
        let mut reader = SocketReader::new(&self, &session, &outbox, &opening);
        let device = opening.device.as_deref();
        let is_ended = |caller: &Arc<Caller>| self.auth.still_valid(caller.clone()).is_err();
        // Only the pump ends; the others go on for as long as it does.
        let closing = tokio::select! {
            closing = pump::run(socket, inbox, opening.slot.account(), &mut reader, self.pace()) => Some(closing),
            () = attach_conferences(&self, &session, &outbox, device, generation) => None,
            () = watch_token(&session, &outbox, ended, is_ended) => None,
            () = call_events::subscribe(&self, &user, generation, &link_up), if !is_guest => None,
        };
        if closing.as_ref().is_some_and(Closing::can_be_sent) {
            reader.finish().await;
        }
        reader.abort();
        let was_last = self.sockets.closed(&user, generation).await;
        if let Some(closing) = closing {
            closing.send_close().await;
        }
        if was_last && !is_guest {
            call_events::unsubscribe(&self, &user, generation).await;
        }
    }

    fn pace(&self) -> Pace {
        let limits = &self.config.limits;
        Pace {
            heartbeat: limits.heartbeat,
            write_timeout: limits.write_timeout,
            pings_per_minute: limits.socket_pings_per_minute,
        }
    }

    fn send_hello(&self, outbox: &Outbox) {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Hello<'a> {
            node: &'a str,
            heartbeat_ms: u64,
            resume_window_ms: u64,
        }
        let limits = &self.config.limits;
        let hello = Hello {
            node: &self.config.node.id,
            heartbeat_ms: limits.heartbeat.as_millis() as u64,
            resume_window_ms: limits.resume_window.as_millis() as u64,
        };
        outbox.send(notification("hello", &hello).into());
        for (part, health) in &self.health {
            let health = health.borrow().clone();
            if !health.up {
                outbox.send(notification("degraded", &json!({"part": part, "since": health.since_ms})).into());
            }
        }
    }
}

/// Positions of `?resume=<confId>:<epoch>:<seq>`; an ill-formed one is a refusal.
pub fn positions<'a>(values: impl Iterator<Item = &'a str>) -> Result<Vec<(ConfId, Position)>, Refusal> {
    let one = |value: &str| {
        let (conf, rest) = value.split_once(':')?;
        let (epoch, seq) = rest.rsplit_once(':')?;
        Some((ConfId::parse(conf)?, Position { epoch: epoch.to_owned(), seq: seq.parse().ok()? }))
    };
    values
        .map(|value| one(value).ok_or_else(|| Refusal::invalid_params("resume", "must be <confId>:<epoch>:<seq>")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_conference_epoch_and_number() {
        let read = positions(["c1:e1:7"].into_iter()).unwrap();
        assert_eq!(read, [(ConfId::parse("c1").unwrap(), Position { epoch: "e1".into(), seq: 7 })]);
        for bad in ["", "c1", "c1:7", "c1:e:x", "c 1:e:7", ":e:7"] {
            assert!(positions([bad].into_iter()).is_err(), "{bad}");
        }
    }
}
