//! The settings of a call gateway node, as they follow from the configuration.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::backend::Backend;
use super::group::Limits;
use super::node::Settings;
use super::{janus, one_to_one, pull, whip};
use crate::config::{CallNode, Config, NodeKind};
use crate::http::dial::Tls;
use crate::ids::Secret;

impl Settings {
    /// `drain`: how long calls may go on after the soft stop.
    pub fn new(config: &Config, node: &CallNode, drain: Duration) -> Self {
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
        Self { group, pairs, report_interval: callgw.report_interval, drain }
    }
}

impl Backend {
    /// The carrier of the node's media.
    ///
    /// # Errors
    /// The error in `callgw.ca`, or an address that the media can't have.
    pub fn start(config: &Config, node: &CallNode) -> Result<Self, String> {
        match node.kind {
            NodeKind::Janus => Ok(Self::janus(janus::JanusServer::new(config, node)?)),
            NodeKind::Whip => Ok(Self::whip(whip::WhipServer::new(config, node)?)),
            NodeKind::Builtin | NodeKind::Confgate => {
                let media = media_config(config);
                let udp = media.udp;
                Self::builtin(media).map_err(|error| format!("taking media at {udp}: {error}"))
            }
        }
    }
}

impl pull::Settings {
    /// Which nodes `own` pulls from: those that are configured with a secret, those that are registered, and the
    /// addresses that are allowed. `certificate`: this process's own, which its nodes show too. `path`: where nodes serve their signalling.
    ///
    /// # Errors
    /// The error in `callgw.ca`, or in our own certificate.
    pub fn new(
        config: &Config,
        own: &CallNode,
        secret: &Secret,
        certificate: &Path,
        path: &str,
        registered: pull::Registered,
    ) -> Result<Self, String> {
        let callgw = &config.callgw;
        let known = |node: &CallNode| {
            let (url, secret) = (node.url.as_ref()?, node.secret.as_ref()?);
            let url = url.uri().clone();
            Some(pull::Known { id: node.id.clone(), url, secret: secret.clone(), pins: Vec::new() })
        };
        let reach = pull::PullLinkConfig {
            node: own.id.clone(),
            tls: Tls::load_with_own(callgw.ca.as_deref(), certificate)?,
            timeout: callgw.pull_timeout,
            reconnect_min: callgw.reconnect_min,
            reconnect_max: callgw.reconnect_max,
            // The other node's pings come so often, if it is configured alike.
            silence: config.limits.heartbeat * 3,
            token_ttl: callgw.token_ttl,
        };
        let targets = pull::Targets {
            nodes: callgw.nodes.iter().filter(|node| node.id != own.id).filter_map(known).collect(),
            registered,
            allowed: callgw.pull_allow.iter().map(|url| url.uri().clone()).collect(),
            own_secret: secret.clone(),
            path: path.to_owned(),
        };
        Ok(Self { reach, targets })
    }
}

impl whip::WhipServer {
    /// How the node's WHIP server is reached.
    ///
    /// # Errors
    /// The error in `callgw.ca`.
    pub fn new(config: &Config, node: &CallNode) -> Result<Self, String> {
        let callgw = &config.callgw;
        let base = node.admin_url.as_ref().ok_or("a WHIP server without an address")?;
        let [whip_path, whep_path] = node.session_paths();
        let bearer = match (&node.signer_id, &node.signer_secret, &node.bearer) {
            (Some(id), Some(secret), _) => whip::Bearer::signed(id, secret),
            (_, _, Some(bearer)) => whip::Bearer::Fixed(bearer.clone()),
            (_, _, None) => whip::Bearer::Nothing,
        };
        Ok(Self {
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
}

impl janus::JanusServer {
    /// How the node's Janus is reached.
    ///
    /// # Errors
    /// The error in `callgw.ca`.
    pub fn new(config: &Config, node: &CallNode) -> Result<Self, String> {
        let callgw = &config.callgw;
        let url = node.admin_url.as_ref().ok_or("a Janus without an address")?;
        let tls = Tls::load(callgw.ca.as_deref())?;
        let load_poll = node.load_url.as_ref().zip(node.admin_secret.clone()).map(|(url, secret)| janus::LoadPoll {
            url: url.uri().clone(),
            tls: tls.clone(),
            secret,
            interval: callgw.report_interval,
            timeout: callgw.connect_timeout,
            reconnect_min: callgw.reconnect_min,
            reconnect_max: callgw.reconnect_max,
        });
        Ok(Self {
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
            load_poll,
        })
    }
}

/// Takes the media's addresses for a moment; answers what is taken.
///
/// # Errors
/// Which address can't be had.
pub fn try_addresses(config: &Config) -> Result<String, String> {
    let media = media_config(config);
    let failed = |listen: SocketAddr| move |error: io::Error| format!("{listen}: {error}");
    UdpSocket::bind(media.udp).map_err(failed(media.udp))?;
    if let Some(tcp) = media.tcp {
        TcpListener::bind(tcp).map_err(failed(tcp))?;
    }
    Ok(format!("udp at {}", media.udp))
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
