//! The fuzz targets: the code that gets the bytes, and the properties that must hold for any bytes. The coverage-guided
//! fuzzer calls these functions, and so does the test that replays its corpora.

use std::time::{Duration, Instant};

use confgate::auth::code;
use confgate::rpc::envelope::{self, Body};
use confgate::xmpp::stream::splitter::{Frame, FramingError, Splitter};
use confgate::xmpp::xml::Stanza;
use confgate_sfu::protocol::{Command, EndpointId, MemberId, RoomId, Source, StreamId};
use confgate_sfu::worker::{Datagram, Socket};
use confgate_sfu::{Limits, Worker, sdp};
use str0m::net::Protocol;

/// A fuzz target: it gets some bytes.
pub type Target = fn(&[u8]);

/// All of them, by name: a corpus is the folder of that name.
pub const ALL: [(&str, Target); 6] = [
    ("xml", xml),
    ("stream", stream),
    ("sdp", sdp),
    ("envelope", envelope),
    ("link_code", link_code),
    ("datagrams", datagrams),
];

/// A stream's header, as a component's server sends it.
const HEADER: &[u8] =
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' from='a'>";

/// A caller's stanza: what is accepted is one stanza on a stream, and reads there as the same tree.
pub fn xml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(stanza) = Stanza::parse(text) else { return };
    let written = stanza.to_xml();
    assert_eq!(Stanza::parse(&written).as_ref(), Ok(&stanza), "{written}");
    assert!(!stanza.fits(written.len() - 1), "{written}");
    let frames = frames(&[HEADER, written.as_bytes()].concat(), usize::MAX);
    let expected = ["open".to_owned(), format!("stanza {written}")];
    assert_eq!(frames.as_deref(), Ok(expected.as_slice()), "{written}");
}

/// A stream's bytes: however they are cut into pieces, the same frames come of them.
pub fn stream(data: &[u8]) {
    let stream = [HEADER, data].concat();
    let whole = frames(&stream, usize::MAX);
    for piece in [1, 7] {
        assert_eq!(frames(&stream, piece), whole, "in pieces of {piece}");
    }
}

fn frames(stream: &[u8], piece: usize) -> Result<Vec<String>, FramingError> {
    let (mut splitter, mut found) = (Splitter::default(), Vec::new());
    for bytes in stream.chunks(piece.min(stream.len().max(1))) {
        splitter.feed(bytes);
        while let Some(frame) = splitter.next_frame()? {
            found.push(match frame {
                Frame::Open(_) => "open".to_owned(),
                Frame::Stanza(text) => format!("stanza {text}"),
                Frame::Skipped(head, why) => format!("skipped {} {why}", head.into_stanza().to_xml()),
                Frame::Close => "close".to_owned(),
            });
        }
    }
    Ok(found)
}

/// A session description, as an offer to send, to receive and as an answer.
pub fn sdp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = sdp::Description::read(text);
    // A description answers itself or is told why not; no panic.
    let judged = sdp::check(text, text);
    assert!(read.is_ok() || judged.is_err(), "what can't be read is no answer");
    let begun = Instant::now();
    let mut worker = worker(begun);
    let (room, stream) = (RoomId::from("r"), StreamId { member: MemberId::from("a"), source: Source::Camera });
    let offer = text.to_owned();
    worker.command(
        Command::Publish { room: room.clone(), endpoint: EndpointId(1), stream: stream.clone(), offer: offer.clone() },
        begun,
    );
    worker.command(
        Command::Subscribe { room, endpoint: EndpointId(2), viewer: MemberId::from("b"), stream, offer },
        begun,
    );
    while worker.poll_notice().is_some() {}
}

/// A JSON-RPC body: each id that is answered under is JSON as it was written.
pub fn envelope(data: &[u8]) {
    for strict in [false, true] {
        let entries = match envelope::parse(data, 50, strict) {
            Body::Single(entry) => vec![entry],
            Body::Batch(entries) => entries,
        };
        assert!(entries.len() <= 50);
        for entry in entries {
            let id = entry.map_or_else(|rejected| rejected.id, |request| request.id);
            if let Some(id) = id {
                let value = serde_json::from_str::<serde_json::Value>(id.get()).expect("an id is JSON");
                assert!(value.is_string() || value.is_null() || value.is_number(), "{value}");
            }
        }
    }
}

/// A link as people hand it on: blanks around it don't change where it leads.
pub fn link_code(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let code = code::read(text);
    let padded = code::read(&format!("  {text}\n"));
    assert_eq!(code.signed, padded.signed, "{text:?}");
    for password in &code.legacy {
        assert!(code::read(&code::legacy_code(password)).legacy.contains(password), "{password:?}");
    }
}

/// Datagrams of strangers to a node with a call: `length, bytes` again and again.
pub fn datagrams(data: &[u8]) {
    let begun = Instant::now();
    let mut worker = worker(begun);
    let (mut rest, mut now) = (data, begun);
    while let Some((&length, behind)) = rest.split_first() {
        let (bytes, next) = behind.split_at(behind.len().min(usize::from(length)));
        let source = ([203, 0, 113, length % 4], 1_000).into();
        worker.datagram(Datagram { socket: Socket::Shared, proto: Protocol::Udp, source, bytes }, now);
        now += Duration::from_millis(1);
        worker.timeout(now);
        worker.transmits().clear();
        rest = next;
    }
    while worker.poll_notice().is_some() {}
}

fn worker(now: Instant) -> Worker {
    let address = "192.0.2.1:4000".parse().expect("an address");
    Worker::new(Limits::default(), vec![(Protocol::Udp, address)], now).expect("the system has randomness")
}
