//! WebDriver BiDi, as far as the tests need what WebDriver itself lacks: scripts before a page's own, an exact viewport,
//! and the console.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::ports::Port;
use super::wait::{PATIENCE, until};

type Socket = WebSocketStream<TcpStream>;

/// The state that the socket's two users share.
#[derive(Default)]
struct Shared {
    answers: HashMap<u64, oneshot::Sender<Value>>,
    errors: Vec<String>,
}

pub struct BiDi {
    sink: tokio::sync::Mutex<(u64, SplitSink<Socket, Message>)>,
    shared: Arc<Mutex<Shared>>,
    // Held so that nobody else listens there.
    _port: Port,
}

impl BiDi {
    /// Joins the session of that id, and is told of the console's errors from then on.
    pub async fn connect(port: Port, session: &str) -> Self {
        let address = port.address();
        let socket = until(PATIENCE, async || {
            let stream = TcpStream::connect(address).await.ok()?;
            client_async(format!("ws://{address}/session/{session}"), stream).await.ok()
        });
        let (socket, _) = socket.await.expect("the driver speaks WebDriver BiDi");
        let (sink, stream) = socket.split();
        let shared = Arc::<Mutex<Shared>>::default();
        tokio::spawn(read_messages(stream, shared.clone()));
        let bidi = Self { sink: tokio::sync::Mutex::new((0, sink)), shared, _port: port };
        bidi.command("session.subscribe", json!({ "events": ["log.entryAdded"] })).await;
        bidi
    }

    pub async fn set_viewport(&self, width: u32, height: u32) {
        let tree = self.command("browsingContext.getTree", json!({})).await;
        let context = &tree["contexts"][0]["context"];
        let viewport = json!({ "context": context, "viewport": { "width": width, "height": height } });
        self.command("browsingContext.setViewport", viewport).await;
    }

    pub async fn add_preload_script(&self, script: &str) {
        self.command("script.addPreloadScript", json!({ "functionDeclaration": format!("() => {{ {script} }}") }))
            .await;
    }

    /// The console's errors since it was asked last.
    pub fn take_errors(&self) -> Vec<String> {
        std::mem::take(&mut self.shared().errors)
    }

    async fn command(&self, method: &str, params: Value) -> Value {
        let (sender, answer) = oneshot::channel();
        {
            let mut sink = self.sink.lock().await;
            sink.0 += 1;
            let id = sink.0;
            self.shared().answers.insert(id, sender);
            let command = json!({ "id": id, "method": method, "params": params }).to_string();
            sink.1.send(Message::text(command)).await.expect("the driver's socket is open");
        }
        let answer = timeout(PATIENCE, answer).await.expect("the driver answers").expect("the driver's socket is open");
        assert_eq!(answer["type"], "success", "{method}: {answer}");
        answer["result"].clone()
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().expect("nobody panics with it")
    }
}

/// Hands each answer to whoever asked, and keeps the console's errors.
async fn read_messages(mut stream: SplitStream<Socket>, shared: Arc<Mutex<Shared>>) {
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else { continue };
        let message: Value = serde_json::from_str(&text).expect("a driver speaks JSON");
        let mut shared = shared.lock().expect("nobody panics with it");
        if let Some(waiting) = message["id"].as_u64().and_then(|id| shared.answers.remove(&id)) {
            // The requester may have given up.
            waiting.send(message).ok();
        } else if message["method"] == "log.entryAdded" && message["params"]["level"] == "error" {
            shared.errors.push(message["params"]["text"].as_str().unwrap_or_default().to_owned());
        }
    }
}
