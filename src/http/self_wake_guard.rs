//! Wakes that a task causes itself while it is polled.
//!
//! hyper hands a body to its handler through a channel inside one task: a request wakes the task that is just being
//! polled. Left to the runtime, that puts the task back into the queue and wakes another worker to share the work,
//! which costs two switches of threads a request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::AcqRel, Ordering::Acquire};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Polls in a row before the other tasks have their turn; a request with a body takes two.
const POLLS: usize = 3;

const IDLE: u8 = 0;
const POLLED: u8 = 1;
/// Since the last poll began.
const WOKEN: u8 = 2;

/// Polls one future again at once where it was woken while it was polled.
pub struct SelfWakeGuard {
    state: Arc<State>,
    waker: Waker,
}

struct State {
    now: AtomicU8,
    task: AtomicWaker,
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.now.swap(WOKEN, AcqRel) == IDLE {
            self.task.wake();
        }
    }
}

impl SelfWakeGuard {
    pub fn new() -> Self {
        let state = Arc::new(State { now: AtomicU8::new(IDLE), task: AtomicWaker::new() });
        Self { waker: Waker::from(state.clone()), state }
    }

    pub fn poll<F: Future + ?Sized>(&self, cx: &Context<'_>, mut future: Pin<&mut F>) -> Poll<F::Output> {
        self.state.task.register(cx.waker());
        for _ in 0..POLLS {
            self.state.now.swap(POLLED, AcqRel);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                return Poll::Ready(output);
            }
            if self.state.now.compare_exchange(POLLED, IDLE, AcqRel, Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        // Still marked as woken: whoever wakes it meanwhile leaves that to this.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Polls once a future that wakes itself for the first `times` polls; how often it was polled, and its task woken.
    fn polls_and_wakes(rewoken: &SelfWakeGuard, times: usize) -> (usize, usize) {
        let wakes = Arc::new(Wakes::default());
        let mut polls = 0;
        let mut future = pin!(poll_fn(|cx| {
            polls += 1;
            if polls <= times {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        }));
        assert!(rewoken.poll(&Context::from_waker(&Waker::from(wakes.clone())), future.as_mut()).is_pending());
        (polls, wakes.0.load(SeqCst))
    }

    #[test]
    fn self_woken_task_is_polled_again_without_the_runtime() {
        assert_eq!(polls_and_wakes(&SelfWakeGuard::new(), 0), (1, 0));
        assert_eq!(polls_and_wakes(&SelfWakeGuard::new(), 1), (2, 0));
    }

    #[test]
    fn endlessly_self_woken_task_yields_to_others() {
        assert_eq!(polls_and_wakes(&SelfWakeGuard::new(), usize::MAX), (POLLS, 1));
    }

    #[test]
    fn a_wake_between_two_polls_wakes_the_task_and_only_once() {
        let rewoken = SelfWakeGuard::new();
        let wakes = Arc::new(Wakes::default());
        let mut never = pin!(std::future::pending::<()>());
        for round in 1..=2 {
            assert!(rewoken.poll(&Context::from_waker(&Waker::from(wakes.clone())), never.as_mut()).is_pending());
            rewoken.waker.wake_by_ref();
            rewoken.waker.wake_by_ref();
            assert_eq!(wakes.0.load(SeqCst), round);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_from_another_thread_is_lost() {
        const MESSAGES: u32 = 20_000;
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for message in 0..MESSAGES {
                sender.send(message).await.expect("it is read to the end");
            }
        });
        let rewoken = SelfWakeGuard::new();
        let mut all = pin!(async {
            let mut next = 0;
            while let Some(message) = receiver.recv().await {
                assert_eq!(message, next);
                next += 1;
            }
            next
        });
        assert_eq!(poll_fn(|cx| rewoken.poll(cx, all.as_mut())).await, MESSAGES);
    }
}
