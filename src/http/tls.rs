//! The certificate: loaded, made on the first run, and taken up anew when its files change.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// More than any chain or key has; what is larger is not one.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// How long a self-signed certificate is good for. It is trusted by being known, not by its age, and nobody renews it.
const SELF_SIGNED_DAYS: u64 = 3650;

/// Where the certificate comes from.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum Certificate {
    /// `http.cert` and `http.key`.
    Files(CertificateFiles),
    /// Made on the first run in `dir`, for this machine and `names` (host names or addresses, of `http.listen` and
    /// `http.public_url`).
    SelfSigned { dir: PathBuf, names: Vec<String> },
}

/// A chain in PEM, ours first, and its private key in PEM (PKCS#8, PKCS#1 or SEC1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate chain's PEM file.
    pub cert: PathBuf,
    /// The private key's PEM file.
    pub key: PathBuf,
}

/// An error of a certificate, in words that name the file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum TlsError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// The certificate can't be used.
    #[error("{}: no certificate in PEM form: {what}", path.display())]
    Certificate { path: PathBuf, what: String },
    /// The key can't be used.
    #[error("{}: no private key in PEM form: {what}", path.display())]
    Key { path: PathBuf, what: String },
    /// Certificate and key don't belong together.
    #[error("{} and {} do not make a usable certificate: {source}", cert.display(), key.display())]
    Pair { cert: PathBuf, key: PathBuf, source: rustls::Error },
    /// The certificate is there, its key is not.
    #[error("{} is there, its private key {} is not", cert.display(), key.display())]
    Half { cert: PathBuf, key: PathBuf },
    /// rustls refuses the settings.
    #[error("TLS: {0}")]
    Settings(#[from] rustls::Error),
    /// A self-signed certificate can't be made.
    #[error("making a certificate: {0}")]
    Making(#[from] rcgen::Error),
}

fn at(path: &Path) -> impl Fn(io::Error) -> TlsError + '_ {
    |source| TlsError::File { path: path.to_owned(), source }
}

impl Certificate {
    /// The files, made first where that is asked for and they are not there yet.
    pub fn files(&self) -> Result<CertificateFiles, TlsError> {
        match self {
            Self::Files(files) => Ok(files.clone()),
            Self::SelfSigned { dir, names } => self_signed(dir, names),
        }
    }
}

/// The settings that new connections are served with, replaced as a whole when the files change: connections that are
/// open go on, and a session of the old certificate is not resumed under the new one.
pub struct Tls {
    files: CertificateFiles,
    current: ArcSwap<ServerConfig>,
    stamps: [Stamp; 2],
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that can't be used.
    pub fn load(files: CertificateFiles) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let current = ArcSwap::from_pointee(server_config(&files)?);
        Ok(Self { files, current, stamps })
    }

    /// The configuration of new connections.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Looks at the files `every` so often, for ever. A pair that can't be used leaves the old certificate in service
    /// and is tried again at the next look: the two files are hardly ever replaced in the same instant.
    pub async fn watch(&self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        let (mut served, mut failed) = (self.stamps, None);
        loop {
            ticks.tick().await;
            let seen = stamps(&self.files);
            if seen == served {
                continue;
            }
            match server_config(&self.files) {
                Ok(config) => {
                    self.current.store(Arc::new(config));
                    (served, failed) = (seen, None);
                    metrics::counter!("confgate_http_certificate_reloads_total", "outcome" => "taken").increment(1);
                    tracing::info!(cert = %self.files.cert.display(), "certificate taken up");
                }
                Err(error) if failed != Some(seen) => {
                    failed = Some(seen);
                    metrics::counter!("confgate_http_certificate_reloads_total", "outcome" => "refused").increment(1);
                    tracing::warn!(%error, "the changed certificate can't be used, the old one stays");
                }
                Err(_) => {}
            }
        }
    }
}

/// A stamp that differs when a file's content differs, without reading the file. Symbolic links are followed.
type Stamp = Option<(SystemTime, u64, u64, i64)>;

fn stamps(files: &CertificateFiles) -> [Stamp; 2] {
    use std::os::unix::fs::MetadataExt;
    [&files.cert, &files.key].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len(), meta.ino(), meta.ctime_nsec()))
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(at(path))?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(at(path))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(at(path)(io::Error::other("larger than 1 MiB")));
    }
    Ok(bytes)
}

fn server_config(files: &CertificateFiles) -> Result<ServerConfig, TlsError> {
    let CertificateFiles { cert, key } = files.clone();
    let wrong = |what: &dyn ToString| TlsError::Certificate { path: cert.clone(), what: what.to_string() };
    let chain = CertificateDer::pem_slice_iter(&read(&cert)?).collect::<Result<Vec<_>, _>>().map_err(|e| wrong(&e))?;
    if chain.is_empty() {
        return Err(wrong(&"none found"));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(&key)?)
        .map_err(|what| TlsError::Key { path: key.clone(), what: what.to_string() })?;
    // The provider is named here, so that no process-wide default has to be set before.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|source| TlsError::Pair { cert, key, source })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

/// `dir/cert.pem` and `dir/key.pem`, made where they are missing, for `localhost`, the loopback addresses and `names`.
///
/// The key comes first and stays: a start that was cut off, or two at once, end with a certificate of that one key.
pub fn self_signed(dir: &Path, names: &[String]) -> Result<CertificateFiles, TlsError> {
    let files = CertificateFiles { cert: dir.join("cert.pem"), key: dir.join("key.pem") };
    match (files.cert.exists(), files.key.exists()) {
        (true, true) => return Ok(files),
        (true, false) => return Err(TlsError::Half { cert: files.cert, key: files.key }),
        (false, _) => {}
    }
    std::fs::create_dir_all(dir).map_err(at(dir))?;
    let fresh = rcgen::KeyPair::generate()?;
    create_private(&files.key, fresh.serialize_pem().as_bytes()).map_err(at(&files.key))?;
    let kept = read(&files.key)?;
    let key = rcgen::KeyPair::from_pem(&String::from_utf8_lossy(&kept))?;
    let certificate = certificate_params(names)?.self_signed(&key)?;
    let unfinished = dir.join(format!("cert.pem.{}", crate::ids::random_text(8)));
    std::fs::write(&unfinished, certificate.pem()).map_err(at(&unfinished))?;
    std::fs::rename(&unfinished, &files.cert).map_err(at(&files.cert))?;
    Ok(files)
}

/// Writes a file that only its owner can read; one that is there already stays as it is. The name appears with the
/// whole content or not at all.
fn create_private(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let unfinished = path.with_extension(format!("pem.{}", crate::ids::random_text(8)));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&unfinished, path);
    std::fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

fn certificate_params(names: &[String]) -> Result<rcgen::CertificateParams, TlsError> {
    let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    for name in names {
        let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let named = name.parse::<IpAddr>().map_or(!name.is_empty(), |address| !address.is_unspecified());
        if named && !all.contains(&name) {
            all.push(name);
        }
    }
    let mut params = rcgen::CertificateParams::new(all)?;
    // CA:FALSE written out: clients that are given this certificate as their root refuse one that may sign others.
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "confgate self-signed");
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(crate::clock::date_ms());
    params.not_before = now - Duration::from_secs(86_400); // a client's clock may be a little behind
    params.not_after = now + Duration::from_secs(SELF_SIGNED_DAYS * 86_400);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn generate(names: &[&str]) -> (tempfile::TempDir, CertificateFiles) {
        let dir = tempfile::tempdir().expect("a directory");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let files = self_signed(&dir.path().join("certs"), &names).expect("a certificate");
        (dir, files)
    }

    fn der(files: &CertificateFiles) -> Vec<u8> {
        CertificateDer::from_pem_file(&files.cert).expect("a certificate").to_vec()
    }

    #[test]
    fn a_self_signed_certificate_serves_and_is_made_once() {
        let (_dir, files) = generate(&["conf.example.org", "0.0.0.0", "192.0.2.5", "[2001:db8::5]", "localhost"]);
        assert!(Tls::load(files.clone()).is_ok());
        let before = der(&files);
        self_signed(files.cert.parent().expect("a directory"), &[]).expect("kept");
        assert_eq!(der(&files), before);
        let find = |needle: &[u8]| before.windows(needle.len()).any(|window| window == needle);
        assert!(find(b"localhost") && find(b"conf.example.org"));
        assert!(find(&[0x87, 4, 127, 0, 0, 1]) && find(&[0x87, 4, 192, 0, 2, 5]) && !find(&[0x87, 4, 0, 0, 0, 0]));
        // basicConstraints, critical or not, with an empty sequence: CA:FALSE.
        assert!(find(&[0x55, 0x1d, 0x13]) && find(&[0x04, 0x02, 0x30, 0x00]));
    }

    #[test]
    fn only_its_owner_reads_the_private_key() {
        let (_dir, files) = generate(&[]);
        let mode = std::fs::metadata(&files.key).expect("the key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_without_its_certificate_gets_one_and_the_reverse_is_an_error() {
        let (_dir, files) = generate(&[]);
        let dir = files.cert.parent().expect("a directory");
        let key = std::fs::read(&files.key).expect("the key");
        std::fs::remove_file(&files.cert).expect("removed");
        assert!(Tls::load(self_signed(dir, &[]).expect("made again")).is_ok());
        assert_eq!(std::fs::read(&files.key).expect("the key"), key);
        std::fs::remove_file(&files.key).expect("removed");
        assert!(matches!(self_signed(dir, &[]), Err(TlsError::Half { .. })));
    }

    #[test]
    fn files_that_make_no_certificate_are_named_in_the_error() {
        let (dir, files) = generate(&[]);
        let (_other_dir, other) = generate(&[]);
        let broken = dir.path().join("broken.pem");
        std::fs::write(&broken, "hello").expect("written");
        let load = |cert: &Path, key: &Path| Tls::load(CertificateFiles { cert: cert.into(), key: key.into() }).err();
        assert!(matches!(load(&broken, &files.key), Some(TlsError::Certificate { .. })));
        assert!(matches!(load(&files.cert, &broken), Some(TlsError::Key { .. })));
        assert!(matches!(load(&files.cert, &other.key), Some(TlsError::Pair { .. })));
        let missing = load(&dir.path().join("none.pem"), &files.key).expect("an error").to_string();
        assert!(missing.contains("none.pem"), "{missing}");
    }
}
