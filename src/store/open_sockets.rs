//! At which node each user opened their newest event socket, in the order of the transactions: the nodes read on from
//! the newest number that they know, and close what was taken over elsewhere.

use super::query::{query, query_scalar};
use super::{Store, StoreError, Write, check_len, to_i64, to_ms, to_u64};
use crate::clock::Moment;
use crate::ids::{ID_MAX, UserId};

/// The counter's name.
const COUNTER: &str = "open_sockets";

/// A socket that this node has opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedSocket {
    /// The user.
    pub user_id: UserId,
    /// When it was opened.
    pub opened: Moment,
    /// Whether the store was away since: another node may have registered a later socket.
    pub is_delayed: bool,
}

/// A user's newest socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredSocket {
    /// The user.
    pub user_id: String,
    /// The node that holds it.
    pub node_id: String,
    /// Grows by one with each socket of all nodes.
    pub seq: u64,
}

impl Store {
    /// Registers sockets of the node as their users' newest, in one transaction, and answers the number of each. A
    /// delayed one has none where another node's socket was opened later.
    ///
    /// # Errors
    /// A fault of the store; nothing was registered then.
    pub async fn register_sockets(
        &self,
        node_id: &str,
        opened: &[OpenedSocket],
    ) -> Result<Vec<Option<u64>>, StoreError> {
        check_len("a node's id", node_id, ID_MAX)?;
        // Alone until the end, so that numbers become visible in their order.
        let mut write = self.write_in(COUNTER).await?;
        let first = count(&mut write, opened.len()).await?;
        let mut numbers = Vec::with_capacity(opened.len());
        for (seq, socket) in (first..).zip(opened) {
            if socket.is_delayed && is_superseded(&mut write, node_id, socket).await? {
                numbers.push(None);
                continue;
            }
            query("REPLACE INTO open_sockets (user_id, node_id, seq, opened_at) VALUES (?, ?, ?, ?)")
                .bind(socket.user_id.as_str())
                .bind(node_id)
                .bind(to_i64(seq))
                .bind(to_ms(socket.opened))
                .execute(write.on())
                .await?;
            numbers.push(Some(seq));
        }
        write.commit().await?;
        Ok(numbers)
    }

    /// The number of the socket that was registered last; 0 where none was.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn last_socket(&self) -> Result<u64, StoreError> {
        let mut read = self.read().await?;
        let last: Option<i64> =
            query_scalar("SELECT value FROM counters WHERE name = ?").bind(COUNTER).fetch_optional(read.on()).await?;
        Ok(last.map_or(0, to_u64))
    }

    /// Sockets registered after that number, in their order, at most `most`.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn sockets_since(&self, seq: u64, most: u32) -> Result<Vec<RegisteredSocket>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<(String, String, i64)> =
            query("SELECT user_id, node_id, seq FROM open_sockets WHERE seq > ? ORDER BY seq LIMIT ?")
                .bind(to_i64(seq))
                .bind(i64::from(most))
                .fetch_all(read.on())
                .await?;
        let socket = |(user_id, node_id, seq)| RegisteredSocket { user_id, node_id, seq: to_u64(seq) };
        Ok(rows.into_iter().map(socket).collect())
    }

    /// Forgets sockets that were opened before that moment: every node has read of them.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn collect_sockets(&self, before: Moment) -> Result<u64, StoreError> {
        let mut write = self.write().await?;
        let deleted =
            query("DELETE FROM open_sockets WHERE opened_at < ?").bind(to_ms(before)).execute(write.on()).await?;
        write.commit().await?;
        Ok(deleted)
    }
}

/// Takes so many numbers; the first of them.
async fn count(write: &mut Write, more: usize) -> Result<u64, StoreError> {
    let more = i64::try_from(more).unwrap_or(i64::MAX);
    let counted = query("UPDATE counters SET value = value + ? WHERE name = ?")
        .bind(more)
        .bind(COUNTER)
        .execute(write.on())
        .await?;
    if counted == 0 {
        query("INSERT INTO counters (name, value) VALUES (?, ?)").bind(COUNTER).bind(more).execute(write.on()).await?;
    }
    let last: i64 =
        query_scalar("SELECT value FROM counters WHERE name = ?").bind(COUNTER).fetch_one(write.on()).await?;
    Ok(to_u64(last - more) + 1)
}

/// Whether another node has registered a socket of the user that was opened later.
async fn is_superseded(write: &mut Write, node_id: &str, socket: &OpenedSocket) -> Result<bool, StoreError> {
    let newest: Option<(String, i64)> = query("SELECT node_id, opened_at FROM open_sockets WHERE user_id = ?")
        .bind(socket.user_id.as_str())
        .fetch_optional(write.on())
        .await?;
    Ok(newest.is_some_and(|(other, opened_at)| other != node_id && opened_at > to_ms(socket.opened)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::tests::{Promises, fresh, promises, user};

    fn opened(id: &str, at: u64) -> OpenedSocket {
        OpenedSocket { user_id: user(id), opened: Moment::at(at), is_delayed: false }
    }

    #[tokio::test]
    async fn every_node_reads_the_newest_socket_of_each_user_in_one_order() {
        let (store, _folder) = fresh().await;
        assert_eq!(store.last_socket().await.unwrap(), 0);
        let numbers = store.register_sockets("a", &[opened("u1", 5), opened("u2", 6)]).await.unwrap();
        assert_eq!(numbers, [Some(1), Some(2)]);
        // The later transaction wins, whatever its node's clock says.
        assert_eq!(store.register_sockets("b", &[opened("u1", 3)]).await.unwrap(), [Some(3)]);
        let all = store.sockets_since(0, 10).await.unwrap();
        let read = |row: &RegisteredSocket| (row.user_id.clone(), row.node_id.clone(), row.seq);
        assert_eq!(
            all.iter().map(read).collect::<Vec<_>>(),
            [("u2".into(), "a".into(), 2), ("u1".into(), "b".into(), 3)]
        );
        assert_eq!(store.sockets_since(2, 10).await.unwrap(), all[1..]);
        assert_eq!(store.last_socket().await.unwrap(), 3);
        assert_eq!(store.collect_sockets(Moment::at(6)).await.unwrap(), 1);
        assert_eq!(
            store.register_sockets("a", &[opened("u3", 9)]).await.unwrap(),
            [Some(4)],
            "no number is used twice"
        );
    }

    #[tokio::test]
    async fn socket_registered_late_takes_over_only_those_opened_before_it() {
        let (store, _folder) = fresh().await;
        store.register_sockets("b", &[opened("u1", 50), opened("u2", 10)]).await.unwrap();
        let late = |id, at| OpenedSocket { is_delayed: true, ..opened(id, at) };
        let numbers = store.register_sockets("a", &[late("u1", 20), late("u2", 20), late("u3", 20)]).await.unwrap();
        assert_eq!(numbers, [None, Some(4), Some(5)]);
        assert_eq!(store.register_sockets("b", &[late("u1", 40)]).await.unwrap(), [Some(6)], "its own is no other's");
    }

    pub const ON_BOTH: Promises = promises![
        every_node_reads_the_newest_socket_of_each_user_in_one_order,
        socket_registered_late_takes_over_only_those_opened_before_it,
    ];
}
