//! The roster is enforced at the call gateway, not only asked of browsers: the commands on the node's control link, and
//! their delay; and the media that real peers get.

use std::time::Duration;

use confgate::node_protocol::ToNode;
use serde_json::json;
use tokio::time::Instant;

use crate::call_failover::{Member, fixture, member};
use crate::fixture::Fixture;
use crate::support::call_gateway::{Node, Trust};
use crate::support::client::{BASE, Client};
use crate::support::gateway::Gateway;
use crate::support::media::{CallSocket, NODE_SECRET, Peer, SOME, builtin_node, call, flows};
use crate::support::wait::until_true;

/// How much of something has come to a viewer.
type Count = fn(&Peer) -> usize;

/// From the chair's request to the node's hearing of it.
const AT_ONCE: Duration = Duration::from_secs(1);

async fn control(chair: &Client, conf: &str, action: &str, user: &str) -> Instant {
    let at = Instant::now();
    chair.rpc("conference.control", json!({ "confId": conf, "action": action, "userId": user })).await.result();
    at
}

/// That no order holds the user's microphone back, or that one does; what they have closed themselves is another matter.
fn permits(user: &str, may_speak: bool) -> impl Fn(&ToNode) -> bool {
    move |said| match said {
        ToNode::Permit { name, audio, closed, .. } => name.as_str() == user && (*audio || closed.audio) == may_speak,
        _ => false,
    }
}

fn expels(user: &str) -> impl Fn(&ToNode) -> bool {
    move |said| matches!(said, ToNode::Expel { name, .. } if name.as_str() == user)
}

#[tokio::test]
async fn mute_unmute_leave_kick_and_end_reach_the_node_at_once() {
    let trust = Trust::new();
    let node = Node::controlled("a", &trust).await;
    let fixture = fixture(&trust, &[&node]).await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let (one, two) = (member(&fixture, &code, &conf).await, member(&fixture, &code, &conf).await);
    let (first, second) = (one.client.user_id(), two.client.user_id());
    node.hears("that the first may speak", permits(first, true)).await;
    node.hears("that the second may speak", permits(second, true)).await;

    node.take_heard();
    let asked = control(&chair, &conf, "mute", first).await;
    let heard = node.hears("the mute", permits(first, false)).await;
    println!("a mute is at the node: {:?}", heard - asked);
    assert!(heard - asked < AT_ONCE);
    one.client.rpc("conference.control", json!({ "confId": conf, "action": "openCamera" })).await.result();
    control(&chair, &conf, "unmute", first).await;
    node.hears("the unmute", permits(first, true)).await;

    let leaving = confgate::clock::date_ms();
    one.client.rpc("conference.leave", json!({ "confId": conf })).await.result();
    node.hears("the leave", expels(first)).await;
    let ours = node.take_heard().into_iter().find(expels(first)).expect("just heard");
    let ToNode::Expel { issued_until, room, .. } = ours else { panic!("{ours:?}") };
    assert_eq!(room.as_str(), conf);
    assert!((leaving..=confgate::clock::date_ms()).contains(&issued_until), "tokens up to then are void");

    let asked = control(&chair, &conf, "kick", second).await;
    let heard = node.hears("the kick", expels(second)).await;
    println!("a kick is at the node: {:?}", heard - asked);
    assert!(heard - asked < AT_ONCE);

    let three = member(&fixture, &code, &conf).await;
    assert_eq!(three.gateway, "a");
    chair.rpc("conference.end", json!({ "confId": conf })).await.result();
    node.hears("the end", |said| matches!(said, ToNode::CloseRoom { room } if room.as_str() == conf)).await;
}

#[tokio::test]
async fn decisions_made_without_a_control_link_are_sent_when_it_opens() {
    let trust = Trust::new();
    let mut node = Node::controlled("a", &trust).await;
    let fixture = fixture(&trust, &[&node]).await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let (over, over_code) = fixture.conference(&chair, json!({})).await;
    let (one, two) = (member(&fixture, &code, &conf).await, member(&fixture, &code, &conf).await);
    let _three = member(&fixture, &over_code, &over).await;
    node.hears("that the second may speak", permits(two.client.user_id(), true)).await;

    node.kill().await;
    node.take_heard();
    control(&chair, &conf, "mute", one.client.user_id()).await;
    control(&chair, &conf, "kick", two.client.user_id()).await;
    chair.rpc("conference.end", json!({ "confId": over })).await.result();
    node.revive().await;
    node.hears("the mute", permits(one.client.user_id(), false)).await;
    node.hears("the kick", expels(two.client.user_id())).await;
    node.hears("the end", |said| matches!(said, ToNode::CloseRoom { room } if room.as_str() == over)).await;
}

#[tokio::test]
async fn a_gateway_that_starts_again_enforces_what_held_before() {
    let trust = Trust::new();
    let node = Node::controlled("a", &trust).await;
    let mut fixture = fixture(&trust, &[&node]).await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let one = member(&fixture, &code, &conf).await;
    control(&chair, &conf, "mute", one.client.user_id()).await;
    node.hears("the mute", permits(one.client.user_id(), false)).await;
    fixture.gateway.kill();
    node.take_heard();
    fixture.gateway.restart().await;
    let _socket = one.client.resume_socket(one.socket.vanish()).await;
    node.hears("the mute again", permits(one.client.user_id(), false)).await;
}

#[tokio::test]
async fn a_node_that_cant_prove_who_it_is_hears_nothing_is_not_used_and_operators_see_why() {
    let trust = Trust::new();
    let node = Node::controlled("a", &trust).await;
    // Without `callgw.ca`, its self-signed certificate is nobody's.
    let fixture = Fixture::with(&node.section()).await;
    let operator = fixture.operator().await;
    let listed = async || operator.rpc("callgw.list", json!({})).await.result()["nodes"][0].clone();
    crate::support::wait::until_true("it is down, for that reason", async || {
        let listed = listed().await;
        listed["healthy"] == false && listed["reason"].as_str().is_some_and(|why| why.contains("callgw.ca"))
    })
    .await;
    assert_eq!(listed().await["load"], json!(null));
    assert_eq!(node.take_heard(), []);
}

/// Enters the call at the gateway's own node, or at that one, as the page does: the socket, and the token that opened it.
async fn enter(node: &Client, member: &Client, conf: &str) -> (CallSocket, String) {
    let given = member.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
    let token = given["token"].as_str().expect("a token").to_owned();
    let mut socket = node.call_socket(Some(&token)).await.expect("the token opens");
    socket.join(conf, member.user_id()).await;
    (socket, token)
}

/// The node's answer to that token: the errors, and the close code.
async fn refusal(node: &Client, token: &str, conf: &str, user: &str) -> (Vec<String>, u16) {
    let mut socket = node.call_socket(Some(token)).await.expect("a socket alone is no admission");
    socket.send(json!({ "id": "joinRoom", "room": conf, "name": user })).await;
    socket.closed().await
}

async fn does(client: &Client, conf: &str, action: &str) {
    client.rpc("conference.control", json!({ "confId": conf, "action": action })).await.result();
}

/// Until nothing more of it comes while the other goes on: what was on its way has come then.
async fn dries_up(pair: &mut [&mut Peer], dry: fn(&Peer) -> usize, other: fn(&Peer) -> usize) {
    loop {
        let (before, goes_on) = (dry(pair[1]), other(pair[1]));
        call(pair, "the other goes on", |peers| other(peers[1]) >= goes_on + SOME).await;
        if dry(pair[1]) == before {
            return;
        }
    }
}

/// A guest whose stream the chair watches, at that node.
struct Watched {
    guest: Member,
    conf: String,
    annas: CallSocket,
    chairs: CallSocket,
    sends: Peer,
    sees: Peer,
    _chair: (Client, crate::support::event_socket::EventSocket),
}

impl Watched {
    async fn open(fixture: &Fixture, node: &Client) -> Self {
        let chair = fixture.chair().await;
        let (conf, code) = fixture.conference(&chair, json!({})).await;
        let events = chair.open_socket().await;
        chair.rpc("conference.join", json!({ "confId": conf })).await.result();
        let guest = member(fixture, &code, &conf).await;
        for action in ["muteSelf", "closeCamera"] {
            does(&guest.client, &conf, action).await;
        }
        let (mut annas, _) = enter(node, &guest.client, &conf).await;
        let (mut chairs, _) = enter(node, &chair, &conf).await;
        let user = guest.client.user_id().to_owned();
        let (mut sends, mut sees) = (annas.publish(&user).await, chairs.watch(&user).await);
        call(&mut [&mut sends, &mut sees], "both are connected", |p| p.iter().all(|peer| peer.is_connected())).await;
        Self { guest, conf, annas, chairs, sends, sees, _chair: (chair, events) }
    }

    async fn does(&self, action: &str) {
        does(&self.guest.client, &self.conf, action).await;
    }

    /// Her peer sends picture and sound all the time, whatever she says to the roster.
    async fn roster_is_enforced_both_ways(&mut self) {
        let (frames, sounds): (Count, Count) = (Peer::frames, Peer::sounds);
        self.does("openCamera").await;
        let pair: &mut [&mut Peer] = &mut [&mut self.sends, &mut self.sees];
        call(pair, "her picture", |peers| peers[1].frames() >= 2 * SOME).await;
        assert_eq!(pair[1].sounds(), 0, "she has not opened her microphone");
        does(&self.guest.client, &self.conf, "unmuteSelf").await;
        flows(&mut self.sends, &mut self.sees).await;
        self.does("closeCamera").await;
        dries_up(&mut [&mut self.sends, &mut self.sees], frames, sounds).await;
        self.does("openCamera").await;
        flows(&mut self.sends, &mut self.sees).await;
        self.does("muteSelf").await;
        dries_up(&mut [&mut self.sends, &mut self.sees], sounds, frames).await;
        // A screen is no camera: who is in may show theirs, and what it sounds like.
        self.does("closeCamera").await;
        let screen = format!("{}/screen", self.guest.client.user_id());
        let mut shows = self.annas.publish(&screen).await;
        self.chairs.knows(&screen).await;
        let mut sees = self.chairs.watch(&screen).await;
        flows(&mut shows, &mut sees).await;
    }
}

#[tokio::test]
async fn roster_is_enforced_at_the_node_both_ways() {
    let fixture = Fixture::embedded().await;
    let mut watched = Watched::open(&fixture, &fixture.gateway.client()).await;
    watched.roster_is_enforced_both_ways().await;
}

/// A node in a process of its own, with a gateway that controls it.
async fn remote(more: &str) -> (Gateway, Fixture, Trust) {
    let trust = Trust::new();
    let [cert, key] = trust.files();
    let own = format!("[node]\nid = \"m1\"\n[http]\ncert = {cert:?}\nkey = {key:?}\n");
    let callgw = "[callgw]\nthreads = 1\nreport_interval_ms = 200\n";
    let node = Gateway::media(&format!("{own}{}{callgw}", builtin_node("m1"))).start().await;
    let url = format!("wss://{}{BASE}/callgw", node.http());
    let entry = format!(
        "[[callgw.nodes]]\nid = \"m1\"\nkind = \"confgate\"\nurl = {url:?}\nsecret = {NODE_SECRET:?}\n{}",
        trust.hasty_section()
    );
    let fixture = Fixture::with(&format!("{entry}{more}")).await;
    let operator = fixture.operator().await;
    until_true("the node reports", async || {
        operator.rpc("callgw.list", json!({})).await.result()["nodes"][0]["load"].is_number()
    })
    .await;
    (node, fixture, trust)
}

#[tokio::test]
async fn roster_is_enforced_at_a_separate_node() {
    let (node, fixture, _trust) = remote("").await;
    let mut watched = Watched::open(&fixture, &node.client()).await;
    watched.roster_is_enforced_both_ways().await;
}

#[tokio::test]
async fn member_without_an_event_socket_leaves_the_node_after_the_grace() {
    let fixture = Fixture::with("[limits]\ngrace_ms = 1500\n").await;
    let (node, chair) = (fixture.gateway.client(), fixture.chair().await);
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    // Nobody of the conference has an event socket.
    let guest = fixture.guest(&code, "Invisible").await;
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    let begun = Instant::now();
    let (mut media, token) = enter(&node, &guest, &conf).await;
    until_true("they are seen as away", async || {
        let members = guest.rpc("conference.members", json!({ "confId": conf })).await.result();
        members["members"][0]["state"] == "reconnecting"
    })
    .await;
    assert_eq!(media.closed().await, (vec!["expelled".to_owned()], 4003));
    assert!(begun.elapsed() >= Duration::from_millis(1400), "not before the grace is over: {:?}", begun.elapsed());
    let (errors, code) = refusal(&node, &token, &conf, guest.user_id()).await;
    assert_eq!((errors, code), (vec!["expelled".to_owned()], 4003), "nor does the token admit again");
}

#[tokio::test]
async fn chairs_decisions_reach_the_node_without_any_event_socket() {
    let (node, fixture, _trust) = remote("").await;
    let (at_node, chair) = (node.client(), fixture.chair().await);
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let (one, two) = (fixture.guest(&code, "One").await, fixture.guest(&code, "Two").await);
    for guest in [&one, &two] {
        guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    }
    let ((mut ones, token), (mut twos, _)) = (enter(&at_node, &one, &conf).await, enter(&at_node, &two, &conf).await);
    control(&chair, &conf, "mute", two.user_id()).await;
    assert_eq!(twos.wait_for("enforce").await["audio"], false);
    control(&chair, &conf, "kick", one.user_id()).await;
    assert_eq!(ones.closed().await, (vec!["expelled".to_owned()], 4003));
    assert_eq!(refusal(&at_node, &token, &conf, one.user_id()).await, (vec!["expelled".to_owned()], 4003));
    chair.rpc("conference.end", json!({ "confId": conf })).await.result();
    assert_eq!(twos.closed().await, (vec!["ended".to_owned()], 4004));
}

#[tokio::test]
async fn a_kicked_guests_media_socket_is_closed_as_kicked_whether_or_not_anybody_listens() {
    let (node, fixture, _trust) = remote("").await;
    let (at_node, chair) = (node.client(), fixture.chair().await);
    for listening in [false, true] {
        let (conf, code) = fixture.conference(&chair, json!({})).await;
        for _ in 0..6 {
            let guest = fixture.guest(&code, "Guest").await;
            let socket = if listening { Some(guest.open_socket().await) } else { None };
            guest.rpc("conference.join", json!({ "confId": conf })).await.result();
            let (mut media, token) = enter(&at_node, &guest, &conf).await;
            control(&chair, &conf, "kick", guest.user_id()).await;
            assert_eq!(media.closed().await, (vec!["expelled".to_owned()], 4003), "listening: {listening}");
            let refused = refusal(&at_node, &token, &conf, guest.user_id()).await;
            assert_eq!(refused, (vec!["expelled".to_owned()], 4003), "listening: {listening}");
            drop(socket);
        }
    }
}

#[tokio::test]
async fn a_token_of_one_who_is_out_admits_nowhere_also_after_the_nodes_restart() {
    let (mut node, fixture, _trust) = remote("").await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let _events = chair.open_socket().await;
    let (kicked, stays) = (member(&fixture, &code, &conf).await.client, member(&fixture, &code, &conf).await);
    let allocate = async |client: &Client| {
        let given = client.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
        given["token"].as_str().expect("a token").to_owned()
    };
    let (old, good) = (allocate(&kicked).await, allocate(&stays.client).await);
    control(&chair, &conf, "kick", kicked.user_id()).await;
    node.kill();
    node.restart().await;
    let at_node = node.client();
    let (errors, _) = refusal(&at_node, &old, &conf, kicked.user_id()).await;
    assert!(["expelled", "unauthorized"].contains(&errors[0].as_str()), "{errors:?}");
    let bearer = format!("Bearer {old}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/sdp")];
    let offer = Peer::offer(crate::support::media::Media::SENDS);
    let path = format!("{BASE}/callgw/whip/{conf}");
    let reply = at_node.request(http::Method::POST, &path, &headers, offer).await;
    assert!([401, 403].contains(&reply.status.as_u16()), "{reply:?}");
    // A member waits for the permission on it, and comes in.
    let mut socket = at_node.call_socket(Some(&good)).await.expect("the token opens");
    socket.join(&conf, stays.client.user_id()).await;
}

#[tokio::test]
async fn a_call_gateway_token_ends_with_the_login_that_it_was_given_for() {
    let (node, fixture, _trust) = remote("").await;
    let (at_node, first, second) = (node.client(), fixture.chair().await, fixture.chair().await);
    let (conf, _) = fixture.conference(&first, json!({})).await;
    let _events = second.open_socket().await;
    second.rpc("conference.join", json!({ "confId": conf })).await.result();
    let (mut media, token) = enter(&at_node, &first, &conf).await;
    let unused = first.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
    first.rpc("auth.http.logout", json!({})).await.result();
    assert_eq!(media.closed().await, (vec!["unauthorized".to_owned()], 4001));
    for token in [&token, unused["token"].as_str().expect("a token")] {
        let refused = refusal(&at_node, token, &conf, first.user_id()).await;
        assert_eq!(refused, (vec!["unauthorized".to_owned()], 4001));
    }
    // The same user's other login goes on.
    enter(&at_node, &second, &conf).await;
}

#[tokio::test]
async fn a_token_of_a_former_role_admits_no_longer() {
    let fixture = Fixture::embedded().await;
    let (node, chair) = (fixture.gateway.client(), fixture.chair().await);
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let _events = chair.open_socket().await;
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    let guest = member(&fixture, &code, &conf).await;
    let given = guest.client.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
    let (mut chairs, _) = enter(&node, &chair, &conf).await;
    control(&chair, &conf, "setChair", guest.client.user_id()).await;
    // The node hears one after the other.
    control(&guest.client, &conf, "mute", chair.user_id()).await;
    chairs.wait_for("enforce").await;
    let old = given["token"].as_str().expect("a token");
    let refused = refusal(&node, old, &conf, guest.client.user_id()).await;
    assert_eq!(refused, (vec!["unauthorized".to_owned()], 4001));
    enter(&node, &guest.client, &conf).await;
}
