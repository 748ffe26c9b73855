//! The messages of a call gateway's socket: those of Kurento's group call and of its one-to-one call (JSON text frames
//! told apart by `id`), and ours beside them. As values; the text is at the edge.

use serde::{Deserialize, Serialize};

use crate::event::CallMode;

/// Longest message that is looked at, in bytes: ten of the longest offers that browsers make (about 6 KB).
pub const MESSAGE_MAX: usize = 64 * 1024;
/// Longest ICE candidate, in bytes: RFC 8839 candidates are a tenth of it.
const CANDIDATE_MAX: usize = 1024;
/// Longest reason not to take a call, in bytes.
const REASON_MAX: usize = 1024;
/// Largest edge of a picture that a client may claim to show, in pixels.
const EDGE_MAX: u32 = 16_384;

/// From a client.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Message {
    /// `joinRoom`
    JoinRoom {
        /// The room.
        room: String,
        /// The name.
        name: String,
        /// The token, if there is one.
        #[serde(default)]
        token: Option<String>,
    },
    /// An offer: to send where `sender` is the client's own name, else to receive that stream. Without one the node is
    /// to offer the stream, where it said that it can't answer (`payloadTypes`).
    ReceiveVideoFrom {
        /// The stream's name.
        sender: String,
        /// The SDP offer.
        #[serde(default)]
        sdp_offer: String,
    },
    /// To [`Reply::ReceiveVideoOffer`].
    ReceiveVideoAnswer {
        /// The stream's name.
        sender: String,
        /// The SDP answer.
        sdp_answer: String,
    },
    /// `onIceCandidate`
    OnIceCandidate {
        /// The owner of the stream that the connection is for. A call between two has one connection only.
        #[serde(default)]
        name: Option<String>,
        /// Null where there are no more.
        candidate: Option<Candidate>,
    },
    /// `cancelVideoFrom`
    CancelVideoFrom {
        /// The stream's name.
        sender: String,
    },
    /// `view`
    View {
        /// The stream's name.
        sender: String,
        /// Pixels; 0: not shown.
        width: u32,
        /// Pixels; 0: not shown.
        height: u32,
    },
    /// `leaveRoom`
    LeaveRoom,
    /// For another member, of the connection straight to them.
    Signal {
        /// The receiver's name.
        to: String,
        /// The message.
        #[serde(flatten)]
        signal: Signal,
    },
    /// Media can't go straight any more.
    Mode {
        /// How media goes.
        mode: CallMode,
        /// The reason.
        #[serde(default)]
        reason: Option<Relayed>,
    },
    /// Of the one-to-one call, as all that follow: under which name one can be called.
    Register {
        /// The name.
        name: String,
        /// The token, if there is one.
        #[serde(default)]
        token: Option<String>,
    },
    /// `call`
    Call {
        /// The name that the client claims.
        #[serde(default)]
        from: Option<String>,
        /// The receiver's name.
        to: String,
        /// The SDP offer.
        sdp_offer: String,
    },
    /// `incomingCallResponse`
    IncomingCallResponse {
        /// The caller's name.
        from: String,
        /// `accept`; anything else is no.
        call_response: String,
        /// The SDP offer.
        #[serde(default)]
        sdp_offer: Option<String>,
        /// The reason.
        #[serde(default)]
        message: Option<String>,
    },
    /// `stop`
    Stop,
    /// Wants a recording.
    Play,
    /// `stopPlay`
    StopPlay,
    /// Passed over in silence, as Kurento's server does.
    #[serde(other)]
    Unknown,
}

/// A message between the two browsers of a direct connection: passed on as it is. Nothing else is passed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Signal {
    /// An `RTCSessionDescription`.
    Description(Description),
    /// `null` where there are no more.
    Candidate(Option<Candidate>),
}

/// An SDP description between two browsers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Offer or answer.
    #[serde(rename = "type")]
    pub kind: DescriptionKind,
    /// The SDP.
    pub sdp: String,
}

/// The type of a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DescriptionKind {
    /// `offer`
    Offer,
    /// `answer`
    Answer,
}

/// The reason why media goes through the node though it might have gone straight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Relayed {
    /// There is no path, or it was lost.
    IceFailed,
    /// A client doesn't do it.
    Unable,
    /// A member shares their screen.
    Screen,
    /// More than two are there.
    Third,
    /// A member may not send what they like.
    Enforced,
}

impl Relayed {
    /// As JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Relayed::IceFailed => "iceFailed",
            Relayed::Unable => "unable",
            Relayed::Screen => "screen",
            Relayed::Third => "third",
            Relayed::Enforced => "enforced",
        }
    }
}

/// A candidate as `RTCIceCandidate.toJSON` gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The candidate-attribute (RFC 8839).
    pub candidate: String,
    /// The section's `a=mid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdp_mid: Option<String>,
    /// The section's number, from 0.
    #[serde(default, rename = "sdpMLineIndex", skip_serializing_if = "Option::is_none")]
    pub sdp_mline_index: Option<u32>,
}

/// The reason why a frame is no [`Message`].
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
            Message::Signal { signal: Signal::Candidate(Some(c)), .. } => c.candidate.len() <= CANDIDATE_MAX,
            Message::IncomingCallResponse { message: Some(why), .. } => why.len() <= REASON_MAX,
            Message::View { width, height, .. } => *width <= EDGE_MAX && *height <= EDGE_MAX,
            _ => true,
        };
        if fits { Ok(message) } else { Err(Unreadable) }
    }

    /// Whether it is of the one-to-one call only.
    pub fn is_of_pair(&self) -> bool {
        use Message::{Call, IncomingCallResponse, Play, Register, Stop, StopPlay};
        matches!(self, Register { .. } | Call { .. } | IncomingCallResponse { .. } | Stop | Play | StopPlay)
    }
}

/// From the node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Reply {
    /// `existingParticipants`
    ExistingParticipants {
        /// Names of streams.
        data: Vec<String>,
    },
    /// `newParticipantArrived`
    NewParticipantArrived {
        /// The name.
        name: String,
    },
    /// `participantLeft`
    ParticipantLeft {
        /// The name.
        name: String,
    },
    /// `receiveVideoAnswer`
    ReceiveVideoAnswer {
        /// The name.
        name: String,
        /// The SDP answer.
        sdp_answer: String,
    },
    /// The stream as the media server sends it, for a client that asked for that.
    ReceiveVideoOffer {
        /// The name.
        name: String,
        /// The SDP offer.
        sdp_offer: String,
    },
    /// `iceCandidate`
    IceCandidate {
        /// The name.
        name: String,
        /// The candidate-attribute (RFC 8839).
        candidate: Candidate,
    },
    /// From another member, of the connection straight to them.
    Signal {
        /// The sender's name.
        from: String,
        /// The message.
        #[serde(flatten)]
        signal: Signal,
    },
    /// Whether media goes straight to the other member or through the node.
    Mode {
        /// How media goes.
        mode: CallMode,
        /// The reason.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<Relayed>,
    },
    /// `registerResponse`
    RegisterResponse {
        /// `accepted`, or `rejected` and why.
        response: String,
        /// The words.
        message: String,
    },
    /// `incomingCall`
    IncomingCall {
        /// The sender's name.
        from: String,
    },
    /// To the caller.
    CallResponse {
        /// `accepted`, or the rejection in words.
        response: String,
        /// The SDP answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        sdp_answer: Option<String>,
        /// The words.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// To the callee.
    StartCommunication {
        /// The SDP answer.
        sdp_answer: String,
    },
    /// `stopCommunication`
    StopCommunication {
        /// The words.
        message: &'static str,
    },
    /// In a call between two.
    #[serde(rename = "iceCandidate")]
    PairCandidate {
        /// The candidate-attribute (RFC 8839).
        candidate: Candidate,
    },
    /// `playResponse`
    PlayResponse {
        /// `accepted`, or the rejection in words.
        response: &'static str,
        /// The words.
        error: &'static str,
    },
    /// To a node that pulls, before the answer: the nodes that the stream has come through, this one last.
    Route {
        /// The name.
        name: String,
        /// Their ids.
        nodes: Vec<String>,
    },
    /// The member that speaks now.
    Speaker {
        /// The name.
        name: Option<String>,
    },
    /// The tracks of the client's own camera and microphone that are forwarded.
    Enforce {
        /// The audio.
        audio: bool,
        /// The video.
        video: bool,
    },
    /// To the sender of the stream: a viewer decodes nothing of what is sent, and all who watch decode this codec. A
    /// sender that can is to offer the stream anew with it.
    PreferCodec {
        /// The name.
        name: String,
        /// As SDP calls it.
        codec: &'static str,
    },
    /// The room is on another node now.
    Moved {
        /// The address.
        url: String,
    },
    /// `error`
    Error {
        /// The code.
        code: Code,
        /// The words.
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

/// The error codes of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Code {
    /// `unauthorized`: no valid token for that room and name.
    Unauthorized,
    /// `expelled`: the member was kicked.
    Expelled,
    /// `badMessage`: the message can't be read.
    BadMessage,
    /// `badSdp`: the offer can't be answered.
    BadSdp,
    /// `payloadTypes`: the media server has other payload types.
    PayloadTypes,
    /// `noCommonCodec`: sender and viewer have no codec in common.
    NoCommonCodec,
    /// `dtlsFailed`: the DTLS handshake has failed.
    DtlsFailed,
    /// `iceFailed`: there is no path for media, or no longer.
    IceFailed,
    /// `overloaded`: the node has no room for more.
    Overloaded,
    /// `tooMany`: a bound of the client is reached.
    TooMany,
    /// `unavailable`: the media doesn't answer.
    Unavailable,
    /// `replaced`: another socket has taken the name.
    Replaced,
    /// `ended`: the conference is over.
    Ended,
    /// `notLive`: the stream isn't published.
    NotLive,
}

impl Code {
    /// As JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Code::Unauthorized => "unauthorized",
            Code::Expelled => "expelled",
            Code::BadMessage => "badMessage",
            Code::BadSdp => "badSdp",
            Code::PayloadTypes => "payloadTypes",
            Code::NoCommonCodec => "noCommonCodec",
            Code::DtlsFailed => "dtlsFailed",
            Code::IceFailed => "iceFailed",
            Code::Overloaded => "overloaded",
            Code::TooMany => "tooMany",
            Code::Unavailable => "unavailable",
            Code::Replaced => "replaced",
            Code::Ended => "ended",
            Code::NotLive => "notLive",
        }
    }

    /// For developers.
    pub fn words(self) -> &'static str {
        match self {
            Code::Unauthorized => "no valid token for this room and name",
            Code::Expelled => "removed from the conference",
            Code::BadMessage => "not a message that can be answered here",
            Code::BadSdp => "the offer can't be answered",
            Code::PayloadTypes => {
                "payload types that this gateway can't send with: ask for its offer, without sdpOffer"
            }
            Code::NoCommonCodec => "no codec that the sender and this viewer both have",
            Code::DtlsFailed => "the DTLS handshake failed",
            Code::IceFailed => "no media path between client and node",
            Code::Overloaded => "no room for more now",
            Code::TooMany => "more than a client may ask for",
            Code::Unavailable => "not available now",
            Code::Replaced => "joined from elsewhere",
            Code::Ended => "the conference is over",
            Code::NotLive => "nobody sends that now",
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
            Message::OnIceCandidate { name: Some("anna".into()), candidate: Some(candidate) }
        );
        assert_eq!(read(r#"{"id":"leaveRoom"}"#), Message::LeaveRoom);
        assert_eq!(read(r#"{"id":"somethingNew","more":1}"#), Message::Unknown);
    }

    #[test]
    fn the_one_to_one_calls_messages_are_read_as_its_page_sends_them() {
        let call = r#"{"id":"call","from":"anna","to":"ben","sdpOffer":"o"}"#;
        let called = Message::Call { from: Some("anna".into()), to: "ben".into(), sdp_offer: "o".into() };
        assert_eq!(Message::read(call), Ok(called));
        let answer = r#"{"id":"incomingCallResponse","from":"anna","callResponse":"reject","message":"bussy"}"#;
        let answered = Message::IncomingCallResponse {
            from: "anna".into(),
            call_response: "reject".into(),
            sdp_offer: None,
            message: Some("bussy".into()),
        };
        assert_eq!(Message::read(answer), Ok(answered));
        let candidate = r#"{"id":"onIceCandidate","candidate":{"candidate":"c","sdpMid":"0","sdpMLineIndex":0,"__module__":"kurento","__type__":"IceCandidate"}}"#;
        assert!(matches!(Message::read(candidate), Ok(Message::OnIceCandidate { name: None, candidate: Some(_) })));
    }

    #[test]
    fn text_that_is_no_message_is_unreadable() {
        let long =
            format!(r#"{{"id":"onIceCandidate","name":"a","candidate":{{"candidate":"{}"}}}}"#, "x".repeat(2000));
        let huge = r#"{"id":"view","sender":"a","width":99999999,"height":1}"#;
        for text in ["", "x", "[]", "{}", "1", r#"{"id":7}"#, r#"{"id":"joinRoom","name":"a"}"#, &long, huge] {
            assert_eq!(Message::read(text), Err(Unreadable), "{text}");
        }
    }

    #[test]
    fn p2p_message_is_passed_on_unchanged_and_nothing_else() {
        let text = r#"{"id":"signal","to":"ben","description":{"type":"offer","sdp":"v=0"},"more":1}"#;
        let Ok(Message::Signal { to, signal }) = Message::read(text) else { panic!("it is a signal") };
        let passed = Reply::Signal { from: "anna".into(), signal }.text();
        assert_eq!(to, "ben");
        assert_eq!(passed, r#"{"id":"signal","from":"anna","description":{"type":"offer","sdp":"v=0"}}"#);
        let text = r#"{"id":"signal","to":"ben","candidate":null}"#;
        assert!(matches!(Message::read(text), Ok(Message::Signal { signal: Signal::Candidate(None), .. })));
        let long = format!(r#"{{"id":"signal","to":"b","candidate":{{"candidate":"{}"}}}}"#, "x".repeat(2000));
        let kind = r#"{"id":"signal","to":"ben","description":{"type":"rollback","sdp":""}}"#;
        for text in [r#"{"id":"signal","to":"ben"}"#, &long, kind] {
            assert_eq!(Message::read(text), Err(Unreadable), "{text}");
        }
        let reply = Reply::Mode { mode: CallMode::Group, reason: Some(Relayed::IceFailed) };
        assert_eq!(reply.text(), r#"{"id":"mode","mode":"group","reason":"iceFailed"}"#);
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
