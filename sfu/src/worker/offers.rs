//! Offers and answers: how endpoints come to be.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::Rtc;
use str0m::bwe::Bitrate;
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::Protocol;

use super::{Routing, Worker, mark};
use crate::admission::EXPECTED;
use crate::codec;
use crate::endpoint::{Both, Endpoint, Ice, Path, Publisher, Role, Subscriber, host_candidate, random, seed};
use crate::protocol::{EndpointId, Notice, Reason, Refusal, RoomId, StreamId};
use crate::resends::Resends;
use crate::room::{Stream, StreamKey};
use crate::sdp::{self, Offer, Unreadable};

/// The rate that a path is assumed to carry until it was measured: a small layer and sound.
const FIRST_ESTIMATE: Bitrate = Bitrate::kbps(600);

impl Worker {
    pub(super) fn publish(
        &mut self,
        room: RoomId,
        id: EndpointId,
        stream: StreamId,
        offer: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.admit(id, EXPECTED, now)?;
        let role = Role::Publisher(Box::new(Publisher::new(self.limits.publisher_packets_per_s_max, now)));
        let answer = self.answer_to(id, role, &room, stream, offer, now)?;
        self.notices.push_back(Notice::Answer { endpoint: id, answer });
        self.take_place(id, now);
        Ok(())
    }

    /// The endpoint is its stream's publisher from now on; the one before ends.
    fn take_place(&mut self, id: EndpointId, now: Instant) {
        let Some(key) = self.endpoints.get(&id).map(|endpoint| endpoint.stream) else { return };
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if let Some(former) = stream.publisher.replace(id)
            && former != id
        {
            self.close(former, Some(Reason::Replaced), now);
        }
        self.retarget(key, now);
    }

    pub(super) fn subscribe(
        &mut self,
        room: RoomId,
        id: EndpointId,
        stream: StreamId,
        offer: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.admit(id, self.rate(&room, &stream).max(EXPECTED), now)?;
        let role = Role::Subscriber(Box::default());
        let answer = self.answer_to(id, role, &room, stream, offer, now)?;
        self.notices.push_back(Notice::Answer { endpoint: id, answer });
        let Some(key) = self.endpoints.get(&id).map(|endpoint| endpoint.stream) else { return Ok(()) };
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.subscribers.push(id);
        }
        self.retarget(key, now);
        Ok(())
    }

    pub(super) fn exchange(
        &mut self,
        room: RoomId,
        id: EndpointId,
        stream: StreamId,
        other: StreamId,
        offer: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.admit(id, self.rate(&room, &other).max(EXPECTED), now)?;
        let publisher = Publisher::new(self.limits.publisher_packets_per_s_max, now);
        let both = Both { publisher, subscriber: Subscriber::default(), viewed: StreamKey(u64::MAX) };
        let answer = self.answer_to(id, Role::Both(Box::new(both)), &room, stream, offer, now)?;
        self.notices.push_back(Notice::Answer { endpoint: id, answer });
        if !self.endpoints.contains_key(&id) {
            return Ok(());
        }
        let key = self.stream_key(&room, other);
        if let Some(Role::Both(both)) = self.endpoints.get_mut(&id).map(|endpoint| &mut endpoint.role)
            && let Some(viewed) = self.streams.get_mut(&key)
        {
            both.viewed = key;
            viewed.subscribers.push(id);
        }
        self.take_place(id, now);
        self.retarget(key, now);
        Ok(())
    }

    /// `expected`: packets that the endpoint will take in a second.
    fn admit(&mut self, id: EndpointId, expected: u64, now: Instant) -> Result<(), Refusal> {
        if self.endpoints.contains_key(&id) {
            return Err(Refusal::BadEndpoint);
        }
        if self.endpoints.len() >= self.limits.endpoints_max || !self.admission.admit(expected, now) {
            return Err(Refusal::Overloaded);
        }
        Ok(())
    }

    /// Makes the endpoint that answers the offer.
    fn answer_to(
        &mut self,
        id: EndpointId,
        role: Role,
        room: &RoomId,
        stream: StreamId,
        offer: &str,
        now: Instant,
    ) -> Result<String, Refusal> {
        let offer = Offer::read(offer, role.wants()).map_err(|error| unreadable(id, error))?;
        let codecs = offer.codecs().map_err(|error| unreadable(id, error))?;
        let sends = role.wants().sends;
        let path = match role {
            Role::Publisher(_) | Role::Both(_) => Path::Theirs,
            Role::Subscriber(_) if self.has_choice(room, &stream) => Path::Estimated(FIRST_ESTIMATE),
            Role::Subscriber(_) => Path::Unknown,
        };
        let resends = if sends { Resends::of(&codecs) } else { None };
        let mut rtc = self.factory.rtc(Ice::Lite, path, codecs, resends.is_some(), now);
        for (proto, address) in &self.locals {
            host_candidate(*proto, *address).and_then(|candidate| rtc.add_local_candidate(candidate).map(|_| ()));
        }
        let answer = accept(id, &mut rtc, &offer, sends)?;
        let mut endpoint = Endpoint::new(id, StreamKey(u64::MAX), rtc, role, now + self.limits.connect_timeout);
        endpoint.resends = resends;
        endpoint.note_media(&answer, now);
        if !endpoint.has_media() {
            return Err(Refusal::BadSdp);
        }
        let answer =
            offer.answer(&answer.to_sdp_string(), &endpoint.identity).map_err(|error| unreadable(id, error))?;
        self.insert(endpoint, room, stream);
        self.drain(id, now);
        Ok(answer)
    }

    /// Whether the stream has layers to choose from, or may have when it comes. Only then is the viewer's path
    /// estimated: that is a third of what a packet costs.
    fn has_choice(&self, room: &RoomId, stream: &StreamId) -> bool {
        self.publisher(room, stream).is_none_or(|publisher| publisher.layers() > 1)
    }

    fn publisher(&self, room: &RoomId, stream: &StreamId) -> Option<&Endpoint> {
        let key = self.rooms.get(room)?.streams.get(stream)?;
        self.endpoints.get(&self.streams.get(key)?.publisher?)
    }

    /// Packets that the stream had in the last second; 0 while it isn't published.
    fn rate(&self, room: &RoomId, stream: &StreamId) -> u64 {
        let publisher = self.publisher(room, stream).and_then(|endpoint| endpoint.role.publisher());
        publisher.map_or(0, |publisher| publisher.packets.per_s())
    }

    fn insert(&mut self, mut endpoint: Endpoint, room: &RoomId, stream: StreamId) {
        let id = endpoint.id;
        endpoint.stream = self.stream_key(room, stream);
        let fragment = endpoint.rtc.direct_api().local_ice_credentials().ufrag;
        self.endpoints.insert(id, endpoint);
        self.name(id, fragment);
    }

    fn name(&mut self, endpoint: EndpointId, fragment: String) {
        self.demux.name(endpoint, fragment.clone());
        self.routing.push(Routing::Named { endpoint, fragment });
    }

    fn stream_key(&mut self, room: &RoomId, id: StreamId) -> StreamKey {
        let place = self.rooms.entry(room.clone()).or_default();
        if let Some(key) = place.streams.get(&id) {
            return *key;
        }
        let key = StreamKey(self.next_stream);
        self.next_stream += 1;
        let allowed = place.allowed(&id);
        place.streams.insert(id.clone(), key);
        let stream = Stream { id, room: room.clone(), publisher: None, subscribers: Vec::new(), allowed };
        self.streams.insert(key, stream);
        key
    }

    /// [`crate::protocol::Command::Pull`], with the address of a socket that is this endpoint's alone. Of its own, since all streams
    /// pulled from one node come from one address of that node: on a shared socket nothing told them apart.
    pub fn pull(&mut self, room: RoomId, id: EndpointId, stream: StreamId, own: SocketAddr, now: Instant) {
        match self.offer_to_receive(room, id, stream, own, now) {
            Ok(offer) => self.notices.push_back(Notice::Offer { endpoint: id, offer }),
            Err(refusal) => self.refuse(id, refusal),
        }
    }

    fn offer_to_receive(
        &mut self,
        room: RoomId,
        id: EndpointId,
        stream: StreamId,
        own: SocketAddr,
        now: Instant,
    ) -> Result<String, Refusal> {
        self.admit(id, EXPECTED, now)?;
        let mut rtc = self.factory.rtc(Ice::Full, Path::Theirs, codec::offered(), false, now);
        let candidate = host_candidate(Protocol::Udp, own).ok_or(Refusal::Unavailable)?;
        rtc.add_local_candidate(candidate);
        let mut changes = rtc.sdp_api();
        let audio = changes.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let video = changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = changes.apply().ok_or(Refusal::Unavailable)?;
        let publisher = Publisher::new(self.limits.publisher_packets_per_s_max, now);
        let role = Role::Publisher(Box::new(Publisher { pending: Some(pending), ..publisher }));
        let mut endpoint = Endpoint::new(id, StreamKey(u64::MAX), rtc, role, now + self.limits.connect_timeout);
        endpoint.own_socket = Some(own);
        // str0m tells of media that the other side added only.
        endpoint.add_media(audio, MediaKind::Audio, Vec::new(), now);
        endpoint.add_media(video, MediaKind::Video, Vec::new(), now);
        self.insert(endpoint, &room, stream);
        self.drain(id, now);
        Ok(offer.to_sdp_string())
    }

    pub(super) fn answered(&mut self, id: EndpointId, answer: &str, now: Instant) -> Result<(), Refusal> {
        let endpoint = self.endpoints.get_mut(&id).ok_or(Refusal::BadEndpoint)?;
        let publisher = endpoint.role.publisher_mut().ok_or(Refusal::BadEndpoint)?;
        let pending = publisher.pending.take().ok_or(Refusal::BadEndpoint)?;
        let taken = sdp::answer(answer)
            .and_then(|answer| endpoint.rtc.sdp_api().accept_answer(pending, answer).map_err(|e| bad_sdp(id, &e)));
        if let Err(refusal) = taken {
            self.remove(id, None);
            return Err(refusal);
        }
        endpoint.lost_at = Some(now + self.limits.connect_timeout);
        mark(&mut self.dirty, endpoint);
        self.take_place(id, now);
        Ok(())
    }

    pub(super) fn renegotiate(&mut self, id: EndpointId, offer: &str, now: Instant) -> Result<(), Refusal> {
        let endpoint = self.endpoints.get_mut(&id).ok_or(Refusal::BadEndpoint)?;
        let offer = Offer::read(offer, endpoint.role.wants()).map_err(|error| unreadable(id, error))?;
        let parsed = offer.parsed(offer.len()).map_err(|error| unreadable(id, error))?;
        seed();
        let answer = endpoint.rtc.sdp_api().accept_offer(parsed).map_err(|error| bad_sdp(id, &error));
        offer.candidates.iter().for_each(|candidate| endpoint.rtc.add_remote_candidate(candidate.clone()));
        if let Some(subscriber) = endpoint.role.subscriber_mut() {
            let tracks = [subscriber.audio.as_mut(), subscriber.video.as_mut()];
            tracks.into_iter().flatten().for_each(|track| track.renegotiated());
        }
        let fragment = endpoint.rtc.direct_api().local_ice_credentials().ufrag;
        mark(&mut self.dirty, endpoint);
        let answer = answer.and_then(|answer| {
            endpoint.note_media(&answer, now);
            offer.answer(&answer.to_sdp_string(), &endpoint.identity).map_err(|error| unreadable(id, error))
        });
        self.name(id, fragment);
        let answer = answer?;
        self.notices.push_back(Notice::Answer { endpoint: id, answer });
        self.want_keyframe(id, now);
        Ok(())
    }
}

/// str0m gives each track of an answer a CNAME of its own and lets nobody choose it, where all tracks of a sender have
/// one (RFC 8834 section 4.9). It draws them from a generator that can be wound back: the sections are offered one
/// after the other, each with the same draw.
fn accept(id: EndpointId, rtc: &mut Rtc, offer: &Offer<'_>, sends: bool) -> Result<SdpAnswer, Refusal> {
    let draw = random();
    let mut taken = |count| {
        let part = offer.parsed(count).map_err(|error| unreadable(id, error))?;
        fastrand::seed(draw);
        rtc.sdp_api().accept_offer(part).map_err(|error| bad_sdp(id, &error))
    };
    if sends {
        (1..offer.len()).try_for_each(|count| taken(count).map(drop))?;
    }
    let answer = taken(offer.len());
    seed();
    offer.candidates.iter().for_each(|candidate| rtc.add_remote_candidate(candidate.clone()));
    answer
}

fn unreadable(id: EndpointId, Unreadable(why): Unreadable) -> Refusal {
    tracing::info!(endpoint = id.0, why, "an offer that isn't answered");
    Refusal::BadSdp
}

fn bad_sdp(id: EndpointId, error: &str0m::RtcError) -> Refusal {
    tracing::debug!(endpoint = id.0, %error, "an SDP that can't be taken");
    Refusal::BadSdp
}
