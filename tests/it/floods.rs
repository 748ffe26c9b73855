//! Endless input that is valid by the letter of HTTP/2, HTTP/1.1 or WebSocket, and that no client needs: its connection
//! is cut in bounded time, memory stays bounded, and nobody else notices.

mod frames;
mod http1;
mod http2;
mod sockets;

use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout};

use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::cpu;
use crate::support::livez::Livez;
use crate::support::memory::resident;
use crate::support::steal;

/// Another address block than the well-behaved ones'.
const ELSEWHERE: &str = "127.1.0.1";
/// In which each flood must be over. On a quiet machine the slowest takes a fifth of it.
const OVER: Duration = Duration::from_secs(30);
/// Memory that one connection may take while it floods: the connection, its buffers, and what the allocator keeps of
/// it.
const MEMORY: usize = 24 * 1024 * 1024;
const LIVEZ: Duration = Duration::from_millis(100);
/// Short, so that what ends by the clock does so soon.
const LIMITS: &str = "[http]\nbody_timeout_ms = 2000\nidle_timeout_ms = 3000\n[limits]\nheader_timeout_ms = 2000\n\
                      write_timeout_ms = 2000";

/// Something to send again and again, once the connection stands.
pub struct Flood {
    pub name: &'static str,
    pub protocol: &'static str,
    /// Once.
    pub first: Vec<u8>,
    /// Again and again: the n-th.
    pub again: Box<dyn Fn(u32) -> Vec<u8> + Send>,
    /// Whether what comes back is read.
    pub reads: bool,
    /// Between two; zero: as fast as they are taken.
    pub pause: Duration,
}

/// How a flood went.
#[derive(Debug)]
struct Ended {
    bytes: usize,
    took: Duration,
}

/// Floods until it is cut; `None`: it isn't.
async fn until_cut(client: &Client, flood: &Flood) -> Option<Ended> {
    let begun = Instant::now();
    let stream = client.connect(flood.protocol).await.expect("the gateway listens");
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut bytes = 0;
    let writing = async {
        let mut next = flood.first.clone();
        for n in 0.. {
            if writer.write_all(&next).await.is_err() || writer.flush().await.is_err() {
                return;
            }
            bytes += next.len();
            if !flood.pause.is_zero() {
                tokio::time::sleep(flood.pause).await;
            }
            next = (flood.again)(n);
        }
    };
    let reading = async {
        if !flood.reads {
            std::future::pending::<()>().await;
        }
        let mut piece = vec![0; 16_384];
        while let Ok(1..) = reader.read(&mut piece).await {}
    };
    let over = async {
        tokio::select! {
            () = writing => {}
            () = reading => {}
        }
    };
    timeout(OVER, over).await.ok()?;
    Some(Ended { bytes, took: begun.elapsed() })
}

/// Each of the floods in turn, from a thread of its own, beside somebody who looks at `/livez` and somebody who asks.
async fn are_survived(fixture: &Fixture, floods: Vec<Flood>) {
    let warnings = || fixture.gateway.logs().matches(" WARN ").count();
    let before_all = warnings();
    for flood in floods {
        let (client, name) = (fixture.gateway.client().from(ELSEWHERE), flood.name);
        let (before, used, since) =
            (resident(fixture.gateway.pid()), cpu::used(fixture.gateway.pid()), steal::Since::now());
        let flooding = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(until_cut(&client, &flood))
        });
        let mut most = before;
        let visitor = fixture.gateway.client();
        let watching = async {
            while !flooding.is_finished() {
                let reply = timeout(Duration::from_secs(5), visitor.get("/gzbwclient/docs")).await;
                assert!(reply.is_ok_and(|reply| reply.status == 200), "{name}: nobody else notices");
                most = most.max(resident(fixture.gateway.pid()));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let livez = Livez::watch(fixture.gateway.admin(), watching).await;
        let ended = flooding.join().expect("it runs");
        println!(
            "{name}: {} bytes in {:?}, +{} KiB, CPU {:?}, livez {:?}, {:.1} % taken by others",
            ended.as_ref().map_or(0, |ended| ended.bytes),
            ended.as_ref().map(|ended| ended.took),
            most.saturating_sub(before) / 1024,
            cpu::used(fixture.gateway.pid()) - used,
            livez.typical(),
            since.stolen(),
        );
        let ended = ended.unwrap_or_else(|| panic!("{name}: not cut within {OVER:?}"));
        assert!(ended.took <= OVER, "{name}");
        assert!(most.saturating_sub(before) <= MEMORY, "{name}: {} bytes more", most - before);
        assert!(livez.typical() <= LIVEZ, "{name}: {livez:?}");
    }
    assert_eq!(warnings(), before_all, "no flood floods the log: {}", fixture.gateway.logs());
}
