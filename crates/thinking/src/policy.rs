//! Policies: pure state machines that decide who writes next and how far.
//!
//! A policy takes what happened ([`PolicyEvent`]) and returns what to do ([`Action`]); it never waits,
//! never reads a clock and never sees a network. The conductor carries the actions out.

mod baselines;
mod config;
mod keywords;
mod languages;
mod limited;
mod note;
mod paper;
mod paragraphs;
mod review;
mod spec;
mod strict;
mod target;
mod words;

pub use self::{
    baselines::Solo,
    config::{PolicyError, PolicyKind, Preset},
    keywords::Keywords,
    limited::{Limited, Limits, LoopRule},
    paper::{Paper, PaperConfig, PaperReport, PaperTakeover},
    review::ReviewConfig,
    spec::{DEFAULT_SHARE, PolicySpec, Rules},
    strict::{Strict, StrictConfig},
    target::{BadTarget, ModelPrices, Target, Targets, TokenPrices, parse_share},
    words::{Action, Ask, End, Measured, Need, Policy, PolicyEvent, Role, Why},
};
