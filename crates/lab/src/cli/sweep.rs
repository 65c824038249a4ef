//! `specthink-lab sweep`: from arguments to cells, one after the other.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use answer::Node;
use coordinator::{
    cli::{
        Bar, Builtin, DataFile, Exit, Places, PolicyArgs, Stop, Trial, connect, grader, remote,
        until_enough,
    },
    eval::{self, EvalLog, Figures, Row, RunEnd},
};
use grading::{dataset::Problem, math_verify::Grader};
use tokio::sync::{Mutex, Notify};

use super::{
    args::{Choice, SweepArgs},
    catalogue,
    pairs::Pair,
    print, profiles,
};
use crate::{
    link::{LinkProfile, LiveLink},
    sweep::{Cell, CellFigures, Experiment, Folder, Over, SweepError, Terms, crossed, table},
};

impl From<SweepError> for Stop {
    fn from(error: SweepError) -> Self {
        Stop::new(Exit::Journal, error)
    }
}

/// Everything a sweep needs, checked.
struct Plan<'a> {
    args: &'a SweepArgs,
    data: DataFile,
    policies: Vec<Choice>,
    links: Vec<(String, LinkProfile)>,
}

/// A pair that answers, and the folder of its results.
struct OpenPair<'a> {
    name: Option<&'a str>,
    small: Vec<Node>,
    places: &'a Places,
    folder: Folder,
}

/// One cell, and what it asks.
struct Place<'a> {
    /// The pair's place among the pairs.
    pair: usize,
    policy: &'a Choice,
    link: &'a (String, LinkProfile),
    seed: u64,
    trial: Trial,
    /// Its folder and its log; absent while the share that its policy takes from another cell is not known.
    opened: Option<(PathBuf, EvalLog)>,
}

pub(super) fn run(args: &SweepArgs, builtin: Option<&dyn Builtin>) -> Result<Exit, Stop> {
    let pairs = args.pairs(builtin)?;
    let plan = Plan::new(args)?;
    let out = args
        .out
        .as_ref()
        .ok_or_else(|| Stop::new(Exit::Usage, "no folder for the results: give --out FOLDER"))?;
    let cells = plan.cells(pairs.len())?;
    let grader = grader(&args.run)?;
    let any_large = plan.policies.iter().any(|choice| choice.args.policy.uses_large());
    let places = |pair: &Pair| pair.places(any_large, builtin);
    let places = pairs.iter().map(places).collect::<Result<Vec<_>, _>>()?;
    until_enough(async |enough| {
        // Whatever cannot be shows before there is a folder.
        for (_, link) in plan.links.iter().filter(|_| any_large) {
            LiveLink::possible(args.shaping.chosen(), link).await?;
        }
        let mut experiments = Vec::new();
        for (pair, places) in pairs.iter().zip(&places) {
            let models = models(pair, places).await?;
            experiments.push(plan.experiment(pair, &cells, models));
        }
        if pairs.iter().any(|pair| pair.name.is_some()) {
            Folder::of_pairs(out, &experiments)?;
        }
        let asked = pairs.iter().zip(&places).zip(&experiments);
        let open = |((pair, places), experiment)| open_pair(pair, places, experiment, out);
        let opened = asked.map(open).collect::<Result<Vec<_>, _>>()?;
        let ended = plan.sweep(cells, &opened, grader, &enough).await;
        tokio::task::block_in_place(|| super::report::after(out));
        ended
    })
}

/// The names of a pair's models: the small nodes', then the large one's.
async fn models(pair: &Pair, places: &Places) -> Result<Vec<String>, Stop> {
    let of = pair.name.as_ref().map_or_else(String::new, |name| format!(" of pair {name}"));
    let small = places.small.iter().map(|node| ("small", node));
    let mut models = Vec::new();
    for (what, node) in small.chain(places.large.iter().map(|node| ("large", node))) {
        let (_, card) = remote(node.clone())?.describe().await.map_err(|failure| {
            let Stop { exit, .. } = Stop::from(&failure);
            let mend = match pair.name {
                Some(_) => "start it, or leave this pair out, and run the command again",
                None => "start it, and run the same command again",
            };
            Stop::new(exit, format!("{what} node{of}: {failure}; {mend}"))
        })?;
        models.push(card.name);
    }
    Ok(models)
}

/// Opens the folder of a pair's results, and says who answers.
fn open_pair<'a>(
    pair: &'a Pair,
    places: &'a Places,
    experiment: &Experiment,
    out: &Path,
) -> Result<OpenPair<'a>, Stop> {
    let name = pair.name.as_deref();
    let path = name.map_or_else(|| out.to_owned(), |name| out.join(name));
    let folder = Folder::open(&path, experiment)?;
    if name.is_none() {
        places.origin.announce();
    }
    let small = places.small.iter().cloned().map(connect);
    Ok(OpenPair { name, small: small.collect::<Result<_, _>>()?, places, folder })
}

impl<'a> Plan<'a> {
    fn new(args: &'a SweepArgs) -> Result<Plan<'a>, Stop> {
        let data = args.data.as_ref().ok_or_else(|| {
            let message =
                "no data set: give a file of JSON lines, such as models/arithmetic/test.jsonl";
            Stop::new(Exit::Usage, message)
        })?;
        let twice = |what: &str, texts: &[String]| {
            let mut seen = BTreeSet::new();
            match texts.iter().find(|text| !seen.insert(*text)) {
                Some(text) => {
                    Err(Stop::new(Exit::Usage, format!("{what} {text} is there twice: leave one")))
                }
                None => Ok(()),
            }
        };
        twice("--policy", &args.policy)?;
        twice("--seed", &args.seed.iter().map(u64::to_string).collect::<Vec<_>>())?;
        let profiles = profiles(&catalogue(&args.links)?, &args.link)?;
        twice("--link", &profiles.iter().map(|link| link.name.clone()).collect::<Vec<_>>())?;
        Ok(Plan {
            args,
            policies: args.policies()?,
            links: profiles.into_iter().map(|link| (link.name.clone(), link)).collect(),
            data: DataFile::read(data, args.run.skip_bad)?,
        })
    }

    /// All cells, in the order in which they are asked.
    fn cells(&self, pairs: usize) -> Result<Vec<Place<'_>>, Stop> {
        let mut cells = Vec::new();
        for pair in 0..pairs {
            for policy in &self.policies {
                for link in &self.links {
                    for &seed in &self.args.seed {
                        let trial = self.trial(&policy.args, seed)?;
                        cells.push(Place { pair, policy, link, seed, trial, opened: None });
                    }
                }
            }
        }
        Ok(cells)
    }

    fn trial(&self, policy: &PolicyArgs, seed: u64) -> Result<Trial, Stop> {
        let terms = (&self.args.run, &self.args.writing, &self.args.nodes);
        Trial::new(&self.data, policy, seed, terms)
    }

    fn problems(&self) -> &[Problem] {
        self.data.problems(self.args.run.limit)
    }

    fn experiment(&self, pair: &Pair, cells: &[Place<'_>], models: Vec<String>) -> Experiment {
        let policy = |cell: &Place<'_>| {
            let share_of = cell.policy.share_of.map(|of| self.policies[of].name.as_str());
            (cell.policy.name.clone(), Terms::new(&cell.trial.header, share_of))
        };
        Experiment {
            specthink_sweep: Experiment::VERSION,
            data_set: self.data.name.clone(),
            data_set_sha256: self.data.sha256.clone(),
            questions: self.problems().len() as u64,
            grader: cells.first().map_or(String::new(), |cell| cell.trial.header.grader.clone()),
            parallel: self.args.run.parallel,
            seeds: self.args.seed.clone(),
            pair_name: pair.name.clone(),
            models,
            policy_order: self.policies.iter().map(|choice| choice.name.clone()).collect(),
            policies: cells.iter().map(policy).collect(),
            shaping: self.args.shaping.chosen(),
            links: self.links.iter().map(|(name, link)| (name.clone(), link.to_string())).collect(),
        }
    }

    /// Opens a cell's log, where its policy is known: a share that is another cell's is known when that cell is done.
    fn open(
        &self,
        cells: &mut [Place<'_>],
        index: usize,
        pairs: &[OpenPair<'_>],
    ) -> Result<(), Stop> {
        let Place { pair, policy, link, seed, ref opened, .. } = cells[index];
        if opened.is_some() {
            return Ok(());
        }
        if let Some(of) = policy.share_of {
            let same = |cell: &&Place<'_>| {
                cell.policy.name == self.policies[of].name
                    && (cell.pair, &cell.link.0, cell.seed) == (pair, &link.0, seed)
            };
            let measured = cells.iter().find(same).and_then(|cell| self.share(cell));
            let Some(share) = measured else { return Ok(()) };
            let spec = &mut cells[index].trial.header.policy;
            *spec = spec.clone().with_share(share);
        }
        let path = pairs[pair].folder.cell(&policy.name, &link.0, seed)?;
        let log = EvalLog::open(&path.join("log.jsonl"), &cells[index].trial.header)?;
        cells[index].opened = Some((path, log));
        Ok(())
    }

    /// The large model's share in a cell that is done, to three digits.
    fn share(&self, cell: &Place<'_>) -> Option<f64> {
        let (_, log) = cell.opened.as_ref().filter(|_| self.left(cell).is_empty())?;
        let share = Figures::new(log.rows().values()).takeover_share;
        Some((share * 1e3).round() / 1e3)
    }

    /// Asks what is open in all cells, then prints what they say.
    async fn sweep(
        &self,
        mut cells: Vec<Place<'_>>,
        pairs: &[OpenPair<'_>],
        grader: Grader,
        enough: &Notify,
    ) -> Result<Exit, Stop> {
        for index in 0..cells.len() {
            self.open(&mut cells, index, pairs)?;
        }
        let all = self.problems().len() * cells.len();
        let left =
            |cells: &[Place<'_>]| cells.iter().map(|cell| self.left(cell).len()).sum::<usize>();
        let mut bar = Bar::new(all as u64, (all - left(&cells)) as u64);
        bar.skipped(&self.data.data.skipped);
        let grader = Arc::new(Mutex::new(grader));
        let mut stopped = None;
        for index in 0..cells.len() {
            self.open(&mut cells, index, pairs)?;
            let open = self.left(&cells[index]);
            let Place { pair, policy, link, seed, trial, opened } = &mut cells[index];
            let Some((path, log)) = opened.as_mut().filter(|_| !open.is_empty()) else { continue };
            let OpenPair { name, small, places, .. } = &pairs[*pair];
            let name = name.map_or_else(String::new, |name| format!("{name}: "));
            bar.begin(&format!("{name}{} {} {seed}", policy.name, link.0));
            let large = places.large.as_ref().filter(|_| trial.header.policy.kind().uses_large());
            let shaping = self.args.shaping.chosen();
            let over = match Over::link(small.clone(), large, shaping, &link.1, *seed).await {
                Ok(over) => over,
                Err(stop) => {
                    stopped = Some((stop.exit, format!("{name}{stop}")));
                    break;
                }
            };
            let asked = Cell::new(path.clone(), trial, over)?;
            let parallel = usize::from(self.args.run.parallel);
            let mut noted = Ok(());
            let see = |row: &Row| {
                bar.see(row);
                noted = asked.note_traffic();
            };
            let ended =
                eval::run(open, &asked, parallel, &grader, log, enough.notified(), see).await;
            noted?;
            match ended? {
                RunEnd::Complete => {}
                RunEnd::Cancelled => stopped = Some((Exit::Cancelled, "stopped".to_owned())),
                RunEnd::NodesGone(reason) => {
                    stopped = Some((Exit::NodeFailed, format!("{name}{reason}")));
                }
            }
            if stopped.is_some() {
                break;
            }
        }
        bar.finish();
        self.show(&cells, pairs)?;
        self.end(stopped, left(&cells), all)
    }

    /// The problems of a cell without a grade.
    fn left(&self, cell: &Place<'_>) -> Vec<Problem> {
        let graded = |problem: &&Problem| {
            cell.opened.as_ref().is_some_and(|(_, log)| log.is_graded(&problem.id))
        };
        self.problems().iter().filter(|problem| !graded(problem)).cloned().collect()
    }

    /// A table for each pair.
    fn show(&self, cells: &[Place<'_>], pairs: &[OpenPair<'_>]) -> Result<(), Stop> {
        for (pair, OpenPair { name, .. }) in pairs.iter().enumerate() {
            let ours = cells.iter().filter(|cell| cell.pair == pair);
            let begun = ours.filter_map(|cell| Some((cell, cell.opened.as_ref()?)));
            let figures = begun.map(|(cell, (path, log))| {
                let rows = self.problems().iter().filter_map(|problem| log.rows().get(&problem.id));
                let key = (cell.policy.name.as_str(), cell.link.0.as_str(), cell.seed);
                crossed(path).map(|traffic| CellFigures::new(key, rows, &traffic))
            });
            let table = table(&figures.collect::<Result<Vec<_>, _>>()?);
            print(&match name {
                Some(name) => format!("{name}:\n\n{table}\n"),
                None => table,
            })?;
        }
        Ok(())
    }

    /// The exit code: a sweep that is not complete is no success.
    fn end(&self, stopped: Option<(Exit, String)>, open: usize, all: usize) -> Result<Exit, Stop> {
        let again = "run the same command again to go on";
        match stopped {
            Some((exit, why)) => {
                let message = format!("{why}; {open} of {all} answers are open: {again}");
                Err(Stop::new(exit, message))
            }
            None if open > 0 => {
                let message = format!("{open} of {all} questions failed: {again}");
                Err(Stop::new(Exit::NodeFailed, message))
            }
            None => Ok(Exit::Ok),
        }
    }
}
