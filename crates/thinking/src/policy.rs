//! Policies: pure state machines that decide who writes next and how far.
//!
//! A policy takes what happened ([`PolicyEvent`]) and returns what to do ([`Action`]). It never waits, never reads a
//! clock and never sees a network. The conductor carries the actions out.
//!
//! # Example
//!
//! The large writer writes the first paragraph, and the small one the rest:
//!
//! ```
//! use thinking::{
//!     policy::{Action, Ask, End, Policy, PolicyEvent, Role, Why},
//!     thinker::FinishReason::{self, EndOfText, MaxTokens, Stop},
//! };
//!
//! struct Opening {
//!     writer: Role,
//!     left: u32,
//! }
//!
//! impl Policy for Opening {
//!     fn step(&mut self, event: PolicyEvent<'_>) -> Vec<Action> {
//!         // Otherwise it is `Started`: `Limited` handles late takeovers, loops and objections for all.
//!         let PolicyEvent::Finished { text, tokens, reason } = event else {
//!             let ask = Ask::new(Role::Large, Why::Begin, self.left);
//!             return vec![Action::Ask(Ask { stop: vec!["\n\n".to_owned()], ..ask })];
//!         };
//!         let keep = Action::Keep { role: self.writer, bytes: text.len() as u64 };
//!         (self.writer, self.left) = (Role::Small, self.left.saturating_sub(tokens.max(1)));
//!         let next = match reason {
//!             EndOfText => Action::End(End::EndOfText),
//!             MaxTokens | Stop { .. } if self.left == 0 => Action::End(End::MaxTokens),
//!             MaxTokens | Stop { .. } => Action::Ask(Ask::new(Role::Small, Why::Turn, self.left)),
//!             // A real policy distinguishes these: deadline, context full, cancelled.
//!             _ => Action::End(End::Cancelled),
//!         };
//!         vec![keep, next]
//!     }
//! }
//!
//! let mut policy = Opening { writer: Role::Large, left: 100 };
//! let first = policy.step(PolicyEvent::Started { prompt_tokens: 5 });
//! assert!(matches!(&first[..], [Action::Ask(ask)] if ask.role == Role::Large));
//! let (text, reason) = ("We add.\n\n", FinishReason::Stop { end: 9 });
//! let next = policy.step(PolicyEvent::Finished { text, tokens: 4, reason: &reason });
//! let keep = Action::Keep { role: Role::Large, bytes: 9 };
//! assert_eq!(next, [keep, Action::Ask(Ask::new(Role::Small, Why::Turn, 96))]);
//! ```

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
