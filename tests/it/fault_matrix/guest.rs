//! A simulated guest: enters by the link, talks, raises its hand, leaves and comes back, and reconnects to any node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request};
use http_body_util::Full;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::ledger::{Ledger, View};
use crate::support::client::{BASE, Client};
use crate::support::event_socket::Stream;

/// How long a guest waits for an answer before it takes it for lost: longer than the product's own bounds.
const ANSWER: Duration = Duration::from_secs(20);
/// Between attempts to connect, with jitter.
const AGAIN_MS: (u64, u64) = (100, 1500);

/// What the guests are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Operations with this pause between them, on average.
    Busy { pause_ms: u64 },
    /// Only stay connected.
    Quiet,
    /// Leave.
    Over,
}

/// A gateway node's address, and the certificate that it shows.
#[derive(Debug, Clone)]
pub struct Home {
    pub address: SocketAddr,
    pub certificate: PathBuf,
}

pub struct Guest {
    view: Arc<Mutex<View>>,
    user: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Guest {
    pub fn enter(
        number: u64,
        code: &str,
        homes: &[Home],
        first: usize,
        phase: watch::Receiver<Phase>,
        ledger: &Ledger,
        door: &Arc<Semaphore>,
    ) -> Self {
        let (view, user) = (Arc::default(), Arc::default());
        let life = Life {
            number,
            code: code.to_owned(),
            homes: homes.to_vec(),
            at: first % homes.len(),
            login: None,
            has_joined: false,
            ids: 0,
            view: Arc::clone(&view),
            user: Arc::clone(&user),
            ledger: ledger.clone(),
            random: StdRng::seed_from_u64(number),
            phase,
            entering: None,
        };
        let door = Arc::clone(door);
        let task = tokio::spawn(async move {
            let entering = door.acquire_owned().await.ok();
            Life { entering, ..life }.live().await;
        });
        Self { view, user, task }
    }

    pub fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("no guest panics in it")
    }

    /// Its userId, once it has entered.
    pub fn user(&self) -> Option<String> {
        self.user.lock().expect("no guest panics in it").clone()
    }

    pub async fn ended(self) {
        self.task.await.expect("a guest does not panic");
    }
}

struct Life {
    number: u64,
    code: String,
    homes: Vec<Home>,
    at: usize,
    login: Option<Value>,
    has_joined: bool,
    ids: u64,
    view: Arc<Mutex<View>>,
    user: Arc<Mutex<Option<String>>>,
    ledger: Ledger,
    random: StdRng,
    phase: watch::Receiver<Phase>,
    /// Until they have joined for the first time.
    entering: Option<OwnedSemaphorePermit>,
}

type Socket = WebSocketStream<Box<dyn Stream>>;

/// The connection is gone, or was given up.
struct Gone;

impl Life {
    async fn live(mut self) {
        while *self.phase.borrow() != Phase::Over {
            if self.login.is_none() && !self.log_in().await {
                self.move_on().await;
                continue;
            }
            match self.connect().await {
                Some(socket) => {
                    // A seat may have been lost meanwhile; who has one is where they were.
                    self.has_joined = false;
                    if self.converse(socket).await.is_err() {
                        self.ledger.write().dropped += 1;
                    }
                    self.view().is_connected = false;
                    self.move_on().await;
                }
                None => self.move_on().await,
            }
        }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("no guest panics in it")
    }

    /// To the next node, after a pause.
    async fn move_on(&mut self) {
        self.at = (self.at + 1) % self.homes.len();
        let pause = self.random.random_range(AGAIN_MS.0..AGAIN_MS.1);
        sleep(Duration::from_millis(pause)).await;
    }

    fn client(&self) -> Client {
        let home = &self.homes[self.at];
        Client::new(home.address, &home.certificate)
    }

    async fn log_in(&mut self) -> bool {
        let params =
            json!({"grantType": "conference_link", "link": self.code, "name": format!("Guest {}", self.number)});
        let body = json!({"jsonrpc": "2.0", "id": "login", "method": "auth.http.login", "params": params}).to_string();
        let home = self.homes[self.at].address.to_string();
        let request = Request::builder().method(Method::POST).uri(format!("{BASE}/jsonrpc")).header("host", home);
        let request = request.body(Full::new(Bytes::from(body))).expect("the request is well-formed");
        let client = self.client();
        let Ok(Ok(reply)) = timeout(ANSWER, client.exchange(request)).await else {
            self.ledger.error("no connection");
            return false;
        };
        let answer = reply.json();
        match answer.get("result") {
            Some(login) => {
                *self.user.lock().expect("no guest panics in it") = login["userId"].as_str().map(str::to_owned);
                self.login = Some(login.clone());
                // Another user's.
                self.view().hand = None;
                true
            }
            None => {
                self.refused(&answer);
                false
            }
        }
    }

    fn refused(&mut self, answer: &Value) {
        let key = answer["error"]["data"]["key"].as_str().unwrap_or("an error without a key");
        self.ledger.error(key);
    }

    async fn connect(&mut self) -> Option<Socket> {
        let client = self.client();
        let token = self.login.as_ref()?["accessToken"].as_str()?.to_owned();
        let resume = self.view().position().map(|position| format!("?resume={position}")).unwrap_or_default();
        let opened = timeout(ANSWER, async {
            let stream = client.connect("http/1.1").await.ok()?;
            let protocols = format!("confgate, bearer.{token}");
            let path = format!("{BASE}/websck{resume}");
            let address = format!("wss://{}{path}", client.address());
            let mut request = address.into_client_request().ok()?;
            request.headers_mut().insert("sec-websocket-protocol", protocols.parse().ok()?);
            let stream: Box<dyn Stream> = Box::new(stream);
            match tokio_tungstenite::client_async(request, stream).await {
                Ok((socket, _)) => Some(Ok(socket)),
                Err(SocketError::Http(reply)) if reply.status() == 401 => Some(Err(())),
                Err(_) => None,
            }
        });
        match opened.await {
            Ok(Some(socket)) => socket
                .map_err(|()| {
                    // The login is not known any more: another one, another user.
                    self.ledger.error("no login");
                    self.login = None;
                })
                .ok(),
            _ => {
                self.ledger.error("no socket");
                None
            }
        }
    }

    /// Until the phase is over, or the socket ends.
    async fn converse(&mut self, mut socket: Socket) -> Result<(), Gone> {
        let at = self.at;
        {
            let mut view = self.view();
            (view.is_connected, view.at) = (true, at);
        }
        if !self.has_joined {
            self.join(&mut socket).await?;
        }
        self.entering = None;
        loop {
            let phase = *self.phase.borrow_and_update();
            let pause = match phase {
                Phase::Busy { pause_ms } => Duration::from_millis(self.random.random_range(0..2 * pause_ms)),
                Phase::Quiet => Duration::from_secs(3600),
                Phase::Over => return self.leave(&mut socket).await,
            };
            let until = Instant::now() + pause;
            loop {
                tokio::select! {
                    frame = socket.next() => self.take(frame)?.map_or((), drop),
                    () = tokio::time::sleep_until(until) => break,
                    changed = self.phase.changed() => {
                        changed.map_err(|_| Gone)?;
                        break;
                    }
                }
            }
            let is_busy = matches!(*self.phase.borrow(), Phase::Busy { .. });
            if is_busy {
                self.operate(&mut socket).await?;
            }
        }
    }

    async fn join(&mut self, socket: &mut Socket) -> Result<(), Gone> {
        let conf = self.login.as_ref().expect("logged in")["confId"].clone();
        while !self.has_joined {
            self.has_joined = self.call(socket, "conference.join", json!({ "confId": conf })).await?.is_some();
            if !self.has_joined {
                sleep(Duration::from_millis(self.random.random_range(AGAIN_MS.0..AGAIN_MS.1))).await;
            }
        }
        Ok(())
    }

    async fn leave(&mut self, socket: &mut Socket) -> Result<(), Gone> {
        let conf = self.login.as_ref().expect("logged in")["confId"].clone();
        self.call(socket, "conference.leave", json!({ "confId": conf })).await?;
        Ok(())
    }

    async fn operate(&mut self, socket: &mut Socket) -> Result<(), Gone> {
        let conf = self.login.as_ref().expect("logged in")["confId"].clone();
        match self.random.random_range(0..10) {
            0..4 => {
                let text = format!("{}-{}", self.number, self.ids);
                let params = json!({"confId": conf, "text": text});
                if self.call(socket, "conference.sendMessage", params).await?.is_some() {
                    self.ledger.write().messages.insert(text);
                }
            }
            4..7 => {
                let up = self.random.random_bool(0.5);
                let action = if up { "raiseHand" } else { "lowerHand" };
                self.view().hand = None;
                let params = json!({"confId": conf, "action": action});
                if self.call(socket, "conference.control", params).await?.is_some() {
                    self.view().hand = Some(up);
                }
            }
            7..9 => {
                let action = if self.random.random_bool(0.5) { "unmuteSelf" } else { "muteSelf" };
                self.call(socket, "conference.control", json!({"confId": conf, "action": action})).await?;
            }
            _ => {
                self.view().hand = None;
                let has_left = self.call(socket, "conference.leave", json!({ "confId": conf })).await?.is_some();
                // They may have left all the same, where the answer was lost.
                self.has_joined = false;
                self.join(socket).await?;
                self.view().hand = has_left.then_some(false);
            }
        }
        Ok(())
    }

    /// The result, or `None` for a refusal, which is counted.
    async fn call(&mut self, socket: &mut Socket, method: &str, params: Value) -> Result<Option<Value>, Gone> {
        self.ids += 1;
        let id = format!("g{}", self.ids);
        let asked = format!("{method} {}", params["action"].as_str().unwrap_or_default());
        self.view().note(format!("{asked} {id}"));
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
        socket.send(Message::text(request)).await.map_err(|_| Gone)?;
        let deadline = Instant::now() + ANSWER;
        loop {
            let frame = tokio::time::timeout_at(deadline, socket.next()).await.map_err(|_| {
                self.ledger.error("no answer");
                Gone
            })?;
            let Some(answer) = self.take(frame)?.filter(|answer| answer["id"] == id.as_str()) else { continue };
            self.view().note(format!("{asked} {id}: {}", answer["error"]["data"]["key"]));
            return match answer.get("result") {
                Some(result) => {
                    self.ledger.write().acknowledged += 1;
                    Ok(Some(result.clone()))
                }
                None => {
                    self.refused(&answer);
                    Ok(None)
                }
            };
        }
    }

    /// Takes a notification into the view; an answer is returned.
    fn take(&mut self, frame: Option<Result<Message, SocketError>>) -> Result<Option<Value>, Gone> {
        let text = match frame {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(close))) => {
                let code = close.map_or(1005, |close| u16::from(close.code));
                self.ledger.error(&format!("closed with {code}"));
                return Err(Gone);
            }
            Some(Ok(_)) => return Ok(None),
            Some(Err(_)) | None => return Err(Gone),
        };
        let value: Value = serde_json::from_str(&text).expect("the gateway speaks JSON");
        match value["method"].as_str() {
            Some(method) => {
                let (ledger, user) = (self.ledger.clone(), self.user.lock().expect("no guest panics in it").clone());
                self.view().take(method, &value["params"], &ledger, &user.unwrap_or_default());
                Ok(None)
            }
            None => Ok(Some(value)),
        }
    }
}
