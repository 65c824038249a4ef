//! A fake hub, a cache of its own, and the notes of a download.

use std::{
    fs, io,
    sync::{Arc, Mutex},
};

use hub::{Console, Hub, HubError, ModelName, WantedFile};
use sha2::Digest as _;

use crate::fake_hub::{FakeHub, REPO, hex};

pub(crate) const WEIGHTS: &[u8] = &[7; 300_000];

pub(crate) fn folder() -> Vec<(&'static str, &'static [u8])> {
    vec![
        ("README.md", b"not wanted"),
        ("config.json", b"{\"model_type\":\"llama\"}"),
        ("generation_config.json", b"{}"),
        ("model.safetensors", WEIGHTS),
        ("tokenizer.json", b"{}"),
        ("tokenizer_config.json", b"{}"),
    ]
}

/// Wants this file of a repository, or the only one if none is named.
pub(crate) fn wanted(name: Option<&str>) -> WantedFile<'_> {
    WantedFile { name, parts: engine::gguf_parts }
}

pub(crate) struct Bench {
    pub(crate) fake: FakeHub,
    pub(crate) hub: Hub,
    pub(crate) cache: tempfile::TempDir,
}

pub(crate) async fn bench(files: &[(&str, &[u8])], large: &[&str]) -> Bench {
    let fake = FakeHub::start(files, large).await;
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub {
        endpoint: format!("http://{}", fake.address),
        cache_dir: cache.path().join("hub"),
        token: None,
        offline: false,
    };
    Bench { fake, hub, cache }
}

impl Bench {
    pub(crate) async fn fetch(
        &self,
        revision: Option<&str>,
        file: Option<&str>,
    ) -> Result<std::path::PathBuf, HubError> {
        let name = ModelName { repo: REPO.to_owned(), revision: revision.map(str::to_owned) };
        self.hub.fetch(&name, wanted(file), &Console::silent()).await
    }

    /// Fetches the model. Returns the notes too.
    pub(crate) async fn fetch_told(&self) -> (Result<std::path::PathBuf, HubError>, String) {
        let notes = Notes::default();
        let (name, console) = (REPO.parse().unwrap(), Console::new(io::sink(), notes.clone()));
        let fetched = self.hub.fetch(&name, wanted(None), &console).await;
        (fetched, String::from_utf8(notes.0.lock().unwrap().clone()).unwrap())
    }

    pub(crate) fn repo(&self) -> std::path::PathBuf {
        self.cache.path().join("hub/models--tiny--model")
    }

    /// Asserts that no transfer left anything unfinished.
    pub(crate) fn assert_no_partial_files(&self) {
        let left = fs::read_dir(self.repo().join("blobs"))
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(".incomplete"));
        assert_eq!(left.count(), 0);
    }
}

/// The notes printed for the user.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<u8>>>);

impl io::Write for Notes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the name of the weights' blob.
pub(crate) fn weights_sum() -> String {
    hex(&sha2::Sha256::digest(WEIGHTS))
}

pub(crate) fn one_line(error: &HubError) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 400, "{line}");
    line
}
