//! Pages of an origin that the node allows, which send and watch over HTTP with `fetch` and nothing else: a browser for
//! each.

use serde_json::{Value, json};

use super::node;
use crate::support::browser::Browser;
use crate::support::client::BASE;
use crate::support::gateway::Gateway;
use crate::support::media::token;

/// Offers as any page would; answers the status and the body. `nack`: with NACK for the sound, which has no RTX.
const OFFER: &str = "
    const [address, token, sends, nack, done] = arguments;
    const authorization = `Bearer ${token}`;
    const begin = async () => {
        const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
        const tracks = sends ? (await navigator.mediaDevices.getUserMedia({ audio: true, video: true })).getTracks() : [];
        const direction = sends ? 'sendonly' : 'recvonly';
        for (const each of sends ? tracks : ['audio', 'video']) connection.addTransceiver(each, { direction });
        const video = Object.assign(document.createElement('video'), { autoplay: true });
        connection.ontrack = ({ streams: [stream] }) => video.srcObject = stream;
        const gathered = () => new Promise(resolve => {
            const candidates = [];
            connection.onicecandidate = ({ candidate }) =>
                candidate ? candidate.candidate && candidates.push(candidate.candidate) : resolve(candidates);
        });
        const candidates = gathered();
        const { sdp } = await connection.createOffer();
        const asking = nack ? sdp.replace(/(a=rtpmap:(\\d+) opus\\/48000\\/2\\r\\n)/, '$1a=rtcp-fb:$2 nack\\r\\n') : sdp;
        await connection.setLocalDescription({ type: 'offer', sdp: asking });
        const headers = { authorization, 'content-type': 'application/sdp' };
        const reply = await fetch(address, { method: 'POST', headers, body: asking });
        const location = reply.headers.get('location');
        window.http = { connection, video, authorization, gathered, candidates, offer: asking,
            session: location && new URL(location, address).href, tag: reply.headers.get('etag') };
        return { status: reply.status, body: await reply.text() };
    };
    begin().then(done, error => done({ error: String(error) }));";

const ANSWER: &str = "
    const [sdp, done] = arguments;
    http.connection.setRemoteDescription({ type: 'answer', sdp }).then(() => done(null), error => done(String(error)));";

/// A node, and two browsers on a page of an origin that it allows.
pub struct Scene {
    _pages: Gateway,
    pub gateway: Gateway,
    pub camera: Browser,
    pub viewer: Browser,
}

impl Scene {
    pub async fn open() -> Self {
        let pages = Gateway::embedded().start().await;
        let origin = format!("https://{}", pages.http());
        let gateway = node(&format!("[http]\nallowed_origins = [{origin:?}]")).await;
        let (camera, viewer) = tokio::join!(Browser::start(), Browser::start());
        for browser in [&camera, &viewer] {
            // The page's own policy is for its own scripts; what is tested is the node's.
            browser.devtools("Page.setBypassCSP", json!({ "enabled": true })).await;
            browser.goto(&format!("{origin}{BASE}/docs")).await;
        }
        Self { _pages: pages, gateway, camera, viewer }
    }

    /// The node's reply to an offer of the camera.
    pub async fn sends(&self, path: &str, name: &str) -> Value {
        self.offers(&self.camera, path, name, [true, false]).await
    }

    /// The node's reply to an offer of the viewer.
    pub async fn watches(&self, path: &str, name: &str, nack: bool) -> Value {
        self.offers(&self.viewer, path, name, [false, nack]).await
    }

    async fn offers(&self, browser: &Browser, path: &str, name: &str, [sends, nack]: [bool; 2]) -> Value {
        let address = format!("https://{}{path}", self.gateway.http());
        asks(browser, OFFER, vec![json!(address), json!(token("n1", "c1", name)), json!(sends), json!(nack)]).await
    }
}

/// The result of an asynchronous script.
pub async fn asks(browser: &Browser, script: &str, arguments: Vec<Value>) -> Value {
    browser.page.execute_async(script, arguments).await.expect("the script runs")
}

/// Takes the node's answer, which is in its reply.
pub async fn takes(browser: &Browser, reply: &Value) {
    assert_eq!(reply["status"], 201, "{reply}");
    takes_answer(browser, reply["body"].as_str().expect("a text")).await;
}

pub async fn takes_answer(browser: &Browser, sdp: &str) {
    assert_eq!(asks(browser, ANSWER, vec![json!(sdp)]).await, Value::Null);
}
