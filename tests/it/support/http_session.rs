//! WHIP and WHEP: sessions over HTTP with real WebRTC peers.

use std::net::{IpAddr, Ipv4Addr};

use http::{Method, StatusCode};

use super::client::{BASE, Client, Reply};
use super::media::{Media, Peer};

/// A session that was answered.
pub struct HttpSession {
    pub peer: Peer,
    pub location: String,
    pub tag: String,
    pub answer: String,
    token: String,
}

/// Where one sends to that conference, or watches that of its streams.
pub fn whip(conf: &str) -> String {
    format!("{BASE}/callgw/whip/{conf}")
}

pub fn whep(conf: &str) -> String {
    format!("{BASE}/callgw/whep/{conf}")
}

impl Client {
    /// Posts an offer, or anything.
    pub async fn offer(&self, path: &str, token: &str, body: impl Into<bytes::Bytes>) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/sdp")];
        self.request(Method::POST, path, &headers, body).await
    }

    /// Sends a camera and a microphone.
    pub async fn publish_over_http(&self, path: &str, token: &str) -> HttpSession {
        self.session(path, token, Media::SENDS).await
    }

    pub async fn watch_over_http(&self, path: &str, token: &str) -> HttpSession {
        self.session(path, token, Media::WATCHES).await
    }

    pub async fn session(&self, path: &str, token: &str, media: Media) -> HttpSession {
        self.session_by(path, token, media, str::to_owned).await
    }

    /// The same by an offer that differs from the peer's.
    pub async fn session_by(&self, path: &str, token: &str, media: Media, by: impl Fn(&str) -> String) -> HttpSession {
        let mut peer = Peer::new(IpAddr::V4(Ipv4Addr::LOCALHOST), media).await;
        let reply = self.offer(path, token, by(peer.offered())).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        assert_eq!(reply.header("content-type"), "application/sdp");
        let answer = String::from_utf8(reply.body.to_vec()).expect("SDP is text");
        peer.answered(&answer);
        let (location, tag) = (reply.header("location").to_owned(), reply.header("etag").to_owned());
        HttpSession { peer, location, tag, answer, token: token.to_owned() }
    }
}

impl HttpSession {
    /// A PATCH of that fragment on that condition.
    pub async fn patch(&self, client: &Client, condition: Option<&str>, fragment: &str) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/trickle-ice-sdpfrag")];
        headers.extend(condition.map(|condition| ("if-match", condition)));
        client.request(Method::PATCH, &self.location, &headers, fragment.to_owned()).await
    }

    pub async fn delete(&self, client: &Client) -> StatusCode {
        let bearer = format!("Bearer {}", self.token);
        client.request(Method::DELETE, &self.location, &[("authorization", &bearer)], "").await.status
    }

    /// Asks for a new ICE session; its entity tag is the session's from then on.
    pub async fn restart_ice(&mut self, client: &Client) {
        let offer = self.peer.restart_ice();
        let reply =
            self.patch(client, Some("*"), &lines(&offer, &["a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"])).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert_eq!(reply.header("content-type"), "application/trickle-ice-sdpfrag");
        let fragment = String::from_utf8(reply.body.to_vec()).expect("SDP is text");
        let credentials = |line: &str| line.starts_with("a=ice-ufrag:") || line.starts_with("a=ice-pwd:");
        let new: Vec<&str> = fragment.lines().filter(|line| credentials(line)).collect();
        assert_eq!(new.len(), 2, "{fragment}");
        let answer = self.answer.lines().map(|line| match line {
            _ if line.starts_with("a=ice-ufrag:") => new[0],
            _ if line.starts_with("a=ice-pwd:") => new[1],
            line => line,
        });
        let answer = answer.fold(String::new(), |text, line| text + line + "\r\n");
        self.peer.answered(&answer);
        assert_ne!(self.tag, reply.header("etag"));
        self.tag = reply.header("etag").to_owned();
    }
}

/// The first of the lines that begin so, in the order of the beginnings.
fn lines(sdp: &str, beginnings: &[&str]) -> String {
    let found = beginnings.iter().filter_map(|begin| sdp.lines().find(|line| line.starts_with(begin)));
    found.fold(String::new(), |text, line| text + line + "\r\n")
}
