//! What must hold before the gateway can serve: one list, which `serve` takes over and `check` tells line by line.

use crate::admin::{Admin, AdminSettings};
use crate::config::{Config, EimMode};
use crate::http::{Door as HttpDoor, Tls};
use crate::lifecycle::Failure;
use crate::store::Store;

use super::media::{check_media, check_pulls};
use super::{builtin_eim, certificate, http_settings};

/// All that holds, opened.
pub(super) struct Opened {
    pub http: HttpDoor,
    pub admin: Admin,
    pub store: Store,
}

/// One of the list, and what was seen or why it fails.
pub type Line<'a> = (&'a str, Result<String, String>);

impl Opened {
    /// Tries the whole list, and tells how each went. `None`: something fails. `trial`: what `serve` can do only once it
    /// holds the node's lease, and does then, is tried too.
    async fn of(config: &Config, trial: bool, tell: &mut impl FnMut(Line<'_>)) -> Option<Self> {
        let mut told = |part, outcome: Result<String, String>| {
            let well = outcome.is_ok();
            tell((part, outcome));
            well
        };
        let mut well = told("certificate", try_certificate(config));
        let http = opened("http.listen", try_http(config).await, |http| format!("at {}", http.address()), &mut told);
        let settings = AdminSettings { listen: config.admin.listen, token: config.admin.token.clone() };
        let admin = Admin::open(settings).await.map_err(|error| error.to_string());
        let admin = opened("admin.listen", admin, |admin| format!("at {}", admin.address()), &mut told);
        let store = Store::open(&config.store).await.map_err(|error| error.to_string());
        let store = opened("database", store, |_| "open, migrated".to_owned(), &mut told);
        if let Some(store) = store.as_ref().filter(|_| trial && config.eim.mode == EimMode::Builtin) {
            let loaded = builtin_eim(config, store).await.map_err(|error| error.to_string());
            well &= told("eim", loaded.map(|_| "built in".to_owned()));
        }
        if config.callgw.builtin().is_some() {
            well &= told("media", check_media(config));
        }
        well &= told("callgw.ca", check_pulls(config));
        Some(Self { http: http?, admin: admin?, store: store? }).filter(|_| well)
    }

    /// Tries the whole list; the error says all that fails.
    pub(super) async fn or_why(config: &Config) -> Result<Self, Failure> {
        let mut failed = Vec::new();
        let mut note = |(part, outcome): Line<'_>| failed.extend(outcome.err().map(|why| format!("{part}: {why}")));
        let opened = Self::of(config, false, &mut note).await;
        opened.ok_or_else(|| failed.join("\n").into())
    }
}

/// For `confgate check`: tells the whole list, and lets go of what it opened.
pub async fn preconditions(config: &Config, mut tell: impl FnMut(Line<'_>)) {
    drop(Opened::of(config, true, &mut tell).await);
}

fn opened<T>(
    part: &'static str,
    outcome: Result<T, String>,
    seen: impl Fn(&T) -> String,
    told: &mut impl FnMut(&'static str, Result<String, String>) -> bool,
) -> Option<T> {
    told(part, outcome.as_ref().map(seen).map_err(Clone::clone));
    outcome.ok()
}

fn try_certificate(config: &Config) -> Result<String, String> {
    let files = certificate(config).files().map_err(|error| error.to_string())?;
    let shown = files.cert.display().to_string();
    Tls::load(files).map(|_| shown).map_err(|error| error.to_string())
}

async fn try_http(config: &Config) -> Result<HttpDoor, String> {
    let settings = http_settings(config).map_err(|error| error.to_string())?;
    HttpDoor::open(settings).await.map_err(|error| error.to_string())
}
