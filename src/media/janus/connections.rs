//! Connections: from the offer to the end of one, for those who send and those who watch.

use confgate_sfu::protocol::{EndpointId, Notice, Reason, Refusal, RoomId, StreamId};
use serde_json::{Value, json};

use super::core::{Endpoint, Janus, MediaPart, Output, Waiting};
use super::message::{self, Handle};
use super::rooms::display;
use super::rooms::{Feed, Forwarding, Track};
use super::rtp_forward;
use super::sdp::{Mirrored, Unmirrored, mirror, named};

/// Candidates that wait for their connection's handle.
const CANDIDATES: usize = 128;
/// Heights up to which the lowest and the middle layer of a simulcast are enough, in pixels.
const LOW_HEIGHT: u32 = 180;
const MIDDLE_HEIGHT: u32 = 360;

impl Janus {
    pub(super) fn attached(&mut self, id: EndpointId, handle: Handle) {
        let Some(endpoint) = self.endpoints.get_mut(&id).filter(|e| e.handle.is_none()) else {
            // Closed in the meantime.
            return self.request(Waiting::Nothing, message::detach(handle));
        };
        endpoint.handle = Some(handle);
        self.by_handle.insert(handle, id);
        let (room, stream) = (endpoint.room.clone(), endpoint.stream.clone());
        let number = self.rooms.get(&room).map_or(0, |room| room.number);
        let pin = self.settings.secret.clone();
        if let MediaPart::Publisher { offer } = &endpoint.part {
            let offer = offer.clone();
            let feed = self.next_number();
            let body = json!({
                "request": "joinandconfigure", "ptype": "publisher", "room": number, "pin": pin,
                "id": feed, "display": display(&stream),
            });
            let joined = Feed { id: feed, endpoint: id, up: false, tracks: Vec::new(), sent: Vec::new() };
            self.take_place(&room, stream, joined);
            return self.request(Waiting::Joined(id), message::plugin(handle, body, Some(("offer", &offer))));
        }
        let Some(feed) = self.rooms.get(&room).and_then(|room| room.live(&stream)).map(|feed| feed.id) else {
            return self.wait_again(id);
        };
        let body = json!({
            "request": "join", "ptype": "subscriber", "room": number, "pin": pin,
            "streams": [{"feed": feed}], "autoupdate": false,
        });
        self.request(Waiting::Offered(id), message::plugin(handle, body, None));
    }

    pub(super) fn joined(&mut self, id: EndpointId, data: &Value, answer: String) {
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        let tracks = tracks(&data["streams"]);
        let feed = self.rooms.get_mut(&endpoint.room).and_then(|room| room.feeds.get_mut(&endpoint.stream));
        if let Some(feed) = feed.filter(|feed| feed.endpoint == id) {
            feed.tracks.clone_from(&tracks);
            feed.sent = rtp_forward::sent(&data["streams"], &answer);
        }
        let mid = tracks.first().map(|track| track.mid.clone()).unwrap_or_default();
        self.send_notice(Notice::Answer { endpoint: id, answer });
        self.described(id, mid);
    }

    /// Janus offers its stream: told to the client as the answer to its own offer, or as it is where the client made
    /// none.
    pub(super) fn offered(&mut self, id: EndpointId, data: &Value, janus: String) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let MediaPart::Subscriber { offer, tracks: own, .. } = &mut endpoint.part else { return };
        *own = tracks(&data["streams"]);
        let stream = format!("stream-{}", id.0);
        if offer.is_empty() {
            return self.send_notice(Notice::Offer { endpoint: id, offer: named(&janus, &stream) });
        }
        match mirror(offer, &janus, &stream) {
            Ok(Mirrored { for_client, for_janus, mids, lacks_codec }) => {
                let mid = mids.into_iter().next().map(|(_, janus)| janus).unwrap_or_default();
                self.send_notice(Notice::Answer { endpoint: id, answer: for_client });
                self.start(id, &for_janus, mid);
                if lacks_codec {
                    self.notify_codec(id);
                }
            }
            Err(Unmirrored::PayloadTypes) => self.fail(id, Refusal::PayloadTypes),
            Err(Unmirrored::Nothing) => self.fail(id, Refusal::BadSdp),
        }
    }

    /// Viewer and sender are to be told that they have no codec in common.
    fn notify_codec(&mut self, viewer: EndpointId) {
        let Some(endpoint) = self.endpoints.get(&viewer) else { return };
        let feed = self.rooms.get(&endpoint.room).and_then(|room| room.live(&endpoint.stream));
        if let Some(publisher) = feed.map(|feed| feed.endpoint) {
            self.send_notice(Notice::NoCommonCodec { viewer, publisher });
        }
    }

    /// The client answers what Janus offered.
    pub(super) fn offer_answered(&mut self, id: EndpointId, answer: &str) {
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        let MediaPart::Subscriber { offer, tracks, .. } = &endpoint.part else { return };
        if !offer.is_empty() || tracks.is_empty() || endpoint.described {
            return self.refuse(id, Refusal::BadEndpoint);
        }
        let mid = tracks.first().map(|track| track.mid.clone()).unwrap_or_default();
        self.start(id, answer, mid);
    }

    pub(super) fn start(&mut self, id: EndpointId, answer: &str, mid: String) {
        let Some(handle) = self.endpoints.get(&id).and_then(|endpoint| endpoint.handle) else { return };
        let start = message::plugin(handle, json!({"request": "start"}), Some(("answer", answer)));
        self.request(Waiting::Nothing, start);
        self.described(id, mid);
        let view = self.endpoints.get(&id).and_then(|endpoint| match &endpoint.part {
            MediaPart::Subscriber { view, .. } => *view,
            _ => None,
        });
        if let Some((_, height)) = view {
            self.view(id, height);
        }
    }

    /// Candidates that came early may go.
    pub(super) fn described(&mut self, id: EndpointId, mid: String) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        (endpoint.mid, endpoint.described) = (mid, true);
        let early = std::mem::take(&mut endpoint.early);
        early.into_iter().for_each(|candidate| self.candidate(id, candidate));
    }

    pub(super) fn candidate(&mut self, id: EndpointId, candidate: String) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        match endpoint.handle.filter(|_| endpoint.described) {
            Some(handle) => {
                let trickle = message::trickle(handle, &candidate, &endpoint.mid);
                self.request(Waiting::Nothing, trickle);
            }
            None if endpoint.early.len() < CANDIDATES => endpoint.early.push(candidate),
            None => {}
        }
    }

    pub(super) fn up(&mut self, handle: Handle) {
        let Some(id) = self.by_handle.get(&handle).copied() else { return };
        self.send_notice(Notice::Connected { endpoint: id });
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        if matches!(endpoint.part, MediaPart::Publisher { .. }) {
            self.live(id);
        }
    }

    /// The feed takes the place of the one that there was for the stream.
    pub(super) fn take_place(&mut self, room: &RoomId, stream: StreamId, feed: Feed) {
        let before = self.rooms.get_mut(room).and_then(|room| room.feeds.insert(stream, feed));
        if let Some(before) = before {
            self.send_notice(Notice::Closed { endpoint: before.endpoint, reason: Reason::Replaced });
            self.close(before.endpoint);
        }
    }

    /// The connection's media is there: others may receive it.
    pub(super) fn live(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        let (id_of_room, stream) = (endpoint.room.clone(), endpoint.stream.clone());
        let Some(room) = self.rooms.get_mut(&id_of_room) else { return };
        let Some(feed) = room.feeds.get_mut(&stream).filter(|feed| feed.endpoint == id) else { return };
        feed.up = true;
        let (feed, number) = (feed.clone(), room.number);
        if let Some(permit) = room.permits.get(&stream).copied() {
            self.moderate(number, &feed, permit);
        }
        let mut watching: Vec<EndpointId> =
            self.endpoints.iter().filter(|(_, e)| e.watches(&id_of_room, &stream)).map(|(id, _)| *id).collect();
        watching.sort_unstable();
        for watching in watching {
            self.show(watching, &feed);
        }
    }

    /// A stream that is there, or there again, for one who waits for it or watched what it replaces.
    pub(super) fn show(&mut self, id: EndpointId, feed: &Feed) {
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        let (Some(handle), MediaPart::Subscriber { tracks, .. }, true) =
            (endpoint.handle, &endpoint.part, endpoint.described)
        else {
            return self.proceed(id);
        };
        let with = |own: &Track| {
            let fits = feed.tracks.iter().find(|track| track.is_video == own.is_video)?;
            Some(json!({"feed": feed.id, "mid": fits.mid, "sub_mid": own.mid}))
        };
        let streams: Vec<Value> = tracks.iter().filter_map(with).collect();
        self.request(Waiting::Nothing, message::plugin(handle, json!({"request": "switch", "streams": streams}), None));
    }

    pub(super) fn down(&mut self, handle: Handle, reason: &str) {
        let Some(id) = self.by_handle.get(&handle).copied() else { return };
        let reason = if reason.contains("ICE") { Reason::IceFailed } else { Reason::Hangup };
        self.send_notice(Notice::Closed { endpoint: id, reason });
        self.close(id);
    }

    /// The stream went before the viewer came, or Janus isn't ready to show it: their handle is given back, and they
    /// wait.
    pub(super) fn wait_again(&mut self, id: EndpointId) {
        self.early.insert(id);
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        if let Some(handle) = endpoint.handle.take() {
            self.by_handle.remove(&handle);
            self.request(Waiting::Nothing, message::detach(handle));
        }
    }

    pub(super) fn view(&mut self, id: EndpointId, height: u32) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let MediaPart::Subscriber { tracks, view, .. } = &mut endpoint.part else { return };
        *view = Some((0, height));
        let layer = u32::from(height > LOW_HEIGHT) + u32::from(height > MIDDLE_HEIGHT);
        let of = |track: &Track| json!({"mid": track.mid, "send": height > 0, "substream": layer});
        let streams: Vec<Value> = tracks.iter().filter(|track| track.is_video).map(of).collect();
        if let Some(handle) = endpoint.handle.filter(|_| endpoint.described && !streams.is_empty()) {
            let configure = json!({"request": "configure", "streams": streams});
            self.request(Waiting::Nothing, message::plugin(handle, configure, None));
        }
    }

    pub(super) fn moderate(&mut self, room: u64, feed: &Feed, permit: Forwarding) {
        let Some(control) = self.control else { return };
        for track in &feed.tracks {
            let body = json!({
                "request": "moderate", "room": room, "secret": self.settings.secret,
                "id": feed.id, "mid": track.mid, "mute": !permit.of(track),
            });
            self.request(Waiting::Nothing, message::plugin(control, body, None));
        }
    }

    /// The speaker. The plugin tells it to every publisher of the room, so all reports but the first are repeats.
    pub(super) fn on_event(&mut self, data: &Value) {
        let speaks = match data["videoroom"].as_str() {
            Some("talking") => true,
            Some("stopped-talking") => false,
            _ => return,
        };
        let (number, feed) = (data["room"].as_u64(), data["id"].as_u64());
        let Some((id, room)) = self.rooms.iter_mut().find(|(_, room)| Some(room.number) == number) else { return };
        let who = room.feeds.iter().find(|(_, f)| Some(f.id) == feed).map(|(stream, _)| stream.member.clone());
        let Some(who) = who else { return };
        let now = if speaks { Some(who) } else { room.speaker.clone().filter(|before| *before != who) };
        if room.speaker != now {
            room.speaker.clone_from(&now);
            let notice = Notice::Speaker { room: id.clone(), member: now };
            self.out.push(Output::Notify(notice));
        }
    }
}

impl Endpoint {
    fn watches(&self, room: &RoomId, stream: &StreamId) -> bool {
        matches!(self.part, MediaPart::Subscriber { .. } | MediaPart::Forward(_))
            && self.room == *room
            && self.stream == *stream
    }
}

fn tracks(streams: &Value) -> Vec<Track> {
    let of = |stream: &Value| {
        let is_video = match stream["type"].as_str()? {
            "audio" => false,
            "video" => true,
            _ => return None,
        };
        Some(Track { mid: stream["mid"].as_str()?.to_owned(), is_video })
    };
    streams.as_array().into_iter().flatten().filter_map(of).collect()
}
