//! Redundant audio (RFC 2198): several frames in one packet, each with its payload type. Pure.

use str0m::media::Pt;

use crate::codec::Taken;

/// Bytes of the header of a block that others follow: whether they do, payload type, timestamp offset, length.
const HEADER: usize = 4;
const FOLLOWED: u8 = 0x80;

/// The packet for a viewer: as it is, with the viewer's own payload types, or only its newest frame where the viewer
/// takes nothing redundant. `None`: it is none.
pub(crate) fn for_viewer(payload: &[u8], taken: Taken) -> Option<(Pt, Vec<u8>)> {
    let blocks = headers(payload)?;
    let Some(red) = taken.red else {
        let earlier: usize = blocks.iter().map(|at| length(payload, *at)).sum();
        let newest = blocks.len() * HEADER + 1 + earlier;
        return Some((taken.pt, payload.get(newest..)?.to_vec()));
    };
    let mut payload = payload.to_vec();
    for at in blocks.iter().copied().chain([blocks.len() * HEADER]) {
        payload[at] = payload[at] & FOLLOWED | *taken.pt;
    }
    Some((red, payload))
}

/// Where the headers of the earlier frames begin.
fn headers(payload: &[u8]) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while payload.get(at)? & FOLLOWED != 0 {
        payload.get(at + HEADER - 1)?;
        found.push(at);
        at += HEADER;
    }
    Some(found)
}

/// The ten bits at the end of a header.
fn length(payload: &[u8], at: usize) -> usize {
    usize::from(payload[at + 2] & 0x03) << 8 | usize::from(payload[at + 3])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(red: Option<u8>) -> Taken {
        Taken { pt: 109.into(), red: red.map(Pt::from) }
    }

    /// Two frames of three and two bytes, as a publisher with Opus under 111 sends them.
    const TWO: [u8; 10] = [0x80 | 111, 0x0f, 0x00, 3, 111, 1, 2, 3, 4, 5];

    #[test]
    fn a_viewer_of_redundant_audio_gets_it_with_their_payload_types() {
        let (pt, payload) = for_viewer(&TWO, taken(Some(63))).unwrap();
        assert_eq!((*pt, payload), (63, vec![0x80 | 109, 0x0f, 0x00, 3, 109, 1, 2, 3, 4, 5]));
    }

    #[test]
    fn another_gets_the_newest_frame() {
        let (pt, payload) = for_viewer(&TWO, taken(None)).unwrap();
        assert_eq!((*pt, payload), (109, vec![4, 5]));
        assert_eq!(for_viewer(&[111, 7], taken(None)).unwrap().1, [7]);
    }

    proptest! {
        #[test]
        fn no_payload_is_too_odd_to_be_looked_at(payload in prop::collection::vec(any::<u8>(), 0..60)) {
            for_viewer(&payload, taken(None));
            for_viewer(&payload, taken(Some(1)));
        }
    }
}
