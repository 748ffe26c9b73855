//! Members act for themselves, and the chair leads.

use serde_json::{Value, json};

use super::conversation::{Conversation, place};
use crate::event::{Audio, Change, Event, LeftReason, Member, Video};
use crate::ids::{ConfId, UserId};

/// The event of most actions.
const UPDATED: &str = "event member.updated";
/// The text of the message.
const MESSAGE: &str = "1 < 2 & 3, checked by confgate";

impl Conversation {
    /// The guest's hand, microphone and camera, and the chair's main video and mute.
    pub async fn control_members(&mut self, conf: &ConfId) {
        let (chair, guest) = (self.cast.chair.clone(), self.cast.guest.clone());
        let own = |action: &str| json!({ "confId": conf, "action": action });
        let about = |action: &str| json!({ "confId": conf, "action": action, "userId": guest });
        let is = |what: &'static str, check: fn(&Member) -> bool| updates(&guest, what, check);
        let row = "conference.control raiseHand";
        self.expect_event(row, UPDATED, &guest, own("raiseHand"), is("hand true", |m| m.hand)).await;
        let row = "conference.control unmuteSelf";
        self.expect_event(row, UPDATED, &guest, own("unmuteSelf"), is("audio on", |m| m.audio == Audio::On)).await;
        let row = "conference.control muteSelf";
        self.expect_event(row, UPDATED, &guest, own("muteSelf"), is("audio off", |m| m.audio == Audio::Off)).await;
        let row = "conference.control openCamera";
        self.expect_event(row, UPDATED, &guest, own("openCamera"), is("video on", |m| m.video == Video::On)).await;
        let row = "conference.control setMainVideo";
        let shown = conference_is("mainVideo", json!(guest));
        self.expect_event(row, "event conference.mainVideo", &chair, about("setMainVideo"), shown).await;
        let row = "conference.control closeCamera";
        self.expect_event(row, UPDATED, &guest, own("closeCamera"), is("video off", |m| m.video == Video::Off)).await;
        let row = "conference.control lowerHand";
        self.expect_event(row, UPDATED, &guest, own("lowerHand"), is("hand false", |m| !m.hand)).await;
        // Something to be muted; what comes of it has been seen.
        let _ = self.request("conference.control", &guest, own("unmuteSelf")).await;
        let row = "conference.control mute";
        self.expect_event(row, UPDATED, &chair, about("mute"), is("audio off or forcedOff", |m| m.audio != Audio::On))
            .await;
        self.expect_refusal("conference.control (not the chair)", &guest, own("muteAll"), None).await;
    }

    /// A message comes to those in the conference, and stays to be read.
    pub async fn chat(&mut self, conf: &ConfId) {
        let guest = self.cast.guest.clone();
        let is_it = |event: &Event| match &event.change {
            Change::Message(message) if message.text == MESSAGE => Ok(()),
            _ => Err("its text is not the one that was sent".to_owned()),
        };
        let message = json!({ "confId": conf, "text": MESSAGE });
        self.expect_event("conference.sendMessage", "event message", &guest, message, is_it).await;
        let is_kept = |result: &Value| {
            let messages = result["messages"].as_array().map_or(&[][..], Vec::as_slice);
            let is_there = messages.iter().any(|message| message["text"] == MESSAGE);
            if is_there { Ok("the message is there".to_owned()) } else { Err("the message is not there".to_owned()) }
        };
        self.expect("conference.messages", &guest, json!({ "confId": conf, "limit": 50 }), is_kept).await;
    }

    /// A second guest waits, is let in, and is removed.
    pub async fn use_lobby(&mut self, conf: &ConfId) {
        let (chair, visitor) = (self.cast.chair.clone(), self.cast.visitor.clone());
        if self.make_account(conf, &visitor, false).await.is_err() {
            return;
        }
        let with_lobby = json!({ "confId": conf, "lobby": true });
        let is_on = conference_is("lobby", json!(true));
        let row = "conference.update";
        let updated = self.expect_event(row, "event conference.updated", &chair, with_lobby, is_on).await;
        if updated.is_some() {
            self.wait_and_admit(conf, &chair, &visitor).await;
            let _ = self.request(row, &chair, json!({ "confId": conf, "lobby": false })).await;
        } else {
            let _ = self.request("conference.join", &visitor, json!({ "confId": conf })).await;
        }
        let is_kicked = move |event: &Event| match &event.change {
            Change::MemberLeft(left) if left.reason != LeftReason::Kicked => {
                Err(format!("its reason is {:?}, and must be kicked", left.reason))
            }
            _ => Ok(()),
        };
        let kick = json!({ "confId": conf, "action": "kick", "userId": visitor });
        self.expect_event("conference.control kick", "event member.left", &chair, kick, is_kicked).await;
    }

    async fn wait_and_admit(&mut self, conf: &ConfId, chair: &UserId, visitor: &UserId) {
        let (row, is_waiting) = ("event waiting.added", |event: &Event| match &event.change {
            Change::WaitingAdded(member) if member.user_id == *visitor => Ok(()),
            _ => Err("it is about somebody else".to_owned()),
        });
        let reply = self.request("conference.join", visitor, json!({ "confId": conf })).await;
        let joined = reply.result();
        let state = joined.map(|joined| joined["member"]["state"].clone());
        let waited: Result<Event, String> = match &state {
            Ok(state) if state == "waiting" => self.events.wait("waiting.added", self.event_wait(), is_waiting).await,
            Ok(state) => Err(format!("with the lobby on, {visitor} joins as {state} in place of waiting")),
            Err(why) => Err((*why).clone()),
        };
        match waited {
            Ok(event) => self.report.passed(row, &place(&event)),
            Err(why) => self.report.failed(row, &format!("{why}, after conference.join"), Some(&reply.shown)),
        }
        let admit = json!({ "confId": conf, "action": "admit", "userId": visitor });
        let reply = self.request("conference.control", chair, admit).await;
        let (row, removed) = ("conference.control admit", "event waiting.removed");
        match reply.result() {
            // Two events follow, so the answer's number is that of the second one.
            Ok(_) => self.follow(row, removed, &json!({}), &reply.shown, |_| Ok(())).await,
            Err(why) => self.report.failed(row, &why, Some(&reply.shown)),
        }
    }

    /// The chair locks and unlocks.
    pub async fn lock(&mut self, conf: &ConfId) {
        let chair = self.cast.chair.clone();
        let action = |action: &str| json!({ "confId": conf, "action": action });
        let is_locked = conference_is("locked", json!(true));
        let row = "conference.control lock";
        self.expect_event(row, "event conference.locked", &chair, action("lock"), is_locked).await;
        let is_open = conference_is("locked", json!(false));
        let row = "conference.control unlock";
        self.expect_event(row, "event conference.unlocked", &chair, action("unlock"), is_open).await;
    }
}

/// Whether the event says that of this member.
fn updates(
    user: &UserId,
    what: &'static str,
    check: fn(&Member) -> bool,
) -> impl Fn(&Event) -> Result<(), String> + use<> {
    let user = user.clone();
    move |event| match &event.change {
        Change::MemberUpdated(member) if member.user_id != user => {
            Err(format!("it is about {}, not {user}", member.user_id))
        }
        Change::MemberUpdated(member) if check(member) => Ok(()),
        Change::MemberUpdated(_) => Err(format!("it does not say {what} of {user}")),
        _ => Err("it is of another type".to_owned()),
    }
}

/// Whether the event's conference has that value.
fn conference_is(member: &'static str, value: Value) -> impl Fn(&Event) -> Result<(), String> + use<> {
    move |event| match event.change.data()[member].clone() {
        found if found == value => Ok(()),
        found => Err(format!("its {member} is {found}, and must be {value}")),
    }
}
