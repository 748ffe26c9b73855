//! One connection of a link: owns the stream and the requests under way on it, from handshake to end.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use smol_str::SmolStr;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::requests::{Stray, UnderWay};
use super::state::State;
use super::{Connected, EimError, MisroutedReplies, Reply, Request};
use crate::clock::stall::is_stall;
use crate::eim::events::Inbound;
use crate::eim::inbound::Message;
use crate::eim::iq_handler::{self, IqAnswer, WebAddress};
use crate::xmpp::jid::belongs_to;
use crate::xmpp::negotiate::ConnectError;
use crate::xmpp::stream::{Incoming, StreamError, XmppStream};
use crate::xmpp::xml::{Element, Stanza};

/// Queued bytes at which no more requests are taken from the mailbox.
const WRITE_HIGH: usize = 256 * 1024;
/// Queued bytes at which the stream is not read either: a peer that asks without reading our answers.
const WRITE_MAX: usize = 1024 * 1024;
/// Requests taken from the mailbox at once.
const BATCH: usize = 64;
/// Questions of the EIM for a web address that may be open at once.
const QUESTIONS_MAX: usize = 64;
/// How long the goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The waiter for the answer to a request.
enum Waiter {
    Caller(Reply),
    /// Our own ping, sent at that time.
    Ping(Instant),
}

/// A web address that was asked for, or nothing where the one who should know it is gone.
type Found = Result<Option<WebAddress>, oneshot::error::RecvError>;
/// An open question of the EIM: gives its IQ back with what was found.
type Question = Pin<Box<dyn Future<Output = (Stanza, Found)> + Send>>;

/// Why a connection is over. `None`: we were told to stop.
type End = Option<ConnectError>;

/// See the module.
pub(super) struct Connection<'a> {
    state: &'a mut State,
    stream: XmppStream,
    address: String,
    under_way: UnderWay<Waiter>,
    questions: FuturesUnordered<Question>,
    last_read: Instant,
    pinged: bool,
}

impl<'a> Connection<'a> {
    pub(super) fn new(state: &'a mut State, connected: Connected) -> Self {
        let under_way = UnderWay::new(connected.implied);
        let (stream, address, questions) = (connected.stream, connected.address, FuturesUnordered::new());
        Self { state, stream, address, under_way, questions, last_read: Instant::now(), pinged: false }
    }

    pub(super) async fn serve(mut self) -> End {
        for request in std::mem::take(&mut self.state.parked) {
            self.send(request);
        }
        let end = self.serve_until_end().await;
        if end.is_none() {
            let _ = timeout(CLOSE_TIMEOUT, self.stream.close()).await;
        }
        for waiter in self.under_way.drain() {
            if let Waiter::Caller(reply) = waiter {
                reply.send(Err(EimError::Unreachable { sent: true }));
            }
        }
        end
    }

    async fn serve_until_end(&mut self) -> End {
        let mut batch = Vec::with_capacity(BATCH);
        // Requests came since others last had their turn: whoever has one ready now is to share the write. A single one
        // isn't worth the turn, which wakes a thread for the others.
        let mut gathering = false;
        // Both stay from one round to the next: to make them anew takes locks that all of the process shares.
        let stop = self.state.stop.clone();
        let mut stopped = pin!(stop.cancelled());
        let mut timer = pin!(sleep_until(self.next_timer()));
        loop {
            let queued = self.stream.queued();
            gathering &= queued < WRITE_HIGH;
            let read = self.state.outbox.is_clear() && queued < WRITE_MAX;
            let due = self.next_timer();
            if due < timer.deadline() {
                timer.as_mut().reset(due);
            }
            // In this order each round first collects all that is to be written, then writes it at once.
            tokio::select! {
                biased;
                () = stopped.as_mut() => return None,
                n = self.state.requests.recv_many(&mut batch, BATCH), if queued < WRITE_HIGH => {
                    if n == 0 {
                        return None;
                    }
                    batch.drain(..).for_each(|request| self.send(request));
                    gathering = self.under_way.len() > 1;
                }
                () = tokio::task::yield_now(), if gathering => gathering = false,
                Some((iq, found)) = self.questions.next() => self.reply_web_address(&iq, found),
                incoming = self.stream.incoming_when(read), if !gathering => match incoming {
                    Ok(incoming) => self.on_incoming(incoming),
                    Err(e) => return Some(ended(e)),
                },
                stanza = MisroutedReplies::recv(&mut self.state.settings.strays) => self.take_stray(stanza),
                () = self.state.outbox.drain() => {}
                // Early where what it was for is over.
                () = timer.as_mut() => {
                    if let Err(dead) = self.on_timer(Instant::now()) {
                        return Some(dead);
                    }
                    timer.as_mut().reset(self.next_timer());
                }
            }
        }
    }

    fn send(&mut self, request: Request) {
        let Request { mut stanza, deadline, reply, .. } = request;
        if reply.to.is_closed() {
            return;
        }
        let to = SmolStr::from(stanza.attr("to").unwrap_or_default());
        let id = self.under_way.add(to.clone(), deadline, Waiter::Caller(reply));
        stanza.set("id", id.clone());
        if !self.stream.queue(&stanza)
            && let Ok(Waiter::Caller(reply)) = self.under_way.answer(&id, Some(&to))
        {
            reply.send(Err(EimError::Unsendable("it has no address to be sent from or to")));
        }
    }

    fn on_incoming(&mut self, incoming: Incoming) {
        self.last_read = Instant::now();
        let (stanza, is_whole) = match incoming {
            Incoming::Stanza(stanza) => (stanza, true),
            Incoming::Skipped(stanza) => (stanza, false),
        };
        match (stanza.name.as_str(), stanza.attr("type")) {
            ("iq", Some("result" | "error")) if is_whole => self.take_answer(stanza),
            ("iq", Some("result" | "error")) => self.take_answer(iq_handler::unreadable(stanza)),
            ("iq", _) if !self.is_for_us(&stanza) => drop_request(),
            ("iq", _) if is_whole => self.take_request(stanza),
            ("iq", _) if stanza.is_request() => self.reply(&iq_handler::not_read(&stanza)),
            ("message", _) if is_whole => self.take_message(&stanza),
            _ => {}
        }
    }

    /// Whether an answer can be given in our own name. In a session no recipient means the account itself.
    fn is_for_us(&self, iq: &Stanza) -> bool {
        let is_session = self.address.contains('@');
        iq.attr("to").map_or(is_session, |to| belongs_to(to, &self.address))
    }

    fn reply(&mut self, reply: &Stanza) {
        if !self.stream.queue(reply) {
            drop_request();
        }
    }

    fn take_answer(&mut self, stanza: Stanza) {
        let Err((stray, stanza)) = self.deliver(stanza) else { return };
        let beside = self.state.settings.strays.as_ref().filter(|_| stray == Stray::UnknownId);
        if beside.is_none_or(|strays| strays.to.try_send(stanza).is_err()) {
            drop_stray(stray);
        }
    }

    /// An answer that came in on the link beside this one.
    fn take_stray(&mut self, stanza: Stanza) {
        match (self.deliver(stanza), &self.state.settings.strays) {
            (Ok(()), Some(strays)) => strays.note(),
            (Ok(()), None) => {}
            (Err((stray, _)), _) => drop_stray(stray),
        }
    }

    fn deliver(&mut self, stanza: Stanza) -> Result<(), (Stray, Stanza)> {
        match self.under_way.answer(stanza.attr("id").unwrap_or(""), stanza.attr("from")) {
            Ok(Waiter::Caller(reply)) => reply.send(Ok(stanza)),
            Ok(Waiter::Ping(_)) => self.pinged = false,
            Err(stray) => return Err((stray, stanza)),
        }
        Ok(())
    }

    fn take_request(&mut self, iq: Stanza) {
        match iq_handler::handle(&iq, &self.state.settings.inbound) {
            IqAnswer::Reply(reply) => self.reply(&reply),
            IqAnswer::WebAddress { .. } if self.questions.len() >= QUESTIONS_MAX => {
                self.reply(&iq_handler::error(&iq, "wait", "resource-constraint"));
            }
            IqAnswer::WebAddress { conf_id, role, valid_ms } => {
                let (reply, found) = oneshot::channel();
                self.state.outbox.push(Inbound::WebAddress { conf_id, role, valid_ms, reply });
                self.questions.push(Box::pin(async move { (iq, found.await) }));
            }
            IqAnswer::Nothing => {}
        }
    }

    fn reply_web_address(&mut self, iq: &Stanza, found: Found) {
        let reply = match found {
            Ok(found) => iq_handler::web_address(iq, found.as_ref(), &self.state.settings.inbound),
            Err(_) => iq_handler::error(iq, "wait", "internal-server-error"),
        };
        self.reply(&reply);
    }

    fn take_message(&mut self, message: &Stanza) {
        match Inbound::read(&self.state.settings.inbound, Message::Xmpp(message)) {
            Ok(Some(events)) => events.into_iter().for_each(|event| self.state.outbox.push(event)),
            Ok(None) => metrics::counter!("confgate_eim_messages_ignored_total").increment(1),
            Err(why) => {
                metrics::counter!("confgate_events_unreadable_total").increment(1);
                if let Some(suppressed) = self.state.unreadable.permit_line() {
                    tracing::warn!(%why, suppressed, "an event of the EIM's can't be read");
                }
            }
        }
    }

    fn next_timer(&self) -> Instant {
        let quiet = self.last_read + self.state.settings.timing.keepalive;
        // With a ping out its own deadline is what to wait for.
        let ping = if self.pinged { None } else { Some(quiet) };
        let far = self.last_read + Duration::from_secs(3600);
        ping.into_iter().chain(self.under_way.next_deadline()).min().unwrap_or(far)
    }

    /// Ends what is past its deadline, pings where it was quiet. An error: the ping was not answered either.
    fn on_timer(&mut self, now: Instant) -> Result<(), ConnectError> {
        while let Some(waiter) = self.under_way.expire(now) {
            match waiter {
                Waiter::Caller(reply) => reply.send(Err(EimError::Timeout)),
                Waiter::Ping(at) => {
                    self.pinged = false;
                    let limit = self.state.settings.timing.timeout;
                    // A process that is not reading, or was not running, cannot blame the peer for silence.
                    let heard_nothing = self.last_read < at && self.state.outbox.is_clear();
                    if heard_nothing && !is_stall(limit, now - at) {
                        return Err(ConnectError::Timeout(limit.as_millis() as u64));
                    }
                    self.last_read = now;
                }
            }
        }
        if !self.pinged && now >= self.last_read + self.state.settings.timing.keepalive {
            self.ping(now);
        }
        Ok(())
    }

    fn ping(&mut self, now: Instant) {
        let domain = &self.state.settings.eim_domain;
        let id = self.under_way.add(domain.as_str(), now + self.state.settings.timing.timeout, Waiter::Ping(now));
        let ping = Stanza::iq("get", Element::new("ping", "urn:xmpp:ping"));
        let ping = ping.with("from", &self.address).with("to", domain).with("id", id);
        // Both are of the configuration: where they can't be sent, the ping's deadline says that the link is of no use.
        let _ = self.stream.queue(&ping);
        self.pinged = true;
    }
}

/// A request that isn't ours to answer, or that nobody could be answered for.
fn drop_request() {
    metrics::counter!("confgate_eim_requests_ignored_total").increment(1);
}

fn drop_stray(stray: Stray) {
    metrics::counter!("confgate_eim_stray_answers_total", "why" => stray.label()).increment(1);
}

/// A stream that ended by itself after it was good: only a conflict says that somebody else has our place.
fn ended(e: StreamError) -> ConnectError {
    match e {
        StreamError::Ended(why) if !matches!(why.as_str(), "closed" | "conflict" | "not-authorized") => {
            ConnectError::Protocol(format!("the server ended the stream: {why}"))
        }
        e => e.into(),
    }
}
