//! WHIP and WHEP from a browser: pages of an origin that the node allows, with `fetch` and nothing else.

use serde_json::{Value, json};

use super::pages::{Scene, asks, takes};
use crate::support::browser::Browser;
use crate::support::http_session::{whep, whip};
use crate::support::wait::until_true;

/// Trickles the candidates of the offer that was answered; and what its page does later.
const TRICKLE: &str = "
    const done = arguments[0];
    const { connection, session, tag, authorization, gathered } = http;
    const fragment = (sdp, candidates) => [
        ...['a=ice-ufrag:', 'a=ice-pwd:', 'm=', 'a=mid:'].map(begin => sdp.split('\\r\\n').find(l => l.startsWith(begin))),
        ...candidates.map(each => `a=${each}`), 'a=end-of-candidates', ''].join('\\r\\n');
    const patch = (tag, body) => fetch(session, { method: 'PATCH', body,
        headers: { authorization, 'if-match': tag, 'content-type': 'application/trickle-ice-sdpfrag' } });
    http.end = () => fetch(session, { method: 'DELETE', headers: { authorization } });
    http.restart = async () => {
        connection.restartIce();
        const candidates = gathered();
        await connection.setLocalDescription();
        const reply = await patch('*', fragment(connection.localDescription.sdp, await candidates));
        const lines = (await reply.text()).split('\\r\\n');
        const of = begin => lines.find(line => line.startsWith(begin));
        const sdp = connection.currentRemoteDescription.sdp
            .replace(/a=ice-ufrag:.*/g, of('a=ice-ufrag:')).replace(/a=ice-pwd:.*/g, of('a=ice-pwd:'));
        await connection.setRemoteDescription({ type: 'answer', sdp });
        return { status: reply.status, changed: reply.headers.get('etag') !== tag };
    };
    http.candidates.then(async candidates => done((await patch(tag, fragment(http.offer, candidates))).status))
        .catch(error => done(String(error)));";

const RECEIVED: &str = "
    const done = arguments[0];
    http.connection.getStats().then(stats => {
        const inbound = [...stats.values()].filter(({ type }) => type === 'inbound-rtp');
        const of = kind => inbound.find(each => each.kind === kind) ?? {};
        done([of('video').framesDecoded ?? 0, of('audio').totalAudioEnergy ?? 0]);
    }, error => done(String(error)));";

/// Takes the answer that the reply must have, and trickles.
async fn begins(browser: &Browser, reply: &Value) {
    takes(browser, reply).await;
    assert_eq!(asks(browser, TRICKLE, Vec::new()).await, 204);
}

/// Decoded pictures and audible sound go on.
async fn flows(viewer: &Browser) {
    let received = async || {
        let told = asks(viewer, RECEIVED, Vec::new()).await;
        (told[0].as_f64().unwrap_or_default(), told[1].as_f64().unwrap_or_default())
    };
    let (frames, energy) = received().await;
    until_true("picture and sound", async || {
        let (frames_now, energy_now) = received().await;
        frames_now >= frames + 5.0 && energy_now > energy
    })
    .await;
}

#[tokio::test]
async fn browser_one_publishes_by_whip_and_another_watches_by_whep_from_an_allowed_origin() {
    let scene = Scene::open().await;
    let Scene { gateway, camera, viewer, .. } = &scene;
    let early = scene.watches(&whep("c1"), "v1", false).await;
    assert_eq!(early["status"], 409, "{early}");
    // Read at once, both times: who answers no pings is gone before slow browsers are done.
    let mut ben = gateway.client().joined("n1", "c1", "ben").await;
    begins(camera, &scene.sends(&whip("c1"), "obs").await).await;
    assert_eq!(ben.expect("newParticipantArrived").await["name"], "obs");
    drop(ben);
    camera.holds("http.connection.connectionState === 'connected'").await;
    begins(viewer, &scene.watches(&whep("c1"), "v2", false).await).await;
    flows(viewer).await;
    for browser in [camera, viewer] {
        let script = "const done = arguments[0]; http.restart().then(done, error => done(String(error)));";
        let restarted = asks(browser, script, Vec::new()).await;
        assert_eq!(restarted, json!({ "status": 200, "changed": true }));
        flows(viewer).await;
    }
    let script =
        "const done = arguments[0]; http.end().then(({ status }) => done(status), error => done(String(error)));";
    let mut ben = gateway.client().joined("n1", "c1", "ben").await;
    assert_eq!(asks(camera, script, Vec::new()).await, json!(200));
    assert_eq!(ben.wait_for("participantLeft").await["name"], "obs");
    assert_eq!(asks(viewer, script, Vec::new()).await, json!(404), "it ended with what it showed");
}
