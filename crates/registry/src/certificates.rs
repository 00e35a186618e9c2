//! Whom to believe: the system's authorities, those of one registry, and the client's own certificate. Nothing is read
//! before the first TLS connection needs it.

use std::collections::HashMap;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::settings::Settings;

/// Where distributions keep all authorities in one file; the first that is there counts. The list is Go's
/// (crypto/x509/root_linux.go), which Docker and Podman go by.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// TLS for every host, made when it is first needed and kept.
pub(crate) struct Tls {
    settings: Arc<Settings>,
    provider: Arc<CryptoProvider>,
    system: OnceLock<RootCertStore>,
    hosts: Mutex<HashMap<String, Arc<ClientConfig>>>,
}

/// What one registry has of its own.
#[derive(Debug, Default)]
pub(crate) struct Own {
    authorities: Vec<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
}

impl Own {
    /// Of the settings and of Docker's folders.
    pub(crate) fn of(settings: &Settings, host: &str) -> Self {
        let mut own = Self::default();
        if let Some((_, entry)) = settings.host(host) {
            own.authorities.clone_from(&entry.ca);
            own.client = entry.client_cert.clone().zip(entry.client_key.clone());
        }
        for folder in &settings.certificate_folders {
            own.add_folder(&folder.join(host));
        }
        own
    }

    /// Whether somebody took care that this host can be checked.
    pub(crate) fn is_there(&self) -> bool {
        !self.authorities.is_empty() || self.client.is_some()
    }

    /// `*.crt` are authorities; `NAME.cert` with `NAME.key` is the client's own.
    fn add_folder(&mut self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => self.authorities.push(file),
                Some("cert") if self.client.is_none() => {
                    let key = file.with_extension("key");
                    self.client = key.exists().then_some((file, key));
                }
                _ => {}
            }
        }
    }
}

impl Tls {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            provider: Arc::new(crypto::ring::default_provider()),
            system: OnceLock::new(),
            hosts: Mutex::new(HashMap::new()),
        }
    }

    /// The configuration for a host (`host` or `host:port`). `checked` is false where any certificate will do.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or holds nothing, in words.
    pub(crate) fn of(&self, host: &str, checked: bool) -> Result<Arc<ClientConfig>, String> {
        let key = format!("{host} {checked}");
        if let Some(config) = self.lock().get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(host, checked)?);
        self.lock().insert(key, Arc::clone(&config));
        Ok(config)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<ClientConfig>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, host: &str, checked: bool) -> Result<ClientConfig, String> {
        let own = Own::of(&self.settings, host);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if checked {
            let mut roots = self.system.get_or_init(system).clone();
            for file in &own.authorities {
                add(&mut roots, file)?;
            }
            if roots.is_empty() {
                return Err("this machine has no certificates of authorities: install ca-certificates".into());
            }
            builder.with_root_certificates(roots)
        } else {
            let any = Unchecked(Arc::clone(&self.provider));
            builder.dangerous().with_custom_certificate_verifier(Arc::new(any))
        };
        let Some((certificate, key)) = own.client else { return Ok(builder.with_no_client_auth()) };
        let chain = read(&certificate)?;
        let key_der = PrivateKeyDer::from_pem_file(&key)
            .map_err(|error| format!("{}: no private key: {error}", key.display()))?;
        builder
            .with_client_auth_cert(chain, key_der)
            .map_err(|error| format!("{}: {error}", certificate.display()))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// The system's authorities; what cannot be read of them is left out.
fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let file = env::var_os("SSL_CERT_FILE")
        .map(PathBuf::from)
        .or_else(|| BUNDLES.iter().map(PathBuf::from).find(|bundle| bundle.exists()));
    if let Some(file) = file {
        roots.add_parsable_certificates(read(&file).unwrap_or_default());
    }
    let folder = env::var_os("SSL_CERT_DIR")
        .map(PathBuf::from)
        .or_else(|| roots.is_empty().then(|| PathBuf::from("/etc/ssl/certs")));
    for entry in folder.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
        roots.add_parsable_certificates(read(&entry.path()).unwrap_or_default());
    }
    roots
}

/// The certificates of a PEM file.
fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = fs::read(file).map_err(|error| format!("{}: {}", file.display(), step::words(&error)))?;
    let list: Vec<_> = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect();
    if list.is_empty() {
        return Err(format!("{}: no certificate in PEM form", file.display()));
    }
    Ok(list)
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let (added, _) = roots.add_parsable_certificates(read(file)?);
    if added == 0 { Err(format!("{}: no certificate of an authority", file.display())) } else { Ok(()) }
}

/// Takes any certificate, for registries that are said to be insecure. Signatures are checked all the same.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
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
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
