//! A node with its sockets and threads, over loopback.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use confgate_sfu::Config;
use confgate_sfu::protocol::{Command, Notice};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::wire::{Peer, Site, loopback};
use crate::support::{camera, room};

/// Sends until the viewer has seen this many frames.
async fn call(publisher: &mut Peer, viewer: &mut Peer, frames: usize) {
    let end = Instant::now() + crate::support::wire::PATIENCE;
    while viewer.client.frames().len() < frames {
        assert!(Instant::now() < end, "{} frames", viewer.client.frames().len());
        publisher.client.send_frames(Instant::now());
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
    boris.until(|_| site.node.forwarded() >= 30).await;
    site.node.send(Command::CloseRoom { room: room() }).unwrap();
    boris.until(|client| client.closed).await;
    site.node.stop().await;
    while let Some(notice) = site.notices.recv().await {
        assert!(matches!(notice, Notice::Connected { .. } | Notice::Speaker { .. }), "{notice:?}");
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
        |number| Command::Renegotiate { endpoint: confgate_sfu::protocol::EndpointId(number), offer: String::new() };
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

#[tokio::test]
async fn strangers_on_tcp_are_turned_away_and_a_call_goes_on() {
    let tcp = Some("127.0.0.1:0".parse().unwrap());
    let tcp_first_timeout = Duration::from_millis(200);
    let config = Config { tcp, tcp_connections_max: 16, tcp_first_timeout, ..loopback() };
    let mut site = Site::start(config);
    let mut anna = site.publish(camera("anna")).await;
    anna.until(|client| client.connected).await;
    let mut boris = site.watch("boris", camera("anna"), true).await;
    boris.until(|client| client.connected).await;
    let address = site.node.tcp().unwrap();
    let greetings: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0xff; 4_000], &[0, 0], &[0, 20, 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], &[]];
    for greeting in greetings {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        stranger.write_all(greeting).await.unwrap();
        let closed = tokio::time::timeout(crate::support::wire::PATIENCE, stranger.read(&mut [0; 16])).await.unwrap();
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    }
    // One address has a quarter of the connections at most: one is the call's, and no more than three can wait.
    let crowd = crowd_of(address, 12).await;
    let mut open = 0;
    for mut stream in crowd {
        let early = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut [0; 16])).await;
        open += usize::from(early.is_err());
    }
    assert!(open <= 3, "{open} wait");
    call(&mut anna, &mut boris, 30).await;
    site.node.stop().await;
}

async fn crowd_of(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    streams
}

#[tokio::test]
async fn garbage_on_udp_beside_a_call_is_no_matter() {
    let mut site = Site::start(Config { threads: 1, ..loopback() });
    let mut anna = site.publish(camera("anna")).await;
    anna.until(|client| client.connected).await;
    let mut boris = site.watch("boris", camera("anna"), false).await;
    boris.until(|client| client.connected).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 0..20_usize {
        for packet in 0..200_usize {
            let bytes = vec![(round * 200 + packet) as u8; packet * 7];
            stranger.send_to(&bytes, site.node.udp()[0]).unwrap();
        }
        call(&mut anna, &mut boris, (round + 1) * 2).await;
    }
    site.node.stop().await;
}

#[tokio::test]
async fn a_node_that_is_dropped_ends() {
    let Site { node, mut notices, .. } = Site::start(loopback());
    drop(node);
    let end = tokio::time::timeout(crate::support::wire::PATIENCE, notices.recv()).await;
    assert_eq!(end, Ok(None));
}
