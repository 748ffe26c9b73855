//! Which of the EIM's addresses a server routes to the link of its first one.
//!
//! A server may give a link the routes of all addresses of its listener, and spread what comes for them over several such
//! links at random (ejabberd): the requests of one user would then overtake each other wherever a link is slow. There the
//! first link serves for all; elsewhere each address has one of its own. The first link finds out by pinging the other
//! addresses: the server brings such a ping back to it, or answers it in the place of somebody who isn't there.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::xmpp::jid::same_address;
use crate::xmpp::xml::{Element, Stanza};

/// The id of these pings.
const ROUTE: &str = "route";

/// Where stanzas for an address come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Not known: the first link isn't up, or hasn't found out yet.
    Unknown,
    /// On the first link.
    First,
    /// On a link of the address's own.
    Own,
}

/// The routes of all addresses but the first, as the others' tasks see them.
pub(super) type Known = watch::Receiver<BTreeMap<String, Route>>;

/// The first link's end: finds out the others' routes.
#[derive(Clone)]
pub(super) struct Routing {
    first: String,
    routes: watch::Sender<BTreeMap<String, Route>>,
}

/// What a stanza says of routes.
pub(super) enum Found {
    /// This address is served by the first link.
    First(String),
    /// An address has a link of its own, or needs one.
    Own,
    /// Nothing: it is no answer to such a ping.
    Nothing,
}

impl Routing {
    /// Of an EIM with those addresses; `None` where there are none.
    pub(super) fn new(addresses: &[String]) -> Option<Self> {
        let (first, others) = addresses.split_first()?;
        let routes = watch::Sender::new(others.iter().map(|other| (other.clone(), Route::Unknown)).collect());
        Some(Self { first: first.clone(), routes })
    }

    /// For the others' tasks.
    pub(super) fn known(&self) -> Known {
        self.routes.subscribe()
    }

    /// The pings.
    pub(super) fn pings(&self) -> Vec<Stanza> {
        let ping = || Stanza::iq("get", Element::new("ping", "urn:xmpp:ping")).with("id", ROUTE);
        let others: Vec<String> = self.routes.borrow().keys().cloned().collect();
        others.iter().map(|other| ping().with("from", self.first.as_str()).with("to", other.as_str())).collect()
    }

    /// Takes note of what has come on the first link.
    pub(super) fn take(&self, stanza: &Stanza) -> Found {
        let (Some(from), Some(to)) = (stanza.attr("from"), stanza.attr("to")) else { return Found::Nothing };
        if stanza.name != "iq" || stanza.attr("id") != Some(ROUTE) {
            return Found::Nothing;
        }
        let is_question = stanza.attr("type") == Some("get");
        let (own, other) = if is_question { (from, to) } else { (to, from) };
        let known = self.routes.borrow().keys().find(|known| same_address(other, known)).cloned();
        let Some(known) = known.filter(|_| same_address(own, &self.first)) else { return Found::Nothing };
        let route = if is_question { Route::First } else { Route::Own };
        self.routes.send_modify(|routes| {
            routes.insert(known.clone(), route);
        });
        if is_question { Found::First(known) } else { Found::Own }
    }

    /// What nobody has told of by now has a link of its own.
    pub(super) fn give_up(&self) {
        self.replace(Route::Unknown, Route::Own);
    }

    /// The first link is over: the addresses that it served, of which nothing is known any more, as of all others.
    pub(super) fn reset(&self) -> Vec<String> {
        let served = |routes: &BTreeMap<String, Route>| {
            routes.iter().filter(|(_, route)| **route == Route::First).map(|(other, _)| other.clone()).collect()
        };
        let served = served(&self.routes.borrow());
        self.routes.send_modify(|routes| routes.values_mut().for_each(|route| *route = Route::Unknown));
        served
    }

    /// Whether it isn't known of all.
    pub(super) fn is_open(&self) -> bool {
        self.routes.borrow().values().any(|route| *route == Route::Unknown)
    }

    fn replace(&self, before: Route, after: Route) {
        self.routes.send_modify(|routes| {
            routes.values_mut().filter(|route| **route == before).for_each(|route| *route = after);
        });
    }
}
