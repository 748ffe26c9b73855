//! Lists of networks (CIDR), and who may connect by them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A text that is neither an address nor a network in CIDR form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a network like 10.0.0.0/8")]
pub struct NetworkError(String);

/// Networks and single addresses. An IPv4 address mapped into IPv6 counts as the IPv4 address.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Each text an address or a network; the first that is neither is the error.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, NetworkError> {
        texts.iter().map(|text| parse_network(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is no network.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a network has the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl From<Vec<IpNet>> for Networks {
    fn from(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(ToString::to_string)).finish()
    }
}

fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    let text = text.trim();
    IpNet::from_str(text)
        .or_else(|_| IpAddr::from_str(text).map(IpNet::from))
        .map_err(|_| NetworkError(text.to_owned()))
}

/// `http.allowed_networks` and `http.denied_networks`: denied wins; an empty allowed list allows everybody.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// Networks that may connect; empty: all.
    pub allowed: Networks,
    /// Networks that may not.
    pub denied: Networks,
}

impl Admission {
    /// Whether the address may connect.
    pub fn admits(&self, address: IpAddr) -> bool {
        !self.denied.contains(address) && (self.allowed.is_empty() || self.allowed.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(allowed: &[&str], denied: &[&str]) -> Admission {
        let parse = |list| Networks::parse(list).expect("networks");
        Admission { allowed: parse(allowed), denied: parse(denied) }
    }

    fn admits(admission: &Admission, address: &str) -> bool {
        admission.admits(address.parse().expect("an address"))
    }

    #[test]
    fn without_lists_everybody_may_come() {
        assert!(admits(&admission(&[], &[]), "203.0.113.9"));
        assert!(admits(&admission(&[], &[]), "2001:db8::1"));
    }

    #[test]
    fn an_allowed_list_shuts_out_the_rest_and_denied_wins() {
        let admission = admission(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"], &["10.9.0.0/16"]);
        assert!(admits(&admission, "10.1.2.3"));
        assert!(admits(&admission, "192.0.2.7"));
        assert!(admits(&admission, "2001:db8:1::1"));
        assert!(!admits(&admission, "192.0.2.8"));
        assert!(!admits(&admission, "10.9.1.1"));
        assert!(!admits(&admission, "::1"));
    }

    #[test]
    fn an_ipv4_client_on_an_ipv6_socket_is_an_ipv4_client() {
        assert!(admits(&admission(&["10.0.0.0/8"], &[]), "::ffff:10.1.2.3"));
        assert!(!admits(&admission(&[], &["10.0.0.0/8"]), "::ffff:10.1.2.3"));
    }

    #[test]
    fn text_that_is_no_network_is_an_error() {
        for text in ["", "10.0.0.0/33", "10.0.0", "example.org", "*"] {
            assert!(Networks::parse(&[text]).is_err(), "{text}");
        }
    }
}
