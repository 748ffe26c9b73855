//! Orders of gateways: members and their permissions, kicks, a room's move and its end.

use confgate_sfu::protocol::{Command, MemberId, RoomId, Source, StreamId};

use super::admission::{AdmissionError, Token};
use super::names::RoomNamespace;
use super::permits::{MemberPermissions, NOTHING_FORWARDED};
use super::{Group, Output, SocketId};
use crate::http::ws::send_queue::Close;
use crate::ids::{ConfId, UserId};
use crate::media::message::{Code, Relayed, Reply};
use crate::node_protocol::{EndedBy, ToNode};

impl Group {
    pub(super) fn order(&mut self, now: u64, order: ToNode) {
        match order {
            ToNode::Permit { room, name, audio, video, closed, role } => {
                self.permit(now, &room, &name, MemberPermissions { audio, video, closed, role });
            }
            ToNode::Revoke { families, by } => self.revoke(now, &families, by),
            ToNode::Expel { room, name, issued_until } => self.expel(now, room, name, issued_until),
            ToNode::Move { room, url } => self.move_room(room, url),
            ToNode::Cascade { room, peers } => self.out.push(Output::Cascade(room, peers)),
            ToNode::CloseRoom { room } => self.close_room(now, room),
        }
    }

    fn permit(&mut self, now: u64, room: &ConfId, name: &UserId, permit: MemberPermissions) {
        let (id, member) = (RoomNamespace::Conference.room(room.as_str()), MemberId::from(name.as_str()));
        let before = self.permits.unheld(&id, &member);
        if !self.permits.put(&id, &member, permit) {
            return;
        }
        self.enforce(&id, &member);
        let present = self.rooms.get(&id).and_then(|place| place.member(&member)).map(|member| member.socket);
        let (audio, video) = permit.unheld();
        if let Some(socket) = present.filter(|_| (audio, video) != before) {
            if !(audio && video) {
                // From browser to browser nobody would hold it back.
                self.relay_room(&id, Relayed::Enforced);
            }
            self.send(socket, Reply::Enforce { audio, video });
        }
        self.retry_waiting(now, |room, waiting| *room == id && *waiting == member);
    }

    /// Says to the media what is forwarded now of those of the member's streams that there are.
    fn enforce(&mut self, id: &RoomId, member: &MemberId) {
        let Some(place) = self.rooms.get(id) else { return };
        let membership = place.member(member).and_then(|member| self.membership(member.socket));
        let is_sent = |stream: &StreamId| membership.is_some_and(|membership| membership.streams.of(stream).is_some());
        let is_there = |stream: &StreamId| is_sent(stream) || place.remote(stream).is_some();
        let streams = [Source::Camera, Source::Screen].map(|source| StreamId { member: member.clone(), source });
        for stream in streams.into_iter().filter(is_there).collect::<Vec<_>>() {
            self.notify_forwarded(id, stream);
        }
    }

    /// Tells the media which tracks of the stream are forwarded: before the stream begins, and when that changes.
    pub(super) fn notify_forwarded(&mut self, id: &RoomId, stream: StreamId) {
        let needs_roster = !self.is_by_hand(id, &stream) && !self.needs_no_roster(id, &stream.member);
        let unset = if needs_roster { NOTHING_FORWARDED } else { (true, true) };
        let forwarded = |permit: MemberPermissions| permit.forwarded(stream.source, self.limits.holds_tracks);
        let (audio, video) = self.permits.get(id, &stream.member).map_or(unset, forwarded);
        self.media(Command::SetForwarding { room: id.clone(), stream, audio, video });
    }

    /// Whether another gateway begins and ends what is sent under that name.
    fn needs_no_roster(&self, id: &RoomId, member: &MemberId) -> bool {
        let member = self.rooms.get(id).and_then(|room| room.member(member));
        member.and_then(|member| member.token.as_ref()).is_some_and(|token| token.without_roster)
    }

    /// A member that has come in again since, by a later token, stays.
    fn expel(&mut self, now: u64, room: ConfId, name: UserId, issued_until: u64) {
        let (id, member) = (RoomNamespace::Conference.room(room.as_str()), MemberId::from(name.as_str()));
        let barred = self.rooms.get(&id).map(|place| place.of_user(&member, issued_until)).unwrap_or_default();
        self.bans.put(room, Some(name), issued_until, AdmissionError::Expelled);
        self.permits.remove(&id, &member);
        for socket in barred {
            self.dismiss(now, socket, Code::Expelled, Close::Kicked);
        }
        self.enforce(&id, &member);
        self.retry_waiting(now, |room, waiting| *room == id && *waiting == member);
    }

    /// The logins are over, and with them what their tokens stood for.
    fn revoke(&mut self, now: u64, families: &[String], by: EndedBy) {
        self.bans.revoke(families, by, self.date);
        let is_over = |token: &Token| token.is_of(families);
        let (code, close) = dismissal(by);
        let over: Vec<SocketId> = self.rooms.values().flat_map(|room| room.admitted_by(is_over)).collect();
        for socket in over {
            // With a member goes whoever watches them.
            if self.sockets.contains_key(&socket) {
                self.dismiss(now, socket, code, close);
            }
        }
        self.retry_waiting(now, |_, _| true);
    }

    /// Members are told and go by themselves; tokens that lead here are turned away until later ones are given out.
    fn move_room(&mut self, room: ConfId, url: String) {
        let members = self.sockets_of(&room);
        self.bans.put(room, None, self.date, AdmissionError::Moved(url.clone()));
        self.send_to(&members, &Reply::Moved { url });
    }

    fn close_room(&mut self, now: u64, room: ConfId) {
        let id = RoomNamespace::Conference.room(room.as_str());
        self.bans.put(room.clone(), None, self.date, AdmissionError::Ended);
        self.permits.forget(&id);
        self.end_links(&id);
        // Those too that are lost for now and would be tried again: the other node may have heard of the end first.
        self.out.push(Output::Cascade(room, Vec::new()));
        self.disband(&id, Some(Code::Ended), Close::Over);
        self.retry_waiting(now, |room, _| *room == id);
    }

    fn sockets_of(&self, room: &ConfId) -> Vec<SocketId> {
        let room = self.rooms.get(&RoomNamespace::Conference.room(room.as_str()));
        room.map(|room| room.sockets().collect()).unwrap_or_default()
    }
}

/// The error and the close code for a client whose login has ended for that reason.
pub(in crate::media) fn dismissal(by: EndedBy) -> (Code, Close) {
    match by {
        EndedBy::Itself => (Code::Unauthorized, Close::Unauthorized),
        EndedBy::Kick => (Code::Expelled, Close::Kicked),
        EndedBy::Conference => (Code::Ended, Close::Over),
    }
}
