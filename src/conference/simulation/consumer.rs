//! The gateway's end of the broker, as `eim/amqp/consumer.rs` has it: the queue is declared, bound to what is wanted,
//! and only then consumed. The bindings' table is the real one.

use super::messages::{Connected, Message, World};
use super::schedule::{ConnectionId, End};
use crate::eim::amqp::bindings::{Change, Table};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Declaring,
    Binding,
    Consuming,
    Up,
}

/// Owns the connection's state. The queue is of this process once it has declared it.
#[derive(Default)]
pub struct Consumer {
    pub connection: Connected,
    stage: Stage,
    is_own: bool,
    /// Changes that the broker has not confirmed.
    under_way: usize,
}

impl Consumer {
    pub fn connect(&mut self, node: usize, world: &mut World) {
        let connection = world.connect(End::Node(node), End::Broker);
        (self.connection, self.stage, self.under_way) = (Some(connection), Stage::Declaring, 0);
        world.send(connection, End::Node(node), Message::Declare { is_own: self.is_own });
    }

    pub fn lost(&mut self, connection: ConnectionId, bindings: &mut Table) -> bool {
        let is_ours = self.connection == Some(connection);
        if is_ours {
            self.connection = None;
            bindings.connected = false;
        }
        is_ours
    }

    pub fn declared(&mut self, bindings: &mut Table) {
        bindings.connect(self.is_own);
        (self.is_own, self.stage) = (true, Stage::Binding);
    }

    /// Carries out what is open.
    pub fn bind(&mut self, node: usize, bindings: &mut Table, world: &mut World) {
        let Some(connection) = self.connection else { return };
        if !matches!(self.stage, Stage::Binding | Stage::Up) {
            return;
        }
        while let Some(change) = bindings.next() {
            self.under_way += 1;
            world.send(connection, End::Node(node), Message::Bind(change));
        }
        if self.stage == Stage::Binding && self.under_way == 0 {
            self.stage = Stage::Consuming;
            world.send(connection, End::Node(node), Message::Consume);
        }
    }

    pub fn bound(&mut self, change: Change, bindings: &mut Table) {
        self.under_way -= 1;
        bindings.done(change);
    }

    pub fn consuming(&mut self) {
        self.stage = Stage::Up;
    }
}
