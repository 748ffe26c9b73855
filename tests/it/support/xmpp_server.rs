//! A private XMPP server with the domain and the components that the EIM and the gateway need, made ready for a test.
//! The differences between the servers are their [`Flavor`].

use rustix::process::Signal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::c2s::C2s;
use super::certificate::Certificate;
use super::ejabberd::Ejabberd;
use super::ports::Port;
use super::process::{self, Process};
use super::prosody::Prosody;
use super::wait::{PATIENCE, until};
use super::xml_stream::XmlStream;

/// The users' domain.
pub const DOMAIN: &str = "ips3000";
/// The address that the gateway's callers use.
pub const COMPONENT: &str = "webconf.ips3000";
/// A second gateway node's.
pub const SECOND_COMPONENT: &str = "webconf-2.ips3000";
/// The component for provisioning: with the second node's the only ones that the server gives an administrator's rights.
pub const ADMIN_COMPONENT: &str = "webconf-admin.ips3000";
/// A second gateway node's.
pub const SECOND_ADMIN_COMPONENT: &str = "webconf-admin-2.ips3000";
/// A third gateway node's two.
pub const THIRD_COMPONENT: &str = "webconf-3.ips3000";
pub const THIRD_ADMIN_COMPONENT: &str = "webconf-admin-3.ips3000";
/// The EIM's modules.
pub const MODULES: [&str; 5] =
    ["jeconference.ips3000", "jeprivacy.ips3000", "jeorg.ips3000", "jecontacts.ips3000", "jecall.ips3000"];

/// The server's own MUC service.
pub const MUC: &str = "conference.ips3000";

/// An EIM of another dialect.
pub const DIALECT: &str = "acme.ips3000";

/// The parts that differ between servers.
pub trait Flavor {
    fn name(&self) -> &'static str;
    /// Writes what [`Flavor::command`] needs into the site's directory.
    fn configure(&self, site: &Site);
    /// Runs it in the foreground.
    fn command(&self, site: &Site) -> Command;
    /// Makes the running server put what it stored on the disk.
    fn flush(&self, site: &Site);
}

/// A port for components, with the domains that may connect there and their secret.
///
/// Not one for all: ejabberd gives each connection the routes of *all* domains of its listener, the administrator's
/// too, and spreads what comes for them over the connections at random. The EIM's modules share one nevertheless, as
/// they share `eim.port`: a test plays one of them at a time, and the product answers for all at each.
pub struct Door {
    pub port: Port,
    pub secret: &'static str,
    pub domains: &'static [&'static str],
}

/// Where one server lives.
pub struct Site {
    directory: TempDir,
    pub c2s: Port,
    pub c2s_direct_tls: Port,
    pub doors: [Door; 8],
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("confgate-xmpp-").tempdir();
        let door = |secret, domains| Door { port: Port::claim(), secret, domains };
        Self {
            directory: directory.expect("the system's directory for temporary files is writable"),
            c2s: Port::claim(),
            c2s_direct_tls: Port::claim(),
            doors: [
                door("secret-of-webconf", &[COMPONENT]),
                door("secret-of-webconf-2", &[SECOND_COMPONENT]),
                door("secret-of-webconf-3", &[THIRD_COMPONENT]),
                door("secret-of-webconf-admin", &[ADMIN_COMPONENT]),
                door("secret-of-webconf-admin-2", &[SECOND_ADMIN_COMPONENT]),
                door("secret-of-webconf-admin-3", &[THIRD_ADMIN_COMPONENT]),
                door("secret-of-the-eim", &MODULES),
                door("secret-of-acme", &[DIALECT]),
            ],
        }
    }

    /// Where that component connects.
    pub fn door(&self, domain: &str) -> &Door {
        let door = self.doors.iter().find(|door| door.domains.contains(&domain));
        door.unwrap_or_else(|| panic!("{domain} is no component of the test servers"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a test's directory is writable");
    }
}

pub struct XmppServer {
    flavor: Box<dyn Flavor>,
    process: Process,
    // After the process: its directory and ports are free when it is gone.
    site: Site,
}

impl XmppServer {
    pub async fn ejabberd() -> Self {
        Self::start(Box::new(Ejabberd)).await
    }

    pub async fn prosody() -> Self {
        Self::start(Box::new(Prosody)).await
    }

    async fn start(flavor: Box<dyn Flavor>) -> Self {
        let site = Site::new();
        Certificate::for_names(&[DOMAIN, "localhost", "127.0.0.1"]).write(site.directory.path());
        flavor.configure(&site);
        let process = launch(flavor.as_ref(), &site);
        let mut server = Self { flavor, process, site };
        server.ready().await;
        server
    }

    pub fn name(&self) -> &'static str {
        self.flavor.name()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Plain, STARTTLS offered.
    pub fn c2s_address(&self) -> SocketAddr {
        self.site.c2s.address()
    }

    pub fn c2s_direct_tls_address(&self) -> SocketAddr {
        self.site.c2s_direct_tls.address()
    }

    /// Where that component connects, and with which secret.
    pub fn door(&self, domain: &str) -> &Door {
        self.site.door(domain)
    }

    /// PEM; names the domain, localhost and 127.0.0.1.
    pub fn certificate(&self) -> PathBuf {
        self.site.path("cert.pem")
    }

    /// The `[eim]` section of a gateway that reaches this server as that component; for passwords it asks the users'
    /// port.
    pub fn component_section(&self, component: &str) -> String {
        self.component_section_via(self.door(component).port.address(), component)
    }

    /// The same over a [`super::chaos::ChaosProxy`] to the component's door. Provisioning goes straight.
    pub fn component_section_via(&self, address: SocketAddr, component: &str) -> String {
        let (port, secret) = (address.port(), self.door(component).secret);
        let admin = match component {
            SECOND_COMPONENT => SECOND_ADMIN_COMPONENT,
            THIRD_COMPONENT => THIRD_ADMIN_COMPONENT,
            _ => ADMIN_COMPONENT,
        };
        self.section(
            &format!("mode = \"component\"\nport = {port}\ncomponent = \"{component}\"\nsecret = \"{secret}\"\n"),
            admin,
        )
    }

    /// The `[eim]` section of a gateway whose conferences are this server's MUC rooms.
    pub fn muc_section(&self) -> String {
        self.muc_section_via(self.door(COMPONENT).port.address())
    }

    /// The same over a [`super::chaos::ChaosProxy`] to the component's door.
    pub fn muc_section_via(&self, address: SocketAddr) -> String {
        let (port, secret) = (address.port(), self.door(COMPONENT).secret);
        let mode = format!("mode = \"muc\"\nport = {port}\ncomponent = \"{COMPONENT}\"\nsecret = \"{secret}\"\n");
        self.section(&mode, ADMIN_COMPONENT)
    }

    /// The `[eim]` section of a gateway that has a session for each user; `tls` is `off`, `starttls` or `direct`.
    pub fn c2s_section(&self, tls: &str) -> String {
        let port = if tls == "direct" { &self.site.c2s_direct_tls } else { &self.site.c2s };
        let (port, ca) = (port.number(), self.certificate());
        self.section(&format!("mode = \"c2s\"\nport = {port}\ntls = \"{tls}\"\nca = {ca:?}\n"), ADMIN_COMPONENT)
    }

    fn section(&self, mode: &str, admin_domain: &str) -> String {
        let (admin, c2s) = (self.door(admin_domain), self.site.c2s.number());
        format!(
            "[eim]\ndomain = \"{DOMAIN}\"\nhost = \"127.0.0.1\"\nc2s_port = {c2s}\n{mode}\
             admin_domain = \"{admin_domain}\"\nadmin_port = {}\nadmin_secret = \"{}\"\n",
            admin.port.number(),
            admin.secret
        )
    }

    /// The `[eim]` section of `confgate eim` at this server.
    pub fn eim_section(&self) -> String {
        self.eim_section_via(self.door(MODULES[0]).port.address())
    }

    /// The same over a [`super::chaos::ChaosProxy`] to the modules' door.
    pub fn eim_section_via(&self, address: SocketAddr) -> String {
        let (port, secret) = (address.port(), self.door(MODULES[0]).secret);
        format!(
            "[eim]\nmode = \"component\"\ndomain = \"{DOMAIN}\"\nhost = \"127.0.0.1\"\nport = {port}\n\
             secret = \"{secret}\"\ncomponents = [\"{COMPONENT}\", \"{SECOND_COMPONENT}\", \"{THIRD_COMPONENT}\"]\n\
             admin_domains = [\"{ADMIN_COMPONENT}\", \"{SECOND_ADMIN_COMPONENT}\", \"{THIRD_ADMIN_COMPONENT}\"]\n"
        )
    }

    /// Makes an account.
    pub async fn register(&self, user: &str, password: &str) {
        C2s::register(self.c2s_address(), DOMAIN, user, password)
            .await
            .unwrap_or_else(|e| panic!("{} does not make the account {user}: {e}", self.name()));
    }

    /// A user's own session with the resource `uc`.
    pub async fn login(&self, user: &str, password: &str) -> C2s {
        C2s::login(self.c2s_address(), DOMAIN, user, password, "uc")
            .await
            .unwrap_or_else(|e| panic!("{} does not let {user} in: {e}", self.name()))
    }

    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Gone at once, as by a crash: nobody is told. Its stored data is kept.
    pub fn cut(&mut self) {
        if self.process.exited().is_none() {
            self.flavor.flush(&self.site);
        }
        self.process.kill();
    }

    /// Starts it again, where it was and with what it stored.
    pub async fn restart(&mut self) {
        self.cut();
        self.process = launch(self.flavor.as_ref(), &self.site);
        self.ready().await;
    }

    /// Starts ejabberd again where it was, without anything that it stored.
    pub async fn restart_empty(&mut self) {
        self.cut();
        std::fs::remove_dir_all(self.site.path("db")).expect("it has stored something");
        self.restart().await;
    }

    /// Ready is: every port sends a stream header.
    async fn ready(&mut self) {
        let component = |door: &Door| (door.port.address(), "jabber:component:accept", door.domains[0]);
        let mut ports: Vec<_> = self.site.doors.iter().map(component).collect();
        ports.push((self.c2s_address(), "jabber:client", DOMAIN));
        for (address, namespace, to) in ports {
            let open = until(PATIENCE, async || {
                let ended = self.process.exited();
                assert!(ended.is_none(), "{} ended: {ended:?}", self.flavor.name());
                let mut stream = XmlStream::connect(address).await.ok()?;
                stream.open(namespace, to, "version='1.0'").await.ok()
            });
            assert!(open.await.is_some(), "{} is not ready within {PATIENCE:?}", self.flavor.name());
        }
    }
}

impl Drop for XmppServer {
    /// Nobody needs a clean shutdown, which takes ejabberd seconds.
    fn drop(&mut self) {
        self.process.kill();
    }
}

fn launch(flavor: &dyn Flavor, site: &Site) -> Process {
    let mut command = flavor.command(site);
    let directory: &Path = site.directory.path();
    command.current_dir(directory);
    process::unprivileged(&mut command, directory);
    Process::start(flavor.name(), &mut command)
}

/// Makes two tests of one, `ejabberd` and `prosody`, each with a server of its own:
/// `on_each_server! { async fn a_promise(server) { ... } }`.
macro_rules! on_each_server {
    ($($(#[$attr:meta])* async fn $promise:ident($server:ident) $body:block)+) => {$(
        $(#[$attr])*
        mod $promise {
            #[allow(unused_imports, reason = "a promise may need nothing of its module")]
            use super::*;

            async fn promise(mut $server: $crate::support::xmpp_server::XmppServer) {
                let $server = &mut $server;
                $body
            }

            #[tokio::test]
            async fn ejabberd() {
                promise($crate::support::xmpp_server::XmppServer::ejabberd().await).await;
            }

            #[tokio::test]
            async fn prosody() {
                promise($crate::support::xmpp_server::XmppServer::prosody().await).await;
            }
        }
    )+};
}
pub(crate) use on_each_server;
