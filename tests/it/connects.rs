//! How fast one address block opens connections: what is beyond its rate is refused before TLS, and nobody else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::cpu;
use crate::support::livez::Livez;
use crate::support::steal;
use crate::support::wait::until_true;

/// Another address block than the guest's.
const ELSEWHERE: &str = "127.1.0.1";
/// Connections that one block may open in a minute here: few, so that the flood is soon beyond it, and more than the
/// guest's visits.
const ALLOWED: u32 = 300;
/// Hostile clients, each of which opens one connection after the other.
const CLIENTS: usize = 4;
/// How long the flood is looked at.
const MEASURED: Duration = Duration::from_secs(3);
/// The time that this machine, which tests share, may add.
const NOISE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Counts {
    handshakes: AtomicUsize,
    refused: AtomicUsize,
    over: AtomicBool,
}

/// Opens and closes TLS connections as fast as it can, on a thread of its own.
fn flood(client: Client, counts: Arc<Counts>) -> thread::JoinHandle<()> {
    let one = |client: Arc<Client>, counts: Arc<Counts>| async move {
        while !counts.over.load(Relaxed) {
            let opened = client.connect("http/1.1").await.is_ok();
            let counter = if opened { &counts.handshakes } else { &counts.refused };
            counter.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
        }
    };
    thread::spawn(move || {
        let (runtime, client) =
            (Builder::new_current_thread().enable_all().build().expect("a runtime"), Arc::new(client));
        runtime.block_on(async {
            let all: JoinSet<()> = (0..CLIENTS).map(|_| one(client.clone(), counts.clone())).collect();
            all.join_all().await;
        });
    })
}

/// How long nine of ten new connections with a request each take, one after the other.
async fn typical_visit(fixture: &Fixture) -> Duration {
    let mut waits = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < MEASURED {
        let visit = Instant::now();
        let reply = fixture.gateway.client().rpc("config.getProperties", json!({ "keys": ["serverName"] })).await;
        reply.result();
        waits.push(visit.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    waits.sort_unstable();
    waits[waits.len() * 9 / 10]
}

#[tokio::test]
async fn a_flood_of_connections_of_one_block_is_refused_before_tls_and_a_guest_of_another_notices_nothing() {
    let limits = format!("[limits]\nconnects_per_minute = {ALLOWED}");
    let fixture = Fixture::quiet(&limits).await;
    let quiet = typical_visit(&fixture).await;
    let (counts, hostile) = (Arc::<Counts>::default(), fixture.gateway.client().from(ELSEWHERE));
    let begun = Instant::now();
    let attack = flood(hostile, counts.clone());
    until_true("the flood is beyond the rate", async || counts.refused.load(Relaxed) > 100).await;
    let (since, used) = (steal::Since::now(), cpu::used(fixture.gateway.pid()));
    let mut attacked = Duration::ZERO;
    let measuring = async { attacked = typical_visit(&fixture).await };
    let livez = Livez::watch(fixture.gateway.admin(), measuring).await;
    let used = cpu::used(fixture.gateway.pid()) - used;
    counts.over.store(true, Relaxed);
    attack.join().expect("the attack ends");
    let [handshakes, refused] = [&counts.handshakes, &counts.refused].map(|counter| counter.load(Relaxed));
    println!(
        "{handshakes} handshakes, {refused} refused; a visit {attacked:?} (quiet {quiet:?}), livez {:?}, the gateway's CPU \
         {used:?} of {MEASURED:?}, stolen {:.1} %",
        livez.typical(),
        since.stolen()
    );
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let most = (f64::from(ALLOWED) * (1.0 + minutes)).ceil() as usize + CLIENTS;
    assert!(handshakes <= most, "{handshakes}, at most {most}");
    assert!(attacked <= quiet * 3 + NOISE, "{attacked:?}, quiet {quiet:?}");
    assert!(livez.typical() <= Duration::from_millis(100), "{livez:?}");
    let counted = fixture.gateway.metric("confgate_http_connections_refused_total").await;
    assert!(counted.is_some_and(|n| n >= 100.0), "{counted:?}");
}

#[tokio::test]
async fn a_block_that_opened_connections_too_fast_is_let_in_again_as_time_goes_by() {
    let fixture = Fixture::with("[limits]\nconnects_per_minute = 60").await;
    let client = fixture.gateway.client().from(ELSEWHERE);
    let mut open = Vec::new();
    while let Ok(stream) = client.connect("http/1.1").await {
        open.push(stream);
        assert!(open.len() < 120, "the rate is bounded");
    }
    assert!(open.len() >= 60, "{}", open.len());
    until_true("one a second", async || client.connect("http/1.1").await.is_ok()).await;
    // Open connections stay open.
    let still = tokio::time::timeout(Duration::from_millis(1), open[0].read_u8()).await;
    assert!(still.is_err(), "{still:?}");
}
