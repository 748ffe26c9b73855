//! Which codecs the node forwards, what is a key frame in them, and which of a viewer's payload types carries what a
//! publisher sends.

use str0m::RtcConfig;
use str0m::format::{
    Codec, CodecSpec, detect_av1_keyframe, detect_h264_keyframe, detect_vp8_keyframe, detect_vp9_keyframe,
};
use str0m::media::{MediaKind, Pt};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Rtc, media::Mid};

/// The codecs in the order in which the node answers them: VP8 first, which every browser sends with simulcast.
pub(crate) fn enable(config: RtcConfig) -> RtcConfig {
    config.clear_codecs().enable_opus(true, false).enable_vp8(true).enable_h264(true).enable_vp9(true).enable_av1(true)
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

/// What the publisher sends under the payload type.
pub(crate) fn spec_of(rtc: &Rtc, pt: Pt) -> Option<CodecSpec> {
    rtc.codec_config().params().iter().find(|params| params.pt() == pt).map(|params| params.spec())
}

/// The viewer's payload type for the publisher's codec; `None`: the viewer didn't offer it.
pub(crate) fn payload_type(viewer: &Rtc, mid: Mid, sent: &CodecSpec) -> Option<Pt> {
    let offered = viewer.media(mid)?.remote_pts();
    viewer
        .codec_config()
        .params()
        .iter()
        .find(|params| offered.contains(&params.pt()) && decodes(&params.spec(), sent))
        .map(|params| params.pt())
}

/// The profile in an H.264 `profile-level-id`: its first two bytes. The level is a matter of size, and both sides
/// allow an asymmetric one.
fn h264_profile(spec: &CodecSpec) -> u32 {
    const CONSTRAINED_BASELINE: u32 = 0x42e01f;
    spec.format.profile_level_id.unwrap_or(CONSTRAINED_BASELINE) >> 8
}

fn decodes(viewer: &CodecSpec, sent: &CodecSpec) -> bool {
    if viewer.codec != sent.codec {
        return false;
    }
    match sent.codec {
        Codec::H264 => {
            let mode = |spec: &CodecSpec| spec.format.packetization_mode.unwrap_or(0);
            mode(viewer) == mode(sent) && h264_profile(viewer) == h264_profile(sent)
        }
        Codec::Vp9 => viewer.format.profile_id.unwrap_or(0) == sent.format.profile_id.unwrap_or(0),
        Codec::Av1 => viewer.format.profile.unwrap_or(0) == sent.format.profile.unwrap_or(0),
        _ => true,
    }
}

/// Ticks of the RTP timestamp in a second for the codecs of [`enable`].
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
    use crate::forward::PictureNumbers;

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
