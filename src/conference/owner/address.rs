//! Where the other nodes reach this one: an address and fingerprints of its certificate, in the store.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::store::{NodeLink, Store};
use crate::tls_client::Fingerprint;

/// How often it is looked whether the certificate is another one, or the row was lost.
const LOOK: Duration = Duration::from_secs(5);
/// The certificate that is shown, and the one before, since the listener may not have read the file yet.
const PINS_MAX: usize = 2;

/// Keeps the address in the store. A task that `app::serve` starts. `certificate`: the file (PEM) of the one that this
/// process shows.
pub async fn keep_address(store: Store, url: String, certificate: PathBuf) {
    let mut pins: Vec<Fingerprint> = Vec::new();
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let path = certificate.clone();
        // The file may be just being replaced: then the next look finds it.
        if let Ok(Ok(pin)) = tokio::task::spawn_blocking(move || Fingerprint::of_file(&path)).await
            && pins.first() != Some(&pin)
        {
            pins.retain(|known| *known != pin);
            pins.insert(0, pin);
            pins.truncate(PINS_MAX);
        }
        let shown = pins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        if let Err(error) = store.keep_node_link(&NodeLink { url: url.clone(), pins: shown }).await {
            tracing::debug!(%error, "the other nodes can't be told yet where this one is");
        }
    }
}
