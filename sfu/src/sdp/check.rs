//! An answer compared with its offer as a whole (RFC 3264 section 6, RFC 9143 section 7.3, RFC 9429 section 5.3.1):
//! before it goes out, whoever made it.

use super::{Description, Direction, Section};

/// # Errors
/// Finds the first part of an answer that a client couldn't take, or would misread.
pub fn check(offer: &str, answer: &str) -> Result<(), &'static str> {
    let offer = Description::read(offer).map_err(|unreadable| unreadable.0)?;
    let answer = Description::read(answer).map_err(|unreadable| unreadable.0)?;
    if offer.media.len() != answer.media.len() {
        return Err("it has not as many sections as the offer");
    }
    let mut taken = 0;
    for (offered, answered) in offer.media.iter().zip(&answer.media) {
        check_place(offered, answered)?;
        if answered.port == 0 {
            continue;
        }
        taken += 1;
        if offer.is_refused(offered) {
            return Err("a section that was refused in the offer is not in the answer");
        }
        check_direction(offer.direction(offered), answer.direction(answered))?;
        check_formats(offered, answered)?;
        check_setup(offer.attribute(offered, "setup"), answer.attribute(answered, "setup"))?;
    }
    if taken == 0 {
        return Err("it takes nothing");
    }
    check_bundle(&offer, &answer, taken)?;
    check_transport(&answer)?;
    check_identity(&answer)
}

/// A section answers the one in its place.
fn check_place(offered: &Section<'_>, answered: &Section<'_>) -> Result<(), &'static str> {
    if offered.kind != answered.kind || offered.protocol != answered.protocol {
        return Err("a section is of another kind or protocol than the offer's");
    }
    if answered.mid() != offered.mid() && !(answered.port == 0 && answered.mid().is_none()) {
        return Err("a section has another mid than the offer's");
    }
    Ok(())
}

fn check_direction(offered: Direction, answered: Direction) -> Result<(), &'static str> {
    let may_send = !answered.sends() || offered.receives();
    let may_receive = !answered.receives() || offered.sends();
    if may_send && may_receive { Ok(()) } else { Err("a direction doesn't answer the offer's") }
}

/// Payload types are the offer's, and mean what they mean there.
fn check_formats(offered: &Section<'_>, answered: &Section<'_>) -> Result<(), &'static str> {
    for format in &answered.formats {
        if !offered.formats.contains(format) {
            return Err("a payload type is not the offer's");
        }
        let codec = |section: &Section<'_>| {
            section.of_format("rtpmap", format).next().map(|map| map.trim_end_matches("/1").to_ascii_lowercase())
        };
        if codec(offered) != codec(answered) {
            return Err("a payload type means another codec than in the offer");
        }
    }
    Ok(())
}

/// RFC 8842 section 5.3.
fn check_setup(offered: Option<&str>, answered: Option<&str>) -> Result<(), &'static str> {
    match (offered.unwrap_or("actpass"), answered) {
        ("actpass", Some("active" | "passive")) | ("active", Some("passive")) | ("passive", Some("active")) => Ok(()),
        _ => Err("the DTLS roles don't fit together"),
    }
}

/// Sections that are taken share the transport of one of the offer's groups; there are no others.
fn check_bundle(offer: &Description<'_>, answer: &Description<'_>, taken: usize) -> Result<(), &'static str> {
    let offered = offer.bundles();
    for group in answer.bundles() {
        if !offered.iter().any(|of_offer| group.iter().all(|mid| of_offer.contains(mid))) {
            return Err("its BUNDLE group is not one of the offer's");
        }
        let is_taken = |mid: &&str| answer.media.iter().any(|s| s.mid() == Some(*mid) && s.port != 0);
        if !group.iter().all(is_taken) {
            return Err("a refused section is in its BUNDLE group");
        }
    }
    let bundled: usize = answer.bundles().iter().map(Vec::len).sum();
    if bundled == taken || (taken == 1 && bundled == 0) { Ok(()) } else { Err("sections without a transport") }
}

/// The first section that is taken describes the transport (RFC 9429 section 5.3.1).
fn check_transport(answer: &Description<'_>) -> Result<(), &'static str> {
    let Some(tagged) = answer.media.iter().find(|section| section.port != 0) else { return Ok(()) };
    if ["ice-ufrag", "ice-pwd", "fingerprint"].iter().any(|name| answer.attribute(tagged, name).is_none()) {
        return Err("its transport has no ICE credentials or no fingerprint");
    }
    let elsewhere = answer.media.iter().any(|section| section.has("candidate"));
    if answer.attribute(tagged, "candidate").is_none() && (elsewhere || answer.has("ice-lite")) {
        return Err("its candidates are not where its transport is");
    }
    Ok(())
}

/// All tracks that one side sends on one connection are one stream (RFC 8830) under one name (RFC 8834 section 4.9).
fn check_identity(answer: &Description<'_>) -> Result<(), &'static str> {
    let sent = || answer.media.iter().filter(|section| answer.direction(section).sends() && section.port != 0);
    let mut streams: Vec<&str> =
        sent().flat_map(|section| section.attributes("msid")).filter_map(|msid| msid.split(' ').next()).collect();
    let of_source = |value: &'_ str| value.split_once(" cname:").map(|(_, cname)| cname.to_owned());
    let mut names: Vec<String> = sent().flat_map(|section| section.attributes("ssrc")).filter_map(of_source).collect();
    streams.dedup();
    names.dedup();
    match (streams.len(), names.len()) {
        (2.., _) => Err("tracks of one sender are in several streams"),
        (_, 2..) => Err("one sender has several CNAMEs"),
        _ => Ok(()),
    }
}
