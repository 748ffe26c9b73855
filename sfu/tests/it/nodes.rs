//! A node with its sockets and threads, over loopback.

use std::time::Instant;

use confgate_sfu::Config;
use confgate_sfu::vocabulary::{Command, Notice};

use crate::support::wire::{Peer, Site, loopback};
use crate::support::{camera, room};

/// Sends until the viewer has seen this many frames.
async fn call(publisher: &mut Peer, viewer: &mut Peer, frames: usize) {
    let end = Instant::now() + crate::support::wire::PATIENCE;
    while viewer.client.frames().len() < frames {
        assert!(Instant::now() < end, "{} frames", viewer.client.frames().len());
        let keyframe = publisher.client.keyframes_asked.len() > publisher.client.keyframes_seen;
        publisher.client.keyframes_seen = publisher.client.keyframes_asked.len();
        publisher.client.picture += 1;
        publisher.client.send_frame(keyframe, Instant::now());
        publisher.client.send_audio(-30, Instant::now());
        publisher.turn().await;
        viewer.turn().await;
    }
}

#[tokio::test]
async fn a_call_goes_over_udp() {
    let mut site = Site::start(loopback());
    let mut anna = site.publish(camera("anna")).await;
    anna.until(|client| client.connected).await;
    let mut boris = site.watch("boris", camera("anna"), false).await;
    boris.until(|client| client.connected).await;
    call(&mut anna, &mut boris, 30).await;
    assert!(boris.client.frames().windows(2).all(|pair| pair[1].seq > pair[0].seq));
    boris.until(|_| site.node.load().endpoints == 2).await;
    assert_eq!(site.node.load().rooms, 1);
    site.node.send(Command::CloseRoom { room: room() }).unwrap();
    boris.until(|client| client.closed).await;
    site.node.stop().await;
    while let Some(notice) = site.notices.recv().await {
        assert!(matches!(notice, Notice::Connected { .. }), "{notice:?}");
    }
}

#[tokio::test]
async fn a_viewer_without_udp_is_served_over_tcp() {
    let tcp = Some("127.0.0.1:0".parse().unwrap());
    let mut site = Site::start(Config { tcp, ..loopback() });
    let mut anna = site.publish(camera("anna")).await;
    anna.until(|client| client.connected).await;
    let mut boris = site.watch("boris", camera("anna"), true).await;
    boris.until(|client| client.connected).await;
    call(&mut anna, &mut boris, 30).await;
    site.node.stop().await;
}

#[tokio::test]
async fn commands_wait_when_nobody_takes_the_notices_and_none_is_lost() {
    let mut site = Site::start(Config { notices_max: 1, commands_max: 8, threads: 1, ..loopback() });
    let close =
        |number| Command::Renegotiate { endpoint: confgate_sfu::vocabulary::EndpointId(number), offer: String::new() };
    let mut sent = 0;
    let end = Instant::now() + crate::support::wire::PATIENCE;
    // Each is refused, with a notice. The queue is full for good only when the thread takes no more of them.
    let mut full_since = None;
    while full_since.is_none_or(|since: Instant| since.elapsed().as_millis() < 300) {
        assert!(Instant::now() < end, "{sent} commands went in and no notice came out");
        match site.node.send(close(sent)) {
            Ok(()) => (sent, full_since) = (sent + 1, None),
            Err(_) => {
                full_since.get_or_insert(Instant::now());
                tokio::task::yield_now().await;
            }
        }
    }
    for number in 0..sent {
        let notice = site.notice(|_| true).await;
        assert!(matches!(notice, Notice::Refused { endpoint, .. } if endpoint.0 == number), "in order: {notice:?}");
    }
    site.node.stop().await;
}
