//! Chooses the layer of each viewer, and sheds media when the thread has too much to do.

use std::time::{Duration, Instant};

use str0m::bwe::{Bitrate, BweKind};

use super::Worker;
use crate::admission::Share;
use crate::endpoint::{Endpoint, Subscriber};
use crate::layers::{self, Choice, Seen, View, Wish};
use crate::protocol::{EndpointId, Notice};
use crate::room::StreamKey;

/// Bits in a second of an estimate that are left for sound.
const SOUND_BITS_PER_S: u64 = 64_000;
/// An estimate is asked to reach this much more than the wanted layer takes, in percent.
const PROBE_PERCENT: u64 = 130;

/// After a step to a smaller layer, for how long there is none to a larger one: each costs a key frame, and an estimate
/// that fell so far will do so again.
const STEP_UP_DELAY: Duration = Duration::from_secs(5);

impl Worker {
    pub(super) fn view(&mut self, id: EndpointId, width: u32, height: u32, now: Instant) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let Some(subscriber) = endpoint.role.subscriber_mut() else { return };
        subscriber.view = Some(View { width, height });
        subscriber.stepped_down = None;
        let stream = endpoint.viewed();
        self.retarget(stream, now);
    }

    pub(super) fn estimated(&mut self, id: EndpointId, estimate: &BweKind) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let Some(subscriber) = endpoint.role.subscriber_mut() else { return };
        if let BweKind::Twcc { estimate, can_probe } = estimate {
            subscriber.estimate = can_probe.then(|| estimate.as_u64());
        }
    }

    /// Chooses each viewer's layer of the stream anew.
    pub(super) fn retarget(&mut self, key: StreamKey, now: Instant) {
        let Some(stream) = self.streams.get(&key) else { return };
        let publisher = stream.publisher;
        let seen: Vec<Seen> = publisher.and_then(|id| self.endpoints.get(&id)).map(layers_of).unwrap_or_default();
        let mut wanted = Vec::new();
        for id in &stream.subscribers {
            let Some(endpoint) = self.endpoints.get_mut(id) else { continue };
            if let Some(layer) = retarget(endpoint, &seen, now) {
                wanted.push(layer);
            }
        }
        if let Some(publisher) = publisher {
            wanted.sort_unstable();
            wanted.dedup();
            wanted.into_iter().for_each(|layer| self.want_layer(publisher, layer, now));
        }
    }

    /// Follows rates and estimates, and measures what each viewer takes.
    pub(super) fn weigh(&mut self, now: Instant) {
        self.admission.measured(self.forwarded.per_s(), now);
        let mut shares = Vec::new();
        for endpoint in self.endpoints.values_mut() {
            if let Some(publisher) = endpoint.role.publisher_mut() {
                publisher.packets.tick(now);
                let layers = publisher.video.iter_mut().flat_map(|video| &mut video.layers);
                layers.for_each(|layer| layer.bytes.tick(now));
            }
            if let Some(subscriber) = endpoint.role.subscriber_mut() {
                shares.push(share(endpoint.id, subscriber, now));
            }
        }
        for (id, shed) in self.admission.balance(shares, now) {
            if let Some(endpoint) = self.endpoints.get_mut(&id)
                && let Some(subscriber) = endpoint.role.subscriber_mut()
            {
                tracing::info!(endpoint = id.0, ?shed, "a viewer gets another part of a stream under load");
                subscriber.shed = shed;
            }
        }
        let streams: Vec<StreamKey> = self.streams.keys().copied().collect();
        streams.into_iter().for_each(|key| self.retarget(key, now));
    }

    pub(super) fn update_speakers(&mut self, now: Instant) {
        for (room, place) in &mut self.rooms {
            if let Some(member) = place.speaker.update(now) {
                self.notices.push_back(Notice::Speaker { room: room.clone(), member });
            }
        }
    }
}

fn layers_of(publisher: &Endpoint) -> Vec<Seen> {
    let Some(publisher) = publisher.role.publisher() else { return Vec::new() };
    let layers = publisher.video.iter().flat_map(|video| &video.layers);
    layers.map(|layer| Seen { size: layer.size, bits_per_s: layer.bytes.per_s() * 8 }).collect()
}

fn share(endpoint: EndpointId, subscriber: &mut Subscriber, now: Instant) -> Share {
    let sent = |track: &mut Option<crate::track::Track>| {
        track.as_mut().map_or(0, |track| {
            track.sent.tick(now);
            track.sent.per_s()
        })
    };
    Share {
        endpoint,
        worth: View::worth(subscriber.view),
        video_per_s: sent(&mut subscriber.video),
        audio_per_s: sent(&mut subscriber.audio),
        simulcast: subscriber.simulcast,
        shed: subscriber.shed,
    }
}

/// Gives the layer whose key frame the viewer needs now.
fn retarget(endpoint: &mut Endpoint, seen: &[Seen], now: Instant) -> Option<usize> {
    let subscriber = endpoint.role.subscriber_mut()?;
    subscriber.video.as_ref()?;
    subscriber.simulcast = seen.len() > 1;
    let choice = layers::choose(
        seen,
        Wish {
            view: subscriber.view,
            budget: subscriber.estimate.map(|bits| bits.saturating_sub(SOUND_BITS_PER_S)),
            shed: subscriber.shed,
            current: subscriber.target,
        },
    );
    if endpoint.connected && subscriber.probes.is_none_or(|probes| differs(probes, choice)) {
        subscriber.probes = Some(choice);
        probe(&mut endpoint.rtc, choice);
    }
    if subscriber.target == choice.layer {
        return None;
    }
    let rate = |layer: Option<usize>| layer.and_then(|layer| seen.get(layer)).map_or(0, |seen| seen.bits_per_s);
    let (before, after) = (rate(subscriber.target), rate(choice.layer));
    let resting = subscriber.stepped_down.is_some_and(|at| now.saturating_duration_since(at) < STEP_UP_DELAY);
    if after > before && before > 0 && resting {
        return None;
    }
    if after < before && after > 0 {
        subscriber.stepped_down = Some(now);
    }
    subscriber.target = choice.layer;
    choice.layer.filter(|_| endpoint.connected)
}

/// Whether what is to be looked for is another: rates vary, and each rise makes str0m probe the path.
fn differs(before: Choice, now: Choice) -> bool {
    let far = |before: u64, now: u64| now > before.saturating_mul(5) / 4 || now < before / 2;
    far(before.wanted_bits_per_s, now.wanted_bits_per_s)
        || match (before.next_bits_per_s, now.next_bits_per_s) {
            (Some(before), Some(now)) => far(before, now),
            (before, now) => before.is_some() != now.is_some(),
        }
}

/// Tells str0m how far its estimate is to reach, so that it looks for room for the next layer.
fn probe(rtc: &mut str0m::Rtc, choice: Choice) {
    let with_room = |bits: u64| Bitrate::bps((bits + SOUND_BITS_PER_S) * PROBE_PERCENT / 100);
    let minimum = choice.next_bits_per_s.map_or(Bitrate::ZERO, with_room);
    rtc.bwe().set_bitrate(minimum, with_room(choice.wanted_bits_per_s));
}
