//! One peer connection: str0m's state, and what the node sends or takes on it.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::format::CodecConfig;
use str0m::media::{MediaKind, Mid, Rid};
use str0m::net::{Protocol, TcpType};
use str0m::rtp::Ssrc;
use str0m::{Candidate, Rtc, RtcConfig};

use crate::clock::SenderClock;
use crate::codec;
use crate::keyframes::Throttle;
use crate::layers::{Choice, Shed, View};
use crate::protocol::EndpointId;
use crate::rate_counter::{Allowance, RateCounter};
use crate::resends::{RESEND_AGE, Resends};
use crate::room::StreamKey;
use crate::sdp::Wants;
use crate::track::{Arrived, Track, reported};

/// Packets of video kept for a viewer to answer NACKs from: a second of a 1.5 Mbit/s layer is about 160, of a screen's
/// key frame some hundred at once.
const RESEND_VIDEO: usize = 600;
/// The share of resent packets in all that are sent, from which on no more are resent: the path is full, not lossy.
/// str0m's own 15 % is some packets a second for a small layer, fewer than a lossy path needs.
const RESEND_SHARE: f32 = 0.4;

/// Owned by the worker.
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) stream: StreamKey,
    pub(crate) rtc: Rtc,
    pub(crate) role: Role,
    /// ICE and DTLS are done.
    pub(crate) connected: bool,
    /// ICE has found a path, once.
    pub(crate) has_path: bool,
    /// When ICE or DTLS has failed, if it doesn't come (back) until then.
    pub(crate) lost_at: Option<Instant>,
    /// When str0m wants to be called, as the worker's timers have it.
    pub(crate) timer: Option<Instant>,
    /// Something was written: to be drained before the worker returns.
    pub(crate) dirty: bool,
    pub(crate) candidates: usize,
    /// Names the stream that goes out on it, and its sender: one for all tracks. Empty until there are any.
    pub(crate) identity: String,
    /// The address of the socket that is this endpoint's alone.
    pub(crate) own_socket: Option<SocketAddr>,
    /// The packets that the viewer may ask for again without RTX.
    pub(crate) resends: Option<Resends>,
}

pub(crate) enum Role {
    /// A client or another node sends the stream here.
    Publisher(Box<Publisher>),
    /// The stream goes out to a viewer.
    Subscriber(Box<Subscriber>),
    /// Both on one connection: a client sends the stream here and views another.
    Both(Box<Both>),
}

pub(crate) struct Both {
    pub(crate) publisher: Publisher,
    pub(crate) subscriber: Subscriber,
    /// The stream that goes out to the client.
    pub(crate) viewed: StreamKey,
}

impl Role {
    pub(crate) fn wants(&self) -> Wants {
        Wants { receives: self.publisher().is_some(), sends: self.subscriber().is_some() }
    }

    pub(crate) fn publisher(&self) -> Option<&Publisher> {
        match self {
            Role::Publisher(publisher) => Some(publisher),
            Role::Both(both) => Some(&both.publisher),
            Role::Subscriber(_) => None,
        }
    }

    pub(crate) fn publisher_mut(&mut self) -> Option<&mut Publisher> {
        match self {
            Role::Publisher(publisher) => Some(publisher),
            Role::Both(both) => Some(&mut both.publisher),
            Role::Subscriber(_) => None,
        }
    }

    pub(crate) fn subscriber(&self) -> Option<&Subscriber> {
        match self {
            Role::Subscriber(subscriber) => Some(subscriber),
            Role::Both(both) => Some(&both.subscriber),
            Role::Publisher(_) => None,
        }
    }

    pub(crate) fn subscriber_mut(&mut self) -> Option<&mut Subscriber> {
        match self {
            Role::Subscriber(subscriber) => Some(subscriber),
            Role::Both(both) => Some(&mut both.subscriber),
            Role::Publisher(_) => None,
        }
    }
}

pub(crate) struct Publisher {
    pub(crate) audio: Option<Mid>,
    /// The SSRC whose lost sound is asked for again.
    pub(crate) asked_again: Option<Ssrc>,
    pub(crate) video: Option<Video>,
    pub(crate) clock: SenderClock,
    /// The node's own offer that waits for its answer.
    pub(crate) pending: Option<SdpPendingOffer>,
    pub(crate) allowance: Allowance,
    /// Packets that came and were allowed.
    pub(crate) packets: RateCounter,
}

impl Publisher {
    pub(crate) fn new(packets_per_s_max: u64, now: Instant) -> Publisher {
        Publisher {
            audio: None,
            asked_again: None,
            video: None,
            clock: SenderClock::default(),
            pending: None,
            allowance: Allowance::new(packets_per_s_max, now),
            packets: RateCounter::new(now),
        }
    }
}

/// A publisher's video track.
pub(crate) struct Video {
    pub(crate) mid: Mid,
    /// Simulcast layers as offered, or the only one.
    pub(crate) layers: Vec<Layer>,
    /// The layer of an SSRC: its packets name the layer at the beginning only.
    sources: Vec<(Ssrc, usize)>,
}

/// SSRCs of one track that are remembered: its layers', and those of restarted encoders.
const SOURCES_MAX: usize = 16;

pub(crate) struct Layer {
    pub(crate) rid: Option<Rid>,
    pub(crate) throttle: Throttle,
    /// Of its last key frame.
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) bytes: RateCounter,
}

#[derive(Default)]
pub(crate) struct Subscriber {
    pub(crate) audio: Option<Track>,
    pub(crate) video: Option<Track>,
    /// How large the viewer shows it, once they said.
    pub(crate) view: Option<View>,
    /// Bits in a second that the path carries, once that is known.
    pub(crate) estimate: Option<u64>,
    pub(crate) shed: Shed,
    /// The publisher offers more than one layer.
    pub(crate) simulcast: bool,
    /// The place, among its publisher's layers, of the one that the viewer is to get.
    pub(crate) target: Option<usize>,
    /// When the viewer last got a smaller layer.
    pub(crate) stepped_down: Option<Instant>,
    /// The layer that the bandwidth estimator was last asked to probe for.
    pub(crate) probes: Option<Choice>,
}

/// Endpoints by their numbers. Signalling gives those, one after the other: nobody can choose them so that they collide.
pub(crate) type Endpoints = HashMap<EndpointId, Endpoint, BuildHasherDefault<NumberHasher>>;

#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 << 8 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        /// 2^64 divided by the golden ratio: spreads numbers that follow each other (Knuth, volume 3, 6.4).
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = number.wrapping_mul(SPREAD);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Endpoint {
    pub(crate) fn new(id: EndpointId, stream: StreamKey, rtc: Rtc, role: Role, lost_at: Instant) -> Endpoint {
        Endpoint {
            id,
            stream,
            rtc,
            role,
            connected: false,
            has_path: false,
            lost_at: Some(lost_at),
            timer: None,
            dirty: false,
            candidates: 0,
            identity: String::new(),
            own_socket: None,
            resends: None,
        }
    }

    /// Takes down the media lines that serve the endpoint's role, from the node's own answer: str0m tells of them only
    /// when DTLS is done.
    pub(crate) fn note_media(&mut self, answer: &SdpAnswer, now: Instant) {
        for line in answer.media_lines.iter().filter(|line| line.typ.is_media()) {
            let Some(media) = self.rtc.media(line.mid()) else { continue };
            if media.disabled() {
                continue;
            }
            let (mid, kind, direction) = (media.mid(), media.kind(), media.direction());
            if self.identity.is_empty() {
                media.cname().clone_into(&mut self.identity);
            }
            if direction.is_receiving() {
                self.add_media(mid, kind, line.rids(), now);
            }
            if direction.is_sending() {
                self.add_track(mid, kind, now);
            }
        }
    }

    /// Notes a media line on which the endpoint's stream comes in; the first of each kind counts.
    pub(crate) fn add_media(&mut self, mid: Mid, kind: MediaKind, layers: Vec<Rid>, now: Instant) {
        let Some(publisher) = self.role.publisher_mut() else { return };
        match kind {
            MediaKind::Audio => drop(publisher.audio.get_or_insert(mid)),
            MediaKind::Video => drop(publisher.video.get_or_insert_with(|| Video::new(mid, layers, now))),
        }
    }

    /// The same of one on which a stream goes out.
    fn add_track(&mut self, mid: Mid, kind: MediaKind, now: Instant) {
        let Some(subscriber) = self.role.subscriber_mut() else { return };
        let track = match kind {
            MediaKind::Audio => &mut subscriber.audio,
            MediaKind::Video => &mut subscriber.video,
        };
        track.get_or_insert_with(|| Track::new(mid, codec::clock_rate(kind), now));
        // A layer is chosen that the path carries; held back in the node it would only come late.
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
            stream.set_unpaced(true);
            if kind == MediaKind::Video {
                stream.set_rtx_cache(RESEND_VIDEO, RESEND_AGE, Some(RESEND_SHARE));
            }
        }
    }

    /// The stream that goes out on it, where one does.
    pub(crate) fn viewed(&self) -> StreamKey {
        match &self.role {
            Role::Both(both) => both.viewed,
            Role::Publisher(_) | Role::Subscriber(_) => self.stream,
        }
    }

    /// Layers of the video that it publishes.
    pub(crate) fn layers(&self) -> usize {
        self.role.publisher().and_then(|publisher| publisher.video.as_ref()).map_or(0, |video| video.layers.len())
    }

    /// Whether the publisher may send one more packet now.
    pub(crate) fn may_send(&mut self, now: Instant) -> bool {
        self.role.publisher_mut().is_some_and(|publisher| {
            let allowed = publisher.allowance.take(now);
            publisher.packets.add(u64::from(allowed));
            allowed
        })
    }

    /// Sound without RTX is asked for again too, where the publisher takes that.
    pub(crate) fn ask_again_for(&mut self, ssrc: Ssrc) {
        let Some(publisher) = self.role.publisher_mut() else { return };
        if publisher.asked_again.replace(ssrc) == Some(ssrc) {
            return;
        }
        if let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc) {
            stream.suppress_nack(false);
        }
    }

    /// When the packet was captured, as far as the publisher's reports tell.
    pub(crate) fn captured(&mut self, arrived: &Arrived<'_>) -> Instant {
        let (packet, rate) = (arrived.packet, arrived.spec.clock_rate.get());
        match self.role.publisher_mut() {
            Some(publisher) => {
                publisher.clock.captured(reported(packet), packet.header.timestamp, rate, packet.timestamp)
            }
            None => packet.timestamp,
        }
    }

    /// The place of the layer that the packet is of, which is measured by the way. `None`: of no layer that was offered.
    pub(crate) fn layer_of(&mut self, arrived: &Arrived<'_>) -> Option<usize> {
        let video = self.role.publisher_mut()?.video.as_mut()?;
        let ssrc = arrived.packet.header.ssrc;
        let place = match video.sources.iter().find(|(source, _)| *source == ssrc) {
            Some((_, place)) => *place,
            None => {
                let rid = self.rtc.direct_api().stream_rx(&ssrc)?.rid();
                let place = video.layers.iter().position(|layer| layer.rid == rid)?;
                if video.sources.len() == SOURCES_MAX {
                    video.sources.remove(0);
                }
                video.sources.push((ssrc, place));
                // Its size is in a key frame.
                video.layers[place].throttle.want();
                place
            }
        };
        let layer = &mut video.layers[place];
        layer.bytes.add(arrived.packet.payload.len() as u64);
        if arrived.starts_keyframe {
            layer.throttle.came();
            layer.size = codec::frame_size(arrived.spec.codec, &arrived.packet.payload).or(layer.size);
        }
        Some(place)
    }

    /// Whether anything can be sent or taken: a line of audio or video with a codec that both sides have.
    pub(crate) fn has_media(&self) -> bool {
        self.role.publisher().is_some_and(|publisher| publisher.audio.is_some() || publisher.video.is_some())
            || self.role.subscriber().is_some_and(|viewer| viewer.audio.is_some() || viewer.video.is_some())
    }
}

impl Video {
    fn new(mid: Mid, layers: Vec<Rid>, now: Instant) -> Video {
        let layer = |rid| Layer { rid, throttle: Throttle::default(), size: None, bytes: RateCounter::new(now) };
        let layers = match layers.is_empty() {
            true => vec![layer(None)],
            false => layers.into_iter().map(|rid| layer(Some(rid))).collect(),
        };
        Video { mid, layers, sources: Vec::new() }
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

/// The side that measures the capacity of a connection's path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path {
    /// The other side, which sends: it is told of each packet's arrival.
    Theirs,
    /// This node, beginning with that.
    Estimated(Bitrate),
    /// Nobody: there is nothing to choose.
    Unknown,
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

    /// `tells_rtcp`: the worker is to get what the other side reports, at the price of a copy of each packet.
    pub(crate) fn rtc(&self, ice: Ice, path: Path, codecs: CodecConfig, tells_rtcp: bool, now: Instant) -> Rtc {
        let estimate = match path {
            Path::Estimated(first) => Some(first),
            Path::Theirs | Path::Unknown => None,
        };
        seed();
        let mut config = RtcConfig::new()
            .set_crypto_provider(Arc::clone(&self.crypto))
            .set_dtls_cert(self.certificate.clone())
            .set_ice_lite(ice == Ice::Lite)
            .set_rtp_mode(true)
            .enable_raw_packets(tells_rtcp)
            .set_rtcp_report_interval_audio(Duration::from_secs(2))
            .enable_bwe(estimate);
        *config.codec_config() = codecs;
        let config = match path {
            Path::Unknown => config.set_extension_map(codec::extensions_unestimated()),
            _ => config,
        };
        config.build(now)
    }
}

/// Unpredictable, from the system's randomness: a keyed hash (SipHash) under keys of each call's own.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// str0m draws ICE passwords from a generator that isn't made for secrets: from what one client is shown of it, the
/// next clients' could be computed. Each connection begins it anew.
pub(crate) fn seed() {
    fastrand::seed(random());
}

/// A host candidate at this address; `None` for addresses no client could use.
pub(crate) fn host_candidate(proto: Protocol, address: SocketAddr) -> Option<Candidate> {
    match proto {
        Protocol::Udp => Candidate::host(address, proto).ok(),
        _ => Candidate::builder().tcp().host(address).tcptype(TcpType::Passive).build().ok(),
    }
}
