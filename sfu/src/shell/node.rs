//! A media node: its threads and the way to them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use str0m::net::Protocol;
use tokio::sync::{mpsc, watch};

use super::gauges::Gauges;
use super::mailbox::Task;
use super::slots::Slots;
use super::thread::{self, Parts};
use super::udp;
use crate::addresses::announced;
use crate::config::Config;
use crate::protocol::{Command, EndpointId, Load, Notice, Refusal};
use crate::router::{Route, Router};
use crate::sync::lock;
use crate::worker::Worker;

/// A media node. Its clones are the same node.
///
/// Each of its threads has a queue of `Config::commands_max` commands; when that is full, [`Node::send`] says so and
/// nothing has happened. When the last clone is dropped, or after [`Node::stop`], the threads end; [`Node::send`] is
/// [`Full`] from then on.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    queues: Vec<mpsc::Sender<Task>>,
    /// Not on the way of any packet.
    router: Arc<Mutex<Router>>,
    gauges: Vec<Arc<Gauges>>,
    packets_per_s_max: u64,
    rooms_max: usize,
    stop: Arc<watch::Sender<bool>>,
    /// Its sender's clones are held by the threads: closed when all have ended.
    running: tokio::sync::Mutex<mpsc::Receiver<()>>,
    udp: Vec<SocketAddr>,
    tcp: Option<SocketAddr>,
}

/// The thread's queue is full, or the thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the media thread's queue is full")
    }
}

impl std::error::Error for Full {}

impl Node {
    /// Listens and starts the threads. The receiver gives the node's notices; it ends when all threads have: after
    /// [`Node::stop`], or by a fault of any of them.
    ///
    /// When nobody takes the notices, none is lost and media goes on, but commands wait: see [`Node::send`].
    ///
    /// # Errors
    /// When a port can't be listened at, or the system gives no thread or randomness.
    pub fn start(config: Config) -> io::Result<(Node, mpsc::Receiver<Notice>)> {
        let threads = config.threads.max(1);
        let (notices, received) = mpsc::channel(config.notices_max.max(1));
        let (stop, _) = watch::channel(false);
        let stop = Arc::new(stop);
        let (alive, running) = mpsc::channel(1);
        let router = Arc::new(Mutex::new(Router::new(config.rooms_max)));
        let mut listener = config.tcp.map(listen).transpose()?;
        let tcp = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let queues: Vec<_> = (0..threads).map(|_| mpsc::channel(config.commands_max.max(1))).collect();
        let senders: Vec<mpsc::Sender<Task>> = queues.iter().map(|(sender, _)| sender.clone()).collect();
        let slots = Slots::new(config.tcp_connections_max, config.tcp_connects_per_minute);
        let (mut udp_addresses, mut gauges) = (Vec::new(), Vec::new());
        for (index, (_, tasks)) in queues.into_iter().enumerate() {
            let port = if index == 0 { config.udp.port() } else { 0 };
            let socket = udp::bind(SocketAddr::new(config.udp.ip(), port))?;
            let address = socket.local_addr()?;
            udp_addresses.push(address);
            let gauge = Arc::new(Gauges::default());
            gauges.push(Arc::clone(&gauge));
            let worker = Worker::new(config.limits, locals(&config, address, tcp), Instant::now())?;
            let parts = Parts {
                worker,
                socket,
                tasks,
                notices: notices.clone(),
                router: Arc::clone(&router),
                gauges: gauge,
                stop: stop.subscribe(),
                stop_all: Arc::clone(&stop),
                _alive: alive.clone(),
                listener: listener.take(),
                slots: slots.clone(),
                queues: senders.iter().map(mpsc::Sender::downgrade).collect(),
                tcp_first_timeout: config.tcp_first_timeout,
                tcp_idle_timeout: config.tcp_idle_timeout,
                announced: announced(config.udp.ip(), &config.announce),
            };
            thread::start(index, parts)?;
        }
        let inner = Inner {
            queues: senders,
            router,
            gauges,
            packets_per_s_max: config.limits.packets_per_s_max,
            rooms_max: config.rooms_max,
            stop,
            running: tokio::sync::Mutex::new(running),
            udp: udp_addresses,
            tcp,
        };
        Ok((Node { inner: Arc::new(inner) }, received))
    }

    /// Hands a command to its thread; never waits. The result is a notice.
    ///
    /// # Errors
    /// When the thread has more to do than it takes: nothing has happened, try again later.
    pub fn send(&self, command: Command) -> Result<(), Full> {
        let inner = &*self.inner;
        let mut router = lock(&inner.router);
        let thread = match router.route(&command, inner.idlest()) {
            Route::Thread(thread) => thread,
            Route::TooMany => {
                if let Command::SetForwarding { room, .. } = &command {
                    router.unrouted_permits(room.clone(), command);
                    return Ok(());
                }
                return inner.refuse(&command);
            }
            Route::NoNodeAvailable => {
                if let Command::Candidate { endpoint, candidate } = command {
                    router.early(endpoint, candidate, Instant::now());
                }
                return Ok(());
            }
        };
        let places = inner.queues[thread].try_reserve_many(router.going(&command)).map_err(|_| Full)?;
        for (command, place) in router.sent(command, thread).into_iter().zip(places) {
            place.send(Task::Do(command));
        }
        Ok(())
    }

    /// How busy the node is now.
    pub fn load(&self) -> Load {
        let inner = &*self.inner;
        let fullest = inner.gauges.iter().map(|gauges| gauges.full_permille.load(Ordering::Relaxed)).max();
        let rooms = lock(&inner.router).rooms();
        let rooms_share = rooms as f64 / inner.rooms_max.max(1) as f64;
        Load {
            packets_per_s: inner.gauges.iter().map(|gauges| gauges.packets_per_s.load(Ordering::Relaxed)).sum(),
            packets_per_s_max: inner.packets_per_s_max.max(1) * inner.gauges.len() as u64,
            busiest: rooms_share.max(fullest.unwrap_or(0) as f64 / 1000.0),
            rooms: rooms as u64,
            endpoints: inner.gauges.iter().map(|gauges| gauges.endpoints.load(Ordering::Relaxed)).sum(),
        }
    }

    /// Packets forwarded since the node's start.
    pub fn forwarded(&self) -> u64 {
        self.inner.gauges.iter().map(|gauges| gauges.forwarded.load(Ordering::Relaxed)).sum()
    }

    /// The addresses at which the threads take UDP.
    pub fn udp(&self) -> &[SocketAddr] {
        &self.inner.udp
    }

    /// The address at which the node takes TCP.
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.inner.tcp
    }

    /// Ends all connections and the threads; returns when they have ended.
    pub async fn stop(&self) {
        self.inner.stop.send_replace(true);
        while self.inner.running.lock().await.recv().await.is_some() {}
    }
}

impl Inner {
    /// The thread that does the least, by what it forwards and, before anything flows, by its connections.
    fn idlest(&self) -> usize {
        /// The packets a second that a connection will roughly have to forward.
        const PACKETS_PER_ENDPOINT: u64 = 50;
        let busy = |gauges: &Arc<Gauges>| {
            let expected = gauges.endpoints.load(Ordering::Relaxed) * PACKETS_PER_ENDPOINT;
            let is_full = gauges.full_permille.load(Ordering::Relaxed) >= 1000;
            (is_full, gauges.packets_per_s.load(Ordering::Relaxed).max(expected))
        };
        let idlest = self.gauges.iter().enumerate().min_by_key(|(_, gauges)| busy(gauges));
        idlest.map_or(0, |(index, _)| index)
    }

    fn refuse(&self, command: &Command) -> Result<(), Full> {
        let Some(endpoint) = endpoint_of(command) else { return Ok(()) };
        let task = Task::Refuse { endpoint, refusal: Refusal::Overloaded };
        self.queues[0].try_send(task).map_err(|_| Full)
    }
}

/// The endpoint that a command makes.
fn endpoint_of(command: &Command) -> Option<EndpointId> {
    match command {
        Command::Publish { endpoint, .. }
        | Command::Subscribe { endpoint, .. }
        | Command::Forward { endpoint, .. }
        | Command::SendRecv { endpoint, .. }
        | Command::Pull { endpoint, .. } => Some(*endpoint),
        _ => None,
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn locals(config: &Config, udp: SocketAddr, tcp: Option<SocketAddr>) -> Vec<(Protocol, SocketAddr)> {
    let at = |listen: IpAddr, port: u16, proto: Protocol| {
        announced(listen, &config.announce).into_iter().map(move |ip| (proto, SocketAddr::new(ip, port)))
    };
    let loopback = match udp.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let first = config.announce_loopback.then_some((Protocol::Udp, SocketAddr::new(loopback, udp.port())));
    let udp = at(udp.ip(), udp.port(), Protocol::Udp).filter(move |local| Some(*local) != first);
    first
        .into_iter()
        .chain(udp)
        .chain(tcp.into_iter().flat_map(|tcp| at(tcp.ip(), tcp.port(), Protocol::Tcp)))
        .collect()
}
