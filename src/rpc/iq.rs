//! `org.user.processIQ`: any IQ that the caller may send, sent and answered.

use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{Config, Scope};
use crate::eim::xml::{Outline, Stanza, check};
use crate::entry::Caller;
use crate::ids::UserId;
use crate::refusal::Refusal;

use super::{Door, Outcome, Params, text};

/// Largest `reqXml`, in bytes.
const REQ_XML_MAX: usize = 64 * 1024;
/// Namespace of ad-hoc commands (XEP-0050), which servers are administered by.
const COMMANDS: &str = "http://jabber.org/protocol/commands";

impl Door {
    pub(super) async fn process_iq(&self, caller: &Caller, params: &Params) -> Outcome {
        let (iq, outline) = read(text(params, "reqXml").unwrap_or_default())?;
        let speaker = permitted(&self.config, caller, &iq, &outline)?;
        let asked = params.get("timeoutMs").and_then(Value::as_u64).map(Duration::from_millis);
        let timeout = asked.map_or(self.config.eim.timeout, |t| t.min(self.config.eim.timeout));
        let answer = self.eim.request_as(&speaker, iq, timeout).await?;
        Ok(json!({"xml": answer.to_xml()}))
    }
}

/// Exactly one IQ of type get or set with one child (RFC 6120 section 8.2.3).
fn read(req_xml: &str) -> Result<(Stanza, Outline), Refusal> {
    let refuse = |message: &str| Refusal::invalid_params("reqXml", message);
    let (iq, outline) = check(req_xml, REQ_XML_MAX).map_err(|error| refuse(error.0))?;
    if iq.name != "iq" || !matches!(outline.ns.as_deref(), None | Some("jabber:client")) {
        return Err(refuse("the element must be an <iq>"));
    }
    if outline.children.len() != 1 || outline.text {
        return Err(refuse("an <iq> of type get or set has exactly one child"));
    }
    if !matches!(iq.attr("type"), Some("get" | "set")) {
        return Err(refuse("type must be get or set"));
    }
    if iq.attr("to").is_none_or(str::is_empty) {
        return Err(refuse("to is required"));
    }
    Ok((iq, outline))
}

/// Whom the IQ is to be sent as, if the caller may send it.
fn permitted(config: &Config, caller: &Caller, iq: &Stanza, outline: &Outline) -> Result<UserId, Refusal> {
    let any = caller.can(Scope::IqAny);
    let (_, ns) = outline.children.first().ok_or_else(|| Refusal::invalid_params("reqXml", "no child"))?;
    let ns = ns.as_deref().unwrap_or_default();
    if ns == COMMANDS && !any {
        return Err(Refusal::forbidden("iq.commandsForbidden", "ad-hoc commands need the scope iq.any"));
    }
    let to = iq.attr("to").unwrap_or_default();
    if caller.is_guest() {
        if !config.eim.guest_namespaces.iter().any(|allowed| allowed == ns) {
            return Err(Refusal::forbidden("iq.namespaceForbidden", "not a namespace for guests"));
        }
        if !config.eim.guest_addresses().iter().any(|allowed| allowed == to) {
            return Err(Refusal::forbidden("iq.destinationForbidden", "not a destination for guests"));
        }
    }
    match iq.attr("from") {
        None => Ok(caller.user_id.clone()),
        Some(from) => speaker(from, &config.eim.domain)
            .filter(|user| any || *user == caller.user_id)
            .ok_or_else(|| Refusal::forbidden("iq.fromForbidden", "from is not the caller's own address")),
    }
}

/// The user of an address `user@domain[/resource]` at our domain.
fn speaker(from: &str, domain: &str) -> Option<UserId> {
    let bare = from.split_once('/').map_or(from, |(bare, _)| bare);
    let (user, at) = bare.split_once('@')?;
    (at == domain).then(|| UserId::parse(user)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::code;

    const SAMPLE: &str = r#"<iq from="u1074808@ips3000/uc" to="jeprivacy.ips3000" type="get" id="01"><jeExtension xmlns="je:x:client:config"> <getMainTabs/></jeExtension></iq>"#;

    #[test]
    fn the_seeds_iq_is_read() {
        let (iq, outline) = read(SAMPLE).unwrap();
        assert_eq!(iq.attr("id"), Some("01"));
        assert_eq!(outline.children[0].1.as_deref(), Some("je:x:client:config"));
        assert_eq!(speaker("u1074808@ips3000/uc", "ips3000"), UserId::parse("u1074808"));
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
        ];
        for xml in bad {
            assert_eq!(read(xml).unwrap_err().code, code::INVALID_PARAMS, "{xml}");
        }
        assert!(read(&format!("<iq to='a' type='get'><x>{}</x></iq>", "y".repeat(REQ_XML_MAX))).is_err());
        assert!(read("<iq xmlns='jabber:client' to='a' type='set'><x/></iq>").is_ok());
    }

    #[test]
    fn a_speaker_is_a_user_of_our_domain() {
        for foreign in ["u1@other", "ips3000", "@ips3000", "u1", "U1@ips3000", "u1%x@ips3000"] {
            assert_eq!(speaker(foreign, "ips3000"), None, "{foreign}");
        }
    }
}
