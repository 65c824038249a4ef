//! The folder of a sweep: which experiment it is of, and where each cell is.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Terms;
use crate::link::{LinkProfile, Links, Shaping};

/// The version of the folder's layout.
const VERSION: u32 = 1;
/// The experiment's file.
const NAME: &str = "sweep.toml";
/// The folder of the report, in that of a sweep or of several.
pub(crate) const REPORT: &str = "report";

/// Everything that the results of a sweep depend on, resolved.
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
    /// Who grades.
    pub grader: String,
    /// Questions at a time: they share the link and the nodes, so that it is part of what is measured.
    pub parallel: u16,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The pair's name, where it has one: the same models elsewhere are another pair.
    #[serde(rename = "pair", default, skip_serializing_if = "Option::is_none")]
    pub pair_name: Option<String>,
    /// The small nodes' models, and the large node's.
    pub models: Vec<String>,
    /// The policies' names in the order in which they were given; empty in folders of earlier programs.
    #[serde(default)]
    pub policy_order: Vec<String>,
    /// The policies by name: for each what its results depend on beside the seed. In the file as JSON.
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

    /// Whether a folder has one.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(NAME).exists()
    }

    /// The pair of models: by its name, where it has one, and theirs.
    pub fn pair(&self) -> String {
        let models = self.models.join(" + ");
        self.pair_name.as_ref().map_or_else(|| models.clone(), |name| format!("{name}: {models}"))
    }

    /// The policies' names, in the order in which they were given where that is known.
    pub fn policies_in_order(&self) -> Vec<&String> {
        let given = self.policy_order.iter();
        let given: Vec<&String> = given.filter(|name| self.policies.contains_key(*name)).collect();
        let others = self.policies.keys().filter(|name| !given.contains(name));
        given.iter().copied().chain(others).collect()
    }

    /// Reads the experiment of a folder that a sweep wrote or is writing; nothing is locked.
    ///
    /// # Errors
    /// When it cannot be read, or the folder is no sweep's.
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

    fn parse(text: &str) -> Result<Experiment, String> {
        toml::from_str(text).map_err(|why| {
            let why = why.message().split_whitespace().collect::<Vec<_>>().join(" ");
            format!("{NAME}: {why}")
        })
    }

    /// The same of another's pair.
    fn with_pair_of(&self, other: &Experiment) -> Experiment {
        let Experiment { pair_name, models, .. } = other.clone();
        Experiment { pair_name, models, ..self.clone() }
    }

    /// The first thing that another experiment has otherwise.
    fn difference(&self, other: &Experiment) -> Option<&'static str> {
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

/// A map whose values are texts of JSON: TOML has no null, and no table within a line.
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

/// Why a sweep's folder cannot be used. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Something cannot be read or written.
    #[error("cannot use {}: {why}; give --out a folder that can be read and written", path.display())]
    Files {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        why: io::Error,
    },
    /// The folder holds something else.
    #[error("{} holds no sweep: {why}; give --out an empty or a new folder", path.display())]
    NotASweep {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There are no results to read in the folder.
    #[error("{} holds no sweep: {why}; give a folder that `specthink-lab sweep` wrote", path.display())]
    NotResults {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Results of several data sets.
    #[error(
        "{} is of another data set than {}, so their answers cannot be compared: report on them one by one",
        path.display(),
        first.display()
    )]
    OtherDataSet {
        /// The folder.
        path: PathBuf,
        /// The one that it differs from.
        first: PathBuf,
    },
    /// The folder is another experiment's.
    #[error(
        "{} is of an experiment with another {what}: give --out another folder, or the settings that it began with",
        path.display()
    )]
    OtherExperiment {
        /// The folder.
        path: PathBuf,
        /// The first setting that differs.
        what: &'static str,
    },
    /// Another sweep writes it.
    #[error("another sweep is writing to {}: wait for it, or give --out another folder", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}

/// An open folder. No other sweep can have it open.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Folder {
    /// Begins the folder of an experiment, or goes on in it.
    ///
    /// # Errors
    /// When it cannot be used, or is of another experiment.
    pub fn open(path: &Path, experiment: &Experiment) -> Result<Folder, SweepError> {
        let files = |why| SweepError::Files { path: path.to_owned(), why };
        let not_a_sweep = |why: String| SweepError::NotASweep { path: path.to_owned(), why };
        fs::create_dir_all(path).map_err(files)?;
        let name = path.join(NAME);
        if !name.exists() && fs::read_dir(path).map_err(files)?.next().is_some() {
            return Err(not_a_sweep(format!("there are files, and no {NAME}")));
        }
        let mut options = File::options();
        options.read(true).append(true).create(true);
        let mut file = options.open(&name).map_err(files)?;
        file.try_lock().map_err(|why| match why {
            TryLockError::WouldBlock => SweepError::Locked { path: path.to_owned() },
            TryLockError::Error(why) => files(why),
        })?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(files)?;
        if text.is_empty() {
            let text = toml::to_string(experiment).map_err(|why| files(io::Error::other(why)))?;
            file.write_all(text.as_bytes()).map_err(files)?;
        } else {
            let found = Experiment::parse(&text).map_err(not_a_sweep)?;
            if let Some(what) = found.difference(experiment) {
                return Err(SweepError::OtherExperiment { path: path.to_owned(), what });
            }
        }
        Ok(Folder { path: path.to_owned(), _file: file })
    }

    /// Whether a folder can hold these pairs' folders: it is not there yet, or all that it holds
    /// are such folders of the same experiment, with these pairs or others, and their report.
    ///
    /// # Errors
    /// When it holds anything else, or cannot be read.
    pub fn of_pairs(path: &Path, pairs: &[Experiment]) -> Result<(), SweepError> {
        let files = |why| SweepError::Files { path: path.to_owned(), why };
        let not_pairs = |why: String| SweepError::NotASweep { path: path.to_owned(), why };
        let entries = match fs::read_dir(path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(files)?,
        };
        if Experiment::is_in(path) {
            return Err(not_pairs("it is a sweep's without --pair".to_owned()));
        }
        for entry in entries {
            let entry = entry.map_err(files)?.path();
            if entry.ends_with(REPORT) || !entry.is_dir() {
                continue;
            }
            if !Experiment::is_in(&entry) {
                return Err(not_pairs(format!("{} is no pair's", entry.display())));
            }
            let found = Experiment::read(&entry)?;
            let ours = pairs.iter().find(|pair| pair.pair_name == found.pair_name).cloned();
            let ours = ours.or_else(|| pairs.first().map(|pair| pair.with_pair_of(&found)));
            if let Some(what) = ours.and_then(|ours| found.difference(&ours)) {
                return Err(SweepError::OtherExperiment { path: entry, what });
            }
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a cell; made where it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn cell(&self, policy: &str, link: &str, seed: u64) -> Result<PathBuf, SweepError> {
        let path = cell_path(&self.path, policy, link, seed);
        let made = fs::create_dir_all(path.join("journals"));
        made.map_err(|why| SweepError::Files { path: path.clone(), why })?;
        Ok(path)
    }
}

/// Where the cell of a policy over a link with a seed is in a sweep's folder.
pub(crate) fn cell_path(folder: &Path, policy: &str, link: &str, seed: u64) -> PathBuf {
    folder.join(file_name(policy)).join(file_name(link)).join(format!("seed-{seed}"))
}

/// Where the journal of a question is in a cell's folder.
pub(crate) fn journal_path(cell: &Path, id: &str) -> PathBuf {
    cell.join("journals").join(format!("{}.jsonl", file_name(id)))
}

/// The link that a journal in a sweep's folder was recorded over; none where it is in no such folder.
pub(crate) fn link_of(journal: &Path) -> Option<LinkProfile> {
    let path = fs::canonicalize(journal).ok()?;
    // SWEEP/POLICY/LINK/seed-N/journals/ID.jsonl
    let (link, sweep) = (path.ancestors().nth(3)?.file_name()?, path.ancestors().nth(5)?);
    let links = Experiment::read(sweep).ok()?.links;
    let (name, description) = links.iter().find(|(name, _)| *file_name(name) == *link)?;
    let profile = Links::shipped().ok()?.link(description).ok()?;
    Some(LinkProfile { name: name.clone(), ..profile })
}

/// A text as a file's name: what is neither a letter, a digit nor one of `-_.=,` is written as its bytes in hex after
/// a percent sign. Different texts give different names.
pub fn file_name(text: &str) -> String {
    let mut name = String::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            // A name that begins with a dot is hidden, or a folder's own.
            b'.' if at == 0 => name.push_str("%2e"),
            b'-' | b'_' | b'.' | b'=' | b',' => name.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => {
                let _ = write!(name, "%{byte:02x}");
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn any_text_is_a_name_and_no_two_are_the_same() {
        assert_eq!(file_name("random:share=0.3"), "random%3ashare=0.3");
        assert_eq!(file_name("test/algebra/1.json"), "test%2falgebra%2f1.json");
        assert_eq!(file_name(".."), "%2e.");
        assert_ne!(file_name("a%2f"), file_name("a/"));
    }
}
