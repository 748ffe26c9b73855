//! From connected bytes to a stream that may carry stanzas: the component handshake (XEP-0114) from both ends, and
//! the client's way through TLS, SASL and resource binding ([`client`]).

pub mod client;
mod sasl;
pub mod tls;

use std::io;

use aws_lc_rs::digest;

use crate::ids::{Secret, random_text};
use crate::tls_client::Io;
use crate::xmpp::stream::{StreamError, StreamIdentity, XmppStream};
use crate::xmpp::xml::{CONTENT_NS, Element};

const COMPONENT_NS: &str = "jabber:component:accept";

/// Why no stream came about. The text is for operators: it names hosts and conditions, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The transport did not come about, or broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The TLS handshake has failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The peer knows us and refuses the secret or password, with its condition.
    #[error("the server refused the credentials: {0}")]
    NotAuthorized(String),
    /// The peer ended the stream for another reason, or does not offer what we need.
    #[error("{0}")]
    Refused(String),
    /// The peer does not speak the protocol.
    #[error("{0}")]
    Protocol(String),
    /// No answer within so many milliseconds.
    #[error("no answer within {0} ms")]
    Timeout(u64),
}

impl ConnectError {
    /// Whether trying again soon cannot help: somebody must change a setting first.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::NotAuthorized(_) | Self::Refused(_) | Self::Tls(_))
    }
}

impl From<StreamError> for ConnectError {
    fn from(e: StreamError) -> Self {
        match e {
            StreamError::Io(e) => Self::Io(e),
            StreamError::Ended(why) if why == "not-authorized" => Self::NotAuthorized(why),
            StreamError::Ended(why) if why == "closed" => {
                Self::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))
            }
            StreamError::Ended(why) => Self::Refused(format!("the server ended the stream: {why}")),
            StreamError::Framing(e) => Self::Protocol(e.to_string()),
            StreamError::Xml(e) => Self::Protocol(e.to_string()),
        }
    }
}

/// XEP-0114 from the component's side: `io` leads to the server, `domain` is the component's own. It may speak from
/// that domain and from `beside`.
pub async fn component_client(
    io: Box<dyn Io>,
    domain: &str,
    secret: &Secret,
    beside: Option<&str>,
) -> Result<XmppStream, ConnectError> {
    let domains = [domain].into_iter().chain(beside).map(str::to_owned).collect();
    let mut stream = XmppStream::new(io, StreamIdentity::Component(domains));
    stream.queue_header(COMPONENT_NS, &[("to", domain)]);
    let answer = stream.next_header().await?;
    let id = answer.attr("id").ok_or_else(|| ConnectError::Protocol("a stream without an id".into()))?;
    stream.queue_element(&handshake().with_text(proof(id, secret)));
    match stream.next().await? {
        stanza if stanza.name == "handshake" => Ok(stream),
        stanza => Err(ConnectError::Protocol(format!("<{}> in place of the handshake", stanza.name))),
    }
}

/// XEP-0114 from the server's side, for the built-in EIM. `secret_of` knows the components: `None` refuses the domain.
/// Gives the stream and the domain that the component speaks for.
pub async fn component_server(
    io: Box<dyn Io>,
    secret_of: impl Fn(&str) -> Option<Secret>,
) -> Result<(XmppStream, String), ConnectError> {
    let mut stream = XmppStream::new(io, StreamIdentity::Server);
    let asked = stream.next_header().await?;
    let (domain, id) = (asked.attr("to").unwrap_or_default().to_owned(), random_text(24));
    stream.queue_header(COMPONENT_NS, &[("from", &domain), ("id", &id)]);
    let Some(secret) = secret_of(&domain) else {
        return Err(end_with(stream, "host-unknown").await);
    };
    let shown = stream.next().await?;
    if shown.name != "handshake" || !Secret::new(proof(&id, &secret)).matches(shown.text().trim()) {
        return Err(end_with(stream, "not-authorized").await);
    }
    stream.queue_element(&handshake());
    stream.flush().await?;
    Ok((stream, domain))
}

/// Ends a stream with an error of RFC 6120 section 4.9.3.
async fn end_with(mut stream: XmppStream, condition: &str) -> ConnectError {
    stream.queue_error(condition);
    stream.close().await;
    ConnectError::Refused(condition.to_owned())
}

/// XEP-0114 section 3: SHA-1 over stream id and secret, in lower-case hex. SHA-1 is the protocol's choice.
fn proof(stream_id: &str, secret: &Secret) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(stream_id.as_bytes());
    context.update(secret.expose().as_bytes());
    context.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

fn handshake() -> Element {
    Element::new("handshake", CONTENT_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    async fn meet(domain: &str, secret: &str) -> (Result<XmppStream, ConnectError>, Result<String, ConnectError>) {
        let (here, there) = duplex(64);
        let secret = Secret::new(secret);
        let known = |d: &str| (d == "webconf.ips3000").then(|| Secret::new("right"));
        let client = component_client(Box::new(here), domain, &secret, None);
        let (client, server) = tokio::join!(client, component_server(Box::new(there), known));
        (client, server.map(|(_, domain)| domain))
    }

    #[tokio::test]
    async fn a_component_with_the_right_secret_is_let_in_and_no_other() {
        let (client, server) = meet("webconf.ips3000", "right").await;
        assert!(client.is_ok());
        assert_eq!(server.unwrap(), "webconf.ips3000");
        let (client, server) = meet("webconf.ips3000", "wrong").await;
        assert!(matches!(client, Err(ConnectError::NotAuthorized(_))));
        assert!(server.is_err());
        let (client, server) = meet("else.ips3000", "right").await;
        assert!(matches!(client, Err(ConnectError::Refused(_))));
        assert!(server.is_err());
    }

    #[test]
    fn the_proof_is_that_of_the_specification() {
        // XEP-0114 section 3, whose example's secret is "test".
        assert_eq!(proof("3BF96D32", &Secret::new("test")), "aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e");
    }
}
