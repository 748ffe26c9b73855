//! Packets for viewers that ask for lost ones (RFC 4585) and have no RTX for them. They are sent again as they were, with
//! the bytes that SRTP made: no two packets may be encrypted under one number (RFC 7714), and other extensions in the
//! header would make it another. The receiver's replay list takes a packet that never came. Pure.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::format::{CodecConfig, PayloadParams};
use str0m::net::Protocol;
use str0m::rtp::rtcp::NackEntry;

/// Packets kept: 3 s of sound (150), and what is kept of video for viewers with RTX (600).
const KEPT_MAX: usize = 750;
/// How long a packet is kept: one that comes later is of no use to a call.
pub(crate) const RESEND_AGE: Duration = Duration::from_secs(3);
/// How often one packet is sent again: as many in a row are lost on a path that is full, not lossy.
const TIMES_MAX: u8 = 3;
/// Bytes of an RTP header up to the SSRC (RFC 3550 section 5.1).
const HEADER: usize = 12;

/// Owned by a viewer's endpoint.
pub(crate) struct Resends {
    payload_types: Vec<u8>,
    sent: VecDeque<Sent>,
    /// Where the viewer is reached now.
    pub(crate) to: Option<(Protocol, SocketAddr)>,
}

struct Sent {
    ssrc: u32,
    seq: u16,
    at: Instant,
    /// How often it was sent again.
    times: u8,
    bytes: Vec<u8>,
}

impl Resends {
    /// `None`: nothing is asked for again that way.
    pub(crate) fn of(codecs: &CodecConfig) -> Option<Resends> {
        let plain = codecs.params().iter().filter(|params| params.fb_nack() && params.resend().is_none());
        let both = |params: &PayloadParams| [Some(params.pt()), params.red()];
        let payload_types: Vec<u8> = plain.flat_map(both).flatten().map(|pt| *pt).collect();
        (!payload_types.is_empty()).then(|| Resends { payload_types, sent: VecDeque::new(), to: None })
    }

    /// Keeps what goes out, if it is a packet that may be asked for.
    pub(crate) fn note(&mut self, bytes: &[u8], to: (Protocol, SocketAddr), now: Instant) {
        self.to = Some(to);
        let Some((payload_type, ssrc, seq)) = rtp_header(bytes) else { return };
        if !self.payload_types.contains(&payload_type) {
            return;
        }
        let is_late = |sent: &Sent| now.saturating_duration_since(sent.at) > RESEND_AGE;
        while self.sent.len() == KEPT_MAX || self.sent.front().is_some_and(is_late) {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { ssrc, seq, at: now, times: 0, bytes: bytes.to_vec() });
    }

    /// The packets of the stream that were asked for and are still of use. `entries`: of one request, which has 31 at most.
    pub(crate) fn on_nack(&mut self, ssrc: u32, entries: &[NackEntry], now: Instant) -> Vec<Vec<u8>> {
        let wanted = |sent: &&mut Sent| {
            let is_due = sent.times < TIMES_MAX && now.saturating_duration_since(sent.at) <= RESEND_AGE;
            is_due && sent.ssrc == ssrc && entries.iter().any(|entry| names(entry, sent.seq))
        };
        let again = |sent: &mut Sent| {
            sent.times += 1;
            sent.bytes.clone()
        };
        self.sent.iter_mut().filter(wanted).map(again).collect()
    }
}

/// RFC 4585 section 6.2.1: a packet, and which of the 16 after it.
fn names(entry: &NackEntry, seq: u16) -> bool {
    match seq.wrapping_sub(entry.pid) {
        0 => true,
        behind @ 1..=16 => entry.blp >> (behind - 1) & 1 == 1,
        _ => false,
    }
}

/// Payload type, SSRC and number; `None`: no RTP (RFC 7983, RFC 5761 section 4).
fn rtp_header(bytes: &[u8]) -> Option<(u8, u32, u16)> {
    let header = bytes.get(..HEADER)?;
    let is_rtcp = (192..=223).contains(&header[1]);
    if !(128..=191).contains(&header[0]) || is_rtcp {
        return None;
    }
    let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    Some((header[1] & 0x7f, ssrc, u16::from_be_bytes([header[2], header[3]])))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn packet(payload_type: u8, seq: u16) -> Vec<u8> {
        let mut bytes = vec![0x80, payload_type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3];
        bytes[2..4].copy_from_slice(&seq.to_be_bytes());
        bytes
    }

    fn resends() -> Resends {
        Resends { payload_types: vec![111], sent: VecDeque::new(), to: None }
    }

    #[test]
    fn lost_packets_are_sent_again_unchanged_a_few_times_and_not_for_long() {
        let (now, mut resends) = (Instant::now(), resends());
        let to = (Protocol::Udp, "192.0.2.1:9".parse().unwrap());
        for seq in [65_534, 65_535, 0, 1] {
            resends.note(&packet(111, seq), to, now);
            resends.note(&packet(96, seq), to, now);
            resends.note(&packet(200, seq), to, now);
        }
        assert_eq!(
            resends.on_nack(5, &[NackEntry { pid: 65_535, blp: 0b10 }], now),
            [packet(111, 65_535), packet(111, 1)]
        );
        assert!(resends.on_nack(6, &[NackEntry { pid: 65_535, blp: 0 }], now).is_empty(), "another stream's");
        let again = (0..10).filter(|_| !resends.on_nack(5, &[NackEntry { pid: 0, blp: 0 }], now).is_empty()).count();
        assert_eq!(again, usize::from(TIMES_MAX));
        let late = now + RESEND_AGE + Duration::from_millis(1);
        assert!(resends.on_nack(5, &[NackEntry { pid: 65_534, blp: 0 }], late).is_empty());
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let (now, mut resends) = (Instant::now(), resends());
        let to = (Protocol::Udp, "192.0.2.1:9".parse().unwrap());
        (0..5_000).for_each(|seq| resends.note(&packet(111, seq), to, now));
        assert_eq!(resends.sent.len(), KEPT_MAX);
        resends.note(&packet(111, 1), to, now + 2 * RESEND_AGE);
        assert_eq!(resends.sent.len(), 1);
    }
}
