//! How text is cut before the merges. A GGUF file names the rules (`tokenizer.ggml.pre`) at most; the rules themselves,
//! for the families that we serve, are here.
//!
//! Sources: the published tokenizer.json of each model, and the names in `llama-vocab.cpp` of
//! <https://github.com/ggml-org/llama.cpp>.

use tokenizers::{
    PreTokenizerWrapper, SplitDelimiterBehavior,
    pre_tokenizers::{
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use crate::metadata::{GgufMetadata, text};

/// The rules behind a name in `tokenizer.ggml.pre`.
pub(super) struct Rules {
    cut: Cut,
    /// Whether characters are composed (Unicode NFC) before anything else.
    pub(super) compose: bool,
    /// Whether a piece that is a whole token becomes that token, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// Whether a begin-of-text token goes before a raw prompt if the file does not say.
    pub(super) add_bos: bool,
}

/// How text is cut before the merges.
enum Cut {
    /// GPT-2: all digits together.
    Gpt2,
    /// GPT-2 with single digits.
    Gpt2Digits,
    /// By these patterns, one after the other.
    Patterns(&'static [&'static str]),
}

/// Qwen 2 and later, and the R1 distillations of Qwen: one digit at a time.
const QWEN2: &[&str] = &[
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];
/// Llama 3: up to three digits at a time.
const LLAMA3: &[&str] = &[
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];
/// Mistral Nemo and later: by the case of letters, one digit at a time.
const TEKKEN: &[&str] = &[
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];
/// GPT-4o: by the case of letters, contractions with their word, up to three digits.
const GPT4O: &[&str] = &[
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];
const DEEPSEEK_LLM: &[&str] = &[
    r"[\r\n]",
    r"\s?[\p{Lu}\p{Ll}\p{Lt}]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    r"[一-龥ࠀ-一가-퟿]+",
    r"\p{N}+",
];
const DEEPSEEK_CODER: &[&str] =
    &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}"];
const DEEPSEEK3: &[&str] = &[
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r#"[!#"$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
];
const SEED_CODER: &[&str] = &[
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
];
const MINICPM5: &[&str] = &[
    r"\p{N}{1,3}",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];
const PORO: &[&str] = &[r" ?[^(\s|.,!?…。，、।۔،)]+"];
const VIKING: &[&str] = &[r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}"];

impl Rules {
    fn new(cut: Cut) -> Rules {
        Rules { cut, compose: false, ignore_merges: false, add_bos: false }
    }

    fn whole_pieces(cut: Cut) -> Rules {
        Rules { ignore_merges: true, ..Rules::new(cut) }
    }

    /// Returns the rules with this name.
    pub(super) fn named(name: &str) -> Option<Rules> {
        use Cut::{Gpt2, Gpt2Digits, Patterns};
        Some(match name {
            "qwen2" | "deepseek-r1-qwen" | "f2llmv2" => {
                Rules { compose: true, ..Rules::new(Patterns(QWEN2)) }
            }
            "kormo" | "megrez" | "stablelm2" | "hunyuan" | "solar-open" => {
                Rules::new(Patterns(QWEN2))
            }
            "llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe" | "falcon3" | "falcon-h1"
            | "pixtral" | "midm-2.0" | "lfm2" => {
                Rules { add_bos: true, ..Rules::whole_pieces(Patterns(LLAMA3)) }
            }
            "dbrx" | "glm4" | "chatglm-bpe" => Rules::new(Patterns(LLAMA3)),
            "tekken" => Rules { add_bos: true, ..Rules::whole_pieces(Patterns(TEKKEN)) },
            "gpt-4o" | "llama4" => Rules::new(Patterns(GPT4O)),
            "deepseek-llm" => Rules::new(Patterns(DEEPSEEK_LLM)),
            "deepseek-coder" => Rules::new(Patterns(DEEPSEEK_CODER)),
            "deepseek-v3" | "hunyuan-dense" => Rules::new(Patterns(DEEPSEEK3)),
            "seed-coder" => Rules::new(Patterns(SEED_CODER)),
            "minicpm5" => Rules::whole_pieces(Patterns(MINICPM5)),
            "poro-chat" => Rules::new(Patterns(PORO)),
            "viking" => Rules::new(Patterns(VIKING)),
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone"
            | "minerva-7b" | "mellum2" => Rules::new(Gpt2Digits),
            "gpt-2" | "default" | "olmo" | "phi-2" | "mpt" | "jais" | "trillion"
            | "granite-docling" | "gigachat" | "a.x-4.0" | "mellum" => Rules::new(Gpt2),
            _ => return None,
        })
    }

    /// Returns the name of a file's rules, and a note if it gives none and neither its architecture nor its vocabulary
    /// shows which they are.
    pub(super) fn name<'a>(
        metadata: &'a GgufMetadata,
        tokens: &[&str],
    ) -> (&'a str, Option<String>) {
        // Converters that do not know the model write "default".
        let given = text(metadata, "tokenizer.ggml.pre").filter(|name| *name != "default");
        let architecture = text(metadata, "general.architecture").unwrap_or_default();
        let has = |token: &str| tokens.contains(&token);
        if let Some(name) = given {
            (name, None)
        } else if architecture.starts_with("qwen") {
            ("qwen2", None)
        } else if has("<|begin_of_text|>") || has("<|reserved_special_token_0|>") {
            ("llama-bpe", None)
        } else if has("[INST]") && has("[/INST]") {
            ("tekken", None)
        } else if has("<repo_name>") && has("<file_sep>") {
            ("smollm", None)
        } else {
            let note = "the GGUF file does not say how its tokenizer cuts text (tokenizer.ggml.pre): it is cut as for \
                        GPT-2, and answers are worse if the model was trained otherwise; convert the model again";
            ("gpt-2", Some(note.to_owned()))
        }
    }

    /// Returns what cuts text by these rules. The error comes from the regular expression library.
    pub(super) fn pre_tokenizer(&self) -> Result<PreTokenizerWrapper, String> {
        let bytes = |use_regex| PreTokenizerWrapper::from(ByteLevel::new(false, false, use_regex));
        let parts = match self.cut {
            Cut::Gpt2 => vec![bytes(true)],
            Cut::Gpt2Digits => vec![Digits::new(true).into(), bytes(true)],
            Cut::Patterns(patterns) => {
                let split = |pattern: &&str| {
                    let pattern = SplitPattern::Regex((*pattern).to_owned());
                    Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                        .map_err(|error| error.to_string())
                };
                let splits =
                    patterns.iter().map(|pattern| split(pattern).map(PreTokenizerWrapper::from));
                splits.chain([Ok(bytes(false))]).collect::<Result<_, _>>()?
            }
        };
        Ok(Sequence::new(parts).into())
    }
}
