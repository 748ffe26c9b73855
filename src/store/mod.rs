//! The data that outlives the process: links and their uses, refresh token families, temporary accounts, bans,
//! allocations, the audit, node leases, settings, and the built-in EIM's documents.
//!
//! The only place with SQL. The SQL is the part that SQLite and MySQL share: `VARCHAR(n)` keys, `BIGINT` times (ms since
//! 1970, or a [`Moment`] where a duration ends), `?` parameters, `REPLACE INTO`, no `RETURNING`; decisions are made by conditional `UPDATE`s, which are atomic in both.
//!
//! Durability: WAL. An acknowledged write survives the process's end at any moment; with `store.durability = "power"` a
//! power failure too (a disk flush for each commit), else such a failure may undo the last moments, in order.

mod accounts;
mod allocations;
mod audit;
mod bans;
mod collect;
mod conference_end;
mod documents;
pub mod encryption_at_rest;
mod error;
mod leases;
mod links;
mod migrations;
mod node_lock;
mod open;
mod refresh_token_families;
mod settings;
mod time_line;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::clock::Moment;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use accounts::Account;
pub use allocations::Allocation;
pub use audit::{AuditEntry, DONE};
pub use bans::BanTarget;
pub use collect::Collected;
pub use documents::{Document, DocumentChange};
pub use error::StoreError;
pub use leases::Lease;
pub use links::{Link, LinkUse, NewLink};
pub use node_lock::{NodeLock, NodeRole};
pub use refresh_token_families::{Family, NewFamily, Rotation};

/// The database. Cloned freely; all clones share one writing connection and a pool of reading ones.
///
/// A request waits at most `store.wait_ms` for a connection, then is [`StoreError::Busy`]; while `store.queue` requests
/// wait or run, a further one is [`StoreError::Full`] at once. Dropping a method's future undoes its write, or leaves
/// it whole.
#[derive(Clone)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    /// A permit for each request waiting or running.
    queue: Arc<Semaphore>,
    audit_keep: Duration,
    audit_rows: u32,
    /// The lease that this handle writes under; see [`Store::under`].
    lease: Option<Arc<Lease>>,
    /// Whether the last write could not be kept.
    unwell: Arc<AtomicBool>,
}

/// A write under way: undone unless committed.
struct Write {
    transaction: Transaction<'static, Sqlite>,
    unwell: Arc<AtomicBool>,
    _place: QueueSlot,
}

impl Write {
    fn on(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    async fn commit(self) -> Result<(), StoreError> {
        let outcome = self.transaction.commit().await;
        self.unwell.store(outcome.is_err(), Ordering::Relaxed);
        Ok(outcome?)
    }
}

/// A read under way.
struct Read {
    connection: PoolConnection<Sqlite>,
    _place: QueueSlot,
}

impl Read {
    fn on(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// A place in the queue, counted while it is held.
struct QueueSlot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Drop for QueueSlot {
    fn drop(&mut self) {
        metrics::gauge!("confgate_store_requests").decrement(1);
    }
}

impl Store {
    /// Tries the database for real: takes the write lock and reads.
    ///
    /// # Errors
    /// Why the store cannot be used now.
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query("SELECT COUNT(*) FROM settings").fetch_one(write.on()).await?;
        if self.unwell.load(Ordering::Relaxed) {
            // Only what is written shows whether there is room again.
            sqlx::query("REPLACE INTO settings (name, value) VALUES ('store.check', '')").execute(write.on()).await?;
            write.commit().await?;
        }
        Ok(())
    }

    /// Waits for what is under way and closes; later calls fail.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a write; refused where the handle's lease was taken over.
    async fn write(&self) -> Result<Write, StoreError> {
        let place = self.queue_slot()?;
        let begun = Instant::now();
        // IMMEDIATE: a transaction that began by reading could fail when it comes to write, without waiting.
        let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        metrics::histogram!("confgate_store_wait_seconds").record(begun.elapsed().as_secs_f64());
        let mut write = Write { transaction, unwell: self.unwell.clone(), _place: place };
        if let Some(lease) = &self.lease {
            leases::demand(lease, write.on()).await?;
        }
        Ok(write)
    }

    async fn read(&self) -> Result<Read, StoreError> {
        let place = self.queue_slot()?;
        Ok(Read { connection: self.readers.acquire().await?, _place: place })
    }

    fn queue_slot(&self) -> Result<QueueSlot, StoreError> {
        let Ok(permit) = Arc::clone(&self.queue).try_acquire_owned() else {
            metrics::counter!("confgate_store_refused_total").increment(1);
            return Err(StoreError::Full);
        };
        metrics::gauge!("confgate_store_requests").increment(1);
        Ok(QueueSlot(permit))
    }
}

/// A time or count as the database holds it.
fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A moment as the database holds it.
fn to_ms(moment: Moment) -> i64 {
    to_i64(moment.ms())
}

/// A time or count that the database held; never negative, since only [`to_i64`] writes them.
fn to_u64(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// Refuses text that a `VARCHAR(max)` would not hold everywhere: SQLite itself does not mind the length.
fn check_len(what: &'static str, text: &str, max: usize) -> Result<(), StoreError> {
    if text.len() > max { Err(StoreError::TooLong { what, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
