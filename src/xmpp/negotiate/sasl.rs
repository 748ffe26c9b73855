//! SASL towards the server (RFC 6120 section 6): the strongest of SCRAM-SHA-256, SCRAM-SHA-1 and, over TLS only, PLAIN.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sasl::client::mechanisms::{Plain, Scram};
use sasl::common::ChannelBinding;
use sasl::common::scram::{Sha1, Sha256};

use super::ConnectError;
use crate::ids::{Secret, UserId};
use crate::precis::password::opaque;
use crate::xmpp::stream::XmppStream;
use crate::xmpp::xml::Element;

const SASL_NS: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// RFC 7677 section 4 asks for 4096 at least; above a million (some 0.3 s) the server only burns our time.
const ROUNDS: std::ops::RangeInclusive<u32> = 4096..=1_000_000;

type Boxed = Box<dyn sasl::client::Mechanism + Send>;

/// Authenticates by the best of `offered` (the server's mechanism names).
pub async fn authenticate(
    stream: &mut XmppStream,
    offered: &[String],
    user: &UserId,
    password: &Secret,
    secured: bool,
) -> Result<(), ConnectError> {
    if password.expose().contains('\0') {
        return Err(ConnectError::NotAuthorized("a password with NUL".into()));
    }
    let mut mechanism = choose(offered, user, password, secured)?;
    let first = mechanism.initial();
    let scram = mechanism.name() != "PLAIN";
    let auth = Element::new("auth", SASL_NS).with("mechanism", mechanism.name());
    stream.queue_element(&auth.with_text(STANDARD.encode(&first)));
    let mut proved = !scram;
    let mut answered = false;
    loop {
        let stanza = stream.next().await?;
        match stanza.name.as_str() {
            "challenge" if scram && !answered => {
                let challenge = decode(&stanza.text())?;
                acceptable(&first, &challenge)?;
                let response;
                (mechanism, response) = respond(mechanism, challenge).await?;
                stream.queue_element(&Element::new("response", SASL_NS).with_text(STANDARD.encode(response)));
                answered = true;
            }
            // RFC 6120 section 6.3.10: a server may send its proof as a last challenge.
            "challenge" if scram && !proved => {
                prove(&mut mechanism, &stanza.text())?;
                proved = true;
                stream.queue_element(&Element::new("response", SASL_NS));
            }
            "success" if proved => return Ok(()),
            "success" => return prove(&mut mechanism, &stanza.text()),
            "failure" => {
                let condition = stanza.payload().map_or("failure", |c| c.name.as_str());
                return Err(failure(condition));
            }
            other => return Err(ConnectError::Protocol(format!("<{other}> in the middle of SASL"))),
        }
    }
}

fn choose(offered: &[String], user: &UserId, password: &Secret, secured: bool) -> Result<Boxed, ConnectError> {
    let has = |name: &str| offered.iter().any(|o| o == name);
    let failed = |_| ConnectError::Protocol("the random generator failed".into());
    // RFC 5802 section 5.1 has both ends prepare the password; what has no prepared form may still be one to the server.
    let password = opaque(password.expose());
    let password = stringprep::saslprep(&password).unwrap_or((&*password).into());
    let user = user.as_str();
    if has("SCRAM-SHA-256") {
        Ok(Box::new(Scram::<Sha256>::new(user, &*password, ChannelBinding::None).map_err(failed)?))
    } else if has("SCRAM-SHA-1") {
        Ok(Box::new(Scram::<Sha1>::new(user, &*password, ChannelBinding::None).map_err(failed)?))
    } else if has("PLAIN") && secured {
        Ok(Box::new(Plain::new(user, &*password)))
    } else {
        let why = "the server offers no usable SASL mechanism (SCRAM-SHA-256, SCRAM-SHA-1, or PLAIN over TLS)";
        Err(ConnectError::Refused(why.into()))
    }
}

/// The checks of RFC 5802 section 5 that the library leaves out: the server's nonce must go on from ours, so that an
/// old exchange cannot be replayed to us; and the work it asks for is bounded.
fn acceptable(first: &[u8], challenge: &[u8]) -> Result<(), ConnectError> {
    let field = |text: &[u8], name: &str| {
        let text = String::from_utf8_lossy(text).into_owned();
        text.split(',').find_map(|part| part.strip_prefix(name).map(str::to_owned))
    };
    let (ours, theirs) = (field(first, "r=").unwrap_or_default(), field(challenge, "r=").unwrap_or_default());
    if theirs.len() <= ours.len() || !theirs.starts_with(&ours) {
        return Err(ConnectError::Protocol("a SCRAM nonce that is not ours".into()));
    }
    let rounds = field(challenge, "i=").and_then(|i| i.parse().ok());
    if !rounds.is_some_and(|r| ROUNDS.contains(&r)) {
        return Err(ConnectError::Protocol("a SCRAM iteration count out of bounds".into()));
    }
    Ok(())
}

/// Stretching the key takes milliseconds of pure computing: not on the threads that serve sockets.
async fn respond(mut mechanism: Boxed, challenge: Vec<u8>) -> Result<(Boxed, Vec<u8>), ConnectError> {
    let work = tokio::task::spawn_blocking(move || {
        let response = mechanism.response(&challenge);
        response.map(|response| (mechanism, response))
    });
    let done = work.await.map_err(|_| ConnectError::Protocol("stopped in the middle of SASL".into()))?;
    done.map_err(|e| ConnectError::Protocol(format!("SASL: {e}")))
}

/// Checks the server's proof that it knows the password too.
fn prove(mechanism: &mut Boxed, text: &str) -> Result<(), ConnectError> {
    mechanism.success(&decode(text)?).map_err(|e| ConnectError::Protocol(format!("SASL: {e}")))
}

fn decode(text: &str) -> Result<Vec<u8>, ConnectError> {
    STANDARD.decode(text.trim()).map_err(|_| ConnectError::Protocol("SASL data that is not base64".into()))
}

/// RFC 6120 section 6.5. `temporary-auth-failure` and the like are the server's trouble, not the password's.
fn failure(condition: &str) -> ConnectError {
    match condition {
        "not-authorized" | "account-disabled" | "credentials-expired" => {
            ConnectError::NotAuthorized(condition.to_owned())
        }
        _ => ConnectError::Refused(format!("SASL: {condition}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(offered: &[&str], secured: bool) -> Option<String> {
        let offered: Vec<String> = offered.iter().map(|o| o.to_string()).collect();
        let user = UserId::parse("u1").unwrap();
        choose(&offered, &user, &Secret::new("p"), secured).ok().map(|m| m.name().to_owned())
    }

    #[test]
    fn the_strongest_mechanism_is_taken_and_plain_only_over_tls() {
        let all = ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];
        assert_eq!(chosen(&all, true).as_deref(), Some("SCRAM-SHA-256"));
        assert_eq!(chosen(&all[..2], true).as_deref(), Some("SCRAM-SHA-1"));
        assert_eq!(chosen(&all[..1], true).as_deref(), Some("PLAIN"));
        assert_eq!(chosen(&all[..1], false), None);
        assert_eq!(chosen(&["DIGEST-MD5"], true), None);
    }

    #[test]
    fn a_replayed_or_costly_challenge_is_refused() {
        let first = b"n,,n=u1,r=abc";
        assert!(acceptable(first, b"r=abcdef,s=QQ==,i=4096").is_ok());
        assert!(acceptable(first, b"r=abc,s=QQ==,i=4096").is_err());
        assert!(acceptable(first, b"r=xyzabc,s=QQ==,i=4096").is_err());
        assert!(acceptable(first, b"r=abcdef,s=QQ==,i=1").is_err());
        assert!(acceptable(first, b"r=abcdef,s=QQ==,i=99999999").is_err());
        assert!(acceptable(first, b"").is_err());
    }
}
