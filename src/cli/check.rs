//! `confgate check`: every configured part tried for real, a line each.

mod stun;
mod turn;

use std::io;

use crate::app::print::print;
use crate::clock::date_ms;
use crate::config::{CallNode, Config, EimMode, NodeKind};
use crate::eim::amqp;
use crate::eim::settings::EimConfig;
use crate::http::dial::Tls;
use crate::ids::UserId;
use crate::media::{janus, whip};
use crate::schema::Schema;
use crate::store::{NodeLock, NodeRole};
use crate::{app, callgw, eim};

/// Tries everything and prints what came of it; true where all is well.
///
/// # Errors
/// Where it can't be printed.
pub async fn run(config: Config) -> io::Result<bool> {
    let mut report = Report { well: true, printed: Ok(()) };
    let schema = super::read_schema(&config).map_err(|errors| errors.join("; "));
    let sizes = |schema: &Schema| {
        format!("{} methods, {} forms of events", schema.methods().count(), schema.inbound().events.len())
    };
    report.print_line("schema", schema.as_ref().map(sizes).map_err(Clone::clone));
    app::preconditions(&config, |(part, outcome)| report.print_line(part, outcome)).await;
    // A running gateway's exclusive resources are not taken from it, not even for a moment.
    let is_running = NodeLock::owner(&config.store, NodeRole::Node(&config.node.id)).await.is_some();
    if config.eim.mode != EimMode::Builtin && !is_running {
        let is_right = schema.is_ok();
        if let Ok(schema) = schema.or_else(|_| Schema::load(None)) {
            let mut settings = EimConfig::new(&config.eim, &schema).of_server();
            if !is_right {
                // Where it is asked isn't known.
                settings.asked_at.clear();
            }
            for probed in eim::probe(&settings, None, &clients(&config)).await {
                report.print_line(&probed.part, probed.outcome);
            }
        }
        if config.eim.mode == EimMode::Muc {
            let part = format!("muc {}", config.eim.muc_service());
            report.print_line(&part, app::try_rooms(&config).await);
        }
    }
    if let Some(settings) = amqp::Settings::of(&config.events) {
        report.print_line("events", amqp::try_broker(&settings).await);
    }
    for node in &config.callgw.nodes {
        let outcome = match node.kind {
            NodeKind::Janus => janus(&config, node).await,
            NodeKind::Whip => whip(&config, node).await,
            _ => callgw::check(&config.callgw, node, &config.node.id).await,
        };
        report.print_line(&format!("callgw {}", node.id), outcome);
    }
    if let Some(turn) = &config.callgw.turn {
        let ice = callgw::IceServer::new(turn, &checker(), date_ms());
        for url in &ice.urls {
            let outcome = match Tls::load(config.callgw.ca.as_deref()) {
                Ok(tls) => turn::check(url, &ice, &tls).await,
                Err(why) => Err(why),
            };
            report.print_line(&format!("turn {url}"), outcome);
        }
    }
    report.printed.map(|()| report.well)
}

struct Report {
    well: bool,
    /// Whether there is somebody to be told.
    printed: io::Result<()>,
}

impl Report {
    fn print_line(&mut self, part: &str, outcome: Result<String, String>) {
        self.well &= outcome.is_ok();
        if self.printed.is_ok() {
            self.printed = match outcome {
                Ok(what) => print(format_args!("ok     {part}: {what}")),
                Err(why) => print(format_args!("FAILED {part}: {why}")),
            };
        }
    }
}

/// The user whose credentials a TURN server is tried with.
fn checker() -> UserId {
    UserId::parse("confgate-check").expect("it is one")
}

/// The users that sign in with a password of the configuration.
fn clients(config: &Config) -> Vec<eim::Client> {
    let clients = config.auth.clients.iter().filter_map(|client| {
        let (key, user) = (format!("auth.clients {}", client.id), client.speaks_as());
        Some(eim::Client { key, user, password: client.password.clone()? })
    });
    clients.collect()
}

async fn janus(config: &Config, node: &CallNode) -> Result<String, String> {
    let reach = janus::JanusServer::new(config, node)?;
    reach.check().await?;
    Ok(format!("{}, a session", reach.url))
}

async fn whip(config: &Config, node: &CallNode) -> Result<String, String> {
    let reach = whip::WhipServer::new(config, node)?;
    reach.probe().await?;
    Ok(format!("{}, it answers", reach.base))
}
