//! Subscribers: WebSockets that are read by a task each, which only notes which event came when.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::support::wait::PATIENCE;

/// Stands before and behind an event's number, in the text of its message, and nowhere else in a frame: ids have no such
/// character, and no other text is sent.
const MARK: char = '#';
/// Of each socket; a frame is smaller but for a snapshot.
const BUFFER_BYTES: usize = 4096;

/// The events of one conference.
#[derive(Default)]
pub struct Deliveries(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// When each event was to be sent.
    due: Vec<Instant>,
    /// From then until it had come to one subscriber.
    latencies: Vec<Duration>,
}

impl Deliveries {
    /// The text of the next event's message, which is to be sent at that time.
    pub fn next(&self, due: Instant) -> String {
        let mut inner = self.lock();
        inner.due.push(due);
        format!("{MARK}{}{MARK} Can everybody see the slides?", inner.due.len() - 1)
    }

    /// Deliveries since they were taken last.
    pub fn count(&self) -> usize {
        self.lock().latencies.len()
    }

    pub fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.lock().latencies)
    }

    fn came(&self, number: usize) {
        let now = Instant::now();
        let mut inner = self.lock();
        let latency = now - inner.due[number];
        inner.latencies.push(latency);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics in it")
    }
}

/// A WebSocket at that address (`ws` or `wss`) over the connection, with one of those subprotocols.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(stream: S, address: &str, protocols: &str) -> WebSocketStream<S> {
    let mut request = address.into_client_request().expect("the address is well-formed");
    request.headers_mut().insert("sec-websocket-protocol", protocols.parse().expect("subprotocols are ASCII"));
    let config = WebSocketConfig::default().read_buffer_size(BUFFER_BYTES).write_buffer_size(0);
    let opened = client_async_with_config(request, stream, Some(config)).await;
    opened.unwrap_or_else(|e| panic!("{address} refuses the WebSocket: {e}")).0
}

/// Reads until there is a frame that holds this text.
pub async fn read_until<S>(socket: &mut WebSocketStream<S>, text: &str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let is_it = |frame: &Message| frame.to_text().is_ok_and(|frame| frame.contains(text));
    let reading = async {
        while let Some(frame) = socket.next().await {
            if is_it(&frame.expect("the server keeps the WebSocket open")) {
                return;
            }
        }
        panic!("the server closes the WebSocket");
    };
    timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no {text} within {PATIENCE:?}"));
}

/// Reads for as long as this process runs. Each event must come once and in its turn.
pub fn read<S>(mut socket: WebSocketStream<S>, deliveries: Arc<Deliveries>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    tokio::spawn(async move {
        let mut expected = 0;
        while let Some(frame) = socket.next().await {
            let frame = frame.expect("the server keeps the WebSocket open");
            assert!(!frame.is_close(), "the server closes the WebSocket: {frame:?}");
            if let Some(number) = event_number(&frame) {
                assert_eq!(number, expected, "an event out of its turn: {frame:?}");
                expected += 1;
                deliveries.came(number);
            }
        }
    });
}

/// Reads for as long as this process runs, and looks at nothing.
pub fn drain<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(mut socket: WebSocketStream<S>) {
    tokio::spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
}

fn event_number(frame: &Message) -> Option<usize> {
    let (Message::Text(_) | Message::Binary(_)) = frame else { return None };
    let text = frame.to_text().expect("both servers send UTF-8");
    let (_, from_number) = text.split_once(MARK)?;
    let (number, _) = from_number.split_once(MARK)?;
    Some(number.parse().expect("only events have the mark"))
}
