//! MySQL and MariaDB: connections and their sessions, the schema.
//!
//! A node that is stopped or cut off in a transaction must not stop the others for long: the server ends a session that
//! sends nothing for [`SESSION_IDLE`], and with it the transaction and its locks. A connection whose answer didn't come in
//! time, or was not waited for, is closed, so that nothing meets a late answer.

use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, MySql, MySqlConnection, MySqlPool, raw_sql};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::StoreError;
use super::error::{migrate_reason, open_reason};
use super::migrations::{self, Trace};
use super::server::{lock_name, options};
use crate::config::{self, MySqlUrl};

/// How long the server lets a session live that sends nothing.
const SESSION_IDLE: Duration = Duration::from_secs(15);
/// How long a connection stays in the pool unused: less than the server lets it.
const POOL_IDLE: Duration = Duration::from_secs(10);
/// How long a start waits for another node that changes the schema.
const MIGRATION_WAIT_S: i64 = 60;
/// How many times as long as a request waits a connection may take to be made.
const CONNECT_WAITS: u32 = 3;

/// The connections, all to one database.
#[derive(Clone)]
pub(super) struct Pools {
    readers: Pool,
    writers: Pool,
    /// The database's name.
    database: String,
    /// How long a statement may take.
    wait: Duration,
}

/// Connections, and a permit for each that may be: who waits for one waits here and not in the pool.
#[derive(Clone)]
struct Pool {
    connections: MySqlPool,
    permits: Arc<Semaphore>,
}

/// A connection in use.
pub(super) struct Held {
    connection: PoolConnection<MySql>,
    /// How long a statement may take.
    pub wait: Duration,
    is_waiting: bool,
    _permit: OwnedSemaphorePermit,
}

impl Held {
    /// The connection, for one statement.
    pub fn start(&mut self) -> &mut MySqlConnection {
        self.is_waiting = true;
        &mut self.connection
    }

    /// To be called with the statement's outcome. Without it the connection is closed when it is dropped.
    pub fn finish<T>(&mut self, outcome: Result<Result<T, sqlx::Error>, Elapsed>) -> Result<T, StoreError> {
        let Ok(outcome) = outcome else { return Err(StoreError::Busy) };
        self.is_waiting = false;
        Ok(outcome?)
    }

    /// Runs a statement that has no values and no rows.
    pub async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let done = timeout(self.wait, raw_sql(sql).execute(self.start())).await;
        self.finish(done).map(drop)
    }
}

impl Pool {
    fn new(connections: MySqlPool, most: u32) -> Self {
        Self { connections, permits: Arc::new(Semaphore::new(most as usize)) }
    }

    /// Waits no longer than a request may. A connection that is being made for it is finished all the same and serves the
    /// next one: else a server to which it takes longer than that would never be reached, and it takes longer just when
    /// there is much to do.
    async fn acquire(&self, wait: Duration) -> Result<Held, StoreError> {
        let waits = async {
            let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
            let connections = self.connections.clone();
            let made = tokio::spawn(async move { Ok((connections.acquire().await?, permit)) });
            // It ends early where the process does.
            made.await.unwrap_or(Err(sqlx::Error::PoolClosed))
        };
        let (connection, permit) = timeout(wait, waits).await.map_err(|_| StoreError::Busy)??;
        Ok(Held { connection, wait, is_waiting: false, _permit: permit })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_waiting {
            self.connection.close_on_drop();
        }
    }
}

impl Pools {
    /// Connects, and so tries address, TLS, user and database.
    pub async fn open(url: &MySqlUrl, config: &config::Store) -> Result<Self, StoreError> {
        let options = options(url, config);
        let writers = pool(config.writers, config).after_release(move |connection, _| {
            // Ends what was begun and not committed. The server may be gone meanwhile.
            Box::pin(async move {
                let ended = timeout(POOL_IDLE, raw_sql("ROLLBACK").execute(connection)).await;
                Ok(ended.is_ok_and(|ended| ended.is_ok()))
            })
        });
        let pools = Self {
            writers: Pool::new(writers.connect_lazy_with(options.clone()), config.writers),
            readers: Pool::new(pool(config.readers, config).connect_lazy_with(options.clone()), config.readers),
            database: url.database.clone(),
            wait: config.wait,
        };
        // Not by the pool, which tries until its time is over, whatever the server answers.
        let tried = timeout(config.wait, options.connect()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        tried.map_err(|error| StoreError::open(&url.shown(), &open_reason(&error)))?;
        Ok(pools)
    }

    pub async fn read(&self) -> Result<Held, StoreError> {
        self.readers.acquire(self.wait).await
    }

    /// A connection in a new transaction.
    pub async fn begin(&self) -> Result<Held, StoreError> {
        let mut held = self.writers.acquire(self.wait).await?;
        held.run("START TRANSACTION").await?;
        Ok(held)
    }

    pub async fn close(&self) {
        self.readers.connections.close().await;
        self.writers.connections.close().await;
    }

    /// Brings the schema up to date; one node at a time.
    pub async fn migrate(&self) -> Result<(), String> {
        let mut connection = self.writers.connections.acquire().await.map_err(|error| open_reason(&error))?;
        // The lock ends with the connection at the latest.
        connection.close_on_drop();
        let lock = lock_name(&self.database, "migration");
        let granted: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(?, ?)")
            .bind(&lock)
            .bind(MIGRATION_WAIT_S)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| open_reason(&error))?;
        if granted != Some(1) {
            return Err("another node changes its schema for longer than a minute".to_owned());
        }
        let mut migrator = migrations::of_mysql();
        migrator.set_locking(false);
        let outcome = run(&mut connection, &migrator).await.map_err(|error| migrate_reason(&error));
        // Closed, not returned: its session is the lock's.
        if let Err(error) = sqlx::query("SELECT RELEASE_LOCK(?)").bind(&lock).execute(&mut *connection).await {
            tracing::debug!(%error, "the lock of the migration ends with its connection");
        }
        outcome
    }
}

/// Runs the steps that are missing. A statement that changes a table can't be undone by MySQL, so a process that was
/// killed may have left one done and not noted, or noted and not done.
async fn run(connection: &mut MySqlConnection, migrator: &Migrator) -> Result<(), MigrateError> {
    let is_ours = exists(connection, &Trace::Table("_sqlx_migrations")).await?;
    if !is_ours && table_count(connection).await? > 0 {
        let foreign = "it has tables that are not confgate's: give confgate a database of its own";
        return Err(MigrateError::Execute(sqlx::Error::Configuration(foreign.into())));
    }
    connection.ensure_migrations_table(&migrator.table_name).await?;
    if let Some(version) = connection.dirty_version(&migrator.table_name).await?
        && let Some(step) = migrator.iter().find(|step| step.version == version)
    {
        let is_done = match Trace::of(step.sql.as_str()) {
            Some(trace) => exists(connection, &trace).await?,
            None => false,
        };
        tracing::info!(version, is_done, "a step of the schema was interrupted");
        let noted = match is_done {
            true => "UPDATE _sqlx_migrations SET success = TRUE WHERE version = ?",
            false => "DELETE FROM _sqlx_migrations WHERE version = ?",
        };
        sqlx::query(noted).bind(version).execute(&mut *connection).await?;
    }
    migrator.run_direct(None, connection, false).await
}

async fn table_count(connection: &mut MySqlConnection) -> Result<i64, sqlx::Error> {
    let count = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";
    sqlx::query_scalar(count).fetch_one(connection).await
}

async fn exists(connection: &mut MySqlConnection, trace: &Trace<'_>) -> Result<bool, sqlx::Error> {
    let (place, table, name) = match trace {
        Trace::Table(table) => ("tables WHERE table_name = ? AND table_name", *table, *table),
        Trace::Index { table, index } => ("statistics WHERE table_name = ? AND index_name", *table, *index),
        Trace::Column { table, column } => ("columns WHERE table_name = ? AND column_name", *table, *column),
    };
    let sql = format!("SELECT COUNT(*) FROM information_schema.{place} = ? AND table_schema = DATABASE()");
    let found: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).bind(table).bind(name).fetch_one(connection).await?;
    Ok(found > 0)
}

fn pool(connections: u32, config: &config::Store) -> MySqlPoolOptions {
    let lock_wait = config.wait.as_secs().max(1);
    let idle = SESSION_IDLE.as_secs();
    // A text that is too long is an error, and each statement sees what the others have committed.
    let session = format!(
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout = {lock_wait}, \
         wait_timeout = {idle}; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
    );
    MySqlPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(config.wait * CONNECT_WAITS)
        .idle_timeout(POOL_IDLE)
        .max_lifetime(None)
        .test_before_acquire(true)
        .after_connect(move |connection, _| {
            let session = session.clone();
            Box::pin(async move { raw_sql(AssertSqlSafe(session)).execute(connection).await.map(drop) })
        })
}
