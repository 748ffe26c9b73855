//! `[store]`: the database.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::check::Findings;
use super::{HOUR_MS, Range, values};
use crate::ids::Secret;

const URL_FORMS: &str =
    "sqlite:PATH, or mysql://USER:PASSWORD@HOST[:PORT]/DATABASE, with ?socket=PATH for a socket of this machine";

/// The failures that a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The program's end, however sudden. A power failure may undo the last moments, never corrupt.
    Process,
    /// A power failure too, at the price of a disk flush for each commit.
    Power,
}

/// `store.tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreTls {
    /// In the clear.
    Off,
    /// TLS, by a certificate that names the host.
    Verify,
}

/// The section `store`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `sqlite:PATH` or `mysql://...`. Held as a secret because a database's URL may carry a password.
    pub url: Secret,
    /// TLS to a MySQL server. Default: "off" for a loopback address or a socket, else "verify".
    pub tls: Option<StoreTls>,
    /// PEM file of authorities to trust beside those of Mozilla's list.
    pub ca: Option<PathBuf>,
    /// The failures that an acknowledged write survives, with SQLite. "process": the program's end, however sudden; a
    /// power failure may undo the last moments, but never corrupts. "power": that too, at the price of a disk flush for
    /// each write. A MySQL server has settings of its own for that.
    pub durability: Durability,
    /// Connections that read.
    pub readers: u32,
    /// Connections that write, with MySQL. SQLite has one.
    pub writers: u32,
    /// Reading requests that wait for a connection or use one, and as many writing ones; more are refused at once.
    pub queue: u32,
    /// How long a request waits for a connection, a connection for a lock, and a statement for a MySQL server's answer.
    #[serde(rename = "wait_ms", with = "values::millis")]
    pub wait: Duration,
    /// How long the audit of control actions is kept.
    #[serde(rename = "audit_keep_s", with = "values::seconds")]
    pub audit_keep: Duration,
    /// Most entries of that audit; the oldest go first. A quarter of them at most are of attempts that were refused.
    pub audit_rows: u32,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: Secret::new("sqlite:data/confgate.db"),
            tls: None,
            ca: None,
            durability: Durability::Process,
            readers: 4,
            writers: 8,
            queue: 1024,
            wait: Duration::from_secs(5),
            audit_keep: Duration::from_secs(90 * 86_400),
            audit_rows: 100_000,
        }
    }
}

/// The database that a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    MySql(MySqlUrl),
}

/// The parts of a `mysql://` URL, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MySqlUrl {
    /// The user's name at the server.
    pub user: String,
    /// `None`: the URL has none.
    pub password: Option<Secret>,
    /// A name or an address, an IPv6 one without brackets.
    pub host: String,
    /// 3306 where the URL has none.
    pub port: u16,
    /// The database's name.
    pub database: String,
    /// The server's socket on this machine.
    pub socket: Option<PathBuf>,
}

impl Store {
    pub(super) const RANGES: &[Range] = &[
        ("store.readers", 1, 64),
        ("store.writers", 1, 64),
        ("store.queue", 1, 1_000_000),
        ("store.wait_ms", 1, HOUR_MS),
        ("store.audit_keep_s", 1, 10 * 365 * 86_400),
        ("store.audit_rows", 1, 100_000_000),
    ];

    /// What `url` names; `None` where it has none of the forms that are allowed.
    pub fn database(&self) -> Option<Database> {
        Database::parse(self.url.expose())
    }

    pub(super) fn check(&self, found: &mut Findings) {
        if self.database().is_none() {
            found.refuse("store.url", URL_FORMS);
        }
        if self.ca.is_some() && self.tls == Some(StoreTls::Off) {
            found.refuse("store.ca", "nothing with tls = \"off\"");
        }
    }
}

impl Database {
    /// Reads `sqlite:PATH`, `sqlite://PATH` and `mysql://...`.
    pub fn parse(url: &str) -> Option<Self> {
        match url.strip_prefix("sqlite:") {
            Some(path) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                let plain = !path.is_empty() && !path.contains(['?', '#']) && !path.contains(":memory:");
                plain.then(|| Self::Sqlite(PathBuf::from(path)))
            }
            None => MySqlUrl::parse(url).map(Self::MySql),
        }
    }
}

impl MySqlUrl {
    fn parse(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok().filter(|url| url.scheme() == "mysql" && url.fragment().is_none())?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
        let password = url.password().map(decoded);
        let mut socket = None;
        for (name, value) in url.query_pairs() {
            if name != "socket" || !Path::new(&*value).is_absolute() || socket.is_some() {
                return None;
            }
            socket = Some(PathBuf::from(&*value));
        }
        let host = match url.host()? {
            Host::Ipv6(address) => address.to_string(),
            other => other.to_string(),
        };
        let (user, database) = (decoded(url.username())?, decoded(url.path().strip_prefix('/')?)?);
        let named = !user.is_empty() && !database.is_empty() && !database.contains('/') && !host.is_empty();
        let password = match password {
            Some(password) => Some(Secret::new(password?)),
            None => None,
        };
        named.then(|| Self { user, password, host, port: url.port().unwrap_or(3306), database, socket })
    }

    /// Whether the server is reached without a network.
    pub fn is_local(&self) -> bool {
        let is_loopback = self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        self.socket.is_some() || is_loopback || self.host == "localhost"
    }

    /// The server and the database, without who enters it.
    pub fn shown(&self) -> String {
        match &self.socket {
            Some(socket) => format!("mysql {} at {}", self.database, socket.display()),
            None => format!("mysql {} at {}:{}", self.database, self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_is_read_in_its_parts() {
        assert_eq!(Database::parse("sqlite:a/b.db"), Some(Database::Sqlite("a/b.db".into())));
        assert_eq!(Database::parse("sqlite:///a/b.db"), Some(Database::Sqlite("/a/b.db".into())));
        let Some(Database::MySql(url)) = Database::parse("mysql://conf%40gate:p%2Fw%3A@db.example:3307/conf%20gate")
        else {
            panic!("not read");
        };
        let password = url.password.as_ref().map(Secret::expose);
        assert_eq!((url.user.as_str(), password, url.port), ("conf@gate", Some("p/w:"), 3307));
        assert_eq!((url.host.as_str(), url.database.as_str(), url.is_local()), ("db.example", "conf gate", false));
        assert!(!format!("{url:?} {}", url.shown()).contains("p/w"));
        for (text, host) in [("mysql://u@[::1]/d", "::1"), ("mysql://u@127.0.0.1/d", "127.0.0.1")] {
            let Some(Database::MySql(url)) = Database::parse(text) else { panic!("{text}") };
            assert_eq!((url.host.as_str(), url.port, url.is_local(), url.password), (host, 3306, true, None));
        }
        let Some(Database::MySql(url)) = Database::parse("mysql://u:p@localhost/d?socket=/run/my%20sql.sock") else {
            panic!("not read");
        };
        assert_eq!(url.socket, Some("/run/my sql.sock".into()));
    }

    #[test]
    fn a_url_of_another_form_is_refused() {
        for url in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a?mode=ro",
            "mysql://host/db",
            "mysql://u:p@host",
            "mysql://u:p@host/",
            "mysql://u:p@host/a/b",
            "mysql://u:p@/db",
            "mysql://u:p@host/db?ssl-mode=DISABLED",
            "mysql://u:p@host/db?socket=relative",
            "mysql://u:p@host/db#x",
            "mysql:u",
            "mariadb://u:p@host/db",
            "postgres://u:p@host/db",
        ] {
            assert_eq!(Database::parse(url), None, "{url}");
        }
    }
}
