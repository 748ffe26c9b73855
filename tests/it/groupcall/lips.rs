//! Lip sync: a browser plays sound and picture of a moment together, though the picture comes late.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::node;
use crate::support::browser::Browser;
use crate::support::client::BASE;
use crate::support::http_session::{whep, whip};
use crate::support::media::token;
use crate::support::wait::{until, until_true};

/// How much later the picture comes than the sound.
const DELAY: Duration = Duration::from_millis(800);
/// A browser moves its sound by some 80 ms a second.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);

/// Between the viewer's browser and the node: holds back the node's packets of these payload types.
struct Way {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Way {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Way {
    async fn to(node: SocketAddr, late: Vec<u8>) -> Self {
        let [front, back] =
            [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        let address = front.local_addr().unwrap();
        let (front, back) = (Arc::new(front), Arc::new(back));
        let (seen, client) = tokio::sync::watch::channel(None);
        let towards_node = {
            let (front, back) = (Arc::clone(&front), Arc::clone(&back));
            async move {
                let mut buffer = [0; 2048];
                while let Ok((length, from)) = front.recv_from(&mut buffer).await {
                    seen.send_replace(Some(from));
                    back.send_to(&buffer[..length], node).await.ok();
                }
            }
        };
        let towards_client = async move {
            let mut buffer = [0; 2048];
            while let Ok((length, _)) = back.recv_from(&mut buffer).await {
                let Some(client): Option<SocketAddr> = *client.borrow() else { continue };
                let packet = buffer[..length].to_vec();
                let is_late = is_rtp_of(&packet, &late);
                let front = Arc::clone(&front);
                if !is_late {
                    front.send_to(&packet, client).await.ok();
                    continue;
                }
                tokio::spawn(async move {
                    tokio::time::sleep(DELAY).await;
                    front.send_to(&packet, client).await.ok();
                });
            }
        };
        Self { address, tasks: [tokio::spawn(towards_node), tokio::spawn(towards_client)] }
    }
}

/// RFC 7983, RFC 5761: RTP, not RTCP.
fn is_rtp_of(packet: &[u8], payload_types: &[u8]) -> bool {
    let [first, second, ..] = packet else { return false };
    let is_rtcp = (192..=223).contains(second);
    (128..=191).contains(first) && !is_rtcp && payload_types.contains(&(second & 0x7f))
}

/// Offers; the answer's only candidate is what `way` gives.
const OFFER: &str = "
    const [address, token, sends, done] = arguments;
    const begin = async () => {
        const connection = window.connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
        const tracks = sends ? (await navigator.mediaDevices.getUserMedia({ audio: true, video: true })).getTracks() : [];
        const direction = sends ? 'sendonly' : 'recvonly';
        for (const each of sends ? tracks : ['audio', 'video']) connection.addTransceiver(each, { direction });
        const video = window.video = Object.assign(document.createElement('video'), { autoplay: true });
        connection.ontrack = ({ streams: [stream] }) => video.srcObject = stream;
        await connection.setLocalDescription();
        await new Promise(resolve => connection.iceGatheringState === 'complete' ? resolve()
            : connection.onicegatheringstatechange = () => connection.iceGatheringState === 'complete' && resolve());
        const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/sdp' };
        const reply = await fetch(address, { method: 'POST', headers, body: connection.localDescription.sdp });
        return { status: reply.status, sdp: await reply.text() };
    };
    begin().then(done, error => done({ error: String(error) }));";

const ANSWER: &str = "
    const [sdp, done] = arguments;
    connection.setRemoteDescription({ type: 'answer', sdp }).then(() => done(null), error => done(String(error)));";

/// How long sound waits to be played, and how far picture and sound that are played are apart; in ms.
const PLAYED: &str = "
    const done = arguments[0];
    connection.getStats().then(stats => {
        const inbound = [...stats.values()].filter(({ type }) => type === 'inbound-rtp');
        const [audio, video] = ['audio', 'video'].map(kind => inbound.find(each => each.kind === kind) ?? {});
        const former = window.former ?? { jitterBufferDelay: 0, jitterBufferEmittedCount: 0 };
        window.former = audio;
        const emitted = audio.jitterBufferEmittedCount - former.jitterBufferEmittedCount;
        done({ waits: emitted ? 1000 * (audio.jitterBufferDelay - former.jitterBufferDelay) / emitted : 0,
            apart: Math.abs(audio.estimatedPlayoutTimestamp - video.estimatedPlayoutTimestamp),
            frames: video.framesDecoded ?? 0 });
    }, error => done({ error: String(error) }));";

async fn asks(browser: &Browser, script: &str, arguments: Vec<Value>) -> Value {
    browser.page.execute_async(script, arguments).await.expect("the script runs")
}

/// The answer with the way's address for the node's, the node's address at loopback, and the picture's payload types.
fn through(answer: &str, way: Option<SocketAddr>) -> (String, SocketAddr, Vec<u8>) {
    let candidates: Vec<&str> = answer.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    let udp = candidates
        .iter()
        .find(|line| line.contains(" udp ") && line.contains(" 127.0.0.1 "))
        .expect("a candidate at loopback");
    let port = udp.split(' ').nth(5).and_then(|port| port.parse().ok()).expect("it has a port");
    let video = answer.lines().find(|line| line.starts_with("m=video ")).expect("there is a picture");
    let payload_types = video.split(' ').skip(3).filter_map(|pt| pt.trim().parse().ok()).collect();
    let line = way.map(|way| format!("a=candidate:1 1 udp 2130706431 127.0.0.1 {} typ host\r\n", way.port()));
    let mut line = Some(line.unwrap_or_default());
    let lines = answer.lines().map(|text| match text.starts_with("a=candidate:") {
        true => line.take().unwrap_or_default(),
        false => format!("{text}\r\n"),
    });
    (lines.collect(), SocketAddr::from(([127, 0, 0, 1], port)), payload_types)
}

#[tokio::test]
async fn browser_sound_waits_for_a_picture_that_comes_late() {
    let pages = crate::support::gateway::Gateway::embedded().start().await;
    let origin = format!("https://{}", pages.http());
    let gateway = node(&format!("[http]\nallowed_origins = [{origin:?}]")).await;
    let at = |path: String| format!("https://{}{path}", gateway.http());
    let (camera, viewer) = tokio::join!(Browser::start(), Browser::start());
    for browser in [&camera, &viewer] {
        // The page's own policy is for its own scripts; what is tested is the node's.
        browser.devtools("Page.setBypassCSP", json!({ "enabled": true })).await;
        browser.goto(&format!("{origin}{BASE}/docs")).await;
    }
    let offer =
        |address: String, name: &str, sends: bool| vec![json!(address), json!(token("n1", "c1", name)), json!(sends)];
    let sent = asks(&camera, OFFER, offer(at(whip("c1")), "anna", true)).await;
    assert_eq!(asks(&camera, ANSWER, vec![sent["sdp"].clone()]).await, Value::Null, "{sent}");
    camera.holds("connection.connectionState === 'connected'").await;

    let watched = asks(&viewer, OFFER, offer(at(whep("c1")), "ben", false)).await;
    let answer = watched["sdp"].as_str().unwrap_or_else(|| panic!("{watched}"));
    let (_, node_address, payload_types) = through(answer, None);
    let way = Way::to(node_address, payload_types).await;
    let (answer, ..) = through(answer, Some(way.address));
    assert_eq!(asks(&viewer, ANSWER, vec![json!(answer)]).await, Value::Null);
    until_true("pictures come", async || asks(&viewer, PLAYED, Vec::new()).await["frames"].as_u64() > Some(5)).await;

    let mut last = Value::Null;
    let followed = until(FOLLOWS_WITHIN, async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        last = asks(&viewer, PLAYED, Vec::new()).await;
        let of = |number: &str| last[number].as_f64().unwrap_or(f64::NAN);
        (of("waits") > 500.0 && of("apart") < 300.0).then_some(())
    });
    let followed = followed.await;
    assert!(followed.is_some(), "the sound didn't follow: {last}");
}
