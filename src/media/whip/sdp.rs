//! An offer without what its sender may not send, and the answer to it as one to the whole offer.

use crate::media::session::{joined, sections};

/// The offer without its audio, or its video. `None`: nothing is left. One of no media is for the server to refuse.
pub fn permitted(offer: &str, audio: bool, video: bool) -> Option<String> {
    let parts = sections(offer);
    let (session, media) = parts.split_first()?;
    let may = |section: &&Vec<&str>| match section.first() {
        Some(line) if line.starts_with("m=audio ") => audio,
        Some(line) if line.starts_with("m=video ") => video,
        _ => true,
    };
    let kept: Vec<&Vec<&str>> = media.iter().filter(may).collect();
    if kept.len() == media.len() {
        return Some(offer.to_owned());
    }
    if kept.is_empty() {
        return None;
    }
    let mids: Vec<&str> = kept.iter().filter_map(|section| mid(section)).collect();
    let bundle = format!("a=group:BUNDLE {}", mids.join(" "));
    let of_session = session.iter().map(|line| if line.starts_with("a=group:BUNDLE") { bundle.as_str() } else { line });
    // What was bundled with a line that is gone has its own transport now.
    let first = kept[0].first().map(|line| with_port(line, "9")).unwrap_or_default();
    let rest = kept[0].iter().skip(1).copied().filter(|line| *line != "a=bundle-only");
    let others = kept[1..].iter().flat_map(|section| section.iter().copied());
    Some(joined(of_session.chain([first.as_str()]).chain(rest).chain(others)))
}

/// The answer with a refused media line for each that was left out of the offer.
pub fn completed(answer: &str, offer: &str) -> String {
    let (offered, answered) = (sections(offer), sections(answer));
    if offered.len() == answered.len() {
        return answer.to_owned();
    }
    let mut theirs = answered.iter();
    let mut lines: Vec<String> = theirs.next().into_iter().flatten().map(|line| (*line).to_owned()).collect();
    let mut next = theirs.next();
    for section in offered.iter().skip(1) {
        match next.filter(|theirs| mid(theirs) == mid(section)) {
            Some(taken) => {
                lines.extend(taken.iter().map(|line| (*line).to_owned()));
                next = theirs.next();
            }
            None => lines.extend(refused(section)),
        }
    }
    joined(lines.iter().map(String::as_str))
}

/// The first transport's lines that a fragment names its candidates by (RFC 8840 section 9).
pub fn fragment_head(offer: &str) -> String {
    let names = ["a=ice-ufrag:", "a=ice-pwd:", "m=", "a=mid:"];
    let found = names.iter().filter_map(|name| offer.lines().find(|line| line.starts_with(name)));
    joined(found.map(str::trim_end))
}

/// With its formats' names: some parsers want them, port or no port.
fn refused(section: &[&str]) -> Vec<String> {
    let line = section.first().map(|line| with_port(line, "0"));
    let named = section.iter().filter(|line| line.starts_with("a=mid:") || line.starts_with("a=rtpmap:"));
    let address = ["c=IN IP4 0.0.0.0".to_owned(), "a=inactive".to_owned()];
    line.into_iter().chain(address).chain(named.map(|line| (*line).to_owned())).collect()
}

fn mid<'a>(section: &[&'a str]) -> Option<&'a str> {
    section.iter().find_map(|line| line.strip_prefix("a=mid:"))
}

fn with_port(line: &str, port: &str) -> String {
    let mut fields: Vec<&str> = line.split(' ').collect();
    if let Some(field) = fields.get_mut(1) {
        *field = port;
    }
    fields.join(" ")
}
