//! Those whose token is good and of whom no gateway has said yet that the roster has them: the word is on its way, or
//! they have lost their place meanwhile. They are let in when it comes, or refused like any socket that joins nowhere.

use confgate_sfu::protocol::{MemberId, RoomId};

use super::names::RoomNamespace;
use super::viewer::Purpose;
use super::{ClientCredentials, Group, SocketId};

/// A socket's pending request.
pub(super) enum Wanted {
    Join { room: String, name: String, credentials: ClientCredentials },
    Session { purpose: Purpose, offer: String },
}

impl Group {
    pub(super) fn wait(&mut self, now: u64, socket: SocketId, (room, name): (&str, &str), wanted: Wanted) {
        let Some(open) = self.sockets.get_mut(&socket) else { return };
        if open.wanted.replace(wanted).is_none() {
            open.idle_since = now;
        }
        self.waiting.push((RoomNamespace::Conference.room(room), name.into(), socket));
    }

    /// Asks again for those in that place.
    pub(super) fn retry_waiting(&mut self, now: u64, is_at: impl Fn(&RoomId, &MemberId) -> bool) {
        let due = self.waiting.extract_if(.., |(room, member, _)| is_at(room, member));
        for (.., socket) in due.collect::<Vec<_>>() {
            let open = self.sockets.get_mut(&socket).and_then(|open| Some((open.wanted.take()?, open.idle_since)));
            let Some((wanted, since)) = open else { continue };
            match wanted {
                Wanted::Join { room, name, credentials } => self.join(now, socket, &room, &name, credentials),
                Wanted::Session { purpose, offer } => self.begin_session(now, socket, purpose, offer),
            }
            if let Some(open) = self.sockets.get_mut(&socket).filter(|open| open.wanted.is_some()) {
                open.idle_since = since;
            }
        }
    }

    /// The client wants something else.
    pub(super) fn forget_wanted(&mut self, socket: SocketId) {
        if let Some(open) = self.sockets.get_mut(&socket) {
            open.wanted = None;
        }
    }

    pub(super) fn forget_waiting(&mut self) {
        let sockets = &self.sockets;
        self.waiting.retain(|(.., socket)| sockets.get(socket).is_some_and(|open| open.wanted.is_some()));
    }
}
