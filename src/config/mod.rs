//! The configuration: one TOML file, overridden key by key from the environment, refused with all its errors at once.
//!
//! `examples/confgate.toml` names every key with its meaning, unit, default and allowed values; an error quotes it.

mod addresses;
mod auth;
mod callgw;
mod check;
mod eim;
mod env;
mod error;
mod events;
mod example;
mod limits;
mod server;
mod store;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use addresses::{BasePath, Origin, Url};
pub use auth::{Auth, Client, Key, Scope};
pub use callgw::{CallNode, Callgw, NodeKind, Turn};
pub use eim::{Eim, EimMode, EimTls, EimUser, JidScheme};
pub use env::process_environment;
pub use error::ConfigError;
pub use events::{Events, EventsMode};
pub use example::EXAMPLE;
pub use limits::Limits;
pub use server::{Admin, Http, Log, LogFormat, Node};
pub use store::{Database, Durability, MySqlUrl, Store, StoreTls};

/// An integer key with the least and the most that it may be.
type Range = (&'static str, u64, u64);
const HOUR_MS: u64 = 3_600_000;
const DAY_S: u64 = 86_400;

/// Largest configuration file, in bytes: anything longer is some other file.
const FILE_MAX: u64 = 1024 * 1024;

/// Everything that an operator may set. `Default` is the embedded gateway: SQLite, built-in EIM and call gateway,
/// in-process events, on loopback.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The section `http`.
    pub http: Http,
    /// The section `admin`.
    pub admin: Admin,
    /// The section `node`.
    pub node: Node,
    /// The section `store`.
    pub store: Store,
    /// The section `auth`.
    pub auth: Auth,
    /// The section `eim`.
    pub eim: Eim,
    /// The section `events`.
    pub events: Events,
    /// The section `callgw`.
    pub callgw: Callgw,
    /// Bounds of each media thread.
    pub limits: Limits,
    /// The section `log`.
    pub log: Log,
}

impl Config {
    /// Reads `path` (without one: the defaults), lays the variables `CONFGATE_<SECTION>__<KEY>` of `environment`
    /// over it, and checks the whole.
    ///
    /// # Errors
    /// All that is wrong with it, in the file's order; never empty.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let config = Self::read(path, environment)?;
        let mode = Value::try_from(config.events.mode).expect("it has a name");
        let table = Table::from_iter([("events".to_owned(), Table::from_iter([("mode".to_owned(), mode)]).into())]);
        let variables = BTreeMap::new();
        let mut found = check::Findings::new(&table, &variables);
        config.events.check_gateway(config.eim.mode, &mut found);
        found.into_result().map(|()| config)
    }

    /// What every command demands.
    fn read(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let table = match path {
            Some(path) => read_file(path).map_err(|error| vec![error])?,
            None => Table::new(),
        };
        Self::from_table(table, environment)
    }

    /// The section `store` of a file of any of the commands, by the file alone.
    ///
    /// # Errors
    /// All that is wrong with the file; never empty.
    pub fn load_store(path: &Path) -> Result<Store, Vec<ConfigError>> {
        Ok(Self::read(Some(path), [])?.store)
    }

    /// As [`Config::load`], for `confgate eim`: there the EIM is the built-in one whatever `eim.mode` says to the
    /// gateway, and an XMPP server and the components' secret are needed.
    ///
    /// # Errors
    /// All that is wrong or missing; never empty.
    pub fn load_eim_service(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mode = ("CONFGATE_EIM__MODE".to_owned(), "builtin".to_owned());
        let config =
            Self::read(path, environment.into_iter().filter(|(name, _)| *name != mode.0).chain([mode.clone()]))?;
        let (table, variables) = (Table::new(), BTreeMap::new());
        let mut found = check::Findings::new(&table, &variables);
        config.eim.check_service(&mut found);
        found.into_result().map(|()| config)
    }

    /// As [`Config::load`], for `confgate media`.
    ///
    /// # Errors
    /// All that is wrong or missing; never empty.
    pub fn load_media_service(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let config = Self::load(path, environment)?;
        let (table, variables) = (Table::new(), BTreeMap::new());
        let mut found = check::Findings::new(&table, &variables);
        config.callgw.check_service(&config.node.id, &mut found);
        found.into_result().map(|()| config)
    }

    fn from_table(
        mut table: Table,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let variables = env::lay_over(&mut table, environment);
        let written = table.clone();
        let mut found = check::Findings::new(&written, &variables);
        check::types(&mut table, &mut found);
        check::ranges(&mut found);
        choose_events(&mut table);
        match Value::Table(table).try_into::<Config>() {
            Ok(mut config) => {
                config.callgw.complete(&config.http.base_path, &config.node.id);
                config.check(&mut found);
                found.into_result().map(|()| config)
            }
            Err(error) => {
                found.refuse_whole(error.message());
                Err(found.into_errors())
            }
        }
    }

    /// Checks errors that only several keys together can have.
    fn check(&self, found: &mut check::Findings) {
        self.http.check(found);
        self.admin.check(found);
        self.store.check(found);
        self.auth.check(self.eim.mode, found);
        self.eim.check(found);
        self.events.check(self.eim.mode, found);
        self.callgw.check(found);
        self.log.check(found);
        server::check_listeners(self, found);
    }
}

/// Events of an external EIM cannot come from this process, so there the default is the XMPP link.
fn choose_events(table: &mut Table) {
    let mode = table.get("eim").and_then(|eim| eim.get("mode")).and_then(Value::as_str);
    if matches!(mode, None | Some("builtin" | "muc")) {
        return;
    }
    let events = table.entry("events").or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(events) = events {
        events.entry("mode").or_insert_with(|| Value::from("xmpp"));
    }
}

fn read_file(path: &Path) -> Result<Table, ConfigError> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| ConfigError::file(path, &error.to_string()))?;
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|error| ConfigError::file(path, &error.to_string()))?;
    if text.len() as u64 > FILE_MAX {
        return Err(ConfigError::file(path, "longer than 1 MiB"));
    }
    text.parse().map_err(|error: toml::de::Error| ConfigError::file(path, &place(&text, &error)))
}

/// Line, column and reason; never the line itself, which may hold a secret.
fn place(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return error.message().to_owned() };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {}", error.message())
}
