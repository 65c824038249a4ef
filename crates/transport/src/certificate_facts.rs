//! The contents of a certificate: its subject, its names and its validity.

use std::{
    net::IpAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::pem::{TlsError, certificates, private_key};

/// What a certificate contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject, such as `CN=gpu.example.org`.
    pub subject: String,
    /// The names and addresses that it is valid for; a client's certificate has none.
    pub names: Vec<String>,
    /// The start of its validity.
    pub not_before: SystemTime,
    /// The end of its validity.
    pub not_after: SystemTime,
    /// Whether it is a certificate authority, which signs other certificates.
    pub is_authority: bool,
    /// The public key, in the encoding of the certificate.
    public_key: Vec<u8>,
}

impl CertificateFacts {
    /// Reads the first certificate of a PEM file.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        let text = certificates(path)?;
        let not_pem = || TlsError::NotPem { what: "certificate", path: path.display().to_string() };
        let der = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| not_pem())?;
        CertificateFacts::of(&der).ok_or_else(not_pem)
    }

    /// Reads a DER certificate. Returns `None` if it is not one.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.iter().filter_map(name).collect());
        Some(CertificateFacts {
            subject: thinking::shown::one_line(&certificate.subject().to_string()),
            names: names.unwrap_or_default(),
            not_before: at(validity.not_before.timestamp()),
            not_after: at(validity.not_after.timestamp()),
            is_authority: certificate.is_ca(),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }

    /// Returns the last day on which it is valid, such as `2027-11-29`.
    pub fn last_day(&self) -> String {
        let shown = humantime::format_rfc3339_seconds(self.not_after).to_string();
        shown.split('T').next().unwrap_or_default().to_owned()
    }

    /// Returns whether it is valid at the given time.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Returns whether a public key, in the encoding of certificates, is the one in this certificate.
    pub fn has_key(&self, public_key: &[u8]) -> bool {
        self.public_key == public_key
    }

    /// Returns whether the certificate and the private key in two PEM files belong together. Returns `true` if one of
    /// them cannot be parsed here: the TLS library will report that better.
    ///
    /// # Errors
    /// When a file cannot be read, or holds something else.
    pub fn fits(cert: &Path, key: &Path) -> Result<bool, TlsError> {
        let (text, facts) = (private_key(key)?, CertificateFacts::read(cert));
        let (Ok(facts), Ok(key)) = (facts, PrivateKeyDer::from_pem_slice(text.as_bytes())) else {
            return Ok(true);
        };
        let key = rustls::crypto::ring::sign::any_supported_type(&key).ok();
        let Some(key) = key else { return Ok(true) };
        Ok(key.public_key().is_none_or(|public| facts.has_key(&public)))
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(thinking::shown::one_line(name)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// Converts seconds since 1970 to a time. Clamps times before 1970 and after the year 9999.
fn at(seconds: i64) -> SystemTime {
    /// The end of the year 9999.
    const LAST: u64 = 253_402_300_799;
    let seconds = u64::try_from(seconds).unwrap_or(0).min(LAST);
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_says_its_names_its_days_and_its_key() {
        let names = ["gpu.example.org", "10.0.0.7", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names.to_vec()).unwrap();
        (params.not_before, params.not_after) =
            (date_time_ymd(2026, 1, 2), date_time_ymd(2027, 3, 4));
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let cert = params.self_signed(&key).unwrap();
        let facts = CertificateFacts::of(cert.der()).unwrap();
        assert_eq!((facts.names.as_slice(), facts.is_authority), (&names[..], false));
        assert_eq!(facts.last_day(), "2027-03-04");
        for (day, valid) in [(0, false), (1, true), (400, true), (500, false)] {
            let now =
                facts.not_before + Duration::from_secs(24 * 3600) * day - Duration::from_secs(1);
            assert_eq!(facts.is_valid_at(now), valid, "{day}");
        }
        assert!(facts.has_key(&key.subject_public_key_info()));
        assert!(!facts.has_key(&other.subject_public_key_info()));
        assert_eq!(CertificateFacts::of(b"no certificate"), None);
    }

    #[test]
    fn a_key_that_is_anothers_does_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            std::fs::write(path(&format!("{name}.pem")), made.cert.pem()).unwrap();
            std::fs::write(path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        }
        for (cert, key, fits) in [("a", "a", true), ("a", "b", false), ("b", "b", true)] {
            let (cert, key) = (path(&format!("{cert}.pem")), path(&format!("{key}.key")));
            assert_eq!(CertificateFacts::fits(&cert, &key).unwrap(), fits);
        }
        let line = CertificateFacts::read(&path("a.key")).unwrap_err().to_string();
        assert!(line.contains("holds no certificate"), "{line}");
    }
}
