//! A description taken apart into its sections and lines, as lenient as RFC 8866 (sections 5 and 9) asks a reader to be:
//! lines end with CRLF or LF, and what isn't known is passed over.

use super::{FORMATS_MAX, SDP_MAX, SECTIONS_MAX};

/// A description, borrowed from its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description<'a> {
    /// Lines before the first m-line, without their ends.
    pub session: Vec<&'a str>,
    /// The media sections, in order.
    pub media: Vec<Section<'a>>,
}

/// An m-section: the m-line's fields, and the lines after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section<'a> {
    /// `audio`, `video`, `application` or another.
    pub kind: &'a str,
    /// 0: refused, or only bundled (RFC 9143 section 6).
    pub port: u16,
    /// The transport protocol of the `m=` line.
    pub protocol: &'a str,
    /// The payload types of the `m=` line.
    pub formats: Vec<&'a str>,
    /// The section's other lines, without line ends.
    pub lines: Vec<&'a str>,
}

/// The direction of media, as seen by the author of the description (RFC 8866 section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `sendrecv`
    SendRecv,
    /// `sendonly`
    SendOnly,
    /// `recvonly`
    RecvOnly,
    /// `inactive`
    Inactive,
}

/// The reason why a text is no description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

impl Direction {
    /// All directions.
    pub const ALL: [Self; 4] = [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive];

    /// The attribute's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The direction of one that sends, receives, both or neither.
    pub fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether media is sent.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether media is received.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

impl<'a> Description<'a> {
    /// # Errors
    /// The reason why the text is no description.
    pub fn read(text: &'a str) -> Result<Self, Unreadable> {
        if text.len() > SDP_MAX {
            return Err(Unreadable("longer than a description may be"));
        }
        let mut lines = text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty());
        if lines.next().map(str::trim_end) != Some("v=0") {
            return Err(Unreadable("the first line is not v=0"));
        }
        let mut read = Self { session: Vec::new(), media: Vec::new() };
        for line in lines {
            if line.as_bytes().get(1) != Some(&b'=') || !line.as_bytes()[0].is_ascii_lowercase() {
                return Err(Unreadable("a line that is not <type>=<value>"));
            }
            if line.bytes().any(|byte| byte == 0 || byte == b'\r') {
                return Err(Unreadable("a line with a byte that no line has"));
            }
            match line.strip_prefix("m=") {
                Some(_) if read.media.len() == SECTIONS_MAX => return Err(Unreadable("too many m-sections")),
                Some(m) => read.media.push(Section::read(m)?),
                None => read.media.last_mut().map_or(&mut read.session, |section| &mut section.lines).push(line),
            }
        }
        if read.media.is_empty() {
            return Err(Unreadable("no m-section"));
        }
        Ok(read)
    }

    /// An attribute of the section, or of the session where the section has none (RFC 8866 section 5.13).
    pub fn attribute(&self, section: &Section<'a>, name: &str) -> Option<&'a str> {
        section.attribute(name).or_else(|| values(&self.session, name).next())
    }

    /// All values of the section's attribute, or else of the session's.
    pub fn attributes(&self, section: &Section<'a>, name: &str) -> Vec<&'a str> {
        let of_section: Vec<&str> = section.attributes(name).collect();
        if of_section.is_empty() { values(&self.session, name).collect() } else { of_section }
    }

    /// Whether the session has the attribute.
    pub fn has(&self, name: &str) -> bool {
        values(&self.session, name).next().is_some()
    }

    /// Without a word of its own a section has the session's direction, else both (RFC 8866 section 6.7).
    pub fn direction(&self, section: &Section<'a>) -> Direction {
        section.direction().or_else(|| direction(&self.session)).unwrap_or(Direction::SendRecv)
    }

    /// The mids of each BUNDLE group (RFC 9143 section 5).
    pub fn bundles(&self) -> Vec<Vec<&'a str>> {
        let mids = |group: &'a str| {
            let mut words = group.split_ascii_whitespace();
            (words.next() == Some("BUNDLE")).then(|| words.collect())
        };
        values(&self.session, "group").filter_map(mids).collect()
    }

    /// Whether the section is refused: port 0, and not because it is to share another's transport.
    pub fn is_refused(&self, section: &Section<'a>) -> bool {
        let bundled = |mid| self.bundles().iter().any(|group| group.contains(&mid));
        section.port == 0 && !section.mid().is_some_and(bundled)
    }
}

impl std::fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v=0\r\n")?;
        self.session.iter().try_for_each(|line| write!(f, "{line}\r\n"))?;
        self.media.iter().try_for_each(|section| write!(f, "{section}"))
    }
}

impl std::fmt::Display for Section<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Section { kind, port, protocol, formats, lines } = self;
        write!(f, "m={kind} {port} {protocol} {}\r\n", formats.join(" "))?;
        lines.iter().try_for_each(|line| write!(f, "{line}\r\n"))
    }
}

impl<'a> Section<'a> {
    fn read(m: &'a str) -> Result<Self, Unreadable> {
        let mut words = m.split_ascii_whitespace();
        let (Some(kind), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(Unreadable("an m-line of fewer than four fields"));
        };
        // "<port>/<number of ports>".
        let port = port.split('/').next().and_then(|port| port.parse().ok());
        let formats: Vec<&str> = words.take(FORMATS_MAX).collect();
        if formats.is_empty() {
            return Err(Unreadable("an m-line of fewer than four fields"));
        }
        Ok(Self {
            kind,
            port: port.ok_or(Unreadable("an m-line without a port"))?,
            protocol,
            formats,
            lines: Vec::new(),
        })
    }

    /// The value of the first such attribute; empty for a flag.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes(name).next()
    }

    /// The values of all attributes of that name; of one without a value, "".
    pub fn attributes<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        values(&self.lines, name)
    }

    /// Whether the section has that attribute.
    pub fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// The section's `a=mid`.
    pub fn mid(&self) -> Option<&'a str> {
        self.attribute("mid").map(str::trim)
    }

    /// The section's own direction, if it names one.
    pub fn direction(&self) -> Option<Direction> {
        direction(&self.lines)
    }

    /// The values of an attribute such as `rtpmap` for the format; `*` applies to all formats.
    pub fn of_format<'s>(&'s self, name: &'s str, format: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.attributes(name).filter_map(move |value| {
            let (of, rest) = value.split_once(' ')?;
            (of == format || of == "*").then_some(rest.trim())
        })
    }
}

fn direction(lines: &[&str]) -> Option<Direction> {
    Direction::ALL.into_iter().find(|direction| values(lines, direction.name()).next().is_some())
}

fn values<'a, 's>(lines: &'s [&'a str], name: &'s str) -> impl Iterator<Item = &'a str> + 's {
    lines.iter().filter_map(move |line| {
        let rest = line.strip_prefix("a=")?.strip_prefix(name)?;
        if rest.trim().is_empty() { Some("") } else { rest.strip_prefix(':') }
    })
}
