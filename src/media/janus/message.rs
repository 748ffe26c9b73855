//! The Janus API's messages, as far as the driver speaks it: requests out, events in. (Janus documentation: "The Janus
//! API", "VideoRoom plugin".)

use serde_json::{Value, json};

/// A plugin handle: one peer connection, or the driver's own for the rooms.
pub type Handle = u64;

const PLUGIN: &str = "janus.plugin.videoroom";

/// A request; the shell adds the session, the transaction and the API's secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub transaction: u64,
    pub body: Value,
}

pub fn attach() -> Value {
    json!({"janus": "attach", "plugin": PLUGIN})
}

pub fn detach(handle: Handle) -> Value {
    json!({"janus": "detach", "handle_id": handle})
}

/// The request that creates a room of that number, for so many publishers. `secret` is shown by its owner and by
/// clients that enter it.
pub fn create(room: u64, publishers: u64, secret: &str, admin_key: Option<&str>) -> Value {
    let mut create = json!({
        "request": "create", "room": room, "permanent": false, "is_private": true,
        "secret": secret, "pin": secret, "publishers": publishers, "notify_joining": false,
        "audiocodec": "opus", "videocodec": "vp8,h264,av1", "bitrate": 0, "audiolevel_event": true,
    });
    if let Some(key) = admin_key {
        create["admin_key"] = key.into();
    }
    create
}

pub fn destroy(room: u64, secret: &str) -> Value {
    json!({"request": "destroy", "room": room, "secret": secret})
}

/// A message for the plugin, with a description where there is one.
pub fn plugin(handle: Handle, body: Value, jsep: Option<(&str, &str)>) -> Value {
    let mut message = json!({"janus": "message", "handle_id": handle, "body": body});
    if let Some((kind, sdp)) = jsep {
        message["jsep"] = json!({"type": kind, "sdp": sdp});
    }
    message
}

/// A candidate of the client; empty: there are no more.
pub fn trickle(handle: Handle, candidate: &str, mid: &str) -> Value {
    let candidate = match candidate {
        "" => json!({"completed": true}),
        _ => json!({"candidate": candidate, "sdpMid": mid, "sdpMLineIndex": 0}),
    };
    json!({"janus": "trickle", "handle_id": handle, "candidate": candidate})
}

/// A message of Janus.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerMessage {
    /// A new session or handle.
    Made { transaction: u64, id: u64 },
    /// The plugin's answer to a request.
    Done { transaction: u64, data: Value, sdp: Option<String> },
    /// A request was refused, by Janus or by the plugin.
    Refused { transaction: u64, code: i64, reason: String },
    /// The handle's peer connection is up.
    Up { handle: Handle },
    /// It is over.
    Down { handle: Handle, reason: String },
    /// An event of the plugin for a handle.
    Event { handle: Handle, data: Value },
    /// A message that the driver ignores.
    Other,
}

impl ServerMessage {
    pub fn read(text: &str) -> Self {
        let Ok(message) = serde_json::from_str::<Value>(text) else { return ServerMessage::Other };
        let transaction = message["transaction"].as_str().and_then(|t| t.parse().ok());
        let handle = message["sender"].as_u64().unwrap_or_default();
        let sdp = message["jsep"]["sdp"].as_str().map(str::to_owned);
        let data = message["plugindata"]["data"].clone();
        match (message["janus"].as_str().unwrap_or_default(), transaction) {
            ("success", Some(transaction)) if data.is_null() => match message["data"]["id"].as_u64() {
                Some(id) => ServerMessage::Made { transaction, id },
                None => ServerMessage::Done { transaction, data, sdp },
            },
            ("success" | "event", Some(transaction)) => match data["error_code"].as_i64() {
                Some(code) => ServerMessage::Refused { transaction, code, reason: text_of(&data["error"]) },
                None => ServerMessage::Done { transaction, data, sdp },
            },
            ("error", Some(transaction)) => {
                let error = &message["error"];
                ServerMessage::Refused {
                    transaction,
                    code: error["code"].as_i64().unwrap_or_default(),
                    reason: text_of(&error["reason"]),
                }
            }
            ("webrtcup", _) => ServerMessage::Up { handle },
            ("hangup", _) => ServerMessage::Down { handle, reason: text_of(&message["reason"]) },
            ("detached", _) => ServerMessage::Down { handle, reason: "detached".into() },
            ("event", None) => ServerMessage::Event { handle, data },
            _ => ServerMessage::Other,
        }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
