//! Where a caller comes from: the client's address, and the block of addresses that is one caller for a limit.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that count as one caller: whoever has one of them has the others for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressBlock(IpAddr, u8);

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.1)
    }
}

impl AddressBlock {
    /// One machine, for budgets: the IPv4 address itself, the IPv6 /64 (a machine picks freely within its link's /64).
    pub fn host(address: IpAddr) -> Self {
        Self::masked(address, 32, 64)
    }

    /// One site, for limits on guessing: the IPv4 /24 and the IPv6 /56 (the usual delegation to one customer).
    pub fn site(address: IpAddr) -> Self {
        Self::masked(address, 24, 56)
    }

    fn masked(address: IpAddr, v4_bits: u8, v6_bits: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - v4_bits))).into(), v4_bits),
            IpAddr::V6(v6) => Self(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - v6_bits))).into(), v6_bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_host_is_one_ipv4_address_or_one_ipv6_link() {
        assert_ne!(AddressBlock::host(ip("192.0.2.1")), AddressBlock::host(ip("192.0.2.2")));
        assert_eq!(AddressBlock::host(ip("2001:db8::1")), AddressBlock::host(ip("2001:db8::ffff:1")));
        assert_ne!(AddressBlock::host(ip("2001:db8:0:1::1")), AddressBlock::host(ip("2001:db8:0:2::1")));
    }

    #[test]
    fn a_site_is_an_ipv4_24_or_an_ipv6_56() {
        assert_eq!(AddressBlock::site(ip("192.0.2.1")), AddressBlock::site(ip("192.0.2.254")));
        assert_ne!(AddressBlock::site(ip("192.0.2.1")), AddressBlock::site(ip("192.0.3.1")));
        assert_eq!(AddressBlock::site(ip("2001:db8:0:1::1")), AddressBlock::site(ip("2001:db8:0:ff::1")));
        assert_ne!(AddressBlock::site(ip("2001:db8:0:1::1")), AddressBlock::site(ip("2001:db8:0:100::1")));
    }

    #[test]
    fn a_block_is_told_as_a_network() {
        assert_eq!(AddressBlock::site(ip("::ffff:192.0.2.1")).to_string(), "192.0.2.0/24");
        assert_eq!(AddressBlock::host(ip("2001:db8::1")).to_string(), "2001:db8::/64");
    }

    #[test]
    fn an_ipv4_address_is_the_same_caller_when_mapped_into_ipv6() {
        assert_eq!(AddressBlock::host(ip("::ffff:192.0.2.1")), AddressBlock::host(ip("192.0.2.1")));
    }
}
