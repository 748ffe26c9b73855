//! Which address a request counts for: the connection's, or what trusted proxies say in `X-Forwarded-For`.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use super::networks::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address. `connection` is the socket's address, or the one out of its PROXY header.
///
/// `X-Forwarded-For` is believed only from a trusted proxy, and from its right end only: each trusted proxy appends whom
/// it was called by, everything further left may be the client's own invention. So the answer is the right-most entry
/// that is not a trusted proxy, or the last one understood.
pub fn client_address(connection: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    if trusted.is_empty() || !trusted.contains(connection) {
        return connection;
    }
    let mut client = connection;
    for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for entry in line.as_bytes().rsplit(|&b| b == b',') {
            let Some(address) = parse_entry(entry) else { return client };
            client = address;
            if !trusted.contains(client) {
                return client;
            }
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<std::net::SocketAddr>().map(|address| address.ip()))
        .or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse())
        .ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(connection: &str, lines: &[&'static str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let trusted = Networks::parse(trusted).expect("networks");
        client_address(connection.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn nobody_but_a_trusted_proxy_names_another_address() {
        assert_eq!(client("203.0.113.9", &["192.0.2.1"], &[]), "203.0.113.9");
        assert_eq!(client("203.0.113.9", &["192.0.2.1"], &["10.0.0.0/8"]), "203.0.113.9");
    }

    #[test]
    fn the_right_most_untrusted_entry_is_the_client() {
        let trusted = &["10.0.0.0/8"];
        assert_eq!(client("10.0.0.1", &["192.0.2.1"], trusted), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["127.0.0.1, 192.0.2.1"], trusted), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 192.0.2.1, 10.0.0.2"], trusted), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "192.0.2.1 , 10.0.0.2"], trusted), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"], trusted), "10.0.0.3");
        assert_eq!(client("10.0.0.1", &[], trusted), "10.0.0.1");
    }

    #[test]
    fn nothing_is_believed_beyond_an_entry_that_cannot_be_read() {
        let trusted = &["10.0.0.0/8"];
        assert_eq!(client("10.0.0.1", &["192.0.2.1, unknown"], trusted), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.1, _hidden, 10.0.0.2"], trusted), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["192.0.2.1, "], trusted), "10.0.0.1");
    }

    #[test]
    fn entries_may_carry_ports_and_brackets() {
        let trusted = &["10.0.0.0/8"];
        assert_eq!(client("10.0.0.1", &["192.0.2.1:4711"], trusted), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["2001:db8::1"], trusted), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:443"], trusted), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]"], trusted), "2001:db8::1");
        assert_eq!(client("::ffff:10.0.0.1", &["::ffff:192.0.2.1"], trusted), "192.0.2.1");
    }
}
