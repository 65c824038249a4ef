//! Speeds by name: machines and models that ship, those in a user's file, and measured pairs of both.

use std::{fmt, fs, path::Path};

use serde::Deserialize;
use thinking::names::difference;

use crate::{
    curve::{DecodeFigure, SpeedCurve, SpeedFigures, toml_fault},
    error::{Gigabytes, MachineError},
    roofline::{self, Machine, ModelShape},
};

/// The catalogue that ships.
const SHIPPED: &str = include_str!("../machines.toml");
/// A name this far away is still worth a suggestion.
const NEAR: usize = 3;

/// Machines, models and measured speeds, each by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Machines {
    machines: Vec<Machine>,
    models: Vec<ModelShape>,
    measured: Vec<Measured>,
}

/// How fast a machine computes a model, and how that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Speeds {
    /// `MACHINE:MODEL`, or the file's path.
    pub name: String,
    /// The curve.
    pub curve: SpeedCurve,
    /// How it is known.
    pub kind: SpeedsKind,
    /// Where the figures come from.
    pub basis: String,
}

/// How speeds are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeedsKind {
    /// They were measured.
    Measured,
    /// They are estimated from data sheets.
    Estimated,
    /// They are those of a user's file.
    File,
}

impl fmt::Display for SpeedsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SpeedsKind::Measured => "measured",
            SpeedsKind::Estimated => "estimated",
            SpeedsKind::File => "from a file",
        })
    }
}

/// Measured speeds of a model on a machine.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    machine: String,
    model: String,
    prefill_tokens_per_s: f64,
    prefill_chunk_tokens: u32,
    decode: Vec<DecodeFigure>,
    basis: String,
}

impl Measured {
    fn curve(&self) -> Result<SpeedCurve, String> {
        SpeedCurve::checked(&SpeedFigures {
            prefill_tokens_per_s: self.prefill_tokens_per_s,
            prefill_chunk_tokens: self.prefill_chunk_tokens,
            decode: self.decode.clone(),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    machine: Vec<Machine>,
    #[serde(default)]
    model: Vec<ModelShape>,
    #[serde(default)]
    measured: Vec<Measured>,
}

impl Machines {
    /// The catalogue that ships.
    ///
    /// # Errors
    /// Never with the file as it ships; a test reads it.
    pub fn shipped() -> Result<Self, MachineError> {
        Machines::parse("machines.toml", SHIPPED)
    }

    /// Reads a catalogue from a file.
    ///
    /// # Errors
    /// When it cannot be read, and as [`Machines::parse`].
    pub fn read(path: &Path) -> Result<Self, MachineError> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|why| MachineError::File { path: shown.clone(), why: why.to_string() })?;
        Machines::parse(&shown, &text)
    }

    /// Reads a catalogue from a file's text. `path` is for messages.
    ///
    /// # Errors
    /// When it is no catalogue, or a figure in it makes no sense.
    pub fn parse(path: &str, text: &str) -> Result<Self, MachineError> {
        let bad = |why: String| MachineError::File { path: path.to_owned(), why };
        let File { machine, model, measured } = toml::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|error| bad(toml_fault(&error)))?;
        for Machine { name, memory_gb, bandwidth_gb_per_s, tflops, overhead_ms, .. } in &machine {
            positive(name, &[*memory_gb, *bandwidth_gb_per_s, *tflops]).map_err(bad)?;
            if !(overhead_ms.is_finite() && *overhead_ms >= 0.0) {
                let why = format!("{name}: overhead_ms is {overhead_ms}, and must be 0 or more");
                return Err(bad(why));
            }
            if name.is_empty() || name.contains(':') {
                return Err(bad(format!(
                    "a machine cannot be called {name:?}: leave out the colon"
                )));
            }
        }
        for ModelShape { name, parameters_b, read_gb, weights_gb, .. } in &model {
            positive(name, &[*parameters_b, *read_gb, *weights_gb]).map_err(bad)?;
        }
        for pair in &measured {
            let fault = |why| bad(format!("{}:{}: {why}", pair.machine, pair.model));
            pair.curve().map_err(fault)?;
        }
        Ok(Machines { machines: machine, models: model, measured })
    }

    /// This catalogue and another one, whose entries replace those of the same name here.
    #[must_use]
    pub fn and(mut self, other: Machines) -> Self {
        replace(&mut self.machines, other.machines, |machine| machine.name.clone());
        replace(&mut self.models, other.models, |model| model.name.clone());
        replace(&mut self.measured, other.measured, |pair| {
            (pair.machine.clone(), pair.model.clone())
        });
        self
    }

    /// The speeds of a name, `MACHINE:MODEL`, or of a file of speeds, whose path ends in `.toml`. A measured pair
    /// comes before an estimate.
    ///
    /// # Errors
    /// When nothing has that name, the file cannot be used, or the model does not fit the machine.
    pub fn speeds(&self, name: &str) -> Result<Speeds, MachineError> {
        if name.ends_with(".toml") {
            let curve = SpeedCurve::read(Path::new(name))?;
            let basis = "a file of speeds".to_owned();
            return Ok(Speeds { name: name.to_owned(), curve, kind: SpeedsKind::File, basis });
        }
        let Some((machine, model)) = name.split_once(':') else {
            return Err(MachineError::NotSpeeds { name: name.to_owned() });
        };
        let (machine, model) = (machine.trim(), model.trim());
        if let Some(pair) =
            self.measured.iter().find(|pair| pair.machine == machine && pair.model == model)
        {
            let bad = |why| MachineError::File { path: "machines.toml".to_owned(), why };
            let curve = pair.curve().map_err(bad)?;
            let basis = pair.basis.clone();
            return Ok(Speeds { name: name.to_owned(), curve, kind: SpeedsKind::Measured, basis });
        }
        let Some(described) = self.machines.iter().find(|known| known.name == machine) else {
            return Err(self.not_described(machine, model));
        };
        let Some(model) = self.models.iter().find(|known| known.name == model) else {
            return Err(unknown("model", model, self.models.iter().map(|model| &model.name)));
        };
        let (fits, needs_gb) = roofline::needs_gb(described, model);
        if !fits {
            return Err(MachineError::DoesNotFit {
                machine: described.name.clone(),
                model: model.name.clone(),
                needs_gb: Gigabytes(needs_gb),
                has_gb: Gigabytes(described.memory_gb),
            });
        }
        let basis = format!("{}; {}", described.basis, model.basis);
        let bad = |why| MachineError::File { path: name.to_owned(), why };
        let curve = roofline::curve(described, model).map_err(bad)?;
        Ok(Speeds { name: name.to_owned(), curve, kind: SpeedsKind::Estimated, basis })
    }

    /// All pairs that have speeds, measured ones first.
    pub fn all(&self) -> Vec<Speeds> {
        let pairs = self.measured.iter().map(|pair| (&pair.machine, &pair.model));
        let is_measured = |machine: &str, model: &str| {
            self.measured.iter().any(|pair| pair.machine == machine && pair.model == model)
        };
        let described = self
            .machines
            .iter()
            .flat_map(|machine| self.models.iter().map(move |model| (&machine.name, &model.name)));
        let described = described.filter(|(machine, model)| !is_measured(machine, model));
        let names = pairs.chain(described).map(|(machine, model)| format!("{machine}:{model}"));
        names.filter_map(|name| self.speeds(&name).ok()).collect()
    }

    /// Where the figures come from: of every machine, every model and every measured pair, by its name.
    pub fn sources(&self) -> Vec<(String, &str)> {
        let machines = self.machines.iter().map(|it| (it.name.clone(), it.basis.as_str()));
        let models = self.models.iter().map(|it| (it.name.clone(), it.basis.as_str()));
        let pair = |it: &Measured| format!("{}:{}", it.machine, it.model);
        let measured = self.measured.iter().map(|it| (pair(it), it.basis.as_str()));
        measured.chain(machines).chain(models).collect()
    }

    /// Why a machine without a description has no speeds for a model.
    fn not_described(&self, machine: &str, model: &str) -> MachineError {
        let models: Vec<&str> = self
            .measured
            .iter()
            .filter(|pair| pair.machine == machine)
            .map(|pair| pair.model.as_str())
            .collect();
        if models.is_empty() {
            let measured = self.measured.iter().map(|pair| &pair.machine);
            let names = self.machines.iter().map(|machine| &machine.name).chain(measured);
            return unknown("machine", machine, names);
        }
        MachineError::NotMeasured {
            machine: machine.to_owned(),
            model: model.to_owned(),
            models: models.join(", "),
        }
    }
}

fn unknown<'a>(
    kind: &'static str,
    name: &str,
    names: impl Iterator<Item = &'a String>,
) -> MachineError {
    let nearest = names.map(|known| (difference(known, name), known)).min();
    let near = match nearest {
        Some((distance, known)) if distance <= NEAR => format!(" (did you mean {known:?}?)"),
        _ => String::new(),
    };
    MachineError::Unknown { kind, name: name.to_owned(), near }
}

fn positive(name: &str, values: &[f64]) -> Result<(), String> {
    match values.iter().find(|value| !(value.is_finite() && **value > 0.0)) {
        Some(value) => Err(format!("{name} has a figure of {value}, and it must be above 0")),
        None => Ok(()),
    }
}

/// Puts entries in the place of those that have the same key, and others at the end.
fn replace<T, K: PartialEq>(entries: &mut Vec<T>, others: Vec<T>, key: impl Fn(&T) -> K) {
    for other in others {
        match entries.iter_mut().find(|entry| key(entry) == key(&other)) {
            Some(entry) => *entry = other,
            None => entries.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Machines {
        Machines::shipped().unwrap()
    }

    fn decode(name: &str) -> f64 {
        1.0 / shipped().speeds(name).unwrap().curve.step_s(1)
    }

    #[test]
    fn estimates_are_near_published_decode_speeds() {
        // The share of the bandwidth and the overhead are fitted to Qwen's speed benchmark (vLLM 0.6.3, A100 80 GB,
        // input of one token). Nothing is fitted to the 72B on two H100 and the 7B on a laptop's RTX 4060.
        // docs/machines.md has the sources.
        let published = [
            ("a100-80gb:0.5b-bf16", 311.55),
            ("a100-80gb:1.5b-bf16", 183.33),
            ("a100-80gb:14b-bf16", 46.30),
            ("a100-80gb:32b-bf16", 22.13),
            ("rtx-4060-laptop:7b-q4", 48.7),
            ("2x-h100:72b-bf16", 32.37),
        ];
        for (name, tokens_per_s) in published {
            let ratio = decode(name) / tokens_per_s;
            assert!((0.85..1.15).contains(&ratio), "{name}: {ratio:.3}");
        }
    }

    #[test]
    fn every_shipped_pair_is_either_usable_or_too_large() {
        let machines = shipped();
        assert!(machines.all().len() > 30);
        for machine in &machines.machines {
            for model in &machines.models {
                let name = format!("{}:{}", machine.name, model.name);
                match machines.speeds(&name) {
                    Ok(speeds) => assert!(speeds.curve.step_s(1) > 0.0, "{name}"),
                    Err(why) => assert!(matches!(why, MachineError::DoesNotFit { .. }), "{why}"),
                }
            }
        }
    }

    #[test]
    fn a_measured_pair_comes_before_an_estimate() {
        let own = "[[measured]]\nmachine = \"h200\"\nmodel = \"32b-bf16\"\nprefill_tokens_per_s = 5000\n\
                   prefill_chunk_tokens = 512\nbasis = \"ours\"\n\
                   decode = [{ sessions = 1, tokens_per_s = 40 }, { sessions = 8, tokens_per_s = 300 }]\n";
        let machines = shipped().and(Machines::parse("own.toml", own).unwrap());
        let speeds = machines.speeds("h200:32b-bf16").unwrap();
        assert_eq!((speeds.kind, speeds.curve.step_s(1)), (SpeedsKind::Measured, 1.0 / 40.0));
        assert_eq!(machines.speeds("h200:14b-bf16").unwrap().kind, SpeedsKind::Estimated);
    }

    #[test]
    fn a_name_without_speeds_is_one_line_with_a_way_on() {
        let table = [
            ("h200", "give MACHINE:MODEL"),
            ("h20:32b-bf16", "did you mean \"h200\"?"),
            ("h200:32b-fp16", "did you mean \"32b-bf16\"?"),
            ("rtx-4090:32b-bf16", "32b-bf16 needs 67.0 GB"),
            ("epyc-2-cores:32b-q4", "was measured with"),
            ("no-such-file.toml", "cannot use the speeds no-such-file.toml"),
        ];
        for (name, fault) in table {
            let line = shipped().speeds(name).unwrap_err().to_string();
            assert!(line.contains(fault), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }

    #[test]
    fn a_bad_catalogue_is_one_line_with_its_fault() {
        let table = [
            ("[[machine]]\nname = \"x\"\n", "missing field"),
            ("[[box]]\n", "unknown field `box`"),
            (
                "[[model]]\nname = \"m\"\nparameters_b = 0\nread_gb = 1\nweights_gb = 1\nbasis = \"\"\n",
                "m has a figure of 0",
            ),
            (
                "[[measured]]\nmachine = \"x\"\nmodel = \"m\"\nprefill_tokens_per_s = 1\nprefill_chunk_tokens = 1\n\
                 basis = \"\"\ndecode = []\n",
                "x:m: it has 0 [[decode]]",
            ),
        ];
        for (text, fault) in table {
            let line = Machines::parse("own.toml", text).unwrap_err().to_string();
            assert!(line.contains("own.toml") && line.contains(fault), "{line}");
        }
    }
}
