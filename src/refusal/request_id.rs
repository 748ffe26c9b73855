//! The id of the request that is being answered: on every line of its log, and in what the client is told.

use tracing::Instrument;

use crate::ids::random_text;

/// Characters of an id.
const LENGTH: usize = 12;

tokio::task_local! {
    static CURRENT: String;
}

/// Does the work as one request: under an id of its own.
pub async fn request<T>(work: impl Future<Output = T>) -> T {
    let id = random_text(LENGTH);
    // At a level that every filter lets pass, so that no line of the request is without it.
    let span = tracing::error_span!("request", traceId = id);
    CURRENT.scope(id, work.instrument(span)).await
}

/// The request's id; outside of any, a new one.
pub fn id() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_else(|_| random_text(LENGTH))
}
