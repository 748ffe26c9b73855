//! Whether a STUN or TURN server answers: a Binding request (RFC 8489) at each address that browsers are given. Whether it
//! takes our credentials is not tried.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::dial::{self, Tls};
use crate::ids::random_bytes;

/// A datagram may be lost: it is sent so often, and an answer waited for so long each time.
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_millis(700);
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
/// Bytes of a STUN message's header.
const HEADER: usize = 20;

/// # Errors
/// Why the server can't be used.
pub async fn check(url: &str, tls: &Tls) -> Result<String, String> {
    let server = Server::parse(url).ok_or("not an address of that kind")?;
    let request = binding_request();
    let answer = match server.transport {
        Transport::Udp => over_udp(&server, &request).await?,
        Transport::Tcp | Transport::Tls => {
            let late = |_| "no answer in time".to_owned();
            timeout(WAIT * TRIES, over_a_stream(&server, &request, tls)).await.map_err(late)??
        }
    };
    // The same transaction, and the answer to it: success or not.
    let is_ours = answer[4..] == request[4..] && matches!(answer[..2], [0x01, 0x01 | 0x11]);
    if is_ours { Ok("answers".to_owned()) } else { Err("what it answers isn't STUN".to_owned()) }
}

#[derive(Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// RFC 7064, RFC 7065.
#[derive(Debug, PartialEq, Eq)]
struct Server {
    host: String,
    port: u16,
    transport: Transport,
}

impl Server {
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let secure = matches!(scheme, "turns" | "stuns");
        let transport = match query.strip_prefix("transport=") {
            _ if secure => Transport::Tls,
            Some("tcp") => Transport::Tcp,
            _ => Transport::Udp,
        };
        let authority: http::uri::Authority = authority.parse().ok()?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 5349 } else { 3478 });
        Some(Self { host, port, transport })
    }
}

fn binding_request() -> [u8; HEADER] {
    let mut request = [0; HEADER];
    request[1] = 0x01;
    request[4..8].copy_from_slice(&MAGIC_COOKIE);
    request[8..].copy_from_slice(&random_bytes::<12>());
    request
}

async fn over_udp(server: &Server, request: &[u8]) -> Result<[u8; HEADER], String> {
    let mut addresses = lookup_host((server.host.as_str(), server.port)).await.map_err(|error| error.to_string())?;
    let to = addresses.next().ok_or("its name leads nowhere")?;
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.map_err(|error| error.to_string())?;
    socket.connect(to).await.map_err(|error| error.to_string())?;
    let mut answer = [0; 1500];
    for _ in 0..TRIES {
        socket.send(request).await.map_err(|error| error.to_string())?;
        match timeout(WAIT, socket.recv(&mut answer)).await {
            Ok(Ok(length)) if length >= HEADER => {
                return Ok(answer[..HEADER].try_into().expect("as long as that"));
            }
            Ok(Ok(_)) => return Err("what it answers isn't STUN".to_owned()),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => {}
        }
    }
    Err("no answer in time".to_owned())
}

async fn over_a_stream(server: &Server, request: &[u8], tls: &Tls) -> Result<[u8; HEADER], String> {
    let scheme = if server.transport == Transport::Tls { "https" } else { "http" };
    let host = if server.host.contains(':') { format!("[{}]", server.host) } else { server.host.clone() };
    let uri = format!("{scheme}://{host}:{}/", server.port).parse().map_err(|_| "not an address".to_owned())?;
    let mut stream = dial::stream(&uri, tls).await.map_err(|error| error.to_string())?;
    let mut answer = [0; HEADER];
    stream.write_all(request).await.map_err(|error| error.to_string())?;
    stream.read_exact(&mut answer).await.map_err(|error| error.to_string())?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_servers_are_read() {
        let server = |host: &str, port, transport| Some(Server { host: host.to_owned(), port, transport });
        assert_eq!(Server::parse("stun:a.example"), server("a.example", 3478, Transport::Udp));
        assert_eq!(Server::parse("turn:a.example:3479?transport=tcp"), server("a.example", 3479, Transport::Tcp));
        assert_eq!(Server::parse("turns:a.example?transport=tcp"), server("a.example", 5349, Transport::Tls));
        assert_eq!(Server::parse("turn:[2001:db8::1]:1?transport=udp"), server("2001:db8::1", 1, Transport::Udp));
        assert_eq!(Server::parse("a.example"), None);
    }

    #[tokio::test]
    async fn an_absent_silent_or_wrong_server_is_told() {
        let tls = Tls::load(None).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let url = format!("stun:{}", socket.local_addr().unwrap());
        assert_eq!(check(&url, &tls).await.unwrap_err(), "no answer in time");
        let answering = async {
            let mut request = [0; HEADER];
            let (length, from) = socket.recv_from(&mut request).await.unwrap();
            assert_eq!((length, request[..2].to_vec()), (HEADER, vec![0, 1]));
            request[0] = 1;
            socket.send_to(&request, from).await.unwrap();
        };
        // What the silent one was asked is read first, and answered to nobody.
        let drained = async {
            let mut old = [0; HEADER];
            for _ in 0..TRIES {
                socket.recv_from(&mut old).await.unwrap();
            }
            answering.await;
        };
        assert_eq!(tokio::join!(check(&url, &tls), drained).0, Ok("answers".to_owned()));
        drop(socket);
        assert!(check(&url, &tls).await.is_err());
    }
}
