//! A query that either database runs: SQL that both understand, its values, and rows of numbers and texts.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{FromRow, MySql, Sqlite, SqliteConnection};
use tokio::time::timeout;

use super::StoreError;
use super::mysql::Held;

/// A value of a query.
#[derive(Debug)]
pub(super) enum Value {
    /// Or NULL.
    Number(Option<i64>),
    /// Or NULL.
    Text(Option<String>),
}

impl Value {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        match self {
            Self::Number(_) => 8,
            Self::Text(text) => text.as_ref().map_or(1, String::len),
        }
    }
}

/// A row as a tuple of numbers and texts.
pub(super) trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, MySqlRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, MySqlRow> + Send + Unpin> Row for T {}

/// The connection that a query runs on.
pub(super) struct On<'c> {
    pub connection: Connection<'c>,
    /// Where a write notes that the database could not keep it.
    pub unwell: Option<&'c AtomicBool>,
}

/// Of either database.
pub(super) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    MySql(&'c mut Held),
}

impl On<'_> {
    pub fn is_mysql(&self) -> bool {
        matches!(self.connection, Connection::MySql(_))
    }
}

/// SQL and its values, in order.
pub(super) struct Query {
    sql: &'static str,
    values: Vec<Value>,
}

pub(super) fn query(sql: &'static str) -> Query {
    Query { sql, values: Vec::new() }
}

impl Query {
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it; returns how many rows it has changed, or left as they had to be.
    pub async fn execute(self, on: On<'_>) -> Result<u64, StoreError> {
        let outcome = match on.connection {
            Connection::Sqlite(connection) => {
                let done =
                    self.values.into_iter().fold(sqlx::query::<Sqlite>(self.sql), bind_sqlite).execute(connection);
                done.await.map(|done| done.rows_affected()).map_err(StoreError::from)
            }
            Connection::MySql(held) => {
                let statement = self.values.into_iter().fold(sqlx::query::<MySql>(self.sql), bind_mysql);
                let done = timeout(held.wait, statement.execute(held.start())).await;
                held.finish(done).map(|done| done.rows_affected())
            }
        };
        outcome.map_err(|error| noted(error, on.unwell))
    }

    pub async fn fetch_all<R: Row>(self, on: On<'_>) -> Result<Vec<R>, StoreError> {
        let outcome = match on.connection {
            Connection::Sqlite(connection) => {
                let statement = self.values.into_iter().fold(sqlx::query::<Sqlite>(self.sql), bind_sqlite);
                let rows = statement.fetch_all(connection).await;
                rows.and_then(|rows| rows.iter().map(R::from_row).collect()).map_err(StoreError::from)
            }
            Connection::MySql(held) => {
                let statement = self.values.into_iter().fold(sqlx::query::<MySql>(self.sql), bind_mysql);
                let rows = timeout(held.wait, statement.fetch_all(held.start())).await;
                let rows = held.finish(rows)?;
                rows.iter().map(|row| R::from_row(row)).collect::<Result<_, _>>().map_err(StoreError::from)
            }
        };
        outcome.map_err(|error| noted(error, on.unwell))
    }

    /// The only row, or the first one.
    pub async fn fetch_optional<R: Row>(self, on: On<'_>) -> Result<Option<R>, StoreError> {
        Ok(self.fetch_all(on).await?.into_iter().next())
    }
}

/// A query for one column.
pub(super) struct ScalarQuery(Query);

pub(super) fn query_scalar(sql: &'static str) -> ScalarQuery {
    ScalarQuery(query(sql))
}

impl ScalarQuery {
    pub fn bind(self, value: impl Into<Value>) -> Self {
        Self(self.0.bind(value))
    }

    pub async fn fetch_all<T>(self, on: On<'_>) -> Result<Vec<T>, StoreError>
    where
        (T,): Row,
    {
        Ok(self.0.fetch_all::<(T,)>(on).await?.into_iter().map(|(value,)| value).collect())
    }

    pub async fn fetch_optional<T>(self, on: On<'_>) -> Result<Option<T>, StoreError>
    where
        (T,): Row,
    {
        Ok(self.0.fetch_optional::<(T,)>(on).await?.map(|(value,)| value))
    }

    /// The value of a query that has exactly one, as COUNT has.
    pub async fn fetch_one<T>(self, on: On<'_>) -> Result<T, StoreError>
    where
        (T,): Row,
    {
        self.fetch_optional(on).await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }
}

type SqliteQuery = sqlx::query::Query<'static, Sqlite, SqliteArguments>;
type MySqlQuery = sqlx::query::Query<'static, MySql, MySqlArguments>;

fn bind_sqlite(statement: SqliteQuery, value: Value) -> SqliteQuery {
    match value {
        Value::Number(number) => statement.bind(number),
        Value::Text(text) => statement.bind(text),
    }
}

fn bind_mysql(statement: MySqlQuery, value: Value) -> MySqlQuery {
    match value {
        Value::Number(number) => statement.bind(number),
        Value::Text(text) => statement.bind(text),
    }
}

/// Notes an error that means that nothing can be kept now.
fn noted(error: StoreError, unwell: Option<&AtomicBool>) -> StoreError {
    if let (Some(unwell), StoreError::Unavailable(_)) = (unwell, &error) {
        unwell.store(true, Ordering::Relaxed);
    }
    error
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Number(Some(is.into()))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<&Option<String>> for Value {
    fn from(text: &Option<String>) -> Self {
        Self::Text(text.clone())
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}
