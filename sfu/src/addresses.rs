//! The addresses at which clients reach the node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses that are tried as destinations to learn which of its own the machine would use: documentation networks
/// (RFC 5737, RFC 3849). Nothing is sent to them.
const FAR_AWAY: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// The addresses that a socket listening at `listen` announces: the configured ones, else the address it listens at,
/// else (listening at all) the machine's own towards the outside. Loopback only when nothing else is there.
pub(crate) fn announced(listen: IpAddr, configured: &[IpAddr]) -> Vec<IpAddr> {
    if !configured.is_empty() {
        return configured.to_vec();
    }
    if !listen.is_unspecified() {
        return vec![listen];
    }
    let own = own_addresses();
    let families = own.iter().copied().filter(|address| listen.is_ipv6() || address.is_ipv4());
    let found: Vec<IpAddr> = families.collect();
    if found.is_empty() { vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] } else { found }
}

/// The machine's addresses: all of its IPv4 ones as Linux lists them, else those of the default routes.
fn own_addresses() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = std::fs::read_to_string("/proc/net/fib_trie")
        .map(|trie| local_of_trie(&trie).into_iter().map(IpAddr::V4).collect())
        .unwrap_or_default();
    for far in FAR_AWAY {
        let here: SocketAddr = match far {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let towards = UdpSocket::bind(here).and_then(|socket| socket.connect(far).and(socket.local_addr()));
        if let Ok(address) = towards
            && !address.ip().is_loopback()
            && !found.contains(&address.ip())
        {
            // The default route's first: most clients come from there.
            found.insert(0, address.ip());
        }
    }
    found
}

/// The hosts that the kernel's routing table calls its own, without loopback and link-local ones.
fn local_of_trie(trie: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = last
            && !address.is_loopback()
            && !address.is_link_local()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_addresses_precede_the_listening_address() {
        let listen = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let public: IpAddr = "198.51.100.7".parse().unwrap();
        assert_eq!(announced(listen, &[public]), [public]);
        assert_eq!(announced(listen, &[]), [listen]);
    }

    #[test]
    fn listening_at_all_announces_no_address_that_is_no_host() {
        let found = announced(IpAddr::V4(Ipv4Addr::UNSPECIFIED), &[]);
        assert!(!found.is_empty());
        assert!(found.iter().all(|address| !address.is_unspecified() && address.is_ipv4()), "{found:?}");
        assert!(found.len() == 1 || found.iter().all(|address| !address.is_loopback()), "{found:?}");
    }

    #[test]
    fn the_kernels_table_gives_the_hosts_own_addresses() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\nLocal:\n     \
                    |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 172.17.0.1\n        /32 host LOCAL\n     \
                    |-- 172.17.255.255\n        /32 link BROADCAST\n";
        assert_eq!(local_of_trie(trie), [Ipv4Addr::new(172, 17, 0, 1)]);
    }
}
