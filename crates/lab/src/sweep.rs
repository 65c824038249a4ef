//! Sweeps: every policy over every link with every seed, on one data set.
//!
//! A [`Folder`] holds the results and refuses those of another [`Experiment`]; a [`Cell`] is one policy over one link
//! with one seed: a log of graded answers, a journal for every question, the link's traffic; [`table`] sums cells up.
//! What does not live here: arguments and progress ([`crate::cli`]), asking and grading (the coordinator).

mod cell;
mod folder;
mod table;
mod terms;

pub(crate) use self::{
    cell::crossed,
    folder::{REPORT, cell_path, journal_path, link_of},
};
pub use self::{
    cell::{Cell, Crossed, Over},
    folder::{Experiment, Folder, SweepError, file_name},
    table::{CellFigures, table},
    terms::{SweptPolicy, Terms},
};
