//! Chooses the files that make up a model, from the names of the files there are. Pure, except for [`list`], which
//! reads a folder's names.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

/// Optional files beside safetensors that are worth having.
const OPTIONAL: [&str; 5] = [
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
];
/// Required beside safetensors.
pub const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The files that make up a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Paths in the repository or folder.
    pub files: Vec<String>,
    /// The one among them that lists more files, the shards of the weights.
    pub index: Option<String>,
    /// The GGUF file that is the model, or the first of its parts.
    pub gguf: Option<String>,
}

impl Selection {
    /// Returns the path of the model if its files are under `folder`.
    pub fn path(&self, folder: &Path) -> PathBuf {
        match &self.gguf {
            Some(file) => folder.join(file),
            None => folder.to_owned(),
        }
    }
}

/// Why no files could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// A required file is missing.
    #[error("{0} missing; fetch all of the model's files, or name a model that has them")]
    Missing(String),
    /// `--file` names a file that does not exist.
    #[error("there is no file '{file}'; available: {there}")]
    NoSuchFile {
        /// What was asked for.
        file: String,
        /// The GGUF files that exist.
        there: String,
    },
    /// `--file` names a file that is not a model by itself.
    #[error("'{0}' is not a GGUF file; --file chooses one of several GGUF files")]
    NotGguf(String),
    /// There are several GGUF files.
    #[error("there are several GGUF files; choose one with --file: {0}")]
    Several(String),
    /// There is nothing that could be loaded.
    #[error(
        "there is no model in a supported form: neither config.json with model.safetensors nor a \
         .gguf file; convert it, or name another model"
    )]
    Nothing,
}

/// Which GGUF file is wanted, if there may be several.
#[derive(Debug, Clone, Copy)]
pub struct WantedFile<'a> {
    /// Its name, or that of one of its parts; `None` for the only one.
    pub name: Option<&'a str>,
    /// Returns the names of all parts of a split file, given the name of one.
    pub parts: fn(&str) -> Option<Vec<String>>,
}

impl WantedFile<'_> {
    /// Returns the files of a GGUF file, by its name or that of one of its parts.
    fn parts(&self, file: &str) -> Vec<String> {
        (self.parts)(file).unwrap_or_else(|| vec![file.to_owned()])
    }
}

/// Chooses the files of the model: the wanted one if it is named, else the safetensors with what belongs to them, else
/// the only GGUF file.
///
/// # Errors
/// If there is nothing to choose, or too much.
pub fn choose(files: &[String], wanted: WantedFile<'_>) -> Result<Selection, ChooseError> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let ggufs = files.iter().filter(|file| is_gguf(file));
    // A split file counts as its first part, whether that exists or not.
    let ggufs: BTreeSet<String> =
        ggufs.filter_map(|file| wanted.parts(file).into_iter().next()).collect();
    let ggufs: Vec<&String> = ggufs.iter().collect();
    if let Some(file) = wanted.name {
        if !is_gguf(file) {
            return Err(ChooseError::NotGguf(file.to_owned()));
        }
        if !wanted.parts(file).iter().any(|part| has(part)) {
            return Err(ChooseError::NoSuchFile { file: file.to_owned(), there: names(&ggufs) });
        }
        return gguf(wanted.parts(file), has);
    }
    let weights = [WEIGHTS, INDEX].into_iter().find(|name| has(name));
    match (weights, ggufs.as_slice()) {
        (Some(weights), _) => safetensors(weights, has),
        (None, [only]) => gguf(wanted.parts(only), has),
        (None, []) if has("config.json") => {
            Err(ChooseError::Missing(format!("{WEIGHTS} or {INDEX}")))
        }
        (None, []) => Err(ChooseError::Nothing),
        (None, several) => Err(ChooseError::Several(names(several))),
    }
}

/// Chooses the files of the tokenizer alone, with the chat template.
///
/// # Errors
/// If there is none.
pub(crate) fn choose_tokenizer(files: &[String]) -> Result<Selection, ChooseError> {
    let has = |name: &str| files.iter().any(|file| file == name);
    if !has(TOKENIZER) {
        return Err(ChooseError::Missing(TOKENIZER.to_owned()));
    }
    let more = ["config.json"].into_iter().chain(OPTIONAL).filter(|name| has(name));
    let files = [TOKENIZER].into_iter().chain(more).map(str::to_owned).collect();
    Ok(Selection { files, index: None, gguf: None })
}

/// Returns the names of the files under a folder, sorted. Links are followed; broken ones are left out.
pub fn list(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, depth: u32, files: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let (path, name) = (entry.path(), format!("{prefix}{name}"));
            if path.is_file() {
                files.push(name);
            } else if depth > 0 && path.is_dir() {
                walk(&path, &format!("{name}/"), depth - 1, files);
            }
        }
    }
    let mut files = Vec::new();
    walk(folder, "", 2, &mut files);
    files.sort();
    files
}

/// Returns whether a path from elsewhere stays inside the folder that it is joined to.
pub(super) fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\\')
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Selects a GGUF file, with all parts of a split one.
fn gguf(files: Vec<String>, has: impl Fn(&str) -> bool) -> Result<Selection, ChooseError> {
    let missing: Vec<&str> = files.iter().map(String::as_str).filter(|part| !has(part)).collect();
    if !missing.is_empty() {
        return Err(ChooseError::Missing(missing.join(", ")));
    }
    let first = files.first().cloned();
    Ok(Selection { files, index: None, gguf: first })
}

fn safetensors(weights: &str, has: impl Fn(&str) -> bool) -> Result<Selection, ChooseError> {
    let needed = ["config.json", TOKENIZER];
    let missing: Vec<&str> = needed.into_iter().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        return Err(ChooseError::Missing(missing.join(", ")));
    }
    let files = needed.into_iter().chain(OPTIONAL.into_iter().filter(|name| has(name)));
    Ok(Selection {
        // The weights last, so that faults in the small files show early.
        files: files.chain([weights]).map(str::to_owned).collect(),
        index: (weights == INDEX).then(|| INDEX.to_owned()),
        gguf: None,
    })
}

fn is_gguf(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".gguf")
}

fn names(files: &[&String]) -> String {
    const MOST: usize = 24;
    let mut text = files.iter().take(MOST).map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    if files.is_empty() {
        text.push_str("no GGUF files");
    } else if files.len() > MOST {
        text.push_str(&format!(", and {} more", files.len() - MOST));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(files: &[&str], file: Option<&str>) -> Result<Vec<String>, ChooseError> {
        let files: Vec<String> = files.iter().map(|name| (*name).to_owned()).collect();
        let wanted = WantedFile { name: file, parts: engine::gguf_parts };
        choose(&files, wanted).map(|selection| selection.files)
    }

    #[test]
    fn safetensors_come_with_what_belongs_to_them_and_nothing_else() {
        let files = [
            "README.md",
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "tokenizer.json",
            "tokenizer_config.json",
            "x.gguf",
        ];
        assert_eq!(
            chosen(&files, None).unwrap(),
            ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
        );
        assert_eq!(chosen(&files, Some("x.gguf")).unwrap(), ["x.gguf"]);
        let sharded = ["config.json", "tokenizer.json", "model.safetensors.index.json"];
        let sharded: Vec<String> = sharded.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            choose(&sharded, WantedFile { name: None, parts: engine::gguf_parts })
                .unwrap()
                .index
                .as_deref(),
            Some(INDEX)
        );
    }

    #[test]
    fn a_tokenizer_comes_without_weights() {
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
        let chosen = choose_tokenizer(&names(&files)).unwrap();
        assert_eq!(chosen.files, ["tokenizer.json", "config.json", "tokenizer_config.json"]);
        let missing = choose_tokenizer(&names(&files[..2])).unwrap_err().to_string();
        assert!(missing.starts_with("tokenizer.json missing; "), "{missing}");
    }

    #[test]
    fn what_cannot_be_chosen_is_said() {
        let line = |files: &[&str], file| chosen(files, file).unwrap_err().to_string();
        let missing = line(&["config.json", "model.safetensors"], None);
        assert!(missing.starts_with("tokenizer.json missing; "), "{missing}");
        assert!(line(&["config.json", "pytorch_model.bin"], None).starts_with("model.safetensors"));
        assert!(line(&["README.md"], None).contains("neither config.json"));
        assert!(line(&["a.gguf", "b.gguf"], None).ends_with("--file: a.gguf, b.gguf"));
        assert!(line(&["a.gguf"], Some("c.gguf")).ends_with("available: a.gguf"));
        assert!(line(&["config.json"], Some("config.json")).contains("not a GGUF file"));
        assert_eq!(chosen(&["a-1-of-2.gguf"], None).unwrap(), ["a-1-of-2.gguf"]);
    }

    #[test]
    fn a_split_file_is_chosen_with_all_its_parts() {
        let both = ["q/a-00001-of-00002.gguf", "q/a-00002-of-00002.gguf"];
        let more = [&both[..], &["b.gguf"]].concat();
        assert_eq!(chosen(&both, None).unwrap(), both);
        for part in both {
            assert_eq!(chosen(&more, Some(part)).unwrap(), both);
        }
        let line = |files: &[&str], file| chosen(files, file).unwrap_err().to_string();
        assert!(line(&more, None).ends_with("--file: b.gguf, q/a-00001-of-00002.gguf"));
        for (there, missing) in [(both[0], both[1]), (both[1], both[0])] {
            for file in [None, Some(there), Some(missing)] {
                let line = line(&[there], file);
                assert!(line.starts_with(&format!("{missing} missing; ")), "{line}");
            }
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        assert!(is_inside("a/b.gguf"));
        for bad in ["", "../x", "a/../../x", "/etc/passwd", "a\\..\\b"] {
            assert!(!is_inside(bad), "{bad}");
        }
    }
}
