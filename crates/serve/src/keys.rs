//! API keys. Stored as hashes, compared in constant time, never printed, and reloaded when their file changes.

use std::{fmt, fs, io, path::Path};

use reload::{Reload, Reloaded};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// The keys of a server, each with a name.
#[derive(Clone)]
pub struct ApiKeys(Reloaded<Vec<NamedKey>>);

#[derive(Clone)]
struct NamedKey {
    name: String,
    hash: [u8; 32],
}

/// API keys that cannot be used. One line.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeysError {
    /// The file cannot be read.
    #[error("cannot read the API key file {path}: {why}; check the path and its permissions")]
    File {
        /// The file.
        path: String,
        /// The system's reason.
        why: io::Error,
    },
    /// A line is invalid. Its content is not shown.
    #[error("the API key file {path}, line {line}: write NAME KEY, or KEY alone, in visible ASCII")]
    Line {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// There is no key.
    #[error("the API key file {path} holds no key: write one per line, as NAME KEY")]
    Empty {
        /// The file.
        path: String,
    },
}

impl ApiKeys {
    /// Reads a file of keys: one per line, as `NAME KEY` or the key alone. Empty lines and lines that begin with `#` do
    /// not count. The file is reloaded when it changes.
    ///
    /// When it cannot be read, has an invalid line, or holds no key.
    pub fn from_file(path: &Path) -> Result<Self, ApiKeysError> {
        let (file, shown) = (path.to_owned(), path.display().to_string());
        let what = format!("the API key file {shown}");
        let read = move || {
            let text = fs::read_to_string(&file)
                .map_err(|why| ApiKeysError::File { path: shown.clone(), why })?;
            ApiKeys::parse(&shown, &text)
        };
        let keys = read()?;
        Ok(ApiKeys(Reloaded::new(what, vec![path.to_owned()], keys, read)))
    }

    fn parse(path: &str, text: &str) -> Result<Vec<NamedKey>, ApiKeysError> {
        let mut keys = Vec::new();
        for (line, text) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            let (name, key) = match words[..] {
                [key] => (format!("line {line}"), key),
                [name, key] => (name.to_owned(), key),
                _ => return Err(ApiKeysError::Line { path: path.to_owned(), line }),
            };
            if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t') {
                return Err(ApiKeysError::Line { path: path.to_owned(), line });
            }
            keys.push(NamedKey { name, hash: Sha256::digest(key.as_bytes()).into() });
        }
        if keys.is_empty() {
            return Err(ApiKeysError::Empty { path: path.to_owned() });
        }
        Ok(keys)
    }

    /// Returns the name of the key that an `Authorization` header shows. Takes equally long for a wrong key and for any
    /// valid one.
    pub(crate) fn shown_in(&self, authorization: &[u8]) -> Option<String> {
        // The scheme's name is not secret and its case does not matter (RFC 7235).
        let (scheme, key) = authorization.split_at_checked("Bearer ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        let hash: [u8; 32] = Sha256::digest(key).into();
        let (keys, mut found, mut at) = (self.0.current(), Choice::from(0), 0u32);
        for (index, key) in (0u32..).zip(keys.iter()) {
            let is_it = key.hash.ct_eq(&hash);
            at.conditional_assign(&index, is_it);
            found |= is_it;
        }
        let key = keys.get(usize::try_from(at).ok()?)?;
        bool::from(found).then(|| key.name.clone())
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({} keys)", self.0.current().len())
    }
}

impl Reload for ApiKeys {
    fn look_again(&self, is_asked: bool) {
        self.0.look_again(is_asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_opens_by_its_name_and_nothing_else_does() {
        let text = "# ours\nann s3cret\n\n  0ther\t\nbob  third \n";
        let keys = ApiKeys(Reloaded::fixed(ApiKeys::parse("keys", text).unwrap()));
        let shown = |header: &str| keys.shown_in(header.as_bytes());
        assert_eq!(shown("Bearer s3cret").as_deref(), Some("ann"));
        assert_eq!(shown("bearer 0ther").as_deref(), Some("line 4"));
        assert_eq!(shown("Bearer third").as_deref(), Some("bob"));
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer ann", "Bearer s3cre", "Basic  s3cret", "s3cret"]
        {
            assert_eq!(shown(wrong), None, "{wrong:?}");
        }
        assert_eq!(format!("{keys:?}"), "ApiKeys(3 keys)");
    }

    #[test]
    fn a_file_that_holds_no_keys_is_refused_and_not_shown() {
        for (text, words) in [
            ("", "holds no key"),
            ("# only\n", "holds no key"),
            ("a s3cret c\n", "line 1"),
            ("ok fine\nann schlüssel\n", "line 2"),
        ] {
            let line = ApiKeys::parse("keys", text).err().unwrap().to_string();
            assert!(line.contains(words) && !line.contains("s3cret"), "{line}");
        }
        let line = ApiKeys::from_file(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(line.starts_with("cannot read the API key file /no/such/file: "), "{line}");
    }

    #[test]
    fn keys_come_and_go_with_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, "ann s3cret\n").unwrap();
        let keys = ApiKeys::from_file(&path).unwrap();
        let shown = |key: &str| keys.shown_in(format!("Bearer {key}").as_bytes());
        for (text, first, second) in [
            ("bob other\n", None, Some("bob")),
            ("", None, Some("bob")),
            ("a s3cret\n", Some("a"), None),
        ] {
            fs::write(&path, text).unwrap();
            keys.look_again(false);
            assert_eq!(
                (shown("s3cret").as_deref(), shown("other").as_deref()),
                (first, second),
                "{text}"
            );
        }
    }
}
