//! Documents of the built-in EIM, which holds them in memory and writes each change through.

use super::query::query;
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

    /// Writes all changes, or none.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] for a kind or key; a fault of the store.
    pub async fn write_documents(&self, changes: Vec<DocumentChange>) -> Result<(), StoreError> {
        for (kind, key, _) in &changes {
            check_len("a document's kind", kind, 32)?;
            check_len("a document's key", key, 191)?;
        }
        let mut write = self.write().await?;
        for (kind, key, body) in changes {
            let change = match body {
                Some(body) => query("REPLACE INTO documents (kind, doc_key, body) VALUES (?, ?, ?)")
                    .bind(kind)
                    .bind(key)
                    .bind(body),
                None => query("DELETE FROM documents WHERE kind = ? AND doc_key = ?").bind(kind).bind(key),
            };
            change.execute(write.on()).await?;
        }
        write.commit().await
    }
}
