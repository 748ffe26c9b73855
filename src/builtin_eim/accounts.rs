//! Accounts: those of the configuration, those that were created, and the temporary ones of guests.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::account::Account;
use super::address_book::AddressBook;
use super::dialect::{Args, Module, NAME_MAX};
use super::password::Stored;
use super::persistence::{self, LoadError, Write};
use super::settings::{ConfiguredUser, Settings};
use super::stanza_error::StanzaError;
use crate::event::Role;
use crate::ids::{ConfId, UserId};
use crate::precis::display_name;
use crate::refusal::Reason;
use crate::xmpp::xml::Element;

/// The format of a profile field.
#[derive(Clone, Copy)]
enum Kind {
    /// Text of at most so many characters.
    Text(usize),
    Flag,
    /// JSON of at most [`JSON_MAX`] characters that begins with this one.
    Json(char),
    /// Milliseconds since 1970.
    Time,
}

/// Longest JSON in a profile, in characters.
const JSON_MAX: usize = 8 * 1024;

/// The seed's fields of `org.user.createUser` that a caller may give, with what an account has that wasn't given one.
const PROFILE: [(&str, Kind, Option<&str>); 17] = [
    ("birthday", Kind::Text(64), None),
    ("englishName", Kind::Text(NAME_MAX), None),
    ("tenements", Kind::Json('['), Some("[]")),
    ("gender", Kind::Text(16), Some("0")),
    ("signature", Kind::Text(512), None),
    ("mobile", Kind::Text(64), None),
    ("clientEnabled", Kind::Flag, Some("true")),
    ("avatar", Kind::Text(1024), None),
    ("sipAccount", Kind::Text(64), None),
    ("customId", Kind::Text(64), Some("")),
    ("ipWhiteEnabled", Kind::Flag, Some("false")),
    ("avatarBinVal", Kind::Text(16 * 1024), None),
    ("ipBlockEnabled", Kind::Flag, Some("false")),
    ("email", Kind::Text(256), None),
    ("activeDate", Kind::Time, None),
    ("isLoggedIn", Kind::Flag, Some("false")),
    ("status", Kind::Text(32), Some("normal")),
];

/// As [`PROFILE`], for the one field whose default is too long to stand there.
const PROPERTIES: (&str, Kind, Option<&str>) =
    ("properties", Kind::Json('{'), Some(r#"{"custom.isClientLoginEnable":"true"}"#));

/// Reads the profile fields that the operation gives.
pub(super) fn profile(args: Args<'_>) -> Result<BTreeMap<String, String>, StanzaError> {
    let mut given = BTreeMap::new();
    for (name, kind, _) in PROFILE.into_iter().chain([PROPERTIES]) {
        let value = match kind {
            Kind::Text(max) => args.free(name, max)?.map(str::to_owned),
            Kind::Time => args.time(name)?.map(|ms| ms.to_string()),
            Kind::Flag => args.flag(name)?.map(|flag| flag.to_string()),
            Kind::Json(first) => json(args.free(name, JSON_MAX)?, first).map_err(|()| StanzaError::argument(name))?,
        };
        given.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(given)
}

fn json(text: Option<&str>, first: char) -> Result<Option<String>, ()> {
    let Some(text) = text else { return Ok(None) };
    let well_formed = text.trim_start().starts_with(first) && serde_json::from_str::<serde_json::Value>(text).is_ok();
    if well_formed { Ok(Some(text.to_owned())) } else { Err(()) }
}

impl Account {
    /// `<user>` with the seed's result fields; the password is never among them.
    pub fn to_element(&self) -> Element {
        let mut user = Element::new("user", Module::Org.ns())
            .with("userId", self.user_id.as_str())
            .with("name", self.name.as_str())
            .with("creationDate", self.created.to_string())
            .with("modificationDate", self.created.to_string())
            .with("activeDate", self.created.to_string())
            .with("loggedIn", self.field("isLoggedIn").unwrap_or("false"));
        for (name, _, default) in PROFILE.into_iter().chain([PROPERTIES]) {
            if let Some(value) = self.field(name).or(default) {
                user.set(name, value);
            }
        }
        if let Some(department) = &self.department {
            user.set("department", department.as_str());
        }
        if self.temporary {
            user.set("temporary", "true");
        }
        user
    }
}

/// Owns the accounts and the address book that is made of them.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    accounts: HashMap<UserId, Account>,
    /// Temporary accounts by the conference they were made for.
    guests: HashMap<ConfId, BTreeSet<UserId>>,
    /// Ids of accounts under way: their password is being hashed.
    reserved: HashSet<UserId>,
    pub book: AddressBook,
}

impl Accounts {
    /// The stored accounts, and over them the configured ones.
    pub fn load(settings: &Settings, stored: &BTreeMap<String, String>) -> Result<Self, LoadError> {
        let mut people = Self::default();
        for (key, body) in stored {
            people.put(persistence::read(persistence::USER, key, body)?);
        }
        for user in &settings.users {
            if let Some(account) = configured(user) {
                people.put(account);
            }
        }
        Ok(people)
    }

    pub fn get(&self, user: &UserId) -> Option<&Account> {
        self.accounts.get(user)
    }

    pub fn is_temporary(&self, user: &UserId) -> bool {
        self.get(user).is_some_and(|account| account.temporary)
    }

    pub fn is_taken(&self, user: &UserId) -> bool {
        self.accounts.contains_key(user) || self.reserved.contains(user)
    }

    /// Accounts there are or are about to be.
    pub fn count(&self) -> usize {
        self.accounts.len() + self.reserved.len()
    }

    pub fn reserve(&mut self, user: UserId) {
        self.reserved.insert(user);
    }

    /// Whether it was reserved.
    pub fn release(&mut self, user: &UserId) -> bool {
        self.reserved.remove(user)
    }

    pub fn create(&mut self, account: Account) -> Write {
        let write = Write::put(persistence::USER, account.user_id.to_string(), &account);
        self.put(account);
        write
    }

    pub fn delete(&mut self, user: &UserId) -> Result<Write, StanzaError> {
        match self.accounts.get(user) {
            None => return Err(StanzaError::of(Reason::UserNotFound)),
            Some(account) if account.configured => return Err(StanzaError::of(Reason::UserConfigured)),
            Some(_) => {}
        }
        self.take_out(user);
        Ok(Write::delete(persistence::USER, user.to_string()))
    }

    /// The temporary accounts made for the conference.
    pub fn guests_of(&self, conf: &ConfId) -> Vec<UserId> {
        self.guests.get(conf).into_iter().flatten().cloned().collect()
    }

    fn put(&mut self, account: Account) {
        self.take_out(&account.user_id);
        if let Some(conf) = &account.guest_of {
            self.guests.entry(conf.clone()).or_default().insert(account.user_id.clone());
        }
        if !account.temporary {
            self.book.add(&account);
        }
        self.accounts.insert(account.user_id.clone(), account);
    }

    fn take_out(&mut self, user: &UserId) {
        let Some(account) = self.accounts.remove(user) else { return };
        self.book.remove(&account);
        let Some(conf) = account.guest_of else { return };
        if let Some(guests) = self.guests.get_mut(&conf) {
            guests.remove(user);
            if guests.is_empty() {
                self.guests.remove(&conf);
            }
        }
    }
}

impl PartialEq for Accounts {
    /// The book follows from the accounts; requests under way don't outlive a restart.
    fn eq(&self, other: &Self) -> bool {
        self.accounts == other.accounts && self.guests == other.guests
    }
}

fn configured(user: &ConfiguredUser) -> Option<Account> {
    let profile = [("mobile", &user.mobile), ("email", &user.email)];
    let given = profile.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    Some(Account {
        user_id: UserId::parse(&user.user_id)?,
        name: display_name::cleaned(&user.name),
        password: user.password.clone().map(Stored::Configured),
        created: 0,
        temporary: false,
        guest_of: None,
        role: Role::Guest,
        department: user.department.clone(),
        profile: given.collect(),
        configured: true,
    })
}
