//! Conferences as MUC rooms of a standard XMPP server without any EIM: what app users of the company see and do there
//! with XMPP clients of their own, and what guests see of them.

use confgate::ids::UserId;
use serde_json::{Value, json};

use crate::fixture::{CLIENTS, Fixture};
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::gateway::Gateway;
use crate::support::muc_client::{MucClient, password_of, register};
use crate::support::xmpp_server::{MUC, XmppServer, on_each_server};

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
        let gateway = Gateway::with(&format!("{CLIENTS}\n{}", server.muc_section())).start().await;
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
        ben.presence("张三", |p| p.attr("type").is_empty()).await;
        guest.rpc("conference.leave", json!({ "confId": meeting.conf })).await.result();
        ben.presence("张三", |p| p.attr("type") == "unavailable").await;
        ben.leave().await;
        assert_eq!(meeting.about("member.left", "ben").await["reason"], "left");
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
        guest.rpc("conference.members", json!({ "confId": conf })).await.refused(-32001);
        assert!(!meeting.is_member(&guest_id));
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
        let params = json!({ "confId": meeting.conf, "action": "lock" });
        meeting.chair.rpc("conference.control", params).await.result();
        meeting.socket.expect_event("conference.locked").await;
        // The room says so to everybody inside (XEP-0045 section 10.2.1), who stay inside.
        anna.room_changed().await;
        assert!(refused(&meeting, "dan", &meeting.password.clone()).await.contains("registration-required"));
        anna.write("still in").await;
        assert_eq!(meeting.socket.expect_event("message").await["data"]["text"], "still in");
    }
}
