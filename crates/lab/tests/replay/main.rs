//! Replay: the cost of a recorded answer over other links. In simulated time; the journals are hand-made, recorded by
//! the driver from scripted nodes, or from an earlier release.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../by_hand/mod.rs"]
mod by_hand;
mod diverged;
mod driven;
mod figures;
mod machines;
mod older;

use answer::journal::Journal;
use by_hand::{Stretch, question};
use lab::{
    link::{LinkProfile, Links},
    replay::{Conditions, RecordedOver, Recording, Replayed, replay},
};
use thinking::policy::PolicySpec;

fn journal(stretches: &[Stretch]) -> Journal {
    by_hand::journal(&question("q"), PolicySpec::default(), stretches)
}

fn recording(stretches: &[Stretch]) -> Recording {
    Recording::new(&journal(stretches), RecordedOver::Loopback).unwrap()
}

fn link(description: &str) -> LinkProfile {
    Links::shipped().unwrap().link(description).unwrap()
}

fn over(recording: &Recording, description: &str) -> Replayed {
    replay(recording, &Conditions::over(link(description), 1)).unwrap()
}
