//! TLS: reads and checks the files that a user names, and configures rustls and tonic with them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use reload::Reloaded;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{
    certificate_facts::CertificateFacts,
    pem::{TlsError, certificates, private_key},
};

/// How long a handshake may take.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// The server's TLS files, all in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The node's certificate, followed by its chain.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// If set, only clients with a certificate signed by one of these authorities are accepted.
    pub client_ca: Option<PathBuf>,
}

/// The client's TLS files, all in PEM form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Trust these authorities and no others; absent: those of the system.
    pub ca: Option<PathBuf>,
    /// The client's own certificate and private key, for a node that requires one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ServerTls {
    /// Returns the TLS configuration for a listener that speaks HTTP/1.1. The files are read again when they change.
    ///
    /// # Errors
    /// When a file cannot be read, or the files do not go together.
    pub fn for_http(&self) -> Result<Reloaded<rustls::ServerConfig>, TlsError> {
        self.reloaded(b"http/1.1")
    }

    /// Returns the TLS configuration for a listener that speaks HTTP/2.
    pub(crate) fn for_nodes(&self) -> Result<Reloaded<rustls::ServerConfig>, TlsError> {
        self.reloaded(b"h2")
    }

    fn reloaded(
        &self,
        protocol: &'static [u8],
    ) -> Result<Reloaded<rustls::ServerConfig>, TlsError> {
        let config = self.config(protocol)?;
        if let Err(why) = valid_now(&self.cert) {
            // Not an error: this machine's clock may be wrong, and clients report an expired certificate too.
            tracing::warn!("{why}");
        }
        let ServerTls { cert, key, client_ca } = self;
        let files = [cert, key].into_iter().chain(client_ca).cloned().collect();
        let what = format!("the certificate {}", cert.display());
        let this = self.clone();
        Ok(Reloaded::new(what, files, config, move || {
            let config = this.config(protocol)?;
            valid_now(&this.cert)?;
            Ok::<_, TlsError>(config)
        }))
    }

    fn config(&self, protocol: &[u8]) -> Result<rustls::ServerConfig, TlsError> {
        let (chain, key) = (certificates(&self.cert)?, private_key(&self.key)?);
        fitting(&self.cert, &self.key)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|why| setup(&why))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
        let config = config.with_safe_default_protocol_versions().map_err(|why| setup(&why))?;
        let config = match &self.client_ca {
            None => config.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for root in der(&certificates(path)?)? {
                    roots.add(root).map_err(|why| setup(&why))?;
                }
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                config.with_client_cert_verifier(verifier.map_err(|why| setup(&why))?)
            }
        };
        let mut config = config.with_single_cert(der(&chain)?, key).map_err(|why| setup(&why))?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }
}

/// Checks that a certificate and a key belong together; if they do not, usually only half of a renewal is in place.
fn fitting(cert: &Path, key: &Path) -> Result<(), TlsError> {
    if CertificateFacts::fits(cert, key)? {
        return Ok(());
    }
    Err(TlsError::Mismatch { cert: cert.display().to_string(), key: key.display().to_string() })
}

/// Checks that a certificate is valid by this machine's clock. A certificate that cannot be parsed here passes: the TLS
/// library will report it better.
fn valid_now(cert: &Path) -> Result<(), TlsError> {
    let Ok(facts) = CertificateFacts::read(cert) else { return Ok(()) };
    #[expect(clippy::disallowed_methods, reason = "whether a certificate is valid depends on it")]
    let now = SystemTime::now();
    let shown = humantime::format_rfc3339_seconds;
    let why = if now > facts.not_after {
        format!("expired at {}", shown(facts.not_after))
    } else if now < facts.not_before {
        format!("is valid from {} on", shown(facts.not_before))
    } else {
        return Ok(());
    };
    Err(TlsError::OutOfDate { path: cert.display().to_string(), why })
}

fn der(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|why| setup(&why))
}

fn setup(why: &dyn std::error::Error) -> TlsError {
    TlsError::Setup { why: why.to_string() }
}

impl ClientTls {
    pub(crate) fn load(&self) -> Result<ClientTlsConfig, TlsError> {
        let mut config = ClientTlsConfig::new().timeout(HANDSHAKE);
        config = match &self.ca {
            Some(path) => config.ca_certificate(Certificate::from_pem(certificates(path)?)),
            None => config.with_native_roots(),
        };
        if let Some((cert, key)) = &self.identity {
            config = config.identity(identity(cert, key)?);
        }
        Ok(config)
    }
}

impl ClientTls {
    /// Returns the files, which are read again when they change.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let (cert, key) = self.identity.clone().unzip();
        [self.ca.clone(), cert, key].into_iter().flatten().collect()
    }

    /// Checks that our own certificate is valid now.
    pub(crate) fn check_days(&self) -> Result<(), TlsError> {
        self.identity.as_ref().map_or(Ok(()), |(cert, _)| valid_now(cert))
    }
}

fn identity(cert: &Path, key: &Path) -> Result<Identity, TlsError> {
    fitting(cert, key)?;
    Ok(Identity::from_pem(certificates(cert)?, private_key(key)?))
}
