//! PEM files: which contents they need, and the errors for files that hold something else.

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
    /// A file holds something else than expected.
    #[error("{path} holds no {what} in PEM form; give the file that begins with -----BEGIN")]
    NotPem {
        /// What the file should hold.
        what: &'static str,
        /// The file.
        path: String,
    },
    /// A private key is encrypted with a passphrase.
    #[error(
        "the private key {path} has a passphrase, which cannot be entered here: write it without one, with \
         `openssl pkey -in {path} -out NEW.key`"
    )]
    Passphrase {
        /// The file.
        path: String,
    },
    /// A private key belongs to another certificate.
    #[error(
        "the certificate {cert} and the private key {key} do not belong together: give both of one renewal"
    )]
    Mismatch {
        /// The certificate's file.
        cert: String,
        /// The key's file.
        key: String,
    },
    /// A certificate is not valid now.
    #[error("the certificate {path} {why}: renew it, or check this machine's clock")]
    OutOfDate {
        /// The file.
        path: String,
        /// When it expired, or from when it is valid.
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

/// Reads a private key in PEM form.
pub(crate) fn private_key(path: &Path) -> Result<String, TlsError> {
    let text = pem(path, "private key", "PRIVATE KEY-----")?;
    // PKCS #8 marks an encrypted key in its first line, older formats mark it in a header.
    if text.contains("-----BEGIN ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::Passphrase { path: path.display().to_string() });
    }
    Ok(text)
}

pub(crate) fn certificates(path: &Path) -> Result<String, TlsError> {
    pem(path, "certificate", "-----BEGIN CERTIFICATE-----")
}

/// Reads a PEM file and checks that it holds `mark`. Without the check, the TLS library would read a file without
/// certificates as an empty list.
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
