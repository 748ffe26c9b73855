//! A viewer's track: what was sent on it, and how a publisher's packet is written to it.

use std::time::Instant;

use str0m::Rtc;
use str0m::format::Codec;
use str0m::media::{Mid, Pt};
use str0m::rtp::{RtpPacket, RtpWrite, Vp8Descriptor};

use crate::clock::Reported;
use crate::codec::{self, Sent, Taken};
use crate::protocol::EndpointId;
use crate::rate_counter::RateCounter;
use crate::red;
use crate::renumber::{Origin, PictureNumbers, Rewriter};

/// A publisher's packet and what was found out about it once, for all viewers.
pub(crate) struct Arrived<'a> {
    pub(crate) origin: Origin,
    pub(crate) spec: str0m::format::CodecSpec,
    is_red: bool,
    pub(crate) packet: &'a RtpPacket,
    pub(crate) starts_keyframe: bool,
    pub(crate) vp8: Option<Vp8Descriptor>,
    /// When it was captured, by the node's clock.
    pub(crate) captured: Instant,
}

impl<'a> Arrived<'a> {
    pub(crate) fn new(endpoint: EndpointId, sent: Sent, packet: &'a RtpPacket) -> Arrived<'a> {
        let Sent { spec, is_red, .. } = sent;
        let video = spec.codec.is_video();
        Arrived {
            origin: Origin { endpoint, ssrc: *packet.header.ssrc },
            spec,
            is_red,
            packet,
            starts_keyframe: video && codec::starts_keyframe(spec.codec, &packet.payload),
            captured: packet.timestamp,
            vp8: (spec.codec == Codec::Vp8).then(|| Vp8Descriptor::parse(&packet.payload).ok()).flatten(),
        }
    }
}

/// The sender's last report about the packet's track.
pub(crate) fn reported(packet: &RtpPacket) -> Option<Reported> {
    let info = packet.last_sender_info.as_ref()?;
    Some(Reported { time: info.ntp_time, timestamp: info.rtp_time.numer() as u32 })
}

/// The result for a packet on one viewer's track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    Yes,
    /// Not for this viewer now.
    No,
    /// The viewer shows nothing until a key frame comes.
    AwaitsKeyframe,
    /// Nor ever: the viewer didn't offer the codec. Said once for each publisher and payload type of theirs.
    NoCommonCodec,
}

/// Owned by its endpoint.
pub(crate) struct Track {
    pub(crate) mid: Mid,
    rewriter: Rewriter,
    pictures: PictureNumbers,
    /// The viewer's payload type for what the publisher sends under another; looked up once for each.
    payload_types: Vec<(EndpointId, Pt, Option<Taken>)>,
    /// Packets.
    pub(crate) sent: RateCounter,
}

/// Payload types remembered: a publisher has one for each codec it may change to.
const PAYLOAD_TYPES_MAX: usize = 16;

impl Track {
    pub(crate) fn new(mid: Mid, clock_rate: u32, now: Instant) -> Track {
        Track {
            mid,
            rewriter: Rewriter::new(clock_rate),
            pictures: PictureNumbers::default(),
            payload_types: Vec::new(),
            sent: RateCounter::new(now),
        }
    }

    /// Nothing is sent until the next key frame, and what is sent then follows on what was sent last.
    pub(crate) fn pause(&mut self) {
        self.rewriter.cut();
    }

    /// Payload types may mean other codecs from now on.
    pub(crate) fn renegotiated(&mut self) {
        self.payload_types.clear();
    }

    /// Whether the origin's packets are those that the viewer is being sent.
    pub(crate) fn continues(&self, origin: Origin) -> bool {
        self.rewriter.continues(origin)
    }

    /// Hands the packet to the viewer's connection. Video begins with a key frame.
    pub(crate) fn write(&mut self, rtc: &mut Rtc, arrived: &Arrived<'_>, now: Instant) -> WriteOutcome {
        let packet = arrived.packet;
        let (taken, is_new) = self.payload_type(rtc, arrived);
        let Some(taken) = taken else { return if is_new { WriteOutcome::NoCommonCodec } else { WriteOutcome::No } };
        let (pt, payload) = match arrived.is_red {
            false => (taken.pt, packet.payload.clone()),
            true => match red::for_viewer(&packet.payload, taken) {
                Some((pt, payload)) => (pt, payload.into()),
                None => return WriteOutcome::No,
            },
        };
        let video = arrived.spec.codec.is_video();
        let switched = !self.rewriter.continues(arrived.origin);
        if switched && video && !arrived.starts_keyframe {
            return WriteOutcome::AwaitsKeyframe;
        }
        let (seq, timestamp) = (*packet.seq_no, packet.header.timestamp);
        let Some((seq, timestamp)) = self.rewriter.rewrite(arrived.origin, seq, timestamp, now) else {
            return WriteOutcome::No;
        };
        let patch = arrived.vp8.as_ref().and_then(|descriptor| {
            if switched {
                self.pictures.switch(descriptor);
            }
            self.pictures.patch(descriptor)
        });
        let mut extensions = packet.header.ext_vals.clone();
        // These name the publisher's lines and layers; str0m writes the viewer's.
        (extensions.mid, extensions.rid, extensions.rid_repair) = (None, None, None);
        let mut write = RtpWrite::new(pt, seq.into(), timestamp, arrived.captured, payload)
            .marker(packet.header.marker)
            .ext_vals(extensions)
            // Where there is RTX for it.
            .nackable(true);
        if let Some(patch) = patch {
            write = write.vp8_patch(patch);
        }
        let mut direct = rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(self.mid, None) else { return WriteOutcome::No };
        stream.write_rtp(write);
        self.sent.add(1);
        WriteOutcome::Yes
    }

    /// And whether it was looked up just now.
    fn payload_type(&mut self, rtc: &Rtc, arrived: &Arrived<'_>) -> (Option<Taken>, bool) {
        let (endpoint, sent) = (arrived.origin.endpoint, arrived.packet.header.payload_type);
        if let Some((_, _, found)) = self.payload_types.iter().find(|(of, pt, _)| *of == endpoint && *pt == sent) {
            return (*found, false);
        }
        let found = codec::taken_as(rtc, self.mid, &arrived.spec);
        if found.is_none() {
            tracing::info!(codec = ?arrived.spec.codec, "a viewer didn't offer the publisher's codec: not forwarded to them");
        }
        if self.payload_types.len() == PAYLOAD_TYPES_MAX {
            self.payload_types.remove(0);
        }
        self.payload_types.push((endpoint, sent, found));
        (found, true)
    }
}
