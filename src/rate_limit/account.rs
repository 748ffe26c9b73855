//! The resources of this process that clients hold: connections, sockets, and the bytes of requests and answers under
//! way. Counted for each connection, for each address block and for all together. A request beyond a bound is refused,
//! not queued. The rate at which a block opens connections is bounded too: handshakes cost more than anything that is
//! asked over them.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;

use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use crate::rate_limit::address::AddressBlock;
use crate::rate_limit::budget::Budget;
use crate::sync;

/// The bounds: `limits.*`.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections that one block may open.
    pub connects_per_minute: u32,
    /// Connections of one address block.
    pub connections_per_block: usize,
    /// WebSockets of one address block.
    pub sockets_per_block: usize,
    /// Bytes that wait for or come from one connection.
    pub bytes_per_connection: usize,
    /// Bytes of all connections of one address block.
    pub bytes_per_block: usize,
    /// By all together.
    pub bytes: usize,
}

/// The bound that leaves no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The connection's bytes.
    #[error("the connection holds as much as one may")]
    Connection,
    /// The address block's share.
    #[error("the address block holds as much as one may")]
    Block,
    /// The address block's rate of connections.
    #[error("the address block opens connections faster than one may")]
    Rate,
    /// The process's total.
    #[error("all clients together hold as much as they may")]
    Process,
}

/// All accounts. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Accounting>);

struct Accounting {
    bounds: Bounds,
    opened: Budget,
    bytes: AtomicUsize,
    /// Those who hold something.
    blocks: Mutex<HashMap<AddressBlock, Weak<Block>>>,
}

struct Block {
    books: Arc<Accounting>,
    of: AddressBlock,
    connections: AtomicUsize,
    sockets: AtomicUsize,
    bytes: AtomicUsize,
    /// Held by whoever of the block begins a part of a larger work.
    turn: AsyncMutex<()>,
    /// Held by the handshake that goes on.
    handshake: AsyncMutex<()>,
}

/// The client that asks: a request extension, set by the listener for every request.
#[derive(Clone)]
pub struct Client {
    /// The socket's own address, or the one that a trusted proxy names. An IPv4 address mapped into IPv6 is always
    /// written as IPv4.
    pub address: IpAddr,
    /// Its connection's account.
    pub account: Arc<Account>,
}

/// One connection's: open for as long as the connection is.
pub struct Account {
    block: Arc<Block>,
    /// A trusted proxy's connection is nobody's.
    counted: bool,
    bytes: AtomicUsize,
    condemned: AtomicBool,
}

impl Accounts {
    /// No connections yet.
    pub fn new(bounds: Bounds) -> Self {
        let opened = Budget::per_minute(bounds.connects_per_minute);
        Self(Arc::new(Accounting { bounds, opened, bytes: AtomicUsize::new(0), blocks: Mutex::default() }))
    }

    /// Bytes held by all clients now.
    pub fn held_bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// One more connection from that address.
    ///
    /// # Errors
    /// Its block has as many as one may have, or has just opened as many as one may.
    pub fn connect(&self, address: IpAddr) -> Result<Arc<Account>, Full> {
        self.0.opened.take(address).map_err(|_wait_ms| Full::Rate)?;
        let block = self.block(address);
        if !add(&block.connections, 1, self.0.bounds.connections_per_block) {
            return Err(Full::Block);
        }
        Ok(Arc::new(Account::new(block, true)))
    }

    /// For somebody who comes over a trusted proxy's connection.
    pub fn behind_proxy(&self, address: IpAddr) -> Arc<Account> {
        Arc::new(Account::new(self.block(address), false))
    }

    fn block(&self, address: IpAddr) -> Arc<Block> {
        let of = AddressBlock::host(address);
        let mut blocks = sync::lock(&self.0.blocks);
        if let Some(block) = blocks.get(&of).and_then(Weak::upgrade) {
            return block;
        }
        let block = Arc::new(Block {
            books: self.0.clone(),
            of,
            connections: AtomicUsize::new(0),
            sockets: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            turn: AsyncMutex::new(()),
            handshake: AsyncMutex::new(()),
        });
        blocks.insert(of, Arc::downgrade(&block));
        metrics::gauge!("confgate_address_blocks").set(blocks.len() as f64);
        block
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut blocks = sync::lock(&self.books.blocks);
        // Its successor may be there already.
        if blocks.get(&self.of).is_some_and(|block| block.strong_count() == 0) {
            blocks.remove(&self.of);
            metrics::gauge!("confgate_address_blocks").set(blocks.len() as f64);
        }
    }
}

impl Account {
    fn new(block: Arc<Block>, counted: bool) -> Self {
        Self { block, counted, bytes: AtomicUsize::new(0), condemned: AtomicBool::new(false) }
    }

    /// One more socket of the block's.
    ///
    /// # Errors
    /// The block has as many as one may have.
    pub fn socket(self: &Arc<Self>) -> Result<SocketSlot, Full> {
        let most = self.block.books.bounds.sockets_per_block;
        if add(&self.block.sockets, 1, most) { Ok(SocketSlot(self.clone())) } else { Err(refused(Full::Block)) }
    }

    /// Waits for the block's turn: of all its large works, one part begins at a time, so that however many it asks for,
    /// they stand in the others' way as one would.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.block.turn.lock().await
    }

    /// Drives a handshake. Of all the block's handshakes one goes on at a time, and only while it has something to do: a
    /// block that opens many connections at once has one of the cores busy at most, and a peer that falls silent holds up
    /// nobody.
    pub async fn shake_hands<F: Future>(&self, handshake: F) -> F::Output {
        let mut handshake = pin!(handshake);
        loop {
            let turn = self.block.handshake.lock().await;
            if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(handshake.as_mut().poll(cx))).await {
                return done;
            }
            drop(turn);
            woken().await;
        }
    }

    /// The connection is to be cut: its client takes nothing any more.
    pub fn condemn(&self) {
        self.condemned.store(true, Relaxed);
    }

    /// Whether the connection is to be cut.
    pub fn is_condemned(&self) -> bool {
        self.condemned.load(Relaxed)
    }

    fn take(&self, bytes: usize) -> Result<(), Full> {
        let (block, books) = (&*self.block, &*self.block.books);
        if !add(&self.bytes, bytes, books.bounds.bytes_per_connection) {
            return Err(refused(Full::Connection));
        }
        if !add(&block.bytes, bytes, books.bounds.bytes_per_block) {
            self.bytes.fetch_sub(bytes, Relaxed);
            return Err(refused(Full::Block));
        }
        if !add(&books.bytes, bytes, books.bounds.bytes) {
            self.bytes.fetch_sub(bytes, Relaxed);
            block.bytes.fetch_sub(bytes, Relaxed);
            return Err(refused(Full::Process));
        }
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        let books = &*self.block.books;
        self.bytes.fetch_sub(bytes, Relaxed);
        self.block.bytes.fetch_sub(bytes, Relaxed);
        books.bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.counted {
            self.block.connections.fetch_sub(1, Relaxed);
        }
    }
}

/// Returns when the task is woken again.
async fn woken() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Adds where the sum stays within the bound. Each counter is on its own: no ordering between them is needed.
fn add(counter: &AtomicUsize, more: usize, most: usize) -> bool {
    let fits = counter.fetch_add(more, Relaxed).saturating_add(more) <= most;
    if !fits {
        counter.fetch_sub(more, Relaxed);
    }
    fits
}

fn refused(full: Full) -> Full {
    let bound = match full {
        Full::Connection => "connection",
        Full::Block => "block",
        Full::Rate => "rate",
        Full::Process => "process",
    };
    metrics::counter!("confgate_held_refused_total", "bound" => bound).increment(1);
    full
}

/// An open socket out of its block's.
pub struct SocketSlot(Arc<Account>);

impl SocketSlot {
    /// The connection's account.
    pub fn account(&self) -> &Arc<Account> {
        &self.0
    }
}

impl Drop for SocketSlot {
    fn drop(&mut self) {
        self.0.block.sockets.fetch_sub(1, Relaxed);
    }
}

/// Bytes held by one request, answer or queue; given back when dropped.
pub struct Held {
    account: Arc<Account>,
    bytes: AtomicUsize,
}

impl Held {
    /// Holds no bytes yet.
    pub fn nothing(account: Arc<Account>) -> Self {
        Self { account, bytes: AtomicUsize::new(0) }
    }

    /// # Errors
    /// The bound that leaves no room; then nothing more is held.
    pub fn hold(&self, more: usize) -> Result<(), Full> {
        self.account.take(more)?;
        self.bytes.fetch_add(more, Relaxed);
        Ok(())
    }

    /// Gives that much of it back.
    pub fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
        self.account.give_back(bytes);
    }

    /// Holds so much from now on, whatever it was.
    ///
    /// # Errors
    /// The bound that leaves no room; then as much is held as before.
    pub fn set(&self, bytes: usize) -> Result<(), Full> {
        let now = self.bytes.load(Relaxed);
        if bytes >= now {
            return self.hold(bytes - now);
        }
        self.release(now - bytes);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.give_back(*self.bytes.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        connects_per_minute: 6,
        connections_per_block: 2,
        sockets_per_block: 1,
        bytes_per_connection: 10,
        bytes_per_block: 15,
        bytes: 20,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_block_has_so_many_connections_and_no_other_block_pays_for_it() {
        let accounts = Accounts::new(BOUNDS);
        let first = accounts.connect(ip("192.0.2.1")).unwrap();
        let _second = accounts.connect(ip("192.0.2.1")).unwrap();
        assert_eq!(accounts.connect(ip("192.0.2.1")).err(), Some(Full::Block));
        assert!(accounts.connect(ip("192.0.2.2")).is_ok());
        assert!(accounts.connect(ip("2001:db8::1")).is_ok());
        drop(first);
        assert!(accounts.connect(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn a_block_opens_so_many_connections_in_a_minute_and_no_other_block_pays_for_it() {
        let accounts = Accounts::new(BOUNDS);
        for _ in 0..6 {
            accounts.connect(ip("192.0.2.1")).unwrap();
        }
        assert_eq!(accounts.connect(ip("192.0.2.1")).err(), Some(Full::Rate));
        assert!(accounts.connect(ip("192.0.2.2")).is_ok());
    }

    #[tokio::test]
    async fn one_handshake_of_a_block_goes_on_at_a_time_and_a_silent_one_holds_up_nobody() {
        let accounts = Accounts::new(BOUNDS);
        let [silent, other] = [(); 2].map(|()| accounts.connect(ip("192.0.2.1")).unwrap());
        let mut never = pin!(silent.shake_hands(std::future::pending::<()>()));
        assert!(futures_util::poll!(never.as_mut()).is_pending());
        let turn = other.block.handshake.lock().await;
        let mut waits = pin!(other.shake_hands(std::future::ready(7)));
        assert!(futures_util::poll!(waits.as_mut()).is_pending(), "another one has its turn");
        drop(turn);
        assert_eq!(waits.await, 7);
    }

    #[tokio::test]
    async fn a_handshake_goes_on_whenever_its_peer_says_something() {
        let account = Accounts::new(BOUNDS).connect(ip("192.0.2.1")).unwrap();
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let handshake = account.shake_hands(async { (receiver.recv().await, receiver.recv().await) });
        let saying = async {
            for word in [1, 2] {
                sender.send(word).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(tokio::join!(handshake, saying).0, (Some(1), Some(2)));
    }

    #[test]
    fn sockets_are_counted_for_the_block() {
        let accounts = Accounts::new(BOUNDS);
        let account = accounts.connect(ip("192.0.2.1")).unwrap();
        let other = accounts.behind_proxy(ip("192.0.2.1"));
        let socket = account.socket().unwrap();
        assert_eq!(other.socket().err(), Some(Full::Block));
        drop(socket);
        assert!(other.socket().is_ok());
    }

    #[test]
    fn bytes_are_bounded_for_the_connection_the_block_and_all() {
        let accounts = Accounts::new(BOUNDS);
        let hold = |address: &str| Held::nothing(accounts.behind_proxy(ip(address)));
        let (a, b, c) = (hold("192.0.2.1"), hold("192.0.2.1"), hold("192.0.2.2"));
        assert_eq!((a.hold(10), a.hold(1)), (Ok(()), Err(Full::Connection)));
        assert_eq!((b.hold(6), b.hold(5)), (Err(Full::Block), Ok(())));
        assert_eq!((c.hold(6), c.hold(5)), (Err(Full::Process), Ok(())));
        a.release(1);
        assert_eq!((c.hold(1), c.hold(1)), (Ok(()), Err(Full::Process)));
        drop((a, b));
        assert_eq!((c.hold(4), c.set(11), c.set(3), c.set(10)), (Ok(()), Err(Full::Connection), Ok(()), Ok(())));
        drop(c);
        assert_eq!((accounts.0.bytes.load(Relaxed), accounts.0.blocks.lock().unwrap().len()), (0, 0));
    }
}
