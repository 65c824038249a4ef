//! Chooses a policy for a link, from sweeps: measured if the link was swept, replayed from loopback if not.
//!
//! Pure, except for reading journals. The sweeps themselves, price files and the wording of the answer (the command
//! `specthink-lab`) are elsewhere.

use std::{collections::BTreeSet, fmt, str::FromStr};

use answer::{account::TimeSplit, prices::Prices};
use grading::quantile::quantile;
use runs::Graded;
use thinking::policy;

use crate::{
    link::LinkProfile,
    replay::{Conditions, NodeSpeeds, RecordedOver, Recording, replay},
    results::{CellResults, PolicyResults, Results},
    stats::{self, Estimate},
};

/// A condition that a policy must meet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlanTarget {
    /// At least this fraction of the answers is right.
    Accuracy(f64),
    /// A review makes at most this many corrections per answer, on average.
    Corrections(f64),
    /// A bound on the answers: shares and costs on average, latencies at p95.
    Answers(policy::Target),
}

/// A target that cannot be parsed. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "target {0:?}: write accuracy>=80%, corrections<=2, share<=10%, latency<=8s or cost<=0.002, with a number from 0 on"
)]
pub struct BadPlanTarget(String);

impl FromStr for PlanTarget {
    type Err = BadPlanTarget;

    fn from_str(text: &str) -> Result<PlanTarget, BadPlanTarget> {
        let bad = || BadPlanTarget(text.to_owned());
        if let Some((what, value)) = text.split_once(">=") {
            let share = policy::parse_share(value.trim()).filter(|_| what.trim() == "accuracy");
            return share.map(PlanTarget::Accuracy).ok_or_else(bad);
        }
        match text.split_once("<=") {
            Some((what, value)) if what.trim() == "corrections" => {
                let most = value.trim().parse().ok();
                let most = most.filter(|most: &f64| most.is_finite() && *most >= 0.0);
                most.map(PlanTarget::Corrections).ok_or_else(bad)
            }
            _ => text.parse().map(PlanTarget::Answers).map_err(|_| bad()),
        }
    }
}

impl fmt::Display for PlanTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanTarget::Accuracy(share) => write!(f, "accuracy>={}%", (share * 1e8).round() / 1e6),
            PlanTarget::Corrections(most) => write!(f, "corrections<={most}"),
            PlanTarget::Answers(target) => target.fmt(f),
        }
    }
}

/// What to expect of a policy over the link.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The policy's label, with its parameters.
    pub policy: String,
    /// The pair of models.
    pub pair: String,
    /// The number of answers behind the figures.
    pub answers: usize,
    /// Right answers of graded ones, with Wilson's interval.
    pub accuracy: Estimate,
    /// The large model's fraction of all tokens, from 0 to 1.
    pub share: f64,
    /// Corrections of a review per answer.
    pub corrections: f64,
    /// The median wall time of an answer, in seconds.
    pub latency_median_s: f64,
    /// The 95th percentile, in seconds.
    pub latency_p95_s: f64,
    /// Mean cost of an answer's tokens, in the prices' currency.
    pub cost: f64,
    /// How many clients that ask without a pause keep one large node busy if it serves one stretch at a time; absent if
    /// the large node takes no part.
    pub clients: Option<f64>,
    /// Where the figures come from.
    pub source: Source,
}

/// Where a candidate's figures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The link itself was swept.
    Measured,
    /// The answers were recorded over another link, which has no limits, and re-timed.
    Replayed {
        /// The link that they were recorded over.
        recorded_over: String,
        /// Answers left out because they would have diverged over the link.
        diverged: usize,
        /// Answers left out because their journals cannot be used, with the reason for the first.
        unusable: Option<(usize, String)>,
    },
}

/// A policy about which nothing is known over the link, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The policy's label.
    pub policy: String,
    /// The pair of models.
    pub pair: String,
    /// The reason.
    pub why: String,
}

/// Returns what is known about every policy in the results over a link. If a node has speeds of its own, nothing was
/// measured, and answers over loopback are re-timed.
pub fn candidates(
    results: &Results,
    link: &LinkProfile,
    speeds: &NodeSpeeds,
    prices: &Prices,
) -> (Vec<Candidate>, Vec<Unknown>) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for policy in &results.policies {
        let cells = |wanted: &dyn Fn(&LinkProfile) -> bool| -> Vec<&CellResults> {
            let cells = results.cells.iter().filter(|cell| cell.policy == policy.label);
            cells.filter(|cell| wanted(&cell.link)).collect()
        };
        let measured = cells(&|other| other.to_string() == link.to_string());
        let looked = if measured.is_empty() || *speeds != NodeSpeeds::default() {
            replayed(&cells(&LinkProfile::is_unlimited), link, speeds)
        } else {
            let answers = measured.iter().flat_map(|cell| cell.graded());
            Ok((answers.map(|graded| (graded, graded.summary.time)).collect(), Source::Measured))
        };
        match looked {
            Ok((answers, source)) => {
                known.push(candidate(results, policy, &answers, source, prices))
            }
            Err(why) => {
                let (pair, policy) = (pair(results, policy), policy.label.clone());
                unknown.push(Unknown { policy, pair, why });
            }
        }
    }
    (known, unknown)
}

/// An answer and where its time went, as measured or re-timed.
type Timed<'a> = (&'a Graded, TimeSplit);

/// Re-times all answers of cells over an unlimited link to another link.
fn replayed<'a>(
    cells: &[&'a CellResults],
    link: &LinkProfile,
    speeds: &NodeSpeeds,
) -> Result<(Vec<Timed<'a>>, Source), String> {
    let first = cells.first().ok_or(if *speeds == NodeSpeeds::default() {
        "it was swept neither over this link nor over loopback"
    } else {
        "it was not swept over loopback, and only such answers are re-timed on other machines"
    })?;
    let (mut diverged, mut unusable) = (0, None);
    let mut answers = Vec::new();
    for cell in cells {
        for graded in cell.graded() {
            let journal = match cell.journal(graded) {
                Ok(journal) => journal,
                Err(skipped) => {
                    unusable.get_or_insert_with(|| (0, skipped.to_string())).0 += 1;
                    continue;
                }
            };
            let timed = Recording::new(&journal, RecordedOver::Loopback)
                .and_then(|recording| recording.at(speeds))
                .and_then(|recording| {
                    replay(&recording, &Conditions::over(link.clone(), cell.seed))
                });
            let timed = timed.map_err(|why| format!("it cannot be replayed: {why}"))?;
            if timed.diverged.is_some() {
                diverged += 1;
                continue;
            }
            answers.push((graded, timed.time));
        }
    }
    if answers.is_empty() && diverged > 0 {
        let why = "over this link every answer would have diverged from its recording";
        return Err(why.to_owned());
    }
    if answers.is_empty() {
        return Err(unusable.map_or_else(|| "nothing was graded".to_owned(), |(_, why)| why));
    }
    Ok((answers, Source::Replayed { recorded_over: first.link.name.clone(), diverged, unusable }))
}

/// Returns the pair of models with which a policy ran.
fn pair(results: &Results, policy: &PolicyResults) -> String {
    let sweep = results.sweeps.get(policy.setting);
    sweep.map(|sweep| sweep.experiment.pair()).unwrap_or_default()
}

fn candidate(
    results: &Results,
    policy: &PolicyResults,
    answers: &[Timed<'_>],
    source: Source,
    prices: &Prices,
) -> Candidate {
    let count = answers.len().max(1) as f64;
    let sum = |value: &dyn Fn(&Timed<'_>) -> f64| answers.iter().map(value).sum::<f64>();
    let right = answers.iter().filter(|(graded, _)| graded.right).count();
    let mut walls: Vec<u64> = answers.iter().map(|(_, time)| time.total_us).collect();
    walls.sort_unstable();
    let seconds = |share| quantile(&walls, share).unwrap_or(0) as f64 / 1e6;
    let tokens = sum(&|(graded, _)| graded.summary.tokens() as f64);
    let large = sum(&|(graded, _)| graded.summary.large.tokens as f64);
    let busy_us = sum(&|(_, time)| (time.large.prefill_us + time.large.decode_us) as f64);
    let questions: Vec<(u64, u64)> = per_question(answers);
    let alone = Estimate { value: right as f64 / count, interval: None };
    Candidate {
        policy: policy.label.clone(),
        pair: pair(results, policy),
        answers: answers.len(),
        accuracy: stats::share(&questions).unwrap_or(alone),
        share: large / tokens.max(1.0),
        corrections: sum(&|(graded, _)| f64::from(graded.summary.corrections)) / count,
        latency_median_s: seconds(0.5),
        latency_p95_s: seconds(0.95),
        cost: sum(&|(graded, _)| prices.tokens(&graded.summary)) / count,
        clients: (busy_us > 0.0).then(|| sum(&|(_, time)| time.total_us as f64) / busy_us),
        source,
    }
}

/// Returns the right answers and all answers, by question.
fn per_question(answers: &[Timed<'_>]) -> Vec<(u64, u64)> {
    let ids: BTreeSet<&str> = answers.iter().map(|(graded, _)| graded.id.as_str()).collect();
    let count = |id: &str| {
        let ours = answers.iter().filter(|(graded, _)| graded.id == id);
        ours.fold((0, 0), |(right, all), (graded, _)| (right + u64::from(graded.right), all + 1))
    };
    ids.into_iter().map(count).collect()
}

impl Candidate {
    /// Returns the targets that it misses.
    pub fn misses<'a>(&self, targets: &'a [PlanTarget]) -> Vec<&'a PlanTarget> {
        targets.iter().filter(|target| self.excess(target) > 0.0).collect()
    }

    /// Returns by how much it misses a target, as a fraction of the target's bound; at most 0 if it meets it.
    pub fn excess(&self, target: &PlanTarget) -> f64 {
        let (over, bound) = match *target {
            PlanTarget::Accuracy(least) => (least - self.accuracy.value, least),
            PlanTarget::Corrections(most) => (self.corrections - most, most),
            PlanTarget::Answers(policy::Target::Share(most)) => (self.share - most, most),
            PlanTarget::Answers(policy::Target::Latency(most)) => {
                (self.latency_p95_s - most.as_secs_f64(), most.as_secs_f64())
            }
            PlanTarget::Answers(policy::Target::Cost(most)) => (self.cost - most, most),
        };
        // A bound of 0 has no fractions.
        if bound > 0.0 { over / bound } else { over }
    }
}

/// Returns the best of the candidates that meet all targets: the most accurate one, and among equally accurate ones the
/// fastest at p95.
pub fn choose<'a>(candidates: &'a [Candidate], targets: &[PlanTarget]) -> Option<&'a Candidate> {
    let fit = candidates.iter().filter(|candidate| candidate.misses(targets).is_empty());
    fit.max_by(|a, b| {
        let accuracy = a.accuracy.value.total_cmp(&b.accuracy.value);
        accuracy.then(b.latency_p95_s.total_cmp(&a.latency_p95_s))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(
        policy: &str,
        accuracy: f64,
        share: f64,
        latency_p95_s: f64,
        cost: f64,
    ) -> Candidate {
        Candidate {
            policy: policy.to_owned(),
            pair: String::new(),
            answers: 50,
            accuracy: Estimate { value: accuracy, interval: None },
            share,
            corrections: 0.0,
            latency_median_s: latency_p95_s / 2.0,
            latency_p95_s,
            cost,
            clients: None,
            source: Source::Measured,
        }
    }

    #[test]
    fn a_target_is_read_as_it_is_shown() {
        let table = [
            ("accuracy>=80%", PlanTarget::Accuracy(0.8)),
            ("accuracy >= 0.8", PlanTarget::Accuracy(0.8)),
            ("corrections<=2", PlanTarget::Corrections(2.0)),
            ("corrections <= 0.5", PlanTarget::Corrections(0.5)),
            ("share<=10%", PlanTarget::Answers(policy::Target::Share(0.1))),
        ];
        for (text, target) in table {
            assert_eq!(text.parse(), Ok(target), "{text}");
            assert_eq!(target.to_string().parse(), Ok(target), "{target}");
        }
        let wrong = [
            "",
            "accuracy",
            "accuracy>=",
            "accuracy>=110%",
            "share>=1%",
            "speed<=1",
            "corrections<=-1",
            "corrections<=inf",
            "corrections>=1",
        ];
        for text in wrong {
            let line = text.parse::<PlanTarget>().unwrap_err().to_string();
            assert!(line.contains("latency<=8s"), "{text}: {line}");
        }
    }

    #[test]
    fn the_most_accurate_that_keeps_the_targets_is_chosen() {
        let all = [
            candidate("small-only", 0.5, 0.0, 1.0, 0.001),
            candidate("strict", 0.9, 0.3, 3.0, 0.003),
            candidate("slower", 0.9, 0.3, 4.0, 0.003),
            candidate("large-only", 0.97, 1.0, 5.0, 0.01),
        ];
        let chosen = |targets: &[&str]| {
            let targets: Vec<PlanTarget> =
                targets.iter().map(|text| text.parse().unwrap()).collect();
            choose(&all, &targets).map(|candidate| candidate.policy.as_str())
        };
        assert_eq!(chosen(&[]), Some("large-only"));
        assert_eq!(chosen(&["share<=40%"]), Some("strict"));
        assert_eq!(chosen(&["share<=40%", "latency<=2s"]), Some("small-only"));
        assert_eq!(chosen(&["cost<=0.003"]), Some("strict"));
        assert_eq!(chosen(&["accuracy>=95%", "share<=40%"]), None);
        assert_eq!(
            all[1].misses(&["share<=20%".parse().unwrap(), "latency<=9s".parse().unwrap()]),
            [&"share<=20%".parse().unwrap()]
        );
    }
}
