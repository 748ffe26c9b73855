//! Whether a call gateway lives: a connection, TLS where its address says so, and the first bytes of its answer to a
//! WebSocket handshake. Which answer doesn't matter (a node may well refuse us a socket without a token).

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub struct Prober {
    url: String,
    tls: Arc<ClientConfig>,
    /// Whether it ever answered. Who did and falls silent is taken for dead; of who never did (a TCP proxy that
    /// waits, a protocol that we don't speak) no more is asked than that it accepts connections.
    has_spoken: bool,
}

impl Prober {
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), tls: Arc::new(trusting()), has_spoken: false }
    }

    /// `Err` says why the node is not to be used.
    pub async fn probe(&mut self, within: Duration) -> Result<(), String> {
        let uri: http::Uri = self.url.parse().map_err(|_| "not an address".to_owned())?;
        let secure = matches!(uri.scheme_str(), Some("wss" | "https"));
        let host = uri.host().ok_or("an address without a host")?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let connecting = timeout(within, TcpStream::connect((host.as_str(), port)));
        let stream = connecting.await.map_err(|_| "no connection in time")?.map_err(|e| e.to_string())?;
        let answered = timeout(within, self.speak(stream, secure, &host, &uri)).await.unwrap_or(Ok(false));
        match answered {
            Ok(true) => self.has_spoken = true,
            Ok(false) | Err(_) if !self.has_spoken => {}
            Ok(false) => return Err("no answer in time".into()),
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    async fn speak(&self, stream: TcpStream, secure: bool, host: &str, uri: &http::Uri) -> std::io::Result<bool> {
        if !secure {
            return handshake(stream, uri).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        handshake(stream, uri).await
    }
}

async fn handshake(mut stream: impl AsyncRead + AsyncWrite + Unpin, uri: &http::Uri) -> std::io::Result<bool> {
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let authority = uri.authority().map_or("", |a| a.as_str());
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Y29uZmdhdGUgcHJvYmUhIQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut first = [0; 16];
    Ok(stream.read(&mut first).await? > 0)
}

/// A client that trusts any certificate: a probe sends nothing secret and believes nothing that it hears.
fn trusting() -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyCertificate(provider.signature_verification_algorithms));
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const WITHIN: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn a_node_that_answered_once_and_falls_silent_is_dead() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut prober = Prober::new(&format!("ws://{}/x", listener.local_addr().unwrap()));
        assert_eq!(prober.probe(WITHIN).await, Ok(()), "accepting is all that is known of a node that never spoke");
        let answering = async {
            let (mut peer, _) = listener.accept().await.unwrap();
            // The first probe's connection, given up by now, comes first.
            drop(peer);
            peer = listener.accept().await.unwrap().0;
            peer.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
            let mut rest = Vec::new();
            // How the prober lets go of the connection is its own business.
            peer.read_to_end(&mut rest).await.ok();
        };
        let (probed, ()) = tokio::join!(prober.probe(Duration::from_secs(5)), answering);
        assert_eq!(probed, Ok(()));
        assert!(prober.probe(WITHIN).await.is_err(), "silent now");
        drop(listener);
        assert!(prober.probe(WITHIN).await.is_err(), "gone");
    }
}
