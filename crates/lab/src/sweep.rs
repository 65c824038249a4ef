//! Sweeps: every policy over every link with every seed, on one data set.
//!
//! A [`SweepPlan`] says what to ask of which [`SweptPair`]s, and [`SweepRun`] runs it: cell after cell, each a run over
//! the data set with a log of graded answers, a journal for every question and the link's traffic. A [`Folder`] holds
//! the results and refuses those of another [`Experiment`]; a table summarises the cells. Arguments and printing are
//! elsewhere.

mod cell;
mod error;
mod experiment;
mod folder;
mod plan;
mod run;
mod table;
mod terms;

pub use self::{
    cell::CellTraffic,
    error::{SweepError, SweepRunError},
    experiment::Experiment,
    folder::{Folder, REPORT, file_name, link_of},
    plan::{PlannedPolicy, SweepPlan, SweptPair},
    run::{SweepEnd, SweepProgress, SweepRun},
    terms::{SweptPolicy, Terms},
};
pub(crate) use self::{
    cell::cell_traffic,
    folder::{cell_path, journal_path},
    table::{CellFigures, uncounted},
};
