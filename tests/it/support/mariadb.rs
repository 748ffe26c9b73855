//! A private MariaDB with a database and a user for confgate. Its own command-line client is the independent judge.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::certificate::Certificate;
use super::ports::Port;
use super::process::{self, Process};
use super::wait::{PATIENCE, until};

const USER: &str = "confgate";
/// The first byte of a handshake's payload, after the packet's header of four bytes.
const PROTOCOL_VERSION: u8 = 10;
const HEADER: usize = 4;

pub struct MariaDb {
    process: Process,
    port: Port,
    tls: bool,
    // After the process: it is free when that is gone.
    directory: TempDir,
}

impl MariaDb {
    /// One whose characters have to be escaped in a URL.
    pub const PASSWORD: &str = "the-databases/pass@word";
    pub const PASSWORD_IN_URL: &str = "the-databases%2Fpass%40word";
    pub const DATABASE: &str = "confgate";

    /// With a certificate that names localhost and 127.0.0.1.
    pub async fn start() -> Self {
        Self::named(&["localhost", "127.0.0.1"]).await
    }

    /// With a certificate of those names.
    pub async fn named(names: &[&str]) -> Self {
        Self::launched(Some(Certificate::for_names(names))).await
    }

    pub async fn without_tls() -> Self {
        Self::launched(None).await
    }

    async fn launched(certificate: Option<Certificate>) -> Self {
        // A socket's path has 107 bytes at most.
        let directory = tempfile::Builder::new().prefix("confgate-mariadb-").tempdir_in("/tmp");
        let directory = directory.expect("the system's directory for temporary files is writable");
        if let Some(certificate) = &certificate {
            certificate.write(directory.path());
        }
        install(directory.path()).await;
        let (port, tls) = (Port::claim(), certificate.is_some());
        let process = launch(directory.path(), &port, tls);
        let mut server = Self { process, port, tls, directory };
        server.ready().await;
        server.database(Self::DATABASE).await;
        server
    }

    /// Makes a database that confgate's user may do everything in.
    pub async fn database(&self, name: &str) {
        let mut statements = format!("CREATE DATABASE {name};");
        for host in ["%", "localhost"] {
            let user = format!("{USER}@'{host}'");
            statements += &format!("CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{}';", Self::PASSWORD);
            statements += &format!("GRANT ALL ON {name}.* TO {user};");
        }
        self.client("mysql", &statements).await;
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// The same by way of a [`super::chaos::ChaosProxy`].
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("mysql://{USER}:{}@{address}/{}", Self::PASSWORD_IN_URL, Self::DATABASE)
    }

    /// Of another database: see [`MariaDb::database`].
    pub fn url_of(&self, database: &str) -> String {
        format!("mysql://{USER}:{}@{}/{database}", Self::PASSWORD_IN_URL, self.address())
    }

    pub fn socket_url(&self) -> String {
        format!("{}?socket={}", self.url_at(([127, 0, 0, 1], 1).into()), self.socket().display())
    }

    /// PEM of the server's certificate.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("m.sock")
    }

    /// Gone at once, as by a crash. What it acknowledged is on the disk.
    pub fn cut(&mut self) {
        self.process.kill();
    }

    /// Starts it again, where it was and with what it stored.
    pub async fn restart(&mut self) {
        self.cut();
        self.process = launch(self.directory.path(), &self.port, self.tls);
        self.ready().await;
    }

    /// It runs no more, and yet nothing is closed.
    pub fn pause(&mut self) {
        self.process.signal(Signal::STOP);
    }

    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    pub async fn read_only(&self, is_on: bool) {
        self.sql(&format!("SET GLOBAL read_only = {}", u8::from(is_on))).await;
    }

    /// The same as `read_only(true)`, where nothing can be awaited.
    pub fn turn_read_only(&mut self) {
        run_to_its_end(self.command("mariadb", &["--execute=SET GLOBAL read_only = 1"]), "");
    }

    /// Runs statements as the administrator: the rows, without a head, their columns apart by tabs.
    pub async fn sql(&self, statements: &str) -> String {
        self.client(Self::DATABASE, statements).await
    }

    /// The only value that the statement gives.
    pub async fn number(&self, statement: &str) -> i64 {
        let rows = self.sql(statement).await;
        rows.trim().parse().unwrap_or_else(|e| panic!("{e}: {rows:?} by {statement}"))
    }

    /// The database as SQL.
    pub async fn dump(&self) -> String {
        self.tool("mariadb-dump", &["--single-transaction", Self::DATABASE], "").await
    }

    pub async fn restore(&self, dump: &str) {
        self.sql(dump).await;
    }

    async fn client(&self, database: &str, statements: &str) -> String {
        self.tool("mariadb", &["--batch", "--skip-column-names", database], statements).await
    }

    async fn tool(&self, program: &str, arguments: &[&str], input: &str) -> String {
        run(self.command(program, arguments), input.to_owned()).await
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("--no-defaults").arg("--user=root").arg(format!("--socket={}", self.socket().display()));
        command.args(arguments);
        command
    }

    /// Ready is: it greets.
    async fn ready(&mut self) {
        let address = self.address();
        let greets = until(PATIENCE, async || {
            let ended = self.process.exited();
            assert!(ended.is_none(), "MariaDB ended: {ended:?}");
            let mut greeting = [0; HEADER + 1];
            TcpStream::connect(address).await.ok()?.read_exact(&mut greeting).await.ok()?;
            (greeting[HEADER] == PROTOCOL_VERSION).then_some(())
        });
        assert!(greets.await.is_some(), "MariaDB is not ready within {PATIENCE:?}");
    }
}

impl Drop for MariaDb {
    /// Nobody needs a clean shutdown.
    fn drop(&mut self) {
        self.process.kill();
    }
}

/// Makes the system's own tables; the administrator is whoever reaches the socket.
async fn install(directory: &Path) {
    let mut command = Command::new("mariadb-install-db");
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", directory.join("data").display()))
        .arg(format!("--tmpdir={}", directory.display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
        .current_dir(directory)
        .env("HOME", directory);
    process::unprivileged(&mut command, directory);
    run(command, String::new()).await;
}

fn launch(directory: &Path, port: &Port, tls: bool) -> Process {
    let mut command = Command::new("mariadbd");
    let path = |name: &str| directory.join(name).display().to_string();
    command
        .arg("--no-defaults")
        .args([format!("--datadir={}", path("data")), format!("--pid-file={}", path("m.pid"))])
        .args([format!("--socket={}", path("m.sock")), format!("--tmpdir={}", path(""))])
        .args([format!("--port={}", port.number()), "--bind-address=127.0.0.1".to_owned()])
        .args(["--skip-name-resolve", "--skip-log-bin", "--performance-schema=OFF", "--character-set-server=utf8mb4"])
        .args(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=1"])
        .current_dir(directory);
    if tls {
        command.args([format!("--ssl-cert={}", path("cert.pem")), format!("--ssl-key={}", path("key.pem"))]);
    }
    process::unprivileged(&mut command, directory);
    Process::start("mariadbd", &mut command)
}

/// Runs it to its end, with that input: what it printed.
async fn run(command: Command, input: String) -> String {
    let run = move || run_to_its_end(command, &input);
    tokio::task::spawn_blocking(run).await.expect("it is run to its end")
}

fn run_to_its_end(mut command: Command, input: &str) -> String {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("{command:?}: {e}; is MariaDB installed (see tests/run)?"));
    let mut pipe = child.stdin.take().expect("it is piped");
    // One that has failed reads nothing more: its status says so.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().expect("a child can be waited for");
    let [printed, complained] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{command:?} failed: {complained}{printed}");
    printed.into_owned()
}
