//! `confgate check`: every configured part tried for real, a line each.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use crate::config::{CallNode, Config, EimMode, NodeKind};
use crate::eim::settings::EimConfig;
use crate::http::{CertificateFiles, Tls};
use crate::schema::Schema;
use crate::store::Store;
use crate::{app, callgw, eim};

/// Tries everything and prints what came of it; true where all is well.
pub async fn run(config: Config) -> bool {
    let mut report = Report { well: true };
    report.line("certificate", certificate(&config));
    report.line("schema", schema(&config));
    report.line("database", database(&config).await);
    if config.eim.mode == EimMode::Builtin {
        report.line("eim", Ok("built in".into()));
    } else {
        for probed in eim::probe(&EimConfig::from(&config.eim), None).await {
            report.line(&probed.part, probed.outcome);
        }
    }
    for node in &config.callgw.nodes {
        let outcome = match node.kind {
            NodeKind::Janus => janus(&config, node).await,
            NodeKind::Whip => whip(&config, node).await,
            _ => callgw::check(&config.callgw, node, &config.node.id).await,
        };
        report.line(&format!("callgw {}", node.id), outcome);
    }
    if config.callgw.builtin().is_some() {
        report.line("media", media(&config));
    }
    report.well
}

struct Report {
    well: bool,
}

impl Report {
    fn line(&mut self, part: &str, outcome: Result<String, String>) {
        match outcome {
            Ok(what) => println!("ok     {part}: {what}"),
            Err(why) => {
                self.well = false;
                println!("FAILED {part}: {why}");
            }
        }
    }
}

fn certificate(config: &Config) -> Result<String, String> {
    match (&config.http.cert, &config.http.key) {
        (Some(cert), Some(key)) => {
            let files = CertificateFiles { cert: cert.clone(), key: key.clone() };
            Tls::load(files).map_err(|error| error.to_string())?;
            Ok(cert.display().to_string())
        }
        _ => Ok("self-signed, in certs/".into()),
    }
}

fn schema(config: &Config) -> Result<String, String> {
    let schema = Schema::load(config.eim.schema_dir.as_deref()).map_err(|errors| errors.join("; "))?;
    Ok(format!("{} methods", schema.methods().count()))
}

/// Takes the media's addresses for a moment.
fn media(config: &Config) -> Result<String, String> {
    let media = app::media_config(config);
    let failed = |listen: SocketAddr| move |error: io::Error| format!("{listen}: {error}");
    UdpSocket::bind(media.udp).map_err(failed(media.udp))?;
    if let Some(tcp) = media.tcp {
        TcpListener::bind(tcp).map_err(failed(tcp))?;
    }
    Ok(format!("udp at {}", media.udp))
}

async fn janus(config: &Config, node: &CallNode) -> Result<String, String> {
    let reach = app::janus_reach(config, node)?;
    reach.check().await?;
    Ok(format!("{}, a session", reach.url))
}

async fn whip(config: &Config, node: &CallNode) -> Result<String, String> {
    let reach = app::whip_reach(config, node)?;
    reach.probe().await?;
    Ok(format!("{}, it answers", reach.base))
}

async fn database(config: &Config) -> Result<String, String> {
    Store::open(&config.store).await.map(|_| "open, migrated".into()).map_err(|error| error.to_string())
}
