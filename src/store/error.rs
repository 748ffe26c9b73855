//! The reason why the store could not do what it was asked.

use std::fmt::Display;

use sqlx::migrate::MigrateError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::sqlite::SqliteError;

use crate::refusal::{Reason, Refusal};

// https://www.sqlite.org/rescode.html
const BUSY: u32 = 5;
const NOMEM: u32 = 7;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const NOTADB: u32 = 26;

// https://mariadb.com/kb/en/mariadb-error-codes/, the same numbers as MySQL's.
const DISK_FULL: u16 = 1021;
const CONNECTIONS: u16 = 1040;
const DATABASE_DENIED: u16 = 1044;
const DENIED: u16 = 1045;
const UNKNOWN_DATABASE: u16 = 1049;
const TABLE_FULL: u16 = 1114;
const LOCK_WAIT_TIMEOUT: u16 = 1205;
const DEADLOCK: u16 = 1213;
const OPTION_PREVENTS: u16 = 1290;
const READ_ONLY: [u16; 3] = [1792, 1836, OPTION_PREVENTS];
/// A server that can't keep or answer anything now: the disk, connections, rights, a shutdown, a kill, read-only.
const UNAVAILABLE: [u16; 16] = [
    DISK_FULL,
    1030,
    CONNECTIONS,
    DATABASE_DENIED,
    DENIED,
    UNKNOWN_DATABASE,
    1053,
    TABLE_FULL,
    1142,
    1203,
    1226,
    OPTION_PREVENTS,
    1317,
    1792,
    1836,
    1927,
];

/// A fault of the store. None is the fault of a request, save [`StoreError::TooLong`].
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum StoreError {
    /// The database can't be opened.
    #[error("the store {path} cannot be opened: {reason}")]
    Open { path: String, reason: String },
    /// A living process is what this one would be.
    #[error("another confgate is running here: {by}; {what} can't be two processes: {advice}")]
    Claimed { what: String, by: String, advice: &'static str },
    /// Too many requests wait.
    #[error("too many requests wait for the store")]
    Full,
    /// The database was locked for too long.
    #[error("the store was busy, or did not answer, for too long")]
    Busy,
    /// Another process has taken this node's lease: this one must stop.
    #[error("another process runs under this node's id")]
    Fenced,
    /// A text is longer than its column.
    #[error("{what} is longer than {max} bytes")]
    TooLong { what: &'static str, max: usize },
    /// A row can't be read.
    #[error("the store holds an unreadable {0}")]
    Damaged(&'static str),
    /// The disk is full or fails, or the store is being closed: it may go well later.
    #[error("the store is unavailable: {}", open_reason(.0))]
    Unavailable(#[source] sqlx::Error),
    /// The database has failed.
    #[error("the store failed: {0}")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    pub(super) fn open(place: &dyn Display, reason: &str) -> Self {
        Self::Open { path: place.to_string(), reason: reason.to_owned() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match (&error, sqlite_code(&error), mysql_number(&error)) {
            (sqlx::Error::PoolTimedOut, ..) | (_, Some(BUSY), _) | (_, _, Some(LOCK_WAIT_TIMEOUT | DEADLOCK)) => {
                Self::Busy
            }
            (_, Some(CORRUPT | NOTADB), _) => Self::Damaged("page"),
            (sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Io(_), ..)
            | (sqlx::Error::Tls(_) | sqlx::Error::Protocol(_), ..)
            | (_, Some(NOMEM | READONLY | IOERR | FULL | CANTOPEN), _) => Self::Unavailable(error),
            (_, _, Some(number)) if UNAVAILABLE.contains(&number) => Self::Unavailable(error),
            _ => Self::Database(error),
        }
    }
}

/// How long a client is asked to wait, in milliseconds.
const RETRY_AFTER_MS: u64 = 1000;

impl From<StoreError> for Refusal {
    /// A passing error is reported as one, and logged once by the watch over the store; any other error is a fault.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full | StoreError::Busy | StoreError::Unavailable(_) => {
                metrics::counter!("confgate_store_unavailable_total").increment(1);
                Self::too_many(Reason::StoreUnavailable, RETRY_AFTER_MS)
            }
            error => Self::fault(error),
        }
    }
}

/// SQLite's primary result code.
fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// MySQL's error number.
fn mysql_number(error: &sqlx::Error) -> Option<u16> {
    Some(error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    sqlite_code(error) == Some(BUSY)
}

/// The reason why the database could not be opened, in words an operator can act on.
pub(super) fn open_reason(error: &sqlx::Error) -> String {
    match (error, sqlite_code(error), mysql_number(error)) {
        (sqlx::Error::PoolTimedOut, ..) => {
            "it did not answer, or another process holds it locked, for longer than store.wait_ms".to_owned()
        }
        (_, Some(BUSY), _) => "another process holds it locked".to_owned(),
        (_, Some(READONLY), _) => "the file or its folder may not be written".to_owned(),
        (_, Some(CORRUPT), _) => "the file is damaged".to_owned(),
        (_, Some(FULL), _) => "the disk is full".to_owned(),
        (_, Some(CANTOPEN), _) => "the file cannot be opened, or its folder may not be written".to_owned(),
        (_, Some(NOTADB), _) => "the file is not an SQLite database".to_owned(),
        (_, _, Some(number)) if READ_ONLY.contains(&number) => "the server is read-only".to_owned(),
        (_, _, Some(DENIED)) => "the server refuses the user or the password of store.url".to_owned(),
        (_, _, Some(DATABASE_DENIED)) => "the user of store.url has no right to the database".to_owned(),
        (_, _, Some(UNKNOWN_DATABASE)) => "the server has no such database: create it".to_owned(),
        (_, _, Some(CONNECTIONS)) => "the server has as many connections as it may".to_owned(),
        // What sqlx is built without: its `rsa` crate leaks the key by timing (RUSTSEC-2023-0071).
        (sqlx::Error::Configuration(why), ..) if why.to_string().contains("RSA") => {
            "the user's caching_sha2_password is sent over TLS or a socket only: set store.tls = \"verify\", or ?socket= in \
             store.url"
                .to_owned()
        }
        (sqlx::Error::Tls(why), ..) => format!("no TLS: {why} (store.tls, store.ca)"),
        (sqlx::Error::Configuration(why), ..) => why.to_string(),
        // Of rustls, which answers in the middle of the handshake.
        (sqlx::Error::Io(why), ..) if why.to_string().contains("certificate") => {
            format!("no TLS: {why} (store.tls, store.ca)")
        }
        (sqlx::Error::Io(why), ..) => why.to_string(),
        _ => error.to_string(),
    }
}

pub(super) fn migrate_reason(error: &MigrateError) -> String {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => open_reason(error),
        MigrateError::VersionMissing(version) => {
            format!("it was made by a newer confgate (migration {version} is unknown here)")
        }
        MigrateError::VersionMismatch(version) => {
            format!("its migration {version} is not this confgate's")
        }
        other => other.to_string(),
    }
}
