//! The broker: a durable queue for each node, as RabbitMQ keeps it. What a consumer has not acknowledged goes back to
//! its place in the queue.

use std::collections::{BTreeSet, VecDeque};

use super::messages::{Connected, Delivery, Message, World};
use super::schedule::{ConnectionId, End};
use crate::eim::amqp::bindings::{Change, Subject};
use crate::event::{Event, Publication};

const PREFETCH: usize = 16;

#[derive(Default)]
struct Queue {
    exists: bool,
    /// Prefixes of routing keys.
    bindings: BTreeSet<String>,
    ready: VecDeque<Event>,
    unacknowledged: VecDeque<Delivery>,
    consumer: Connected,
    last_tag: u64,
}

/// Owns the queues.
pub struct Broker {
    pub is_up: bool,
    queues: Vec<Queue>,
}

impl Broker {
    pub fn new(nodes: usize) -> Self {
        Self { is_up: true, queues: (0..nodes).map(|_| Queue::default()).collect() }
    }

    /// What is durable stays, unless the disk is lost too.
    pub fn crash(&mut self, loses_queues: bool, world: &mut World) {
        self.is_up = false;
        for queue in &mut self.queues {
            queue.requeue();
            if loses_queues {
                *queue = Queue::default();
            }
        }
        world.cut_all(End::Broker);
    }

    pub fn on_publish(&mut self, connection: ConnectionId, publication: &Publication, world: &mut World) {
        let event: Option<Event> = serde_json::from_str(&publication.body).ok();
        for queue in &mut self.queues {
            let is_bound = queue.bindings.iter().any(|prefix| publication.routing_key.starts_with(prefix));
            if let Some(event) = event.as_ref().filter(|_| queue.exists && is_bound) {
                queue.ready.push_back(event.clone());
                queue.deliver(world);
            }
        }
        world.send(connection, End::Broker, Message::Confirm(publication.number));
    }

    /// A node's word.
    pub fn on_message(&mut self, node: usize, connection: ConnectionId, message: Message, world: &mut World) {
        let queue = &mut self.queues[node];
        let answer = match message {
            Message::Declare { is_own } => {
                if !is_own && queue.consumer.is_some() {
                    Message::Refused
                } else {
                    if !is_own {
                        *queue = Queue::default();
                    }
                    queue.exists = true;
                    Message::Declared
                }
            }
            Message::Bind(change) => {
                match &change {
                    Change::Bind(subject) => drop(queue.bindings.insert(prefix(subject))),
                    Change::Unbind(subject) => drop(queue.bindings.remove(&prefix(subject))),
                }
                Message::Bound(change)
            }
            Message::Consume if queue.consumer.is_some() => Message::Refused,
            Message::Consume => {
                queue.consumer = Some(connection);
                world.send(connection, End::Broker, Message::Consuming);
                return queue.deliver(world);
            }
            Message::Ack(tag) => {
                if queue.consumer == Some(connection) {
                    queue.unacknowledged.retain(|delivery| delivery.tag != tag);
                }
                return queue.deliver(world);
            }
            _ => return,
        };
        world.send(connection, End::Broker, answer);
    }

    pub fn lost(&mut self, connection: ConnectionId) {
        for queue in &mut self.queues {
            if queue.consumer == Some(connection) {
                queue.requeue();
            }
        }
    }
}

/// What the built-in files bind by `#`.
fn prefix(subject: &Subject) -> String {
    match subject {
        Subject::Conference(conf) => format!("conf.{conf}."),
        Subject::User(user) => format!("user.{user}."),
    }
}

impl Queue {
    fn requeue(&mut self) {
        self.consumer = None;
        while let Some(delivery) = self.unacknowledged.pop_back() {
            self.ready.push_front(delivery.event);
        }
    }

    fn deliver(&mut self, world: &mut World) {
        let Some(connection) = self.consumer else { return };
        while self.unacknowledged.len() < PREFETCH {
            let Some(event) = self.ready.pop_front() else { return };
            self.last_tag += 1;
            let delivery = Delivery { tag: self.last_tag, event };
            self.unacknowledged.push_back(delivery.clone());
            world.send(connection, End::Broker, Message::Deliver(delivery));
        }
    }
}
