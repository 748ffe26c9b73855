//! What the owner of a conference's numbers keeps, so that the next one goes on with them: a roster now and then, the
//! events from about then on, and the seats. One process alone owns a conference: it is named in the row by its node and
//! fencing number, and a write of any other one is without effect.

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

impl Store {
    /// This process owns the conference's numbers from now on, whoever did before. Answers what is kept; nothing of a
    /// conference that had no owner.
    ///
    /// # Errors
    /// A fault of the store, [`StoreError::Fenced`] included.
    pub async fn take_numbering(&self, conf: &ConfId, now: Moment) -> Result<Option<KeptNumbering>, StoreError> {
        let (node, fence) = self.owner();
        let mut write = self.write_in(conf.as_str()).await?;
        let row: Option<(String, String)> = query("SELECT roster, seats FROM numberings WHERE conf_id = ?")
            .bind(conf.as_str())
            .fetch_optional(write.on())
            .await?;
        let Some((roster, seats)) = row else {
            query("INSERT INTO numberings (conf_id, node_id, fence, roster, seats, changed_at) VALUES (?, ?, ?, '', ?, ?)")
                .bind(conf.as_str())
                .bind(node)
                .bind(fence)
                .bind(NO_SEATS)
                .bind(to_ms(now))
                .execute(write.on())
                .await?;
            write.commit().await?;
            return Ok(None);
        };
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
        Ok((!roster.is_empty()).then_some(KeptNumbering { roster, seats, events }))
    }

    /// Keeps all of it, or nothing; false where another process owns the conference's numbers: its numbers count, and
    /// none of these may be shown to anybody.
    ///
    /// # Errors
    /// A fault of the store, [`StoreError::Fenced`] included. Then nothing of it is kept, or all.
    pub async fn keep_numbering(&self, conf: &ConfId, kept: NumberingWrite<'_>) -> Result<bool, StoreError> {
        let (node, fence) = self.owner();
        let mut write = self.write_in(conf.as_str()).await?;
        let owner = query_scalar("SELECT COUNT(*) FROM numberings WHERE conf_id = ? AND node_id = ? AND fence = ?")
            .bind(conf.as_str())
            .bind(node)
            .bind(fence);
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

    /// The conferences of which somebody is awaited back, or had a socket when the last owner ended.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn numberings_with_seats(&self) -> Result<Vec<ConfId>, StoreError> {
        let mut read = self.read().await?;
        let all: Vec<(String,)> = query("SELECT conf_id FROM numberings WHERE seats <> ? ORDER BY conf_id")
            .bind(NO_SEATS)
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

    fn write<'a>(events: &'a [(u64, String)], roster: Option<(&'a str, u64)>) -> NumberingWrite<'a> {
        NumberingWrite { roster, seats: "{\"u1\":1}", epoch: "e", events, at: Moment::at(5) }
    }

    fn events(seqs: std::ops::RangeInclusive<u64>, by: &str) -> Vec<(u64, String)> {
        seqs.map(|seq| (seq, format!("{by}{seq}"))).collect()
    }

    #[tokio::test]
    async fn the_next_owner_finds_the_events_and_the_last_one_writes_no_more() {
        let (store, _place) = fresh().await;
        let first = store.under(&store.acquire_lease("a", Moment::at(1), TTL).await.unwrap());
        let second = store.under(&store.acquire_lease("b", Moment::at(1), TTL).await.unwrap());
        let room = conf("r1");
        assert_eq!(first.take_numbering(&room, Moment::at(1)).await.unwrap(), None);
        assert!(first.keep_numbering(&room, write(&[], Some(("at 1", 0)))).await.unwrap());
        assert!(first.keep_numbering(&room, write(&events(2..=4, "a"), None)).await.unwrap());
        assert_eq!(store.numberings_with_seats().await.unwrap(), std::slice::from_ref(&room));

        let kept = second.take_numbering(&room, Moment::at(2)).await.unwrap().expect("something is kept");
        assert_eq!((kept.roster.as_str(), kept.events.as_slice()), ("at 1", &["a2", "a3", "a4"].map(String::from)[..]));
        // Both take themselves for the owner: a number is given once.
        assert!(!first.keep_numbering(&room, write(&events(5..=5, "a"), None)).await.unwrap());
        assert!(second.keep_numbering(&room, write(&events(5..=6, "b"), Some(("at 6", 3)))).await.unwrap());
        assert!(!first.keep_numbering(&room, write(&events(7..=7, "a"), Some(("at 7", 7)))).await.unwrap());
        let kept = second.take_numbering(&room, Moment::at(3)).await.unwrap().expect("something is kept");
        assert_eq!((kept.roster.as_str(), kept.events.as_slice()), ("at 6", &["a4", "b5", "b6"].map(String::from)[..]));

        // The node itself, started anew.
        let again = store.under(&store.acquire_lease("b", Moment::at(2), TTL).await.unwrap());
        again.take_numbering(&room, Moment::at(4)).await.unwrap().expect("something is kept");
        let late = second.keep_numbering(&room, write(&events(7..=7, "b"), None)).await;
        assert!(matches!(late, Err(StoreError::Fenced)), "{late:?}");
    }

    #[tokio::test]
    async fn a_numbering_that_nobody_needs_is_deleted_with_its_events() {
        let (store, _place) = fresh().await;
        for room in ["r1", "r2"] {
            store.take_numbering(&conf(room), Moment::at(1)).await.unwrap();
            let kept = NumberingWrite { seats: if room == "r1" { NO_SEATS } else { "{\"u1\":1}" }, ..write(&[], None) };
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
        a_numbering_that_nobody_needs_is_deleted_with_its_events,
    ];
}
