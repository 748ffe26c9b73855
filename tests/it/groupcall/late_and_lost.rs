//! A browser's picture on a path on which packets come late or are lost.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::lossy_path::{Delivery, LossyPath, payload_types};
use super::pages::{Scene, asks, takes, takes_answer};
use crate::support::http_session::{whep, whip};
use crate::support::wait::{until, until_true};

/// How much later the picture comes than the sound.
const DELAY: Duration = Duration::from_millis(800);
/// A browser moves its sound by some 80 ms a second.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);
/// Of so many packets of sound one is lost on the way, and so many are lost until the check.
const ONE_OF: u16 = 10;
const LOST: usize = 40;

/// How long sound waits to be played, how far picture and sound that are played are apart, in ms; and packets of sound
/// that came, never came, and were asked for again.
const PLAYED: &str = "
    const done = arguments[0];
    http.connection.getStats().then(stats => {
        const inbound = [...stats.values()].filter(({ type }) => type === 'inbound-rtp');
        const [audio, video] = ['audio', 'video'].map(kind => inbound.find(each => each.kind === kind) ?? {});
        const former = window.former ?? { jitterBufferDelay: 0, jitterBufferEmittedCount: 0 };
        window.former = audio;
        const emitted = audio.jitterBufferEmittedCount - former.jitterBufferEmittedCount;
        done({ waits: emitted ? 1000 * (audio.jitterBufferDelay - former.jitterBufferDelay) / emitted : 0,
            apart: Math.abs(audio.estimatedPlayoutTimestamp - video.estimatedPlayoutTimestamp),
            frames: video.framesDecoded ?? 0, sounds: audio.packetsReceived ?? 0, lost: audio.packetsLost ?? 0 });
    }, error => done({ error: String(error) }));";

/// Somebody sends, and the viewer's answer is there.
async fn open(nack: bool) -> (Scene, String) {
    let scene = Scene::open().await;
    takes(&scene.camera, &scene.sends(&whip("c1"), "anna").await).await;
    scene.camera.holds("http.connection.connectionState === 'connected'").await;
    let watched = scene.watches(&whep("c1"), "ben", nack).await;
    let answer = watched["body"].as_str().unwrap_or_else(|| panic!("{watched}")).to_owned();
    (scene, answer)
}

#[tokio::test]
async fn browser_sound_waits_for_a_picture_that_comes_late() {
    let (scene, answer) = open(false).await;
    let pictures = payload_types(&answer, "video");
    let fate = move |packet: super::lossy_path::Rtp| match pictures.contains(&packet.payload_type) {
        true => Delivery::Late(DELAY),
        false => Delivery::Arrives,
    };
    let (_way, answer) = LossyPath::of(&answer, fate).await;
    takes_answer(&scene.viewer, &answer).await;
    let played = async || asks(&scene.viewer, PLAYED, Vec::new()).await;
    until_true("pictures come", async || played().await["frames"].as_u64() > Some(5)).await;

    let mut last = Value::Null;
    let followed = until(FOLLOWS_WITHIN, async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        last = played().await;
        let of = |number: &str| last[number].as_f64().unwrap_or(f64::NAN);
        (of("waits") > 500.0 && of("apart") < 300.0).then_some(())
    });
    let followed = followed.await;
    assert!(followed.is_some(), "the sound didn't follow: {last}");
}

#[tokio::test]
async fn browser_lost_sound_is_sent_again_to_a_viewer_who_asks_for_it_and_has_no_rtx() {
    let (scene, answer) = open(true).await;
    assert!(answer.contains(" nack\r\n") && !payload_types(&answer, "audio").is_empty(), "{answer}");
    let (sounds, lost) = (payload_types(&answer, "audio"), Arc::new(AtomicUsize::new(0)));
    let (count, mut once) = (Arc::clone(&lost), HashSet::new());
    let fate = move |packet: super::lossy_path::Rtp| {
        let is_due = sounds.contains(&packet.payload_type) && packet.number.is_multiple_of(ONE_OF);
        if !(is_due && once.insert(packet.number)) {
            return Delivery::Arrives;
        }
        count.fetch_add(1, Ordering::Relaxed);
        Delivery::Lost
    };
    let (_way, answer) = LossyPath::of(&answer, fate).await;
    takes_answer(&scene.viewer, &answer).await;
    until_true("sound is lost on the way", async || lost.load(Ordering::Relaxed) >= LOST).await;
    let played = asks(&scene.viewer, PLAYED, Vec::new()).await;
    assert!(played["sounds"].as_u64() > Some(100), "{played}");
    assert!(played["lost"].as_i64().is_some_and(|never| never <= LOST as i64 / 8), "{played}");
}
