//! The shell's promises, over real streams.

mod publications;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use super::*;
use crate::builtin_eim::{EventDelivery, Limits, Settings};
use crate::clock::date_ms;
use crate::event::Event;
use crate::xmpp::negotiate::{component_client, component_server};
use crate::xmpp::stream::{StreamError, XmppStream};
use crate::xmpp::xml::{Element, Stanza};

const CALLERS: &str = "webconf.ips3000";
const ADMIN: &str = "webconf-admin.ips3000";
const ANN: &str = "ann%ips3000@webconf.ips3000/uc";

fn settings() -> Settings {
    Settings {
        domain: "ips3000".into(),
        components: vec![CALLERS.into()],
        admin_domains: vec![ADMIN.into()],
        users: Vec::new(),
        event_delivery: EventDelivery::Headlines,
        limits: Limits::default(),
    }
}

/// A disk that can be slow or broken.
#[derive(Clone)]
struct Disk {
    documents: Arc<Mutex<HashMap<(String, String), String>>>,
    commits: Arc<AtomicUsize>,
    /// Tries that fail before one succeeds.
    broken: Arc<AtomicUsize>,
    /// Commits are made and reported as failed while it is true.
    misreports: Arc<AtomicBool>,
    /// Commits wait while it is true.
    held: watch::Sender<bool>,
    begun: Arc<Notify>,
}

impl Disk {
    fn new() -> Self {
        let held = watch::Sender::new(false);
        let (documents, commits, broken, misreports, begun) = Default::default();
        Self { documents, commits, broken, misreports, held, begun }
    }

    fn ways(&self) -> super::Disk {
        let (disk, reader) = (self.clone(), self.clone());
        let persist: Persist = Arc::new(move |writes| {
            let disk = disk.clone();
            Box::pin(async move { disk.commit(&writes).await })
        });
        let recall: Recall = Arc::new(move || {
            let documents = reader.documents();
            Box::pin(async move { Ok(documents) })
        });
        super::Disk { persist, recall }
    }

    fn documents(&self) -> Vec<(String, String, String)> {
        let documents = self.documents.lock().unwrap();
        documents.iter().map(|((kind, key), body)| (kind.clone(), key.clone(), body.clone())).collect()
    }

    async fn commit(&self, writes: &[crate::builtin_eim::Write]) -> Result<(), String> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.begun.notify_one();
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
        if self.broken.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err("the disk is full".into());
        }
        let mut documents = self.documents.lock().unwrap();
        for write in writes {
            let key = (write.kind.to_owned(), write.key.clone());
            match &write.body {
                Some(body) => drop(documents.insert(key, body.clone())),
                None => drop(documents.remove(&key)),
            }
        }
        if self.misreports.load(Ordering::SeqCst) { Err("no answer".into()) } else { Ok(()) }
    }

    fn eim(&self) -> Eim {
        Eim::load(settings(), self.documents()).unwrap()
    }
}

/// The EIM behind in-process pipes.
struct Served {
    connect: mpsc::Sender<DuplexStream>,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

impl Served {
    fn start(disk: &Disk) -> Self {
        let (connect, listener) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let secrets = [CALLERS, ADMIN].map(|domain| (domain.to_owned(), Secret::new("s"))).into();
        let served = serve_in_process(disk.eim(), listener, secrets, disk.ways(), stop.clone());
        Self { connect, stop, served: tokio::spawn(served) }
    }

    async fn component(&self, domain: &str) -> XmppStream {
        self.component_beside(domain, None).await
    }

    async fn component_beside(&self, domain: &str, beside: Option<&str>) -> XmppStream {
        let (here, there) = tokio::io::duplex(4096);
        self.connect.send(there).await.unwrap();
        component_client(Box::new(here), domain, &Secret::new("s"), beside).await.unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.served.await.unwrap();
    }
}

fn request(kind: &str, from: &str, operation: Element) -> Stanza {
    let ns = operation.ns.clone();
    let wrapped = Element::new("jeExtension", &ns).with_child(operation);
    Stanza::iq(kind, wrapped).with("from", from).with("to", "jeconference.ips3000").with("id", "1")
}

fn operation(name: &str) -> Element {
    Element::new(name, "je:x:client:conference")
}

/// The next answer's operation; events in between are left out.
async fn answer(stream: &mut XmppStream) -> Element {
    loop {
        let stanza = stream.next().await.unwrap();
        if stanza.name == "iq" {
            assert_eq!(stanza.attr("type"), Some("result"), "{}", stanza.to_xml());
            return stanza.payload().unwrap().children().next().unwrap().clone();
        }
    }
}

async fn create(stream: &mut XmppStream, attrs: &[(&str, &str)]) -> String {
    let create = attrs.iter().fold(operation("create").with("name", "Standup"), |e, (k, v)| e.with(k, *v));
    assert!(stream.queue(&request("set", ANN, create)));
    let created = answer(stream).await;
    created.child("conference").unwrap().attr("confId").unwrap().to_owned()
}

async fn subscribe(stream: &mut XmppStream, conf: &str) {
    let subscribe = operation("subscribe").with("confId", conf).with("node", "n1").with("generation", "1");
    assert!(stream.queue(&request("set", ANN, subscribe)));
    answer(stream).await;
}

async fn event(stream: &mut XmppStream) -> Event {
    let stanza = stream.next().await.unwrap();
    assert_eq!(
        (stanza.name.as_str(), stanza.attr("type"), stanza.attr("to")),
        ("message", Some("headline"), Some(ANN))
    );
    serde_json::from_str(&stanza.payload().unwrap().text()).unwrap()
}

#[tokio::test]
async fn users_speak_through_one_component_and_the_gateway_through_another() {
    let served = Served::start(&Disk::new());
    let (mut callers, mut admin) = (served.component(CALLERS).await, served.component(ADMIN).await);
    let conf = create(&mut callers, &[]).await;
    subscribe(&mut callers, &conf).await;
    assert!(admin.queue(&request("get", ADMIN, operation("snapshot").with("confId", &conf))));
    assert_eq!(answer(&mut admin).await.attr("seq"), Some("1"));
    assert!(callers.queue(&request("set", ANN, operation("join").with("confId", &conf))));
    assert_eq!(answer(&mut callers).await.child("member").unwrap().attr("role"), Some("chair"));
    let joined = event(&mut callers).await;
    assert_eq!((joined.seq, joined.change.name()), (2, "member.joined"));
    served.stop().await;
}

#[tokio::test]
async fn components_reach_each_other_and_an_unknown_address_is_refused() {
    let served = Served::start(&Disk::new());
    let (mut callers, mut admin) = (served.component(CALLERS).await, served.component(ADMIN).await);
    // The admin component is known once it was answered.
    let ping = |from: &str, to: &str| {
        let ping = Stanza::iq("get", Element::new("ping", "urn:xmpp:ping"));
        ping.with("from", from).with("to", to).with("id", "p")
    };
    assert!(admin.queue(&ping(ADMIN, "ips3000")));
    assert_eq!(admin.next().await.unwrap().attr("type"), Some("result"));
    assert!(callers.queue(&ping(CALLERS, ADMIN)));
    let (_, arrived) = tokio::join!(callers.flush(), admin.next());
    assert_eq!(arrived.unwrap(), ping(CALLERS, ADMIN));
    assert!(callers.queue(&ping(CALLERS, "nobody.ips3000")));
    let refused = callers.next().await.unwrap();
    assert_eq!((refused.attr("type"), refused.attr("from")), (Some("error"), Some("nobody.ips3000")));
    served.stop().await;
}

#[tokio::test]
async fn a_component_that_speaks_for_another_domain_is_put_out() {
    let served = Served::start(&Disk::new());
    let mut callers = served.component_beside(CALLERS, Some(ADMIN)).await;
    assert!(callers.queue(&request("get", ADMIN, operation("find").with("password", "x"))));
    let Err(StreamError::Ended(why)) = callers.next().await else { panic!("believed") };
    assert_eq!(why, "invalid-from");
    served.stop().await;
}

#[tokio::test]
async fn a_component_that_connects_again_takes_over() {
    let served = Served::start(&Disk::new());
    let mut old = served.component(CALLERS).await;
    let conf = create(&mut old, &[]).await;
    let mut new = served.component(CALLERS).await;
    assert!(old.next().await.is_err());
    subscribe(&mut new, &conf).await;
    served.stop().await;
}

#[tokio::test]
async fn nothing_is_answered_before_it_is_kept_and_what_waits_is_kept_together() {
    let disk = Disk::new();
    let served = Served::start(&disk);
    let mut callers = served.component(CALLERS).await;
    disk.held.send_replace(true);
    assert!(callers.queue(&request("set", ANN, operation("create").with("name", "First"))));
    callers.flush().await.unwrap();
    disk.begun.notified().await;
    for _ in 0..100 {
        assert!(callers.queue(&request("set", ANN, operation("create").with("name", "More"))));
    }
    callers.flush().await.unwrap();
    assert!(disk.documents.lock().unwrap().is_empty());
    let nothing = tokio::time::timeout(Duration::from_millis(20), callers.next()).await;
    assert!(nothing.is_err(), "answered before it was kept");
    disk.held.send_replace(false);
    for _ in 0..101 {
        answer(&mut callers).await;
    }
    assert_eq!(disk.documents.lock().unwrap().len(), 101);
    assert!(disk.commits.load(Ordering::SeqCst) < 20, "{}", disk.commits.load(Ordering::SeqCst));
    served.stop().await;
}

#[tokio::test]
async fn a_disk_that_fails_delays_the_answer_and_loses_nothing() {
    let disk = Disk::new();
    disk.broken.store(3, Ordering::SeqCst);
    let served = Served::start(&disk);
    let mut callers = served.component(CALLERS).await;
    let conf = create(&mut callers, &[]).await;
    assert_eq!(disk.commits.load(Ordering::SeqCst), 4);
    assert!(disk.documents.lock().unwrap().contains_key(&("conference".into(), conf)));
    served.stop().await;
}

#[tokio::test]
async fn acknowledged_writes_are_there_after_a_restart() {
    let disk = Disk::new();
    let served = Served::start(&disk);
    let mut callers = served.component(CALLERS).await;
    let conf = create(&mut callers, &[]).await;
    assert!(callers.queue(&request("set", ANN, operation("join").with("confId", &conf))));
    answer(&mut callers).await;
    served.stop().await;
    let served = Served::start(&disk);
    let mut admin = served.component(ADMIN).await;
    assert!(admin.queue(&request("get", ADMIN, operation("snapshot").with("confId", &conf))));
    let state = answer(&mut admin).await;
    assert_eq!((state.attr("seq"), state.child("members").unwrap().children().count()), (Some("2"), 1));
    served.stop().await;
}

#[tokio::test]
async fn a_password_is_verified_beside_the_other_work() {
    let served = Served::start(&Disk::new());
    let mut admin = served.component(ADMIN).await;
    let org = |name: &str| Element::new(name, "je:x:client:org").with("userId", "zoe").with("password", "open sesame");
    assert!(admin.queue(&request("set", ADMIN, org("createUser").with("name", "Zoë"))));
    assert_eq!(answer(&mut admin).await.child("user").unwrap().attr("name"), Some("Zoë"));
    assert!(admin.queue(&request("get", ADMIN, org("verifyPassword"))));
    assert_eq!(answer(&mut admin).await.attr("userId"), Some("zoe"));
    served.stop().await;
}

#[tokio::test]
async fn a_start_is_told_when_its_time_comes() {
    let served = Served::start(&Disk::new());
    let mut callers = served.component(CALLERS).await;
    let conf = create(&mut callers, &[("startAt", &(date_ms() + 100).to_string())]).await;
    subscribe(&mut callers, &conf).await;
    assert_eq!(event(&mut callers).await.change.name(), "conference.started");
    served.stop().await;
}

/// A server that lets components in and carries nothing.
async fn server_side(listener: &TcpListener) -> (XmppStream, String) {
    let (socket, _) = listener.accept().await.unwrap();
    component_server(Box::new(socket), |_| Some(Secret::new("s"))).await.unwrap()
}

/// The EIM, as components of that server.
fn serve_at(listener: &TcpListener, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
    let settings = ComponentSettings {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
        secret: Secret::new("s"),
        timeout: Duration::from_secs(10),
        reconnect_min: Duration::from_millis(1),
        reconnect_max: Duration::from_millis(5),
        keepalive: Duration::from_secs(60),
        tls: None,
    };
    tokio::spawn(serve_components(Disk::new().eim(), settings, Disk::new().ways(), None, stop.clone()))
}

/// The first link's pings, each answered as that server does.
async fn answer_pings(first: &mut XmppStream, answer: impl Fn(Stanza) -> Stanza) {
    for _ in 0..4 {
        let ping = first.next().await.unwrap();
        assert_eq!((ping.attr("id"), ping.payload().unwrap().name.as_str()), (Some("route"), "ping"));
        assert!(first.queue(&answer(ping)));
    }
    first.flush().await.unwrap();
}

/// Nobody is at that address.
fn nobody(ping: Stanza) -> Stanza {
    let error = "<error type='wait'><recipient-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    let [from, to] = ["to", "from"].map(|end| ping.attr(end).unwrap().to_owned());
    Stanza::parse(&format!("<iq type='error' id='route' from='{from}' to='{to}'>{error}</iq>")).unwrap()
}

#[tokio::test]
async fn the_eims_addresses_are_components_of_a_server_and_come_back_after_a_cut() {
    let (listener, stop) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
    let served = serve_at(&listener, &stop);
    let (mut first, domain) = server_side(&listener).await;
    answer_pings(&mut first, nobody).await;
    let mut streams = HashMap::from([(domain, first)]);
    while streams.len() < 5 {
        let (stream, domain) = server_side(&listener).await;
        streams.insert(domain, stream);
    }
    assert!(streams.contains_key("jeprivacy.ips3000"));
    // A server may hand a stanza to any of its components: the answer leaves where its sender lives.
    let (conference, org) = ("jeconference.ips3000", "jeorg.ips3000");
    let mut callers = streams.remove(org).unwrap();
    assert!(callers.queue(&request("set", ANN, operation("create").with("name", "x"))));
    let stream = streams.get_mut(conference).unwrap();
    let (_, created) = tokio::join!(callers.flush(), answer(stream));
    assert!(created.child("conference").is_some());
    drop(streams.remove(conference));
    let (mut again, domain) = server_side(&listener).await;
    assert_eq!(domain, conference);
    // The first one asks anew.
    if again.queue(&request("get", ANN, operation("list"))) {
        again.flush().await.unwrap();
    }
    let listed = loop {
        let stanza = again.next().await.unwrap();
        if stanza.attr("id") != Some("route") {
            break stanza;
        }
    };
    assert_eq!(listed.payload().unwrap().child("list").map(|list| list.children().count()), Some(1));
    stop.cancel();
    served.await.unwrap();
}

/// As ejabberd does with all hosts of one listener. With several such links it would spread what comes over them.
#[tokio::test]
async fn a_link_to_which_the_server_routes_all_addresses_serves_for_all_of_them() {
    let (listener, stop) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
    let served = serve_at(&listener, &stop);
    for _ in 0..2 {
        let (mut only, domain) = server_side(&listener).await;
        assert_eq!(domain, "jeconference.ips3000");
        answer_pings(&mut only, |ping| ping).await;
        let ping = |to: &str| Stanza::iq("get", Element::new("ping", "urn:xmpp:ping")).with("from", ANN).with("to", to);
        for module in ["jeorg.ips3000", "jecontacts.ips3000", "jeprivacy.ips3000", "jecall.ips3000"] {
            assert!(only.queue(&ping(module).with("id", "p")));
            only.flush().await.unwrap();
            let answer = only.next().await.unwrap();
            assert_eq!((answer.attr("from"), answer.attr("type")), (Some(module), Some("result")));
        }
        // Nobody else has connected; after a cut the first one does again.
        assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none());
    }
    stop.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn a_server_that_falls_silent_is_pinged_and_then_left() {
    let (here, there) = tokio::io::duplex(4096);
    let secret = Secret::new("s");
    let server = component_server(Box::new(there), |_| Some(Secret::new("s")));
    let (client, server) = tokio::join!(component_client(Box::new(here), "jeorg.ips3000", &secret, None), server);
    let mut server = server.unwrap().0;
    let (inbox, mut worker) = mpsc::channel(8);
    let peer = link::LinkPeer::Server {
        address: "jeorg.ips3000".into(),
        domain: "ips3000".into(),
        keepalive: Duration::from_millis(300),
        routing: None,
    };
    let serving = tokio::spawn(link::Link::serve(client.unwrap(), peer, inbox));
    let Some(worker::Inbound::Up { link: _outlet, .. }) = worker.recv().await else { panic!("not up") };
    let ping = server.next().await.unwrap();
    assert_eq!((ping.attr("to"), ping.payload().unwrap().name.as_str()), (Some("ips3000"), "ping"));
    let pong = Stanza::parse("<iq type='result' from='ips3000' to='jeorg.ips3000' id='keepalive'/>").unwrap();
    assert!(server.queue(&pong));
    server.flush().await.unwrap();
    let Some(worker::Inbound::Stanza(pong)) = worker.recv().await else { panic!("no answer") };
    assert_eq!(pong.attr("type"), Some("result"));
    server.next().await.unwrap();
    assert!(matches!(serving.await.unwrap(), link::End::Silent));
}
