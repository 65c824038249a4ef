//! Speeds that cannot be used, and why.

/// Why speeds cannot be used. Each is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// A file cannot be read, or what it holds makes no sense.
    #[error("cannot use the speeds {path}: {why}; docs/machines.md shows such a file")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not a file of speeds and not `MACHINE:MODEL`.
    #[error(
        "{name:?} names no speeds: give MACHINE:MODEL, such as h200:32b-bf16, or a file of speeds \
         that ends in .toml; `specthink-lab machines` lists the names"
    )]
    NotSpeeds {
        /// What was given.
        name: String,
    },
    /// No machine or model has this name.
    #[error("there is no {kind} {name:?}{near}; `specthink-lab machines` lists them")]
    Unknown {
        /// `machine` or `model`.
        kind: &'static str,
        /// What was given.
        name: String,
        /// A suggestion, or nothing.
        near: String,
    },
    /// A machine whose model has no measured speeds, and whose hardware is not described.
    #[error(
        "{machine} was measured with {models} only, and its hardware is not described, so nothing can be estimated for \
         {model}; choose one of these models, or give a file of speeds"
    )]
    NotMeasured {
        /// The machine.
        machine: String,
        /// The model that was asked for.
        model: String,
        /// The models that it was measured with.
        models: String,
    },
    /// The model's weights do not fit into the machine's memory.
    #[error(
        "{model} needs {needs_gb:.1} GB for its weights and room for caches, and {machine} has {has_gb:.0} GB; \
         choose a smaller model or another quantisation"
    )]
    DoesNotFit {
        /// The machine.
        machine: String,
        /// The model.
        model: String,
        /// Weights, and a sixteenth of the memory for everything else, in GB.
        needs_gb: Gigabytes,
        /// The machine's memory in GB.
        has_gb: Gigabytes,
    },
}

/// A size for messages, in GB. Compared by its bits.
#[derive(Debug, Clone, Copy)]
pub struct Gigabytes(pub f64);

impl PartialEq for Gigabytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Gigabytes {}

impl std::fmt::Display for Gigabytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
