//! From which addresses a stream speaks.

use std::borrow::Cow;

use crate::xmpp::jid::Jid;
use crate::xmpp::xml::Stanza;

/// The sender of the stanzas that leave over a stream. A server ends a stream that speaks from another's address (RFC
/// 6120 section 4.9.3.9), and with it everything that others have on it: so the address is the stream's affair, not the
/// stanza's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamIdentity {
    /// A server's: it vouches for many.
    Server,
    /// A component's, which speaks from these domains only, in their own spelling, and always to somebody.
    Component(Vec<String>),
    /// A client's: its server says who it is.
    Session,
}

impl StreamIdentity {
    /// Appends the stanza. False where it can't leave over this stream: then nothing is written.
    pub(super) fn write(&self, stanza: &Stanza, out: &mut String) -> bool {
        match self {
            Self::Server => stanza.write(out),
            Self::Session => stanza.write_from(out, None),
            Self::Component(domains) => {
                let is_addressed = stanza.attr("to").is_some_and(|to| Jid::parse(to).is_some());
                let Some(from) =
                    stanza.attr("from").and_then(|from| own_address(from, domains)).filter(|_| is_addressed)
                else {
                    return false;
                };
                stanza.write_from(out, Some(&from));
            }
        }
        true
    }
}

/// The address at one of the domains, in that domain's spelling, if it is at one of them.
fn own_address<'a>(from: &'a str, domains: &[String]) -> Option<Cow<'a, str>> {
    let jid = Jid::parse(from)?;
    let domain = domains.iter().find(|domain| jid.is_at(domain))?;
    let is_spelt_so = jid.domain == domain.as_str();
    Some(if is_spelt_so { Cow::Borrowed(from) } else { Cow::Owned(Jid { domain, ..jid }.to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(voice: &StreamIdentity, text: &str) -> Option<String> {
        let mut out = String::new();
        voice.write(&Stanza::parse(text).unwrap(), &mut out).then_some(out)
    }

    #[test]
    fn a_component_speaks_from_its_own_domain_and_to_somebody_or_not_at_all() {
        let voice = StreamIdentity::Component(vec!["webconf.ips3000".into()]);
        let iq = |from: &str, to: &str| written(&voice, &format!("<iq from='{from}' to='{to}' id='1'/>"));
        for (from, own) in [
            ("webconf.ips3000", "webconf.ips3000"),
            ("WebConf.IPS3000/x", "webconf.ips3000/x"),
            ("u1%ips3000@webconf.ips3000/uc", "u1%ips3000@webconf.ips3000/uc"),
        ] {
            assert_eq!(iq(from, "je.ips3000"), Some(format!(r#"<iq from="{own}" to="je.ips3000" id="1"/>"#)));
        }
        for from in [
            "",
            "@ips3000",
            "@webconf.ips3000",
            "\u{200B}@webconf.ips3000",
            "ips3000",
            "webconf.ips3000.evil",
            "u1@ips3000/x@webconf.ips3000",
        ] {
            assert_eq!(iq(from, "je.ips3000"), None, "{from}");
        }
        for to in ["", "@", "\u{200B}@ips3000", "a b@c"] {
            assert_eq!(iq("webconf.ips3000", to), None, "{to}");
        }
        assert_eq!(written(&voice, "<iq to='je.ips3000'/>"), None);
        assert_eq!(written(&voice, "<iq from='webconf.ips3000'/>"), None);
    }

    #[test]
    fn a_client_leaves_it_to_its_server_who_it_is() {
        let text = "<iq from='somebody@else' to='je.ips3000' id='1'/>";
        assert_eq!(written(&StreamIdentity::Session, text).as_deref(), Some(r#"<iq to="je.ips3000" id="1"/>"#));
        assert!(written(&StreamIdentity::Server, text).unwrap().contains("somebody@else"));
    }
}
