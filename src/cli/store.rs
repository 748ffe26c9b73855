//! `confgate store`: work on databases while no process uses them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use crate::app::lifecycle::Failure;
use crate::app::print::print;
use crate::config::{self, Config};
use crate::ids::Secret;
use crate::store::{CopyProgress, NodeLock, Store};

/// How often a long copy tells how far it is.
const REPORT: Duration = Duration::from_secs(2);

/// What can be done.
#[derive(Subcommand)]
pub enum StoreCommand {
    /// Copy all of an SQLite database into an empty MySQL one
    Copy(Copy),
}

/// Of what, and where to. A URL on the command line is seen by everybody on the machine: name a file where it has a
/// password.
#[derive(Args)]
pub struct Copy {
    /// sqlite:PATH, or a configuration file whose section "store" names it
    #[arg(value_name = "FROM")]
    from: String,
    /// mysql://..., or a configuration file whose section "store" names it
    #[arg(value_name = "TO")]
    to: String,
}

/// Copies, and prints how far it is.
///
/// # Errors
/// Why nothing was copied.
pub async fn copy(copy: &Copy) -> Result<(), Failure> {
    let (from, to) = (store_of(&copy.from)?, store_of(&copy.to)?);
    if let Some(by) = NodeLock::any_owner(&from) {
        return Err(format!("FROM is in use by {by}: stop that process first").into());
    }
    let (source, target) = (Store::open(&from).await?, Store::open(&to).await?);
    let mut printed = Instant::now();
    let mut outcome = Ok(());
    let copied = source
        .copy_to(&target, |CopyProgress { table, done, of }| {
            if done == of || printed.elapsed() >= REPORT {
                printed = Instant::now();
                outcome = print(format_args!("{table}: {done} of {of}"));
            }
        })
        .await;
    source.close().await;
    target.close().await;
    let rows = copied?;
    outcome?;
    print(format_args!("copied {rows} rows"))?;
    Ok(())
}

/// The section `store` of a file, or a URL in its place.
fn store_of(given: &str) -> Result<config::Store, Failure> {
    if config::Database::parse(given).is_some() {
        return Ok(config::Store { url: Secret::new(given), ..config::Store::default() });
    }
    let path = PathBuf::from(given);
    if !path.is_file() {
        return Err("FROM and TO are each sqlite:PATH, mysql://... or a configuration file".into());
    }
    load(&path)
}

fn load(path: &Path) -> Result<config::Store, Failure> {
    let wrong =
        |errors: Vec<config::ConfigError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Ok(Config::load_store(path).map_err(wrong)?)
}
