//! What gateways order: whose media is forwarded, who goes, where a room goes, and when it is over.

use std::collections::HashMap;

use confgate_sfu::vocabulary::{Command, MemberId, RoomId};

use super::admission::Barred;
use super::room::Space;
use super::{Group, Output, SocketId};
use crate::control::ToNode;
use crate::ids::{ConfId, UserId};
use crate::media::message::{Code, Relayed, Reply};
use crate::outbox::Close;

/// Members held back, in all rooms together: as many as could be in a node's rooms many times over. Beyond, an order
/// for somebody new is not kept: the gateways repeat what holds when they open their links again.
const HELD_BACK: usize = 1_000_000;

/// Whose audio or video isn't forwarded. Outlives the members' coming and going, until the room is closed.
#[derive(Default)]
pub(in crate::media) struct Permits {
    /// Audio, video; who may send both isn't in it.
    held_back: HashMap<RoomId, HashMap<MemberId, (bool, bool)>>,
    count: usize,
}

impl Permits {
    /// `None`: both are forwarded.
    pub fn of(&self, room: &RoomId, member: &str) -> Option<(bool, bool)> {
        self.held_back.get(room)?.get(member).copied()
    }

    /// Answers whether that changes anything.
    pub fn put(&mut self, room: &RoomId, member: &MemberId, audio: bool, video: bool) -> bool {
        let wanted = (audio, video);
        if self.of(room, member).unwrap_or((true, true)) == wanted {
            return false;
        }
        if wanted == (true, true) {
            let members = self.held_back.get_mut(room).expect("one of it is held back");
            members.remove(member);
            self.count -= 1;
            if members.is_empty() {
                self.held_back.remove(room);
            }
            return true;
        }
        if self.of(room, member).is_none() {
            if self.count >= HELD_BACK {
                return false;
            }
            self.count += 1;
        }
        self.held_back.entry(room.clone()).or_default().insert(member.clone(), wanted);
        true
    }

    pub fn forget(&mut self, room: &RoomId) {
        self.count -= self.held_back.remove(room).map_or(0, |members| members.len());
    }
}

impl Group {
    pub(super) fn order(&mut self, now: u64, order: ToNode) {
        match order {
            ToNode::Permit { room, name, audio, video } => self.permit(&room, &name, audio, video),
            ToNode::Expel { room, name, issued_until } => self.expel(now, room, name, issued_until),
            ToNode::Move { room, url } => self.move_room(now, room, url),
            ToNode::Cascade { room, peers } => self.out.push(Output::Cascade(room, peers)),
            ToNode::CloseRoom { room } => self.close_room(now, room),
        }
    }

    fn permit(&mut self, room: &ConfId, name: &UserId, audio: bool, video: bool) {
        let (room, member) = (Space::Conference.room(room.as_str()), MemberId::from(name.as_str()));
        if !self.permits.put(&room, &member, audio, video) {
            return;
        }
        let Some(place) = self.rooms.get(&room) else { return };
        let present = place.member(&member).map(|member| member.socket);
        let is_elsewhere = place.remotes.iter().any(|remote| remote.stream.member == member);
        if present.is_some() && !(audio && video) {
            // From browser to browser nobody would enforce it.
            self.relay_room(&room, Relayed::Enforced);
        }
        if present.is_some() || is_elsewhere {
            self.media(Command::Permit { room, member, audio, video });
        }
        if let Some(socket) = present {
            self.send(socket, Reply::Enforce { audio, video });
        }
    }

    /// Who has come in again since, by a later token, stays.
    fn expel(&mut self, now: u64, room: ConfId, name: UserId, issued_until: u64) {
        let place = self.rooms.get(&Space::Conference.room(room.as_str()));
        let barred = place.map(|place| place.of_user(name.as_str(), issued_until)).unwrap_or_default();
        self.bars.put(room, Some(name), issued_until, Barred::Expelled);
        for socket in barred {
            self.dismiss(now, socket, Code::Expelled, Close::Kicked);
        }
    }

    /// Members are told and go by themselves; tokens that lead here are turned away until later ones are given out.
    fn move_room(&mut self, now: u64, room: ConfId, url: String) {
        let members = self.sockets_of(&room);
        self.bars.put(room, None, now, Barred::Moved(url.clone()));
        self.tell(&members, &Reply::Moved { url });
    }

    fn close_room(&mut self, now: u64, room: ConfId) {
        let id = Space::Conference.room(room.as_str());
        self.bars.put(room.clone(), None, now, Barred::Ended);
        self.permits.forget(&id);
        self.end_links(&id);
        // Those too that are lost for now and would be tried again: the other node may have heard of the end first.
        self.out.push(Output::Cascade(room, Vec::new()));
        self.disband(&id, Some(Code::Ended), Close::Over);
    }

    fn sockets_of(&self, room: &ConfId) -> Vec<SocketId> {
        let room = self.rooms.get(&Space::Conference.room(room.as_str()));
        room.map(|room| room.sockets().collect()).unwrap_or_default()
    }
}
