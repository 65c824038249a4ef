//! The bearer token: kept out of logs, compared in constant time, reloaded when its file changes.

use std::{fmt, fs, path::Path};

use reload::{Reload, Reloaded};
use subtle::ConstantTimeEq;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// A shared secret that a client shows and a node requires. Never printed.
#[derive(Clone)]
pub struct Token(Reloaded<String>);

/// A token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {path}: {why}; check the path and who may read it")]
    File {
        /// The file.
        path: String,
        /// The system's reason.
        why: std::io::Error,
    },
    /// The token is empty.
    #[error("the token is empty: give a line of letters and digits")]
    Empty,
    /// The token holds a character that is not allowed in a header.
    #[error(
        "the token holds a space or a character that is not visible ASCII: give one line of letters and digits"
    )]
    NotAscii,
}

impl Token {
    /// Creates a token from its text and trims white space around it.
    ///
    /// # Errors
    /// When the trimmed text is empty, or when it holds anything but visible ASCII.
    pub fn new(text: &str) -> Result<Token, TokenError> {
        Ok(Token(Reloaded::fixed(checked(text)?)))
    }

    /// Reads the token from a file. The file is read again when it changes.
    ///
    /// # Errors
    /// When the file cannot be read or does not hold exactly one token.
    pub fn from_file(path: &Path) -> Result<Token, TokenError> {
        let what = format!("the token file {}", path.display());
        let file = path.to_owned();
        let read = move || {
            let text = fs::read_to_string(&file)
                .map_err(|why| TokenError::File { path: file.display().to_string(), why })?;
            checked(&text)
        };
        let text = read()?;
        Ok(Token(Reloaded::new(what, vec![path.to_owned()], text, read)))
    }

    /// Returns the token itself, to be shown to a server that is not a node.
    pub fn reveal(&self) -> String {
        String::clone(&self.0.current())
    }

    /// Returns the header value that shows this token.
    pub(crate) fn header(&self) -> Option<MetadataValue<Ascii>> {
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {}", self.0.current()).parse().ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Compares the token that a request shows with this one, in constant time.
    pub(crate) fn is_shown_by(&self, metadata: &MetadataMap) -> Shown {
        let Some(value) = metadata.get("authorization") else {
            return Shown::None;
        };
        let bytes = value.as_encoded_bytes();
        // The scheme's name is not secret and its case does not matter (RFC 7235).
        let Some((scheme, token)) = bytes.split_at_checked("Bearer ".len()) else {
            return Shown::Wrong;
        };
        let right = scheme.eq_ignore_ascii_case(b"Bearer ")
            && bool::from(token.ct_eq(self.0.current().as_bytes()));
        if right { Shown::Right } else { Shown::Wrong }
    }
}

/// Returns the token without surrounding white space.
fn checked(text: &str) -> Result<String, TokenError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(TokenError::Empty);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::NotAscii);
    }
    Ok(text.to_owned())
}

impl Reload for Token {
    fn look_again(&self, is_asked: bool) {
        self.0.look_again(is_asked);
    }
}

/// Which token a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    None,
    Wrong,
    Right,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_visible_word_and_is_never_printed() {
        let token = Token::new(" s3cret\n").unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert!(matches!(Token::new(" \n"), Err(TokenError::Empty)));
        assert!(matches!(Token::new("two words"), Err(TokenError::NotAscii)));
        assert!(matches!(Token::new("schlüssel"), Err(TokenError::NotAscii)));
        let line = Token::from_file(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(line.starts_with("cannot read the token file /no/such/file: "), "{line}");
    }

    #[test]
    fn only_the_same_token_opens() {
        let token = Token::new("s3cret").unwrap();
        let shown = |value: Option<&'static str>| {
            let mut metadata = MetadataMap::new();
            if let Some(value) = value {
                metadata.insert("authorization", MetadataValue::from_static(value));
            }
            token.is_shown_by(&metadata)
        };
        assert_eq!(shown(Some("Bearer s3cret")), Shown::Right);
        assert_eq!(shown(Some("bearer s3cret")), Shown::Right);
        assert_eq!(shown(None), Shown::None);
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Basic  s3cret", "s3cret"]
        {
            assert_eq!(shown(Some(wrong)), Shown::Wrong, "{wrong:?}");
        }
        assert!(token.header().unwrap().is_sensitive());
    }
}
