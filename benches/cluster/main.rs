//! Several nodes on real parts. `deliveries`: an event to 500 guests at two gateway nodes that have it from RabbitMQ,
//! side by side with RabbitMQ's own web_stomp plugin that delivers the same bodies to 500 subscribers. `stores`: what
//! costs a write or a read in the store, on MariaDB beside SQLite.
//!
//! `cargo bench --bench cluster -- [deliveries] [stores]`; without a name both.

mod deliveries;
#[path = "../measure/mod.rs"]
mod measure;
mod stomp;
mod stores;
mod subscriber;
#[path = "../../tests/it/support/mod.rs"]
#[allow(unused_imports, unused_macros, reason = "a vocabulary of which little is needed here")]
mod support;

/// Many people at one address, each as busy as no person is.
const SETTINGS: &str = r#"
[limits]
requests_per_minute = 10000000
connects_per_minute = 1000000
connections_per_block = 5000
sockets_per_block = 5000
sockets_per_minute = 1000000
joins_per_minute = 1000000
guests_per_link = 1000
guest_idle_ms = 3600000
conference_members = 1000
conference_creates_per_minute = 1000000
own_controls_per_minute = 1000000
messages_per_minute = 1000000
conference_acts_per_minute = 1000000
user_creates_per_minute = 1000000
[[auth.clients]]
id = "chair"
secret = "the chair's secret"
name = "Chair"
scopes = ["user.create", "conference.create"]
"#;
const SECRET: &str = "the chair's secret";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let is_named = |word: &str| arguments.iter().any(|argument| argument == word);
    let all = !["deliveries", "stores"].into_iter().any(is_named);
    if all || is_named("deliveries") {
        run(deliveries::compare());
    }
    if all || is_named("stores") {
        run(stores::compare());
    }
}

/// On one thread: the other core is the servers'. Tasks that read sockets end with it.
fn run(part: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(part);
}
