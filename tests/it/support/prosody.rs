//! A private Prosody.

use std::process::Command;

use super::xmpp_server::{
    ADMIN_COMPONENT, DOMAIN, Door, Flavor, MUC, SECOND_ADMIN_COMPONENT, Site, THIRD_ADMIN_COMPONENT,
};

pub struct Prosody;

impl Flavor for Prosody {
    fn name(&self) -> &'static str {
        "prosody"
    }

    fn configure(&self, site: &Site) {
        std::fs::create_dir(site.path("data")).expect("a test's directory is writable");
        site.write("prosody.cfg.lua", &configuration(site));
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = Command::new("prosody");
        command.arg("--config").arg(site.path("prosody.cfg.lua")).arg("-F");
        command
    }

    /// It writes each account's file before it answers.
    fn flush(&self, _site: &Site) {}
}

fn configuration(site: &Site) -> String {
    let component = |secret: &str, domain: &str| format!("Component \"{domain}\"\n  component_secret = \"{secret}\"\n");
    let of_door = |door: &Door| door.domains.iter().map(|domain| component(door.secret, domain)).collect::<String>();
    let components: String = site.doors.iter().map(of_door).collect();
    let doors: String = site.doors.iter().map(|door| format!("{}, ", door.port.number())).collect();
    let (c2s, direct_tls) = (site.c2s.number(), site.c2s_direct_tls.number());
    let [data, pid, certificate, key] = ["data", "prosody.pid", "cert.pem", "key.pem"].map(|name| site.path(name));
    format!(
        r#"pidfile = {pid:?}
data_path = {data:?}
log = {{ {{ levels = {{ min = "warn" }}, to = "console" }} }}
admins = {{ "{ADMIN_COMPONENT}", "{SECOND_ADMIN_COMPONENT}", "{THIRD_ADMIN_COMPONENT}" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s} }}
c2s_direct_tls_ports = {{ {direct_tls} }}
component_ports = {{ {doors}}}
component_interfaces = {{ "127.0.0.1" }}
s2s_ports = {{ }}
s2s_direct_tls_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}
ssl = {{ certificate = {certificate:?}, key = {key:?} }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
allow_registration = true
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "ping", "posix", "register_ibr", "admin_adhoc", "smacks", "version" }}
modules_disabled = {{ "s2s" }}
VirtualHost "{DOMAIN}"
Component "{MUC}" "muc"
{components}"#
    )
}
