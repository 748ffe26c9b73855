//! Self-signed certificates for what the tests start, and TLS clients that trust exactly one certificate file.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// A certificate and its key, both PEM.
pub struct Certificate {
    pub certificate: String,
    pub key: String,
}

impl Certificate {
    /// For these names and addresses. Not a CA: rustls refuses one that is presented as a server's own.
    pub fn for_names(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("test names are valid");
        params.is_ca = IsCa::ExplicitNoCa;
        // Not rcgen's default, the year 4096: ejabberd's timer for the expiry can't be set that far ahead.
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("a certificate can be signed");
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes `cert.pem` and `key.pem`.
    pub fn write(&self, directory: &Path) {
        std::fs::create_dir_all(directory).expect("a test's directory is writable");
        std::fs::write(directory.join("cert.pem"), &self.certificate).expect("a test's directory is writable");
        std::fs::write(directory.join("key.pem"), &self.key).expect("a test's directory is writable");
    }
}

/// A TLS client that trusts the certificates of that file only and offers these protocols (ALPN).
pub fn trusting(file: &Path, protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file)
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()))
        .collect::<Result<Vec<_>, _>>()
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    for certificate in certificates {
        roots.add(certificate).expect("a certificate can be trusted");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}
