//! How long `/livez` takes while something else goes on.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::{Instant, sleep};

use super::plain_http::get;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Livez {
    /// Sorted.
    waits: Vec<Duration>,
}

impl Livez {
    /// Looks again and again until `meanwhile` is over; from a thread of its own, since the test itself may be busy.
    pub async fn watch(admin: SocketAddr, meanwhile: impl Future<Output = ()>) -> Self {
        let (over, mut is_over) = oneshot::channel::<()>();
        let looking = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut waits = Vec::new();
                while is_over.try_recv() == Err(TryRecvError::Empty) {
                    let begun = Instant::now();
                    get(admin, "/livez").await.expect("the admin listener answers");
                    waits.push(begun.elapsed());
                    sleep(PAUSE).await;
                }
                waits
            })
        });
        meanwhile.await;
        drop(over);
        let mut waits = looking.join().expect("it was always answered");
        waits.sort_unstable();
        Self { waits }
    }

    /// Nine of ten took no longer: the tenth may be this machine's, which tests share.
    pub fn typical(&self) -> Duration {
        self.waits.get(self.waits.len() * 9 / 10).copied().unwrap_or_default()
    }
}
