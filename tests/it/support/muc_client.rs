//! An XMPP client in a MUC room, by hand: as app users of a company have one.

use super::c2s::C2s;
use super::xml_stream::Stanza;
use super::xmpp_server::{MUC, XmppServer};

/// The namespace of a member's state in their presence.
pub const STATE: &str = "urn:confgate:member:0";

pub struct MucClient {
    pub session: C2s,
    pub room: String,
    pub nick: String,
}

impl MucClient {
    /// Signs in and enters the room. The account is made before.
    pub async fn enter(server: &XmppServer, user: &str, conf: &str, nick: &str, password: &str) -> Self {
        let session = server.login(user, &password_of(user)).await;
        let mut client = Self { session, room: format!("{conf}@{MUC}"), nick: nick.to_owned() };
        client.join(password).await;
        client.presence(nick, |p| p.text.contains("110")).await;
        client
    }

    /// The same, tried until the room is there.
    pub async fn enter_when_let_in(server: &XmppServer, user: &str, conf: &str, nick: &str, password: &str) -> Self {
        let session = server.login(user, &password_of(user)).await;
        let mut client = Self { session, room: format!("{conf}@{MUC}"), nick: nick.to_owned() };
        loop {
            client.join(password).await;
            let is_end = |p: &Stanza| p.attr("type") == "error" || p.text.contains("110");
            if client.presence(nick, is_end).await.attr("type") != "error" {
                return client;
            }
        }
    }

    /// Asks to be let in.
    pub async fn join(&mut self, password: &str) {
        let (room, nick) = (&self.room, escaped(&self.nick));
        let password =
            if password.is_empty() { String::new() } else { format!("<password>{}</password>", escaped(password)) };
        self.send(&format!(
            "<presence id='join' to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'>{password}</x></presence>"
        ))
        .await;
    }

    pub async fn send(&mut self, text: &str) {
        self.session.stream.send(text).await.expect("the server reads what its client writes");
    }

    /// Tells of microphone, camera or hand.
    pub async fn set_state(&mut self, attributes: &str) {
        let text = format!(
            "<presence to='{}/{}'><state xmlns='{STATE}' {attributes}/></presence>",
            self.room,
            escaped(&self.nick)
        );
        self.send(&text).await;
    }

    pub async fn leave(&mut self) {
        let text = format!("<presence type='unavailable' to='{}/{}'/>", self.room, escaped(&self.nick));
        self.send(&text).await;
    }

    /// Writes to everybody.
    pub async fn write(&mut self, text: &str) {
        let text = format!("<message type='groupchat' to='{}'><body>{}</body></message>", self.room, escaped(text));
        self.send(&text).await;
    }

    /// Waits for a stanza of that name and from that nickname that is as it should be.
    pub async fn wait_for(&mut self, name: &str, nick: &str, is_it: impl Fn(&Stanza) -> bool) -> Stanza {
        let from = format!("{}/{nick}", self.room);
        loop {
            let stanza = self.session.stream.next().await;
            if stanza.name == name && stanza.attr("from") == from && is_it(&stanza) {
                return stanza;
            }
        }
    }

    pub async fn presence(&mut self, nick: &str, is_it: impl Fn(&Stanza) -> bool) -> Stanza {
        self.wait_for("presence", nick, is_it).await
    }

    pub async fn message(&mut self, nick: &str, text: &str) -> Stanza {
        let escaped = escaped(text);
        self.wait_for("message", nick, |m| m.text.contains(&escaped)).await
    }

    /// Waits until the room says that its settings have changed (XEP-0045 section 10.2.1).
    pub async fn room_changed(&mut self) {
        loop {
            let stanza = self.session.stream.next().await;
            if stanza.name == "message" && stanza.attr("from") == self.room && stanza.text.contains("104") {
                return;
            }
        }
    }

    /// Sends an IQ with that content, and gives the answer.
    pub async fn request(&mut self, kind: &str, to: &str, id: &str, content: &str) -> Stanza {
        self.session.ask(&format!("<iq type='{kind}' id='{id}' to='{to}'>{content}</iq>"), id).await
    }
}

/// Makes an account.
pub async fn register(server: &XmppServer, user: &str) {
    server.register(user, &password_of(user)).await;
}

/// The password of an account.
pub fn password_of(user: &str) -> String {
    format!("{user}-password")
}

fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}
