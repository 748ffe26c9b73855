//! A gateway's requests to the EIM, as `eim/link` makes them: they wait a while for a link that is down, fail with it,
//! and are over at their deadline. `perform` of `conference/actor.rs` is the form of the core's.

use std::collections::BTreeMap;

use serde_json::json;

use super::messages::{Connected, EimCall, Message, Operation, Timer, World};
use super::schedule::{ConnectionId, End, Ms};
use crate::conference::core::EimRequest;
use crate::conference::log::Position;
use crate::ids::UserId;

/// How long a request waits for a link, and then for its answer.
const WAIT_MS: Ms = 1000;
const TIMEOUT_MS: Ms = 2500;

/// Who wants the answer.
#[derive(Debug)]
pub enum Purpose {
    Core(EimRequest),
    /// The roster for one who was subscribed, and is told of themselves only.
    Restricted(UserId),
    /// A socket's conferences.
    List {
        user: UserId,
        generation: u64,
    },
    Operation {
        connection: ConnectionId,
        number: u64,
        user: UserId,
        operation: Operation,
    },
    /// After a start.
    Reset {
        generation: u64,
    },
}

impl Purpose {
    /// Who is to be subscribed.
    pub fn subscriber(&self) -> Option<&UserId> {
        match self {
            Self::Core(EimRequest::Subscribe { user, .. }) => Some(user),
            _ => None,
        }
    }
}

struct Request {
    purpose: Purpose,
    is_sent: bool,
    until: Ms,
}

/// Owns the requests under way.
#[derive(Default)]
pub struct Requests {
    pub link: Connected,
    pub reset_generation: u64,
    under_way: BTreeMap<u64, Request>,
    last: u64,
}

fn call(purpose: &Purpose, node: usize) -> EimCall {
    let node = format!("n{node}");
    let of_user = |name, user: &UserId, params| EimCall { name, user: Some(user.clone()), params };
    let own = |name, params| EimCall { name, user: None, params };
    match purpose {
        Purpose::Core(EimRequest::Subscribe { user, generation, since }) => {
            let mut params = json!({"node": node, "generation": generation});
            if let Some(Position { epoch, seq }) = since {
                (params["sinceEpoch"], params["sinceSeq"]) = (epoch.as_str().into(), (*seq).into());
            }
            of_user("eim.subscribe", user, params)
        }
        Purpose::Core(EimRequest::Unsubscribe { user, generation, linger_ms }) => {
            let params = json!({"node": node, "generation": generation, "lingerMs": linger_ms});
            of_user("eim.unsubscribe", user, params)
        }
        Purpose::Core(EimRequest::Away { user, generation }) => own(
            "eim.presence",
            json!({"userId": user, "node": node, "generation": generation, "state": "reconnecting"}),
        ),
        Purpose::Core(EimRequest::Gone { user, generation, keep_ms }) => own(
            "eim.presence",
            json!({"userId": user, "node": node, "generation": generation, "state": "gone", "keepMs": keep_ms}),
        ),
        Purpose::Core(EimRequest::Snapshot | EimRequest::Look) | Purpose::Restricted(_) => {
            own("eim.snapshot", json!({}))
        }
        Purpose::List { user, .. } => of_user("conference.list", user, json!({"calls": true})),
        Purpose::Operation { user, operation, .. } => operation.call(user),
        Purpose::Reset { generation } => own("eim.resetNode", json!({"node": node, "generation": generation})),
    }
}

impl Requests {
    pub fn make(&mut self, purpose: Purpose, node: usize, run: u32, world: &mut World) {
        if let Purpose::Reset { generation } = purpose {
            self.reset_generation = generation;
        }
        self.last += 1;
        let request = Request { purpose, is_sent: false, until: world.now + WAIT_MS };
        self.under_way.insert(self.last, request);
        match self.link {
            Some(link) => self.send(self.last, link, node, run, world),
            None => world.after(WAIT_MS, Timer::Requests { node, run }),
        }
    }

    fn send(&mut self, number: u64, link: ConnectionId, node: usize, run: u32, world: &mut World) {
        let Some(request) = self.under_way.get_mut(&number) else { return };
        (request.is_sent, request.until) = (true, world.now + TIMEOUT_MS);
        let call = call(&request.purpose, node);
        world.send(link, End::Node(node), Message::Request { number, call });
        world.after(TIMEOUT_MS, Timer::Requests { node, run });
    }

    pub fn connected(&mut self, link: ConnectionId, node: usize, run: u32, world: &mut World) {
        self.link = Some(link);
        let parked: Vec<u64> = self.under_way.iter().filter(|(_, r)| !r.is_sent).map(|(number, _)| *number).collect();
        for number in parked {
            self.send(number, link, node, run, world);
        }
    }

    /// Those that may have arrived.
    pub fn lost(&mut self) -> Vec<Purpose> {
        self.link = None;
        self.under_way.extract_if(.., |_, request| request.is_sent).map(|(_, request)| request.purpose).collect()
    }

    pub fn expired(&mut self, now: Ms) -> Vec<Purpose> {
        self.under_way.extract_if(.., |_, request| request.until <= now).map(|(_, request)| request.purpose).collect()
    }

    pub fn take(&mut self, link: ConnectionId, number: u64) -> Option<Purpose> {
        self.under_way.remove(&number).filter(|_| self.link == Some(link)).map(|request| request.purpose)
    }
}
