//! The id of the request that is being answered: on every line of its log, and in what the client is told.

use std::cell::OnceCell;

use crate::ids::random_text;

/// Characters of an id.
const LENGTH: usize = 12;

tokio::task_local! {
    /// Made when it is first asked for: most requests are neither refused nor logged.
    static CURRENT: OnceCell<String>;
}

/// Does the work as one request: under an id of its own.
pub fn request<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    CURRENT.scope(OnceCell::new(), work)
}

/// The id of the request that this task is answering.
pub fn current() -> Option<String> {
    CURRENT.try_with(|id| id.get_or_init(|| random_text(LENGTH)).clone()).ok()
}

/// The request's id; outside of any, a new one.
pub fn id() -> String {
    current().unwrap_or_else(|| random_text(LENGTH))
}
