//! Documents of the built-in EIM, which holds them in memory and writes each change through.

use std::collections::VecDeque;
use std::sync::LazyLock;

use super::query::{Query, query};
use super::{Store, StoreError, check_len};

/// `(kind, key, body)`: kind up to 32 bytes, key up to 191.
pub type Document = (String, String, String);
/// `(kind, key, body)`; a `None` body deletes.
pub type DocumentChange = (String, String, Option<String>);

impl Store {
    /// All documents, by kind and key.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn documents(&self) -> Result<Vec<Document>, StoreError> {
        let mut read = self.read().await?;
        let all = query("SELECT kind, doc_key, body FROM documents ORDER BY kind, doc_key");
        all.fetch_all(read.on()).await
    }

    /// Writes all changes, or none. They are for distinct documents.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] for a kind or key; a fault of the store.
    pub async fn write_documents(&self, changes: Vec<DocumentChange>) -> Result<(), StoreError> {
        for (kind, key, _) in &changes {
            check_len("a document's kind", kind, 32)?;
            check_len("a document's key", key, 191)?;
        }
        let (puts, deletes): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(.., body)| body.is_some());
        let mut write = self.write().await?;
        for (statement, changes) in [(&PUT, puts), (&DELETE, deletes)] {
            for part in parts(changes) {
                statement.of(part).execute(write.on()).await?;
            }
        }
        write.commit().await
    }
}

/// Most documents in one statement. A server answers one statement after the other, each after a way there and back.
const AT_ONCE: usize = 32;
/// Most bytes of their bodies: far below what a server takes in one statement.
const BYTES_AT_ONCE: usize = 1 << 20;

/// A statement for one document and for [`AT_ONCE`]: two texts, which the database keeps prepared.
struct Statement {
    one: LazyLock<String>,
    many: LazyLock<String>,
}

static PUT: Statement = Statement { one: LazyLock::new(|| put(1)), many: LazyLock::new(|| put(AT_ONCE)) };
static DELETE: Statement = Statement { one: LazyLock::new(|| delete(1)), many: LazyLock::new(|| delete(AT_ONCE)) };

fn put(rows: usize) -> String {
    format!("REPLACE INTO documents (kind, doc_key, body) VALUES {}", vec!["(?, ?, ?)"; rows].join(", "))
}

fn delete(rows: usize) -> String {
    format!("DELETE FROM documents WHERE {}", vec!["kind = ? AND doc_key = ?"; rows].join(" OR "))
}

impl Statement {
    fn of(&'static self, changes: Vec<DocumentChange>) -> Query {
        let sql: &'static str = if changes.len() == 1 { &self.one } else { &self.many };
        changes.into_iter().fold(query(sql), |query, (kind, key, body)| {
            let query = query.bind(kind).bind(key);
            match body {
                Some(body) => query.bind(body),
                None => query,
            }
        })
    }
}

/// As many at once as there are statements for, within the bytes; the rest one by one.
fn parts(changes: Vec<DocumentChange>) -> Vec<Vec<DocumentChange>> {
    let (mut changes, mut parts) = (VecDeque::from(changes), Vec::new());
    while !changes.is_empty() {
        let bytes: usize = changes.iter().take(AT_ONCE).filter_map(|(.., body)| body.as_ref()).map(String::len).sum();
        let is_full = changes.len() >= AT_ONCE && bytes <= BYTES_AT_ONCE;
        parts.push(changes.drain(..if is_full { AT_ONCE } else { 1 }).collect());
    }
    parts
}
