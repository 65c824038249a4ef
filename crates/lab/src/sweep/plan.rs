//! What a sweep asks, and of which nodes. Nothing here runs.

use std::collections::BTreeMap;

use grading::dataset::Problem;
use runs::{DataFile, LogHeader};
use transport::RemoteConfig;

use super::{experiment::Experiment, terms::Terms};
use crate::link::{LinkProfile, Shaping};

/// What a sweep asks; validated.
#[derive(Debug)]
pub struct SweepPlan {
    /// The data set.
    pub data: DataFile,
    /// How many of its problems are asked, from the first; absent: all.
    pub limit: Option<u64>,
    /// The policies, in the order in which they are run.
    pub policies: Vec<PlannedPolicy>,
    /// The links to the large node.
    pub links: Vec<LinkProfile>,
    /// The seeds of all randomness, the models' and the links'.
    pub seeds: Vec<u64>,
    /// What makes the links slow.
    pub shaping: Shaping,
    /// Questions at a time.
    pub parallel: u16,
}

/// A policy of a sweep, with everything that its results depend on.
#[derive(Debug)]
pub struct PlannedPolicy {
    /// As it was written.
    pub name: String,
    /// The header for the logs of its cells, without their seeds.
    pub header: LogHeader,
    /// The policy whose share of the large model it takes, measured in the same sweep: its index among the policies,
    /// before this one.
    pub share_of: Option<usize>,
}

/// A pair of models to sweep over, as the addresses of its nodes.
#[derive(Debug)]
pub struct SweptPair {
    /// Its name, if it has one: then its results have their own folder.
    pub name: Option<String>,
    /// The small nodes, in order.
    pub small: Vec<RemoteConfig>,
    /// The large node, if a policy uses it.
    pub large: Option<RemoteConfig>,
}

impl SweepPlan {
    /// Returns the problems that are asked.
    pub(super) fn problems(&self) -> &[Problem] {
        self.data.problems(self.limit)
    }

    /// Returns whether any of the policies uses the large node.
    pub fn uses_large(&self) -> bool {
        self.policies.iter().any(|policy| policy.header.policy.kind().uses_large())
    }

    /// Returns the experiment for the folder of a pair with these models.
    pub(super) fn experiment(&self, pair: &SweptPair, models: Vec<String>) -> Experiment {
        let terms = |policy: &PlannedPolicy| {
            let share_of = policy.share_of.map(|of| self.policies[of].name.as_str());
            (policy.name.clone(), Terms::new(&policy.header, share_of))
        };
        let grader = self.policies.first().map(|policy| policy.header.grader.clone());
        Experiment {
            specthink_sweep: Experiment::VERSION,
            data_set: self.data.name.clone(),
            data_set_sha256: self.data.sha256.clone(),
            questions: self.problems().len() as u64,
            grader: grader.unwrap_or_default(),
            parallel: self.parallel,
            seeds: self.seeds.clone(),
            pair_name: pair.name.clone(),
            models,
            policy_order: self.policies.iter().map(|policy| policy.name.clone()).collect(),
            policies: self.policies.iter().map(terms).collect::<BTreeMap<_, _>>(),
            shaping: self.shaping,
            links: self.links.iter().map(|link| (link.name.clone(), link.to_string())).collect(),
        }
    }
}

impl SweptPair {
    /// Returns the text that follows a node's role in a message about it.
    pub(super) fn of(&self) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!(" of pair {name}"))
    }
}
