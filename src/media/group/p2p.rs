//! Media that goes straight from the one to the other of two: the node passes on what their browsers say to each other,
//! until something needs the node. Then both are told, and go on as in any other room.

use confgate_sfu::protocol::RoomId;

use super::remote::Remote;
use super::roster::Member;
use super::{Group, SocketId};
use crate::event::CallMode;
use crate::media::message::{Relayed, Reply, Signal};

impl Group {
    /// Tells a newcomer who may, and those who are there if it is over with that.
    pub(super) fn enter_p2p(&mut self, socket: SocketId, id: &RoomId, may: bool) {
        let room = self.rooms.get(id).expect("somebody has just entered it");
        let is_enforced = room.members.iter().any(|member| self.permits.unheld(id, &member.name) != (true, true));
        let reason = match room.members.len() {
            _ if !may => Some(Relayed::Unable),
            _ if is_enforced => Some(Relayed::Enforced),
            3.. => Some(Relayed::Third),
            _ if room.remotes.iter().any(Remote::is_known) => Some(Relayed::Unable),
            _ => None,
        };
        let was_p2p = room.p2p;
        if let Some(reason) = reason {
            self.relay_room(id, reason);
        } else if was_p2p {
            self.send(socket, Reply::Mode { mode: CallMode::P2p, reason: None });
        }
        if may && !was_p2p {
            self.send(socket, Reply::Mode { mode: CallMode::Group, reason });
        }
    }

    /// Passes it on to whom it is for. Late ones, of a connection that is over, are usual.
    pub(super) fn signal(&mut self, socket: SocketId, to: &str, signal: Signal) {
        let Some(membership) = self.membership(socket) else { return };
        let (from, room) =
            (membership.name.clone(), self.rooms.get(&membership.room).expect("a membership is in a room"));
        let may = |other: &&Member| room.p2p && other.camera && *other.name != *from;
        let other = room.member(to).filter(may).map(|other| other.socket);
        if let Some(other) = other {
            self.send(other, Reply::Signal { from: from.to_string(), signal });
        }
    }

    /// A member says that it can't go straight.
    pub(super) fn relay(&mut self, socket: SocketId, reason: Relayed) {
        if let Some(room) = self.membership(socket).map(|membership| membership.room.clone()) {
            self.relay_room(&room, reason);
        }
    }

    /// From now on the room's media goes through the node.
    pub(super) fn relay_room(&mut self, id: &RoomId, reason: Relayed) {
        let Some(room) = self.rooms.get_mut(id).filter(|room| room.p2p) else { return };
        room.p2p = false;
        let all: Vec<SocketId> = room.members.iter().map(|member| member.socket).collect();
        self.send_to(&all, &Reply::Mode { mode: CallMode::Group, reason: Some(reason) });
    }
}
