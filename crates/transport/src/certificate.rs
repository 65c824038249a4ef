//! Why a node's certificate is not accepted, with advice for each cause.

use std::time::{Duration, UNIX_EPOCH};

use rustls::{CertificateError, pki_types::UnixTime};

use crate::address::Address;

/// Returns one line: which node, what is wrong with its certificate, and how to fix it.
pub(crate) fn refused(address: &Address, error: &CertificateError) -> String {
    use CertificateError as Cause;
    let why = match error {
        Cause::UnknownIssuer => {
            "is not trusted: give the authority that signed it with --tls-ca".to_owned()
        }
        Cause::BadSignature => {
            "is not trusted: the authority of that name in --tls-ca has another key; give the one that \
             signed it"
                .to_owned()
        }
        Cause::NotValidForName => not_for(address, &[]),
        Cause::NotValidForNameContext { presented, .. } => not_for(address, presented),
        Cause::Expired => "has expired: renew it".to_owned(),
        Cause::ExpiredContext { time, not_after } => format!(
            "expired at {} (it is {} here): renew it",
            shown(*not_after),
            shown(*time)
        ),
        Cause::NotValidYet => {
            "is not valid yet: check the clocks of both machines, or make a new one".to_owned()
        }
        Cause::NotValidYetContext { time, not_before } => format!(
            "is valid from {} on (it is {} here): check the clocks of both machines, or make a \
             new one",
            shown(*not_before),
            shown(*time)
        ),
        Cause::InvalidPurpose | Cause::InvalidPurposeContext { .. } => {
            "is not made for a server: make it with extendedKeyUsage=serverAuth (docs/security.md)"
                .to_owned()
        }
        Cause::Revoked => "was revoked: make a new one for the node".to_owned(),
        // The TLS library has no variant for this one.
        cause if format!("{cause:?}").contains("CaUsedAsEndEntity") => {
            "is an authority's own: make one for the node, which that authority signs \
             (docs/security.md)"
                .to_owned()
        }
        cause => format!("cannot be used ({cause}): make one as docs/security.md shows"),
    };
    format!("the certificate of {address} {why}")
}

fn not_for(address: &Address, presented: &[String]) -> String {
    let host = address.host();
    let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
    match names.as_slice() {
        [] => format!("is not for {host}: make one that names {host} (docs/security.md)"),
        names => format!(
            "is not for {host} but for {}: write such a name into the address, or make one that \
             names {host} (docs/security.md)",
            names.join(", ")
        ),
    }
}

/// Returns the name in `DnsName("gpu.example.org")`, the form in which the TLS library presents names.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn shown(time: UnixTime) -> String {
    /// The end of the year 9999, the last time that RFC 3339 can express.
    const LAST: u64 = 253_402_300_799;
    match time.as_secs() {
        seconds @ 0..=LAST => {
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
        }
        _ => "a far future".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(error: &CertificateError) -> String {
        refused(&"https://gpu:7102".parse().unwrap(), error)
    }

    #[test]
    fn each_cause_has_its_own_advice_and_times_can_be_read() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let (time, march) = (at(1_735_689_600), at(1_709_251_200));
        for (error, words) in [
            (CertificateError::UnknownIssuer, &["not trusted", "--tls-ca"][..]),
            (
                CertificateError::ExpiredContext { time, not_after: march },
                &["expired at 2024-03-01T00:00:00Z (it is 2025-01-01T00:00:00Z here)", "renew it"],
            ),
            (
                CertificateError::NotValidYetContext { time: march, not_before: time },
                &["valid from 2025-01-01T00:00:00Z on", "clocks"],
            ),
            (CertificateError::InvalidPurpose, &["serverAuth"]),
            (CertificateError::BadSignature, &["another key"]),
            (CertificateError::Revoked, &["revoked"]),
            (CertificateError::BadEncoding, &["cannot be used", "docs/security.md"]),
            (CertificateError::ExpiredContext { time, not_after: at(u64::MAX) }, &["expired at "]),
        ] {
            let line = line(&error);
            assert!(line.starts_with("the certificate of https://gpu:7102 "), "{line}");
            for word in words {
                assert!(line.contains(word), "{word:?} is not in: {line}");
            }
            let is_issuer =
                matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature);
            assert_eq!(line.contains("--tls-ca"), is_issuer, "{line}");
        }
    }

    #[test]
    fn names_are_shown_bare() {
        for (presented, shown) in [
            ("DnsName(\"gpu.example.org\")", "gpu.example.org"),
            ("IpAddress(10.0.0.7)", "10.0.0.7"),
            ("odd", "odd"),
        ] {
            assert_eq!(bare(presented), shown);
        }
    }
}
