//! The link that is cut on purpose.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::chaos::ChaosProxy;
use crate::support::wait::PATIENCE;

/// Answers every byte with itself.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}

async fn round_trip(link: &mut TcpStream, byte: u8) -> Option<u8> {
    link.write_all(&[byte]).await.ok()?;
    link.read_u8().await.ok()
}

#[tokio::test]
async fn bytes_pass_until_the_link_is_cut_and_again_when_it_is_mended() {
    let proxy = ChaosProxy::to(echo().await).await;
    let mut link = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
    assert_eq!(round_trip(&mut link, 1).await, Some(1));

    proxy.cut();
    let ended = timeout(PATIENCE, link.read_u8()).await.expect("a cut is felt at once");
    assert!(ended.is_err());
    let mut refused = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
    assert_eq!(round_trip(&mut refused, 2).await, None);

    proxy.restore();
    let mut link = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
    assert_eq!(round_trip(&mut link, 3).await, Some(3));
}

#[tokio::test]
async fn a_cut_that_is_mended_at_once_still_ends_the_connections_before_it() {
    let proxy = ChaosProxy::to(echo().await).await;
    let mut link = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
    assert_eq!(round_trip(&mut link, 1).await, Some(1));
    proxy.cut();
    proxy.restore();
    assert!(timeout(PATIENCE, link.read_u8()).await.expect("a cut is felt at once").is_err());
}

#[tokio::test]
async fn a_stalled_link_holds_bytes_back_and_loses_none() {
    let proxy = ChaosProxy::to(echo().await).await;
    let mut link = TcpStream::connect(proxy.address()).await.expect("the proxy listens");
    assert_eq!(round_trip(&mut link, 1).await, Some(1));
    proxy.stall();
    link.write_all(b"held").await.expect("the connection stays open");
    assert!(timeout(Duration::from_millis(50), link.read_u8()).await.is_err(), "nothing passes a stalled link");
    proxy.restore();
    let mut held = [0; 4];
    timeout(PATIENCE, link.read_exact(&mut held)).await.expect("it passes now").expect("the connection stayed open");
    assert_eq!(&held, b"held");
}
