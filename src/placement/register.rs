//! The register of call gateways in the store: this gateway node enters those whose signalling is its own, and its pool
//! gets those of the other gateway nodes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio::sync::Mutex;

use crate::callgw::{Pool, RegisteredNode};
use crate::clock::Moment;
use crate::config::{CallNode, Origin, Url};
use crate::ids::{ConfId, ID_MAX, Secret};
use crate::store::encryption_at_rest::Sealer;
use crate::store::{REGISTERED_MAX, RegisteredGateway, Registration, Store, StoreError};
use crate::tls_client::Fingerprint;

/// Certificates of one node: the one that it shows, and the one before, since its files may have changed before its
/// listener has read them.
const PINS_MAX: usize = 2;

/// What this gateway node enters.
pub struct OwnGateways {
    /// Our own `node.id`.
    pub node: String,
    /// The call gateways whose signalling is ours, each with its wss address.
    pub gateways: Vec<(CallNode, String)>,
    /// The web origin of our pages.
    pub origin: String,
    /// The file (PEM) of the certificate that we show.
    pub certificate: PathBuf,
}

/// The signing keys by their ids, the one that signs first: the secret of a call gateway that has none of its own.
pub struct SigningKeys {
    keys: Vec<(String, Secret)>,
    sealer: Sealer,
}

impl SigningKeys {
    /// `None` without any key.
    pub fn new(keys: Vec<(String, Secret)>) -> Option<Self> {
        let secrets: Vec<Secret> = keys.iter().map(|(_, secret)| secret.clone()).collect();
        Some(Self { sealer: Sealer::new(&secrets)?, keys })
    }
}

/// Receives the registered nodes whenever they change.
pub type Observer = Box<dyn Fn(&[RegisteredNode]) + Send + Sync>;

/// The reason why this node's call gateways are not in the register.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// They can't be, as they are configured.
    #[error("{0}")]
    Refused(String),
    /// The store has failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Owns what this gateway node has in the register, and what the pool has of it.
pub struct Register {
    own: OwnGateways,
    keys: SigningKeys,
    pool: Pool,
    store: Store,
    observer: Observer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Our entries without certificates; empty until the first refresh.
    entries: Vec<RegisteredGateway>,
    /// The newest certificate first.
    pins: Vec<Fingerprint>,
    /// The reason why ours are not in the register.
    refused: Option<String>,
    /// As of when the pool knows the register.
    read_at: Option<Moment>,
    /// What was last given to the observer.
    observed: Vec<RegisteredNode>,
    /// Entries that can't be read, to be logged once.
    unreadable: BTreeSet<String>,
    is_over: bool,
}

impl Register {
    /// Nothing is entered before [`Register::refresh`].
    pub fn new(own: OwnGateways, keys: SigningKeys, pool: Pool, store: Store, observer: Observer) -> Self {
        let entries = own.gateways.iter().map(|(node, url)| keys.entry(&own, node, url)).collect();
        let state = Mutex::new(State { entries, ..State::default() });
        Self { own, keys, pool, store, observer, state }
    }

    /// Enters our call gateways for the first time, before any conference is placed at one.
    ///
    /// # Errors
    /// Other gateway nodes could not use them, or a fault of the store.
    pub async fn enter(&self) -> Result<(), RegisterError> {
        self.refresh().await?;
        let refused = self.state.lock().await.refused.clone();
        refused.map_or(Ok(()), |why| Err(RegisterError::Refused(why)))
    }

    /// Reads the register for the pool, and enters our call gateways anew where it lacks them. Returns the moment as of
    /// which the pool knows the register: after this call.
    ///
    /// # Errors
    /// The register can't be read.
    pub async fn refresh(&self) -> Result<Moment, StoreError> {
        let called = Moment::now();
        let mut state = self.state.lock().await;
        // Several that wait share one reading.
        if let Some(at) = state.read_at.filter(|at| *at > called || state.is_over) {
            return Ok(at);
        }
        let now = Moment::now();
        let entries = self.store.call_gateways(now).await?;
        let (ours, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.node_id == self.own.node);
        self.note_certificate(&mut state).await;
        if let Err(error) = self.keep_entered(&mut state, &ours, &others).await {
            tracing::warn!(%error, "this node's call gateways could not be entered in the register yet");
        }
        let nodes = others.iter().filter_map(|entry| self.read(&mut state, entry)).collect();
        self.pool.set_registered(nodes, now);
        let registered = self.pool.registered();
        if state.observed != registered {
            (self.observer)(&registered);
            state.observed = registered;
        }
        state.read_at = Some(now);
        Ok(now)
    }

    /// Takes our call gateways out of the register: this process ends.
    pub async fn leave(&self) {
        let mut state = self.state.lock().await;
        state.is_over = true;
        if let Err(error) = self.store.register_call_gateways(&self.own.node, &[], Moment::now()).await {
            tracing::info!(%error, "this node's call gateways stay in the register until its lease has run out");
        }
    }

    /// The file may be just being replaced: then the next look finds it.
    async fn note_certificate(&self, state: &mut State) {
        let path = self.own.certificate.clone();
        let read = tokio::task::spawn_blocking(move || Fingerprint::of_file(&path)).await;
        let Ok(Ok(pin)) = read else { return };
        if state.pins.first() != Some(&pin) {
            state.pins.retain(|known| *known != pin);
            state.pins.insert(0, pin);
            state.pins.truncate(PINS_MAX);
            self.pool.set_own_pins(&state.pins);
        }
    }

    async fn keep_entered(
        &self,
        state: &mut State,
        ours: &[RegisteredGateway],
        others: &[RegisteredGateway],
    ) -> Result<(), StoreError> {
        let pins = state.pins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let is_reachable = |entry: &&RegisteredGateway| !is_unspecified(&entry.url);
        let mut wanted: Vec<RegisteredGateway> = (state.entries.iter().filter(is_reachable).cloned())
            .map(|entry| RegisteredGateway { pins: pins.clone(), ..entry })
            .collect();
        wanted.sort_by(|a, b| a.gateway_id.cmp(&b.gateway_id));
        let mut refused = None;
        if wanted != ours {
            refused = refusal(self.store.register_call_gateways(&self.own.node, &wanted, Moment::now()).await?);
        }
        if let (Some(entry), Some(other)) = (state.entries.iter().find(|entry| !is_reachable(entry)), others.first()) {
            refused = Some(format!(
                "callgw.own_url: to be set, since node {} is on the same store and can't reach {}",
                other.node_id, entry.url
            ));
        }
        self.note_refused(state, refused);
        Ok(())
    }

    fn note_refused(&self, state: &mut State, refused: Option<String>) {
        metrics::gauge!("confgate_call_gateways_withheld").set(f64::from(u8::from(refused.is_some())));
        self.pool.withhold_own(refused.as_deref());
        if state.refused != refused {
            match &refused {
                Some(why) => tracing::error!(why, "no conference may be at this node's call gateways"),
                None => tracing::info!("this node's call gateways are in the register"),
            }
            state.refused = refused;
        }
    }

    /// The entry as a node. `None` where it can't be one: logged once.
    fn read(&self, state: &mut State, entry: &RegisteredGateway) -> Option<RegisteredNode> {
        let read = self.keys.read(entry);
        match &read {
            Ok(_) => _ = state.unreadable.remove(&entry.gateway_id),
            Err(why) if state.unreadable.len() < REGISTERED_MAX => {
                if state.unreadable.insert(entry.gateway_id.clone()) {
                    tracing::warn!(gateway = entry.gateway_id, node = entry.node_id, why, "an entry can't be used");
                }
            }
            Err(_) => {}
        }
        read.ok()
    }
}

impl SigningKeys {
    fn entry(&self, own: &OwnGateways, node: &CallNode, url: &str) -> RegisteredGateway {
        let (signer, _) = &self.keys[0];
        let seal = |secret: &Secret| self.sealer.seal(&owner(&node.id), secret);
        RegisteredGateway {
            gateway_id: node.id.clone(),
            node_id: own.node.clone(),
            url: url.to_owned(),
            origin: own.origin.clone(),
            region: node.region.clone().unwrap_or_default(),
            pins: String::new(),
            key_id: if node.secret.is_none() { signer.clone() } else { String::new() },
            sealed_secret: node.secret.as_ref().map(seal).unwrap_or_default(),
        }
    }

    /// The entry as a node, checked as the configuration of one is.
    fn read(&self, entry: &RegisteredGateway) -> Result<RegisteredNode, &'static str> {
        ConfId::parse(&entry.gateway_id).ok_or("its id is none")?;
        let url = Url::parse(&entry.url).filter(|url| matches!(url.scheme(), "ws" | "wss"));
        let url = url.filter(|url| !is_unspecified(url.as_str())).ok_or("its address is none")?;
        let origin = Origin::parse(&entry.origin).ok_or("its pages' origin is none")?;
        let pins: Option<Vec<Fingerprint>> = entry.pins.split_whitespace().map(Fingerprint::parse).collect();
        let pins = pins.filter(|pins| pins.len() <= PINS_MAX).ok_or("its certificates are none")?;
        if entry.region.len() > ID_MAX {
            return Err("its region is too long");
        }
        let own_secret = || self.sealer.open(&owner(&entry.gateway_id), &entry.sealed_secret);
        let key = || self.keys.iter().find(|(id, _)| *id == entry.key_id).map(|(_, secret)| secret.clone());
        let secret = if entry.sealed_secret.is_empty() { key() } else { own_secret() };
        Ok(RegisteredNode {
            id: entry.gateway_id.clone(),
            url: url.to_string(),
            region: Some(entry.region.clone()).filter(|region| !region.is_empty()),
            secret: secret.ok_or("its secret is under none of our auth.keys")?,
            pins,
            origin: origin.as_str().to_owned(),
        })
    }
}

/// To whom a call gateway's secret is sealed.
fn owner(gateway_id: &str) -> String {
    format!("call gateway {gateway_id}")
}

/// Whether the address's host is the unspecified one, which nobody can reach.
fn is_unspecified(url: &str) -> bool {
    let ip = Url::parse(url).and_then(|url| url.host().parse::<std::net::IpAddr>().ok());
    ip.is_some_and(|ip| ip.is_unspecified())
}

fn refusal(outcome: Registration) -> Option<String> {
    match outcome {
        Registration::Done => None,
        Registration::IdTaken { gateway_id, node_id } => Some(format!(
            "callgw.nodes: node {node_id}, on the same store, has a call gateway of the id {gateway_id}: give each its \
             own, or leave the built-in one's out"
        )),
        Registration::AddressTaken { url, node_id } => Some(format!(
            "callgw.own_url: to be set at each node, since {url} is the address of node {node_id}'s call gateway, on the \
             same store, too: where browsers and the other nodes reach this node, and no other"
        )),
        Registration::Full => Some(format!("the store has {REGISTERED_MAX} call gateways of other nodes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NodeKind;

    fn keys(ids: &[&str]) -> SigningKeys {
        let key = |id: &&str| ((*id).to_owned(), Secret::new(format!("the secret of {id}")));
        SigningKeys::new(ids.iter().map(key).collect()).unwrap()
    }

    fn own() -> OwnGateways {
        let origin = "https://meet.example.org".to_owned();
        OwnGateways { node: "a".into(), gateways: Vec::new(), origin, certificate: PathBuf::new() }
    }

    fn entry(keys: &SigningKeys, secret: Option<&str>) -> RegisteredGateway {
        let region = Some("eu".to_owned());
        let node = CallNode { secret: secret.map(Secret::new), region, ..CallNode::new("a".into(), NodeKind::Builtin) };
        let entry = keys.entry(&own(), &node, "wss://a.example.org/base/callgw");
        RegisteredGateway { pins: "0a".repeat(32), ..entry }
    }

    #[test]
    fn the_key_that_signs_at_a_node_is_found_by_its_id_while_keys_are_rotated() {
        let read = keys(&["new", "old"]).read(&entry(&keys(&["old", "new"]), None)).unwrap();
        assert_eq!((read.id.as_str(), read.secret.expose()), ("a", "the secret of old"));
        assert_eq!((read.region.as_deref(), read.pins.len()), (Some("eu"), 1));
        let unknown = keys(&["new"]).read(&entry(&keys(&["old"]), None)).unwrap_err();
        assert!(unknown.contains("auth.keys"), "{unknown}");
    }

    #[test]
    fn a_configured_secret_is_in_the_register_sealed_only() {
        let entry = entry(&keys(&["k"]), Some("the node's own secret"));
        assert!(!format!("{entry:?}").contains("secret of") && !entry.sealed_secret.contains("own"));
        assert_eq!(keys(&["new", "k"]).read(&entry).unwrap().secret.expose(), "the node's own secret");
        assert!(keys(&["new"]).read(&entry).is_err());
        let moved = RegisteredGateway { gateway_id: "b".into(), ..entry };
        assert!(keys(&["k"]).read(&moved).is_err(), "it opens for that gateway only");
    }

    #[test]
    fn an_entry_that_could_not_be_configured_is_not_used() {
        let keys = keys(&["k"]);
        let good = entry(&keys, None);
        assert!(keys.read(&good).is_ok());
        let with = |change: &dyn Fn(&mut RegisteredGateway)| {
            let mut entry = good.clone();
            change(&mut entry);
            keys.read(&entry)
        };
        let wrong: [&dyn Fn(&mut RegisteredGateway); 9] = [
            &|entry| entry.gateway_id = "a b".into(),
            &|entry| entry.url = "https://a.example.org".into(),
            &|entry| entry.url = "wss://user@a.example.org".into(),
            &|entry| entry.url = "wss://0.0.0.0:9092/x".into(),
            &|entry| entry.url = "wss://[::]:9092/x".into(),
            &|entry| entry.origin = "nowhere".into(),
            &|entry| entry.pins = "0A".repeat(32),
            &|entry| entry.pins = vec!["0a".repeat(32); 3].join(" "),
            &|entry| entry.region = "e".repeat(65),
        ];
        for (i, change) in wrong.into_iter().enumerate() {
            assert!(with(change).is_err(), "{i}");
        }
    }
}
