//! Where gateway nodes reach each other: each node's row has its address, written by the process that holds the lease.

use super::query::query;
use super::{Store, StoreError, check_len};

/// Longest texts, in bytes.
const URL_MAX: usize = 512;
const PINS_MAX: usize = 160;

/// A node's address for the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLink {
    /// A wss address.
    pub url: String,
    /// Fingerprints of the certificates that the node shows, with blanks between.
    pub pins: String,
}

impl NodeLink {
    fn text(&self) -> String {
        format!("{} {}", self.url, self.pins)
    }
}

impl Store {
    /// This process's node is reached there. Writes nothing where the row says so already.
    ///
    /// # Errors
    /// A text that is too long, or a fault of the store.
    pub async fn keep_node_link(&self, link: &NodeLink) -> Result<(), StoreError> {
        let Some(own) = self.lease.clone() else { return Ok(()) };
        check_len("a node's address", &link.url, URL_MAX)?;
        check_len("a node's certificates", &link.pins, PINS_MAX)?;
        if self.node_link(&own.node_id).await?.as_ref() == Some(link) {
            return Ok(());
        }
        let mut write = self.write().await?;
        query("UPDATE nodes SET link = ? WHERE node_id = ?")
            .bind(link.text())
            .bind(&own.node_id)
            .execute(write.on())
            .await?;
        write.commit().await
    }

    /// Where that node is reached; `None` where it has not said.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn node_link(&self, node: &str) -> Result<Option<NodeLink>, StoreError> {
        let mut read = self.read().await?;
        let row: Option<(Option<String>,)> =
            query("SELECT link FROM nodes WHERE node_id = ?").bind(node).fetch_optional(read.on()).await?;
        let text = row.and_then(|(text,)| text).unwrap_or_default();
        let parts = text.split_once(' ').map(|(url, pins)| (url.to_owned(), pins.to_owned()));
        Ok(parts.map(|(url, pins)| NodeLink { url, pins }))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Moment;
    use crate::store::tests::{Promises, fresh, promises};

    #[tokio::test]
    async fn a_nodes_address_is_that_of_its_newest_process() {
        let (store, _place) = fresh().await;
        let lease = store.acquire_lease("a", Moment::at(1), Duration::from_secs(1)).await.unwrap();
        let (first, link) = (store.under(&lease), NodeLink { url: "wss://a/node".into(), pins: "0a 0b".into() });
        assert_eq!(store.node_link("a").await.unwrap(), None);
        first.keep_node_link(&link).await.unwrap();
        first.renew_lease(&lease, Moment::at(2), Duration::from_secs(1)).await.unwrap();
        assert_eq!(store.node_link("a").await.unwrap(), Some(link.clone()));
        let again = store.acquire_lease("a", Moment::at(3), Duration::from_secs(1)).await.unwrap();
        assert_eq!(store.node_link("a").await.unwrap(), None, "it may be on another port");
        let moved = NodeLink { url: "wss://a:444/node".into(), ..link.clone() };
        store.under(&again).keep_node_link(&moved).await.unwrap();
        assert!(first.keep_node_link(&link).await.is_err());
        assert_eq!(store.node_link("a").await.unwrap(), Some(moved));
    }

    pub const ON_BOTH: Promises = promises![a_nodes_address_is_that_of_its_newest_process,];
}
