//! Whether a STUN or TURN server serves, at each address that browsers are given: STUN is asked for a binding, TURN for a
//! relay with credentials as members get them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use super::stun::{Answer, Challenge, Credentials, HEADER, Method, Request, length};
use crate::callgw::IceServer;
use crate::http::dial::{self, Tls};
use crate::tls_client::Io;

/// A datagram may be lost: it is sent so often, and an answer waited for so long each time.
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_millis(700);
/// A server refuses so who isn't known to it, and what was signed for an older nonce.
const UNAUTHORIZED: u16 = 401;
const STALE_NONCE: u16 = 438;

/// # Errors
/// Why the server can't be used.
pub async fn check(url: &str, ice: &IceServer, tls: &Tls) -> Result<String, String> {
    let server = Server::parse(url).ok_or("not an address of that kind")?;
    let mut connection = server.open(tls).await?;
    if !server.relays {
        return match connection.request(&Request::new(Method::Binding, None)).await? {
            Answer::Success | Answer::Error { .. } => Ok("answers".to_owned()),
        };
    }
    let credentials = Credentials {
        username: ice.username.as_deref().unwrap_or_default(),
        password: ice.credential.as_deref().unwrap_or_default(),
    };
    match connection.request(&Request::new(Method::Allocate, None)).await? {
        Answer::Success => Err("it relays for anybody: it asks for no credentials".to_owned()),
        Answer::Error { code: UNAUTHORIZED, challenge: Some(challenge), .. } => {
            connection.relay(&credentials, challenge).await
        }
        Answer::Error { code, reason, .. } => Err(format!("it gives no relay: {code} {reason}")),
    }
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
    relays: bool,
}

impl Server {
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (secure, relays) = (matches!(scheme, "turns" | "stuns"), matches!(scheme, "turn" | "turns"));
        let transport = match query.strip_prefix("transport=") {
            _ if secure => Transport::Tls,
            Some("tcp") => Transport::Tcp,
            _ => Transport::Udp,
        };
        let authority: http::uri::Authority = authority.parse().ok()?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 5349 } else { 3478 });
        Some(Self { host, port, transport, relays })
    }

    async fn open(&self, tls: &Tls) -> Result<TurnConnection, String> {
        match self.transport {
            Transport::Udp => self.datagrams().await.map_err(|error| error.to_string()).map(TurnConnection::Datagrams),
            Transport::Tcp | Transport::Tls => {
                let scheme = if self.transport == Transport::Tls { "https" } else { "http" };
                let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
                let uri = format!("{scheme}://{host}:{}/", self.port).parse().map_err(|_| "not an address")?;
                let opened = in_time(dial::stream(&uri, tls)).await?;
                opened.map(TurnConnection::Stream).map_err(|error| error.to_string())
            }
        }
    }

    async fn datagrams(&self) -> std::io::Result<UdpSocket> {
        let leads_nowhere = || std::io::Error::other("its name leads nowhere");
        let to = lookup_host((self.host.as_str(), self.port)).await?.next().ok_or_else(leads_nowhere)?;
        let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(to).await?;
        Ok(socket)
    }
}

/// A way to a server.
enum TurnConnection {
    Datagrams(UdpSocket),
    Stream(Box<dyn Io>),
}

impl TurnConnection {
    /// Asks for a relay as members do, and gives it back.
    async fn relay(&mut self, credentials: &Credentials<'_>, mut challenge: Challenge) -> Result<String, String> {
        for _ in 0..TRIES {
            match self.request(&Request::new(Method::Allocate, Some((credentials, &challenge)))).await? {
                Answer::Success => {
                    // Where that is lost, it ends by itself within ten minutes.
                    let _ = self.request(&Request::new(Method::Refresh, Some((credentials, &challenge)))).await;
                    return Ok("gives a relay".to_owned());
                }
                Answer::Error { code: STALE_NONCE, challenge: Some(fresh), .. } => challenge = fresh,
                Answer::Error { code: UNAUTHORIZED, .. } => {
                    let why = "it refuses the credentials that members get: another secret than callgw.turn.secret, \
                               or another time";
                    return Err(why.to_owned());
                }
                Answer::Error { code, reason, .. } => return Err(format!("it gives no relay: {code} {reason}")),
            }
        }
        Err("it takes none of its own nonces".to_owned())
    }

    async fn request(&mut self, request: &Request) -> Result<Answer, String> {
        let answer = match self {
            Self::Datagrams(socket) => by_datagrams(socket, request).await?,
            Self::Stream(stream) => in_time(by_stream(stream, request)).await??,
        };
        Answer::read(&answer, request).ok_or_else(no_stun)
    }
}

fn no_stun() -> String {
    "what it answers isn't STUN".to_owned()
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, String> {
    timeout(WAIT * TRIES, work).await.map_err(|_| "no answer in time".to_owned())
}

async fn by_datagrams(socket: &UdpSocket, request: &Request) -> Result<Vec<u8>, String> {
    let mut answer = [0; 1500];
    for _ in 0..TRIES {
        socket.send(&request.bytes).await.map_err(|error| error.to_string())?;
        match timeout(WAIT, socket.recv(&mut answer)).await {
            Ok(Ok(read)) => return Ok(answer[..read].to_vec()),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => {}
        }
    }
    Err("no answer in time".to_owned())
}

async fn by_stream(stream: &mut Box<dyn Io>, request: &Request) -> Result<Vec<u8>, String> {
    stream.write_all(&request.bytes).await.map_err(|error| error.to_string())?;
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await.map_err(|error| error.to_string())?;
    let mut answer = header.to_vec();
    answer.resize(HEADER + length(&header).ok_or_else(no_stun)?, 0);
    stream.read_exact(&mut answer[HEADER..]).await.map_err(|error| error.to_string())?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ice() -> IceServer {
        IceServer { urls: vec![], username: Some("1:u".to_owned()), credential: Some("c".to_owned()) }
    }

    #[test]
    fn the_addresses_of_servers_are_read() {
        let server =
            |host: &str, port, transport, relays| Some(Server { host: host.to_owned(), port, transport, relays });
        assert_eq!(Server::parse("stun:a.example"), server("a.example", 3478, Transport::Udp, false));
        assert_eq!(Server::parse("turn:a.example:3479?transport=tcp"), server("a.example", 3479, Transport::Tcp, true));
        assert_eq!(Server::parse("turns:a.example?transport=tcp"), server("a.example", 5349, Transport::Tls, true));
        assert_eq!(Server::parse("turn:[2001:db8::1]:1?transport=udp"), server("2001:db8::1", 1, Transport::Udp, true));
        assert_eq!(Server::parse("a.example"), None);
    }

    #[tokio::test]
    async fn an_absent_silent_or_wrong_server_is_told() {
        let (tls, ice) = (Tls::load(None).unwrap(), ice());
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let url = format!("stun:{}", socket.local_addr().unwrap());
        assert_eq!(check(&url, &ice, &tls).await.unwrap_err(), "no answer in time");
        let answering = async {
            let mut request = [0; HEADER];
            let (length, from) = socket.recv_from(&mut request).await.unwrap();
            assert_eq!((length, request[..2].to_vec()), (HEADER, vec![0, 1]));
            request[0] = 1;
            socket.send_to(&request, from).await.unwrap();
        };
        // The request to the silent server is read first, and answered to nobody.
        let drained = async {
            let mut old = [0; HEADER];
            for _ in 0..TRIES {
                socket.recv_from(&mut old).await.unwrap();
            }
            answering.await;
        };
        assert_eq!(tokio::join!(check(&url, &ice, &tls), drained).0, Ok("answers".to_owned()));
        drop(socket);
        assert!(check(&url, &ice, &tls).await.is_err());
    }
}
