//! Orders of gateways that concern calls between two.

use confgate_sfu::protocol::{Command, MemberId, Source, StreamId};

use super::calls::Phase;
use super::{OneToOneCalls, SocketId};
use crate::http::ws::send_queue::Close;
use crate::ids::{ConfId, UserId};
use crate::media::group::{AdmissionError, MemberPermissions, RoomNamespace, Token, dismissal};
use crate::media::message::{Code, Reply};
use crate::node_protocol::{EndedBy, ToNode};

impl OneToOneCalls {
    pub(super) fn order(&mut self, now: u64, order: ToNode) {
        match order {
            ToNode::Permit { room, name, audio, video, closed, role } => {
                self.permit(now, &room, &name, MemberPermissions { audio, video, closed, role });
            }
            ToNode::Revoke { families, by } => self.revoke(now, &families, by),
            ToNode::Expel { room, name, issued_until } => self.expel(now, room, name, issued_until),
            ToNode::Move { room, url } => {
                let sockets = self.sockets_of(&room, None);
                self.bans.put(room, None, self.date, AdmissionError::Moved(url.clone()));
                sockets.into_iter().for_each(|socket| self.send(socket, Reply::Moved { url: url.clone() }));
            }
            ToNode::CloseRoom { room } => self.close_room(now, room),
            // Both ends of a call are here.
            ToNode::Cascade { .. } => {}
        }
    }

    fn permit(&mut self, now: u64, conf: &ConfId, name: &UserId, permit: MemberPermissions) {
        let (room, member) = (RoomNamespace::Conference.room(conf.as_str()), MemberId::from(name.as_str()));
        let before = self.permits.unheld(&room, &member);
        if !self.permits.put(&room, &member, permit) {
            return;
        }
        let (audio, video) = permit.unheld();
        for socket in self.sockets_of(conf, Some(name)) {
            self.enforce(socket);
            if (audio, video) != before {
                self.send(socket, Reply::Enforce { audio, video });
            }
        }
        self.retry_waiting(now, |claims| (&claims.conf_id, &claims.user_id) == (conf, name));
    }

    /// Says to the media what is forwarded now of whoever is in a call.
    fn enforce(&mut self, socket: SocketId) {
        let call = self.sockets.get(&socket).and_then(|open| self.calls.get(&open.call?));
        let Some(call) = call.filter(|call| !matches!(call.phase, Phase::Ringing { .. })) else { return };
        let Some(registration) = self.registration_of(socket) else { return };
        let (audio, video) = self.forwarded(registration);
        let stream = StreamId { member: registration.name.clone(), source: Source::Camera };
        self.media(Command::SetForwarding { room: call.room.clone(), stream, audio, video });
    }

    /// A member that has registered again since, by a later token, stays.
    fn expel(&mut self, now: u64, conf: ConfId, name: UserId, issued_until: u64) {
        let room = RoomNamespace::Conference.room(conf.as_str());
        self.bans.put(conf.clone(), Some(name.clone()), issued_until, AdmissionError::Expelled);
        self.permits.remove(&room, name.as_str());
        for socket in self.sockets_of(&conf, Some(&name)) {
            match self.admitted_by(socket, |token| token.is_issued_until(issued_until)) {
                true => self.dismiss(now, socket, Code::Expelled, Close::Kicked),
                false => self.enforce(socket),
            }
        }
        self.retry_waiting(now, |claims| (&claims.conf_id, &claims.user_id) == (&conf, &name));
    }

    /// The logins are over, and with them what their tokens stood for.
    fn revoke(&mut self, now: u64, families: &[String], by: EndedBy) {
        self.bans.revoke(families, by, self.date);
        let of_them = |socket: &SocketId| self.admitted_by(*socket, |token| token.is_of(families));
        let mut over: Vec<SocketId> = self.sockets.keys().copied().filter(of_them).collect();
        over.sort_unstable();
        let (code, close) = dismissal(by);
        for socket in over {
            self.dismiss(now, socket, code, close);
        }
        self.retry_waiting(now, |_| true);
    }

    fn admitted_by(&self, socket: SocketId, is_it: impl Fn(&Token) -> bool) -> bool {
        self.sockets.get(&socket).and_then(|open| open.token.as_ref()).is_some_and(is_it)
    }

    fn close_room(&mut self, now: u64, conf: ConfId) {
        let sockets = self.sockets_of(&conf, None);
        self.permits.forget(&RoomNamespace::Conference.room(conf.as_str()));
        self.bans.put(conf, None, self.date, AdmissionError::Ended);
        for socket in sockets {
            self.dismiss(now, socket, Code::Ended, Close::Over);
        }
        self.retry_waiting(now, |_| true);
    }
}
