//! The trust of outgoing TLS connections, and in words why a connection isn't trusted.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use ::aws_lc_rs::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection's bytes: over TCP, TLS, or an in-process pipe.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// The SHA-256 of a server's certificate (DER), as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of the first certificate in a PEM file: the one that a server shows as its own.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        let wrong = |what: &dyn fmt::Display| format!("{}: {what}", path.display());
        let mut chain = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
        let own = chain.next().ok_or_else(|| wrong(&"no certificate in PEM form"))?;
        own.map(|certificate| Self::of(&certificate)).map_err(|error| wrong(&error))
    }

    /// `None` where the text is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(is_digit) {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Certificates that are believed: authorities, and servers' own.
#[derive(Clone)]
pub struct Trust {
    roots: RootCertStore,
    /// Those of files: a server that shows one of them is believed, though it may also sign others.
    own: Vec<CertificateDer<'static>>,
    /// A server that shows one of these is believed, whatever its names and dates.
    pinned: Vec<Fingerprint>,
}

impl Trust {
    /// The certificates that the system trusts.
    pub fn system() -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self { roots, own: Vec::new(), pinned: Vec::new() }
    }

    /// Nothing yet.
    pub fn nothing() -> Self {
        Self { roots: RootCertStore::empty(), own: Vec::new(), pinned: Vec::new() }
    }

    /// And the certificates of a PEM file: an authority's, or a server's own.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn and_file(mut self, path: &Path) -> Result<Self, String> {
        let wrong = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let before = self.own.len();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            self.roots.add(certificate.clone()).map_err(|error| wrong(&words_of(&error)))?;
            self.own.push(certificate);
        }
        if self.own.len() == before { Err(wrong(&"no certificate in PEM form")) } else { Ok(self) }
    }

    /// And the server with one of these certificates, for connections to that server only.
    #[must_use]
    pub fn and_pinned(mut self, pinned: &[Fingerprint]) -> Self {
        self.pinned.extend(pinned);
        self
    }

    /// # Errors
    /// There is nothing to believe.
    pub fn client(self) -> Result<ClientConfig, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(self.roots), provider.clone()).build();
        let usual = usual.map_err(|_| "no trusted certificates on this system".to_owned())?;
        let verifier = Arc::new(Verifier { usual, own: self.own, pinned: self.pinned });
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }
}

/// As webpki verifies, but that a server may show a certificate that is also an authority's (CA:TRUE, as `openssl req
/// -x509` makes them), if it is itself among those that are trusted by file; and one that is pinned.
#[derive(Debug)]
struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
    pinned: Vec<Fingerprint>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // That it has the key, the handshake's signature proves.
        if self.pinned.contains(&Fingerprint::of(shown)) {
            return Ok(ServerCertVerified::assertion());
        }
        match self.usual.verify_server_cert(shown, intermediates, name, ocsp, now) {
            // webpki has looked at its dates before; to whom it belongs, the handshake's signature proves.
            Err(error) if is_authority(&error) && self.own.iter().any(|own| own == shown) => {
                verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// A client that trusts any certificate: for a probe, which sends nothing secret and believes nothing that it hears.
pub fn trusting_all() -> ClientConfig {
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
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Whether the server shows an authority's certificate, with nothing else wrong as far as was looked.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Whether the peer's certificate, or its TLS, is what was wrong, rather than the way to it.
pub fn is_peers(error: &io::Error) -> bool {
    inner(error).is_some()
}

/// The error of a TLS handshake, in words.
pub fn words(error: &io::Error) -> String {
    inner(error).map_or_else(|| error.to_string(), words_of)
}

fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// The error of a certificate, in words for its owner; any other error in the library's words.
pub fn words_of(error: &Error) -> String {
    use CertificateError::*;
    let Error::InvalidCertificate(why) = error else { return error.to_string() };
    match why {
        Expired => "its certificate has expired".to_owned(),
        ExpiredContext { not_after, .. } => format!("its certificate has expired, on {}", date(*not_after)),
        NotValidYet => "its certificate isn't valid yet".to_owned(),
        NotValidYetContext { not_before, .. } => {
            format!("its certificate isn't valid yet: it is from {} on", date(*not_before))
        }
        NotValidForName => "its certificate is for another name".to_owned(),
        NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            match presented.as_slice() {
                [] => format!("its certificate isn't for {expected}: it has no subjectAltName"),
                names => format!("its certificate isn't for {expected} but for {}", names.join(", ")),
            }
        }
        UnknownIssuer => "its certificate is signed by nobody who is trusted here: \
                          trust its authority, or the certificate itself"
            .to_owned(),
        Revoked => "its certificate has been revoked".to_owned(),
        BadEncoding => "its certificate can't be read".to_owned(),
        BadSignature => "its certificate's signature is wrong".to_owned(),
        InvalidPurpose | InvalidPurposeContext { .. } => "its certificate isn't one for servers".to_owned(),
        UnhandledCriticalExtension => "its certificate has a critical extension that isn't known here".to_owned(),
        UnsupportedSignatureAlgorithmContext { .. } | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed by an algorithm that isn't taken here".to_owned()
        }
        _ if is_authority(error) => "its certificate is an authority's (CA:TRUE): trust that very certificate, \
                                     or give the server one of its own"
            .to_owned(),
        _ => format!("its certificate isn't taken: {error}"),
    }
}

/// A day, as YYYY-MM-DD (civil from days, after the proleptic Gregorian calendar).
fn date(time: UnixTime) -> String {
    let days = i64::try_from(time.as_secs() / 86_400).unwrap_or(0) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    struct Server {
        certificate: rcgen::Certificate,
        key: KeyPair,
    }

    /// A self-signed certificate of such a kind, as `openssl req -x509` makes it: an authority's.
    fn authority(change: impl FnOnce(&mut CertificateParams)) -> Server {
        let mut params = CertificateParams::new(["ips3000".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Server { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// The result when a client that trusts `trusted` connects to `server` as `name`.
    async fn met(server: &Server, trusted: &Server, name: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, trusted.certificate.pem()).unwrap();
        met_by(server, Trust::nothing().and_file(&file).unwrap(), name).await
    }

    async fn met_by(server: &Server, trust: Trust, name: &str) -> Result<(), String> {
        let client = trust.client().unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(server.key.serialize_der()).unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let chain = vec![server.certificate.der().clone()];
        let config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let (here, there) = tokio::io::duplex(4096);
        let accept = TlsAcceptor::from(Arc::new(config));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        let (client, _) = tokio::join!(connector.connect(name, here), accept.accept(there));
        client.map(drop).map_err(|error| words(&error))
    }

    #[tokio::test]
    async fn a_self_signed_authority_is_believed_where_it_is_itself_trusted() {
        let server = authority(|_| {});
        assert_eq!(met(&server, &server, "ips3000").await, Ok(()));
    }

    #[tokio::test]
    async fn another_authority_of_the_same_name_is_not_believed() {
        let (server, other) = (authority(|_| {}), authority(|_| {}));
        let why = met(&server, &other, "ips3000").await.unwrap_err();
        assert!(why.contains("CA:TRUE"), "{why}");
    }

    #[tokio::test]
    async fn a_pinned_certificate_is_believed_whatever_its_name_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert.pem");
        let (server, other, third) = (authority(|_| {}), authority(|_| {}), authority(|_| {}));
        std::fs::write(&file, server.certificate.pem()).unwrap();
        let pin = Fingerprint::of_file(&file).unwrap();
        std::fs::write(&file, third.certificate.pem()).unwrap();
        let pinning = || Trust::nothing().and_file(&file).unwrap().and_pinned(&[pin]);
        assert_eq!(met_by(&server, pinning(), "192.0.2.7").await, Ok(()));
        assert!(met_by(&other, pinning(), "ips3000").await.is_err());
        assert_eq!(met_by(&third, pinning(), "ips3000").await, Ok(()), "trusted as without a pin");
        assert!(met_by(&third, pinning(), "elsewhere").await.is_err());
    }

    #[test]
    fn a_fingerprint_is_read_as_it_is_written() {
        let text = "00ff".repeat(16);
        assert_eq!(Fingerprint::parse(&text).unwrap().to_string(), text);
        for wrong in ["", &text[1..], &text.to_uppercase(), &text.replace('f', "g"), &"é".repeat(32)] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_trusted_certificates_name_and_dates_are_looked_at_and_told() {
        let server = authority(|_| {});
        let why = met(&server, &server, "elsewhere").await.unwrap_err();
        assert!(why.contains("isn't for elsewhere but for") && why.contains("ips3000"), "{why}");
        let old = authority(|params| params.not_after = rcgen::date_time_ymd(2020, 2, 29));
        let why = met(&old, &old, "ips3000").await.unwrap_err();
        assert!(why.contains("has expired, on 2020-02-29"), "{why}");
        let early = authority(|params| {
            (params.not_before, params.not_after) =
                (rcgen::date_time_ymd(2999, 1, 1), rcgen::date_time_ymd(3000, 1, 1));
        });
        let why = met(&early, &early, "ips3000").await.unwrap_err();
        assert!(why.contains("isn't valid yet: it is from 2999-01-01 on"), "{why}");
        let leaf = authority(|params| params.is_ca = IsCa::NoCa);
        let why = met(&leaf, &server, "ips3000").await.unwrap_err();
        assert!(!why.contains("UnknownIssuer") && why.contains("its certificate"), "{why}");
    }

    #[test]
    fn days_are_told_as_dates() {
        let day = |secs| date(UnixTime::since_unix_epoch(Duration::from_secs(secs)));
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(4_102_444_799), "2099-12-31");
    }
}
