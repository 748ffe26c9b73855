//! The faults of the table: each row's configuration, and the server that stands in the part's place.

use std::any::Any;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::call_gateway::Trust;
use crate::support::component::Component;
use crate::support::gateway::Gateway;
use crate::support::janus::Janus;
use crate::support::mariadb::MariaDb;
use crate::support::media::{NODE_SECRET, builtin_node};
use crate::support::ports::Port;
use crate::support::process::Process;
use crate::support::rabbitmq::RabbitMq;
use crate::support::turn::Turn;
use crate::support::wait::PATIENCE;
use crate::support::xmpp_server::{COMPONENT, MODULES, XmppServer};

const EIM_TIMES: &str = "timeout_ms = 1000\nwait_ms = 300\nreconnect_min_ms = 50\nreconnect_max_ms = 400\n\
                         ping_interval_ms = 300\n";
pub const CALLGW_TIMES: &str = "[callgw]\nprobe_interval_ms = 100\nprobe_timeout_ms = 500\nreport_interval_ms = 100\n\
                                connect_timeout_ms = 1000\nreconnect_min_ms = 50\nreconnect_max_ms = 200\n";
pub const CLIENT: &str = "[[auth.clients]]\nid = \"u1\"\nsecret = \"the client's secret\"\n";
/// A wrong one, to be found nowhere.
pub const HUSH: &str = "hush-hush-hush-hush";

/// Something broken, as it is configured. The held values keep it broken.
pub struct Scene {
    pub config: String,
    /// Done to the gateway once it runs.
    pub then: Box<dyn Fn(&Gateway) + Send + Sync>,
    held: Vec<Box<dyn Any + Send>>,
}

fn scene(config: String) -> Scene {
    Scene { config, then: Box::new(|_| {}), held: Vec::new() }
}

impl Scene {
    fn holding(mut self, held: impl Any + Send) -> Self {
        self.held.push(Box::new(held));
        self
    }
}

/// A port at which something is broken, for as long as it is held.
async fn broken(way: &str) -> (Port, Box<dyn Any + Send>) {
    let port = Port::claim();
    if way == "absent" {
        return (port, Box::new(()));
    }
    let listener = TcpListener::bind(port.address()).await.expect("the port is free");
    if way == "silent" {
        return (port, Box::new(listener));
    }
    let refusing = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // A connection that says nothing must not keep the next one waiting.
            tokio::spawn(async move {
                let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                // Either side may hang up first.
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer).await;
            });
        }
    });
    (port, Box::new(refusing))
}

fn with_port(section: &str, old: u16, new: u16) -> String {
    section.replace(&format!("port = {old}\n"), &format!("port = {new}\n"))
}

fn without(section: &str, key: &str) -> String {
    section.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect()
}

/// The servers that rows share.
pub struct World {
    /// No EIM is connected to it.
    empty: XmppServer,
    /// One address of the EIM's is, and says nothing.
    mute: XmppServer,
    broker: RabbitMq,
    database: MariaDb,
    trust: Trust,
    node: Gateway,
    janus: Janus,
    turn: Turn,
}

impl World {
    pub async fn new() -> Self {
        let trust = Trust::new();
        let [cert, key] = trust.files();
        let node = format!("[http]\ncert = {cert:?}\nkey = {key:?}\n[node]\nid = \"m1\"\n{}", builtin_node("m1"));
        let (empty, mute) = (XmppServer::prosody().await, XmppServer::prosody().await);
        empty.register("u1", "pass").await;
        Self {
            empty,
            mute,
            broker: RabbitMq::start().await,
            database: MariaDb::start().await,
            node: Gateway::media(&node).start().await,
            trust,
            janus: Janus::start().await,
            turn: Turn::start("127.0.0.1".parse().expect("an address")).await,
        }
    }

    pub async fn scene(&self, part: &str, way: &str) -> Scene {
        match part {
            "EIM, as a component" => self.component(way).await,
            "EIM, by sessions" => self.sessions(way).await,
            "EIM's addresses" => self.addresses(way).await,
            "broker" => self.broker(way).await,
            "store" => store(way).await,
            "store at a server" => self.server(way).await,
            "call gateway" => self.node(way).await,
            "Janus" => self.janus(way).await,
            "WHIP server" => {
                let (port, held) = broken(way).await;
                let url = format!("admin_url = \"http://{}\"\n", port.address());
                scene(callgw("whip", &url)).holding(port).holding(held)
            }
            "TURN server" => self.turn(way).await,
            part => panic!("nobody knows how to break {part}"),
        }
    }

    async fn component(&self, way: &str) -> Scene {
        let section = format!("{}{EIM_TIMES}{CLIENT}", self.empty.component_section(COMPONENT));
        let section = without(&section, "admin_");
        let door = self.empty.door(COMPONENT);
        match way {
            "absent" | "silent" => {
                let (port, held) = broken(way).await;
                scene(with_port(&section, door.port.number(), port.number())).holding(port).holding(held)
            }
            "refusing" => scene(section.replace(COMPONENT, "elsewhere.ips3000")),
            "wrong secret" => scene(section.replace(door.secret, HUSH)),
            "without eim.secret" => scene(without(&section, "secret = \"secret-of")),
            way => panic!("not {way}"),
        }
    }

    async fn broker(&self, way: &str) -> Scene {
        let section = without(&format!("{}{EIM_TIMES}", self.empty.component_section(COMPONENT)), "admin_");
        let events = |url: &str| {
            let times = "timeout_ms = 1000\nreconnect_min_ms = 50\nreconnect_max_ms = 400\n";
            scene(format!("{section}[events]\nmode = \"amqp\"\n{times}{url}{CLIENT}"))
        };
        match way {
            "absent" | "silent" | "refusing" => {
                let (port, held) = broken(way).await;
                events(&format!("url = \"amqp://confgate:pass@{}/%2F\"\n", port.address())).holding(port).holding(held)
            }
            "wrong password" => {
                let url = self.broker.url().replace(&format!(":{}@", RabbitMq::PASSWORD), &format!(":{HUSH}@"));
                events(&format!("url = {url:?}\n"))
            }
            "without events.url" => events(""),
            way => panic!("not {way}"),
        }
    }

    async fn server(&self, way: &str) -> Scene {
        let at = |url: &str| scene(format!("[store]\nwait_ms = 300\nurl = {url:?}\n{CLIENT}"));
        match way {
            "absent" | "silent" | "refusing" => {
                let (port, held) = broken(way).await;
                at(&self.database.url_at(port.address())).holding(port).holding(held)
            }
            "wrong password" => at(&self.database.url().replace(MariaDb::PASSWORD_IN_URL, HUSH)),
            "unknown database" => {
                self.database.sql("GRANT ALL ON unknown.* TO confgate@'%'").await;
                at(&self.database.url_of("unknown"))
            }
            "without store.ca" => {
                let Scene { config, .. } = at(&self.database.url());
                scene(config.replace("[store]\n", "[store]\ntls = \"verify\"\n"))
            }
            "another program's database" => {
                self.database.database("posts").await;
                self.database.sql("CREATE TABLE posts.posts (id INT PRIMARY KEY)").await;
                at(&self.database.url_of("posts"))
            }
            "gone while it runs" => own_server(at, MariaDb::cut).await,
            "silent while it runs" => own_server(at, MariaDb::pause).await,
            "read-only while it runs" => own_server(at, MariaDb::turn_read_only).await,
            way => panic!("not {way}"),
        }
    }

    async fn sessions(&self, way: &str) -> Scene {
        let section = without(&self.empty.c2s_section("starttls"), "admin_");
        let section = format!("{section}{EIM_TIMES}{CLIENT}password = \"pass\"\n");
        match way {
            "absent" | "silent" => {
                let (port, held) = broken(way).await;
                let number = self.empty.c2s_address().port();
                scene(with_port(&section, number, port.number())).holding(port).holding(held)
            }
            "refusing" => scene(section.replace("domain = \"ips3000\"", "domain = \"elsewhere\"")),
            "wrong password" => scene(section.replace("\"pass\"", &format!("{HUSH:?}"))),
            "client without password" => scene(without(&section, "password")),
            way => panic!("not {way}"),
        }
    }

    async fn addresses(&self, way: &str) -> Scene {
        let section = |server: &XmppServer| {
            scene(without(&format!("{}{EIM_TIMES}{CLIENT}", server.component_section(COMPONENT)), "admin_"))
        };
        match way {
            "absent" => section(&self.empty),
            "silent" => section(&self.mute).holding(Component::of(&self.mute, MODULES[0]).await),
            way => panic!("not {way}"),
        }
    }

    async fn node(&self, way: &str) -> Scene {
        let ca = format!("ca = {:?}\n", self.trust.files()[0]);
        let url = format!("url = \"wss://{}\"\n", self.node.http());
        let (secret, wrong) = (format!("secret = {NODE_SECRET:?}\n"), format!("secret = {HUSH:?}\n"));
        let times = |more: &str, node: &str| {
            let config = callgw("confgate", node);
            scene(config.replacen("[callgw]\n", &format!("[callgw]\n{more}"), 1).replace("\"broken\"", "\"m1\""))
        };
        match way {
            "absent" | "silent" | "refusing" => {
                let (port, held) = broken(way).await;
                let url = format!("url = \"ws://{}\"\n", port.address());
                times("", &(url + &secret)).holding(port).holding(held)
            }
            "wrong secret" => times(&ca, &(url + &wrong)),
            "without callgw.ca" => times("", &(url + &secret)),
            "without secret" => times(&ca, &url),
            way => panic!("not {way}"),
        }
    }

    async fn janus(&self, way: &str) -> Scene {
        let node = self.janus.node("broken");
        let key = |name: &str| node.lines().find(|line| line.starts_with(name)).expect("it has one").to_owned();
        let config = |node: String| scene(format!("{CALLGW_TIMES}{node}{CLIENT}"));
        match way {
            "absent" | "silent" | "refusing" => {
                let (port, held) = broken(way).await;
                let url = format!("admin_url = \"ws://{}\"\n", port.address());
                scene(callgw("janus", &url)).holding(port).holding(held)
            }
            "wrong api_secret" => config(node.replace(&key("api_secret"), &format!("api_secret = {HUSH:?}"))),
            "wrong admin_key" => config(node.replace(&key("admin_key"), &format!("admin_key = {HUSH:?}"))),
            "without admin_key" => config(without(&node, "admin_key")),
            way => panic!("not {way}"),
        }
    }

    async fn turn(&self, way: &str) -> Scene {
        let section = self.turn.section();
        let secret = section.lines().find(|line| line.starts_with("secret")).expect("it has one").to_owned();
        match way {
            "absent" | "silent" | "refusing" => {
                let (port, held) = broken(way).await;
                let urls = format!("urls = [\"turn:{}?transport=tcp\"]\n", port.address());
                scene(format!("[callgw.turn]\n{urls}{secret}\n{CLIENT}")).holding(port).holding(held)
            }
            "wrong secret" => scene(section.replace(&secret, &format!("secret = {HUSH:?}")) + CLIENT),
            "without urls" => scene(format!("[callgw.turn]\nurls = []\n{secret}\n{CLIENT}")),
            way => panic!("not {way}"),
        }
    }
}

/// A database server that the rows don't share, and what is done to it while the gateway runs.
async fn own_server(at: impl Fn(&str) -> Scene, then: fn(&mut MariaDb)) -> Scene {
    let server = MariaDb::start().await;
    let made = at(&server.url());
    let server = Mutex::new(server);
    Scene { then: Box::new(move |_| then(&mut server.lock().expect("it is held for a moment"))), ..made }
}

fn callgw(kind: &str, more: &str) -> String {
    format!("{CALLGW_TIMES}[[callgw.nodes]]\nid = \"broken\"\nkind = {kind:?}\n{more}{CLIENT}")
}

async fn store(way: &str) -> Scene {
    let folder = tempfile::tempdir().expect("the system's directory for temporary files is writable");
    let path = folder.path().join("confgate.db");
    let at = |path: &Path| format!("[store]\nwait_ms = 300\nurl = \"sqlite:{}\"\n{CLIENT}", path.display());
    let made = match way {
        "absent" => scene(at(Path::new("/proc/nowhere/confgate.db"))),
        "not a database" => {
            fs::write(&path, "no database at all, but a text of some length".repeat(100)).expect("it is writable");
            scene(at(&path))
        }
        "locked by another process" => {
            let hold = "import sqlite3, sys, time\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                        c.execute('BEGIN EXCLUSIVE')\nprint('held', flush=True)\ntime.sleep(600)\n";
            let holder = Process::start("python3", Command::new("python3").args(["-c", hold]).arg(&path));
            holder.line(PATIENCE, |line| (line.text == "held").then_some(())).await.expect("it is locked");
            scene(at(&path)).holding(holder)
        }
        "the disk is full" => Scene { then: Box::new(no_room), ..scene(at(&path)) },
        "of another kind" => scene(format!("[store]\nurl = \"postgres://127.0.0.1/confgate\"\n{CLIENT}")),
        way => panic!("not {way}"),
    };
    made.holding(folder)
}

/// No file of the process may grow: each write then fails in the system (EFBIG), as on a full disk.
fn no_room(gateway: &Gateway) {
    let pid = Pid::from_raw(gateway.pid() as i32);
    prlimit(pid, Resource::Fsize, Rlimit { current: Some(1), maximum: None }).expect("its owner may limit a process");
}
