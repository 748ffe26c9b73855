//! What goes over the network, and what is due by time.

use serde_json::{Value, json};

use super::schedule::{ConnectionId, Ms, Schedule, Scheduled};
use crate::conference::core::Failure;
use crate::conference::log::Position;
use crate::eim::amqp::bindings::Change;
use crate::event::{Event, Publication};
use crate::http::ws::Frame;
use crate::ids::UserId;

pub type World = Schedule<Message, Timer>;
pub type Due = Scheduled<Message, Timer>;

/// A request to the EIM by its name in the schema; `user`: on whose behalf.
#[derive(Debug, Clone)]
pub struct EimCall {
    pub name: &'static str,
    pub user: Option<UserId>,
    pub params: Value,
}

/// A client's request.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    Join,
    Leave,
    /// An action of `conference.control` on oneself.
    Control(&'static str),
    Kick(UserId),
    MuteAll,
    AdmitAll,
    Lobby(bool),
    /// With a text that no other message has.
    Say(String),
}

impl Operation {
    pub fn call(&self, user: &UserId) -> EimCall {
        let (name, params) = match self {
            Self::Join => ("conference.join", json!({})),
            Self::Leave => ("conference.leave", json!({})),
            Self::Control(action) => ("conference.control", json!({"action": action})),
            Self::Kick(whom) => ("conference.control", json!({"action": "kick", "userId": whom})),
            Self::MuteAll => ("conference.control", json!({"action": "muteAll"})),
            Self::AdmitAll => ("conference.control", json!({"action": "admit", "value": "all"})),
            Self::Lobby(on) => ("conference.update", json!({"lobby": on})),
            Self::Say(text) => ("conference.sendMessage", json!({"text": text})),
        };
        EimCall { name, user: Some(user.clone()), params }
    }
}

/// One event of the broker's.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub tag: u64,
    pub event: Event,
}

#[derive(Debug)]
pub enum Message {
    // Between a client and a node: the event socket.
    Open {
        user: usize,
        position: Option<Position>,
    },
    Operation {
        number: u64,
        operation: Operation,
    },
    Frame(Frame),
    Result {
        number: u64,
        done: bool,
    },
    /// The node closes the socket; a guest may not come again.
    Close {
        is_over: bool,
    },
    // Between a node and the EIM.
    Request {
        number: u64,
        call: EimCall,
    },
    Reply {
        number: u64,
        answer: Result<Value, Failure>,
    },
    // Between a node and the broker: AMQP.
    Declare {
        is_own: bool,
    },
    Declared,
    Bind(Change),
    Bound(Change),
    Consume,
    Consuming,
    Deliver(Delivery),
    Ack(u64),
    /// The broker closes the channel.
    Refused,
    // Between the EIM and the broker.
    Publish(Publication),
    Confirm(u64),
}

/// `run` numbers the processes of one part, so that a timer of an earlier one does nothing.
#[derive(Debug)]
pub enum Timer {
    /// Each conference's timer.
    Tick {
        node: usize,
        run: u32,
    },
    LinkConnect {
        node: usize,
        run: u32,
    },
    ConsumerConnect {
        node: usize,
        run: u32,
    },
    /// Requests may have waited long enough.
    Requests {
        node: usize,
        run: u32,
    },
    Reset {
        node: usize,
        run: u32,
    },
    List {
        node: usize,
        run: u32,
        user: UserId,
        generation: u64,
    },
    NodeStart(usize),
    StallEnd(usize),
    EimWake {
        run: u32,
    },
    Committed {
        run: u32,
        kept: Kept,
    },
    Forget {
        run: u32,
        number: u64,
    },
    PublisherConnect {
        run: u32,
    },
    EimStart,
    /// The EIM was away, and the node has seen that it is back.
    EimBack {
        node: usize,
        run: u32,
    },
    BrokerStart,
    ClientConnect {
        user: usize,
        run: u32,
    },
    ClientAct(usize),
    Fault(Fault),
    /// The clients' last decision: to stay or to go.
    Last(usize),
}

/// How a transaction of the store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Yes,
    No,
    /// It is durable, and the error came after that.
    Unsure,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    CutLink(usize),
    CutConsumer(usize),
    CutPublisher,
    CutClient(usize),
    EimCrash(Ms),
    BrokerCrash { ms: Ms, loses_queues: bool },
    NodeCrash { node: usize, ms: Ms },
    Stall { node: usize, ms: Ms },
    DiskTrouble(Ms),
}

/// Connects again and again, with the pauses of [`crate::clock::backoff`].
pub fn pause(world: &mut World) -> Ms {
    world.range(50, 800)
}

pub type Connected = Option<ConnectionId>;
