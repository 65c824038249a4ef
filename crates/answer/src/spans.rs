//! The spans of an answer's trace: one for each time a model is asked to write, from the ask until its text is kept.
//! They hold only numbers and names of the program, never text.

use std::collections::BTreeMap;

use conductor::progress::{Asked, Progress};
use thinking::policy::{Role, Why};
use tracing::{Span, field::Empty, trace_span};

/// The open spans, by the number of the ask.
#[derive(Debug, Default)]
pub(crate) struct AskSpans(BTreeMap<u32, Span>);

impl AskSpans {
    /// Notes a progress report.
    pub(crate) fn see(&mut self, progress: &Progress) {
        match progress {
            Progress::Ask(asked) => {
                self.0.insert(asked.ask, begun(asked));
            }
            Progress::Finished(finished) => {
                if let Some(span) = self.0.get(&finished.ask) {
                    span.record("tokens", finished.tokens).record("end", &finished.reason);
                }
            }
            Progress::Abandoned(abandoned) => {
                if let Some(span) = self.0.get(&abandoned.ask) {
                    span.record("end", "abandoned");
                }
            }
            Progress::Kept(kept) => {
                if let Some(span) = self.0.remove(&kept.ask) {
                    span.record("kept_tokens", kept.tokens);
                }
            }
            _ => {}
        }
    }
}

/// Opens the span of a takeover, or of another ask.
fn begun(asked: &Asked) -> Span {
    let Asked { ask, role, why, max_tokens, .. } = asked;
    macro_rules! span {
        ($name:literal) => {
            trace_span!(
                target: traces::TARGET,
                $name,
                ask,
                writer = %role,
                why = %why,
                max_tokens,
                tokens = Empty,
                kept_tokens = Empty,
                end = Empty
            )
        };
    }
    if *role == Role::Large && *why != Why::Turn { span!("takeover") } else { span!("proposal") }
}
