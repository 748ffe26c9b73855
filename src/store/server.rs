//! How a database server is reached, and how its locks are named.

use aws_lc_rs::digest::{SHA256, digest};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use crate::config::{self, MySqlUrl, StoreTls};

pub(super) fn options(url: &MySqlUrl, config: &config::Store) -> MySqlConnectOptions {
    let tls = config.tls.unwrap_or(if url.is_local() { StoreTls::Off } else { StoreTls::Verify });
    let mut options = MySqlConnectOptions::new()
        .host(&url.host)
        .port(url.port)
        .username(&url.user)
        .database(&url.database)
        .ssl_mode(match tls {
            StoreTls::Off => MySqlSslMode::Disabled,
            StoreTls::Verify => MySqlSslMode::VerifyIdentity,
        })
        .disable_statement_logging();
    if let Some(password) = &url.password {
        options = options.password(password.expose());
    }
    if let Some(socket) = &url.socket {
        options = options.socket(socket);
    }
    if let Some(ca) = &config.ca {
        options = options.ssl_ca(ca);
    }
    options
}

/// The lock's name at the server, which has one room for the names of all databases, of 64 characters at most.
pub(super) fn lock_name(database: &str, what: &str) -> String {
    let hash = digest(&SHA256, format!("{database}\n{what}").as_bytes());
    let hash: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("confgate.{hash}")
}
