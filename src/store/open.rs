//! Opening the database: SQLite's file made private, WAL, the schema brought up to date.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};
use tokio::sync::Semaphore;

use super::error::{is_busy, migrate_reason, open_reason};
use super::mysql::Pools;
use super::node_lock::{database, own_path};
use super::{Database, Store, StoreError, migrations};
use crate::config::{self, Durability};

impl Store {
    /// Opens the database and brings its schema up to date. SQLite's file is made (mode 0600) and its folder (0700)
    /// where they are not there; a server's database must exist. Two processes may do so at once.
    ///
    /// # Errors
    /// [`StoreError::Open`] with the path or the server, and what is wrong with it.
    pub async fn open(config: &config::Store) -> Result<Self, StoreError> {
        let store = Self::open_as_it_is(config).await?;
        let migrated = match &store.database {
            Database::Sqlite { writer, .. } => migrate(writer).await.map_err(|error| migrate_reason(&error)),
            Database::MySql(pools) => pools.migrate().await,
        };
        if let Err(why) = migrated {
            store.close().await;
            return Err(StoreError::open(&shown(config), &why));
        }
        Ok(store)
    }

    /// As [`Store::open`], with whatever schema the database has.
    ///
    /// # Errors
    /// As for [`Store::open`].
    pub async fn open_as_it_is(config: &config::Store) -> Result<Self, StoreError> {
        let database = match database(config)? {
            config::Database::Sqlite(path) => open_file(&own_path(&path)?, config).await?,
            config::Database::MySql(url) => Database::MySql(Pools::open(&url, config).await?),
        };
        Ok(Self {
            database,
            reads: Arc::new(Semaphore::new(config.queue as usize)),
            writes: Arc::new(Semaphore::new(config.queue as usize)),
            audit_keep: config.audit_keep,
            audit_rows: config.audit_rows,
            lease: None,
            unwell: Arc::default(),
        })
    }
}

/// The database without its password.
fn shown(config: &config::Store) -> String {
    match config.database() {
        Some(config::Database::Sqlite(path)) => path.display().to_string(),
        Some(config::Database::MySql(url)) => url.shown(),
        None => "store.url".to_owned(),
    }
}

async fn open_file(path: &Path, config: &config::Store) -> Result<Database, StoreError> {
    let refused = |reason: &str| StoreError::open(&path.display(), reason);
    make_private(path).map_err(|error| refused(&error.to_string()))?;
    let writer = open_writer(path, config).await.map_err(|error| refused(&open_reason(&error)))?;
    Ok(Database::Sqlite { writer, readers: readers(path, config) })
}

/// SQLite would make the file readable by all; the files of its log take their mode from this one.
fn make_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map(drop)
}

fn options(path: &Path, config: &config::Store) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(config.wait)
        .foreign_keys(true)
        .synchronous(match config.durability {
            Durability::Process => SqliteSynchronous::Normal,
            Durability::Power => SqliteSynchronous::Full,
        })
        .disable_statement_logging()
}

fn pool(connections: u32, config: &config::Store) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(config.wait)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// One connection, since SQLite writes one at a time: waiting here is fair, waiting for the file's lock is not.
async fn open_writer(path: &Path, config: &config::Store) -> Result<SqlitePool, sqlx::Error> {
    let options = options(path, config).journal_mode(SqliteJournalMode::Wal);
    let deadline = Instant::now() + config.wait;
    // Turning a new file to WAL needs it alone, and SQLite does not wait for that: another process may be doing the same.
    loop {
        match pool(1, config)
            .after_release(|connection, _| Box::pin(is_clean(connection)))
            .connect_with(options.clone())
            .await
        {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                let pause = rand::rng().random_range(5..50);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            other => return other,
        }
    }
}

/// Whether the connection may serve again. One whose transaction can't be ended, as SQLite ended it already when the disk
/// was full, is closed: nothing could begin on it any more.
async fn is_clean(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A write that was dropped is being undone; then this is answered.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

fn readers(path: &Path, config: &config::Store) -> SqlitePool {
    let options = options(path, config).pragma("query_only", "ON");
    pool(config.readers, config).connect_lazy_with(options)
}

/// All steps in one transaction that holds the write lock, so that a second process waits and then finds them done.
async fn migrate(writer: &SqlitePool) -> Result<(), MigrateError> {
    let mut whole = writer.begin_with("BEGIN IMMEDIATE").await?;
    // Not `run`: its future isn't Send (`Acquire` is not general enough), so nothing that opens a store could be spawned.
    migrations::of_sqlite().run_direct(None, &mut *whole, false).await?;
    whole.commit().await?;
    Ok(())
}
