//! The ledger of an answer: what was shown, by whom, and what it cost in tokens, takeovers and time.
//!
//! Every token that a node made is counted once: as part of the answer, or as discarded.

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
    /// What was objected to last, until the large model's text stands there.
    objected: Option<Correction>,
}

/// Where the time since the ask went.
fn spent(proposal: &Proposal, now: std::time::Duration) -> Spent {
    let wall_us = proposal.wall_us(now);
    let timing = match (proposal.finished(), proposal.first_text_at) {
        (Some(finished), _) => finished.timing,
        // The node had no chance to say: from its first text on it was making tokens.
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

/// What text that is already in the transcript cost.
fn cost(writer: Writer, why: Why, tokens: u32, elapsed_us: u64) -> Span {
    let text = String::new();
    Span { writer, why, text, tokens: tokens.into(), elapsed_us, correction: None }
}

impl Ledger {
    /// Stop texts are looked for in what is committed from now on.
    pub(crate) fn look_for(&mut self, finder: Option<StopFinder>) {
        self.shown.look_for(finder);
    }

    /// Text is committed: shows it, as far as no stop text may begin there.
    pub(crate) fn show(&mut self, writer: Writer, why: Why, text: String, step: &mut Step) {
        if text.is_empty() {
            return;
        }
        let is_correction = (writer, why) == (Writer::Large, Why::Review);
        let correction = self.objected.take_if(|_| is_correction);
        // What it cost is added when that is known.
        self.transcript.push_text(writer, why, &text, correction.clone());
        let time = &mut self.summary.time;
        self.shown.push(Text { writer, why, text, correction }, |text| {
            time.first_text_us.get_or_insert(micros(step.now));
            step.tell(Progress::Text(text));
        });
    }

    /// The stop text that is committed, if one is.
    pub(crate) fn stopped_by(&self) -> Option<&str> {
        self.shown.stopped_by()
    }

    /// No more text is committed: shows what was held back, unless a stop text was found.
    pub(crate) fn finish_text(&mut self, step: &mut Step) {
        let time = &mut self.summary.time;
        self.shown.finish(|text| {
            time.first_text_us.get_or_insert(micros(step.now));
            step.tell(Progress::Text(text));
        });
    }

    /// The answer is what was shown of it. What was committed behind that was made all the same, so its tokens count.
    pub(crate) fn cut_to_shown(&mut self) {
        for cut in self.transcript.cut(self.shown.bytes()) {
            let bytes = cut.text.len() as u64;
            let role = match cut.writer {
                Writer::Small => Role::Small,
                Writer::Large => Role::Large,
                Writer::Policy => continue,
            };
            self.summary.model_mut(role).text_bytes -= bytes;
            // A correction is no takeover.
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

    /// A session has committed text in its cache. Prefill that its side's proposal had to wait for is not "ahead".
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

    /// A side's node made so many passes more, in thousandths.
    pub(crate) fn passed(&mut self, role: Role, passes_milli: u32) {
        let passes = &mut self.summary.model_mut(role).passes_milli;
        *passes = passes.saturating_add(passes_milli.into());
    }

    /// A proposal is waited for no more.
    pub(crate) fn finished(&mut self, proposal: &Proposal, step: &Step) {
        let role = proposal.ask.role;
        self.summary.spent_mut(role).add(&spent(proposal, step.now));
        self.summary.model_mut(role).prefill_tokens += u64::from(proposal.prefill_tokens());
    }

    /// The policy's own text is in the small node's cache.
    pub(crate) fn inserted(&mut self, why: Why, warmed: &Warmed) {
        self.summary.inserted_tokens += u64::from(warmed.tokens);
        self.transcript.push(cost(Writer::Policy, why, warmed.tokens, 0));
    }

    /// The large model objects. What it has instead may follow.
    pub(crate) fn objected(&mut self, objected: &Objected) {
        let Objected { stood, gap, .. } = objected;
        self.objected = Some(Correction { stood: stood.clone(), gap: *gap });
    }

    /// The large model's text stands where the small one's was objected to. It was in the verdict: nobody wrote it.
    pub(crate) fn corrected(&mut self, why: Why, text: String, tokens: u32, step: &mut Step) {
        let bytes = text.len() as u64;
        self.show(Writer::Large, why, text, step);
        self.transcript.push(cost(Writer::Large, why, tokens, 0));
        self.summary.corrections += 1;
        let totals = self.summary.model_mut(Role::Large);
        totals.tokens += u64::from(tokens);
        totals.text_bytes += bytes;
    }

    /// A proposal's first bytes are part of the answer. `interrupted`: its node was lost, or the
    /// answer ended, before its end.
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

    /// What is known of a cancelled proposal, beyond what was known when it was cancelled.
    pub(crate) fn cancelled(&mut self, role: Role, cancelled: &CancelledProposal) {
        let CancelledProposal { proposal, counted_tokens } = cancelled;
        let more = u64::from(proposal.text.tokens_made().saturating_sub(*counted_tokens));
        self.summary.model_mut(role).discarded_tokens += more;
    }

    /// A session is gone: nothing more comes of its cancelled proposals.
    pub(crate) fn gone(&mut self, session: &SessionState) {
        for cancelled in &session.cancelled {
            self.cancelled(session.node.role, cancelled);
        }
    }
}
