//! A page is closed and comes back, members leave, the conference ends, and all that was made is taken back.

use std::time::Duration;

use serde_json::{Value, json};

use super::conversation::Conversation;
use super::entering::{SECOND, is_roster};
use super::opening::FIRST;
use super::report::RoundTrip;
use crate::event::{Change, Event, LeftReason};
use crate::ids::{ConfId, UserId, random_text};
use crate::refusal::Kind;

/// The number of the report of the page that is back.
const THIRD: u64 = 3;
/// The row of a page that is back, and asks for what it missed.
const SINCE: &str = "eim.subscribe (sinceEpoch, sinceSeq)";
/// How long the seat of a member is kept whose page is gone.
const KEEP_MS: u64 = 60_000;
/// Longest time for each request that takes something back.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(5);

impl Conversation {
    /// The guest's page closes, is given up, comes back, and leaves.
    pub async fn come_back(&mut self, conf: &ConfId) {
        if self.is_told(&["eim.unsubscribe", SINCE, "eim.presence"]) {
            self.close_page(conf).await;
        }
        let (guest, leave) = (self.cast.guest.clone(), json!({ "confId": conf }));
        self.expect("conference.leave", &guest, leave.clone(), |_| Ok("done".to_owned())).await;
        self.expect_refusal("conference.end (not the chair)", &guest, leave, None).await;
    }

    async fn close_page(&mut self, conf: &ConfId) {
        let (chair, guest, node) = (self.cast.chair.clone(), self.cast.guest.clone(), self.cast.node.clone());
        let since = self.events.seq();
        let closed = json!({ "confId": conf, "node": node, "generation": SECOND, "lingerMs": 0 });
        self.expect("eim.unsubscribe", &guest, closed, |_| Ok("done".to_owned())).await;
        // Something to be missed; what comes of it has been seen.
        let _ = self.request("conference.sendMessage", &chair, json!({ "confId": conf, "text": "missed" })).await;
        let epoch = self.events.epoch();
        let back = json!({ "confId": conf, "node": node, "generation": THIRD, "sinceEpoch": epoch, "sinceSeq": since });
        self.expect(SINCE, &guest, back, |result| has_events(result, conf, since)).await;
        self.give_up(conf, &guest, &node).await;
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
        let (guest, visitor) = (self.cast.guest.clone(), self.cast.visitor.clone());
        // A user that can't be deleted again is not made.
        match self.delete_account(&visitor).await.1 {
            Ok(_) => self.create_user().await,
            Err(_) => self.report.not_reached("org.user.createUser", "a user that is made could not be deleted again"),
        }
        let (shown, deleted) = self.delete_account(&guest).await;
        match deleted {
            Ok(note) => self.report.passed("eim.account.delete", note),
            Err(why) => self.report.failed("eim.account.delete", &why, Some(&shown)),
        }
        if self.is_told(&["eim.user.unsubscribe"]) {
            self.end_subscription().await;
        }
    }

    /// An account that is gone already is deleted: an EIM may do so when its conference ends. As the gateway takes it.
    async fn delete_account(&mut self, user: &UserId) -> (RoundTrip, Result<&'static str, String>) {
        let reply = self.request("eim.account.delete", user, json!({ "userId": user })).await;
        let deleted = match (reply.result(), reply.outcome) {
            (Ok(_), _) => Ok("done"),
            (_, Err(refusal)) if refusal.kind == Kind::NotFound => Ok("it was gone already"),
            (Err(why), _) => Err(why),
        };
        if deleted.is_ok() {
            self.made.accounts.remove(user);
        }
        (reply.shown, deleted)
    }

    async fn create_user(&mut self) {
        let id = format!("confgate-check-{}", random_text(8).to_ascii_lowercase());
        let user = UserId::parse(&id).expect("its characters are a user's");
        self.made.accounts.insert(user.clone());
        let params = json!({ "userId": user, "name": "Check", "password": random_text(24) });
        let is_it = |result: &Value| match &result["userId"] {
            found if *found == user.as_str() => Ok(format!("user {user}")),
            found => Err(format!("the result is user {found}, and {user} was asked for")),
        };
        let chair = self.cast.chair.clone();
        self.expect("org.user.createUser", &chair, params, is_it).await;
    }

    async fn end_subscription(&mut self) {
        if std::mem::take(&mut self.made.subscription) {
            let (chair, node) = (self.cast.chair.clone(), self.cast.node.clone());
            let subscription = json!({ "node": node, "generation": FIRST });
            self.expect("eim.user.unsubscribe", &chair, subscription, |_| Ok("done".to_owned())).await;
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
        for user in self.made.accounts.clone() {
            if self.delete_account(&user).await.1.is_err() {
                left.push(format!("account {user} of the EIM"));
            }
        }
        self.end_subscription().await;
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
