//! Offers as a session's are: one audio and one video of one stream in one direction, over one transport (RFC 9725
//! section 4.4). What the media can't take whole is refused whole.

use super::fragment::Credentials;

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Sends,
    Receives,
}

/// Why an offer isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is no SDP.
    NoSdp,
    /// It is SDP, and of something else than a session can be.
    Media(&'static str),
}

/// An offer in which every media line has the session's direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    text: String,
    pub credentials: Credentials,
}

const DIRECTIONS: [&str; 4] = ["a=sendonly", "a=recvonly", "a=sendrecv", "a=inactive"];

impl Side {
    fn direction(self) -> &'static str {
        match self {
            Side::Sends => "a=sendonly",
            Side::Receives => "a=recvonly",
        }
    }
}

impl Offer {
    /// # Errors
    /// Why it isn't taken.
    pub fn read(text: &str, side: Side) -> Result<Self, Unfit> {
        if !text.starts_with("v=0") {
            return Err(Unfit::NoSdp);
        }
        let sections = sections(text);
        let (session, media) = sections.split_first().ok_or(Unfit::NoSdp)?;
        check_kinds(media)?;
        if media.len() > 1 && !session.iter().any(|line| line.starts_with("a=group:BUNDLE ")) {
            return Err(Unfit::Media("audio and video over one transport only (BUNDLE)"));
        }
        let credentials = Credentials::read(text).map_err(Unfit::Media)?;
        let credentials = credentials.ok_or(Unfit::Media("no ICE credentials"))?;
        let mut lines: Vec<&str> = session.iter().copied().filter(|line| !DIRECTIONS.contains(line)).collect();
        for section in media {
            check_direction(session, section, side)?;
            lines.extend(section.iter().filter(|line| !DIRECTIONS.contains(line)));
            lines.push(side.direction());
        }
        Ok(Self { text: joined(lines), credentials })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same offer for a new ICE session.
    #[must_use]
    pub fn restarted(&self, credentials: &Credentials) -> Self {
        let ufrag = format!("a=ice-ufrag:{}", credentials.ufrag);
        let password = format!("a=ice-pwd:{}", credentials.password);
        let origin = self.text.lines().find(|line| line.starts_with("o=")).map(next_version).unwrap_or_default();
        let old = |line: &&str| !line.starts_with("a=candidate:") && !line.starts_with("a=end-of-candidates");
        let lines = self.text.lines().filter(old).map(|line| match line {
            _ if line.starts_with("a=ice-ufrag:") => ufrag.as_str(),
            _ if line.starts_with("a=ice-pwd:") => password.as_str(),
            _ if line.starts_with("o=") => origin.as_str(),
            line => line,
        });
        Self { text: joined(lines), credentials: credentials.clone() }
    }
}

/// Whether the answer takes every media line that was offered.
pub fn is_whole(answer: &str) -> bool {
    let refused = |section: &Vec<&str>| {
        section.first().is_some_and(|line| line.split(' ').nth(1) == Some("0")) || section.contains(&"a=inactive")
    };
    !sections(answer).iter().skip(1).any(refused)
}

/// The session's lines, then those of each media line.
pub(in crate::media) fn sections(text: &str) -> Vec<Vec<&str>> {
    let mut sections = vec![Vec::new()];
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        sections.last_mut().expect("there is the session's").push(line);
    }
    sections
}

fn check_kinds(media: &[Vec<&str>]) -> Result<(), Unfit> {
    let of = |kind: &str| media.iter().filter(|section| section.first().is_some_and(|m| m.starts_with(kind))).count();
    let (audio, video) = (of("m=audio "), of("m=video "));
    if media.is_empty() {
        return Err(Unfit::Media("no media"));
    }
    if audio > 1 || video > 1 || audio + video < media.len() {
        return Err(Unfit::Media("one audio and one video, and nothing else"));
    }
    Ok(())
}

/// Without a word of its own, a media line has the session's direction, else both (RFC 8866 section 6.7).
fn check_direction(session: &[&str], section: &[&str], side: Side) -> Result<(), Unfit> {
    let said = |lines: &[&str]| DIRECTIONS.into_iter().find(|direction| lines.contains(direction));
    let direction = said(section).or_else(|| said(session)).unwrap_or("a=sendrecv");
    if direction == side.direction() || direction == "a=sendrecv" {
        return Ok(());
    }
    Err(Unfit::Media(match side {
        Side::Sends => "every media line is to be sent: sendonly",
        Side::Receives => "every media line is to be received: recvonly",
    }))
}

/// An origin line (RFC 8866 section 5.2) with its version counted up.
fn next_version(origin: &str) -> String {
    let mut fields: Vec<String> = origin.split(' ').map(str::to_owned).collect();
    if let Some(version) = fields.get_mut(2) {
        *version = version.parse::<u64>().unwrap_or(0).saturating_add(1).to_string();
    }
    fields.join(" ")
}

pub(in crate::media) fn joined<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    lines.into_iter().fold(String::new(), |text, line| text + line + "\r\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFER: &str = "v=0\r\no=- 5228595038118931041 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=sendonly\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n\
        a=bundle-only\r\na=sendonly\r\n";

    fn without(line: &str) -> String {
        OFFER.replace(&format!("{line}\r\n"), "")
    }

    #[test]
    fn an_offer_to_send_is_taken_and_has_one_direction() {
        let offer = Offer::read(OFFER, Side::Sends).unwrap();
        assert_eq!(offer.credentials.ufrag, "EsAw");
        assert_eq!(offer.text().matches("a=sendonly\r\n").count(), 2);
        let both = Offer::read(&OFFER.replace("sendonly", "sendrecv"), Side::Sends).unwrap();
        assert_eq!(both.text().matches("a=sendonly\r\n").count(), 2);
        assert!(!both.text().contains("sendrecv"));
        assert!(Offer::read(&without("a=sendonly"), Side::Receives).unwrap().text().contains("a=recvonly"));
    }

    #[test]
    fn what_a_session_cannot_be_is_refused_whole() {
        let media = |text: &str, side| matches!(Offer::read(text, side), Err(Unfit::Media(_)));
        assert_eq!(Offer::read("", Side::Sends), Err(Unfit::NoSdp));
        assert_eq!(Offer::read("{}", Side::Sends), Err(Unfit::NoSdp));
        assert!(media(OFFER, Side::Receives), "the other direction");
        assert!(media(&OFFER.replacen("sendonly", "inactive", 1), Side::Sends));
        assert!(media("v=0\r\ns=-\r\n", Side::Sends), "no media");
        assert!(media(&format!("{OFFER}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"), Side::Sends), "two pictures");
        assert!(media(&format!("{OFFER}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"), Side::Sends));
        assert!(media(&OFFER.replace("m=video", "m=").repeat(2), Side::Sends));
        assert!(media(&without("a=group:BUNDLE 0 1"), Side::Sends));
        assert!(media(&without("a=ice-ufrag:EsAw"), Side::Sends));
        assert!(media(&format!("{OFFER}{}", "m=audio 9 X 0\r\n".repeat(200)), Side::Sends));
    }

    #[test]
    fn a_restarted_offer_differs_in_its_ice_and_version_only() {
        let offer = Offer::read(OFFER, Side::Sends).unwrap();
        let credentials = Credentials { ufrag: "newu".into(), password: "n".repeat(24) };
        let again = offer.restarted(&credentials);
        assert_eq!(again.credentials, credentials);
        assert!(!again.text().contains("EsAw") && !again.text().contains("candidate"));
        assert!(again.text().contains("o=- 5228595038118931041 3 IN"), "{}", again.text());
        assert_eq!(again.text().lines().count(), offer.text().lines().count() - 1);
    }

    #[test]
    fn an_answer_that_leaves_something_out_is_not_whole() {
        assert!(is_whole("v=0\r\nm=audio 9 X 0\r\nm=video 9 X 0\r\na=recvonly\r\n"));
        assert!(!is_whole("v=0\r\nm=audio 9 X 0\r\nm=video 0 X 0\r\n"));
        assert!(!is_whole("v=0\r\nm=audio 9 X 0\r\na=inactive\r\n"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_read(text in "(?s)(v=0)?.{0,300}") {
            Offer::read(&text, Side::Sends).ok();
            is_whole(&text);
        }

        #[test]
        fn whatever_is_taken_is_taken_again(cut in 0..OFFER.len()) {
            if let Ok(offer) = Offer::read(&OFFER[..cut], Side::Sends) {
                prop_assert_eq!(Offer::read(offer.text(), Side::Sends).unwrap(), offer);
            }
        }
    }
}
