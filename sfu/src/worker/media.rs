//! A packet's way from the publisher to the viewers, and requests for key frames the other way.

use std::time::Instant;

use str0m::media::KeyframeRequestKind;
use str0m::rtp::RtpPacket;

use super::{Worker, mark};
use crate::codec;
use crate::endpoint::{Endpoint, Role, Subscriber};
use crate::track::{Arrived, Written};
use crate::vocabulary::EndpointId;

impl Worker {
    pub(super) fn packet(&mut self, id: EndpointId, packet: &RtpPacket, now: Instant) {
        let Some(publisher) = self.endpoints.get_mut(&id) else { return };
        let Some(spec) = codec::spec_of(&publisher.rtc, packet.header.payload_type) else { return };
        let arrived = Arrived::new(id, spec, packet);
        let video = spec.codec.is_video();
        let Some(stream) = self.streams.get(&publisher.stream) else { return };
        if stream.publisher != Some(id) {
            return;
        }
        let allowed = if video { stream.allowed.video } else { stream.allowed.audio };
        if arrived.starts_keyframe {
            keyframe_came(publisher);
        }
        let mut awaited = false;
        for subscriber in &stream.subscribers {
            let Some(endpoint) = self.endpoints.get_mut(subscriber) else { continue };
            match write(endpoint, &arrived, allowed, now) {
                Written::Yes => {
                    self.counts.forwarded += 1;
                    self.forwarded.add(1);
                    mark(&mut self.dirty, endpoint);
                }
                Written::AwaitsKeyframe => awaited = true,
                Written::No => {}
            }
        }
        if awaited {
            self.want_keyframe(id, now);
        }
    }

    /// Somebody needs a key frame of the endpoint's stream.
    pub(super) fn want_keyframe(&mut self, id: EndpointId, now: Instant) {
        let Some(stream) = self.endpoints.get(&id).map(|endpoint| endpoint.stream) else { return };
        let Some(publisher) = self.streams.get(&stream).and_then(|stream| stream.publisher) else { return };
        let Some(publisher) = self.endpoints.get_mut(&publisher) else { return };
        if let Role::Publisher(role) = &mut publisher.role
            && let Some(video) = &mut role.video
        {
            video.layers.iter_mut().for_each(|layer| layer.throttle.want());
        }
        if ask(publisher, now) {
            self.counts.keyframe_requests += 1;
            mark(&mut self.dirty, publisher);
        }
    }

    /// Asks for what was wanted too early.
    pub(super) fn ask_for_keyframes(&mut self, now: Instant) {
        for endpoint in self.endpoints.values_mut() {
            if ask(endpoint, now) {
                self.counts.keyframe_requests += 1;
                mark(&mut self.dirty, endpoint);
            }
        }
    }
}

fn write(endpoint: &mut Endpoint, arrived: &Arrived<'_>, allowed: bool, now: Instant) -> Written {
    let Role::Subscriber(subscriber) = &mut endpoint.role else { return Written::No };
    let Subscriber { audio, video, .. } = &mut **subscriber;
    let track = if arrived.spec.codec.is_video() { video } else { audio };
    let Some(track) = track else { return Written::No };
    if !allowed {
        track.pause();
        return Written::No;
    }
    // Before DTLS is done str0m would keep all packets for later.
    if !endpoint.connected {
        return Written::No;
    }
    track.write(&mut endpoint.rtc, arrived, now)
}

fn keyframe_came(publisher: &mut Endpoint) {
    if let Role::Publisher(role) = &mut publisher.role
        && let Some(video) = &mut role.video
    {
        video.layers.iter_mut().for_each(|layer| layer.throttle.came());
    }
}

/// Sends the requests that are due to the publisher's encoder.
fn ask(publisher: &mut Endpoint, now: Instant) -> bool {
    let Role::Publisher(role) = &mut publisher.role else { return false };
    let Some(video) = &mut role.video else { return false };
    if !publisher.connected {
        return false;
    }
    let mut asked = false;
    for layer in &mut video.layers {
        if layer.throttle.due(now)
            && let Some(stream) = publisher.rtc.direct_api().stream_rx_by_mid(video.mid, layer.rid)
        {
            stream.request_keyframe(KeyframeRequestKind::Pli);
            asked = true;
        }
    }
    asked
}
