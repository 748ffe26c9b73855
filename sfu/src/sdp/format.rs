//! The formats of an m-section that the node forwards.

use std::collections::HashMap;

use super::{Direction, Section};

/// Codecs in the order in which the node answers them: VP8 first, which every browser sends with simulcast. Each with
/// its clock rate and channels (RFC 7587, RFC 7741, RFC 6184, RFC 9628, AV1's RTP specification).
pub(super) const CODECS: [(&str, &str, u32, u8); 5] = [
    ("audio", "opus", 48_000, 2),
    ("video", "VP8", 90_000, 1),
    ("video", "H264", 90_000, 1),
    ("video", "VP9", 90_000, 1),
    ("video", "AV1", 90_000, 1),
];
/// Feedback that the node gives or takes (RFC 4585, RFC 5104).
const FEEDBACK: [&str; 5] = ["nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"];
/// Resends (RFC 4588) and redundant audio (RFC 2198).
const RTX: &str = "rtx";
const RED: &str = "red";

/// A codec under a payload type, with what repairs it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Format<'a> {
    pub pt: u8,
    name: &'static str,
    clock: u32,
    channels: u8,
    parameters: Option<&'a str>,
    feedback: Vec<&'static str>,
    rtx: Option<u8>,
    red: Option<u8>,
}

/// The meaning of each payload type in the bundle: the same in all of its sections (RFC 9143 section 9.1).
pub(super) type Meanings = HashMap<u8, String>;

/// `<name>/<clock rate>[/<channels>]`.
pub(super) struct Mapped<'a> {
    name: &'a str,
    clock: u32,
    channels: u8,
}

/// The section's formats that the node forwards, in its order. `flow`: what the client does.
pub(super) fn formats<'a>(section: &Section<'a>, flow: Direction, meanings: &mut Meanings) -> Vec<Format<'a>> {
    let of_kind = CODECS.iter().filter(|(kind, ..)| *kind == section.kind);
    let mut found = Vec::new();
    for (_, name, clock, channels) in of_kind {
        for (place, format) in section.formats.iter().enumerate() {
            let Some(pt) = payload_type(format) else { continue };
            let fits = mapped(section, format).is_some_and(|map| map.is(name, *clock, *channels));
            if !fits || !claim(meanings, pt, name) {
                continue;
            }
            let rtx = repair(section, RTX, *clock, |parameters| has_parameter(parameters, "apt", format));
            let red = repair(section, RED, *clock, |parameters| parameters.split('/').next() == Some(format))
                // A sender prefers it by naming it first; who receives takes it in any place.
                .filter(|(at, _)| !flow.sends() || *at < place);
            let rtx = rtx.map(|(_, rtx)| rtx).filter(|rtx| claim(meanings, *rtx, &format!("{RTX} {pt}")));
            let red = red.map(|(_, red)| red).filter(|red| claim(meanings, *red, &format!("{RED} {pt}")));
            let feedback = FEEDBACK
                .into_iter()
                .filter(|wanted| section.of_format("rtcp-fb", format).any(|v| v == *wanted))
                .collect();
            let parameters = section.of_format("fmtp", format).next().filter(|parameters| !parameters.is_empty());
            found.push(Format { pt, name, clock: *clock, channels: *channels, parameters, feedback, rtx, red });
        }
    }
    found
}

impl Format<'_> {
    /// Its payload types, in the order of an m-line.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> {
        [self.red, Some(self.pt), self.rtx].into_iter().flatten()
    }

    pub fn write(&self, out: &mut String) {
        let Format { pt, name, clock, .. } = self;
        let channels = if self.channels > 1 { format!("/{}", self.channels) } else { String::new() };
        out.push_str(&format!("a=rtpmap:{pt} {name}/{clock}{channels}\r\n"));
        for feedback in &self.feedback {
            out.push_str(&format!("a=rtcp-fb:{pt} {feedback}\r\n"));
        }
        if let Some(parameters) = self.parameters {
            out.push_str(&format!("a=fmtp:{pt} {parameters}\r\n"));
        }
        if let Some(rtx) = self.rtx {
            out.push_str(&format!("a=rtpmap:{rtx} {RTX}/{clock}\r\na=fmtp:{rtx} apt={pt}\r\n"));
        }
        if let Some(red) = self.red {
            out.push_str(&format!("a=rtpmap:{red} {RED}/{clock}{channels}\r\na=fmtp:{red} {pt}/{pt}\r\n"));
        }
    }
}

impl Mapped<'_> {
    pub(super) fn is(&self, name: &str, clock: u32, channels: u8) -> bool {
        self.name.eq_ignore_ascii_case(name) && self.clock == clock && self.channels == channels
    }
}

fn payload_type(format: &str) -> Option<u8> {
    format.parse().ok().filter(|pt| *pt < 128)
}

pub(super) fn mapped<'a>(section: &Section<'a>, format: &str) -> Option<Mapped<'a>> {
    let mut words = section.attributes("rtpmap").find_map(|value| {
        let (of, map) = value.split_once(' ')?;
        (of == format).then(|| map.trim().split('/'))
    })?;
    let (name, clock) = (words.next()?, words.next()?.parse().ok()?);
    let channels = words.next().map_or(Some(1), |channels| channels.parse().ok())?;
    Some(Mapped { name, clock, channels })
}

/// The place and payload type of the format that repairs another, as its parameters say.
fn repair(section: &Section<'_>, name: &str, clock: u32, of: impl Fn(&str) -> bool) -> Option<(usize, u8)> {
    section.formats.iter().enumerate().find_map(|(at, format)| {
        let map = mapped(section, format)?;
        let fits = map.name.eq_ignore_ascii_case(name) && map.clock == clock;
        let names_it = section.of_format("fmtp", format).next().is_some_and(&of);
        Some((at, payload_type(format).filter(|_| fits && names_it)?))
    })
}

/// Whether `parameters` (RFC 8866 section 6.15, with the syntax of RFC 4588) hold that value.
fn has_parameter(parameters: &str, name: &str, value: &str) -> bool {
    parameters.split(';').filter_map(|p| p.split_once('=')).any(|(n, v)| n.trim() == name && v.trim() == value)
}

/// `false`: the payload type means something else already.
fn claim(meanings: &mut Meanings, pt: u8, meaning: &str) -> bool {
    meanings.entry(pt).or_insert_with(|| meaning.to_owned()) == meaning
}
