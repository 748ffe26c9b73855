//! The operations of module `contacts`: departments, their people, search. A guest sees the people of the conference
//! that their account was made for, as far as they see its roster, and nothing else.

use super::account::Account;
use super::address::{Caller, Visitor};
use super::address_book::department_id;
use super::core::Eim;
use super::dialect::{Args, Module, NAME_MAX};
use super::stanza_error::StanzaError;
use crate::event::Member;
use crate::refusal::Reason;
use crate::xmpp::xml::Element;

const PAGE_DEFAULT: usize = 50;

fn element(name: &str) -> Element {
    Element::new(name, Module::Contacts.ns())
}

impl Eim {
    pub(super) fn contacts(&self, caller: &Caller, kind: &str, operation: &Element) -> Result<Element, StanzaError> {
        let args = Args(operation);
        let guest = match caller {
            Caller::User(user) if user.temporary => Some(user),
            _ => None,
        };
        match (kind, operation.name.as_str(), guest) {
            ("get", "departments", Some(_)) => Ok(element("departments")),
            ("get", "departments", None) => self.departments(args),
            ("get", "users" | "search", Some(guest)) => self.people_of_conference(guest, operation),
            ("get", "users", None) => self.users(args),
            ("get", "search", None) => self.search(args),
            _ => Err(StanzaError::of(Reason::OperationUnknown)),
        }
    }

    /// Departments have no departments in them: what lies below one is nothing.
    fn departments(&self, args: Args<'_>) -> Result<Element, StanzaError> {
        let answer = element("departments");
        if args.free("parentId", NAME_MAX)?.is_some_and(|parent| !parent.is_empty()) {
            return Ok(answer);
        }
        Ok(self.people.book.departments().into_iter().fold(answer, |all, (id, name)| {
            all.with_child(element("department").with("departmentId", id).with("name", name))
        }))
    }

    fn users(&self, args: Args<'_>) -> Result<Element, StanzaError> {
        let department = args.text("departmentId", NAME_MAX)?;
        let (page, total) = self.people.book.page(department, args.offset()?, args.limit(PAGE_DEFAULT)?);
        let accounts = page.into_iter().filter_map(|user| self.people.get(user));
        Ok(accounts.fold(element("users").with("total", total.to_string()), |all, a| all.with_child(entry(a))))
    }

    fn search(&self, args: Args<'_>) -> Result<Element, StanzaError> {
        let query = args.need_text("query", NAME_MAX)?;
        let found = self.people.book.search(query, args.limit(PAGE_DEFAULT)?, |user| self.people.get(user));
        let accounts = found.into_iter().filter_map(|user| self.people.get(user));
        Ok(accounts.fold(element("search"), |all, a| all.with_child(entry(a))))
    }

    /// `users` and `search` of a guest.
    fn people_of_conference(&self, guest: &Visitor, operation: &Element) -> Result<Element, StanzaError> {
        let args = Args(operation);
        let query = args.text("query", NAME_MAX)?.map(str::to_lowercase);
        let room = guest.guest_of.as_ref().and_then(|conf| self.directory.get(conf).ok());
        let seen: Vec<&Member> = match room {
            Some(room) if room.sees_all(&guest.id) => room.roster.members.iter().collect(),
            Some(room) => room.roster.waiter(&guest.id).into_iter().collect(),
            None => Vec::new(),
        };
        let wanted = |m: &&&Member| query.as_ref().is_none_or(|query| m.name.to_lowercase().contains(query));
        let people: Vec<&&Member> = seen.iter().filter(wanted).collect();
        let page = people.iter().skip(args.offset()?).take(args.limit(PAGE_DEFAULT)?);
        let answer = Element::new(&operation.name, Module::Contacts.ns()).with("total", people.len().to_string());
        Ok(page.fold(answer, |all, m| {
            all.with_child(element("user").with("userId", m.user_id.as_str()).with("name", m.name.as_str()))
        }))
    }
}

fn entry(account: &Account) -> Element {
    let mut user = element("user").with("userId", account.user_id.as_str()).with("name", account.name.as_str());
    let department = account.department.as_deref().map(department_id);
    for (name, value) in [
        ("departmentId", department.as_deref()),
        ("mobile", account.field("mobile")),
        ("email", account.field("email")),
    ] {
        if let Some(value) = value {
            user.set(name, value);
        }
    }
    user
}
