//! A body's entries: each one request for every limit, and their replies bounded together.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};

use super::envelope::{Body, Rejected, Request, parse, write_reply};
use super::reply::Reply;
use super::{Context, Rpc};
use crate::refusal::request_id;
use crate::refusal::{Reason, Refusal};

/// Entries of one batch that are under way together.
const TOGETHER: usize = 64;

type Entry<'a> = Result<Request<'a>, Rejected<'a>>;

impl Rpc {
    /// Answers a body; `None` where nothing is left to say.
    pub async fn answer(&self, context: &Context<'_>, body: &[u8]) -> Option<Reply> {
        // A request over HTTP was counted before its body was read.
        let counted = context.socket.is_none();
        match parse(body, self.config.limits.batch, self.config.auth.strict_jsonrpc) {
            Body::Single(entry) => self.answer_entry(context, entry, counted).await,
            Body::Batch(entries) => self.answer_batch(context, entries, counted).await,
        }
    }

    /// Entries run concurrently. They begin one by one, in turn with those of the address block's other batches, and
    /// between two of them all other work of the process goes on.
    async fn answer_batch(&self, context: &Context<'_>, entries: Vec<Entry<'_>>, counted: bool) -> Option<Reply> {
        let room = Room::new(self.config.limits.reply_bytes);
        let mut replies = Replies::default();
        let mut under_way = FuturesOrdered::new();
        for (n, entry) in entries.into_iter().enumerate() {
            if under_way.len() == TOGETHER {
                replies.add(under_way.next().await);
            }
            let turn = context.account.turn().await;
            under_way.push_back(self.answer_within(context, entry, counted && n == 0, &room));
            // It begins now; what is done already makes room.
            replies.add(under_way.next().now_or_never().flatten());
            tokio::task::yield_now().await;
            drop(turn);
        }
        while let Some(reply) = under_way.next().await {
            replies.add(Some(reply));
        }
        replies.finish()
    }

    /// An entry whose reply finds no room any more is not carried out; of one whose reply turns out too large, the
    /// caller learns that it was.
    async fn answer_within(
        &self,
        context: &Context<'_>,
        entry: Entry<'_>,
        counted: bool,
        room: &Room,
    ) -> Option<Reply> {
        let id = entry.as_ref().map_or_else(|rejected| Some(rejected.id), |request| request.id.map(Some));
        let too_large = |sent| {
            metrics::counter!("confgate_rpc_replies_too_large_total").increment(1);
            let mut reply = Reply::new();
            write_reply(&mut reply, id.flatten(), Err(&replies_too_large(sent)));
            reply
        };
        if id.is_some() && room.is_full() {
            return Some(too_large(false));
        }
        let reply = self.answer_entry(context, entry, counted).await?;
        Some(if room.take(reply.len()) { reply } else { too_large(true) })
    }

    fn answer_entry(
        &self,
        context: &Context<'_>,
        entry: Entry<'_>,
        counted: bool,
    ) -> impl Future<Output = Option<Reply>> {
        request_id::request(self.answer_traced(context, entry, counted))
    }

    async fn answer_traced(&self, context: &Context<'_>, entry: Entry<'_>, counted: bool) -> Option<Reply> {
        let over = if counted { Ok(()) } else { self.budget.take(context.address) };
        let over = over.map_err(|wait_ms| Refusal::too_many(Reason::TooManyRequests, wait_ms));
        let (id, outcome) = match (entry, over) {
            (Err(rejected), over) => (Some(rejected.id), Err(over.err().unwrap_or(rejected.refusal))),
            (Ok(request), Err(over)) => (request.id.map(Some), Err(over)),
            (Ok(request), Ok(())) => (request.id.map(Some), self.perform(context, &request).await),
        };
        let id = id?;
        let mut reply = Reply::new();
        write_reply(&mut reply, id, outcome.as_ref());
        Some(reply)
    }
}

/// The replies of one batch, in the order of its entries.
#[derive(Default)]
struct Replies(Reply);

impl Replies {
    /// Adds what came of an entry, if it is one that is answered.
    fn add(&mut self, reply: Option<Option<Reply>>) {
        if let Some(reply) = reply.flatten() {
            self.0.write(if self.0.is_empty() { b"[" } else { b"," });
            self.0.append(reply);
        }
    }

    fn finish(mut self) -> Option<Reply> {
        if self.0.is_empty() {
            return None;
        }
        self.0.write(b"]");
        Some(self.0)
    }
}

/// The bytes that the replies of one batch may take together. The first one has room in any case, as it would alone; it
/// is full when one had none.
struct Room {
    max: usize,
    taken: AtomicUsize,
    full: AtomicBool,
}

impl Room {
    fn new(max: usize) -> Self {
        Self { max, taken: AtomicUsize::new(0), full: AtomicBool::new(false) }
    }

    fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |taken: usize| (taken == 0 || taken + bytes <= self.max).then_some(taken + bytes);
        let taken = self.taken.fetch_update(Relaxed, Relaxed, fits).is_ok();
        if !taken {
            self.full.store(true, Relaxed);
        }
        taken
    }
}

/// `sent`: whether the request was carried out nevertheless.
fn replies_too_large(sent: bool) -> Refusal {
    Refusal::of(Reason::RepliesTooLarge).with("sent", sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reply_has_room_and_the_rest_what_is_left() {
        let room = Room::new(10);
        assert!(room.take(6) && !room.is_full() && room.take(4) && !room.is_full());
        assert!(!room.take(1) && room.is_full());
        assert!(Room::new(10).take(11));
    }
}
