//! What replay takes from a journal: who was asked in which order, what each step cost, and how much text there was.
//!
//! Here journals are judged: what cannot be replayed is refused with its reason. What does not live here: links and
//! simulated time.

use std::time::Duration;

use answer::{
    Progress, Summary, Takeover, Writer,
    journal::{Journal, QuestionNote},
    progress::{Asked, NodeFinished, NodeOpened},
};
use thinking::{
    policy::{End, PolicySpec, Role, Rules, Why},
    thinker::{TextHash, Timing},
};

use super::{
    error::ReplayError,
    sizes,
    warming::{Report, Warming},
};

/// What a journal was recorded over, which says what the time is that no node accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedOver {
    /// Loopback: that time is the programs' own handling of messages, which every link has too. It is kept.
    Loopback,
    /// Any other link: it is that link's, and is left out, with what the programs took to handle messages.
    Link,
}

/// A recorded answer, ready to be re-timed over any link, any number of times.
#[derive(Debug, Clone)]
pub struct Recording {
    pub(super) question: String,
    /// Tells its draws from those of other questions.
    pub(super) draw: u64,
    pub(super) deadline: Option<Duration>,
    pub(super) keep_warm: bool,
    pub(super) small_timeout: Duration,
    pub(super) large_timeout: Duration,
    /// The longest that the policy waits for a takeover's first text.
    pub(super) takeover_deadline: Option<Duration>,
    pub(super) text: String,
    pub(super) prompt_bytes: usize,
    pub(super) watch: Option<Watch>,
    /// Both nodes have the same tokenizer, so that ids travel with text.
    pub(super) share_ids: bool,
    pub(super) small: NodeCosts,
    /// Absent where the policy had no use for one.
    pub(super) large: Option<NodeCosts>,
    pub(super) asks: Vec<AskCosts>,
    /// What the policy did at the begin, and after each thing that it waited for.
    pub(super) turns: Vec<Vec<Act>>,
    pub(super) takeovers: Vec<Takeover>,
}

/// What the small node watches for while it writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// Length of the window after a paragraph break, within which text may still be cut.
    pub(super) window_bytes: usize,
    /// Its size in a message.
    pub(super) bytes: usize,
}

/// What a node's session cost beside its proposals.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeCosts {
    /// From the question's arrival until it was accepted.
    pub(super) accept_us: u64,
    pub(super) card_bytes: usize,
    pub(super) warming: Warming,
}

/// What one ask cost.
#[derive(Debug, Clone)]
pub(super) struct AskCosts {
    pub(super) number: u32,
    pub(super) role: Role,
    pub(super) why: Why,
    /// Where in the answer it begins.
    pub(super) base: usize,
    pub(super) provisional: bool,
    pub(super) tokens: u32,
    pub(super) bytes: usize,
    /// How much of it became part of the answer.
    pub(super) kept: usize,
    pub(super) timing: Timing,
    /// From the moment when the node turns to it to its first text, and from there to its end; with the handling of
    /// messages where that is kept.
    pub(super) first_us: u64,
    pub(super) rest_us: u64,
    /// The handling in the two.
    pub(super) handling_us: u64,
}

/// What a policy did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// It asked; the index of the ask.
    Ask(usize),
    /// It kept the begin of what an ask had given.
    Keep(usize),
    /// It wrote so many bytes itself.
    Insert(usize),
}

impl Recording {
    /// Takes from a journal what replay needs.
    ///
    /// # Errors
    /// When the journal has no end, the answer did not end by itself, a node was lost or sent its text again, two asks
    /// overlap, or events contradict each other.
    pub fn new(journal: &Journal, over: RecordedOver) -> Result<Recording, ReplayError> {
        let question = &journal.header.question;
        let summary = ended(journal)?;
        if journal.header.settings.resend {
            return Err(ReplayError::Resent { question: question.id.clone() });
        }
        let policy = &journal.header.policy;
        if policy.limits.targets.latency.is_some() {
            let why = "its policy went by the time that things took, over this link".to_owned();
            return Err(ReplayError::Disturbed { question: question.id.clone(), why });
        }
        let mut reader = Reader::new(&question.id, over);
        for stamped in &journal.events {
            reader.take(stamped.at_us, &stamped.progress)?;
        }
        let settings = &journal.header.settings;
        let fingerprint = |node: &Option<NodeOpened>| {
            node.as_ref().map(|node| node.card.tokenizer_fingerprint.clone())
        };
        let (small, large) =
            (fingerprint(&reader.nodes[0].opened), fingerprint(&reader.nodes[1].opened));
        reader.check()?;
        let Reader { nodes: [small_node, large_node], asks, turns, text, .. } = reader;
        Ok(Recording {
            question: question.id.clone(),
            draw: TextHash::of(&question.id).0 ^ question.seed,
            deadline: question.deadline_ms.map(Duration::from_millis),
            keep_warm: settings.keep_warm,
            small_timeout: settings.small_timeout,
            large_timeout: settings.large_timeout,
            takeover_deadline: policy.limits.deadline,
            text,
            prompt_bytes: prompt_bytes(question),
            watch: watch(policy),
            share_ids: small.as_ref().is_some_and(|small| !small.is_empty()) && small == large,
            small: small_node.costs(over),
            large: journal.header.large.is_some().then(|| large_node.costs(over)),
            asks,
            turns,
            takeovers: summary.takeovers.clone(),
        })
    }

    /// The question's id.
    pub fn question(&self) -> &str {
        &self.question
    }
}

/// The summary of an answer that ended by itself, with both nodes to the end.
fn ended(journal: &Journal) -> Result<&Summary, ReplayError> {
    let question = || journal.header.question.id.clone();
    let Some(Progress::Ended(summary)) = journal.events.last().map(|last| &last.progress) else {
        return Err(ReplayError::Incomplete { question: question() });
    };
    let stopped = |why: String| Err(ReplayError::Stopped { question: question(), why });
    let disturbed = |why: String| Err(ReplayError::Disturbed { question: question(), why });
    if let Some(failure) = &summary.failure {
        return stopped(failure.message.clone());
    }
    match summary.end {
        Some(End::EndOfText | End::MaxTokens | End::ContextFull) => {}
        Some(End::Deadline) => return stopped("its deadline passed".to_owned()),
        Some(End::Cancelled) => return stopped("it was cancelled".to_owned()),
        Some(End::Loop) => return stopped("it went round in a loop".to_owned()),
        None => return stopped("its summary does not say why".to_owned()),
    }
    if let Some(reason) = &summary.degraded {
        return disturbed(format!("the small model went on without the large one ({reason})"));
    }
    if summary.loops > 0 {
        return disturbed("it was cut off where it went round in a loop".to_owned());
    }
    if summary.resumes > 0 {
        return disturbed("another small node took it up".to_owned());
    }
    if summary.large_resumes > 0 {
        return disturbed("another large node took it up".to_owned());
    }
    if summary.hash_repairs > 0 {
        return disturbed("a node was sent its text again".to_owned());
    }
    Ok(summary)
}

fn prompt_bytes(question: &QuestionNote) -> usize {
    const ROLE: usize = 10;
    let messages = question.messages.iter().flatten();
    let messages: usize = messages.map(|message| message.content.len() + ROLE).sum();
    let raw = question.raw_prompt.as_ref().map_or(0, String::len);
    question.id.len() + messages + raw
}

/// The watch of a policy that has one.
fn watch(policy: &PolicySpec) -> Option<Watch> {
    let Rules::Strict(config) = &policy.rules else { return None };
    if config.every_break {
        return None;
    }
    let phrases = config.keywords.phrases();
    let bytes = phrases.iter().map(|phrase| sizes::phrase(phrase.text.len())).sum();
    Some(Watch { window_bytes: usize::try_from(config.window_chars).unwrap_or(usize::MAX), bytes })
}

/// Goes through the events of a journal.
struct Reader<'a> {
    question: &'a str,
    over: RecordedOver,
    nodes: [NodeReader; 2],
    asks: Vec<AskCosts>,
    turns: Vec<Vec<Act>>,
    text: String,
    /// The ask that is not finished, and when it was made.
    running: Option<(usize, u64)>,
}

/// One node's part in it.
#[derive(Default)]
struct NodeReader {
    opened: Option<NodeOpened>,
    reports: Vec<Report>,
    /// Of the prompt's tokens, those that were not cached.
    prompt_tokens: u32,
}

impl NodeReader {
    fn costs(self, over: RecordedOver) -> NodeCosts {
        let warming = Warming::new(&self.reports);
        let Some(opened) = self.opened else {
            return NodeCosts { warming, ..NodeCosts::default() };
        };
        let accept_us = match over {
            // It may have been told late that the node had long begun.
            RecordedOver::Loopback => {
                warming.began_by_us().map_or(opened.open_us, |began| began.min(opened.open_us))
            }
            RecordedOver::Link => 0,
        };
        let card = &opened.card;
        let names = [&card.name, &card.family, &card.quantisation, &card.device];
        let card_bytes = names.iter().map(|name| name.len() + 2).sum::<usize>()
            + card.tokenizer_fingerprint.len();
        NodeCosts { accept_us, card_bytes, warming }
    }
}

impl<'a> Reader<'a> {
    fn new(question: &'a str, over: RecordedOver) -> Self {
        Reader {
            question,
            over,
            nodes: Default::default(),
            asks: Vec::new(),
            turns: vec![Vec::new()],
            text: String::new(),
            running: None,
        }
    }

    fn inconsistent(&self, why: String) -> ReplayError {
        ReplayError::Inconsistent { question: self.question.to_owned(), why }
    }

    fn act(&mut self, act: Act) {
        if let Some(turn) = self.turns.last_mut() {
            turn.push(act);
        }
    }

    fn node(&mut self, role: Role) -> &mut NodeReader {
        &mut self.nodes[usize::from(role == Role::Large)]
    }

    fn take(&mut self, at_us: u64, progress: &Progress) -> Result<(), ReplayError> {
        match progress {
            Progress::Opened(opened) => {
                let node = self.node(opened.role);
                node.prompt_tokens = opened.prompt_tokens.saturating_sub(opened.cached_tokens);
                node.opened = Some(opened.clone());
            }
            Progress::Ask(asked) => self.asked(at_us, asked)?,
            Progress::Text(text) => {
                self.text.push_str(&text.text);
                if text.writer == Writer::Policy {
                    self.act(Act::Insert(text.text.len()));
                    self.turns.push(Vec::new());
                }
            }
            Progress::Finished(finished) => self.finished(finished)?,
            Progress::Kept(kept) => {
                let index = self.asks.iter().rposition(|ask| ask.number == kept.ask);
                let Some(index) = index else {
                    return Err(
                        self.inconsistent(format!("ask {} is kept and never made", kept.ask))
                    );
                };
                self.asks[index].kept = usize::try_from(kept.bytes).unwrap_or(usize::MAX);
                self.act(Act::Keep(index));
            }
            Progress::Warmed(warmed) => {
                let committed_bytes = usize::try_from(warmed.committed_bytes).unwrap_or(usize::MAX);
                let own = self.is_own(warmed.role, committed_bytes);
                let node = self.node(warmed.role);
                let tokens = match (node.reports.is_empty(), own) {
                    (true, _) => node.prompt_tokens,
                    (false, true) => 0,
                    (false, false) => warmed.tokens,
                };
                let prefill_us = warmed.prefill_us;
                node.reports.push(Report { at_us, committed_bytes, tokens, prefill_us });
            }
            Progress::Abandoned(_) => {
                let question = self.question.to_owned();
                let why = "a takeover was given up because it was late".to_owned();
                return Err(ReplayError::Disturbed { question, why });
            }
            Progress::Degraded { .. }
            | Progress::Rejoined(_)
            | Progress::Repaired { .. }
            | Progress::Resumed(_) => {
                let (question, why) = (self.question.to_owned(), "a node was lost".to_owned());
                return Err(ReplayError::Disturbed { question, why });
            }
            Progress::Ended(_) => {}
        }
        Ok(())
    }

    fn asked(&mut self, at_us: u64, asked: &Asked) -> Result<(), ReplayError> {
        if self.running.is_some() {
            let question = self.question.to_owned();
            return Err(ReplayError::Overlapping { question, ask: asked.ask });
        }
        self.running = Some((self.asks.len(), at_us));
        self.act(Act::Ask(self.asks.len()));
        self.asks.push(AskCosts {
            number: asked.ask,
            role: asked.role,
            why: asked.why,
            base: usize::try_from(asked.committed_bytes).unwrap_or(usize::MAX),
            provisional: asked.provisional,
            tokens: 0,
            bytes: 0,
            kept: 0,
            timing: Timing::default(),
            first_us: 0,
            rest_us: 0,
            handling_us: 0,
        });
        Ok(())
    }

    /// Whether a node's text up to here ends with what it wrote itself.
    fn is_own(&self, role: Role, committed_bytes: usize) -> bool {
        let asks = self.asks.iter().filter(|ask| ask.role == role);
        asks.filter(|ask| ask.kept > 0).any(|ask| ask.base + ask.kept == committed_bytes)
    }

    fn finished(&mut self, finished: &NodeFinished) -> Result<(), ReplayError> {
        let number = finished.ask;
        let running = self.running.take().filter(|(index, _)| self.asks[*index].number == number);
        let Some((index, asked_us)) = running else {
            return Err(self.inconsistent(format!("ask {number} is finished and not under way")));
        };
        // As the driver counts: what was reported after the ask and before the first text was waited for.
        let wait_us = finished.first_text_us.unwrap_or(finished.wall_us);
        let mut late_us = 0;
        for report in &self.node(finished.role).reports {
            if (asked_us..=asked_us + wait_us).contains(&report.at_us) {
                late_us = (late_us + report.prefill_us).min(report.at_us - asked_us);
            }
        }
        let Timing { queue_us, prefill_us, decode_us } = finished.timing;
        let tokens = finished.tokens.max(1);
        let computed_us = queue_us + prefill_us + decode_us;
        let (first_us, all_us) = match self.over {
            RecordedOver::Link => {
                (computed_us - decode_us + decode_us / u64::from(tokens), computed_us)
            }
            RecordedOver::Loopback => {
                (wait_us.saturating_sub(late_us), finished.wall_us.saturating_sub(late_us))
            }
        };
        let ask = &mut self.asks[index];
        ask.tokens = finished.tokens;
        ask.bytes = usize::try_from(finished.bytes).unwrap_or(usize::MAX);
        ask.timing = finished.timing;
        (ask.first_us, ask.rest_us) = (first_us.min(all_us), all_us.saturating_sub(first_us));
        ask.handling_us = all_us.saturating_sub(computed_us);
        self.turns.push(Vec::new());
        Ok(())
    }

    /// Whether what was read makes sense as a whole.
    fn check(&self) -> Result<(), ReplayError> {
        if self.running.is_some() {
            return Err(self.inconsistent("its last ask was never finished".to_owned()));
        }
        if self.nodes[0].opened.is_none() {
            return Err(self.inconsistent("its small node never accepted the question".to_owned()));
        }
        for ask in &self.asks {
            if ask.kept > ask.bytes || ask.base.saturating_add(ask.kept) > self.text.len() {
                let why = format!("more is kept of ask {} than there is text", ask.number);
                return Err(self.inconsistent(why));
            }
        }
        let waits = |turn: &Vec<Act>| turn.iter().any(|act| !matches!(act, Act::Keep(_)));
        let before = self.turns.split_last().map_or(&[][..], |(_, before)| before);
        if !before.iter().all(waits) {
            return Err(self.inconsistent("nobody was asked in the middle of it".to_owned()));
        }
        Ok(())
    }
}
