//! RTP forwards from one Janus to another: plain RTP, from `publish_remotely` at the one to the ports that
//! `add_remote_publisher` has opened at the other. Their drivers agree on them in SDP (RFC 8866), offer and answer (RFC
//! 3264). Pure.
//!
//! The tracks must be known before the ports are opened, so there are two rounds: an inactive offer asks for the list
//! of tracks, an offer with an address asks for the media. The tracks are told apart by their SSRCs, which
//! `publish_remotely` assigns by the position of each track among the publisher's streams.

use std::fmt::Write;
use std::net::IpAddr;

use confgate_sfu::sdp::SDP_MAX;
use serde_json::{Value, json};

/// `REMOTE_PUBLISHER_BASE_SSRC`, `REMOTE_PUBLISHER_SSRC_STEP` of the plugin: the first of its SSRCs, and the steps.
const SSRC_BASE: u32 = 1000;
const SSRC_STEP: u32 = 10;
/// A publisher's streams that are looked at.
const PLACES: u32 = 16;
/// Feedback goes back to the sender's RTCP port: PLI (RFC 4585).
const PROTOCOL: &str = "RTP/AVPF";
/// RFC 6464.
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// A codec of our rooms: as Janus calls it, as SDP does, and the payload type that Janus has for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Codec {
    name: &'static str,
    rtpmap: &'static str,
    payload: u8,
    is_video: bool,
}

const CODECS: [Codec; 4] = [
    Codec { name: "opus", rtpmap: "opus/48000/2", payload: 111, is_video: false },
    Codec { name: "vp8", rtpmap: "VP8/90000", payload: 96, is_video: true },
    Codec { name: "h264", rtpmap: "H264/90000", payload: 107, is_video: true },
    Codec { name: "av1", rtpmap: "AV1/90000", payload: 98, is_video: true },
];

/// A track that a publisher sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Which of the publisher's streams it is (`mindex`).
    pub place: u32,
    pub codec: &'static Codec,
    /// In three layers.
    pub simulcast: bool,
    /// The number of the header extension that says how loud it is.
    pub level: Option<u8>,
}

/// Where a Janus takes what another sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    pub rtp: u16,
    pub rtcp: u16,
}

/// The tracks in Janus's answer to a publisher: `streams` of its event, and its SDP.
pub fn sent(streams: &Value, sdp: &str) -> Vec<Sent> {
    let mut found: Vec<Sent> = Vec::new();
    for stream in streams.as_array().into_iter().flatten() {
        let place = stream["mindex"].as_u64().and_then(|place| u32::try_from(place).ok());
        let codec = CODECS.iter().find(|codec| stream["codec"] == codec.name);
        let (Some(place), Some(codec)) = (place.filter(|place| *place < PLACES), codec) else { continue };
        let is_first = found.iter().all(|sent| sent.codec.is_video != codec.is_video);
        if stream["disabled"] != true && is_first {
            let level = if codec.is_video { None } else { audio_level(sdp) };
            found.push(Sent { place, codec, simulcast: stream["simulcast"] == true, level });
        }
    }
    found
}

/// The same as `streams` of `add_remote_publisher`, which counts them by where they stand there.
pub fn streams(sent: &[Sent]) -> Vec<Value> {
    let last = sent.iter().map(|sent| sent.place).max().unwrap_or_default();
    let at = |place: u32| match sent.iter().find(|sent| sent.place == place) {
        Some(Sent { codec, simulcast, level, .. }) => json!({
            "type": kind(codec.is_video), "mindex": place, "mid": place.to_string(), "codec": codec.name,
            "simulcast": simulcast, "audiolevel_ext_id": level.unwrap_or_default(),
        }),
        // Nothing comes of it; those behind it must not move up.
        None => json!({
            "type": "audio", "mindex": place, "mid": place.to_string(), "codec": "opus", "disabled": true,
        }),
    };
    (0..=last).map(at).collect()
}

impl Sent {
    pub fn is_video(&self) -> bool {
        self.codec.is_video
    }

    fn ssrc(&self) -> u32 {
        SSRC_BASE + SSRC_STEP * self.place
    }
}

/// An offer to receive at that address; `None`: to hear first what there is.
pub fn offer(at: Option<Address>) -> String {
    let (port, direction) = at.map_or((9, "inactive"), |at| (at.rtp, "recvonly"));
    let mut out = begin(at.map(|at| at.ip));
    for is_video in [false, true] {
        let codecs = CODECS.iter().filter(|codec| codec.is_video == is_video);
        section(&mut out, is_video, port, codecs);
        write!(out, "a={direction}\r\n").expect(WRITTEN);
        if let Some(at) = at {
            write!(out, "a=rtcp:{}\r\n", at.rtcp).expect(WRITTEN);
        }
    }
    out
}

/// `None`: no offer of this kind. `Some(None)`: one that asks what there is.
pub fn read_offer(text: &str) -> Option<Option<Address>> {
    let sections = sections(text)?;
    let (line, attributes) = sections.iter().find(|(line, _)| line.port != 0)?;
    if attributes.contains(&"a=inactive") {
        return Some(None);
    }
    let ip = text.lines().find_map(|line| line.strip_prefix("c=")?.split(' ').nth(2))?;
    let ip: IpAddr = ip.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast())?;
    let rtcp = attributes.iter().find_map(|line| line.strip_prefix("a=rtcp:")?.parse().ok())?;
    (rtcp != 0).then_some(Some(Address { ip, rtp: line.port, rtcp }))
}

/// The answer that lists the tracks that are sent, now or once there is an address.
pub fn answer(sent: &[Sent], flows: bool) -> String {
    let mut out = begin(None);
    for is_video in [false, true] {
        let Some(track) = sent.iter().find(|track| track.codec.is_video == is_video) else {
            section(&mut out, is_video, 0, CODECS.iter().filter(|codec| codec.is_video == is_video));
            continue;
        };
        section(&mut out, is_video, 9, std::iter::once(track.codec));
        write!(out, "a={}\r\n", if flows { "sendonly" } else { "inactive" }).expect(WRITTEN);
        let ssrc = track.ssrc();
        if track.simulcast {
            write!(out, "a=ssrc-group:SIM {} {} {}\r\n", ssrc, ssrc + 1, ssrc + 2).expect(WRITTEN);
        }
        write!(out, "a=ssrc:{ssrc} cname:janus\r\n").expect(WRITTEN);
        if let Some(level) = track.level {
            write!(out, "a=extmap:{level} {AUDIO_LEVEL}\r\n").expect(WRITTEN);
        }
    }
    out
}

/// `None`: no answer of this kind, or of what our rooms don't have.
pub fn read_answer(text: &str) -> Option<Vec<Sent>> {
    let mut found: Vec<Sent> = Vec::new();
    for (line, attributes) in sections(text)?.into_iter().filter(|(line, _)| line.port != 0) {
        let payload = format!("a=rtpmap:{} ", line.payload);
        let rtpmap = attributes.iter().find_map(|line| line.strip_prefix(payload.as_str()))?;
        let codec = CODECS.iter().find(|codec| codec.rtpmap == rtpmap && codec.is_video == line.is_video)?;
        let ssrc: u32 =
            attributes.iter().find_map(|line| line.strip_prefix("a=ssrc:")?.split(' ').next()?.parse().ok())?;
        let place = ssrc.checked_sub(SSRC_BASE).filter(|above| above % SSRC_STEP == 0)? / SSRC_STEP;
        let is_new = found.iter().all(|sent| sent.place != place && sent.codec.is_video != codec.is_video);
        if place >= PLACES || !is_new {
            return None;
        }
        let simulcast = attributes.iter().any(|line| line.starts_with("a=ssrc-group:SIM "));
        let level = attributes.iter().find_map(|line| level(line));
        found.push(Sent { place, codec, simulcast, level });
    }
    (!found.is_empty()).then_some(found)
}

const WRITTEN: &str = "a string takes what is written";

fn begin(ip: Option<IpAddr>) -> String {
    let (ip, family) = match ip {
        Some(ip) => (ip.to_string(), if ip.is_ipv6() { "IP6" } else { "IP4" }),
        None => ("0.0.0.0".to_owned(), "IP4"),
    };
    format!("v=0\r\no=- 1 1 IN {family} {ip}\r\ns=Janus\r\nc=IN {family} {ip}\r\nt=0 0\r\n")
}

fn section<'a>(out: &mut String, is_video: bool, port: u16, codecs: impl Iterator<Item = &'a Codec> + Clone) {
    write!(out, "m={} {port} {PROTOCOL}", kind(is_video)).expect(WRITTEN);
    for codec in codecs.clone() {
        write!(out, " {}", codec.payload).expect(WRITTEN);
    }
    out.push_str("\r\n");
    for codec in codecs {
        write!(out, "a=rtpmap:{} {}\r\n", codec.payload, codec.rtpmap).expect(WRITTEN);
    }
}

struct MediaLine<'a> {
    is_video: bool,
    port: u16,
    payload: &'a str,
}

/// Both m-sections; `None`: it is no description of this kind.
fn sections(text: &str) -> Option<Vec<(MediaLine<'_>, Vec<&str>)>> {
    let mut found: Vec<(MediaLine<'_>, Vec<&str>)> = Vec::new();
    for line in Some(text).filter(|text| text.len() <= SDP_MAX)?.lines() {
        let Some(media) = line.strip_prefix("m=") else {
            if let Some((_, attributes)) = found.last_mut() {
                attributes.push(line);
            }
            continue;
        };
        let mut words = media.split(' ');
        let is_video = match words.next()? {
            "audio" => false,
            "video" => true,
            _ => return None,
        };
        let port = words.next()?.parse().ok()?;
        if words.next()? != PROTOCOL || found.len() == 2 {
            return None;
        }
        found.push((MediaLine { is_video, port, payload: words.next()? }, Vec::new()));
    }
    (!found.is_empty()).then_some(found)
}

fn kind(is_video: bool) -> &'static str {
    if is_video { "video" } else { "audio" }
}

fn audio_level(sdp: &str) -> Option<u8> {
    sdp.lines().find_map(level)
}

/// The number of the header extension in that line, if it is the one that says how loud sound is. One byte's
/// (RFC 8285): 1 to 14.
fn level(line: &str) -> Option<u8> {
    let (number, uri) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
    let number = number.split('/').next()?.parse().ok().filter(|number| (1..=14).contains(number))?;
    (uri.split(' ').next() == Some(AUDIO_LEVEL)).then_some(number)
}
