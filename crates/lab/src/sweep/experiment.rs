//! A sweep's experiment, as recorded in its folder. The paths of its cells are in `folder`.

use std::{collections::BTreeMap, fs, io, path::Path};

use runs::{LogHeader, log};
use serde::{Deserialize, Serialize};

use super::{error::SweepError, terms::Terms};
use crate::link::Shaping;

/// The version of the folder's layout.
const VERSION: u32 = 1;
/// The experiment's file.
pub(super) const NAME: &str = "sweep.toml";

/// Everything that the results of a sweep depend on, with defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// The layout's version.
    pub specthink_sweep: u32,
    /// The data set's file name.
    pub data_set: String,
    /// SHA-256 of the data set's file, in hex.
    pub data_set_sha256: String,
    /// How many questions are asked.
    pub questions: u64,
    /// The grader.
    pub grader: String,
    /// Questions at a time. They share the link and the nodes, so this is part of what is measured.
    pub parallel: u16,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The pair's name, if it has one: the same models elsewhere are another pair.
    #[serde(rename = "pair", default, skip_serializing_if = "Option::is_none")]
    pub pair_name: Option<String>,
    /// The small nodes' models, and the large node's.
    pub models: Vec<String>,
    /// The policies' names in the given order; empty in folders of earlier programs.
    #[serde(default)]
    pub policy_order: Vec<String>,
    /// The policies by name, each with everything that its results depend on besides the seed. Stored as JSON.
    #[serde(with = "json_texts")]
    pub policies: BTreeMap<String, Terms>,
    /// What made the links slow.
    #[serde(default)]
    pub shaping: Shaping,
    /// The links by name, as descriptions.
    pub links: BTreeMap<String, String>,
}

impl Experiment {
    /// The version that this program writes.
    pub const VERSION: u32 = VERSION;

    /// Returns the header for the log of a cell with these terms and this seed, with the policy's share if known.
    pub(crate) fn header(&self, terms: &Terms, seed: u64) -> LogHeader {
        LogHeader {
            specthink_eval: log::VERSION,
            data_set: self.data_set.clone(),
            data_set_sha256: self.data_set_sha256.clone(),
            policy: terms.policy.spec.clone(),
            sampling: terms.sampling,
            seed,
            max_tokens: terms.max_tokens,
            deadline_ms: terms.deadline_ms,
            system: terms.system.clone(),
            settings: terms.settings,
            grader: self.grader.clone(),
        }
    }

    /// Returns whether a folder has an experiment.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(NAME).exists()
    }

    /// Returns the pair of models: its name, if it has one, and the models' names.
    pub fn pair(&self) -> String {
        let models = self.models.join(" + ");
        self.pair_name.as_ref().map_or_else(|| models.clone(), |name| format!("{name}: {models}"))
    }

    /// Returns the policies' names, in the given order if that is known.
    pub fn policies_in_order(&self) -> Vec<&String> {
        let given = self.policy_order.iter();
        let given: Vec<&String> = given.filter(|name| self.policies.contains_key(*name)).collect();
        let others = self.policies.keys().filter(|name| !given.contains(name));
        given.iter().copied().chain(others).collect()
    }

    /// Reads the experiment of a folder that a sweep wrote or is writing. Does not lock the folder.
    ///
    /// # Errors
    /// When it cannot be read, or the folder is not a sweep's.
    pub fn read(folder: &Path) -> Result<Experiment, SweepError> {
        let not_results = |why: String| SweepError::NotResults { path: folder.to_owned(), why };
        let text = fs::read_to_string(folder.join(NAME)).map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => not_results(format!("there is no {NAME}")),
            _ => not_results(format!("{NAME}: {why}")),
        })?;
        let found = Experiment::parse(&text).map_err(not_results)?;
        if found.specthink_sweep != VERSION {
            let found = found.specthink_sweep;
            return Err(not_results(format!("its layout has version {found}, not {VERSION}")));
        }
        Ok(found)
    }

    pub(super) fn parse(text: &str) -> Result<Experiment, String> {
        toml::from_str(text).map_err(|why| {
            let why = why.message().split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{NAME}: {why}")
        })
    }

    /// Returns the same experiment with another one's pair.
    pub(super) fn with_pair_of(&self, other: &Experiment) -> Experiment {
        let Experiment { pair_name, models, .. } = other.clone();
        Experiment { pair_name, models, ..self.clone() }
    }

    /// Returns the first setting in which another experiment differs.
    pub(super) fn difference(&self, other: &Experiment) -> Option<&'static str> {
        let differences = [
            ("layout", self.specthink_sweep != other.specthink_sweep),
            ("data set", self.data_set_sha256 != other.data_set_sha256),
            ("--limit", self.questions != other.questions),
            ("--grader", self.grader != other.grader),
            ("--parallel", self.parallel != other.parallel),
            ("--seed", self.seeds != other.seeds),
            ("--pair", self.pair_name != other.pair_name),
            ("model", self.models != other.models),
            ("policy, or setting of the answers", self.policies != other.policies),
            ("kind of link: with or without --netem", self.shaping != other.shaping),
            ("link", self.links != other.links),
        ];
        differences.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what)
    }
}

/// A map whose values are JSON texts: TOML has no null, and no table within a line.
mod json_texts {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    use super::Terms;

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<String, Terms>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = |(name, terms)| serde_json::to_string(terms).map(|text| (name, text));
        let texts: Result<BTreeMap<&String, String>, _> = map.iter().map(text).collect();
        texts.map_err(ser::Error::custom)?.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Terms>, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        let terms = |(name, text): (String, String)| match serde_json::from_str(&text) {
            Ok(terms) => Ok((name, terms)),
            Err(why) => Err(de::Error::custom(format!("policy {name}: {why}"))),
        };
        texts.into_iter().map(terms).collect()
    }
}
