//! A JSON-RPC client over HTTPS that trusts one certificate file, and keeps its connection alive.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::trusting;
use super::wait::PATIENCE;

/// Where the gateway's addresses begin, by default.
pub const BASE: &str = "/gzbwclient";

/// Speaks as whoever logged in, or as nobody.
pub struct Client {
    server: Server,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
    ids: AtomicU64,
    login: Option<Value>,
}

/// Where, and whom to trust there.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    /// The client's own address, where it isn't the system's choice.
    from: Option<IpAddr>,
}

impl Server {
    fn socket(&self) -> std::io::Result<TcpSocket> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        Ok(socket)
    }

    async fn connect(&self, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = self.socket()?.connect(self.address).await?;
        self.secure(stream, protocol).await
    }

    async fn secure(&self, stream: TcpStream, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::from(self.address.ip());
        TlsConnector::from(Arc::new(tls)).connect(name, stream).await
    }
}

/// One HTTP reply.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// The body as one JSON-RPC reply.
    pub fn answer(&self) -> Answer {
        Answer(self.json())
    }

    /// Empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().expect("our headers are ASCII"))
    }
}

/// One JSON-RPC reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer(pub Value);

impl Answer {
    /// The result; fails the test where it is an error.
    #[track_caller]
    pub fn result(&self) -> Value {
        self.0.get("result").cloned().unwrap_or_else(|| panic!("no result: {}", self.0))
    }

    /// The error `{code, message, data}`; fails the test where it is a result.
    #[track_caller]
    pub fn error(&self) -> Value {
        self.0.get("error").cloned().unwrap_or_else(|| panic!("no error: {}", self.0))
    }

    /// The error, which must have this code.
    #[track_caller]
    pub fn refused(&self, code: i64) -> Value {
        let error = self.error();
        assert_eq!(error["code"], code, "{}", self.0);
        error
    }
}

impl Client {
    pub fn new(address: SocketAddr, certificate: &Path) -> Self {
        Self::at(Server { address, tls: trusting(certificate, &[]), from: None })
    }

    fn at(server: Server) -> Self {
        Self { server, connection: Mutex::new(None), ids: AtomicU64::new(1), login: None }
    }

    /// Opens microphone and camera in the conference's roster, as a member does of their own accord.
    pub async fn opens_devices(&self, conf: &str) {
        for action in ["unmuteSelf", "openCamera"] {
            self.rpc("conference.control", json!({ "confId": conf, "action": action })).await.result();
        }
    }

    /// Somebody else, or the same over another connection: nobody until they log in.
    pub fn stranger(&self) -> Self {
        Self::at(self.server.clone())
    }

    /// The other's login, which was at another node.
    pub fn as_logged_in(&self, other: &Self) -> Self {
        Self { login: other.login.clone(), ..self.stranger() }
    }

    /// Bears a token that no login gave.
    pub fn bearing(&self, token: &str) -> Self {
        Self { login: Some(json!({ "accessToken": token })), ..self.stranger() }
    }

    /// A stranger at another address of this machine, all of `127.0.0.0/8` are: somebody of another address block.
    pub fn from(&self, address: &str) -> Self {
        let from = Some(address.parse().expect("an address"));
        Self::at(Server { from, ..self.server.clone() })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// A bare TCP connection, which takes in so many bytes unread (as far as the system goes along with that).
    pub async fn connect_tcp(&self, unread: u32) -> std::io::Result<TcpStream> {
        let socket = self.server.socket()?;
        socket.set_recv_buffer_size(unread)?;
        socket.connect(self.server.address).await
    }

    /// TLS over such a connection.
    pub async fn connect_over(&self, stream: TcpStream, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.server.secure(stream, protocol).await
    }

    /// A bare TLS connection that offers that protocol (ALPN), for a test that writes HTTP by hand.
    pub async fn connect(&self, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.server.connect(protocol).await
    }

    /// The access token, where one is borne.
    pub fn token(&self) -> Option<&str> {
        self.login.as_ref()?.get("accessToken")?.as_str()
    }

    /// The login's answer.
    #[track_caller]
    pub fn login(&self) -> &Value {
        self.login.as_ref().expect("this client has logged in")
    }

    #[track_caller]
    pub fn user_id(&self) -> &str {
        self.login()["userId"].as_str().expect("a login answers a userId")
    }

    /// Calls the method, with the token where one is borne.
    pub async fn rpc(&self, method: &str, params: Value) -> Answer {
        let id = self.ids.fetch_add(1, Ordering::Relaxed).to_string();
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let reply = self.post(&request).await;
        assert_eq!(reply.status, StatusCode::OK, "{method}: {reply:?}");
        let answer = reply.answer();
        assert_eq!(answer.0["jsonrpc"], "2.0", "{}", answer.0);
        assert_eq!(answer.0["id"], id, "{}", answer.0);
        answer
    }

    /// Posts that JSON (a request, a batch, anything) as it is, with the token where one is borne.
    pub async fn post(&self, body: &Value) -> Reply {
        self.raw(body.to_string(), &[("content-type", "application/json")]).await
    }

    /// Posts those bytes to the JSON-RPC address with those headers, and the token where one is borne.
    pub async fn raw(&self, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Reply {
        self.request(Method::POST, &format!("{BASE}/jsonrpc"), headers, body).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.request(Method::GET, path, &[], "").await
    }

    /// Any request at all; a token that is borne stands in `Authorization` unless `headers` has its own.
    pub async fn request(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let body = Full::new(body.into());
        let mut request = Request::builder().method(method).uri(path);
        let given = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !given("host") {
            request = request.header("host", self.server.address.to_string());
        }
        if let Some(token) = self.token().filter(|_| !given("authorization")) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("the test's headers are well-formed");
        let exchange = timeout(PATIENCE, self.exchange(request));
        let done = exchange.await.unwrap_or_else(|_| panic!("no reply within {PATIENCE:?} to {path}"));
        done.unwrap_or_else(|e| panic!("no reply to {path}: {e}"))
    }

    /// As [`Client::request`], for what may fail below HTTP.
    pub async fn exchange(&self, request: Request<Full<Bytes>>) -> std::io::Result<Reply> {
        let mut connection = self.connection.lock().await;
        if connection.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = self.server.connect("http/1.1").await?;
            let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
            tokio::spawn(driver);
            *connection = Some(sender);
        }
        let sender = connection.as_mut().expect("it was just made");
        sender.ready().await.map_err(std::io::Error::other)?;
        let reply = sender.send_request(request).await.map_err(std::io::Error::other)?;
        let (head, body) = reply.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    /// `auth.http.login` with those params: a client that bears the token, or the refusal.
    pub async fn try_login(&self, params: Value) -> Result<Self, Answer> {
        let someone = self.stranger();
        let answer = someone.rpc("auth.http.login", params).await;
        match answer.0.get("result") {
            Some(login) => Ok(Self { login: Some(login.clone()), ..someone }),
            None => Err(answer),
        }
    }

    async fn logged_in(&self, params: Value) -> Self {
        self.try_login(params).await.unwrap_or_else(|refusal| panic!("the login is refused: {}", refusal.0))
    }

    /// Enters by a link's code (or its whole address) under that name.
    pub async fn login_link(&self, link: &str, name: &str) -> Self {
        self.logged_in(json!({ "grantType": "conference_link", "link": link, "name": name })).await
    }

    pub async fn login_password(&self, user_id: &str, password: &str) -> Self {
        self.logged_in(json!({ "grantType": "password", "userId": user_id, "password": password })).await
    }

    pub async fn login_client(&self, client_id: &str, secret: &str) -> Self {
        let params = json!({ "grantType": "client_credentials", "clientId": client_id, "clientSecret": secret });
        self.logged_in(params).await
    }

    /// Rotates the refresh token: a client that bears the new pair.
    pub async fn refreshed(&self) -> Self {
        let token = &self.login()["refreshToken"];
        self.logged_in(json!({ "grantType": "refresh_token", "refreshToken": token })).await
    }
}
