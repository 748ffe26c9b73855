//! A client of a media server: str0m connects, decrypts and answers (receiver reports, NACK, transport-cc) as a browser
//! does; what came is counted from the packets' headers, before that.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, ExtensionValues, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// 1.5 Mbit/s: 30 frames a second of six packets.
const FRAME: Duration = Duration::from_micros(33_333);
const PACKETS_OF_FRAME: u64 = 6;
const PACKET_BYTES: usize = 1_042;
/// A browser's pacer lets two such packets go every 5 ms.
const PACED: u64 = 2;
const PACE: Duration = Duration::from_millis(5);
const SOUND: Duration = Duration::from_millis(20);
const SOUND_BYTES: usize = 80;
/// Ticks of the RTP clocks between frames and between sounds.
const FRAME_TICKS: u32 = 3_000;
const SOUND_TICKS: u32 = 960;

/// Packets of one kind of media that arrived, and those that should have arrived, by the server's packet numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    pub received: u64,
    pub expected: u64,
}

impl Count {
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    pub fn lost_percent(&self) -> f64 {
        100.0 * self.lost() as f64 / self.expected.max(1) as f64
    }

    pub fn add(&mut self, other: Count) {
        self.received += other.received;
        self.expected += other.expected;
    }
}

/// The numbers of one SSRC.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    highest: u16,
    count: Count,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Audio,
    Video,
    /// Resent packets and padding: not what was forwarded.
    Other,
}

pub struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    audio: Option<Mid>,
    video: Option<Mid>,
    pending: Option<SdpPendingOffer>,
    offer: String,
    pub connected: bool,
    timeout: Instant,
    numbers: HashMap<u32, (Kind, Numbers)>,
    sending: Option<Sending>,
}

/// How far a publisher is in its stream.
struct Sending {
    begun: Instant,
    videos: u64,
    sounds: u64,
    keyframe_due: bool,
    packet: Arc<[u8]>,
    sound: Arc<[u8]>,
}

fn config() -> RtcConfig {
    RtcConfig::new().set_rtp_mode(true).clear_codecs().enable_opus(true, false).enable_vp8(true)
}

impl Peer {
    /// One that offers to send or to receive; its socket is at the address.
    pub fn offers(at: SocketAddr, direction: Direction) -> Peer {
        let mut peer = Peer::answers(at);
        let mut changes = peer.rtc.sdp_api();
        peer.audio = Some(changes.add_media(MediaKind::Audio, direction, None, None, None));
        peer.video = Some(changes.add_media(MediaKind::Video, direction, None, None, None));
        let (offer, pending) = changes.apply().expect("media to offer");
        (peer.offer, peer.pending) = (offer.to_sdp_string(), Some(pending));
        peer
    }

    /// One that is offered what it gets.
    pub fn answers(at: SocketAddr) -> Peer {
        let socket = UdpSocket::bind(at).expect("a free port");
        socket.set_nonblocking(true).expect("a socket");
        let local = socket.local_addr().expect("it is bound");
        let now = Instant::now();
        let mut rtc = config().build(now);
        rtc.add_local_candidate(Candidate::host(local, Protocol::Udp).expect("an address of this machine"));
        Peer {
            rtc,
            socket,
            local,
            audio: None,
            video: None,
            pending: None,
            offer: String::new(),
            connected: false,
            timeout: now,
            numbers: HashMap::new(),
            sending: None,
        }
    }

    pub fn offer(&self) -> &str {
        &self.offer
    }

    pub fn answered(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).expect("an answer that is SDP");
        let pending = self.pending.take().expect("an offer that waits");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
        self.timeout = Instant::now();
    }

    pub fn answer(&mut self, offer: &str) -> String {
        let offer = SdpOffer::from_sdp_string(offer).expect("an offer that is SDP");
        let answer = self.rtc.sdp_api().accept_offer(offer).expect("an offer that can be taken");
        self.timeout = Instant::now();
        answer.to_sdp_string()
    }

    /// Counts anew.
    pub fn mark(&mut self) {
        self.numbers.values_mut().for_each(|(_, numbers)| numbers.count = Count::default());
    }

    /// Sound and video since the mark.
    pub fn counts(&self) -> [Count; 2] {
        [Kind::Audio, Kind::Video].map(|kind| {
            let mut sum = Count::default();
            self.numbers.values().filter(|(of, _)| *of == kind).for_each(|(_, numbers)| sum.add(numbers.count));
            sum
        })
    }

    /// Takes what came and says what is due; waits for nothing.
    pub fn poll(&mut self, now: Instant) {
        let mut buffer = [0; 2_048];
        while let Ok((length, source)) = self.socket.recv_from(&mut buffer) {
            self.count(&buffer[..length]);
            if let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, &buffer[..length]) {
                self.rtc.handle_input(Input::Receive(now, receive)).expect("what a media server sends");
                self.drain();
            }
        }
        if self.timeout <= now {
            self.rtc.handle_input(Input::Timeout(now)).expect("a connection that lives");
            self.drain();
        }
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().expect("a connection that lives") {
                Output::Transmit(transmit) => {
                    // Lost as on any network where the buffer is full.
                    let _ = self.socket.send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::KeyframeRequest(_)) => {
                    self.sending.iter_mut().for_each(|sending| sending.keyframe_due = true);
                }
                Output::Event(_) => {}
                Output::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
            }
        }
    }

    fn count(&mut self, bytes: &[u8]) {
        // RFC 7983, 7: RTP and RTCP; RFC 5761, 4: not RTCP.
        if bytes.len() < 12 || !(128..192).contains(&bytes[0]) || (64..96).contains(&(bytes[1] & 0x7f)) {
            return;
        }
        let seq = u16::from_be_bytes([bytes[2], bytes[3]]);
        let ssrc = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let Some((_, numbers)) = self.numbers.get_mut(&ssrc) else {
            let kind = kind(&self.rtc, bytes[1] & 0x7f);
            let numbers = Numbers { highest: seq, count: Count { received: 1, expected: 1 } };
            self.numbers.insert(ssrc, (kind, numbers));
            return;
        };
        let ahead = seq.wrapping_sub(numbers.highest);
        numbers.count.received += 1;
        if ahead < 1 << 15 {
            numbers.highest = seq;
            numbers.count.expected += u64::from(ahead);
        }
    }

    /// Sends what a browser would have sent until now.
    pub fn send(&mut self, now: Instant) {
        let sending = self.sending.get_or_insert_with(|| Sending::new(now));
        let passed = now.saturating_duration_since(sending.begun);
        let mut wrote = false;
        while sending.next_video() <= passed {
            let (first, marker) = (sending.videos.is_multiple_of(PACKETS_OF_FRAME), sending.ends_frame());
            let payload = match first && std::mem::take(&mut sending.keyframe_due) {
                true => keyframe(),
                false if first => packet(0x90, 1),
                false => Arc::clone(&sending.packet),
            };
            let timestamp = (sending.videos / PACKETS_OF_FRAME) as u32 * FRAME_TICKS;
            sending.videos += 1;
            write(&mut self.rtc, Codec::Vp8, self.video, sending.videos, timestamp, payload, marker, now);
            wrote = true;
        }
        while SOUND * sending.sounds as u32 <= passed {
            sending.sounds += 1;
            let (timestamp, payload) = (sending.sounds as u32 * SOUND_TICKS, Arc::clone(&sending.sound));
            write(&mut self.rtc, Codec::Opus, self.audio, sending.sounds, timestamp, payload, false, now);
            wrote = true;
        }
        if wrote {
            self.rtc.handle_input(Input::Timeout(now)).expect("a connection that lives");
            self.drain();
        }
    }

    /// Sending continues where it was stopped, without a burst for the time between.
    pub fn resume(&mut self, now: Instant) {
        if let Some(sending) = &mut self.sending {
            sending.begun = now - sending.next_video();
        }
    }
}

impl Sending {
    fn new(now: Instant) -> Sending {
        Sending {
            begun: now,
            videos: 0,
            sounds: 0,
            keyframe_due: true,
            packet: packet(0x80, 0),
            sound: vec![0xaa; SOUND_BYTES].into(),
        }
    }

    /// When the next packet of video goes, since the beginning.
    fn next_video(&self) -> Duration {
        let (frame, place) = (self.videos / PACKETS_OF_FRAME, self.videos % PACKETS_OF_FRAME);
        FRAME * frame as u32 + PACE * (place / PACED) as u32
    }

    fn ends_frame(&self) -> bool {
        self.videos % PACKETS_OF_FRAME == PACKETS_OF_FRAME - 1
    }
}

/// A packet of a VP8 frame (RFC 7741, 4.2 and 4.3): the descriptor, then the frame's tag or what follows it.
fn packet(descriptor: u8, tag: u8) -> Arc<[u8]> {
    let mut payload = vec![descriptor, 0x80, 0x80, 0x01, tag];
    payload.resize(PACKET_BYTES, 0x5a);
    payload.into()
}

fn keyframe() -> Arc<[u8]> {
    let mut payload = vec![0x90, 0x80, 0x80, 0x01, 0, 0, 0, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02];
    payload.resize(PACKET_BYTES, 0x5a);
    payload.into()
}

#[expect(clippy::too_many_arguments, reason = "they are a packet's header")]
fn write(
    rtc: &mut Rtc,
    codec: Codec,
    mid: Option<Mid>,
    seq: u64,
    timestamp: u32,
    payload: Arc<[u8]>,
    marker: bool,
    now: Instant,
) {
    let mid = mid.expect("a publisher has both lines");
    let pt = payload_type(rtc, mid, codec);
    let extensions = ExtensionValues { audio_level: Some(-30), voice_activity: Some(true), ..Default::default() };
    let mut direct = rtc.direct_api();
    let stream = direct.stream_tx_by_mid(mid, None).expect("a stream to send on");
    let write = RtpWrite::new(pt, seq.into(), timestamp, now, payload).marker(marker).nackable(codec.is_video());
    stream.write_rtp(if codec.is_audio() { write.ext_vals(extensions) } else { write });
}

fn payload_type(rtc: &Rtc, mid: Mid, codec: Codec) -> Pt {
    let agreed = rtc.media(mid).expect("a media line").remote_pts();
    let params = rtc.codec_config().params();
    let params = params.iter().find(|params| params.spec().codec == codec && agreed.contains(&params.pt()));
    params.expect("a codec agreed on").pt()
}

fn kind(rtc: &Rtc, pt: u8) -> Kind {
    let params = rtc.codec_config().params().iter().find(|params| *params.pt() == pt);
    match params {
        Some(params) if params.spec().codec.is_audio() => Kind::Audio,
        Some(_) => Kind::Video,
        None => Kind::Other,
    }
}
