//! Each viewer gets the layer of a publisher's video that they can use, and who speaks is told.

use std::time::Duration;

use confgate_sfu::protocol::{Command, EndpointId, Notice, Source, StreamId};
use str0m::net::Protocol;

use crate::support::{LAYERS, Media, Network, camera, member, room};

const SECOND: Duration = Duration::from_secs(1);

/// The layer, from the largest, of each frame that the viewer saw since it had seen `skip`.
fn layers_seen(network: &Network, viewer: EndpointId, skip: usize) -> Vec<usize> {
    let frames = network.clients[&viewer].frames();
    let layer = |length| LAYERS.iter().position(|(bytes, _)| *bytes == length).expect("a layer's frame");
    frames[skip..].iter().map(|frame| layer(frame.payload.len())).collect()
}

/// The viewer's stream goes on whatever layer it is taken from.
fn unbroken(network: &Network, viewer: EndpointId) {
    for pair in network.clients[&viewer].frames().windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq + 1);
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!((1..400_000).contains(&step), "a step of {step} ticks");
        let picture = |at: usize| u16::from_be_bytes([pair[at].payload[2] & 0x7f, pair[at].payload[3]]);
        assert_eq!(picture(1), picture(0) + 1, "pictures are numbered on");
        let (before, after) = (pair[0].payload.len(), pair[1].payload.len());
        assert!(before == after || pair[1].payload[4] & 1 == 0, "a layer begins with a key frame");
    }
}

#[test]
fn a_tile_gets_the_layer_of_its_size_and_follows_when_it_is_resized() {
    let mut network = Network::new();
    let anna = network.publish_as(camera("anna"), Media::SIMULCASTS);
    let boris = network.watch("boris", "anna");
    network.command(Command::View { endpoint: boris, width: 160, height: 90 });
    network.call(&[anna], 6 * SECOND);
    let small = layers_seen(&network, boris, 60);
    assert!(small.len() > 60 && small.iter().all(|layer| *layer == 2), "{small:?}");
    let before = network.frames(boris);
    network.command(Command::View { endpoint: boris, width: 1_280, height: 720 });
    network.call(&[anna], 10 * SECOND);
    let large = layers_seen(&network, boris, before);
    assert!(large.len() > 250, "no pause at the switch: {}", large.len());
    assert_eq!(large.last(), Some(&0), "{large:?}");
    unbroken(&network, boris);
}

#[test]
fn a_hidden_tile_gets_no_video_until_it_is_shown() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let boris = network.watch("boris", "anna");
    network.call(&[anna], 2 * SECOND);
    network.command(Command::View { endpoint: boris, width: 0, height: 0 });
    network.run(SECOND / 10);
    let (frames, sounds) = (network.frames(boris), network.clients[&boris].sounds().len());
    network.call(&[anna], 2 * SECOND);
    assert_eq!(network.frames(boris), frames);
    assert!(network.clients[&boris].sounds().len() > sounds + 90);
    network.command(Command::View { endpoint: boris, width: 320, height: 240 });
    network.call(&[anna], SECOND);
    assert!(network.frames(boris) > frames + 20);
    unbroken(&network, boris);
}

#[test]
fn viewers_of_one_stream_have_a_layer_each() {
    let mut network = Network::new();
    let anna = network.publish_as(camera("anna"), Media::SIMULCASTS);
    let boris = network.watch("boris", "anna");
    let clara = network.watch("clara", "anna");
    network.command(Command::View { endpoint: boris, width: 320, height: 180 });
    network.command(Command::View { endpoint: clara, width: 640, height: 360 });
    network.call(&[anna], 8 * SECOND);
    assert_eq!(layers_seen(&network, boris, 0).last(), Some(&2));
    assert_eq!(layers_seen(&network, clara, 0).last(), Some(&1));
    unbroken(&network, boris);
    unbroken(&network, clara);
}

#[test]
fn a_narrow_path_gets_a_smaller_layer_and_the_large_one_when_it_is_wide_again() {
    let mut network = Network::new();
    let anna = network.publish_as(camera("anna"), Media::SIMULCASTS);
    let boris = network.watch("boris", "anna");
    network.call(&[anna], 10 * SECOND);
    assert_eq!(layers_seen(&network, boris, 0).last(), Some(&0));
    network.link.bits_per_s = 260_000;
    network.call(&[anna], 15 * SECOND);
    let before = network.frames(boris);
    network.call(&[anna], 5 * SECOND);
    let narrow = layers_seen(&network, boris, before);
    assert!(narrow.iter().all(|layer| *layer > 0), "{narrow:?}");
    assert!(narrow.len() > 140, "what it carries arrives: {} of 166 frames", narrow.len());
    network.link.bits_per_s = 0;
    network.call(&[anna], 40 * SECOND);
    assert_eq!(layers_seen(&network, boris, before).last(), Some(&0));
}

#[test]
fn a_layer_that_the_publisher_stops_is_replaced_by_the_next() {
    let mut network = Network::new();
    let anna = network.publish_as(camera("anna"), Media::SIMULCASTS);
    let boris = network.watch("boris", "anna");
    network.call(&[anna], 8 * SECOND);
    assert_eq!(layers_seen(&network, boris, 0).last(), Some(&0));
    let before = network.frames(boris);
    // As a browser whose own path narrows.
    let mut passed = 0;
    network.run_with(6 * SECOND, |network| {
        passed += 1;
        let now = network.now;
        let client = network.clients.get_mut(&anna).unwrap();
        if passed % 30 == 0 {
            client.picture += 1;
            for (place, (bytes, size)) in LAYERS.into_iter().enumerate().skip(1) {
                let keyframe = std::mem::take(&mut client.keyframe_due[place]);
                client.send_layer(place, keyframe, bytes, size, now);
            }
        }
    });
    let after = layers_seen(&network, boris, before);
    assert!(after.len() > 100 && after.iter().filter(|layer| **layer == 1).count() > 90, "{after:?}");
}

#[test]
fn a_members_screen_is_a_stream_beside_their_camera() {
    let mut network = Network::new();
    let screen = StreamId { member: member("anna"), source: Source::Screen };
    let camera_of = network.publish("anna");
    let screen_of = network.publish_as(screen.clone(), Media { audio: false, ..Media::SENDS });
    let camera_seen = network.watch("boris", "anna");
    let screen_seen = network.watch_as("boris", screen, Media::WATCHES, Protocol::Udp);
    network.call(&[camera_of, screen_of], 3 * SECOND);
    assert!(network.frames(camera_seen) > 60 && network.frames(screen_seen) > 60);
    assert_eq!(network.clients[&screen_seen].sounds().len(), 0);
    network.command(Command::Close { endpoint: screen_of });
    let before = network.frames(camera_seen);
    network.call(&[camera_of], SECOND);
    assert!(network.frames(camera_seen) > before + 25);
}

#[test]
fn speaker_is_told_on_change_only_and_never_a_muted_one() {
    let mut network = Network::new();
    let anna = network.publish("anna");
    let boris = network.publish("boris");
    let speakers = |network: &Network| -> Vec<Option<String>> {
        let named = |notice: &Notice| match notice {
            Notice::Speaker { room: of, member } if *of == room() => Some(member.as_deref().map(str::to_owned)),
            _ => None,
        };
        network.notices.iter().filter_map(named).collect()
    };
    network.clients.get_mut(&boris).unwrap().level = -90;
    network.call(&[anna, boris], 3 * SECOND);
    assert_eq!(speakers(&network), [Some("anna".into())]);
    network.clients.get_mut(&anna).unwrap().level = -90;
    network.clients.get_mut(&boris).unwrap().level = -25;
    network.call(&[anna, boris], 3 * SECOND);
    assert_eq!(speakers(&network), [Some("anna".into()), Some("boris".into())]);
    network.command(Command::SetForwarding { room: room(), stream: camera("boris"), audio: false, video: true });
    network.call(&[anna, boris], 4 * SECOND);
    assert_eq!(speakers(&network), [Some("anna".into()), Some("boris".into()), None]);
}
