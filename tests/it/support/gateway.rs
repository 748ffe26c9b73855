//! The real binary in a directory and on ports of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use http::{Request, StatusCode};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::certificate::Certificate;
use super::client::Client;
use super::plain_http::{exchange, get};
use super::ports::Port;
use super::process::{Line, Output, Process};
use super::wait::{PATIENCE, until};
use super::xmpp_server::{MODULES, XmppServer};

/// The output of a gateway without a configuration file on stdout.
#[derive(Debug, Clone)]
pub struct Printed {
    /// The chair's link to the demo conference, a whole address.
    pub chair: String,
    /// The guests' link.
    pub guest: String,
    /// The password of user `admin`.
    pub password: String,
}

/// How to start one.
pub struct Builder {
    directory: TempDir,
    /// With a configuration: what the program is to be.
    command: &'static str,
    config: Option<toml::Table>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

pub struct Gateway {
    process: Process,
    builder: Builder,
    http: SocketAddr,
    admin: SocketAddr,
    // Held so that a restart gets the same ones.
    _ports: [Port; 2],
}

impl Gateway {
    /// `confgate` without a file: everything embedded.
    pub fn embedded() -> Builder {
        Builder::new(None)
    }

    /// `confgate serve --config FILE` with that TOML. The listeners' addresses and a certificate are put in where the
    /// text has none; relative paths are relative to [`Gateway::directory`].
    pub fn with(config: &str) -> Builder {
        Builder::new(Some(config.parse().unwrap_or_else(|e| panic!("{e} in {config}"))))
    }

    /// `confgate serve` as a folder of the repository has it in its `confgate.toml`, with its `schema/`; `over` is said
    /// instead of what stands there.
    pub fn of_folder(folder: &str, over: &str) -> Builder {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("confgate.toml"));
        let text = text.expect("the folder has a configuration");
        let mut config: toml::Table = text.parse().unwrap_or_else(|e| panic!("{e} in {text}"));
        let over: toml::Table = over.parse().unwrap_or_else(|e| panic!("{e} in {over}"));
        for (name, value) in over {
            match value {
                toml::Value::Table(values) => section(&mut config, &name).extend(values),
                other => drop(config.insert(name, other)),
            }
        }
        Builder::new(Some(config)).files("schema", &format!("{folder}/schema"))
    }

    /// `confgate media --config FILE` with that TOML: only a call gateway node.
    pub fn media(config: &str) -> Builder {
        Builder { command: "media", ..Self::with(config) }
    }

    pub fn http(&self) -> SocketAddr {
        self.http
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn directory(&self) -> &Path {
        self.builder.directory.path()
    }

    /// The certificate that clients must trust, PEM: the configured one, else the one that was made on first run.
    pub fn certificate(&self) -> PathBuf {
        let configured = self.builder.config.as_ref().and_then(|c| c.get("http")?.get("cert")?.as_str());
        if let Some(path) = configured {
            return self.directory().join(path);
        }
        let certs = self.directory().join("certs");
        let files = std::fs::read_dir(&certs).unwrap_or_else(|e| panic!("{}: {e}", certs.display()));
        let is_certificate = |path: &PathBuf| {
            std::fs::read_to_string(path).is_ok_and(|text| text.contains("-----BEGIN CERTIFICATE-----"))
        };
        files.flatten().map(|e| e.path()).find(is_certificate).expect("certs/ holds the certificate made on first run")
    }

    /// A client of its own connection that trusts this gateway.
    pub fn client(&self) -> Client {
        Client::new(self.http, &self.certificate())
    }

    /// The secrets that it printed. Embedded only: with a file no secret is printed.
    pub async fn printed(&self) -> Printed {
        let value = async |key: &str| {
            let prefix = format!("{key}: ");
            let found = |line: &Line| {
                let printed = line.output == Output::Stdout;
                line.text.trim().strip_prefix(&prefix).filter(|_| printed).map(|v| v.trim().to_owned())
            };
            self.process.line(PATIENCE, found).await.unwrap_or_else(|| panic!("nothing printed as `{prefix}`"))
        };
        Printed { chair: value("chair").await, guest: value("guest").await, password: value("password").await }
    }

    /// Everything that it wrote to stdout and stderr.
    pub fn logs(&self) -> String {
        self.process.lines().iter().map(|line| line.text.clone() + "\n").collect()
    }

    /// Waits for a line of its log that holds that text.
    pub async fn logged(&self, text: &str) -> String {
        let found = self.process.line(PATIENCE, |line| line.text.contains(text).then(|| line.text.clone()));
        found.await.unwrap_or_else(|| panic!("not logged: {text}"))
    }

    /// A GET at the admin listener: status and body.
    pub async fn admin_get(&self, path: &str) -> (StatusCode, String) {
        get(self.admin, path).await.unwrap_or_else(|e| panic!("{path} of the admin listener: {e}"))
    }

    /// A POST of that JSON at the admin listener: status and body.
    pub async fn admin_post(&self, path: &str, body: &Value) -> (StatusCode, String) {
        self.admin_post_as(path, body, None).await
    }

    /// The same with `admin.token`.
    pub async fn admin_post_as(&self, path: &str, body: &Value, token: Option<&str>) -> (StatusCode, String) {
        let mut request = Request::post(path).header("host", self.admin.to_string());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(body.to_string().into());
        let reply = exchange(self.admin, request.expect("a request")).await;
        reply.unwrap_or_else(|e| panic!("{path} of the admin listener: {e}"))
    }

    /// The body of `/readyz`, whatever its status.
    pub async fn readyz(&self) -> Value {
        let (_, body) = self.admin_get("/readyz").await;
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e} in {body}"))
    }

    /// The value of a metric without labels, or the sum over its labels; `None` where it isn't there.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, body) = self.admin_get("/metrics").await;
        let of_name = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        let values = body.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.reduce(|a, b| a + b)
    }

    /// What it has written since it was started.
    pub fn lines(&self) -> Vec<Line> {
        self.process.lines()
    }

    /// Gone at once, as by a crash.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// SIGTERM, and its end. `None` where it still runs after that time.
    pub async fn stop(&mut self, within: Duration) -> Option<ExitStatus> {
        self.process.signal(Signal::TERM);
        self.process.exit(within).await
    }

    /// Its end without being asked again. `None` where it still runs after that time.
    pub async fn exit(&mut self, within: Duration) -> Option<ExitStatus> {
        self.process.exit(within).await
    }

    /// Kills it if it still runs and starts it again: same directory, same ports.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process = self.builder.launch(self.http, self.admin);
        (self.http, self.admin) = ready(&mut self.process).await;
    }

    /// The same without what it stored: as in a new container, with its configuration and certificate.
    pub async fn restart_empty(&mut self) {
        self.process.kill();
        for entry in std::fs::read_dir(self.directory()).expect("a test's directory can be read").flatten() {
            let is_kept = entry.file_name() == "confgate.toml" || entry.file_name() == "certs";
            match entry.file_type() {
                _ if is_kept => {}
                Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(entry.path()).expect("it can be removed"),
                _ => std::fs::remove_file(entry.path()).expect("it can be removed"),
            }
        }
        self.restart().await;
    }
}

impl Builder {
    fn new(config: Option<toml::Table>) -> Self {
        let directory = tempfile::Builder::new().prefix("confgate-").tempdir();
        let directory = directory.expect("the system's directory for temporary files is writable");
        Self { directory, command: "serve", config, arguments: Vec::new(), environment: Vec::new() }
    }

    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// `confgate check` in place of a gateway, for [`Builder::fail`].
    pub fn check(mut self) -> Self {
        self.command = "check";
        self
    }

    /// For example `CONFGATE_LIMITS__BATCH`.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a file into the directory; `name` may hold a path.
    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in the directory")).expect("the directory is writable");
        std::fs::write(path, text).expect("the directory is writable");
        self
    }

    /// Copies a folder of the repository, with all below it, beside the configuration under that name.
    pub fn files(self, name: &str, folder: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = std::fs::read_dir(root).expect("the repository has the folder");
        entries.map(|entry| entry.expect("it can be read")).fold(self, |builder, entry| {
            let own = entry.file_name().into_string().expect("its name is ASCII");
            let (to, from) = (format!("{name}/{own}"), format!("{folder}/{own}"));
            if entry.path().is_dir() {
                return builder.files(&to, &from);
            }
            let text = std::fs::read_to_string(entry.path()).expect("it is text");
            builder.file(&to, &text)
        })
    }

    /// Starts it and waits until it is ready.
    pub async fn start(mut self) -> Gateway {
        let ports = [Port::claim(), Port::claim()];
        let [http, admin] = [&ports[0], &ports[1]].map(Port::address);
        self.write_config(http, admin);
        let mut process = self.launch(http, admin);
        let (http, admin) = ready(&mut process).await;
        Gateway { process, builder: self, http, admin, _ports: ports }
    }

    /// Runs it where it is expected to end by itself: its status and everything that it wrote.
    pub async fn fail(mut self) -> (ExitStatus, String) {
        let ports = [Port::claim(), Port::claim()];
        let [http, admin] = [&ports[0], &ports[1]].map(Port::address);
        self.write_config(http, admin);
        let mut process = self.launch(http, admin);
        let status = process.exit(PATIENCE).await.expect("it should have ended by itself");
        (status, process.lines().into_iter().map(|line| line.text + "\n").collect())
    }

    fn write_config(&mut self, http: SocketAddr, admin: SocketAddr) {
        let Some(config) = &mut self.config else { return };
        let listen = |address: SocketAddr| toml::Value::from(address.to_string());
        section(config, "admin").entry("listen").or_insert(listen(admin));
        let web = section(config, "http");
        web.entry("listen").or_insert(listen(http));
        if !web.contains_key("cert") {
            Certificate::for_names(&["localhost", "127.0.0.1"]).write(&self.directory.path().join("certs"));
            web.insert("cert".to_owned(), "certs/cert.pem".into());
            web.insert("key".to_owned(), "certs/key.pem".into());
        }
        let text = toml::to_string(config).expect("a TOML table can be written");
        std::fs::write(self.directory.path().join("confgate.toml"), text).expect("the directory is writable");
    }

    fn launch(&self, http: SocketAddr, admin: SocketAddr) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_confgate"));
        match self.config {
            Some(_) => command.args([self.command, "--config", "confgate.toml"]),
            None => {
                command.args(["serve", "--listen", &http.to_string()]).env("CONFGATE_ADMIN__LISTEN", admin.to_string())
            }
        };
        command.args(&self.arguments).current_dir(self.directory.path());
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "info,confgate=debug");
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Process::start("confgate", &mut command)
    }
}

/// `confgate eim` at that server; ready when all its modules are connected.
pub async fn eim(server: &XmppServer) -> Eim {
    eim_with(&server.eim_section()).await
}

/// `confgate eim` with that configuration; ready when all its modules are connected.
pub async fn eim_with(config: &str) -> Eim {
    let directory = tempfile::Builder::new().prefix("confgate-eim-").tempdir();
    let directory = directory.expect("the system's directory for temporary files is writable");
    std::fs::write(directory.path().join("confgate.toml"), config).expect("the directory is writable");
    let process = launch_eim(directory.path());
    let mut eim = Eim { process, directory };
    eim.ready().await;
    eim
}

/// The built-in EIM as components of an XMPP server.
pub struct Eim {
    pub process: Process,
    directory: TempDir,
}

impl Eim {
    /// Gone at once, as by a crash. Its store is kept.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with what it stored.
    pub async fn restart(&mut self) {
        self.kill();
        self.process = launch_eim(self.directory.path());
        self.ready().await;
    }

    async fn ready(&mut self) {
        let connected = until(PATIENCE, async || {
            let ended = self.process.exited();
            assert!(ended.is_none(), "confgate eim ended: {ended:?}");
            let lines = self.process.lines();
            let modules = MODULES.iter().filter(|module| {
                lines
                    .iter()
                    .any(|line| line.text.contains("the EIM's address is connected") && line.text.contains(**module))
            });
            (modules.count() == MODULES.len()).then_some(())
        });
        assert!(connected.await.is_some(), "the EIM's modules are not connected within {PATIENCE:?}");
    }
}

fn launch_eim(directory: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confgate"));
    command.args(["eim", "--config", "confgate.toml"]).current_dir(directory);
    Process::start("confgate eim", &mut command)
}

fn section<'a>(config: &'a mut toml::Table, name: &str) -> &'a mut toml::Table {
    let section = config.entry(name).or_insert(toml::Table::new().into());
    section.as_table_mut().unwrap_or_else(|| panic!("[{name}] is a table"))
}

/// Waits until it has said where it listens and `/readyz` is 200: the addresses of its two listeners.
async fn ready(process: &mut Process) -> (SocketAddr, SocketAddr) {
    let said = process.line(PATIENCE, |line| listening(&line.text)).await;
    let (http, admin) = said.unwrap_or_else(|| panic!("confgate does not listen; it ended: {:?}", process.exited()));
    let is_ready = until(PATIENCE, async || {
        let ended = process.exited();
        assert!(ended.is_none(), "confgate ended: {ended:?}");
        get(admin, "/readyz").await.ok().filter(|(status, _)| *status == StatusCode::OK)
    });
    assert!(is_ready.await.is_some(), "confgate is not ready within {PATIENCE:?}");
    (http, admin)
}

/// Reads `... listening http=127.0.0.1:9092 admin=127.0.0.1:9093`, or the same as a line of JSON.
fn listening(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let plain = without_colours(line);
    if let Ok(json) = serde_json::from_str::<Value>(&plain) {
        let fields = json.get("fields").unwrap_or(&json);
        let said = fields.get("message")?.as_str()? == "listening";
        let address = |name: &str| fields.get(name)?.as_str()?.parse().ok();
        return said.then_some((address("http")?, address("admin")?));
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    let said = words.contains(&"listening");
    let address =
        |name: &str| words.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('=')?.trim_matches('"').parse().ok());
    said.then_some((address("http")?, address("admin")?))
}

/// Without ANSI's `ESC [ ... m`.
fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_where_it_listens_is_read_in_every_format() {
        let expected = Some(("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()));
        let lines = [
            "2026-01-01T00:00:00Z  INFO confgate: listening http=127.0.0.1:1 admin=127.0.0.1:2",
            "\u{1b}[32m INFO\u{1b}[0m confgate: listening \u{1b}[3mhttp\u{1b}[0m\u{1b}[2m=\u{1b}[0m127.0.0.1:1 admin=127.0.0.1:2",
            r#"{"level":"INFO","fields":{"message":"listening","http":"127.0.0.1:1","admin":"127.0.0.1:2"}}"#,
        ];
        for line in lines {
            assert_eq!(listening(line), expected, "{line}");
        }
        assert_eq!(listening("confgate: listening http=127.0.0.1:1"), None);
    }
}
