//! A component (XEP-0114) that a test plays by hand: an EIM that answers late, twice, under another id, from another
//! sender, with an error or never, and that sends events.

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::xml_stream::{Answer, Received, Stanza, XmlStream};
use super::xmpp_server::XmppServer;

/// The namespace of XEP-0114 section 3.
const ACCEPT: &str = "jabber:component:accept";

pub struct Component {
    pub domain: String,
    stream: XmlStream,
}

impl Component {
    /// Connects to that server as one of its components.
    pub async fn of(server: &XmppServer, domain: &str) -> Self {
        let door = server.door(domain);
        Self::connect(door.port.address(), domain, door.secret)
            .await
            .unwrap_or_else(|e| panic!("{domain} is refused: {e}"))
    }

    /// Connects and shakes hands. A refusal is an error that tells what the server sent.
    pub async fn connect(address: SocketAddr, domain: &str, secret: &str) -> std::io::Result<Self> {
        let mut stream = XmlStream::connect(address).await?;
        let header = stream.open(ACCEPT, domain, "").await?;
        let token = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{}{secret}", header.attr("id")).as_bytes());
        let hex: String = token.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        stream.send(&format!("<handshake>{hex}</handshake>")).await?;
        match stream.next_within(super::wait::PATIENCE).await {
            Some(Received::Stanza(s)) if s.name == "handshake" => Ok(Self { domain: domain.to_owned(), stream }),
            other => Err(std::io::Error::other(format!("{other:?}"))),
        }
    }

    /// The next stanza that is no ping: those are answered, as a live component does.
    pub async fn next(&mut self) -> Stanza {
        loop {
            let stanza = self.stream.next().await;
            if stanza.attr("type") != "get" || !stanza.text.contains("urn:xmpp:ping") {
                return stanza;
            }
            self.answer(&stanza.result("")).await;
        }
    }

    /// Answers pings for as long as it is polled; anything else that comes is dropped.
    pub async fn live(&mut self) {
        loop {
            self.next().await;
        }
    }

    /// The next IQ request whose payload mentions that word; others that come first are refused as a server would.
    pub async fn request(&mut self, word: &str) -> Stanza {
        let deadline = tokio::time::Instant::now() + super::wait::PATIENCE;
        loop {
            let next = tokio::time::timeout_at(deadline, self.next()).await;
            let stanza = next.unwrap_or_else(|_| panic!("nobody asks for {word}"));
            let asks = stanza.name == "iq" && matches!(stanza.attr("type"), "get" | "set");
            if asks && stanza.text.contains(word) {
                return stanza;
            }
            if asks {
                self.answer(&stanza.error("cancel", "service-unavailable")).await;
            }
        }
    }

    /// `None` where nothing came within that time.
    pub async fn next_within(&mut self, within: Duration) -> Option<Received> {
        self.stream.next_within(within).await
    }

    /// Writes that text, whatever it is.
    pub async fn send(&mut self, text: &str) {
        self.stream.send(text).await.expect("the server reads what its component writes");
    }

    pub async fn answer(&mut self, answer: &Answer) {
        self.send(&answer.to_xml()).await;
    }

    /// Sends a conference event: the body is JSON.
    pub async fn event(&mut self, to: &str, body: &serde_json::Value) {
        let (from, body) = (&self.domain, body.to_string());
        let body = quick_xml::escape::escape(body.as_str());
        self.send(&format!(
            "<message type='headline' from='{from}' to='{to}'><event xmlns='je:x:client:event'>{body}</event></message>"
        ))
        .await;
    }
}
