//! A page is closed and comes back, members leave, the conference ends, and all that was made is taken back.

use std::time::Duration;

use serde_json::{Value, json};

use super::conversation::Conversation;
use super::entering::{SECOND, is_roster};
use super::opening::FIRST;
use crate::event::{Change, Event, LeftReason};
use crate::ids::{ConfId, UserId, random_text};
use crate::refusal::Kind;

/// The number of the report of the page that is back.
const THIRD: u64 = 3;
/// How long the seat of a member is kept whose page is gone.
const KEEP_MS: u64 = 60_000;
/// Longest time for each request that takes something back.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(5);

impl Conversation {
    /// The guest's page closes, is given up, comes back, and leaves.
    pub async fn come_back(&mut self, conf: &ConfId) {
        let (chair, guest, node) = (self.cast.chair.clone(), self.cast.guest.clone(), self.cast.node.clone());
        let since = self.events.seq();
        let closed = json!({ "confId": conf, "node": node, "generation": SECOND, "lingerMs": 0 });
        self.expect("eim.unsubscribe", &guest, closed, |_| Ok("done".to_owned())).await;
        // Something to be missed; what comes of it has been seen.
        let _ = self.request("conference.sendMessage", &chair, json!({ "confId": conf, "text": "missed" })).await;
        let row = "eim.subscribe (sinceEpoch, sinceSeq)";
        let epoch = self.events.epoch();
        let back = json!({ "confId": conf, "node": node, "generation": THIRD, "sinceEpoch": epoch, "sinceSeq": since });
        self.expect(row, &guest, back, |result| has_events(result, conf, since)).await;
        self.give_up(conf, &guest, &node).await;
        let leave = json!({ "confId": conf });
        self.expect("conference.leave", &guest, leave, |_| Ok("done".to_owned())).await;
        self.expect_refusal("conference.end (not the chair)", &guest, json!({ "confId": conf }), None).await;
    }

    /// The grace of the guest's page is over; then it is back on its seat, so that it can leave.
    async fn give_up(&mut self, conf: &ConfId, guest: &UserId, node: &str) {
        let gone = json!({ "confId": conf, "userId": guest, "node": node, "generation": THIRD, "state": "gone", "keepMs": KEEP_MS });
        let has_left = |event: &Event| match &event.change {
            Change::MemberLeft(left) if left.user_id == *guest && left.reason == LeftReason::Timeout => Ok(()),
            _ => Err(format!("it does not say that {guest} left by timeout")),
        };
        self.expect_event("eim.presence", "event member.left", guest, gone, has_left).await;
        let again = json!({ "confId": conf, "node": node, "generation": THIRD + 1 });
        let _ = self.request("eim.subscribe", guest, again).await;
    }

    /// What is not of the conference.
    pub async fn look_around(&mut self) {
        let chair = self.cast.chair.clone();
        let count =
            |result: &Value, member: &str| format!("{} {member}", result[member].as_array().map_or(0, Vec::len));
        self.expect("org.contacts.departments", &chair, json!({}), |result| Ok(count(result, "departments"))).await;
        let page = json!({ "offset": 0, "limit": 20 });
        self.expect("org.contacts.users", &chair, page, |result| Ok(count(result, "users"))).await;
        let query = json!({ "query": "a", "limit": 20 });
        self.expect("org.contacts.search", &chair, query, |result| Ok(count(result, "users"))).await;
        self.report.not_asked("call.start", "it would ring somebody: call from a page");
    }

    /// The chair ends the conference.
    pub async fn end(&mut self, conf: &ConfId) {
        let (chair, guest) = (self.cast.chair.clone(), self.cast.guest.clone());
        let ended = |event: &Event| match event.change.data()["state"].as_u64() {
            Some(31) => Ok(()),
            state => Err(format!("its state is {state:?}, and must be 31")),
        };
        let end = json!({ "confId": conf });
        if self.expect_event("conference.end", "event conference.ended", &chair, end.clone(), ended).await.is_some() {
            self.made.conference = None;
            self.expect_refusal("conference.join (ended)", &guest, end, None).await;
        }
    }

    /// Accounts go, and the chair's subscription.
    pub async fn close(&mut self) {
        let (chair, guest, node) = (self.cast.chair.clone(), self.cast.guest.clone(), self.cast.node.clone());
        let made =
            UserId::parse(&format!("confgate-check-{}", random_text(8).to_ascii_lowercase())).expect("it is one");
        let gone = |_: &Value| Ok("done".to_owned());
        // A user that can't be deleted again is not made.
        let deletes = self.request("eim.account.delete", &guest, json!({ "userId": self.cast.visitor })).await;
        if deletes.outcome.is_ok() {
            self.made.accounts.remove(&self.cast.visitor.clone());
            self.made.accounts.insert(made.clone());
            let user = json!({ "userId": made, "name": "Check", "password": random_text(24) });
            let is_it = |result: &Value| {
                if result["userId"] == made.as_str() {
                    Ok(format!("user {made}"))
                } else {
                    Err("the result is another user".to_owned())
                }
            };
            self.expect("org.user.createUser", &chair, user, is_it).await;
        } else {
            self.report.not_reached("org.user.createUser", "a user that is made could not be deleted again");
        }
        if self.expect("eim.account.delete", &guest, json!({ "userId": guest }), gone).await.is_some() {
            self.made.accounts.remove(&guest);
        }
        let subscription = json!({ "node": node, "generation": FIRST });
        if self.report.has_passed("eim.user.subscribe") {
            self.expect("eim.user.unsubscribe", &chair, subscription, gone).await;
        }
    }

    /// Takes back what is left, whatever happened before. Gives what could not be taken back.
    pub async fn clean_up(&mut self) -> Vec<String> {
        self.limit = self.limit.min(CLEAN_UP_LIMIT);
        let (chair, mut left) = (self.cast.chair.clone(), Vec::new());
        if let Some(conf) = self.made.conference.take() {
            let ended = self.request("conference.end", &chair, json!({ "confId": conf })).await;
            if ended.outcome.is_err() {
                left.push(format!("conference {conf}"));
            }
        }
        for user in std::mem::take(&mut self.made.accounts) {
            let deleted = self.request("eim.account.delete", &user, json!({ "userId": user })).await;
            if deleted.outcome.is_err_and(|refusal| refusal.kind != Kind::NotFound) {
                left.push(format!("account {user} of the EIM"));
            }
        }
        for user in std::mem::take(&mut self.made.logins) {
            self.eim.close_session(&user);
            if self.eim.delete_account(&user).await.is_err() {
                left.push(format!("account {user} of the XMPP server"));
            }
        }
        left
    }
}

/// Whether the answer tells the events since that number, up to its own.
fn has_events(result: &Value, conf: &ConfId, since: u64) -> Result<String, String> {
    is_roster(result, conf, &[])?;
    let Some(events) = result["events"].as_array() else {
        return Err("it is answered without <events>: clients get a snapshot".to_owned());
    };
    let (mut next, last) = (since + 1, result["seq"].as_u64().unwrap_or_default());
    for text in events {
        let event: Event = serde_json::from_str(text.as_str().unwrap_or_default())
            .map_err(|why| format!("an event in it can't be read: {why}"))?;
        if event.seq != next {
            return Err(format!("event {} follows {}", event.seq, next - 1));
        }
        next += 1;
    }
    if next == last + 1 {
        Ok(format!("{} events", events.len()))
    } else {
        Err(format!("its events end at {}, and its seq is {last}", next - 1))
    }
}
