//! A conference that outgrows its call gateway node goes on at two: who comes later is sent to the second, which pulls
//! what is sent at the first, and the other way round. The nodes are real, in processes of their own, and so are those
//! who are seen and those who see.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::call_failover::{Member, member};
use crate::fixture::Fixture;
use crate::support::browser::Browser;
use crate::support::call_gateway::Trust;
use crate::support::client::{BASE, Client};
use crate::support::gateway::Gateway;
use crate::support::media::{CallSocket, NODE_SECRET, Peer, builtin_node, call};
use crate::support::ports::Port;
use crate::support::wait::until_true;
use crate::webrtc_browsers::Person;

/// Enough that media flows, few enough that it takes no second.
const SOME: usize = 20;
/// The load that other calls cause at a node: more than 0.9 is full, and more than 1 is too much for it.
const NOISE: f64 = 0.95;
const NOISE_VIEWERS: u32 = 10;
/// Of somebody who comes, until the node's report says that it is full: reports come every second.
const TRIES: usize = 40;
const IDS: [&str; 2] = ["m1", "m2"];

/// A gateway, and two nodes that are soon full.
struct Site {
    fixture: Fixture,
    operator: Client,
    nodes: [Gateway; 2],
    page: SocketAddr,
    packets_per_s_max: u32,
    _held: (Trust, Port),
}

impl Site {
    async fn start(packets_per_s_max: u32) -> Self {
        let (trust, port) = (Trust::new(), Port::claim());
        let page = port.address();
        let nodes =
            [node(IDS[0], page, &trust, packets_per_s_max).await, node(IDS[1], page, &trust, packets_per_s_max).await];
        let entry = |(id, node): (&str, &Gateway)| {
            let url = format!("wss://{}{BASE}/callgw", node.http());
            format!("[[callgw.nodes]]\nid = {id:?}\nkind = \"confgate\"\nurl = {url:?}\nsecret = {NODE_SECRET:?}\n")
        };
        let entries: String = IDS.into_iter().zip(&nodes).map(entry).collect();
        let fixture = Fixture::with(&format!("[http]\nlisten = \"{page}\"\n{entries}{}", trust.section())).await;
        let operator = fixture.operator().await;
        let site = Self { fixture, operator, nodes, page, packets_per_s_max, _held: (trust, port) };
        until_true("both nodes report", async || site.loads().await.iter().all(Option::is_some)).await;
        site
    }

    async fn loads(&self) -> Vec<Option<f64>> {
        let listed = self.operator.rpc("callgw.list", json!({})).await.result();
        listed["nodes"].as_array().expect("a list").iter().map(|node| node["load"].as_f64()).collect()
    }

    /// As the node last counted them.
    async fn members(&self, at: usize) -> f64 {
        self.nodes[at].metric("confgate_groupcall_members").await.unwrap_or_default()
    }

    fn at(&self, id: &str) -> usize {
        IDS.into_iter().position(|known| known == id).unwrap_or_else(|| panic!("no node {id}"))
    }

    /// Others' calls nearly fill the node, until they end.
    async fn fill(&self, at: usize) -> Noise {
        let client = self.nodes[at].client();
        client.has_members(IDS[at], "noise", &["noise"]).await;
        let mut publisher = client.joined(IDS[at], "noise", "noise").await;
        let (mut peers, mut sockets) = (vec![publisher.publish("noise").await], vec![publisher]);
        for n in 0..NOISE_VIEWERS {
            let name = format!("viewer{n}");
            client.has_members(IDS[at], "noise", &[&name]).await;
            let mut viewer = client.joined(IDS[at], "noise", &name).await;
            peers.push(viewer.watch("noise").await);
            sockets.push(viewer);
        }
        let mut all: Vec<&mut Peer> = peers.iter_mut().collect();
        call(&mut all, "the noise is connected", |peers| peers.iter().all(|peer| peer.is_connected())).await;
        let rate = NOISE * f64::from(self.packets_per_s_max) / f64::from(NOISE_VIEWERS);
        let (rate, told) = watch::channel(rate);
        Noise { _sockets: sockets, rate, task: tokio::spawn(make_noise(peers, told)) }
    }

    /// Waits until nobody else's calls are there.
    async fn quiet(&self, at: usize, noise: Noise) {
        drop(noise);
        until_true("the node has room", async || self.loads().await[at].is_some_and(|load| load < NOISE / 2.0)).await;
    }
}

/// A call that goes on by itself.
struct Noise {
    _sockets: Vec<CallSocket>,
    rate: watch::Sender<f64>,
    task: JoinHandle<()>,
}

impl Noise {
    /// Louder or softer, so that the load comes to be what it should, however busy the machine is.
    fn steer(&self, load: Option<f64>) {
        let step = load.map_or(1.0, |load| (NOISE / load.max(0.1)).clamp(0.9, 1.2));
        self.rate.send_modify(|rate| *rate *= step);
    }
}

/// The first of them sends so many packets in a second.
async fn make_noise(mut peers: Vec<Peer>, rate: watch::Receiver<f64>) {
    let (mut last, mut due) = (Instant::now(), 0.0);
    loop {
        let (now, rate) = (Instant::now(), *rate.borrow());
        // After a long pause, not all at once.
        due = f64::min(due + (now - last).as_secs_f64() * rate, rate / 4.0);
        last = now;
        while due >= 1.0 {
            peers[0].sound();
            peers[0].poll();
            due -= 1.0;
        }
        peers.iter_mut().for_each(Peer::poll);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A node for the gateway's pages, with that certificate.
async fn node(id: &str, page: SocketAddr, trust: &Trust, packets_per_s_max: u32) -> Gateway {
    let [cert, key] = trust.files();
    let http = format!("[http]\nallowed_origins = [\"https://{page}\"]\ncert = {cert:?}\nkey = {key:?}\n");
    let callgw = format!(
        "[callgw]\nca = {cert:?}\nthreads = 1\nreconnect_max_ms = 500\n\
         packets_per_s_max = {packets_per_s_max}\n"
    );
    Gateway::media(&format!("{http}[node]\nid = {id:?}\n{callgw}{}", builtin_node(id))).start().await
}

/// Somebody with their sockets, and what they send.
struct Guest {
    member: Member,
    user: String,
    socket: CallSocket,
    sends: Peer,
}

async fn allocate(client: &Client, conf: &str) -> Value {
    client.rpc("callgw.allocate", json!({ "confId": conf })).await.result()
}

impl Guest {
    async fn enter(site: &Site, code: &str, conf: &str) -> Self {
        Self::connect(site, member(&site.fixture, code, conf).await, conf).await
    }

    /// Takes part where they are sent now.
    async fn connect(site: &Site, member: Member, conf: &str) -> Self {
        let user = member.client.user_id().to_owned();
        member.client.opens_devices(conf).await;
        let given = allocate(&member.client, conf).await;
        let at = site.at(given["gatewayId"].as_str().expect("an id"));
        let mut socket = site.nodes[at].client().call_socket(given["token"].as_str()).await.expect("the token admits");
        socket.join(conf, &user).await;
        let sends = socket.publish(&user).await;
        Self { member: Member { gateway: IDS[at].to_owned(), ..member }, user, socket, sends }
    }
}

/// Lets each watch each other: the peers that do.
async fn all_watch_each_other(guests: &mut [&mut Guest]) -> Vec<Peer> {
    let users: Vec<String> = guests.iter().map(|guest| guest.user.clone()).collect();
    let mut seen = Vec::new();
    for guest in guests.iter_mut() {
        let others: Vec<&String> = users.iter().filter(|user| **user != guest.user).collect();
        for other in &others {
            guest.socket.knows(other).await;
        }
        for other in others {
            seen.push(guest.socket.watch(other).await);
        }
    }
    seen
}

/// Until each of those who watch sees and hears so much more.
async fn flows(guests: &mut [&mut Guest], seen: &mut [Peer], what: &str) {
    let before: Vec<(usize, usize)> = seen.iter().map(|peer| (peer.frames(), peer.sounds())).collect();
    let senders = guests.len();
    let mut all: Vec<&mut Peer> = guests.iter_mut().map(|guest| &mut guest.sends).chain(seen).collect();
    call(&mut all, what, |peers| {
        let more = |(peer, (frames, sounds)): (&&mut Peer, &(usize, usize))| {
            peer.frames() >= frames + SOME && peer.sounds() >= sounds + SOME
        };
        peers[senders..].iter().zip(&before).all(more)
    })
    .await;
}

/// Somebody who comes while the first node is full: who comes before the gateway has heard so goes again.
async fn at_the_other(site: &Site, code: &str, conf: &str, first: usize, noise: &Noise) -> Member {
    let mut known = None;
    for _ in 0..TRIES {
        let one = member(&site.fixture, code, conf).await;
        if one.gateway == IDS[1 - first] {
            return one;
        }
        one.client.rpc("conference.leave", json!({ "confId": conf })).await.result();
        // Once for each report.
        let load = site.loads().await[first];
        if std::mem::replace(&mut known, load) != load {
            noise.steer(load);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    panic!("the conference doesn't grow: {:?}", site.loads().await);
}

/// Two at the node that was first, one at the other: the last to come is at the first again, which has room by then.
async fn three_at_two_nodes(site: &Site, chair: &Client) -> (String, [Guest; 3], usize) {
    let (conf, code) = site.fixture.conference(chair, json!({})).await;
    let anna = Guest::enter(site, &code, &conf).await;
    let first = site.at(&anna.member.gateway);
    let noise = site.fill(first).await;
    let ben = at_the_other(site, &code, &conf, first, &noise).await;
    let ben = Guest::connect(site, ben, &conf).await;
    assert_eq!(allocate(&anna.member.client, &conf).await["gatewayId"], IDS[first], "who is there stays");
    site.quiet(first, noise).await;
    let carl = Guest::enter(site, &code, &conf).await;
    assert_eq!(carl.member.gateway, IDS[first], "it has room again");
    assert_eq!(allocate(&ben.member.client, &conf).await["gatewayId"], IDS[1 - first], "who is there stays");
    (conf, [anna, ben, carl], first)
}

#[tokio::test]
async fn a_conference_that_outgrows_its_node_goes_on_at_two_and_each_stream_crosses_once() {
    let site = Site::start(2_000).await;
    let chair = site.fixture.chair().await;
    let (conf, [mut anna, mut ben, mut carl], first) = three_at_two_nodes(&site, &chair).await;
    let mut seen = all_watch_each_other(&mut [&mut anna, &mut ben, &mut carl]).await;
    flows(&mut [&mut anna, &mut ben, &mut carl], &mut seen, "everybody sees and hears everybody").await;

    // Two send here and see two each, and the other node has both; one is pulled. There: one sends and sees two, one
    // copy goes back, and two are pulled.
    for (at, endpoints) in [(first, 2.0 + 4.0 + 2.0 + 1.0), (1 - first, 1.0 + 2.0 + 1.0 + 2.0)] {
        let counted = async || site.nodes[at].metric("confgate_media_endpoints").await;
        until_true("each stream crosses once", async || counted().await == Some(endpoints)).await;
    }
    until_true("the nodes count as nobody", async || site.members(first).await == 2.0).await;

    // The chair's decisions hold at both nodes: a muted member is heard nowhere, a kicked member is gone everywhere.
    let control = async |action: &str, user: &str| {
        let params = json!({ "confId": conf, "action": action, "userId": user });
        chair.rpc("conference.control", params).await.result();
    };
    control("mute", &anna.user).await;
    anna.socket.wait_for("enforce").await;
    // Anna's two come first: this is Ben, who sees her.
    let at_ben = 2;
    let (frames, sounds) = (seen[at_ben].frames(), seen[at_ben].sounds());
    let mut all: Vec<&mut Peer> = vec![&mut anna.sends, &mut ben.sends, &mut carl.sends];
    all.extend(seen.iter_mut());
    call(&mut all, "pictures go on", |peers| peers[3 + at_ben].frames() >= frames + 5 * SOME).await;
    assert!(seen[at_ben].sounds() < sounds + SOME, "sound doesn't");
    control("kick", &carl.user).await;
    for guest in [&mut anna, &mut ben] {
        assert_eq!(guest.socket.wait_for("participantLeft").await["name"], carl.user.as_str());
    }
    assert_eq!(carl.socket.closed().await, (vec!["expelled".to_owned()], 4003));
    chair.rpc("conference.end", json!({ "confId": conf })).await.result();
    for guest in [&mut anna, &mut ben] {
        assert_eq!(guest.socket.closed().await, (vec!["ended".to_owned()], 4004));
    }
    for node in &site.nodes {
        until_true("nothing is left", async || node.metric("confgate_media_endpoints").await == Some(0.0)).await;
        until_true("no link is left", async || node.metric("confgate_pull_links").await == Some(0.0)).await;
    }
}

#[tokio::test]
async fn conference_is_whole_again_at_the_other_node_after_one_dies() {
    let mut site = Site::start(2_000).await;
    let chair = site.fixture.chair().await;
    let (conf, [mut anna, mut ben, mut carl], first) = three_at_two_nodes(&site, &chair).await;
    let mut seen = all_watch_each_other(&mut [&mut anna, &mut ben, &mut carl]).await;
    flows(&mut [&mut anna, &mut ben, &mut carl], &mut seen, "everybody sees and hears everybody").await;

    site.nodes[first].kill();
    let told = ben.member.socket.wait_for("callgw.changed").await;
    let expected = json!({ "confId": conf, "from": IDS[first], "to": IDS[1 - first], "reason": "down" });
    assert_eq!(told, expected);
    assert_eq!(allocate(&ben.member.client, &conf).await["gatewayId"], IDS[1 - first], "who is there stays");
    for other in [&anna.user, &carl.user] {
        ben.socket.misses(other).await;
    }
    let mut anna = Guest::connect(&site, anna.member, &conf).await;
    let mut carl = Guest::connect(&site, carl.member, &conf).await;
    let mut seen = all_watch_each_other(&mut [&mut anna, &mut ben, &mut carl]).await;
    flows(&mut [&mut anna, &mut ben, &mut carl], &mut seen, "everybody sees and hears everybody again").await;
    until_true("all are there", async || site.members(1 - first).await == 3.0).await;
}

#[tokio::test]
async fn members_of_a_drained_node_go_to_the_other() {
    let site = Site::start(2_000).await;
    let chair = site.fixture.chair().await;
    let (conf, [mut anna, mut ben, mut carl], first) = three_at_two_nodes(&site, &chair).await;
    let params = json!({ "gatewayId": IDS[1 - first], "deadlineMs": confgate::clock::date_ms() });
    site.operator.rpc("callgw.drain", params).await.result();
    let told = ben.member.socket.wait_for("callgw.changed").await;
    let expected = json!({ "confId": conf, "from": IDS[1 - first], "to": IDS[first], "reason": "drain" });
    assert_eq!(told, expected);
    let url = format!("wss://{}{BASE}/callgw", site.nodes[first].http());
    assert_eq!(ben.socket.wait_for("moved").await["url"], url.as_str());
    let mut ben = Guest::connect(&site, ben.member, &conf).await;
    assert_eq!(ben.member.gateway, IDS[first]);
    let mut seen = all_watch_each_other(&mut [&mut anna, &mut ben, &mut carl]).await;
    flows(&mut [&mut anna, &mut ben, &mut carl], &mut seen, "everybody sees and hears everybody").await;
    for node in &site.nodes {
        until_true("nothing crosses", async || node.metric("confgate_pull_links").await == Some(0.0)).await;
    }
}

#[tokio::test]
async fn browser_people_on_two_nodes_see_and_hear_each_other() {
    let site = Site::start(4_000).await;
    let chair = site.fixture.chair().await;
    let (conf, code) = site.fixture.conference(&chair, json!({})).await;
    let link = format!("https://{}{BASE}/conference/{code}", site.page);
    let anna = Person::enter(Browser::start().await, &link, "Anna Schmidt").await;
    until_true("she is at a node", async || site.members(0).await + site.members(1).await == 1.0).await;
    let first = usize::from(site.members(1).await == 1.0);
    let noise = site.fill(first).await;
    let scout = at_the_other(&site, &code, &conf, first, &noise).await;
    scout.client.rpc("conference.leave", json!({ "confId": conf })).await.result();
    site.quiet(first, noise).await;
    // Until its deadline, she stays; the conference is at the other node too, which takes who comes.
    let drain = |more: Value| {
        let mut params = json!({ "gatewayId": IDS[first] });
        params.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        site.operator.rpc("callgw.drain", params)
    };
    drain(json!({ "deadlineMs": confgate::clock::date_ms() + 600_000 })).await.result();
    let zhang = Person::enter(Browser::start().await, &link, "张伟").await;
    until_true("he is at the other", async || site.members(1 - first).await == 1.0).await;
    drain(json!({ "cancel": true })).await.result();
    let li = Person::enter(Browser::start().await, &link, "李娜").await;
    until_true("she is at the first", async || site.members(first).await == 2.0).await;
    assert_eq!(site.members(1 - first).await, 1.0);
    tokio::join!(
        anna.sees_and_hears([&zhang, &li]),
        zhang.sees_and_hears([&anna, &li]),
        li.sees_and_hears([&anna, &zhang])
    );
    for person in [&anna, &zhang, &li] {
        person.browser.assert_quiet_console().await;
    }
}
