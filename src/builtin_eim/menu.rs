//! Module `config`: the tabs of the client's main window, as in seed 001's sample.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::dialect::Module;
use super::stanza_error::StanzaError;
use crate::refusal::Reason;
use crate::xmpp::xml::Element;

const TABS: &str = r#"{"tabs":[{"id":"conference","visible":true},{"id":"contacts","visible":true}]}"#;

/// `<getMainTabs isNeedUpdate="true"><value>`base64 of a JSON object`</value></getMainTabs>`, for everybody.
pub(super) fn answer(kind: &str, operation: &Element) -> Result<Element, StanzaError> {
    if (kind, operation.name.as_str()) != ("get", "getMainTabs") {
        return Err(StanzaError::of(Reason::OperationUnknown));
    }
    let ns = Module::Config.ns();
    let value = Element::new("value", ns).with_text(STANDARD.encode(TABS));
    Ok(Element::new("getMainTabs", ns).with("isNeedUpdate", "true").with_child(value))
}
