//! What the owner of a conference's numbers keeps, so that the next one goes on with them: a roster now and then, the
//! events from about then on, and the seats. One process alone owns a conference: it is named in the row by its node and
//! fencing number, and a write of any other one is without effect. Another process takes the conference over where that
//! one is gone: its node was started anew, has let go of its lease, or was inherited since its lease has lapsed.

use super::query::{query, query_scalar};
use super::{Store, StoreError, to_i64, to_ms};
use crate::clock::Moment;
use crate::ids::ConfId;

/// No seats, as JSON: nobody is awaited back.
const NO_SEATS: &str = "{}";

/// What an earlier owner has kept, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptNumbering {
    /// A roster.
    pub roster: String,
    /// The seats.
    pub seats: String,
    /// The events of all its epochs, by number.
    pub events: Vec<String>,
}

/// Who owns a conference's numbers, after this process has asked for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NumberingOwner {
    /// This process, with what an earlier one has kept; nothing of a conference that had no owner.
    This(Option<KeptNumbering>),
    /// That node's process, which is there.
    Other(String),
}

/// What has changed.
#[derive(Debug, Clone, Copy)]
pub struct NumberingWrite<'a> {
    /// The roster, where it is written anew; with it events up to that number of its epoch are deleted, and all of others.
    pub roster: Option<(&'a str, u64)>,
    /// The seats as JSON; an object without members where there are none.
    pub seats: &'a str,
    /// Which numbering the events belong to.
    pub epoch: &'a str,
    /// New events, each with its number and JSON.
    pub events: &'a [(u64, String)],
    /// Now.
    pub at: Moment,
}

/// A conference's row, and that of the node which it names: its newest process's fencing number, its lease, its heir's.
type Row = (String, i64, String, String, Option<i64>, Option<i64>, Option<i64>);
const OWNED: &str = "SELECT o.node_id, o.fence, o.roster, o.seats, n.fence, n.lease_ms, n.heir_fence \
                     FROM numberings o LEFT JOIN nodes n ON n.node_id = o.node_id WHERE o.conf_id = ?";

const IS_OWNER: &str = "SELECT COUNT(*) FROM numberings WHERE conf_id = ? AND node_id = ? AND fence = ?";

impl Store {
    /// This process owns the conference's numbers from now on, unless another one does that is there.
    ///
    /// # Errors
    /// A fault of the store, [`StoreError::Fenced`] included.
    pub async fn take_numbering(&self, conf: &ConfId, now: Moment) -> Result<NumberingOwner, StoreError> {
        let (node, fence) = self.owner();
        let mut write = self.write_in(conf.as_str()).await?;
        let row: Option<Row> = query(OWNED).bind(conf.as_str()).fetch_optional(write.on()).await?;
        let Some((owner, owner_fence, roster, seats, newest, lease_ms, heir_fence)) = row else {
            query("INSERT INTO numberings (conf_id, node_id, fence, roster, seats, changed_at) VALUES (?, ?, ?, '', ?, ?)")
                .bind(conf.as_str())
                .bind(node)
                .bind(fence)
                .bind(NO_SEATS)
                .bind(to_ms(now))
                .execute(write.on())
                .await?;
            write.commit().await?;
            return Ok(NumberingOwner::This(None));
        };
        let is_there = newest == Some(owner_fence) && lease_ms != Some(0) && heir_fence.is_none();
        if is_there && (owner.as_str(), owner_fence) != (node, fence) {
            return Ok(NumberingOwner::Other(owner));
        }
        query("UPDATE numberings SET node_id = ?, fence = ?, changed_at = ? WHERE conf_id = ?")
            .bind(node)
            .bind(fence)
            .bind(to_ms(now))
            .bind(conf.as_str())
            .execute(write.on())
            .await?;
        let events: Vec<(String,)> = query("SELECT body FROM numbered_events WHERE conf_id = ? ORDER BY epoch, seq")
            .bind(conf.as_str())
            .fetch_all(write.on())
            .await?;
        write.commit().await?;
        let events = events.into_iter().map(|(body,)| body).collect();
        Ok(NumberingOwner::This((!roster.is_empty()).then_some(KeptNumbering { roster, seats, events })))
    }

    /// This process owns the conference's numbers no longer; nobody does. Without effect where another one does.
    ///
    /// # Errors
    /// A fault of the store, [`StoreError::Fenced`] included.
    pub async fn release_numbering(&self, conf: &ConfId) -> Result<(), StoreError> {
        let (node, fence) = self.owner();
        let mut write = self.write_in(conf.as_str()).await?;
        query("UPDATE numberings SET node_id = '', fence = 0 WHERE conf_id = ? AND node_id = ? AND fence = ?")
            .bind(conf.as_str())
            .bind(node)
            .bind(fence)
            .execute(write.on())
            .await?;
        write.commit().await
    }

    /// Whether this process owns the conference's numbers.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn owns_numbering(&self, conf: &ConfId) -> Result<bool, StoreError> {
        let ((node, fence), mut read) = (self.owner(), self.read().await?);
        let owner = query_scalar(IS_OWNER).bind(conf.as_str()).bind(node).bind(fence);
        Ok(owner.fetch_one::<i64>(read.on()).await? > 0)
    }

    /// Keeps all of it, or nothing; false where another process owns the conference's numbers: its numbers count, and
    /// none of these may be shown to anybody.
    ///
    /// # Errors
    /// A fault of the store, [`StoreError::Fenced`] included. Then nothing of it is kept, or all.
    pub async fn keep_numbering(&self, conf: &ConfId, kept: NumberingWrite<'_>) -> Result<bool, StoreError> {
        let (node, fence) = self.owner();
        let mut write = self.write_in(conf.as_str()).await?;
        let owner = query_scalar(IS_OWNER).bind(conf.as_str()).bind(node).bind(fence);
        if owner.fetch_one::<i64>(write.on()).await? == 0 {
            return Ok(false);
        }
        query("UPDATE numberings SET seats = ?, changed_at = ? WHERE conf_id = ?")
            .bind(kept.seats)
            .bind(to_ms(kept.at))
            .bind(conf.as_str())
            .execute(write.on())
            .await?;
        for (seq, body) in kept.events {
            // A write whose outcome was not known is made again.
            query("REPLACE INTO numbered_events (conf_id, epoch, seq, body) VALUES (?, ?, ?, ?)")
                .bind(conf.as_str())
                .bind(kept.epoch)
                .bind(to_i64(*seq))
                .bind(body)
                .execute(write.on())
                .await?;
        }
        if let Some((roster, until)) = kept.roster {
            query("UPDATE numberings SET roster = ? WHERE conf_id = ?")
                .bind(roster)
                .bind(conf.as_str())
                .execute(write.on())
                .await?;
            query("DELETE FROM numbered_events WHERE conf_id = ? AND (epoch <> ? OR seq <= ?)")
                .bind(conf.as_str())
                .bind(kept.epoch)
                .bind(to_i64(until))
                .execute(write.on())
                .await?;
        }
        write.commit().await?;
        Ok(true)
    }

    /// The conferences in which somebody has a socket at that node, or had one when it ended. Some others may be among them.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn numberings_with_seats_at(&self, node: &str) -> Result<Vec<ConfId>, StoreError> {
        let mut read = self.read().await?;
        // An id has no `%`, and what a `_` finds besides is harmless.
        let all: Vec<(String,)> = query("SELECT conf_id FROM numberings WHERE seats LIKE ? ORDER BY conf_id")
            .bind(format!("%\"node\":\"{node}\"%"))
            .fetch_all(read.on())
            .await?;
        Ok(all.into_iter().filter_map(|(id,)| ConfId::parse(&id)).collect())
    }

    /// Deletes what hasn't changed since that moment, and in which nobody is awaited back. Answers how many
    /// conferences.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn delete_numberings(&self, before: Moment) -> Result<u64, StoreError> {
        let mut write = self.write().await?;
        let deleted = query("DELETE FROM numberings WHERE changed_at < ? AND seats = ?")
            .bind(to_ms(before))
            .bind(NO_SEATS)
            .execute(write.on())
            .await?;
        if deleted > 0 {
            query("DELETE FROM numbered_events WHERE conf_id NOT IN (SELECT conf_id FROM numberings)")
                .execute(write.on())
                .await?;
        }
        write.commit().await?;
        Ok(deleted)
    }

    /// This process, as an owner.
    fn owner(&self) -> (&str, i64) {
        self.lease.as_ref().map_or(("", 0), |lease| (&lease.node_id, to_i64(lease.fence)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::tests::{Promises, conf, fresh, promises};

    const TTL: Duration = Duration::from_secs(1);

    const SEATS: &str = "{\"u1\":{\"node\":\"a\"}}";

    fn write<'a>(events: &'a [(u64, String)], roster: Option<(&'a str, u64)>) -> NumberingWrite<'a> {
        NumberingWrite { roster, seats: SEATS, epoch: "e", events, at: Moment::at(5) }
    }

    fn events(seqs: std::ops::RangeInclusive<u64>, by: &str) -> Vec<(u64, String)> {
        seqs.map(|seq| (seq, format!("{by}{seq}"))).collect()
    }

    async fn node(store: &Store, id: &str) -> Store {
        store.under(&store.acquire_lease(id, Moment::at(1), TTL).await.unwrap())
    }

    async fn kept(store: &Store, room: &ConfId) -> KeptNumbering {
        match store.take_numbering(room, Moment::at(2)).await.unwrap() {
            NumberingOwner::This(Some(kept)) => kept,
            other => panic!("{other:?}"),
        }
    }

    /// As a node does whose lease has lapsed in the eyes of that one.
    async fn is_inherited(gone: &str, by: &Store) {
        let state = by.node_states().await.unwrap().into_iter().find(|node| node.node_id == gone).unwrap();
        assert!(by.inherit(&state).await.unwrap());
    }

    #[tokio::test]
    async fn the_next_owner_finds_the_events_and_the_last_one_writes_no_more() {
        let (store, _place) = fresh().await;
        let (first, second) = (node(&store, "a").await, node(&store, "b").await);
        let room = conf("r1");
        assert_eq!(first.take_numbering(&room, Moment::at(1)).await.unwrap(), NumberingOwner::This(None));
        assert!(first.keep_numbering(&room, write(&[], Some(("at 1", 0)))).await.unwrap());
        assert!(first.keep_numbering(&room, write(&events(2..=4, "a"), None)).await.unwrap());
        assert_eq!(store.numberings_with_seats_at("a").await.unwrap(), std::slice::from_ref(&room));
        assert_eq!(store.numberings_with_seats_at("b").await.unwrap(), []);
        let other = second.take_numbering(&room, Moment::at(2)).await.unwrap();
        assert_eq!(other, NumberingOwner::Other("a".into()), "it is there");
        assert!(!second.keep_numbering(&room, write(&events(5..=5, "b"), None)).await.unwrap());

        is_inherited("a", &second).await;
        let found = kept(&second, &room).await;
        assert_eq!((found.roster.as_str(), found.events), ("at 1", ["a2", "a3", "a4"].map(String::from).to_vec()));
        // It was only stopped. Both take themselves for the owner: a number is given once.
        assert!(first.reclaim().await.unwrap());
        assert!(!first.keep_numbering(&room, write(&events(5..=5, "a"), None)).await.unwrap());
        assert!(second.keep_numbering(&room, write(&events(5..=6, "b"), Some(("at 6", 3)))).await.unwrap());
        assert!(!first.keep_numbering(&room, write(&events(7..=7, "a"), Some(("at 7", 7)))).await.unwrap());
        let found = kept(&second, &room).await;
        assert_eq!((found.roster.as_str(), found.events), ("at 6", ["a4", "b5", "b6"].map(String::from).to_vec()));

        // The node itself, started anew.
        let again = node(&store, "b").await;
        kept(&again, &room).await;
        let late = second.keep_numbering(&room, write(&events(7..=7, "b"), None)).await;
        assert!(matches!(late, Err(StoreError::Fenced)), "{late:?}");
    }

    #[tokio::test]
    async fn a_conference_is_taken_over_at_once_from_a_node_that_has_stopped_or_was_started_anew() {
        let (store, _place) = fresh().await;
        let lease = store.acquire_lease("a", Moment::at(1), TTL).await.unwrap();
        let (first, second) = (store.under(&lease), node(&store, "b").await);
        for room in ["r1", "r2"] {
            first.take_numbering(&conf(room), Moment::at(1)).await.unwrap();
        }
        first.release_lease(&lease, Moment::at(2)).await.unwrap();
        assert_eq!(second.take_numbering(&conf("r1"), Moment::at(2)).await.unwrap(), NumberingOwner::This(None));
        let again = node(&store, "a").await;
        let other = again.take_numbering(&conf("r1"), Moment::at(3)).await.unwrap();
        assert_eq!(other, NumberingOwner::Other("b".into()));
        assert_eq!(second.take_numbering(&conf("r2"), Moment::at(3)).await.unwrap(), NumberingOwner::This(None));
        again.release_numbering(&conf("r2")).await.unwrap();
        assert!(second.owns_numbering(&conf("r2")).await.unwrap(), "it was not theirs");
        second.release_numbering(&conf("r2")).await.unwrap();
        assert_eq!(again.take_numbering(&conf("r2"), Moment::at(4)).await.unwrap(), NumberingOwner::This(None));
    }

    #[tokio::test]
    async fn a_numbering_that_nobody_needs_is_deleted_with_its_events() {
        let (store, _place) = fresh().await;
        for room in ["r1", "r2"] {
            store.take_numbering(&conf(room), Moment::at(1)).await.unwrap();
            let kept = NumberingWrite { seats: if room == "r1" { NO_SEATS } else { SEATS }, ..write(&[], None) };
            let added = events(2..=3, "x");
            assert!(store.keep_numbering(&conf(room), NumberingWrite { events: &added, ..kept }).await.unwrap());
        }
        assert_eq!(store.delete_numberings(Moment::at(5)).await.unwrap(), 0);
        assert_eq!(store.delete_numberings(Moment::at(6)).await.unwrap(), 1);
        assert!(!store.keep_numbering(&conf("r1"), write(&[], None)).await.unwrap());
        let mut read = store.read().await.unwrap();
        let left: i64 = query_scalar("SELECT COUNT(*) FROM numbered_events").fetch_one(read.on()).await.unwrap();
        assert_eq!(left, 2);
    }

    pub const ON_BOTH: Promises = promises![
        the_next_owner_finds_the_events_and_the_last_one_writes_no_more,
        a_conference_is_taken_over_at_once_from_a_node_that_has_stopped_or_was_started_anew,
        a_numbering_that_nobody_needs_is_deleted_with_its_events,
    ];
}
