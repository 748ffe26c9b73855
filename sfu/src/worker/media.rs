//! A packet's way from the publisher to the viewers, and requests for key frames the other way.

use std::time::Instant;

use str0m::media::KeyframeRequestKind;
use str0m::rtp::RtpPacket;

use super::{Worker, mark};
use crate::codec;
use crate::endpoint::{Endpoint, Subscriber};
use crate::layers::Shed;
use crate::protocol::{EndpointId, Notice, Source};
use crate::track::{Arrived, WriteOutcome};

/// Bytes of a packet's payload. A path's MTU allows no more; str0m has room for 2 000 with all headers, and takes more
/// for a fault of ours.
const PAYLOAD_MAX: usize = 1_500;

impl Worker {
    pub(super) fn packet(&mut self, id: EndpointId, packet: &RtpPacket, now: Instant) {
        let Some(publisher) = self.endpoints.get_mut(&id) else { return };
        if packet.payload.len() > PAYLOAD_MAX || !publisher.may_send(now) {
            self.counts.excess += 1;
            return;
        }
        let Some(sent) = codec::sent_under(&publisher.rtc, packet.header.payload_type) else { return };
        if sent.nacks && !sent.spec.codec.is_video() {
            publisher.ask_again_for(packet.header.ssrc);
        }
        let is_video = sent.spec.codec.is_video();
        let mut arrived = Arrived::new(id, sent, packet);
        arrived.captured = publisher.captured(&arrived);
        let layer = if is_video {
            let Some(layer) = publisher.layer_of(&arrived) else { return };
            Some(layer)
        } else {
            None
        };
        let Some(stream) = self.streams.get(&publisher.stream) else { return };
        if stream.publisher != Some(id) {
            return;
        }
        let allowed = if layer.is_some() { stream.allowed.video } else { stream.allowed.audio };
        if let (None, true, Source::Camera, Some(level)) =
            (layer, allowed, stream.id.source, packet.header.ext_vals.audio_level)
            && let Some(room) = self.rooms.get_mut(&stream.room)
        {
            room.speaker.record_level(&stream.id.member, level, now);
        }
        let mut awaited = false;
        for subscriber in &stream.subscribers {
            let Some(endpoint) = self.endpoints.get_mut(subscriber) else { continue };
            match write(endpoint, &arrived, layer, allowed, now) {
                WriteOutcome::Yes => {
                    self.counts.forwarded += 1;
                    self.forwarded.add(1);
                    mark(&mut self.dirty, endpoint);
                }
                WriteOutcome::AwaitsKeyframe => awaited = true,
                WriteOutcome::NoCommonCodec => {
                    self.notices.push_back(Notice::NoCommonCodec { viewer: *subscriber, publisher: id });
                }
                WriteOutcome::No => {}
            }
        }
        if awaited && let Some(layer) = layer {
            self.want_layer(id, layer, now);
        }
    }

    /// A viewer needs a key frame of the layer that it is to get.
    pub(super) fn want_keyframe(&mut self, id: EndpointId, now: Instant) {
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        let Some(subscriber) = endpoint.role.subscriber() else { return };
        let Some(layer) = subscriber.target else { return };
        if let Some(publisher) = self.streams.get(&endpoint.viewed()).and_then(|stream| stream.publisher) {
            self.want_layer(publisher, layer, now);
        }
    }

    pub(super) fn want_layer(&mut self, publisher: EndpointId, layer: usize, now: Instant) {
        let Some(publisher) = self.endpoints.get_mut(&publisher) else { return };
        if let Some(role) = publisher.role.publisher_mut()
            && let Some(layer) = role.video.as_mut().and_then(|video| video.layers.get_mut(layer))
        {
            layer.throttle.want();
        }
        if request_keyframe(publisher, now) {
            self.counts.keyframe_requests += 1;
            mark(&mut self.dirty, publisher);
        }
    }

    /// Asks for what was wanted too early.
    pub(super) fn ask_for_keyframes(&mut self, now: Instant) {
        for endpoint in self.endpoints.values_mut() {
            if request_keyframe(endpoint, now) {
                self.counts.keyframe_requests += 1;
                mark(&mut self.dirty, endpoint);
            }
        }
    }
}

/// `layer`: the place of the video's layer among its publisher's; of sound there is none.
fn write(
    endpoint: &mut Endpoint,
    arrived: &Arrived<'_>,
    layer: Option<usize>,
    allowed: bool,
    now: Instant,
) -> WriteOutcome {
    // Before DTLS is done str0m would keep all packets for later.
    if !endpoint.connected {
        return WriteOutcome::No;
    }
    let Some(subscriber) = endpoint.role.subscriber_mut() else { return WriteOutcome::No };
    let Subscriber { audio, video, target, shed, .. } = subscriber;
    let track = if layer.is_some() { video } else { audio };
    let Some(track) = track else { return WriteOutcome::No };
    let wanted = if layer.is_some() { target.is_some() } else { *shed < Shed::All };
    if !allowed || !wanted {
        track.pause();
        return WriteOutcome::No;
    }
    // The layer that is left goes on until the key frame of the one that is begun.
    if layer != *target && layer.is_some() && !track.continues(arrived.origin) {
        return WriteOutcome::No;
    }
    track.write(&mut endpoint.rtc, arrived, now)
}

/// Sends the requests that are due to the publisher's encoder.
fn request_keyframe(publisher: &mut Endpoint, now: Instant) -> bool {
    let Some(role) = publisher.role.publisher_mut() else { return false };
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
