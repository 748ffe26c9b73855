//! A conference that outgrows a Janus goes on at two: who comes later is sent to the second, and each sends the other
//! what is sent to it. Both are real, and so are those who are seen and those who see.

use serde_json::json;

use crate::call_failover::{Member, member};
use crate::fixture::Fixture;
use crate::support::browser::Browser;
use crate::support::chaos::ChaosProxy;
use crate::support::client::{BASE, Client};
use crate::support::janus::{Janus, media_address};
use crate::support::media::{CallSocket, Peer, SOME, call, flows};
use crate::support::wait::{PATIENCE, until_true};
use crate::webrtc_browsers::Person;

const IDS: [&str; 2] = ["j1", "j2"];
/// Connections that a Janus is taken to have room for, and what fills it: from 0.9 on it is full.
const CONNECTIONS: usize = 100;
const OTHERS: usize = 92;
/// Of so many frames each, until what was under way before a mute has come.
const TURNS: usize = 20;

/// A gateway in front of two, which it speaks to over those links and counts by their Admin API.
struct Site {
    fixture: Fixture,
    operator: Client,
    januses: [Janus; 2],
    apis: [ChaosProxy; 2],
}

impl Site {
    async fn start() -> Self {
        let januses = [Janus::start().await, Janus::start().await];
        let apis = [ChaosProxy::to(januses[0].address()).await, ChaosProxy::to(januses[1].address()).await];
        let [one, other] = [0, 1].map(|at| {
            let (direct, through) = (januses[at].address().to_string(), apis[at].address().to_string());
            januses[at].counted_node(IDS[at]).replace(&direct, &through)
        });
        // The one is sent to where its API is, the other at an address of its own.
        let nodes = format!("{one}{other}rtp_address = \"{}\"\n", media_address());
        let callgw = format!("[callgw]\nconnections = {CONNECTIONS}\n");
        let fixture = Fixture::with(&format!("{callgw}{nodes}")).await;
        let operator = fixture.operator().await;
        let site = Self { fixture, operator, januses, apis };
        until_true("both report", async || site.loads().await.iter().all(Option::is_some)).await;
        site
    }

    async fn loads(&self) -> Vec<Option<f64>> {
        let listed = self.operator.rpc("callgw.list", json!({})).await.result();
        listed["nodes"].as_array().expect("a list").iter().map(|node| node["load"].as_f64()).collect()
    }

    /// Others' connections fill it, for as long as that is held.
    async fn fill(&self, at: usize) -> impl Sized + use<> {
        let others = self.januses[at].other_service(OTHERS).await;
        until_true("it is full", async || self.loads().await[at].is_some_and(|load| load >= 0.9)).await;
        others
    }

    async fn links(&self) -> Option<f64> {
        self.fixture.gateway.metric("confgate_pull_links").await
    }

    /// Streams that each takes from the other.
    fn crossing(&self) -> [usize; 2] {
        self.januses.each_ref().map(Janus::remote_publishers)
    }
}

fn at(id: &str) -> usize {
    IDS.into_iter().position(|known| known == id).unwrap_or_else(|| panic!("no node {id}"))
}

/// Somebody with their sockets, and what they send.
struct Guest {
    member: Member,
    user: String,
    socket: CallSocket,
    sends: Peer,
}

impl Guest {
    async fn enter(site: &Site, code: &str, conf: &str) -> Self {
        Self::connect(member(&site.fixture, code, conf).await, conf).await
    }

    /// Takes part where they are sent now.
    async fn connect(member: Member, conf: &str) -> Self {
        let user = member.client.user_id().to_owned();
        member.client.opens_devices(conf).await;
        let given = member.client.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
        let gateway = given["gatewayId"].as_str().expect("an id").to_owned();
        let path = format!("{BASE}/callgw/at/{gateway}");
        let mut socket = member.client.call_socket_at(&path, given["token"].as_str()).await.expect("the token opens");
        socket.join(conf, &user).await;
        let mut sends = socket.publish_from(media_address(), &user).await;
        call(&mut [&mut sends], "they are connected", |peers| peers[0].is_connected()).await;
        Self { member: Member { gateway, ..member }, user, socket, sends }
    }

    /// Receives the other's stream, once told of it.
    async fn watch(&mut self, other: &str) -> Peer {
        self.socket.knows(other).await;
        self.socket.watch_from(media_address(), other).await
    }
}

/// One at each Janus, and what fills the first.
async fn one_at_each(site: &Site, code: &str, conf: &str) -> (Guest, Guest, impl Sized + use<>) {
    let anna = Guest::enter(site, code, conf).await;
    let first = at(&anna.member.gateway);
    let others = site.fill(first).await;
    let ben = Guest::enter(site, code, conf).await;
    assert_eq!(ben.member.gateway, IDS[1 - first]);
    (anna, ben, others)
}

/// The two peers by which each receives the other, once media flows.
async fn see_each_other(one: &mut Guest, other: &mut Guest) -> [Peer; 2] {
    let mut seen = [one.watch(&other.user).await, other.watch(&one.user).await];
    flows(&mut other.sends, &mut seen[0]).await;
    flows(&mut one.sends, &mut seen[1]).await;
    seen
}

/// Packets that were on their way come through; after that, pictures alone.
async fn falls_silent(sends: &mut Peer, sees: &mut Peer) {
    for _ in 0..TURNS {
        let (frames, sounds) = (sees.frames(), sees.sounds());
        call(&mut [sends, sees], "pictures go on", |peers| peers[1].frames() >= frames + SOME).await;
        if sees.sounds() == sounds {
            return;
        }
    }
    panic!("it is still heard");
}

#[tokio::test]
async fn a_conference_that_outgrows_its_janus_goes_on_at_two_that_send_each_other_its_streams() {
    let site = Site::start().await;
    let chair = site.fixture.chair().await;
    let (conf, code) = site.fixture.conference(&chair, json!({})).await;
    let (mut anna, mut ben, _others) = one_at_each(&site, &code, &conf).await;
    let [_at_anna, mut at_ben] = see_each_other(&mut anna, &mut ben).await;
    let mut carl = Guest::enter(&site, &code, &conf).await;
    assert_eq!(carl.member.gateway, ben.member.gateway);
    let (mut at_carl, mut carl_at_anna) = (carl.watch(&anna.user).await, anna.watch(&carl.user).await);
    flows(&mut anna.sends, &mut at_carl).await;
    flows(&mut carl.sends, &mut carl_at_anna).await;
    let mut expected = [1, 1];
    expected[at(&anna.member.gateway)] = 2;
    assert_eq!(site.crossing(), expected, "each stream crosses once");

    // A muted member is heard nowhere.
    let control = async |action: &str, user: &str| {
        let params = json!({ "confId": conf, "action": action, "userId": user });
        chair.rpc("conference.control", params).await.result();
    };
    control("mute", &anna.user).await;
    anna.socket.wait_for("enforce").await;
    falls_silent(&mut anna.sends, &mut at_ben).await;
    // The chair lets them speak again, and they do.
    control("unmute", &anna.user).await;
    anna.member.client.opens_devices(&conf).await;
    flows(&mut anna.sends, &mut at_ben).await;

    // Sent anew on another connection, it is there anew.
    anna.sends = anna.socket.publish_from(media_address(), &anna.user).await;
    call(&mut [&mut anna.sends], "she is connected again", |peers| peers[0].is_connected()).await;
    ben.socket.misses(&anna.user).await;
    let mut at_ben = ben.watch(&anna.user).await;
    flows(&mut anna.sends, &mut at_ben).await;

    control("kick", &anna.user).await;
    ben.socket.misses(&anna.user).await;
    carl.socket.misses(&anna.user).await;
    chair.rpc("conference.end", json!({ "confId": conf })).await.result();
    assert_eq!(ben.socket.closed().await, (vec!["ended".to_owned()], 4004));
    until_true("no link is left", async || site.links().await == Some(0.0)).await;
    until_true("nothing crosses", async || site.crossing() == [0, 0]).await;
}

#[tokio::test]
async fn a_janus_whose_link_was_cut_has_nothing_left_of_before_and_its_streams_come_again() {
    let mut site = Site::start().await;
    let chair = site.fixture.chair().await;
    let (conf, code) = site.fixture.conference(&chair, json!({})).await;
    let (mut anna, mut ben, _others) = one_at_each(&site, &code, &conf).await;
    let _seen = see_each_other(&mut anna, &mut ben).await;

    let cut = &site.apis[at(&ben.member.gateway)];
    cut.cut();
    ben.socket.misses(&anna.user).await;
    anna.socket.misses(&ben.user).await;
    cut.restore();
    let mut at_ben = ben.watch(&anna.user).await;
    flows(&mut anna.sends, &mut at_ben).await;
    ben.sends = ben.socket.publish_from(media_address(), &ben.user).await;
    call(&mut [&mut ben.sends], "he is connected again", |peers| peers[0].is_connected()).await;
    let mut at_anna = anna.watch(&ben.user).await;
    flows(&mut ben.sends, &mut at_anna).await;
    until_true("each stream crosses once", async || site.crossing() == [1, 1]).await;

    site.fixture.gateway.stop(PATIENCE).await.expect("it stops");
    until_true("a gateway that stops leaves nothing", async || site.crossing() == [0, 0]).await;
}

#[tokio::test]
async fn conference_is_whole_again_at_the_other_janus_after_one_dies() {
    let mut site = Site::start().await;
    let chair = site.fixture.chair().await;
    let (conf, code) = site.fixture.conference(&chair, json!({})).await;
    let (mut anna, mut ben, others) = one_at_each(&site, &code, &conf).await;
    let mut at_ben = ben.watch(&anna.user).await;
    flows(&mut anna.sends, &mut at_ben).await;

    let first = at(&anna.member.gateway);
    drop(others);
    site.januses[first].stop();
    let told = anna.member.socket.wait_for("callgw.changed").await;
    let expected = json!({ "confId": conf, "from": IDS[first], "to": IDS[1 - first], "reason": "down" });
    assert_eq!(told, expected);
    ben.socket.misses(&anna.user).await;
    let mut anna = Guest::connect(anna.member, &conf).await;
    assert_eq!(anna.member.gateway, ben.member.gateway);
    let mut at_ben = ben.watch(&anna.user).await;
    flows(&mut anna.sends, &mut at_ben).await;
    until_true("no link is left", async || site.links().await == Some(0.0)).await;
}

#[tokio::test]
async fn browser_people_on_two_januses_see_and_hear_each_other() {
    let site = Site::start().await;
    let chair = site.fixture.chair().await;
    let (conf, code) = site.fixture.conference(&chair, json!({})).await;
    let link = format!("https://{}{BASE}/conference/{code}", site.fixture.gateway.http());
    let anna = Person::enter(Browser::start().await, &link, "Anna Schmidt").await;
    let scout = member(&site.fixture, &code, &conf).await;
    let first = at(&scout.gateway);
    scout.client.rpc("conference.leave", json!({ "confId": conf })).await.result();
    let _others = site.fill(first).await;
    let zhang = Person::enter(Browser::start().await, &link, "张伟").await;
    for (sees, other) in [(&anna, &zhang), (&zhang, &anna)] {
        sees.browser.sees_moving(&other.user).await;
        sees.browser.hears_sound(&other.user).await;
    }
    assert_eq!(site.links().await, Some(2.0), "each of the two pulls from the other");
    for person in [&anna, &zhang] {
        person.browser.assert_quiet_console().await;
    }
}
