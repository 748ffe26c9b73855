//! A WebRTC peer as a browser is one, made of str0m: offers, checks paths, sends made-up frames.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, TcpType};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, Rtc, RtcConfig};

/// A packet that arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub video: bool,
    pub codec: Codec,
    pub seq: u64,
    pub timestamp: u32,
    pub ssrc: Ssrc,
    pub payload: Vec<u8>,
    pub at: Instant,
}

/// The media that a client offers.
#[derive(Clone, Copy)]
pub struct Media {
    pub direction: Direction,
    pub audio: bool,
    pub video: Option<Codec>,
    /// A second codec for the picture, of which the first is sent.
    pub also: Option<Codec>,
    pub layers: &'static [&'static str],
}

impl Media {
    pub const SENDS: Media =
        Media { direction: Direction::SendOnly, audio: true, video: Some(Codec::Vp8), also: None, layers: &[] };
    pub const SIMULCASTS: Media = Media { layers: &["f", "h", "q"], ..Media::SENDS };
    pub const WATCHES: Media =
        Media { direction: Direction::RecvOnly, audio: true, video: Some(Codec::Vp8), also: None, layers: &[] };
    /// Both ways, as in a call between two.
    pub const EXCHANGES: Media =
        Media { direction: Direction::SendRecv, audio: true, video: Some(Codec::Vp8), also: None, layers: &[] };
}

/// Bytes of a frame and its size, from the largest layer to the smallest, as "f", "h" and "q" are offered.
pub const LAYERS: [(usize, (u16, u16)); 3] = [(1_150, (1_280, 720)), (600, (640, 360)), (200, (320, 180))];

pub struct Client {
    pub rtc: Rtc,
    pub address: SocketAddr,
    pub audio: Option<Mid>,
    pub video: Option<Mid>,
    pub pending: Option<SdpPendingOffer>,
    pub offer: String,
    pub received: Vec<Received>,
    pub keyframes_asked: Vec<(Option<Rid>, Instant)>,
    /// The next frame of the layer is to be a key frame.
    pub keyframe_due: Vec<bool>,
    pub connected: bool,
    pub closed: bool,
    /// Whether it asks again for sound that it lacks.
    pub asks_for_sound: bool,
    /// How often sound that it sent was asked for again.
    pub sounds_asked_again: u64,
    /// When it wants to be called; whoever writes to it, sets it back.
    pub timeout: Instant,
    born: Instant,
    pub layers: &'static [&'static str],
    next: Vec<(u64, u32)>,
    next_audio: (u64, u32),
    pub picture: u16,
    /// Whether the first frame was sent, and resending set up.
    resends: bool,
    /// How loud its sound is, in dBov.
    pub level: i8,
}

fn simulcast(layers: &[&str]) -> Option<Simulcast> {
    let mut simulcast = Simulcast::new();
    layers.iter().for_each(|rid| simulcast.add_send_layer(SimulcastLayer::new(rid)));
    (!layers.is_empty()).then_some(simulcast)
}

impl Client {
    pub fn new(media: Media, address: SocketAddr, proto: Protocol, now: Instant) -> Client {
        let second = Duration::from_secs(1);
        let mut config = RtcConfig::new()
            .set_rtp_mode(true)
            .set_stats_interval(Some(second))
            .clear_codecs()
            .enable_opus(true, false);
        for codec in [media.video, media.also].into_iter().flatten() {
            config = match codec {
                Codec::H264 => config.enable_h264(true),
                Codec::Av1 => config.enable_av1(true),
                Codec::Vp9 => config.enable_vp9(true),
                _ => config.enable_vp8(true),
            };
        }
        if media.direction == Direction::SendOnly {
            config = config.enable_bwe(None::<Bitrate>);
        }
        let mut rtc = config.build(now);
        let candidate = match proto {
            Protocol::Udp => Candidate::host(address, proto).unwrap(),
            _ => Candidate::builder().tcp().host(address).tcptype(TcpType::Active).build().unwrap(),
        };
        rtc.add_local_candidate(candidate);
        let mut changes = rtc.sdp_api();
        let audio = media.audio.then(|| changes.add_media(MediaKind::Audio, media.direction, None, None, None));
        let video = media
            .video
            .map(|_| changes.add_media(MediaKind::Video, media.direction, None, None, simulcast(media.layers)));
        let (offer, pending) = changes.apply().expect("media to offer");
        Client {
            rtc,
            address,
            audio,
            video,
            pending: Some(pending),
            offer: offer.to_sdp_string(),
            received: Vec::new(),
            keyframes_asked: Vec::new(),
            keyframe_due: vec![true; media.layers.len().max(1)],
            connected: false,
            closed: false,
            asks_for_sound: false,
            sounds_asked_again: 0,
            timeout: now,
            born: now,
            layers: media.layers,
            next: vec![(100, 1_000); media.layers.len().max(1)],
            next_audio: (7, 3_000),
            picture: 40,
            resends: false,
            level: -30,
        }
    }

    pub fn answered(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).expect("an answer that is SDP");
        let pending = self.pending.take().expect("an offer that waits");
        self.timeout = self.born;
        self.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
    }

    /// The answer to another's offer, in the place of one's own.
    #[allow(dead_code, reason = "nodes without signalling offer nothing to clients")]
    pub fn answers(&mut self, offer: &str) -> String {
        self.pending = None;
        self.timeout = self.born;
        let offer = str0m::change::SdpOffer::from_sdp_string(offer).expect("an offer that is SDP");
        self.rtc.sdp_api().accept_offer(offer).expect("an offer that fits").to_sdp_string()
    }

    /// A new offer on the same connection.
    pub fn restart_ice(&mut self) -> String {
        let mut changes = self.rtc.sdp_api();
        changes.ice_restart(true);
        let (offer, pending) = changes.apply().expect("a restart to offer");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// The client has another address from now on, and knows it.
    pub fn moves_to(&mut self, address: SocketAddr) {
        let old = Candidate::host(self.address, Protocol::Udp).unwrap();
        self.rtc.direct_api().invalidate_candidate(&old);
        self.rtc.add_local_candidate(Candidate::host(address, Protocol::Udp).unwrap());
        self.address = address;
        self.timeout = self.born;
    }

    /// The number of the next frame's first packet.
    pub fn number_from(&mut self, seq: u64) {
        self.next.iter_mut().for_each(|(next, _)| *next = seq);
    }

    pub fn event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected => self.connected = true,
            Event::Closed => self.closed = true,
            Event::MediaEgressStats(stats) if Some(stats.mid) == self.audio => self.sounds_asked_again = stats.nacks,
            Event::KeyframeRequest(request) => {
                let place = request.rid.and_then(|rid| self.layers.iter().position(|layer| *layer == &*rid));
                self.keyframe_due[place.unwrap_or(0)] = true;
                self.keyframes_asked.push((request.rid, now));
            }
            Event::RtpPacket(packet) => {
                let pt = packet.header.payload_type;
                let params = self.rtc.codec_config().params();
                let codec =
                    params.iter().find(|params| params.pt() == pt).expect("a payload type offered").spec().codec;
                if self.asks_for_sound && !codec.is_video() {
                    let ssrc = packet.header.ssrc;
                    if let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc) {
                        stream.suppress_nack(false);
                    }
                }
                self.received.push(Received {
                    video: codec.is_video(),
                    codec,
                    seq: *packet.seq_no,
                    timestamp: packet.header.timestamp,
                    ssrc: packet.header.ssrc,
                    payload: packet.payload.to_vec(),
                    at: now,
                });
            }
            _ => {}
        }
    }

    /// A VP8 frame in one packet of `size` bytes on the layer at this place of those offered.
    pub fn send_layer(&mut self, layer: usize, keyframe: bool, size: usize, (w, h): (u16, u16), now: Instant) {
        if self.video.is_none() || !self.connected {
            return;
        }
        let codec = self.video_codec();
        let payload = match codec {
            Codec::Vp8 => vp8_frame(keyframe, self.picture.wrapping_add(1_000 * layer as u16), size, w, h),
            Codec::H264 => vec![if keyframe { 0x65 } else { 0x41 }; size],
            codec => panic!("no frames of {codec:?} are made here"),
        };
        self.write_video(layer, codec, payload, now);
    }

    /// Any bytes, as video on the only layer.
    pub fn send_payload(&mut self, payload: Vec<u8>, now: Instant) {
        if self.connected {
            self.write_video(0, self.video_codec(), payload, now);
        }
    }

    fn write_video(&mut self, layer: usize, codec: Codec, payload: Vec<u8>, now: Instant) {
        let mid = self.video.expect("a line for video");
        let rid = self.layers.get(layer).map(|rid| Rid::from(*rid));
        let pt = self.pt(mid, codec);
        let (seq, timestamp) = self.next[layer];
        self.next[layer] = (seq + 1, timestamp.wrapping_add(3_000));
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_tx_by_mid(mid, rid).expect("a stream to send on");
        if !std::mem::replace(&mut self.resends, true) {
            // Not held back by a share of resends: browsers aren't.
            stream.set_rtx_cache(500, Duration::from_secs(3), None);
        }
        self.timeout = now;
        stream.write_rtp(RtpWrite::new(pt, seq.into(), timestamp, now, payload).marker(true).nackable(true));
    }

    /// A frame on each layer, those asked for as key frames; half a frame's size, so that each is one packet.
    pub fn send_frames(&mut self, now: Instant) {
        self.picture = self.picture.wrapping_add(1);
        for (place, (bytes, size)) in LAYERS.into_iter().enumerate().take(self.layers.len().max(1)) {
            let keyframe = std::mem::take(&mut self.keyframe_due[place]);
            self.send_layer(place, keyframe, bytes, size, now);
        }
    }

    pub fn send_audio(&mut self, level: i8, now: Instant) {
        let (Some(mid), true) = (self.audio, self.connected) else { return };
        let pt = self.pt(mid, Codec::Opus);
        let (seq, timestamp) = self.next_audio;
        self.next_audio = (seq + 1, timestamp.wrapping_add(960));
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_tx_by_mid(mid, None).expect("a stream to send on");
        let mut write = RtpWrite::new(pt, seq.into(), timestamp, now, vec![0xaa; 80]);
        let extensions = str0m::media::ExtensionValues {
            audio_level: Some(level),
            voice_activity: Some(level > -50),
            ..Default::default()
        };
        write = write.ext_vals(extensions);
        self.timeout = now;
        stream.write_rtp(write);
    }

    fn video_codec(&self) -> Codec {
        let params = self.rtc.codec_config().params();
        params.iter().map(|params| params.spec().codec).find(Codec::is_video).expect("a video codec")
    }

    fn pt(&self, mid: Mid, codec: Codec) -> str0m::media::Pt {
        let agreed = self.rtc.media(mid).expect("a media line").remote_pts();
        let params = self.rtc.codec_config().params();
        let params = params.iter().find(|p| p.spec().codec == codec && agreed.contains(&p.pt()));
        params.expect("a codec agreed on").pt()
    }

    /// The CNAMEs that the sender's reports give what was received (RFC 3550 section 6.5.1).
    #[allow(dead_code, reason = "the node's own tests ask for them")]
    pub fn senders(&mut self) -> Vec<String> {
        let sources: std::collections::BTreeSet<u32> = self.received.iter().map(|packet| *packet.ssrc).collect();
        let mut direct = self.rtc.direct_api();
        let name = |ssrc: &u32| direct.stream_rx(&Ssrc::from(*ssrc))?.cname().map(str::to_owned);
        sources.iter().filter_map(name).collect()
    }

    pub fn frames(&self) -> Vec<&Received> {
        self.received.iter().filter(|packet| packet.video).collect()
    }

    pub fn sounds(&self) -> Vec<&Received> {
        self.received.iter().filter(|packet| !packet.video).collect()
    }

    pub fn asked_within(&self, from: Instant, time: Duration) -> usize {
        self.keyframes_asked.iter().filter(|(_, at)| *at >= from && *at < from + time).count()
    }
}

/// A packet that is a whole VP8 frame (RFC 7741): a descriptor with a 15 bit picture number, the frame tag, and in key
/// frames the start code and size.
pub fn vp8_frame(keyframe: bool, picture: u16, size: usize, width: u16, height: u16) -> Vec<u8> {
    let mut payload = vec![0x90, 0x80, 0x80 | (picture >> 8) as u8, picture as u8, u8::from(!keyframe), 0, 0];
    if keyframe {
        payload.extend([0x9d, 0x01, 0x2a]);
        payload.extend(width.to_le_bytes());
        payload.extend(height.to_le_bytes());
    }
    payload.resize(size.max(payload.len()), 0);
    payload
}
