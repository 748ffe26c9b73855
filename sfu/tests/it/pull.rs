//! One node takes a stream from another and publishes it to its own viewers.

use confgate_sfu::protocol::{Command, EndpointId, Notice, Refusal};

use crate::support::wire::{Peer, Site, loopback};
use crate::support::{camera, member, room};

async fn pull(near: &mut Site, far: &mut Site, endpoint: EndpointId, name: &str) {
    near.node.send(Command::Pull { room: room(), endpoint, stream: camera(name) }).unwrap();
    let notice = near.notice(|notice| matches!(notice, Notice::Offer { .. })).await;
    let Notice::Offer { offer, .. } = notice else { unreachable!("as just matched") };
    let subscribe = Command::Subscribe { room: room(), endpoint, viewer: member("near"), stream: camera(name), offer };
    far.node.send(subscribe).unwrap();
    let notice = far.notice(|notice| matches!(notice, Notice::Answer { endpoint: of, .. } if *of == endpoint)).await;
    let Notice::Answer { answer, .. } = notice else { unreachable!("as just matched") };
    near.node.send(Command::Answered { endpoint, answer }).unwrap();
    near.notice(|notice| *notice == Notice::Connected { endpoint }).await;
}

async fn all_see(publishers: &mut [&mut Peer], viewers: &mut [&mut Peer], frames: usize) {
    let end = std::time::Instant::now() + crate::support::wire::PATIENCE;
    while viewers.iter().any(|viewer| viewer.client.frames().len() < frames) {
        assert!(
            std::time::Instant::now() < end,
            "{:?}",
            viewers.iter().map(|v| v.client.frames().len()).collect::<Vec<_>>()
        );
        for publisher in publishers.iter_mut() {
            publisher.client.send_frames(std::time::Instant::now());
            publisher.turn().await;
        }
        for viewer in viewers.iter_mut() {
            viewer.turn().await;
        }
    }
}

#[tokio::test]
async fn streams_of_one_node_reach_the_viewers_of_another() {
    let (mut far, mut near) = (Site::start(loopback()), Site::start(loopback()));
    let mut anna = far.publish(camera("anna")).await;
    let mut boris = far.publish(camera("boris")).await;
    anna.until(|client| client.connected).await;
    boris.until(|client| client.connected).await;
    pull(&mut near, &mut far, EndpointId(1_001), "anna").await;
    pull(&mut near, &mut far, EndpointId(1_002), "boris").await;
    let mut clara = near.watch("clara", camera("anna"), false).await;
    let mut dora = near.watch("dora", camera("boris"), false).await;
    clara.until(|client| client.connected).await;
    dora.until(|client| client.connected).await;
    all_see(&mut [&mut anna, &mut boris], &mut [&mut clara, &mut dora], 20).await;
    far.node.stop().await;
    near.node.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_none_ends_the_pull() {
    let mut near = Site::start(loopback());
    let endpoint = EndpointId(5);
    near.node.send(Command::Pull { room: room(), endpoint, stream: camera("anna") }).unwrap();
    near.notice(|notice| matches!(notice, Notice::Offer { .. })).await;
    near.node.send(Command::Answered { endpoint, answer: "v=0\r\n".into() }).unwrap();
    near.notice(|notice| *notice == Notice::Refused { endpoint, refusal: Refusal::BadSdp }).await;
    near.node.send(Command::Answered { endpoint, answer: String::new() }).unwrap();
    near.notice(|notice| *notice == Notice::Refused { endpoint, refusal: Refusal::BadEndpoint }).await;
    near.node.stop().await;
}
