//! PEM files: what they should hold, and what is said of those that hold something else.

use std::{fs, io, path::Path};

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
    /// A private key that is another certificate's.
    #[error(
        "the certificate {cert} and the private key {key} do not belong together: give both of one renewal"
    )]
    Mismatch {
        /// The certificate's file.
        cert: String,
        /// The key's file.
        key: String,
    },
    /// A certificate that is not valid now.
    #[error("the certificate {path} {why}: renew it, or check this machine's clock")]
    OutOfDate {
        /// The file.
        path: String,
        /// Since when or until when it is valid.
        why: String,
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
