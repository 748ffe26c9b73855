//! The cost of a forwarded packet: one publisher of 1.5 Mbit/s and sound, many viewers, over loopback, with all that a
//! browser negotiates. The CPU time is the media thread's alone, as Linux counts it; the clients' isn't in it.
//!
//! `cargo bench -p confgate-sfu --bench forward -- [viewers] [seconds]`

#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this bench needs a part of it")]
mod support;

use std::time::{Duration, Instant};

use support::wire::{Peer, Site, loopback};
use support::{Media, camera};

/// Packets of 1 100 bytes in a second: 1.5 Mbit/s.
const VIDEO_PER_S: u64 = 170;
const AUDIO_PER_S: u64 = 50;

/// User and system time of the node's first media thread.
fn media_thread_time() -> Duration {
    /// Linux counts in hundredths of a second on all platforms that matter.
    const TICK: Duration = Duration::from_millis(10);
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    for task in tasks.flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        if let Some((_, rest)) = stat.split_once("(media-0) ") {
            let fields: Vec<&str> = rest.split(' ').collect();
            let ticks: u32 = fields[11].parse::<u32>().unwrap_or(0) + fields[12].parse::<u32>().unwrap_or(0);
            return TICK * ticks;
        }
    }
    Duration::ZERO
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let viewers = numbers.first().copied().unwrap_or(60);
    let seconds = numbers.get(1).copied().unwrap_or(10);
    let simulcast = std::env::args().any(|argument| argument == "simulcast");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(viewers, Duration::from_secs(seconds), simulcast));
}

async fn measure(viewers: u64, time: Duration, simulcast: bool) {
    let mut site = Site::start(confgate_sfu::Config { threads: 1, ..loopback() });
    let mut anna = site.publish_media(camera("anna"), if simulcast { Media::SIMULCASTS } else { Media::SENDS }).await;
    anna.until(|client| client.connected).await;
    let mut peers = Vec::new();
    let begun = media_thread_time();
    for viewer in 0..viewers {
        let mut peer = site.watch(&format!("viewer{viewer}"), camera("anna"), false).await;
        peer.until(|client| client.connected).await;
        peers.push(peer);
    }
    let connecting = (media_thread_time() - begun) / viewers.max(1) as u32;
    run(&mut anna, &mut peers, Duration::from_secs(3)).await;
    let (cpu, forwarded, received) = (media_thread_time(), site.node.forwarded(), total(&peers));
    run(&mut anna, &mut peers, time).await;
    let (cpu, forwarded) = (media_thread_time() - cpu, site.node.forwarded() - forwarded);
    let received = total(&peers) - received;
    println!(
        "{viewers} viewers: {forwarded} packets forwarded in {time:?} ({received} seen by the clients), {:.2} us CPU \
         for each, {:.1} ms CPU to connect one",
        cpu.as_secs_f64() * 1e6 / forwarded.max(1) as f64,
        connecting.as_secs_f64() * 1e3,
    );
    site.node.stop().await;
}

fn total(peers: &[Peer]) -> usize {
    peers.iter().map(|peer| peer.client.received.len()).sum()
}

async fn run(anna: &mut Peer, peers: &mut [Peer], time: Duration) {
    let start = Instant::now();
    let (mut video, mut audio) = (0, 0);
    while start.elapsed() < time {
        let passed = start.elapsed().as_micros() as u64;
        let now = Instant::now();
        while video * 1_000_000 < passed * VIDEO_PER_S {
            video += 1;
            anna.client.send_frames(now);
        }
        while audio * 1_000_000 < passed * AUDIO_PER_S {
            audio += 1;
            anna.client.send_audio(-30, now);
        }
        anna.poll();
        for peer in peers.iter_mut() {
            peer.poll();
        }
        tokio::task::yield_now().await;
    }
}
