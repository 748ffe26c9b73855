//! TLS towards the EIM: whom we trust, and the handshake.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::ConnectError;
use crate::tls_client::{self, Io, Trust};

/// Certificate authorities to believe, and how to begin. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// Trusts the PEM file `ca`, or where it is empty what the system trusts. `direct` says by ALPN that XMPP follows
    /// (XEP-0368 section 4). The error names the file and what is wrong with it.
    pub fn load(ca: &str, direct: bool) -> Result<Self, String> {
        let trust = match ca {
            "" => Trust::system(),
            ca => Trust::nothing().and_file(Path::new(ca)).map_err(|why| format!("eim.ca: {why}"))?,
        };
        let mut config = trust.client()?;
        if direct {
            config.alpn_protocols = vec![b"xmpp-client".to_vec()];
        }
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Puts TLS over `io`. The certificate must be for `domain`, the XMPP domain (RFC 6120 section 13.7.2.1).
    pub async fn connect(&self, domain: &str, io: Box<dyn Io>) -> Result<Box<dyn Io>, ConnectError> {
        let name = ServerName::try_from(domain.to_owned()).map_err(|e| ConnectError::Tls(e.to_string()))?;
        let secured = self.connector.connect(name, io).await.map_err(|e| match tls_client::is_peers(&e) {
            true => ConnectError::Tls(tls_client::words(&e)),
            false => ConnectError::Io(e),
        })?;
        Ok(Box::new(secured))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmpp::negotiate;

    #[test]
    fn an_unusable_certificate_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, "nothing here").unwrap();
        let path = path.to_str().unwrap();
        assert!(Tls::load(path, false).err().unwrap().contains(path));
        assert!(Tls::load("/nonexistent/ca.pem", true).err().unwrap().contains("/nonexistent/ca.pem"));
    }

    /// Lets a component in over TLS whose certificate is for `ips3000`; gives what the client made of it.
    async fn over_tls(domain: &str) -> Result<(), ConnectError> {
        let made = rcgen::generate_simple_self_signed(["ips3000".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let (here, there) = tokio::io::duplex(1024);
        let secret = crate::ids::Secret::new("s");
        let server = async {
            if let Ok(io) = acceptor.accept(there).await {
                let _ = negotiate::component_server(Box::new(io), |_| Some(secret.clone())).await;
            }
        };
        let tls = Tls::load(ca.to_str().unwrap(), true).unwrap();
        let client = async {
            let io = tls.connect(domain, Box::new(here)).await?;
            negotiate::component_client(io, "webconf.ips3000", &secret, None).await.map(|_| ())
        };
        tokio::join!(client, server).0
    }

    #[tokio::test]
    async fn the_certificate_must_be_for_the_xmpp_domain() {
        over_tls("ips3000").await.unwrap();
        assert!(matches!(over_tls("another").await, Err(ConnectError::Tls(_))));
    }
}
