//! The video codecs of an offer, to be compared with those of others' offers.

use str0m::format::{Codec, CodecSpec, FormatParams};
use str0m::media::Frequency;

use super::format::{CODECS, mapped};
use super::{Description, Section};
use crate::codec::distance;

/// Kept of one client: each codec in its profiles. Browsers offer about twelve.
const KEPT_MAX: usize = 32;

/// Those that the node forwards, in the order of the offer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VideoCodecs(Vec<CodecSpec>);

impl VideoCodecs {
    /// None where the offer has no picture, or is none.
    pub fn of(offer: &str) -> Self {
        let mut codecs = Self::default();
        let Ok(description) = Description::read(offer) else { return codecs };
        let pictures = description.media.iter().filter(|s| s.kind == "video" && !description.is_refused(s));
        for section in pictures {
            codecs.add(Self(section.formats.iter().filter_map(|format| spec(section, format)).collect()));
        }
        codecs
    }

    /// Whether there is no codec.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those of another offer of the same client.
    pub fn add(&mut self, other: Self) {
        for spec in other.0 {
            if self.0.len() < KEPT_MAX && !self.0.contains(&spec) {
                self.0.push(spec);
            }
        }
    }

    /// The codec that a client that offers these sends: the first of the node's answer.
    #[must_use]
    pub fn sent(&self) -> Self {
        Self(names().find_map(|(_, codec)| self.of_codec(codec)).into_iter().collect())
    }

    /// Whether the viewer decodes any of these.
    pub fn has_common(&self, viewer: &Self) -> bool {
        names().any(|(_, codec)| self.of_codec(codec).is_some_and(|sent| viewer.takes(&sent)))
    }

    /// The codec that is to be sent where all viewers are to see it, by its name in SDP: the first in the node's order
    /// that each of them decodes.
    pub fn taken_by_all<'v>(&self, viewers: impl Iterator<Item = &'v Self> + Clone) -> Option<&'static str> {
        let fits = |codec| self.of_codec(codec).is_some_and(|sent| viewers.clone().all(|viewer| viewer.takes(&sent)));
        names().find(|(_, codec)| fits(*codec)).map(|(name, _)| name)
    }

    /// The form in which the codec is sent: the first of the offer.
    fn of_codec(&self, codec: Codec) -> Option<CodecSpec> {
        self.0.iter().find(|spec| spec.codec == codec).copied()
    }

    fn takes(&self, sent: &CodecSpec) -> bool {
        self.0.iter().any(|own| distance(own, sent).is_some())
    }
}

fn names() -> impl Iterator<Item = (&'static str, Codec)> {
    CODECS.into_iter().filter(|(kind, ..)| *kind == "video").map(|(_, name, ..)| (name, Codec::from(name)))
}

fn spec(section: &Section<'_>, format: &str) -> Option<CodecSpec> {
    let map = mapped(section, format)?;
    let is_ours =
        |(kind, name, clock, channels): &(&str, &str, u32, u8)| *kind == "video" && map.is(name, *clock, *channels);
    let (_, name, ..) = CODECS.into_iter().find(is_ours)?;
    let format = section.of_format("fmtp", format).next().map(FormatParams::parse_line).unwrap_or_default();
    Some(CodecSpec { codec: Codec::from(name), clock_rate: Frequency::NINETY_KHZ, channels: None, format })
}

/// The offer with its pictures refused (RFC 9429 section 5.2.2): port 0, in no group. `None`: nothing else is in it.
pub fn without_video(offer: &str) -> Option<String> {
    let mut read = Description::read(offer).ok()?;
    let is_video = |section: &&Section<'_>| section.kind == "video";
    let refused: Vec<String> =
        read.media.iter().filter(is_video).filter_map(|section| section.mid().map(str::to_owned)).collect();
    let others = read.media.iter().filter(|section| !is_video(section) && !read.is_refused(section)).count();
    if others == 0 {
        return None;
    }
    let left = |line: &str| {
        let mut mids = line.strip_prefix("a=group:BUNDLE ")?.split_ascii_whitespace();
        mids.any(|mid| refused.iter().any(|of| of == mid)).then(|| {
            let kept = line.split_ascii_whitespace().skip(1).filter(|mid| !refused.iter().any(|of| of == mid));
            kept.fold("a=group:BUNDLE".to_owned(), |line, mid| format!("{line} {mid}"))
        })
    };
    let groups: Vec<String> =
        read.session.iter().map(|line| left(line).unwrap_or_else(|| (*line).to_owned())).collect();
    read.session = groups.iter().map(String::as_str).collect();
    for section in read.media.iter_mut().filter(|section| section.kind == "video") {
        section.port = 0;
        section.lines.retain(|line| *line != "a=bundle-only");
    }
    Some(read.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(formats: &[(&str, &str)]) -> String {
        let numbers: Vec<String> = (100..).take(formats.len()).map(|pt| pt.to_string()).collect();
        let line =
            |(pt, (map, fmtp)): (&String, &(&str, &str))| format!("a=rtpmap:{pt} {map}\r\na=fmtp:{pt} {fmtp}\r\n");
        let maps: String = numbers.iter().zip(formats).map(line).collect();
        format!(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE v a\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF {}\r\na=mid:v\r\n{maps}\
             m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=bundle-only\r\na=rtpmap:111 opus/48000/2\r\n",
            numbers.join(" ")
        )
    }

    const VP8: (&str, &str) = ("VP8/90000", "x=1");
    const VP9: (&str, &str) = ("vp9/90000", "profile-id=0");
    const BASELINE: (&str, &str) = ("H264/90000", "packetization-mode=1;profile-level-id=42e01f");
    const HIGH: (&str, &str) = ("H264/90000", "packetization-mode=1;profile-level-id=640c1f");
    const RTX: (&str, &str) = ("rtx/90000", "apt=100");

    fn codecs(formats: &[(&str, &str)]) -> VideoCodecs {
        VideoCodecs::of(&offer(formats))
    }

    #[test]
    fn the_codec_asked_for_is_the_first_that_all_viewers_decode_as_it_is_sent() {
        let camera = codecs(&[RTX, VP9, VP8, BASELINE, HIGH]);
        let for_all = |viewers: &[VideoCodecs]| camera.taken_by_all(viewers.iter());
        assert_eq!(for_all(&[codecs(&[BASELINE, VP8]), codecs(&[VP8])]), Some("VP8"));
        assert_eq!(for_all(&[codecs(&[BASELINE]), codecs(&[VP8, VP9, BASELINE])]), Some("H264"));
        assert_eq!(for_all(&[codecs(&[BASELINE]), codecs(&[VP9, VP8])]), None);
        assert_eq!(for_all(&[codecs(&[HIGH])]), Some("H264"), "who decodes High decodes Baseline");
        assert_eq!(codecs(&[HIGH, BASELINE]).taken_by_all([codecs(&[BASELINE])].iter()), None, "High is what is sent");
        assert_eq!(camera.sent(), codecs(&[VP8]));
        assert!(camera.has_common(&codecs(&[VP9])) && !camera.sent().has_common(&codecs(&[VP9])));
        assert!(VideoCodecs::of("no SDP").is_empty() && codecs(&[RTX]).is_empty());
    }

    #[test]
    fn an_offer_without_its_picture_has_the_same_sections_one_refused() {
        let text = without_video(&offer(&[VP8])).unwrap();
        let read = Description::read(&text).unwrap();
        assert!(read.is_refused(&read.media[0]) && !read.is_refused(&read.media[1]), "{text}");
        assert_eq!(read.bundles(), [["a"]]);
        let only = offer(&[VP8]).split("m=audio").next().unwrap().replace("BUNDLE v a", "BUNDLE v");
        assert_eq!(without_video(&only), None);
    }
}
