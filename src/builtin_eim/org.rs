//! The operations of module `org`, all of them a gateway's: accounts are made, removed, read and verified.

use super::account::Account;
use super::accounts::profile;
use super::address::Caller;
use super::core::{CallContext, Eim, Response};
use super::dialect::{Args, Module, NAME_MAX};
use super::password::SALT_LEN;
use super::stanza_error::StanzaError;
use super::work::{Outcome, Work};
use crate::event::Role;
use crate::ids::{ConfId, Secret, UserId};
use crate::refusal::Reason;
use crate::xmpp::xml::Element;

/// Longest password of an account, in characters.
const PASSWORD_MAX: usize = 256;
/// Digits of an id that is made for an account.
const ID_DIGITS: usize = 10;
/// Digits of a SIP account that is made.
const SIP_DIGITS: usize = 7;

fn element(name: &str) -> Element {
    Element::new(name, Module::Org.ns())
}

impl Eim {
    pub(super) fn org(
        &mut self,
        caller: &Caller,
        kind: &str,
        operation: &Element,
        context: &mut CallContext<'_>,
    ) -> Result<Response, StanzaError> {
        let args = Args(operation);
        let known = matches!(
            (kind, operation.name.as_str()),
            ("set", "createUser" | "deleteUser") | ("get", "verifyPassword" | "getUser")
        );
        if !known {
            return Err(StanzaError::of(Reason::OperationUnknown));
        }
        if !matches!(caller, Caller::Gateway) {
            return Err(StanzaError::of(Reason::OperationGatewayOnly));
        }
        match operation.name.as_str() {
            "createUser" => self.create_user(args, context),
            "deleteUser" => self.delete_user(args, context).map(Response::Now),
            "verifyPassword" => self.verify_password(args).map(Response::Later),
            _ => self.get_user(args).map(Response::Now),
        }
    }

    fn create_user(&mut self, args: Args<'_>, context: &mut CallContext<'_>) -> Result<Response, StanzaError> {
        let name = args.need_name("name", NAME_MAX)?;
        let wanted = args.user_id()?;
        let password = args.text("password", PASSWORD_MAX)?;
        let (temporary, guest_of) = self.guest(args)?;
        let role = args.role()?.filter(|_| guest_of.is_some()).unwrap_or(Role::Guest);
        let mut profile = profile(args)?;
        if wanted.as_ref().is_some_and(|id| self.people.is_taken(id)) {
            return Err(StanzaError::of(Reason::UserTaken));
        }
        if self.people.count() >= self.settings.limits.users {
            return Err(StanzaError::of(Reason::TooManyUsers));
        }
        profile.entry("sipAccount".to_owned()).or_insert_with(|| format!("u{}", context.digits(SIP_DIGITS)));
        let account = Account {
            user_id: wanted.unwrap_or_else(|| self.free_user_id(context)),
            name,
            password: None,
            created: context.now.date,
            temporary,
            guest_of,
            role,
            department: args.name("department", NAME_MAX)?,
            profile,
            configured: false,
        };
        // A temporary account is entered by its link alone: a password would be a second way in.
        match password.filter(|_| !temporary) {
            None => Ok(Response::Now(self.add_account(account, context))),
            Some(password) => {
                self.people.reserve(account.user_id.clone());
                let mut salt = [0; SALT_LEN];
                context.rng.fill_bytes(&mut salt);
                Ok(Response::Later(Work::Hash { account: Box::new(account), password: Secret::new(password), salt }))
            }
        }
    }

    /// Whether the account is temporary, and for which conference.
    fn guest(&self, args: Args<'_>) -> Result<(bool, Option<ConfId>), StanzaError> {
        if !args.flag("temporary")?.unwrap_or(false) {
            return Ok((false, None));
        }
        if args.0.attr("confId").is_none() {
            return Ok((true, None));
        }
        let conf = args.conf_id()?;
        if self.directory.get(&conf)?.is_over() {
            return Err(StanzaError::of(Reason::ConferenceEnded));
        }
        Ok((true, Some(conf)))
    }

    fn free_user_id(&self, context: &mut CallContext<'_>) -> UserId {
        loop {
            let id = UserId::parse(&format!("u{}", context.digits(ID_DIGITS))).expect("a letter and digits");
            if !self.people.is_taken(&id) {
                return id;
            }
        }
    }

    fn add_account(&mut self, account: Account, context: &mut CallContext<'_>) -> Element {
        let answer = element("createUser").with_child(account.to_element());
        let conf = account.guest_of.clone().filter(|_| account.role == Role::Chair);
        let user = account.user_id.clone();
        context.writes.push(self.people.create(account));
        if let Some(conf) = conf {
            // The conference is there: the operation was refused otherwise.
            let _ = self.in_room(context, &conf, None, |room, _| {
                room.add_chair(user);
                Ok(())
            });
        }
        answer
    }

    /// The account is gone, and its user out of every conference.
    fn delete_user(&mut self, args: Args<'_>, context: &mut CallContext<'_>) -> Result<Element, StanzaError> {
        let user = args.need_user_id()?;
        let guest_of = self.people.get(&user).and_then(|account| account.guest_of.clone());
        context.writes.push(self.people.delete(&user)?);
        let mut conferences: Vec<ConfId> = self.directory.of_user(&user).map(|room| room.id().clone()).collect();
        conferences.extend(guest_of.filter(|conf| self.directory.get(conf).is_ok()));
        for conf in conferences {
            self.in_room(context, &conf, None, |room, cause| {
                room.leave(cause, &user);
                room.drop_chair(&user);
                room.drop_presence(&user);
                Ok(())
            })?;
        }
        Ok(element("deleteUser"))
    }

    /// A temporary account has no password; an unknown user is refused after as much work as a known one.
    fn verify_password(&self, args: Args<'_>) -> Result<Work, StanzaError> {
        let password = Secret::new(args.free("password", PASSWORD_MAX)?.ok_or(StanzaError::argument("password"))?);
        let asked = args.0.attr("userId").ok_or(StanzaError::argument("userId"))?;
        let account = UserId::parse(asked).and_then(|id| self.people.get(&id));
        Ok(Work::Verify {
            user: account.map(|a| (a.user_id.clone(), a.name.clone())),
            stored: account.and_then(|a| a.password.clone()),
            password,
        })
    }

    fn get_user(&self, args: Args<'_>) -> Result<Element, StanzaError> {
        let account = self.people.get(&args.need_user_id()?).ok_or(StanzaError::of(Reason::UserNotFound))?;
        Ok(element("getUser").with_child(account.to_element()))
    }

    /// Ends what a job was for.
    pub(super) fn conclude(&mut self, outcome: Outcome, context: &mut CallContext<'_>) -> Result<Element, StanzaError> {
        match outcome {
            // Undone meanwhile, with whatever could not be kept: the id may be somebody else's by now.
            Outcome::Hashed(account) if !self.people.release(&account.user_id) => {
                Err(StanzaError::of(Reason::StoreUnavailable))
            }
            Outcome::Hashed(account) => Ok(self.add_account(*account, context)),
            Outcome::Verified(None) => Err(StanzaError::of(Reason::AuthFailed)),
            Outcome::Verified(Some((user, name))) => {
                Ok(element("verifyPassword").with("userId", user.as_str()).with("name", name))
            }
        }
    }

    /// The job won't be done.
    pub(super) fn abandon(&mut self, work: &Work) {
        if let Work::Hash { account, .. } = work {
            self.people.release(&account.user_id);
        }
    }
}
