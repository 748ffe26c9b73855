//! Behaviour towards callers, sockets and operators when the EIM is late, wrong, silent or gone. The test plays the
//! EIM, as a component of a real server; a proxy that can be cut stands between that server and the gateway.

use std::time::{Duration, Instant};

use confgate::xmpp::xml;
use serde_json::{Value, json};

use crate::support::chaos::ChaosProxy;
use crate::support::client::Client;
use crate::support::component::Component;
use crate::support::event_socket::EventSocket;
use crate::support::follower::Follower;
use crate::support::gateway::Gateway;
use crate::support::wait::until_true;
use crate::support::xml_stream::{Received, Stanza};
use crate::support::xmpp_server::{COMPONENT, MODULES, SECOND_COMPONENT, XmppServer, on_each_server};

/// The module that is played.
const EIM: &str = MODULES[0];
const CONFERENCE_NS: &str = "je:x:client:conference";
/// How soon a caller must hear of a cut link.
const PROMPTLY: Duration = Duration::from_secs(2);
const WAIT: Duration = Duration::from_millis(1500);

struct Scene {
    gateway: Gateway,
    eim: Component,
    link: ChaosProxy,
}

impl Scene {
    async fn on(server: &XmppServer) -> Self {
        let link = ChaosProxy::to(server.door(COMPONENT).port.address()).await;
        let eim = Component::of(server, EIM).await;
        let port = |number: u16| format!("\nport = {number}\n");
        let section = server
            .component_section(COMPONENT)
            .replace(&port(server.door(COMPONENT).port.number()), &port(link.address().port()));
        let wait = WAIT.as_millis();
        let config = format!(
            "{section}timeout_ms = 2000\nwait_ms = {wait}\nreconnect_min_ms = 50\nreconnect_max_ms = 400\n\
             [[auth.clients]]\nid = \"chair\"\nsecret = \"the chair's secret\"\n"
        );
        let gateway = Gateway::with(&config).start().await;
        until_true("the gateway reaches the EIM", async || part(&gateway.readyz().await, "eim")["state"] == "up").await;
        Self { gateway, eim, link }
    }

    async fn chair(&self) -> Client {
        self.gateway.client().login_client("chair", "the chair's secret").await
    }

    /// The chair's socket, with the conferences that the EIM lists for it.
    async fn socket(&mut self, chair: &Client, conferences: &str) -> EventSocket {
        let mut socket = chair.open_socket().await;
        self.answer("<list", &operation("list", "", conferences)).await;
        socket.expect("hello").await;
        socket
    }

    /// Answers the next request of that kind, which it gives.
    async fn answer(&mut self, word: &str, payload: &str) -> Stanza {
        let request = self.eim.request(word).await;
        self.eim.answer(&request.result(payload)).await;
        request
    }

    /// Answers what a gateway asks whose link is back, in whatever order it does: the subscriber's address.
    async fn subscribed_again(&mut self, subscribe: &str, snapshot: &str) -> String {
        loop {
            let stanza = self.eim.next().await;
            match stanza.attr("type") {
                "set" if stanza.text.contains("<subscribe") => {
                    self.eim.answer(&stanza.result(subscribe)).await;
                    return stanza.attr("from").to_owned();
                }
                "get" if stanza.text.contains("<snapshot") => self.eim.answer(&stanza.result(snapshot)).await,
                "get" | "set" => self.eim.answer(&stanza.error("cancel", "service-unavailable")).await,
                _ => {}
            }
        }
    }

    /// A request that goes well.
    async fn works(&mut self, chair: &Client) {
        let payload = operation("list", "", "");
        let (answer, _) = tokio::join!(chair.rpc("conference.list", json!({})), self.answer("<list", &payload));
        assert_eq!(answer.result(), json!({ "conferences": [] }));
    }

    async fn count(&self, metric: &str, expected: f64) {
        until_true(metric, async || self.gateway.metric(metric).await == Some(expected)).await;
    }

    /// Asks the gateway's component as the EIM does, and refuses what it asks meanwhile but for `<get`.
    async fn ask(&mut self, payload: &str) -> Stanza {
        let ask = format!("<iq type='get' id='ask' from='{EIM}' to='{COMPONENT}'>{payload}</iq>");
        self.eim.send(&ask).await;
        loop {
            let stanza = self.eim.next().await;
            match stanza.attr("type") {
                "result" | "error" => return stanza,
                _ if stanza.text.contains("<get") => {
                    self.eim.answer(&stanza.result(&operation("get", "", &conference()))).await;
                }
                _ => self.eim.answer(&stanza.error("cancel", "service-unavailable")).await,
            }
        }
    }
}

fn operation(name: &str, attrs: &str, content: &str) -> String {
    format!("<jeExtension xmlns='{CONFERENCE_NS}'><{name} {attrs}>{content}</{name}></jeExtension>")
}

fn conference() -> String {
    "<conference confId='c1' confName='周会' state='0' chair='chair' locked='false' lobby='false' mutePolicy='free'/>"
        .to_owned()
}

/// The state of the one conference there is, its chair in it.
fn roster(name: &str, epoch: &str, seq: u64) -> String {
    let member = "<member userId='chair' name='Chair' role='chair' state='joined' audio='on' video='off' \
                  hand='false' joinedAt='1'/>";
    let content = format!("{}<members>{member}</members><waiting/><messages/>", conference());
    operation(name, &format!("epoch='{epoch}' seq='{seq}'"), &content)
}

/// Somebody says that.
fn said(epoch: &str, seq: u64, text: &str) -> Value {
    let data = json!({ "messageId": format!("m{seq}"), "userId": "chair", "text": text, "time": 1 });
    json!({ "epoch": epoch, "seq": seq, "confId": "c1", "time": 1, "type": "message", "actor": "chair", "data": data })
}

/// The answer to a subscription with those events' texts.
fn subscribed(seq: u64, events: &[String]) -> String {
    let event = |text: &String| format!("<event>{}</event>", quick_xml::escape::escape(text.as_str()));
    let events: String = events.iter().map(event).collect();
    let end = "</subscribe>";
    roster("subscribe", "e1", seq).replace(end, &format!("<events>{events}</events>{end}"))
}

/// One who has read the conference's state up to that number.
fn left_off(seq: u64) -> Follower {
    let conference = json!({ "confId": "c1", "confName": "周会", "state": 0, "startAt": null, "chair": "chair",
        "locked": false, "lobby": false, "mutePolicy": "free", "mainVideo": null });
    let state = json!({ "confId": "c1", "epoch": "e1", "seq": seq, "conference": conference });
    let mut follower = Follower::default();
    follower.take("conference.snapshot", &state);
    follower
}

fn part(readyz: &Value, name: &str) -> Value {
    let parts = readyz["parts"].as_array().expect("readyz lists its parts");
    parts.iter().find(|part| part["part"] == name).unwrap_or_else(|| panic!("no part {name}: {readyz}")).clone()
}

fn unreachable(answer: &Value, sent: bool) {
    assert_eq!(
        (&answer["error"]["code"], &answer["error"]["data"]["sent"]),
        (&json!(-32010), &json!(sent)),
        "{answer}"
    );
}

on_each_server! {
    async fn a_conference_that_the_eim_makes_for_somebody_is_told_at_their_open_socket(server) {
        let mut scene = Scene::on(server).await;
        let chair = scene.chair().await;
        let mut socket = scene.socket(&chair, "").await;
        let data = json!({ "confId": "c1", "confName": "周会", "state": 0, "startAt": null, "chair": "boss", "locked": false,
            "lobby": false, "mutePolicy": "free", "mainVideo": null });
        let made = json!({ "epoch": "e1", "seq": 1, "confId": "c1", "time": 1, "type": "conference.created",
            "actor": "boss", "data": data });
        scene.eim.event(&format!("chair%ips3000@{COMPONENT}/uc"), &made).await;
        let state = conference().replace("chair='chair'", "chair='boss'");
        let content = format!("{state}<members/><waiting/><messages/>");
        scene.answer("<subscribe", &operation("subscribe", "epoch='e1' seq='1'", &content)).await;
        let told = socket.expect("conference.event").await;
        assert_eq!((&told["type"], &told["seq"], &told["data"]), (&made["type"], &made["seq"], &made["data"]));
        assert_eq!((&told["epoch"], &told["actor"]), (&made["epoch"], &made["actor"]));
    }

    async fn an_answer_that_comes_too_late_is_a_timeout_and_then_nobodys(server) {
        let mut scene = Scene::on(server).await;
        let chair = scene.chair().await;
        let (answer, late) = tokio::join!(chair.rpc("conference.list", json!({})), scene.eim.request("<list"));
        answer.refused(-32011);
        scene.eim.answer(&late.result(&operation("list", "", ""))).await;
        scene.count("confgate_eim_stray_answers_total", 1.0).await;

        let iq = json!({ "reqXml": format!("<iq to='{EIM}' type='get'><x xmlns='x:y'/></iq>"), "timeoutMs": 200 });
        let asked = Instant::now();
        chair.rpc("org.user.processIQ", iq).await.refused(-32011);
        assert!(asked.elapsed() < PROMPTLY, "a caller may be less patient than the gateway");
        scene.works(&chair).await;
    }

    async fn an_answer_counts_once_and_only_under_its_id_and_from_whom_was_asked(server) {
        let mut scene = Scene::on(server).await;
        let chair = scene.chair().await;
        let eim = &mut scene.eim;
        let answers = async {
            let request = eim.request("<list").await;
            let listed = operation("list", "", &conference());
            eim.answer(&request.result(&listed).under_id("another")).await;
            eim.answer(&request.result(&listed).sent_by(&format!("somebody@{EIM}"))).await;
            for _twice in 0..2 {
                eim.answer(&request.result(&operation("list", "", ""))).await;
            }
        };
        let (answer, ()) = tokio::join!(chair.rpc("conference.list", json!({})), answers);
        assert_eq!(answer.result(), json!({ "conferences": [] }));
        scene.count("confgate_eim_stray_answers_total", 3.0).await;
        scene.works(&chair).await;
    }

    async fn a_refusal_of_the_eims_is_told_as_it_is(server) {
        let mut scene = Scene::on(server).await;
        let chair = scene.chair().await;
        let eim = &mut scene.eim;
        let refusal = async {
            let request = eim.request("<list").await;
            let mut refusal = request.error("wait", "resource-constraint");
            let text = "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>稍后再试</text></error>";
            refusal.payload = refusal.payload.replace("</error>", text);
            eim.answer(&refusal).await;
        };
        let (answer, ()) = tokio::join!(chair.rpc("conference.list", json!({})), refusal);
        let data = &answer.refused(-32012)["data"];
        let told = (&data["type"], &data["condition"], &data["text"]);
        assert_eq!(told, (&json!("wait"), &json!("resource-constraint"), &json!("稍后再试")));

        let refusal = async {
            let request = eim.request("x:y").await;
            eim.answer(&request.error("cancel", "item-not-found")).await;
        };
        let iq = json!({ "reqXml": format!("<iq id='q&apos;1' to='{EIM}' type='set'><x xmlns='x:y'/></iq>") });
        let (answer, ()) = tokio::join!(chair.rpc("org.user.processIQ", iq), refusal);
        let answer = answer.result();
        let told = xml::Stanza::parse(answer["xml"].as_str().expect("an answer is text")).expect("it is a stanza");
        assert_eq!((told.attr("type"), told.attr("id"), told.attr("from")), (Some("error"), Some("q'1"), Some(EIM)));
        assert!(told.child("error").is_some_and(|e| e.child("item-not-found").is_some()), "{}", told.to_xml());
    }

    async fn a_cut_link_is_told_at_once_waited_for_and_mended(server) {
        let mut scene = Scene::on(server).await;
        let chair = scene.chair().await;
        let mut socket = scene.socket(&chair, "").await;
        let batch: Value = (0..50).map(|id| json!({ "id": id, "method": "conference.list", "params": {} })).collect();
        let others = [scene.chair().await, scene.chair().await];
        let (eim, link) = (&mut scene.eim, &scene.link);
        let cut = async {
            for _each in 0..100 {
                eim.request("<list").await;
            }
            link.cut();
            Instant::now()
        };
        let (one, other, cut) = tokio::join!(others[0].post(&batch), others[1].post(&batch), cut);
        assert!(cut.elapsed() < PROMPTLY, "told {:?} after the cut", cut.elapsed());
        for answers in [one.json(), other.json()] {
            let answers = answers.as_array().expect("a batch is answered by a list").clone();
            assert_eq!(answers.len(), 50);
            answers.iter().for_each(|answer| unreachable(answer, true));
        }

        let degraded = socket.expect("degraded").await;
        assert_eq!(degraded["part"], "eim");
        let readyz = scene.gateway.readyz().await;
        let eim = part(&readyz, "eim");
        assert_eq!((&eim["state"], &eim["since"]), (&json!("down"), &degraded["since"]), "{readyz}");
        assert_eq!(scene.gateway.admin_get("/readyz").await.0, 200, "an EIM that is away is no reason to stop the rest");
        assert_eq!(scene.gateway.admin_get("/livez").await.0, 200);

        let asked = Instant::now();
        unreachable(&chair.rpc("conference.list", json!({})).await.0, false);
        assert!((WAIT..WAIT + PROMPTLY).contains(&asked.elapsed()), "waited {:?}", asked.elapsed());

        let (link, payload) = (&scene.link, operation("list", "", ""));
        let mended = async {
            let request = scene.eim.request("<list").await;
            scene.eim.answer(&request.result(&payload)).await;
        };
        let asked = chair.rpc("conference.list", json!({}));
        let (answer, (), ()) = tokio::join!(asked, mended, async { link.restore() });
        answer.result();
        assert_eq!(socket.expect("restored").await, json!({ "part": "eim" }));
        assert_eq!(part(&scene.gateway.readyz().await, "eim")["state"], "up");
        scene.works(&chair).await;
    }

    async fn a_servers_crash_is_survived_by_every_socket(server) {
        let mut scene = Scene::on(server).await;
        let chair = scene.chair().await;
        let mut socket = scene.socket(&chair, &conference()).await;
        scene.answer("<subscribe", &roster("subscribe", "e1", 5)).await;
        socket.expect("conference.snapshot").await;
        let eim = &mut scene.eim;
        let crash = async {
            eim.request("<list").await;
            server.cut();
        };
        let (answer, ()) = tokio::join!(chair.rpc("conference.list", json!({})), crash);
        unreachable(&answer.0, true);
        assert_eq!(socket.expect("degraded").await["part"], "eim");
        assert_eq!(scene.gateway.admin_get("/livez").await.0, 200);

        server.restart().await;
        scene.eim = Component::of(server, EIM).await;
        // Events that were missed meanwhile are replaced by a snapshot; then events come again.
        let subscriber = scene.subscribed_again(&roster("subscribe", "e1", 7), &roster("snapshot", "e1", 7)).await;
        assert_eq!(socket.wait_for("conference.snapshot").await["seq"], 7);
        scene.eim.event(&subscriber, &said("e1", 8, "back")).await;
        assert_eq!(socket.expect_event("message").await["data"]["text"], "back");
    }

    async fn an_eim_that_comes_later_than_the_gateway_is_asked_who_was_there(server) {
        let mut scene = Scene::on(server).await;
        drop(scene.eim);
        scene.gateway.restart().await;
        scene.gateway.logged("the EIM can't say who was here").await;
        scene.eim = Component::of(server, EIM).await;
        let reset = scene.answer("<resetNode", &operation("resetNode", "", "")).await;
        assert_eq!(reset.attr("type"), "set");
        let chair = scene.chair().await;
        scene.works(&chair).await;
    }

    async fn events_are_the_eims_alone_and_each_comes_once(server) {
        let mut scene = Scene::on(server).await;
        let chair = scene.chair().await;
        let mut socket = scene.socket(&chair, &conference()).await;
        let subscribed = scene.answer("<subscribe", &roster("subscribe", "e1", 5)).await;
        let subscriber = subscribed.attr("from").to_owned();
        assert_eq!(subscriber, "chair%ips3000@webconf.ips3000/uc");
        let snapshot = socket.expect("conference.snapshot").await;
        assert_eq!((&snapshot["reason"], &snapshot["seq"]), (&json!("join"), &json!(5)));

        scene.eim.event(&subscriber, &said("e1", 6, "six")).await;
        assert_eq!(socket.expect_event("message").await["data"]["text"], "six");

        let mut stranger = Component::of(server, SECOND_COMPONENT).await;
        stranger.event(&subscriber, &said("e1", 7, "another component's")).await;
        server.register("mallory", "pass").await;
        let mut mallory = server.login("mallory", "pass").await;
        let body = said("e1", 7, "a user's").to_string();
        let body = quick_xml::escape::escape(body.as_str());
        let forged = format!("<event xmlns='je:x:client:event'>{body}</event>");
        mallory.stream.send(&format!("<message type='headline' to='{subscriber}'>{forged}</message>")).await.unwrap();
        scene.count("confgate_eim_messages_ignored_total", 2.0).await;
        for text in ["seven", "the same number again"] {
            scene.eim.event(&subscriber, &said("e1", 7, text)).await;
        }
        scene.eim.event(&subscriber, &said("e1", 8, "eight")).await;
        for text in ["seven", "eight"] {
            assert_eq!(socket.expect("conference.event").await["data"]["text"], text);
        }

        scene.eim.event(&subscriber, &said("e1", 10, "nine was lost")).await;
        scene.answer("<snapshot", &roster("snapshot", "e1", 10)).await;
        let snapshot = socket.expect("conference.snapshot").await;
        assert_eq!((&snapshot["reason"], &snapshot["seq"]), (&json!("gap"), &json!(10)));

        scene.eim.event(&subscriber, &said("e2", 2, "counted anew")).await;
        scene.answer("<snapshot", &roster("snapshot", "e2", 2)).await;
        let snapshot = socket.expect("conference.snapshot").await;
        assert_eq!((&snapshot["reason"], &snapshot["epoch"]), (&json!("epoch"), &json!("e2")));
        scene.eim.event(&subscriber, &said("e2", 3, "three")).await;
        assert_eq!(socket.expect("conference.event").await["data"]["text"], "three");
    }

    async fn who_joins_at_once_over_a_resumed_socket_goes_on_where_they_left_off(server) {
        let mut scene = Scene::on(server).await;
        let chair = scene.chair().await;
        let mut socket = chair.resume_socket(left_off(5)).await;
        socket.expect("hello").await;
        let join = json!({ "jsonrpc": "2.0", "id": "j", "method": "conference.join", "params": { "confId": "c1" } });
        socket.send(&join.to_string()).await;
        // The list of their conferences is refused meanwhile.
        let member = "<member userId='chair' name='Chair' role='chair' state='joined' audio='on' video='off' \
                      hand='false' joinedAt='1'/>";
        scene.answer("<join", &operation("join", "", &format!("{member}{}", conference()))).await;
        let events = ["six", "seven & <eight>"].into_iter().zip(6..);
        let events: Vec<String> = events.map(|(text, seq)| said("e1", seq, text).to_string()).collect();
        let request = scene.answer("<subscribe", &subscribed(7, &events)).await;
        assert!(request.text.contains("sinceEpoch") && request.text.contains("sinceSeq"), "{}", request.text);
        socket.answer("j").await.result();
        for text in ["six", "seven & <eight>"] {
            assert_eq!(socket.expect("conference.event").await["data"]["text"], text);
        }
    }

    async fn events_that_are_not_those_that_were_missed_are_replaced_by_a_snapshot(server) {
        let mut scene = Scene::on(server).await;
        let chair = scene.chair().await;
        let mut socket = chair.resume_socket(left_off(5)).await;
        scene.answer("<list", &operation("list", "", &conference())).await;
        socket.expect("hello").await;
        let events = [said("e1", 6, "six").to_string(), "{\"seq\":7}".to_owned()];
        let subscriber = scene.answer("<subscribe", &subscribed(7, &events)).await.attr("from").to_owned();
        let snapshot = socket.expect("conference.snapshot").await;
        assert_eq!((&snapshot["reason"], &snapshot["seq"]), (&json!("gap"), &json!(7)));
        scene.eim.event(&subscriber, &said("e1", 8, "eight")).await;
        assert_eq!(socket.expect("conference.event").await["data"]["text"], "eight");
    }

    async fn the_gateways_component_answers_who_asks(server) {
        let mut scene = Scene::on(server).await;
        let query = |ns: &str| format!("<query xmlns='{ns}'/>");
        let info = query("http://jabber.org/protocol/disco#info");
        let (version, unknown) = (query("jabber:iq:version"), query("jabber:iq:last"));
        for (payload, kind, word) in [
            ("<ping xmlns='urn:xmpp:ping'/>", "result", ""),
            (&info, "result", "urn:xmpp:ping"),
            (&version, "result", env!("CARGO_PKG_VERSION")),
            (&unknown, "error", "service-unavailable"),
        ] {
            let answer = scene.ask(payload).await;
            assert_eq!((answer.attr("type"), answer.attr("from")), (kind, COMPONENT), "{}", answer.text);
            assert!(answer.text.contains(word), "{}", answer.text);
        }

        let wanted = operation("getWebAddress", "confId='c1' role='guest'", "");
        let answer = scene.ask(&wanted).await;
        let payload = xml::Stanza::parse(&answer.text).unwrap().payload().cloned().expect("it has one");
        let address = payload.child("getWebAddress").unwrap_or_else(|| panic!("{}", answer.text));
        let [url, code] = ["url", "code"].map(|name| address.attr(name).expect("it is told").to_owned());
        assert!(url.ends_with(&format!("/gzbwclient/conference/{code}")), "{url}");
        let path = format!("/gzbwclient/conference/{code}");
        let (client, told) = (scene.gateway.client(), operation("get", "", &conference()));
        let (page, _) = tokio::join!(
            client.request(http::Method::POST, &path, &[], ""),
            scene.answer("<get", &told),
        );
        assert_eq!(page.json(), json!({ "confId": "c1", "confName": "周会", "state": 0, "code": 200 }));

        let mut stranger = Component::of(server, SECOND_COMPONENT).await;
        let ask = format!("<iq type='get' id='ask' from='{SECOND_COMPONENT}' to='{COMPONENT}'>{wanted}</iq>");
        stranger.send(&ask).await;
        let Some(Received::Stanza(refused)) = stranger.next_within(PROMPTLY).await else { panic!("no answer") };
        assert!(refused.text.contains("service-unavailable"), "{}", refused.text);
    }
}
