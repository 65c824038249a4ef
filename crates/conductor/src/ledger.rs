//! The ledger of an answer: what was shown, who wrote it, and what it cost in tokens, takeovers and time.
//!
//! Every token that a node generated is counted once: as part of the answer, or as discarded.

use std::mem;

use thinking::{
    policy::{Role, Why},
    stops::StopFinder,
    thinker::{Timing, Warmed},
    transcript::{Correction, Span, Transcript, Writer},
};

use crate::{
    account::{Spent, Summary, Takeover},
    micros,
    port::Step,
    progress::{Objected, Progress, Text},
    proposal::Proposal,
    session::{CancelledProposal, SessionState},
    shown::ShownText,
};

/// What was shown and what it cost.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) transcript: Transcript,
    pub(crate) summary: Summary,
    shown: ShownText,
    /// The last objection, until the large model's text replaces what it rejects.
    objected: Option<Correction>,
}

/// Returns where the time since the ask went.
fn spent(proposal: &Proposal, now: std::time::Duration) -> Spent {
    let wall_us = proposal.wall_us(now);
    let timing = match (proposal.finished(), proposal.first_text_at) {
        (Some(finished), _) => finished.timing,
        // The node had no chance to report: from its first text on, it was generating tokens.
        (None, Some(first)) => {
            Timing { decode_us: micros(now.saturating_sub(first)), ..Timing::default() }
        }
        (None, None) => Timing::default(),
    };
    let prefill_us = timing.prefill_us.saturating_add(proposal.late_prefill_us).min(wall_us);
    let decode_us = timing.decode_us.min(wall_us - prefill_us);
    let queue_us = timing.queue_us.min(wall_us - prefill_us - decode_us);
    let network_us = wall_us - prefill_us - decode_us - queue_us;
    Spent { queue_us, prefill_us, decode_us, network_us }
}

/// Returns the cost of text that is already in the transcript.
fn cost(writer: Writer, why: Why, tokens: u32, elapsed_us: u64) -> Span {
    let text = String::new();
    Span { writer, why, text, tokens: tokens.into(), elapsed_us, correction: None }
}

impl Ledger {
    /// Searches for stop texts in everything that is committed from now on.
    pub(crate) fn look_for(&mut self, finder: Option<StopFinder>) {
        self.shown.look_for(finder);
    }

    /// Shows text that was committed, except an end where a stop text may begin.
    pub(crate) fn show(&mut self, writer: Writer, why: Why, text: String, step: &mut Step) {
        if text.is_empty() {
            return;
        }
        let is_correction = (writer, why) == (Writer::Large, Why::Review);
        let correction = self.objected.take_if(|_| is_correction);
        // Its cost is added once it is known.
        self.transcript.push_text(writer, why, &text, correction.clone());
        let time = &mut self.summary.time;
        self.shown.push(Text { writer, why, text, correction }, |text| {
            time.first_text_us.get_or_insert(micros(step.now));
            step.tell(Progress::Text(text));
        });
    }

    /// Returns the stop text that was committed, if any.
    pub(crate) fn stopped_by(&self) -> Option<&str> {
        self.shown.stopped_by()
    }

    /// Ends the text, and shows what was held back, unless a stop text was found.
    pub(crate) fn finish_text(&mut self, step: &mut Step) {
        let time = &mut self.summary.time;
        self.shown.finish(|text| {
            time.first_text_us.get_or_insert(micros(step.now));
            step.tell(Progress::Text(text));
        });
    }

    /// Cuts the transcript to what was shown. Tokens of the text committed after that still count, since they were
    /// generated.
    pub(crate) fn cut_to_shown(&mut self) {
        for cut in self.transcript.cut(self.shown.bytes()) {
            let bytes = cut.text.len() as u64;
            let role = match cut.writer {
                Writer::Small => Role::Small,
                Writer::Large => Role::Large,
                Writer::Policy => continue,
            };
            self.summary.model_mut(role).text_bytes -= bytes;
            // A correction is not a takeover.
            if role == Role::Large && !matches!(cut.why, Why::Turn | Why::Review) {
                let mut left = bytes;
                for takeover in self.summary.takeovers.iter_mut().rev() {
                    let of_it = left.min(takeover.text_bytes);
                    takeover.text_bytes -= of_it;
                    left -= of_it;
                }
            }
        }
    }

    /// Notes that a session has committed text in its cache. Prefill that its side's proposal had to wait for does not
    /// count as done ahead.
    pub(crate) fn warmed(
        &mut self,
        role: Role,
        warmed: &Warmed,
        proposal: Option<&mut Proposal>,
        step: &Step,
    ) {
        self.passed(role, warmed.passes_milli);
        let waits = |p: &&mut Proposal| p.is_running() && p.first_text_at.is_none();
        if let Some(proposal) = proposal.filter(waits) {
            proposal.prefilled(warmed.prefill_tokens, warmed.prefill_us, step.now);
        } else {
            self.summary.model_mut(role).warm_tokens += u64::from(warmed.prefill_tokens);
        }
    }

    /// Adds passes of a side's node, in thousandths.
    pub(crate) fn passed(&mut self, role: Role, passes_milli: u32) {
        let passes = &mut self.summary.model_mut(role).passes_milli;
        *passes = passes.saturating_add(passes_milli.into());
    }

    /// Notes that a proposal is no longer waited for. The first time counts.
    pub(crate) fn finished(&mut self, proposal: &mut Proposal, step: &Step) {
        if mem::replace(&mut proposal.is_counted, true) {
            return;
        }
        let role = proposal.ask.role;
        self.summary.spent_mut(role).add(&spent(proposal, step.now));
        self.summary.model_mut(role).prefill_tokens += u64::from(proposal.prefill_tokens());
    }

    /// Notes that the policy's own text is in the small node's cache.
    pub(crate) fn inserted(&mut self, why: Why, warmed: &Warmed) {
        self.summary.inserted_tokens += u64::from(warmed.tokens);
        self.transcript.push(cost(Writer::Policy, why, warmed.tokens, 0));
    }

    /// Notes an objection of the large model. Its replacement may follow.
    pub(crate) fn objected(&mut self, objected: &Objected) {
        let Objected { stood, gap, .. } = objected;
        self.objected = Some(Correction { stood: stood.clone(), gap: *gap });
    }

    /// Notes that the large model's text replaces text of the small one. It came with the verdict, so it took no time.
    pub(crate) fn corrected(&mut self, why: Why, text: String, tokens: u32, step: &mut Step) {
        let bytes = text.len() as u64;
        self.show(Writer::Large, why, text, step);
        self.transcript.push(cost(Writer::Large, why, tokens, 0));
        self.summary.corrections += 1;
        let totals = self.summary.model_mut(Role::Large);
        totals.tokens += u64::from(tokens);
        totals.text_bytes += bytes;
    }

    /// Notes that a proposal's first bytes are part of the answer. `interrupted`: its node was lost, or the answer
    /// ended, before the proposal did.
    pub(crate) fn kept(
        &mut self,
        proposal: &Proposal,
        bytes: usize,
        interrupted: bool,
        step: &Step,
    ) {
        let (role, why) = (proposal.ask.role, proposal.ask.why);
        let (tokens, discarded_tokens) = proposal.tokens_kept(bytes);
        let spent = spent(proposal, step.now);
        if bytes > 0 {
            self.transcript.push(cost(role.into(), why, tokens, spent.total_us()));
        }
        let totals = self.summary.model_mut(role);
        totals.tokens += u64::from(tokens);
        totals.text_bytes += bytes as u64;
        totals.discarded_tokens += u64::from(discarded_tokens);
        if role == Role::Large && why != Why::Turn && bytes > 0 {
            self.summary.takeovers.push(Takeover {
                ask: proposal.number,
                why,
                tokens,
                text_bytes: bytes as u64,
                interrupted,
                prefill_tokens: proposal.prefill_tokens(),
                handoff_us: proposal.first_text_us(),
                wall_us: spent.total_us(),
                spent,
            });
        }
    }

    /// Counts the tokens of a cancelled proposal that were not counted when it was cancelled.
    pub(crate) fn cancelled(&mut self, role: Role, cancelled: &CancelledProposal) {
        let CancelledProposal { proposal, counted_tokens } = cancelled;
        let more = u64::from(proposal.text.tokens_made().saturating_sub(*counted_tokens));
        self.summary.model_mut(role).discarded_tokens += more;
    }

    /// Notes that a session is over: nothing more arrives of its cancelled proposals.
    pub(crate) fn gone(&mut self, session: &SessionState) {
        for cancelled in &session.cancelled {
            self.cancelled(session.node.role, cancelled);
        }
    }
}
