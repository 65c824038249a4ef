//! The rules of a session, for every implementation of [`Thinker`](crate::thinker::Thinker).
//!
//! Points 1 to 5 of the contract in [`crate::thinker`] are the same for every Thinker, however it makes its text. They
//! are implemented once, here: [`Protocol`] knows which command is allowed when and what it does to the committed text,
//! [`limits`] define how much a command may ask for, and [`ProposalRules`] decides what of a proposal may be sent and
//! when it ends. All of it is pure: no channel, no clock, no tokenizer, no I/O.
//!
//! # What is left to a Thinker
//!
//! - Its channels. It takes commands one at a time, in order. While a proposal is being made, it reads at most one more
//!   command: [`Command::Cancel`](crate::thinker::Command::Cancel) ends the proposal, any other command waits for its
//!   turn. A `Cancel` that is reached in the queue does nothing.
//! - Ends that depend on time or on a model: cancelled, deadline passed, context full. Stop pushing, and pass that
//!   [`FinishReason`](crate::thinker::FinishReason) to the last [`ProposalRules::delta`] and to [`Protocol::finish`].
//! - Verdicts, if it can review ([`review`]), since gaps need its model. While an objection waits for its cut
//!   ([`Protocol::is_objecting`]), it computes nothing and ends a proposal at once as cancelled.
//! - Failures of its own, such as text that does not fit. Any failure ends the session, so the protocol's state no
//!   longer matters then.
//! - Tokens. [`ProposalRules::push`] takes text and its number of tokens. A Thinker with token ids adds them to the
//!   deltas. One that receives text without counts passes its best estimate, usually 1 per piece.
//!
//! A Thinker in front of a server that generates text passes [`Propose::max_tokens`] on, since only the server knows
//! its tokens; when the server stops because of it, the finish reason is
//! [`MaxTokens`](crate::thinker::FinishReason::MaxTokens). It does not pass [`Propose::stop`] on: servers usually leave
//! the stop text out, while a proposal includes it. It pushes what the server sends and drops the connection when the
//! rules say that the proposal is over.
//!
//! [`Propose::max_tokens`]: crate::thinker::Propose::max_tokens
//! [`Propose::stop`]: crate::thinker::Propose::stop
//!
//! # Example
//!
//! A Thinker over any source of text pieces, without its channels:
//!
//! ```
//! use thinking::{
//!     session::Protocol,
//!     thinker::{Command, Event, Failure, FinishReason, ModelCard, Opened, Propose, Warmed},
//! };
//! # use thinking::thinker::{Open, Prompt, Sampling, ThoughtStart};
//!
//! /// Carries out one command; `source` gives the text that follows the committed text.
//! fn carry_out<'a>(
//!     protocol: &mut Protocol,
//!     command: Command,
//!     source: impl Fn(&str) -> Vec<&'a str>,
//! ) -> Result<Vec<Event>, Failure> {
//!     let mut events = Vec::new();
//!     match command {
//!         Command::Open(open) => {
//!             protocol.open(&open)?;
//!             let card = ModelCard::default();
//!             events.push(Event::Opened(Box::new(Opened { card, prompt_tokens: 0, cached_tokens: 0 })));
//!             events.push(Event::Warmed(protocol.warmed()));
//!         }
//!         Command::Append(append) => {
//!             protocol.append(&append)?;
//!             // The Thinker itself fills in what the command cost.
//!             events.push(Event::Warmed(Warmed { tokens: 1, ..protocol.warmed() }));
//!         }
//!         Command::Propose(propose) => {
//!             let mut rules = protocol.propose(&propose)?;
//!             let mut reason = None;
//!             for piece in source(protocol.committed()) {
//!                 reason = rules.push(piece, 1);
//!                 events.extend(rules.delta(reason.as_ref()).map(Event::Delta));
//!                 if reason.is_some() {
//!                     break;
//!                 }
//!             }
//!             let reason = reason.unwrap_or_else(|| rules.end_of_text());
//!             events.push(Event::Finished(protocol.finish(rules, reason)));
//!         }
//!         Command::Commit { bytes } => {
//!             protocol.commit(bytes)?;
//!             events.push(Event::Warmed(protocol.warmed()));
//!         }
//!         Command::Cut(cut) => {
//!             protocol.cut(cut)?;
//!             events.push(Event::Warmed(protocol.warmed()));
//!         }
//!         Command::Cancel => {}
//!     }
//!     Ok(events)
//! }
//!
//! # let open = Open {
//! #     question_id: "q".into(),
//! #     prompt: Prompt::Raw("What is 7 times 8?".into()),
//! #     committed: String::new(),
//! #     sampling: Sampling::default(),
//! #     deadline: None,
//! #     thought: ThoughtStart::Unknown,
//! #     review: None,
//! # };
//! # let stop = vec!["\n\n".into()];
//! # let propose = Propose { max_tokens: 9, stop, watch: None, seed: 1, report_entropy: false };
//! let source = |_: &str| vec!["It is", " 56.\n", "\nYes", ", 56."];
//! let mut protocol = Protocol::default();
//! carry_out(&mut protocol, Command::Open(open), source)?;
//!
//! let events = carry_out(&mut protocol, Command::Propose(propose), source)?;
//! let Some(Event::Finished(finished)) = events.last() else { unreachable!() };
//! assert_eq!(finished.reason, FinishReason::Stop { end: 11 });
//! assert_eq!((finished.bytes, finished.tokens), (14, 3));
//!
//! carry_out(&mut protocol, Command::Commit { bytes: 11 }, source)?;
//! assert_eq!(protocol.committed(), "It is 56.\n\n");
//!
//! // There is nothing left to commit.
//! let refused = carry_out(&mut protocol, Command::Commit { bytes: 0 }, source).unwrap_err();
//! assert_eq!(refused.message, "no proposal is open to commit; propose first");
//! # Ok::<(), Failure>(())
//! ```

pub mod limits;
mod proposal;
mod protocol;
mod refusal;
pub mod review;

pub use proposal::ProposalRules;
pub use protocol::{HashedText, Protocol};
pub use refusal::Refusal;
