//! The line of every error, as a snapshot.

use error_lines::error_lines;

use crate::{MachineError, error::Gigabytes};

#[test]
fn machine_errors() {
    insta::assert_snapshot!(error_lines!(MachineError {
        File { path: "mine.toml".into(), why: "prefill_tokens_per_s is missing".into() },
        NotSpeeds { name: "h200".into() },
        Unknown { kind: "machine", name: "h20".into(), near: " (did you mean \"h200\"?)".into() },
        NotMeasured {
            machine: "laptop-cpu".into(),
            model: "32b-bf16".into(),
            models: "1.5b-q4".into(),
        },
        DoesNotFit {
            machine: "rtx-4090".into(),
            model: "32b-bf16".into(),
            needs_gb: Gigabytes(67.1),
            has_gb: Gigabytes(24.0),
        },
    }));
}
