//! The reason why the store could not do what it was asked.

use std::path::Path;

use sqlx::migrate::MigrateError;

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
    #[error("the store was busy for too long")]
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
    pub(super) fn open(path: &Path, reason: &str) -> Self {
        Self::Open { path: path.display().to_string(), reason: reason.to_owned() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match (&error, sqlite_code(&error)) {
            (sqlx::Error::PoolTimedOut, _) | (_, Some(BUSY)) => Self::Busy,
            (_, Some(CORRUPT | NOTADB)) => Self::Damaged("page"),
            (sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Io(_), _)
            | (_, Some(NOMEM | READONLY | IOERR | FULL | CANTOPEN)) => Self::Unavailable(error),
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
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    sqlite_code(error) == Some(BUSY)
}

/// The reason why the file could not be opened, in words an operator can act on.
pub(super) fn open_reason(error: &sqlx::Error) -> String {
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return "another process holds it locked, or its disk is too slow, for longer than store.wait_ms".to_owned();
    }
    match sqlite_code(error) {
        Some(BUSY) => "another process holds it locked".to_owned(),
        Some(READONLY) => "the file or its folder may not be written".to_owned(),
        Some(CORRUPT) => "the file is damaged".to_owned(),
        Some(FULL) => "the disk is full".to_owned(),
        Some(CANTOPEN) => "the file cannot be opened, or its folder may not be written".to_owned(),
        Some(NOTADB) => "the file is not an SQLite database".to_owned(),
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
