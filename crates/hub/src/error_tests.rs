//! The line of every error, as snapshots.

use std::{io::ErrorKind, path::Path, time::Duration};

use error_lines::{error_lines, lines};

use crate::{ChooseError, HubError, ModelName, TokenizerPlace};

#[test]
fn choose_errors() {
    insta::assert_snapshot!(error_lines!(ChooseError {
        Missing("tokenizer.json".into()),
        NoSuchFile { file: "q4.gguf".into(), there: "q8.gguf, f16.gguf".into() },
        NotGguf("README.md".into()),
        Several("q8.gguf, f16.gguf".into()),
        Nothing,
    }));
}

#[test]
fn hub_errors() {
    let endpoint = || "https://huggingface.co".into();
    let repo = || "Qwen/Qwen3-8B".into();
    insta::assert_snapshot!(error_lines!(HubError {
        NoSuchRepo { endpoint: endpoint(), repo: repo() },
        NoSuchRevision { endpoint: endpoint(), repo: repo(), revision: "v2".into() },
        Refused {
            endpoint: endpoint(),
            repo: repo(),
            status: 401,
            remedy: "set HF_TOKEN to a token that may read it".into(),
        },
        Unreachable { endpoint: endpoint(), why: "connection refused".into() },
        Busy { endpoint: endpoint(), status: 429, asks: Some(Duration::from_secs(90)) },
        Busy { endpoint: endpoint(), status: 503, asks: None },
        Tls { why: "no certificate of an authority was found".into() },
        Protocol { url: endpoint(), why: "it names no commit".into() },
        Choose { name: repo(), why: ChooseError::Missing("tokenizer.json".into()) },
        NotCached {
            name: repo(),
            cache: "/home/ann/.cache/huggingface/hub/models--Qwen--Qwen3-8B".into(),
            missing: "revision main".into(),
        },
        BadIndex {
            name: repo(),
            file: "model.safetensors.index.json".into(),
            why: "it names '../x'".into(),
        },
        Damaged { file: "model.safetensors".into(), why: "its SHA-256 differs".into() },
        Locked { lock: "/home/ann/.cache/huggingface/hub/.locks/x.lock".into() },
        Disk { path: "blobs/x".into(), why: ErrorKind::StorageFull.into() },
        Disk { path: "blobs/x".into(), why: ErrorKind::ReadOnlyFilesystem.into() },
    }));
}

#[test]
fn other_errors() {
    let name = "Qwen3-8B".parse::<ModelName>().unwrap_err();
    let place = TokenizerPlace::new("no-such.json", Path::new("")).unwrap_err();
    insta::assert_snapshot!(lines([name.to_string(), place.to_string()]));
}
