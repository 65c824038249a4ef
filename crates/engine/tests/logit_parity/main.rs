//! The decoder against Hugging Face transformers: the same logits for every way a sequence may be cut into forward
//! passes, from safetensors and from GGUF files. tests/fixtures/README.md describes the fixtures' format;
//! LOGIT_PARITY_FIXTURES names another directory of them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod gguf;
mod single;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, quantized::GgmlDType};
use engine::{
    BatchRow, Cache, Decode, ForwardError, LoadOptions, LoadedModel, WantedLogits, load_model,
};

use gguf::to_gguf;

/// Greatest difference allowed between two f32 computations of a logit.
const TOLERANCE: f32 = 1e-3;

struct Fixture {
    directory: PathBuf,
    tokens: Vec<u32>,
    /// f32 [tokens, vocab].
    logits: Tensor,
}

/// Returns the fixtures of our own decoder.
fn fixtures() -> Vec<Fixture> {
    fixtures_and_more("logits", true)
}

/// Returns the fixtures in a directory under `tests/fixtures`, and all further ones whose decoder gives the logits of
/// all tokens, or only of the last one.
fn fixtures_and_more(name: &str, gives_all_logits: bool) -> Vec<Fixture> {
    let more = std::env::var_os("LOGIT_PARITY_FIXTURES").map(PathBuf::from);
    let more = more.iter().flat_map(|root| fixtures_at(root)).filter(|fixture| {
        load(&fixture.directory).decoder.facts().gives_all_logits == gives_all_logits
    });
    fixtures_in(name).into_iter().chain(more).collect()
}

/// Returns the fixtures in a directory under `tests/fixtures`.
fn fixtures_in(name: &str) -> Vec<Fixture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    fixtures_at(&root.join(name))
}

fn fixtures_at(root: &Path) -> Vec<Fixture> {
    let mut directories: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap_or_else(|error| panic!("{}: {error}", root.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("logits.safetensors").is_file())
        .collect();
    directories.sort();
    assert!(!directories.is_empty(), "no fixtures in {}", root.display());
    directories.iter().map(|directory| read(directory)).collect()
}

fn read(directory: &Path) -> Fixture {
    let path = directory.join("logits.safetensors");
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let tokens: Vec<i64> = tensors["input_ids"].to_vec1().unwrap();
    Fixture {
        directory: directory.to_owned(),
        tokens: tokens.iter().map(|id| u32::try_from(*id).unwrap()).collect(),
        logits: tensors["logits"].clone(),
    }
}

fn fixture(name: &str) -> Fixture {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/logits");
    read(&root.join(name))
}

fn load(path: &Path) -> LoadedModel {
    load_with(path, None)
}

fn load_with(path: &Path, dtype: Option<DType>) -> LoadedModel {
    let options = LoadOptions { dtype, ..LoadOptions::default() };
    load_model(&path.into(), &options, &mut |_| {}).unwrap()
}

/// Computes more tokens of one sequence in one forward pass. Returns their logits.
fn step(decoder: &dyn Decode, cache: &mut dyn Cache, tokens: &[u32]) -> Tensor {
    decoder.forward(&mut [BatchRow { tokens, cache, logits: WantedLogits::All }]).unwrap()
}

/// Returns the logits of a sequence that is cut into passes of these lengths; the last length repeats.
fn in_chunks(decoder: &dyn Decode, tokens: &[u32], lengths: &[usize]) -> Tensor {
    let mut cache = decoder.new_cache();
    let mut logits = Vec::new();
    let mut lengths = lengths.iter().copied();
    let (mut rest, mut length) = (tokens, 1);
    while !rest.is_empty() {
        length = lengths.next().unwrap_or(length).min(rest.len());
        let (now, later) = rest.split_at(length);
        logits.push(step(decoder, &mut *cache, now));
        rest = later;
    }
    assert_eq!(cache.len(), tokens.len());
    Tensor::cat(&logits, 0).unwrap()
}

fn difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let values = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(values.iter().all(|value| value.is_finite()), "logits are not finite");
    values.into_iter().fold(0.0, f32::max)
}

#[track_caller]
fn assert_same(what: &str, fixture: &Fixture, logits: &Tensor, reference: &Tensor) {
    let difference = difference(logits, reference);
    let name = fixture.directory.display();
    assert!(difference < TOLERANCE, "{name}, {what}: logits differ by {difference}");
}

#[test]
fn logit_parity_whole_in_chunks_and_token_by_token() {
    for fixture in fixtures() {
        let decoder = load(&fixture.directory).decoder;
        let tokens = &fixture.tokens;
        let chunked = |lengths: &[usize]| in_chunks(&*decoder, tokens, lengths);
        assert_same("whole", &fixture, &chunked(&[tokens.len()]), &fixture.logits);
        for length in [2, 7, 32, 129] {
            let what = format!("in chunks of {length}");
            assert_same(&what, &fixture, &chunked(&[length]), &fixture.logits);
        }
        assert_same("in unequal chunks", &fixture, &chunked(&[5, 1, 1, 17, 3]), &fixture.logits);
        assert_same("token by token", &fixture, &chunked(&[1]), &fixture.logits);
    }
}

#[test]
fn logit_parity_after_truncation_and_again() {
    for fixture in fixtures() {
        let decoder = load(&fixture.directory).decoder;
        let tokens = &fixture.tokens;
        let mut cache = decoder.new_cache();
        step(&*decoder, &mut *cache, tokens);
        let bytes = cache.bytes();
        for keep in [tokens.len() / 2, tokens.len() / 3, 1, 0] {
            // Something else in between, which must leave no trace after cutting back.
            cache.truncate(keep);
            let other: Vec<u32> = tokens[keep..].iter().rev().copied().collect();
            step(&*decoder, &mut *cache, &other);
            cache.truncate(keep);
            assert_eq!(cache.len(), keep);
            let logits = step(&*decoder, &mut *cache, &tokens[keep..]);
            let reference = fixture.logits.narrow(0, keep, tokens.len() - keep).unwrap();
            assert_same(&format!("cut back to {keep}"), &fixture, &logits, &reference);
        }
        assert_eq!(cache.bytes(), bytes, "cutting back and going on takes no more memory");
    }
}

#[test]
fn logit_parity_of_rows_of_unequal_length() {
    for fixture in fixtures() {
        let decoder = load(&fixture.directory).decoder;
        let tokens = &fixture.tokens;
        let n = tokens.len();
        // Four sequences at different places of the same text, which want different logits.
        let starts = [0, n / 2, n - 1, n / 4];
        let ends = [n / 3, n, n, n / 4 + 2];
        let wants = [WantedLogits::All, WantedLogits::Last, WantedLogits::All, WantedLogits::None];
        let mut caches: Vec<Box<dyn Cache>> = starts
            .iter()
            .map(|start| {
                let mut cache = decoder.new_cache();
                if *start > 0 {
                    let mut row = [BatchRow {
                        tokens: &tokens[..*start],
                        cache: &mut *cache,
                        logits: WantedLogits::None,
                    }];
                    let none = decoder.forward(&mut row).unwrap();
                    assert_eq!(none.dims(), [0, decoder.facts().vocab]);
                }
                cache
            })
            .collect();
        let mut rows: Vec<BatchRow<'_>> = caches
            .iter_mut()
            .enumerate()
            .map(|(i, cache)| BatchRow {
                tokens: &tokens[starts[i]..ends[i]],
                cache: &mut **cache,
                logits: wants[i],
            })
            .collect();
        let logits = decoder.forward(&mut rows).unwrap();
        let wanted: Vec<Tensor> = [(0, ends[0]), (n - 1, 1), (n - 1, 1)]
            .iter()
            .map(|(start, len)| fixture.logits.narrow(0, *start, *len).unwrap())
            .collect();
        let reference = Tensor::cat(&wanted, 0).unwrap();
        assert_same("as one of several rows", &fixture, &logits, &reference);
        let lengths: Vec<usize> = caches.iter().map(|cache| cache.len()).collect();
        assert_eq!(lengths, ends);
    }
}

/// Half precision on the CPU: not the reference's numbers, but close to them, and independent of how the sequence is
/// cut.
#[test]
fn logit_parity_of_half_precision_is_close() {
    let fixture = fixture("qwen2-gqa");
    for (dtype, tolerance) in [(DType::BF16, 0.25), (DType::F16, 0.05)] {
        let model = load_with(&fixture.directory, Some(dtype));
        assert_eq!(model.quantisation, dtype.as_str());
        for lengths in [[fixture.tokens.len()], [1]] {
            let logits = in_chunks(&*model.decoder, &fixture.tokens, &lengths);
            let difference = difference(&logits, &fixture.logits);
            assert!(difference < tolerance, "{dtype:?}: logits differ by {difference}");
        }
    }
}

#[test]
fn a_pass_that_is_refused_leaves_the_sequences_as_they_were() {
    let fixture = fixture("qwen2-gqa");
    let decoder = load(&fixture.directory).decoder;
    let mut cache = decoder.new_cache();
    step(&*decoder, &mut *cache, &fixture.tokens[..10]);
    let too_many = vec![1; 503];
    for (tokens, expected) in [
        (&too_many[..], "513 tokens do not fit the model's context of 512; shorten the text"),
        (
            &[3, 128][..],
            "token 128 is not in the model's vocabulary of 128; tokenizer and model differ",
        ),
        (&[][..], "a row of a forward pass has no tokens; leave it out"),
    ] {
        let row = BatchRow { tokens, cache: &mut *cache, logits: WantedLogits::Last };
        let error: ForwardError = decoder.forward(&mut [row]).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(cache.len(), 10);
    }
    let logits = step(&*decoder, &mut *cache, &fixture.tokens[10..]);
    let reference = fixture.logits.narrow(0, 10, fixture.tokens.len() - 10).unwrap();
    assert_same("after refusals", &fixture, &logits, &reference);
}

#[test]
fn logit_parity_of_gguf_files() {
    let scratch = tempfile::tempdir().unwrap();
    for name in [
        "qwen2-gqa",
        "qwen2-tied-long",
        "qwen2-yarn",
        "qwen3-wide-heads",
        "qwen3-tied-bias",
        "llama-gqa",
        "llama-llama3-rope",
        "llama-linear-rope-biases",
        "smollm3",
        "olmo2",
        "phi3-window",
        "phi3-longrope",
        "gemma3",
        "glm4",
        "qwen3-moe",
        "mixtral",
    ] {
        let fixture = fixture(name);
        let from_directory = load(&fixture.directory);
        let config = from_directory.own_decoder().unwrap().config();
        let path = |part: &str| scratch.path().join(format!("{name}{part}.gguf"));
        let [whole, parts] = [vec![""], vec!["-00001-of-00002", "-00002-of-00002"]]
            .map(|parts| parts.into_iter().map(path).collect::<Vec<_>>());
        for paths in [whole, parts] {
            to_gguf(&fixture, config, GgmlDType::F32, &paths);
            let model = load(&paths[0]);
            assert_eq!(model.parameters, from_directory.parameters);
            assert_eq!(model.quantisation, "f32");
            for lengths in [[fixture.tokens.len()], [1]] {
                let logits = in_chunks(&*model.decoder, &fixture.tokens, &lengths);
                assert_same("as GGUF", &fixture, &logits, &fixture.logits);
            }
        }
    }
}

/// A quantised model differs from the original, but not by much, and formats that are repacked at load differ no more
/// than the others.
#[test]
fn logit_parity_of_quantised_gguf_files_is_close() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.gguf");
    for (dtype, name, tolerance) in [
        (GgmlDType::F16, "f16", 0.02),
        (GgmlDType::BF16, "bf16", 0.15),
        (GgmlDType::Q8_0, "Q8_0", 0.5),
        (GgmlDType::Q5_1, "Q5_1", 2.5),
        (GgmlDType::Q5_0, "Q5_0", 2.5),
        (GgmlDType::Q4_1, "Q4_1", 4.0),
    ] {
        let fixture = fixture("llama-quantisable");
        let config = load(&fixture.directory).own_decoder().unwrap().config().clone();
        to_gguf(&fixture, &config, dtype, &[&path]);
        let model = load(&path);
        assert_eq!(model.quantisation, name);
        let logits = in_chunks(&*model.decoder, &fixture.tokens, &[fixture.tokens.len()]);
        let difference = difference(&logits, &fixture.logits);
        assert!(difference < tolerance, "{name}: logits differ by {difference}");
    }
}
