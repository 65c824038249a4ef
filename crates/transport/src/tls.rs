//! TLS: the files a user names, read and checked once, as tonic wants them; and as a listener that is not tonic's does.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a node needs to speak TLS; all files are PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The node's certificate, its chain after it.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// When given, only clients with a certificate signed by one of these are let in.
    pub client_ca: Option<PathBuf>,
}

/// What a client needs to speak TLS; all files are PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Trust these authorities and no others; absent: those of the system.
    pub ca: Option<PathBuf>,
    /// The client's own certificate and private key, for a node that asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// TLS that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {what} {path}: {why}; check the path and who may read it")]
    File {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: String,
        /// The system's reason.
        why: io::Error,
    },
    /// A file holds something else.
    #[error("{path} holds no {what} in PEM form; give the file that begins with -----BEGIN")]
    NotPem {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: String,
    },
    /// A private key that cannot be read without its passphrase.
    #[error(
        "the private key {path} has a passphrase, for which nobody is asked: write it without one, with `openssl pkey \
         -in {path} -out NEW.key`"
    )]
    Passphrase {
        /// The file.
        path: String,
    },
    /// The files do not go together.
    #[error(
        "cannot set up TLS: {why}; check that the key belongs to the certificate and that both are whole"
    )]
    Setup {
        /// The TLS library's reason.
        why: String,
    },
}

impl ServerTls {
    pub(crate) fn load(&self) -> Result<ServerTlsConfig, TlsError> {
        let identity = identity(&self.cert, &self.key)?;
        let mut config = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE);
        if let Some(path) = &self.client_ca {
            config = config.client_ca_root(Certificate::from_pem(certificates(path)?));
        }
        Ok(config)
    }

    /// The same for a listener that speaks HTTP/1.1.
    ///
    /// # Errors
    /// When a file cannot be read, or they do not go together.
    pub fn for_http(&self) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        let (chain, key) = (certificates(&self.cert)?, private_key(&self.key)?);
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
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
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

fn identity(cert: &Path, key: &Path) -> Result<Identity, TlsError> {
    Ok(Identity::from_pem(certificates(cert)?, private_key(key)?))
}

/// A private key's PEM.
pub(crate) fn private_key(path: &Path) -> Result<String, TlsError> {
    let text = pem(path, "private key", "PRIVATE KEY-----")?;
    // PKCS #8 says so in its first line, older forms in a header.
    if text.contains("-----BEGIN ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::Passphrase { path: path.display().to_string() });
    }
    Ok(text)
}

pub(crate) fn certificates(path: &Path) -> Result<String, TlsError> {
    pem(path, "certificate", "-----BEGIN CERTIFICATE-----")
}

/// Reads a PEM file. The mark is looked for because the TLS library takes a file without any
/// certificate for an empty list.
fn pem(path: &Path, what: &'static str, mark: &str) -> Result<String, TlsError> {
    let text = fs::read(path).map_err(|why| TlsError::File {
        what,
        path: path.display().to_string(),
        why,
    })?;
    let text = String::from_utf8_lossy(&text).into_owned();
    if !text.contains(mark) {
        return Err(TlsError::NotPem { what, path: path.display().to_string() });
    }
    Ok(text)
}
