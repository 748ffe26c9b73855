//! What is looked at in an offer, an answer or a candidate before str0m's parser sees it: sizes and numbers, so that
//! no client makes the node build thousands of streams or candidate pairs.

use str0m::Candidate;
use str0m::change::{SdpAnswer, SdpOffer};

use crate::vocabulary::Refusal;

/// Bytes of an offer or answer. Browsers' are 2 to 8 KB; with simulcast and many codecs 16.
pub const SDP_MAX: usize = 64 * 1024;
/// m-lines: an audio and a video track, and what a generic client adds.
const MEDIA_LINES_MAX: usize = 8;
/// `a=ssrc` lines: two attributes for each of a track's SSRCs, and RTX.
const SSRC_LINES_MAX: usize = 64;
/// Candidates of one endpoint, in its SDP or after it. A browser on a laptop with Docker and a VPN has about 20.
pub(crate) const CANDIDATES_MAX: usize = 64;
/// Bytes of a candidate; browsers' are under 200.
pub(crate) const CANDIDATE_MAX: usize = 512;

pub(crate) fn offer(text: &str) -> Result<SdpOffer, Refusal> {
    check(text)?;
    SdpOffer::from_sdp_string(text).map_err(|error| {
        tracing::debug!(%error, "an offer that isn't SDP");
        Refusal::BadSdp
    })
}

pub(crate) fn answer(text: &str) -> Result<SdpAnswer, Refusal> {
    check(text)?;
    SdpAnswer::from_sdp_string(text).map_err(|error| {
        tracing::debug!(%error, "an answer that isn't SDP");
        Refusal::BadSdp
    })
}

fn check(text: &str) -> Result<(), Refusal> {
    if text.len() > SDP_MAX {
        return Err(Refusal::BadSdp);
    }
    let (mut media, mut ssrcs, mut candidates, mut rtp) = (0, 0, 0, 0);
    for line in text.lines() {
        media += usize::from(line.starts_with("m="));
        rtp += usize::from(line.starts_with("m=audio") || line.starts_with("m=video"));
        ssrcs += usize::from(line.starts_with("a=ssrc:"));
        candidates += usize::from(line.starts_with("a=candidate:"));
    }
    let fits = media <= MEDIA_LINES_MAX && ssrcs <= SSRC_LINES_MAX && candidates <= CANDIDATES_MAX;
    if fits && rtp > 0 { Ok(()) } else { Err(Refusal::BadSdp) }
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
