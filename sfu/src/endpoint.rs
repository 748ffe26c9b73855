//! One peer connection: str0m's state, and what the node sends or takes on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::media::{MediaKind, Mid, Rid};
use str0m::net::{Protocol, TcpType};
use str0m::{Candidate, Rtc, RtcConfig};

use crate::codec;
use crate::keyframes::Throttle;
use crate::room::StreamKey;
use crate::track::Track;
use crate::vocabulary::EndpointId;

/// Packets of video kept for a viewer to answer NACKs from: a second of a 1.5 Mbit/s layer is about 160, of a screen's
/// key frame some hundred at once.
const RESEND_VIDEO: usize = 600;

/// Owned by the worker.
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) stream: StreamKey,
    pub(crate) rtc: Rtc,
    pub(crate) role: Role,
    /// ICE and DTLS are done.
    pub(crate) connected: bool,
    /// When ICE has failed, if it doesn't come (back) until then.
    pub(crate) lost_at: Option<Instant>,
    /// When str0m wants to be called, as the worker's timers have it.
    pub(crate) timer: Option<Instant>,
    /// Something was written: to be drained before the worker returns.
    pub(crate) dirty: bool,
    pub(crate) candidates: usize,
    /// The address of the socket that is this endpoint's alone.
    pub(crate) own_socket: Option<SocketAddr>,
}

pub(crate) enum Role {
    /// A client or another node sends the stream here.
    Publisher(Publisher),
    /// The stream goes out to a viewer.
    Subscriber(Box<Subscriber>),
}

#[derive(Default)]
pub(crate) struct Publisher {
    pub(crate) audio: Option<Mid>,
    pub(crate) video: Option<Video>,
    /// The node's own offer that waits for its answer.
    pub(crate) pending: Option<SdpPendingOffer>,
}

/// A publisher's video track.
pub(crate) struct Video {
    pub(crate) mid: Mid,
    /// Simulcast layers, as offered: none when the track has one only.
    pub(crate) layers: Vec<Layer>,
}

pub(crate) struct Layer {
    pub(crate) rid: Option<Rid>,
    pub(crate) throttle: Throttle,
}

#[derive(Default)]
pub(crate) struct Subscriber {
    pub(crate) audio: Option<Track>,
    pub(crate) video: Option<Track>,
}

impl Endpoint {
    pub(crate) fn new(id: EndpointId, stream: StreamKey, rtc: Rtc, role: Role, lost_at: Instant) -> Endpoint {
        Endpoint {
            id,
            stream,
            rtc,
            role,
            connected: false,
            lost_at: Some(lost_at),
            timer: None,
            dirty: false,
            candidates: 0,
            own_socket: None,
        }
    }

    /// Takes down the media lines that serve the endpoint's role, from the node's own answer: str0m tells of them only
    /// when DTLS is done.
    pub(crate) fn note_media(&mut self, answer: &SdpAnswer) {
        for line in answer.media_lines.iter().filter(|line| line.typ.is_media()) {
            let Some(media) = self.rtc.media(line.mid()) else { continue };
            let serves = match &self.role {
                Role::Publisher(_) => media.direction().is_receiving(),
                Role::Subscriber(_) => media.direction().is_sending(),
            };
            if serves && !media.disabled() {
                let (mid, kind) = (media.mid(), media.kind());
                self.add_media(mid, kind, line.rids());
            }
        }
    }

    /// Notes a media line that was negotiated; the first of each kind counts.
    pub(crate) fn add_media(&mut self, mid: Mid, kind: MediaKind, layers: Vec<Rid>) {
        match (&mut self.role, kind) {
            (Role::Publisher(publisher), MediaKind::Audio) => {
                publisher.audio.get_or_insert(mid);
            }
            (Role::Publisher(publisher), MediaKind::Video) => {
                publisher.video.get_or_insert_with(|| Video::new(mid, layers));
            }
            (Role::Subscriber(subscriber), MediaKind::Audio) => {
                subscriber.audio.get_or_insert_with(|| Track::new(mid, codec::clock_rate(kind)));
            }
            (Role::Subscriber(subscriber), MediaKind::Video) => {
                subscriber.video.get_or_insert_with(|| Track::new(mid, codec::clock_rate(kind)));
            }
        }
    }

    /// Whether anything can be sent or taken: a line of audio or video with a codec that both sides have.
    pub(crate) fn has_media(&self) -> bool {
        match &self.role {
            Role::Publisher(publisher) => publisher.audio.is_some() || publisher.video.is_some(),
            Role::Subscriber(subscriber) => subscriber.audio.is_some() || subscriber.video.is_some(),
        }
    }
}

impl Video {
    fn new(mid: Mid, layers: Vec<Rid>) -> Video {
        let layer = |rid| Layer { rid, throttle: Throttle::default() };
        let layers = match layers.is_empty() {
            true => vec![layer(None)],
            false => layers.into_iter().map(|rid| layer(Some(rid))).collect(),
        };
        Video { mid, layers }
    }
}

/// Makes the peer connections of a worker: all with one certificate, whose key would cost more to make than all else.
pub(crate) struct Factory {
    crypto: Arc<CryptoProvider>,
    certificate: DtlsCert,
}

/// Where a new connection stands towards ICE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ice {
    /// The other side checks the paths; this node answers only (RFC 8445, 2.5).
    Lite,
    /// This node checks: the other side is lite.
    Full,
}

impl Factory {
    /// # Errors
    /// When the system gives no randomness for the certificate's key.
    pub(crate) fn new() -> std::io::Result<Factory> {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = crypto
            .dtls_provider
            .generate_certificate()
            .ok_or_else(|| std::io::Error::other("no certificate for DTLS could be made"))?;
        Ok(Factory { crypto, certificate })
    }

    pub(crate) fn rtc(&self, ice: Ice, estimate: Option<Bitrate>, now: Instant) -> Rtc {
        let config = RtcConfig::new()
            .set_crypto_provider(Arc::clone(&self.crypto))
            .set_dtls_cert(self.certificate.clone())
            .set_ice_lite(ice == Ice::Lite)
            .set_rtp_mode(true)
            .set_send_buffer_video(RESEND_VIDEO)
            .set_rtcp_report_interval_audio(Duration::from_secs(2))
            .enable_bwe(estimate);
        codec::enable(config).build(now)
    }
}

/// A host candidate at this address; `None` for addresses no client could use.
pub(crate) fn host_candidate(proto: Protocol, address: SocketAddr) -> Option<Candidate> {
    match proto {
        Protocol::Udp => Candidate::host(address, proto).ok(),
        _ => Candidate::builder().tcp().host(address).tcptype(TcpType::Passive).build().ok(),
    }
}
