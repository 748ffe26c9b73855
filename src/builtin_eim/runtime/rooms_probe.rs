//! `confgate check` of mode `muc`: makes a room, configures it, destroys it.

use std::time::Duration;

use tokio::time::timeout;

use super::super::muc::probe::{Probe, Step};
use super::{ComponentSettings, MucSettings};
use crate::xmpp::dial::{Dial, Endpoint};
use crate::xmpp::stream::Incoming;

/// Makes a room at the server's MUC service as a gateway would, and destroys it. The component must not be connected
/// otherwise. `room`: random text.
///
/// # Errors
/// What the server refuses, or doesn't answer.
pub async fn try_rooms(settings: MucSettings, server: &ComponentSettings, room: &str) -> Result<String, String> {
    let endpoint = Endpoint::Tcp { host: server.host.clone(), port: server.port };
    let (domain, secret, tls) = (settings.component.clone(), server.secret.clone(), server.tls.clone());
    let dial = Dial::Component { endpoint, domain, secret, tls, beside: None };
    let mut stream = dial.connect(server.timeout).await.map_err(|why| why.to_string())?.stream;
    let probe = Probe::new(settings, room);
    let late = |waited: Duration| format!("no answer within {} ms", waited.as_millis());
    let outcome = timeout(server.timeout, async {
        let mut sent = probe.begin();
        loop {
            for stanza in &sent {
                let _ = stream.queue(stanza);
            }
            sent = match stream.incoming_when(true).await.map_err(|why| why.to_string())? {
                Incoming::Skipped(_) => Vec::new(),
                Incoming::Stanza(stanza) => match probe.take(&stanza) {
                    Step::Send(stanzas) => stanzas,
                    Step::End(outcome) => return outcome,
                },
            };
        }
    });
    let outcome = outcome.await.unwrap_or_else(|_| Err(late(server.timeout)));
    let _ = timeout(server.timeout, stream.close()).await;
    outcome
}
