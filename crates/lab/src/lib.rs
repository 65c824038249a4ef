//! The network lab: what a link costs.
//!
//! [`link`] holds links: profiles by name or description, a pure model of one direction, a TCP proxy that shapes
//! connections by it without root; [`calibrate`] measures what the proxy really gives.
//!
//! What does not live here: models, a policy, the driver of a question, and anything printed.

pub mod calibrate;
pub mod link;
