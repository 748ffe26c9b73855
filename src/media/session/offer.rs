//! Offers as a session's are: one audio and one video of one stream in one direction, over one transport (RFC 9725
//! section 4.4). An offer that the media can't take whole is refused whole.

use confgate_sfu::sdp::{Description, Direction, Section, Unreadable};

use super::fragment::Credentials;

/// The client's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It publishes (WHIP).
    Sends,
    /// It watches (WHEP).
    Receives,
}

/// The reason why an offer isn't taken.
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
    /// The ICE credentials.
    pub credentials: Credentials,
}

impl Side {
    fn direction(self) -> Direction {
        match self {
            Side::Sends => Direction::SendOnly,
            Side::Receives => Direction::RecvOnly,
        }
    }
}

impl Offer {
    /// # Errors
    /// Why it isn't taken.
    pub fn read(text: &str, side: Side) -> Result<Self, Unfit> {
        let mut read = Description::read(text).map_err(|Unreadable(why)| match text.starts_with("v=0") {
            true => Unfit::Media(why),
            false => Unfit::NoSdp,
        })?;
        check_kinds(&read.media)?;
        if read.media.len() > 1 && read.bundles().is_empty() {
            return Err(Unfit::Media("audio and video over one transport only (BUNDLE)"));
        }
        let credentials = Credentials::read(text).map_err(Unfit::Media)?;
        let credentials = credentials.ok_or(Unfit::Media("no ICE credentials"))?;
        read.media.iter().try_for_each(|section| check_direction(read.direction(section), side))?;
        let direction = format!("a={}", side.direction().name());
        let other = |line: &&str| Direction::ALL.iter().all(|direction| line[2..] != *direction.name());
        read.session.retain(other);
        for section in &mut read.media {
            section.lines.retain(other);
            section.lines.push(&direction);
        }
        Ok(Self { text: read.to_string(), credentials })
    }

    /// The SDP.
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
        let text = lines.map(|line| format!("{line}\r\n")).collect();
        Self { text, credentials: credentials.clone() }
    }
}

/// Whether the answer takes every media line that was offered.
pub fn is_whole(answer: &str) -> bool {
    Description::read(answer).is_ok_and(|read| {
        read.media.iter().all(|section| section.port != 0 && read.direction(section) != Direction::Inactive)
    })
}

fn check_kinds(media: &[Section<'_>]) -> Result<(), Unfit> {
    let of = |kind: &str| media.iter().filter(|section| section.kind == kind).count();
    let (audio, video) = (of("audio"), of("video"));
    if audio > 1 || video > 1 || audio + video < media.len() {
        return Err(Unfit::Media("one audio and one video, and nothing else"));
    }
    Ok(())
}

fn check_direction(direction: Direction, side: Side) -> Result<(), Unfit> {
    if direction == side.direction() || direction == Direction::SendRecv {
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
    fn offer_unfit_for_a_session_is_refused_whole() {
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
        fn accepted_offer_is_accepted_again(cut in 0..OFFER.len()) {
            if let Ok(offer) = Offer::read(&OFFER[..cut], Side::Sends) {
                prop_assert_eq!(Offer::read(offer.text(), Side::Sends).unwrap(), offer);
            }
        }
    }
}
