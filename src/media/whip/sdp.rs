//! An offer without what its sender may not send, and the answer to it as one to the whole offer.

use confgate_sfu::sdp::{Description, Section};

/// The offer without its audio, or its video. `None`: nothing is left. A text that is no SDP is for the server to
/// refuse.
pub fn permitted(offer: &str, audio: bool, video: bool) -> Option<String> {
    let Ok(mut read) = Description::read(offer) else { return Some(offer.to_owned()) };
    let may = |section: &Section<'_>| match section.kind {
        "audio" => audio,
        "video" => video,
        _ => true,
    };
    let offered = read.media.len();
    read.media.retain(may);
    if read.media.len() == offered {
        return Some(offer.to_owned());
    }
    let mids: Vec<&str> = read.media.iter().filter_map(Section::mid).collect();
    let bundle = format!("a=group:BUNDLE {}", mids.join(" "));
    read.session.iter_mut().filter(|line| line.starts_with("a=group:BUNDLE")).for_each(|line| *line = &bundle);
    // A section that was bundled with a removed section has its own transport now.
    let first = read.media.first_mut()?;
    first.port = 9;
    first.lines.retain(|line| *line != "a=bundle-only");
    Some(read.to_string())
}

/// The answer with a refused section for each that was left out of the offer.
pub fn completed(answer: &str, offer: &str) -> String {
    let (Ok(offered), Ok(answered)) = (Description::read(offer), Description::read(answer)) else {
        return answer.to_owned();
    };
    if offered.media.len() == answered.media.len() {
        return answer.to_owned();
    }
    let mut theirs = answered.media.into_iter().peekable();
    let media = offered
        .media
        .iter()
        .map(|section| theirs.next_if(|theirs| theirs.mid() == section.mid()).unwrap_or_else(|| refused(section)));
    Description { media: media.collect(), session: answered.session }.to_string()
}

/// The first transport's lines that a fragment names its candidates by (RFC 8840 section 9).
pub fn fragment_head(offer: &str) -> String {
    let names = ["a=ice-ufrag:", "a=ice-pwd:", "m=", "a=mid:"];
    let found = names.iter().filter_map(|name| offer.lines().find(|line| line.starts_with(name)));
    found.map(|line| format!("{}\r\n", line.trim_end())).collect()
}

/// With its formats' names: some parsers want them, port or no port.
fn refused<'a>(section: &Section<'a>) -> Section<'a> {
    let named = section.lines.iter().filter(|line| line.starts_with("a=mid:") || line.starts_with("a=rtpmap:"));
    let lines = ["c=IN IP4 0.0.0.0", "a=inactive"].into_iter().chain(named.copied()).collect();
    Section { port: 0, lines, ..section.clone() }
}
