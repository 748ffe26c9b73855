//! Conferences as MUC rooms of a standard XMPP server without any EIM: what app users of the company see and do there
//! with XMPP clients of their own, and what guests see of them.

use confgate::ids::UserId;
use serde_json::{Value, json};

use crate::fixture::{CLIENTS, Fixture};
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::gateway::Gateway;
use crate::support::muc_client::{MucClient, password_of, register};
use crate::support::wait::until_true;
use crate::support::xmpp_server::{COMPONENT, MUC, XmppServer, on_each_server};

/// A chair and a guest with browsers, and the conference's password.
struct Meeting {
    fixture: Fixture,
    conf: String,
    code: String,
    password: String,
    chair: Client,
    socket: EventSocket,
}

impl Meeting {
    async fn begin(server: &XmppServer) -> Self {
        let section = format!("{}reconnect_max_ms = 500\n", server.muc_section());
        let gateway = Gateway::with(&format!("{CLIENTS}\n{section}")).start().await;
        Self::on(Fixture::on(gateway)).await
    }

    async fn on(fixture: Fixture) -> Self {
        let chair = fixture.chair().await;
        let (conf, code) = fixture.conference(&chair, json!({})).await;
        let found = chair.rpc("conference.get", json!({ "confId": conf })).await.result();
        let password = found["password"].as_str().expect("the chair knows the password").to_owned();
        let mut socket = chair.open_socket().await;
        socket.wait_for("conference.snapshot").await;
        socket.call("conference.join", json!({ "confId": conf })).await.result();
        Self { fixture, conf, code, password, chair, socket }
    }

    /// A client of the app users' in the room; their account is made.
    async fn native(&self, server: &XmppServer, user: &str, nick: &str) -> MucClient {
        register(server, user).await;
        MucClient::enter(server, user, &self.conf, nick, &self.password).await
    }

    async fn guest(&self, name: &str) -> Client {
        let guest = self.fixture.guest(&self.code, name).await;
        guest.rpc("conference.join", json!({ "confId": self.conf })).await.result();
        guest
    }

    /// The next event of that type about that user.
    async fn about(&mut self, kind: &str, user: &str) -> Value {
        loop {
            let event = self.socket.expect_event(kind).await;
            if event["data"]["userId"] == user {
                return event["data"].clone();
            }
        }
    }

    async fn control(&self, action: &str, user: &str) {
        let params = json!({ "confId": self.conf, "action": action, "userId": user });
        self.chair.rpc("conference.control", params).await.result();
    }

    fn is_member(&self, user: &str) -> bool {
        let user = UserId::parse(user).expect("a user id");
        self.socket.follower.roster(&self.conf).member(&user).is_some()
    }
}

on_each_server! {
    /// A guest by a link and an app user with an XMPP client of their own, in one conference.
    async fn a_guest_and_an_xmpp_client_meet_in_a_room(server) {
        let mut meeting = Meeting::begin(server).await;
        let guest = meeting.guest("张三").await;
        let guest_id = guest.user_id().to_owned();
        let mut anna = meeting.native(server, "anna", "Anna").await;
        let joined = meeting.about("member.joined", "anna").await;
        assert_eq!((joined["name"].as_str(), joined["role"].as_str()), (Some("Anna"), Some("member")));

        // The guest's state stands in their presence.
        guest.rpc("conference.control", json!({ "confId": meeting.conf, "action": "raiseHand" })).await.result();
        anna.presence("张三", |p| p.text.contains("hand='true'") || p.text.contains("hand=\"true\"")).await;

        // Both ways, once each.
        guest.rpc("conference.sendMessage", json!({ "confId": meeting.conf, "text": "你好 <b>&</b>" })).await.result();
        anna.message("张三", "你好 <b>&</b>").await;
        meeting.socket.expect_event("message").await;
        anna.write("hello from the app").await;
        let message = meeting.socket.expect_event("message").await;
        assert_eq!((message["data"]["userId"].as_str(), message["data"]["text"].as_str()), (Some("anna"), Some("hello from the app")));

        // Hand and microphone of a client that knows our namespace.
        anna.set_state("audio='on' video='off' hand='true'").await;
        let updated = meeting.about("member.updated", "anna").await;
        assert_eq!(updated["audio"], "on");

        // The chair sends the app user out; the room keeps to it.
        meeting.control("kick", "anna").await;
        assert_eq!(meeting.about("member.left", "anna").await["reason"], "kicked");
        anna.presence("Anna", |p| p.attr("type") == "unavailable" && p.text.contains("307")).await;

        // A guest leaves, and their occupant with them.
        let mut ben = meeting.native(server, "ben", "Ben").await;
        guest.rpc("conference.leave", json!({ "confId": meeting.conf })).await.result();
        ben.presence("张三", |p| p.attr("type") == "unavailable").await;
        meeting.control("ban", "ben").await;
        assert_eq!(meeting.about("member.left", "ben").await["reason"], "banned");
        ben.presence("Ben", |p| p.attr("type") == "unavailable" && p.text.contains("301")).await;
        ben.join(&meeting.password).await;
        assert!(ben.presence("Ben", |p| p.attr("type") == "error").await.text.contains("forbidden"));
        assert!(!meeting.is_member(&guest_id));

        meeting.chair.rpc("conference.end", json!({ "confId": meeting.conf })).await.result();
        meeting.socket.expect_event("conference.ended").await;
    }

    /// Moderators of the room are chairs, and the other way round.
    async fn a_moderator_rules_from_an_xmpp_client(server) {
        register(server, "chair").await;
        let mut meeting = Meeting::begin(server).await;
        let (room, conf) = (format!("{}@{MUC}", meeting.conf), meeting.conf.clone());
        let guest = meeting.guest("Guest").await;
        let rude = meeting.guest("Rude").await;
        let (guest_id, rude_id) = (guest.user_id().to_owned(), rude.user_id().to_owned());
        let password = meeting.password.clone();
        let mut chair = MucClient::enter(server, "chair", &conf, "The chair", &password).await;
        let mut anna = meeting.native(server, "anna", "Anna").await;
        meeting.about("member.joined", "anna").await;

        // The chair's client sends a guest out.
        let admin = "http://jabber.org/protocol/muc#admin";
        let kick = format!("<query xmlns='{admin}'><item nick='Rude' role='none'/></query>");
        assert_eq!(chair.request("set", &room, "k1", &kick).await.attr("type"), "result");
        assert_eq!(meeting.about("member.left", &rude_id).await["reason"], "kicked");

        // The chair's client makes another moderator, who is a chair then.
        let promote = format!("<query xmlns='{admin}'><item nick='Anna' role='moderator'/></query>");
        assert_eq!(chair.request("set", &room, "p1", &promote).await.attr("type"), "result");
        assert_eq!(meeting.about("member.updated", "anna").await["role"], "chair");

        // Another subject is another name.
        anna.send(&format!("<message type='groupchat' to='{room}'><subject>Plan  2027</subject></message>")).await;
        let renamed = meeting.socket.expect_event("conference.updated").await;
        assert_eq!(renamed["data"]["confName"], "Plan 2027");

        // The room is destroyed: the conference is over.
        let destroy = "<query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query>";
        assert_eq!(chair.request("set", &room, "d1", destroy).await.attr("type"), "result");
        meeting.socket.expect_event("conference.ended").await;
        assert!(!meeting.is_member(&guest_id));
        until_true("the guest's token is refused", async || {
            guest.rpc("conference.members", json!({ "confId": conf })).await.error()["code"] == -32001
        })
        .await;
    }

    async fn a_room_is_for_those_who_know_the_password_and_locked_for_those_who_are_in(server) {
        let mut meeting = Meeting::begin(server).await;
        let mut anna = meeting.native(server, "anna", "Anna").await;
        meeting.about("member.joined", "anna").await;
        let refused = async |meeting: &Meeting, user: &str, password: &str| {
            register(server, user).await;
            let session = server.login(user, &password_of(user)).await;
            let mut client = MucClient { session, room: format!("{}@{MUC}", meeting.conf), nick: user.to_owned() };
            client.join(password).await;
            client.presence(user, |p| p.attr("type") == "error").await.text
        };
        assert!(refused(&meeting, "eve", "wrong").await.contains("not-authorized"));
        let guest = meeting.guest("Guest").await;
        anna.presence("Guest", |p| p.attr("type").is_empty()).await;
        let params = json!({ "confId": meeting.conf, "action": "lock" });
        meeting.chair.rpc("conference.control", params).await.result();
        meeting.socket.expect_event("conference.locked").await;
        // The room says so to everybody inside (XEP-0045 section 10.2.1), who stay inside.
        anna.room_changed().await;
        assert!(refused(&meeting, "dan", &meeting.password.clone()).await.contains("registration-required"));
        anna.write("still in").await;
        assert_eq!(meeting.socket.expect_event("message").await["data"]["text"], "still in");
        guest.rpc("conference.sendMessage", json!({ "confId": meeting.conf, "text": "so am I" })).await.result();
        anna.message("Guest", "so am I").await;
    }

    /// A user of the server wants guests in a room that is there already, and in a new one (XEP-0483).
    async fn a_client_asks_for_a_guest_link_to_a_room_of_its_own(server) {
        let meeting = Meeting::begin(server).await;
        for user in ["anna", "ben"] {
            register(server, user).await;
        }
        let session = server.login("anna", &password_of("anna")).await;
        let mut anna = MucClient { session, room: format!("weekly@{MUC}"), nick: "Anna".to_owned() };
        anna.join("").await;
        anna.presence("Anna", |p| p.text.contains("110")).await;
        let submit = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>";
        let room = anna.room.clone();
        assert_eq!(anna.request("set", &room, "c1", submit).await.attr("type"), "result");
        let online = "urn:xmpp:http:online-meetings:0";
        let query = format!("<query xmlns='{online}' type='confgate' id='{room}'><desc>Weekly</desc></query>");
        let mut ben = server.login("ben", &password_of("ben")).await;
        let refused = ben.ask(&format!("<iq type='get' id='b1' to='{COMPONENT}'>{query}</iq>"), "b1").await;
        assert!(refused.text.contains("forbidden"), "{}", refused.text);

        let admin = "http://jabber.org/protocol/muc#admin";
        anna.send(&format!("<message type='groupchat' to='{room}'><subject>Our weekly</subject></message>")).await;
        let closed =
            "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
             <field var='muc#roomconfig_membersonly'><value>1</value></field></x></query>";
        assert_eq!(anna.request("set", &room, "c2", closed).await.attr("type"), "result");
        let give = format!("<query xmlns='{admin}'><item jid='confgate@{COMPONENT}' affiliation='admin'/></query>");
        assert_eq!(anna.request("set", &room, "a1", &give).await.attr("type"), "result");
        let answer = anna.request("get", COMPONENT, "q1", &query).await;
        let url = between(&answer.text, "<url>", "</url>");
        let code = url.rsplit_once("/conference/").expect("a link").1.to_owned();
        let guest = meeting.fixture.guest(&code, "Guest").await;
        let joined = guest.rpc("conference.join", json!({ "confId": "weekly" })).await.result();
        assert_eq!(joined["confId"], "weekly");
        anna.presence("Guest", |p| p.attr("type").is_empty()).await;
        let found = guest.rpc("conference.get", json!({ "confId": "weekly" })).await.result();
        assert_eq!(found["confName"], "Our weekly", "the room keeps its subject");
        anna.write("welcome").await;
        until_true("the guest has the message", async || {
            let found = guest.rpc("conference.messages", json!({ "confId": "weekly" })).await.result();
            found.to_string().contains("welcome")
        })
        .await;
        let listed = anna.request("get", COMPONENT, "i1", "<query xmlns='http://jabber.org/protocol/disco#info'/>").await;
        assert!(listed.text.contains("urn:xmpp:http:online-meetings:initiate:0"), "{}", listed.text);

        let fresh = anna.request("get", COMPONENT, "q2", &format!("<query xmlns='{online}' type='confgate'/>")).await;
        let url = between(&fresh.text, "<url>", "</url>");
        let guest = meeting.fixture.guest(url.rsplit_once("/conference/").expect("a link").1, "Another").await;
        assert!(guest.login()["confId"].as_str().is_some_and(|conf| conf != "weekly"), "{}", guest.login());
    }

    async fn accounts_are_the_servers(server) {
        let meeting = Meeting::begin(server).await;
        let operator = meeting.fixture.operator().await;
        let made = operator.rpc("org.user.createUser", json!({ "name": "张三", "password": "hush-1 & <2>" })).await.result();
        let user = made["userId"].as_str().expect("an id is made").to_owned();
        server.login(&user, "hush-1 & <2>").await;
        let gateway = &meeting.fixture.gateway;
        assert_eq!(gateway.client().login_password(&user, "hush-1 & <2>").await.user_id(), user);
        let wrong = json!({ "grantType": "password", "userId": user, "password": "wrong" });
        gateway.client().try_login(wrong).await.err().expect("a wrong password").refused(-32001);
    }

    /// The server starts again: rooms are entered again, and who is gone is gone.
    async fn rooms_outlive_a_restart_of_the_server_and_of_the_gateway(server) {
        let mut meeting = Meeting::begin(server).await;
        let guest = meeting.guest("Guest").await;
        let _anna = meeting.native(server, "anna", "Anna").await;
        meeting.about("member.joined", "anna").await;
        server.cut();
        let is_down = async |meeting: &Meeting| {
            let readyz = meeting.fixture.gateway.readyz().await;
            readyz["parts"].as_array().into_iter().flatten().any(|p| p["part"] == "muc" && p["state"] == "down")
        };
        until_true("readyz names the rooms", async || is_down(&meeting).await).await;
        server.restart().await;
        assert_eq!(meeting.about("member.left", "anna").await["reason"], "left");
        let again = MucClient::enter_when_let_in(server, "anna", &meeting.conf, "Anna", &meeting.password).await;
        meeting.about("member.joined", "anna").await;
        drop(again);
        meeting.about("member.left", "anna").await;

        meeting.fixture.gateway.restart().await;
        let mut anna = MucClient::enter_when_let_in(server, "anna", &meeting.conf, "Anna", &meeting.password).await;
        until_true("anna is a member again", async || {
            let found = meeting.chair.rpc("conference.members", json!({ "confId": meeting.conf })).await;
            found.result().to_string().contains("anna")
        })
        .await;
        guest.rpc("conference.sendMessage", json!({ "confId": meeting.conf, "text": "after all" })).await.result();
        anna.message("Guest", "after all").await;
    }

    /// Nicknames that collide, and a client that sends what no client should.
    async fn a_hostile_occupant_harms_nobody_else(server) {
        let mut meeting = Meeting::begin(server).await;
        let mut anna = meeting.native(server, "anna", "Anna").await;
        meeting.about("member.joined", "anna").await;
        let namesake = meeting.guest("Anna").await;
        anna.presence("Anna (2)", |p| p.attr("type").is_empty()).await;

        let mut eve = meeting.native(server, "eve", "Eve & 'co'").await;
        assert_eq!(meeting.about("member.joined", "eve").await["name"], "Eve & 'co'");
        let (room, nick, junk) = (eve.room.clone(), "Eve &amp; &apos;co&apos;", "<junk xmlns='urn:x'/>".repeat(2000));
        eve.send(&format!("<presence to='{room}/{nick}'>{junk}</presence>")).await;
        eve.set_state("audio='loud' hand='perhaps' role='chair'").await;
        eve.send(&format!("<presence to='{room}/{nick}'><state xmlns='urn:confgate:member:0'><state/></state></presence>")).await;
        eve.send(&format!("<iq type='get' id='x' to='{room}/Anna (2)'><query xmlns='jabber:iq:version'/></iq>")).await;
        eve.send(&format!("<message type='chat' to='{room}/Anna (2)'><body>psst</body></message>")).await;
        eve.write(&"界".repeat(20_000)).await;
        for n in 0..200 {
            eve.write(&format!("flood {n}")).await;
        }
        until_true("most of the flood is dropped", async || {
            meeting.fixture.gateway.metric("confgate_muc_dropped_total").await.is_some_and(|dropped| dropped >= 140.0)
        })
        .await;

        let say = json!({ "confId": meeting.conf, "text": "is anybody else here?" });
        namesake.rpc("conference.sendMessage", say).await.result();
        anna.message("Anna (2)", "is anybody else here?").await;
        let mut texts = Vec::new();
        while texts.last().is_none_or(|text| text != "is anybody else here?") {
            let message = meeting.socket.expect_event("message").await;
            texts.push(message["data"]["text"].as_str().expect("a text").to_owned());
        }
        assert!(texts.len() < 70, "{} messages of a flood came through", texts.len());
        assert_eq!(texts[0].chars().count(), 4000);
        let members = meeting.chair.rpc("conference.members", json!({ "confId": meeting.conf })).await.result();
        let eve = members["members"].as_array().into_iter().flatten().find(|m| m["userId"] == "eve");
        let eve = eve.expect("eve is in the conference");
        assert_eq!((eve["role"].as_str(), eve["audio"].as_str(), eve["hand"].as_bool()), (Some("member"), Some("off"), Some(false)));
    }

    async fn check_makes_a_room_and_destroys_it(server) {
        let (code, printed) = crate::xmpp::check(&server.muc_section()).await;
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains("a room was made, configured and destroyed"), "{printed}");
        let wrong = format!("{}muc_domain = \"nothing.ips3000\"\n", server.muc_section());
        let (code, printed) = crate::xmpp::check(&wrong).await;
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains("muc nothing.ips3000"), "{printed}");
    }
}

#[tokio::test]
async fn a_second_gateway_of_mode_muc_is_refused_on_the_same_store() {
    let server = XmppServer::prosody().await;
    let section = format!("{CLIENTS}\n{}", server.muc_section());
    let first = Gateway::with(&section).start().await;
    let store = format!(
        "[store]\nurl = \"sqlite:{}\"\n[node]\nid = \"second\"\n",
        first.directory().join("data/confgate.db").display()
    );
    let (status, printed) = Gateway::with(&format!("{section}\n{store}")).fail().await;
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains("the built-in EIM can't be two processes"), "{printed}");
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let rest = text.split_once(begin).unwrap_or_else(|| panic!("no {begin} in {text}")).1;
    rest.split_once(end).unwrap_or_else(|| panic!("no {end} in {text}")).0
}
