//! The register of call gateways: each gateway node enters those whose signalling is its own, so that the other nodes on
//! the store use them too. An entry counts while its node's lease runs.

use super::query::{On, query};
use super::{Store, StoreError, check_len, to_ms};
use crate::clock::Moment;
use crate::ids::ID_MAX;

/// Most entries of all nodes: each gateway node keeps a control link to each.
pub const REGISTERED_MAX: usize = 256;

/// Longest texts of an entry, in bytes.
const URL_MAX: usize = 512;
const PINS_MAX: usize = 160;
const SEALED_MAX: usize = 1024;

/// One call gateway, as its node has entered it. What it holds is checked by who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredGateway {
    /// The call gateway's id.
    pub gateway_id: String,
    /// The gateway node whose lease keeps it.
    pub node_id: String,
    /// The wss address that browsers and other nodes are given.
    pub url: String,
    /// The web origin of that node's pages.
    pub origin: String,
    /// Empty: none.
    pub region: String,
    /// Fingerprints of the certificates that it shows, with blanks between.
    pub pins: String,
    /// The id of the signing key that its secret is; empty where it has one of its own.
    pub key_id: String,
    /// Its own secret, sealed; empty where it has none.
    pub sealed_secret: String,
}

/// The outcome of entering a node's call gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum Registration {
    /// They are in the register.
    Done,
    /// None is: the id is that of another live node's call gateway.
    IdTaken { gateway_id: String, node_id: String },
    /// None is: another live node's call gateway has the address.
    AddressTaken { url: String, node_id: String },
    /// None is: there are [`REGISTERED_MAX`] of other nodes.
    Full,
}

/// One scope of writes for all nodes: ids and addresses are compared with those of all others.
const SCOPE: &str = "call gateways";

impl Store {
    /// Enters these call gateways of the node in place of those that it had entered before, or none of them. Entries of
    /// nodes whose lease has run out are deleted.
    ///
    /// # Errors
    /// A text that is too long, or a fault of the store.
    pub async fn register_call_gateways(
        &self,
        node_id: &str,
        own: &[RegisteredGateway],
        now: Moment,
    ) -> Result<Registration, StoreError> {
        own.iter().try_for_each(check)?;
        let mut write = self.write_in(SCOPE).await?;
        let others: Vec<RegisteredGateway> =
            live(now, write.on()).await?.into_iter().filter(|other| other.node_id != node_id).collect();
        if let Some(refused) = own.iter().find_map(|entry| conflict(entry, &others)) {
            return Ok(refused);
        }
        if others.len() + own.len() > REGISTERED_MAX {
            return Ok(Registration::Full);
        }
        query(
            "DELETE FROM call_gateways WHERE node_id = ? \
             OR node_id NOT IN (SELECT node_id FROM nodes WHERE expires_at > ?)",
        )
        .bind(node_id)
        .bind(to_ms(now))
        .execute(write.on())
        .await?;
        for entry in own {
            put(entry, write.on()).await?;
        }
        write.commit().await?;
        Ok(Registration::Done)
    }

    /// The entries of all nodes whose lease has not run out.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn call_gateways(&self, now: Moment) -> Result<Vec<RegisteredGateway>, StoreError> {
        let mut read = self.read().await?;
        live(now, read.on()).await
    }
}

fn check(entry: &RegisteredGateway) -> Result<(), StoreError> {
    check_len("a call gateway's id", &entry.gateway_id, ID_MAX)?;
    check_len("a call gateway's address", &entry.url, URL_MAX)?;
    check_len("a page's origin", &entry.origin, URL_MAX)?;
    check_len("a call gateway's region", &entry.region, ID_MAX)?;
    check_len("a call gateway's certificates", &entry.pins, PINS_MAX)?;
    check_len("a key's id", &entry.key_id, ID_MAX)?;
    check_len("a call gateway's sealed secret", &entry.sealed_secret, SEALED_MAX)
}

fn conflict(entry: &RegisteredGateway, others: &[RegisteredGateway]) -> Option<Registration> {
    let same_id = others.iter().find(|other| other.gateway_id == entry.gateway_id);
    let same_address = others.iter().find(|other| other.url == entry.url);
    let id_taken = |other: &RegisteredGateway| Registration::IdTaken {
        gateway_id: entry.gateway_id.clone(),
        node_id: other.node_id.clone(),
    };
    let address_taken = |other: &RegisteredGateway| Registration::AddressTaken {
        url: entry.url.clone(),
        node_id: other.node_id.clone(),
    };
    same_id.map(id_taken).or_else(|| same_address.map(address_taken))
}

type Row = (String, String, String, String, String, String, String, String);

async fn live(now: Moment, on: On<'_>) -> Result<Vec<RegisteredGateway>, StoreError> {
    let rows: Vec<Row> = query(
        "SELECT g.gateway_id, g.node_id, g.url, g.origin, g.region, g.pins, g.key_id, g.sealed_secret \
         FROM call_gateways g JOIN nodes n ON n.node_id = g.node_id WHERE n.expires_at > ? \
         ORDER BY g.gateway_id LIMIT ?",
    )
    .bind(to_ms(now))
    .bind(REGISTERED_MAX as i64)
    .fetch_all(on)
    .await?;
    let entry = |(gateway_id, node_id, url, origin, region, pins, key_id, sealed_secret): Row| RegisteredGateway {
        gateway_id,
        node_id,
        url,
        origin,
        region,
        pins,
        key_id,
        sealed_secret,
    };
    Ok(rows.into_iter().map(entry).collect())
}

async fn put(entry: &RegisteredGateway, on: On<'_>) -> Result<(), StoreError> {
    query(
        "INSERT INTO call_gateways (gateway_id, node_id, url, origin, region, pins, key_id, sealed_secret) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&entry.gateway_id)
    .bind(&entry.node_id)
    .bind(&entry.url)
    .bind(&entry.origin)
    .bind(&entry.region)
    .bind(&entry.pins)
    .bind(&entry.key_id)
    .bind(&entry.sealed_secret)
    .execute(on)
    .await?;
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::tests::{Promises, fresh, promises};

    const TTL: Duration = Duration::from_millis(100);

    fn entry(node: &str, gateway: &str) -> RegisteredGateway {
        RegisteredGateway {
            gateway_id: gateway.into(),
            node_id: node.into(),
            url: format!("wss://{gateway}.example.org/callgw"),
            origin: "https://meet.example.org".into(),
            region: String::new(),
            pins: "0a".repeat(32),
            key_id: "made".into(),
            sealed_secret: String::new(),
        }
    }

    async fn ids(store: &Store, now: u64) -> Vec<String> {
        let entries = store.call_gateways(Moment::at(now)).await.unwrap();
        entries.into_iter().map(|entry| entry.gateway_id).collect()
    }

    #[tokio::test]
    async fn an_entry_counts_while_its_nodes_lease_runs_and_is_deleted_after() {
        let (store, _folder) = fresh().await;
        let register = async |node: &str, own: &[RegisteredGateway], now| {
            store.register_call_gateways(node, own, Moment::at(now)).await.unwrap()
        };
        store.acquire_lease("a", Moment::at(0), TTL).await.unwrap();
        let b = store.acquire_lease("b", Moment::at(0), TTL).await.unwrap();
        assert_eq!(register("a", &[entry("a", "a"), entry("a", "j1")], 1).await, Registration::Done);
        assert_eq!(register("b", &[entry("b", "b")], 1).await, Registration::Done);
        assert_eq!(store.call_gateways(Moment::at(2)).await.unwrap()[0], entry("a", "a"));
        assert_eq!(ids(&store, 2).await, ["a", "b", "j1"]);
        assert_eq!(register("a", &[entry("a", "a")], 3).await, Registration::Done);
        assert_eq!(ids(&store, 3).await, ["a", "b"], "what it no longer has is gone");
        store.renew_lease(&b, Moment::at(99), TTL).await.unwrap();
        assert_eq!(ids(&store, 100).await, ["b"]);
        assert_eq!(register("b", &[], 101).await, Registration::Done);
        store.acquire_lease("a", Moment::at(102), TTL).await.unwrap();
        assert_eq!(ids(&store, 102).await, Vec::<String>::new(), "a's was deleted meanwhile");
    }

    #[tokio::test]
    async fn an_id_or_address_of_another_live_node_is_refused_and_changes_nothing() {
        let (store, _folder) = fresh().await;
        for node in ["a", "b"] {
            store.acquire_lease(node, Moment::at(0), TTL).await.unwrap();
        }
        let register = async |node: &str, own: &[RegisteredGateway], now| {
            store.register_call_gateways(node, own, Moment::at(now)).await.unwrap()
        };
        register("a", &[entry("a", "builtin")], 1).await;
        let taken = Registration::IdTaken { gateway_id: "builtin".into(), node_id: "a".into() };
        assert_eq!(register("b", &[entry("b", "free"), entry("b", "builtin")], 1).await, taken);
        let same = RegisteredGateway { url: entry("a", "builtin").url, ..entry("b", "b") };
        let taken = Registration::AddressTaken { url: same.url.clone(), node_id: "a".into() };
        assert_eq!(register("b", std::slice::from_ref(&same), 1).await, taken);
        assert_eq!(ids(&store, 1).await, ["builtin"]);
        store.acquire_lease("b", Moment::at(200), TTL).await.unwrap();
        assert_eq!(register("b", &[same], 200).await, Registration::Done, "the other's lease has run out");
    }

    #[tokio::test]
    async fn the_register_is_bounded_in_its_rows_and_in_each() {
        let (store, _folder) = fresh().await;
        for node in ["a", "b"] {
            store.acquire_lease(node, Moment::at(0), TTL).await.unwrap();
        }
        let many: Vec<RegisteredGateway> = (0..REGISTERED_MAX).map(|n| entry("a", &format!("g{n}"))).collect();
        assert_eq!(store.register_call_gateways("a", &many, Moment::at(1)).await.unwrap(), Registration::Done);
        let one_more = store.register_call_gateways("b", &[entry("b", "b")], Moment::at(1)).await.unwrap();
        assert_eq!(one_more, Registration::Full);
        let long = RegisteredGateway { url: format!("wss://{}", "a".repeat(URL_MAX)), ..entry("b", "b") };
        let refused = store.register_call_gateways("b", &[long], Moment::at(1)).await;
        assert!(matches!(refused, Err(StoreError::TooLong { .. })), "{refused:?}");
    }

    pub const ON_BOTH: Promises = promises![
        an_entry_counts_while_its_nodes_lease_runs_and_is_deleted_after,
        an_id_or_address_of_another_live_node_is_refused_and_changes_nothing,
        the_register_is_bounded_in_its_rows_and_in_each,
    ];
}
