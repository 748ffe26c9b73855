//! What clients and the node say to each other on a call gateway's socket: the messages of Kurento's group call (JSON
//! text frames told apart by `id`), and ours beside them. As values; the text is at the edge.

use serde::{Deserialize, Serialize};

/// Longest message that is looked at, in bytes: ten of the longest offers that browsers make (about 6 KB).
pub const MESSAGE_MAX: usize = 64 * 1024;
/// Longest ICE candidate, in bytes: RFC 8839 candidates are a tenth of it.
const CANDIDATE_MAX: usize = 1024;
/// Largest edge of a picture that a client may claim to show, in pixels.
const EDGE_MAX: u32 = 16_384;

/// From a client.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Message {
    JoinRoom {
        room: String,
        name: String,
        #[serde(default)]
        token: Option<String>,
    },
    /// An offer: to send where `sender` is the client's own name, else to receive that stream.
    ReceiveVideoFrom {
        sender: String,
        sdp_offer: String,
    },
    OnIceCandidate {
        /// Whose stream the connection is for.
        name: String,
        /// Null where there are no more.
        candidate: Option<Candidate>,
    },
    CancelVideoFrom {
        sender: String,
    },
    View {
        sender: String,
        width: u32,
        height: u32,
    },
    LeaveRoom,
    /// Passed over in silence, as Kurento's server does.
    #[serde(other)]
    Unknown,
}

/// A candidate as `RTCIceCandidate.toJSON` gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    pub candidate: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdp_mid: Option<String>,
    #[serde(default, rename = "sdpMLineIndex", skip_serializing_if = "Option::is_none")]
    pub sdp_mline_index: Option<u32>,
}

/// Why a frame is no [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl Message {
    /// Reads a text frame.
    ///
    /// # Errors
    /// No JSON object with an `id`, members that its `id` wants missing or of another type, or one out of bounds.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        let message = serde_json::from_str(text).map_err(|_| Unreadable)?;
        let fits = match &message {
            Message::OnIceCandidate { candidate: Some(c), .. } => c.candidate.len() <= CANDIDATE_MAX,
            Message::View { width, height, .. } => *width <= EDGE_MAX && *height <= EDGE_MAX,
            _ => true,
        };
        if fits { Ok(message) } else { Err(Unreadable) }
    }
}

/// From the node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Reply {
    ExistingParticipants {
        data: Vec<String>,
    },
    NewParticipantArrived {
        name: String,
    },
    ParticipantLeft {
        name: String,
    },
    ReceiveVideoAnswer {
        name: String,
        sdp_answer: String,
    },
    IceCandidate {
        name: String,
        candidate: Candidate,
    },
    /// To a node that pulls, before the answer: the nodes that the stream has come through, this one last.
    Route {
        name: String,
        nodes: Vec<String>,
    },
    /// Who speaks now.
    Speaker {
        name: Option<String>,
    },
    /// What of the client's own camera and microphone is forwarded.
    Enforce {
        audio: bool,
        video: bool,
    },
    /// The room is on another node now.
    Moved {
        url: String,
    },
    Error {
        code: Code,
        message: &'static str,
        /// The stream that it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
}

impl Reply {
    /// As a text frame.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("a reply has string keys")
    }
}

/// What a client can tell errors apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Code {
    Unauthorized,
    Expelled,
    BadMessage,
    BadSdp,
    Overloaded,
    TooMany,
    Unavailable,
    Replaced,
    Ended,
}

impl Code {
    pub fn name(self) -> &'static str {
        match self {
            Code::Unauthorized => "unauthorized",
            Code::Expelled => "expelled",
            Code::BadMessage => "badMessage",
            Code::BadSdp => "badSdp",
            Code::Overloaded => "overloaded",
            Code::TooMany => "tooMany",
            Code::Unavailable => "unavailable",
            Code::Replaced => "replaced",
            Code::Ended => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kurentos_messages_are_read_as_its_page_sends_them() {
        let read = |text: &str| Message::read(text).unwrap();
        assert_eq!(
            read(r#"{"id":"joinRoom","name":"anna","room":"c1"}"#),
            Message::JoinRoom { room: "c1".into(), name: "anna".into(), token: None }
        );
        let candidate =
            Candidate { candidate: "candidate:1".into(), sdp_mid: Some("0".into()), sdp_mline_index: Some(0) };
        assert_eq!(
            read(
                r#"{"id":"onIceCandidate","candidate":{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"x"},"name":"anna"}"#
            ),
            Message::OnIceCandidate { name: "anna".into(), candidate: Some(candidate) }
        );
        assert_eq!(read(r#"{"id":"leaveRoom"}"#), Message::LeaveRoom);
        assert_eq!(read(r#"{"id":"somethingNew","more":1}"#), Message::Unknown);
    }

    #[test]
    fn what_is_no_message_is_unreadable() {
        let long =
            format!(r#"{{"id":"onIceCandidate","name":"a","candidate":{{"candidate":"{}"}}}}"#, "x".repeat(2000));
        let huge = r#"{"id":"view","sender":"a","width":99999999,"height":1}"#;
        for text in ["", "x", "[]", "{}", "1", r#"{"id":7}"#, r#"{"id":"joinRoom","name":"a"}"#, &long, huge] {
            assert_eq!(Message::read(text), Err(Unreadable), "{text}");
        }
    }

    #[test]
    fn replies_are_written_as_kurentos_page_reads_them() {
        let candidate = Candidate { candidate: "c".into(), sdp_mid: Some("0".into()), sdp_mline_index: Some(0) };
        let written = [
            Reply::ExistingParticipants { data: vec!["anna".into()] },
            Reply::ReceiveVideoAnswer { name: "anna".into(), sdp_answer: "v=0".into() },
            Reply::IceCandidate { name: "anna".into(), candidate },
            Reply::Speaker { name: None },
            Reply::Error { code: Code::BadSdp, message: "m", name: None },
        ]
        .map(|reply| reply.text());
        assert_eq!(
            written,
            [
                r#"{"id":"existingParticipants","data":["anna"]}"#,
                r#"{"id":"receiveVideoAnswer","name":"anna","sdpAnswer":"v=0"}"#,
                r#"{"id":"iceCandidate","name":"anna","candidate":{"candidate":"c","sdpMid":"0","sdpMLineIndex":0}}"#,
                r#"{"id":"speaker","name":null}"#,
                r#"{"id":"error","code":"badSdp","message":"m"}"#,
            ]
        );
    }
}
