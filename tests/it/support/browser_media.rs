//! The media that a browser receives: measured where it is decoded, not where the page reports it.

use serde_json::{Value, json};

use super::browser::Browser;
use super::wait::{PATIENCE, until, until_true};

/// Remembers every peer connection, and finds what is received of a track.
const WATCH: &str = "
    const connections = [];
    const Native = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Native {
        constructor(...options) { super(...options); connections.push(this); }
    };
    const trackOf = (kind, stream) => {
        const element = document.querySelector(kind === 'audio'
            ? `audio[data-stream=\"${stream}\"]` : `.tile[data-stream=\"${stream}\"] video:not(.arriving)`);
        return element?.srcObject?.getTracks()[0];
    };
    window.watched = {
        connections,
        // A line for each connection, for whoever reads that a test failed.
        async told() {
            const lines = connections.filter(each => each.signalingState !== 'closed').map(async each => {
                const streams = [...(await each.getStats()).values()].filter(({ type }) => /^(in|out)bound-rtp$/.test(type));
                const rtp = streams.map(({ type, kind, rid = '', bytesSent, bytesReceived, framesSent, framesDecoded }) =>
                    `${type} ${kind} ${rid} bytes ${bytesSent ?? bytesReceived} frames ${framesSent ?? framesDecoded}`);
                return [each.connectionState, each.iceConnectionState, each.signalingState, ...rtp].join('; ');
            });
            const tiles = [...document.querySelectorAll('.tile')].map(tile => {
                const pictures = [...tile.querySelectorAll('video')].map(video => `${video.className} ${video.videoWidth} px`);
                return [`tile ${tile.dataset.stream}`, tile.dataset.phase, tile.dataset.video, ...pictures].join('; ');
            });
            return [...await Promise.all(lines), ...tiles].join('\\n');
        },
        async inbound(kind, stream) {
            const track = trackOf(kind, stream);
            const receivers = connections.flatMap(each => each.getReceivers());
            const receiver = track && receivers.find(each => each.track === track);
            const stats = receiver ? [...(await receiver.getStats()).values()] : [];
            return stats.find(({ type }) => type === 'inbound-rtp') ?? null;
        },
        async outbound() {
            const senders = connections.flatMap(each => each.getSenders());
            const stats = await Promise.all(senders.map(each => each.getStats()));
            return stats.flatMap(each => [...each.values()]).filter(({ type }) => type === 'outbound-rtp');
        },
        // From here on: when (ms since 1970) something first came of each stream by another track than now.
        async note(streams) {
            const wanted = streams.flatMap(stream => [['audio', stream], ['video', stream]]);
            const former = new Map(wanted.map(([kind, stream]) => [kind + stream, trackOf(kind, stream)]));
            const back = watched.back = {};
            while (Object.keys(back).length < wanted.length) {
                for (const [kind, stream] of wanted.filter(each => !back[each.join('')])) {
                    if (trackOf(kind, stream) === former.get(kind + stream)) continue;
                    const { framesDecoded, packetsReceived } = await watched.inbound(kind, stream) ?? {};
                    if (kind === 'video' ? framesDecoded : packetsReceived) back[kind + stream] = Date.now();
                }
                await new Promise(done => setTimeout(done, 50));
            }
        },
        async paths() {
            const connected = connections.filter(each => each.connectionState === 'connected');
            const stats = await Promise.all(connected.map(each => each.getStats()));
            return stats.flatMap(each => [...each.values()].filter(({ type }) => type === 'transport').map(transport => {
                const { localCandidateId, remoteCandidateId } = each.get(transport.selectedCandidatePairId);
                const [here, there] = [each.get(localCandidateId), each.get(remoteCandidateId)];
                const { candidateType: by, protocol, relayProtocol } = here;
                return { here: here.port, there: there.port, type: there.candidateType, by, protocol, relayProtocol };
            }));
        },
        pixels(stream) {
            const video = document.querySelector(`.tile[data-stream=\"${stream}\"] video:not(.arriving)`);
            const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 36 });
            const brush = canvas.getContext('2d');
            if (!video?.videoWidth) return null;
            brush.drawImage(video, 0, 0, 64, 36);
            return [...brush.getImageData(0, 0, 64, 36).data].join();
        },
    };";

impl Browser {
    /// Before the first page: what its connections receive can be asked for from then on.
    pub async fn watch_media(&self) {
        self.run_before_pages(WATCH).await;
    }

    /// A number of what is received of a stream (`packetsReceived`, `framesDecoded`, `totalAudioEnergy`); nothing
    /// received counts as 0.
    pub async fn received(&self, kind: &str, stream: &str, number: &str) -> f64 {
        let ask = "const [kind, stream, number, done] = arguments;
            watched.inbound(kind, stream).then(stats => done(stats?.[number] ?? 0), error => done(String(error)));";
        let arguments = vec![json!(kind), json!(stream), json!(number)];
        let told = self.page.execute_async(ask, arguments).await.expect("the script runs");
        told.as_f64().unwrap_or_else(|| panic!("no {number} of {stream}: {told}"))
    }

    /// Everything that is sent: one report for each size of a picture.
    pub async fn sent(&self) -> Vec<Value> {
        let ask = "watched.outbound().then(arguments[0], error => arguments[0](String(error)));";
        let told = self.page.execute_async(ask, Vec::new()).await.expect("the script runs");
        told.as_array().unwrap_or_else(|| panic!("no list: {told}")).clone()
    }

    /// The ways of the connections that are up: both ends' ports, the other's kind of candidate (`type`), one's own (`by`)
    /// with its `protocol` and `relayProtocol`.
    pub async fn paths(&self) -> Vec<Value> {
        let ask = "watched.paths().then(arguments[0], error => arguments[0](String(error)));";
        let told = self.page.execute_async(ask, Vec::new()).await.expect("the script runs");
        told.as_array().unwrap_or_else(|| panic!("no list: {told}")).clone()
    }

    /// Waits until pictures of the stream come in and what is painted changes.
    pub async fn sees_moving(&self, stream: &str) {
        self.rises("video", stream, "framesDecoded", 5.0).await;
        let pixels = format!("return watched.pixels({})", json!(stream));
        let mut first = self.run(&pixels).await;
        self.until_media(&format!("the picture of {stream} moves"), async || {
            let now = self.run(&pixels).await;
            if first.is_null() {
                first.clone_from(&now);
            }
            now != first
        })
        .await;
    }

    /// Waits until it is so; where it doesn't become so, the test fails with what each connection carries.
    async fn until_media(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        if until(PATIENCE, async || holds().await.then_some(())).await.is_none() {
            let ask = "watched.told().then(arguments[0], error => arguments[0](String(error)));";
            let told = self.page.execute_async(ask, Vec::new()).await;
            let told = told.ok().as_ref().and_then(Value::as_str).unwrap_or("the page doesn't say").to_owned();
            panic!("not within {PATIENCE:?}: {what}\n{told}");
        }
    }

    /// Waits until packets of the stream's sound come in and there is something to be heard in them.
    pub async fn hears_sound(&self, stream: &str) {
        self.rises("audio", stream, "packetsReceived", 1.0).await;
        self.rises("audio", stream, "totalAudioEnergy", f64::MIN_POSITIVE).await;
    }

    /// Waits until the number rises by that much; another connection's begins at 0.
    async fn rises(&self, kind: &str, stream: &str, number: &str, by: f64) {
        let mut first = self.received(kind, stream, number).await;
        self.until_media(&format!("{number} of {stream} rises"), async || {
            let now = self.received(kind, stream, number).await;
            first = first.min(now);
            now > first && now >= first + by
        })
        .await;
    }

    /// From here on notes when each of those streams is seen and heard over another connection than now.
    pub async fn notes_return_of(&self, streams: &[&str]) {
        self.run(&format!("watched.note({})", json!(streams))).await;
    }

    /// When (ms since 1970) the last of so many streams was seen and heard again.
    pub async fn all_back(&self, streams: usize) -> u64 {
        let noted = async || self.run("return Object.values(watched.back)").await;
        until_true("what was noted is back", async || noted().await.as_array().map(Vec::len) == Some(2 * streams))
            .await;
        let times = noted().await;
        times.as_array().into_iter().flatten().filter_map(Value::as_u64).max().expect("a time")
    }

    /// Waits until the stream's sound stands still while the picture of another goes on: the clock is the picture.
    pub async fn hears_nothing(&self, stream: &str, clock: &str) {
        until_true(&format!("{stream} is silent"), async || {
            let packets = self.received("audio", stream, "packetsReceived").await;
            self.sees_moving(clock).await;
            self.received("audio", stream, "packetsReceived").await == packets
        })
        .await;
    }
}
