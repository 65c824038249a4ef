//! Models by name: downloads a Hugging Face repository's files into the hub's own cache.
//!
//! This crate chooses the files, transfers them (resumed after a cut, checked against the hub's checksums) and keeps
//! the cache in the layout of the hub's other clients, so that each finds what the others downloaded. It does not read
//! models.
//!
//! No existing client crate did this: `hf-hub` 1.0 restarts a cut download from the beginning and brings 250 crates,
//! among them a second TLS library.

mod cache;
mod checksum;
mod choose;
mod client;
mod console;
mod error;
#[cfg(test)]
mod error_tests;
mod partial;
mod tokenizer;
mod transfer;

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::atomic::AtomicBool,
};

use cache::RepoCache;
use choose::choose_tokenizer;
pub use choose::{ChooseError, Selection, TOKENIZER, WantedFile, choose, list};
use client::Client;
pub use console::{Console, ConsoleProgress, bytes};
pub use error::HubError;
pub use tokenizer::{TokenizerPlace, TokenizerPlaceError};

/// The hub's URL if `HF_ENDPOINT` is not set.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// The revision if none is named.
const DEFAULT_REVISION: &str = "main";

/// A model's name on the hub: `OWNER/NAME` or `OWNER/NAME@REVISION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    /// `OWNER/NAME`.
    pub repo: String,
    /// A branch, a tag or a commit; `None` for `main`.
    pub revision: Option<String>,
}

/// A text that is not a model's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a model's name; write OWNER/NAME or OWNER/NAME@REVISION")]
pub struct NameError(String);

impl FromStr for ModelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError(text.escape_debug().to_string());
        let (repo, revision) = match text.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (text, None),
        };
        let (owner, name) = repo.split_once('/').ok_or_else(error)?;
        let word = |word: &str| {
            !word.is_empty()
                && !word.starts_with('.')
                && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        if !word(owner) || !word(name) || !revision.is_none_or(is_revision) {
            return Err(error());
        }
        Ok(ModelName { repo: repo.to_owned(), revision: revision.map(str::to_owned) })
    }
}

impl ModelName {
    /// Returns the revision that is meant.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(DEFAULT_REVISION)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.revision {
            Some(revision) => write!(f, "{}@{revision}", self.repo),
            None => f.write_str(&self.repo),
        }
    }
}

/// Returns whether a text can be a revision: a branch (which may hold slashes), a tag or a commit, and never a path out
/// of the cache.
pub fn is_revision(text: &str) -> bool {
    !text.is_empty()
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./+".contains(c))
}

/// The hub, as this process is configured to use it.
#[derive(Clone)]
pub struct Hub {
    /// Its URL, without a slash at the end.
    pub endpoint: String,
    /// The cache, which holds the `models--OWNER--NAME` folders.
    pub cache_dir: PathBuf,
    /// Sent to the hub, for private and gated models.
    pub token: Option<String>,
    /// Whether the network must not be used.
    pub offline: bool,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("cache_dir", &self.cache_dir)
            .field("token", &self.token.as_ref().map(|_| ".."))
            .field("offline", &self.offline)
            .finish()
    }
}

impl Hub {
    /// Reads the environment variables that the hub's other clients read: `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`,
    /// `XDG_CACHE_HOME`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`. `var` looks a variable up; an empty one counts
    /// as absent.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Hub {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let home = var("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            var("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .unwrap_or_else(|| home_dir(&var).join(".cache"))
                .join("huggingface")
        });
        let token = var("HF_TOKEN").or_else(|| {
            let path = var("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
            std::fs::read_to_string(path).ok()
        });
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let offline = var("HF_HUB_OFFLINE").is_some_and(|value| {
            matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
        });
        Hub {
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            cache_dir: var("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline,
        }
    }

    /// Downloads a model and returns its path: the folder of its files, or its one GGUF file. Files in the cache are
    /// not transferred again. If the hub cannot be reached, a complete copy in the cache is used.
    ///
    /// # Errors
    /// [`HubError`]: one line each.
    pub async fn fetch(
        &self,
        name: &ModelName,
        file: WantedFile<'_>,
        console: &Console,
    ) -> Result<PathBuf, HubError> {
        self.fetch_part(name, Part::Model(file), console).await
    }

    /// Downloads a model's tokenizer with its chat template, without the weights, and returns its folder. Otherwise
    /// like [`Hub::fetch`].
    ///
    /// # Errors
    /// [`HubError`]: one line each.
    pub async fn fetch_tokenizer(
        &self,
        name: &ModelName,
        console: &Console,
    ) -> Result<PathBuf, HubError> {
        self.fetch_part(name, Part::Tokenizer, console).await
    }

    /// Returns where a tokenizer is, after fetching it like [`Hub::fetch_tokenizer`] if it is given by name.
    ///
    /// # Errors
    /// [`HubError`]: one line each.
    pub async fn tokenizer(
        &self,
        place: &TokenizerPlace,
        console: &Console,
    ) -> Result<PathBuf, HubError> {
        match place {
            TokenizerPlace::Path(path) => Ok(path.clone()),
            TokenizerPlace::Name(name) => self.fetch_tokenizer(name, console).await,
        }
    }

    async fn fetch_part(
        &self,
        name: &ModelName,
        part: Part<'_>,
        console: &Console,
    ) -> Result<PathBuf, HubError> {
        let cache = RepoCache::new(&self.cache_dir, &name.repo);
        if self.offline {
            return cached(&cache, name, part);
        }
        match self.download(&cache, name, part, console).await {
            Err(error) if error.spares_the_copy() => match cached(&cache, name, part) {
                Ok(path) => {
                    console.note(&format!("{error}; using the copy in the cache"));
                    Ok(path)
                }
                Err(_) => Err(error),
            },
            other => other,
        }
    }

    async fn download(
        &self,
        cache: &RepoCache,
        name: &ModelName,
        part: Part<'_>,
        console: &Console,
    ) -> Result<PathBuf, HubError> {
        let client = Client::new(self, name, console)?;
        let info = client.info().await?;
        let selection =
            part.choose(&info.files).map_err(|why| HubError::choose(&name.to_string(), why))?;
        let snapshot = cache.snapshot(&info.commit);
        let transfer = transfer::Transfer {
            client: &client,
            cache,
            commit: &info.commit,
            console,
            said_unlocked: AtomicBool::new(false),
        };
        transfer.all(&selection.files).await?;
        if let Some(index) = &selection.index {
            let shards = read_shards(&snapshot.join(index), &name.to_string())?;
            if let Some(shard) = shards.iter().find(|shard| !info.files.contains(shard)) {
                return Err(HubError::missing(name, &[shard]));
            }
            transfer.all(&shards).await?;
        }
        if matches!(part, Part::Tokenizer) && cache.read_ref(name.revision()).is_some() {
            // The revision may point to a whole model, which this snapshot is not.
            return Ok(selection.path(&snapshot));
        }
        // Written last: a revision points only to a complete snapshot.
        if let Err(why) = cache.write_ref(name.revision(), &info.commit) {
            console.note(&format!("{why}; --offline will not find this revision"));
        }
        Ok(selection.path(&snapshot))
    }

    /// Removes damaged files from the cached model, so that the next [`Hub::fetch`] downloads them. Reads the whole
    /// model. Returns their names. Removes nothing when offline, since they could not be downloaded again.
    ///
    /// # Errors
    /// If the cache cannot be read or written.
    pub fn drop_damaged(&self, name: &ModelName) -> Result<Vec<String>, HubError> {
        let cache = RepoCache::new(&self.cache_dir, &name.repo);
        match cache.read_ref(name.revision()).filter(|_| !self.offline) {
            Some(commit) => cache.drop_damaged(&commit),
            None => Ok(Vec::new()),
        }
    }
}

/// The part of a repository that is wanted.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    /// A model; this GGUF file if there are several.
    Model(WantedFile<'a>),
    Tokenizer,
}

impl Part<'_> {
    fn choose(self, files: &[String]) -> Result<choose::Selection, ChooseError> {
        match self {
            Part::Model(file) => choose(files, file),
            Part::Tokenizer => choose_tokenizer(files),
        }
    }
}

/// Returns the model's path in the cache, or an error that names exactly what is missing.
fn cached(cache: &RepoCache, name: &ModelName, part: Part<'_>) -> Result<PathBuf, HubError> {
    let not_cached = |missing: String| HubError::NotCached {
        name: name.to_string(),
        cache: cache.root().display().to_string(),
        missing,
    };
    let commit = cache
        .read_ref(name.revision())
        .ok_or_else(|| not_cached(format!("revision {}", name.revision())))?;
    let snapshot = cache.snapshot(&commit);
    let files = list(&snapshot);
    if let Part::Model(file) = part
        && let Some(file) = file.name.filter(|file| !files.iter().any(|other| other == file))
    {
        return Err(not_cached(file.to_owned()));
    }
    let selection = part.choose(&files).map_err(|why| match why {
        ChooseError::Missing(what) => not_cached(what),
        other => HubError::choose(&name.to_string(), other),
    })?;
    if let Some(index) = &selection.index {
        let mut shards = read_shards(&snapshot.join(index), &name.to_string())?;
        shards.retain(|shard| !files.contains(shard));
        if !shards.is_empty() {
            return Err(not_cached(shards.join(", ")));
        }
    }
    Ok(selection.path(&snapshot))
}

/// Returns the files that a `model.safetensors.index.json` spreads the weights over, each once.
fn read_shards(index: &Path, name: &str) -> Result<Vec<String>, HubError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let broken = |why: String| HubError::BadIndex {
        name: name.to_owned(),
        file: index.display().to_string(),
        why,
    };
    let text = std::fs::read(index).map_err(|why| broken(why.to_string()))?;
    let index: Index = serde_json::from_slice(&text).map_err(|why| broken(why.to_string()))?;
    let shards: std::collections::BTreeSet<String> = index.weight_map.into_values().collect();
    match shards.iter().find(|shard| !choose::is_inside(shard)) {
        Some(shard) => Err(broken(format!("it names '{}'", shard.escape_debug()))),
        None => Ok(shards.into_iter().collect()),
    }
}

fn home_dir(var: &impl Fn(&str) -> Option<String>) -> PathBuf {
    var("HOME").or_else(|| var("USERPROFILE")).map_or_else(|| PathBuf::from("."), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_owner_and_name_and_perhaps_a_revision() {
        let name: ModelName = "Qwen/Qwen2.5-0.5B-Instruct".parse().unwrap();
        assert_eq!((name.repo.as_str(), name.revision()), ("Qwen/Qwen2.5-0.5B-Instruct", "main"));
        let name: ModelName = "a/b@refs/pr/1".parse().unwrap();
        assert_eq!(name.revision(), "refs/pr/1");
        assert_eq!(name.to_string(), "a/b@refs/pr/1");
        for bad in [
            "", "a", "a/b/c", "/a", "a/", "../b", "a/..", "a b/c", "a/b@", "a/b@../x", "a/b@x//y",
            "a/b@/x",
        ] {
            let line = bad.parse::<ModelName>().unwrap_err().to_string();
            assert!(line.contains("write OWNER/NAME"), "{bad}: {line}");
        }
    }

    #[test]
    fn the_environment_is_read_as_other_clients_read_it() {
        let with = |vars: &'static [(&str, &str)]| {
            Hub::from_vars(move |name| {
                vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let hub = with(&[("HOME", "/home/u")]);
        assert_eq!(hub.endpoint, "https://huggingface.co");
        assert_eq!(hub.cache_dir, Path::new("/home/u/.cache/huggingface/hub"));
        assert!(hub.token.is_none() && !hub.offline);
        let hub = with(&[("HOME", "/home/u"), ("XDG_CACHE_HOME", "/c"), ("HF_HUB_OFFLINE", "1")]);
        assert_eq!(hub.cache_dir, Path::new("/c/huggingface/hub"));
        assert!(hub.offline);
        let hub = with(&[
            ("HF_HOME", "/hf"),
            ("HF_ENDPOINT", "http://mirror:1/"),
            ("HF_TOKEN", " hf_secret "),
            ("HF_HUB_OFFLINE", "0"),
        ]);
        assert_eq!(hub.cache_dir, Path::new("/hf/hub"));
        assert_eq!(hub.endpoint, "http://mirror:1");
        assert_eq!(hub.token.as_deref(), Some("hf_secret"));
        assert!(!hub.offline);
        assert!(!format!("{hub:?}").contains("secret"));
        assert_eq!(with(&[("HF_HUB_CACHE", "/x")]).cache_dir, Path::new("/x"));
    }
}
