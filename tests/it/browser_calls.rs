//! Two call each other from the page, a Chromium for each: straight from browser to browser, through the node, and from
//! the one to the other in the midst of the call.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::browser_end_to_end::person::id;
use crate::fixture::Fixture;
use crate::support::browser::Browser;
use crate::support::call_gateway::Trust;
use crate::support::client::BASE;
use crate::support::gateway::Gateway;
use crate::support::media::NODE_SECRET;
use crate::support::ports::Port;
use crate::support::turn::Turn;
use crate::support::wait::until_true;
use crate::webrtc_browsers::media_node;
use crate::webrtc_paths::{NO_UDP, NOTHING_DIRECT};

/// In pages of which it is said, no browser hears where another one can be reached.
const NO_PATH: &str = "RTCPeerConnection.prototype.addIceCandidate = async () => {};";

/// Remembers every socket of the page.
const SOCKETS: &str = "
    window.sockets = [];
    window.WebSocket = class extends WebSocket {
        constructor(...options) { super(...options); sockets.push(this); }
    };";

/// The camera opens while the browser takes the other's description, neither before nor after.
const CAMERA_MEANWHILE: &str = "
    const [asked, opened] = [Promise.withResolvers(), Promise.withResolvers()];
    const devices = navigator.mediaDevices;
    const open = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async what => {
        if (what.video) await asked.promise;
        const media = await open(what);
        // The page is told of it first.
        if (what.video) setTimeout(opened.resolve);
        return media;
    };
    const take = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = async function (description) {
        asked.resolve();
        await opened.promise;
        return take.call(this, description);
    };";

/// Kurento's one-to-one page, under the test's control. `faces` holds the picture of each connection.
const KURENTO_PAGE: &str = "
    const dial = name => {
        const socket = new WebSocket(`wss://${location.host}/one2one`);
        const send = message => socket.send(JSON.stringify(message));
        const state = { log: [], send };
        const candidates = [];
        const connect = async () => {
            const pc = state.pc = new RTCPeerConnection();
            pc.onicecandidate = ({ candidate }) => candidate && send({ id: 'onIceCandidate', candidate });
            const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, framerate: 15 } });
            media.getTracks().forEach(track => pc.addTrack(track, media));
            await pc.setLocalDescription(await pc.createOffer({ offerToReceiveAudio: true, offerToReceiveVideo: true }));
            return pc.localDescription.sdp;
        };
        const answer = async sdp => {
            await state.pc.setRemoteDescription({ type: 'answer', sdp });
            for (const candidate of candidates.splice(0)) await state.pc.addIceCandidate(candidate);
            // Sound that nobody plays is not decoded.
            const video = document.body.appendChild(document.createElement('video'));
            video.srcObject = new MediaStream(state.pc.getReceivers().map(({ track }) => track));
            video.play();
        };
        const end = () => { state.pc?.close(); state.pc = null; };
        const handlers = {
            async incomingCall({ from }) {
                send({ id: 'incomingCallResponse', from, callResponse: 'accept', sdpOffer: await connect() });
            },
            callResponse: ({ response, sdpAnswer }) => response === 'accepted' ? answer(sdpAnswer) : end(),
            startCommunication: ({ sdpAnswer }) => answer(sdpAnswer),
            stopCommunication: end,
            iceCandidate: ({ candidate }) => state.pc.signalingState === 'stable'
                ? state.pc.addIceCandidate(candidate) : candidates.push(candidate),
        };
        socket.onopen = () => send({ id: 'register', name });
        socket.onmessage = ({ data }) => {
            const message = JSON.parse(data);
            state.log.push(message.id + (message.response ? ` ${message.response}` : ''));
            handlers[message.id]?.(message);
        };
        state.call = async to => send({ id: 'call', from: name, to, sdpOffer: await connect() });
        state.received = async () => {
            const stats = [...(await state.pc?.getStats() ?? new Map()).values()];
            const inbound = stats.filter(({ type }) => type === 'inbound-rtp');
            const of = kind => inbound.find(each => each.kind === kind);
            return { frames: of('video')?.framesDecoded ?? 0, energy: of('audio')?.totalAudioEnergy ?? 0 };
        };
        return state;
    };
    window.kurento = dial(NAME);";

/// A user that is signed in at the home page.
pub struct Person {
    pub browser: Browser,
    pub user: &'static str,
}

impl Person {
    /// `script` runs before the page's own.
    pub async fn sign_in(fixture: &Fixture, user: &'static str, script: &str) -> Self {
        Self::sign_in_at(Browser::start().await, fixture, user, script).await
    }

    async fn sign_in_at(browser: Browser, fixture: &Fixture, user: &'static str, script: &str) -> Self {
        browser.watch_media().await;
        browser.run_before_pages(script).await;
        browser.goto(&format!("https://{}{BASE}/", fixture.gateway.http())).await;
        browser.is_on("signIn").await;
        browser.fill(&id("user-id"), user).await;
        browser.fill(&id("password"), "their password").await;
        browser.press("sign-in").await;
        browser.is_on("home").await;
        // A reload of the page would forget it.
        browser.run("window.isSamePage = true").await;
        Self { browser, user }
    }

    pub async fn sees_and_hears(&self, other: &Person) {
        self.browser.sees_moving(other.user).await;
        self.browser.hears_sound(other.user).await;
    }

    async fn is_on_same_page(&self) {
        self.browser.is_on("conference").await;
        assert_eq!(self.browser.run("return window.isSamePage").await, json!(true));
    }
}

/// Two who are in each other's address book, and a third who isn't here.
async fn two(fixture: &Fixture, script: &str) -> (Person, Person) {
    two_with(fixture, &[], script).await
}

/// The same in browsers with those flags.
async fn two_with(fixture: &Fixture, flags: &[&str], script: &str) -> (Person, Person) {
    let operator = fixture.operator().await;
    for (user, name) in [("anna", "Anna Schmidt"), ("zhang", "张伟"), ("ben", "Ben")] {
        let account = json!({ "userId": user, "name": name, "password": "their password" });
        operator.rpc("org.user.createUser", account).await.result();
    }
    let sign_in = async |user| Person::sign_in_at(Browser::with(flags).await, fixture, user, script).await;
    tokio::join!(sign_in("anna"), sign_in("zhang"))
}

/// The first calls the second, with picture, who takes it so.
async fn call(one: &Person, other: &Person) {
    one.browser.press(&format!("call-video-{}", other.user)).await;
    other.browser.has("incoming", true).await;
    other.browser.press("call-accept-video").await;
    tokio::join!(one.browser.is_on("conference"), other.browser.is_on("conference"));
    tokio::join!(one.sees_and_hears(other), other.sees_and_hears(one));
}

/// One connection, whose other end is the other browser's own.
async fn expect_p2p(one: &Person, other: &Person) {
    let (ones, others) = (one.browser.paths().await, other.browser.paths().await);
    let ([ones], [others]) = (ones.as_slice(), others.as_slice()) else {
        panic!("not one connection each: {ones:?}, {others:?}")
    };
    assert_eq!((&ones["there"], &others["there"]), (&others["here"], &ones["here"]));
}

/// All connections of both lead to the node's one port.
async fn through_the_node(one: &Person, other: &Person) {
    let ends = |paths: &[Value]| -> Vec<Value> { paths.iter().map(|path| path["there"].clone()).collect() };
    until_true("media goes through the node", async || {
        let (ones, others) = (one.browser.paths().await, other.browser.paths().await);
        let all = [ends(&ones), ends(&others)].concat();
        ones.len() == 2 && others.len() == 2 && all.iter().all(|end| *end == all[0])
    })
    .await;
}

/// How many connections each has made until now.
async fn connection_counts(one: &Person, other: &Person) -> [Value; 2] {
    let count = "return watched.connections.length";
    [one.browser.run(count).await, other.browser.run(count).await]
}

/// The node's socket comes back; the connection that media flows on is the same.
async fn a_lost_socket_is_not_noticed(fixture: &Fixture, anna: &Person, zhang: &Person) {
    let connections = connection_counts(anna, zhang).await;
    let gone = "sockets.filter(each => each.url.endsWith('/callgw') && each.readyState === WebSocket.OPEN)[0].close()";
    zhang.browser.run(gone).await;
    zhang.browser.holds("sockets.filter(each => each.url.endsWith('/callgw')).length >= 2").await;
    until_true("he is back", async || fixture.gateway.metric("confgate_groupcall_members").await == Some(2.0)).await;
    tokio::join!(anna.sees_and_hears(zhang), zhang.sees_and_hears(anna));
    expect_p2p(anna, zhang).await;
    assert_eq!(connection_counts(anna, zhang).await, connections);
}

#[tokio::test]
async fn browser_media_goes_straight_and_through_the_node_when_it_must() {
    let fixture = Fixture::with("[callgw]\nthreads = 1\n").await;
    let (anna, zhang) = two(&fixture, SOCKETS).await;
    call(&anna, &zhang).await;
    expect_p2p(&anna, &zhang).await;
    anna.browser.look_in_both_languages("call-on").await;
    expect_p2p(&anna, &zhang).await;
    a_lost_socket_is_not_noticed(&fixture, &anna, &zhang).await;

    // A mute holds at the node, to which both go over.
    anna.browser.does_to(zhang.user, "mute").await;
    through_the_node(&anna, &zhang).await;
    tokio::join!(anna.browser.sees_moving(zhang.user), zhang.sees_and_hears(&anna));
    anna.browser.hears_nothing(zhang.user, zhang.user).await;
    tokio::join!(anna.is_on_same_page(), zhang.is_on_same_page());
    assert_eq!(fixture.gateway.metric("confgate_groupcall_relayed_total").await, Some(2.0), "told to both");

    zhang.browser.press("leave").await;
    anna.browser.is_on("ended").await;
    anna.browser.look("call-ended").await;
    anna.browser.press("go-home").await;
    zhang.browser.press("go-home").await;
    // The next one is straight again, the other way round.
    call(&zhang, &anna).await;
    expect_p2p(&zhang, &anna).await;
    anna.browser.assert_quiet_console().await;
    zhang.browser.assert_quiet_console().await;
}

/// A node that goes on without the gateway, and may die alone.
async fn node_apart() -> (Gateway, Fixture, Trust) {
    let (trust, page) = (Trust::new(), Port::claim());
    let node = media_node("n1", &format!("https://{}", page.address()), &trust).await;
    let url = format!("wss://{}{BASE}/callgw", node.http());
    let section =
        format!("[[callgw.nodes]]\nid = \"n1\"\nkind = \"confgate\"\nurl = {url:?}\nsecret = {NODE_SECRET:?}\n");
    let http = format!("[http]\nlisten = \"{}\"\n", page.address());
    let fixture = Fixture::with(&format!("{http}{section}{}", trust.section())).await;
    (node, fixture, trust)
}

async fn refused_allocations(fixture: &Fixture) -> f64 {
    let (_, metrics) = fixture.gateway.admin_get("/metrics").await;
    let counts = |line: &str| line.contains("method=\"callgw.allocate\"") && line.contains("outcome=\"refused\"");
    let line = metrics.lines().find(|line| line.starts_with("confgate_rpc_requests_total") && counts(line));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn browser_the_death_of_the_call_gateway_is_not_noticed_where_media_goes_straight() {
    let (mut node, fixture, _trust) = node_apart().await;
    let (anna, zhang) = two(&fixture, SOCKETS).await;
    let chair = fixture.chair().await;
    until_true("the node is offered", async || !chair.offered_gateways().await.is_empty()).await;
    call(&anna, &zhang).await;
    let connections = connection_counts(&anna, &zhang).await;
    let undisturbed = async || {
        tokio::join!(anna.sees_and_hears(&zhang), zhang.sees_and_hears(&anna));
        expect_p2p(&anna, &zhang).await;
        assert_eq!(connection_counts(&anna, &zhang).await, connections);
        for person in [&anna, &zhang] {
            person.browser.has("banner", false).await;
            person.is_on_same_page().await;
        }
    };
    undisturbed().await;
    let before = refused_allocations(&fixture).await;
    node.kill();
    until_true("nobody is sent to it", async || chair.offered_gateways().await.is_empty()).await;
    for person in [&anna, &zhang] {
        let gone = "sockets.filter(each => each.url.endsWith('/callgw')).every(each => each.readyState === 3)";
        person.browser.holds(gone).await;
    }
    // Both have asked for another, in vain.
    until_true("none is allocated", async || refused_allocations(&fixture).await >= before + 2.0).await;
    undisturbed().await;

    node.restart().await;
    until_true("both are back", async || node.metric("confgate_groupcall_members").await == Some(2.0)).await;
    undisturbed().await;
    anna.browser.does_to(zhang.user, "mute").await;
    through_the_node(&anna, &zhang).await;
    tokio::join!(anna.browser.sees_moving(zhang.user), zhang.sees_and_hears(&anna));
    anna.browser.hears_nothing(zhang.user, zhang.user).await;
    tokio::join!(anna.is_on_same_page(), zhang.is_on_same_page());
}

#[tokio::test]
async fn browser_two_who_reach_only_the_turn_server_call_each_other_through_it_and_the_node() {
    let turn = Turn::start(IpAddr::V4(Ipv4Addr::LOCALHOST)).await;
    let fixture = Fixture::with(&format!("[callgw]\nthreads = 1\n{}", turn.section())).await;
    let (anna, zhang) = two_with(&fixture, &[NO_UDP], NOTHING_DIRECT).await;
    call(&anna, &zhang).await;
    through_the_node(&anna, &zhang).await;
    for person in [&anna, &zhang] {
        let ways = person.browser.paths().await;
        let relayed = |way: &Value| way["by"] == "relay" && way["relayProtocol"] == "tcp";
        assert!(ways.iter().all(relayed), "{ways:?}");
        person.is_on_same_page().await;
        person.browser.assert_quiet_console().await;
    }
}

#[tokio::test]
async fn browser_media_goes_through_the_node_where_the_configuration_says_so() {
    let fixture = Fixture::with("[callgw]\nthreads = 1\np2p = false\n").await;
    let (anna, zhang) = two(&fixture, "").await;
    call(&anna, &zhang).await;
    through_the_node(&anna, &zhang).await;
}

#[tokio::test]
async fn browser_media_goes_through_the_node_where_no_path_leads_straight() {
    let fixture = Fixture::with("[callgw]\nthreads = 1\n").await;
    let (anna, zhang) = two(&fixture, NO_PATH).await;
    call(&anna, &zhang).await;
    through_the_node(&anna, &zhang).await;
    tokio::join!(anna.is_on_same_page(), zhang.is_on_same_page());
}

#[tokio::test]
async fn browser_a_camera_that_opens_while_the_browsers_agree_is_seen() {
    let fixture = Fixture::with("[callgw]\nthreads = 1\n").await;
    let (anna, zhang) = two(&fixture, CAMERA_MEANWHILE).await;
    call(&anna, &zhang).await;
    expect_p2p(&anna, &zhang).await;
}

#[tokio::test]
async fn browser_a_call_rings_and_is_declined_given_up_or_missed() {
    let fixture = Fixture::with("[limits]\nring_ms = 10000\n").await;
    let (anna, zhang) = two(&fixture, "").await;
    anna.browser.look_in_both_languages("people").await;
    anna.browser.fill(&id("people-search"), "张").await;
    anna.browser.press("call-zhang").await;
    anna.browser.is_on("calling").await;
    zhang.browser.shows(&id("incoming"), "Anna Schmidt").await;
    for (browser, name) in [(&anna.browser, "call-out"), (&zhang.browser, "call-in")] {
        browser.look(name).await;
    }
    zhang.browser.press("call-decline").await;
    anna.browser.is_on("callOver").await;
    zhang.browser.has("incoming", false).await;
    anna.browser.look("call-declined").await;

    anna.browser.press("call-again").await;
    zhang.browser.has("incoming", true).await;
    anna.browser.press("call-cancel").await;
    anna.browser.is_on("home").await;
    zhang.browser.has("incoming", false).await;
    zhang.browser.shows(&id("toasts"), "Anna Schmidt").await;

    // Nobody answers; and while two talk, the third hears that.
    anna.browser.press("call-zhang").await;
    anna.browser.is_on("callOver").await;
    anna.browser.press("call-back").await;
    anna.browser.is_on("home").await;
    zhang.browser.press("call-anna").await;
    anna.browser.press("call-accept").await;
    tokio::join!(anna.browser.is_on("conference"), zhang.browser.is_on("conference"));
    anna.browser.hears_sound(zhang.user).await;
    let ben = Person::sign_in(&fixture, "ben", "").await;
    ben.browser.press("call-anna").await;
    ben.browser.is_on("callOver").await;
    ben.browser.look("call-busy").await;
}

/// A page of this origin that speaks as Kurento's does.
async fn kurento(fixture: &Fixture, name: &str) -> Browser {
    let browser = Browser::start().await;
    browser.goto(&format!("https://{}{BASE}/", fixture.gateway.http())).await;
    browser.run(&KURENTO_PAGE.replace("NAME", &json!(name).to_string())).await;
    browser.holds("kurento.log.includes('registerResponse accepted')").await;
    browser
}

async fn decodes(browser: &Browser) {
    let received = async |what: &str| {
        let ask = format!("kurento.received().then(all => arguments[0](all.{what}));");
        let told = browser.page.execute_async(&ask, Vec::new()).await.expect("the script runs");
        told.as_f64().unwrap_or_else(|| panic!("no number: {told}"))
    };
    let (frames, energy) = (received("frames").await, received("energy").await);
    until_true("frames are decoded", async || received("frames").await >= frames + 5.0).await;
    until_true("sound is heard", async || received("energy").await > energy).await;
}

#[tokio::test]
async fn browser_kurentos_own_page_calls_another_through_an_open_node() {
    let fixture = Fixture::with("[callgw]\nthreads = 1\nopen = true\n").await;
    let (anna, zhang) = tokio::join!(kurento(&fixture, "Anna"), kurento(&fixture, "张伟"));
    for _ in 0..2 {
        anna.run("kurento.call('张伟')").await;
        tokio::join!(decodes(&anna), decodes(&zhang));
        zhang.run("kurento.send({ id: 'stop' }); kurento.pc.close(); kurento.pc = null").await;
        anna.holds("kurento.pc === null").await;
    }
    let told = ["registerResponse accepted", "callResponse accepted", "stopCommunication"];
    let log = anna.run("return kurento.log.filter(id => id !== 'iceCandidate')").await;
    assert_eq!(log, json!([told[0], told[1], told[2], told[1], told[2]]));
    for browser in [&anna, &zhang] {
        browser.assert_quiet_console().await;
    }
}
