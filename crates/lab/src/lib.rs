//! The network lab: what a link costs.
//!
//! [`link`] holds links: profiles by name or description, a pure model of one direction, a TCP proxy that shapes
//! connections by it without root; [`calibrate`] measures what the proxy really gives; [`replay`] re-times recorded answers
//! over a link.
//!
//! What does not live here: models, a policy, the driver of a question, and anything printed.

pub mod calibrate;
pub mod link;
pub mod replay;
