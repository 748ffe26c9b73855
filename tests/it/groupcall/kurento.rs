//! The group call as pages written for Kurento make it: with kurento-utils itself, from npm.

use std::process::Command;

use serde_json::json;

use super::node;
use super::pages::asks;
use crate::support::browser::Browser;
use crate::support::client::BASE;
use crate::support::gateway::Gateway;
use crate::support::janus::Janus;
use crate::support::wait::until_true;

/// Its last release, made into one script for a page as its own users do.
const PACKAGES: [&str; 3] = ["kurento-utils@7.3.0", "esbuild@0.25", "events@3"];

fn kurento_utils() -> String {
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let ran = Command::new(program).args(arguments).current_dir(folder.path()).output();
        let output = ran.unwrap_or_else(|error| panic!("{program} (Debian's package npm): {error}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("npm", &[&["install", "--no-audit", "--no-fund"], &PACKAGES[..]].concat());
    let entry = "node_modules/kurento-utils/lib/index.js";
    let form = ["--bundle", "--format=iife", "--global-name=kurentoUtils", "--platform=browser"];
    run("node_modules/.bin/esbuild", &[&[entry, "--outfile=page.js"], &form[..]].concat());
    // A script of a test is a function's body: what it declares is given to the page.
    std::fs::read_to_string(folder.path().join("page.js")).unwrap() + "\nwindow.kurentoUtils = kurentoUtils;"
}

/// A participant of Kurento's tutorial: one peer of kurento-utils for each stream, one `<video>` for each peer.
const JOIN: &str = "
    const [address, room, name, sends, done] = arguments;
    const socket = new WebSocket(address);
    const say = message => socket.send(JSON.stringify(message));
    const call = window.call = { peers: {}, videos: {}, said: [] };
    const { WebRtcPeerSendonly, WebRtcPeerRecvonly } = kurentoUtils.WebRtcPeer;
    const peer = (sender, Peer, element) => {
        const video = call.videos[sender] = Object.assign(document.createElement('video'), { autoplay: true });
        const onicecandidate = candidate => say({ id: 'onIceCandidate', candidate, name: sender });
        const options = { [element]: video, mediaConstraints: { audio: true, video: { width: 640 } }, onicecandidate };
        call.peers[sender] = new Peer(options, function(error) {
            if (error) return call.said.push({ id: 'failed', message: String(error) });
            this.generateOffer((error, sdpOffer) => error ? call.said.push({ id: 'failed', message: String(error) })
                : say({ id: 'receiveVideoFrom', sender, sdpOffer }));
        });
    };
    socket.onopen = () => say({ id: 'joinRoom', name, room });
    socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        call.said.push(message);
        if (message.id === 'existingParticipants') {
            if (sends) peer(name, WebRtcPeerSendonly, 'localVideo');
            message.data.forEach(sender => peer(sender, WebRtcPeerRecvonly, 'remoteVideo'));
            done(message.data);
        }
        if (message.id === 'newParticipantArrived') peer(message.name, WebRtcPeerRecvonly, 'remoteVideo');
        if (message.id === 'receiveVideoAnswer') call.peers[message.name].processAnswer(message.sdpAnswer);
        if (message.id === 'iceCandidate') call.peers[message.name].addIceCandidate(message.candidate);
    };";

const PLAYED: &str = "
    const [sender] = arguments;
    const video = call.videos[sender];
    return { tracks: (video?.srcObject?.getTracks() ?? []).map(({ kind }) => kind).sort(), width: video?.videoWidth ?? 0 };";

/// Only a codec that the node doesn't carry for sound, and before the picture's section.
const FIRST_REFUSED: &str = "
    const [address, room, sender, done] = arguments;
    const socket = new WebSocket(address);
    const say = message => socket.send(JSON.stringify(message));
    const connection = window.other = new RTCPeerConnection();
    const audio = connection.addTransceiver('audio', { direction: 'recvonly' });
    audio.setCodecPreferences(RTCRtpReceiver.getCapabilities('audio').codecs.filter(each => each.mimeType === 'audio/PCMU'));
    connection.addTransceiver('video', { direction: 'recvonly' });
    connection.onicecandidate = ({ candidate }) => candidate && say({ id: 'onIceCandidate', candidate, name: sender });
    socket.onopen = () => say({ id: 'joinRoom', name: 'other', room });
    socket.onmessage = async ({ data }) => {
        const message = JSON.parse(data);
        if (message.id === 'existingParticipants') {
            await connection.setLocalDescription();
            say({ id: 'receiveVideoFrom', sender, sdpOffer: connection.localDescription.sdp });
        }
        if (message.id === 'error') done(message);
        if (message.id === 'receiveVideoAnswer') {
            connection.setRemoteDescription({ type: 'answer', sdp: message.sdpAnswer }).then(() => done(message), error => done(String(error)));
        }
    };";

#[tokio::test]
async fn browser_a_page_of_kurento_utils_plays_sound_and_picture_of_a_member_as_one_stream() {
    let script = tokio::task::spawn_blocking(kurento_utils).await.unwrap();
    let gateway = node("open = true").await;
    let address = format!("wss://{}/groupcall", gateway.http());
    let (camera, viewer) = tokio::join!(Browser::start(), Browser::start());
    for browser in [&camera, &viewer] {
        // The page's own policy is for its own scripts; what is tested is the node's.
        browser.devtools("Page.setBypassCSP", json!({ "enabled": true })).await;
        browser.goto(&format!("https://{}{BASE}/docs", gateway.http())).await;
        browser.run(&script).await;
    }
    asks(&camera, JOIN, vec![json!(address), json!("c1"), json!("anna"), json!(true)]).await;
    camera.holds("call.said.some(({ id }) => id === 'receiveVideoAnswer')").await;
    let there = asks(&viewer, JOIN, vec![json!(address), json!("c1"), json!("ben"), json!(false)]).await;
    assert_eq!(there, json!(["anna"]));
    until_true("sound and picture are in the one stream that is played", async || {
        let played = viewer.page.execute(PLAYED, vec![json!("anna")]).await.expect("the script runs");
        played["tracks"] == json!(["audio", "video"]) && played["width"].as_u64() > Some(0)
    })
    .await;
    assert_eq!(viewer.run("return call.said.filter(({ id }) => id === 'failed' || id === 'error')").await, json!([]));

    let answered = asks(&viewer, FIRST_REFUSED, vec![json!(address), json!("c1"), json!("anna")]).await;
    let answer = answered["sdpAnswer"].as_str().unwrap_or_else(|| panic!("{answered}"));
    assert!(answer.contains("m=audio 0 "), "{answer}");
    viewer.holds("other.connectionState === 'connected'").await;
}

/// Janus numbers codecs as Chromium does, and maps none.
#[tokio::test]
async fn browser_a_page_of_kurento_utils_plays_a_member_of_a_janus_node_in_chromium_and_is_told_in_firefox() {
    let script = tokio::task::spawn_blocking(kurento_utils).await.unwrap();
    let janus = Janus::start().await;
    let gateway = Gateway::with(&format!("[callgw]\nopen = true\n{}", janus.node("j1"))).start().await;
    until_true("Janus is there", async || gateway.metric("confgate_janus_up").await == Some(1.0)).await;
    let address = format!("wss://{}{BASE}/callgw/at/j1", gateway.http());
    let (camera, chromium, firefox) = tokio::join!(Browser::start(), Browser::start(), Browser::firefox());
    for browser in [&camera, &chromium, &firefox] {
        browser.goto(&format!("https://{}{BASE}/docs", gateway.http())).await;
        browser.run(&script).await;
    }
    asks(&camera, JOIN, vec![json!(address), json!("c1"), json!("anna"), json!(true)]).await;
    camera.holds("call.said.some(({ id }) => id === 'receiveVideoAnswer')").await;
    asks(&chromium, JOIN, vec![json!(address), json!("c1"), json!("ben"), json!(false)]).await;
    until_true("sound and picture are played", async || {
        let played = chromium.page.execute(PLAYED, vec![json!("anna")]).await.expect("the script runs");
        played["tracks"] == json!(["audio", "video"]) && played["width"].as_u64() > Some(0)
    })
    .await;
    asks(&firefox, JOIN, vec![json!(address), json!("c1"), json!("carl"), json!(false)]).await;
    firefox
        .holds("call.said.some(({ id, code, name }) => id === 'error' && code === 'payloadTypes' && name === 'anna')")
        .await;
}
