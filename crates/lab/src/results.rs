//! The results of sweeps, read back from disk: finished or not, one folder or several of one data set.
//!
//! [`Results`] holds every cell with its rows; journals are read on request ([`CellResults::journal`]). Nothing is
//! dropped silently: whatever cannot be used is a [`SkippedResult`] with its reason. Figures and statistics are
//! elsewhere, and nothing here writes.

mod cell;
mod skipped;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use thinking::policy::PolicyKind;

use self::cell::{CellContents, CellPath};
pub use self::{
    cell::CellResults,
    skipped::{SkippedKind, SkippedResult},
};
use crate::{
    link::{LinkProfile, Links},
    sweep::{Experiment, SweepError, Terms},
};

/// The results of one or more sweeps over one data set.
#[derive(Debug, Default)]
pub struct Results {
    /// The sweeps, in the given order.
    pub sweeps: Vec<Sweep>,
    /// The policies, in the order of the first sweep that has them.
    pub policies: Vec<PolicyResults>,
    /// The links, the shortest round trip first.
    pub links: Vec<LinkProfile>,
    /// Every cell that has rows.
    pub cells: Vec<CellResults>,
    /// What could not be used, except journals, which are checked when they are read.
    pub skipped: Vec<SkippedResult>,
}

/// One sweep's folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// Where it is.
    pub folder: PathBuf,
    /// What the sweep ran.
    pub experiment: Experiment,
}

/// A policy with its parameters and settings.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyResults {
    /// Its given name, extended by the folder if several sweeps use the name for different things.
    pub label: String,
    /// The kind of policy.
    pub kind: PolicyKind,
    /// Policies with the same number ran with the same models under the same conditions.
    pub setting: usize,
}

impl Results {
    /// Reads the folders of one or more sweeps. A folder of folders, as written by a sweep of several pairs, means
    /// all sweeps in it.
    ///
    /// # Errors
    /// When one of them is not a sweep's folder, cannot be read, or is of another data set than the first.
    pub fn read(folders: &[PathBuf]) -> Result<Results, SweepError> {
        let mut sweeps: Vec<Sweep> = Vec::new();
        for folder in folders.iter().flat_map(|folder| sweeps_in(folder)) {
            let experiment = Experiment::read(&folder)?;
            if let Some(first) = sweeps.first()
                && first.experiment.data_set_sha256 != experiment.data_set_sha256
            {
                let (path, first) = (folder.clone(), first.folder.clone());
                return Err(SweepError::OtherDataSet { path, first });
            }
            sweeps.push(Sweep { folder, experiment });
        }
        let mut results = Results::default();
        let names = Names::new(&sweeps);
        for (index, sweep) in sweeps.iter().enumerate() {
            let why = |why: String| SweepError::NotResults { path: sweep.folder.clone(), why };
            results.add(index, &names).map_err(why)?;
        }
        results.links.sort_by(|a, b| (a.rtt, &a.name).cmp(&(b.rtt, &b.name)));
        results.sweeps = sweeps;
        Ok(results)
    }

    /// Returns the policy with a label.
    pub fn policy(&self, label: &str) -> Option<&PolicyResults> {
        self.policies.iter().find(|policy| policy.label == label)
    }

    /// Returns the setting of a cell: cells of one setting have the same models and conditions.
    pub fn setting(&self, cell: &CellResults) -> Option<usize> {
        self.policy(&cell.policy).map(|policy| policy.setting)
    }

    /// Returns all settings, each as the index of its first sweep.
    pub fn settings(&self) -> impl Iterator<Item = usize> {
        let all: BTreeSet<usize> = self.policies.iter().map(|policy| policy.setting).collect();
        all.into_iter()
    }

    /// Returns two sweeps whose links are shaped in different ways, if there are any.
    pub fn of_two_kinds(&self) -> Option<(&Sweep, &Sweep)> {
        let first = self.sweeps.first()?;
        let other = |sweep: &&Sweep| sweep.experiment.shaping != first.experiment.shaping;
        self.sweeps.iter().find(other).map(|other| (first, other))
    }

    fn add(&mut self, index: usize, names: &Names) -> Result<(), String> {
        let experiment = &names.sweeps[index].experiment;
        let links = self.add_links(index, names)?;
        for name in experiment.policies_in_order() {
            let terms = &experiment.policies[name];
            let (label, setting) = (names.policy(index, name), names.settings[index]);
            if self.policy(&label).is_none() {
                let (label, kind) = (label.clone(), terms.policy.spec.kind());
                self.policies.push(PolicyResults { label, kind, setting });
            }
            for (link_name, link) in &links {
                for &seed in &experiment.seeds {
                    let folder = &names.sweeps[index].folder;
                    let at = CellPath { folder, policy: name, link: link_name, seed };
                    self.add_cell(at, (&label, link), terms, experiment);
                }
            }
        }
        Ok(())
    }

    /// Adds the links of a sweep, by their names in its folder.
    fn add_links(
        &mut self,
        index: usize,
        names: &Names,
    ) -> Result<Vec<(String, LinkProfile)>, String> {
        let catalogue = Links::shipped().map_err(|why| why.to_string())?;
        let mut links = Vec::new();
        for (name, description) in &names.sweeps[index].experiment.links {
            let link = catalogue.link(description).map_err(|why| why.to_string())?;
            let link = LinkProfile { name: names.link(index, name), ..link };
            if !self.links.iter().any(|known| known.name == link.name) {
                self.links.push(link.clone());
            }
            links.push((name.clone(), link));
        }
        Ok(links)
    }

    fn add_cell(
        &mut self,
        at: CellPath<'_>,
        (policy, link): (&str, &LinkProfile),
        terms: &Terms,
        experiment: &Experiment,
    ) {
        let known = |cell: &&CellResults| {
            (cell.policy.as_str(), &cell.link.name, cell.seed) == (policy, &link.name, at.seed)
        };
        if let Some(first) = self.cells.iter().find(known) {
            let why = format!("the same cell as {}, which counts", first.folder.display());
            self.skipped.push(SkippedResult::new(SkippedKind::Cell, at.place(), why));
        } else if let Some(read) = at.read(terms, experiment, &mut self.skipped) {
            let CellContents { folder, header, rows, traffic } = read;
            self.cells.push(CellResults {
                policy: policy.to_owned(),
                link: link.clone(),
                seed: header.seed,
                folder,
                questions: experiment.questions,
                rows,
                traffic,
                header,
                place: at.place(),
            });
        }
    }
}

/// Returns the sweep's folder itself, or the folders of the sweeps in it, sorted by name.
fn sweeps_in(folder: &Path) -> Vec<PathBuf> {
    if Experiment::is_in(folder) {
        return vec![folder.to_owned()];
    }
    let inside = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut sweeps: Vec<PathBuf> = inside.filter(|path| Experiment::is_in(path)).collect();
    sweeps.sort();
    // Reading the folder then reports what is wrong with it.
    if sweeps.is_empty() { vec![folder.to_owned()] } else { sweeps }
}

/// Names of policies and links when several sweeps use one name for different things.
struct Names<'a> {
    sweeps: &'a [Sweep],
    /// For each sweep, the first one with the same pair, models and conditions.
    settings: Vec<usize>,
}

impl<'a> Names<'a> {
    fn new(sweeps: &'a [Sweep]) -> Self {
        let key = |sweep: &'a Sweep| {
            let Experiment { pair_name, models, grader, parallel, questions, .. } =
                &sweep.experiment;
            (pair_name, models, grader, parallel, questions)
        };
        let first = |sweep| sweeps.iter().position(|other| key(other) == key(sweep)).unwrap_or(0);
        Names { sweeps, settings: sweeps.iter().map(first).collect() }
    }

    fn policy(&self, index: usize, name: &str) -> String {
        self.label(
            name,
            |other| {
                let note = self.sweeps[other].experiment.policies.get(name)?;
                Some((self.settings[other], note))
            },
            index,
        )
    }

    fn link(&self, index: usize, name: &str) -> String {
        let meaning = |other: usize| {
            let Experiment { links, shaping, .. } = &self.sweeps[other].experiment;
            Some((links.get(name)?, shaping))
        };
        self.label(name, meaning, index)
    }

    /// Returns the name, extended by the first folder with the same meaning if others mean something else by it.
    fn label<T: PartialEq>(
        &self,
        name: &str,
        meaning: impl Fn(usize) -> Option<T>,
        index: usize,
    ) -> String {
        let ours = meaning(index);
        let all = || (0..self.sweeps.len()).filter(|other| meaning(*other).is_some());
        if all().all(|other| meaning(other) == ours) {
            return name.to_owned();
        }
        let first = all().find(|other| meaning(*other) == ours).unwrap_or(index);
        format!("{name} ({})", self.folder(first))
    }

    /// Returns a folder's name, or its path if another has the same name.
    fn folder(&self, index: usize) -> String {
        let short = |path: &Path| path.file_name().map(|name| name.display().to_string());
        let path = &self.sweeps[index].folder;
        let same = self.sweeps.iter().filter(|other| short(&other.folder) == short(path)).count();
        match short(path) {
            Some(name) if same == 1 => name,
            _ => path.display().to_string(),
        }
    }
}
