//! A user's way to a session (RFC 6120): stream, TLS, SASL, resource binding.

use super::tls::Tls;
use super::{ConnectError, sasl};
use crate::ids::{Secret, UserId};
use crate::tls_client::Io;
use crate::xmpp::stream::{StreamIdentity, XmppStream};
use crate::xmpp::xml::{Element, Stanza};

const CLIENT_NS: &str = "jabber:client";
const TLS_NS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const BIND_NS: &str = "urn:ietf:params:xml:ns:xmpp-bind";
const SESSION_NS: &str = "urn:ietf:params:xml:ns:xmpp-session";

/// The security of the stream.
#[derive(Clone)]
pub enum Security {
    /// No TLS.
    Off,
    /// STARTTLS.
    StartTls(Tls),
    /// TLS from the start.
    Direct(Tls),
}

impl Security {
    fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }
}

/// A stream whose server has shown what it offers.
pub struct Offer {
    stream: XmppStream,
    features: Vec<Element>,
    secured: bool,
}

impl Offer {
    /// The SASL mechanisms' names, as the server wrote them.
    pub fn mechanisms(&self) -> Vec<String> {
        let list = self.features.iter().find(|f| f.name == "mechanisms");
        list.map_or_else(Vec::new, |l| l.children().map(|m| m.text().trim().to_owned()).collect())
    }

    fn requires_tls(&self) -> bool {
        let tls = self.features.iter().find(|f| f.name == "starttls");
        tls.is_some_and(|f| f.child("required").is_some()) && !self.secured
    }
}

/// Opens the stream and secures it as asked; never goes on in the clear where TLS was asked for.
pub async fn open(io: Box<dyn Io>, domain: &str, security: &Security) -> Result<Offer, ConnectError> {
    let secured = security.is_on();
    let offer = match security {
        Security::Direct(tls) => opened(tls.connect(domain, io).await?, domain, secured).await?,
        Security::Off => opened(io, domain, secured).await?,
        Security::StartTls(tls) => {
            let clear = opened(io, domain, false).await?;
            let io = start_tls(clear).await?;
            opened(tls.connect(domain, io).await?, domain, secured).await?
        }
    };
    if offer.requires_tls() {
        return Err(ConnectError::Refused("the server requires TLS: set eim.tls to starttls or direct".into()));
    }
    Ok(offer)
}

/// Proves the password. The stream that comes out carries the user's identity but no resource yet.
pub async fn authenticate(offer: Offer, domain: &str, user: &UserId, password: &Secret) -> Result<Offer, ConnectError> {
    let (mechanisms, secured) = (offer.mechanisms(), offer.secured);
    let mut stream = offer.stream;
    sasl::authenticate(&mut stream, &mechanisms, user, password, secured).await?;
    stream.restart()?;
    opened_over(stream, domain, secured).await
}

/// Binds `resource`; gives the stream and the full JID that the server has bound.
pub async fn bind(offer: Offer, resource: &str) -> Result<(XmppStream, String), ConnectError> {
    let session = offer.features.iter().find(|f| f.name == "session" && f.ns == SESSION_NS);
    let wants_session = session.is_some_and(|f| f.child("optional").is_none());
    let mut stream = offer.stream;
    let bind = Element::new("bind", BIND_NS).with_child(Element::new("resource", BIND_NS).with_text(resource));
    let answer = request(&mut stream, "bind", bind).await?;
    let bound = answer.payload().and_then(|b| b.child("jid").map(Element::text));
    let jid = bound.ok_or_else(|| ConnectError::Protocol("a binding without a JID".into()))?;
    if wants_session {
        // RFC 3921 section 3: servers from before 2011 carry nothing for a client that has not asked.
        request(&mut stream, "session", Element::new("session", SESSION_NS)).await?;
    }
    Ok((stream, jid))
}

/// One request of the negotiation; nothing else may come in between.
async fn request(stream: &mut XmppStream, id: &str, payload: Element) -> Result<Stanza, ConnectError> {
    stream.queue_element(&Stanza::iq("set", payload).with("id", id));
    let answer = stream.next().await?;
    if answer.attr("id") != Some(id) {
        return Err(ConnectError::Protocol(format!("<{}> in place of the answer to {id}", answer.name)));
    }
    if answer.attr("type") == Some("result") {
        return Ok(answer);
    }
    let condition = answer.child("error").and_then(|e| e.children().next().map(|c| c.name.clone())).unwrap_or_default();
    Err(ConnectError::Refused(format!("the server refused to {id}: {condition}")))
}

async fn opened(io: Box<dyn Io>, domain: &str, secured: bool) -> Result<Offer, ConnectError> {
    opened_over(XmppStream::new(io, StreamIdentity::Session), domain, secured).await
}

async fn opened_over(mut stream: XmppStream, domain: &str, secured: bool) -> Result<Offer, ConnectError> {
    stream.queue_header(CLIENT_NS, &[("to", domain), ("version", "1.0")]);
    stream.next_header().await?;
    let features = stream.next().await?;
    if features.name != "features" {
        return Err(ConnectError::Protocol(format!("<{}> in place of the stream's features", features.name)));
    }
    let features = features.children().cloned().collect();
    Ok(Offer { stream, features, secured })
}

async fn start_tls(clear: Offer) -> Result<Box<dyn Io>, ConnectError> {
    if !clear.features.iter().any(|f| f.name == "starttls" && f.ns == TLS_NS) {
        return Err(ConnectError::Tls("the server offers no STARTTLS".into()));
    }
    let mut stream = clear.stream;
    stream.queue_element(&Element::new("starttls", TLS_NS));
    match stream.next().await? {
        stanza if stanza.name == "proceed" => Ok(stream.into_io()?),
        _ => Err(ConnectError::Tls("the server refused STARTTLS".into())),
    }
}
