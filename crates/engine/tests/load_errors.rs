//! Files that cannot be loaded: each is refused with one clear line, and none causes a panic.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use candle_core::{
    DType, Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        gguf_file::{self, Value},
    },
};
use engine::{EmbeddedModel, LoadError, LoadOptions, ModelLocation, load_model};
use serde_json::{Value as Json, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/logits").join(name)
}

fn error(path: &Path) -> LoadError {
    error_with(path, None)
}

#[track_caller]
fn error_with(path: &Path, dtype: Option<DType>) -> LoadError {
    let options = LoadOptions { dtype, ..LoadOptions::default() };
    let error = load_model(&path.into(), &options, &mut |_| {}).expect_err("loaded");
    let line = error.to_string();
    assert!(!line.contains('\n') && line.contains("; "), "not one clear line: {line}");
    error
}

#[track_caller]
fn assert_says(error: &LoadError, words: &[&str]) {
    let line = error.to_string();
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
}

/// Copies a fixture's checkpoint, to be damaged.
fn copy(name: &str) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, scratch.path().join(path.file_name().unwrap())).unwrap();
    }
    scratch
}

/// Returns the error for a checkpoint whose config.json has one setting changed or removed.
fn with_setting(key: &str, value: Option<Json>) -> LoadError {
    with_setting_of("qwen2-gqa", key, value)
}

fn with_setting_of(name: &str, key: &str, value: Option<Json>) -> LoadError {
    let scratch = copy(name);
    let path = scratch.path().join("config.json");
    let mut config: Json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let settings = config.as_object_mut().unwrap();
    match value {
        Some(value) => settings.insert(key.to_owned(), value),
        None => settings.remove(key),
    };
    fs::write(&path, config.to_string()).unwrap();
    error(scratch.path())
}

#[test]
fn a_model_larger_than_the_memory_is_refused_before_it_is_read() {
    let machine = common::machine(2);
    let options =
        LoadOptions { memory_root: Some(machine.path().to_owned()), ..LoadOptions::default() };
    let path = fixture("qwen2-gqa");
    let mut read = 0;
    let error =
        load_model(&path.as_path().into(), &options, &mut |progress| read = progress.done_bytes);
    let error = error.expect_err("loaded");
    assert!(matches!(error, LoadError::TooLarge { .. }));
    assert_says(
        &error,
        &["qwen2-gqa takes ", "KiB of memory, more than the 2.0 KiB left in the machine; "],
    );
    assert_eq!(read, 0);
}

#[test]
fn what_is_no_model_is_said_to_be_none() {
    let scratch = tempfile::tempdir().unwrap();
    assert_says(&error(&scratch.path().join("none.gguf")), &["none.gguf", "no such file"]);
    assert_says(&error(scratch.path()), &["no config.json"]);
    let text = scratch.path().join("notes.txt");
    fs::write(&text, "hello").unwrap();
    assert_says(&error(&text), &["notes.txt", "not a GGUF file"]);
    fs::write(&text, "").unwrap();
    assert_says(&error(&text), &["not a GGUF file"]);
    let weights = fixture("qwen2-gqa").join("model.safetensors");
    assert_says(&error(&weights), &["one safetensors file"]);
    let gguf = scratch.path().join("model.gguf");
    Gguf::default().write(&gguf);
    let refused = error_with(&gguf, Some(DType::BF16));
    assert_says(&refused, &["leave the dtype out"]);
}

#[test]
fn settings_that_are_not_supported_are_named() {
    let cases = [
        ("architectures", json!(["MambaForCausalLM"]), "MambaForCausalLM"),
        ("num_experts", json!(8), "mixture of experts"),
        ("layer_types", json!(["full_attention", "linear_attention"]), "linear_attention"),
        ("layer_types", json!(["full_attention"]), "fewer entries"),
        ("sliding_window", json!("wide"), "wide"),
        ("hidden_act", json!("gelu"), "SiLU"),
        ("partial_rotary_factor", json!(2.0), "dimensions of a head are rotated"),
        ("final_logit_softcapping", json!(30.0), "capping of logits"),
        ("rope_scaling", json!({"rope_type": "longrope", "factor": 4.0}), "short_factor"),
        ("rope_scaling", json!({"type": "dynamic", "factor": 4.0}), "dynamic"),
        ("rope_scaling", json!({"type": "linear"}), "factor"),
        ("quantization_config", json!({"quant_method": "awq"}), "awq"),
        ("num_attention_heads", json!(0), "number of heads is 0"),
        ("num_key_value_heads", json!(3), "cannot be shared"),
        ("num_hidden_layers", json!(1_000_000_000), "number of layers"),
        ("hidden_size", json!(u64::MAX), "hidden size"),
        ("vocab_size", json!("many"), "many"),
        ("rope_theta", json!(-1.0), "RoPE base"),
        ("hidden_size", json!(64), "model.embed_tokens.weight"),
        ("num_hidden_layers", json!(3), "model.layers.2.input_layernorm.weight"),
    ];
    for (key, value, word) in cases {
        assert_says(&with_setting(key, Some(value)), &[word]);
    }
    assert_says(&with_setting("hidden_size", None), &["config.json", "hidden_size"]);
}

#[test]
fn families_that_are_not_served_are_named_with_the_reason() {
    let with_class = |class: &str| with_setting("architectures", Some(json!([class])));
    for (class, why) in [
        ("PhiForCausalLM", "one token at a time only; use Phi-3"),
        ("Lfm2ForCausalLM", "one token at a time only"),
        ("Qwen2MoeForCausalLM", "wrong logits for more than one token at a time"),
        ("GraniteForCausalLM", "leaves out the factors"),
    ] {
        assert_says(&with_class(class), &[class, "not supported", why]);
    }
    let known = "qwen3moe, mistral, mixtral, smollm3, olmo2, phi3, gemma3, glm4, helium, gemma2, starcoder2";
    assert_says(&with_class("MambaForCausalLM"), &[known]);
}

#[test]
fn what_a_model_of_candle_transformers_does_not_compute_is_refused() {
    let gemma2 = "../logits-single/gemma2";
    for (key, value, words) in [
        ("tie_word_embeddings", json!(false), "gemma2 with an output head of its own is not"),
        ("rope_scaling", json!({"type": "linear", "factor": 2.0}), "RoPE scaling \"linear\""),
        ("query_pre_attn_scalar", json!(32), "gemma2 with heads of 16 numbers"),
        ("quantization_config", json!({"quant_method": "awq"}), "awq"),
        ("hidden_activation", json!("gelu_of_tomorrow"), "gelu_of_tomorrow"),
        ("num_key_value_heads", json!(3), "cannot be shared"),
        ("num_attention_heads", json!(0), "num_attention_heads is 0"),
        ("num_hidden_layers", json!(1_000_000_000), "number of layers"),
        ("sliding_window", json!(0), "sliding_window is 0"),
        ("hidden_size", json!(u64::MAX), "hidden_size"),
        ("hidden_size", json!(64), "\"model.embed_tokens.weight\" has shape"),
        ("num_hidden_layers", json!(3), "no tensor \"model.layers.2."),
    ] {
        assert_says(&with_setting_of(gemma2, key, Some(value)), &[words]);
    }
    let plain = "../logits-single/starcoder2-plain";
    let long = with_setting_of(plain, "max_position_embeddings", Some(json!(1 << 24)));
    assert_says(&long, &["16777216 positions of 8 numbers are too many"]);
    let missing = with_setting_of(gemma2, "vocab_size", None);
    assert_says(&missing, &["config.json", "vocab_size"]);
}

#[test]
fn a_window_that_is_not_used_is_no_hindrance() {
    let scratch = copy("qwen2-gqa");
    let path = scratch.path().join("config.json");
    let mut config: Json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["sliding_window"] = json!(32);
    config["use_sliding_window"] = json!(false);
    config["max_window_layers"] = json!(1);
    let windows = |config: &Json| {
        fs::write(&path, config.to_string()).unwrap();
        let model = load_model(&scratch.path().into(), &LoadOptions::default(), &mut |_| {});
        let model = model.unwrap();
        model
            .own_decoder()
            .unwrap()
            .config()
            .layers
            .iter()
            .map(|layer| layer.window)
            .collect::<Vec<_>>()
    };
    assert_eq!(windows(&config), [None, None]);
    config["use_sliding_window"] = json!(true);
    assert_eq!(windows(&config), [None, Some(32)]);
    config["sliding_window"] = Json::Null;
    assert_eq!(windows(&config), [None, None]);
}

#[test]
fn damaged_checkpoints_are_refused() {
    let scratch = copy("llama-mha-tied-sharded");
    let shard = scratch.path().join("model-00002-of-00003.safetensors");
    let whole = fs::read(&shard).unwrap();
    for len in [0, 4, 20, 200, whole.len() / 2, whole.len() - 1] {
        fs::write(&shard, &whole[..len]).unwrap();
        assert_says(&error(scratch.path()), &["00002", "damaged or incomplete"]);
    }
    fs::remove_file(&shard).unwrap();
    assert_says(&error(scratch.path()), &["cannot read", "00002"]);
    fs::write(scratch.path().join("config.json"), "{\"architectures\": [").unwrap();
    assert_says(&error(scratch.path()), &["config.json", "not JSON"]);
    fs::write(scratch.path().join("config.json"), b"\xff\xfe").unwrap();
    assert_says(&error(scratch.path()), &["config.json"]);
}

#[test]
fn an_index_cannot_name_files_elsewhere() {
    let scratch = copy("llama-mha-tied-sharded");
    let index = scratch.path().join("model.safetensors.index.json");
    fs::write(index, r#"{"weight_map": {"a": "../other.safetensors"}}"#).unwrap();
    assert_says(&error(scratch.path()), &["outside its directory"]);
}

/// A small GGUF file of the qwen2 family, whole unless a test changes something.
struct Gguf {
    metadata: Vec<(&'static str, Value)>,
    without: &'static str,
    dtype: GgmlDType,
}

impl Default for Gguf {
    fn default() -> Self {
        let number = Value::U32;
        Gguf {
            metadata: vec![
                ("general.architecture", Value::String("qwen2".to_owned())),
                ("qwen2.block_count", number(1)),
                ("qwen2.context_length", number(64)),
                ("qwen2.embedding_length", number(32)),
                ("qwen2.feed_forward_length", number(32)),
                ("qwen2.attention.head_count", number(2)),
                ("qwen2.attention.layer_norm_rms_epsilon", Value::F32(1e-6)),
            ],
            without: "",
            dtype: GgmlDType::F32,
        }
    }
}

impl Gguf {
    fn set(mut self, key: &'static str, value: Value) -> Self {
        self.metadata.retain(|(old, _)| *old != key);
        self.metadata.push((key, value));
        self
    }

    fn write(&self, path: &Path) {
        write_gguf(path, &self.metadata, &self.tensors());
    }

    /// Writes the file in parts, as llama-gguf-split does: metadata that is not about tensors is in the first one.
    fn write_parts(&self, folder: &Path, parts: usize) -> Vec<PathBuf> {
        let path = |part| folder.join(format!("model-{part:05}-of-{parts:05}.gguf"));
        let paths: Vec<PathBuf> = (1..=parts).map(path).collect();
        let tensors = self.tensors();
        let pieces = tensors.chunks(tensors.len().div_ceil(parts));
        for (number, (path, piece)) in paths.iter().zip(pieces).enumerate() {
            let mut metadata = if number == 0 { self.metadata.clone() } else { Vec::new() };
            metadata.push(("split.no", Value::U16(number as u16)));
            metadata.push(("split.count", Value::U16(parts as u16)));
            write_gguf(path, &metadata, piece);
        }
        paths
    }

    fn tensors(&self) -> Vec<(String, QTensor)> {
        let mut tensors = Vec::new();
        let mut add = |name: &str, dims: &[usize], dtype| {
            if name != self.without {
                let zeros = Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
                tensors.push((name.to_owned(), QTensor::quantize(&zeros, dtype).unwrap()));
            }
        };
        add("token_embd.weight", &[64, 32], self.dtype);
        add("output_norm.weight", &[32], GgmlDType::F32);
        for norm in ["attn_norm", "ffn_norm"] {
            add(&format!("blk.0.{norm}.weight"), &[32], GgmlDType::F32);
        }
        for linear in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"] {
            add(&format!("blk.0.{linear}.weight"), &[32, 32], self.dtype);
        }
        add("blk.0.ffn_down.weight", &[32, 32], self.dtype);
        for linear in ["attn_q", "attn_k", "attn_v"] {
            add(&format!("blk.0.{linear}.bias"), &[32], GgmlDType::F32);
        }
        tensors
    }
}

fn write_gguf(path: &Path, metadata: &[(&str, Value)], tensors: &[(String, QTensor)]) {
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
    gguf_file::write(&mut fs::File::create(path).unwrap(), &metadata, &tensors).unwrap();
}

#[test]
fn a_split_gguf_file_is_one_model_by_the_name_of_any_part() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("model.gguf");
    Gguf::default().write(&whole);
    let load = |path: &Path| load_model(&path.into(), &LoadOptions::default(), &mut |_| {});
    let whole = load(&whole).unwrap();
    let parts = Gguf::default().write_parts(scratch.path(), 3);
    for part in &parts {
        let model = load(part).unwrap();
        assert_eq!(model.parameters, whole.parameters);
        assert_eq!(ModelLocation::from(part.as_path()).name(), "model");
    }
    // Under another name a part does not say where the others are.
    let renamed = scratch.path().join("renamed.gguf");
    fs::copy(&parts[0], &renamed).unwrap();
    assert_says(&error(&renamed), &["renamed.gguf", "split into 3 parts and there are 1"]);
    fs::remove_file(&parts[1]).unwrap();
    for part in [&parts[0], &parts[2]] {
        assert_says(&error(part), &["model-00002-of-00003.gguf is missing"]);
    }
}

#[test]
fn tensors_aligned_to_nothing_are_refused_wherever_the_header_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.gguf");
    let long = Value::Array(vec![Value::String("x".repeat(1000)); 70]);
    let numbers = Value::Array(vec![Value::F64(0.5); 3]);
    let far = Gguf::default().set("tokenizer.tokens", long).set("tokenizer.scores", numbers);
    for zero in [Value::U8(0), Value::I16(0), Value::U32(0)] {
        Gguf { metadata: far.metadata.clone(), ..Gguf::default() }
            .set("general.alignment", zero)
            .write(&path);
        assert_says(&error(&path), &["damaged or incomplete", "alignment of 0"]);
    }
    // A string that contains the key does not count, and neither does another kind of number.
    let name = Value::String("general.alignment\u{4}\0\0\0\0\0\0\0".to_owned());
    Gguf::default().set("general.name", name).set("general.alignment", Value::U64(0)).write(&path);
    load_model(&path.as_path().into(), &LoadOptions::default(), &mut |_| {}).unwrap();
}

#[test]
fn a_pointer_in_the_place_of_a_file_is_called_one() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 144080\n";
    let says = ["is a Git LFS pointer", "`git lfs pull`"];
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        let scratch = copy("qwen2-gqa");
        fs::write(scratch.path().join(name), pointer).unwrap();
        assert_says(&error(scratch.path()), &[&says[..], &[name]].concat());
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.gguf");
    fs::write(&path, pointer).unwrap();
    assert_says(&error(&path), &says);
}

#[test]
fn gguf_files_that_are_not_supported_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.gguf");
    let text = |text: &str| Value::String(text.to_owned());
    let cases = [
        (Gguf::default().set("general.architecture", text("mamba")), "mamba"),
        (Gguf::default().set("general.architecture", text("gemma2")), "from safetensors only; "),
        (Gguf::default().set("qwen2.expert_count", Value::U32(4)), "mixture of experts"),
        (Gguf::default().set("qwen2.attention.sliding_window", Value::U32(4)), "sliding-window"),
        (Gguf::default().set("qwen2.rope.scaling.type", text("longrope")), "longrope"),
        (Gguf::default().set("qwen2.rope.dimension_count", Value::U32(7)), "7 of 16 dimensions"),
        (Gguf::default().set("qwen2.embedding_length", Value::U32(64)), "token_embd.weight"),
        (Gguf::default().set("qwen2.block_count", Value::U32(2)), "blk.1.attn_norm.weight"),
        (Gguf::default().set("qwen2.block_count", text("one")), "block_count"),
        (Gguf::default().set("qwen2.block_count", Value::I32(-1)), "block_count"),
        (Gguf::default().set("qwen2.attention.head_count", Value::U32(0)), "number of heads"),
        (Gguf { without: "token_embd.weight", ..Gguf::default() }, "token_embd.weight"),
        (Gguf { without: "blk.0.attn_q.bias", ..Gguf::default() }, "blk.0.attn_q.bias"),
        (Gguf { dtype: GgmlDType::Q8_1, ..Gguf::default() }, "Q8_1"),
    ];
    for (gguf, word) in cases {
        gguf.write(&path);
        assert_says(&error(&path), &[word]);
    }
}

/// The number of a tensor's format follows its name and its two dimensions.
#[test]
fn formats_that_candle_lacks_are_refused_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.gguf");
    Gguf::default().write(&path);
    let whole = fs::read(&path).unwrap();
    let name = b"token_embd.weight";
    let place = whole.windows(name.len()).position(|bytes| bytes == name).unwrap();
    let place = place + name.len() + 4 + 2 * 8;
    for (number, says) in [
        (23u32, ["a tensor in IQ4_XS", "use a file of the model in Q4_K_S"]),
        (39, ["a tensor in MXFP4", "use a file of the model in Q4_K_M"]),
        (99, ["a tensor of GGML type 99", "use Q4_0, Q4_1, "]),
    ] {
        let mut bytes = whole.clone();
        bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        assert_says(&error(&path), &says);
    }
}

#[test]
fn gguf_files_cut_short_anywhere_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.gguf");
    Gguf::default().write(&path);
    load_model(&path.as_path().into(), &LoadOptions::default(), &mut |_| {}).unwrap();
    let whole = fs::read(&path).unwrap();
    for len in (4..whole.len() - 64).step_by(97) {
        fs::write(&path, &whole[..len]).unwrap();
        assert_says(&error(&path), &["damaged or incomplete"]);
    }
}

/// No wrong byte in the header causes a panic or a huge allocation.
#[test]
fn gguf_files_with_a_wrong_byte_do_not_panic() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.gguf");
    Gguf::default().set("general.alignment", Value::U32(32)).write(&path);
    let whole = fs::read(&path).unwrap();
    for place in 0..whole.len().min(1600) {
        for wrong in [0x00, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] = wrong;
            fs::write(&path, &bytes).unwrap();
            // Some bytes do no harm.
            let _ = load_model(&path.as_path().into(), &LoadOptions::default(), &mut |_| {});
        }
    }
}

/// A GGUF file in memory is read by the same code; its errors use its name.
#[test]
fn gguf_files_in_memory_load_and_are_refused_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.gguf");
    Gguf::default().write(&path);
    let whole: &'static [u8] = fs::read(&path).unwrap().leak();
    let load = |bytes| {
        let location = ModelLocation::Embedded(EmbeddedModel { name: "carried", bytes });
        load_model(&location, &LoadOptions::default(), &mut |_| {})
    };
    let (on_disk, in_memory) = (
        load_model(&path.as_path().into(), &LoadOptions::default(), &mut |_| {}).unwrap(),
        load(whole).unwrap(),
    );
    assert_eq!(in_memory.parameters, on_disk.parameters);
    assert_eq!(in_memory.quantisation, on_disk.quantisation);
    let refused = |bytes| load(bytes).unwrap_err().to_string();
    let damaged = refused(&whole[..whole.len() / 2]);
    assert!(damaged.starts_with("carried is damaged or incomplete: "), "{damaged}");
    assert!(refused(b"").starts_with("no model at carried: "), "{}", refused(b""));
}
