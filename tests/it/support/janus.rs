//! A private Janus with its VideoRoom, on ports of its own.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use confgate::http::dial::{Socket, Tls, websocket};
use futures_util::{SinkExt, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::ports::Port;
use super::process::Process;
use super::wait::until_true;

const API_SECRET: &str = "what the tests' Janus wants of everybody";
const ADMIN_KEY: &str = "what its rooms' makers show";
/// The plugin for rooms, and the way to it.
const PLUGIN: &str = "libjanus_videoroom.so";
const TRANSPORT: &str = "libjanus_websockets.so";
/// Where Debian's package puts them.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/janus";

pub struct Janus {
    process: Option<Process>,
    websocket: Port,
    admin: Port,
    directory: TempDir,
}

impl Janus {
    pub async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("confgate-janus-").tempdir();
        let directory = directory.expect("the system's directory for temporary files is writable");
        let (websocket, admin) = (Port::claim(), Port::claim());
        let write = |name: &str, text: String| {
            fs::write(directory.path().join(name), text).expect("the directory is writable");
        };
        let folder = directory.path().display();
        write(
            "janus.jcfg",
            format!(
                "general: {{ configs_folder = \"{folder}\" plugins_folder = \"{LIBRARY}/plugins\" \
                 transports_folder = \"{LIBRARY}/transports\" events_folder = \"{folder}\" loggers_folder = \"{folder}\" \
                 api_secret = \"{API_SECRET}\" admin_secret = \"{ADMIN_KEY}\" }}\n\
                 media: {{ ipv6 = false }}\nnat: {{ ice_enforce_list = \"{}\" }}\n\
                 plugins: {{ disable = \"{}\" }}\ntransports: {{ disable = \"{}\" }}\n",
                media_address(),
                others("plugins", PLUGIN),
                others("transports", TRANSPORT),
            ),
        );
        write(
            "janus.transport.websockets.jcfg",
            format!(
                "general: {{ ws = true ws_ip = \"127.0.0.1\" ws_port = {} wss = false }}\n\
                 admin: {{ admin_ws = true admin_ws_ip = \"127.0.0.1\" admin_ws_port = {} admin_wss = false }}\n",
                websocket.number(),
                admin.number()
            ),
        );
        write("janus.plugin.videoroom.jcfg", format!("general: {{ admin_key = \"{ADMIN_KEY}\" }}\n"));
        let process = run(directory.path());
        let janus = Self { process: Some(process), websocket, admin, directory };
        janus.listens().await;
        janus
    }

    async fn listens(&self) {
        until_true("Janus listens", async || TcpStream::connect(self.websocket.address()).await.is_ok()).await;
    }

    /// Ends it as a crash does.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// It runs no more, and yet nothing is closed.
    pub fn halt(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.process.as_ref().and_then(|process| Pid::from_raw(process.pid() as i32)).expect("it runs");
        kill_process(pid, signal).expect("a child of ours can be signalled");
    }

    pub async fn start_again(&mut self) {
        self.process = Some(run(self.directory.path()));
        self.listens().await;
    }

    /// Another service on the same Janus, with that many handles for as long as its socket is held.
    pub async fn other_service(&self, handles: usize) -> Socket {
        let url = format!("ws://{}", self.websocket.address()).parse().expect("an address");
        let tls = Tls::load(None).expect("the system's certificates");
        let mut socket = websocket(&url, "janus-protocol", &tls, 1 << 20).await.expect("Janus listens");
        let mut ask = async |mut body: Value| {
            body["apisecret"] = API_SECRET.into();
            body["transaction"] = "t".into();
            socket.send(Message::text(body.to_string())).await.expect("Janus reads");
            let answer = socket.next().await.expect("an answer").expect("a message").into_text().expect("a text");
            serde_json::from_str::<Value>(&answer).expect("JSON")["data"]["id"].as_u64().expect("it is made")
        };
        let session = ask(json!({ "janus": "create" })).await;
        for _ in 0..handles {
            ask(json!({ "janus": "attach", "session_id": session, "plugin": "janus.plugin.videoroom" })).await;
        }
        socket
    }

    /// Of its API.
    pub fn address(&self) -> SocketAddr {
        self.websocket.address()
    }

    /// Streams of other Januses that it takes: each has a thread there (proc(5)).
    pub fn remote_publishers(&self) -> usize {
        let process = self.process.as_ref().expect("it runs");
        let threads = fs::read_dir(format!("/proc/{}/task", process.pid())).expect("it runs");
        // A thread may have ended since.
        let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with("vremote")).count()
    }

    /// The section of a node of that name.
    pub fn node(&self, id: &str) -> String {
        format!(
            "[[callgw.nodes]]\nid = \"{id}\"\nkind = \"janus\"\nadmin_url = \"ws://{}\"\n\
             api_secret = \"{API_SECRET}\"\nadmin_key = \"{ADMIN_KEY}\"\n",
            self.websocket.address()
        )
    }

    /// The same, with its load read from its Admin API.
    pub fn counted_node(&self, id: &str) -> String {
        format!("{}load_url = \"ws://{}\"\nadmin_secret = \"{ADMIN_KEY}\"\n", self.node(id), self.admin.address())
    }
}

fn run(directory: &Path) -> Process {
    let mut command = Command::new("janus");
    command.arg("-F").arg(directory).arg("--disable-colors");
    Process::start("janus", &mut command)
}

/// The machine's own address: Janus has no candidates at loopback.
pub fn media_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
    // Nothing is sent: only the route is looked up (TEST-NET-3, RFC 5737).
    socket.connect("203.0.113.1:9").expect("the machine has a route");
    socket.local_addr().expect("it is bound").ip()
}

/// All libraries of that kind but one.
fn others(kind: &str, but: &str) -> String {
    let folder = fs::read_dir(format!("{LIBRARY}/{kind}")).expect("Debian's package janus is installed");
    let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let others: Vec<String> = names.filter(|name| name.ends_with(".so") && name != but).collect();
    others.join(",")
}
