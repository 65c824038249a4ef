//! A simulated node's end of a session. It keeps the contract with the same rules as our nodes (`thinking::session`),
//! and otherwise behaves as they do:
//!
//! - Text takes time to get into the cache; queued appends are taken in together.
//! - After the deadline a proposal ends, and a session whose text is not in the cache fails.
//! - Text of others that does not fit the context fails the session. A model that fills the context while it writes
//!   ends its proposal.
//! - A decode step always completes before the session looks at its queue.

use std::{collections::VecDeque, time::Duration};

use thinking::{
    session::{ProposalRules, Protocol},
    thinker::{
        Code, Command, Delta, Event, Failure, FinishReason, ModelCard, Open, Opened, Propose,
        Timing, Warmed,
    },
};

use crate::{
    babble::{Babble, judge, tokens},
    lies::Lie,
    model::Model,
};

/// A node's end of a session.
#[derive(Debug)]
pub(crate) struct Host {
    model: Model,
    lie: Option<Lie>,
    protocol: Protocol,
    inbox: VecDeque<Command>,
    phase: Phase,
    deadline: Option<Duration>,
    /// Tokens of the prompt and the committed text.
    tokens: u32,
    /// Where each token of the last proposal ends, in bytes.
    ends: Vec<usize>,
    /// Where the text that others wrote last begins, in bytes of the committed text.
    others_from: usize,
    said: Vec<Event>,
    /// Steps computed after the current proposal was cancelled or the session was given up.
    steps_in_vain: u32,
    is_given_up: bool,
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// Prefilling committed text.
    Warming {
        answers: Vec<Warmed>,
        prefill_tokens: u32,
        began: Duration,
        until: Duration,
    },
    Proposing(Box<Running>),
    /// A finished proposal waits for its commit.
    Proposed,
    Over,
}

#[derive(Debug)]
struct Running {
    rules: ProposalRules,
    babble: Babble,
    began: Duration,
    /// When the current decode step ends.
    until: Duration,
    /// The entropy that the next delta reports.
    entropy: Option<f32>,
}

impl Running {
    fn delta(&mut self, reason: Option<&FinishReason>) -> Option<Delta> {
        let delta = self.rules.delta(reason)?;
        Some(Delta { first_token_entropy: self.entropy.take(), ..delta })
    }
}

impl Host {
    pub(crate) fn new(model: Model, lie: Option<Lie>) -> Self {
        Host {
            model,
            lie,
            protocol: Protocol::default(),
            inbox: VecDeque::new(),
            phase: Phase::Idle,
            deadline: None,
            tokens: 0,
            ends: Vec::new(),
            others_from: 0,
            said: Vec::new(),
            steps_in_vain: 0,
            is_given_up: false,
        }
    }

    /// Returns the text that it holds.
    pub(crate) fn committed(&self) -> &str {
        self.protocol.committed()
    }

    /// Returns whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Returns how many decode steps it began for a proposal after it was told that the proposal is unwanted.
    pub(crate) fn steps_in_vain(&self) -> u32 {
        self.steps_in_vain
    }

    /// Takes a command that has arrived.
    pub(crate) fn take(&mut self, command: Command) {
        self.inbox.push_back(command);
    }

    /// Notes that the caller gave the session up.
    pub(crate) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    /// Does what can be done now. Returns the events it sends, and when it continues by itself.
    pub(crate) fn work(&mut self, now: Duration) -> (Vec<Event>, Option<Duration>) {
        while !self.is_over() && self.step(now) {}
        let next = match &self.phase {
            Phase::Warming { until, .. } => Some(self.deadline.map_or(*until, |at| at.min(*until))),
            Phase::Proposing(running) => Some(running.until),
            Phase::Idle | Phase::Proposed | Phase::Over => None,
        };
        let said = std::mem::take(&mut self.said);
        let said = match self.lie {
            Some(lie) => said.into_iter().flat_map(|event| lie.told(event)).collect(),
            None => said,
        };
        (said, next)
    }

    fn fail(&mut self, failure: Failure) {
        self.said.push(Event::Failed(failure));
        self.phase = Phase::Over;
    }

    /// Takes one step. Returns whether another one may be possible now.
    fn step(&mut self, now: Duration) -> bool {
        let is_late = self.deadline.is_some_and(|deadline| deadline <= now);
        if self.is_given_up && !matches!(self.phase, Phase::Proposing(_)) {
            self.phase = Phase::Over;
        }
        match &mut self.phase {
            Phase::Over => false,
            Phase::Idle | Phase::Proposed => {
                let Some(command) = self.inbox.pop_front() else { return false };
                if let Err(failure) = self.carry_out(command, now) {
                    self.fail(failure);
                }
                true
            }
            Phase::Warming { .. } if is_late => {
                let message = "the deadline passed before the text was in the cache";
                self.fail(Failure::new(Code::DeadlineExceeded, message));
                false
            }
            Phase::Warming { .. } => self.merge_append(now) || self.answer_warmed(now),
            Phase::Proposing(running) if now < running.until => false,
            Phase::Proposing(_) if self.is_given_up => {
                self.phase = Phase::Over;
                false
            }
            Phase::Proposing(_) if self.inbox.front() == Some(&Command::Cancel) => {
                self.inbox.pop_front();
                self.finish(FinishReason::Cancelled, now);
                true
            }
            Phase::Proposing(_) if is_late => {
                self.finish(FinishReason::Deadline, now);
                true
            }
            Phase::Proposing(_) => {
                self.draw(now);
                true
            }
        }
    }

    fn carry_out(&mut self, command: Command, now: Duration) -> Result<(), Failure> {
        match command {
            Command::Open(open) => self.open(open, now),
            Command::Append(append) => {
                self.protocol.append(&append)?;
                let added = self.fit(&append.text)?;
                self.warm(added, if self.protocol.is_objecting() { 0 } else { added }, now);
                Ok(())
            }
            Command::Cut(cut) => {
                let is_accepted = self.protocol.cut(cut)?.is_some();
                let committed = self.protocol.committed();
                self.tokens = self.model.prompt_tokens + tokens(committed);
                self.others_from = match is_accepted {
                    true => committed.len(),
                    false => self.others_from.min(committed.len()),
                };
                // Answered at once: what is sent from here on is about the text after the cut.
                self.said.push(Event::Warmed(self.protocol.warmed()));
                Ok(())
            }
            Command::Propose(propose) => self.propose(propose, now),
            Command::Commit { bytes } => {
                let kept = self.protocol.commit(bytes)?.len();
                let added = self.ends.iter().filter(|end| **end <= kept).count();
                let is_cut = self.ends[..added].last().copied().unwrap_or(0) < kept;
                let added = added as u32 + u32::from(is_cut);
                self.tokens += added;
                self.others_from = self.protocol.committed().len();
                self.warm(added, u32::from(is_cut), now);
                Ok(())
            }
            Command::Cancel => Ok(()),
        }
    }

    fn open(&mut self, open: Open, now: Duration) -> Result<(), Failure> {
        self.protocol.open(&open)?;
        self.deadline = open.deadline.map(|left| now + left);
        self.tokens = self.model.prompt_tokens;
        let added = self.fit(&open.committed)?;
        let card = ModelCard {
            name: "babble".to_owned(),
            context_tokens: self.model.context_tokens,
            tokenizer_fingerprint: self.model.tokenizer.to_string(),
            thought: self.model.thought,
            can_review: self.model.can_review,
            can_report_entropy: self.model.can_report_entropy,
            ..ModelCard::default()
        };
        let prompt_tokens = self.model.prompt_tokens;
        self.said.push(Event::Opened(Box::new(Opened { card, prompt_tokens, cached_tokens: 0 })));
        self.warm(added, self.tokens, now);
        Ok(())
    }

    /// Counts text of another writer. Returns its tokens.
    fn fit(&mut self, text: &str) -> Result<u32, Failure> {
        let added = tokens(text);
        if self.tokens + added > self.model.context_tokens {
            let message = format!("the context holds {} tokens", self.model.context_tokens);
            return Err(Failure::new(Code::ContextTooLong, message));
        }
        self.tokens += added;
        Ok(added)
    }

    /// Starts prefilling the text that was just committed, to be answered by a `Warmed`.
    fn warm(&mut self, tokens: u32, uncomputed: u32, now: Duration) {
        let answer = Warmed { tokens, ..self.protocol.warmed() };
        let time = self.model.prefill * uncomputed;
        if let Phase::Warming { answers, prefill_tokens, until, .. } = &mut self.phase {
            answers.push(answer);
            *prefill_tokens += uncomputed;
            *until += time;
            return;
        }
        self.phase = Phase::Warming {
            answers: vec![answer],
            prefill_tokens: uncomputed,
            began: now,
            until: now + time,
        };
    }

    /// Takes in a queued append together with the last one. Returns whether it did.
    fn merge_append(&mut self, now: Duration) -> bool {
        let Some(Command::Append(append)) = self.inbox.front() else { return false };
        let append = append.clone();
        // An append that does not fit is left until its turn.
        let Ok(added) = self.fit(&append.text) else { return false };
        self.inbox.pop_front();
        if self.protocol.append(&append).is_ok() {
            self.warm(added, added, now);
        }
        true
    }

    fn answer_warmed(&mut self, now: Duration) -> bool {
        let Phase::Warming { answers, prefill_tokens, began, until } = &mut self.phase else {
            return false;
        };
        if now < *until {
            return false;
        }
        let objection = judge(&mut self.protocol, self.others_from, self.model);
        self.said.extend(objection.map(|it| Event::Objection(Box::new(it))));
        if let Some(last) = answers.last_mut() {
            last.prefill_tokens = *prefill_tokens;
            last.prefill_us = (now - *began).as_micros() as u64;
            last.reviewed_bytes = self.protocol.warmed().reviewed_bytes;
        }
        self.said.extend(answers.drain(..).map(Event::Warmed));
        self.phase = Phase::Idle;
        true
    }

    fn propose(&mut self, mut propose: Propose, now: Duration) -> Result<(), Failure> {
        if let Some(lie) = self.lie {
            lie.misheard(&mut propose);
        }
        let rules = self.protocol.propose(&propose)?;
        let is_endless = self.lie.is_some_and(Lie::is_endless);
        let length = if is_endless { u64::MAX } else { self.model.length };
        let model = Model { length, ..self.model };
        let babble = Babble::new(self.protocol.committed(), propose.seed, model);
        self.ends.clear();
        let until = now + self.model.decode;
        self.phase =
            Phase::Proposing(Box::new(Running { rules, babble, began: now, until, entropy: None }));
        if self.protocol.is_objecting() {
            self.finish(FinishReason::Cancelled, now);
        } else if self.is_full() {
            self.finish(FinishReason::ContextFull, now);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.tokens as usize + self.ends.len() >= self.model.context_tokens as usize
    }

    fn draw(&mut self, now: Duration) {
        let Phase::Proposing(running) = &mut self.phase else { return };
        if self.model.can_report_entropy && running.rules.wants_entropy(self.protocol.committed()) {
            running.entropy = Some(running.babble.entropy());
        }
        let mut reason = match running.babble.next() {
            Some(token) => running.rules.push(token, 1),
            None => Some(running.rules.end_of_text()),
        };
        if reason != Some(FinishReason::EndOfText) {
            self.ends.push(running.rules.text().len());
        }
        running.until = now + self.model.decode;
        if reason.is_none() && self.is_full() {
            reason = Some(FinishReason::ContextFull);
        }
        if let Some(reason) = reason {
            self.finish(reason, now);
        } else if let Phase::Proposing(running) = &mut self.phase {
            self.said.extend(running.delta(None).map(Event::Delta));
            let is_unwanted = self.is_given_up || self.inbox.front() == Some(&Command::Cancel);
            self.steps_in_vain += u32::from(is_unwanted);
        }
    }

    fn finish(&mut self, reason: FinishReason, now: Duration) {
        let proposing = std::mem::replace(&mut self.phase, Phase::Proposed);
        let Phase::Proposing(mut running) = proposing else { return };
        self.said.extend(running.delta(Some(&reason)).map(Event::Delta));
        let Running { rules, began, .. } = *running;
        let decode_us = (now - began).as_micros() as u64;
        let timing = Timing { decode_us, ..Timing::default() };
        let finished = self.protocol.finish(rules, reason);
        self.said.push(Event::Finished(thinking::thinker::Finished { timing, ..finished }));
    }
}
