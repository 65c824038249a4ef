//! GGUF files that are split into parts, `NAME-00002-of-00003.gguf`, as llama-gguf-split writes them.

use std::path::{Path, PathBuf};

use crate::error::LoadError;

/// Returns the names of all parts of a split GGUF file, in order, if this is the name of one of them.
pub fn gguf_parts(name: &str) -> Option<Vec<String>> {
    let (stem, _, total) = split(name)?;
    let ending = &name[name.len() - ENDING..];
    Some((1..=total).map(|part| format!("{stem}-{part:05}-of-{total:05}{ending}")).collect())
}

/// Returns the files that make up a GGUF file: itself, or all parts of the one that it is a part of.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(names) = name.and_then(gguf_parts) else { return Ok(vec![path.to_owned()]) };
    let files: Vec<PathBuf> = names.iter().map(|name| path.with_file_name(name)).collect();
    match files.iter().find(|file| !file.is_file()) {
        Some(missing) => Err(LoadError::MissingPart { path: missing.clone() }),
        None => Ok(files),
    }
}

/// Returns a file's stem, without the number of its part.
pub(crate) fn whole_stem(name: &str) -> &str {
    let stem = || Path::new(name).file_stem().and_then(|stem| stem.to_str());
    split(name).map(|(stem, ..)| stem).or_else(stem).unwrap_or(name)
}

/// The length of ".gguf".
const ENDING: usize = 5;

/// Returns what precedes the part's number, that number, and how many parts there are.
fn split(name: &str) -> Option<(&str, u32, u32)> {
    let (stem, ending) = name.split_at_checked(name.len().checked_sub(ENDING)?)?;
    let number = |text: &str| {
        let is_number = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten()
    };
    let (stem, total) = stem.rsplit_once("-of-")?;
    let (stem, part) = stem.rsplit_once('-')?;
    let (part, total): (u32, u32) = (number(part)?, number(total)?);
    let is_part = ending.eq_ignore_ascii_case(".gguf") && (1..=total).contains(&part);
    is_part.then_some((stem, part, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parts_name_says_what_the_others_are_called() {
        let parts = gguf_parts("q/a-b-00002-of-00003.GGUF").unwrap();
        assert_eq!(parts, [1, 2, 3].map(|part| format!("q/a-b-0000{part}-of-00003.GGUF")));
        for name in [
            "a.gguf",
            "a-1-of-2.gguf",
            "a-00001-of-00002.bin",
            "a-00000-of-00002.gguf",
            "a-00003-of-00002.gguf",
            "00001-of-00002.gguf",
            "-of-.gguf",
            "数.gguf",
            "gguf",
            "",
        ] {
            assert_eq!(gguf_parts(name), None, "{name}");
        }
        assert_eq!(whole_stem("a-b-00002-of-00003.gguf"), "a-b");
        assert_eq!(whole_stem("a.b.gguf"), "a.b");
    }
}
