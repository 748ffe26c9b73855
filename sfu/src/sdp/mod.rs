//! Session descriptions (RFC 8866) as offers and answers (RFC 3264, RFC 9429) have them. They are read here and nowhere
//! else, for str0m, Janus and WHIP alike.
//!
//! ```text
//! client's offer -> Description (lines, inheritance) -> Offer (what of it can be taken) -> text for str0m
//! client's answer <- Offer::answer (sections, names, transport as offered)              <- str0m's answer
//! ```
//! str0m's own parser sees only what `offer::Offer` has written: it refuses much that the standards allow.
//! [`check()`] compares any answer, whoever made it, with its offer.

mod answer;
mod check;
mod codecs;
mod format;
mod offer;
mod read;

use str0m::Candidate;
use str0m::change::SdpAnswer;

pub use answer::as_one_stream;
pub use check::check;
pub use codecs::{VideoCodecs, without_video};
pub(crate) use offer::{Offer, Wants};
pub use read::{Description, Direction, Section, Unreadable};

use crate::protocol::Refusal;

/// Bytes of an offer or answer. Browsers' are 2 to 8 KB; with simulcast and many codecs 16.
pub const SDP_MAX: usize = 64 * 1024;
/// m-sections: an audio and a video track, and what a generic client adds.
const SECTIONS_MAX: usize = 16;
/// Formats of one m-section that are looked at: payload types have seven bits.
const FORMATS_MAX: usize = 128;
/// SSRCs that one section announces: its layers', their RTX and FEC.
const SSRCS_MAX: usize = 16;
/// Candidates of one endpoint, in its SDP or after it. A browser on a laptop with Docker and a VPN has about 20.
pub(crate) const CANDIDATES_MAX: usize = 64;
/// Bytes of a candidate; browsers' are under 200.
pub(crate) const CANDIDATE_MAX: usize = 512;

/// The answer to an offer of the node's own.
pub(crate) fn answer(text: &str) -> Result<SdpAnswer, Refusal> {
    let description = Description::read(text).map_err(|Unreadable(why)| {
        tracing::debug!(why, "an answer that isn't SDP");
        Refusal::BadSdp
    })?;
    SdpAnswer::from_sdp_string(&offer::normalized(&description)).map_err(|error| {
        tracing::debug!(%error, "an answer that can't be taken");
        Refusal::BadSdp
    })
}

/// The candidate in `text`; `None` for those a node has no use for: the end of candidates (empty), names instead of
/// addresses (mDNS, `.local`), and what isn't a candidate.
pub(crate) fn candidate(text: &str) -> Option<Candidate> {
    let text = text.trim();
    let text = text.strip_prefix("a=").unwrap_or(text);
    if text.is_empty() || text.len() > CANDIDATE_MAX {
        return None;
    }
    let candidate = match text.starts_with("candidate:") {
        true => Candidate::from_sdp_string(text),
        false => Candidate::from_sdp_string(&format!("candidate:{text}")),
    };
    candidate.ok().filter(|candidate| candidate.addr().port() != 0)
}
