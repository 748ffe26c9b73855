//! A small server over TLS that the harness's clients are tried against.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::certificate::Certificate;

pub struct TlsServer {
    pub address: SocketAddr,
    directory: TempDir,
}

impl TlsServer {
    /// Serves these routes over HTTP/1.1 and HTTP/2 until the test ends.
    pub async fn start(routes: Router) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let certificate = Certificate::for_names(&["localhost", "127.0.0.1"]);
        certificate.write(directory.path());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let acceptor = TlsAcceptor::from(Arc::new(tls(&certificate)));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(routes.clone()));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        let mut server = auto::Builder::new(TokioExecutor::new());
                        server.http2().enable_connect_protocol();
                        let served = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                        // The server ignores a client that is dropped without a close.
                        drop(served);
                    }
                });
            }
        });
        Self { address, directory }
    }

    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }
}

fn tls(certificate: &Certificate) -> ServerConfig {
    let chain = CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).expect("it was just made");
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("it was just made");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("certificate and key belong together");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
