//! The recipe of a call gateway node: in the gateway's process, or alone.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;

use super::{certificate, figures, http_settings, serve_admin, serve_http};
use crate::admin::{self, Admin, AdminSettings, Part, PartState, Phase, Readiness, ReadinessSource};
use crate::app::lifecycle::{Failure, Lifecycle, Outcome};
use crate::callgw::Embedded;
use crate::clock::date_ms;
use crate::config::{CallNode, Config, NodeKind};
use crate::http::HttpServer as HttpDoor;
use crate::http::dial::Tls;
use crate::http::ws::pump::Pace;
use crate::ids::Secret;
use crate::media::{Backend, Ends, Limits, Node, Settings, Tokens, janus, one_to_one, pull, whip};
use crate::signaling;
use crate::signaling::Operators;

use super::log;

/// How long calls go on after the soft stop of a process that is gateway and node in one: as long as its event sockets.
const EMBEDDED_DRAIN: Duration = Duration::from_secs(2);

/// The nodes whose signalling is this process's.
pub(super) struct Local {
    pub router: Router,
    /// What the pool holds of each, by its id.
    pub links: HashMap<String, Embedded>,
    /// What operators ask of the one whose media is this process's.
    pub pulls: Router,
}

/// The nodes of this process: the one whose media it carries, and those in front of other media servers.
pub(super) fn embedded(
    config: &Config,
    http: SocketAddr,
    own_secret: &Secret,
    operators: &Operators,
    lifecycle: &mut Lifecycle,
) -> Result<Local, Failure> {
    let drain = EMBEDDED_DRAIN.min(config.limits.drain);
    let mut local = Local { router: Router::new(), links: HashMap::new(), pulls: Router::new() };
    for node in config.callgw.nodes.iter().filter(|node| node.is_local()) {
        let secret = node.secret.as_ref().unwrap_or(own_secret);
        let started = start(config, node, secret, http, drain, operators.clone(), lifecycle)?;
        let (router, pulls, Ends { orders, news }) = started;
        local.router = local.router.merge(router);
        local.pulls = local.pulls.merge(pulls);
        local.links.insert(node.id.clone(), Embedded { commands: orders, news });
    }
    Ok(local)
}

/// Runs only a call gateway node.
pub async fn serve_media(config: Config) -> Result<Outcome, Failure> {
    log::init(&config.log, std::env::var("RUST_LOG").ok().as_deref())?;
    let metrics = figures::record()?;
    let mut lifecycle = Lifecycle::new(config.limits.drain);
    lifecycle.listen_to_signals()?;
    let http = HttpDoor::open(http_settings(&config)?).await?;
    let admin = Admin::open(AdminSettings { listen: config.admin.listen, token: config.admin.token.clone() }).await?;
    let (http_address, admin_address) = (http.address(), admin.address());

    let node = config.callgw.builtin().ok_or("no node of kind \"builtin\"")?;
    let secret = node.secret.as_ref().ok_or("a node without a secret")?;
    // Gateways come over control links only.
    let admin_token = config.admin.token.clone();
    let operators: Operators = Arc::new(move |shown| admin_token.as_ref().is_some_and(|token| token.matches(shown)));
    let drain = config.limits.drain;
    let (router, pulls, _ends) = start(&config, node, secret, http_address, drain, operators, &mut lifecycle)?;
    let (soft, hard) = (lifecycle.soft(), lifecycle.hard());
    lifecycle.wire("admin", serve_admin(admin, readiness(&lifecycle), metrics, pulls, hard.clone()));
    lifecycle.door("http", serve_http(http, router, soft, hard));
    tracing::info!(http = %http_address, admin = %admin_address, node = node.id, "listening");
    Ok(lifecycle.run().await)
}

/// Starts the node's task and makes its doors.
fn start(
    config: &Config,
    node: &CallNode,
    secret: &Secret,
    http: SocketAddr,
    drain: Duration,
    operators: Operators,
    lifecycle: &mut Lifecycle,
) -> Result<(Router, Router, Ends), Failure> {
    let (callgw, limits) = (&config.callgw, &config.limits);
    let group = Limits {
        node: node.id.clone(),
        rooms: limits.conferences,
        members: limits.conference_members,
        streams: callgw.socket_streams,
        join_ms: callgw.join_timeout.as_millis() as u64,
        messages_per_minute: callgw.messages_per_minute,
        open: callgw.open,
        holds_tracks: node.kind != NodeKind::Whip,
        // A viewer's track at Janus keeps its codec; a stream at a WHIP server has no second sender.
        changes_codecs: matches!(node.kind, NodeKind::Builtin | NodeKind::Confgate),
    };
    let pairs = one_to_one::Limits {
        calls: limits.conferences,
        join_ms: group.join_ms,
        ring_ms: callgw.ring_timeout.as_millis() as u64,
        messages_per_minute: group.messages_per_minute,
        open: group.open,
    };
    let settings = Settings { group, pairs, report_interval: callgw.report_interval, drain };
    let path = format!("{}{}", config.http.base_path.as_str(), node.path());
    let pulls = pull_settings(config, node, secret, &path)?;
    let (task, media, ends) = Node::start(settings, backend(config, node)?, pulls);
    if callgw.open {
        tracing::warn!(%http, "callgw.open: anybody may hold calls here, in rooms apart from every conference's");
    }
    let (soft, hard) = (lifecycle.soft(), lifecycle.hard());
    lifecycle.door("call gateway", async move {
        task.run(soft, hard).await;
        Ok(())
    });
    let doors = signaling::Settings {
        pace: Pace {
            heartbeat: limits.heartbeat,
            write_timeout: limits.write_timeout,
            pings_per_minute: limits.socket_pings_per_minute,
        },
        queue_frames: limits.socket_queue_frames,
        queue_bytes: limits.socket_queue_bytes,
        requests_per_minute: limits.requests_per_minute,
        turn: callgw.turn.clone(),
        operators,
    };
    let own = node.kind == NodeKind::Builtin;
    let pulls = if own { admin::pull_router(media.clone()) } else { Router::new() };
    let router = signaling::router(media, Tokens::new(&node.id, secret), doors, &path, own);
    Ok((router, pulls, ends))
}

/// Which nodes this one pulls from: those that are configured with a secret, and the addresses that are allowed.
///
/// # Errors
/// What is wrong with `callgw.ca`, or our own certificate.
fn pull_settings(config: &Config, own: &CallNode, secret: &Secret, path: &str) -> Result<pull::Settings, Failure> {
    let callgw = &config.callgw;
    let known = |node: &CallNode| {
        let (url, secret) = (node.url.as_ref()?, node.secret.as_ref()?);
        Some(pull::Known { id: node.id.clone(), url: url.uri().clone(), secret: secret.clone() })
    };
    let reach = pull::PullLinkConfig {
        node: own.id.clone(),
        tls: Tls::load_with_own(callgw.ca.as_deref(), &certificate(config).files()?.cert)?,
        timeout: callgw.pull_timeout,
        reconnect_min: callgw.reconnect_min,
        reconnect_max: callgw.reconnect_max,
        // The other node's pings come so often, if it is configured alike.
        silence: config.limits.heartbeat * 3,
        token_ttl: callgw.token_ttl,
    };
    let targets = pull::Targets {
        nodes: callgw.nodes.iter().filter(|node| node.id != own.id).filter_map(known).collect(),
        allowed: callgw.pull_allow.iter().map(|url| url.uri().clone()).collect(),
        own_secret: secret.clone(),
        path: path.to_owned(),
    };
    Ok(pull::Settings { reach, targets })
}

/// What carries the node's media.
fn backend(config: &Config, node: &CallNode) -> Result<Backend, Failure> {
    match node.kind {
        NodeKind::Janus => Ok(Backend::janus(janus_reach(config, node)?)),
        NodeKind::Whip => Ok(Backend::whip(whip_reach(config, node)?)),
        NodeKind::Builtin | NodeKind::Confgate => {
            let media = media_config(config);
            let udp = media.udp;
            let listening = |error: io::Error| format!("taking media at {udp}: {error}");
            Ok(Backend::builtin(media).map_err(listening)?)
        }
    }
}

/// How the node's WHIP server is reached.
///
/// # Errors
/// What is wrong with `callgw.ca`.
pub fn whip_reach(config: &Config, node: &CallNode) -> Result<whip::WhipServer, String> {
    let callgw = &config.callgw;
    let base = node.admin_url.as_ref().ok_or("a WHIP server without an address")?;
    let [whip_path, whep_path] = node.session_paths();
    let bearer = match (&node.signer_id, &node.signer_secret, &node.bearer) {
        (Some(id), Some(secret), _) => whip::Bearer::signed(id, secret),
        (_, _, Some(bearer)) => whip::Bearer::Fixed(bearer.clone()),
        (_, _, None) => whip::Bearer::Nothing,
    };
    Ok(whip::WhipServer {
        base: base.uri().clone(),
        whip_path,
        whep_path,
        tls: Tls::load(callgw.ca.as_deref())?,
        bearer,
        timeout: callgw.connect_timeout,
        probe_interval: callgw.probe_interval,
        probe_timeout: callgw.probe_timeout,
        endpoints_max: callgw.connections as u64,
    })
}

/// How the node's Janus is reached.
///
/// # Errors
/// What is wrong with `callgw.ca`.
pub fn janus_reach(config: &Config, node: &CallNode) -> Result<janus::JanusServer, String> {
    let callgw = &config.callgw;
    let url = node.admin_url.as_ref().ok_or("a Janus without an address")?;
    let tls = Tls::load(callgw.ca.as_deref())?;
    let census = node.load_url.as_ref().zip(node.admin_secret.clone()).map(|(url, secret)| janus::LoadPoll {
        url: url.uri().clone(),
        tls: tls.clone(),
        secret,
        interval: callgw.report_interval,
        timeout: callgw.connect_timeout,
        reconnect_min: callgw.reconnect_min,
        reconnect_max: callgw.reconnect_max,
    });
    Ok(janus::JanusServer {
        node: node.id.clone(),
        url: url.uri().clone(),
        tls,
        api_secret: node.api_secret.clone(),
        admin_key: node.admin_key.clone(),
        timeout: callgw.connect_timeout,
        probe_interval: callgw.probe_interval,
        probe_timeout: callgw.probe_timeout,
        reconnect_min: callgw.reconnect_min,
        reconnect_max: callgw.reconnect_max,
        endpoints_max: callgw.connections as u64,
        members_max: config.limits.conference_members as u64,
        rtp_address: node.rtp_address,
        census,
    })
}

/// Takes the media's addresses for a moment.
pub(super) fn check_media(config: &Config) -> Result<String, String> {
    let media = media_config(config);
    let failed = |listen: SocketAddr| move |error: io::Error| format!("{listen}: {error}");
    UdpSocket::bind(media.udp).map_err(failed(media.udp))?;
    if let Some(tcp) = media.tcp {
        TcpListener::bind(tcp).map_err(failed(tcp))?;
    }
    Ok(format!("udp at {}", media.udp))
}

/// Whom other nodes are believed by.
pub(super) fn check_pulls(config: &Config) -> Result<String, String> {
    Tls::load(config.callgw.ca.as_deref())?;
    Ok(config.callgw.ca.as_ref().map_or("what the system trusts".to_owned(), |path| path.display().to_string()))
}

/// Where media comes in, and how much of it.
fn media_config(config: &Config) -> confgate_sfu::Config {
    let (callgw, defaults) = (&config.callgw, confgate_sfu::Config::default());
    let any_port = SocketAddr::new(config.http.listen.ip(), 0);
    // Firefox uses no loopback address: on this machine it comes from, and to, another of the machine's.
    let only_here = callgw.udp_listen.is_none() && callgw.announce.is_empty() && any_port.ip().is_loopback();
    let everywhere = SocketAddr::new(unspecified(any_port.ip()), 0);
    confgate_sfu::Config {
        udp: callgw.udp_listen.unwrap_or(if only_here { everywhere } else { any_port }),
        tcp: Some(callgw.tcp_listen.unwrap_or(any_port)),
        announce: callgw.announce.clone(),
        announce_loopback: only_here,
        threads: callgw.threads.unwrap_or(defaults.threads),
        rooms_max: config.limits.conferences,
        tcp_connects_per_minute: config.limits.connects_per_minute,
        tcp_idle_timeout: callgw.tcp_idle_timeout,
        limits: confgate_sfu::Limits {
            packets_per_s_max: callgw.packets_per_s_max,
            endpoints_max: callgw.connections,
            connect_timeout: callgw.connect_timeout,
            reconnect_timeout: callgw.lost_timeout,
            ..defaults.limits
        },
        ..defaults
    }
}

fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

fn readiness(lifecycle: &Lifecycle) -> ReadinessSource {
    let (soft, since) = (lifecycle.soft(), date_ms());
    Arc::new(move || {
        let (name, reason) = ("media".to_owned(), String::new());
        let media = Part { name, state: PartState::Up, since, vital: true, reason };
        let phase = if soft.is_cancelled() { Phase::Draining } else { Phase::Serving };
        Readiness { phase, parts: vec![media] }
    })
}
