//! The routing keys that this node's queue is bound to: those of conferences that somebody here is in, and of users who
//! have a socket here. Counted here, carried out by the consumer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::ids::{ConfId, UserId};
use crate::sync;

/// What events are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A conference.
    Conference(ConfId),
    /// A user.
    User(UserId),
}

/// A change of what the queue is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Bind(Subject),
    Unbind(Subject),
}

/// What is wanted, what the broker was asked for, and what it has confirmed. Pure.
#[derive(Debug, Default)]
pub(crate) struct Table {
    wanted: BTreeMap<Subject, usize>,
    /// What is bound once the broker has carried out all that it was asked for.
    requested: BTreeSet<Subject>,
    bound: BTreeSet<Subject>,
    /// Subjects whose wish may differ from what was requested, in the order of the wishes.
    open: VecDeque<Subject>,
    /// Whether a connection is up and bindings can be changed.
    pub(crate) connected: bool,
}

impl Table {
    pub(crate) fn hold(&mut self, subject: &Subject) {
        let count = self.wanted.entry(subject.clone()).or_default();
        *count += 1;
        if *count == 1 {
            self.open.push_back(subject.clone());
        }
    }

    pub(crate) fn release(&mut self, subject: &Subject) {
        let Some(count) = self.wanted.get_mut(subject) else { return };
        *count -= 1;
        if *count == 0 {
            self.wanted.remove(subject);
            self.open.push_back(subject.clone());
        }
    }

    /// The next change to request. Where it fails, so does the connection.
    pub(crate) fn next(&mut self) -> Option<Change> {
        while self.connected {
            let subject = self.open.pop_front()?;
            match (self.wanted.contains_key(&subject), self.requested.contains(&subject)) {
                (true, false) => {
                    self.requested.insert(subject.clone());
                    return Some(Change::Bind(subject));
                }
                (false, true) => {
                    self.requested.remove(&subject);
                    return Some(Change::Unbind(subject));
                }
                _ => {}
            }
        }
        None
    }

    /// The broker has confirmed it. A later change may be under way already.
    pub(crate) fn done(&mut self, change: Change) {
        match change {
            Change::Bind(subject) if self.requested.contains(&subject) => drop(self.bound.insert(subject)),
            Change::Bind(subject) | Change::Unbind(subject) => drop(self.bound.remove(&subject)),
        }
    }

    /// All that is wanted is bound anew: it isn't known which of the last changes the broker has carried out. `keeps`: the
    /// queue may be the former one, with the bindings that it had.
    pub(crate) fn connect(&mut self, keeps: bool) {
        self.connected = true;
        let mut former = std::mem::take(&mut self.bound);
        former.append(&mut self.requested);
        former.retain(|subject| keeps && !self.wanted.contains_key(subject));
        self.open = self.wanted.keys().chain(&former).cloned().collect();
        self.requested = former;
    }

    pub(crate) fn is_settled(&self, subject: &Subject) -> bool {
        !self.connected || self.bound.contains(subject)
    }
}

struct Inner {
    table: Mutex<Table>,
    /// Grows with each change of the table.
    version: watch::Sender<u64>,
    /// How long a request waits for the binding that it needs.
    limit: Duration,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Table> {
        sync::lock(&self.table)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let (result, count) = {
            let mut table = self.lock();
            let result = change(&mut table);
            (result, table.bound.len())
        };
        metrics::gauge!("confgate_broker_bindings").set(count as f64);
        self.version.send_modify(|version| *version += 1);
        result
    }
}

/// The registry: cloneable. Without a broker nothing is bound and everything is settled.
#[derive(Clone)]
pub struct Bindings(Option<Arc<Inner>>);

/// A subject is bound as long as somebody holds this.
pub struct Binding {
    inner: Arc<Inner>,
    subject: Subject,
}

impl Bindings {
    /// Events come another way.
    pub fn none() -> Self {
        Self(None)
    }

    /// `limit`: how long one waits for a binding.
    pub fn new(limit: Duration) -> Self {
        Self(Some(Arc::new(Inner { table: Mutex::default(), version: watch::Sender::new(0), limit })))
    }

    /// Has the subject's events come to this node.
    pub fn hold(&self, subject: Subject) -> Option<Binding> {
        let inner = self.0.as_ref()?;
        inner.change(|table| table.hold(&subject));
        Some(Binding { inner: Arc::clone(inner), subject })
    }

    /// Waits until the subject is bound, so that what is asked of the EIM afterwards misses no event. While the broker
    /// is away nobody waits: everything is asked again once it is back.
    pub async fn settled(&self, subject: &Subject) {
        let Some(inner) = &self.0 else { return };
        let mut version = inner.version.subscribe();
        let settled = version.wait_for(|_| inner.lock().is_settled(subject));
        if timeout(inner.limit, settled).await.is_err() {
            tracing::debug!(?subject, "a binding takes too long");
        }
    }

    pub(super) fn connected(&self, keeps: bool) {
        self.change(|table| table.connect(keeps));
    }

    pub(super) fn disconnected(&self) {
        self.change(|table| table.connected = false);
    }

    /// The next change to carry out; stays pending while there is none.
    pub(super) async fn next(&self) -> Change {
        let Some(inner) = &self.0 else { return std::future::pending().await };
        let mut version = inner.version.subscribe();
        loop {
            version.mark_unchanged();
            let change = inner.lock().next();
            match change {
                Some(change) => return change,
                // Its sender is ours.
                None => drop(version.changed().await),
            }
        }
    }

    /// The next change, if there is one now.
    pub(super) fn try_next(&self) -> Option<Change> {
        self.0.as_ref()?.lock().next()
    }

    pub(super) fn done(&self, change: Change) {
        self.change(|table| table.done(change));
    }

    fn change(&self, change: impl FnOnce(&mut Table)) {
        if let Some(inner) = &self.0 {
            inner.change(change);
        }
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.inner.change(|table| table.release(&self.subject));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conference(id: &str) -> Subject {
        Subject::Conference(ConfId::parse(id).unwrap())
    }

    fn changes(table: &mut Table) -> Vec<Change> {
        std::iter::from_fn(|| {
            let change = table.next()?;
            table.done(change.clone());
            Some(change)
        })
        .collect()
    }

    #[test]
    fn a_subject_is_bound_with_the_first_and_unbound_after_the_last() {
        let mut table = Table { connected: true, ..Table::default() };
        let one = conference("1");
        table.hold(&one);
        table.hold(&one);
        assert_eq!(changes(&mut table), [Change::Bind(one.clone())]);
        table.release(&one);
        assert_eq!(changes(&mut table), []);
        table.release(&one);
        assert_eq!(changes(&mut table), [Change::Unbind(one.clone())]);
        table.hold(&one);
        table.release(&one);
        assert_eq!(changes(&mut table), [], "nobody wants it any more");
    }

    #[test]
    fn a_wish_that_changes_while_a_binding_is_under_way_is_carried_out_after_it() {
        let mut table = Table { connected: true, ..Table::default() };
        let one = conference("1");
        table.hold(&one);
        let bind = table.next().unwrap();
        table.release(&one);
        let unbind = table.next().unwrap();
        table.hold(&one);
        let again = table.next().unwrap();
        assert_eq!([&bind, &unbind], [&Change::Bind(one.clone()), &Change::Unbind(one.clone())]);
        assert_eq!(again, bind);
        table.done(bind);
        table.done(unbind);
        table.done(again);
        assert!(table.is_settled(&one));
        table.release(&one);
        let unconfirmed = table.next();
        assert_eq!(unconfirmed, Some(Change::Unbind(one.clone())));
        table.hold(&one);
        table.connect(true);
        assert_eq!(changes(&mut table), [Change::Bind(one)], "the broker may have unbound it");
    }

    #[test]
    fn a_new_connection_binds_what_is_wanted_and_unbinds_what_is_not() {
        let mut table = Table::default();
        let (one, two) = (conference("1"), conference("2"));
        table.hold(&one);
        assert!(table.is_settled(&one), "nobody waits for a broker that is away");
        assert_eq!(changes(&mut table), []);
        table.connect(false);
        assert!(!table.is_settled(&one));
        assert_eq!(changes(&mut table), [Change::Bind(one.clone())]);
        assert!(table.is_settled(&one));
        table.connected = false;
        table.release(&one);
        table.hold(&two);
        table.connect(true);
        let mut both = changes(&mut table);
        both.sort_by_key(|change| format!("{change:?}"));
        assert_eq!(both, [Change::Bind(two.clone()), Change::Unbind(one)]);
        table.connect(false);
        assert_eq!(changes(&mut table), [Change::Bind(two)], "the broker was restarted empty");
    }

    #[tokio::test]
    async fn a_request_waits_for_the_binding_that_it_needs() {
        let bindings = Bindings::new(Duration::from_secs(60));
        bindings.connected(false);
        let one = conference("1");
        let held = bindings.hold(one.clone());
        let waiting = tokio::spawn({
            let (bindings, one) = (bindings.clone(), one.clone());
            async move { bindings.settled(&one).await }
        });
        let change = bindings.next().await;
        assert_eq!(change, Change::Bind(one.clone()));
        assert!(!waiting.is_finished());
        bindings.done(change);
        waiting.await.unwrap();
        drop(held);
        assert_eq!(bindings.next().await, Change::Unbind(one));
    }
}
