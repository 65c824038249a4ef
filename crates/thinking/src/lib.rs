//! The pure core of Speculative Thinking.
//!
//! This crate defines the terms of the system and makes its decisions: the [`thinker`] port, the rules of its
//! [`session`]s, the streaming [`trigger`] matcher, exact [`loops`], [`stops`], the [`thought`] before an answer and
//! the [`beginning`] of one, the [`policy`] state machines, the [`transcript`], and how text from elsewhere is
//! [`shown`]. It has no runtime, network, model, clock or I/O: everything in it is a function of its arguments, and is
//! tested as one.

pub mod beginning;
pub mod draw;
#[cfg(test)]
mod error_tests;
pub mod loops;
pub mod names;
pub mod policy;
pub mod session;
pub mod shown;
pub mod stops;
pub mod thinker;
pub mod thought;
pub mod transcript;
pub mod trigger;

#[cfg(feature = "testing")]
pub mod testing;
