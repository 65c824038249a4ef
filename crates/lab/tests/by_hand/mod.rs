//! Hand-made journals in which every step has its stated cost and nothing lies between.
#![allow(dead_code, reason = "each test program takes what it needs")]
#![allow(unreachable_pub, reason = "a test program has no outside")]

pub mod sweep;

use answer::{
    Progress, Question, Settings, Stamped, Summary, Takeover,
    account::Spent,
    journal::{Header, Journal},
    progress::{Asked, DeltaLog, Kept, NodeFinished, NodeOpened, NodeWarmed, Text},
};
use thinking::{
    beginning::AnswerBeginning,
    policy::{End, PolicySpec, Role, Why},
    stops::StopTexts,
    thinker::{Message, ModelCard, Prompt, Sampling, Timing},
};

/// One stretch of a hand-made answer.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    pub role: Role,
    pub tokens: u32,
    pub timing: Timing,
    /// How long the other node takes to read it.
    pub read_us: u64,
}

impl Stretch {
    pub fn bytes(self) -> u64 {
        u64::from(self.tokens) * 4
    }

    pub fn wall_us(self) -> u64 {
        self.timing.queue_us + self.timing.prefill_us + self.timing.decode_us
    }

    pub fn first_text_us(self) -> u64 {
        let decode_us = self.timing.decode_us;
        self.wall_us() - decode_us + decode_us / u64::from(self.tokens)
    }
}

pub fn stretch(role: Role, tokens: u32, decode_us: u64, read_us: u64) -> Stretch {
    Stretch { role, tokens, timing: Timing { decode_us, ..Timing::default() }, read_us }
}

/// The answer in most tests: small, large, small.
pub fn story() -> Vec<Stretch> {
    vec![
        stretch(Role::Small, 50, 100_000, 4_000),
        stretch(Role::Large, 20, 60_000, 3_000),
        stretch(Role::Small, 10, 20_000, 0),
        stretch(Role::Large, 30, 90_000, 2_000),
        stretch(Role::Small, 5, 10_000, 0),
    ]
}

pub fn question(id: &str) -> Question {
    Question {
        id: id.to_owned(),
        prompt: Prompt::Messages(vec![Message {
            role: "user".to_owned(),
            content: "What is 2 + 2?".to_owned(),
        }]),
        sampling: Sampling::default(),
        seed: 7,
        max_tokens: 1000,
        beginning: AnswerBeginning::default(),
        stop: StopTexts::default(),
        deadline: None,
    }
}

fn header(question: &Question, policy: PolicySpec, large: bool) -> Header {
    let large = large.then(|| "http://l".to_owned());
    Header::new(question, policy, Settings::default(), vec!["http://s".to_owned()], large)
}

/// The takeover for a stretch of the large model.
fn takeover(ask: u32, stretch: Stretch) -> Takeover {
    Takeover {
        ask,
        why: Why::Reflection,
        tokens: stretch.tokens,
        text_bytes: stretch.bytes(),
        interrupted: false,
        prefill_tokens: 0,
        handoff_us: Some(stretch.first_text_us()),
        wall_us: stretch.wall_us(),
        spent: Default::default(),
    }
}

/// The events of a stretch: the ask, the text, its end, and how much is kept. Times count from its ask.
fn told(ask: u32, committed_bytes: u64, stretch: Stretch, reason: &str) -> [(u64, Progress); 4] {
    let Stretch { role, tokens, timing, .. } = stretch;
    let why = if role == Role::Small { Why::Turn } else { Why::Reflection };
    let (bytes, wall_us) = (stretch.bytes(), stretch.wall_us());
    let asked =
        Asked { ask, role, why, max_tokens: tokens, provisional: false, seed: 0, committed_bytes };
    let text = Text::new(role.into(), why, "abc ".repeat(tokens as usize));
    let finished = NodeFinished {
        ask,
        role,
        reason: reason.to_owned(),
        trigger: None,
        tokens,
        bytes,
        prefill_tokens: 0,
        timing,
        first_text_us: Some(stretch.first_text_us()),
        wall_us,
        deltas: DeltaLog::default(),
    };
    [
        (0, Progress::Ask(asked)),
        (wall_us / 2, Progress::Text(text)),
        (wall_us, Progress::Finished(Box::new(finished))),
        (wall_us, Progress::Kept(Kept { ask, role, bytes, tokens, discarded_tokens: 0 })),
    ]
}

/// A journal in which every step has its stated cost and nothing lies between.
pub fn journal(question: &Question, policy: PolicySpec, stretches: &[Stretch]) -> Journal {
    let large = stretches.iter().any(|stretch| stretch.role == Role::Large);
    let mut events = Vec::new();
    let mut at_us = 0;
    let mut tell = |at_us: u64, progress| events.push(Stamped { at_us, progress });
    let roles = if large { &[Role::Small, Role::Large][..] } else { &[Role::Small] };
    let warmed = |role, committed_bytes, tokens, prefill_us| {
        let prefill_tokens = tokens;
        Progress::Warmed(NodeWarmed { role, committed_bytes, tokens, prefill_tokens, prefill_us })
    };
    for &role in roles {
        let (node, card) = (format!("{role:?}"), ModelCard::default());
        let opened =
            NodeOpened { role, node, card, prompt_tokens: 10, cached_tokens: 0, open_us: 0 };
        tell(0, Progress::Opened(Box::new(opened)));
        tell(0, warmed(role, 0, 0, 0));
    }
    let mut written = 0;
    let mut takeovers = Vec::new();
    for (ask, &stretch) in (0..).zip(stretches) {
        let reason = if ask as usize + 1 == stretches.len() { "end_of_text" } else { "stop" };
        for (after_us, progress) in told(ask, written, stretch, reason) {
            tell(at_us + after_us, progress);
        }
        at_us += stretch.wall_us();
        written += stretch.bytes();
        tell(at_us, warmed(stretch.role, written, stretch.tokens, 0));
        if large {
            // It was read while it was written, so the report is there when it is over.
            tell(at_us, warmed(stretch.role.other(), written, stretch.tokens, stretch.read_us));
        }
        if stretch.role == Role::Large {
            takeovers.push(takeover(ask, stretch));
        }
    }
    let summary = summary(stretches, takeovers);
    tell(at_us, Progress::Ended(Box::new(summary)));
    Journal { header: header(question, policy, large), events, truncated: false }
}

/// The summary that the driver would have written for these stretches.
fn summary(stretches: &[Stretch], takeovers: Vec<Takeover>) -> Summary {
    let mut summary = Summary { end: Some(End::EndOfText), takeovers, ..Summary::default() };
    for stretch in stretches {
        let (totals, spent, model) = match stretch.role {
            Role::Small => (&mut summary.small, &mut summary.time.small, "tiny"),
            Role::Large => (&mut summary.large, &mut summary.time.large, "less-tiny"),
        };
        let Timing { queue_us, prefill_us, decode_us } = stretch.timing;
        spent.add(&Spent { queue_us, prefill_us, decode_us, network_us: 0 });
        totals.tokens += u64::from(stretch.tokens);
        totals.text_bytes += stretch.bytes();
        totals.prompt_tokens = 10;
        totals.model = model.to_owned();
        summary.time.total_us += stretch.wall_us();
    }
    summary
}
