//! SDP fragments (RFC 8840 section 9): a session's further candidates, and new ICE credentials.

/// Longest fragment, in bytes: as many candidates as a connection may have.
pub const FRAGMENT_MAX: usize = 16 * 1024;
/// Candidates in one fragment.
const CANDIDATES: usize = 64;
/// RFC 8839 section 5.4: lengths of the user fragment and of the password.
const UFRAG: std::ops::RangeInclusive<usize> = 4..=256;
const PASSWORD: std::ops::RangeInclusive<usize> = 22..=256;

/// The ICE user fragment and password of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The ICE user fragment.
    pub ufrag: String,
    /// The password.
    pub password: String,
}

/// The body of a PATCH (RFC 8840): trickled candidates, or new ICE credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fragment {
    /// The ICE credentials.
    pub credentials: Option<Credentials>,
    /// As `candidate:...`, in their order.
    pub candidates: Vec<String>,
}

impl Credentials {
    /// Those of an SDP or a fragment: the first, whose transport all media share (BUNDLE). `Ok(None)`: it names none.
    ///
    /// # Errors
    /// Half a pair, or characters and lengths that none can have.
    pub fn read(text: &str) -> Result<Option<Self>, &'static str> {
        let (ufrag, password) = (first(text, "a=ice-ufrag:"), first(text, "a=ice-pwd:"));
        match (ufrag, password) {
            (None, None) => Ok(None),
            (Some(ufrag), Some(password))
                if is_length_allowed(ufrag, &UFRAG) && is_length_allowed(password, &PASSWORD) =>
            {
                Ok(Some(Self { ufrag: ufrag.to_owned(), password: password.to_owned() }))
            }
            _ => Err("ICE credentials that are none"),
        }
    }
}

fn first<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_end)
}

fn is_length_allowed(text: &str, lengths: &std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
}

impl Fragment {
    /// # Errors
    /// The error in the fragment, in words.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        if text.len() > FRAGMENT_MAX {
            return Err("the fragment is too long");
        }
        let is_line = |line: &str| line.is_empty() || line.as_bytes().get(1) == Some(&b'=');
        if !text.lines().all(is_line) {
            return Err("a line that isn't SDP");
        }
        let credentials = Credentials::read(text)?;
        let named = text.lines().filter_map(|line| line.strip_prefix("a="));
        let candidates: Vec<String> =
            named.filter(|line| line.starts_with("candidate:")).map(|line| line.trim_end().to_owned()).collect();
        if candidates.len() > CANDIDATES {
            return Err("too many candidates");
        }
        if credentials.is_none() && candidates.is_empty() && !text.contains("a=end-of-candidates") {
            return Err("nothing of ICE in it");
        }
        Ok(Self { credentials, candidates })
    }

    /// The other side's fragment out of an SDP answer: what of it a client needs for a new ICE session.
    pub fn of_answer(answer: &str) -> String {
        let session = ["a=ice-lite", "a=ice-options:", "a=group:BUNDLE"];
        let transport = ["m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-candidates"];
        let begins = |line: &str, names: &[&str]| names.iter().any(|name| line.starts_with(name));
        let (head, media) = answer.split_at(answer.find("\nm=").map_or(answer.len(), |at| at + 1));
        let first = media.get(1..).and_then(|rest| rest.find("\nm=")).map_or(media, |end| &media[..end + 2]);
        let credentials = head.lines().filter(|line| begins(line, &["a=ice-ufrag:", "a=ice-pwd:"]));
        let lines = head.lines().filter(|line| begins(line, &session)).chain(credentials);
        let lines = lines.chain(first.lines().filter(|line| begins(line, &transport)));
        lines.fold(String::new(), |text, line| text + line.trim_end() + "\r\n")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRICKLED: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n\
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=candidate:1 1 udp 1 192.0.2.1 61764 typ host\r\n\
        a=candidate:2 1 tcp 1 192.0.2.1 9 typ host tcptype active\r\na=end-of-candidates\r\n";

    #[test]
    fn candidates_and_credentials_are_read_as_browsers_clients_send_them() {
        let fragment = Fragment::read(TRICKLED).unwrap();
        let credentials = fragment.credentials.unwrap();
        assert_eq!((credentials.ufrag.as_str(), credentials.password.len()), ("EsAw", 24));
        assert_eq!(fragment.candidates.len(), 2);
        assert!(fragment.candidates[0].starts_with("candidate:1 1 udp"));
        assert_eq!(Fragment::read("a=end-of-candidates").unwrap(), Fragment::default());
        assert_eq!(Fragment::read(&TRICKLED.replace("\r\n", "\n")), Fragment::read(TRICKLED));
    }

    #[test]
    fn text_that_is_no_fragment_is_refused() {
        let half = "a=ice-ufrag:EsAw\r\n";
        let short = "a=ice-ufrag:Es\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";
        let many = "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(65);
        let long = "a=x\r\n".repeat(FRAGMENT_MAX);
        for text in ["", "hello", "v=0\r\n", "{\"candidate\":1}", half, short, &many, &long] {
            assert!(Fragment::read(text).is_err(), "{text:.60}");
        }
    }

    #[test]
    fn an_answers_fragment_has_its_first_transport_only() {
        let answer = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\nm=audio 9 X 111\r\n\
            a=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=rtpmap:111 opus/48000/2\r\n\
            a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\nm=video 9 X 96\r\na=mid:1\r\na=ice-ufrag:abcd\r\n";
        let fragment = Fragment::of_answer(answer);
        assert!(
            fragment.starts_with("a=group:BUNDLE 0 1\r\na=ice-lite\r\nm=audio 9 X 111\r\na=mid:0\r\n"),
            "{fragment}"
        );
        assert!(fragment.ends_with("a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n"), "{fragment}");
        assert_eq!(Fragment::read(&fragment).unwrap().credentials.unwrap().ufrag, "abcd");
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_read(text in "(?s).{0,300}") {
            Fragment::read(&text).ok();
            Fragment::of_answer(&text);
        }

        #[test]
        fn lines_in_any_order_are_bounded_in_what_comes_of_them(
            lines in prop::collection::vec(prop_oneof![
                Just("a=ice-ufrag:EsAw"), Just("a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1"), Just("m=audio 9 X 0"), Just("\nm="),
                Just("a=candidate:1"), Just("a=candidate:\u{e9}"), Just("a=end-of-candidates"), Just("a="), Just(""),
            ], 0..60)
        ) {
            let text = lines.join("\r\n");
            if let Ok(fragment) = Fragment::read(&text) {
                prop_assert!(fragment.candidates.len() <= CANDIDATES);
            }
            Fragment::of_answer(&text);
        }
    }
}
