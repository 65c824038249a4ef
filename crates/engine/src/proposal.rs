//! A proposal while it is being made: its text, the rules that end it, the deltas that tell of it.
//!
//! It is given tokens one by one and says when it is over. Drawing them is [`crate::sample`]'s
//! business, computing them [`crate::scheduler`]'s.

use text::{Detokenizer, Tokenizer};
use thinking::{
    thinker::{Delta, FinishReason, Propose},
    trigger::Matcher,
};

use crate::sample::Draws;

/// Where paragraphs end when the watch does not say.
const PARAGRAPH_BREAK: &str = "\n\n";

/// A proposal, open or still being made.
#[derive(Debug)]
pub(crate) struct Proposal {
    ask: Propose,
    /// The session's length in tokens when it began.
    start: usize,
    text: String,
    /// One for each of its tokens that is in the session.
    marks: Vec<Mark>,
    detokenizer: Detokenizer,
    matcher: Option<Matcher>,
    draws: Draws,
    /// Tokens made, an end-of-text token counted.
    made: u32,
    unsent: Unsent,
}

/// Where the text stood after a token.
#[derive(Debug, Clone, Copy)]
struct Mark {
    text_end: usize,
    /// Whether the token ended with a whole character: it can be cut behind it.
    clean: bool,
}

/// What the next delta will tell beside the text.
#[derive(Debug, Default)]
struct Unsent {
    start: usize,
    tokens: u32,
    token_ids: Vec<u32>,
    first_token_entropy: Option<f32>,
}

impl Proposal {
    /// A proposal that continues this text; `start` is the session's length in tokens.
    pub(crate) fn new(ask: Propose, start: usize, committed: &str) -> Self {
        Proposal {
            matcher: ask.watch.clone().map(|watch| Matcher::new(watch, committed)),
            draws: Draws::new(ask.seed),
            ask,
            start,
            text: String::new(),
            marks: Vec::new(),
            detokenizer: Detokenizer::new(),
            made: 0,
            unsent: Unsent::default(),
        }
    }

    /// Takes a token that is not an end of text. Answers why the proposal is over, if it is.
    pub(crate) fn push(&mut self, token: u32, tokenizer: &Tokenizer) -> Option<FinishReason> {
        self.made += 1;
        let before = self.text.len();
        let piece = tokenizer.piece(token);
        self.detokenizer.push(piece, &mut self.text);
        self.marks.push(Mark { text_end: self.text.len(), clean: self.detokenizer.is_clean() });
        self.unsent.tokens += 1;
        if !piece.is_empty() {
            self.unsent.token_ids.push(token);
        }
        let new_text = &self.text[before..];
        if let Some(found) = self.matcher.as_mut().and_then(|matcher| matcher.push(new_text)) {
            return Some(FinishReason::Trigger(found));
        }
        if let Some(end) = stop_end(&self.text, before, &self.ask.stop) {
            return Some(FinishReason::Stop { end: end as u64 });
        }
        (self.made >= self.ask.max_tokens).then_some(FinishReason::MaxTokens)
    }

    /// Takes an end-of-text token: the proposal is over.
    pub(crate) fn push_end_of_text(&mut self) -> FinishReason {
        self.made += 1;
        let found = self.matcher.as_mut().and_then(Matcher::finish);
        found.map_or(FinishReason::EndOfText, FinishReason::Trigger)
    }

    /// The next delta, when there are whole characters to tell. A delta ends where a token does, so
    /// that its ids spell its text; only the last one may not, and then has no ids.
    pub(crate) fn delta(&mut self, reason: Option<&FinishReason>) -> Option<Delta> {
        let clean = self.detokenizer.is_clean();
        if self.unsent.start == self.text.len() || (!clean && reason.is_none()) {
            return None;
        }
        let unsent = std::mem::take(&mut self.unsent);
        self.unsent.start = self.text.len();
        let settled_bytes = match (&self.matcher, reason) {
            (Some(matcher), None | Some(FinishReason::Trigger(_))) => matcher.settled_bytes(),
            _ => self.text.len() as u64,
        };
        Some(Delta {
            text: self.text[unsent.start..].to_owned(),
            tokens: unsent.tokens,
            token_ids: if clean { unsent.token_ids } else { Vec::new() },
            settled_bytes,
            first_token_entropy: unsent.first_token_entropy,
        })
    }

    /// Whether the next token is a paragraph's first and its entropy was asked for.
    pub(crate) fn wants_entropy(&self, committed: &str) -> bool {
        if !self.ask.report_entropy || !self.detokenizer.is_clean() {
            return false;
        }
        let ends_with = |delimiter: &str| match delimiter.strip_suffix(self.text.as_str()) {
            // The break may begin in the committed text.
            Some(rest) => committed.ends_with(rest),
            None => self.text.ends_with(delimiter),
        };
        let begins = committed.is_empty() && self.text.is_empty();
        begins
            || match &self.ask.watch {
                Some(watch) => watch.delimiters.iter().any(|delimiter| ends_with(delimiter)),
                None => ends_with(PARAGRAPH_BREAK),
            }
    }

    /// Tells the entropy of the next token with the next delta.
    pub(crate) fn tell_entropy(&mut self, entropy_nats: f32) {
        self.unsent.first_token_entropy.get_or_insert(entropy_nats);
    }

    /// How many tokens, and how many bytes, lie wholly in the first `bytes` bytes of the text.
    pub(crate) fn whole_tokens(&self, bytes: usize) -> (usize, usize) {
        let fits = |mark: &&Mark| mark.clean && mark.text_end <= bytes;
        let end = self.marks.iter().rev().find(fits).map_or(0, |mark| mark.text_end);
        // Tokens without text behind the cut are no part of what is kept.
        let last = self.marks.iter().position(|mark| mark.clean && mark.text_end == end);
        match last {
            Some(last) if end > 0 => (last + 1, end),
            _ => (0, 0),
        }
    }

    /// Its random numbers.
    pub(crate) fn draws(&mut self) -> &mut Draws {
        &mut self.draws
    }

    /// Its text so far; whole characters.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The session's length in tokens when it began.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Tokens made, an end-of-text token counted.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }
}

/// Where the first stop text that ends after `before` ends.
fn stop_end(text: &str, before: usize, stops: &[String]) -> Option<usize> {
    let ends = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| {
        // One that began in an earlier token counts too.
        let from = text.floor_char_boundary(before.saturating_sub(stop.len() - 1));
        let found = text[from..].match_indices(stop.as_str()).map(|(at, _)| from + at + stop.len());
        found.filter(|&end| end > before).min()
    });
    ends.min()
}
