//! A thread that has as much to do as it can refuses more and serves less, instead of losing everything.

use std::time::Duration;

use confgate_sfu::Limits;
use confgate_sfu::protocol::{Command, EndpointId, Notice, Refusal};

use crate::support::Network;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_full_thread_refuses_new_endpoints_and_goes_on_for_those_it_has() {
    // A viewer takes 33 frames and 50 sounds a second.
    let mut network = Network::with(Limits { packets_per_s_max: 240, ..Limits::default() });
    let anna = network.publish("anna");
    network.call(&[anna], 4 * SECOND);
    let mut viewers = Vec::new();
    for number in 0..5 {
        viewers.push(network.watch(&format!("viewer{number}"), "anna"));
        network.call(&[anna], 4 * SECOND);
    }
    let refused = |endpoint: &EndpointId| {
        network.notices.contains(&Notice::Refused { endpoint: *endpoint, refusal: Refusal::Overloaded })
    };
    let (out, served): (Vec<EndpointId>, Vec<EndpointId>) = viewers.into_iter().partition(refused);
    assert!((3..=4).contains(&served.len()), "{} viewers of 83 packets a second", served.len());
    assert!(!out.is_empty());
    for viewer in served {
        assert!(network.clients[&viewer].sounds().len() > 300, "sound stays");
    }
}

#[test]
fn the_least_viewers_lose_their_video_first_and_all_keep_the_sound() {
    let mut network = Network::with(Limits { packets_per_s_max: 360, ..Limits::default() });
    let anna = network.publish("anna");
    network.call(&[anna], 4 * SECOND);
    // They all come at once: what they will take isn't measured yet.
    let viewers: Vec<EndpointId> = (0..5).map(|number| network.watch(&format!("viewer{number}"), "anna")).collect();
    for (number, endpoint) in viewers.iter().enumerate() {
        network.command(Command::View { endpoint: *endpoint, width: 100 * (number as u32 + 1), height: 100 });
    }
    network.call(&[anna], 8 * SECOND);
    let before: Vec<(usize, usize)> = seen(&network, &viewers);
    network.call(&[anna], 5 * SECOND);
    let gained: Vec<(usize, usize)> =
        seen(&network, &viewers).iter().zip(before).map(|(now, then)| (now.0 - then.0, now.1 - then.1)).collect();
    assert!(gained.iter().all(|(_, sounds)| *sounds > 240), "{gained:?}");
    assert_eq!(gained[0].0, 0, "the smallest tile's video is shed: {gained:?}");
    assert!(gained[4].0 > 150, "the largest tile's isn't: {gained:?}");
    let per_s = network.worker.packets_per_s();
    assert!(per_s <= 360, "{per_s} packets a second");
}

#[test]
fn a_publisher_who_sends_more_than_anybody_may_is_cut_to_that() {
    let mut network = Network::with(Limits { publisher_packets_per_s_max: 100, ..Limits::default() });
    let anna = network.publish("anna");
    let boris = network.watch("boris", "anna");
    network.call(&[anna], SECOND);
    let before = network.worker.counts();
    network.run_with(3 * SECOND, |network| {
        let now = network.now;
        network.clients.get_mut(&anna).unwrap().send_audio(-30, now);
    });
    let after = network.worker.counts();
    let forwarded = after.forwarded - before.forwarded;
    assert!((250..=360).contains(&forwarded), "{forwarded} in 3 s");
    assert!(after.excess - before.excess > 2_000);
    assert!(network.clients[&boris].sounds().len() > 200);
}

fn seen(network: &Network, viewers: &[EndpointId]) -> Vec<(usize, usize)> {
    let of = |viewer| (network.frames(viewer), network.clients[&viewer].sounds().len());
    viewers.iter().map(|viewer| of(*viewer)).collect()
}
