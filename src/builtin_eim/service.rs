//! The answers of every XMPP entity: ping (XEP-0199), service discovery (XEP-0030), version (XEP-0092).

use super::dialect::Module;
use super::stanza_error::StanzaError;
use crate::refusal::Reason;
use crate::xmpp::xml::Element;

const PING_NS: &str = "urn:xmpp:ping";
const INFO_NS: &str = "http://jabber.org/protocol/disco#info";
const ITEMS_NS: &str = "http://jabber.org/protocol/disco#items";
const VERSION_NS: &str = "jabber:iq:version";

/// The content of the answer. `None`: not one of these requests.
pub(super) fn answer(request: &Element, to: &str, domain: &str) -> Option<Result<Option<Element>, StanzaError>> {
    let result = match (request.name.as_str(), request.ns.as_str()) {
        ("ping", PING_NS) => Ok(None),
        ("query", INFO_NS) if request.attr("node").is_some() => Err(StanzaError::of(Reason::DiscoNodeNotFound)),
        ("query", INFO_NS) => Ok(Some(info())),
        ("query", ITEMS_NS) => Ok(Some(items(to, domain))),
        ("query", VERSION_NS) => Ok(Some(version())),
        _ => return None,
    };
    Some(result)
}

fn info() -> Element {
    let identity = Element::new("identity", INFO_NS)
        .with("category", "component")
        .with("type", "generic")
        .with("name", "confgate EIM");
    let modules = Module::ALL.map(Module::ns);
    let features = [PING_NS, INFO_NS, ITEMS_NS, VERSION_NS].into_iter().chain(modules);
    features.fold(Element::new("query", INFO_NS).with_child(identity), |query, feature| {
        query.with_child(Element::new("feature", INFO_NS).with("var", feature))
    })
}

/// The modules' addresses, below the EIM's domain; a module has no items of its own.
fn items(to: &str, domain: &str) -> Element {
    let query = Element::new("query", ITEMS_NS);
    if to != domain {
        return query;
    }
    Module::ALL.into_iter().fold(query, |query, module| {
        let address = format!("{}.{domain}", module.host());
        query.with_child(Element::new("item", ITEMS_NS).with("jid", address).with("name", module.ns()))
    })
}

fn version() -> Element {
    Element::new("query", VERSION_NS)
        .with_child(Element::new("name", VERSION_NS).with_text("confgate EIM"))
        .with_child(Element::new("version", VERSION_NS).with_text(env!("CARGO_PKG_VERSION")))
}
