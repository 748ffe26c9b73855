//! Exclusive ownership by one living process, for as long as that process lives.

mod file;
mod server;

use std::fs::File;

use super::StoreError;
use crate::config;
use crate::config::Database;

pub(super) use file::own_path;

/// The parts of a store that only one process may be.
#[derive(Debug, Clone, Copy)]
pub enum NodeRole<'a> {
    /// The node of that id.
    Node(&'a str),
    /// The built-in EIM, which holds its documents in memory.
    Eim,
}

impl NodeRole<'_> {
    fn name(self) -> String {
        match self {
            Self::Node(id) => format!("node {id:?}"),
            Self::Eim => "the built-in EIM".to_owned(),
        }
    }

    fn claimed(self, by: String) -> StoreError {
        StoreError::Claimed { what: self.name(), by, advice: self.advice() }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Node(_) => "stop that process first, or give this one a store (store.url) and ports of its own",
            Self::Eim => "a store has one built-in EIM: stop that process first, or give this one a store of its own",
        }
    }
}

/// Held as long as this process is what it has claimed to be.
#[derive(Debug)]
pub struct NodeLock(#[expect(dead_code, reason = "held for its drop")] Lock);

#[derive(Debug)]
#[expect(dead_code, reason = "held for their drop")]
enum Lock {
    File(file::FileLock),
    Server(server::ServerLock),
}

impl NodeLock {
    /// Takes the office. Nothing else of the store is touched. `at`: where this process is to be found, for the words
    /// that another one is refused with.
    ///
    /// # Errors
    /// [`StoreError::Claimed`] where a living process has it, by whom and since when; [`StoreError::Open`] where the
    /// folder can't be written, or the server can't be reached.
    pub async fn take(config: &config::Store, office: NodeRole<'_>, at: &str) -> Result<Self, StoreError> {
        Ok(Self(match database(config)? {
            Database::Sqlite(path) => Lock::File(file::FileLock::take(&path, office, at)?),
            Database::MySql(url) => Lock::Server(server::ServerLock::take(&url, config, office).await?),
        }))
    }

    /// A living process that uses the file, in words, whatever it is; of a server nothing is known that way.
    pub fn any_owner(config: &config::Store) -> Option<String> {
        match database(config).ok()? {
            Database::Sqlite(path) => file::FileLock::any_owner(&path),
            Database::MySql(_) => None,
        }
    }

    /// The living process that has the office, in words.
    pub async fn owner(config: &config::Store, office: NodeRole<'_>) -> Option<String> {
        match database(config).ok()? {
            Database::Sqlite(path) => file::FileLock::owner(&path, office),
            Database::MySql(url) => server::ServerLock::owner(&url, config, office).await,
        }
    }
}

/// The configuration's own check has refused any other URL. Without its file of authorities no server is asked.
pub(super) fn database(config: &config::Store) -> Result<Database, StoreError> {
    let database = config.database().ok_or_else(|| StoreError::open(&"store.url", "it names no database"))?;
    if let (Database::MySql(url), Some(ca)) = (&database, &config.ca) {
        let unreadable = |error| StoreError::open(&url.shown(), &format!("store.ca {}: {error}", ca.display()));
        File::open(ca).map_err(unreadable)?;
    }
    Ok(database)
}
