//! The operations about who is there: subscriptions of users, and what gateway nodes tell.

use super::address::Visitor;
use super::claim::Claim;
use super::core::{CallContext, Eim};
use super::dialect::{self, ANSWER_MAX, Args, View, element};
use super::directory::UNCLAIMED;
use super::persistence::{self, Write};
use super::presence::SocketState;
use super::stanza_error::StanzaError;
use crate::refusal::Reason;
use crate::xmpp::xml::Element;

/// Gateway nodes that are known to have been reset; more are refused, not forgotten.
const NODES_MAX: usize = 10_000;
/// Bytes of one seat in the answer to `resetNode`, its ids left out.
const SEAT_TAGS: usize = 32;
/// How long the seats are kept that the answer has no place for: the default of `limits.resume_window_ms`, since a node
/// that has just started has told nothing.
const UNTOLD_KEEP_MS: u64 = 60_000;

impl Eim {
    /// Answers with the state that the user may see; the events after it go to the caller's address. To one who says where
    /// they left off, and may see all, the events since then too, as far as they are to be had.
    pub(super) fn subscribe(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let id = self.named(user, args)?;
        let (claim, since) = (self.claim(args)?, args.since()?);
        let (answer, until) = self.in_room(context, &id, Some(&user.id), |room, cause| {
            room.subscribe(cause, user, claim)?;
            let is_full = room.sees_all(&user.id);
            let view = if is_full { View::Full } else { View::Own(&user.id) };
            Ok((dialect::state("subscribe", &room.roster, view), is_full.then_some(room.roster.seq)))
        })?;
        let missed = since.zip(until).and_then(|((epoch, since), until)| {
            let events = self.recent_events.between(&id, epoch, since, until)?;
            (events.len() > 0).then_some(events)
        });
        Ok(match missed {
            Some(events) => dialect::with_events(answer, events),
            None => answer,
        })
    }

    pub(super) fn unsubscribe(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let id = self.named(user, args)?;
        let claim = self.claim(args)?;
        let linger_ms = args.number("lingerMs")?.unwrap_or(0);
        self.in_room(context, &id, None, |room, cause| {
            room.unsubscribe(cause, &user.id, claim, linger_ms);
            Ok(element("unsubscribe"))
        })
    }

    pub(super) fn presence(&mut self, args: Args<'_>, context: &mut CallContext<'_>) -> Result<Element, StanzaError> {
        let (id, user, claim) = (args.conf_id()?, args.need_user_id()?, self.claim(args)?);
        let reported = match args.need_text("state", 16)? {
            "online" => SocketState::Online,
            "reconnecting" => SocketState::Reconnecting,
            "gone" => SocketState::Gone { keep_ms: args.number("keepMs")?.unwrap_or(0) },
            _ => return Err(StanzaError::argument("state")),
        };
        self.in_room(context, &id, None, |room, cause| {
            room.update_socket(cause, &user, claim, reported)?;
            Ok(element("presence"))
        })
    }

    pub(super) fn snapshot(&self, args: Args<'_>) -> Result<Element, StanzaError> {
        let room = self.directory.get(&args.conf_id()?)?;
        Ok(dialect::state("snapshot", &room.roster, View::Full))
    }

    /// A node has started anew: nobody is subscribed through it, its users are reconnecting. Those in a conference of
    /// whom no node has told anything are taken for its own: a node that stopped right after a join told nothing.
    /// The answer names each seat that the node now answers for. Those that one stanza doesn't hold are given up at
    /// once, their seats kept: nobody would answer for them.
    pub(super) fn reset_node(&mut self, args: Args<'_>, context: &mut CallContext<'_>) -> Result<Element, StanzaError> {
        let before = self.claim(args)?;
        if before.resets == 0 && self.nodes.len() >= NODES_MAX {
            return Err(StanzaError::of(Reason::TooManyNodes));
        }
        let claim = Claim { resets: before.resets + 1, ..before };
        context.writes.push(Write::put(persistence::NODE, claim.node.clone(), &claim.resets));
        self.nodes.insert(claim.node.clone(), claim.resets);
        self.call_subscriptions.reset(&claim.node, claim.generation, &mut context.writes);
        let mut held = self.directory.held_by(&claim.node);
        held.extend(self.directory.held_by(UNCLAIMED));
        let mut answer = element("resetNode");
        let mut used = 0;
        for (conf, user) in held {
            used += SEAT_TAGS + conf.as_str().len() + user.as_str().len();
            let listed = used <= ANSWER_MAX;
            let claim = claim.clone();
            let seat = self.in_room(context, &conf, None, |room, cause| {
                let has_place = room.reset(cause, &user, claim.clone());
                if has_place && !listed {
                    room.update_socket(cause, &user, claim, SocketState::Gone { keep_ms: UNTOLD_KEEP_MS })?;
                }
                Ok(has_place && listed)
            })?;
            if seat {
                let seat = element("seat").with("confId", conf.as_str()).with("userId", user.as_str());
                answer = answer.with_child(seat);
            }
        }
        Ok(answer)
    }

    pub(super) fn claim(&self, args: Args<'_>) -> Result<Claim, StanzaError> {
        let node = args.node()?.to_owned();
        let resets = self.nodes.get(&node).copied().unwrap_or(0);
        Ok(Claim { resets, generation: args.need_number("generation")?, node })
    }
}
