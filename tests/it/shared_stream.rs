//! The stream that all users share: nobody speaks on it as another, and nothing that one sends ends it, from the page's
//! side or from an account of the XMPP server.

use serde_json::json;

use crate::fixture::Fixture;
use crate::support::c2s::C2s;
use crate::support::client::{Answer, Client};
use crate::support::component::Component;
use crate::support::gateway::Gateway;
use crate::support::xmpp_server::{ADMIN_COMPONENT, COMPONENT, MODULES, XmppServer, on_each_server};

const CONFIG_NS: &str = "je:x:client:config";

async fn process(client: &Client, req_xml: &str) -> Answer {
    client.rpc("org.user.processIQ", json!({ "reqXml": req_xml })).await
}

/// The answer to what is allowed, as text.
async fn answered(client: &Client, req_xml: &str) -> String {
    process(client, req_xml).await.result()["xml"].as_str().expect("an answer is text").to_owned()
}

fn tabs(to: &str) -> String {
    format!("<iq to='{to}' type='get' id='t'><jeExtension xmlns='{CONFIG_NS}'><getMainTabs/></jeExtension></iq>")
}

/// How often the links have been connected, and sessions beside their first time.
async fn connects(gateway: &Gateway) -> f64 {
    gateway.metric("confgate_eim_connects_total").await.unwrap_or_default()
}

/// Texts that two readers may understand differently: behind each the conference's end in its chair's name.
fn forgeries(conf: &str) -> Vec<String> {
    let payload = format!("<q xmlns='{CONFIG_NS}'/>");
    let own = format!("<iq to='jeprivacy.ips3000' type='get' id='1' >{payload}<![CDATA[ ]]></iq>");
    let end = format!(
        "<iq type='set' from='chair%ips3000@webconf.ips3000/uc' to='jeconference.ips3000' id='f'>\
         <jeExtension xmlns='je:x:client:conference'><end confId='{conf}'/></jeExtension></iq>"
    );
    let hidden = format!(
        "<iq to='jeprivacy.ips3000' type='get' id='1' ><s xmlns='{CONFIG_NS}'><iq><![CDATA[x]]></iq>{end}</iq></s></iq>"
    );
    let marks = ["\u{FEFF}", "\u{FEFF}\u{FEFF}", " \u{FEFF}", "\u{FFFE}", "\u{0}", "\u{200B}"];
    let mut all: Vec<String> =
        marks.iter().flat_map(|mark| [format!("{mark}{own}"), format!("{mark}{hidden}")]).collect();
    all.extend([hidden, format!("{own}{end}"), format!("{own}\u{FEFF}{end}"), format!("{own}</stream:stream>")]);
    all
}

async fn nobody_speaks_as_another(fixture: Fixture) {
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let guest = fixture.guest(&code, "Guest").await;
    let before = connects(&fixture.gateway).await;
    for text in forgeries(&conf) {
        process(&guest, &text).await.refused(-32602);
    }
    let inside = |inside: &str| {
        format!(
            "<iq to='jeprivacy.ips3000' type='get' id='1'><jeExtension xmlns='{CONFIG_NS}'>{inside}</jeExtension></iq>"
        )
    };
    for odd in [
        "<xmlns:a/>",
        "<xml:a/>",
        "<a xmlns:xmlns='u'/>",
        "<a xmlns:xml='u'/>",
        "<p:a/>",
        "<a xml:odd=''/>",
        "]]>",
        "&#0;",
        "\u{FFFF}",
    ] {
        process(&guest, &inside(odd)).await.refused(-32602);
    }
    for to in
        ["\u{200B}@ips3000", "\u{AD}@jeprivacy.ips3000", "@ips3000", "ips3000/", "a b@ips3000", "a\u{FF20}b@ips3000"]
    {
        process(&chair, &tabs(to)).await.refused(-32602);
    }
    for to in ["JEPRIVACY.ips3000", "jeprivacy.IPS3000", "\u{FF4A}eprivacy.ips3000"] {
        for caller in [&guest, &chair] {
            let answer = answered(caller, &tabs(to)).await;
            assert!(answer.contains("type=\"result\"") && answer.contains(&format!("from=\"{to}\"")), "{answer}");
        }
    }
    let got = chair.rpc("conference.get", json!({ "confId": conf })).await.result();
    assert_eq!(got["state"], 0, "the conference goes on");
    assert_eq!(connects(&fixture.gateway).await, before, "a link was cut");
}

#[tokio::test]
async fn embedded_nobody_speaks_as_another() {
    nobody_speaks_as_another(Fixture::embedded().await).await;
}

#[tokio::test]
async fn ejabberd_nobody_speaks_as_another() {
    nobody_speaks_as_another(Fixture::component(XmppServer::ejabberd().await, "").await).await;
}

#[tokio::test]
async fn prosody_nobody_speaks_as_another() {
    nobody_speaks_as_another(Fixture::component(XmppServer::prosody().await, "").await).await;
}

/// Stanzas that are larger or deeper than a link keeps, once a server has written them: contents, and attributes
/// beside.
fn oversized() -> Vec<(String, String)> {
    let quotes = "'".repeat(60_000);
    let deep = |n: usize| "<a xmlns='u'>".repeat(n) + &"</a>".repeat(n);
    let names: String = (0..400).map(|n| format!(" a{n}='{n}'")).collect();
    let attribute = format!(" odd=\"{quotes}\"");
    vec![
        (String::new(), deep(40)),
        (String::new(), format!("<body>{quotes}</body>")),
        (String::new(), format!("<a xmlns='u'{names}/>")),
        (String::new(), format!("<a xmlns='u'{attribute}/>")),
        (attribute, "<a xmlns='u'/>".to_owned()),
        (names, "<a xmlns='u'/>".to_owned()),
        (String::new(), format!("<{}/>", "n".repeat(60_000))),
        (String::new(), "<क xmlns='u'/>".to_owned()),
        (
            String::new(),
            (0..40).map(|n| format!("<p{n}:a xmlns:p{n}='u{n}'>")).collect::<String>()
                + &(0..40).rev().map(|n| format!("</p{n}:a>")).collect::<String>(),
        ),
    ]
}

/// Sends all that to the address, as a message, a presence, and each kind of IQ. The address answers its requests.
async fn attack(account: &mut C2s, to: &str) {
    for (at, (attrs, content)) in oversized().into_iter().enumerate() {
        for (name, kind) in
            [("message", "chat"), ("message", "error"), ("presence", "subscribe"), ("iq", "result"), ("iq", "error")]
        {
            let text = format!("<{name} to='{to}' type='{kind}' id='s{at}'{attrs}>{content}</{name}>");
            account.stream.send(&text).await.expect("the server reads what its client writes");
        }
        let id = format!("ask{at}");
        let text = format!("<iq to='{to}' type='get' id='{id}'{attrs}>{content}</iq>");
        let answer = account.ask(&text, &id).await;
        assert_eq!((answer.attr("type"), answer.attr("from")), ("error", to), "{}", answer.text);
        let is_known = ["policy-violation", "service-unavailable"].iter().any(|told| answer.text.contains(told));
        assert!(is_known, "{}", answer.text);
        assert!(at > 1 || answer.text.contains("policy-violation"), "{}", answer.text);
    }
}

on_each_server! {
    async fn an_oversized_stanza_is_skipped_and_the_link_stays(server) {
        server.register("mallory", "pass").await;
        let mut account = server.login("mallory", "pass").await;
        let mut eim = Component::of(server, MODULES[0]).await;
        let clients = "[[auth.clients]]\nid = \"chair\"\nsecret = \"the chair's secret\"\n";
        let config = format!("{}timeout_ms = 30000\n{clients}", server.component_section(COMPONENT));
        let gateway = Gateway::with(&config).start().await;
        let chair = gateway.client().login_client("chair", "the chair's secret").await;
        let before = connects(&gateway).await;
        // Under way all the while.
        let ask = format!("<iq to='{}' type='get' id='under-way'><x xmlns='urn:x'/></iq>", MODULES[0]);
        let play = async {
            let request = eim.request("urn:x").await;
            for to in [COMPONENT, ADMIN_COMPONENT] {
                attack(&mut account, to).await;
            }
            eim.answer(&request.result("<x xmlns='urn:x'/>")).await;
        };
        let (answer, ()) = tokio::join!(answered(&chair, &ask), play);
        assert!(answer.contains("type=\"result\"") && answer.contains("under-way"), "{answer}");

        // An answer that can't be kept fails the request that it is for, and no other.
        for (_, content) in oversized().into_iter().take(2) {
            let play = async {
                let request = eim.request("urn:x").await;
                eim.answer(&request.result(&content)).await;
            };
            let (answer, ()) = tokio::join!(answered(&chair, &ask), play);
            assert!(answer.contains("type=\"error\"") && answer.contains("policy-violation"), "{answer}");
        }
        assert_eq!(connects(&gateway).await, before, "a link was cut");
        assert!(gateway.metric("confgate_eim_stanzas_skipped_total").await > Some(20.0));
    }

    async fn an_oversized_stanza_leaves_the_eims_own_links_up(server) {
        server.register("mallory", "pass").await;
        let mut account = server.login("mallory", "pass").await;
        let eim = crate::support::gateway::eim(server).await;
        for module in MODULES {
            attack(&mut account, module).await;
        }
        let clients = "[[auth.clients]]\nid = \"chair\"\nsecret = \"the chair's secret\"\n";
        let config = format!("{}{clients}", server.component_section(COMPONENT));
        let gateway = Gateway::with(&config).start().await;
        let chair = gateway.client().login_client("chair", "the chair's secret").await;
        // A stanza that grows beyond the bound where the server escapes it is refused; one that doesn't grow passes.
        let quotes = |n: usize| {
            let text = "\"'".repeat(n / 2);
            format!("<iq to='jeprivacy.ips3000' type='get' id='q'><x xmlns='urn:x' a='{}'>{text}</x></iq>", text.replace('\'', "&apos;"))
        };
        process(&chair, &format!("<iq to='jeprivacy.ips3000' type='get' id='q'><x xmlns='urn:x'>{}</x></iq>", "\"".repeat(60_000))).await.refused(-32602);
        for n in [1000, 10_000, 12_000] {
            let answer = answered(&chair, &quotes(n)).await;
            assert!(answer.contains("service-unavailable"), "{answer}");
        }
        assert!(answered(&chair, &tabs("JEPRIVACY.ips3000")).await.contains("type=\"result\""));
        let lines = eim.process.lines();
        assert!(!lines.iter().any(|line| line.text.contains("disconnected")), "{lines:?}");
    }

    async fn an_oversized_stanza_leaves_a_users_session_open(server) {
        for user in ["mallory", "chair"] {
            server.register(user, "pass").await;
        }
        let _eim = crate::support::gateway::eim(server).await;
        let clients = "[[auth.clients]]\nid = \"chair\"\nsecret = \"the chair's secret\"\npassword = \"pass\"\n";
        let config = format!("{}{clients}", server.c2s_section("starttls"));
        let gateway = Gateway::with(&config).start().await;
        let chair = gateway.client().login_client("chair", "the chair's secret").await;
        let before = connects(&gateway).await;
        let mut account = server.login("mallory", "pass").await;
        attack(&mut account, "chair@ips3000/uc").await;
        assert!(answered(&chair, &tabs("jeprivacy.ips3000")).await.contains("type=\"result\""));
        assert_eq!(connects(&gateway).await, before, "the session was opened again");
    }

    async fn an_address_that_prepares_to_nothing_ends_no_link(server) {
        server.register("mallory", "pass").await;
        let mut account = server.login("mallory", "pass").await;
        let eim = crate::support::gateway::eim(server).await;
        let gateway = Gateway::with(&server.component_section(COMPONENT)).start().await;
        let before = connects(&gateway).await;
        let ping = |to: &str, id: &str| format!("<iq to='{to}' type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>");
        for domain in [COMPONENT, ADMIN_COMPONENT, MODULES[0], MODULES[1]] {
            for odd in ["\u{200B}", "\u{AD}\u{200B}", "\u{FEFF}"] {
                let text = ping(&format!("{odd}@{domain}"), "odd");
                account.stream.send(&text).await.expect("the server reads what its client writes");
            }
            // Its answer shows that what came before has been read.
            let answer = account.ask(&ping(&domain.to_uppercase(), "even"), "even").await;
            assert_eq!(answer.attr("type"), "result", "{}", answer.text);
        }
        assert_eq!(connects(&gateway).await, before, "a link was cut");
        let lines = eim.process.lines();
        assert!(!lines.iter().any(|line| line.text.contains("disconnected")), "{lines:?}");
    }
}
