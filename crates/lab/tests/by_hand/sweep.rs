//! A hand-made sweep folder, written with the types that write real ones.

use std::{collections::BTreeMap, fs, path::PathBuf};

use answer::{
    Observer as _, Progress, Question, Settings,
    journal::{Journal, JournalWriter},
};
use lab::{
    link::Shaping,
    sweep::{Experiment, Folder, SweptPolicy, Terms, file_name},
};
use runs::{Graded, LogHeader, Row, log, question_name, question_seed};
use serde_json::json;
use tempfile::TempDir;
use thinking::{
    policy::{PolicySpec, Preset, Role},
    thinker::Sampling,
};

use super::{Stretch, journal, question, stretch};

/// The contents: policies and links by name, questions by number.
pub struct Plan<'a> {
    pub policies: &'a [&'a str],
    pub links: &'a [(&'a str, &'a str)],
    pub seeds: &'a [u64],
    pub questions: u64,
    pub data_set: &'a str,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Plan {
            policies: &["strict", "small-only", "large-only"],
            links: &[("loopback", "rtt=0s"), ("geo", "rtt=680ms,loss=1%")],
            seeds: &[0],
            questions: 6,
            data_set: "abc",
        }
    }
}

/// A folder that a sweep might have written.
pub struct Sweep {
    pub folder: TempDir,
    experiment: Experiment,
}

impl Sweep {
    /// A sweep with all answers of the plan.
    pub fn new(plan: &Plan<'_>) -> Sweep {
        let sweep = Sweep::empty(plan);
        for policy in plan.policies {
            for (link, _) in plan.links {
                for &seed in plan.seeds {
                    for number in 0..plan.questions {
                        sweep.answer(policy, link, seed, number);
                    }
                }
            }
        }
        sweep
    }

    /// The start of a sweep: no cell was run.
    pub fn empty(plan: &Plan<'_>) -> Sweep {
        let policy = |name: &&str| ((*name).to_owned(), terms(name));
        let link = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let experiment = Experiment {
            specthink_sweep: Experiment::VERSION,
            data_set: "data.jsonl".to_owned(),
            data_set_sha256: plan.data_set.to_owned(),
            questions: plan.questions,
            grader: "own".to_owned(),
            parallel: 1,
            seeds: plan.seeds.to_vec(),
            pair_name: None,
            models: vec!["tiny".to_owned(), "less-tiny".to_owned()],
            policy_order: plan.policies.iter().map(|name| (*name).to_owned()).collect(),
            policies: plan.policies.iter().map(policy).collect(),
            shaping: Shaping::Proxy,
            links: plan.links.iter().map(link).collect::<BTreeMap<_, _>>(),
        };
        let folder = TempDir::new().unwrap();
        Folder::open(folder.path(), &experiment).unwrap();
        Sweep { folder, experiment }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn cell(&self, policy: &str, link: &str, seed: u64) -> PathBuf {
        let path = self.folder.path().join(file_name(policy)).join(file_name(link));
        path.join(format!("seed-{seed}"))
    }

    pub fn journal(&self, policy: &str, link: &str, number: u64) -> PathBuf {
        self.cell(policy, link, 0).join("journals").join(format!("q{number}.jsonl"))
    }

    /// Writes one answer: its journal, its row and its traffic.
    pub fn answer(&self, policy: &str, link: &str, seed: u64, number: u64) {
        let asked = Question { seed: question_seed(seed, &id(number)), ..asked(number) };
        let journal = journal(&asked, terms(policy).policy.spec, &stretches(policy, number));
        write(&self.cell_folder(policy, link, seed), number, &journal);
        let right = match policy {
            "small-only" => number.is_multiple_of(2),
            "large-only" => true,
            _ => !number.is_multiple_of(3),
        };
        let Some(Progress::Ended(summary)) = journal.events.last().map(|last| &last.progress)
        else {
            panic!("a hand-made journal has an end");
        };
        let row = Graded {
            id: id(number),
            seed: asked.seed,
            gold: "4".to_owned(),
            answer: Some("4".to_owned()),
            right,
            grader_error: None,
            open_thought: false,
            text: "abc".to_owned(),
            summary: summary.as_ref().clone(),
        };
        self.row(policy, link, seed, &Row::Graded(Box::new(row)));
        if policy != "small-only" {
            let bytes = 500 * (number + 1);
            let line = json!({
                "run": 0, "up_bytes": bytes, "down_bytes": 2 * bytes, "stalls": 0, "connections": 1, "resets": 0,
            });
            let path = self.cell(policy, link, seed).join("traffic.jsonl");
            let before = fs::read_to_string(&path).unwrap_or_default();
            fs::write(path, format!("{before}{line}\n")).unwrap();
        }
    }

    /// Appends a row to the log of a cell.
    pub fn row(&self, policy: &str, link: &str, seed: u64, row: &Row) {
        let Terms { policy: SweptPolicy { spec, .. }, sampling, max_tokens, settings, .. } =
            terms(policy);
        let Experiment { data_set, data_set_sha256, .. } = self.experiment.clone();
        let header = LogHeader {
            specthink_eval: log::VERSION,
            data_set,
            data_set_sha256,
            policy: spec,
            sampling,
            seed,
            max_tokens,
            deadline_ms: None,
            system: None,
            settings,
            grader: "own".to_owned(),
        };
        let path = self.cell_folder(policy, link, seed).join("log.jsonl");
        // Not through EvalLog: a program started by another test holds its lock a moment longer.
        let line = |value: serde_json::Result<String>| value.unwrap() + "\n";
        let before =
            fs::read_to_string(&path).unwrap_or_else(|_| line(serde_json::to_string(&header)));
        fs::write(&path, before + &line(serde_json::to_string(row))).unwrap();
    }

    fn cell_folder(&self, policy: &str, link: &str, seed: u64) -> PathBuf {
        let path = self.cell(policy, link, seed);
        fs::create_dir_all(path.join("journals")).unwrap();
        path
    }
}

fn id(number: u64) -> String {
    format!("q{number}")
}

fn asked(number: u64) -> Question {
    question(&question_name(&id(number)))
}

fn write(cell: &std::path::Path, number: u64, journal: &Journal) {
    let path = cell.join("journals").join(format!("q{number}.jsonl"));
    let mut writer = JournalWriter::replace(&path, &journal.header).unwrap();
    for event in &journal.events {
        writer.see(event);
    }
    writer.finish().unwrap();
}

/// A policy of the sweep by its text, with default parameters.
fn terms(policy: &str) -> Terms {
    let kind = policy.split(':').next().unwrap().parse().unwrap();
    Terms {
        policy: SweptPolicy { spec: PolicySpec::new(kind, Preset::Reasoning), share_of: None },
        sampling: Sampling::default(),
        max_tokens: 1000,
        deadline_ms: None,
        system: None,
        settings: Settings::default(),
    }
}

/// An answer that is a little longer with each question.
fn stretches(policy: &str, number: u64) -> Vec<Stretch> {
    let more = 1_000 * number;
    match policy {
        "small-only" => vec![stretch(Role::Small, 50, 100_000 + more, 0)],
        "large-only" => vec![stretch(Role::Large, 50, 150_000 + more, 0)],
        _ => vec![
            stretch(Role::Small, 30, 60_000 + more, 2_000),
            stretch(Role::Large, 20, 60_000 + more, 2_000),
            stretch(Role::Small, 10, 20_000, 0),
        ],
    }
}
