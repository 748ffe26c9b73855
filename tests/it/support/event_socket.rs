//! A client of the event socket, over HTTP/1.1 or HTTP/2.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error as SocketError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::client::{Answer, BASE, Client, Reply};
use super::follower::Follower;
use super::wait::PATIENCE;

/// The subprotocol that the gateway must select.
const PROTOCOL: &str = "confgate";

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Any WebSocket to the gateway, and the upgrade's reply.
pub type Opened = (WebSocketStream<Box<dyn Stream>>, HeaderMap);

/// A notification of the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub method: String,
    pub params: Value,
}

pub struct EventSocket {
    socket: WebSocketStream<Box<dyn Stream>>,
    /// The upgrade's reply.
    pub headers: HeaderMap,
    /// The state of every conference after all that was read.
    pub follower: Follower,
    /// Read while waiting for something else, and not yet looked at.
    unread: VecDeque<Notification>,
    ids: u64,
}

impl Client {
    /// Opens the event socket as the one who is logged in.
    pub async fn open_socket(&self) -> EventSocket {
        self.resume_socket(Follower::default()).await
    }

    /// Opens it where an earlier one stopped.
    pub async fn resume_socket(&self, from: Follower) -> EventSocket {
        let resume: Vec<String> = from.positions().iter().map(|position| format!("resume={position}")).collect();
        let protocols = format!("{PROTOCOL}, bearer.{}", self.token().unwrap_or_default());
        let opened = self.upgrade(&resume.join("&"), &[("sec-websocket-protocol", &protocols)]).await;
        let mut socket = opened.unwrap_or_else(|reply| panic!("the event socket is refused: {reply:?}"));
        assert_eq!(socket.subprotocol(), PROTOCOL, "the token must not come back");
        socket.follower = from;
        socket
    }

    /// Asks for the upgrade with that query and those headers only; the reply where it is refused.
    pub async fn upgrade(&self, query: &str, headers: &[(&str, &str)]) -> Result<EventSocket, Reply> {
        let mark = if query.is_empty() { "" } else { "?" };
        let opened = self.websocket(&format!("{BASE}/websck{mark}{query}"), headers).await?;
        Ok(EventSocket::new(opened))
    }

    /// Asks for an upgrade at that path.
    pub async fn websocket(&self, path: &str, headers: &[(&str, &str)]) -> Result<Opened, Reply> {
        let stream = self.connect("http/1.1").await.expect("the gateway listens");
        self.websocket_over(Box::new(stream), path, headers).await
    }

    /// The same over that connection.
    pub async fn websocket_over(
        &self,
        stream: Box<dyn Stream>,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Opened, Reply> {
        let address = format!("wss://{}{path}", self.address());
        let mut request = address.into_client_request().expect("the address is well-formed");
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().expect("the test's headers are well-formed");
            request
                .headers_mut()
                .insert(name, HeaderValue::from_str(value).expect("the test's headers are well-formed"));
        }
        match client_async(request, stream).await {
            Ok((socket, reply)) => Ok((socket, reply.headers().clone())),
            Err(SocketError::Http(reply)) => {
                let (head, body) = reply.into_parts();
                Err(Reply { status: head.status, headers: head.headers, body: body.unwrap_or_default().into() })
            }
            Err(e) => panic!("no reply to the upgrade: {e}"),
        }
    }

    /// The same over HTTP/2: an extended CONNECT (RFC 8441).
    pub async fn upgrade_http2(&self, headers: &[(&str, &str)]) -> Result<EventSocket, Reply> {
        Ok(EventSocket::new(self.websocket_http2(&format!("{BASE}/websck"), headers).await?))
    }

    /// Asks for an upgrade at that path over HTTP/2.
    pub async fn websocket_http2(&self, path: &str, headers: &[(&str, &str)]) -> Result<Opened, Reply> {
        let stream = self.connect("h2").await.expect("the gateway listens");
        let (mut sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("the gateway speaks HTTP/2");
        tokio::spawn(driver);
        let mut request = Request::connect(format!("https://{}{path}", self.address()))
            .header("sec-websocket-version", "13")
            .extension(hyper::ext::Protocol::from_static("websocket"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).expect("the test's headers are well-formed");
        let reply = sender.send_request(request).await.unwrap_or_else(|e| panic!("no reply to the upgrade: {e}"));
        let (status, headers) = (reply.status(), reply.headers().clone());
        if status != StatusCode::OK {
            let body = reply.into_body().collect().await.expect("a refusal has a body").to_bytes();
            return Err(Reply { status, headers, body });
        }
        let upgraded = hyper::upgrade::on(reply).await.expect("a 200 to an extended CONNECT is an upgrade");
        let stream: Box<dyn Stream> = Box::new(TokioIo::new(upgraded));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        Ok((socket, headers))
    }
}

impl EventSocket {
    fn new((socket, headers): Opened) -> Self {
        Self { socket, headers, follower: Follower::default(), unread: VecDeque::new(), ids: 0 }
    }

    /// The subprotocol that the server selected; empty where none.
    pub fn subprotocol(&self) -> &str {
        self.headers.get("sec-websocket-protocol").map_or("", |v| v.to_str().expect("our headers are ASCII"))
    }

    /// The next notification; `None` where none came within that time. Fails the test where the socket is closed.
    pub async fn next_notification(&mut self, within: Duration) -> Option<Notification> {
        if let Some(notification) = self.unread.pop_front() {
            return Some(notification);
        }
        let text = self.text_by(Instant::now() + within).await?;
        match as_notification(&text) {
            Some(notification) => Some(self.took(notification)),
            None => panic!("an answer that nobody asked for: {text}"),
        }
    }

    /// The params of the next notification, which must be of this method.
    pub async fn expect(&mut self, method: &str) -> Value {
        let next = self.next_notification(PATIENCE).await;
        match next {
            Some(n) if n.method == method => n.params,
            other => panic!("expected {method}, came: {other:?}"),
        }
    }

    /// The params of the next notification of this method; others before it are passed over.
    pub async fn wait_for(&mut self, method: &str) -> Value {
        self.wait_until(method, |n| n.method == method).await
    }

    /// The next `conference.event` of this type; other notifications before it are passed over.
    pub async fn expect_event(&mut self, kind: &str) -> Value {
        self.wait_until(kind, |n| n.method == "conference.event" && n.params["type"] == kind).await
    }

    async fn wait_until(&mut self, what: &str, is_it: impl Fn(&Notification) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_notification(left).await {
                Some(n) if is_it(&n) => return n.params,
                Some(_) => {}
                None => panic!("not within {PATIENCE:?}: {what}"),
            }
        }
    }

    /// Calls the method over the socket. Notifications that come before the answer wait to be read.
    pub async fn call(&mut self, method: &str, params: Value) -> Answer {
        self.ids += 1;
        let id = format!("s{}", self.ids);
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.send(&request.to_string()).await;
        self.answer(&id).await
    }

    /// The answer to what had no id that could be read.
    pub async fn answer_to_nobody(&mut self) -> Value {
        self.answer_under(Value::Null).await.0
    }

    /// The answer under that id, whenever it was asked for.
    pub async fn answer(&mut self, id: &str) -> Answer {
        self.answer_under(id.into()).await
    }

    /// The next batch of replies. Notifications that come before it wait to be read.
    pub async fn next_batch(&mut self) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.text_by(deadline).await {
                Some(Value::Array(replies)) => return replies,
                Some(text) => {
                    let notification = as_notification(&text).unwrap_or_else(|| panic!("no batch: {text}"));
                    let notification = self.took(notification);
                    self.unread.push_back(notification);
                }
                None => panic!("no batch of replies within {PATIENCE:?}"),
            }
        }
    }

    /// Waits for the next batch of replies, and doesn't look into it; notifications before it are passed over too.
    pub async fn pass_over_batch(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) if text.starts_with('[') => return,
                Ok(Some(Ok(frame))) if !frame.is_close() => {}
                other => panic!("no batch of replies: {other:?}"),
            }
        }
    }

    async fn answer_under(&mut self, id: Value) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(text) = self.text_by(deadline).await else { panic!("no answer to {id} within {PATIENCE:?}") };
            match as_notification(&text) {
                Some(notification) => {
                    let notification = self.took(notification);
                    self.unread.push_back(notification);
                }
                None if text["id"] == id => return Answer(text),
                None => panic!("an answer to something else than {id}: {text}"),
            }
        }
    }

    /// Sends that text as a frame, whatever it is.
    pub async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the event socket is open");
    }

    /// Sends any frame.
    pub async fn send_frame(&mut self, frame: Message) {
        self.socket.send(frame).await.expect("the event socket is open");
    }

    /// Sends a frame that the server doesn't take: it is gone, before the last byte or after it.
    pub async fn send_in_vain(&mut self, frame: Message) {
        if self.socket.send(frame).await.is_ok() {
            assert_eq!(self.close_code().await, 1006);
        }
    }

    /// Reads until the server closes: its code; 1006 (RFC 6455 section 7.4.1) where it went without one.
    pub async fn close_code(&mut self) -> u16 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let frame = timeout_at(deadline, self.socket.next()).await;
            match frame.unwrap_or_else(|_| panic!("not closed within {PATIENCE:?}")) {
                Some(Ok(Message::Close(frame))) => return frame.map_or(1005, |CloseFrame { code, .. }| code.into()),
                Some(Ok(Message::Text(text))) => {
                    let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"));
                    if let Some(notification) = as_notification(&value) {
                        let notification = self.took(notification);
                        self.unread.push_back(notification);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return 1006,
            }
        }
    }

    /// Closes it as a page does that is left.
    pub async fn close(mut self) -> Follower {
        // The server may have closed it first.
        let _already_closed = self.socket.close(None).await;
        self.follower
    }

    /// Drops the connection without a word, as a network does.
    pub fn vanish(self) -> Follower {
        self.follower
    }

    fn took(&mut self, notification: Notification) -> Notification {
        self.follower.take(&notification.method, &notification.params);
        notification
    }

    async fn text_by(&mut self, deadline: Instant) -> Option<Value> {
        loop {
            let frame = timeout_at(deadline, self.socket.next()).await.ok()?;
            match frame {
                Some(Ok(Message::Text(text))) => {
                    return Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}")));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("the event socket is closed: {other:?}"),
            }
        }
    }
}

fn as_notification(value: &Value) -> Option<Notification> {
    let method = value.get("method")?.as_str()?.to_owned();
    assert!(value.get("id").is_none(), "the server asks nothing: {value}");
    Some(Notification { method, params: value.get("params").cloned().unwrap_or_default() })
}
