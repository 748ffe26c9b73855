//! Bounds of what an event holds, beyond its form: what clients are promised of it, and what would make them fail.

use std::borrow::Cow;

use serde_json::Value;

use crate::event::{AnyEvent, Change};

/// RFC 7493 section 2.2: beyond it a number is another one for many readers.
const INTEGER_MAX: u64 = (1 << 53) - 1;
/// The last millisecond of the year 9999.
const TIME_MAX: u64 = 253_402_300_799_999;
/// Longest epoch, and longest id of a message, in characters: a client says the one when it resumes.
const ID_MAX: usize = 64;
/// Longest name, and longest reason, of a call, in characters.
const CALL_NAME_MAX: usize = 256;
const CALL_REASON_MAX: usize = 64;
/// Deepest nesting of an own type's data: readers of JSON give up at a few times as much.
const DEPTH_MAX: usize = 32;

type Why = Cow<'static, str>;

pub(super) fn check(event: &AnyEvent) -> Result<(), Why> {
    match event {
        AnyEvent::Conference(event) => {
            if let Some(numbering) = &event.numbering {
                is_within("epoch", &numbering.epoch, ID_MAX)?;
                if numbering.seq == 0 || numbering.seq > INTEGER_MAX {
                    return Err("seq: not from 1 to 2^53 - 1".into());
                }
            }
            is_time("time", event.time)?;
            change(&event.change, event.conf_id.as_str())
        }
        AnyEvent::Call(event) => {
            is_time("time", event.time)?;
            if event.data.conf_id != event.conf_id {
                return Err("data.confId: another conference's".into());
            }
            if event.data.name.as_ref().is_some_and(|name| name.chars().count() > CALL_NAME_MAX) {
                return Err("data.name: too long".into());
            }
            if event.data.reason.as_ref().is_some_and(|reason| reason.chars().count() > CALL_REASON_MAX) {
                return Err("data.reason: too long".into());
            }
            Ok(())
        }
    }
}

fn change(change: &Change, conf: &str) -> Result<(), Why> {
    if change.conference().is_some_and(|conference| conference.conf_id.as_str() != conf) {
        return Err("data.confId: another conference's".into());
    }
    match change {
        Change::MemberJoined(member) | Change::MemberUpdated(member) | Change::WaitingAdded(member) => {
            is_time("data.joinedAt", member.joined_at)
        }
        Change::Message(message) => {
            is_within("data.messageId", &message.message_id, ID_MAX)?;
            is_time("data.time", message.time)
        }
        Change::Custom(custom) if !is_shallow(&custom.data, DEPTH_MAX) => Err("data: too deep".into()),
        _ => Ok(()),
    }
}

fn is_within(member: &str, text: &str, max: usize) -> Result<(), Why> {
    let fits = !text.is_empty() && text.chars().nth(max).is_none();
    if fits { Ok(()) } else { Err(format!("{member}: not 1 to {max} characters").into()) }
}

fn is_time(member: &str, time: u64) -> Result<(), Why> {
    if time <= TIME_MAX { Ok(()) } else { Err(format!("{member}: after the year 9999").into()) }
}

fn is_shallow(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(entries) => left > 0 && entries.iter().all(|entry| is_shallow(entry, left - 1)),
        Value::Object(members) => left > 0 && members.values().all(|member| is_shallow(member, left - 1)),
        _ => true,
    }
}
