//! The worker's work for the MUC rooms that mirror the conferences.
//!
//! The bridge takes its stanzas in the worker's batches: what it changes is made durable with the rest, and what it sends
//! leaves after that.

use tokio::sync::mpsc::error::TrySendError;

use super::super::core::Output;
use super::super::muc::{Bridge, Turn};
use super::rooms::Mirror;
use super::worker::{ROOMS, Worker};
use crate::clock::Now;
use crate::health::Health;
use crate::xmpp::xml::Stanza;

impl Worker {
    pub(super) fn rooms_up(&mut self, now: Now, done: &mut Output) {
        self.turn(now, done, Bridge::up);
    }

    pub(super) fn rooms_down(&mut self, now: Now) {
        if let Some(mirror) = &mut self.mirror {
            mirror.bridge.down(now);
        }
    }

    pub(super) fn take_from_rooms(&mut self, stanza: &Stanza, is_skipped: bool, now: Now, done: &mut Output) {
        self.turn(now, done, |bridge, turn| match is_skipped {
            true => bridge.take_skipped(stanza, turn),
            false => bridge.take(stanza, turn),
        });
    }

    /// Compares rooms and conferences after a batch.
    pub(super) fn reconcile_rooms(&mut self, now: Now, done: &mut Output) {
        let events = std::mem::take(&mut done.mirrored);
        self.turn(now, done, |bridge, turn| {
            bridge.note(&events, turn);
            bridge.reconcile(turn);
        });
        self.report_rooms();
    }

    /// What was not kept has not happened.
    pub(super) fn restart_rooms(&mut self, now: Now) {
        self.turn(now, &mut Output::default(), Bridge::restart);
    }

    pub(super) fn send_to_rooms(&mut self) {
        let Some(mirror) = &mut self.mirror else { return };
        let batch = mirror.bridge.take_out();
        if batch.is_empty() {
            return;
        }
        let n = batch.len() as u64;
        let sent = self.links.get(ROOMS).map(|link| link.batches.try_send(batch));
        let outcome = if matches!(sent, Some(Ok(()))) { "sent" } else { "dropped" };
        metrics::counter!("confgate_builtin_eim_stanzas_total", "outcome" => outcome).increment(n);
        if let Some(link) = self.links.get(ROOMS) {
            let waiting = link.batches.max_capacity() - link.batches.capacity();
            metrics::gauge!("confgate_builtin_eim_link_batches", "link" => ROOMS).set(waiting as f64);
        }
        if matches!(sent, Some(Err(TrySendError::Full(_))))
            && let Some(link) = self.links.remove(ROOMS)
        {
            tracing::warn!("the link to the MUC rooms is cut: the server doesn't take what is sent");
            link.cut.cancel();
            self.rooms_down(Now::read());
        }
    }

    fn turn(&mut self, now: Now, done: &mut Output, work: impl FnOnce(&mut Bridge, &mut Turn<'_>)) {
        let Some(mirror) = &mut self.mirror else { return };
        let (may_change, rng) = (self.rest.is_none(), &mut rand::rng());
        let mut turn = Turn { eim: &mut self.eim, now, rng, may_change, output: Output::default() };
        work(&mut mirror.bridge, &mut turn);
        done.add(turn.output);
    }

    fn report_rooms(&self) {
        let Some(Mirror { bridge, health }) = &self.mirror else { return };
        let (rooms, occupants) = bridge.counts();
        metrics::gauge!("confgate_muc_rooms").set(rooms as f64);
        metrics::gauge!("confgate_muc_occupants").set(occupants as f64);
        let now = match self.links.contains_key(ROOMS) {
            false => Health::down("the XMPP server's component port is not connected"),
            true => bridge.trouble().map_or_else(Health::up, Health::down),
        };
        health.send_if_modified(|known| known.turn(now));
    }
}
