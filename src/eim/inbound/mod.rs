//! Messages of the EIM become events of our vocabulary by the files `rpc-schema/events/*.json`, and in no other way: the
//! built-in dialect is such a file too.
//!
//! # A file says
//!
//! | member of `x-event` | what |
//! |---|---|
//! | `over` | `xmpp` (a message stanza), `amqp` (a delivery), or both |
//! | `body` | `event`: JSON of our vocabulary, read straight into its types. `json`, `xml`: anything else, read by rules |
//! | `ns`, `element` | the element: a child of the stanza, whose text is the JSON; with `xml` it is the body itself, over AMQP too |
//! | `from` | over XMPP: the senders, where they are not the addresses at which the EIM is asked |
//! | `keys` | over AMQP: the routing keys, as `conf.{confId}.{type}`. The node's queue is bound by them |
//! | `match` | values that must stand in the body, or be absent |
//! | `each` | the path of the elements of which each is an event; without it the body is one |
//! | `confId`, `epoch`, `seq`, `time`, `actor`, `to` | where these stand; `confId` and `to` may stand in the routing key |
//! | `events` | alternatives: by `match`, and by a `type` that maps the EIM's words, the `data` of one of our types |
//!
//! A rule names a place (`path`, `key`) or a `const`, and a `type` or a `map` from the EIM's words to ours, as an `x-iq`
//! does for the values of an answer: the same code reads both. A type that isn't ours is `eim.<type>` to clients.
//!
//! # Pure core
//!
//! `InboundSchema::read` takes a [`Message`] and gives [`Outcome`]: the events, that the message is not ours, or why it
//! can't be read. It knows no socket and no clock, and its reasons never repeat what stood in the message. A message is
//! read whole or not at all. At most one file takes a message: files that overlap are refused at the start.
//!
//! An event may have no number ([`ConferenceEvent::numbering`]). What numbers it is not decided here.

use std::borrow::Cow;

use crate::event::{CallEvent, ConferenceEvent};
use crate::ids::UserId;
use crate::xmpp::xml::Stanza;

/// A message from the EIM, or from somebody who says so.
#[derive(Debug, Clone, Copy)]
pub enum Message<'m> {
    /// A message stanza.
    Xmpp(&'m Stanza),
    /// A broker's delivery.
    Amqp {
        /// The routing key.
        key: &'m str,
        /// The body.
        body: &'m [u8],
    },
}

/// What became of a message.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// Its events, in their order. There may be none.
    Events(Vec<InboundEvent>),
    /// No file takes it.
    NotOurs,
    /// A file takes it, and it can't be read. For operators: names places, and repeats nothing of the message.
    Bad(Cow<'static, str>),
}

/// An event, and whom it was sent to.
#[derive(Debug, Clone, PartialEq)]
pub enum InboundEvent {
    /// A conference's. `to`: the receiver, where it was sent to a user.
    Conference {
        /// The receiver.
        to: Option<UserId>,
        /// The event.
        event: ConferenceEvent,
    },
    /// A call's, which is for one user.
    Call {
        /// The receiver.
        to: UserId,
        /// The event.
        event: CallEvent,
    },
}
