//! A tokenizer as a user names it: by its path, or by the repository that holds it.

use std::path::{Path, PathBuf};

use crate::ModelName;

/// Where a tokenizer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerPlace {
    /// On disk: `tokenizer.json`, or the folder that holds it.
    Path(PathBuf),
    /// In a repository.
    Name(ModelName),
}

/// A text that is neither a path nor a name. The message is one line and does not say where the text came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is neither an existing file or folder nor a model's name; give the path of tokenizer.json, or OWNER/NAME"
)]
pub struct TokenizerPlaceError(String);

impl TokenizerPlace {
    /// Reads what exists as a path, relative to `folder`. What does not exist is read as a name, if it can be one.
    ///
    /// # Errors
    /// If it is neither.
    pub fn new(text: &str, folder: &Path) -> Result<Self, TokenizerPlaceError> {
        let path = folder.join(text);
        if path.exists() {
            return Ok(TokenizerPlace::Path(path));
        }
        let name = text.parse().ok().filter(|_| !text.ends_with(".json"));
        let error = || TokenizerPlaceError(text.escape_debug().to_string());
        name.map(TokenizerPlace::Name).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_a_path_and_anything_else_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let place = |text: &str| TokenizerPlace::new(text, folder.path());
        let name = |text: &str| Ok(TokenizerPlace::Name(text.parse().unwrap()));
        assert_eq!(place("a/b"), name("a/b"));
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        let path = folder.path().join("a/b");
        assert_eq!(place("a/b"), Ok(TokenizerPlace::Path(path.clone())), "it is there now");
        assert_eq!(place(path.to_str().unwrap()), Ok(TokenizerPlace::Path(path)));
        assert_eq!(place("a/c@main"), name("a/c@main"));
        for none in ["none/tokenizer.json", "none", "a/b/c/d"] {
            let line = place(none).unwrap_err().to_string();
            assert!(line.contains("OWNER/NAME") && !line.contains('\n'), "{line}");
        }
    }
}
