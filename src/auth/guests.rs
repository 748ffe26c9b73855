//! Guests: temporary accounts at the EIM, from a link to the end of their stay.

use std::collections::BTreeSet;

use serde_json::json;

use crate::clock::{Moment, Now, date_ms};
use crate::conference::{Conferences, LifecycleEvent};
use crate::config::EimMode;
use crate::eim::ProvisionError;
use crate::event::{ENDED, NOT_STARTED, OPEN, Role, Roster};
use crate::ids::{ConfId, Secret, UserId, random_digits, random_text};
use crate::node_protocol::EndedBy;
use crate::precis::display_name;
use crate::refusal::{Kind, Reason, Refusal};
use crate::store::{Account, BanTarget, Family, LinkUse};

use super::lookup::LookUp;
use super::session::{Identity, Session};
use super::{AuthService, ClientOrigin, object};

/// Longest name of a guest, in characters.
const NAME_MAX: usize = 64;
/// Digits of a temporary account's id.
const ID_DIGITS: usize = 12;
/// Most accounts that one collection deletes.
const COLLECTED_AT_ONCE: u32 = 1000;
/// Most logins of one user whose browsers a kick bars: those that expire last.
const BARRED_AT_ONCE: u32 = 100;
/// The end of an account that is deleted at once: its user is out.
const AT_ONCE: u64 = 0;
/// Milliseconds after which every node knows of a login that is over: they look each second.
const KNOWN_EVERYWHERE_MS: u64 = 2000;
/// Characters of a temporary account's password.
const PASSWORD: usize = 32;

impl AuthService {
    pub(super) async fn guest_login(&self, link: &str, name: &str, from: &ClientOrigin) -> Result<Session, Refusal> {
        self.0.limits.join(from.address)?;
        let name = guest_name(name)?;
        let (conference, link) = match self.look_up(link, from.address).await? {
            LookUp::Found { conference, link } => (conference, link),
            LookUp::NotYet(_) => return Err(Refusal::not_open(NOT_STARTED)),
            LookUp::Expired => return Err(Refusal::of(Reason::LinkExpired)),
            LookUp::Revoked => return Err(Refusal::of(Reason::LinkRevoked)),
            LookUp::Unknown => return Err(Refusal::of(Reason::LinkNotFound).with("state", 32)),
        };
        let conf = conference.conf_id.clone();
        self.check_not_banned(&conf, None, from.device.as_deref()).await?;
        let role = link.as_ref().map_or(Role::Guest, |link| link.role);
        let is_chair = role == Role::Chair;
        if conference.state == ENDED || (conference.state != OPEN && !is_chair) {
            return Err(Refusal::not_open(conference.state));
        }
        if conference.locked && !is_chair {
            return Err(Refusal::of(Reason::ConferenceLocked));
        }
        let link_id = link.map(|link| link.link_id);
        self.use_link(link_id.as_deref()).await?;
        match self.new_guest(&conf, name, role, link_id.clone(), from).await {
            Ok(session) => Ok(session),
            Err(refusal) => {
                // A use is a successful login.
                if let Some(link_id) = &link_id {
                    self.0.store.give_back_use(link_id).await.map_err(Refusal::from)?;
                }
                Err(refusal)
            }
        }
    }

    /// Refuses the account, or the browser, that was sent out of the conference.
    pub async fn check_not_banned(
        &self,
        conf: &ConfId,
        user: Option<&UserId>,
        device: Option<&str>,
    ) -> Result<(), Refusal> {
        let both = [user.map(BanTarget::Account), device.map(BanTarget::Device)];
        for whom in both.into_iter().flatten() {
            if self.0.store.is_banned(whom, conf, Moment::now()).await.map_err(Refusal::from)? {
                return Err(Refusal::of(Reason::ConferenceBanned));
            }
        }
        Ok(())
    }

    /// Counts a use of a signed link.
    async fn use_link(&self, link_id: Option<&str>) -> Result<(), Refusal> {
        let Some(link_id) = link_id else { return Ok(()) };
        match self.0.store.use_link(link_id, date_ms()).await.map_err(Refusal::from)? {
            LinkUse::Counted => Ok(()),
            LinkUse::Exhausted => Err(Refusal::of(Reason::LinkExhausted)),
            LinkUse::Revoked => Err(Refusal::of(Reason::LinkRevoked)),
            LinkUse::Expired => Err(Refusal::of(Reason::LinkExpired)),
            LinkUse::NotYet => Err(Refusal::not_open(NOT_STARTED)),
            LinkUse::Unknown => Err(Refusal::of(Reason::LinkNotFound).with("state", 32)),
        }
    }

    /// Applies to the EIM for a temporary account, and logs it in.
    async fn new_guest(
        &self,
        conf: &ConfId,
        name: String,
        role: Role,
        link_id: Option<String>,
        from: &ClientOrigin,
    ) -> Result<Session, Refusal> {
        let user = UserId::parse(&format!("g{}", random_digits(ID_DIGITS))).expect("a letter and digits");
        let password = Secret::new(random_text(PASSWORD));
        let now = date_ms();
        let account = Account {
            user_id: user.clone(),
            conf_id: conf.clone(),
            // Those who come by the password share one bound for each conference.
            link_id: Some(link_id.unwrap_or_else(|| conf.to_string())),
            name: name.clone(),
            device: from.device.clone(),
            expires_at: now + self.0.config.auth.refresh_ttl.as_millis() as u64,
            idle_until: Moment::now() + self.0.config.limits.guest_idle,
            sealed_password: (self.0.config.eim.mode == EimMode::C2s)
                .then(|| self.0.sealer.seal(user.as_str(), &password)),
        };
        // Written down before it is made, so that a crash in between leaves nothing that isn't collected.
        let bound = Some(self.0.config.limits.guests_per_link);
        if !self.0.store.put_account(&account, bound, now).await.map_err(Refusal::from)? {
            return Err(Refusal::too_many(Reason::LinkFull, 60_000));
        }
        if let Err(refusal) = self.make_account(&user, &password, &name, conf, role).await {
            self.collect(&user).await;
            return Err(refusal);
        }
        self.begin(identity(user, name, conf.clone(), role, from)).await
    }

    async fn make_account(
        &self,
        user: &UserId,
        password: &Secret,
        name: &str,
        conf: &ConfId,
        role: Role,
    ) -> Result<(), Refusal> {
        // Only a session of its own needs a login at the XMPP server; over a component a guest is but an address.
        if self.0.config.eim.mode == EimMode::C2s {
            match self.0.eim.create_account(user, password, name).await {
                Ok(()) => {}
                Err(ProvisionError::Taken) => return Err(Refusal::fault("a random account id was taken")),
                Err(other) => return Err(other.into()),
            }
            self.open_session(user, password).await?;
        }
        let mut params =
            json!({"userId": user, "name": name, "password": password.expose(), "temporary": true, "confId": conf});
        if role != Role::Guest {
            params["role"] = json!(role);
        }
        self.0.calls.as_gateway("eim.account.create", &object(params)).await.map(drop)
    }

    /// A guest has gone for good: out of the conference, and their account with them.
    pub(super) async fn guest_left(&self, conf: &ConfId, user: &UserId) -> Result<(), Refusal> {
        let left = self.0.calls.as_user("conference.leave", user, &object(json!({"confId": conf}))).await;
        if let Err(refusal) = left {
            tracing::debug!(%user, key = refusal.key(), "leaving at logout");
        }
        self.end_account(user).await
    }

    async fn end_account(&self, user: &UserId) -> Result<(), Refusal> {
        if self.0.store.end_account(user, date_ms(), AT_ONCE).await.map_err(Refusal::from)? {
            self.collect(user).await;
        }
        Ok(())
    }

    async fn delete_account(&self, user: &UserId) -> Result<(), Refusal> {
        self.0.eim.answered(user).await;
        match self.0.calls.as_gateway("eim.account.delete", &object(json!({"userId": user}))).await {
            Ok(_) => {}
            Err(refusal) if refusal.kind == Kind::NotFound => {}
            Err(refusal) => return Err(refusal),
        }
        if self.0.config.eim.mode == EimMode::C2s {
            self.0.eim.close_session(user);
            self.0.eim.delete_account(user).await.map_err(Refusal::from)?;
        }
        self.0.store.delete_account(user).await.map_err(Refusal::from).map(drop)
    }

    /// Carries out the consequences of a conference's event for logins, links and accounts. May be repeated. `at`: when
    /// it happened.
    pub async fn carry_out(&self, conf: &ConfId, event: &LifecycleEvent, at: Moment) -> Result<(), Refusal> {
        match event {
            LifecycleEvent::Removed { user, banned } => self.removed(conf, user, *banned, at).await,
            LifecycleEvent::Ended => self.conference_ended(conf).await,
        }
    }

    /// The chair sent the user out: their tokens for that conference end, and their account and their browsers stay out
    /// for `limits.kick_s`, or, banned, as long as the conference lasts.
    async fn removed(&self, conf: &ConfId, user: &UserId, banned: bool, at: Moment) -> Result<(), Refusal> {
        let now = date_ms();
        let until = (!banned).then(|| at + self.0.config.limits.kick);
        self.0.store.ban(BanTarget::Account(user), conf, until).await.map_err(Refusal::from)?;
        for device in self.devices_of(user, now).await? {
            self.0.store.ban(BanTarget::Device(&device), conf, until).await.map_err(Refusal::from)?;
        }
        self.end_logins_of(user, conf, EndedBy::Kick).await?;
        self.end_account(user).await
    }

    /// Ends the user's logins that are for that conference.
    async fn end_logins_of(&self, user: &UserId, conf: &ConfId, by: EndedBy) -> Result<(), Refusal> {
        let _ending = self.0.ending.read().await;
        let families = self.0.store.end_families_of(user, conf, date_ms(), by).await.map_err(Refusal::from)?;
        self.announce(families, by);
        Ok(())
    }

    /// The browsers that the user has logged in with, and may still use.
    async fn devices_of(&self, user: &UserId, now: u64) -> Result<BTreeSet<String>, Refusal> {
        let logins = self.0.store.live_families(user, now, BARRED_AT_ONCE).await.map_err(Refusal::from)?;
        let read = |login: Family| serde_json::from_str::<Identity>(&login.client?).ok()?.device;
        Ok(logins.into_iter().filter_map(read).collect())
    }

    /// The conference is over: links, guest tokens and accounts with it.
    async fn conference_ended(&self, conf: &ConfId) -> Result<(), Refusal> {
        let ending = self.0.ending.read().await;
        let families = self.0.store.conference_over(conf, date_ms()).await.map_err(Refusal::from)?;
        self.announce(families, EndedBy::Conference);
        drop(ending);
        self.collect_accounts().await
    }

    /// Deletes what is over or not used: also what a crash or another node left behind.
    pub async fn collect_due(&self, conferences: &Conferences) -> Result<(), Refusal> {
        self.collect_accounts().await?;
        for conf in self.0.store.conferences_with_accounts(date_ms()).await.map_err(Refusal::from)? {
            self.collect_from(&conf, conferences).await?;
        }
        self.0.store.collect(Now::read()).await.map_err(Refusal::from).map(drop)
    }

    /// Keeps the accounts of those who are in the conference or wait for it, and ends those that have been idle too long.
    /// The EIM has the last word: a roster that is followed here may lack what is on its way.
    async fn collect_from(&self, conf: &ConfId, conferences: &Conferences) -> Result<(), Refusal> {
        if let Some(roster) = conferences.roster(conf).await {
            self.keep_accounts_of(&roster).await?;
            if self.idle_accounts(conf).await?.is_empty() {
                return Ok(());
            }
        }
        let found = self.0.calls.as_gateway("eim.snapshot", &object(json!({"confId": conf}))).await;
        let roster: Roster = match found {
            Ok(found) => Roster::read(found, self.0.config.events.numbered).map_err(Refusal::fault)?,
            Err(refusal) if refusal.kind == Kind::NotFound => return self.conference_ended(conf).await,
            // The EIM can't say now; another time. Nobody is sent away meanwhile.
            Err(_) => return Ok(()),
        };
        if roster.conference.state == ENDED {
            return self.conference_ended(conf).await;
        }
        self.keep_accounts_of(&roster).await?;
        for user in self.idle_accounts(conf).await? {
            self.end_logins_of(&user, conf, EndedBy::Itself).await?;
            // Deleted later: until all nodes know that the login is over, one may still let the user in, and one without an
            // account would stay in.
            let now = date_ms();
            if self.0.store.end_account(&user, now, now).await.map_err(Refusal::from)? {
                metrics::counter!("confgate_idle_guests_ended_total").increment(1);
            }
        }
        Ok(())
    }

    /// A member that is there now may come back within the resume window; only after that an account begins to be idle.
    async fn keep_accounts_of(&self, roster: &Roster) -> Result<(), Refusal> {
        let limits = &self.0.config.limits;
        let kept = limits.resume_window + limits.guest_idle;
        let there: Vec<UserId> = roster.members.iter().chain(&roster.waiting).map(|m| m.user_id.clone()).collect();
        self.0.store.keep_accounts(&there, Moment::now() + kept).await.map_err(Refusal::from)
    }

    async fn idle_accounts(&self, conf: &ConfId) -> Result<Vec<UserId>, Refusal> {
        self.0.store.idle_accounts(conf, Now::read()).await.map_err(Refusal::from)
    }

    /// Deletes the accounts whose time is up, or whose conference is.
    async fn collect_accounts(&self) -> Result<(), Refusal> {
        for account in
            self.0.store.due_accounts(date_ms(), KNOWN_EVERYWHERE_MS, COLLECTED_AT_ONCE).await.map_err(Refusal::from)?
        {
            self.collect(&account.user_id).await;
        }
        Ok(())
    }

    /// A deletion that fails now is tried again at the next collection: the row stays until the account is gone.
    async fn collect(&self, user: &UserId) {
        if let Err(refusal) = self.delete_account(user).await {
            tracing::warn!(%user, key = refusal.key(), "a temporary account could not be deleted yet");
        }
    }

    /// After a start: sessions again for those whose credentials are kept, since their tokens go on (c2s): configured
    /// clients, and the temporary accounts that live.
    pub async fn restore_sessions(&self) -> Result<(), Refusal> {
        if self.0.config.eim.mode != EimMode::C2s {
            return Ok(());
        }
        for client in &self.0.config.auth.clients {
            let Some(password) = &client.password else { continue };
            let user = client.speaks_as();
            match self.open_session(&user, password).await {
                Err(refusal) if refusal.is_retryable() => return Err(refusal),
                Err(refusal) if refusal.kind == Kind::Unauthenticated => {
                    tracing::error!(client = client.id, %user, "the XMPP server refuses the password of a configured client");
                }
                Err(refusal) => {
                    tracing::warn!(client = client.id, %user, key = refusal.key(), "a client can't be signed in")
                }
                Ok(()) => {}
            }
        }
        for account in self.0.store.live_accounts(date_ms()).await.map_err(Refusal::from)? {
            let sealed = account.sealed_password.as_deref().unwrap_or_default();
            let Some(password) = self.0.sealer.open(account.user_id.as_str(), sealed) else { continue };
            self.restore_session(&account.user_id, &password).await?;
        }
        self.0.eim.sessions_restored();
        Ok(())
    }

    /// An error is the server's trouble, which passes; who isn't let in must log in again.
    async fn restore_session(&self, user: &UserId, password: &Secret) -> Result<(), Refusal> {
        match self.open_session(user, password).await {
            Err(refusal) if refusal.is_retryable() => Err(refusal),
            Err(refusal) => {
                tracing::warn!(%user, key = refusal.key(), "a user's session can't be opened again");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

fn identity(user_id: UserId, name: String, conf: ConfId, role: Role, from: &ClientOrigin) -> Identity {
    let (grant, role) = ("conference_link".into(), (role != Role::Guest).then_some(role));
    let (scope, device) = (String::new(), from.device.clone());
    Identity { grant, user_id, name, scope, conf_id: Some(conf), role, client_id: None, device }
}

fn guest_name(name: &str) -> Result<String, Refusal> {
    let shown = display_name::checked(name.trim(), NAME_MAX);
    shown.ok_or_else(|| Refusal::invalid_params("name", "1 to 64 characters, of which one at least can be seen"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_name_is_visible_and_short() {
        assert_eq!(guest_name("  张\u{202E}三 ").unwrap(), "张三");
        for bad in ["", "  ", "a\nb", "\u{0}", "\u{200B}", &"x".repeat(65)] {
            assert!(guest_name(bad).is_err());
        }
    }
}
