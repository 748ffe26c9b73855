//! The codecs that the node forwards, their key frames, and the payload type of a viewer that carries the codec that a
//! publisher sends.

use str0m::format::{
    Codec, CodecConfig, CodecSpec, detect_av1_keyframe, detect_h264_keyframe, detect_vp8_keyframe, detect_vp9_keyframe,
};
use str0m::media::{MediaKind, Pt};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Rtc, media::Mid};

/// The codecs that the node offers, in the order in which it answers them.
pub(crate) fn offered() -> CodecConfig {
    let mut codecs = CodecConfig::empty();
    codecs.enable_opus(true, false);
    codecs.enable_vp8(true);
    codecs.enable_h264(true);
    codecs.enable_vp9(true);
    codecs.enable_av1(true);
    codecs
}

/// Header extensions for a connection whose path isn't estimated: without those by which that is done. A browser would
/// report on each packet, for nothing.
pub(crate) fn extensions_unestimated() -> ExtensionMap {
    let mut extensions = ExtensionMap::empty();
    for (id, extension) in [
        (1, Extension::AudioLevel),
        (4, Extension::RtpMid),
        (10, Extension::RtpStreamId),
        (11, Extension::RepairedRtpStreamId),
        (13, Extension::VideoOrientation),
    ] {
        extensions.set(id, extension);
    }
    extensions
}

/// Whether the payload is the first packet of a frame that needs none before it.
pub(crate) fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => detect_vp8_keyframe(payload),
        Codec::H264 => detect_h264_keyframe(payload),
        Codec::Vp9 => detect_vp9_keyframe(payload),
        Codec::Av1 => detect_av1_keyframe(payload),
        _ => false,
    }
}

/// Width and height of the picture whose key frame begins with the payload, for codecs that say it plainly.
pub(crate) fn frame_size(codec: Codec, payload: &[u8]) -> Option<(u32, u32)> {
    /// RFC 6386, 9.1: what follows a key frame's tag of three bytes.
    const START: [u8; 3] = [0x9d, 0x01, 0x2a];
    /// A payload descriptor has six bytes at most (RFC 7741, 4.2).
    const DESCRIPTOR_MAX: usize = 6;
    if codec != Codec::Vp8 {
        return None;
    }
    let head = payload.get(..payload.len().min(DESCRIPTOR_MAX + 3 + START.len() + 4))?;
    let at = head.windows(START.len()).position(|window| window == START)? + START.len();
    let size = head.get(at..at + 4)?;
    // The two upper bits are a scaling that decoders ignore.
    let pixels = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    Some((pixels(size[0], size[1]), pixels(size[2], size[3])))
}

/// The format that a publisher sends under a payload type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) spec: CodecSpec,
    /// It is wrapped in redundant audio (RFC 2198).
    pub(crate) is_red: bool,
    /// The publisher sends again what is asked for.
    pub(crate) nacks: bool,
}

/// How a viewer is sent a codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) pt: Pt,
    /// Redundant audio of it.
    pub(crate) red: Option<Pt>,
}

pub(crate) fn sent_under(rtc: &Rtc, pt: Pt) -> Option<Sent> {
    let params = rtc.codec_config().params().iter().find(|params| params.pt() == pt || params.red() == Some(pt))?;
    Some(Sent { spec: params.spec(), is_red: params.pt() != pt, nacks: params.fb_nack() })
}

/// The viewer's payload types for the publisher's codec; `None`: the viewer didn't offer it.
pub(crate) fn taken_as(viewer: &Rtc, mid: Mid, sent: &CodecSpec) -> Option<Taken> {
    let offered = viewer.media(mid)?.remote_pts();
    let decoding = viewer.codec_config().params().iter().filter(|params| offered.contains(&params.pt()));
    // The same before one that includes it.
    let fits = decoding.filter_map(|params| Some((distance(&params.spec(), sent)?, params)));
    let (_, params) = fits.min_by_key(|(distance, _)| *distance)?;
    Some(Taken { pt: params.pt(), red: params.red() })
}

/// H.264 profiles by what they add to each other (RFC 6184 section 8.1, table 5): who decodes one decodes those below,
/// but for what Baseline alone has. The level is a matter of size, and both sides allow an asymmetric one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    Other(u32),
}

fn h264_profile(spec: &CodecSpec) -> H264Profile {
    /// Without a word (RFC 6184 section 8.1): Baseline, which WebRTC's encoders send in its constrained form (RFC 7742 6.2).
    const UNSAID: u32 = 0x42e00a;
    let id = spec.format.profile_level_id.unwrap_or(UNSAID);
    let (profile, constraints) = (id >> 16, id >> 8 & 0xff);
    match (profile, constraints) {
        (0x42, c) if c & 0x40 != 0 => H264Profile::ConstrainedBaseline,
        (0x4d, c) if c & 0x80 != 0 => H264Profile::ConstrainedBaseline,
        (0x58, c) if c & 0xc0 == 0xc0 => H264Profile::ConstrainedBaseline,
        (0x42, _) => H264Profile::Baseline,
        (0x4d, _) => H264Profile::Main,
        (0x64, 0x0c) => H264Profile::ConstrainedHigh,
        (0x64, _) => H264Profile::High,
        _ => H264Profile::Other(id >> 8),
    }
}

/// `None`: a decoder of the one doesn't decode the other.
fn h264_distance(viewer: H264Profile, sent: H264Profile) -> Option<u8> {
    use H264Profile::{Baseline, ConstrainedBaseline, ConstrainedHigh, High, Main};
    match (viewer, sent) {
        _ if viewer == sent => Some(0),
        (Baseline | Main | ConstrainedHigh | High, ConstrainedBaseline) => Some(1),
        (High, Main | ConstrainedHigh) => Some(1),
        // Encoders of browsers that name Baseline send its constrained form.
        (ConstrainedBaseline, Baseline) => Some(2),
        _ => None,
    }
}

/// How far what the viewer decodes is from what is sent; `None`: it doesn't decode that.
pub(crate) fn distance(viewer: &CodecSpec, sent: &CodecSpec) -> Option<u8> {
    if viewer.codec == Codec::H264 && sent.codec == Codec::H264 {
        let mode = |spec: &CodecSpec| spec.format.packetization_mode.unwrap_or(0);
        // A viewer that takes non-interleaved packets takes single ones (RFC 6184 section 6.2).
        let behind = mode(viewer).checked_sub(mode(sent))?;
        return Some(h264_distance(h264_profile(viewer), h264_profile(sent))? * 2 + behind);
    }
    decodes(viewer, sent).then_some(0)
}

fn decodes(viewer: &CodecSpec, sent: &CodecSpec) -> bool {
    if viewer.codec != sent.codec {
        return false;
    }
    match sent.codec {
        Codec::Vp9 => viewer.format.profile_id.unwrap_or(0) == sent.format.profile_id.unwrap_or(0),
        Codec::Av1 => viewer.format.profile.unwrap_or(0) == sent.format.profile.unwrap_or(0),
        _ => true,
    }
}

/// Ticks of the RTP timestamp in a second for the codecs of [`offered`].
pub(crate) fn clock_rate(kind: MediaKind) -> u32 {
    match kind {
        MediaKind::Audio => 48_000,
        MediaKind::Video => 90_000,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use str0m::rtp::Vp8Descriptor;

    use super::*;
    use crate::renumber::PictureNumbers;

    #[test]
    fn a_vp8_key_frame_says_its_size() {
        let mut payload = vec![0x90, 0x80, 0x81, 0x02, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02];
        assert_eq!(frame_size(Codec::Vp8, &payload), Some((1_280, 720)));
        assert!(starts_keyframe(Codec::Vp8, &payload));
        payload.truncate(12);
        assert_eq!(frame_size(Codec::Vp8, &payload), None);
        assert_eq!(frame_size(Codec::H264, &payload), None);
    }

    proptest! {
        #[test]
        fn no_payload_is_too_odd_to_be_looked_at(
            mut payload in prop::collection::vec(any::<u8>(), 0..40),
            first in prop::sample::select(vec![0x10u8, 0x90, 0x80, 0x7c, 0x78, 0x5c, 0x65, 0x18, 0x08, 0xff]),
            second in prop::sample::select(vec![0x80u8, 0xf0, 0xc0, 0x0a, 0x85, 0]),
        ) {
            for (byte, value) in payload.iter_mut().zip([first, second]) {
                *byte = value;
            }
            for codec in [Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1, Codec::Opus] {
                starts_keyframe(codec, &payload);
                frame_size(codec, &payload);
            }
            if let Ok(descriptor) = Vp8Descriptor::parse(&payload) {
                let mut pictures = PictureNumbers::default();
                pictures.patch(&descriptor);
                pictures.switch(&descriptor);
                pictures.patch(&descriptor);
            }
        }
    }
}
