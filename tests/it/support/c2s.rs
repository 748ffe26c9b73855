//! A user's own session at an XMPP server, by hand: SASL PLAIN without TLS, which the test servers allow on loopback.

use std::net::SocketAddr;

use base64::prelude::{BASE64_STANDARD, Engine};

use super::xml_stream::{Received, Stanza, XmlStream};

const CLIENT: &str = "jabber:client";

pub struct C2s {
    /// The full JID that the server gave.
    pub jid: String,
    pub stream: XmlStream,
}

impl C2s {
    /// Makes an account (XEP-0077). An error tells what the server answered.
    pub async fn register(address: SocketAddr, domain: &str, user: &str, password: &str) -> std::io::Result<()> {
        let mut stream = negotiate(address, domain).await?;
        let [user, password] = [user, password].map(quick_xml::escape::escape);
        stream
            .send(&format!(
                "<iq type='set' id='register' to='{domain}'><query xmlns='jabber:iq:register'>\
                 <username>{user}</username><password>{password}</password></query></iq>"
            ))
            .await?;
        result(stream.next().await).map(drop)
    }

    /// Logs in and binds that resource. An error tells what the server answered.
    pub async fn login(
        address: SocketAddr,
        domain: &str,
        user: &str,
        password: &str,
        resource: &str,
    ) -> std::io::Result<Self> {
        let mut stream = negotiate(address, domain).await?;
        let credentials = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
        let sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
        stream.send(&format!("<auth xmlns='{sasl}' mechanism='PLAIN'>{credentials}</auth>")).await?;
        let outcome = stream.next().await;
        if outcome.name != "success" {
            return Err(std::io::Error::other(outcome.text));
        }
        header_and_features(&mut stream, domain).await?;
        let bind = "urn:ietf:params:xml:ns:xmpp-bind";
        stream
            .send(&format!("<iq type='set' id='bind'><bind xmlns='{bind}'><resource>{resource}</resource></bind></iq>"))
            .await?;
        let bound = result(stream.next().await)?;
        let jid = bound.text.split_once("<jid>").and_then(|(_, rest)| rest.split_once("</jid>"));
        let jid = jid.ok_or_else(|| std::io::Error::other(bound.text.clone()))?.0.to_owned();
        Ok(Self { jid, stream })
    }

    /// Sends that text and reads the stanza which carries that id.
    pub async fn ask(&mut self, text: &str, id: &str) -> Stanza {
        self.stream.send(text).await.expect("the server reads what its client writes");
        loop {
            let stanza = self.stream.next().await;
            if stanza.attr("id") == id {
                return stanza;
            }
        }
    }
}

async fn negotiate(address: SocketAddr, domain: &str) -> std::io::Result<XmlStream> {
    let mut stream = XmlStream::connect(address).await?;
    header_and_features(&mut stream, domain).await?;
    Ok(stream)
}

async fn header_and_features(stream: &mut XmlStream, domain: &str) -> std::io::Result<()> {
    stream.open(CLIENT, domain, "version='1.0'").await?;
    match stream.next_within(super::wait::PATIENCE).await {
        Some(Received::Stanza(s)) if s.name == "stream:features" => Ok(()),
        other => Err(std::io::Error::other(format!("{other:?}"))),
    }
}

fn result(stanza: Stanza) -> std::io::Result<Stanza> {
    match stanza.attr("type") {
        "result" => Ok(stanza),
        _ => Err(std::io::Error::other(stanza.text)),
    }
}
