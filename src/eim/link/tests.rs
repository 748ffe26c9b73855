//! The link against a server of this process that speaks XEP-0114 over in-process pipes. No clock is waited for but
//! the link's own deadlines.

use super::*;
use crate::ids::Secret;
use crate::schema::Schema;
use crate::xmpp::dial::{Endpoint, InProcess};
use crate::xmpp::negotiate::{ConnectError, component_server};
use crate::xmpp::stream::XmppStream;
use crate::xmpp::xml::{Element, Node};

const ONE_MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(30);

fn timing() -> Timing {
    Timing { timeout: LONG, wait: LONG, reconnect_min: ONE_MS, reconnect_max: ONE_MS * 20, keepalive: LONG }
}

/// The far side: takes the link's connection attempts.
struct Server {
    attempts: mpsc::Receiver<tokio::io::DuplexStream>,
}

impl Server {
    async fn accept(&mut self) -> XmppStream {
        self.try_accept("secret").await.expect("the link knows the secret")
    }

    async fn try_accept(&mut self, secret: &str) -> Result<XmppStream, ConnectError> {
        let pipe = self.attempts.recv().await.expect("the link tries");
        let secret = Secret::new(secret);
        component_server(Box::new(pipe), |_| Some(secret.clone())).await.map(|(stream, _)| stream)
    }
}

struct Rig {
    link: Link,
    server: Server,
    inbound: mpsc::Receiver<Inbound>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

fn rig(timing: Timing, under_way: usize, inbound_max: usize) -> Rig {
    let (connect, attempts) = mpsc::channel(8);
    let (to, inbound) = mpsc::channel(inbound_max);
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let around = Context::new(under_way, to, tracker.clone());
    let link = Link::start(settings(timing, connect), None, &around, stop.clone());
    Rig { link, server: Server { attempts }, inbound, tracker, stop }
}

fn settings(timing: Timing, connect: mpsc::Sender<tokio::io::DuplexStream>) -> LinkSettings {
    let endpoint = Endpoint::InProcess(InProcess { connect });
    let (domain, secret) = ("webconf.ips3000".to_owned(), Secret::new("secret"));
    LinkSettings {
        name: "callers",
        dial: Dial::Component { endpoint, domain, secret, tls: None, beside: None },
        eim_domain: "ips3000".into(),
        inbound: Arc::new(InboundSchema::new(&Schema::load(None).unwrap(), "ips3000")),
        timing,
        announce: Announce::Link,
        strays: None,
    }
}

fn question(n: usize) -> Stanza {
    let payload = Element::new("q", "x").with("n", n.to_string());
    Stanza::iq("get", payload).with("from", "u%ips3000@webconf.ips3000/uc").with("to", "jeconference.ips3000")
}

fn answer_to(asked: &Stanza) -> Stanza {
    let mut answer = asked.clone();
    for (name, value) in
        [("type", "result"), ("from", "jeconference.ips3000"), ("to", asked.attr("from").unwrap_or(""))]
    {
        answer.set(name, value);
    }
    answer.with("id", asked.attr("id").unwrap_or(""))
}

/// Asks without waiting.
fn ask(link: &Link, n: usize, timeout: Duration) -> tokio::task::JoinHandle<Result<Stanza, EimError>> {
    let link = link.clone();
    tokio::spawn(async move { link.request(question(n), timeout).await })
}

async fn send(stream: &mut XmppStream, stanza: &Stanza) {
    assert!(stream.queue(stanza));
    stream.flush().await.unwrap();
}

#[tokio::test]
async fn answers_find_their_requests_in_whatever_order_they_come() {
    let mut rig = rig(timing(), 64, 16);
    let asked: Vec<_> = (0..64).map(|n| ask(&rig.link, n, LONG)).collect();
    let mut stream = rig.server.accept().await;
    let mut got = Vec::new();
    for _ in 0..64 {
        got.push(stream.next().await.unwrap());
    }
    got.reverse();
    got.iter().for_each(|iq| assert!(stream.queue(&answer_to(iq))));
    stream.flush().await.unwrap();
    for (n, asked) in asked.into_iter().enumerate() {
        assert_eq!(asked.await.unwrap().unwrap().payload(), question(n).payload());
    }
}

#[tokio::test]
async fn an_answer_from_somebody_else_is_dropped_and_the_right_one_still_counts() {
    let mut rig = rig(timing(), 8, 16);
    let asked = ask(&rig.link, 1, LONG);
    let mut stream = rig.server.accept().await;
    let iq = stream.next().await.unwrap();
    let mut forged = answer_to(&iq);
    forged.nodes = vec![Node::Element(Element::new("forged", "x"))];
    assert!(stream.queue(&forged.clone().with("from", "evil.ips3000")));
    assert!(stream.queue(&forged.clone().with("id", "1")));
    assert!(stream.queue(&answer_to(&iq)));
    assert!(stream.queue(&forged));
    stream.flush().await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap().payload(), question(1).payload());
}

#[tokio::test]
async fn a_hundred_requests_under_way_learn_that_the_link_was_cut() {
    let mut rig = rig(timing(), 128, 16);
    let asked: Vec<_> = (0..100).map(|n| ask(&rig.link, n, LONG)).collect();
    let mut stream = rig.server.accept().await;
    for _ in 0..100 {
        stream.next().await.unwrap();
    }
    drop(stream);
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Err(EimError::Unreachable { sent: true }));
    }
    let asked = ask(&rig.link, 1, LONG);
    let mut stream = rig.server.accept().await;
    let iq = stream.next().await.unwrap();
    send(&mut stream, &answer_to(&iq)).await;
    assert!(asked.await.unwrap().is_ok(), "the link did not come back");
    assert!(matches!(rig.inbound.recv().await, Some(Inbound::Up)));
    assert!(matches!(rig.inbound.recv().await, Some(Inbound::Down)));
    assert!(matches!(rig.inbound.recv().await, Some(Inbound::Up)));
}

#[tokio::test]
async fn a_request_made_while_the_link_is_down_waits_no_longer_than_it_may() {
    let rig = rig(Timing { wait: ONE_MS * 30, ..timing() }, 8, 16);
    assert_eq!(rig.link.request(question(1), LONG).await, Err(EimError::Unreachable { sent: false }));
    assert_eq!(rig.link.request(question(1), ONE_MS).await, Err(EimError::Unreachable { sent: false }));
}

#[tokio::test]
async fn a_deadline_ends_one_request_and_nothing_else() {
    let mut rig = rig(timing(), 8, 16);
    let asked = ask(&rig.link, 1, ONE_MS * 50);
    let mut stream = rig.server.accept().await;
    let late = stream.next().await.unwrap();
    assert_eq!(asked.await.unwrap(), Err(EimError::Timeout));
    let asked = ask(&rig.link, 2, LONG);
    let iq = stream.next().await.unwrap();
    assert!(stream.queue(&answer_to(&late)));
    assert!(stream.queue(&answer_to(&iq)));
    stream.flush().await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap().payload(), question(2).payload());
}

#[tokio::test]
async fn requests_beyond_the_bound_are_refused_at_once_and_an_answer_makes_room() {
    let mut rig = rig(timing(), 2, 16);
    let asked = [ask(&rig.link, 1, LONG), ask(&rig.link, 2, LONG)];
    let mut stream = rig.server.accept().await;
    let iqs = [stream.next().await.unwrap(), stream.next().await.unwrap()];
    assert_eq!(rig.link.request(question(3), LONG).await, Err(EimError::TooManyUnderWay));
    for (iq, asked) in iqs.iter().zip(asked) {
        send(&mut stream, &answer_to(iq)).await;
        asked.await.unwrap().unwrap();
    }
    let asked = ask(&rig.link, 4, LONG);
    assert_eq!(stream.next().await.unwrap().payload(), question(4).payload());
    asked.abort();
}

/// One that can't be kept.
fn deep() -> Element {
    (0..40).fold(Element::new("x", "x"), |inner, _| Element::new("x", "x").with_child(inner))
}

#[tokio::test]
async fn a_request_that_is_too_deep_is_refused_and_an_answer_that_is_fails_its_own_request() {
    let mut rig = rig(timing(), 8, 16);
    let mut stream = rig.server.accept().await;
    let (spoilt, good) = (ask(&rig.link, 1, LONG), ask(&rig.link, 2, LONG));
    let asked = [stream.next().await.unwrap(), stream.next().await.unwrap()];
    let of = |n: usize| asked.iter().find(|iq| iq.payload() == question(n).payload()).expect("it was asked");
    let message = Stanza::new("message").with("from", "a@ips3000").with("to", "webconf.ips3000").with_child(deep());
    send(&mut stream, &message).await;
    let request = Stanza::iq("get", deep()).with("id", "d").with("from", "a@ips3000/x").with("to", "webconf.ips3000");
    send(&mut stream, &request).await;
    let refused = stream.next().await.unwrap();
    let attrs = ["type", "id", "from", "to"].map(|name| refused.attr(name).unwrap());
    assert_eq!(attrs, ["error", "d", "webconf.ips3000", "a@ips3000/x"]);
    let error = refused.payload().unwrap();
    assert_eq!(error.attr("type"), Some("modify"));
    assert!(error.child("policy-violation").is_some());
    send(&mut stream, &answer_to(of(1)).with_child(deep())).await;
    send(&mut stream, &answer_to(of(2))).await;
    let spoilt = spoilt.await.unwrap().unwrap();
    assert_eq!((spoilt.attr("type"), spoilt.child("error").is_some()), (Some("error"), true));
    assert_eq!(good.await.unwrap().unwrap().payload(), question(2).payload());
}

#[tokio::test]
async fn only_what_is_addressed_to_us_is_answered() {
    let mut rig = rig(timing(), 8, 16);
    let mut stream = rig.server.accept().await;
    let ping = |to: Option<&str>, id: &str| {
        let ping = Stanza::iq("get", Element::new("ping", "urn:xmpp:ping")).with("id", id).with("from", "a@ips3000/x");
        to.map_or(ping.clone(), |to| ping.with("to", to))
    };
    for to in [None, Some(""), Some("@ips3000"), Some("@webconf.ips3000"), Some("ips3000"), Some("webconf.evil")] {
        send(&mut stream, &ping(to, "no")).await;
        send(&mut stream, &ping(to, "no").with_child(deep())).await;
    }
    send(&mut stream, &ping(Some("WebConf.ips3000"), "yes")).await;
    let answer = stream.next().await.unwrap();
    assert_eq!((answer.attr("id"), answer.attr("from")), (Some("yes"), Some("webconf.ips3000")));
}

#[tokio::test]
async fn a_peer_that_is_silent_is_pinged_and_one_that_stays_silent_is_left() {
    let quick = Timing { keepalive: ONE_MS * 20, timeout: ONE_MS * 200, ..timing() };
    let mut rig = rig(quick, 8, 16);
    let mut stream = rig.server.accept().await;
    for _ in 0..3 {
        let ping = stream.next().await.unwrap();
        assert_eq!((ping.attr("from"), ping.attr("to")), (Some("webconf.ips3000"), Some("ips3000")));
        assert!(ping.to_xml().contains("urn:xmpp:ping"));
        send(&mut stream, &answer_to(&ping).with("from", "ips3000")).await;
    }
    assert!(rig.link.health().borrow().up);
    let again = rig.server.accept();
    tokio::pin!(again);
    tokio::select! {
        _ = &mut again => {}
        () = async { while stream.next().await.is_ok() {} } => { again.await; }
    }
}

#[tokio::test]
async fn a_wrong_secret_is_told_and_not_tried_in_a_tight_loop() {
    let slow = Timing { reconnect_max: LONG, ..timing() };
    let mut rig = rig(slow, 8, 16);
    assert!(rig.server.try_accept("another").await.is_err());
    let mut health = rig.link.health();
    let health = health.wait_for(|h| h.why.contains("not-authorized")).await.unwrap().clone();
    assert!(!health.up);
    assert!(rig.server.attempts.try_recv().is_err(), "tried again at once");
    rig.stop.cancel();
    rig.tracker.close();
    rig.tracker.wait().await;
}

#[tokio::test]
async fn a_consumer_that_is_behind_holds_the_server_back_and_loses_nothing() {
    let mut rig = rig(timing(), 8, 2);
    let mut stream = rig.server.accept().await;
    assert!(matches!(rig.inbound.recv().await, Some(Inbound::Up)));
    let sent = 5000;
    let sender = tokio::spawn(async move {
        for n in 1..=sent {
            let body = format!(
                r#"{{"confId":"c1","epoch":"e","seq":{n},"time":1,"type":"member.left","actor":null,"data":{{"userId":"u2","reason":"left"}}}}"#
            );
            let event = Element::new("event", "je:x:client:event").with_text(body);
            let message = Stanza::new("message").with_child(event);
            send(&mut stream, &message.with("from", "jeconference.ips3000").with("to", "u%ips3000@webconf.ips3000/uc"))
                .await;
        }
        stream
    });
    for n in 1..=sent {
        let Some(Inbound::Event { event, .. }) = rig.inbound.recv().await else { panic!("not an event") };
        assert_eq!(event.seq, n);
    }
    drop(sender.await.unwrap());
}

#[tokio::test]
async fn the_eim_asks_for_a_web_address_and_always_gets_an_answer() {
    let mut rig = rig(timing(), 8, 16);
    let mut stream = rig.server.accept().await;
    assert!(matches!(rig.inbound.recv().await, Some(Inbound::Up)));
    let operation = Element::new("getWebAddress", "je:x:client:conference").with("confId", "c1").with("role", "chair");
    let payload = Element::new("jeExtension", "je:x:client:conference").with_child(operation);
    let iq =
        Stanza::iq("get", payload).with("id", "w").with("from", "jeconference.ips3000").with("to", "webconf.ips3000");
    for gone in [false, true] {
        send(&mut stream, &iq).await;
        let Some(Inbound::WebAddress { conf_id, reply, .. }) = rig.inbound.recv().await else { panic!("no question") };
        assert_eq!(conf_id.as_str(), "c1");
        if gone {
            drop(reply);
        } else {
            let found = crate::eim::iq_handler::WebAddress { url: "https://h/c/~x".into(), code: "~x".into() };
            reply.send(Some(found)).unwrap();
        }
        let answer = stream.next().await.unwrap();
        assert_eq!(answer.attr("id"), Some("w"));
        assert_eq!(answer.to_xml().contains("internal-server-error"), gone);
        assert_eq!(answer.to_xml().contains("https://h/c/~x"), !gone);
    }
}

#[tokio::test]
async fn an_answer_that_came_on_the_link_beside_is_handed_over() {
    let (connect, attempts) = mpsc::channel(8);
    let (to, _inbound) = mpsc::channel(16);
    let around = Context::new(8, to, TaskTracker::new());
    let (one, other) = MisroutedReplies::crossing();
    let seen = one.seen();
    let mut server = Server { attempts };
    let start = |strays| {
        let settings = LinkSettings { strays: Some(strays), ..settings(timing(), connect.clone()) };
        Link::start(settings, None, &around, CancellationToken::new())
    };
    let link = start(one);
    let mut stream = server.accept().await;
    let _beside = start(other);
    let mut stream_beside = server.accept().await;
    let asked = ask(&link, 1, LONG);
    let iq = stream.next().await.unwrap();
    send(&mut stream_beside, &answer_to(&iq).with("from", "evil.ips3000")).await;
    send(&mut stream_beside, &answer_to(&iq)).await;
    assert_eq!(asked.await.unwrap().unwrap().payload(), question(1).payload());
    assert!(seen.load(Ordering::Relaxed));
}

#[tokio::test]
async fn told_to_stop_it_says_goodbye_and_refuses_what_is_left() {
    let mut rig = rig(timing(), 8, 16);
    let asked = ask(&rig.link, 1, LONG);
    let mut stream = rig.server.accept().await;
    stream.next().await.unwrap();
    rig.stop.cancel();
    rig.tracker.close();
    rig.tracker.wait().await;
    assert_eq!(asked.await.unwrap(), Err(EimError::Unreachable { sent: true }));
    assert_eq!(rig.link.request(question(1), LONG).await, Err(EimError::Unreachable { sent: false }));
    assert!(stream.next().await.is_err());
    assert!(!rig.link.health().borrow().up);
}
