//! The EIM as components of a real XMPP server: a connection for each of its addresses, or one for all where the server
//! routes all of them to it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::ComponentSettings;
use super::link::{Link, LinkPeer};
use super::routes::{Known, Route, Routing};
use super::worker::Inbound;
use crate::clock::backoff::Backoff;
use crate::xmpp::dial::{Dial, Endpoint};

/// A connection that lasted so long was a good one: the next pause is the shortest again.
const STEADY: Duration = Duration::from_secs(10);

/// Whether an address is the first one, by whose link the others find out whether they need one of their own.
pub(super) enum ComponentRole {
    First(Routing),
    Other(Known),
    /// It is no address of the EIM's: it mirrors the conferences in the server's MUC rooms.
    Rooms,
}

/// One address of the EIM, connected again and again.
pub(super) struct Component {
    address: String,
    /// The server's own domain, which is pinged.
    domain: String,
    dial: Dial,
    timeout: Duration,
    keepalive: Duration,
    backoff: Backoff,
    role: ComponentRole,
}

impl Component {
    pub(super) fn new(
        address: String,
        domain: String,
        endpoint: Endpoint,
        settings: &ComponentSettings,
        role: ComponentRole,
    ) -> Self {
        let (secret, tls) = (settings.secret.clone(), settings.tls.clone());
        let dial = Dial::Component { endpoint, domain: address.clone(), secret, tls, beside: None };
        let backoff = Backoff::new(settings.reconnect_min, settings.reconnect_max);
        let (timeout, keepalive) = (settings.timeout, settings.keepalive);
        Self { address, domain, dial, timeout, keepalive, backoff, role }
    }

    /// Until told to stop. While a connection is up it ends by the worker's letting go of it.
    pub(super) async fn run(mut self, inbox: mpsc::Sender<Inbound>, stop: CancellationToken) {
        while stop.run_until_cancelled(self.needed()).await.is_some() {
            let Some(connected) = stop.run_until_cancelled(self.dial.connect(self.timeout)).await else { return };
            metrics::counter!("confgate_builtin_eim_connects_total").increment(1);
            let lasting = match connected {
                Err(why) => {
                    tracing::warn!(address = %self.address, %why, "the EIM's address is not connected");
                    if let (ComponentRole::First(routing), true) = (&self.role, why.is_lasting()) {
                        routing.give_up();
                    }
                    why.is_lasting()
                }
                Ok(connected) => {
                    tracing::info!(address = %self.address, "the EIM's address is connected");
                    let began = Instant::now();
                    let end = Link::serve(connected.stream, self.peer(), inbox.clone()).await;
                    if began.elapsed() >= STEADY {
                        self.backoff.reset();
                    }
                    if !stop.is_cancelled() {
                        tracing::warn!(address = %self.address, why = %end, "the EIM's address is disconnected");
                    }
                    false
                }
            };
            let pause = self.backoff.pause(lasting, rand::random());
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Waits until the address needs a link of its own.
    async fn needed(&mut self) {
        if let ComponentRole::Other(known) = &mut self.role {
            // An error here: the first one's task has ended, as everything ends.
            let _ = known.wait_for(|routes| routes.get(&self.address) == Some(&Route::Own)).await;
        }
    }

    fn peer(&self) -> LinkPeer {
        let (address, domain, keepalive) = (self.address.clone(), self.domain.clone(), self.keepalive);
        let routing = match &self.role {
            ComponentRole::First(routing) => Some(routing.clone()),
            ComponentRole::Other(_) => None,
            ComponentRole::Rooms => return LinkPeer::Rooms { address, domain, keepalive },
        };
        LinkPeer::Server { address, domain, keepalive, routing }
    }
}
