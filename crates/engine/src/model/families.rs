//! Families that our own decoder does not compute: those that candle-transformers computes instead, and those that are
//! refused by name, with the reason. Our own are in `architecture`.

use std::path::Path;

use crate::error::LoadError;

use super::architecture::Architecture;

/// A family that candle-transformers computes, one sequence at a time, from safetensors (`single`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SingleFamily {
    /// Gemma 2: capped logits.
    Gemma2,
    /// StarCoder2: layer norms, and feed-forward layers without a gate.
    StarCoder2,
}

/// A family that is refused.
struct Refused {
    /// Its names in GGUF files and config.json.
    names: &'static [&'static str],
    /// Why, and what to use instead.
    why: &'static str,
}

const REFUSED: &[Refused] = &[
    Refused {
        names: &["gemma2", "starcoder2"],
        why: "it is served from safetensors only; load a folder of safetensors",
    },
    Refused {
        names: &["PhiForCausalLM", "phi", "phi2"],
        why: "after a prompt, candle-transformers' model of it takes one token at a time only; use Phi-3 or Phi-4",
    },
    Refused {
        names: &["Lfm2ForCausalLM", "lfm2"],
        why: "after a prompt, candle-transformers' model of it takes one token at a time only; use another family",
    },
    Refused {
        names: &["Qwen2MoeForCausalLM", "qwen2_moe", "qwen2moe"],
        why: "candle-transformers' model of it gives wrong logits for more than one token at a time; use qwen3moe",
    },
    Refused {
        names: &["GraniteForCausalLM", "granite"],
        why: "candle-transformers' model of it leaves out the factors that the family scales by; use another family",
    },
];

impl SingleFamily {
    const ALL: [SingleFamily; 2] = [SingleFamily::Gemma2, SingleFamily::StarCoder2];

    /// Returns its `model_type` in config.json, which is also the family's name in cards.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SingleFamily::Gemma2 => "gemma2",
            SingleFamily::StarCoder2 => "starcoder2",
        }
    }

    /// Returns the class that a config.json names.
    fn class(self) -> &'static str {
        match self {
            SingleFamily::Gemma2 => "Gemma2ForCausalLM",
            SingleFamily::StarCoder2 => "Starcoder2ForCausalLM",
        }
    }

    /// Returns the family of a class that a config.json names, or else of its `model_type`.
    pub(crate) fn of_config(class: Option<&str>, model_type: Option<&str>) -> Option<Self> {
        Self::ALL.into_iter().find(|it| match class {
            Some(class) => it.class() == class,
            None => Some(it.name()) == model_type,
        })
    }
}

/// Returns the names of all families that are served from safetensors, as messages list them.
pub(crate) fn names() -> String {
    let single = SingleFamily::ALL.map(SingleFamily::name).join(", ");
    format!("{}, {single}", Architecture::names())
}

/// Returns the error for a model of a family that is not served.
pub(crate) fn unknown(path: &Path, found: &str, known: &str) -> LoadError {
    let (path, found) = (path.to_owned(), found.to_owned());
    match REFUSED.iter().find(|it| it.names.contains(&found.as_str())) {
        Some(Refused { why, .. }) => LoadError::Family { path, found, why },
        None => LoadError::Architecture { path, found, known: known.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_computed_in_one_way_or_refused() {
        for it in SingleFamily::ALL {
            assert_eq!(SingleFamily::of_config(Some(it.class()), Some("other")), Some(it));
            assert_eq!(SingleFamily::of_config(None, Some(it.name())), Some(it));
            assert_eq!(Architecture::of_config(Some(it.class()), None), None);
            assert_eq!(Architecture::of_gguf(it.name()), None);
        }
        for name in REFUSED.iter().flat_map(|it| it.names) {
            assert_eq!(Architecture::of_gguf(name), None, "{name}");
            assert_eq!(Architecture::of_config(Some(name), Some(name)), None, "{name}");
            assert_eq!(SingleFamily::of_config(Some(name), None), None, "{name}");
        }
    }
}
