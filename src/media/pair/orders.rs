//! What gateways order, as far as it concerns calls between two.

use confgate_sfu::vocabulary::{Command, MemberId};

use super::calls::Phase;
use super::{Pairs, SocketId};
use crate::control::ToNode;
use crate::ids::{ConfId, UserId};
use crate::media::group::{Barred, Space};
use crate::media::message::{Code, Reply};
use crate::outbox::Close;

impl Pairs {
    pub(super) fn order(&mut self, now: u64, order: ToNode) {
        match order {
            ToNode::Permit { room, name, audio, video } => self.permit(&room, &name, audio, video),
            ToNode::Expel { room, name, issued_until } => self.expel(now, room, name, issued_until),
            ToNode::Move { room, url } => {
                let sockets = self.sockets_of(&room, None);
                self.bars.put(room, None, now, Barred::Moved(url.clone()));
                sockets.into_iter().for_each(|socket| self.send(socket, Reply::Moved { url: url.clone() }));
            }
            ToNode::CloseRoom { room } => self.close_room(now, room),
            // Both ends of a call are here.
            ToNode::Cascade { .. } => {}
        }
    }

    fn permit(&mut self, conf: &ConfId, name: &UserId, audio: bool, video: bool) {
        let member = MemberId::from(name.as_str());
        if !self.permits.put(&Space::Conference.room(conf.as_str()), &member, audio, video) {
            return;
        }
        for socket in self.sockets_of(conf, Some(name)) {
            let call = self.sockets.get(&socket).and_then(|open| self.calls.get(&open.call?));
            if let Some(call) = call.filter(|call| !matches!(call.phase, Phase::Ringing { .. })) {
                let room = call.room.clone();
                self.media(Command::Permit { room, member: member.clone(), audio, video });
            }
            self.send(socket, Reply::Enforce { audio, video });
        }
    }

    /// Who has registered again since, by a later token, stays.
    fn expel(&mut self, now: u64, conf: ConfId, name: UserId, issued_until: u64) {
        let barred = |socket: &SocketId| {
            let token = self.sockets.get(socket).and_then(|open| open.token.as_ref());
            token.is_some_and(|(issued, _)| *issued <= issued_until)
        };
        let sockets: Vec<SocketId> = self.sockets_of(&conf, Some(&name)).into_iter().filter(barred).collect();
        self.bars.put(conf, Some(name), issued_until, Barred::Expelled);
        for socket in sockets {
            self.dismiss(now, socket, Code::Expelled, Close::Kicked);
        }
    }

    fn close_room(&mut self, now: u64, conf: ConfId) {
        let sockets = self.sockets_of(&conf, None);
        self.permits.forget(&Space::Conference.room(conf.as_str()));
        self.bars.put(conf, None, now, Barred::Ended);
        for socket in sockets {
            self.dismiss(now, socket, Code::Ended, Close::Over);
        }
    }
}
