//! The soft stop, as connections wait for it.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::task::{Poll, Waker};

use tokio_util::sync::CancellationToken;

/// A token that is asked without its lock, which all connections share, at each poll of each of them.
#[derive(Clone, Default)]
pub struct SoftStop {
    /// Set before the token is cancelled.
    begun: Arc<AtomicBool>,
    token: CancellationToken,
}

impl SoftStop {
    /// Stops with that token. Never returns.
    pub async fn follow(&self, other: &CancellationToken) {
        other.cancelled().await;
        self.begun.store(true, Release);
        self.token.cancel();
        pending().await
    }

    /// The token, for what waits once.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Returns when it has begun.
    pub async fn begun(&self) {
        let mut cancelled = pin!(self.token.cancelled());
        let mut waits: Option<Waker> = None;
        poll_fn(|cx| {
            if !self.begun.load(Acquire) && waits.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            waits = Some(cx.waker().clone());
            cancelled.as_mut().poll(cx)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_was_polled_before_is_woken_by_the_stop() {
        let (stop, outer) = (SoftStop::default(), CancellationToken::new());
        let waiting = tokio::spawn({
            let stop = stop.clone();
            async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(1));
                let mut begun = pin!(stop.begun());
                loop {
                    tokio::select! {
                        () = &mut begun => return,
                        _ = ticks.tick() => {}
                    }
                }
            }
        });
        tokio::spawn({
            let (stop, outer) = (stop.clone(), outer.clone());
            async move { stop.follow(&outer).await }
        });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        outer.cancel();
        waiting.await.expect("it hears of it");
        stop.begun().await;
    }
}
