//! Models by name, against a server on loopback that speaks the hub's paths.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]

mod bench;
#[path = "../fake_hub/mod.rs"]
mod fake_hub;
mod transfer;

use std::{fs, path::Path};

use hub::{Console, Hub, HubError, ModelName};

use bench::{WEIGHTS, bench, folder, one_line, wanted, weights_sum};
use fake_hub::REPO;

#[tokio::test]
async fn a_fresh_download_lies_as_other_clients_lay_it() {
    let bench = bench(&folder(), &["model.safetensors"]).await;
    let path = bench.fetch(None, None).await.unwrap();
    let commit = "c".repeat(40);
    assert_eq!(path, bench.repo().join("snapshots").join(&commit));
    assert_eq!(fs::read(path.join("model.safetensors")).unwrap(), WEIGHTS);
    assert!(!path.join("README.md").exists());
    assert_eq!(fs::read_to_string(bench.repo().join("refs/main")).unwrap(), commit);
    let sha256 = weights_sum();
    assert_eq!(fs::read(bench.repo().join("blobs").join(&sha256)).unwrap(), WEIGHTS);
    #[cfg(unix)]
    assert_eq!(
        fs::read_link(path.join("model.safetensors")).unwrap(),
        Path::new("../../blobs").join(sha256)
    );
    bench.assert_no_partial_files();
}

#[tokio::test]
async fn what_the_cache_holds_is_not_transferred_again() {
    let bench = bench(&folder(), &["model.safetensors"]).await;
    let first = bench.fetch(None, None).await.unwrap();
    bench.fake.seen();
    assert_eq!(bench.fetch(None, None).await.unwrap(), first);
    assert_eq!(bench.fake.seen(), ["GET /api/models/tiny/model/revision/main"]);
}

#[tokio::test]
async fn a_new_commit_transfers_only_what_changed() {
    let bench = bench(&folder(), &["model.safetensors"]).await;
    bench.fetch(None, None).await.unwrap();
    let next = "d".repeat(40);
    bench.fake.with(|state| {
        let mut files = state.commits[&"c".repeat(40)].clone();
        files.insert("config.json".to_owned(), b"{\"model_type\":\"qwen2\"}".to_vec());
        state.commits.insert(next.clone(), files);
        state.revisions.insert("main".to_owned(), next.clone());
        state.seen.clear();
    });
    let path = bench.fetch(None, None).await.unwrap();
    assert!(path.ends_with(&next));
    assert!(fs::read_to_string(path.join("config.json")).unwrap().contains("qwen2"));
    let gets: Vec<_> =
        bench.fake.seen().into_iter().filter(|line| line.contains("GET /tiny")).collect();
    assert_eq!(gets, [format!("GET /tiny/model/resolve/{next}/config.json")]);
}

#[tokio::test]
async fn a_sharded_model_comes_with_its_shards_and_no_others() {
    let index = br#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}}"#;
    let files: Vec<(&str, &[u8])> = vec![
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("model-00001-of-00002.safetensors", b"one"),
        ("model-00002-of-00002.safetensors", b"two"),
        ("model-00003-of-00003.safetensors", b"of something else"),
    ];
    let mut bench = bench(&files, &[]).await;
    let path = bench.fetch(None, None).await.unwrap();
    assert_eq!(fs::read(path.join("model-00001-of-00002.safetensors")).unwrap(), b"one");
    assert_eq!(fs::read(path.join("model-00002-of-00002.safetensors")).unwrap(), b"two");
    assert!(!path.join("model-00003-of-00003.safetensors").exists());
    bench.hub.offline = true;
    assert_eq!(bench.fetch(None, None).await.unwrap(), path);
    fs::remove_file(path.join("model-00002-of-00002.safetensors")).unwrap();
    let line = one_line(&bench.fetch(None, None).await.unwrap_err());
    assert!(line.contains(": model-00002-of-00002.safetensors missing"), "{line}");
}

#[tokio::test]
async fn a_split_gguf_file_comes_with_all_its_parts() {
    let parts = ["q/a-00001-of-00002.gguf", "q/a-00002-of-00002.gguf"];
    let files: [(&str, &[u8]); 3] = [(parts[0], b"one"), (parts[1], b"two"), ("b.gguf", b"b")];
    let mut bench = bench(&files, &[parts[1]]).await;
    let path = bench.fetch(None, Some(parts[1])).await.unwrap();
    assert!(path.ends_with(parts[0]), "{}", path.display());
    assert_eq!(fs::read(&path).unwrap(), b"one");
    assert_eq!(fs::read(path.with_file_name("a-00002-of-00002.gguf")).unwrap(), b"two");
    bench.hub.offline = true;
    assert_eq!(bench.fetch(None, Some(parts[0])).await.unwrap(), path);
    fs::remove_file(path.with_file_name("a-00002-of-00002.gguf")).unwrap();
    let line = one_line(&bench.fetch(None, Some(parts[0])).await.unwrap_err());
    assert!(line.contains(": q/a-00002-of-00002.gguf missing"), "{line}");
}

#[tokio::test]
async fn an_index_may_not_lead_out_of_the_cache() {
    let files: Vec<(&str, &[u8])> = vec![
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("model.safetensors.index.json", br#"{"weight_map":{"a":"../../../../etc/passwd"}}"#),
    ];
    let bench = bench(&files, &[]).await;
    let error = bench.fetch(None, None).await.unwrap_err();
    assert!(matches!(error, HubError::BadIndex { .. }), "{error}");
    one_line(&error);
}

#[tokio::test]
async fn offline_uses_the_cache_and_says_what_it_lacks() {
    let mut bench = bench(&folder(), &[]).await;
    bench.hub.offline = true;
    let line = one_line(&bench.fetch(None, None).await.unwrap_err());
    assert!(line.contains("revision main missing") && line.contains("--offline"), "{line}");
    assert_eq!(bench.fake.seen(), Vec::<String>::new());

    bench.hub.offline = false;
    let path = bench.fetch(None, None).await.unwrap();
    bench.hub.offline = true;
    bench.fake.seen();
    assert_eq!(bench.fetch(None, None).await.unwrap(), path);
    assert_eq!(bench.fetch(Some(&"c".repeat(40)), None).await.unwrap(), path);
    fs::remove_file(path.join("tokenizer.json")).unwrap();
    let line = one_line(&bench.fetch(None, None).await.unwrap_err());
    assert!(line.contains(": tokenizer.json missing"), "{line}");
    let line = one_line(&bench.fetch(None, Some("x.gguf")).await.unwrap_err());
    assert!(line.contains(": x.gguf missing"), "{line}");
    assert_eq!(bench.fake.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn an_unreachable_hub_is_no_reason_to_refuse_a_whole_copy() {
    let mut bench = bench(&folder(), &[]).await;
    let path = bench.fetch(None, None).await.unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    bench.hub.endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(bench.fetch(None, None).await.unwrap(), path);
    let error = bench.fetch(Some("other"), None).await.unwrap_err();
    assert!(
        one_line(&error).starts_with("cannot reach the model hub at http://127.0.0.1:"),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_whole_copy_that_may_not_be_written_is_served() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = bench(&folder(), &[]).await;
    let path = bench.fetch(None, None).await.unwrap();
    // A revision that is already noted is not written again, even where nothing can be written.
    let refs = bench.repo().join("refs");
    let commit = fs::read_to_string(refs.join("main")).unwrap();
    fs::set_permissions(&refs, fs::Permissions::from_mode(0o555)).unwrap();
    let noted = fs::metadata(refs.join("main")).unwrap().modified().unwrap();
    assert_eq!(bench.fetch(None, None).await.unwrap(), path);
    assert_eq!(fs::metadata(refs.join("main")).unwrap().modified().unwrap(), noted);
    // A complete model is served even if its revision cannot be noted.
    fs::set_permissions(&refs, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_dir_all(&refs).unwrap();
    fs::write(&refs, "").unwrap();
    assert_eq!(bench.fetch(None, None).await.unwrap(), path);
    assert_eq!(bench.fetch(Some(&commit), None).await.unwrap(), path);
}

#[tokio::test]
async fn revisions_are_told_apart() {
    let bench = bench(&[("m.gguf", b"main")], &[]).await;
    bench.fake.with(|state| {
        let (old, file) = ("e".repeat(40), ("m.gguf".to_owned(), b"old".to_vec()));
        state.commits.insert(old.clone(), [file].into());
        state.revisions.insert("refs/pr/1".to_owned(), old);
    });
    assert_eq!(fs::read(bench.fetch(None, None).await.unwrap()).unwrap(), b"main");
    assert_eq!(fs::read(bench.fetch(Some("refs/pr/1"), None).await.unwrap()).unwrap(), b"old");
    let by_commit = bench.fetch(Some(&"e".repeat(40)), None).await.unwrap();
    assert_eq!(fs::read(by_commit).unwrap(), b"old");
    assert!(bench.repo().join("refs/refs/pr/1").is_file());
    let error = bench.fetch(Some("v9"), None).await.unwrap_err();
    assert!(matches!(error, HubError::NoSuchRevision { .. }), "{error}");
    assert!(one_line(&error).contains("no revision 'v9'"), "{error}");
}

#[tokio::test]
async fn refusals_say_how_to_get_in() {
    let mut bench = bench(&[("m.gguf", WEIGHTS)], &["m.gguf"]).await;
    bench.fake.with(|state| {
        state.token = Some("hf_right".to_owned());
        state.error_code = Some("GatedRepo");
    });
    let line = one_line(&bench.fetch(None, None).await.unwrap_err());
    assert!(line.contains("HTTP 401") && line.contains("accept its terms at"), "{line}");
    bench.fake.with(|state| state.error_code = None);
    let line = one_line(&bench.fetch(None, None).await.unwrap_err());
    assert!(line.ends_with("set HF_TOKEN to a token that may read it"), "{line}");
    bench.hub.token = Some("hf_wrong".to_owned());
    let line = one_line(&bench.fetch(None, None).await.unwrap_err());
    assert!(line.contains("token in HF_TOKEN is wrong") && !line.contains("hf_wrong"), "{line}");
    bench.hub.token = Some("hf_right".to_owned());
    bench.fetch(None, None).await.unwrap();
    let store: Vec<_> = bench.fake.with(|state| {
        state.seen.iter().filter(|seen| seen.path.starts_with("/store/")).cloned().collect()
    });
    assert!(!store.is_empty() && store.iter().all(|seen| seen.token.is_none()), "{store:?}");
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_named() {
    let bench = bench(&[], &[]).await;
    let name: ModelName = "tiny/misspelt".parse().unwrap();
    let error = bench.hub.fetch(&name, wanted(None), &Console::silent()).await.unwrap_err();
    assert!(matches!(error, HubError::NoSuchRepo { .. }), "{error}");
    assert!(one_line(&error).contains("no model 'tiny/misspelt'"));
}

#[tokio::test]
async fn one_gguf_of_several_is_chosen_by_name() {
    let bench = bench(&[("a.gguf", b"a"), ("sub/b.gguf", b"b")], &[]).await;
    let line = one_line(&bench.fetch(None, None).await.unwrap_err());
    assert!(line.ends_with("choose one with --file: a.gguf, sub/b.gguf"), "{line}");
    assert_eq!(fs::read(bench.fetch(None, Some("sub/b.gguf")).await.unwrap()).unwrap(), b"b");
    assert!(!bench.repo().join("snapshots").join("c".repeat(40)).join("a.gguf").exists());
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_one_line() {
    let mut bench = bench(&[("m.gguf", WEIGHTS)], &[]).await;
    let file = bench.cache.path().join("a-file");
    fs::write(&file, "").unwrap();
    bench.hub.cache_dir = file.join("hub");
    let line = one_line(&bench.fetch(None, None).await.unwrap_err());
    assert!(line.starts_with("cannot write ") && line.contains("HF_HOME"), "{line}");
}

#[tokio::test]
async fn a_server_that_is_no_hub_is_told_apart() {
    let mut bench = bench(&folder(), &[]).await;
    bench.hub.endpoint = "not a url".to_owned();
    let line = one_line(&bench.fetch(None, None).await.unwrap_err());
    assert!(line.contains("check HF_ENDPOINT"), "{line}");
}

#[tokio::test]
async fn a_tokenizer_is_brought_without_the_weights() {
    let bench = bench(&folder(), &["model.safetensors"]).await;
    let name = ModelName { repo: REPO.to_owned(), revision: None };
    let path = bench.hub.fetch_tokenizer(&name, &Console::silent()).await.unwrap();
    let mut names: Vec<_> = fs::read_dir(&path).unwrap().flatten().map(|e| e.file_name()).collect();
    names.sort();
    let expected =
        ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(names, expected);
    let offline = Hub { offline: true, ..bench.hub.clone() };
    assert_eq!(offline.fetch_tokenizer(&name, &Console::silent()).await.unwrap(), path);
    let line = one_line(&offline.fetch(&name, wanted(None), &Console::silent()).await.unwrap_err());
    assert!(line.contains("model.safetensors"), "{line}");
}

#[tokio::test]
async fn a_tokenizer_leaves_a_model_in_the_cache_where_it_is() {
    let bench = bench(&folder(), &[]).await;
    let model = bench.fetch(None, None).await.unwrap();
    let next = "d".repeat(40);
    bench.fake.with(|state| {
        let files = state.commits.values().next().unwrap().clone();
        state.commits.insert(next.clone(), files);
        state.revisions.insert("main".to_owned(), next.clone());
    });
    let name = ModelName { repo: REPO.to_owned(), revision: None };
    let newer = bench.hub.fetch_tokenizer(&name, &Console::silent()).await.unwrap();
    assert!(newer.ends_with(&next));
    let offline = Hub { offline: true, ..bench.hub.clone() };
    assert_eq!(offline.fetch(&name, wanted(None), &Console::silent()).await.unwrap(), model);
}
