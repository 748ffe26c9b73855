//! ICE over TCP (RFC 6544, passive), for clients whose network lets no UDP out. Each packet is a frame of RFC 4571: its
//! length in two bytes, then itself.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use str0m::net::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::thread::{Incoming, Task};
use super::udp::plain;
use crate::demux::stun_fragment;
use crate::router::Router;
use crate::worker::Socket;

/// Bytes of a frame: more than any packet of WebRTC.
const FRAME_MAX: usize = 2_048;
/// Packets that wait for a slow client: half a second of video. More are lost, as a full router would lose them.
const QUEUE: usize = 128;

/// Blocks of addresses without a connection whose rate is remembered.
const BLOCKS: usize = 4_096;
/// What a rate is for.
const MINUTE: Duration = Duration::from_secs(60);

/// How many connections there are, in all and of each block of addresses, and how fast each block opens them; shared by
/// the acceptor and the connections' ends.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    max: usize,
    /// One connection's part of a minute.
    price: Duration,
    blocks: Arc<Mutex<HashMap<IpAddr, Block>>>,
}

/// What a block of addresses has.
#[derive(Debug)]
struct Block {
    open: usize,
    /// Until when its rate is used up.
    spent: Instant,
}

/// Held as long as the connection.
#[derive(Debug)]
pub(crate) struct Slot {
    of: IpAddr,
    slots: Slots,
}

/// Why a connection isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Limit,
    Rate,
}

/// The addresses that one client has for nothing: an IPv4 address, an IPv6 /64.
fn block_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
    }
}

impl Slots {
    pub(crate) fn new(max: usize, connects_per_minute: u32) -> Slots {
        Slots { max, price: MINUTE / connects_per_minute.max(1), blocks: Arc::default() }
    }

    fn take(&self, of: IpAddr, now: Instant) -> Result<Slot, Refused> {
        let of = block_of(of);
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.len() >= self.max + BLOCKS {
            blocks.retain(|_, block| block.open > 0);
        }
        let all: usize = blocks.values().map(|block| block.open).sum();
        let block = blocks.entry(of).or_insert(Block { open: 0, spent: now });
        if all >= self.max || block.open >= self.max.div_ceil(4) {
            return Err(Refused::Limit);
        }
        let spent = block.spent.max(now) + self.price;
        if spent > now + MINUTE {
            return Err(Refused::Rate);
        }
        (block.open, block.spent) = (block.open + 1, spent);
        Ok(Slot { of, slots: self.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut blocks = self.slots.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = blocks.get_mut(&self.of) {
            block.open -= 1;
        }
    }
}

/// A connection on its way to the thread it is for.
pub(crate) struct Handover {
    stream: std::net::TcpStream,
    pub(crate) source: SocketAddr,
    /// Its first packet.
    pub(crate) first: Vec<u8>,
    slot: Slot,
}

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
        let source = plain(source);
        let slot = match slots.take(source.ip(), Instant::now()) {
            Ok(slot) => slot,
            Err(refused) => {
                let reason = if refused == Refused::Rate { "rate" } else { "limit" };
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
    let thread = router.lock().unwrap_or_else(PoisonError::into_inner).thread_of(&fragment)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_block_has_a_quarter_of_the_connections_whatever_address_of_its_it_comes_from() {
        let (slots, now) = (Slots::new(8, 1_000), Instant::now());
        let _held: Vec<Slot> = ["2001:db8::1", "2001:db8::2"].map(|of| slots.take(ip(of), now).unwrap()).into();
        assert_eq!(slots.take(ip("2001:db8::ffff:3"), now).err(), Some(Refused::Limit));
        assert!(slots.take(ip("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn a_block_opens_so_many_connections_in_a_minute_and_no_other_block_pays_for_it() {
        let (slots, now) = (Slots::new(8, 60), Instant::now());
        for _ in 0..60 {
            slots.take(ip("192.0.2.1"), now).unwrap();
        }
        assert_eq!(slots.take(ip("192.0.2.1"), now).err(), Some(Refused::Rate));
        assert!(slots.take(ip("192.0.2.2"), now).is_ok());
        assert!(slots.take(ip("192.0.2.1"), now + Duration::from_secs(1)).is_ok());
        assert_eq!(slots.take(ip("192.0.2.1"), now + Duration::from_secs(1)).err(), Some(Refused::Rate));
    }

    #[test]
    fn the_number_of_blocks_that_are_remembered_is_bounded() {
        let (slots, now) = (Slots::new(4, 60), Instant::now());
        for n in 0..3 * BLOCKS as u32 {
            let _ = slots.take(IpAddr::V4((0x0a00_0000 + n).into()), now);
        }
        assert!(slots.blocks.lock().unwrap().len() <= 4 + BLOCKS);
    }
}
