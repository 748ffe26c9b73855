//! Names: under which somebody can be called, and who may have them.

use std::sync::Arc;

use super::{ClientCredentials, OneToOneCalls, Socket, SocketId};
use crate::http::ws::send_queue::Close;
use crate::ids::{ConfId, UserId};
use crate::media::group::{
    AdmissionError, Forwarded, NOTHING_FORWARDED, Output, RoomNamespace, Token, is_name_allowed,
};
use crate::media::message::{Code, Reply};
use crate::token::CallGatewayClaims;
use confgate_sfu::protocol::Source;

/// How long the holder of a name may take to show that they are there, in milliseconds, when somebody else wants it.
const PROBE_MS: u64 = 2000;
/// Longest name that is said back, in bytes.
const NAME_BACK: usize = 256;

/// A name within its space: a conference's, or the open one. They share nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Registration {
    /// `None`: of those without a token.
    pub conf: Option<ConfId>,
    pub name: Arc<str>,
}

impl Registration {
    /// Another name of the same space.
    pub fn beside(&self, name: &str) -> Self {
        Self { conf: self.conf.clone(), name: name.into() }
    }
}

/// Somebody who wants a name that is taken, and until when its holder may object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Challenge {
    by: SocketId,
    until: u64,
}

impl OneToOneCalls {
    /// Looks at what was shown with `register`, else at what was shown when the socket opened.
    pub(super) fn register(&mut self, now: u64, socket: SocketId, name: &str, credentials: ClientCredentials) {
        if name.is_empty() {
            return self.reject(socket, "rejected: empty user name".to_owned(), "a name is needed");
        }
        if let Some(registration) = self.registration_of(socket) {
            return match *registration.name == *name {
                true => self.accepted(socket),
                false => self.reject(socket, "rejected".to_owned(), "registered under another name already"),
            };
        }
        if let Some(open) = self.sockets.get_mut(&socket) {
            open.wanted = None;
        }
        let at_opening =
            self.sockets.get(&socket).map_or(ClientCredentials::Nothing, |socket| socket.credentials.clone());
        match if matches!(credentials, ClientCredentials::Nothing) { at_opening } else { credentials } {
            ClientCredentials::Claims(claims) => self.register_by_token(now, socket, name, &claims),
            ClientCredentials::Nothing if self.limits.open => self.register_openly(now, socket, name),
            ClientCredentials::Nothing | ClientCredentials::Refused | ClientCredentials::Pull(_) => {
                self.ban(now, socket, &AdmissionError::Unauthorized)
            }
        }
    }

    /// The same user from elsewhere takes the place of who is there.
    fn register_by_token(&mut self, now: u64, socket: SocketId, name: &str, claims: &CallGatewayClaims) {
        let registration = Registration { conf: Some(claims.conf_id.clone()), name: name.into() };
        let holder = self.registrations.get(&registration).copied();
        let nonce_is_used = holder
            .and_then(|holder| self.sockets.get(&holder))
            .is_some_and(|holder| holder.token.as_ref().is_some_and(|token| token.nonce == claims.nonce));
        if claims.user_id.as_str() != name || nonce_is_used {
            return self.ban(now, socket, &AdmissionError::Unauthorized);
        }
        let room = RoomNamespace::Conference.room(claims.conf_id.as_str());
        match self.bans.check(claims).and_then(|()| self.permits.admit(&room, claims)) {
            Ok(()) => {}
            Err(AdmissionError::NotYet) => {
                if let Some(open) = self.sockets.get_mut(&socket) {
                    (open.wanted, open.idle_since) = (Some((name.to_owned(), Box::new(claims.clone()))), now);
                }
                return;
            }
            Err(barred) => return self.ban(now, socket, &barred),
        }
        if let Some(holder) = holder {
            self.dismiss(now, holder, Code::Replaced, Close::TakenOver);
        }
        self.assign_name(socket, registration, Some(Token::of(claims)));
    }

    /// Asks again for those who wait for their place in the conference.
    pub(super) fn retry_waiting(&mut self, now: u64, is_it: impl Fn(&CallGatewayClaims) -> bool) {
        let is_due = |open: &Socket| open.wanted.as_ref().is_some_and(|(_, claims)| is_it(claims));
        let due = self.sockets.iter().filter(|(_, open)| is_due(open)).map(|(socket, _)| *socket);
        for socket in due.collect::<Vec<_>>() {
            let open = self.sockets.get_mut(&socket).and_then(|open| Some((open.wanted.take()?, open.idle_since)));
            let Some(((name, claims), since)) = open else { continue };
            self.register_by_token(now, socket, &name, &claims);
            if let Some(open) = self.sockets.get_mut(&socket).filter(|open| open.wanted.is_some()) {
                open.idle_since = since;
            }
        }
    }

    /// Nobody knows who has a right to a name there: its holder, as long as they are there.
    fn register_openly(&mut self, now: u64, socket: SocketId, name: &str) {
        if !is_name_allowed(name) {
            return self.reject(socket, "rejected".to_owned(), "a name has 1 to 64 characters");
        }
        let registration = Registration { conf: None, name: name.into() };
        let Some(holder) = self.registrations.get(&registration).copied() else {
            return self.assign_name(socket, registration, None);
        };
        let held = self.sockets.get_mut(&holder).expect("a name is an open socket's");
        if held.challenge.is_some() {
            return self.taken(socket, name);
        }
        held.challenge = Some(Challenge { by: socket, until: now + PROBE_MS });
        self.out.push(Output::Probe(holder));
    }

    pub(super) fn alive(&mut self, holder: SocketId) {
        let Some(held) = self.sockets.get_mut(&holder) else { return };
        let (Some(challenge), Some(registration)) = (held.challenge.take(), held.registration.clone()) else { return };
        if self.has(challenge.by) && self.registration_of(challenge.by).is_none() {
            self.taken(challenge.by, &registration.name);
        }
    }

    pub(super) fn check_challenges(&mut self, now: u64) {
        let is_due = |challenge: &Challenge| challenge.until <= now;
        let due = self.sockets.iter().filter(|(_, held)| held.challenge.as_ref().is_some_and(is_due));
        let silent: Vec<SocketId> = due.map(|(socket, _)| *socket).collect();
        for socket in silent {
            self.dismiss(now, socket, Code::Replaced, Close::TakenOver);
        }
    }

    /// The name is free, and somebody waits for it, unless they have asked for another since.
    pub(super) fn takes_over(&mut self, now: u64, challenge: Challenge, registration: Registration) {
        let waits = |open: &Socket| open.registration.is_none() && open.wanted.is_none();
        if self.sockets.get(&challenge.by).is_some_and(waits) {
            self.register_openly(now, challenge.by, &registration.name);
        }
    }

    fn assign_name(&mut self, socket: SocketId, registration: Registration, token: Option<Token>) {
        let Some(open) = self.sockets.get_mut(&socket) else { return };
        (open.token, open.wanted) = (token, None);
        // A socket has one name: whatever led to a second one, the first is free again.
        if let Some(former) = open.registration.replace(registration.clone()) {
            self.registrations.remove(&former);
        }
        self.registrations.insert(registration.clone(), socket);
        self.accepted(socket);
        let (audio, video) = self.unheld(&registration);
        if !(audio && video) {
            self.send(socket, Reply::Enforce { audio, video });
        }
    }

    fn accepted(&mut self, socket: SocketId) {
        let (response, message) = ("accepted".to_owned(), String::new());
        self.send(socket, Reply::RegisterResponse { response, message });
    }

    fn taken(&mut self, socket: SocketId, name: &str) {
        let name = if name.len() <= NAME_BACK { name } else { "" };
        self.reject(socket, format!("rejected: user '{name}' already registered"), "the name is taken");
    }

    fn reject(&mut self, socket: SocketId, response: String, message: &str) {
        self.send(socket, Reply::RegisterResponse { response, message: message.to_owned() });
    }

    fn ban(&mut self, now: u64, socket: SocketId, barred: &AdmissionError) {
        let code = match barred {
            AdmissionError::NotYet | AdmissionError::Unauthorized => Some(Code::Unauthorized),
            AdmissionError::Expelled => Some(Code::Expelled),
            AdmissionError::Ended => Some(Code::Ended),
            AdmissionError::Moved(url) => {
                self.send(socket, Reply::Moved { url: url.clone() });
                None
            }
        };
        if let Some(code) = code {
            self.reject(socket, "rejected".to_owned(), code.words());
            self.error(socket, code);
        }
        self.end(now, socket, barred.close());
    }

    pub(super) fn registration_of(&self, socket: SocketId) -> Option<&Registration> {
        self.sockets.get(&socket)?.registration.as_ref()
    }

    /// The member's own tracks that are forwarded. Outside conferences both are.
    pub(super) fn forwarded(&self, registration: &Registration) -> Forwarded {
        let Some(conf) = &registration.conf else { return (true, true) };
        let permit = self.permits.get(&RoomNamespace::Conference.room(conf.as_str()), &registration.name);
        permit.map_or(NOTHING_FORWARDED, |permit| permit.forwarded(Source::Camera, true))
    }

    /// The member's own tracks that no order holds back.
    fn unheld(&self, registration: &Registration) -> Forwarded {
        let Some(conf) = &registration.conf else { return (true, true) };
        self.permits.unheld(&RoomNamespace::Conference.room(conf.as_str()), &registration.name)
    }

    /// The sockets of a conference's, or the one of that name.
    pub(super) fn sockets_of(&self, conf: &ConfId, name: Option<&UserId>) -> Vec<SocketId> {
        let named = |registration: &Registration| name.is_none_or(|name| *registration.name == *name.as_str());
        let of = self
            .registrations
            .iter()
            .filter(|(registration, _)| registration.conf.as_ref() == Some(conf) && named(registration));
        let mut sockets: Vec<SocketId> = of.map(|(_, socket)| *socket).collect();
        sockets.sort_unstable();
        sockets
    }
}
