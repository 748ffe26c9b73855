//! A conference at two Janus servers: each takes the other's streams as plain RTP (`add_remote_publisher` at the one,
//! `publish_remotely` at the other; Janus documentation: "VideoRoom plugin"). The received stream is a feed as any
//! other.

use std::net::IpAddr;

use confgate_sfu::protocol::{EndpointId, Notice, Refusal};
use serde_json::{Value, json};

use super::core::{Janus, MediaPart, Waiting};
use super::message;
use super::relay::Pull;
use super::relay::{Forward, Left};
use super::rooms::{Feed, Track, display};
use super::rtp_forward::{self, Address, Sent};

impl Janus {
    /// Asks the other node what it sends.
    pub(super) fn inquire(&mut self, id: EndpointId) {
        self.send_notice(Notice::Offer { endpoint: id, offer: rtp_forward::offer(None) });
    }

    pub(super) fn answered(&mut self, id: EndpointId, answer: &str) {
        let part = self.endpoints.get(&id).map(|endpoint| &endpoint.part);
        let Some(MediaPart::Pull(pull)) = part else { return self.refuse(id, Refusal::BadEndpoint) };
        let Some(sent) = rtp_forward::read_answer(answer) else { return self.fail(id, Refusal::BadSdp) };
        if pull.sent.is_empty() {
            self.add(id, sent);
        } else if pull.added && pull.sent == sent {
            self.send_notice(Notice::Connected { endpoint: id });
            self.live(id);
        } else {
            // It was published anew meanwhile, with other tracks.
            self.fail(id, Refusal::Unavailable);
        }
    }

    /// Has ports opened for what is sent.
    fn add(&mut self, id: EndpointId, sent: Vec<Sent>) {
        let feed = self.next_number();
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let MediaPart::Pull(pull) = &mut endpoint.part else { return };
        (pull.sent, pull.feed) = (sent, Some(feed));
        // Janus names each by its place, whatever it is told.
        let of = |sent: &Sent| Track { mid: sent.place.to_string(), is_video: sent.is_video() };
        let (tracks, streams) = (pull.sent.iter().map(of).collect(), rtp_forward::streams(&pull.sent));
        let (room, stream) = (endpoint.room.clone(), endpoint.stream.clone());
        let (Some(control), Some(number)) = (self.control, self.rooms.get(&room).map(|room| room.number)) else {
            return self.fail(id, Refusal::Unavailable);
        };
        let mut body = json!({
            "request": "add_remote_publisher", "room": number, "secret": self.settings.secret, "id": feed,
            "display": display(&stream), "streams": streams,
        });
        if let Some(address) = self.settings.rtp_address {
            body["iface"] = address.to_string().into();
        }
        self.take_place(&room, stream, Feed { id: feed, endpoint: id, up: false, tracks, sent: Vec::new() });
        self.busy.entry(number).or_default().requests += 1;
        self.request(Waiting::Added(id, number, feed), message::plugin(control, body, None));
    }

    /// The other node is told where to send.
    pub(super) fn added(&mut self, id: EndpointId, number: u64, feed: u64, data: &Value) {
        let port = |name: &str| data[name].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        let ip = data["ip"].as_str().and_then(|ip| ip.parse::<IpAddr>().ok()).or(self.host);
        let at = ip.zip(port("port")).zip(port("rtcp_port")).map(|((ip, rtp), rtcp)| Address { ip, rtp, rtcp });
        match self.endpoints.get_mut(&id).map(|endpoint| &mut endpoint.part) {
            Some(MediaPart::Pull(pull)) if at.is_some() => {
                pull.added = true;
                self.send_notice(Notice::Offer { endpoint: id, offer: rtp_forward::offer(at) });
            }
            // Closed in the meantime, or nothing can be sent there.
            _ => {
                self.remove(number, feed);
                self.fail(id, Refusal::Unavailable);
            }
        }
        self.settled(number);
    }

    /// Janus may have added it after all, too late.
    pub(super) fn not_added(&mut self, id: EndpointId, number: u64, feed: u64) {
        self.remove(number, feed);
        self.fail(id, Refusal::Unavailable);
        self.settled(number);
    }

    fn remove(&mut self, number: u64, feed: u64) {
        let Some(control) = self.control else { return };
        let secret = &self.settings.secret;
        let body = json!({"request": "remove_remote_publisher", "room": number, "secret": secret, "id": feed});
        self.busy.entry(number).or_default().requests += 1;
        self.request(Waiting::Removed(number), message::plugin(control, body, None));
    }

    /// One of the requests about its remote publishers is answered.
    pub(super) fn settled(&mut self, number: u64) {
        let Some(busy) = self.busy.get_mut(&number) else { return };
        busy.requests -= 1;
        if busy.requests == 0 && self.busy.remove(&number).is_some_and(|busy| busy.destroy) {
            self.destroy(number);
        }
    }

    pub(super) fn destroy(&mut self, number: u64) {
        if let Some(busy) = self.busy.get_mut(&number) {
            busy.destroy = true;
        } else if let Some(control) = self.control {
            let destroy = message::destroy(number, &self.settings.secret);
            self.request(Waiting::Nothing, message::plugin(control, destroy, None));
        }
    }

    /// The link has ended. Rooms outlive it, if Janus does: they are destroyed when there is another.
    pub(super) fn leave_behind(&mut self) {
        if self.control.is_none() {
            // Nothing was made yet.
            return self.rooms.clear();
        }
        let busy = std::mem::take(&mut self.busy).into_iter().filter(|(_, busy)| busy.destroy);
        self.left.extend(busy.map(|(number, _)| Left { number, remotes: Vec::new() }));
        for (id, room) in std::mem::take(&mut self.rooms) {
            let pulled = self.endpoints.values().filter(|endpoint| endpoint.room == id);
            let remotes = pulled.filter_map(|endpoint| match &endpoint.part {
                MediaPart::Pull(pull) => pull.feed,
                _ => None,
            });
            self.left.push(Left { number: room.number, remotes: remotes.collect() });
        }
    }

    pub(super) fn clear_left(&mut self) {
        for Left { number, remotes } in std::mem::take(&mut self.left) {
            remotes.into_iter().for_each(|feed| self.remove(number, feed));
            self.destroy(number);
        }
    }

    /// Another node's offer, once the stream is there: tells what there is, or sends it.
    pub(super) fn forward(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let Some(room) = self.rooms.get(&endpoint.room) else { return };
        let (Some(feed), MediaPart::Forward(forward)) = (room.live(&endpoint.stream), &mut endpoint.part) else {
            return;
        };
        if forward.feed.is_some() {
            return;
        }
        forward.feed = Some((feed.id, feed.endpoint));
        let Some(to) = forward.to else {
            let answer = rtp_forward::answer(&feed.sent, false);
            return self.send_notice(Notice::Answer { endpoint: id, answer });
        };
        let (number, feed) = (room.number, feed.id);
        let mut body = json!({
            "request": "publish_remotely", "room": number, "secret": self.settings.secret, "publisher_id": feed,
            "remote_id": id.0.to_string(), "host": to.ip.to_string(), "port": to.rtp, "rtcp_port": to.rtcp,
        });
        // Wanted where forwarding is locked (`lock_rtp_forward`).
        if let Some(key) = &self.settings.admin_key {
            body["admin_key"] = key.as_str().into();
        }
        let Some(control) = self.control else { return };
        self.request(Waiting::Forwarded(id, number, feed), message::plugin(control, body, None));
    }

    pub(super) fn forwarded(&mut self, id: EndpointId, number: u64, feed: u64) {
        let part = self.endpoints.get_mut(&id).map(|endpoint| (&endpoint.room, &endpoint.stream, &mut endpoint.part));
        let Some((room, stream, MediaPart::Forward(forward))) = part else { return self.unpublish(id, number, feed) };
        forward.sends = true;
        let feed = self.rooms.get(room).and_then(|room| room.live(stream));
        let answer = rtp_forward::answer(feed.map_or(&[], |feed| feed.sent.as_slice()), true);
        self.send_notice(Notice::Answer { endpoint: id, answer });
    }

    pub(super) fn unpublish(&mut self, id: EndpointId, number: u64, feed: u64) {
        let Some(control) = self.control else { return };
        let body = json!({
            "request": "unpublish_remotely", "room": number, "secret": self.settings.secret, "publisher_id": feed,
            "remote_id": id.0.to_string(),
        });
        self.request(Waiting::Nothing, message::plugin(control, body, None));
    }

    /// Removes what an ended connection leaves at Janus.
    pub(super) fn take_back(&mut self, id: EndpointId, number: u64, part: &MediaPart) {
        match part {
            MediaPart::Pull(Pull { feed: Some(feed), added: true, .. }) => self.remove(number, *feed),
            // With its publisher it ends by itself.
            MediaPart::Forward(Forward { feed: Some((feed, from)), sends: true, .. })
                if self.endpoints.contains_key(from) =>
            {
                self.unpublish(id, number, *feed);
            }
            MediaPart::Publisher { .. } => {
                let sent = |part: &MediaPart| matches!(part, MediaPart::Forward(forward) if forward.is_from(id));
                let mut over: Vec<EndpointId> =
                    self.endpoints.iter().filter(|(_, e)| sent(&e.part)).map(|(id, _)| *id).collect();
                over.sort_unstable();
                over.into_iter().for_each(|id| self.fail(id, Refusal::Unavailable));
            }
            _ => {}
        }
    }
}
