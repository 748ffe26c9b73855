//! A media thread: a worker, its socket and its clock. All it waits for, it waits for here.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use str0m::net::Protocol;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::gauges::Gauges;
use super::mailbox::{DATAGRAM_MAX, Incoming, Task};
use super::per_endpoint_sockets::PerEndpointSockets;
use super::report::{Queues, Report};
use super::slots::Slots;
use super::tcp::{self, Connections};
use super::udp::{GsoSender, OutgoingDatagram, canonical, mapped};
use crate::protocol::{Command, EndpointId, Notice, Refusal};
use crate::router::Router;
use crate::sync::lock;
use crate::worker::{Datagram, Socket, Transmit, Worker};

/// Datagrams read in a row before what they cause is sent.
const BATCH: usize = 64;

/// Whether more datagrams wait once a batch is read. The thread pauses only where none does: with a pause after each
/// batch, strangers who send 32 000 datagrams a second would fill the socket's buffer and displace everybody's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    None,
    Perhaps,
}

/// Datagrams of other sockets that wait for the thread.
const INCOMING_MAX: usize = 1_024;
/// Notices that wait for room in the channel; from here on commands wait too.
const BACKLOG_MAX: usize = 256;

/// After it has read, the thread leaves its sockets alone for so long: what comes meanwhile is handled at once, and a
/// viewer's packets leave together. A picture's packets come within some milliseconds; nobody hears or sees two more.
const READ_COALESCE: Duration = Duration::from_millis(2);

/// How often the thread shows its load.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// The parts that a thread is made of.
pub(crate) struct Parts {
    pub(crate) worker: Worker,
    pub(crate) socket: std::net::UdpSocket,
    pub(crate) tasks: mpsc::Receiver<Task>,
    pub(crate) notices: mpsc::Sender<Notice>,
    pub(crate) router: Arc<Mutex<Router>>,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) stop_all: Arc<watch::Sender<bool>>,
    pub(crate) _alive: mpsc::Sender<()>,
    /// On one thread of the node.
    pub(crate) listener: Option<TcpListener>,
    pub(crate) slots: Slots,
    /// The queues of all threads, for TCP connections. Weak: the node's end is the threads' end.
    pub(crate) queues: Vec<mpsc::WeakSender<Task>>,
    pub(crate) tcp_first_timeout: Duration,
    pub(crate) tcp_idle_timeout: Duration,
    pub(crate) announced: Vec<IpAddr>,
}

/// A thread that dies takes the node with it: half a node that looks alive is worse than none.
struct PanicGuard(Arc<watch::Sender<bool>>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.send_replace(true);
        }
    }
}

pub(crate) fn start(index: usize, parts: Parts) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("media-{index}")).spawn(move || {
        let _fuse = PanicGuard(Arc::clone(&parts.stop_all));
        runtime.block_on(async move {
            match Media::new(index, parts) {
                Ok(media) => media.run().await,
                Err(error) => tracing::error!(%error, "a media thread can't use its socket"),
            }
        });
    })?;
    Ok(())
}

/// The thread's state: nobody else has any of it.
struct Media {
    worker: Worker,
    socket: UdpSocket,
    socket_is_ipv6: bool,
    tasks: mpsc::Receiver<Task>,
    notices: mpsc::Sender<Notice>,
    backlog: VecDeque<Notice>,
    router: Arc<Mutex<Router>>,
    gauges: Arc<Gauges>,
    stop: watch::Receiver<bool>,
    incoming: mpsc::Receiver<Incoming>,
    connections: Connections,
    own: PerEndpointSockets,
    announced: Vec<IpAddr>,
    buffer: Box<[u8; DATAGRAM_MAX]>,
    datagrams: Vec<OutgoingDatagram>,
    gso_sender: GsoSender,
    /// Datagrams that the kernel didn't take, since the last report.
    unsent: u64,
    report: Report,
    next_report: Instant,
    /// When sockets are looked at again.
    rest_until: Instant,
    _alive: mpsc::Sender<()>,
}

impl Media {
    fn new(index: usize, parts: Parts) -> io::Result<Media> {
        let socket_is_ipv6 = parts.socket.local_addr()?.is_ipv6();
        let (incoming_sender, incoming) = mpsc::channel(INCOMING_MAX);
        if let Some(listener) = parts.listener {
            let router = Arc::clone(&parts.router);
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(tcp::accept(listener, parts.slots, router, parts.queues, parts.tcp_first_timeout));
        }
        Ok(Media {
            worker: parts.worker,
            socket: UdpSocket::from_std(parts.socket)?,
            socket_is_ipv6,
            tasks: parts.tasks,
            notices: parts.notices,
            backlog: VecDeque::new(),
            router: parts.router,
            gauges: parts.gauges,
            stop: parts.stop,
            incoming,
            connections: Connections::new(incoming_sender.clone(), parts.tcp_idle_timeout),
            own: PerEndpointSockets::new(incoming_sender),
            announced: parts.announced,
            buffer: Box::new([0; DATAGRAM_MAX]),
            datagrams: Vec::new(),
            gso_sender: GsoSender::new(),
            unsent: 0,
            report: Report::new(index),
            next_report: Instant::now(),
            rest_until: Instant::now(),
            _alive: parts._alive,
        })
    }

    async fn run(mut self) {
        let notices = self.notices.clone();
        while !*self.stop.borrow() {
            let next = tokio::time::Instant::from_std(self.worker.next_timeout().max(self.rest_until));
            let rested = self.rest_until <= Instant::now();
            tokio::select! {
                _ = self.stop.changed() => {}
                ready = self.socket.readable(), if rested => {
                    if ready.is_ok() && self.read() == Waiting::None {
                        self.rest_until = Instant::now() + READ_COALESCE;
                    }
                }
                Some(incoming) = self.incoming.recv(), if rested => {
                    if self.read_queue(incoming) == Waiting::None {
                        self.rest_until = Instant::now() + READ_COALESCE;
                    }
                }
                place = notices.reserve(), if !self.backlog.is_empty() => match place {
                    Ok(place) => {
                        if let Some(notice) = self.backlog.pop_front() {
                            place.send(notice);
                        }
                    }
                    // Nobody listens any more: whoever started the node has gone.
                    Err(_) => break,
                },
                task = self.tasks.recv(), if self.backlog.len() < BACKLOG_MAX => match task {
                    Some(task) => self.task(task),
                    None => break,
                },
                () = tokio::time::sleep_until(next) => {}
            }
            self.turn();
        }
        self.worker.close_all(Instant::now());
        self.send();
    }

    /// Carries out all effects of the inputs before.
    fn turn(&mut self) {
        let now = Instant::now();
        if self.worker.next_timeout() <= now {
            self.worker.timeout(now);
        }
        if self.next_report <= now {
            self.next_report = now + REPORT_INTERVAL;
            self.notify_load();
        } else if self.gauges.endpoints.load(Ordering::Relaxed) != self.worker.endpoints() as u64 {
            self.notify_fullness();
        }
        self.send();
        let routing = self.worker.take_routing();
        if !routing.is_empty() {
            let mut router = lock(&self.router);
            for change in routing {
                if let crate::worker::Routing::Ended { endpoint } = &change {
                    self.own.close(*endpoint);
                }
                router.note(change);
            }
        }
        while let Some(notice) = self.worker.poll_notice() {
            self.send_notice(notice);
        }
    }

    /// Said at once when a connection comes or goes: the next one may be one too many.
    fn notify_fullness(&self) {
        self.gauges.endpoints.store(self.worker.endpoints() as u64, Ordering::Relaxed);
        let permille = (self.worker.fullness() * 1000.0).ceil() as u64;
        self.gauges.full_permille.store(permille, Ordering::Relaxed);
    }

    fn notify_load(&mut self) {
        self.gauges.packets_per_s.store(self.worker.packets_per_s(), Ordering::Relaxed);
        self.notify_fullness();
        self.gauges.forwarded.store(self.worker.counts().forwarded, Ordering::Relaxed);
        let queues =
            Queues { commands: self.tasks.len(), notices: self.backlog.len(), tcp_connections: self.connections.len() };
        self.report.update(&self.worker, std::mem::take(&mut self.unsent), queues);
    }

    /// A notice goes out at once or, when signalling is slow, waits in order. None is lost: what a thread has to say
    /// of itself is bounded by its endpoints and rooms, and commands, which cause the rest, wait as well.
    fn send_notice(&mut self, notice: Notice) {
        if self.backlog.is_empty() {
            match self.notices.try_send(notice) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(notice)) => self.backlog.push_back(notice),
            }
            return;
        }
        if let Notice::Speaker { room, .. } = &notice {
            // An earlier speaker is of no interest any more.
            self.backlog.retain(|waiting| !matches!(waiting, Notice::Speaker { room: of, .. } if of == room));
        }
        self.backlog.push_back(notice);
    }

    fn task(&mut self, task: Task) {
        let now = Instant::now();
        match task {
            Task::Do(Command::Pull { room, endpoint, stream }) => match self.own_socket(endpoint) {
                Ok(address) => self.worker.pull(room, endpoint, stream, address, now),
                Err(error) => {
                    tracing::warn!(%error, "no socket for a pulled stream");
                    self.worker.refuse(endpoint, Refusal::Unavailable);
                }
            },
            Task::Do(command) => self.worker.command(command, now),
            Task::Refuse { endpoint, refusal } => self.worker.refuse(endpoint, refusal),
            Task::Tcp(handover) => {
                let (source, bytes) = (handover.source, handover.first.clone());
                if self.connections.add(handover) {
                    self.read_queue(Incoming { socket: Socket::Shared, proto: Protocol::Tcp, source, bytes });
                }
            }
        }
    }

    /// A socket for one endpoint; gives the address it announces.
    fn own_socket(&mut self, endpoint: EndpointId) -> io::Result<SocketAddr> {
        let listen = self.socket.local_addr()?.ip();
        let port = self.own.open(endpoint, SocketAddr::new(listen, 0))?;
        let ip = self.announced.first().copied().unwrap_or(listen);
        Ok(SocketAddr::new(ip, port))
    }

    /// Reads a batch from the shared socket.
    fn read(&mut self) -> Waiting {
        let now = Instant::now();
        let mut waiting = Waiting::Perhaps;
        for _ in 0..BATCH {
            let Ok((length, source)) = self.socket.try_recv_from(&mut self.buffer[..]) else {
                waiting = Waiting::None;
                break;
            };
            let datagram = Datagram {
                socket: Socket::Shared,
                proto: Protocol::Udp,
                source: canonical(source),
                bytes: &self.buffer[..length],
            };
            self.worker.datagram(datagram, now);
        }
        self.worker.flush(now);
        waiting
    }

    /// Reads a batch of what TCP connections and sockets of single endpoints have brought.
    fn read_queue(&mut self, incoming: Incoming) -> Waiting {
        let now = Instant::now();
        let mut next = Some(incoming);
        let mut left = BATCH;
        while let Some(incoming) = next {
            let Incoming { socket, proto, source, bytes } = &incoming;
            let datagram = Datagram { socket: *socket, proto: *proto, source: *source, bytes };
            self.worker.datagram(datagram, now);
            left -= 1;
            next = if left == 0 { None } else { self.incoming.try_recv().ok() };
        }
        self.worker.flush(now);
        if left == 0 { Waiting::Perhaps } else { Waiting::None }
    }

    /// Sends what there is.
    fn send(&mut self) {
        for transmit in self.worker.transmits().drain(..) {
            let Transmit { socket, proto, destination, bytes } = transmit;
            match (proto, socket) {
                (Protocol::Udp, Socket::Shared) => {
                    self.datagrams.push((bytes, mapped(destination, self.socket_is_ipv6)));
                }
                (Protocol::Udp, Socket::Of(endpoint)) => {
                    self.unsent += u64::from(!self.own.send(endpoint, &bytes, destination));
                }
                _ => self.connections.send(destination, bytes),
            }
        }
        self.unsent += self.gso_sender.send_all(&self.socket, &self.datagrams) as u64;
        self.datagrams.clear();
    }
}
