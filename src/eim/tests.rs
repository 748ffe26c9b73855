//! The handle over in-process links: what goes out for a caller, what comes back.

use super::*;
use crate::xmpp::negotiate::component_server;
use crate::xmpp::stream::XmppStream;
use crate::schema::Schema;
use address::JidScheme;
use inbound::InboundSchema;
use std::collections::HashMap;

const LONG: Duration = Duration::from_secs(30);

fn config() -> EimConfig {
    EimConfig {
        mode: Mode::Builtin,
        domain: "ips3000".into(),
        inbound: Arc::new(InboundSchema::new(&Schema::load(None).unwrap(), "ips3000")),
        asked_at: vec![],
        host: String::new(),
        port: 0,
        component: "webconf.ips3000".into(),
        secret: Secret::new("s"),
        admin_domain: Some("webconf-admin.ips3000".into()),
        admin_secret: Secret::new("s"),
        server_admin: None,
        admin_host: String::new(),
        admin_port: 0,
        c2s_port: 0,
        tls: TlsMode::Off,
        ca: String::new(),
        jid_scheme: JidScheme::Escaped,
        resource: "uc".into(),
        wait_ms: 30_000,
        timeout_ms: 30_000,
        under_way: 16,
        under_way_per_user: 16,
        reconnect_min_ms: 1,
        reconnect_max_ms: 20,
        keepalive_ms: 30_000,
        ping_interval_ms: 30_000,
    }
}

/// Starts the handle; gives the far ends of its links by component domain.
async fn start(config: &EimConfig, links: usize) -> (Eim, HashMap<String, XmppStream>, mpsc::Receiver<Inbound>) {
    let (connect, mut attempts) = mpsc::channel(8);
    let inproc = Some(InProcess { connect });
    let (eim, inbound) = Eim::start(config, inproc, &TaskTracker::new(), CancellationToken::new()).unwrap();
    let mut far = HashMap::new();
    while far.len() < links {
        let pipe = attempts.recv().await.unwrap();
        let (stream, domain) = component_server(Box::new(pipe), |_| Some(Secret::new("s"))).await.unwrap();
        far.insert(domain, stream);
    }
    (eim, far, inbound)
}

/// Answers one request with its own payload and gives it.
async fn echo_one(stream: &mut XmppStream) -> Stanza {
    let iq = stream.next().await.unwrap();
    let mut answer = iq_handler::result(&iq, None);
    answer.nodes.clone_from(&iq.nodes);
    assert!(stream.queue(&answer));
    stream.flush().await.unwrap();
    iq
}

#[tokio::test]
async fn a_caller_gets_addresses_and_id_back_as_written_though_others_were_on_the_wire() {
    let (eim, mut far, _inbound) = start(&config(), 2).await;
    let stream = far.get_mut("webconf.ips3000").unwrap();
    let user = UserId::parse("u1074808").unwrap();
    let written =
        "<iq from='u1074808@ips3000/phone' to='JePrivacy.ips3000' type='get' id='01'><a xmlns='x'> <b/></a></iq>";
    let (answer, wire) = tokio::join!(eim.request_as(&user, Stanza::parse(written).unwrap(), LONG), echo_one(stream));
    let answer = answer.unwrap();
    let told = |name| answer.attr(name);
    assert_eq!((told("from"), told("to")), (Some("JePrivacy.ips3000"), Some("u1074808@ips3000/phone")));
    assert_eq!((told("id"), told("type")), (Some("01"), Some("result")));
    assert_eq!(answer.payload().unwrap().to_xml(), r#"<a xmlns="x"> <b/></a>"#);
    assert_eq!(wire.attr("from"), Some("u1074808%ips3000@webconf.ips3000/phone"));
    assert_ne!(wire.attr("id"), Some("01"));

    let bare = Stanza::parse("<iq to='je.ips3000' type='get'><a xmlns='x'/></iq>").unwrap();
    let (answer, _) = tokio::join!(eim.request_as(&user, bare, LONG), echo_one(stream));
    let answer = answer.unwrap();
    assert_eq!((answer.attr("to"), answer.attr("id")), (Some("u1074808@ips3000/uc"), None));
}

#[tokio::test]
async fn stanza_that_would_end_the_shared_stream_is_not_sent() {
    let (eim, _far, _inbound) = start(&config(), 2).await;
    let user = UserId::parse("u1").unwrap();
    let quotes = "'".repeat(50_000);
    for (to, text) in [("a b@@", ""), ("\u{200B}@ips3000", ""), ("je.ips3000", quotes.as_str())] {
        let payload = xml::Element::new("a", "x").with_text(text);
        let iq = Stanza::iq("get", payload).with("to", to).with("id", "7");
        let refused = eim.request_as(&user, iq, LONG).await;
        assert!(matches!(refused, Err(EimError::Unsendable(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn the_gateway_itself_never_speaks_from_the_callers_domain() {
    let (eim, mut far, _inbound) = start(&config(), 2).await;
    let stream = far.get_mut("webconf-admin.ips3000").unwrap();
    let iq = Stanza::parse("<iq to='jeorg.ips3000' type='set'><a xmlns='x'/></iq>").unwrap();
    let (answer, wire) = tokio::join!(eim.request(iq, LONG), echo_one(stream));
    assert_eq!(answer.unwrap().attr("type"), Some("result"));
    assert_eq!(wire.attr("from"), Some("webconf-admin.ips3000"));
}

#[tokio::test]
async fn without_a_provisioning_domain_the_gateway_speaks_from_its_component_and_makes_no_accounts() {
    let config = EimConfig { admin_domain: None, ..config() };
    let (eim, mut far, _inbound) = start(&config, 1).await;
    let stream = far.get_mut("webconf.ips3000").unwrap();
    let iq = Stanza::parse("<iq to='jeorg.ips3000' type='set'><a xmlns='x'/></iq>").unwrap();
    let (answer, wire) = tokio::join!(eim.request(iq, LONG), echo_one(stream));
    assert!(answer.is_ok());
    assert_eq!(wire.attr("from"), Some("webconf.ips3000"));
    let made = eim.create_account(&UserId::parse("u1").unwrap(), &Secret::new("p"), "x").await;
    assert!(matches!(made, Err(ProvisionError::Refused { .. })));
}

/// Plays the server's side of an ad-hoc command: `forms` are the command elements to answer with, in order.
async fn play(stream: &mut XmppStream, answers: &[&str]) -> Vec<Stanza> {
    let mut asked = Vec::new();
    for inner in answers {
        let iq = stream.next().await.unwrap();
        let mut answer = iq_handler::result(&iq, None);
        if inner.starts_with("<error") {
            answer.set("type", "error");
        }
        answer.nodes = Stanza::parse(&format!("<iq>{inner}</iq>")).unwrap().nodes.clone();
        assert!(stream.queue(&answer));
        stream.flush().await.unwrap();
        asked.push(iq);
    }
    asked
}

const FORM: &str = "<command xmlns='http://jabber.org/protocol/commands' sessionid='s1' status='executing'>\
    <x xmlns='jabber:x:data' type='form'>\
    <field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/admin</value></field>\
    <field var='accountjid'/><field var='password'/><field var='password-verify'/><field var='email'/></x></command>";
const DONE: &str = "<command xmlns='http://jabber.org/protocol/commands' sessionid='s1' status='completed'/>";
const EXISTS: &str = "<command xmlns='http://jabber.org/protocol/commands' sessionid='s1' status='completed'>\
    <note type='error'>User already exists</note></command>";
const CONFLICT: &str = "<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
const FORBIDDEN: &str = "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";

#[tokio::test]
async fn an_account_is_made_in_two_steps_and_every_refusal_is_told_apart() {
    let (eim, mut far, _inbound) = start(&config(), 2).await;
    let stream = far.get_mut("webconf-admin.ips3000").unwrap();
    let (user, password) = (UserId::parse("u1").unwrap(), Secret::new("p<w"));
    let (made, asked) = tokio::join!(eim.create_account(&user, &password, "x"), play(stream, &[FORM, DONE]));
    assert_eq!(made, Ok(()));
    let submitted = asked[1].payload().unwrap();
    assert_eq!(submitted.attr("sessionid"), Some("s1"));
    let fields: Vec<_> = submitted.child("x").unwrap().children().map(|f| f.child("value").unwrap().text()).collect();
    assert_eq!(fields, ["http://jabber.org/protocol/admin", "u1@ips3000", "p<w", "p<w"]);

    for (answers, taken) in [(&[FORM, EXISTS][..], true), (&[FORM, CONFLICT], true), (&[FORBIDDEN], false)] {
        let (made, _) = tokio::join!(eim.create_account(&user, &password, "x"), play(stream, answers));
        assert_eq!(made == Err(ProvisionError::Taken), taken, "{made:?}");
        assert!(made.is_err());
    }
    let nobody = eim.create_account(&user, &Secret::default(), "x").await;
    assert!(matches!(nobody, Err(ProvisionError::Refused { .. })), "an empty password was passed on");
}
