//! A private RabbitMQ without distribution between Erlang nodes, so without epmd and without a cookie.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::certificate::Certificate;
use super::ports::Port;
use super::process::{self, Process};
use super::wait::{PATIENCE, until};

/// The user of all clients.
pub const USER: &str = "confgate";
/// One whose name has to be escaped in a URL.
pub const VHOST: &str = "eim/events";
const VHOST_IN_URL: &str = "eim%2Fevents";
/// The script that Debian's /usr/sbin/rabbitmq-server runs. That one insists on the user rabbitmq.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// The product's default exchange.
pub const EXCHANGE: &str = "eim.conference";
/// The first bytes of an AMQP 0-9-1 client (section 4.2.2). The server answers with a method frame, whose type is 1.
const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
const METHOD_FRAME: u8 = 1;
/// An hour.
const IDLE_MS: u32 = 3_600_000;

pub struct RabbitMq {
    process: Process,
    plain: Port,
    tls: Port,
    web_stomp: Option<WebStomp>,
    // After the process: it is free when that is gone.
    directory: TempDir,
}

/// The listeners of the broker's plugin for STOMP over WebSockets.
pub struct WebStomp {
    pub plain: Port,
    pub tls: Port,
}

/// The broker's queues and bindings, by its own account.
#[derive(Debug, Deserialize)]
pub struct Topology {
    pub queues: BTreeMap<String, Queue>,
    /// Exchange, queue and key; without those of the default exchange.
    pub bindings: Vec<(String, String, String)>,
}

#[derive(Debug, Deserialize)]
pub struct Queue {
    pub durable: bool,
    pub messages: u64,
    pub consumers: u64,
    pub arguments: BTreeMap<String, Value>,
}

/// A message that the foreign client took from a queue.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    pub key: String,
    pub id: Option<String>,
    pub content_type: Option<String>,
    pub persistent: bool,
    pub size: usize,
    /// `None` for one of a MiB or more.
    pub body: Option<String>,
}

impl RabbitMq {
    pub const PASSWORD: &str = "the-brokers-password";

    pub async fn start() -> Self {
        Self::launched(None).await
    }

    /// With its plugin rabbitmq_web_stomp.
    pub async fn with_web_stomp() -> Self {
        Self::launched(Some(WebStomp { plain: Port::claim(), tls: Port::claim() })).await
    }

    async fn launched(web_stomp: Option<WebStomp>) -> Self {
        let directory = tempfile::Builder::new().prefix("confgate-rabbitmq-").tempdir();
        let directory = directory.expect("the system's directory for temporary files is writable");
        let (plain, tls) = (Port::claim(), Port::claim());
        Certificate::for_names(&["localhost", "127.0.0.1"]).write(directory.path());
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("a test's directory is writable");
        };
        let plugin = web_stomp.as_ref().map(|web_stomp| web_stomp.configuration(directory.path())).unwrap_or_default();
        write("rabbitmq.conf", &(configuration(directory.path(), &plain, &tls) + &plugin));
        write("enabled_plugins", if web_stomp.is_some() { "[rabbitmq_web_stomp]." } else { "[]." });
        let process = launch(directory.path());
        let mut broker = Self { process, plain, tls, web_stomp, directory };
        broker.ready().await;
        broker
    }

    pub fn address(&self) -> SocketAddr {
        self.plain.address()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    #[track_caller]
    pub fn web_stomp(&self) -> &WebStomp {
        self.web_stomp.as_ref().expect("this broker was started with the plugin")
    }

    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// The same by way of a [`super::chaos::ChaosProxy`].
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("amqp://{USER}:{}@{address}/{VHOST_IN_URL}", Self::PASSWORD)
    }

    pub fn tls_url(&self) -> String {
        format!("amqps://{USER}:{}@{}/{VHOST_IN_URL}", Self::PASSWORD, self.tls.address())
    }

    /// PEM; names localhost and 127.0.0.1.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    /// Gone at once, as by a crash. What it confirmed is on the disk.
    pub fn cut(&mut self) {
        self.process.kill();
    }

    /// Starts it again, where it was and with what it stored.
    pub async fn restart(&mut self) {
        self.cut();
        self.process = launch(self.directory.path());
        self.ready().await;
    }

    /// Starts it again where it was, without anything that it stored.
    pub async fn restart_empty(&mut self) {
        self.cut();
        std::fs::remove_dir_all(self.directory.path().join("data")).expect("it has stored something");
        self.restart().await;
    }

    /// It runs no more, and yet nothing is closed.
    pub fn pause(&mut self) {
        self.process.signal(Signal::STOP);
    }

    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    pub async fn topology(&self) -> Topology {
        let path = self.directory.path().join("topology");
        let read = until(PATIENCE, async || {
            let mut text = Vec::new();
            UnixStream::connect(&path).await.ok()?.read_to_end(&mut text).await.ok()?;
            serde_json::from_slice(&text).ok()
        });
        read.await.unwrap_or_else(|| panic!("RabbitMQ does not list its queues within {PATIENCE:?}"))
    }

    /// Messages in that queue, ready or not acknowledged; 0 where there is no such queue.
    pub async fn messages(&self, queue: &str) -> u64 {
        self.topology().await.queues.get(queue).map_or(0, |queue| queue.messages)
    }

    /// The keys that bind that queue to the product's exchange, sorted.
    pub async fn keys(&self, queue: &str) -> Vec<String> {
        let bindings = self.topology().await.bindings.into_iter();
        let of_queue = bindings.filter(|(exchange, bound, _)| exchange == EXCHANGE && bound == queue);
        let mut keys: Vec<String> = of_queue.map(|(_, _, key)| key).collect();
        keys.sort();
        keys
    }

    /// A durable queue that gets whatever is published under such keys.
    pub async fn declare(&self, queue: &str, key: &str) {
        self.client(json!([{ "do": "declare", "exchange": EXCHANGE, "queue": queue, "key": key }])).await;
    }

    pub async fn bind(&self, queue: &str, key: &str) {
        self.client(json!([{ "do": "bind", "exchange": EXCHANGE, "queue": queue, "key": key }])).await;
    }

    pub async fn unbind(&self, queue: &str, key: &str) {
        self.client(json!([{ "do": "unbind", "exchange": EXCHANGE, "queue": queue, "key": key }])).await;
    }

    /// Publishes those to the product's exchange in that order; each must be for some queue.
    pub async fn publish(&self, messages: &[Foreign<'_>]) {
        let request = |message: &Foreign| {
            let mut request = json!({ "do": "publish", "exchange": EXCHANGE, "key": message.key, "id": message.id });
            match message.body {
                Body::Text(text) => request["body"] = text.into(),
                Body::Filled(size) => request["size"] = size.into(),
            }
            request
        };
        self.client(messages.iter().map(request).collect()).await;
    }

    /// All that the queue has.
    pub async fn take(&self, queue: &str) -> Vec<Taken> {
        let taken = self.client(json!([{ "do": "take", "queue": queue }])).await;
        serde_json::from_value(taken[0].clone()).expect("the helper's own form")
    }

    /// Has the foreign client do that.
    async fn client(&self, requests: Value) -> Value {
        let url = self.url();
        let run = move || {
            // Not the first python3 of the path, which may be another than Debian's and without its packages.
            let mut client = Command::new("/usr/bin/python3")
                .args(["tests/it/support/amqp_client.py", &url])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("python3 is installed (see tests/run)");
            let mut input = client.stdin.take().expect("it is piped");
            // A client that has failed reads nothing more: its status says so.
            let _ = input.write_all(requests.to_string().as_bytes());
            drop(input);
            let output = client.wait_with_output().expect("a child can be waited for");
            assert!(output.status.success(), "the foreign client failed: {}", output.status);
            serde_json::from_slice(&output.stdout).expect("it writes JSON")
        };
        tokio::task::spawn_blocking(run).await.expect("the foreign client does it")
    }

    /// Ready is: it answers an AMQP client. Its plugins are started before.
    async fn ready(&mut self) {
        let address = self.address();
        let answers = until(PATIENCE, async || {
            let ended = self.process.exited();
            assert!(ended.is_none(), "RabbitMQ ended: {ended:?}");
            let mut stream = TcpStream::connect(address).await.ok()?;
            stream.write_all(PROTOCOL_HEADER).await.ok()?;
            (stream.read_u8().await.ok()? == METHOD_FRAME).then_some(())
        });
        assert!(answers.await.is_some(), "RabbitMQ is not ready within {PATIENCE:?}");
    }
}

impl Drop for RabbitMq {
    /// Nobody needs a clean shutdown, which takes it a second.
    fn drop(&mut self) {
        self.process.kill();
    }
}

/// A message that the foreign client publishes.
pub struct Foreign<'a> {
    pub key: &'a str,
    pub id: &'a str,
    pub body: Body<'a>,
}

pub enum Body<'a> {
    Text(&'a str),
    /// So many bytes of nothing in particular.
    Filled(usize),
}

/// Who connects to this socket reads a [`Topology`]. rabbitmqctl takes seconds for it, and needs epmd.
const TOPOLOGY: &str = r#"
spawn(fun() ->
    file:delete("topology"),
    {ok, Door} = gen_tcp:listen(0, [binary, {ifaddr, {local, "topology"}}]),
    Name = fun(Resource) -> element(4, Resource) end,
    Queue = fun(Queue) ->
        Info = rabbit_amqqueue:info(Queue, [name, durable, messages, consumers, arguments]),
        Arguments = maps:from_list([{Key, Value} || {Key, _, Value} <- proplists:get_value(arguments, Info)]),
        Kept = maps:without([name, arguments], maps:from_list(Info)),
        {Name(proplists:get_value(name, Info)), Kept#{arguments => Arguments}}
    end,
    Binding = fun(Info) -> [proplists:get_value(Key, Info) || Key <- [source_name, destination_name, routing_key]] end,
    Topology = fun() ->
        Queues = maps:from_list([Queue(Each) || Each <- rabbit_amqqueue:list(<<"eim/events">>)]),
        Bindings = [Binding(Each) || Each <- rabbit_binding:info_all(<<"eim/events">>)],
        rabbit_json:encode(#{queues => Queues, bindings => [Each || Each = [Source | _] <- Bindings, Source =/= <<>>]})
    end,
    Serve = fun Next() ->
        {ok, Caller} = gen_tcp:accept(Door),
        gen_tcp:send(Caller, try Topology() catch _:_ -> <<>> end),
        gen_tcp:close(Caller),
        Next()
    end,
    Serve()
end)."#;

fn launch(directory: &Path) -> Process {
    let mut command = Command::new(SERVER);
    // The listener of Erlang's distribution isn't opened, and nobody asks for its port but RabbitMQ, for a list.
    command.args(["-sname", "rabbit@localhost", "-setcookie", "none", "-dist_listen", "false"]);
    command.args(["-start_epmd", "false", "-erl_epmd_port", "1", "-eval", TOPOLOGY]);
    command
        .env("HOME", directory)
        // The script becomes the server, instead of its parent.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env("RABBITMQ_NODENAME", "rabbit@localhost")
        .env("RABBITMQ_BASE", directory)
        .env("RABBITMQ_MNESIA_BASE", directory.join("data"))
        .env("RABBITMQ_LOG_BASE", directory.join("log"))
        .env("RABBITMQ_CONFIG_FILE", directory.join("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", directory.join("enabled_plugins"))
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("ERL_CRASH_DUMP", directory.join("crash.dump"))
        .current_dir(directory);
    process::unprivileged(&mut command, directory);
    Process::start("rabbitmq", &mut command)
}

impl WebStomp {
    /// A client that sends nothing is kept: by default it is cut after a minute.
    fn configuration(&self, directory: &Path) -> String {
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.join(name));
        format!(
            "stomp.listeners.tcp = none\nweb_stomp.tcp.listener = {}\nweb_stomp.ssl.listener = {}\n\
             web_stomp.ssl.certfile = {}\nweb_stomp.ssl.keyfile = {}\n\
             web_stomp.cowboy_opts.idle_timeout = {IDLE_MS}\nweb_stomp.ws_opts.idle_timeout = {IDLE_MS}\n",
            self.plain.address(),
            self.tls.address(),
            certificate.display(),
            key.display(),
        )
    }
}

fn configuration(directory: &Path, plain: &Port, tls: &Port) -> String {
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.join(name));
    format!(
        "listeners.tcp.1 = {}\nlisteners.ssl.1 = {}\n\
         ssl_options.certfile = {}\nssl_options.keyfile = {}\nssl_options.verify = verify_none\n\
         default_vhost = {VHOST}\ndefault_user = {USER}\ndefault_pass = {}\n\
         log.file = false\nlog.console = true\nlog.console.level = warning\n\
         disk_free_limit.absolute = 50MB\n",
        plain.address(),
        tls.address(),
        certificate.display(),
        key.display(),
        RabbitMq::PASSWORD
    )
}
