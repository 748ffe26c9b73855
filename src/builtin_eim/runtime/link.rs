//! One connection of the EIM: owns the stream, from handshake to end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::super::address::domain_of;
use super::routes::{Found, Routing};
use super::worker::{Inbound, LINK_QUEUE, LinkSender, ROOMS};
use crate::clock::stall::is_stall;
use crate::xmpp::jid::belongs_to;
use crate::xmpp::stream::{Incoming, StreamError, XmppStream};
use crate::xmpp::xml::{Element, Stanza};

/// Queued bytes at which no more batches are taken.
const WRITE_HIGH: usize = 256 * 1024;
/// How long the last words may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the first link may take to find out what the server routes to it.
const ROUTES_WAIT: Duration = Duration::from_secs(5);
/// Without a keep-alive there is nothing to wait for; some time far off stands for never.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// The owner of the stanzas that come over the link.
pub(super) enum LinkPeer {
    /// One component, which speaks from its own domain only.
    Component { domain: String },
    /// A server, which vouches for its senders; pinged at its domain when it is silent.
    /// `routing`: of the first of several addresses.
    Server { address: String, domain: String, keepalive: Duration, routing: Option<Routing> },
    /// The same, of a component that mirrors the conferences in the server's MUC rooms.
    Rooms { address: String, domain: String, keepalive: Duration },
}

impl LinkPeer {
    fn routing(&self) -> Option<&Routing> {
        match self {
            Self::Server { routing, .. } => routing.as_ref(),
            Self::Component { .. } | Self::Rooms { .. } => None,
        }
    }
}

/// Why a link is over.
pub(super) enum End {
    /// The worker has let go of it, or cut it.
    Released,
    Broken(StreamError),
    /// Nothing came from the server, not even the answer to a ping.
    Silent,
    /// A component spoke from a domain that isn't its own.
    Forged,
}

/// See the module.
pub(super) struct Link {
    stream: XmppStream,
    peer: LinkPeer,
    inbox: mpsc::Sender<Inbound>,
    batches: mpsc::Receiver<Vec<Stanza>>,
    /// For what else comes over this link than the address's own; it doesn't keep the link open.
    own: mpsc::WeakSender<Vec<Stanza>>,
    number: u64,
    cut: CancellationToken,
    begun: Instant,
    last_read: Instant,
    pinged: bool,
}

impl Link {
    /// Carries stanzas both ways until the link is over; tells the worker of its beginning and end.
    pub(super) async fn serve(stream: XmppStream, peer: LinkPeer, inbox: mpsc::Sender<Inbound>) -> End {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (out, batches) = mpsc::channel(LINK_QUEUE);
        let (number, cut) = (NUMBER.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        let domain = match &peer {
            LinkPeer::Component { domain } | LinkPeer::Server { address: domain, .. } => domain_of(domain),
            LinkPeer::Rooms { .. } => ROOMS.to_owned(),
        };
        let own = out.downgrade();
        let link = LinkSender { number, batches: out, cut: cut.clone() };
        // An error here: the EIM has stopped.
        if inbox.send(Inbound::Up { domain: domain.clone(), link }).await.is_err() {
            return End::Released;
        }
        let up = metrics::gauge!("confgate_builtin_eim_links_up");
        up.increment(1.0);
        let to_worker = inbox.clone();
        let (now, routing) = (Instant::now(), peer.routing().cloned());
        let link = Self { stream, peer, inbox, batches, own, number, cut, begun: now, last_read: now, pinged: false };
        let end = link.carry().await;
        up.decrement(1.0);
        for domain in routing.iter().flat_map(Routing::reset).map(|other| domain_of(&other)) {
            let _ = to_worker.send(Inbound::Down { domain, number }).await;
        }
        let _ = to_worker.send(Inbound::Down { domain, number }).await;
        end
    }

    async fn carry(mut self) -> End {
        let inbox = self.inbox.clone();
        let mut place = None;
        let routing = self.peer.routing().cloned();
        routing.iter().flat_map(Routing::pings).for_each(|ping| self.send(&ping));
        let end = loop {
            let room = self.stream.queued() < WRITE_HIGH;
            let quiet = self.quiet();
            tokio::select! {
                biased;
                () = self.cut.cancelled() => return End::Released,
                batch = self.batches.recv(), if room => match batch {
                    Some(batch) => batch.iter().for_each(|stanza| self.send(stanza)),
                    None => break End::Released,
                },
                free = inbox.reserve(), if place.is_none() => match free {
                    Ok(free) => place = Some(free),
                    Err(_) => break End::Released,
                },
                incoming = self.stream.incoming_when(place.is_some()) => match incoming.map(|i| self.check_sender(i)) {
                    Ok(Some(inbound)) => {
                        if let Some(inbound) = self.routed(inbound)
                            && let Some(place) = place.take()
                        {
                            place.send(inbound);
                        }
                    }
                    Ok(None) => break End::Forged,
                    Err(e) => return End::Broken(e),
                },
                () = sleep_until(self.begun + ROUTES_WAIT), if routing.as_ref().is_some_and(Routing::is_open) => {
                    routing.iter().for_each(Routing::give_up);
                }
                () = sleep_until(quiet) => if !self.ping() {
                    return End::Silent;
                },
            }
        };
        if matches!(end, End::Forged) {
            self.stream.queue_error("invalid-from");
        }
        let _ = timeout(CLOSE_TIMEOUT, self.stream.close()).await;
        end
    }

    fn send(&mut self, stanza: &Stanza) {
        if !self.stream.queue(stanza) {
            tracing::debug!(to = stanza.attr("to"), "a stanza has no address to be sent from or to");
        }
    }

    /// Passes a stanza whose sender the peer may speak for (XEP-0114 section 3).
    fn check_sender(&mut self, incoming: Incoming) -> Option<Inbound> {
        (self.last_read, self.pinged) = (Instant::now(), false);
        let is_own = |stanza: &Stanza| match &self.peer {
            LinkPeer::Server { .. } | LinkPeer::Rooms { .. } => true,
            LinkPeer::Component { domain } => stanza.attr("from").is_some_and(|from| belongs_to(from, domain)),
        };
        if let LinkPeer::Rooms { .. } = &self.peer {
            return Some(match incoming {
                Incoming::Stanza(stanza) => Inbound::Rooms(stanza),
                Incoming::Skipped(stanza) => Inbound::RoomsSkipped(stanza),
            });
        }
        match incoming {
            Incoming::Stanza(stanza) => is_own(&stanza).then_some(Inbound::Stanza(stanza)),
            Incoming::Skipped(stanza) => is_own(&stanza).then_some(Inbound::Skipped(stanza)),
        }
    }

    /// What goes to the worker: not what the server says of routes, but that another address is served here.
    fn routed(&mut self, inbound: Inbound) -> Option<Inbound> {
        let (Some(routing), Inbound::Stanza(stanza)) = (self.peer.routing(), &inbound) else { return Some(inbound) };
        match routing.take(stanza) {
            Found::Nothing => Some(inbound),
            Found::Own => None,
            Found::First(address) => {
                tracing::info!(address, "the EIM's address is connected by the link of the first one");
                self.stream.speak_for(&address);
                let link = LinkSender { number: self.number, batches: self.own.upgrade()?, cut: self.cut.clone() };
                Some(Inbound::Up { domain: domain_of(&address), link })
            }
        }
    }

    fn quiet(&self) -> Instant {
        match self.peer {
            LinkPeer::Server { keepalive, .. } | LinkPeer::Rooms { keepalive, .. } => {
                self.last_read + keepalive * if self.pinged { 2 } else { 1 }
            }
            LinkPeer::Component { .. } => self.last_read + FAR,
        }
    }

    /// Asks a silent server whether it is there. False: it was asked before.
    fn ping(&mut self) -> bool {
        match &self.peer {
            LinkPeer::Component { .. } => self.last_read = Instant::now(),
            LinkPeer::Server { keepalive, .. } | LinkPeer::Rooms { keepalive, .. }
                if self.pinged && is_stall(*keepalive * 2, self.last_read.elapsed()) =>
            {
                (self.last_read, self.pinged) = (Instant::now(), false);
            }
            LinkPeer::Server { .. } | LinkPeer::Rooms { .. } if self.pinged => return false,
            LinkPeer::Server { address, domain, .. } | LinkPeer::Rooms { address, domain, .. } => {
                let ping = Stanza::iq("get", Element::new("ping", "urn:xmpp:ping")).with("id", "keepalive");
                let ping = ping.with("from", address.as_str()).with("to", domain.as_str());
                self.send(&ping);
                self.pinged = true;
            }
        }
        true
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Released => f.write_str("let go"),
            Self::Broken(e) => e.fmt(f),
            Self::Silent => f.write_str("the server is silent"),
            Self::Forged => f.write_str("a stanza from a domain that isn't the component's"),
        }
    }
}
