//! The form in which a caller's stanza arrives at the EIM over a real server. The test plays the EIM.

use serde_json::{Value, json};

use crate::rpc_shape::assert_unharmed;
use crate::support::client::Client;
use crate::support::component::Component;
use crate::support::gateway::Gateway;
use crate::support::xml_meaning::content;
use crate::support::xml_stream::Stanza;
use crate::support::xmpp_server::{COMPONENT, XmppServer};

const CLIENT: &str = "[[auth.clients]]\nid = \"u1\"\nopen = true\nnetworks = [\"127.0.0.0/8\"]\n";

/// A real server, a gateway at it, and the module `jeprivacy` in the test's hands.
struct World {
    gateway: Gateway,
    user: Client,
    eim: Component,
    _server: XmppServer,
}

impl World {
    async fn start() -> Self {
        let server = XmppServer::ejabberd().await;
        let eim = Component::of(&server, "jeprivacy.ips3000").await;
        let section = server.component_section(COMPONENT);
        let gateway = Gateway::with(&format!("{CLIENT}{section}")).start().await;
        let login = gateway.client().try_login(json!({ "grantType": "client_credentials", "clientId": "u1" })).await;
        let user = login.unwrap_or_else(|refusal| panic!("{}", refusal.0));
        Self { gateway, user, eim, _server: server }
    }

    /// Has the user send that child; the stanza that arrives, and the call's result.
    async fn pass(&mut self, child: &str, answer: impl FnOnce(&Stanza) -> String) -> (Stanza, Value) {
        let req_xml = iq(child);
        let ask = self.user.rpc("org.user.processIQ", json!({ "reqXml": req_xml }));
        let play = async {
            let arrived = arriving(&mut self.eim).await;
            self.eim.send(&answer(&arrived)).await;
            arrived
        };
        let (answered, arrived) = tokio::join!(ask, play);
        (arrived, answered.result())
    }
}

/// The next stanza for the module; what the gateway asks other modules at its start is refused.
async fn arriving(eim: &mut Component) -> Stanza {
    loop {
        let stanza = eim.next().await;
        if stanza.attr("to") == "jeprivacy.ips3000" {
            return stanza;
        }
        eim.answer(&stanza.error("cancel", "service-unavailable")).await;
    }
}

fn iq(child: &str) -> String {
    format!("<iq from='u1@ips3000/uc' to='jeprivacy.ips3000' type='set' id='mine &amp; only'>{child}</iq>")
}

#[tokio::test]
async fn ejabberd_payloads_arrive_and_return_as_they_were_written() {
    let mut world = World::start().await;
    let payloads = [
        "<jeExtension xmlns='je:x:client:config'> <getMainTabs/></jeExtension>",
        "<x xmlns='urn:x'>会议 مرحبا שלום 👩‍👩‍👧 \u{10FFFF} e\u{301}</x>",
        "<x xmlns='urn:x' a='&lt;&amp;&gt;&quot;&apos;' b='tab&#9;line&#10;end'>a &lt; b &amp;&amp; c &gt; d</x>",
        "<p:x xmlns:p='urn:p' xmlns='urn:d' p:a='1' a='2'><y/><p:y xmlns:p='urn:other' p:a='3'/></p:x>",
        "<x xmlns='urn:x'><y xmlns=''><z xmlns='urn:z'/></y> mixed <w/> text </x>",
        "<x xmlns='urn:x' xml:lang='zh'><![CDATA[<not> & markup ]]></x>",
        "<会议 xmlns='urn:会' 名='值'><成员/></会议>",
        "<x xmlns='urn:x'>\n  <a/>\n  <b/><a/>\n</x>",
        "<x xmlns='urn:x'>u1@ips3000/uc u1%ips3000@webconf.ips3000/uc</x>",
    ];
    for payload in payloads {
        let back = |arrived: &Stanza| arrived.result(payload).to_xml();
        let (arrived, result) = world.pass(payload, back).await;
        assert_eq!(arrived.attr("from"), "u1%ips3000@webconf.ips3000/uc");
        let sent = content(&iq(payload));
        assert_eq!(content(&arrived.text), sent, "{}", arrived.text);
        let answer = result["xml"].as_str().expect("the result is XML");
        assert_eq!(content(answer), sent, "{answer}");
        let stanza = confgate::xmpp::xml::Stanza::parse(answer).expect("a stanza");
        let attrs = ["type", "id", "from", "to"].map(|name| stanza.attr(name).unwrap_or_default());
        assert_eq!(attrs, ["result", "mine & only", "jeprivacy.ips3000", "u1@ips3000/uc"]);
    }
    assert_unharmed(&world.gateway).await;
}

#[tokio::test]
async fn ejabberd_what_is_refused_is_never_sent_and_an_error_is_an_answer() {
    let mut world = World::start().await;
    let bad = [
        iq("<x xmlns='urn:first'/><y/>"),
        format!("{}{}", iq("<x xmlns='urn:first'/>"), iq("<x xmlns='urn:second'/>")),
        format!("{}</stream:stream>", iq("<x xmlns='urn:first'/>")),
        iq("<x xmlns='urn:first'/>").replace("u1@", "u2@"),
        iq("<c:command xmlns:c='http://jabber.org/protocol/commands'/>"),
        iq("<!-- c --><x xmlns='urn:first'/>"),
    ];
    for req_xml in bad {
        world.user.rpc("org.user.processIQ", json!({ "reqXml": req_xml })).await.error();
    }
    let refuse = |arrived: &Stanza| arrived.error("auth", "forbidden").to_xml();
    let (arrived, result) = world.pass("<good xmlns='urn:good'/>", refuse).await;
    assert!(arrived.text.contains("urn:good"), "the first that arrives is the good one: {}", arrived.text);
    let answer = result["xml"].as_str().expect("the result is XML");
    assert!(answer.contains("type=\"error\"") && answer.contains("forbidden"), "{answer}");
    assert_unharmed(&world.gateway).await;
}

#[tokio::test]
async fn ejabberd_the_entries_of_a_batch_are_under_way_together() {
    let mut world = World::start().await;
    let entry = |n: usize| {
        let req_xml = iq(&format!("<x xmlns='urn:x' n='{n}'/>"));
        json!({ "jsonrpc": "2.0", "id": n, "method": "org.user.processIQ", "params": { "reqXml": req_xml } })
    };
    let batch: Value = (0..50).map(entry).collect();
    let play = async {
        let mut arrived = Vec::new();
        // None is answered before all are here.
        while arrived.len() < 50 {
            arrived.push(arriving(&mut world.eim).await);
        }
        for asked in arrived.iter().rev() {
            let n = asked.text.split("n='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or_default();
            world.eim.answer(&asked.result(&format!("<x xmlns='urn:x' n='{n}'/>"))).await;
        }
    };
    let (reply, ()) = tokio::join!(world.user.post(&batch), play);
    let replies = reply.json();
    for (n, answer) in replies.as_array().expect("a batch").iter().enumerate() {
        assert_eq!(answer["id"], n, "{answer}");
        let xml = answer["result"]["xml"].as_str().unwrap_or_else(|| panic!("no result: {answer}"));
        assert!(xml.contains(&format!("n='{n}'")) || xml.contains(&format!("n=\"{n}\"")), "{xml}");
    }
    assert_unharmed(&world.gateway).await;
}
