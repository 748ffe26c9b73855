use confgate_sfu::protocol::{Command, EndpointId, Notice};

use super::*;

/// An offer whose picture has these codecs.
fn sdp(codecs: &[&str]) -> String {
    let numbers: Vec<String> = (100..).take(codecs.len()).map(|pt| pt.to_string()).collect();
    let maps: String =
        numbers.iter().zip(codecs).map(|(pt, codec)| format!("a=rtpmap:{pt} {codec}/90000\r\n")).collect();
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    format!("{head}m=video 9 UDP/TLS/RTP/SAVPF {}\r\na=mid:0\r\n{maps}", numbers.join(" "))
}

/// With its sound.
fn with_sound(codecs: &[&str]) -> String {
    format!("{}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=rtpmap:111 opus/48000/2\r\n", sdp(codecs))
}

struct Call {
    node: Node,
    offers: u64,
}

impl Call {
    /// Anna sends, and can send these.
    fn with(codecs: &[&str]) -> Self {
        let mut node = Node::new();
        for (socket, name) in [(1, "anna"), (2, "ben"), (3, "carl")] {
            node.join(socket, "c", name);
        }
        let mut call = Self { node, offers: 0 };
        call.offer(1, codecs);
        call
    }

    /// The offer's connection, answered; to send where it is anna's.
    fn offer(&mut self, socket: u64, codecs: &[&str]) -> u64 {
        let offer = Message::ReceiveVideoFrom { sender: "anna".into(), sdp_offer: sdp(codecs) };
        self.node.take(Input::Message(SocketId(socket), Ok(offer), ClientCredentials::Nothing));
        self.node.answer(self.offers);
        self.offers += 1;
        self.offers - 1
    }

    /// Which codecs anna is asked for when the media says that the viewer lacks hers.
    fn lacks(&mut self, viewer: u64, publisher: u64) -> Vec<&'static str> {
        let notice = Notice::NoCommonCodec { viewer: EndpointId(viewer), publisher: EndpointId(publisher) };
        asked(&self.node.notice(notice))
    }
}

fn asked(outputs: &[Output]) -> Vec<&'static str> {
    let asked = |output: &Output| match output {
        Output::Send(socket, Reply::PreferCodec { name, codec }) => {
            assert_eq!((socket.0, name.as_str()), (1, "anna"));
            Some(*codec)
        }
        _ => None,
    };
    outputs.iter().filter_map(asked).collect()
}

#[test]
fn a_sender_is_asked_for_the_first_codec_that_all_who_watch_decode() {
    let mut call = Call::with(&["VP8", "VP9", "H264", "AV1"]);
    call.offer(2, &["AV1", "VP9", "VP8"]);
    let carl = call.offer(3, &["AV1", "VP9"]);
    assert_eq!(call.lacks(carl, 0), ["VP9"]);
}

#[test]
fn nothing_is_asked_where_no_codec_is_for_all_until_who_stands_in_the_way_has_left() {
    let mut call = Call::with(&["VP8", "H264"]);
    call.offer(2, &["VP8"]);
    let carl = call.offer(3, &["H264"]);
    assert!(call.lacks(carl, 0).is_empty());
    assert_eq!(asked(&call.node.take(Input::Closed(SocketId(2)))), ["H264"]);
    let mut call = Call::with(&["VP8"]);
    let carl = call.offer(3, &["H264"]);
    assert!(call.lacks(carl, 0).is_empty(), "what the sender hasn't isn't asked for");
}

#[test]
fn one_viewer_changes_a_senders_codec_once() {
    let mut call = Call::with(&["VP8", "H264"]);
    let carl = call.offer(3, &["H264"]);
    assert_eq!(call.lacks(carl, 0), ["H264"]);
    let again = call.offer(1, &["H264"]);
    let exotic = call.offer(3, &["VP8"]);
    assert!(call.lacks(exotic, again).is_empty(), "the same viewer with another offer");
    let ben = call.offer(2, &["VP8"]);
    assert_eq!(call.lacks(ben, again), ["VP8"], "another, and it is what anna could send at first");
    let back = call.offer(1, &["VP8"]);
    let carl = call.offer(3, &["H264"]);
    assert!(call.lacks(carl, back).is_empty());
    call.node.send(2, r#"{"id":"cancelVideoFrom","sender":"anna"}"#);
    assert!(call.lacks(carl, back).is_empty(), "alone, carl has had their change");
}

#[test]
fn a_session_and_a_sender_at_other_media_are_not_asked() {
    let mut node = Node::new();
    node.begin(1, "anna", Purpose::Publish);
    node.answer(0);
    node.join(2, "c", "ben");
    node.offer(2, "anna");
    node.answer(1);
    let lacks = || Notice::NoCommonCodec { viewer: EndpointId(1), publisher: EndpointId(0) };
    assert!(asked(&node.notice(lacks())).is_empty());
    let mut call = Call::with(&["VP8", "H264"]);
    call.node.group.limits.changes_codecs = false;
    let ben = call.offer(2, &["H264"]);
    assert!(call.lacks(ben, 0).is_empty());
}

#[test]
fn a_viewer_over_http_is_answered_without_the_picture_that_they_cannot_have() {
    let mut call = Call::with(&["VP8"]);
    let mut begin = |socket, offer: String| {
        let credentials = claims("c", "viewer", call.node.now, &format!("nonce{socket}"));
        call.node.known(&credentials);
        let ClientCredentials::Claims(claims) = credentials else { unreachable!() };
        call.node.take(Input::Began(SocketId(socket), Session { claims, purpose: Purpose::Watch(None), offer }))
    };
    let refused = begin(8, sdp(&["H264"]));
    assert_eq!(errors(&refused), [(8, Code::NoCommonCodec, None)]);
    let taken = begin(9, with_sound(&["H264"]));
    let offered = taken.iter().find_map(|output| match output {
        Output::Media(Command::Subscribe { offer, .. }) => Some(offer.as_str()),
        _ => None,
    });
    assert!(offered.is_some_and(|offer| offer.contains("m=video 0 ")), "{taken:?}");
    assert!(matches!(&begin(10, sdp(&["H264", "VP8"]))[..], [.., Output::Media(Command::Subscribe { offer, .. })]
        if offer.contains("m=video 9 ")));
}
