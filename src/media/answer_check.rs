//! Every answer of the media, whichever carries it, is compared with its offer before it goes out: what a client can't
//! take would leave it without a connection, and without a word why.

use std::collections::HashMap;

use confgate_sfu::protocol::{Command, EndpointId, Notice, Refusal};
use confgate_sfu::sdp;

/// Offers of clients that wait for their answers. Owned by the node's task; bounded by the connections that there are.
#[derive(Default)]
pub struct AnswerCheck {
    offers: HashMap<EndpointId, String>,
}

impl AnswerCheck {
    /// Remembers an offer until its answer. Offers between nodes are not checked.
    pub fn on_command(&mut self, command: &Command) {
        match command {
            Command::Publish { endpoint, offer, .. }
            | Command::Subscribe { endpoint, offer, .. }
            | Command::SendRecv { endpoint, offer, .. }
            | Command::Renegotiate { endpoint, offer } => drop(self.offers.insert(*endpoint, offer.clone())),
            Command::Close { endpoint } => drop(self.offers.remove(endpoint)),
            _ => {}
        }
    }

    /// Checks an answer against its offer; other notices pass. An answer that doesn't fit becomes a refusal, and the
    /// caller ends the connection.
    ///
    /// # Errors
    /// The endpoint and the refusal for it.
    pub fn check(&mut self, notice: Notice) -> Result<Notice, (EndpointId, Notice)> {
        match notice {
            Notice::Answer { endpoint, answer } => {
                let Some(offer) = self.offers.remove(&endpoint) else {
                    return Ok(Notice::Answer { endpoint, answer });
                };
                let answer = sdp::as_one_stream(&answer).unwrap_or(answer);
                let Err(why) = sdp::check(&offer, &answer) else { return Ok(Notice::Answer { endpoint, answer }) };
                tracing::error!(endpoint = endpoint.0, why, "an answer doesn't fit its offer: it isn't sent");
                metrics::counter!("confgate_groupcall_unfit_answers_total").increment(1);
                Err((endpoint, Notice::Refused { endpoint, refusal: Refusal::Unavailable }))
            }
            Notice::Refused { endpoint, .. } | Notice::Closed { endpoint, .. } => {
                self.offers.remove(&endpoint);
                Ok(notice)
            }
            _ => Ok(notice),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use confgate_sfu::protocol::{Source, StreamId};

    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=recvonly\r\na=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=recvonly\r\na=setup:actpass\r\na=rtpmap:96 VP8/90000\r\n";
    const ANSWER: &str = "v=0\r\no=- 2 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\na=setup:passive\r\na=rtpmap:111 opus/48000/2\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:abcdabcdabcdabcdabcdab\r\na=fingerprint:sha-256 AB\r\na=msid:one a\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendonly\r\na=setup:passive\r\na=rtpmap:96 VP8/90000\r\n\
        a=msid:two v\r\n";

    fn judged(answer: &str) -> Result<Notice, (EndpointId, Notice)> {
        let mut answers = AnswerCheck::default();
        let stream = StreamId { member: Arc::from("anna"), source: Source::Camera };
        let (endpoint, viewer, room) = (EndpointId(1), Arc::from("ben"), Arc::from("c1"));
        answers.on_command(&Command::Subscribe { room, endpoint, viewer, stream, offer: OFFER.into() });
        answers.check(Notice::Answer { endpoint, answer: answer.into() })
    }

    #[test]
    fn an_answer_that_fits_goes_out_as_one_stream() {
        let Ok(Notice::Answer { answer, .. }) = judged(ANSWER) else { panic!("it isn't sent") };
        assert_eq!(answer, ANSWER.replace("a=msid:two v", "a=msid:one v"));
    }

    #[test]
    fn an_answer_that_doesnt_fit_is_a_refusal() {
        for (what, answer) in [
            ("no SDP", "nothing".to_owned()),
            ("a section less", ANSWER[..ANSWER.find("m=video").unwrap()].to_owned()),
            (
                "sections in another order",
                ANSWER.replace("m=audio", "m=x").replace("m=video", "m=audio").replace("m=x", "m=video"),
            ),
            ("another mid", ANSWER.replace("a=mid:1", "a=mid:2")),
            ("a payload type of its own", ANSWER.replace("96", "97")),
            ("a payload type of another meaning", ANSWER.replace("VP8", "H264")),
            ("the offer's direction", ANSWER.replace("sendonly", "recvonly")),
            ("the offer's role", ANSWER.replace("passive", "actpass")),
            ("another group", ANSWER.replace("BUNDLE 0 1", "BUNDLE 0 2")),
            ("a section outside of the group", ANSWER.replace("BUNDLE 0 1", "BUNDLE 0")),
            ("a refused section in the group", ANSWER.replace("m=video 9", "m=video 0")),
            ("no ICE credentials", ANSWER.replace("a=ice-pwd", "a=x")),
            ("candidates elsewhere", format!("{ANSWER}a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n")),
            ("everything refused", ANSWER.replace(" 9 UDP", " 0 UDP").replace("a=group:BUNDLE 0 1\r\n", "")),
        ] {
            let refused = Notice::Refused { endpoint: EndpointId(1), refusal: Refusal::Unavailable };
            assert_eq!(judged(&answer), Err((EndpointId(1), refused)), "{what}");
        }
    }
}
