//! Two offers made into two answers. A browser offers to receive (that is how the group call goes), and so does Janus
//! offer to send: each is told the other's offer as an answer to its own. Pure.
//!
//! Both sides may use a codec that both offered under the same payload type: Janus sends with its own payload types and
//! reads no others from an answer. A client with other numbers is told so; it may ask for Janus's offer and answer
//! that. Header extensions are left out, since their numbers are each side's own; without `mid` a stream is told by its
//! SSRC (RFC 8843 section 9.2), which Janus's offer names. Both believe they control ICE, which the rule for that
//! conflict settles (RFC 8445 section 7.3.1.1).

use std::fmt::Write;

use confgate_sfu::sdp::{Description, Direction, Section};

/// Both answers, and which of the client's m-sections stands for which of Janus's.
#[derive(Debug, PartialEq)]
pub struct Mirrored {
    pub for_client: String,
    pub for_janus: String,
    /// (client's mid, Janus's mid)
    pub mids: Vec<(String, String)>,
    /// The client has no codec for one of the tracks.
    pub lacks_codec: bool,
}

/// The reason why the two offers make no answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmirrored {
    /// One is no description, or there is nothing that both can use.
    Nothing,
    /// A codec that both have is under another number at each.
    PayloadTypes,
}

/// `stream`: what the client is to call the stream (RFC 8830); Janus gives all of its own one name.
///
/// # Errors
/// Why there are none.
pub fn mirror(client: &str, janus: &str, stream: &str) -> Result<Mirrored, Unmirrored> {
    let read = |text| Description::read(text).map_err(|_| Unmirrored::Nothing);
    let (client, janus) = (read(client)?, read(janus)?);
    let (pairs, lacks_codec) = pair(&client, &janus)?;
    let mids = pairs.iter().filter_map(|(c, j)| Some((c.mid()?.to_owned(), j.mid()?.to_owned()))).collect::<Vec<_>>();
    if mids.is_empty() || mids.len() != pairs.len() {
        return Err(Unmirrored::Nothing);
    }
    let of_client = |section: &Section<'_>| pairs.iter().find(|(c, _)| std::ptr::eq(*c, section)).map(|(_, j)| *j);
    let of_janus = |section: &Section<'_>| pairs.iter().find(|(_, j)| std::ptr::eq(*j, section)).map(|(c, _)| *c);
    let for_client = answer(&client, &janus, &of_client, Side { setup: "passive", sends: Some(stream) });
    let for_janus = answer(&janus, &client, &of_janus, Side { setup: "active", sends: None });
    let (for_client, for_janus) = for_client.zip(for_janus).ok_or(Unmirrored::Nothing)?;
    Ok(Mirrored { for_client, for_janus, mids, lacks_codec })
}

/// Janus's own offer for a client that answers it, with the stream's name.
pub fn named(janus: &str, stream: &str) -> String {
    janus.lines().map(|line| renamed(line, stream) + "\r\n").collect()
}

fn renamed(line: &str, stream: &str) -> String {
    let head = ["a=msid:", " msid:"].into_iter().find_map(|head| Some(line.find(head)? + head.len()));
    match head.filter(|_| line.starts_with("a=msid:") || line.starts_with("a=ssrc:")) {
        Some(head) => {
            let track = line[head..].find(' ').map_or("", |at| &line[head + at..]);
            format!("{}{stream}{track}", &line[..head])
        }
        None => line.to_owned(),
    }
}

/// The transport lines of the answering side.
struct Side<'a> {
    setup: &'static str,
    /// The name of the stream that it sends; `None`: it receives.
    sends: Option<&'a str>,
}

/// An answer to `offer` out of what `other` offered, whose sections `other_of` gives.
fn answer<'a>(
    offer: &Description<'a>,
    other: &Description<'a>,
    other_of: &dyn Fn(&Section<'a>) -> Option<&'a Section<'a>>,
    side: Side<'_>,
) -> Option<String> {
    let used: Vec<&str> = offer.media.iter().filter(|s| other_of(s).is_some()).filter_map(|s| s.mid()).collect();
    let mut out = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
    write!(out, "a=group:BUNDLE {}\r\na=msid-semantic: WMS *\r\n", used.join(" ")).ok()?;
    // All share one transport: what leads there stands where it is described (RFC 9429 section 5.3.1).
    let is_candidate = |line: &&&str| line.starts_with("a=candidate:") || **line == "a=end-of-candidates";
    let mut candidates: Vec<&str> = Vec::new();
    for line in other.media.iter().flat_map(|section| &section.lines).filter(is_candidate) {
        if !candidates.contains(line) {
            candidates.push(line);
        }
    }
    for section in &offer.media {
        let Some(from) = other_of(section) else {
            refused(section, &mut out)?;
            continue;
        };
        answered(section, from, other, &side, &mut out)?;
        candidates.drain(..).for_each(|line| out.push_str(&format!("{line}\r\n")));
    }
    Some(out)
}

/// The sections of either that carry the same kind and have a payload type in common, each used once; and whether one
/// of the client's has no codec for a track of its kind.
fn pair<'a, 'b>(client: &'b Description<'a>, janus: &'b Description<'a>) -> Result<(Pairs<'a, 'b>, bool), Unmirrored> {
    let active = |description: &Description<'a>, section: &Section<'a>| {
        let carried = description.direction(section) != Direction::Inactive && !description.is_refused(section);
        carried && matches!(section.kind, "audio" | "video")
    };
    let mut free: Vec<&Section<'a>> = janus.media.iter().filter(|s| active(janus, s)).collect();
    let (mut pairs, mut lacks_codec) = (Vec::new(), false);
    for ours in client.media.iter().filter(|s| active(client, s)) {
        let fits = |theirs: &&Section<'_>| theirs.kind == ours.kind && !common(ours, theirs).is_empty();
        if let Some(at) = free.iter().position(fits) {
            pairs.push((ours, free.remove(at)));
        } else if free.iter().any(|theirs| theirs.kind == ours.kind && has_codec_of(ours, theirs)) {
            return Err(Unmirrored::PayloadTypes);
        } else {
            lacks_codec |= free.iter().any(|theirs| theirs.kind == ours.kind);
        }
    }
    Ok((pairs, lacks_codec))
}

/// The client's section, and Janus's.
type Pairs<'a, 'b> = Vec<(&'b Section<'a>, &'b Section<'a>)>;

fn codec(section: &Section<'_>, payload: &str) -> Option<String> {
    section.of_format("rtpmap", payload).next().map(str::to_ascii_lowercase)
}

/// Whether one side's codec is among the other's under any payload type.
fn has_codec_of(ours: &Section<'_>, theirs: &Section<'_>) -> bool {
    let codecs = |section: &Section<'_>| -> Vec<String> {
        let media = section.formats.iter().filter(|p| repairs(section, p).is_none());
        media.filter_map(|payload| codec(section, payload)).collect()
    };
    let ours = codecs(ours);
    codecs(theirs).iter().any(|codec| ours.contains(codec))
}

/// Payload types that mean the same codec on both sides; RTX only together with what it repairs.
fn common<'a>(ours: &Section<'a>, theirs: &Section<'_>) -> Vec<&'a str> {
    let same = |p: &&&str| {
        let codec_of_ours = codec(ours, p);
        codec_of_ours.is_some() && codec_of_ours == codec(theirs, p) && h264(ours, p) == h264(theirs, p)
    };
    let all: Vec<&'a str> = ours.formats.iter().filter(same).copied().collect();
    let media: Vec<&'a str> = all.iter().filter(|p| repairs(ours, p).is_none()).copied().collect();
    let stays = |p: &&str| match (repairs(ours, p), repairs(theirs, p)) {
        (None, None) => true,
        (Some(ours), Some(theirs)) => ours == theirs && media.contains(&ours),
        _ => false,
    };
    if media.is_empty() { media } else { all.into_iter().filter(stays).collect() }
}

/// The payload type that an RTX payload type repairs (RFC 4588 section 8.1).
fn repairs<'a>(section: &Section<'a>, payload: &str) -> Option<&'a str> {
    section.of_format("fmtp", payload).find_map(|fmtp| fmtp.strip_prefix("apt="))
}

/// The parameters that tell H.264 streams apart (RFC 6184 section 8.2.2): the packetization mode and the profile.
fn h264(section: &Section<'_>, payload: &str) -> Option<(String, String)> {
    let fmtp = section.of_format("fmtp", payload).next()?;
    let of = |name: &str| {
        let found = fmtp.split(';').find_map(|p| p.trim().strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_ascii_lowercase()
    };
    let profile = of("profile-level-id");
    (!profile.is_empty()).then(|| (of("packetization-mode"), profile.chars().take(4).collect()))
}

/// This section answered with what the other side offered.
fn answered<'a>(
    section: &Section<'a>,
    from: &Section<'a>,
    other: &Description<'a>,
    side: &Side<'_>,
    out: &mut String,
) -> Option<()> {
    let payloads = common(section, from);
    let direction = if side.sends.is_some() { "sendonly" } else { "recvonly" };
    write!(out, "m={} 9 {} {}\r\nc=IN IP4 0.0.0.0\r\n", section.kind, section.protocol, payloads.join(" ")).ok()?;
    write!(out, "a=mid:{}\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n", section.mid()?).ok()?;
    for name in ["ice-ufrag", "ice-pwd", "fingerprint"] {
        write!(out, "a={name}:{}\r\n", other.attribute(from, name)?).ok()?;
    }
    write!(out, "a=ice-options:trickle\r\na=setup:{}\r\n", side.setup).ok()?;
    for payload in payloads {
        for name in ["rtpmap", "rtcp-fb", "fmtp"] {
            for value in from.of_format(name, payload).filter(|value| !value.contains("transport-cc")) {
                write!(out, "a={name}:{payload} {value}\r\n").ok()?;
            }
        }
    }
    let is_source = |line: &&&str| ["a=msid:", "a=ssrc:", "a=ssrc-group:"].iter().any(|head| line.starts_with(head));
    if let Some(stream) = side.sends {
        for line in from.lines.iter().filter(is_source) {
            write!(out, "{}\r\n", renamed(line, stream)).ok()?;
        }
    }
    Some(())
}

fn refused(section: &Section<'_>, out: &mut String) -> Option<()> {
    let payload = section.formats.first().copied().unwrap_or("0");
    write!(out, "m={} 0 {} {payload}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n", section.kind, section.protocol).ok()?;
    if let Some(mid) = section.mid() {
        write!(out, "a=mid:{mid}\r\n").ok()?;
    }
    Some(())
}
