//! What of a proposal may go out, and when the proposal ends: stop texts, the trigger watch, the
//! greatest length, settled bytes. Ends that depend on time or on a model are not decided here.

use crate::{
    thinker::{Delta, FinishReason, Propose},
    trigger::Matcher,
};

/// Where paragraphs end when the watch does not say.
const PARAGRAPH_BREAK: &str = "\n\n";

/// The rules of one proposal, applied while its text is being made.
///
/// Feed it decoded text, whole characters only, and take the deltas out in between. Its result does
/// not depend on how the text is cut into pieces: the stop text or trigger that is complete first in
/// the text ends the proposal. Only how much text follows that place does depend on it, since a
/// piece is never cut.
///
/// Nothing may be pushed after a push that gave a reason, or after [`end_of_text`](Self::end_of_text).
#[derive(Debug)]
pub struct ProposalRules {
    stop: Vec<String>,
    max_tokens: u32,
    matcher: Option<Matcher>,
    /// Where paragraphs end, if the entropy of their first tokens is asked for.
    breaks: Option<Vec<String>>,
    text: String,
    tokens: u32,
    /// The first bytes that went out in deltas.
    sent_bytes: usize,
    /// Tokens that no delta counted yet.
    unsent_tokens: u32,
}

impl ProposalRules {
    /// The rules of a proposal that continues this committed text, of which the end is enough if it
    /// holds the watch's window and a delimiter.
    pub fn new(propose: &Propose, committed: &str) -> Self {
        let watched = propose.watch.as_ref().map(|watch| watch.delimiters.clone());
        let breaks = watched.unwrap_or_else(|| vec![PARAGRAPH_BREAK.to_owned()]);
        ProposalRules {
            breaks: propose.report_entropy.then_some(breaks),
            stop: propose.stop.clone(),
            max_tokens: propose.max_tokens,
            matcher: propose.watch.clone().map(|watch| Matcher::new(watch, committed)),
            text: String::new(),
            tokens: 0,
            sent_bytes: 0,
            unsent_tokens: 0,
        }
    }

    /// Adds text and the number of tokens it stands for. Returns why the proposal is over, if it is.
    ///
    /// The text may be empty: a token may complete no character.
    pub fn push(&mut self, text: &str, tokens: u32) -> Option<FinishReason> {
        self.tokens = self.tokens.saturating_add(tokens);
        self.unsent_tokens = self.unsent_tokens.saturating_add(tokens);
        let before = self.text.len();
        self.text.push_str(text);
        let stop = stop_end(&self.text, before, &self.stop);
        // A trigger behind a stop text is too late, also in the same piece.
        let watched = &self.text[before..stop.unwrap_or(self.text.len())];
        if let Some(found) = self.matcher.as_mut().and_then(|matcher| matcher.push(watched)) {
            return Some(FinishReason::Trigger(found));
        }
        if let Some(end) = stop {
            return Some(FinishReason::Stop { end: end as u64 });
        }
        (self.tokens >= self.max_tokens).then_some(FinishReason::MaxTokens)
    }

    /// Ends the proposal because the model ended its answer, and counts one token for that. Returns
    /// the reason: a trigger phrase at the text's very end counts now.
    pub fn end_of_text(&mut self) -> FinishReason {
        self.tokens = self.tokens.saturating_add(1);
        let found = self.matcher.as_mut().and_then(Matcher::finish);
        found.map_or(FinishReason::EndOfText, FinishReason::Trigger)
    }

    /// The next delta: the text that did not go out yet, `None` if there is none. `token_ids` and
    /// `first_token_entropy` are empty and for the Thinker to fill in.
    ///
    /// `reason` is why the proposal is over, if it is: once it ended for something else than a
    /// trigger, nothing of it can be cut any more.
    pub fn delta(&mut self, reason: Option<&FinishReason>) -> Option<Delta> {
        if self.sent_bytes == self.text.len() {
            return None;
        }
        let settled_bytes = match (&self.matcher, reason) {
            (Some(matcher), None | Some(FinishReason::Trigger(_))) => matcher.settled_bytes(),
            _ => self.text.len() as u64,
        };
        let start = std::mem::replace(&mut self.sent_bytes, self.text.len());
        Some(Delta {
            text: self.text[start..].to_owned(),
            tokens: std::mem::take(&mut self.unsent_tokens),
            settled_bytes,
            ..Delta::default()
        })
    }

    /// Whether the next token is a paragraph's first and its entropy was asked for. `committed` is what the proposal
    /// goes on from.
    pub fn wants_entropy(&self, committed: &str) -> bool {
        let Some(breaks) = &self.breaks else { return false };
        let ends_with = |delimiter: &String| match delimiter.strip_suffix(self.text.as_str()) {
            // The break may begin in the committed text.
            Some(rest) => committed.ends_with(rest),
            None => self.text.ends_with(delimiter.as_str()),
        };
        (committed.is_empty() && self.text.is_empty()) || breaks.iter().any(ends_with)
    }

    /// The proposal's text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The proposal's length in tokens so far, an end-of-text token counted.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// The proposal's text.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Where the first stop text that ends after `before` ends, in bytes.
fn stop_end(text: &str, before: usize, stops: &[String]) -> Option<usize> {
    let ends = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| {
        // One that began in an earlier piece counts too.
        let from = text.floor_char_boundary(before.saturating_sub(stop.len() - 1));
        let found = text[from..].match_indices(stop.as_str()).map(|(at, _)| from + at + stop.len());
        found.filter(|&end| end > before).min()
    });
    ends.min()
}
