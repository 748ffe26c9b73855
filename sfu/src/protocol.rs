//! The messages between signalling and a media node, as values, so that either side is tested without the other. SDP
//! (RFC 8866, offer and answer as RFC 8829 has them) and ICE candidates are texts here.

use std::sync::Arc;

/// A room's name. Signalling gives each of its room spaces a prefix of its own: a node knows one space only.
pub type RoomId = Arc<str>;
/// A member's name within a room.
pub type MemberId = Arc<str>;

/// One peer connection; numbered by signalling, never used again while the node lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u64);

/// Which of a member's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Camera and microphone.
    Camera,
    /// A shared screen, with or without its sound.
    Screen,
}

/// A stream within its room: at most one audio and one video track.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// The member that sends it.
    pub member: MemberId,
    /// Camera or screen.
    pub source: Source,
}

/// A command of signalling for the node. `room`, `endpoint` and `stream` name what it is about; `offer` is SDP.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum Command {
    /// A client offers to send this stream. It takes the place of an endpoint that sent the same stream before.
    /// Answered by [`Notice::Answer`] or [`Notice::Refused`].
    Publish { room: RoomId, endpoint: EndpointId, stream: StreamId, offer: String },
    /// A client offers to receive the stream; it may be published later, stop, and be published again: the endpoint
    /// stays. Answered by [`Notice::Answer`] or [`Notice::Refused`]. With an empty offer, a media server that can't
    /// answer any client's is to offer by itself ([`Notice::Offer`], completed by [`Command::Answered`]).
    Subscribe { room: RoomId, endpoint: EndpointId, viewer: MemberId, stream: StreamId, offer: String },
    /// Another node offers to receive the stream, by its [`Command::Pull`]. As [`Command::Subscribe`]; media servers
    /// that have a way of their own between them, which is no client's, take that offer here.
    Forward { room: RoomId, endpoint: EndpointId, viewer: MemberId, stream: StreamId, offer: String },
    /// A client offers to send the stream and to receive another on the same connection, as in a call between two.
    /// Answered as the other offers are.
    SendRecv { room: RoomId, endpoint: EndpointId, stream: StreamId, other: StreamId, offer: String },
    /// The node is to offer to receive a stream that another node has, and publish it here as `stream`: answered by
    /// [`Notice::Offer`], completed by [`Command::Answered`]. A media server that must know what comes before it can
    /// take it says a second offer then, answered likewise.
    Pull { room: RoomId, endpoint: EndpointId, stream: StreamId },
    /// The answer to [`Notice::Offer`].
    Answered { endpoint: EndpointId, answer: String },
    /// A new offer on a connection that exists: ICE restart, or other directions. Answered as the first was.
    Renegotiate { endpoint: EndpointId, offer: String },
    /// The client's candidate (RFC 8839 candidate-attribute, `candidate:` before it or not); empty: there are no more.
    Candidate { endpoint: EndpointId, candidate: String },
    /// Ends the connection. Unknown ones are ignored.
    Close { endpoint: EndpointId },
    /// From now on the stream's audio or video isn't forwarded, whatever its client sends, or is again. Without a word
    /// on it both are. Forgotten when who sends the stream ends.
    SetForwarding { room: RoomId, stream: StreamId, audio: bool, video: bool },
    /// The size, in pixels, at which the viewer shows the endpoint's video; 0 x 0: not at all, so none is sent.
    View { endpoint: EndpointId, width: u32, height: u32 },
    /// Ends all of the room's connections and forgets its permits.
    CloseRoom { room: RoomId },
}

/// A notice of the node for signalling.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// All of the node's candidates are in it.
    Answer {
        /// The connection.
        endpoint: EndpointId,
        /// The SDP answer.
        answer: String,
    },
    /// The node's offer, to be completed by [`Command::Answered`].
    Offer {
        /// The connection.
        endpoint: EndpointId,
        /// The SDP offer.
        offer: String,
    },
    /// A command that wasn't carried out.
    Refused {
        /// The connection.
        endpoint: EndpointId,
        /// The reason.
        refusal: Refusal,
    },
    /// A candidate of the node that came after its answer.
    Candidate {
        /// The connection.
        endpoint: EndpointId,
        /// The candidate-attribute (RFC 8839).
        candidate: String,
        /// The section's `a=mid`.
        mid: String,
        /// The section's number, from 0.
        mline: u32,
    },
    /// ICE and DTLS are done: media can flow.
    Connected {
        /// The connection.
        endpoint: EndpointId,
    },
    /// The viewer can't be sent what the publisher sends: they have no codec for it in common. Said once.
    NoCommonCodec {
        /// The viewer's connection.
        viewer: EndpointId,
        /// The publisher's connection.
        publisher: EndpointId,
    },
    /// The connection is over, and not by a [`Command`].
    Closed {
        /// The connection.
        endpoint: EndpointId,
        /// The reason.
        reason: Reason,
    },
    /// The active speaker; `None`: nobody. Sent on change only.
    Speaker {
        /// The room.
        room: RoomId,
        /// The member that speaks.
        member: Option<MemberId>,
    },
}

/// The reason why a command wasn't done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No SDP that this node can answer: ill-formed, too large, without media, or with no codec in common.
    BadSdp,
    /// The client's payload types are not those that the media server sends with; it may answer the server's offer.
    PayloadTypes,
    /// The endpoint's number is in use or unknown.
    BadEndpoint,
    /// The node, or the room's thread, has no room for more packets: later, or at another node.
    Overloaded,
    /// The media server behind the node didn't answer as it must.
    Unavailable,
}

/// The reason why a connection ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Another endpoint publishes the stream now.
    Replaced,
    /// ICE found no path, or lost it.
    IceFailed,
    /// There was a path, and DTLS came to nothing: a certificate or a version that one side doesn't take.
    DtlsFailed,
    /// The other side ended it (DTLS close).
    Hangup,
    /// Video or connections shed under load.
    Overload,
}

/// How busy a node is, by measurement.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Packets forwarded in the last second, over all threads.
    pub packets_per_s: u64,
    /// Its bound, in packets a second.
    pub packets_per_s_max: u64,
    /// The largest share of any bound: each thread's packets and connections, the node's rooms. 0 to 1, from where on
    /// something is refused (or more, when it is overloaded).
    pub busiest: f64,
    /// Open rooms.
    pub rooms: u64,
    /// Open connections.
    pub endpoints: u64,
}
