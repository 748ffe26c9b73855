//! A named lock of the MySQL server (GET_LOCK), which a connection of its own holds.
//!
//! The server releases it when the connection ends, and ends the connection when nothing comes over it: so it is free a
//! moment after its owner has ended, and [`SESSION_IDLE_S`] after its owner was cut off. Servers of one cluster don't share
//! such locks: there the lease alone (`store::leases`) keeps a second process of one name from writing.

use std::time::Duration;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, MySqlConnection};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::super::StoreError;
use super::super::error::open_reason;
use super::super::server::{lock_name, options};
use super::NodeRole;
use crate::clock::backoff::Backoff;
use crate::config;
use crate::config::MySqlUrl;

/// How often the server hears of the owner.
const KEEP: Duration = Duration::from_secs(5);
/// How long the server waits for that.
const SESSION_IDLE_S: u32 = 15;
/// How long a lock is waited for: its last owner may just be ending.
const RELEASE_WAIT: Duration = Duration::from_secs(2);
/// Between attempts to reach the server again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Held as long as this process is what it has claimed to be.
#[derive(Debug)]
pub(super) struct ServerLock {
    keeper: AbortHandle,
}

impl ServerLock {
    /// Takes the office.
    pub async fn take(url: &MySqlUrl, config: &config::Store, office: NodeRole<'_>) -> Result<Self, StoreError> {
        let (server, name) = (Server::of(url, config), lock_name(&url.database, &office.name()));
        let wrong = |error: sqlx::Error| StoreError::open(&url.shown(), &open_reason(&error));
        let mut connection = server.connect().await.map_err(wrong)?;
        if !server.lock(&mut connection, &name).await.map_err(wrong)? {
            let by = server.holder(&mut connection, &name).await.ok().flatten();
            return Err(office.claimed(by.unwrap_or_else(|| "a process that has just ended".to_owned())));
        }
        let keeper = tokio::spawn(keep(connection, server, name)).abort_handle();
        Ok(Self { keeper })
    }

    /// The living process that has the office, in words.
    pub async fn owner(url: &MySqlUrl, config: &config::Store, office: NodeRole<'_>) -> Option<String> {
        let server = Server::of(url, config);
        let mut connection = server.connect().await.ok()?;
        server.holder(&mut connection, &lock_name(&url.database, &office.name())).await.ok()?
    }
}

impl Drop for ServerLock {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Keeps the connection alive; without it takes the lock again as soon as the server is back. Who has taken it meanwhile
/// has taken the lease too, and this process ends by that.
async fn keep(mut connection: MySqlConnection, server: Server, name: String) {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        tokio::time::sleep(KEEP).await;
        if server.answer(Duration::ZERO, connection.ping()).await.is_ok() {
            continue;
        }
        loop {
            if let Ok(mut next) = server.connect().await
                && server.lock(&mut next, &name).await.unwrap_or(false)
            {
                connection = next;
                backoff.reset();
                break;
            }
            tokio::time::sleep(backoff.pause(false, rand::random())).await;
        }
    }
}

/// The server, and how long it may take to answer.
struct Server {
    options: MySqlConnectOptions,
    wait: Duration,
}

impl Server {
    fn of(url: &MySqlUrl, config: &config::Store) -> Self {
        Self { options: options(url, config), wait: config.wait }
    }

    /// The answer, where it comes in time, or so much later.
    async fn answer<T>(
        &self,
        later: Duration,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        timeout(self.wait + later, answer).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    async fn connect(&self) -> Result<MySqlConnection, sqlx::Error> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            let idle = sqlx::query("SET SESSION wait_timeout = ?").bind(SESSION_IDLE_S);
            idle.execute(&mut connection).await?;
            Ok(connection)
        };
        self.answer(Duration::ZERO, connecting).await
    }

    async fn lock(&self, connection: &mut MySqlConnection, name: &str) -> Result<bool, sqlx::Error> {
        let granted = sqlx::query_scalar("SELECT GET_LOCK(?, ?)").bind(name).bind(RELEASE_WAIT.as_secs());
        let granted: Option<i64> = self.answer(RELEASE_WAIT, granted.fetch_one(connection)).await?;
        Ok(granted == Some(1))
    }

    async fn holder(&self, connection: &mut MySqlConnection, name: &str) -> Result<Option<String>, sqlx::Error> {
        self.answer(Duration::ZERO, holder(connection, name)).await
    }
}

async fn holder(connection: &mut MySqlConnection, name: &str) -> Result<Option<String>, sqlx::Error> {
    let used = "SELECT IS_USED_LOCK(?)";
    let Some(id) = sqlx::query_scalar::<_, Option<i64>>(used).bind(name).fetch_one(&mut *connection).await? else {
        return Ok(None);
    };
    // Only connections of the same user are shown to one without further rights.
    let shown = "SELECT host FROM information_schema.processlist WHERE id = ?";
    let host: Option<String> = sqlx::query_scalar(shown).bind(id).fetch_optional(connection).await?;
    let host = host.unwrap_or_else(|| "a place that the server does not show".to_owned());
    Ok(Some(format!("a process at {host}, the server's connection {id}")))
}
