//! The chair and a guest come in, and see each other.

use serde_json::{Value, json};

use super::conversation::{Conversation, Stop};
use super::events::UNNUMBERED;
use super::opening::{FIRST, unknown_conference};
use crate::config::EimMode;
use crate::event::{Change, Event};
use crate::ids::{ConfId, Secret, UserId, random_text};
use crate::refusal::Kind;

/// The number of the guest's later report.
pub const SECOND: u64 = 2;

impl Conversation {
    /// The chair joins and subscribes.
    pub async fn enter_chair(&mut self, conf: &ConfId) -> Result<(), Stop> {
        let (chair, node) = (self.cast.chair.clone(), self.cast.node.clone());
        let is_chair = |result: &Value| is_member(&result["member"], &chair, &["chair"]);
        if self.expect("conference.join (chair)", &chair, json!({ "confId": conf }), is_chair).await.is_none() {
            return Err(Stop("conference.join (chair)"));
        }
        let row = "eim.subscribe (chair)";
        if !self.is_told(&[row]) {
            self.events.begin(conf, UNNUMBERED, 0);
            return Ok(());
        }
        let subscription = json!({ "confId": conf, "node": node, "generation": FIRST });
        let roster = self.expect(row, &chair, subscription, |result| is_roster(result, conf, &[&chair])).await;
        let roster = roster.ok_or(Stop(row))?;
        self.events.begin(
            conf,
            roster["epoch"].as_str().unwrap_or_default(),
            roster["seq"].as_u64().unwrap_or_default(),
        );
        Ok(())
    }

    /// A guest gets an account, joins and subscribes.
    pub async fn enter_guest(&mut self, conf: &ConfId) -> Result<(), Stop> {
        let guest = self.cast.guest.clone();
        self.make_account(conf, &guest, true).await?;
        let row = "conference.join";
        let reply = self.request(row, &guest, json!({ "confId": conf })).await;
        let joined = reply
            .result()
            .and_then(|joined| is_member(&joined["member"], &guest, &["guest", "member"]).map(|_| joined));
        match joined {
            Ok(joined) => self.follow(row, "event member.joined", &joined, &reply.shown, joins(&guest)).await,
            Err(why) => {
                self.report.failed(row, &why, Some(&reply.shown));
                return Err(Stop(row));
            }
        }
        let unknown = json!({ "confId": unknown_conference() });
        self.expect_refusal("conference.join (unknown)", &guest, unknown, None).await;
        self.subscribe_guest(conf, &guest).await?;
        self.look_in(conf, &guest).await;
        Ok(())
    }

    /// The guest's page opens: once, and once more with an older number.
    async fn subscribe_guest(&mut self, conf: &ConfId, guest: &UserId) -> Result<(), Stop> {
        if !self.is_told(&["eim.subscribe", "eim.subscribe (older generation)"]) {
            return Ok(());
        }
        let (chair, node) = (self.cast.chair.clone(), self.cast.node.clone());
        let subscription = json!({ "confId": conf, "node": node, "generation": SECOND });
        let both = [&chair, guest];
        let is_whole = |result: &Value| is_roster(result, conf, &both);
        if self.expect("eim.subscribe", guest, subscription, is_whole).await.is_none() {
            return Err(Stop("eim.subscribe"));
        }
        let older = json!({ "confId": conf, "node": node, "generation": FIRST });
        self.expect_refusal("eim.subscribe (older generation)", guest, older, Some(Kind::Conflict)).await;
        Ok(())
    }

    /// What the gateway, and a member, can read of the conference.
    async fn look_in(&mut self, conf: &ConfId, guest: &UserId) {
        let both = [&self.cast.chair.clone(), guest];
        let is_whole = |result: &Value| is_roster(result, conf, &both);
        self.expect("eim.snapshot", guest, json!({ "confId": conf }), is_whole).await;
        let are_both = |result: &Value| has_members(result, &both).map(|()| "both are in it".to_owned());
        self.expect("conference.members", guest, json!({ "confId": conf }), are_both).await;
    }

    /// An account for somebody who comes by a link. `is_row`: whether it is reported.
    pub async fn make_account(&mut self, conf: &ConfId, user: &UserId, is_row: bool) -> Result<(), Stop> {
        let (login_row, row) = ("account (XEP-0133)", "eim.account.create");
        let password = random_text(32);
        self.secrets.push(password.clone());
        if self.mode == EimMode::C2s {
            if let Err(why) = self.make_login(user, &password).await {
                self.report.failed(login_row, &why, None);
                return Err(Stop(login_row));
            }
            self.report.passed(login_row, &format!("{user} is made and signs in"));
        } else {
            self.report.not_asked(login_row, "a guest is an address of the component");
        }
        let account =
            json!({ "userId": user, "name": "Check", "password": password, "temporary": true, "confId": conf });
        self.made.accounts.insert(user.clone());
        let is_theirs = |result: &Value| match &result["userId"] {
            id if *id == user.as_str() => Ok(format!("account {user}")),
            id => Err(format!("the account is {id}, and {user} was asked for")),
        };
        let is_made = if is_row {
            self.expect(row, user, account, is_theirs).await.is_some()
        } else {
            self.request(row, user, account).await.outcome.is_ok()
        };
        if is_made { Ok(()) } else { Err(Stop(row)) }
    }

    /// An account at the XMPP server, and its session.
    async fn make_login(&mut self, user: &UserId, password: &str) -> Result<(), String> {
        let password = Secret::new(password.to_owned());
        self.made.logins.insert(user.clone());
        self.eim.create_account(user, &password, "Check").await.map_err(|error| error.to_string())?;
        match self.eim.open_session(user, &password).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{user} was made, but the server refuses the password")),
            Err(error) => Err(format!("{user} was made, but can't sign in: {}", self.no_answer(error))),
        }
    }
}

/// Whether the event says that this user comes in.
pub fn joins(user: &UserId) -> impl Fn(&Event) -> Result<(), String> + use<> {
    let user = user.clone();
    move |event| match &event.change {
        Change::MemberJoined(member) if member.user_id == user => Ok(()),
        Change::MemberJoined(member) => Err(format!("it is about {}, not {user}", member.user_id)),
        _ => Err("it is of another type".to_owned()),
    }
}

/// The member's role, where it is this user, in one of these roles, and in.
fn is_member(member: &Value, user: &UserId, roles: &[&str]) -> Result<String, String> {
    let word = |name: &str| member[name].as_str().unwrap_or_default().to_owned();
    let (id, role, state) = (word("userId"), word("role"), word("state"));
    if id != user.as_str() {
        return Err(format!("the member is {id:?}, and {user} joined"));
    }
    if !roles.contains(&role.as_str()) {
        return Err(format!("the role of {user} is {role:?}, and must be {}", roles.join(" or ")));
    }
    if state == "waiting" {
        return Err(format!("{user} waits in a lobby, and the conference was made without one"));
    }
    Ok(format!("{user} as {role}"))
}

/// The position of a roster, where it is of that conference and has those members.
pub fn is_roster(roster: &Value, conf: &ConfId, members: &[&UserId]) -> Result<String, String> {
    if roster["restricted"] == true {
        return Err("it is restricted, as for somebody who waits".to_owned());
    }
    if roster["conference"]["confId"] != conf.as_str() {
        return Err(format!("it is of conference {}", roster["conference"]["confId"]));
    }
    has_members(roster, members)?;
    Ok(match roster["epoch"].as_str() {
        Some(epoch) => format!("epoch {epoch}, seq {}", roster["seq"]),
        None => "all are in it".to_owned(),
    })
}

/// Whether each of these users is among the members.
fn has_members(roster: &Value, users: &[&UserId]) -> Result<(), String> {
    let members = roster["members"].as_array().map_or(&[][..], Vec::as_slice);
    match users.iter().find(|user| !members.iter().any(|member| member["userId"] == user.as_str())) {
        None => Ok(()),
        Some(missing) => Err(format!("{missing} has joined, and is not among the {} members", members.len())),
    }
}
