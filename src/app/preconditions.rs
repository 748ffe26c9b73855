//! The preconditions of serving: one list, which `serve` takes over and `check` reports line by line.

use crate::admin::{Admin, AdminSettings};
use crate::app::lifecycle::Failure;
use crate::config::Config;
use crate::http::dial;
use crate::http::{Certificate, HttpServer, HttpSettings, Tls};
use crate::media;
use crate::store::{NodeLock, NodeRole, Store, StoreError};

use super::eim::load_builtin;

/// All that holds, opened.
pub(super) struct Opened {
    /// The exclusive resources of this process, for as long as they are held.
    pub claims: Vec<NodeLock>,
    pub http: HttpServer,
    pub admin: Admin,
    pub store: Store,
}

/// One of the list, and what was seen or why it fails.
pub type Line<'a> = (&'a str, Result<String, String>);

impl Opened {
    /// Tries the whole list, and tells how each went. `None`: something fails. `trial`: what `serve` can do only once it
    /// holds the node's lease, and does then, is tried too, and so is what would make something where the addresses can't
    /// be had.
    async fn of(config: &Config, trial: bool, report: &mut impl FnMut(Line<'_>)) -> Option<Self> {
        let mut noted = |part, outcome: Result<String, String>| {
            let well = outcome.is_ok();
            report((part, outcome));
            well
        };
        // Exclusive resources come first: a refused process has changed nothing.
        let claims = claims(config).await.map_err(|error| error.to_string());
        let claims = opened("node", claims, |_| config.node.id.clone(), &mut noted)?;
        let http = opened("http.listen", try_http(config).await, |http| format!("at {}", http.address()), &mut noted);
        let admin = Admin::open(AdminSettings::from(&config.admin)).await.map_err(|error| error.to_string());
        let admin = opened("admin.listen", admin, |admin| format!("at {}", admin.address()), &mut noted);
        let mut well = config.callgw.builtin().is_none() || noted("media", media::settings::try_addresses(config));
        let all = well && http.is_some() && admin.is_some();
        if !(trial || all) {
            return None;
        }
        well &= noted("certificate", try_certificate(config));
        let store = Store::open(&config.store).await.map_err(|error| error.to_string());
        let store = opened("database", store, |_| "open, migrated".to_owned(), &mut noted);
        if let Some(store) = store.as_ref().filter(|_| trial && config.eim.mode.is_embedded()) {
            let loaded = load_builtin(config, store).await.map_err(|error| error.to_string());
            well &= noted("eim", loaded.map(|_| "built in".to_owned()));
        }
        well &= noted("callgw.ca", check_pulls(config));
        Some(Self { claims, http: http?, admin: admin?, store: store? }).filter(|_| well)
    }

    /// Tries the whole list; the error says all that fails.
    pub(super) async fn or_why(config: &Config) -> Result<Self, Failure> {
        let mut failed = Vec::new();
        let mut note = |(part, outcome): Line<'_>| failed.extend(outcome.err().map(|why| format!("{part}: {why}")));
        let opened = Self::of(config, false, &mut note).await;
        opened.ok_or_else(|| failed.join("\n").into())
    }
}

/// For `confgate check`: tells the whole list, and lets go of what it opened. What a running gateway holds isn't tried.
pub async fn preconditions(config: &Config, mut report: impl FnMut(Line<'_>)) {
    let Some(by) = NodeLock::owner(&config.store, NodeRole::Node(&config.node.id)).await else {
        if let Some(opened) = Opened::of(config, true, &mut report).await {
            opened.store.close().await;
        }
        return;
    };
    report(("running", Ok(format!("{by}; its ports and its connections to the EIM aren't tried"))));
    report(("certificate", try_certificate(config)));
    report(("database", try_database(config).await));
    if config.eim.mode.is_embedded() {
        report(("eim", Ok("built in".to_owned())));
    }
    report(("callgw.ca", check_pulls(config)));
}

/// This node's own name, and the built-in EIM's where it is this process's.
async fn claims(config: &Config) -> Result<Vec<NodeLock>, StoreError> {
    let at = format!("https://{}", config.http.listen);
    let mut claims = vec![NodeLock::take(&config.store, NodeRole::Node(&config.node.id), &at).await?];
    if config.eim.mode.is_embedded() {
        claims.push(NodeLock::take(&config.store, NodeRole::Eim, &at).await?);
    }
    Ok(claims)
}

/// The schema of a running gateway's store is that gateway's business.
async fn try_database(config: &Config) -> Result<String, String> {
    let wrong = |error: StoreError| error.to_string();
    let store = Store::open_as_it_is(&config.store).await.map_err(wrong)?;
    let outcome = store.check().await.map_err(wrong);
    store.close().await;
    outcome.map(|()| "open, in use".to_owned())
}

fn opened<T>(
    part: &'static str,
    outcome: Result<T, String>,
    seen: impl Fn(&T) -> String,
    noted: &mut impl FnMut(&'static str, Result<String, String>) -> bool,
) -> Option<T> {
    noted(part, outcome.as_ref().map(seen).map_err(Clone::clone));
    outcome.ok()
}

/// The nodes that believe this one's tokens.
fn check_pulls(config: &Config) -> Result<String, String> {
    let ca = config.callgw.ca.as_deref();
    dial::Tls::load(ca)?;
    Ok(ca.map_or("what the system trusts".to_owned(), |path| path.display().to_string()))
}

fn try_certificate(config: &Config) -> Result<String, String> {
    let files = Certificate::from(&config.http).files().map_err(|error| error.to_string())?;
    let shown = files.cert.display().to_string();
    Tls::load(files).map(|_| shown).map_err(|error| error.to_string())
}

async fn try_http(config: &Config) -> Result<HttpServer, String> {
    HttpServer::open(HttpSettings::from(config)).await.map_err(|error| error.to_string())
}
