//! The part of an offer that the node can take, and the offer that its peer connection is given instead: the same
//! sections and payload types in the one form that str0m reads.

use std::collections::HashSet;
use std::fmt::Write;

use str0m::Candidate;
use str0m::change::SdpOffer;
use str0m::format::{CodecConfig, PayloadParams};

use super::format::{Format, Meanings, formats};
use super::{CANDIDATES_MAX, Description, Direction, SSRCS_MAX, Section, Unreadable, candidate};

/// Profiles that must be accepted (RFC 9429 section 5.1.2), however media is secured and fed back in the end.
const PROTOCOLS: [&str; 8] = [
    "UDP/TLS/RTP/SAVPF",
    "UDP/TLS/RTP/SAVP",
    "TCP/DTLS/RTP/SAVPF",
    "TCP/DTLS/RTP/SAVP",
    "RTP/SAVPF",
    "RTP/SAVP",
    "RTP/AVPF",
    "RTP/AVP",
];
/// Hash functions of a fingerprint that the node can compare with, the stronger first, and their lengths in bytes.
const HASHES: [(&str, usize); 2] = [("sha-256", 32), ("sha-1", 20)];
/// Longest mid that str0m keeps whole, in bytes.
const MID_MAX: usize = 16;
/// Longest rid that str0m keeps whole, in bytes.
const RID_MAX: usize = 8;
const MID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// Header extensions' numbers that str0m maps.
const EXTENSIONS: std::ops::RangeInclusive<u8> = 1..=16;

/// The directions in which the node uses a connection's media.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wants {
    pub(crate) sends: bool,
    pub(crate) receives: bool,
}

/// An offer that can be answered, at least in one section.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    pub(super) description: Description<'a>,
    /// By section.
    pub(super) sections: Vec<Taken<'a>>,
    pub(super) is_bundled: bool,
    /// The lines of the transport that the taken sections share.
    transport: String,
    pub(crate) candidates: Vec<Candidate>,
}

/// The result for one section.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    /// How the section is named towards str0m.
    pub(super) name: String,
    /// Empty: it is refused.
    formats: Vec<Format<'a>>,
    direction: Direction,
}

impl Taken<'_> {
    pub(super) fn is_taken(&self) -> bool {
        !self.formats.is_empty()
    }
}

impl<'a> Offer<'a> {
    /// # Errors
    /// Why it can't be answered.
    pub(crate) fn read(text: &'a str, wants: Wants) -> Result<Self, Unreadable> {
        let description = Description::read(text)?;
        if description.has("ice-lite") {
            return Err(Unreadable("both sides would be ICE lite"));
        }
        let names = names(&description)?;
        let usable = |section: &Section<'a>, meanings: &mut Meanings| {
            let is_media = matches!(section.kind, "audio" | "video") && PROTOCOLS.contains(&section.protocol);
            let is_usable = is_media && !description.is_refused(section);
            if is_usable { formats(section, flow(&description, section, wants), meanings) } else { Vec::new() }
        };
        let first = description.media.iter().position(|section| !usable(section, &mut Meanings::new()).is_empty());
        let (bundle, is_bundled) = bundle(&description, first.ok_or(Unreadable("no codec in common"))?);
        let mut meanings = Meanings::new();
        let sections = description.media.iter().zip(names).enumerate().map(|(place, (section, name))| {
            let formats = if bundle.contains(&place) { usable(section, &mut meanings) } else { Vec::new() };
            Taken { name, formats, direction: flow(&description, section, wants) }
        });
        let sections: Vec<Taken<'_>> = sections.collect();
        let mut offer = Self { description, sections, is_bundled, transport: String::new(), candidates: Vec::new() };
        offer.transport = offer.transport_lines(&bundle)?;
        offer.candidates = offer.candidates(&bundle);
        Ok(offer)
    }

    /// How many sections it has.
    pub(crate) fn len(&self) -> usize {
        self.sections.len()
    }

    /// Its first `count` sections as str0m reads them; without the candidates.
    pub(crate) fn parsed(&self, count: usize) -> Result<SdpOffer, Unreadable> {
        SdpOffer::from_sdp_string(&self.written(count)).map_err(|error| {
            tracing::warn!(%error, "an offer that was written anew isn't read");
            Unreadable("an attribute that can't be read")
        })
    }

    /// The codecs that its connection is to have.
    pub(crate) fn codecs(&self) -> Result<CodecConfig, Unreadable> {
        let offer = self.parsed(self.len())?;
        let mut known = HashSet::new();
        let all = offer.media_lines.iter().flat_map(|line| line.rtp_params());
        let ours = all.filter(|params| {
            let written = self.sections.iter().flat_map(|section| &section.formats);
            written.into_iter().any(|format| format.pt == *params.pt()) && known.insert(params.pt())
        });
        // Of those that str0m takes for the same, the first: it panics where two of ours match one of the offer's.
        let ours = ours.fold(Vec::new(), |mut ours: Vec<PayloadParams>, params| {
            if CodecConfig::new_from_payload_params(ours.clone()).match_params(params).is_none() {
                ours.push(params);
            }
            ours
        });
        Ok(CodecConfig::new_from_payload_params(ours))
    }

    /// Attributes of the bundle's transport: those of its first section that has any, else the session's.
    fn transport(&self, bundle: &[usize], name: &str) -> Vec<&'a str> {
        let of_section = bundle.iter().map(|place| &self.description.media[*place]).find(|section| section.has(name));
        let section = of_section.or(bundle.first().map(|place| &self.description.media[*place]));
        section.map(|section| self.description.attributes(section, name)).unwrap_or_default()
    }

    fn written(&self, count: usize) -> String {
        let taken = self.sections.iter().take(count).filter(|section| section.is_taken());
        let mids: Vec<&str> = taken.map(|section| section.name.as_str()).collect();
        let mut out = format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n", mids.join(" "));
        out.push_str(&self.transport);
        for (section, taken) in self.description.media.iter().zip(&self.sections).take(count) {
            if !taken.is_taken() {
                // A section keeps its place; str0m knows two kinds.
                let kind = if section.kind == "video" { "video" } else { "audio" };
                write!(out, "m={kind} 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:{}\r\na=inactive\r\n", taken.name).ok();
                continue;
            }
            let payload_types = taken.formats.iter().flat_map(Format::payload_types);
            let payload_types: Vec<String> = payload_types.map(|pt| pt.to_string()).collect();
            write!(out, "m={} 9 UDP/TLS/RTP/SAVPF {}\r\n", section.kind, payload_types.join(" ")).ok();
            write!(out, "a=mid:{}\r\na={}\r\n", taken.name, taken.direction.name()).ok();
            taken.formats.iter().for_each(|format| format.write(&mut out));
            self.write_extensions(section, taken, &mut out);
            if taken.direction.sends() {
                write_layers(section, &mut out);
                write_sources(section, &mut out);
            }
        }
        out
    }

    fn transport_lines(&self, bundle: &[usize]) -> Result<String, Unreadable> {
        let one = |name| self.transport(bundle, name).first().map(|value| value.trim()).filter(|v| !v.is_empty());
        let (ufrag, password) = (one("ice-ufrag"), one("ice-pwd"));
        let (Some(ufrag), Some(password)) = (ufrag, password) else { return Err(Unreadable("no ICE credentials")) };
        let is_ice = |text: &str| text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_ice(ufrag) || !is_ice(password) {
            return Err(Unreadable("ICE credentials that are none"));
        }
        let (hash, fingerprint) = fingerprint(&self.transport(bundle, "fingerprint"))?;
        let setup = one("setup").unwrap_or("actpass");
        if !matches!(setup, "actpass" | "active" | "passive") {
            return Err(Unreadable("a setup that makes no connection"));
        }
        Ok(format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=fingerprint:{hash} {fingerprint}\r\na=setup:{setup}\r\n"
        ))
    }

    fn candidates(&self, bundle: &[usize]) -> Vec<Candidate> {
        let sections = bundle.iter().flat_map(|place| self.description.media[*place].attributes("candidate"));
        sections.filter_map(candidate).take(CANDIDATES_MAX).collect()
    }

    fn write_extensions(&self, section: &Section<'a>, taken: &Taken<'_>, out: &mut String) {
        let mut known = HashSet::new();
        for value in self.description.attributes(section, "extmap") {
            let mut words = value.split_ascii_whitespace();
            let id = words.next().and_then(|id| id.split('/').next()?.parse::<u8>().ok());
            let (Some(id), Some(uri)) = (id.filter(|id| EXTENSIONS.contains(id)), words.next()) else { continue };
            // Packets would carry the name that str0m knows.
            let is_alias = uri == MID_EXTENSION && section.mid() != Some(&taken.name);
            if !is_alias && known.insert(id) {
                write!(out, "a=extmap:{id} {uri}\r\n").ok();
            }
        }
    }
}

/// The sections that share the transport of the first that can be taken, in the order of the offer's group: its first
/// describes the transport (RFC 9143 section 7.2), taken or not. And whether the offer groups them. Those that would
/// need another transport are refused.
fn bundle(description: &Description<'_>, first: usize) -> (Vec<usize>, bool) {
    let mid_of = |at: usize| description.media[at].mid();
    let group = description.bundles().into_iter().find(|group| mid_of(first).is_some_and(|mid| group.contains(&mid)));
    let Some(group) = group else { return (vec![first], false) };
    let place = |mid: &&str| (0..description.media.len()).find(|at| mid_of(*at) == Some(*mid));
    (group.iter().filter_map(place).collect(), true)
}

/// The direction of the section: not more than the node wants.
fn flow(description: &Description<'_>, section: &Section<'_>, wants: Wants) -> Direction {
    let offered = description.direction(section);
    Direction::of(offered.sends() && wants.receives, offered.receives() && wants.sends)
}

/// A name for each section: its own, unless str0m can't keep it.
fn names(description: &Description<'_>) -> Result<Vec<String>, Unreadable> {
    let mut taken = HashSet::new();
    for mid in description.media.iter().filter_map(Section::mid) {
        if !taken.insert(mid.to_owned()) {
            return Err(Unreadable("two sections with one mid"));
        }
    }
    let mut name = |(at, section): (usize, &Section<'_>)| {
        let is_kept = |mid: &&str| {
            !mid.is_empty() && mid.len() <= MID_MAX && mid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if let Some(mid) = section.mid().filter(is_kept) {
            return mid.to_owned();
        }
        let free = (at..).map(|n| format!("s{n}")).find(|name| !taken.contains(name)).unwrap_or_default();
        taken.insert(free.clone());
        free
    };
    Ok(description.media.iter().enumerate().map(&mut name).collect())
}

/// The fingerprint that the other side's certificate is compared with (RFC 8122 section 5): by the strongest hash
/// function that both have.
fn fingerprint<'a>(offered: &[&'a str]) -> Result<(&'static str, &'a str), Unreadable> {
    let is_hex = |value: &str, bytes: usize| {
        let mut parts = value.split(':');
        let all = parts.by_ref().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()));
        all && value.len() + 1 == bytes * 3
    };
    for (hash, bytes) in HASHES {
        let mut values = offered.iter().filter_map(|value| value.trim().split_once(' '));
        let fits = values.find(|(name, value)| name.eq_ignore_ascii_case(hash) && is_hex(value.trim(), bytes));
        if let Some((_, value)) = fits {
            return Ok((hash, value.trim()));
        }
    }
    Err(Unreadable("no certificate fingerprint by SHA-256"))
}

/// Simulcast layers that the client would send (RFC 8853): the first of each choice.
fn write_layers(section: &Section<'_>, out: &mut String) {
    let is_rid = |rid: &str| !rid.is_empty() && rid.len() <= RID_MAX && rid.bytes().all(|b| b.is_ascii_alphanumeric());
    let sent: Vec<&str> = section
        .attributes("rid")
        .filter_map(|value| {
            let mut words = value.split_ascii_whitespace();
            let rid = words.next()?;
            (words.next()? == "send" && is_rid(rid)).then_some(rid)
        })
        .collect();
    let Some(simulcast) = section.attribute("simulcast") else { return };
    let mut words = simulcast.split_ascii_whitespace();
    let Some(layers) = words.by_ref().find(|word| *word == "send").and_then(|_| words.next()) else { return };
    // "rid=" is what Firefox wrote before the RFC.
    let layers = layers.trim_start_matches("rid=").split(';');
    let first = layers.filter_map(|choice| Some(choice.split(',').next()?.trim_start_matches('~')));
    let layers: Vec<&str> = first.filter(|rid| sent.contains(rid)).collect();
    if layers.is_empty() {
        return;
    }
    for rid in &layers {
        write!(out, "a=rid:{rid} send\r\n").ok();
    }
    write!(out, "a=simulcast:send {}\r\n", layers.join(";")).ok();
}

/// The SSRCs that the client announces, and which resends for which (RFC 5576).
fn write_sources(section: &Section<'_>, out: &mut String) {
    let mut sources: Vec<u32> = Vec::new();
    let named = section.attributes("ssrc").filter_map(|value| value.split(' ').next()?.parse().ok());
    for ssrc in named {
        if !sources.contains(&ssrc) && sources.len() < SSRCS_MAX {
            sources.push(ssrc);
            write!(out, "a=ssrc:{ssrc} cname:-\r\n").ok();
        }
    }
    for group in section.attributes("ssrc-group") {
        let mut words = group.split_ascii_whitespace();
        let is_fid = words.next() == Some("FID");
        let pair: Vec<u32> = words.filter_map(|ssrc| ssrc.parse().ok()).collect();
        if let ([main, resent], true) = (&pair[..], is_fid)
            && sources.contains(main)
            && sources.contains(resent)
        {
            write!(out, "a=ssrc-group:FID {main} {resent}\r\n").ok();
        }
    }
}

/// A description in the order and with the lines that str0m reads, otherwise as it is.
pub(super) fn normalized(description: &Description<'_>) -> String {
    let mut out = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_owned();
    let attributes = |lines: &[&str], out: &mut String| {
        lines.iter().filter(|line| line.starts_with("a=")).for_each(|line| {
            out.push_str(line);
            out.push_str("\r\n");
        });
    };
    attributes(&description.session, &mut out);
    for Section { kind, port, protocol, formats, lines } in &description.media {
        write!(out, "m={kind} {port} {protocol} {}\r\n", formats.join(" ")).ok();
        attributes(lines, &mut out);
    }
    out
}
