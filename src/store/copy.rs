//! Moves what a file holds to a server: one way, all or nothing.

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column, Row, Sqlite, SqliteConnection, Transaction, TypeInfo, ValueRef};
use tokio::time::timeout;

use super::mysql::Held;
use super::query::Value;
use super::{Database, Store, StoreError};

/// What is copied. Leases are, so that a node's fencing number goes on.
const TABLES: &[&str] = &[
    "documents",
    "links",
    "families",
    "accounts",
    "bars",
    "allocations",
    "drains",
    "audit",
    "nodes",
    "settings",
    "numberings",
    "numbered_events",
];
/// Rows of one statement, and about how many bytes of text: a server takes 16 MB at once by default.
const ROWS_AT_ONCE: usize = 200;
const BYTES_AT_ONCE: usize = 1024 * 1024;

/// How far the copy of a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// The table's name.
    pub table: &'static str,
    /// Rows copied.
    pub done: u64,
    /// Rows to copy.
    pub of: u64,
}

/// The reason why nothing was copied.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum CopyError {
    /// Only this way is offered.
    #[error("copied is from SQLite to MySQL only")]
    Direction,
    /// The target is not empty.
    #[error("the target holds data already (table {table}): give it an empty database")]
    NotEmpty { table: &'static str },
    /// The target has another number of rows at the end.
    #[error("the target has {has} rows of {table}, and not {of}: nothing was kept")]
    Differs { table: &'static str, has: i64, of: i64 },
    /// One of both databases fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Copies all rows to an empty database of a server, in one transaction there; nobody else writes here meanwhile.
    /// Tells how far it is after each statement. Returns how many rows were copied.
    ///
    /// # Errors
    /// Why nothing was copied.
    pub async fn copy_to(&self, to: &Self, mut report: impl FnMut(CopyProgress)) -> Result<u64, CopyError> {
        let (Database::Sqlite { writer, .. }, Database::MySql(pools)) = (&self.database, &to.database) else {
            return Err(CopyError::Direction);
        };
        let mut from = writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
        let mut to = pools.begin().await?;
        for table in TABLES {
            if count(&mut to, table).await? > 0 {
                return Err(CopyError::NotEmpty { table });
            }
        }
        let mut total = 0;
        for table in TABLES {
            let of = rows_of(&mut from, table).await?;
            copy_table(&mut from, &mut to, table, |done| report(CopyProgress { table, done, of: of as u64 })).await?;
            let has = count(&mut to, table).await?;
            if has != of {
                return Err(CopyError::Differs { table, has, of });
            }
            total += of as u64;
        }
        to.run("COMMIT").await?;
        Ok(total)
    }
}

async fn rows_of(from: &mut SqliteConnection, table: &str) -> Result<i64, StoreError> {
    let count = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    Ok(sqlx::query_scalar(count).fetch_one(from).await?)
}

async fn count(to: &mut Held, table: &str) -> Result<i64, StoreError> {
    let count = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    let counted = timeout(to.wait, sqlx::query_scalar(count).fetch_one(to.start())).await;
    to.finish(counted)
}

async fn copy_table(
    from: &mut Transaction<'static, Sqlite>,
    to: &mut Held,
    table: &'static str,
    mut report: impl FnMut(u64),
) -> Result<(), StoreError> {
    let (mut last, mut done) = (i64::MIN, 0);
    loop {
        let page = AssertSqlSafe(format!("SELECT rowid, * FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?"));
        let page = sqlx::query(page).bind(last).bind(ROWS_AT_ONCE as i64).fetch_all(&mut **from).await?;
        let Some(newest) = page.last() else {
            report(done);
            return Ok(());
        };
        last = newest.try_get(0)?;
        for batch in batches(&page)? {
            let columns: Vec<&str> = page[0].columns().iter().skip(1).map(Column::name).collect();
            done += batch.len() as u64;
            insert(to, table, &columns, batch).await?;
            report(done);
        }
    }
}

/// The rows' values, in parts that a statement can take.
fn batches(page: &[SqliteRow]) -> Result<Vec<Vec<Vec<Value>>>, StoreError> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for row in page {
        let values = (1..row.len()).map(|at| value(row, at)).collect::<Result<Vec<_>, _>>()?;
        let size: usize = values.iter().map(Value::size).sum();
        if bytes + size > BYTES_AT_ONCE && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += size;
        part.push(values);
    }
    parts.push(part);
    Ok(parts)
}

fn value(row: &SqliteRow, at: usize) -> Result<Value, sqlx::Error> {
    let is_number = row.try_get_raw(at).map(|raw| !raw.is_null() && raw.type_info().name() == "INTEGER")?;
    Ok(if is_number { Value::Number(row.try_get(at)?) } else { Value::Text(row.try_get(at)?) })
}

async fn insert(to: &mut Held, table: &str, columns: &[&str], rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
    let places = format!("({})", vec!["?"; columns.len()].join(", "));
    let all = vec![places; rows.len()].join(", ");
    let sql = AssertSqlSafe(format!("INSERT INTO {table} ({}) VALUES {all}", columns.join(", ")));
    // Not kept prepared: no two tables' are alike.
    let statement =
        rows.into_iter().flatten().fold(sqlx::query(sql).persistent(false), |statement, value| match value {
            Value::Number(number) => statement.bind(number),
            Value::Text(text) => statement.bind(text),
        });
    let inserted = timeout(to.wait, statement.execute(to.start())).await;
    to.finish(inserted).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::fresh;

    /// What the server has of its own, or what is true only while the nodes run.
    const NOT_COPIED: &[&str] = &["_sqlx_migrations", "write_scopes", "open_sockets", "counters", "call_gateways"];

    #[tokio::test]
    async fn every_table_is_copied_or_left_for_a_reason() {
        let (store, _place) = fresh().await;
        let Database::Sqlite { writer, .. } = &store.database else { return };
        let tables: Vec<String> =
            sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'").fetch_all(writer).await.unwrap();
        for table in &tables {
            let (is_copied, is_left) = (TABLES.contains(&table.as_str()), NOT_COPIED.contains(&table.as_str()));
            assert!(is_copied != is_left, "{table}");
        }
        assert_eq!(tables.len(), TABLES.len() + NOT_COPIED.len());
    }
}
