//! How full a Janus is, asked of its Admin API: all of its handles, whoever made them. Our own say little where several
//! gateways, or other services, share a server. (Janus documentation: "The Admin/Monitor API".)

use std::sync::Weak;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::status::{LinkStatus, text_of_frame};
use crate::clock::backoff::Backoff;
use crate::http::dial::{self, Socket, Tls};
use crate::ids::Secret;

/// Sessions whose handles are counted one by one; each further one counts as a handle.
const SESSIONS: usize = 256;
/// Largest list that is read.
const MESSAGE_MAX: usize = 1024 * 1024;

/// The address and pace of its Admin API.
#[derive(Clone)]
pub struct LoadPoll {
    /// Its ws(s) address.
    pub url: http::Uri,
    /// The trust of its certificate.
    pub tls: Tls,
    /// `admin_secret` of Janus's configuration.
    pub secret: Secret,
    /// From one count to the next.
    pub interval: Duration,
    /// For connecting, and for a whole count.
    pub timeout: Duration,
    /// The first pause before connecting again.
    pub reconnect_min: Duration,
    /// The longest pause.
    pub reconnect_max: Duration,
}

impl LoadPoll {
    /// Counts once.
    ///
    /// # Errors
    /// Why it can't be done.
    pub async fn check(&self) -> Result<u64, String> {
        let mut socket = self.connect().await?;
        self.count(&mut socket).await
    }

    /// Counts until nobody looks any more.
    pub(super) async fn watch(self, status: Weak<LinkStatus>) {
        let mut backoff = Backoff::new(self.reconnect_min, self.reconnect_max);
        while status.strong_count() > 0 {
            match self.connect().await {
                Ok(socket) => {
                    backoff.reset();
                    let Some(why) = self.count_on(socket, &status).await else { return };
                    tracing::warn!(url = %self.url, why, "Janus's Admin API has gone");
                }
                Err(why) => tracing::warn!(url = %self.url, why, "Janus's Admin API can't be reached"),
            }
            let Some(status) = status.upgrade() else { return };
            status.set_handles(None);
            drop(status);
            sleep(backoff.pause(false, rand::random())).await;
        }
    }

    /// Until it fails, and why. `None`: nobody looks any more.
    async fn count_on(&self, mut socket: Socket, status: &Weak<LinkStatus>) -> Option<String> {
        let mut next = interval(self.interval);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            next.tick().await;
            match self.count(&mut socket).await {
                Ok(handles) => status.upgrade()?.set_handles(Some(handles)),
                Err(why) => return Some(why),
            }
        }
    }

    async fn connect(&self) -> Result<Socket, String> {
        let opening = dial::websocket(&self.url, "janus-admin-protocol", &self.tls, MESSAGE_MAX);
        let opened = timeout(self.timeout, opening).await.map_err(|_| "no answer in time".to_owned())?;
        opened.map_err(|error| error.to_string())
    }

    async fn count(&self, socket: &mut Socket) -> Result<u64, String> {
        timeout(self.timeout, self.handles(socket)).await.map_err(|_| "no answer in time".to_owned())?
    }

    async fn handles(&self, socket: &mut Socket) -> Result<u64, String> {
        let sessions = self.request(socket, json!({"janus": "list_sessions"})).await?;
        let sessions = sessions["sessions"].as_array().cloned().ok_or("no list of sessions")?;
        let mut handles = sessions.len().saturating_sub(SESSIONS) as u64;
        for session in sessions.iter().take(SESSIONS) {
            let asked = self.request(socket, json!({"janus": "list_handles", "session_id": session})).await?;
            // One that has ended since has none.
            handles += asked["handles"].as_array().map_or(0, Vec::len) as u64;
        }
        Ok(handles)
    }

    async fn request(&self, socket: &mut Socket, mut body: Value) -> Result<Value, String> {
        let transaction = crate::ids::random_text(12);
        body["transaction"] = transaction.as_str().into();
        body["admin_secret"] = self.secret.expose().into();
        socket.send(Message::text(body.to_string())).await.map_err(|error| error.to_string())?;
        loop {
            let Some(text) = text_of_frame(socket.next().await)? else { continue };
            let answer: Value = serde_json::from_str(&text).map_err(|_| "no JSON")?;
            if answer["transaction"].as_str() != Some(&transaction) {
                continue;
            }
            return match answer["error"]["code"].as_i64() {
                None | Some(NO_SUCH_SESSION) => Ok(answer),
                Some(_) => Err(answer["error"]["reason"].as_str().unwrap_or("refused").to_owned()),
            };
        }
    }
}

/// `JANUS_ERROR_SESSION_NOT_FOUND`.
const NO_SUCH_SESSION: i64 = 458;
