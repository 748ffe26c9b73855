//! Two offers made into two answers. A browser offers to receive (that is how the group call goes), and so does Janus
//! offer to send: each is told the other's offer as an answer to its own. Pure.
//!
//! What both may use is what both offered under the same payload type: Janus sends with its own and reads no other from
//! an answer. Header extensions are left out, since their numbers are each side's own; without `mid` a stream is told
//! by its SSRC (RFC 8843 section 9.2), which Janus's offer names. Both believe they control ICE, which the conflict's
//! rule settles (RFC 8445 section 7.3.1.1).

use std::fmt::Write;

/// Largest description that is read, in bytes.
pub const SDP_MAX: usize = 64 * 1024;
/// Most m-sections that are looked at.
const SECTIONS_MAX: usize = 16;

/// Both answers, and which of the client's m-sections stands for which of Janus's.
#[derive(Debug, PartialEq)]
pub struct Mirrored {
    pub for_client: String,
    pub for_janus: String,
    /// (client's mid, Janus's mid)
    pub mids: Vec<(String, String)>,
}

/// One description, taken apart into lines without `\r\n`.
struct Description<'a> {
    session: Vec<&'a str>,
    media: Vec<Section<'a>>,
}

struct Section<'a> {
    kind: &'a str,
    protocol: &'a str,
    payloads: Vec<&'a str>,
    lines: Vec<&'a str>,
}

/// `None`: nothing that both can use.
pub fn mirror(client: &str, janus: &str) -> Option<Mirrored> {
    let (client, janus) = (Description::read(client)?, Description::read(janus)?);
    let pairs = client.pair(&janus);
    if pairs.is_empty() {
        return None;
    }
    let mids = pairs.iter().filter_map(|(c, j)| Some((c.mid()?.to_owned(), j.mid()?.to_owned()))).collect::<Vec<_>>();
    if mids.len() != pairs.len() {
        return None;
    }
    let of_client = |section: &Section<'_>| pairs.iter().find(|(c, _)| std::ptr::eq(*c, section)).map(|(_, j)| *j);
    let of_janus = |section: &Section<'_>| pairs.iter().find(|(_, j)| std::ptr::eq(*j, section)).map(|(c, _)| *c);
    let for_client = answer(&client, &janus, &of_client, Side { setup: "passive", direction: "sendonly" })?;
    let for_janus = answer(&janus, &client, &of_janus, Side { setup: "active", direction: "recvonly" })?;
    Some(Mirrored { for_client, for_janus, mids })
}

/// What the answering side says of itself.
struct Side {
    setup: &'static str,
    direction: &'static str,
}

/// An answer to `offer` out of what `other` offered, whose sections `other_of` gives.
fn answer<'a>(
    offer: &Description<'a>,
    other: &Description<'a>,
    other_of: &dyn Fn(&Section<'a>) -> Option<&'a Section<'a>>,
    side: Side,
) -> Option<String> {
    let used: Vec<&str> = offer.media.iter().filter(|s| other_of(s).is_some()).filter_map(|s| s.mid()).collect();
    let mut out = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
    write!(out, "a=group:BUNDLE {}\r\na=msid-semantic: WMS *\r\n", used.join(" ")).ok()?;
    for section in &offer.media {
        match other_of(section) {
            Some(from) => section.answered(from, other, &side, &mut out)?,
            None => section.refused(&mut out)?,
        }
    }
    Some(out)
}

impl<'a> Description<'a> {
    fn read(text: &'a str) -> Option<Self> {
        if text.len() > SDP_MAX {
            return None;
        }
        let mut read = Self { session: Vec::new(), media: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("m=") {
                Some(_) if read.media.len() == SECTIONS_MAX => return None,
                Some(m) => read.media.push(Section::read(m)?),
                None => read.media.last_mut().map_or(&mut read.session, |section| &mut section.lines).push(line),
            }
        }
        (!read.media.is_empty()).then_some(read)
    }

    /// The sections of either that carry the same kind and have a payload type in common, each used once.
    fn pair<'b>(&'b self, janus: &'b Self) -> Vec<(&'b Section<'a>, &'b Section<'a>)> {
        let mut free: Vec<&Section<'_>> = janus.media.iter().filter(|s| s.is_active()).collect();
        let mut pairs = Vec::new();
        for ours in self.media.iter().filter(|s| s.is_active()) {
            let fits = |theirs: &&Section<'_>| theirs.kind == ours.kind && !ours.common(theirs).is_empty();
            if let Some(at) = free.iter().position(fits) {
                pairs.push((ours, free.remove(at)));
            }
        }
        pairs
    }

    /// An attribute of the section, or of the session where the section has none (RFC 8866 section 5.13).
    fn attribute(&self, section: &Section<'a>, name: &str) -> Option<&'a str> {
        section.attribute(name).or_else(|| attribute(&self.session, name))
    }
}

impl<'a> Section<'a> {
    fn read(m: &'a str) -> Option<Self> {
        let mut words = m.split(' ');
        let (kind, _port, protocol) = (words.next()?, words.next()?, words.next()?);
        Some(Self { kind, protocol, payloads: words.collect(), lines: Vec::new() })
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        attribute(&self.lines, name)
    }

    fn mid(&self) -> Option<&'a str> {
        self.attribute("mid")
    }

    fn is_active(&self) -> bool {
        matches!(self.kind, "audio" | "video") && !self.lines.contains(&"a=inactive")
    }

    /// The value of an attribute that begins with the payload type.
    fn of_payload(&self, name: &str, payload: &str) -> impl Iterator<Item = &'a str> {
        let head = format!("a={name}:{payload} ");
        self.lines.iter().filter_map(move |line| line.strip_prefix(head.as_str()))
    }

    fn codec(&self, payload: &str) -> Option<String> {
        self.of_payload("rtpmap", payload).next().map(str::to_ascii_lowercase)
    }

    /// Payload types that mean the same codec on both sides; RTX only together with what it repairs.
    fn common(&self, other: &Section<'_>) -> Vec<&'a str> {
        let same = |p: &&&str| {
            let codec = self.codec(p);
            codec.is_some() && codec == other.codec(p) && self.h264(p) == other.h264(p)
        };
        let all: Vec<&'a str> = self.payloads.iter().filter(same).copied().collect();
        let is_media = |p: &&&str| self.repairs(p).is_none();
        let media: Vec<&'a str> = all.iter().filter(is_media).copied().collect();
        let stays = |p: &&str| match (self.repairs(p), other.repairs(p)) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => ours == theirs && media.contains(&ours),
            _ => false,
        };
        if media.is_empty() { media } else { all.into_iter().filter(stays).collect() }
    }

    /// What an RTX payload type repairs (RFC 4588 section 8.1).
    fn repairs(&self, payload: &str) -> Option<&'a str> {
        self.of_payload("fmtp", payload).find_map(|fmtp| fmtp.trim().strip_prefix("apt="))
    }

    /// What tells H.264 streams apart (RFC 6184 section 8.2.2): the packetization mode and the profile.
    fn h264(&self, payload: &str) -> Option<(String, String)> {
        let fmtp = self.of_payload("fmtp", payload).next()?;
        let of = |name: &str| {
            let found = fmtp.split(';').find_map(|p| p.trim().strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().to_ascii_lowercase()
        };
        let profile = of("profile-level-id");
        (!profile.is_empty()).then(|| (of("packetization-mode"), profile.chars().take(4).collect()))
    }

    /// This section answered with what the other side offered.
    fn answered(&self, from: &Section<'a>, other: &Description<'a>, side: &Side, out: &mut String) -> Option<()> {
        let payloads = self.common(from);
        write!(out, "m={} 9 {} {}\r\nc=IN IP4 0.0.0.0\r\n", self.kind, self.protocol, payloads.join(" ")).ok()?;
        write!(out, "a=mid:{}\r\na={}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n", self.mid()?, side.direction).ok()?;
        for name in ["ice-ufrag", "ice-pwd", "fingerprint"] {
            write!(out, "a={name}:{}\r\n", other.attribute(from, name)?).ok()?;
        }
        write!(out, "a=ice-options:trickle\r\na=setup:{}\r\n", side.setup).ok()?;
        for payload in payloads {
            for name in ["rtpmap", "rtcp-fb", "fmtp"] {
                for value in from.of_payload(name, payload).filter(|value| !value.contains("transport-cc")) {
                    write!(out, "a={name}:{payload} {value}\r\n").ok()?;
                }
            }
        }
        for line in &from.lines {
            let sends = side.direction == "sendonly"
                && ["a=msid:", "a=ssrc:", "a=ssrc-group:"].iter().any(|h| line.starts_with(h));
            if sends || line.starts_with("a=candidate:") || *line == "a=end-of-candidates" {
                write!(out, "{line}\r\n").ok()?;
            }
        }
        Some(())
    }

    fn refused(&self, out: &mut String) -> Option<()> {
        let payload = self.payloads.first().copied().unwrap_or("0");
        write!(out, "m={} 0 {} {payload}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n", self.kind, self.protocol).ok()?;
        if let Some(mid) = self.mid() {
            write!(out, "a=mid:{mid}\r\n").ok()?;
        }
        Some(())
    }
}

fn attribute<'a>(lines: &[&'a str], name: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}
