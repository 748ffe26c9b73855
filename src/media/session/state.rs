//! A session that was answered: its ICE session's name (the entity tag), and what a PATCH may change.

use super::fragment::{Credentials, Fragment};
use super::offer::{Offer, Side, is_whole};

/// The reason why something isn't done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A PATCH must say which ICE session it is for.
    NoCondition,
    /// It is for an ICE session that is over.
    Stale,
    /// Its body can't be read.
    Unreadable(&'static str),
    /// It can be read and not be done.
    Unfit(&'static str),
}

/// The result of a PATCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Candidates to pass on.
    Candidates(Vec<String>),
    /// An offer to make anew, and candidates to pass on once it is answered.
    Restart(Offer, Vec<String>),
}

/// The state of an established session.
#[derive(Debug, Clone)]
pub struct Established {
    offer: Offer,
    /// The node's ICE user fragment: each ICE session has its own.
    ice: String,
}

impl Established {
    /// # Errors
    /// An answer that takes only part of what is to be sent: refused rather than half a session (RFC 9725 section 4.4). Who
    /// watches gets what there is, like any JSEP answer's reader.
    pub fn new(offer: Offer, side: Side, answer: &str) -> Result<Self, Refused> {
        if side == Side::Sends && !is_whole(answer) {
            return Err(Refused::Unfit("not every media line of the offer can be taken: no codec in common"));
        }
        Ok(Self { offer, ice: ice_of(answer) })
    }

    /// As the ETag header has it.
    pub fn entity_tag(&self) -> String {
        format!("\"{}\"", self.ice)
    }

    /// `condition`: the If-Match header; `*` asks for a new ICE session (RFC 9725 section 4.3.3).
    ///
    /// # Errors
    /// Why it isn't done.
    pub fn patch(&self, condition: Option<&str>, fragment: &str) -> Result<Step, Refused> {
        let condition = condition.ok_or(Refused::NoCondition)?.trim();
        if condition != "*" && !condition.split(',').any(|tag| tag.trim() == self.entity_tag()) {
            return Err(Refused::Stale);
        }
        let Fragment { credentials, candidates } = Fragment::read(fragment).map_err(Refused::Unreadable)?;
        match credentials.filter(|credentials| *credentials != self.offer.credentials) {
            None => Ok(Step::Candidates(candidates)),
            Some(credentials) if condition == "*" => Ok(Step::Restart(self.offer.restarted(&credentials), candidates)),
            Some(_) => Err(Refused::Unfit("candidates of another ICE session; If-Match: * restarts ICE")),
        }
    }

    /// The restarted offer was answered: what the client is told.
    pub fn restarted(&mut self, offer: Offer, answer: &str) -> String {
        (self.offer, self.ice) = (offer, ice_of(answer));
        Fragment::of_answer(answer)
    }
}

fn ice_of(answer: &str) -> String {
    let credentials: Option<Credentials> = Credentials::read(answer).ok().flatten();
    credentials.map(|credentials| credentials.ufrag).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::Side;
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\nm=audio 9 X 111\r\na=ice-ufrag:EsAw\r\n\
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=sendonly\r\n";
    const CANDIDATE: &str = "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n";

    fn answer(ufrag: &str) -> String {
        format!("v=0\r\nm=audio 9 X 111\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789012345678901\r\na=recvonly\r\n")
    }

    fn session() -> Established {
        Established::new(Offer::read(OFFER, Side::Sends).unwrap(), Side::Sends, &answer("node1")).unwrap()
    }

    #[test]
    fn candidates_are_taken_for_the_ice_session_that_is() {
        let session = session();
        assert_eq!(session.entity_tag(), "\"node1\"");
        let taken = Ok(Step::Candidates(vec!["candidate:1 1 udp 1 192.0.2.1 1 typ host".into()]));
        for condition in ["\"node1\"", "\"x\", \"node1\"", "*"] {
            assert_eq!(session.patch(Some(condition), CANDIDATE), taken, "{condition}");
        }
        assert_eq!(session.patch(None, CANDIDATE), Err(Refused::NoCondition));
        for stale in ["\"node0\"", "node1", "W/\"node1\"", ""] {
            assert_eq!(session.patch(Some(stale), CANDIDATE), Err(Refused::Stale), "{stale}");
        }
        assert!(matches!(session.patch(Some("*"), "nonsense"), Err(Refused::Unreadable(_))));
    }

    #[test]
    fn new_credentials_restart_ice_where_that_is_asked_for() {
        let mut session = session();
        let restart = format!("a=ice-ufrag:newu\r\na=ice-pwd:{}\r\n{CANDIDATE}", "n".repeat(24));
        assert!(matches!(session.patch(Some("\"node1\""), &restart), Err(Refused::Unfit(_))));
        let Ok(Step::Restart(offer, candidates)) = session.patch(Some("*"), &restart) else { panic!("no restart") };
        assert_eq!((offer.credentials.ufrag.as_str(), candidates.len()), ("newu", 1));
        let fragment = session.restarted(offer, &answer("node2"));
        assert!(fragment.contains("a=ice-ufrag:node2\r\n"), "{fragment}");
        assert_eq!(session.entity_tag(), "\"node2\"");
        assert_eq!(session.patch(Some("\"node1\""), CANDIDATE), Err(Refused::Stale), "the tag before is over");
    }

    #[test]
    fn half_a_session_is_none() {
        let offer = Offer::read(OFFER, Side::Sends).unwrap();
        let part = "v=0\r\nm=audio 9 X 111\r\nm=video 0 X 96\r\n";
        assert!(matches!(Established::new(offer.clone(), Side::Sends, part), Err(Refused::Unfit(_))));
        assert!(Established::new(offer, Side::Receives, part).is_ok(), "who watches gets what there is");
    }
}
