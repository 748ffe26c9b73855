//! Renumbering of packets between a publisher and one of its viewers: sequence number, timestamp, and VP8's picture
//! numbers. Pure arithmetic: no packet is touched here.

use std::time::Instant;

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

use crate::protocol::EndpointId;

/// The source that numbers a run of packets: another publisher, another simulcast layer or a restarted encoder numbers
/// anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) endpoint: EndpointId,
    pub(crate) ssrc: u32,
}

/// Numbers a viewer's track so that it stays one unbroken stream whoever sends it. Numbers begin low whatever the
/// publisher's are: SRTP's rollover counter isn't in the packet, a late joiner would guess it wrongly and decrypt
/// nothing (RFC 3711, 3.3.1).
///
/// Owned by the viewer's track.
#[derive(Debug)]
pub(crate) struct Rewriter {
    /// Ticks of the RTP timestamp in a second.
    clock_rate: u32,
    segment: Option<Segment>,
    next_seq: u64,
    /// The newest packet's timestamp as sent, and when it was.
    newest: Option<(u32, Instant)>,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    origin: Origin,
    first_in: u64,
    first_out: u64,
    /// Added (wrapping) to the origin's timestamps.
    shift: u32,
}

/// A frame's least distance from the one before when the stream is continued by another origin: a thirtieth second.
const MIN_STEP_FRACTION: u32 = 30;

impl Rewriter {
    pub(crate) fn new(clock_rate: u32) -> Rewriter {
        Rewriter { clock_rate: clock_rate.max(1), segment: None, next_seq: 1, newest: None }
    }

    /// Whether the origin's packets continue what was sent last.
    pub(crate) fn continues(&self, origin: Origin) -> bool {
        self.segment.is_some_and(|segment| segment.origin == origin)
    }

    /// The next packet begins a segment even when it is of the same origin: packets between weren't sent, on purpose,
    /// and must not look lost.
    pub(crate) fn cut(&mut self) {
        self.segment = None;
    }

    /// The packet's number and timestamp for the viewer. `None`: it is older than the point at which its origin was
    /// switched to, where the viewer has other packets.
    pub(crate) fn rewrite(&mut self, origin: Origin, seq: u64, timestamp: u32, at: Instant) -> Option<(u64, u32)> {
        let segment = match self.segment {
            Some(segment) if segment.origin == origin => segment,
            _ => self.begin(origin, seq, timestamp, at),
        };
        let out = seq.checked_sub(segment.first_in)? + segment.first_out;
        let timestamp = timestamp.wrapping_add(segment.shift);
        if out >= self.next_seq {
            self.next_seq = out + 1;
            self.newest = Some((timestamp, at));
        }
        Some((out, timestamp))
    }

    fn begin(&mut self, origin: Origin, seq: u64, timestamp: u32, at: Instant) -> Segment {
        let shift = match self.newest {
            None => 0,
            Some((newest, sent)) => {
                let passed = at.saturating_duration_since(sent).as_secs_f64() * f64::from(self.clock_rate);
                let step = (passed as u64 as u32).max(self.clock_rate / MIN_STEP_FRACTION);
                newest.wrapping_add(step).wrapping_sub(timestamp)
            }
        };
        let segment = Segment { origin, first_in: seq, first_out: self.next_seq, shift };
        self.segment = Some(segment);
        segment
    }
}

/// Keeps VP8's PictureID and TL0PICIDX (RFC 7741, 4.2) unbroken over a change of layer or publisher: Chromium's
/// jitter buffer takes a step back in them for old frames and shows nothing.
#[derive(Debug, Default)]
pub(crate) struct PictureNumbers {
    picture_shift: u16,
    tl0_shift: u8,
    newest: Option<(u16, u8)>,
}

const PICTURE_ID_MASK: u16 = 0x7fff;

impl PictureNumbers {
    /// The next packet is of another origin.
    pub(crate) fn switch(&mut self, descriptor: &Vp8Descriptor) {
        if let Some((picture, tl0)) = self.newest {
            let first = descriptor.picture_id().unwrap_or(0);
            self.picture_shift = picture.wrapping_add(1).wrapping_sub(first) & PICTURE_ID_MASK;
            self.tl0_shift = tl0.wrapping_add(1).wrapping_sub(descriptor.tl0_pic_idx().unwrap_or(0));
        }
    }

    /// The patch for the packet's descriptor; `None`: it stays as it is.
    pub(crate) fn patch(&mut self, descriptor: &Vp8Descriptor) -> Option<Vp8Patch> {
        let picture = descriptor.picture_id().map(|id| id.wrapping_add(self.picture_shift) & PICTURE_ID_MASK);
        let tl0 = descriptor.tl0_pic_idx().map(|index| index.wrapping_add(self.tl0_shift));
        let newer = |old: u16, new: u16| new.wrapping_sub(old) & PICTURE_ID_MASK < PICTURE_ID_MASK / 2;
        if let Some(picture) = picture
            && self.newest.is_none_or(|(old, _)| newer(old, picture))
        {
            self.newest = Some((picture, tl0.unwrap_or(0)));
        }
        if self.picture_shift == 0 && self.tl0_shift == 0 {
            return None;
        }
        let mut patch = descriptor.patch();
        if let Some(picture) = picture {
            patch = patch.picture_id(picture);
        }
        if let Some(tl0) = tl0 {
            patch = patch.tl0_pic_idx(tl0);
        }
        patch.build().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn origin(endpoint: u64) -> Origin {
        Origin { endpoint: EndpointId(endpoint), ssrc: 7 }
    }

    #[test]
    fn a_viewer_who_comes_late_gets_low_numbers() {
        let mut rewriter = Rewriter::new(90_000);
        assert_eq!(rewriter.rewrite(origin(1), 700_000, 5, Instant::now()), Some((1, 5)));
        assert_eq!(rewriter.rewrite(origin(1), 700_003, 6, Instant::now()), Some((4, 6)), "a gap stays one");
    }

    #[test]
    fn another_publisher_goes_on_where_the_last_one_stopped() {
        let (now, mut rewriter) = (Instant::now(), Rewriter::new(90_000));
        rewriter.rewrite(origin(1), 10, 1_000, now);
        let later = now + Duration::from_secs(1);
        assert_eq!(rewriter.rewrite(origin(2), 60_000, u32::MAX, later), Some((2, 91_000)));
        assert_eq!(rewriter.rewrite(origin(2), 60_001, 2_999, later), Some((3, 94_000)), "over the wrap");
        assert_eq!(rewriter.rewrite(origin(2), 59_999, 0, later), None, "from before the switch");
    }

    #[test]
    fn packets_withheld_on_purpose_leave_no_gap() {
        let (now, mut rewriter) = (Instant::now(), Rewriter::new(48_000));
        rewriter.rewrite(origin(1), 10, 0, now);
        rewriter.cut();
        assert_eq!(rewriter.rewrite(origin(1), 500, 480_000, now).map(|(seq, _)| seq), Some(2));
    }

    proptest! {
        #[test]
        fn no_number_is_given_twice_and_time_goes_on(
            packets in prop::collection::vec((0u64..3, 0u64..200_000, any::<u32>(), any::<bool>()), 1..200)
        ) {
            let (now, mut rewriter) = (Instant::now(), Rewriter::new(90_000));
            let mut given = std::collections::HashSet::new();
            let mut seen = std::collections::HashSet::new();
            let mut run = 0;
            let mut last = None;
            for (endpoint, seq, timestamp, cut) in packets {
                if cut {
                    rewriter.cut();
                }
                if cut || last != Some(endpoint) {
                    (run, last) = (run + 1, Some(endpoint));
                }
                // str0m gives each packet once.
                if !seen.insert((run, seq)) {
                    continue;
                }
                if let Some((out, _)) = rewriter.rewrite(origin(endpoint), seq, timestamp, now) {
                    prop_assert!(given.insert(out), "{} again", out);
                }
            }
        }
    }
}
