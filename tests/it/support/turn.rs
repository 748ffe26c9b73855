//! A private coturn, reached over TCP only: what is left to people whose network lets no UDP out.

use std::net::IpAddr;
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::ports::Port;
use super::process::Process;
use super::wait::until_true;

const SECRET: &str = "what coturn and the gateway share";

pub struct Turn {
    port: Port,
    address: IpAddr,
    // Before its directory: it writes there.
    _process: Process,
    _directory: TempDir,
}

impl Turn {
    /// At that address of this machine, where it also relays from.
    pub async fn start(address: IpAddr) -> Self {
        let directory = tempfile::tempdir().expect("the system's directory for temporary files is writable");
        let port = Port::claim();
        let at = |name: &str| directory.path().join(name).display().to_string();
        let mut command = Command::new("turnserver");
        command.args(["-n", "--no-cli", "--no-udp", "--no-dtls", "--no-tls", "--allow-loopback-peers", "--simple-log"]);
        command.args(["--use-auth-secret", "--realm=confgate", &format!("--static-auth-secret={SECRET}")]);
        command.args([&format!("--listening-ip={address}"), &format!("--relay-ip={address}")]);
        command.args([&format!("--listening-port={}", port.number()), "--log-file=stdout"]);
        command.args([&format!("--userdb={}", at("db")), &format!("--pidfile={}", at("pid"))]);
        let process = Process::start("coturn", &mut command);
        let turn = Self { port, address, _process: process, _directory: directory };
        until_true("coturn listens", async || TcpStream::connect((address, turn.port.number())).await.is_ok()).await;
        turn
    }

    /// `[callgw.turn]`.
    pub fn section(&self) -> String {
        let url = format!("turn:{}:{}?transport=tcp", self.address, self.port.number());
        format!("[callgw.turn]\nurls = [{url:?}]\nsecret = {SECRET:?}\n")
    }
}
