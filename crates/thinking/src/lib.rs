//! The pure core of Speculative Thinking.
//!
//! Here live the words of the system and the decisions: the [`thinker`] port, the rules of its
//! [`session`]s, the streaming [`trigger`] matcher, exact [`loops`], [`stops`], the [`thought`] before an
//! answer and the [`beginning`] of one, the [`policy`] state machines, the [`transcript`], and how text
//! from elsewhere is [`shown`]. Here live no runtime, no network, no model, no clock and no I/O:
//! everything in this crate is a function of its arguments, and is tested as one.

pub mod beginning;
pub mod draw;
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
