//! Two cores, each with a Janus of its own: what one offers the other answers.

use confgate_sfu::protocol::{Command, EndpointId, Notice, Reason, Refusal};
use serde_json::json;

use super::super::rtp_forward::{self, Address, read_answer, read_offer};
use super::{ANSWER, CLIENT, Scene, ServerMessage, publish, room, stream, subscribe};

fn pull(endpoint: u64) -> Command {
    Command::Pull { room: room(), endpoint: EndpointId(endpoint), stream: stream() }
}

fn forward(endpoint: u64, offer: String) -> Command {
    let viewer = "pull/n".into();
    Command::Forward { room: room(), endpoint: EndpointId(endpoint), viewer, stream: stream(), offer }
}

fn answered(endpoint: u64, answer: String) -> Command {
    Command::Answered { endpoint: EndpointId(endpoint), answer }
}

impl Scene {
    fn offers(&mut self) -> String {
        match self.told.pop() {
            Some(Notice::Offer { offer, .. }) => offer,
            other => panic!("no offer but {other:?}"),
        }
    }

    fn answers(&mut self) -> String {
        match self.told.pop() {
            Some(Notice::Answer { answer, .. }) => answer,
            other => panic!("no answer but {other:?}"),
        }
    }

    fn has_room(&mut self) {
        self.done("create", json!({"videoroom": "created"}), None);
    }

    fn is_refused(&mut self, endpoint: u64, refusal: Refusal) {
        assert_eq!(self.told.pop(), Some(Notice::Refused { endpoint: EndpointId(endpoint), refusal }));
    }
}

/// Anna publishes at the first and is pulled by the second, whose ports are told.
fn pulled() -> (Scene, Scene, u64) {
    let (mut far, mut near) = (Scene::up(), Scene::up());
    let published = far.publishes(1, 20);
    far.told.clear();
    near.command(pull(7));
    near.has_room();
    far.command(forward(8, near.offers()));
    near.command(answered(7, far.answers()));
    let body = near.done("add_remote_publisher", json!({"port": 5000, "rtcp_port": 5001}), None)["body"].clone();
    assert_eq!(
        body["streams"],
        json!([
            {"type": "audio", "mindex": 0, "mid": "0", "codec": "opus", "simulcast": false, "audiolevel_ext_id": 3},
            {"type": "video", "mindex": 1, "mid": "1", "codec": "vp8", "simulcast": true, "audiolevel_ext_id": 0},
        ])
    );
    far.command(Command::Close { endpoint: EndpointId(8) });
    far.command(forward(9, near.offers()));
    let body = far.done("publish_remotely", json!({"videoroom": "success"}), None)["body"].clone();
    assert_eq!(body["publisher_id"], published);
    let to = (&body["host"], &body["port"], &body["rtcp_port"], &body["admin_key"]);
    assert_eq!(to, (&json!("192.0.2.2"), &json!(5000), &json!(5001), &json!("k")));
    near.command(answered(7, far.answers()));
    assert_eq!(near.told.pop(), Some(Notice::Connected { endpoint: EndpointId(7) }));
    (far, near, published)
}

#[test]
fn forwarded_stream_is_watched_and_held_back_at_the_other_janus() {
    let (_far, mut near, _) = pulled();
    near.command(subscribe(1));
    near.on_created("attach", 10);
    let feed = near.asked("join").1["body"]["streams"][0]["feed"].clone();
    near.command(Command::SetForwarding { room: room(), stream: stream(), audio: false, video: true });
    let (_, audio) = near.asked("moderate");
    assert_eq!(
        (&audio["body"]["id"], &audio["body"]["mid"], &audio["body"]["mute"]),
        (&feed, &json!("0"), &json!(true))
    );
    let number = audio["body"]["room"].clone();
    near.on_message(ServerMessage::Event {
        handle: 10,
        data: json!({"videoroom": "talking", "room": number, "id": feed}),
    });
    assert_eq!(near.told.pop(), Some(Notice::Speaker { room: room(), member: Some("anna".into()) }));
}

#[test]
fn an_offer_waits_for_the_stream() {
    let mut far = Scene::up();
    far.command(forward(8, rtp_forward::offer(None)));
    far.has_room();
    assert_eq!((far.told.len(), far.asked.len()), (0, 0));
    far.publishes(1, 20);
    assert_eq!(read_answer(&far.answers()).unwrap().len(), 2);
}

#[test]
fn ended_pull_is_removed_at_both_before_the_room() {
    let (mut far, mut near, published) = pulled();
    far.command(Command::Close { endpoint: EndpointId(9) });
    let body = far.asked("unpublish_remotely").1["body"].clone();
    assert_eq!((&body["publisher_id"], &body["remote_id"]), (&json!(published), &json!("9")));
    near.command(Command::CloseRoom { room: room() });
    assert!(near.asked.iter().all(|(_, body)| body["body"]["request"] != "destroy"), "{:?}", near.asked);
    near.done("remove_remote_publisher", json!({"videoroom": "success"}), None);
    near.asked("destroy");
    assert_eq!(near.janus.counts(), (0, 0));

    // While its ports are being opened, or it begins to be sent.
    let mut near = Scene::up();
    near.command(pull(7));
    near.has_room();
    near.command(answered(
        7,
        rtp_forward::answer(&rtp_forward::sent(&json!([{"mindex": 0, "codec": "opus"}]), ANSWER), false),
    ));
    near.command(Command::CloseRoom { room: room() });
    near.done("add_remote_publisher", json!({"port": 5000, "rtcp_port": 5001}), None);
    near.done("remove_remote_publisher", json!({"videoroom": "success"}), None);
    near.asked("destroy");
    let mut far = Scene::up();
    far.publishes(1, 20);
    far.command(forward(9, rtp_forward::offer(Some(Address { ip: [192, 0, 2, 3].into(), rtp: 6, rtcp: 7 }))));
    far.command(Command::Close { endpoint: EndpointId(9) });
    far.done("publish_remotely", json!({"videoroom": "success"}), None);
    far.asked("unpublish_remotely");
}

#[test]
fn puller_is_told_of_a_streams_end_and_return() {
    let (mut far, _near, _) = pulled();
    far.command(publish(2));
    far.on_created("attach", 40);
    let refused = Notice::Refused { endpoint: EndpointId(9), refusal: Refusal::Unavailable };
    assert_eq!(far.told, [Notice::Closed { endpoint: EndpointId(1), reason: Reason::Replaced }, refused.clone()]);
    assert!(far.asked.iter().all(|(_, body)| body["body"]["request"] != "unpublish_remotely"), "{:?}", far.asked);

    let (mut far, _near, _) = pulled();
    far.on_message(ServerMessage::Down { handle: 20, reason: "ICE failed".into() });
    assert_eq!(far.told, [Notice::Closed { endpoint: EndpointId(1), reason: Reason::IceFailed }, refused]);
}

#[test]
fn a_link_that_was_lost_leaves_nothing_at_janus() {
    let (mut far, mut near, _) = pulled();
    let out = far.janus.disconnected();
    far.take(out);
    far.is_refused(9, Refusal::Unavailable);
    let out = near.janus.disconnected();
    near.take(out);
    assert_eq!(near.told, [Notice::Closed { endpoint: EndpointId(7), reason: Reason::Hangup }]);
    near.asked.clear();
    near.command(pull(10));
    near.is_refused(10, Refusal::Unavailable);
    near.connect(501);
    near.done("remove_remote_publisher", json!({"videoroom": "success"}), None);
    near.asked("destroy");
    assert_eq!(near.asked, []);
}

#[test]
fn other_tracks_than_were_told_refusals_and_silence_end_a_pull() {
    let (_far, mut near, _) = pulled();
    near.command(answered(7, rtp_forward::answer(&[], true)));
    near.is_refused(7, Refusal::BadSdp);
    near.asked("remove_remote_publisher");

    let mut near = Scene::up();
    near.command(pull(7));
    near.has_room();
    let opus = rtp_forward::sent(&json!([{"mindex": 0, "codec": "opus"}]), ANSWER);
    near.told.clear();
    near.command(answered(7, rtp_forward::answer(&opus, false)));
    near.done("add_remote_publisher", json!({"ip": "192.0.2.9", "port": 5000, "rtcp_port": 5001}), None);
    let at = Address { ip: [192, 0, 2, 9].into(), rtp: 5000, rtcp: 5001 };
    assert_eq!(read_offer(&near.offers()), Some(Some(at)));
    let vp8 = rtp_forward::sent(&json!([{"mindex": 0, "codec": "vp8"}]), ANSWER);
    near.command(answered(7, rtp_forward::answer(&vp8, true)));
    near.is_refused(7, Refusal::Unavailable);

    for refusal in [Some(499), None] {
        near.asked.clear();
        near.command(pull(8));
        near.told.clear();
        near.command(answered(8, rtp_forward::answer(&opus, false)));
        let (transaction, _) = near.asked("add_remote_publisher");
        match refusal {
            Some(code) => near.on_message(ServerMessage::Refused { transaction, code, reason: "no port".into() }),
            None => near.tick(5000),
        }
        near.is_refused(8, Refusal::Unavailable);
        near.asked("remove_remote_publisher");
    }
    near.command(answered(8, rtp_forward::answer(&opus, false)));
    near.is_refused(8, Refusal::BadEndpoint);
}

#[test]
fn places_between_the_tracks_are_kept_and_what_rooms_do_not_have_is_left_out() {
    let streams = json!([
        {"mindex": 0, "type": "video", "codec": "vp9"}, {"mindex": 1, "type": "video", "codec": "h264"},
        {"mindex": 2, "type": "audio", "disabled": true}, {"mindex": 3, "type": "audio", "codec": "opus"},
        {"mindex": 4, "type": "audio", "codec": "opus"}, {"mindex": 99, "codec": "opus"}, {"codec": "opus"},
    ]);
    let sent = rtp_forward::sent(&streams, "");
    assert_eq!(sent.iter().map(|sent| sent.place).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(read_answer(&rtp_forward::answer(&sent, true)), Some(sent.iter().rev().cloned().collect()));
    let places = rtp_forward::streams(&sent);
    let disabled: Vec<bool> = places.iter().map(|place| place["disabled"] == true).collect();
    assert_eq!(disabled, [true, false, true, false]);
}

#[test]
fn an_offer_of_another_kind_is_a_viewers_and_a_viewers_is_never_sent_plainly() {
    let at = |ip: &str| rtp_forward::offer(Some(Address { ip: ip.parse().unwrap(), rtp: 5000, rtcp: 5001 }));
    for ip in ["192.0.2.9", "2001:db8::9"] {
        assert_eq!(read_offer(&at(ip)), Some(Some(Address { ip: ip.parse().unwrap(), rtp: 5000, rtcp: 5001 })));
    }
    assert_eq!(read_offer(&rtp_forward::offer(None)), Some(None));
    let no_address = at("192.0.2.9").replace("192.0.2.9", "media.example.org");
    for other in [CLIENT, "", "m=audio", &at("0.0.0.0"), &at("239.1.1.1"), &no_address, &"x".repeat(70_000)] {
        assert_eq!(read_offer(other), None, "{other}");
        assert_eq!(read_answer(other), None, "{other}");
    }
    let mut far = Scene::up();
    far.publishes(1, 20);
    let (viewer, stream) = ("ben".into(), stream());
    far.command(Command::Subscribe { room: room(), endpoint: EndpointId(2), viewer, stream, offer: at("192.0.2.9") });
    far.on_created("attach", 30);
    far.done("join", json!({"streams": []}), Some(super::JANUS));
    far.is_refused(2, Refusal::BadSdp);
    far.command(forward(3, CLIENT.into()));
    far.watches(31);
    assert!(matches!(far.told.last(), Some(Notice::Answer { endpoint: EndpointId(3), .. })));
}
