//! The line of every error, as snapshots.

use std::io::ErrorKind;

use error_lines::error_lines;
use text::TokenizerError;
use thinking::thinker::BadSampling;

use crate::{ForwardError, LoadError, MemoryLimit, SampleError, UsableMemory};

#[test]
fn load_errors() {
    let gguf = || "qwen3-8b.gguf".into();
    insta::assert_snapshot!(error_lines!(LoadError {
        NotFound { path: "models/qwen3".into(), why: "the directory has no config.json".into() },
        Read { path: gguf(), source: ErrorKind::PermissionDenied.into() },
        Damaged { path: gguf(), why: "it ends within the tensor \"output.weight\"".into() },
        LfsPointer { path: gguf() },
        MissingPart { path: "qwen3-8b-00002-of-00003.gguf".into() },
        Architecture { path: gguf(), found: "mamba".into(), known: "llama, qwen2, qwen3".into() },
        Family {
            path: gguf(),
            found: "gemma2".into(),
            why: "it is served from safetensors only; load a folder of safetensors",
        },
        Quantisation {
            path: gguf(),
            what: "the tensor \"output.weight\" is IQ2_XXS".into(),
            instead: "Q4_K_M or Q8_0".into(),
        },
        Unsupported { path: gguf(), what: "rope scaling of type \"longrope\"".into() },
        Config { path: "qwen3/config.json".into(), why: "hidden_size is missing".into() },
        MissingTensor { path: gguf(), name: "output.weight".into() },
        WrongShape {
            path: gguf(),
            name: "output.weight".into(),
            found: vec![4096, 151936],
            expected: vec![4096, 151669],
        },
        TooLarge {
            path: gguf(),
            needed: "15.3 GiB".into(),
            usable: UsableMemory { bytes: 12 << 30, limit: MemoryLimit::Machine },
        },
        TooLarge {
            path: gguf(),
            needed: "65.5 GiB".into(),
            usable: UsableMemory { bytes: 40 << 30, limit: MemoryLimit::Gpu { device: "cuda:0".into() } },
        },
        SessionTooLarge {
            tokens: 32768,
            needed: "4.5 GiB".into(),
            caches: "caches may take 1.0 GiB of the 2.0 GiB left in the machine".into(),
            remedy: "free some or shorten the context to 7168 tokens".into(),
        },
        Tokenizer(TokenizerError::Encode("the word \"x\" is not in the vocabulary".into())),
        Thread(ErrorKind::WouldBlock.into()),
        Options("max sessions and prefill chunk must be at least 1".into()),
        Device { path: gguf(), source: candle_core::Error::Msg("out of memory".into()) },
        FirstPass { device: "cuda 0".into(), why: "no kernel for this device".into() },
    }));
}

#[test]
fn forward_errors() {
    insta::assert_snapshot!(error_lines!(ForwardError {
        ContextFull { tokens: 40000, context: 32768 },
        UnknownToken { id: 200000, vocab: 151936 },
        ForeignCache,
        OnlyLastLogits,
        EmptyRow,
        Device(candle_core::Error::Msg("out of memory\n   0: backtrace".into())),
    }));
}

#[test]
fn sample_errors() {
    insta::assert_snapshot!(error_lines!(SampleError {
        BadLogits,
        BadRule(BadSampling { name: "top_p", value: 1.5, must_be: "from 0 to 1" }),
    }));
}
