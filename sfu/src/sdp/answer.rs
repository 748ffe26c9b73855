//! The node's answer: what str0m answers, in the sections, names and groups of the offer as it came.

use std::fmt::Write;

use super::offer::{Offer, Taken};
use super::{Description, Section, Unreadable};

/// Attributes of a section whose media isn't sent that say nothing then.
const OF_SENDERS: [&str; 3] = ["msid", "ssrc", "ssrc-group"];

impl Offer<'_> {
    /// `made`: str0m's answer to the offer that it was given. `identity` names the stream whose tracks belong together
    /// (RFC 8830) and their sender (RFC 8834 section 4.9).
    pub(crate) fn answer(&self, made: &str, identity: &str) -> Result<String, Unreadable> {
        let made = Description::read(made)?;
        if made.media.len() != self.sections.len() {
            return Err(Unreadable("an answer of other sections than the offer's"));
        }
        let is_taken = |(taken, made): &(&Taken<'_>, &Section<'_>)| taken.is_taken() && made.port != 0;
        let all = || self.sections.iter().zip(&made.media);
        let first = all().position(|pair| is_taken(&pair)).ok_or(Unreadable("an answer that takes nothing"))?;
        let candidates: Vec<&str> = made.media.iter().flat_map(|section| section.attributes("candidate")).collect();
        let mut out = self.session(&made, all().map(|pair| is_taken(&pair)), identity);
        for (at, pair) in all().enumerate() {
            let offered = &self.description.media[at];
            if !is_taken(&pair) {
                refuse(offered, &mut out);
                continue;
            }
            let Section { kind, protocol, .. } = offered;
            write!(out, "m={kind} 9 {protocol} {}\r\nc=IN IP4 0.0.0.0\r\n", pair.1.formats.join(" ")).ok();
            if at == first {
                candidates.iter().for_each(|candidate| out.push_str(&format!("a=candidate:{candidate}\r\n")));
            }
            if let Some(mid) = offered.mid() {
                write!(out, "a=mid:{mid}\r\n").ok();
            }
            write_media(pair.1, &format!("{identity} {identity}-{at}"), identity, &mut out);
        }
        Ok(out)
    }

    fn session(&self, made: &Description<'_>, taken: impl Iterator<Item = bool>, identity: &str) -> String {
        let mut out = "v=0\r\n".to_owned();
        let origin = made.session.iter().find_map(|line| line.strip_prefix("o=")).unwrap_or("- 1 1 IN IP4 0.0.0.0");
        let origin: Vec<&str> = origin.split(' ').skip(1).collect();
        write!(out, "o=- {}\r\ns=-\r\nt=0 0\r\n", origin.join(" ")).ok();
        let taken = self.description.media.iter().zip(taken).filter(|(_, taken)| *taken);
        let mids: Vec<&str> = taken.filter_map(|(section, _)| section.mid()).collect();
        if self.is_bundled {
            write!(out, "a=group:BUNDLE {}\r\n", mids.join(" ")).ok();
        }
        if self.description.has("extmap-allow-mixed") {
            out.push_str("a=extmap-allow-mixed\r\n");
        }
        if made.media.iter().any(sends) {
            write!(out, "a=msid-semantic: WMS {identity}\r\n").ok();
        }
        if made.has("ice-lite") {
            out.push_str("a=ice-lite\r\n");
        }
        out
    }
}

/// The answer with all tracks in the stream of the first, as one sender's on one connection are (RFC 8830).
/// `None`: they are already, or it is no description.
pub fn as_one_stream(answer: &str) -> Option<String> {
    let read = Description::read(answer).ok()?;
    let mut streams = read.media.iter().flat_map(|section| section.attributes("msid"));
    let first = streams.next()?.split(' ').next()?;
    if streams.all(|msid| msid.split(' ').next() == Some(first)) {
        return None;
    }
    let line = |line: &str| {
        let head = ["a=msid:", " msid:"].into_iter().find_map(|head| Some(line.find(head)? + head.len()))?;
        let rest = line[head..].find(' ').map_or("", |at| &line[head + at..]);
        line.starts_with("a=").then(|| format!("{}{first}{rest}\r\n", &line[..head]))
    };
    Some(answer.lines().map(|text| line(text).unwrap_or_else(|| format!("{text}\r\n"))).collect())
}

fn sends(section: &Section<'_>) -> bool {
    section.port != 0 && section.direction().is_some_and(super::Direction::sends)
}

/// The section's attributes, with one stream and one CNAME for all tracks.
fn write_media(made: &Section<'_>, msid: &str, cname: &str, out: &mut String) {
    for line in &made.lines {
        let Some(attribute) = line.strip_prefix("a=") else { continue };
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "candidate" | "mid" => {}
            _ if OF_SENDERS.contains(&name) && !sends(made) => {}
            "msid" => drop(write!(out, "a=msid:{msid}\r\n")),
            "ssrc" => {
                let (ssrc, of_source) = value.split_once(' ').unwrap_or((value, ""));
                match of_source.split(':').next() {
                    Some("cname") => drop(write!(out, "a=ssrc:{ssrc} cname:{cname}\r\n")),
                    Some("msid") => drop(write!(out, "a=ssrc:{ssrc} msid:{msid}\r\n")),
                    _ => {}
                }
            }
            _ => drop(write!(out, "{line}\r\n")),
        }
    }
}

/// A refused section keeps its formats and what they mean: some parsers want both, port or no port.
fn refuse(offered: &Section<'_>, out: &mut String) {
    let Section { kind, protocol, formats, .. } = offered;
    write!(out, "m={kind} 0 {protocol} {}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n", formats.join(" ")).ok();
    if let Some(mid) = offered.mid() {
        write!(out, "a=mid:{mid}\r\n").ok();
    }
    for format in formats {
        for map in offered.of_format("rtpmap", format) {
            write!(out, "a=rtpmap:{format} {map}\r\n").ok();
        }
    }
}
