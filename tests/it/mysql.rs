//! The store on a real MariaDB: the real binary, judged by its clients and at the database by MariaDB's own client.

mod connections;
mod nodes;
mod outages;
mod owners;
mod starts;
mod story;

use crate::fixture::CLIENTS;
use crate::support::gateway::{Builder, Gateway};
use crate::support::mariadb::MariaDb;

/// No EIM is there: a node serves without it.
const NO_EIM: &str = "[eim]\nmode = \"component\"\nhost = \"127.0.0.1\"\nport = 1\nsecret = \"s\"\n";

fn store(url: &str) -> String {
    format!("[store]\nurl = {url:?}\nwait_ms = 1000\n")
}

/// A node without an EIM.
fn bare(id: &str, store: &str) -> Builder {
    Gateway::with(&format!("{CLIENTS}\n{NO_EIM}{store}[node]\nid = {id:?}\n"))
}

/// A node with the EIM built in.
fn whole(id: &str, store: &str) -> Builder {
    Gateway::with(&format!("{CLIENTS}\n{store}[node]\nid = {id:?}\n"))
}

fn keeps_the_password(output: &str) {
    assert!(![MariaDb::PASSWORD, MariaDb::PASSWORD_IN_URL].iter().any(|secret| output.contains(secret)), "{output}");
}
