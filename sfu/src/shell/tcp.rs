//! ICE over TCP (RFC 6544, passive), for clients whose network lets no UDP out. Each packet is a frame of RFC 4571: its
//! length in two bytes, then itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use str0m::net::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::mailbox::{Handover, Incoming, Task};
use super::slots::{Slot, SlotRefused, Slots};
use super::udp::canonical;
use crate::demux::stun_fragment;
use crate::router::Router;
use crate::sync::lock;
use crate::worker::Socket;

/// Bytes of a frame: more than any packet of WebRTC.
const FRAME_MAX: usize = 2_048;
/// Packets that wait for a slow client: half a second of video. More are lost, as a full router would lose them.
const QUEUE: usize = 128;

/// Takes connections and hands each to the thread of the endpoint that its first packet names. Ends with its runtime.
pub(crate) async fn accept(
    listener: TcpListener,
    slots: Slots,
    router: Arc<Mutex<Router>>,
    queues: Vec<mpsc::WeakSender<Task>>,
    first_timeout: Duration,
) {
    /// When the system has no more descriptors: until some are free.
    const PAUSE: Duration = Duration::from_millis(100);
    loop {
        let (stream, source) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a TCP connection for media wasn't taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let source = canonical(source);
        let slot = match slots.take(source.ip(), Instant::now()) {
            Ok(slot) => slot,
            Err(refused) => {
                let reason = if refused == SlotRefused::Rate { "rate" } else { "limit" };
                metrics::counter!("confgate_sfu_tcp_refused_total", "reason" => reason).increment(1);
                continue;
            }
        };
        let (router, queues) = (Arc::clone(&router), queues.clone());
        tokio::spawn(async move {
            let _ = tokio::time::timeout(first_timeout, hand_over(stream, source, slot, router, queues)).await;
        });
    }
}

async fn hand_over(
    mut stream: TcpStream,
    source: SocketAddr,
    slot: Slot,
    router: Arc<Mutex<Router>>,
    queues: Vec<mpsc::WeakSender<Task>>,
) -> Option<()> {
    let mut first = Vec::new();
    read_frame(&mut stream, &mut first).await?;
    let fragment = stun_fragment(&first)?;
    let thread = lock(&router).thread_of(&fragment)?;
    let queue = queues.get(thread)?.upgrade()?;
    let stream = stream.into_std().ok()?;
    queue.try_send(Task::Tcp(Handover { stream, source, first, slot })).ok()
}

/// Reads one frame into `frame`; `None` at the end, or when the frame is none.
async fn read_frame(stream: &mut (impl AsyncReadExt + Unpin), frame: &mut Vec<u8>) -> Option<()> {
    let length = usize::from(stream.read_u16().await.ok()?);
    if length > FRAME_MAX {
        return None;
    }
    frame.resize(length, 0);
    stream.read_exact(frame).await.ok()?;
    Some(())
}

/// A thread's TCP connections, by their client's address. Owned by the thread.
pub(crate) struct Connections {
    queues: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>,
    incoming: mpsc::Sender<Incoming>,
    idle_timeout: Duration,
}

impl Connections {
    pub(crate) fn new(incoming: mpsc::Sender<Incoming>, idle_timeout: Duration) -> Connections {
        Connections { queues: HashMap::new(), incoming, idle_timeout }
    }

    pub(crate) fn len(&self) -> usize {
        self.queues.len()
    }

    /// Serves the connection from now on.
    pub(crate) fn add(&mut self, handover: Handover) -> bool {
        let Handover { stream, source, slot, .. } = handover;
        let Ok(stream) = TcpStream::from_std(stream) else { return false };
        // Packets are small and urgent.
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let (queue, queued) = mpsc::channel(QUEUE);
        self.queues.retain(|_, queue| !queue.is_closed());
        self.queues.insert(source, queue);
        let (incoming, idle) = (self.incoming.clone(), self.idle_timeout);
        tokio::spawn(async move {
            tokio::select! {
                () = read(reader, source, incoming, idle) => {}
                () = write(writer, queued) => {}
            }
            drop(slot);
        });
        true
    }

    pub(crate) fn send(&mut self, to: SocketAddr, packet: Vec<u8>) {
        let Some(queue) = self.queues.get(&to) else { return };
        match queue.try_send(packet) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                metrics::counter!("confgate_sfu_tcp_packets_lost_total").increment(1);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.queues.remove(&to);
            }
        }
    }
}

async fn read(mut reader: OwnedReadHalf, source: SocketAddr, to: mpsc::Sender<Incoming>, idle: Duration) {
    let mut frame = Vec::new();
    while let Ok(Some(())) = tokio::time::timeout(idle, read_frame(&mut reader, &mut frame)).await {
        let bytes = std::mem::take(&mut frame);
        // A full queue holds the client up: TCP can wait.
        if to.send(Incoming { socket: Socket::Shared, proto: Protocol::Tcp, source, bytes }).await.is_err() {
            return;
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut queued: mpsc::Receiver<Vec<u8>>) {
    let mut frame = Vec::new();
    while let Some(packet) = queued.recv().await {
        let Ok(length) = u16::try_from(packet.len()) else { continue };
        frame.clear();
        frame.extend(length.to_be_bytes());
        frame.extend(packet);
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}
