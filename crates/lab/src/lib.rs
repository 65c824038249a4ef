//! The network lab: what a link costs.
//!
//! [`link`] holds links: profiles by name or description, a pure model of one direction, a TCP proxy that shapes
//! connections by it without root, real packets with root; [`calibrate`] measures what a link really gives; [`sweep`]
//! runs policies over links; [`results`] reads what sweeps left, [`stats`] says how sure that is, [`report`] writes
//! figures of it; [`plan`] chooses a policy for a link, [`tune`] the gap of a review; [`replay`] re-times recorded
//! answers over a link, and [`sizing`] over nodes that many users share.
//!
//! What does not live here: models, policies, the driver of a question (the crate `answer`), runs over data sets
//! (`runs`), and the command `specthink-lab`, which has a crate of its own.

pub mod calibrate;
pub mod link;
pub mod plan;
pub mod replay;
pub mod report;
pub mod results;
pub mod sizing;
pub mod stats;
pub mod sweep;
pub mod tune;
