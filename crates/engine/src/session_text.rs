//! The engine's side of one session's text: its tokens, the cache over them, the last logits.
//!
//! Only text counts; this is where tokens are kept in step with it. The text itself, and which
//! command may change it, is in [`thinking::session`]. Nothing here waits, computes a forward pass
//! or talks to anybody: that is [`crate::scheduler`]'s part. What happens while a proposal is being
//! made is in [`crate::proposal`].

use text::{Thought, Tokenizer, TokenizerError};
use thinking::thinker::{Append, Code, Failure};

use crate::{
    kv::KvStore,
    model::{BLOCK, BatchRow, KvCache, WantedLogits},
    proposal::OwnTokens,
};

/// The tokens of one session's text and their cache.
#[derive(Debug)]
pub(crate) struct SessionText {
    /// Prompt, committed text and open proposal.
    tokens: Vec<u32>,
    /// The end of a run of text that others wrote, which further text may still encode anew.
    tail: String,
    /// Where the tail's tokens begin.
    tail_start: usize,
    /// How far the answer's thought is before the tail.
    thought: Thought,
    cache: KvCache,
    /// How many of the first tokens have been entered in the store.
    shared: usize,
    /// How many tokens were in the cache when it was given up; `None` while it has not been.
    evicted: Option<usize>,
    /// The logits behind the last token, while every token is in the cache.
    logits: Option<Vec<f32>>,
    /// Longest session in tokens.
    context: usize,
    /// Appends whose token ids did not spell their text.
    drifted_appends: u32,
}

impl SessionText {
    /// A session whose prompt is these tokens, and leaves the answer's thought so far; nothing is computed yet.
    pub(crate) fn new(
        prompt: Vec<u32>,
        thought: Thought,
        cache: KvCache,
        context: usize,
    ) -> Result<Self, Failure> {
        if prompt.is_empty() {
            let message = "the prompt is empty; send at least one character";
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        let session = SessionText {
            tail: String::new(),
            tail_start: prompt.len(),
            tokens: prompt,
            thought,
            cache,
            shared: 0,
            evicted: None,
            logits: None,
            context,
            drifted_appends: 0,
        };
        session.check_fits(session.tokens.len(), "the prompt")?;
        Ok(session)
    }

    /// Adds committed text that somebody else wrote. Returns how many tokens it took. On an error
    /// nothing has changed.
    pub(crate) fn append(
        &mut self,
        append: &Append,
        tokenizer: &Tokenizer,
    ) -> Result<u32, Failure> {
        let before = self.tokens.len();
        if !append.token_ids.is_empty() && tokenizer.spells(&append.token_ids, &append.text) {
            self.check_fits(before + append.token_ids.len(), "the text")?;
            self.tokens.extend_from_slice(&append.token_ids);
            self.logits = None;
            self.fix_tail(&append.text);
        } else {
            self.encode_tail(&append.text, tokenizer)?;
            self.drifted_appends += u32::from(!append.token_ids.is_empty());
        }
        Ok(self.tokens.len().saturating_sub(before) as u32)
    }

    /// Keeps this beginning of a proposal and forgets the rest. Returns how many tokens it takes.
    pub(crate) fn commit(
        &mut self,
        own: &OwnTokens,
        kept: &str,
        tokenizer: &Tokenizer,
    ) -> Result<u32, Failure> {
        let (whole_tokens, whole_bytes) = own.whole(kept.len());
        self.cut(own.start() + whole_tokens);
        if whole_tokens > 0 {
            self.fix_tail(&kept[..whole_bytes]);
        }
        // A token that was cut in two is encoded again from what is left of it.
        self.encode_tail(&kept[whole_bytes..], tokenizer)?;
        Ok(self.tokens.len().saturating_sub(own.start()) as u32)
    }

    /// The tokens before here will not be encoded anew; the last of them are those of `text`.
    fn fix_tail(&mut self, text: &str) {
        self.tail.push_str(text);
        self.thought = self.thought.after(&self.tail);
        self.tail.clear();
        self.tail_start = self.tokens.len();
    }

    /// Encodes the tail together with more text. Tokens that stay the same stay in the cache.
    fn encode_tail(&mut self, text: &str, tokenizer: &Tokenizer) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let joined = format!("{}{text}", self.tail);
        let room = self.context.saturating_sub(self.tail_start);
        check_encodable(&joined, room, tokenizer)?;
        let encoded = tokenizer.encode_committed(&joined, self.thought).map_err(cannot_encode)?;
        self.check_fits(self.tail_start + encoded.ids.len(), "the text")?;
        let old = &self.tokens[self.tail_start..];
        let same = old.iter().zip(&encoded.ids).take_while(|(old, new)| old == new).count();
        self.cut(self.tail_start + same);
        if encoded.ids.len() > same {
            self.tokens.extend_from_slice(&encoded.ids[same..]);
            self.logits = None;
        }
        let (bytes, tokens) = frozen(&joined, &encoded.spans);
        self.tail_start += tokens;
        self.thought = self.thought.after(&joined[..bytes]);
        self.tail = joined[bytes..].to_owned();
        Ok(())
    }

    /// Forgets every token from here on, in the cache too.
    fn cut(&mut self, len: usize) {
        if len < self.tokens.len() {
            self.tokens.truncate(len);
            self.logits = None;
        }
        self.cache.truncate(len);
        self.shared = self.shared.min(len);
        self.evicted = self.evicted.map(|evicted| evicted.min(len));
    }

    fn check_fits(&self, tokens: usize, what: &str) -> Result<(), Failure> {
        if tokens <= self.context {
            return Ok(());
        }
        let message = format!(
            "{what} makes the session {tokens} tokens long, the model's context holds {}; shorten \
             it or use a model with a longer context",
            self.context
        );
        Err(Failure::new(Code::ContextTooLong, message))
    }

    /// Adds a token that this model made.
    pub(crate) fn push_own(&mut self, token: u32) {
        self.tokens.push(token);
        self.logits = None;
    }

    /// Makes sure that a token is left to compute when there are no logits to draw from. Returns how
    /// many tokens must be computed before the first draw.
    pub(crate) fn prepare_draw(&mut self) -> usize {
        if self.logits.is_none() && self.uncomputed() == 0 {
            self.cache.truncate(self.tokens.len() - 1);
        }
        self.uncomputed()
    }

    /// How many tokens are not in the cache.
    pub(crate) fn uncomputed(&self) -> usize {
        self.tokens.len() - self.cache.len()
    }

    /// The next tokens to compute, at most `most`; logits are asked for where they end the session.
    pub(crate) fn row(&mut self, most: usize) -> BatchRow<'_> {
        let start = self.cache.len();
        let end = (start + most).min(self.tokens.len());
        let logits = if end == self.tokens.len() { WantedLogits::Last } else { WantedLogits::None };
        BatchRow { tokens: &self.tokens[start..end], cache: &mut self.cache, logits }
    }

    /// Begins with what others computed of the same tokens. Returns how many tokens that is.
    pub(crate) fn adopt(&mut self, kv: &mut KvStore) -> usize {
        self.shared = kv.adopt(&self.tokens, &mut self.cache);
        self.shared
    }

    /// Lets others begin with the committed text that is computed.
    pub(crate) fn share(&mut self, kv: &mut KvStore) {
        if self.cache.len() / BLOCK > self.shared / BLOCK {
            kv.share(&self.tokens, &mut self.cache);
            self.shared = self.cache.len();
        }
    }

    /// Gives up the cache for others. Returns whether there was something in it.
    pub(crate) fn evict(&mut self, kv: &KvStore) -> bool {
        let tokens = self.cache.len();
        if tokens == 0 {
            return false;
        }
        kv.count_evicted(tokens);
        self.evicted = Some(self.evicted.unwrap_or_default().max(tokens));
        self.cache.truncate(0);
        self.shared = 0;
        self.logits = None;
        true
    }

    /// Begins anew after an eviction, with what is still there.
    pub(crate) fn revive(&mut self, kv: &mut KvStore) {
        if self.cache.is_empty()
            && let Some(evicted) = self.evicted.take()
        {
            let kept = self.adopt(kv);
            kv.count_recomputed(evicted.saturating_sub(kept));
        }
    }

    /// How many blocks the next `most` tokens need beyond those it has.
    pub(crate) fn missing_blocks(&self, most: usize) -> usize {
        self.cache.missing_blocks(most.min(self.uncomputed()))
    }

    /// Reserves cache blocks for the next `most` tokens.
    pub(crate) fn reserve(&mut self, most: usize) -> candle_core::Result<()> {
        self.cache.reserve(most.min(self.uncomputed()))
    }

    /// Remembers the logits behind the last token.
    pub(crate) fn set_logits(&mut self, logits: Vec<f32>) {
        self.logits = Some(logits);
    }

    /// The logits behind the last token, if they are known.
    pub(crate) fn logits(&self) -> Option<&[f32]> {
        self.logits.as_deref()
    }

    /// Cuts the cache back to this length after a pass that failed half way.
    pub(crate) fn forget_computed(&mut self, len: usize) {
        self.cache.truncate(len);
    }

    /// How many tokens are in the cache.
    pub(crate) fn computed(&self) -> usize {
        self.cache.len()
    }

    /// Prompt, committed text and open proposal.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Whether no further token fits.
    pub(crate) fn is_full(&self) -> bool {
        self.tokens.len() >= self.context
    }

    /// Appends whose token ids did not spell their text.
    pub(crate) fn drifted_appends(&self) -> u32 {
        self.drifted_appends
    }
}

pub(crate) fn cannot_encode(error: TokenizerError) -> Failure {
    Failure::new(Code::InvalidArgument, error.to_string())
}

/// Refuses a text that cannot fit into `room_tokens` however it is encoded, before it is encoded:
/// megabytes would hold up every other session.
///
/// # Errors
/// [`Code::ContextTooLong`].
pub(crate) fn check_encodable(
    text: &str,
    room_tokens: usize,
    tokenizer: &Tokenizer,
) -> Result<(), Failure> {
    let most = tokenizer.most_bytes(room_tokens);
    if text.len() <= most {
        return Ok(());
    }
    let message = format!(
        "a text of {} bytes does not fit, the {room_tokens} tokens left of the model's context \
         hold at most {most}; shorten it or use a model with a longer context",
        text.len()
    );
    Err(Failure::new(Code::ContextTooLong, message))
}

/// The longest beginning of a text that encodes the same whatever follows the text: up to the last
/// space that follows something else than white space, where every supported tokenizer begins anew.
/// Returns its bytes and its tokens.
fn frozen(text: &str, spans: &[(usize, usize)]) -> (usize, usize) {
    let mut edges = text
        .match_indices(' ')
        .map(|(at, _)| at)
        .filter(|&at| text[..at].chars().next_back().is_some_and(|before| !before.is_whitespace()));
    let mut found = (0, 0);
    while let Some(edge) = edges.next_back() {
        let tokens = spans.partition_point(|&(_, end)| end <= edge);
        // A token across the edge would mean that the tokenizer does not begin anew there.
        if spans.get(tokens).is_none_or(|&(start, _)| start >= edge) {
            found = (edge, tokens);
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::frozen;

    #[test]
    fn the_frozen_part_ends_before_the_last_word() {
        let words = |text: &str| -> Vec<(usize, usize)> {
            // One token per word with its space, as byte-level tokenizers give them.
            let mut starts: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).collect();
            starts.insert(0, 0);
            let ends = starts[1..].iter().copied().chain([text.len()]);
            starts.iter().copied().zip(ends.collect::<Vec<_>>()).collect()
        };
        for (text, expected) in [
            ("", (0, 0)),
            ("one", (0, 0)),
            ("one two", (3, 1)),
            ("one two ", (7, 2)),
            ("a\n b", (0, 0)),
        ] {
            assert_eq!(frozen(text, &words(text)), expected, "{text:?}");
        }
        // A token that reaches over the edge moves the edge back.
        assert_eq!(frozen("a b c", &[(0, 1), (1, 5)]), (1, 1));
        assert_eq!(frozen("a b", &[(0, 3)]), (0, 0));
    }
}
