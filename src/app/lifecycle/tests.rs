//! Parts that obey, fail, and do not listen.

use super::*;
use std::sync::Arc;
use std::sync::Mutex;

const LONG: Duration = Duration::from_secs(60);

/// A listener that has ended when `soft` is cancelled, a wire when `hard` is; both note their end.
fn obedient(lifecycle: &mut Lifecycle) -> Arc<Mutex<Vec<&'static str>>> {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let (soft, hard) = (lifecycle.soft(), lifecycle.hard());
    let (listener_ends, wire_ends) = (ends.clone(), ends.clone());
    lifecycle.listener("listener", async move {
        soft.cancelled().await;
        listener_ends.lock().expect("no panic").push("listener");
        Ok(())
    });
    lifecycle.wire("wire", async move {
        hard.cancelled().await;
        wire_ends.lock().expect("no panic").push("wire");
        Ok(())
    });
    ends
}

#[tokio::test]
async fn listeners_drain_before_the_wires_end_and_the_exit_is_0() {
    let mut lifecycle = Lifecycle::new(LONG);
    let ends = obedient(&mut lifecycle);
    lifecycle.soft().cancel();
    assert_eq!(lifecycle.run().await.exit_code(), 0);
    assert_eq!(*ends.lock().expect("no panic"), ["listener", "wire"]);
}

#[tokio::test]
async fn a_part_that_ends_by_itself_fails_the_process_and_the_rest_still_drains() {
    for stage in [Stage::Listener, Stage::Wire] {
        let mut lifecycle = Lifecycle::new(LONG);
        let ends = obedient(&mut lifecycle);
        lifecycle.start("early", stage, async { Ok(()) });
        assert_eq!(lifecycle.run().await.exit_code(), 1);
        assert_eq!(*ends.lock().expect("no panic"), ["listener", "wire"]);
    }
}

#[tokio::test]
async fn an_error_and_a_panic_fail_the_process() {
    let mut lifecycle = Lifecycle::new(LONG);
    obedient(&mut lifecycle);
    lifecycle.wire("broken", async { Err("no more".into()) });
    assert_eq!(lifecycle.run().await, Outcome::PartFailed);
    let mut lifecycle = Lifecycle::new(LONG);
    obedient(&mut lifecycle);
    lifecycle.listener("panicking", async { panic!("on purpose") });
    assert_eq!(lifecycle.run().await, Outcome::PartFailed);
}

#[tokio::test]
async fn an_error_while_stopping_fails_the_process_too() {
    let mut lifecycle = Lifecycle::new(LONG);
    let hard = lifecycle.hard();
    lifecycle.wire("unwritten", async move {
        hard.cancelled().await;
        Err("the last counters were not written".into())
    });
    lifecycle.soft().cancel();
    assert_eq!(lifecycle.run().await, Outcome::PartFailed);
}

#[tokio::test]
async fn the_drain_time_ends_a_door_that_does_not() {
    let mut lifecycle = Lifecycle::new(Duration::from_millis(50));
    let hard = lifecycle.hard();
    lifecycle.listener("slow", async move {
        hard.cancelled().await;
        Ok(())
    });
    lifecycle.soft().cancel();
    assert_eq!(lifecycle.run().await, Outcome::Stopped);
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let mut lifecycle = Lifecycle::new(LONG);
    lifecycle.listener("deaf", std::future::pending());
    lifecycle.wire("deaf too", std::future::pending());
    let began = Instant::now();
    lifecycle.soft().cancel();
    lifecycle.at_once.cancel();
    assert_eq!(lifecycle.run().await, Outcome::Stopped);
    assert!(began.elapsed() < FLUSH_TIMEOUT);
}

#[tokio::test]
async fn a_door_that_drains_is_not_cut_by_the_end_of_another() {
    let mut lifecycle = Lifecycle::new(LONG);
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let soft = lifecycle.soft();
    let hard = lifecycle.hard();
    lifecycle.listener("quick", async move {
        soft.cancelled().await;
        Ok(())
    });
    let soft = lifecycle.soft();
    lifecycle.listener("under way", async move {
        soft.cancelled().await;
        tokio::task::yield_now().await;
        finish.send(()).map_err(|()| "cut")?;
        assert!(!hard.is_cancelled());
        Ok(())
    });
    lifecycle.soft().cancel();
    assert_eq!(lifecycle.run().await, Outcome::Stopped);
    assert!(finished.await.is_ok());
}

#[tokio::test]
async fn sigterm_is_the_soft_stop_and_the_second_one_ends_all() {
    let mut lifecycle = Lifecycle::new(LONG);
    lifecycle.listen_to_signals().expect("handlers");
    let (soft, at_once) = (lifecycle.soft(), lifecycle.at_once.clone());
    lifecycle.listener("deaf", std::future::pending());
    let running = tokio::spawn(lifecycle.run());
    for stopped in [soft, at_once] {
        let me = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &me]).status().is_ok_and(|s| s.success()));
        tokio::time::timeout(LONG, stopped.cancelled()).await.expect("the signal arrives");
    }
    assert_eq!(running.await.expect("no panic"), Outcome::Stopped);
}
