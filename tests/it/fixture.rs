//! The running products that tests share: the embedded default, and gateways on real XMPP servers in both link modes.

#![allow(dead_code, reason = "not every test needs all of it")]

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::gateway::{Eim, Gateway};
use crate::support::xmpp_server::{COMPONENT, XmppServer};

/// A running product and who may create conferences on it.
pub struct Fixture {
    pub gateway: Gateway,
    chair: Value,
    // Held so that they live as long as the fixture.
    _eim: Option<Eim>,
    pub server: Option<XmppServer>,
}

/// A client of the configuration who speaks as the user `chair`, one as an operator, one who makes users.
pub const CLIENTS: &str = r#"
[[auth.clients]]
id = "chair"
secret = "the chair's secret"
name = "Chair"
password = "chair-password"

[[auth.clients]]
id = "operator"
secret = "the operator's secret"
name = "Operator"
scopes = ["operator", "user.create", "iq.any", "contacts.read"]
password = "operator-password"

[[auth.clients]]
id = "u1074304"
user_id = "u1074304"
name = "张三"
open = true
networks = ["127.0.0.0/8"]
password = "zhang-password"
"#;

impl Fixture {
    /// Everything in one process.
    pub async fn embedded() -> Self {
        Self::with("").await
    }

    /// Everything in one process, with more configuration.
    pub async fn with(more: &str) -> Self {
        let gateway = Gateway::with(&format!("{CLIENTS}\n{more}")).start().await;
        Self { gateway, chair: client("chair"), _eim: None, server: None }
    }

    /// Everything in one process, which was started by somebody else.
    pub fn on(gateway: Gateway) -> Self {
        Self { gateway, chair: client("chair"), _eim: None, server: None }
    }

    /// The same, logging what an operator's would: for a test that measures.
    pub async fn quiet(more: &str) -> Self {
        let gateway = Gateway::with(&format!("{CLIENTS}\n{more}")).environment("RUST_LOG", "info").start().await;
        Self { gateway, chair: client("chair"), _eim: None, server: None }
    }

    /// A real server, the built-in EIM as its component, and the gateway as another.
    pub async fn component(server: XmppServer, more: &str) -> Self {
        let section = server.component_section(COMPONENT);
        Self::external(server, &section, more).await
    }

    /// A real server, the built-in EIM as its component, and a session for each user.
    pub async fn c2s(server: XmppServer, tls: &str, more: &str) -> Self {
        for (user, password) in
            [("chair", "chair-password"), ("operator", "operator-password"), ("u1074304", "zhang-password")]
        {
            server.register(user, password).await;
        }
        let section = server.c2s_section(tls);
        Self::external(server, &section, more).await
    }

    /// A real server without any EIM, whose MUC rooms are the conferences.
    pub async fn muc(server: XmppServer, more: &str) -> Self {
        let section = server.muc_section();
        let gateway = Gateway::with(&format!("{CLIENTS}\n{section}\n{more}")).start().await;
        Self { gateway, chair: client("chair"), _eim: None, server: Some(server) }
    }

    /// Parts that were started by somebody else.
    pub fn of(gateway: Gateway, eim: Eim, server: XmppServer) -> Self {
        Self { gateway, chair: client("chair"), _eim: Some(eim), server: Some(server) }
    }

    pub async fn external(server: XmppServer, section: &str, more: &str) -> Self {
        let eim = crate::support::gateway::eim(&server).await;
        let gateway = Gateway::with(&format!("{CLIENTS}\n{section}\n{more}")).start().await;
        Self { gateway, chair: client("chair"), _eim: Some(eim), server: Some(server) }
    }

    pub async fn chair(&self) -> Client {
        self.login(self.chair.clone()).await
    }

    pub async fn operator(&self) -> Client {
        self.login(client("operator")).await
    }

    pub async fn login(&self, params: Value) -> Client {
        let login = self.gateway.client().try_login(params).await;
        login.unwrap_or_else(|refusal| panic!("the login is refused: {}", refusal.0))
    }

    /// A conference of the chair's, its id and its link's code.
    pub async fn conference(&self, chair: &Client, more: Value) -> (String, String) {
        let mut params = json!({ "name": "周会 Weekly" });
        for (name, value) in more.as_object().into_iter().flatten() {
            params[name] = value.clone();
        }
        let made = chair.rpc("conference.create", params).await.result();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text in {made}")).to_owned();
        (text(&made["confId"]), text(&made["link"]["code"]))
    }

    pub async fn guest(&self, code: &str, name: &str) -> Client {
        self.gateway.client().login_link(code, name).await
    }
}

fn client(id: &str) -> Value {
    json!({ "grantType": "client_credentials", "clientId": id, "clientSecret": format!("the {id}'s secret") })
}
