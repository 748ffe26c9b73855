//! Answers to IQ requests of others. Pure.

use crate::eim::inbound::{InboundSchema, Question};
use crate::event::Role;
use crate::ids::ConfId;
use crate::xmpp::xml::{CONTENT_NS, Element, Node, Stanza};

/// The namespace of stanza errors (RFC 6120 section 8.3).
pub const STANZAS_NS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
const PING: &str = "urn:xmpp:ping";
const VERSION: &str = "jabber:iq:version";

/// The conditions of RFC 6120 section 8.3.3.
const CONDITIONS: [&str; 22] = [
    "bad-request",
    "conflict",
    "feature-not-implemented",
    "forbidden",
    "gone",
    "internal-server-error",
    "item-not-found",
    "jid-malformed",
    "not-acceptable",
    "not-allowed",
    "not-authorized",
    "policy-violation",
    "recipient-unavailable",
    "redirect",
    "registration-required",
    "remote-server-not-found",
    "remote-server-timeout",
    "resource-constraint",
    "service-unavailable",
    "subscription-required",
    "undefined-condition",
    "unexpected-request",
];

/// The condition if the standard has it, else `undefined-condition`: labels of metrics must not be the peer's choice.
pub fn defined_condition(text: &str) -> &'static str {
    CONDITIONS.into_iter().find(|known| *known == text).unwrap_or("undefined-condition")
}

/// Where a conference is joined from a browser: the answer to `getWebAddress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAddress {
    /// The link.
    pub url: String,
    /// The link's code.
    pub code: String,
}

/// The decision about a request that came in.
#[derive(Debug, PartialEq, Eq)]
pub enum IqAnswer {
    /// The answer to send.
    Reply(Stanza),
    /// The EIM asks for a conference's web address: others must find it, then see [`web_address`].
    WebAddress {
        /// The conference.
        conf_id: ConfId,
        /// The role.
        role: Role,
        /// How long the link is to serve, in milliseconds.
        valid_ms: Option<u64>,
    },
    /// It is not a request that could be answered.
    Nothing,
}

/// Judges an IQ of type get or set. Only the EIM's own addresses may ask for a web address; ping, disco and version
/// are answered to everybody who can reach us.
pub fn handle(iq: &Stanza, inbound: &InboundSchema) -> IqAnswer {
    let (Some(kind @ ("get" | "set")), Some(_)) = (iq.attr("type"), iq.attr("id")) else { return IqAnswer::Nothing };
    let mut children = iq.children();
    let (Some(payload), None) = (children.next(), children.next()) else {
        return IqAnswer::Reply(error(iq, "modify", "bad-request"));
    };
    let reply = match (kind, payload.ns.as_str(), payload.name.as_str()) {
        ("get", PING, "ping") => result(iq, None),
        ("get", DISCO_INFO, "query") if payload.attr("node").is_some() => error(iq, "cancel", "item-not-found"),
        ("get", DISCO_INFO, "query") => result(iq, Some(about_us())),
        ("get", DISCO_ITEMS, "query") => result(iq, Some(Element::new("query", DISCO_ITEMS))),
        ("get", VERSION, "query") => result(iq, Some(version())),
        _ => match inbound.question(iq) {
            Some(Question::WebAddress { conf_id, role, valid_ms }) => {
                return IqAnswer::WebAddress { conf_id, role, valid_ms };
            }
            Some(Question::Bad) => error(iq, "modify", "bad-request"),
            None => error(iq, "cancel", "service-unavailable"),
        },
    };
    IqAnswer::Reply(reply)
}

/// The answer to `getWebAddress`. `None`: there is no such conference.
pub fn web_address(iq: &Stanza, found: Option<&WebAddress>, inbound: &InboundSchema) -> Stanza {
    let Some(found) = found else { return error(iq, "cancel", "item-not-found") };
    match inbound.web_address(&found.url, &found.code) {
        Some(payload) => result(iq, Some(payload)),
        None => error(iq, "cancel", "internal-server-error"),
    }
}

/// An IQ result back to whoever sent `iq`.
pub fn result(iq: &Stanza, payload: Option<Element>) -> Stanza {
    let mut reply = back(iq, "result");
    reply.nodes.extend(payload.map(Node::Element));
    reply
}

/// An IQ error back to whoever sent `iq`: error type and condition of RFC 6120 section 8.3.
pub fn error(iq: &Stanza, kind: &str, condition: &str) -> Stanza {
    back(iq, "error").with_child(error_element(kind, condition))
}

/// The answer to a request that was skipped.
pub fn not_read(iq: &Stanza) -> Stanza {
    error(iq, "modify", "policy-violation")
}

/// The answer in place of a skipped one: the request fails, with no more than that.
pub fn unreadable(mut answer: Stanza) -> Stanza {
    answer.set("type", "error");
    answer.with_child(error_element("modify", "policy-violation"))
}

fn error_element(kind: &str, condition: &str) -> Element {
    Element::new("error", CONTENT_NS).with("type", kind).with_child(Element::new(condition, STANZAS_NS))
}

fn back(iq: &Stanza, kind: &str) -> Stanza {
    let mut reply = Stanza::new("iq").with("type", kind);
    for (name, theirs) in [("from", "to"), ("to", "from"), ("id", "id")] {
        if let Some(value) = iq.attr(theirs) {
            reply.set(name, value);
        }
    }
    reply
}

fn about_us() -> Element {
    let identity = Element::new("identity", DISCO_INFO).with("category", "component").with("type", "generic");
    let features = [DISCO_INFO, DISCO_ITEMS, PING, VERSION];
    let query = Element::new("query", DISCO_INFO).with_child(identity.with("name", "confgate"));
    features.iter().fold(query, |q, f| q.with_child(Element::new("feature", DISCO_INFO).with("var", *f)))
}

fn version() -> Element {
    let field = |name: &str, text: &str| Element::new(name, VERSION).with_text(text);
    let name = Element::new("query", VERSION).with_child(field("name", "confgate"));
    name.with_child(field("version", env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    fn inbound() -> InboundSchema {
        InboundSchema::new(&Schema::load(None).expect("the built-in schema is right"), "ips3000")
    }

    fn iq_of(kind: &str, from: &str, payload: &str) -> Stanza {
        let text = format!("<iq type='{kind}' id='7' from='{from}' to='webconf.ips3000'>{payload}</iq>");
        Stanza::parse(&text).unwrap()
    }

    fn replied(iq: &Stanza) -> Stanza {
        match handle(iq, &inbound()) {
            IqAnswer::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_request_gets_its_answer_back_to_the_sender() {
        let cases = [
            ("get", "<ping xmlns='urn:xmpp:ping'/>", "result"),
            ("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "result"),
            ("get", "<query xmlns='http://jabber.org/protocol/disco#items'/>", "result"),
            ("get", "<query xmlns='jabber:iq:version'/>", "result"),
            ("get", "<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>", "item-not-found"),
            ("set", "<ping xmlns='urn:xmpp:ping'/>", "service-unavailable"),
            ("get", "<query xmlns='jabber:iq:roster'/>", "service-unavailable"),
            ("get", "", "bad-request"),
            ("get", "<a/><b/>", "bad-request"),
        ];
        for (kind, payload, expected) in cases {
            let reply = replied(&iq_of(kind, "somebody@else.where/x", payload));
            assert_eq!(reply.attr("to"), Some("somebody@else.where/x"));
            assert_eq!((reply.attr("from"), reply.attr("id")), (Some("webconf.ips3000"), Some("7")));
            let is_it = reply.attr("type") == Some(expected) || reply.to_xml().contains(expected);
            assert!(is_it, "{payload}: {}", reply.to_xml());
        }
        for no_request in ["<iq type='result' id='7'/>", "<iq type='get'/>", "<iq/>", "<iq type='x' id='7'/>"] {
            assert_eq!(handle(&Stanza::parse(no_request).unwrap(), &inbound()), IqAnswer::Nothing);
        }
    }

    #[test]
    fn only_the_eim_may_ask_for_a_web_address() {
        let payload =
            "<jeExtension xmlns='je:x:client:conference'><getWebAddress confId='c1' role='chair'/></jeExtension>";
        let iq = iq_of("get", "jeconference.ips3000", payload);
        let conf_id = ConfId::parse("c1").unwrap();
        assert_eq!(handle(&iq, &inbound()), IqAnswer::WebAddress { conf_id, role: Role::Chair, valid_ms: None });
        for from in ["u1@ips3000", "u1%ips3000@webconf.ips3000/uc", "rooms.ips3000", "evil.example"] {
            assert!(replied(&iq_of("get", from, payload)).to_xml().contains("service-unavailable"));
        }
        let found = WebAddress { url: "https://x/conference/~a&b".into(), code: "~a&b".into() };
        let reply = web_address(&iq, Some(&found), &inbound()).payload().cloned().unwrap();
        assert_eq!(reply.child("getWebAddress").and_then(|o| o.attr("url")), Some(found.url.as_str()));
        assert!(web_address(&iq, None, &inbound()).to_xml().contains("item-not-found"));
        let without = iq_of(
            "get",
            "jeconference.ips3000",
            "<jeExtension xmlns='je:x:client:conference'><getWebAddress/></jeExtension>",
        );
        assert!(replied(&without).to_xml().contains("bad-request"));
    }
}
