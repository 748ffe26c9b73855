//! WHIP and WHEP from a browser: pages of an origin that the node allows, with `fetch` and nothing else.

use serde_json::{Value, json};

use super::node;
use crate::support::browser::Browser;
use crate::support::client::BASE;
use crate::support::gateway::Gateway;
use crate::support::http_session::{whep, whip};
use crate::support::media::token;
use crate::support::wait::until_true;

/// Offers, trickles and restarts as any page would; answers the statuses.
const SESSION: &str = "
    const [address, token, sends, done] = arguments;
    const authorization = `Bearer ${token}`;
    const fragment = (sdp, candidates) => [
        ...['a=ice-ufrag:', 'a=ice-pwd:', 'm=', 'a=mid:'].map(begin => sdp.split('\\r\\n').find(l => l.startsWith(begin))),
        ...candidates.map(each => `a=${each}`), 'a=end-of-candidates', ''].join('\\r\\n');
    const patch = (session, tag, body) => fetch(session, { method: 'PATCH', body,
        headers: { authorization, 'if-match': tag, 'content-type': 'application/trickle-ice-sdpfrag' } });
    const gathered = connection => new Promise(resolve => {
        const candidates = [];
        connection.onicecandidate = ({ candidate }) =>
            candidate ? candidate.candidate && candidates.push(candidate.candidate) : resolve(candidates);
    });
    const begin = async () => {
        const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
        const tracks = sends ? (await navigator.mediaDevices.getUserMedia({ audio: true, video: true })).getTracks() : [];
        const direction = sends ? 'sendonly' : 'recvonly';
        for (const each of sends ? tracks : ['audio', 'video']) connection.addTransceiver(each, { direction });
        const video = Object.assign(document.createElement('video'), { autoplay: true, srcObject: new MediaStream() });
        connection.ontrack = ({ track }) => video.srcObject.addTrack(track);
        const candidates = gathered(connection);
        await connection.setLocalDescription();
        const offer = connection.localDescription.sdp;
        const headers = { authorization, 'content-type': 'application/sdp' };
        const reply = await fetch(address, { method: 'POST', headers, body: offer });
        const [location, tag] = [reply.headers.get('location'), reply.headers.get('etag')];
        if (reply.status !== 201) return { status: reply.status, body: await reply.text() };
        await connection.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
        const session = new URL(location, address).href;
        const trickled = await patch(session, tag, fragment(offer, await candidates));
        window.http = { connection, session, video,
            end: () => fetch(session, { method: 'DELETE', headers: { authorization } }),
            async restart() {
                connection.restartIce();
                const candidates = gathered(connection);
                await connection.setLocalDescription();
                const offer = connection.localDescription.sdp;
                const reply = await patch(session, '*', fragment(offer, await candidates));
                const lines = (await reply.text()).split('\\r\\n');
                const of = begin => lines.find(line => line.startsWith(begin));
                const sdp = connection.currentRemoteDescription.sdp
                    .replace(/a=ice-ufrag:.*/g, of('a=ice-ufrag:')).replace(/a=ice-pwd:.*/g, of('a=ice-pwd:'));
                await connection.setRemoteDescription({ type: 'answer', sdp });
                return { status: reply.status, changed: reply.headers.get('etag') !== tag };
            } };
        return { status: 201, trickled: trickled.status };
    };
    begin().then(done, error => done({ error: String(error) }));";

const RECEIVED: &str = "
    const done = arguments[0];
    http.connection.getStats().then(stats => {
        const inbound = [...stats.values()].filter(({ type }) => type === 'inbound-rtp');
        const of = kind => inbound.find(each => each.kind === kind) ?? {};
        done([of('video').framesDecoded ?? 0, of('audio').totalAudioEnergy ?? 0]);
    }, error => done(String(error)));";

async fn asks(browser: &Browser, script: &str, arguments: Vec<Value>) -> Value {
    browser.page.execute_async(script, arguments).await.expect("the script runs")
}

async fn begins(browser: &Browser, address: &str, token: &str, sends: bool) -> Value {
    asks(browser, SESSION, vec![json!(address), json!(token), json!(sends)]).await
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
    let pages = Gateway::embedded().start().await;
    let origin = format!("https://{}", pages.http());
    let gateway = node(&format!("[http]\nallowed_origins = [{origin:?}]")).await;
    let at = |path: String| format!("https://{}{path}", gateway.http());
    let (camera, viewer) = tokio::join!(Browser::start(), Browser::start());
    for browser in [&camera, &viewer] {
        // The page's own policy is for its own scripts; what is tested is the node's.
        browser.devtools("Page.setBypassCSP", json!({ "enabled": true })).await;
        browser.goto(&format!("{origin}{BASE}/docs")).await;
    }
    let early = begins(&viewer, &at(whep("c1")), &token("n1", "c1", "v1"), false).await;
    assert_eq!(early["status"], 409, "{early}");
    // Read at once, both times: who answers no pings is gone before slow browsers are done.
    let mut ben = gateway.client().joined("n1", "c1", "ben").await;
    let published = begins(&camera, &at(whip("c1")), &token("n1", "c1", "obs"), true).await;
    assert_eq!(published, json!({ "status": 201, "trickled": 204 }));
    assert_eq!(ben.expect("newParticipantArrived").await["name"], "obs");
    drop(ben);
    camera.holds("http.connection.connectionState === 'connected'").await;
    let watched = begins(&viewer, &at(whep("c1")), &token("n1", "c1", "v2"), false).await;
    assert_eq!(watched, json!({ "status": 201, "trickled": 204 }));
    flows(&viewer).await;
    for browser in [&camera, &viewer] {
        let script = "const done = arguments[0]; http.restart().then(done, error => done(String(error)));";
        let restarted = asks(browser, script, Vec::new()).await;
        assert_eq!(restarted, json!({ "status": 200, "changed": true }));
        flows(&viewer).await;
    }
    let script =
        "const done = arguments[0]; http.end().then(({ status }) => done(status), error => done(String(error)));";
    let mut ben = gateway.client().joined("n1", "c1", "ben").await;
    assert_eq!(asks(&camera, script, Vec::new()).await, json!(200));
    assert_eq!(ben.wait_for("participantLeft").await["name"], "obs");
    assert_eq!(asks(&viewer, script, Vec::new()).await, json!(404), "it ended with what it showed");
}
