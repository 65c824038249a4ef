//! What of a proposal may be sent, and when the proposal ends: stop texts, the trigger watch, the token limit, settled
//! bytes. Ends that depend on time or on a model are decided elsewhere.

use crate::{
    thinker::{Delta, FinishReason, Propose},
    trigger::Matcher,
};

/// Where paragraphs end if the watch does not specify it.
const PARAGRAPH_BREAK: &str = "\n\n";

/// The rules of one proposal, applied while its text is being generated.
///
/// Push decoded text, in whole characters, and take the deltas in between. The result does not depend on how the text
/// is cut into pieces: the stop text or trigger that is completed first in the text ends the proposal. Only how much
/// text follows that place depends on the pieces, since a piece is never cut.
///
/// Nothing may be pushed after a push that returned a reason, or after [`end_of_text`](Self::end_of_text).
#[derive(Debug)]
pub struct ProposalRules {
    stop: Vec<String>,
    max_tokens: u32,
    matcher: Option<Matcher>,
    /// Where paragraphs end, if the entropy of their first tokens was requested.
    breaks: Option<Vec<String>>,
    text: String,
    tokens: u32,
    /// How many bytes were sent in deltas.
    sent_bytes: usize,
    /// Tokens not yet counted in a delta.
    unsent_tokens: u32,
}

impl ProposalRules {
    /// The rules of a proposal that continues this committed text. The end of the committed text is enough, if it
    /// covers the watch's window and a delimiter.
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

    /// Adds text and its number of tokens. Returns why the proposal is over, if it is.
    ///
    /// The text may be empty, since a token may not complete a character.
    pub fn push(&mut self, text: &str, tokens: u32) -> Option<FinishReason> {
        self.tokens = self.tokens.saturating_add(tokens);
        self.unsent_tokens = self.unsent_tokens.saturating_add(tokens);
        let before = self.text.len();
        self.text.push_str(text);
        let stop = stop_end(&self.text, before, &self.stop);
        // A trigger behind a stop text is too late, even in the same piece.
        let watched = &self.text[before..stop.unwrap_or(self.text.len())];
        if let Some(found) = self.matcher.as_mut().and_then(|matcher| matcher.push(watched)) {
            return Some(FinishReason::Trigger(found));
        }
        if let Some(end) = stop {
            return Some(FinishReason::Stop { end: end as u64 });
        }
        (self.tokens >= self.max_tokens).then_some(FinishReason::MaxTokens)
    }

    /// Ends the proposal because the model ended its answer, and counts one token for that. Returns the reason, which
    /// is a trigger if the text ends with a trigger phrase.
    pub fn end_of_text(&mut self) -> FinishReason {
        self.tokens = self.tokens.saturating_add(1);
        let found = self.matcher.as_mut().and_then(Matcher::finish);
        found.map_or(FinishReason::EndOfText, FinishReason::Trigger)
    }

    /// Returns the next delta: the text not sent yet, or `None` if there is none. `token_ids` and `first_token_entropy`
    /// are empty; the Thinker fills them in.
    ///
    /// `reason` is why the proposal is over, if it is. Once it has ended for any reason but a trigger, all of it is
    /// settled.
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

    /// Returns whether the next token is a paragraph's first and its entropy was requested. `committed` is the text
    /// that the proposal continues.
    pub fn wants_entropy(&self, committed: &str) -> bool {
        let Some(breaks) = &self.breaks else { return false };
        let ends_with = |delimiter: &String| match delimiter.strip_suffix(self.text.as_str()) {
            // The break may begin in the committed text.
            Some(rest) => committed.ends_with(rest),
            None => self.text.ends_with(delimiter.as_str()),
        };
        (committed.is_empty() && self.text.is_empty()) || breaks.iter().any(ends_with)
    }

    /// Returns the proposal's text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the proposal's length in tokens so far, including an end-of-text token.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Returns the proposal's text.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Returns where the first stop text that ends after `before` ends, in bytes.
fn stop_end(text: &str, before: usize, stops: &[String]) -> Option<usize> {
    let ends = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| {
        // A stop text that began in an earlier piece counts too.
        let from = text.floor_char_boundary(before.saturating_sub(stop.len() - 1));
        let found = text[from..].match_indices(stop.as_str()).map(|(at, _)| from + at + stop.len());
        found.filter(|&end| end > before).min()
    });
    ends.min()
}
