//! The line of every error, as a snapshot.

use std::io::{Error, ErrorKind};

use engine::LoadError;
use error_lines::error_lines;
use hub::{ChooseError, HubError};
use thinking::thinker::{Code, Failure};
use transport::{ServeError, TokenError};
use upstream::UpstreamError;

use crate::NodeError;

#[test]
fn node_errors() {
    insta::assert_snapshot!(error_lines!(NodeError {
        Usage("--revision goes with the name of a repository, but models/x is a path".into()),
        NoModel { path: "qwen3.gguf".into(), remedy: "check the spelling".into() },
        Choose { path: "models/x".into(), why: ChooseError::Missing("tokenizer.json".into()) },
        Hub(HubError::NotCached {
            name: "Qwen/Qwen3-8B".into(),
            cache: "/home/ann/.cache/huggingface/hub/models--Qwen--Qwen3-8B".into(),
            missing: "revision main".into(),
        }),
        Device {
            device: "cuda".into(),
            why: "this program was built without the feature cuda".into(),
        },
        DeviceLost { device: "cuda:0".into(), why: "an illegal memory access was encountered".into() },
        Load(LoadError::LfsPointer { path: "qwen3.gguf".into() }),
        Token(TokenError::Empty),
        Upstream(Failure::new(
            Code::Unavailable,
            "openai+http://127.0.0.1:8000/v1 cannot be reached: connection refused; start the server there, or fix the address",
        )),
        UpstreamSetup(UpstreamError::Plaintext { address: "http://gpu-host:8000".parse().unwrap() }),
        MetricsAddress { address: "127.0.0.1:9100".into(), why: ErrorKind::AddrInUse.into() },
        Serve(ServeError::Bind {
            address: "127.0.0.1:7101".into(),
            why: ErrorKind::AddrInUse.into(),
        }),
        Manual(Error::other("cannot write to man: permission denied; give --manual a folder")),
        Forced,
        Internal("cannot start with --threads: permission denied".into()),
    }));
}
