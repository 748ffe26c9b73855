//! An integrator's own files: another dialect, another method, and what is said of files that are wrong. Nothing of
//! the gateway's code knows of any of them.

use confgate::xmpp::xml::Stanza;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::end_to_end::whole_story;
use crate::fixture::{CLIENTS, Fixture};
use crate::support::component::Component;
use crate::support::gateway::{Gateway, eim_with};
use crate::support::wait::until_true;
use crate::support::xml_stream::Received;
use crate::support::xmpp_server::{ADMIN_COMPONENT, COMPONENT, DIALECT, DOMAIN, MODULES, XmppServer};

/// Makes an EIM of the dialect out of the built-in one: a component between the two that says in the words of each
/// what the other said. To the built-in EIM it is the gateway.
fn interpreter(mut acme: Component) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let next = acme.next_within(std::time::Duration::from_secs(3600)).await;
            let Some(Received::Stanza(heard)) = next else { return };
            let said = if is_from_the_eim(heard.attr("from")) {
                let to = as_the_gateway(heard.attr("to"));
                stanza(&heard.text.replace("je:x:client:", "urn:acme:"), DIALECT, &to)
            } else {
                let from = as_the_dialect(heard.attr("from"));
                stanza(&heard.text.replace("urn:acme:", "je:x:client:"), &from, MODULES[0])
            };
            acme.send(&said).await;
        }
    })
}

fn is_from_the_eim(address: &str) -> bool {
    MODULES.contains(&address)
}

fn as_the_dialect(address: &str) -> String {
    if address == ADMIN_COMPONENT { DIALECT.to_owned() } else { address.replace(COMPONENT, DIALECT) }
}

fn as_the_gateway(address: &str) -> String {
    if address == DIALECT { ADMIN_COMPONENT.to_owned() } else { address.replace(DIALECT, COMPONENT) }
}

fn stanza(text: &str, from: &str, to: &str) -> String {
    let stanza = Stanza::parse(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    stanza.with("from", from).with("to", to).to_xml()
}

async fn the_whole_story_in_another_dialect(server: XmppServer) {
    let eim = eim_with(
        &server
            .eim_section()
            .replace(&format!("admin_domain = \"{ADMIN_COMPONENT}\""), &format!("admin_domain = \"{DIALECT}\""))
            .replace(&format!("components = [\"{COMPONENT}\""), &format!("components = [\"{DIALECT}\"")),
    )
    .await;
    let interpreter = interpreter(Component::of(&server, DIALECT).await);
    let section = server.component_section(COMPONENT);
    let gateway = Gateway::of_folder("examples/dialects/other-names", &format!("{CLIENTS}\n{section}"));
    whole_story(Fixture::of(gateway.start().await, eim, server)).await;
    interpreter.abort();
}

/// XEP-0092 of the server itself, as a method.
fn server_version() -> Value {
    let optional = |name: &str| json!({ "path": name, "type": "string", "default": null });
    json!({
        "name": "acme.server.version",
        "summary": "Tells what the XMPP server is.",
        "paramStructure": "by-name",
        "x-access": "user",
        "params": [],
        "result": { "name": "version", "schema": { "type": "object", "required": ["name", "version"] } },
        "errors": [{ "$ref": "#/components/errors/EimUnreachable" }],
        "examples": [{
            "name": "a server",
            "params": [],
            "result": { "name": "result", "value": { "name": "Prosody", "version": "13.0.0", "os": null } }
        }],
        "x-iq": {
            "to": "{domain}", "type": "get", "ns": "jabber:iq:version", "element": "query",
            "result": {
                "name": { "path": "name", "type": "string" },
                "version": { "path": "version", "type": "string" },
                "os": optional("os")
            }
        }
    })
}

async fn an_added_method_asks_the_server_itself(server: XmppServer) {
    let section = server.component_section(COMPONENT);
    let gateway = Gateway::with(&format!("{CLIENTS}\n{section}schema_dir = \"schema\"\n"))
        .file("schema/methods/acme.server.version.json", &server_version().to_string())
        .start()
        .await;
    let chair = gateway.client().login_client("chair", "the chair's secret").await;
    until_true("the server answers", async || {
        let answer = chair.rpc("acme.server.version", json!({})).await;
        let name = answer.0["result"]["name"].as_str().unwrap_or_default().to_ascii_lowercase();
        name == server.name() && answer.0["result"]["version"].is_string()
    })
    .await;
    gateway.client().rpc("acme.server.version", json!({})).await.refused(-32001);
    chair.rpc("acme.server.version", json!(["by position"])).await.refused(-32602);

    let reference = gateway.client().rpc("rpc.discover", json!({})).await.result();
    let methods = reference["methods"].as_array().expect("OpenRPC lists methods");
    let documented = methods.iter().find(|method| method["name"] == "acme.server.version").expect("it is one of them");
    assert_eq!(documented["summary"], "Tells what the XMPP server is.");
    assert!(methods.iter().any(|method| method["name"] == "conference.join"), "the others are there still");
}

#[tokio::test]
async fn wrong_files_are_refused_at_start_with_all_that_is_wrong() {
    let mut ill_formed = server_version();
    ill_formed["x-iq"]["type"] = "ask".into();
    let (status, said) = Gateway::with(&format!("[eim]\ndomain = \"{DOMAIN}\"\nschema_dir = \"schema\"\n"))
        .file("schema/methods/acme.server.version.json", &ill_formed.to_string())
        .file("schema/methods/broken.json", "{\"name\": \"acme.broken\",")
        .file("schema/eim/nameless.json", "{}")
        .file("schema/methods/acme.unanswered.json", &{
            let mut unanswered = server_version();
            unanswered["name"] = "acme.unanswered".into();
            unanswered.as_object_mut().expect("it is an object").remove("x-iq");
            unanswered.to_string()
        })
        .fail()
        .await;
    assert_eq!(status.code(), Some(2), "{said}");
    for file in ["acme.server.version.json", "broken.json", "nameless.json", "acme.unanswered.json"] {
        assert!(said.lines().any(|line| line.contains(file)), "{file} is not named:\n{said}");
    }
}

#[tokio::test]
async fn prosody_the_whole_story_in_another_dialect() {
    the_whole_story_in_another_dialect(XmppServer::prosody().await).await;
}

#[tokio::test]
async fn prosody_an_added_method_asks_the_server_itself() {
    an_added_method_asks_the_server_itself(XmppServer::prosody().await).await;
}

mod ejabberd {
    use super::*;

    #[tokio::test]
    async fn the_whole_story_in_another_dialect() {
        super::the_whole_story_in_another_dialect(XmppServer::ejabberd().await).await;
    }

    #[tokio::test]
    async fn an_added_method_asks_the_server_itself() {
        super::an_added_method_asks_the_server_itself(XmppServer::ejabberd().await).await;
    }
}
