//! PROXY protocol version 2: who the client is behind a proxy that passes TLS through.
//! Source: haproxy.org/download/3.0/doc/proxy-protocol.txt, section 2.2. Our own, since the crates parse a buffer: here the
//! header is read to its last byte and not one further, behind which TLS begins, and what it may be is bounded as it comes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
const PREAMBLE: usize = 16;

/// Most that may follow the preamble: the largest address block (216, AF_UNIX) and plenty for TLVs.
const MAX_REST: usize = 4096;

/// The reason why a header was refused; the connection is closed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("no PROXY v2 signature")]
    Signature,
    #[error("PROXY version {0}")]
    Version(u8),
    #[error("PROXY command {0}")]
    Command(u8),
    #[error("PROXY family and transport {0:#04x}")]
    Family(u8),
    #[error("PROXY header of {0} bytes")]
    Length(usize),
}

/// The kind of address that the header's fixed part announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    V4,
    V6,
    /// The proxy speaks for itself (LOCAL), or for somebody without an IP address: the socket's address holds.
    Unspecified,
}

/// Reads the fixed part: which source follows, and in how many bytes.
fn parse_preamble(bytes: &[u8; PREAMBLE]) -> Result<(Source, usize), ProxyError> {
    if bytes[..12] != SIGNATURE {
        return Err(ProxyError::Signature);
    }
    let (version, command, family) = (bytes[12] >> 4, bytes[12] & 0x0f, bytes[13]);
    if version != 2 {
        return Err(ProxyError::Version(version));
    }
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let (source, least) = match (command, family) {
        (0, _) => (Source::Unspecified, 0),
        (1, 0x11) => (Source::V4, 12),
        (1, 0x21) => (Source::V6, 36),
        (1, 0x00) => (Source::Unspecified, 0),
        (1, 0x31) => (Source::Unspecified, 216),
        (1, other) => return Err(ProxyError::Family(other)),
        (other, _) => return Err(ProxyError::Command(other)),
    };
    if length < least || length > MAX_REST {
        return Err(ProxyError::Length(length));
    }
    Ok((source, length))
}

/// The source address out of what follows the preamble; its length was checked there.
fn parse_source(source: Source, rest: &[u8]) -> Option<IpAddr> {
    match source {
        Source::V4 => rest.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into()),
        Source::V6 => rest.first_chunk::<16>().map(|octets| IpAddr::from(Ipv6Addr::from(*octets)).to_canonical()),
        Source::Unspecified => None,
    }
}

/// Takes the header off a trusted proxy's connection, if it begins with one, and not a byte more.
/// `None`: no header (a proxy that ends TLS and speaks `X-Forwarded-For`), or one that names no address.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut first = [0];
    // A TLS record begins with 0x16, so the first byte tells the two apart.
    if stream.peek(&mut first).await? == 0 || first[0] != SIGNATURE[0] {
        return Ok(None);
    }
    let mut preamble = [0; PREAMBLE];
    stream.read_exact(&mut preamble).await?;
    let (source, length) = parse_preamble(&preamble).map_err(io::Error::other)?;
    let mut rest = vec![0; length]; // on the heap: an array would be kept in every connection's task for its whole life
    stream.read_exact(&mut rest).await?;
    Ok(parse_source(source, &rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn preamble(version_command: u8, family: u8, length: u16) -> [u8; PREAMBLE] {
        let mut bytes = [0; PREAMBLE];
        bytes[..12].copy_from_slice(&SIGNATURE);
        bytes[12] = version_command;
        bytes[13] = family;
        bytes[14..].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    #[test]
    fn the_source_of_a_tcp_connection_is_read() {
        assert_eq!(parse_preamble(&preamble(0x21, 0x11, 12)), Ok((Source::V4, 12)));
        assert_eq!(parse_preamble(&preamble(0x21, 0x21, 36 + 40)), Ok((Source::V6, 76)));
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0, 80, 1, 187];
        assert_eq!(parse_source(Source::V4, &v4), Some("192.0.2.1".parse().expect("an address")));
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"::ffff:192.0.2.1".parse::<Ipv6Addr>().expect("an address").octets());
        assert_eq!(parse_source(Source::V6, &v6), Some("192.0.2.1".parse().expect("an address")));
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_names_nobody() {
        for bytes in [preamble(0x20, 0x00, 0), preamble(0x20, 0x11, 12), preamble(0x21, 0x00, 0)] {
            assert_eq!(parse_preamble(&bytes).map(|(source, _)| source), Ok(Source::Unspecified));
        }
        assert_eq!(parse_source(Source::Unspecified, &[1; 12]), None);
    }

    #[test]
    fn a_hostile_header_is_refused() {
        let mut without_signature = preamble(0x21, 0x11, 12);
        without_signature[11] = b'!';
        assert_eq!(parse_preamble(&without_signature), Err(ProxyError::Signature));
        assert_eq!(parse_preamble(&preamble(0x11, 0x11, 12)), Err(ProxyError::Version(1)));
        assert_eq!(parse_preamble(&preamble(0x22, 0x11, 12)), Err(ProxyError::Command(2)));
        assert_eq!(parse_preamble(&preamble(0x21, 0x12, 12)), Err(ProxyError::Family(0x12)));
        assert_eq!(parse_preamble(&preamble(0x21, 0x41, 12)), Err(ProxyError::Family(0x41)));
        assert_eq!(parse_preamble(&preamble(0x21, 0x11, 11)), Err(ProxyError::Length(11)));
        assert_eq!(parse_preamble(&preamble(0x21, 0x21, 12)), Err(ProxyError::Length(12)));
        assert_eq!(parse_preamble(&preamble(0x20, 0x00, u16::MAX)), Err(ProxyError::Length(65_535)));
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_read_past_its_bounds(bytes: [u8; 4], rest in proptest::collection::vec(any::<u8>(), 0..MAX_REST)) {
            let bytes = preamble(bytes[0], bytes[1], u16::from_be_bytes([bytes[2], bytes[3]]));
            if let Ok((source, length)) = parse_preamble(&bytes) {
                prop_assert!(length <= MAX_REST);
                parse_source(source, &rest);
            }
        }
    }
}
