//! Reads the events of a journal and judges them: what cannot be replayed is refused with a reason.
//!
//! How an ask's pieces and costs are derived is in `asks`.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use answer::{
    Progress, Question, Summary, Writer,
    journal::{Header, Journal, QuestionNote},
    progress::{Abandoned, Asked, Kept, NodeFinished, NodeOpened, NodeWarmed, Text},
};
use thinking::{
    beginning::AnswerBeginning,
    policy::{Action, Ask, End, Limits, PolicyKind, Role, Targets},
    stops::StopTexts,
    thinker::{FinishReason, TextHash},
};

use super::{
    asks::AskNotes,
    error::ReplayError,
    policy::{Heard, Turn},
    recording::{AskEnd, NodeCosts, RecordedOver, Recording},
    sizes,
    warming::{Report, Warming},
};

/// No answer, and no time in it, is longer than this.
const LONGEST: Duration = Duration::from_secs(25 * 3600);

/// Reads a journal. See [`Recording::new`].
pub(super) fn read(journal: &Journal, over: RecordedOver) -> Result<Recording, ReplayError> {
    let Header { question: note, policy, settings, .. } = &journal.header;
    let question = &note.id;
    let end = ended(journal)?;
    if settings.resend {
        return Err(ReplayError::Resent { question: question.clone() });
    }
    if policy.limits.review.is_some() {
        return Err(ReplayError::Reviewed { question: question.clone() });
    }
    if policy.kind() == PolicyKind::Score {
        return Err(ReplayError::Scored { question: question.clone() });
    }
    let mut reader = Reader::new(question, &note.beginning, over);
    reader.sentences = sentences(journal);
    if policy.limits.targets.latency.is_some() {
        reader.times_decided("its policy depended on how long things took")?;
    }
    for stamped in &journal.events {
        reader.take(stamped.at_us, &stamped.progress)?;
    }
    reader.inserted(u64::MAX);
    reader.act(Action::End(end));
    reader.check(end)?;
    let Reader { nodes, asks, turns, text, .. } = reader;
    let watch = policy.watch();
    let asks = asks.into_iter().map(|notes| notes.recorded(&text, watch.as_ref(), over));
    let asks = asks.collect::<Result<_, String>>();
    let asks = asks.map_err(|why| ReplayError::Inconsistent { question: question.clone(), why })?;
    let [small, large] = nodes.map(|node| node.costs(over));
    let (near, far) = (&small.card.tokenizer_fingerprint, &large.card.tokenizer_fingerprint);
    let share_ids = !near.is_empty() && near == far;
    let phrases = watch.iter().flat_map(|watch| &watch.phrases);
    // Shares, costs, loops and the end of the thought depend only on the text, which is the recorded one.
    let Limits { deadline, overlap_tokens, targets, .. } = policy.limits;
    let targets = Targets { latency: targets.latency, ..Targets::default() };
    let name = journal.header.small.first().cloned().unwrap_or_default();
    Ok(Recording {
        // None of the stop texts is in the recorded text.
        question: Question { stop: StopTexts::default(), ..Question::from(note) },
        draw: TextHash::of(question).0 ^ note.seed,
        settings: *settings,
        limits: Limits { deadline, overlap_tokens, targets, ..Limits::default() },
        turns: turns.into(),
        end,
        prompt_bytes: prompt_bytes(note),
        watch_bytes: phrases.map(|phrase| sizes::phrase(phrase.text.len())).sum(),
        share_ids,
        small: NodeCosts { name, ..small },
        large: journal.header.large.clone().map(|name| NodeCosts { name, ..large }),
        asks,
    })
}

fn prompt_bytes(question: &QuestionNote) -> usize {
    const ROLE: usize = 10;
    let messages = question.messages.iter().flatten();
    let messages: usize = messages.map(|message| message.content.len() + ROLE).sum();
    let raw = question.raw_prompt.as_ref().map_or(0, String::len);
    question.id.len() + messages + raw
}

/// Returns how the answer ended, if it ended by itself with both nodes to the end.
fn ended(journal: &Journal) -> Result<End, ReplayError> {
    let question = || journal.header.question.id.clone();
    let Some(Progress::Ended(summary)) = journal.events.last().map(|last| &last.progress) else {
        return Err(ReplayError::Incomplete { question: question() });
    };
    let stopped = |why: String| Err(ReplayError::Stopped { question: question(), why });
    if let Some(failure) = &summary.failure {
        return stopped(failure.message.clone());
    }
    if let Some(why) = disturbance(summary) {
        return Err(ReplayError::Disturbed { question: question(), why });
    }
    match summary.end {
        Some(end @ (End::EndOfText | End::MaxTokens | End::ContextFull)) => Ok(end),
        Some(End::Deadline) => stopped("its deadline passed".to_owned()),
        Some(End::Loop) => stopped("it looped".to_owned()),
        Some(End::Stop) => stopped("a stop text occurred in the middle of a stretch".to_owned()),
        Some(End::Cancelled) => stopped("it was cancelled".to_owned()),
        None => stopped("its summary does not say why".to_owned()),
    }
}

fn disturbance(summary: &Summary) -> Option<String> {
    if let Some(reason) = &summary.degraded {
        return Some(format!("the small model continued without the large one ({reason})"));
    }
    let disturbances = [
        (summary.resumes, "another small node took it up"),
        (summary.large_resumes, "another large node took it up"),
        (summary.hash_repairs, "a node was sent its text again"),
        (summary.loops, "it was cut off because it looped"),
    ];
    let first = disturbances.into_iter().find(|(count, _)| *count > 0);
    first.map(|(_, what)| what.to_owned())
}

struct Reader<'a> {
    question: &'a str,
    /// The given beginning of the answer, with which the text starts.
    beginning: &'a AnswerBeginning,
    over: RecordedOver,
    nodes: [NodeReader; 2],
    asks: Vec<AskNotes>,
    turns: Vec<Turn>,
    text: String,
    /// The policy's own sentences that it has not inserted yet.
    sentences: VecDeque<Sentence>,
}

/// A sentence written by the policy. It may be shown in pieces and late, if it could begin a stop text. The model that
/// continues after it was asked when the sentence was complete.
struct Sentence {
    text: Text,
    /// Where it ends in the text, in bytes.
    end: u64,
}

/// Returns the sentences written by the policy.
fn sentences(journal: &Journal) -> VecDeque<Sentence> {
    let begins = journal.events.iter().filter_map(|stamped| match &stamped.progress {
        Progress::Ask(asked) => Some(asked.committed_bytes),
        _ => None,
    });
    let begins: BTreeSet<u64> = begins.collect();
    let (mut sentences, mut end) = (VecDeque::<Sentence>::new(), None);
    for stamped in &journal.events {
        let text = match &stamped.progress {
            Progress::Opened(opened) if opened.role == Role::Small => {
                let given = journal.header.question.beginning.text(opened.card.thought);
                end.get_or_insert(given.len() as u64);
                continue;
            }
            Progress::Text(text) => text,
            _ => continue,
        };
        let begin = end.unwrap_or(0);
        let behind = begin + text.text.len() as u64;
        end = Some(behind);
        if text.writer != Writer::Policy {
            continue;
        }
        match sentences.back_mut().filter(|it| it.end == begin && !begins.contains(&begin)) {
            Some(sentence) => {
                sentence.text.text.push_str(&text.text);
                sentence.end = behind;
            }
            None => sentences.push_back(Sentence { text: text.clone(), end: behind }),
        }
    }
    sentences
}

/// One node's part in the answer.
#[derive(Default)]
struct NodeReader {
    opened: Option<NodeOpened>,
    reports: Vec<Report>,
}

impl NodeReader {
    fn costs(self, over: RecordedOver) -> NodeCosts {
        let warming = Warming::new(&self.reports);
        let Some(opened) = self.opened else {
            return NodeCosts { warming, ..NodeCosts::default() };
        };
        let accept_us = match over {
            // The event may have been noticed long after the node began.
            RecordedOver::Loopback => {
                warming.began_by_us().map_or(opened.open_us, |began| began.min(opened.open_us))
            }
            RecordedOver::Link => 0,
        };
        NodeCosts {
            name: String::new(),
            accept_us,
            card: opened.card,
            prompt_tokens: opened.prompt_tokens,
            cached_tokens: opened.cached_tokens,
            warming,
            speeds: None,
        }
    }

    /// Returns how many of the prompt's tokens were not cached.
    fn prompt_tokens(&self) -> u32 {
        let opened = self.opened.as_ref();
        opened.map_or(0, |opened| opened.prompt_tokens.saturating_sub(opened.cached_tokens))
    }
}

impl<'a> Reader<'a> {
    fn new(question: &'a str, beginning: &'a AnswerBeginning, over: RecordedOver) -> Self {
        let first = Turn { heard: Heard::Started, actions: Vec::new() };
        let (nodes, asks) = (Default::default(), Vec::new());
        let (turns, text, sentences) = (vec![first], String::new(), VecDeque::new());
        Reader { question, beginning, over, nodes, asks, turns, text, sentences }
    }

    fn inconsistent(&self, why: String) -> ReplayError {
        ReplayError::Inconsistent { question: self.question.to_owned(), why }
    }

    fn disturbed(&self, why: &str) -> ReplayError {
        ReplayError::Disturbed { question: self.question.to_owned(), why: why.to_owned() }
    }

    /// Refuses a decision that depended on elapsed time, unless it was recorded over loopback. There the time is the
    /// nodes' own; over another link, replay would mistake the link's time for theirs.
    fn times_decided(&self, what: &str) -> Result<(), ReplayError> {
        match self.over {
            RecordedOver::Loopback => Ok(()),
            RecordedOver::Link => Err(self.disturbed(what)),
        }
    }

    fn act(&mut self, action: Action) {
        if let Some(turn) = self.turns.last_mut() {
            turn.actions.push(action);
        }
    }

    fn hear(&mut self, heard: Heard) {
        self.turns.push(Turn { heard, actions: Vec::new() });
    }

    fn node(&mut self, role: Role) -> &mut NodeReader {
        &mut self.nodes[role as usize]
    }

    /// Returns the ask with this number.
    fn ask(&mut self, number: u32) -> Option<&mut AskNotes> {
        self.asks.iter_mut().rev().find(|notes| notes.asked.ask == number)
    }

    fn take(&mut self, at_us: u64, progress: &Progress) -> Result<(), ReplayError> {
        if longest_us(at_us, progress) > LONGEST.as_micros() as u64 {
            return Err(self.inconsistent("a time in it is longer than a day".to_owned()));
        }
        match progress {
            Progress::Opened(opened) => {
                if opened.role == Role::Small && self.nodes[Role::Small as usize].opened.is_none() {
                    self.text.push_str(&self.beginning.text(opened.card.thought));
                }
                self.node(opened.role).opened = Some(NodeOpened::clone(opened));
            }
            Progress::Ask(asked) => self.asked(at_us, asked)?,
            Progress::Text(text) => self.text.push_str(&text.text),
            Progress::Finished(finished) => self.finished(finished)?,
            Progress::Kept(kept) => self.kept(at_us, kept)?,
            Progress::Warmed(warmed) => self.warmed(at_us, warmed),
            Progress::Abandoned(abandoned) => self.abandoned(abandoned)?,
            Progress::Objected(_) | Progress::Unreviewed(_) => {
                return Err(ReplayError::Reviewed { question: self.question.to_owned() });
            }
            Progress::Degraded { .. }
            | Progress::Rejoined(_)
            | Progress::Repaired { .. }
            | Progress::Hedged(_)
            | Progress::HedgeWon(_)
            | Progress::Resumed(_) => return Err(self.disturbed("a node was lost")),
            Progress::Ended(_) => {}
        }
        Ok(())
    }

    fn asked(&mut self, at_us: u64, asked: &Asked) -> Result<(), ReplayError> {
        let mut others = self.asks.iter().filter(|notes| notes.ended.is_none());
        if others.any(|other| !asked.is_overlap() || other.asked.role == asked.role) {
            let question = self.question.to_owned();
            return Err(ReplayError::Overlapping { question, ask: asked.ask });
        }
        // Overlaps are up to the limits, not to the policy.
        if !asked.is_overlap() {
            self.inserted(asked.committed_bytes);
            self.act(Action::Ask(ask_of(asked)));
        }
        self.asks.push(AskNotes::new(asked.clone(), at_us));
        Ok(())
    }

    /// Records that the policy inserted its sentences up to this position in the text.
    fn inserted(&mut self, end: u64) {
        while let Some(Sentence { text, .. }) = self.sentences.pop_front_if(|it| it.end <= end) {
            self.act(Action::Insert { text: text.text, why: text.why });
            self.hear(Heard::Inserted);
        }
    }

    fn finished(&mut self, finished: &NodeFinished) -> Result<(), ReplayError> {
        let number = finished.ask;
        let Some(notes) = self.ask(number).filter(|notes| notes.finished.is_none()) else {
            return Err(self.inconsistent(format!("ask {number} is finished but was not open")));
        };
        // The end of a cancelled ask comes late, and has no meaning.
        let was_running = notes.ended.is_none();
        notes.ended.get_or_insert(AskEnd::Finished);
        notes.finished = Some(finished.clone());
        let asked = notes.asked.clone();
        let (begin, wait_us) = (notes.at_us, finished.first_text_us.unwrap_or(finished.wall_us));
        // As the driver counts: what was reported after the ask and before the first text was waited for.
        let (mut late_us, mut late_tokens) = (0, 0_u32);
        for report in &self.node(asked.role).reports {
            if (begin..=begin + wait_us).contains(&report.at_us) {
                late_us = (late_us + report.prefill_us).min(report.at_us - begin);
                late_tokens = report.prefill_tokens.saturating_add(late_tokens);
            }
        }
        if let Some(notes) = self.ask(number) {
            (notes.late_us, notes.late_tokens) = (late_us, late_tokens);
        }
        if !was_running {
            return Ok(());
        }
        if asked.is_overlap() {
            // The policy wanted the same when the takeover was late: the limits treated this as its ask.
            self.act(Action::Ask(Ask { provisional: false, ..ask_of(&asked) }));
        }
        self.hear(Heard::Finished { tokens: finished.tokens });
        Ok(())
    }

    fn kept(&mut self, at_us: u64, kept: &Kept) -> Result<(), ReplayError> {
        let number = kept.ask;
        let is_over = |notes: &&mut AskNotes| notes.ended.is_some() || notes.asked.is_overlap();
        let Some(notes) = self.ask(number).filter(is_over) else {
            return Err(self.inconsistent(format!("ask {number} is kept but was never made")));
        };
        notes.kept = kept.bytes;
        let after_us = at_us.saturating_sub(notes.at_us);
        notes.ended.get_or_insert(AskEnd::Overtaken { after_us });
        // An unfinished overlap that is discarded is up to the limits or the conductor.
        if !notes.asked.is_overlap() || notes.finished.is_some() {
            self.act(Action::Keep { role: kept.role, bytes: kept.bytes });
        }
        Ok(())
    }

    fn abandoned(&mut self, abandoned: &Abandoned) -> Result<(), ReplayError> {
        self.times_decided("a takeover was given up because it was late")?;
        let number = abandoned.ask;
        let Some(notes) = self.ask(number).filter(|notes| notes.ended.is_none()) else {
            return Err(self.inconsistent(format!("ask {number} is given up but was not open")));
        };
        notes.ended = Some(AskEnd::GivenUp);
        self.hear(Heard::Finished { tokens: 0 });
        Ok(())
    }

    fn warmed(&mut self, at_us: u64, warmed: &NodeWarmed) {
        let committed_bytes = usize::try_from(warmed.committed_bytes).unwrap_or(usize::MAX);
        // The node's text up to here ends with text that it wrote itself.
        let own = self.asks.iter().any(|notes| notes.ends_at(warmed.role, warmed.committed_bytes));
        let node = self.node(warmed.role);
        let tokens = match (node.reports.is_empty(), own) {
            (true, _) => node.prompt_tokens(),
            (false, true) => 0,
            (false, false) => warmed.tokens,
        };
        let NodeWarmed { prefill_us, prefill_tokens, .. } = *warmed;
        node.reports.push(Report { at_us, committed_bytes, tokens, prefill_tokens, prefill_us });
    }

    /// Checks that the events make sense as a whole.
    fn check(&self, end: End) -> Result<(), ReplayError> {
        if self.asks.iter().any(|notes| notes.ended.is_none()) {
            return Err(self.inconsistent("its last ask was never finished".to_owned()));
        }
        if self.nodes[Role::Small as usize].opened.is_none() {
            return Err(self.inconsistent("its small node never accepted the question".to_owned()));
        }
        let whole = self.asks.iter().filter(|notes| notes.ended == Some(AskEnd::Finished));
        let mut reasons = whole.filter_map(|notes| notes.finished.as_ref()?.finish_reason());
        let is_told = match end {
            End::EndOfText => reasons.any(|reason| reason == FinishReason::EndOfText),
            End::ContextFull => reasons.any(|reason| reason == FinishReason::ContextFull),
            _ => true,
        };
        if !is_told {
            return Err(
                self.inconsistent("no node reports the end that its summary names".to_owned())
            );
        }
        let waits = |turn: &Turn| !matches!(turn.actions.last(), None | Some(Action::Keep { .. }));
        if !self.turns.iter().all(waits) {
            return Err(self.inconsistent("no model was asked in the middle of it".to_owned()));
        }
        Ok(())
    }
}

/// Returns what the policy asked for. Its stop condition is not needed: the node reported how it ended.
fn ask_of(asked: &Asked) -> Ask {
    let provisional = asked.provisional;
    Ask { provisional, ..Ask::new(asked.role, asked.why, asked.max_tokens) }
}

/// Returns the longest time in an event, in microseconds.
fn longest_us(at_us: u64, progress: &Progress) -> u64 {
    let within_us = match progress {
        Progress::Opened(opened) => opened.open_us,
        Progress::Warmed(warmed) => warmed.prefill_us,
        Progress::Finished(finished) => {
            let timing = &finished.timing;
            let node_us = timing.queue_us.max(timing.prefill_us).max(timing.decode_us);
            let told_us = finished.deltas.iter().last().map_or(0, |delta| delta.at_us);
            node_us.max(told_us).max(finished.wall_us).max(finished.first_text_us.unwrap_or(0))
        }
        _ => 0,
    };
    at_us.max(within_us)
}
