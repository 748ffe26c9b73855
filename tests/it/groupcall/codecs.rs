//! A viewer who doesn't decode what is sent: the sender is asked for a codec that all decode, where there is one; else
//! what is left is had, and said.

use http::StatusCode;
use serde_json::{Value, json};
use str0m::format::Codec;

use super::{SOME, node};
use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::http_session::{whep, whip};
use crate::support::media::{Media, Peer, call, token};
use crate::webrtc_browsers::{Person, Round};

/// A browser that decodes no picture but H.264.
const H264_ONLY: &str = "
    const set = RTCRtpTransceiver.prototype.setCodecPreferences;
    RTCRtpTransceiver.prototype.setCodecPreferences = function (codecs) {
        const isPicture = this.direction === 'recvonly' && this.receiver.track.kind === 'video';
        return set.call(this, isPicture ? codecs.filter(({ mimeType }) => /H264|rtx/i.test(mimeType)) : codecs);
    };";

/// The codecs of the pictures that the browser sends now.
const SENT: &str = "
    const done = arguments[0];
    const of = async connection => {
        const stats = await connection.getStats();
        const sent = [...stats.values()].filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video');
        return sent.map(({ codecId }) => stats.get(codecId)?.mimeType).filter(Boolean);
    };
    const open = watched.connections.filter(each => each.connectionState === 'connected');
    Promise.all(open.map(of)).then(all => done([...new Set(all.flat())]), error => done(String(error)));";

async fn sent(browser: &Browser) -> Value {
    browser.page.execute_async(SENT, Vec::new()).await.expect("the script runs")
}

#[tokio::test]
async fn browser_a_viewer_who_decodes_h264_only_sees_all_and_the_others_go_on_to_see_each_other() {
    let gateway = Gateway::embedded().start().await;
    let printed = gateway.printed().await;
    let (anna, zhang, li) = tokio::join!(Browser::start(), Browser::start(), Browser::start());
    let (anna, li) =
        tokio::join!(Person::enter(anna, &printed.chair, "Anna Schmidt"), Person::enter(li, &printed.guest, "李娜"));
    anna.browser.sees_moving(&li.user).await;
    assert_eq!(sent(&anna.browser).await, json!(["video/VP8"]), "every browser sends it in several sizes");

    zhang.run_before_pages(H264_ONLY).await;
    let zhang = Person::enter(zhang, &printed.guest, "张伟").await;
    let round = Round { people: [anna, zhang, li] };
    round.all_see_and_hear_each_other().await;
    let [anna, zhang, li] = &round.people;
    for sender in [anna, li] {
        assert_eq!(sent(&sender.browser).await, json!(["video/H264"]));
    }
    assert_eq!(sent(&zhang.browser).await, json!(["video/VP8"]), "whom all decode isn't asked");
}

/// An offer with VP8 and H.264, as browsers', and what is asked of its sender.
#[tokio::test]
async fn a_sender_is_asked_once_for_the_codec_that_all_who_watch_decode() {
    let gateway = node("").await;
    let client = gateway.client();
    let (mut anna, mut ben) = (client.joined("n1", "c1", "anna").await, client.joined("n1", "c1", "ben").await);
    let mut sends = anna.publish_as("anna", Media { also: Some(Codec::H264), ..Media::SENDS }).await;
    ben.knows("anna").await;
    let mut sees = ben.watch_as("anna", Media { video: Some(Codec::H264), ..Media::WATCHES }).await;
    call(&mut [&mut sends, &mut sees], "sound", |peers| peers[1].sounds() >= SOME).await;
    assert_eq!(ben.wait_for("error").await["code"], "noCommonCodec");
    assert_eq!(anna.wait_for("error").await["code"], "noCommonCodec");
    assert_eq!(anna.wait_for("preferCodec").await, json!({ "id": "preferCodec", "name": "anna", "codec": "H264" }));

    let mut again = anna.publish_as("anna", h264_sender()).await;
    call(&mut [&mut again, &mut sees], "a picture in it", |peers| peers[1].frames() >= SOME).await;
    let mut carl = client.joined("n1", "c1", "carl").await;
    carl.knows("anna").await;
    let mut vp8 = carl.watch("anna").await;
    call(&mut [&mut again, &mut sees, &mut vp8], "sound", |peers| peers[2].sounds() >= SOME).await;
    assert_eq!(carl.wait_for("error").await["code"], "noCommonCodec");
    assert_eq!(anna.wait_for("error").await["code"], "noCommonCodec");
    anna.hears_nothing().await;
    ben.send(json!({ "id": "leaveRoom" })).await;
    let asked = anna.wait_for("preferCodec").await;
    assert_eq!(asked["codec"], "VP8", "all who are left decode it");
}

#[tokio::test]
async fn a_viewer_over_http_without_the_streams_codec_has_its_sound_or_is_refused() {
    let gateway = node("").await;
    let client: Client = gateway.client();
    let mut obs = client.publish_over_http(&whip("c1"), &token("n1", "c1", "obs")).await;
    let h264 = Media { video: Some(Codec::H264), ..Media::WATCHES };
    let taken = client.offer(&whep("c1"), &token("n1", "c1", "v1"), Peer::offer(h264)).await;
    assert_eq!(taken.status, StatusCode::CREATED, "{taken:?}");
    let answer = String::from_utf8(taken.body.to_vec()).expect("SDP is text");
    assert!(answer.contains("m=video 0 ") && !answer.contains("m=audio 0 "), "{answer}");

    let silent = Media { audio: false, ..h264 };
    let refused = client.offer(&whep("c1"), &token("n1", "c1", "v2"), Peer::offer(silent)).await;
    assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("noCommonCodec")));
    assert_eq!(refused.header("content-type"), "application/problem+json");
    let mut sees = client.watch_over_http(&whep("c1"), &token("n1", "c1", "v3")).await;
    call(&mut [&mut obs.peer, &mut sees.peer], "a picture", |peers| peers[1].frames() >= SOME).await;
}

/// A page is asked for the codec: its picture comes to who watches over HTTP too.
#[tokio::test]
async fn a_viewer_over_http_has_a_pages_picture_in_the_codec_that_they_decode() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut sends = anna.publish_as("anna", Media { also: Some(Codec::H264), ..Media::SENDS }).await;
    let h264 = Media { video: Some(Codec::H264), ..Media::WATCHES };
    let mut viewer = client.session(&whep("c1"), &token("n1", "c1", "v1"), h264).await;
    assert!(!viewer.answer.contains("m=video 0 "), "{}", viewer.answer);
    call(&mut [&mut sends, &mut viewer.peer], "sound", |peers| peers[1].sounds() >= SOME).await;
    assert_eq!(anna.wait_for("preferCodec").await["codec"], "H264");
    let mut again = anna.publish_as("anna", h264_sender()).await;
    call(&mut [&mut again, &mut viewer.peer], "a picture", |peers| peers[1].frames() >= SOME).await;
}

fn h264_sender() -> Media {
    Media { video: Some(Codec::H264), ..Media::SENDS }
}
