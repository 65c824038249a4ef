//! The books of an answer: tokens, takeovers, time, bytes.

use std::time::Duration;

use thinking::{
    policy::{Measured, Role, Why},
    thinker::{Timing, Warmed},
    transcript::{Span, Writer},
};

use super::{
    Awaiting, Driver, Ended, Outcome,
    draft::Draft,
    link::{Forgotten, Link},
    micros,
};
use crate::{
    account::{Spent, Takeover},
    progress::Progress,
    question::{Node, Traffic},
};

/// Counts a node's traffic during this answer.
#[derive(Debug)]
pub(super) struct Meter {
    role: Role,
    node: Node,
    before: Option<Traffic>,
}

impl Meter {
    pub(super) fn start(role: Role, node: &Node) -> Self {
        Meter { role, node: node.clone(), before: node.traffic() }
    }

    fn read(&self) -> Option<Traffic> {
        let (before, now) = (self.before?, self.node.traffic()?);
        Some(Traffic {
            sent_bytes: now.sent_bytes.saturating_sub(before.sent_bytes),
            received_bytes: now.received_bytes.saturating_sub(before.received_bytes),
        })
    }
}

impl Draft {
    /// Tokens that had to be prefilled after it was asked for.
    pub(super) fn prefill_tokens(&self) -> u32 {
        let told = self.finished.as_ref().map_or(0, |finished| finished.prefill_tokens);
        self.late_prefill_tokens.saturating_add(told)
    }

    /// Where the time since the ask went.
    fn spent(&self) -> Spent {
        let wall_us = self.wall_us();
        let timing = match (&self.finished, self.first_text_at) {
            (Some(finished), _) => finished.timing,
            // The node had no chance to say: from its first text on it was making tokens.
            (None, Some(first)) => {
                Timing { decode_us: micros(first.elapsed()), ..Timing::default() }
            }
            (None, None) => Timing::default(),
        };
        let prefill_us = timing.prefill_us.saturating_add(self.late_prefill_us).min(wall_us);
        let decode_us = timing.decode_us.min(wall_us - prefill_us);
        let queue_us = timing.queue_us.min(wall_us - prefill_us - decode_us);
        let network_us = wall_us - prefill_us - decode_us - queue_us;
        Spent { queue_us, prefill_us, decode_us, network_us }
    }
}

/// What text that is already in the transcript cost.
fn cost(writer: Writer, why: Why, tokens: u32, elapsed_us: u64) -> Span {
    Span { writer, why, text: String::new(), tokens: tokens.into(), elapsed_us }
}

impl Driver<'_> {
    /// What a policy may want to know beside the event that comes next.
    pub(super) fn measured(&self) -> Measured {
        // While there is one of the large node, the small one's is nothing that is waited for.
        let draft = match self.awaiting {
            Awaiting::Finished(_) => self.large_draft.as_ref().or(self.small_draft.as_ref()),
            Awaiting::Opened | Awaiting::Inserted { .. } => None,
        };
        let opening = |link: &Link| link.opened_in.unwrap_or_else(|| link.opened_at.elapsed());
        let begun = draft.filter(|draft| !draft.was_disturbed());
        Measured {
            elapsed: self.started.elapsed(),
            large_opened: self.large.as_ref().map(opening),
            first_text: begun.and_then(|draft| Some(draft.first_text_at? - draft.asked_at)),
            wall: draft.map_or(Duration::ZERO, |draft| Duration::from_micros(draft.wall_us())),
        }
    }

    pub(super) fn tally_warmed(&mut self, role: Role, warmed: &Warmed) {
        // Prefill that a proposal had to wait for is not "ahead".
        let waiting = self.draft(role).as_mut().filter(|draft| {
            draft.attached && draft.finished.is_none() && draft.first_text_at.is_none()
        });
        if let Some(draft) = waiting {
            draft.late_prefill_tokens =
                draft.late_prefill_tokens.saturating_add(warmed.prefill_tokens);
            // What it took before the ask kept nobody waiting.
            let waited_us = micros(draft.asked_at.elapsed());
            let prefill_us = draft.late_prefill_us.saturating_add(warmed.prefill_us);
            draft.late_prefill_us = prefill_us.min(waited_us);
        } else {
            self.summary.model_mut(role).warm_tokens += u64::from(warmed.prefill_tokens);
        }
    }

    pub(super) fn tally_finished(&mut self, draft: &Draft) {
        let role = draft.ask.role;
        self.summary.spent_mut(role).add(&draft.spent());
        self.summary.model_mut(role).prefill_tokens += u64::from(draft.prefill_tokens());
    }

    /// The policy's own text is in the small node's cache.
    pub(super) fn tally_inserted(&mut self, why: Why, warmed: &Warmed) {
        self.summary.inserted_tokens += u64::from(warmed.tokens);
        self.transcript.push(cost(Writer::Policy, why, warmed.tokens, 0));
    }

    /// A draft's first bytes are part of the answer.
    pub(super) fn tally_kept(&mut self, draft: &Draft, bytes: usize) {
        let role = draft.ask.role;
        let tokens = draft.tokens_to(bytes);
        if bytes > 0 {
            let (writer, elapsed_us) = (role.into(), draft.spent().total_us());
            self.transcript.push(cost(writer, draft.ask.why, tokens, elapsed_us));
        }
        let discarded = draft.tokens_discarded(bytes);
        let totals = self.summary.model_mut(role);
        totals.tokens += u64::from(tokens);
        totals.text_bytes += bytes as u64;
        totals.discarded_tokens += u64::from(discarded);
        if role == Role::Large && draft.ask.why != Why::Turn && bytes > 0 {
            let spent = draft.spent();
            self.summary.takeovers.push(Takeover {
                ask: draft.number,
                why: draft.ask.why,
                tokens,
                text_bytes: bytes as u64,
                interrupted: draft.interrupted,
                prefill_tokens: draft.prefill_tokens(),
                handoff_us: draft.first_text_at.map(|at| micros(at - draft.asked_at)),
                wall_us: spent.total_us(),
                spent,
            });
        }
    }

    /// What is known of a proposal that was cancelled and forgotten, beyond what was known then.
    pub(super) fn tally_forgotten(&mut self, role: Role, forgotten: &Forgotten) {
        let Forgotten { draft, counted_tokens } = forgotten;
        let more = u64::from(draft.tokens_made().saturating_sub(*counted_tokens));
        self.summary.model_mut(role).discarded_tokens += more;
    }

    /// Closes the books.
    pub(super) fn conclude(mut self, ended: Ended) -> Outcome {
        for role in [Role::Small, Role::Large] {
            if let Some(mut draft) = self.draft(role).take() {
                // What was shown of it is part of the answer.
                if draft.finished.is_none() {
                    self.tally_finished(&draft);
                }
                draft.interrupted = true;
                self.tally_kept(&draft, draft.shown);
            }
            let forgotten = self.link(role).map(|link| std::mem::take(&mut link.forgotten));
            for forgotten in forgotten.iter().flatten() {
                self.tally_forgotten(role, forgotten);
            }
        }
        match &ended {
            Ended::Complete(end) => self.summary.end = Some(*end),
            Ended::Failed { failure, .. } => self.summary.failure = Some(failure.clone()),
        }
        for meter in &self.meters {
            if let Some(read) = meter.read() {
                let traffic = self.summary.model_mut(meter.role).traffic.get_or_insert_default();
                traffic.sent_bytes += read.sent_bytes;
                traffic.received_bytes += read.received_bytes;
            }
        }
        let time = &mut self.summary.time;
        time.total_us = micros(self.started.elapsed());
        time.other_us = time.total_us.saturating_sub(time.small.total_us() + time.large.total_us());
        self.tell(Progress::Ended(Box::new(self.summary.clone())));
        Outcome { ended, transcript: self.transcript, summary: self.summary }
    }
}
