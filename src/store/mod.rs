//! The data that outlives the process: links and their uses, refresh token families, temporary accounts, bans,
//! allocations, the audit, node leases, settings, and the built-in EIM's documents.
//!
//! The only place with SQL. The SQL is the part that SQLite and MySQL share: `VARCHAR(n)` keys, `BIGINT` times (ms since
//! 1970, or a [`Moment`] where a duration ends), `?` parameters, `REPLACE INTO`, no `RETURNING`; decisions are made by
//! conditional `UPDATE`s, which are atomic in both, or in a write that is alone in its scope ([`Store::write_in`]).
//!
//! Durability of SQLite: WAL. An acknowledged write survives the process's end at any moment; with `store.durability = "power"` a
//! power failure too (a disk flush for each commit), else such a failure may undo the last moments, in order.

mod accounts;
mod allocations;
mod audit;
mod bans;
mod call_gateways;
mod collect;
mod conference_end;
mod copy;
mod documents;
pub mod encryption_at_rest;
mod error;
mod failover;
mod family_ends;
mod leases;
mod links;
mod migrations;
mod mysql;
mod node_links;
mod node_lock;
mod numberings;
mod open;
mod open_sockets;
mod query;
mod refresh_token_families;
mod server;
mod settings;
mod time_line;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};

use crate::clock::Moment;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use accounts::Account;
pub use allocations::Allocation;
pub use audit::{AuditEntry, DONE};
pub use bans::BanTarget;
pub use call_gateways::{REGISTERED_MAX, RegisteredGateway, Registration};
pub use collect::Collected;
pub use copy::{CopyError, CopyProgress};
pub use documents::{Document, DocumentChange};
pub use error::StoreError;
pub use failover::{Heir, NodeState};
pub use leases::Lease;
pub use links::{Link, LinkUse, NewLink};
pub use node_links::NodeLink;
pub use node_lock::{NodeLock, NodeRole};
pub use numberings::{KeptNumbering, NumberingOwner, NumberingWrite};
pub use open_sockets::{OpenedSocket, RegisteredSocket};
pub use refresh_token_families::{Family, NewFamily, Rotation};

use query::{Connection, On, query_scalar};

/// Of MySQL's rows that stand for scopes of writes: see [`Store::write_in`].
const WRITE_SCOPES: u64 = 64;

/// The database. Cloned freely; all clones share the connections that write and those that read.
///
/// A request waits at most `store.wait_ms` for a connection, then is [`StoreError::Busy`]; while `store.queue` requests
/// that read wait or run, a further one is [`StoreError::Full`] at once, and likewise of those that write. Dropping a
/// method's future undoes its write, or leaves it whole.
#[derive(Clone)]
pub struct Store {
    database: Database,
    /// A permit for each reading request waiting or running.
    reads: Arc<Semaphore>,
    /// The same for those that write: they wait behind no read.
    writes: Arc<Semaphore>,
    audit_keep: Duration,
    audit_rows: u32,
    /// The lease that this handle writes under; see [`Store::under`].
    lease: Option<Arc<Lease>>,
    /// Whether the last write could not be kept.
    unwell: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Database {
    Sqlite {
        /// One connection: SQLite writes one at a time.
        writer: SqlitePool,
        readers: SqlitePool,
    },
    MySql(mysql::Pools),
}

/// A write under way: undone unless committed.
struct Write {
    transaction: WriteTransaction,
    unwell: Arc<AtomicBool>,
    _place: QueueSlot,
}

enum WriteTransaction {
    Sqlite(Transaction<'static, Sqlite>),
    MySql(mysql::Held),
}

impl Write {
    fn on(&mut self) -> On<'_> {
        let connection = match &mut self.transaction {
            WriteTransaction::Sqlite(transaction) => Connection::Sqlite(transaction),
            WriteTransaction::MySql(held) => Connection::MySql(held),
        };
        On { connection, unwell: Some(&self.unwell) }
    }

    async fn commit(self) -> Result<(), StoreError> {
        let outcome = match self.transaction {
            WriteTransaction::Sqlite(transaction) => transaction.commit().await.map_err(StoreError::from),
            WriteTransaction::MySql(mut held) => held.run("COMMIT").await,
        };
        self.unwell.store(outcome.is_err(), Ordering::Relaxed);
        outcome
    }
}

/// A read under way.
struct Read {
    connection: ReadConnection,
    _place: QueueSlot,
}

enum ReadConnection {
    Sqlite(PoolConnection<Sqlite>),
    MySql(mysql::Held),
}

impl Read {
    fn on(&mut self) -> On<'_> {
        let connection = match &mut self.connection {
            ReadConnection::Sqlite(connection) => Connection::Sqlite(connection),
            ReadConnection::MySql(held) => Connection::MySql(held),
        };
        On { connection, unwell: None }
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
    /// Tries the database for real: takes the write lock and reads, and writes where the last write could not be kept.
    ///
    /// # Errors
    /// Why the store cannot be used now.
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        query_scalar("SELECT COUNT(*) FROM settings").fetch_one::<i64>(write.on()).await?;
        if self.unwell.load(Ordering::Relaxed) {
            // Only what is written shows whether there is room again.
            let touch = query::query("REPLACE INTO settings (name, value) VALUES ('store.check', '')");
            touch.execute(write.on()).await?;
            write.commit().await?;
        }
        Ok(())
    }

    /// Waits for what is under way and closes; later calls fail.
    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Database::MySql(pools) => pools.close().await,
        }
    }

    /// Begins a write; refused where the handle's lease was taken over.
    async fn write(&self) -> Result<Write, StoreError> {
        self.begin(None).await
    }

    /// Begins a write that reads first what it decides by: no other write of that scope runs meanwhile.
    async fn write_in(&self, scope: &str) -> Result<Write, StoreError> {
        self.begin(Some(scope)).await
    }

    async fn begin(&self, scope: Option<&str>) -> Result<Write, StoreError> {
        let place = queue_slot(&self.writes)?;
        let begun = Instant::now();
        let transaction = match &self.database {
            // IMMEDIATE: a transaction that began by reading could fail when it comes to write, without waiting.
            Database::Sqlite { writer, .. } => WriteTransaction::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Database::MySql(pools) => WriteTransaction::MySql(pools.begin().await?),
        };
        let mut write = Write { transaction, unwell: self.unwell.clone(), _place: place };
        if let Some(scope) = scope
            && write.on().is_mysql()
        {
            // SQLite has one scope for all.
            let lock = query_scalar("SELECT slot FROM write_scopes WHERE slot = ? FOR UPDATE").bind(slot_of(scope));
            lock.fetch_one::<i64>(write.on()).await?;
        }
        metrics::histogram!("confgate_store_wait_seconds").record(begun.elapsed().as_secs_f64());
        if let Some(lease) = &self.lease {
            leases::demand(lease, write.on()).await?;
        }
        Ok(write)
    }

    async fn read(&self) -> Result<Read, StoreError> {
        let place = queue_slot(&self.reads)?;
        let connection = match &self.database {
            Database::Sqlite { readers, .. } => ReadConnection::Sqlite(readers.acquire().await?),
            Database::MySql(pools) => ReadConnection::MySql(pools.read().await?),
        };
        Ok(Read { connection, _place: place })
    }
}

fn queue_slot(queue: &Arc<Semaphore>) -> Result<QueueSlot, StoreError> {
    let Ok(permit) = Arc::clone(queue).try_acquire_owned() else {
        metrics::counter!("confgate_store_refused_total").increment(1);
        return Err(StoreError::Full);
    };
    metrics::gauge!("confgate_store_requests").increment(1);
    Ok(QueueSlot(permit))
}

/// The row that stands for a scope, in every process the same.
fn slot_of(scope: &str) -> i64 {
    let hash = digest(&SHA256, scope.as_bytes());
    (u64::from(hash.as_ref()[0]) % WRITE_SCOPES) as i64
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
