//! Which nodes streams may be pulled from, and what signs the tokens for each. Pure.

use std::sync::Arc;

use arc_swap::ArcSwap;
use confgate_sfu::protocol::StreamId;
use http::Uri;

use crate::ids::{ConfId, Secret};
use crate::media::group::{FLAT, RoomNamespace, stream_named};
use crate::media::tokens::PULLERS_KEY;
use crate::tls_client::Fingerprint;
use crate::token::{Kind, KindKeys};

/// Longest address that is looked at, in bytes.
const URI_MAX: usize = 1024;
/// The path that WCS appends to a node's address.
const WEBSOCKET: &str = "/websocket";

/// A node that is configured here, or that another gateway has registered.
#[derive(Debug, Clone)]
pub struct Known {
    /// The id.
    pub id: String,
    /// The address.
    pub url: Uri,
    /// The secret of that node's tokens.
    pub secret: Secret,
    /// Certificates by which it is known.
    pub pins: Vec<Fingerprint>,
}

/// The nodes that other gateways have registered. Cloneable; written by the task that reads the register, read by the
/// nodes of this process.
#[derive(Clone, Default)]
pub struct Registered(Arc<ArcSwap<Vec<Known>>>);

impl Registered {
    /// These, and no others.
    pub fn set(&self, nodes: Vec<Known>) {
        self.0.store(Arc::new(nodes));
    }
}

/// Where streams may be pulled from.
pub struct Targets {
    /// The configured nodes.
    pub nodes: Vec<Known>,
    /// The registered nodes. A configured one of the same address precedes.
    pub registered: Registered,
    /// `ws(s)://HOST[:PORT]`; a HOST `*.example.org` is any below example.org.
    pub allowed: Vec<Uri>,
    /// Signs for those.
    pub own_secret: Secret,
    /// Where nodes serve their signalling if an address doesn't say.
    pub path: String,
}

/// Where one node is, and what admits there.
pub(super) struct Target {
    pub uri: Uri,
    pub gateway_id: Option<String>,
    pub keys: Arc<KindKeys>,
    pub pins: Vec<Fingerprint>,
}

impl Targets {
    /// The node with that address, and how the address is said from now on; `None`: it may not be pulled from.
    pub(super) fn find(&self, text: &str) -> Option<(String, Target)> {
        let normal = normal(text);
        let uri: Uri = Some(&normal).filter(|text| text.len() <= URI_MAX)?.parse().ok()?;
        let is_bare = uri.path() == "/";
        let known = |node: &&Known| is_at(&node.url, &uri) && (is_bare || trimmed(node.url.path()) == uri.path());
        let registered = self.registered.0.load();
        if let Some(node) = self.nodes.iter().chain(registered.iter()).find(known) {
            let target = Target::new(node.url.clone(), Some(&node.id), &node.secret);
            return Some((normal, Target { pins: node.pins.clone(), ..target }));
        }
        self.allowed.iter().find(|allowed| matches(allowed, &uri))?;
        let uri = match is_bare {
            true => format!("{normal}{}", self.path).parse().ok()?,
            false => uri,
        };
        Some((normal, Target::new(uri, None, &self.own_secret)))
    }
}

impl Target {
    fn new(uri: Uri, gateway_id: Option<&str>, secret: &Secret) -> Self {
        let keys = KindKeys::new(&[(gateway_id.unwrap_or(PULLERS_KEY).to_owned(), secret.clone())], Kind::Pull);
        Self { uri, gateway_id: gateway_id.map(str::to_owned), keys: Arc::new(keys), pins: Vec::new() }
    }
}

/// The address without what means nothing: WCS's suffix, slashes at the end.
pub(super) fn normal(uri: &str) -> String {
    let uri = trimmed(uri.trim());
    trimmed(uri.strip_suffix(WEBSOCKET).unwrap_or(uri)).to_owned()
}

fn trimmed(text: &str) -> &str {
    text.trim_end_matches('/')
}

/// A stream as operators name it: `confId/userId[/screen]`, or a flat name for one outside conferences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The room namespace.
    pub space: RoomNamespace,
    /// The conference, or the flat name: a room of its own.
    pub room: ConfId,
    /// The stream.
    pub stream: StreamId,
}

impl Named {
    /// Reads a name; `None` for a text that is none.
    pub fn parse(name: &str) -> Option<Self> {
        let (space, room, stream) = match name.split_once('/') {
            Some((conf, stream)) => (RoomNamespace::Conference, conf, stream),
            None => (RoomNamespace::Flat, name, FLAT),
        };
        Some(Self { space, room: ConfId::parse(room)?, stream: stream_named(stream)? })
    }
}

/// Whether `uri` says the same listener, and nothing but an address.
fn is_at(known: &Uri, uri: &Uri) -> bool {
    matches(known, uri) && known.host().is_some_and(|host| !host.contains('*'))
}

fn matches(pattern: &Uri, uri: &Uri) -> bool {
    let is_plain = uri.query().is_none() && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let scheme = uri.scheme_str().filter(|scheme| ["ws", "wss"].contains(scheme));
    let (Some(scheme), Some(wanted), Some(host)) = (scheme, pattern.host(), uri.host()) else { return false };
    let (wanted, host) = (wanted.to_ascii_lowercase(), host.to_ascii_lowercase());
    let host_fits = match wanted.strip_prefix('*') {
        Some(ending) => host.len() > ending.len() && host.ends_with(ending),
        None => host == wanted,
    };
    is_plain && pattern.scheme_str() == Some(scheme) && port(pattern) == port(uri) && host_fits
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("wss") { 443 } else { 80 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Targets {
        let url = "wss://media1.example.org:9092/base/callgw".parse().unwrap();
        let allowed = ["wss://*.example.net", "ws://192.0.2.1:8080"].map(|text| text.parse().unwrap()).to_vec();
        let nodes = vec![Known { id: "m1".into(), url, secret: Secret::new("the secret of m1"), pins: Vec::new() }];
        let registered = Registered::default();
        Targets { nodes, registered, allowed, own_secret: Secret::new("our own secret"), path: "/base/callgw".into() }
    }

    #[test]
    fn a_registered_node_is_known_while_it_is_registered_and_a_configured_one_precedes() {
        let targets = targets();
        let pin = Fingerprint::parse(&"0a".repeat(32)).unwrap();
        let known = |id: &str, url: &str| Known {
            id: id.into(),
            url: url.parse().unwrap(),
            secret: Secret::new("a derived secret"),
            pins: vec![pin],
        };
        let found = |text: &str| targets.find(text).map(|(_, target)| (target.gateway_id.unwrap(), target.pins));
        assert_eq!(found("wss://n2.example.org"), None);
        targets.registered.set(vec![
            known("n2", "wss://n2.example.org/base/callgw"),
            known("other", "wss://media1.example.org:9092/base/callgw"),
        ]);
        assert_eq!(found("wss://n2.example.org"), Some(("n2".into(), vec![pin])));
        assert_eq!(found("wss://media1.example.org:9092"), Some(("m1".into(), Vec::new())));
        targets.registered.set(Vec::new());
        assert_eq!(found("wss://n2.example.org"), None);
    }

    fn found(text: &str) -> Option<(String, Option<String>)> {
        targets().find(text).map(|(_, target)| (target.uri.to_string(), target.gateway_id))
    }

    #[test]
    fn a_configured_node_is_known_by_its_address_however_it_is_said() {
        for text in [
            "wss://media1.example.org:9092",
            "wss://MEDIA1.example.org:9092/",
            "wss://media1.example.org:9092/websocket",
            "wss://media1.example.org:9092/base/callgw",
            "wss://media1.example.org:9092/base/callgw/websocket",
        ] {
            let node = ("wss://media1.example.org:9092/base/callgw".to_owned(), Some("m1".to_owned()));
            assert_eq!(found(text), Some(node), "{text}");
        }
    }

    #[test]
    fn an_allowed_address_serves_where_nodes_serve_by_default() {
        let at = |uri: &str| Some((uri.to_owned(), None));
        assert_eq!(found("wss://a.example.net"), at("wss://a.example.net/base/callgw"));
        assert_eq!(found("wss://a.b.example.net:443/x"), at("wss://a.b.example.net:443/x"));
        assert_eq!(found("ws://192.0.2.1:8080/websocket"), at("ws://192.0.2.1:8080/base/callgw"));
    }

    #[test]
    fn all_else_is_not_to_be_pulled_from() {
        for text in [
            "",
            "x",
            "wss://",
            "wss://other.example.org:9092",
            "wss://media1.example.org:9093",
            "ws://media1.example.org:9092",
            "https://media1.example.org:9092",
            "wss://media1.example.org:9092/elsewhere",
            "wss://user@media1.example.org:9092",
            "wss://example.net",
            "wss://aexample.net",
            "wss://a.example.net:8443",
            "wss://a.example.net/x?y=1",
            "ws://192.0.2.1",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn a_stream_is_named_by_its_conference_and_member() {
        let named = Named::parse("c1/u1/screen").unwrap();
        assert_eq!((named.space, named.room.as_str()), (RoomNamespace::Conference, "c1"));
        assert_eq!(crate::media::group::name_of(&named.stream), "u1/screen");
        let flat = Named::parse("testStream").unwrap();
        assert_eq!((flat.space, flat.room.as_str()), (RoomNamespace::Flat, "testStream"));
        for text in ["", "c1/", "/u1", "c1/u1/x", "c1/u1/screen/screen", "c 1/u1", "test Stream"] {
            assert!(Named::parse(text).is_none(), "{text}");
        }
    }
}
