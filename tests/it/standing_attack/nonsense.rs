//! Hostile clients at every target at once: their input is nearly right, and never stops. They run on a thread of their
//! own, beside a conference whose members behave.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::support::client::{BASE, Client};
use crate::support::fuzz::corpus;

/// Clients at each target.
const CLIENTS: usize = 4;
/// Between two messages of one client, so that what is tried is the gateway and not this machine.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a client waits for an answer that may never come.
const ANSWER: Duration = Duration::from_secs(2);
/// Most bytes that nonsense is made longer by.
const GROWTH: usize = 5_000;

/// Requests as a front-end developer would write them.
const REQUESTS: [&str; 8] = [
    r#"{"jsonrpc":"2.0","id":"1","method":"auth.http.login","params":{"grantType":"conference_link","link":"xY7aMTIzNDU2","name":"张伟"}}"#,
    r#"{"id":1,"method":"config.getProperties","params":{"keys":["serverName","webrtcAddress"]}}"#,
    r#"{"id":1,"method":"org.user.processIQ","params":{"reqXml":"<iq to='jeprivacy.ips3000' type='get' id='1'><jeExtension xmlns='je:x:client:config'><getMainTabs/></jeExtension></iq>"}}"#,
    r#"{"id":1,"method":"conference.control","params":{"confId":"c1","action":"end"}}"#,
    r#"{"id":1,"method":"conference.sendMessage","params":{"confId":"c1","text":"\ud83d\ude00 <b>&amp;</b>"}}"#,
    r#"[{"id":1,"method":"rpc.discover"},{"id":2,"method":"rpc.discover"},{"method":"rpc.discover"},1,{}]"#,
    r#"{"id":1,"method":"events.resume","params":{"positions":[{"confId":"c1","epoch":"e","seq":18446744073709551615}]}}"#,
    r#"{"id":123456789012345678901234567890,"method":"callgw.allocate","params":{"confId":"c1"}}"#,
];

/// Where the clients attack.
#[derive(Clone)]
pub struct Targets {
    pub client: Arc<Client>,
    /// The token that admits one of them to an event socket.
    pub access_token: String,
    /// The token that admits to the call gateway's HTTP sessions, and its conference.
    pub session_token: String,
    pub conf: String,
    pub admin: SocketAddr,
    pub udp: SocketAddr,
    pub tcp: SocketAddr,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Rpc,
    EventSocket,
    CallSocket,
    Whip,
    Admin,
    Datagrams,
    MediaTcp,
}

const ENTRANCES: [Target; 7] = [
    Target::Rpc,
    Target::EventSocket,
    Target::CallSocket,
    Target::Whip,
    Target::Admin,
    Target::Datagrams,
    Target::MediaTcp,
];

pub struct Nonsense {
    over: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Nonsense {
    pub fn begin(targets: Targets) -> Self {
        let (over, is_over) = oneshot::channel::<()>();
        let seeds = Arc::new(Seeds::read());
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut attacking = JoinSet::new();
                for entrance in ENTRANCES {
                    for _ in 0..CLIENTS {
                        attacking.spawn(attack(targets.clone(), seeds.clone(), entrance));
                    }
                }
                is_over.await.expect_err("its sender is dropped");
                attacking.shutdown().await;
            });
        });
        Self { over, thread }
    }

    pub fn end(self) {
        drop(self.over);
        self.thread.join().expect("the attack ends");
    }
}

/// Valid inputs of clients.
struct Seeds {
    frames: Vec<Vec<u8>>,
    offers: Vec<Vec<u8>>,
    datagrams: Vec<Vec<u8>>,
}

impl Seeds {
    fn read() -> Self {
        let of = |folder: &str| corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        let lines = |folder: &str| of(folder).into_iter().flat_map(|(_, text)| lines_of(&text)).collect();
        let frame = |line: &String| line.split_once(' ').map(|(_, frame)| frame.as_bytes().to_vec());
        let frames: Vec<String> = lines("tests/corpus/signalling");
        let datagram = |line: &String| Some(unhex(line.rsplit(' ').next()?));
        let datagrams: Vec<String> = lines("sfu/tests/corpus/datagrams");
        Self {
            frames: frames.iter().filter_map(frame).collect(),
            offers: of("sfu/tests/corpus/descriptions").into_iter().map(|(_, text)| text.into_bytes()).collect(),
            datagrams: datagrams.iter().filter_map(datagram).collect(),
        }
    }
}

fn lines_of(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// One of those, with some bytes changed, cut, repeated or added; sometimes as it is.
fn spoiled<T: AsRef<[u8]>>(seeds: &[T]) -> Vec<u8> {
    let mut rng = rand::rng();
    let mut bytes = seeds[rng.random_range(0..seeds.len())].as_ref().to_vec();
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, std::iter::repeat_n(rng.random::<u8>(), rng.random_range(0..GROWTH)))),
            2 => drop(bytes.splice(at..at, b"\xef\xbb\xbf".iter().copied())),
            3 => {
                let half = bytes[..at].to_vec();
                bytes.extend(half);
            }
            _ if at < bytes.len() => bytes[at] = rng.random(),
            _ => {}
        }
    }
    bytes
}

/// Cut, or refused, it comes again.
async fn attack(targets: Targets, seeds: Arc<Seeds>, entrance: Target) {
    loop {
        let struck = match entrance {
            Target::Rpc => targets.rpc().await,
            Target::EventSocket => targets.event_socket().await,
            Target::CallSocket => targets.call_socket(&seeds.frames).await,
            Target::Whip => targets.sessions(&seeds.offers).await,
            Target::Admin => targets.admin().await,
            Target::Datagrams => targets.datagrams(&seeds.datagrams).await,
            Target::MediaTcp => targets.media_tcp(&seeds.datagrams).await,
        };
        // The next one is sent whatever the result.
        drop(struck);
        sleep(PAUSE).await;
    }
}

impl Targets {
    async fn over_http(&self, head: &str, body: &[u8]) -> std::io::Result<()> {
        let mut stream = self.client.connect("http/1.1").await?;
        let length = body.len();
        let head = format!("{head} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nConnection: close\r\n");
        let token = format!("Authorization: Bearer {}\r\n\r\n", self.session_token);
        stream.write_all(&[head.as_bytes(), token.as_bytes(), body].concat()).await?;
        timeout(ANSWER, stream.read_to_end(&mut Vec::new())).await??;
        Ok(())
    }

    async fn rpc(&self) -> std::io::Result<()> {
        self.over_http(&format!("POST {BASE}/jsonrpc"), &spoiled(&REQUESTS)).await
    }

    async fn sessions(&self, offers: &[Vec<u8>]) -> std::io::Result<()> {
        let (method, kind) =
            [("POST", "whip"), ("POST", "whep"), ("PATCH", "whip"), ("DELETE", "whep")][rand::rng().random_range(0..4)];
        let path = format!("{method} {BASE}/callgw/{kind}/{}\r\nContent-Type: application/sdp", self.conf);
        self.over_http(&path.replace("\r\nContent-Type", "/x HTTP/1.1\r\nX-Also"), &spoiled(offers)).await?;
        self.over_http(&format!("{method} {BASE}/callgw/{kind}/{}", self.conf), &spoiled(offers)).await
    }

    async fn event_socket(&self) -> std::io::Result<()> {
        let offer = format!("confgate, bearer.{}", self.access_token);
        self.frames(&format!("{BASE}/websck"), Some(&offer), &REQUESTS).await
    }

    async fn call_socket(&self, frames: &[Vec<u8>]) -> std::io::Result<()> {
        self.frames(&format!("{BASE}/callgw"), None, frames).await
    }

    /// Frames of every kind until the socket is closed; what comes is read.
    async fn frames<T: AsRef<[u8]>>(&self, path: &str, offer: Option<&str>, seeds: &[T]) -> std::io::Result<()> {
        let headers: Vec<(&str, &str)> = offer.iter().map(|offer| ("sec-websocket-protocol", *offer)).collect();
        let opened = timeout(ANSWER, self.client.websocket(path, &headers)).await?;
        let (socket, _) = opened.map_err(|refused| std::io::Error::other(format!("{refused:?}")))?;
        let (mut sink, mut stream) = socket.split();
        let reading = async { while let Some(Ok(_)) = stream.next().await {} };
        let sending = async {
            loop {
                let bytes = spoiled(seeds);
                let frame = match rand::rng().random_range(0..12) {
                    0 => Message::Binary(Bytes::from(bytes)),
                    1 => Message::Ping(Bytes::from_static(&[7; 125])),
                    2 => Message::Pong(Bytes::new()),
                    _ => Message::text(String::from_utf8_lossy(&bytes).into_owned()),
                };
                if sink.send(frame).await.is_err() {
                    return;
                }
                sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = reading => {}
            () = sending => {}
        }
        Ok(())
    }

    async fn admin(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(self.admin).await?;
        let head = "POST /rest-api/pull/pull HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 60\r\n\r\n";
        let body = json!({ "uri": "wss://127.0.0.1:1", "remoteStreamName": "a/b", "localStreamName": "a/b" });
        stream.write_all(&spoiled(&[format!("{head}{body}")])).await?;
        timeout(ANSWER, stream.read_to_end(&mut Vec::new())).await??;
        Ok(())
    }

    async fn datagrams(&self, seeds: &[Vec<u8>]) -> std::io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        for _ in 0..100 {
            let datagram = spoiled(seeds);
            socket.send_to(&datagram[..datagram.len().min(1_500)], self.udp).await?;
        }
        Ok(())
    }

    /// Packets behind their lengths (RFC 4571), some of which are wrong.
    async fn media_tcp(&self, seeds: &[Vec<u8>]) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(self.tcp).await?;
        for _ in 0..20 {
            let packet = spoiled(seeds);
            let wrong = rand::rng().random_range(0..4) == 0;
            let length = if wrong { rand::rng().random() } else { u16::try_from(packet.len()).unwrap_or(u16::MAX) };
            stream.write_all(&[&length.to_be_bytes(), packet.as_slice()].concat()).await?;
        }
        timeout(ANSWER, stream.read_to_end(&mut Vec::new())).await??;
        Ok(())
    }
}
