//! The network lab: what a link costs.
//!
//! [`link`] describes and simulates links: profiles by name or description, a pure model of one direction, a TCP proxy
//! that shapes connections by it without root, and real packets with root. [`calibrate`] measures what a link really
//! delivers, and [`sweep`] runs policies over links. [`results`] reads the output of sweeps, [`stats`] computes
//! confidence intervals, and [`report`] draws figures. [`plan`] chooses a policy for a link, [`tune`] the gap of a
//! review. [`replay`] re-times recorded answers over a link, and [`sizing`] over nodes that many users share.
//!
//! Models and policies are in other crates, and so are the driver of a question (`answer`), runs over data sets
//! (`runs`) and the command `specthink-lab`.

pub mod calibrate;
#[cfg(test)]
mod error_tests;
pub mod link;
pub mod plan;
pub mod replay;
pub mod report;
pub mod results;
pub mod sizing;
pub mod stats;
pub mod sweep;
pub mod tune;
