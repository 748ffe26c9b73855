//! The real XMPP servers: what the product's tests rely on them for.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::certificate::trusting;
use crate::support::component::Component;
use crate::support::wait::PATIENCE;
use crate::support::xml_stream::Received;
use crate::support::xmpp_server::{ADMIN_COMPONENT, COMPONENT, DOMAIN, XmppServer, on_each_server};

on_each_server! {
    async fn a_component_answers_a_users_request(server) {
        server.register("u1", "pass").await;
        let mut user = server.login("u1", "pass").await;
        assert_eq!(user.jid, "u1@ips3000/uc");
        let mut eim = Component::of(server, "jeprivacy.ips3000").await;

        let ask = async {
            let request = "<iq to='jeprivacy.ips3000' type='get' id='01'>\
                           <jeExtension xmlns='je:x:client:config'><getMainTabs/></jeExtension></iq>";
            user.ask(request, "01").await
        };
        let answer = async {
            let request = eim.request("getMainTabs").await;
            assert_eq!(request.attr("from"), "u1@ips3000/uc");
            eim.answer(&request.result("<jeExtension xmlns='je:x:client:config'><会议/></jeExtension>")).await;
        };
        let (answered, ()) = tokio::join!(ask, answer);
        assert_eq!(answered.attr("type"), "result", "{}", answered.text);
        assert_eq!(answered.attr("from"), "jeprivacy.ips3000");
        assert!(answered.text.contains("<会议"), "{}", answered.text);
    }

    async fn a_scripted_component_can_refuse_lie_repeat_and_be_silent(server) {
        let mut gateway = Component::of(server, COMPONENT).await;
        let mut eim = Component::of(server, "jeconference.ips3000").await;
        let caller = "u1%ips3000@webconf.ips3000/uc";
        gateway
            .send(&format!("<iq from='{caller}' to='jeconference.ips3000' type='get' id='a&amp;1'><list xmlns='je'/></iq>"))
            .await;
        let request = eim.request("list").await;
        assert_eq!(request.attr("from"), caller);

        eim.answer(&request.error("cancel", "item-not-found")).await;
        let refused = gateway.next().await;
        assert_eq!((refused.attr("type"), refused.attr("id")), ("error", "a&1"));
        assert!(refused.text.contains("item-not-found"));

        eim.answer(&request.result("").under_id("other")).await;
        assert_eq!(gateway.next().await.attr("id"), "other");
        eim.answer(&request.result("").sent_by("x@jeconference.ips3000")).await;
        assert_eq!(gateway.next().await.attr("from"), "x@jeconference.ips3000");

        for _twice in 0..2 {
            eim.answer(&request.result("")).await;
            assert_eq!(gateway.next().await.attr("to"), caller);
        }
        assert!(gateway.next_within(Duration::from_millis(50)).await.is_none(), "a silent EIM is silent");
    }

    async fn an_event_reaches_the_subscribers_address(server) {
        let mut gateway = Component::of(server, COMPONENT).await;
        let mut eim = Component::of(server, "jeconference.ips3000").await;
        let body = serde_json::json!({ "type": "message", "data": { "text": "a < b & 会议" } });
        eim.event("u1%ips3000@webconf.ips3000/uc", &body).await;
        let event = gateway.next().await;
        assert_eq!((event.name.as_str(), event.attr("type")), ("message", "headline"));
        assert!(event.text.contains("会议"), "{}", event.text);
    }

    async fn a_component_with_a_wrong_secret_is_refused(server) {
        assert!(Component::connect(server.door(COMPONENT).port.address(), COMPONENT, "wrong").await.is_err());
        Component::of(server, COMPONENT).await;
    }

    async fn a_user_with_a_wrong_password_is_refused(server) {
        server.register("u1", "pass").await;
        let address = server.c2s_address();
        let refused = crate::support::c2s::C2s::login(address, DOMAIN, "u1", "wrong", "uc").await;
        assert!(refused.is_err());
    }

    /// XEP-0133 from the provisioning domain, and from it alone.
    async fn only_the_provisioning_component_may_administrate(server) {
        let add_user = |from: &str| format!(
            "<iq from='{from}' to='{DOMAIN}' type='set' id='add'><command xmlns='http://jabber.org/protocol/commands' \
             action='execute' node='http://jabber.org/protocol/admin#add-user'/></iq>"
        );
        let mut admin = Component::of(server, ADMIN_COMPONENT).await;
        admin.send(&add_user(ADMIN_COMPONENT)).await;
        let form = admin.next().await;
        assert_eq!(form.attr("type"), "result", "{}", form.text);
        assert!(form.text.contains("executing"), "{}", form.text);

        let mut gateway = Component::of(server, COMPONENT).await;
        gateway.send(&add_user("u1%ips3000@webconf.ips3000/uc")).await;
        let refused = gateway.next().await;
        assert_eq!(refused.attr("type"), "error", "{}", refused.text);
    }

    async fn a_cut_server_drops_its_components_and_comes_back_with_its_accounts(server) {
        server.register("u1", "pass").await;
        for _twice in 0..2 {
            let mut eim = Component::of(server, "jeorg.ips3000").await;
            server.cut();
            assert!(matches!(eim.next_within(PATIENCE).await, Some(Received::End)));
            server.restart().await;
            server.login("u1", "pass").await;
        }
    }

    async fn tls_is_offered_with_the_servers_own_certificate(server) {
        let tls = TlsConnector::from(trusting(&server.certificate(), &[]));
        let name = || DOMAIN.try_into().expect("the domain is a name");
        let socket = TcpStream::connect(server.c2s_direct_tls_address()).await.expect("it listens");
        tls.connect(name(), socket).await.expect("the certificate is the server's");

        let socket = start_tls(server).await;
        tls.connect(name(), socket).await.expect("the certificate is the server's");
    }
}

/// RFC 6120 section 5.4: asks for TLS on the plain door, up to where the TLS handshake begins.
async fn start_tls(server: &XmppServer) -> TcpStream {
    use crate::support::xml_stream::XmlStream;
    let mut stream = XmlStream::connect(server.c2s_address()).await.expect("it listens");
    stream.open("jabber:client", DOMAIN, "version='1.0'").await.expect("it sends its header");
    let features = stream.next().await;
    assert!(features.text.contains("<starttls"), "{}", features.text);
    stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await.expect("it reads");
    assert_eq!(stream.next().await.name, "proceed");
    stream.into_socket()
}
