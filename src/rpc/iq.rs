//! Which IQs `org.user.processIQ` takes, and from whom. Pure.

use crate::auth::Caller;
use crate::config::{Config, Scope};
use crate::eim::addresses::user_of;
use crate::ids::UserId;
use crate::refusal::{Reason, Refusal};
use crate::xmpp::jid::{Jid, same_address};
use crate::xmpp::xml::{CONTENT_NS, Element, Node, Stanza};

/// Largest IQ of a client's, in bytes.
pub const REQ_XML_MAX: usize = 64 * 1024;
/// White space of XML 1.0 section 2.3, which says nothing between elements.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
/// Namespace of ad-hoc commands (XEP-0050), which servers are administered by.
const COMMANDS: &str = "http://jabber.org/protocol/commands";

/// Why a text is no IQ that can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoIq {
    /// It is no XML, or more of it than is read.
    Malformed(&'static str),
    /// It is an element that is no request.
    Unsuitable(&'static str),
}

impl From<NoIq> for Refusal {
    fn from((NoIq::Malformed(why) | NoIq::Unsuitable(why)): NoIq) -> Self {
        Refusal::invalid_params("reqXml", why)
    }
}

/// Exactly one IQ of type get or set with one child (RFC 6120 section 8.2.3).
pub(super) fn read(req_xml: &str) -> Result<Stanza, NoIq> {
    if req_xml.len() > REQ_XML_MAX {
        return Err(NoIq::Malformed("too large"));
    }
    let refuse = NoIq::Unsuitable;
    let iq = Stanza::parse(req_xml).map_err(|error| NoIq::Malformed(error.0))?;
    if iq.name != "iq" || iq.ns != CONTENT_NS {
        return Err(refuse("the element must be an <iq>"));
    }
    let is_blank = |node: &Node| matches!(node, Node::Text(text) if text.trim_matches(SPACE).is_empty());
    let mut content = iq.nodes.iter().filter(|node| !is_blank(node));
    if !matches!((content.next(), content.next()), (Some(Node::Element(_)), None)) {
        return Err(refuse("an <iq> of type get or set has exactly one child"));
    }
    if !iq.is_request() {
        return Err(refuse("type must be get or set"));
    }
    match iq.attr("to") {
        None | Some("") => Err(refuse("to is required")),
        Some(to) if Jid::parse(to).is_none() => Err(refuse("to is no address")),
        Some(_) => Ok(iq),
    }
}

/// The sender of the IQ, if the caller may send it.
pub(super) fn permitted(config: &Config, caller: &Caller, iq: &Stanza) -> Result<UserId, Refusal> {
    let any = caller.can(Scope::IqAny);
    let ns = iq.payload().map_or("", |payload: &Element| payload.ns.as_str());
    if ns == COMMANDS && !any {
        return Err(needs_any(Refusal::of(Reason::IqCommandsForbidden)));
    }
    let to = iq.attr("to").unwrap_or_default();
    if caller.is_guest() {
        if !config.eim.guest_namespaces.iter().any(|allowed| allowed == ns) {
            return Err(Refusal::of(Reason::IqNamespaceForbidden));
        }
        if !config.eim.guest_addresses().iter().any(|allowed| same_address(allowed, to)) {
            return Err(Refusal::of(Reason::IqDestinationForbidden));
        }
    }
    match iq.attr("from") {
        None => Ok(caller.user_id.clone()),
        Some(from) => user_of(from, &config.eim.domain)
            .filter(|user| any || *user == caller.user_id)
            .ok_or_else(|| needs_any(Refusal::of(Reason::IqFromForbidden))),
    }
}

/// Names the scope that would allow it.
fn needs_any(refusal: Refusal) -> Refusal {
    refusal.with("scope", Scope::IqAny.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Kind;

    const SAMPLE: &str = r#"<iq from="u1074808@ips3000/uc" to="jeprivacy.ips3000" type="get" id="01"><jeExtension xmlns="je:x:client:config"> <getMainTabs/></jeExtension></iq>"#;

    #[test]
    fn the_seeds_iq_is_read() {
        let iq = read(SAMPLE).unwrap();
        assert_eq!(iq.attr("id"), Some("01"));
        assert_eq!(iq.payload().unwrap().ns, "je:x:client:config");
    }

    #[test]
    fn anything_but_one_iq_with_one_child_and_a_destination_is_refused() {
        let bad = [
            "",
            "<iq/>",
            "<message to='a'><x/></message>",
            "<iq to='a' type='get'/>",
            "<iq type='get'><x/></iq>",
            "<iq to='a' type='result'><x/></iq>",
            "<iq to='a' type='get'><x/><y/></iq>",
            "<iq to='a' type='get'>t<x/></iq>",
            "<iq to='' type='get'><x/></iq>",
            "<iq to='a' type='get'><x/></iq><iq to='a' type='get'><x/></iq>",
            "<iq xmlns='other' to='a' type='get'><x/></iq>",
            "<iq to='a'><x/></iq>",
            "<!DOCTYPE a><iq to='a' type='get'><x/></iq>",
            "<iq to='a b@c' type='get'><x/></iq>",
            "<iq to='\u{200B}@ips3000' type='get'><x/></iq>",
            "\u{FEFF}<iq to='a' type='get'><x/></iq>",
        ];
        for xml in bad {
            assert_eq!(Refusal::from(read(xml).unwrap_err()).kind, Kind::InvalidParams, "{xml}");
        }
        assert!(read(&format!("<iq to='a' type='get'><x>{}</x></iq>", "y".repeat(REQ_XML_MAX))).is_err());
        assert!(read("<iq xmlns='jabber:client' to='a' type='set'><x/></iq>").is_ok());
    }
}
