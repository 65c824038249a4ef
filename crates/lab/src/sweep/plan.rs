//! What a sweep is to ask, of whom. Nothing here runs.

use std::collections::BTreeMap;

use grading::dataset::Problem;
use runs::{DataFile, LogHeader};
use transport::RemoteConfig;

use super::{experiment::Experiment, terms::Terms};
use crate::link::{LinkProfile, Shaping};

/// What a sweep asks, checked.
#[derive(Debug)]
pub struct SweepPlan {
    /// The data set.
    pub data: DataFile,
    /// How many of its problems are asked, from the first on; absent: all.
    pub limit: Option<u64>,
    /// The policies, in the order in which they are asked.
    pub policies: Vec<PlannedPolicy>,
    /// The links to the large node.
    pub links: Vec<LinkProfile>,
    /// Where randomness starts from, the models' and the links'.
    pub seeds: Vec<u64>,
    /// What makes the links slow.
    pub shaping: Shaping,
    /// Questions at a time.
    pub parallel: u16,
}

/// A policy of a sweep, with all that its results depend on.
#[derive(Debug)]
pub struct PlannedPolicy {
    /// As it was written.
    pub name: String,
    /// What the logs of its cells begin with, but for their seeds.
    pub header: LogHeader,
    /// The policy whose share of the large model it takes, measured in the same sweep: its place among the policies,
    /// before this one.
    pub share_of: Option<usize>,
}

/// A pair of models to sweep over: how its nodes are reached.
#[derive(Debug)]
pub struct SweptPair {
    /// Its name, where it has one: then its results have a folder of their own.
    pub name: Option<String>,
    /// The small nodes, in order.
    pub small: Vec<RemoteConfig>,
    /// The large node, where a policy has a use for one.
    pub large: Option<RemoteConfig>,
}

impl SweepPlan {
    /// The problems that are asked.
    pub(super) fn problems(&self) -> &[Problem] {
        self.data.problems(self.limit)
    }

    /// Returns whether any of the policies has a use for the large node.
    pub fn uses_large(&self) -> bool {
        self.policies.iter().any(|policy| policy.header.policy.kind().uses_large())
    }

    /// What the folder of a pair with these models says of the sweep.
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
    /// What follows a node's part in a message about it.
    pub(super) fn of(&self) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!(" of pair {name}"))
    }
}
