//! How fast machines compute models.
//!
//! A [`SpeedCurve`] is the time of one forward pass by its number of tokens. [`Machines`] is a catalogue of curves by
//! name, `MACHINE:MODEL`: some measured, the others estimated from a machine's memory bandwidth and arithmetic
//! (`roofline`). The lab replays and sizes with curves; a node can be paced to one.
//!
//! What does not live here: measuring, simulated time, and anything that waits.

mod catalogue;
mod curve;
mod error;
#[cfg(test)]
mod error_tests;
mod roofline;

pub use self::{
    catalogue::{Machines, Speeds, SpeedsKind},
    curve::{DecodeFigure, SpeedCurve, SpeedFigures},
    error::MachineError,
};
