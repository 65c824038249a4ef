//! Transfers that are cut, delayed or damaged, and damaged files in the cache.

use std::fs;

use hub::{HubError, ModelName};

use crate::{
    bench::{WEIGHTS, bench, folder, one_line, weights_sum},
    fake_hub::REPO,
};

#[tokio::test]
async fn a_cut_transfer_goes_on_where_it_was_cut() {
    let bench = bench(&[("m.gguf", WEIGHTS)], &["m.gguf"]).await;
    bench.fake.with(|state| state.cuts = vec![100_000, 50_000]);
    let path = bench.fetch(None, None).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), WEIGHTS);
    let seen = bench.fake.seen();
    let ranges: Vec<_> = seen
        .iter()
        .filter(|line| line.contains("/store/"))
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    assert_eq!(ranges, ["bytes=100000-", "bytes=150000-"]);
    bench.assert_no_partial_files();
}

#[tokio::test]
async fn the_next_start_goes_on_with_what_the_last_one_left() {
    let bench = bench(&[("m.gguf", WEIGHTS)], &["m.gguf"]).await;
    bench.fake.with(|state| state.cuts = vec![120_000, 0, 0, 0, 0, 0]);
    let error = bench.fetch(None, None).await.unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(one_line(&error).contains("the next start resumes"));
    // A half transfer is not a model.
    assert!(!bench.repo().join("snapshots").exists());
    bench.fake.with(|state| {
        state.cuts.clear();
        state.seen.clear();
    });
    assert_eq!(fs::read(bench.fetch(None, None).await.unwrap()).unwrap(), WEIGHTS);
    assert!(bench.fake.seen().last().unwrap().ends_with("bytes=120000-"));
}

#[tokio::test]
async fn a_server_without_ranges_starts_again() {
    let bench = bench(&[("m.gguf", WEIGHTS)], &["m.gguf"]).await;
    bench.fake.with(|state| {
        state.cuts = vec![100_000];
        state.no_range = true;
    });
    assert_eq!(fs::read(bench.fetch(None, None).await.unwrap()).unwrap(), WEIGHTS);
}

#[tokio::test]
async fn a_busy_hub_is_asked_again() {
    let bench = bench(&[("m.gguf", WEIGHTS)], &[]).await;
    bench.fake.with(|state| state.busy = 2);
    bench.fetch(None, None).await.unwrap();
}

#[tokio::test]
async fn a_busy_hub_is_asked_again_when_it_says_and_as_often() {
    let bench = bench(&[("m.gguf", WEIGHTS)], &[]).await;
    bench.fake.with(|state| {
        state.busy = 6;
        state.retry_after = Some("0");
    });
    bench.fetch(None, None).await.unwrap();
    bench.fake.with(|state| {
        state.busy = 1;
        state.retry_after = Some("7200");
        state.seen.clear();
    });
    let line = one_line(&bench.fetch(Some("other"), None).await.unwrap_err());
    assert!(line.contains("is busy (HTTP 429) and asks to wait 2h; try again later"), "{line}");
    assert_eq!(bench.fake.seen().len(), 1, "too long to wait for");
    bench.fake.with(|state| state.busy = 1);
    bench.fetch(None, None).await.expect("a whole copy is in the cache");
}

#[tokio::test]
async fn what_a_download_waits_for_and_does_without_is_told() {
    let bench = bench(&[("m.gguf", WEIGHTS)], &["m.gguf"]).await;
    bench.fake.with(|state| {
        state.busy = 2;
        state.retry_after = Some("0");
    });
    let (fetched, notes) = bench.fetch_told().await;
    let waits = "the hub is busy (HTTP 429 Too Many Requests); waiting 250ms as requested (";
    let waits = [format!("{waits}10m at most)"), format!("{waits}250ms so far, 10m at most)")];
    assert_eq!(notes.lines().take(2).collect::<Vec<_>>(), waits, "{notes}");
    let path = fetched.unwrap();
    let (_, notes) = bench.fetch_told().await;
    assert_eq!(notes, "", "nothing to wait for");

    // A file in place of the folder of locks, and a blob that was cut short.
    fs::remove_dir_all(bench.hub.cache_dir.join(".locks")).unwrap();
    fs::write(bench.hub.cache_dir.join(".locks"), "").unwrap();
    fs::write(bench.repo().join("blobs").join(weights_sum()), "short").unwrap();
    fs::remove_file(path).unwrap();
    let (fetched, notes) = bench.fetch_told().await;
    assert_eq!(fs::read(fetched.unwrap()).unwrap(), WEIGHTS);
    assert!(notes.contains("the cache cannot be locked ("), "{notes}");
    assert!(
        notes.contains(" is damaged (it has 5 of 300000 bytes) and is downloaded again"),
        "{notes}"
    );
}

#[tokio::test]
async fn damaged_bytes_never_get_a_name() {
    for large in [&["m.gguf"][..], &[]] {
        let bench = bench(&[("m.gguf", WEIGHTS)], large).await;
        bench.fake.with(|state| state.damage = true);
        let error = bench.fetch(None, None).await.unwrap_err();
        assert!(one_line(&error).contains("arrived damaged"), "{error}");
        assert!(!bench.repo().join("snapshots").exists());
        bench.assert_no_partial_files();
        bench.fake.with(|state| state.damage = false);
        bench.fetch(None, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_cache_without_locks_is_filled_by_two_at_once() {
    let bench = bench(&[("m.gguf", WEIGHTS)], &["m.gguf"]).await;
    fs::create_dir_all(&bench.hub.cache_dir).unwrap();
    // With a file in place of this folder there can be no lock.
    fs::write(bench.hub.cache_dir.join(".locks"), "").unwrap();
    bench.fake.with(|state| state.cuts = vec![200_000, 100_000, 50_000]);
    let (one, other) = tokio::join!(bench.fetch(None, None), bench.fetch(None, None));
    assert_eq!(one.as_ref().unwrap(), other.as_ref().unwrap());
    assert_eq!(fs::read(one.unwrap()).unwrap(), WEIGHTS);
    assert_eq!(fs::read(bench.repo().join("blobs").join(weights_sum())).unwrap(), WEIGHTS);
    bench.assert_no_partial_files();
}

#[tokio::test]
async fn what_was_left_counts_by_what_lies_on_disk() {
    let bench = bench(&[("m.gguf", WEIGHTS)], &["m.gguf"]).await;
    let blobs = bench.repo().join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(format!("{}.incomplete", weights_sum())), [8; 1000]).unwrap();
    // Of no use, since there is a larger one.
    fs::write(blobs.join(format!("{}.1.incomplete", weights_sum())), [7; 500]).unwrap();
    assert_eq!(fs::read(bench.fetch(None, None).await.unwrap()).unwrap(), WEIGHTS);
    bench.assert_no_partial_files();
}

#[tokio::test]
async fn a_damaged_file_is_replaced_when_its_name_is_deleted() {
    let bench = bench(&[("m.gguf", WEIGHTS)], &["m.gguf"]).await;
    let path = bench.fetch(None, None).await.unwrap();
    fs::write(bench.repo().join("blobs").join(weights_sum()), &WEIGHTS[..1000]).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(fs::read(bench.fetch(None, None).await.unwrap()).unwrap(), WEIGHTS);
}

#[tokio::test]
async fn damaged_files_are_found_among_sound_ones() {
    let mut bench = bench(&folder(), &["model.safetensors"]).await;
    let name: ModelName = REPO.parse().unwrap();
    let path = bench.fetch(None, None).await.unwrap();
    assert_eq!(bench.hub.drop_damaged(&name).unwrap(), Vec::<String>::new());
    fs::write(bench.repo().join("blobs").join(weights_sum()), [8; 300_000]).unwrap();
    // Another client or file system may have put a copy in place of a link.
    fs::remove_file(path.join("tokenizer.json")).unwrap();
    fs::write(path.join("tokenizer.json"), "{").unwrap();
    fs::remove_file(path.join("config.json")).unwrap();
    fs::write(path.join("config.json"), folder()[1].1).unwrap();
    // A blob whose name is not a checksum cannot be checked.
    fs::write(bench.repo().join("blobs/odd"), "odd").unwrap();
    fs::remove_file(path.join("generation_config.json")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../../blobs/odd", path.join("generation_config.json")).unwrap();
    bench.hub.offline = true;
    assert_eq!(
        bench.hub.drop_damaged(&name).unwrap(),
        Vec::<String>::new(),
        "nothing to replace them"
    );
    bench.hub.offline = false;
    assert_eq!(bench.hub.drop_damaged(&name).unwrap(), ["model.safetensors", "tokenizer.json"]);
    bench.fetch(None, None).await.unwrap();
    assert_eq!(fs::read(path.join("model.safetensors")).unwrap(), WEIGHTS);
    assert_eq!(fs::read(path.join("tokenizer.json")).unwrap(), b"{}");
}
