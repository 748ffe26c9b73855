//! The forms that configuration text takes: durations with a unit in their key, networks, domains, ids.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use crate::ids::ConfId;

/// A duration written as whole milliseconds (keys that end in `_ms`).
pub(super) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(duration.as_millis() as u64)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// A duration written as whole seconds (keys that end in `_s`).
pub(super) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(duration.as_secs())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

/// Networks as CIDR; a bare address stands for itself alone.
pub(super) mod networks {
    use super::*;

    pub fn serialize<S: Serializer>(networks: &[IpNet], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(networks.iter().map(IpNet::to_string))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
        Vec::<String>::deserialize(from)?
            .iter()
            .map(|text| network(text).ok_or_else(|| D::Error::custom("CIDR")))
            .collect()
    }

    fn network(text: &str) -> Option<IpNet> {
        text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    }
}

/// `[A-Za-z0-9_-]{1,64}`: names of nodes, clients, keys.
pub(super) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match ConfId::parse(&text) {
        Some(_) => Ok(text),
        None => Err(D::Error::custom("id")),
    }
}

/// A DNS name in lower case, which is also an XMPP domain as it stands.
pub(super) fn domain<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if is_domain(&text) { Ok(text) } else { Err(D::Error::custom("domain")) }
}

pub(super) fn some_domain<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    domain(from).map(Some)
}

pub(super) fn domains<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let list = Vec::<String>::deserialize(from)?;
    if list.iter().all(|text| is_domain(text)) { Ok(list) } else { Err(D::Error::custom("domain")) }
}

/// Domains, in which `{domain}` stands for `eim.domain`.
pub(super) fn domain_templates<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let list = Vec::<String>::deserialize(from)?;
    let good = list.iter().all(|text| is_domain(&text.replace("{domain}", "d")));
    if good { Ok(list) } else { Err(D::Error::custom("domain")) }
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    text.len() <= 255 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_lower_case_dns() {
        assert!(is_domain("webconf-node1.ips3000"));
        for bad in ["", "A.b", "a..b", "-a", "a b", "a/b", "a@b", "a%b"] {
            assert!(!is_domain(bad), "{bad}");
        }
    }
}
