//! Where the conferences that are followed here have their media, and what each one's call gateway is to enforce. Pure:
//! time is an argument, and everything to be done comes out as an [`Effect`].

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use crate::callgw::Fault;
use crate::clock::{Moment, Now};
use crate::conference::{MediaPermissions, Right};
use crate::event::{Audio, Video};
use crate::ids::{ConfId, UserId};
use crate::node_protocol::{Closed, ToNode};
use crate::store::Allocation;

/// Most people of one conference who are remembered as gone, for a call gateway whose control link was away.
const GONE_MAX: usize = 1024;
/// How long a conference that is over is remembered for the same reason, and how many of them.
const OVER: Duration = Duration::from_mins(10);
const OVER_MAX: usize = 4096;

/// An effect of the core, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Where does the store have it? Answered by [`Core::placed`], if it is anywhere.
    Locate(ConfId),
    /// To be put elsewhere, by the store's agreement: answered by [`Core::placed`], [`Core::stays`] or
    /// [`Core::not_yet`].
    Move {
        conf: ConfId,
        from: String,
        members: u64,
    },
    /// One of its call gateways is to be left; it stays at the others. By the store's agreement, answered likewise.
    Leave {
        conf: ConfId,
        at: Allocation,
        from: String,
    },
    Send {
        gateway: String,
        command: ToNode,
    },
    /// These pull what is sent at the others of them; those that it has left, nothing any more.
    Cascade {
        conf: ConfId,
        nodes: Vec<String>,
        left: Vec<String>,
    },
    /// Those who are still connected at `gateway` are to go to `to`.
    SendOn {
        gateway: String,
        conf: ConfId,
        to: String,
    },
    /// Every member who listens here is to know.
    Announce(ConfId, Change),
    /// The member needs no call gateway any more.
    Left(UserId),
    /// The store is to forget where it was.
    Release(ConfId),
}

/// The fields of `callgw.changed` besides `confId`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub from: Option<String>,
    pub to: Option<String>,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    Down,
    Drain,
    Reported,
    /// Any other: the conference was put elsewhere.
    Moved,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Down => "down",
            Reason::Drain => "drain",
            Reason::Reported => "reported",
            Reason::Moved => "moved",
        }
    }
}

/// A call gateway as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: String,
    /// Anything is known of it yet: until then it isn't left.
    pub judged: bool,
    pub fault: Option<Fault>,
    /// Its conferences are to leave now.
    pub leave: bool,
    /// Grows whenever all that holds is to be said to it.
    pub openings: u64,
}

/// A conference that is followed here.
#[derive(Default)]
struct Room {
    at: Option<Allocation>,
    /// Each member with what of them is forwarded.
    members: HashMap<UserId, Right>,
    /// Members that have left: their tokens issued up to then are void.
    gone: HashMap<UserId, u64>,
    /// A move is under way.
    moving: bool,
    /// Members were told that there is no call gateway for them.
    stranded: bool,
}

/// Owns what this gateway knows of where conferences are.
#[derive(Default)]
pub struct Core {
    rooms: HashMap<ConfId, Room>,
    gateways: HashMap<String, Seen>,
    /// Which call gateways there are is known as of that moment, in ms: what was put at one since may be at one that
    /// isn't known here yet.
    register_read: u64,
    /// Conferences that ended: where they were, and when. Oldest first.
    over: VecDeque<(ConfId, String, Moment)>,
}

type Effects = Vec<Effect>;

impl Core {
    /// Handles a change of what members may send.
    pub fn granted(&mut self, conf: ConfId, permissions: MediaPermissions, now: impl Into<Now>) -> Effects {
        let (mut out, Now { date, moment }) = (Vec::new(), now.into());
        match permissions {
            MediaPermissions::Over => {
                self.ended(&conf, moment, &mut out);
                return out;
            }
            MediaPermissions::Unfollowed => {
                self.rooms.remove(&conf);
                return out;
            }
            _ => {}
        }
        let is_new = !self.rooms.contains_key(&conf);
        let room = self.rooms.entry(conf.clone()).or_default();
        match permissions {
            MediaPermissions::All(members) => room.replace(&conf, members, date, &mut out),
            MediaPermissions::Member { user, right } => room.admit(&conf, user, right, &mut out),
            MediaPermissions::Gone { user, at, sent_away } => {
                // The EIM's clock may be behind ours: a removed member has no use for any token. A member that left by
                // themselves may be back, with a token issued since.
                let issued_until = if sent_away { at.max(date) } else { at.min(date) };
                room.expel(&conf, user, issued_until, &mut out);
            }
            MediaPermissions::Over | MediaPermissions::Unfollowed => {}
        }
        if is_new {
            out.push(Effect::Locate(conf));
        }
        out
    }

    fn ended(&mut self, conf: &ConfId, now: Moment, out: &mut Effects) {
        self.over.retain(|(_, _, at)| now.since(*at) < OVER);
        let Some(room) = self.rooms.remove(conf) else { return };
        room.send_to_nodes(&ToNode::CloseRoom { room: conf.clone() }, out);
        for gateway in room.nodes() {
            self.over.push_back((conf.clone(), gateway.to_owned(), now));
            if self.over.len() > OVER_MAX {
                self.over.pop_front();
            }
        }
        out.extend(room.members.into_keys().map(Effect::Left));
    }

    /// The store has the conference there. An older word than the one that is known changes nothing.
    pub fn placed(&mut self, conf: &ConfId, allocation: Allocation) -> Effects {
        let mut out = Vec::new();
        let Some(room) = self.rooms.get_mut(conf) else {
            // It ended while it was being put somewhere.
            if self.over.iter().any(|(over, ..)| over == conf) {
                out.push(Effect::Release(conf.clone()));
            }
            return out;
        };
        let known = room.at.as_ref();
        if known.is_some_and(|known| known.assigned_at > allocation.assigned_at) {
            return out;
        }
        room.moving = false;
        let before: Vec<String> = room.nodes().map(str::to_owned).collect();
        room.at = Some(allocation);
        let nodes: Vec<String> = room.nodes().map(str::to_owned).collect();
        let left: Vec<String> = before.iter().filter(|id| !nodes.contains(id)).cloned().collect();
        let Some(to) = nodes.first().filter(|_| before != nodes).cloned() else { return out };
        for from in &left {
            let reason = reason(&self.gateways, from);
            let known_from = if std::mem::take(&mut room.stranded) { None } else { Some(from.clone()) };
            out.push(Effect::Announce(conf.clone(), Change { from: known_from, to: Some(to.clone()), reason }));
            out.push(Effect::SendOn { gateway: from.clone(), conf: conf.clone(), to: to.clone() });
        }
        for gateway in nodes.iter().filter(|id| !before.contains(id)) {
            room.repeat(conf, gateway, &mut out);
        }
        if nodes.len() > 1 || before.len() > 1 {
            out.push(Effect::Cascade { conf: conf.clone(), nodes, left });
        }
        out
    }

    /// Renews what conferences at several call gateways need again and again: the tokens with which those pull expire.
    pub fn cascades(&self) -> Effects {
        self.rooms.iter().filter_map(|(conf, room)| room.cascade(conf)).collect()
    }

    /// There is no other call gateway for the conference.
    pub fn stays(&mut self, conf: &ConfId) -> Effects {
        let Some(room) = self.rooms.get_mut(conf) else { return Vec::new() };
        room.moving = false;
        let Some(at) = &room.at else { return Vec::new() };
        let reason = reason(&self.gateways, &at.gateway_id);
        // One that is drained, or was reported, still lives: better there than nowhere.
        if reason != Reason::Down || room.stranded {
            return Vec::new();
        }
        room.stranded = true;
        vec![Effect::Announce(conf.clone(), Change { from: Some(at.gateway_id.clone()), to: None, reason })]
    }

    /// The store couldn't say: the next survey tries again.
    pub fn not_yet(&mut self, conf: &ConfId) {
        if let Some(room) = self.rooms.get_mut(conf) {
            room.moving = false;
        }
    }

    /// All call gateways that conferences were put at until that moment (ms) are among those that will be surveyed,
    /// unless they are gone.
    pub fn register_read(&mut self, until: u64) {
        self.register_read = self.register_read.max(until);
    }

    /// How the call gateways are now: conferences leave those that fail or are to be left, and are told of those that are
    /// back; a gateway whose control link has opened is told all that holds.
    pub fn survey(&mut self, seen: Vec<Seen>) -> Effects {
        let mut out = Vec::new();
        let before = std::mem::take(&mut self.gateways);
        self.gateways = seen.into_iter().map(|seen| (seen.id.clone(), seen)).collect();
        for (conf, room) in &mut self.rooms {
            room.follow(conf, &self.gateways, self.register_read, &mut out);
        }
        let is_new = |seen: &&Seen| before.get(&seen.id).is_none_or(|known| known.openings < seen.openings);
        for opened in self.gateways.values().filter(|seen| seen.openings > 0).filter(is_new) {
            for (conf, room) in self.rooms.iter().filter(|(_, room)| room.is_at(&opened.id)) {
                room.repeat(conf, &opened.id, &mut out);
                out.extend(room.cascade(conf));
            }
            for (conf, gateway, _) in self.over.iter().filter(|(_, gateway, _)| *gateway == opened.id) {
                let command = ToNode::CloseRoom { room: conf.clone() };
                out.push(Effect::Send { gateway: gateway.clone(), command });
            }
        }
        out
    }

    pub fn len(&self) -> usize {
        self.rooms.len()
    }
}

impl Room {
    fn nodes(&self) -> impl Iterator<Item = &str> {
        self.at.iter().flat_map(Allocation::nodes)
    }

    fn is_at(&self, gateway: &str) -> bool {
        self.nodes().any(|id| id == gateway)
    }

    fn cascade(&self, conf: &ConfId) -> Option<Effect> {
        let nodes: Vec<String> = self.nodes().map(str::to_owned).collect();
        (nodes.len() > 1).then(|| Effect::Cascade { conf: conf.clone(), nodes, left: Vec::new() })
    }

    fn replace(&mut self, conf: &ConfId, members: Vec<(UserId, Right)>, now: u64, out: &mut Effects) {
        let vanished: Vec<UserId> =
            self.members.keys().filter(|user| !members.iter().any(|(m, _)| m == *user)).cloned().collect();
        for user in vanished {
            self.expel(conf, user, now, out);
        }
        for (user, right) in members {
            if self.members.get(&user) != Some(&right) {
                self.admit(conf, user, right, out);
            }
        }
    }

    fn admit(&mut self, conf: &ConfId, user: UserId, right: Right, out: &mut Effects) {
        self.gone.remove(&user);
        self.members.insert(user.clone(), right);
        self.send_to_nodes(&permit(conf, user, right), out);
    }

    fn expel(&mut self, conf: &ConfId, user: UserId, issued_until: u64, out: &mut Effects) {
        self.members.remove(&user);
        if self.gone.len() >= GONE_MAX
            && let Some(oldest) = self.gone.iter().min_by_key(|(_, until)| **until).map(|(user, _)| user.clone())
        {
            self.gone.remove(&oldest);
        }
        self.gone.insert(user.clone(), issued_until);
        self.send_to_nodes(&ToNode::Expel { room: conf.clone(), name: user.clone(), issued_until }, out);
        out.push(Effect::Left(user));
    }

    /// To each of its call gateways: any member may be at any.
    fn send_to_nodes(&self, command: &ToNode, out: &mut Effects) {
        out.extend(self.nodes().map(|id| Effect::Send { gateway: id.to_owned(), command: command.clone() }));
    }

    /// All that holds.
    fn repeat(&self, conf: &ConfId, gateway: &str, out: &mut Effects) {
        let gone = self.gone.iter().map(|(user, issued_until)| {
            let (room, name, issued_until) = (conf.clone(), user.clone(), *issued_until);
            ToNode::Expel { room, name, issued_until }
        });
        let here = self.members.iter().map(|(user, right)| permit(conf, user.clone(), *right));
        out.extend(gone.chain(here).map(|command| Effect::Send { gateway: gateway.to_owned(), command }));
    }

    /// Leaves a call gateway if it must; hears that it is back if it was given up.
    fn follow(&mut self, conf: &ConfId, gateways: &HashMap<String, Seen>, register_read: u64, out: &mut Effects) {
        let Some(at) = self.at.clone().filter(|_| !self.moving) else { return };
        let must_leave = |id: &&str| match gateways.get(*id) {
            Some(seen) => (seen.judged && seen.fault.is_some()) || seen.leave,
            None => at.assigned_at < register_read,
        };
        let is_up = |id| gateways.get(id).is_some_and(|seen| seen.fault.is_none());
        let from = at.nodes().find(must_leave).map(str::to_owned);
        if let Some(from) = from {
            self.moving = true;
            let (conf, members) = (conf.clone(), self.members.len() as u64);
            out.push(match at.more.is_empty() {
                true => Effect::Move { conf, from, members },
                false => Effect::Leave { conf, at, from },
            });
        } else if at.nodes().all(is_up) && std::mem::take(&mut self.stranded) {
            let change = Change { from: None, to: Some(at.gateway_id), reason: Reason::Moved };
            out.push(Effect::Announce(conf.clone(), change));
        }
    }
}

/// The command that makes the node forward what the roster says.
fn permit(conf: &ConfId, name: UserId, right: Right) -> ToNode {
    ToNode::Permit {
        room: conf.clone(),
        name,
        audio: right.audio == Audio::On,
        video: right.video == Video::On,
        closed: Closed { audio: right.audio == Audio::Off, video: right.video == Video::Off },
        role: Some(right.role),
    }
}

/// The reason why a conference leaves the gateway.
fn reason(gateways: &HashMap<String, Seen>, id: &str) -> Reason {
    match gateways.get(id) {
        None => Reason::Down,
        Some(Seen { fault: Some(Fault::Down), .. }) => Reason::Down,
        Some(Seen { fault: Some(Fault::Reported), .. }) => Reason::Reported,
        Some(Seen { leave: true, .. }) => Reason::Drain,
        Some(_) => Reason::Moved,
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
