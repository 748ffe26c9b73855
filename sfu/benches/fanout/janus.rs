//! Debian's Janus with its VideoRoom, private and signalled over a Unix socket (Janus documentation: "The Janus API",
//! "VideoRoom plugin").

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use str0m::media::Direction;

use crate::peer::Peer;
use crate::server::{Process, Server};

/// Where Debian's package puts its plugins and transports.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/janus";
const PATIENCE: Duration = Duration::from_secs(4);
const TRIES: usize = 10;
const PLUGIN: &str = "janus.plugin.videoroom";

/// How Janus spreads its connections over threads.
#[derive(Debug, Clone, Copy)]
pub enum JanusThreads {
    /// As it is installed.
    ThreadForEach = 0,
    /// `event_loops = 1`: cheaper, on a second core no faster.
    OneThread = 1,
}

/// Its files. Goes with this.
struct Directory(PathBuf);

pub struct Janus {
    process: Process,
    socket: UnixDatagram,
    at: SocketAddr,
    /// After the process: it goes with it.
    _files: Option<Directory>,
    session: u64,
    transaction: u64,
    /// The publisher's number in each room.
    feeds: Vec<(u64, u64)>,
}

impl Janus {
    pub fn start(at: IpAddr, threads: JanusThreads) -> Janus {
        let directory = std::env::temp_dir().join(format!("confgate-fanout-{}-{}", std::process::id(), threads as u8));
        fs::create_dir_all(&directory).expect("the system's directory for temporary files is writable");
        configure(&directory, at, threads);
        let mut tries = (0..TRIES).filter_map(|_| Janus::try_start(&directory, SocketAddr::new(at, 0)));
        let mut janus = tries.next().expect("Janus answers");
        drop(tries);
        janus._files = Some(Directory(directory));
        janus.session = number(&janus.ask(json!({ "janus": "create" }))["data"]["id"]);
        janus
    }

    /// `None`: its socket is dead. Its thread may look whether the transport is there before it is, and end (1.1.2).
    fn try_start(directory: &Path, at: SocketAddr) -> Option<Janus> {
        let (api, own) = (directory.join("api"), directory.join("bench"));
        let _ = (fs::remove_file(&api), fs::remove_file(&own));
        let process = Process::start(Command::new("janus").arg("-F").arg(directory).arg("--disable-colors"));
        let socket = UnixDatagram::bind(own).expect("a path of our own");
        let deadline = Instant::now() + PATIENCE;
        while socket.connect(&api).is_err() {
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        socket.send(br#"{"janus":"ping","transaction":"ping"}"#).ok()?;
        socket.recv(&mut [0; 1_024]).ok()?;
        Some(Janus { process, socket, at, _files: None, session: 0, transaction: 0, feeds: Vec::new() })
    }

    /// Says it and gives what comes of it; what else Janus says is passed over.
    fn ask(&mut self, mut question: Value) -> Value {
        self.transaction += 1;
        let transaction = self.transaction.to_string();
        question["transaction"] = json!(transaction);
        if self.session != 0 {
            question["session_id"] = json!(self.session);
        }
        self.socket.send(question.to_string().as_bytes()).expect("Janus takes it");
        let mut buffer = vec![0; 65_536];
        loop {
            let length = self.socket.recv(&mut buffer).expect("an answer in time");
            let said: Value = serde_json::from_slice(&buffer[..length]).expect("JSON");
            if said["transaction"] == transaction.as_str() && said["janus"] != "ack" {
                assert!(said["janus"] != "error" && said["plugindata"]["data"]["error"].is_null(), "{said}");
                return said;
            }
        }
    }

    fn attach(&mut self) -> u64 {
        number(&self.ask(json!({ "janus": "attach", "plugin": PLUGIN }))["data"]["id"])
    }

    fn message(&mut self, handle: u64, body: Value, jsep: Value) -> Value {
        let mut message = json!({ "janus": "message", "handle_id": handle, "body": body });
        if !jsep.is_null() {
            message["jsep"] = jsep;
        }
        self.ask(message)
    }
}

impl Server for Janus {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn publish(&mut self, room: u64) -> Peer {
        let handle = self.attach();
        let settings = json!({ "request": "create", "room": room, "bitrate": 0, "publishers": 1, "videocodec": "vp8" });
        self.message(handle, settings, Value::Null);
        let mut peer = Peer::offers(self.at, Direction::SendOnly);
        let join = json!({ "request": "joinandconfigure", "ptype": "publisher", "room": room });
        let joined = self.message(handle, join, json!({ "type": "offer", "sdp": peer.offer() }));
        self.feeds.push((room, number(&joined["plugindata"]["data"]["id"])));
        peer.answered(text(&joined["jsep"]["sdp"]));
        peer
    }

    fn watch(&mut self, room: u64) -> Option<Peer> {
        let (_, feed) = self.feeds.iter().find(|(of, _)| *of == room).copied().expect("a room with a publisher");
        let handle = self.attach();
        let join = json!({ "request": "join", "ptype": "subscriber", "room": room, "streams": [{ "feed": feed }] });
        let offered = self.message(handle, join, Value::Null);
        let mut peer = Peer::answers(self.at);
        let answer = peer.answer(text(&offered["jsep"]["sdp"]));
        self.message(handle, json!({ "request": "start" }), json!({ "type": "answer", "sdp": answer }));
        Some(peer)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn configure(directory: &Path, at: IpAddr, threads: JanusThreads) {
    let folder = directory.display();
    let write = |name: &str, text: String| {
        fs::write(directory.join(name), text).expect("a directory of our own");
    };
    let general = format!(
        "general: {{ configs_folder = \"{folder}\" plugins_folder = \"{LIBRARY}/plugins\" \
         transports_folder = \"{LIBRARY}/transports\" events_folder = \"{folder}\" loggers_folder = \"{folder}\" \
         session_timeout = 0 event_loops = {} debug_level = 2 }}\n\
         media: {{ ipv6 = false }}\nnat: {{ ice_enforce_list = \"{at}\" }}\n\
         plugins: {{ disable = \"{}\" }}\ntransports: {{ disable = \"{}\" }}\n",
        threads as u8,
        others("plugins", "libjanus_videoroom.so"),
        others("transports", "libjanus_pfunix.so"),
    );
    write("janus.jcfg", general);
    let api =
        format!("general: {{ enabled = true json = \"compact\" path = \"{folder}/api\" type = \"SOCK_DGRAM\" }}\n");
    write("janus.transport.pfunix.jcfg", api);
    write("janus.plugin.videoroom.jcfg", String::new());
}

/// All libraries of that kind but one.
fn others(kind: &str, but: &str) -> String {
    let folder = fs::read_dir(format!("{LIBRARY}/{kind}")).expect("Debian's package janus is installed");
    let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".so") && name != but).collect::<Vec<_>>().join(",")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
