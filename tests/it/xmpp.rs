//! IQs and accounts over real XMPP servers: what a caller sends arrives as it was written, in either link mode, and
//! accounts are made and removed by the one component that may.

use std::process::Command;

use confgate::xmpp::xml::{Element, Stanza};
use serde_json::json;

use crate::fixture::Fixture;
use crate::support::c2s::C2s;
use crate::support::client::Client;
use crate::support::component::Component;
use crate::support::gateway::Gateway;
use crate::support::ports::Port;
use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until_true};
use crate::support::xml_meaning::content;
use crate::support::xmpp_server::{COMPONENT, DOMAIN, XmppServer, on_each_server};

/// Two who speak: anybody, and an operator.
const CALLERS: &str = r#"
[[auth.clients]]
id = "u1074808"
secret = "s"
password = "pass"

[[auth.clients]]
id = "operator"
secret = "s"
password = "pass"
scopes = ["user.create", "iq.any", "conference.create"]
"#;

/// A gateway in mode `component`, then one in mode `c2s`.
async fn in_either_mode(server: &XmppServer, promise: impl AsyncFn(&Gateway)) {
    for user in ["u1074808", "operator"] {
        server.register(user, "pass").await;
    }
    for section in [server.component_section(COMPONENT), server.c2s_section("starttls")] {
        promise(&Gateway::with(&format!("{section}{CALLERS}")).start().await).await;
    }
}

/// The answer to an IQ, as text.
async fn process(client: &Client, iq: &str) -> String {
    let answer = client.rpc("org.user.processIQ", json!({ "reqXml": iq })).await.result();
    answer["xml"].as_str().expect("an answer is text").to_owned()
}

/// Namespaces declared here, there and twice, attributes with and without one, text of many scripts, order, CDATA,
/// references by name and by number.
const PAYLOAD: &str = r#"<jeExtension xmlns="je:x:client:config" xmlns:a="urn:a">
 <getMainTabs a:kind='x "y"' kind="&lt;&amp;&gt;'&quot;" xml:lang="zh"><![CDATA[<raw> & ]]>&amp; 会议 встреча اجتماع 🎥 &#x4F1A;&#35758;</getMainTabs>
 <a:b xmlns:a="urn:a2" a:c="1"/><a:b><d xmlns=""/></a:b>tail<getMainTabs/></jeExtension>"#;

on_each_server! {
    async fn the_sample_is_answered_as_its_caller_wrote_it(server) {
        let _eim = crate::support::gateway::eim(server).await;
        in_either_mode(server, async |gateway| {
            let caller = gateway.client().login_client("u1074808", "s").await;
            let sample = "<iq from=\"u1074808@ips3000/uc\" to=\"jeprivacy.ips3000\" type=\"get\" id=\"01\">\
                          <jeExtension xmlns=\"je:x:client:config\"> <getMainTabs/></jeExtension></iq>";
            let answer = Stanza::parse(&process(&caller, sample).await).expect("it is a stanza");
            let attrs = ["type", "id", "from", "to"].map(|name| answer.attr(name).unwrap_or_default().to_owned());
            assert_eq!(attrs, ["result", "01", "jeprivacy.ips3000", "u1074808@ips3000/uc"]);
            let payload = answer.payload().expect("it has one");
            let tabs = payload.child("getMainTabs").expect("the operation is answered");
            assert_eq!((payload.ns.as_str(), tabs.attr("isNeedUpdate")), ("je:x:client:config", Some("true")));
            assert!(!tabs.child("value").map(Element::text).unwrap_or_default().is_empty());
        })
        .await;
    }

    async fn a_payload_means_the_same_on_both_sides_both_ways(server) {
        let eim = tokio::sync::Mutex::new(Component::of(server, "jeprivacy.ips3000").await);
        in_either_mode(server, async |gateway| {
            let caller = gateway.client().login_client("u1074808", "s").await;
            let mut eim = eim.lock().await;
            for (from, id) in [("from='u1074808@ips3000/网页 1'", "id='a&amp;&quot;b'"), ("", ""), ("from='u1074808@ips3000'", "id='7'")] {
                let iq = format!("<iq {from} xmlns='jabber:client' {id} to='JePrivacy.ips3000' type='set'>{PAYLOAD}</iq>");
                let echo = async {
                    let request = eim.request("getMainTabs").await;
                    assert_eq!(content(&request.text), content(&iq), "{}", request.text);
                    let inner = Stanza::parse(&request.text).expect("it is a stanza").payload().expect("a payload").to_xml();
                    eim.answer(&request.result(&inner)).await;
                };
                let (answer, ()) = tokio::join!(process(&caller, &iq), echo);
                assert_eq!(content(&answer), content(&iq), "{answer}");
                let (sent, answer) = (Stanza::parse(&iq).unwrap(), Stanza::parse(&answer).unwrap());
                assert_eq!((answer.attr("from"), answer.attr("id")), (sent.attr("to"), sent.attr("id")));
                assert_eq!(answer.attr("to"), sent.attr("from").or(Some("u1074808@ips3000/uc")));
            }
        })
        .await;
    }

    async fn nobody_administrates_the_server_through_a_callers_iq(server) {
        in_either_mode(server, async |gateway| {
            let command = |node: &str| format!(
                "<iq to='{DOMAIN}' type='set' id='c'><command xmlns='http://jabber.org/protocol/commands' \
                 action='execute' node='http://jabber.org/protocol/admin#{node}'/></iq>"
            );
            let operator = gateway.client().login_client("operator", "s").await;
            for node in ["add-user", "delete-user", "change-user-password"] {
                let refused = process(&operator, &command(node)).await;
                assert_eq!(Stanza::parse(&refused).unwrap().attr("type"), Some("error"), "{refused}");
            }
            let caller = gateway.client().login_client("u1074808", "s").await;
            let iq = json!({ "reqXml": command("add-user") });
            caller.rpc("org.user.processIQ", iq).await.refused(-32003);
        })
        .await;
    }

    async fn a_created_user_has_an_account_on_the_server(server) {
        let _eim = crate::support::gateway::eim(server).await;
        server.register("there", "before").await;
        in_either_mode(server, async |gateway| {
            let operator = gateway.client().login_client("operator", "s").await;
            let made = operator.rpc("org.user.createUser", json!({ "name": "张三", "password": "hush-1 & <2>" })).await;
            let made = made.result();
            let user = made["userId"].as_str().expect("an id is made").to_owned();
            assert!(user.starts_with('u') && !made.to_string().contains("hush"), "{made}");
            server.login(&user, "hush-1 & <2>").await;
            let signed_in = gateway.client().login_password(&user, "hush-1 & <2>").await;
            assert_eq!(signed_in.user_id(), user);
            let wrong = json!({ "grantType": "password", "userId": user, "password": "wrong" });
            gateway.client().try_login(wrong).await.err().expect("a wrong password").refused(-32001);
            for taken in [user.as_str(), "there"] {
                let again = json!({ "name": "x", "userId": taken, "password": "another" });
                operator.rpc("org.user.createUser", again).await.refused(-32005);
            }
            server.login(&user, "hush-1 & <2>").await;
            assert!(!gateway.logs().contains("hush"), "a password is in the log");
        })
        .await;
    }

    async fn a_password_is_the_same_composed_or_not_and_with_whatever_blank(server) {
        let _eim = crate::support::gateway::eim(server).await;
        server.register("zoe", "Zoë 1").await;
        in_either_mode(server, async |gateway| {
            for written in ["Zoë 1", "Zoe\u{308} 1", "Zoë\u{3000}1"] {
                gateway.client().login_password("zoe", written).await;
            }
        })
        .await;
    }

    async fn check_tells_a_good_server_from_a_broken_one(server) {
        let _eim = crate::support::gateway::eim(server).await;
        for section in [server.component_section(COMPONENT), server.c2s_section("starttls")] {
            let (code, said) = check(&section).await;
            assert_eq!(code, Some(0), "{said}");
            assert!(said.contains("ok     provisioning component webconf-admin.ips3000: may add users"), "{said}");
            assert!(!said.contains("FAILED"), "{said}");
        }
        let good = server.component_section(COMPONENT);
        let door = server.door(COMPONENT);
        let (code, said) = check(&good.replace(door.secret, "wrong")).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("FAILED component webconf.ips3000: "), "{said}");
        assert!(said.contains("ok     database: ") && !said.contains("secret-of"), "{said}");

        let nobody = Port::claim();
        let port = |number: u16| format!("\nport = {number}\n");
        let (code, said) = check(&good.replace(&port(door.port.number()), &port(nobody.number()))).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("FAILED component webconf.ips3000: "), "{said}");
    }
}

on_each_server! {
    async fn a_configured_clients_session_is_opened_again_after_a_restart(server) {
        let _eim = crate::support::gateway::eim(server).await;
        server.register("u1074808", "pass").await;
        server.register("operator", "pass").await;
        let mut gateway = Gateway::with(&format!("{}{CALLERS}", server.c2s_section("starttls"))).start().await;
        let caller = gateway.client().login_client("u1074808", "s").await;
        gateway.restart().await;
        let iq = json!({"reqXml": r#"<iq to="jeprivacy.ips3000" type="get" id="01"><jeExtension xmlns="je:x:client:config"><getMainTabs/></jeExtension></iq>"#});
        until_true("the token of before the restart serves again", async || {
            caller.rpc("org.user.processIQ", iq.clone()).await.0.get("result").is_some()
        })
        .await;
    }
}

/// `confgate check`: its exit code, and what it printed.
pub async fn check(config: &str) -> (Option<i32>, String) {
    let directory = tempfile::Builder::new().prefix("confgate-check-").tempdir();
    let directory = directory.expect("the system's directory for temporary files is writable");
    std::fs::write(directory.path().join("confgate.toml"), config).expect("the directory is writable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_confgate"));
    command.args(["check", "--config", "confgate.toml"]).current_dir(directory.path());
    if !config.contains("[http]") {
        // Others of this machine may have the default ports.
        command.env("CONFGATE_HTTP__LISTEN", "127.0.0.1:0").env("CONFGATE_ADMIN__LISTEN", "127.0.0.1:0");
    }
    let mut process = Process::start("confgate check", &mut command);
    let status = process.exit(PATIENCE).await.expect("it ends by itself");
    (status.code(), process.lines().into_iter().map(|line| line.text + "\n").collect())
}

/// Whether the server has an account of that name: it then refuses to make another.
pub async fn has_account(server: &XmppServer, user: &str) -> bool {
    C2s::register(server.c2s_address(), DOMAIN, user, "probe").await.is_err()
}

/// A guest's login at the server lives as long as the guest: through a restart, and not beyond the conference.
async fn accounts_come_and_go(mut fixture: Fixture) {
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let [one, other] = [fixture.guest(&code, "One").await, fixture.guest(&code, "Other").await];
    let server = fixture.server.as_ref().expect("a real one");
    for guest in [&one, &other] {
        assert!(has_account(server, guest.user_id()).await);
        guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    }
    one.rpc("auth.http.logout", json!({})).await.result();
    until_true("the account of a guest who left is removed", async || !has_account(server, one.user_id()).await).await;

    fixture.gateway.restart().await;
    until_true("a guest's session is opened again", async || {
        other.rpc("conference.members", json!({ "confId": conf })).await.0.get("result").is_some()
    })
    .await;

    // The conference ends while the gateway is away: said at the EIM by the chair, who has a session of their own.
    let server = fixture.server.as_ref().expect("a real one");
    fixture.gateway.kill();
    let mut session = server.login("chair", "chair-password").await;
    let end = format!("<jeExtension xmlns='je:x:client:conference'><end confId='{conf}'/></jeExtension>");
    let ended = session.ask(&format!("<iq type='set' id='end' to='jeconference.ips3000'>{end}</iq>"), "end").await;
    assert_eq!(ended.attr("type"), "result", "{}", ended.text);
    assert!(has_account(server, other.user_id()).await, "nobody was there to remove it");
    fixture.gateway.restart().await;
    until_true("what a crash left behind is collected", async || !has_account(server, other.user_id()).await).await;
}

#[tokio::test]
async fn prosody_guests_accounts_come_and_go_with_them() {
    accounts_come_and_go(Fixture::c2s(XmppServer::prosody().await, "starttls", "").await).await;
}

mod ejabberd {
    use super::*;

    #[tokio::test]
    async fn guests_accounts_come_and_go_with_them() {
        accounts_come_and_go(Fixture::c2s(XmppServer::ejabberd().await, "starttls", "").await).await;
    }
}
