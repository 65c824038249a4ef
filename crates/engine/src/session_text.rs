//! The engine's side of one session's text: its tokens, the cache over them, the last logits.
//!
//! Only text counts; this is where tokens are kept in step with it. The text itself, and which command may change it,
//! is in [`thinking::session`]. Nothing here waits, runs a forward pass or talks to a caller: that is
//! [`crate::scheduler`]'s part. A proposal in progress is in [`crate::proposal`], forgetting committed text in [`cut`],
//! and what is known about tokens to be judged in [`review`].

mod cut;
mod review;

use text::{Tokenizer, spans_of_ids};
use thinking::thinker::{Append, ClientId, Failure};

use crate::{
    encoder::Encoder,
    kv::KvStore,
    model::{BLOCK, BatchRow, Cache, WantedLogits},
    places::Places,
    prompt::Beginning,
    proposal::OwnTokens,
    reading::Reading,
    tail::{Joined, Tail},
};

use self::cut::Border;
pub(crate) use self::review::Finding;

/// Texts up to this many bytes are encoded at once on the engine's thread: that takes less than a decode step.
pub(crate) const SHORT_BYTES: usize = 512;

/// The tokens of one session's text and their cache.
#[derive(Debug)]
pub(crate) struct SessionText {
    /// The client whose beginnings it may share.
    client: ClientId,
    /// Prompt, committed text and open proposal.
    tokens: Vec<u32>,
    /// Where the tokens of the committed text are in it.
    places: Places,
    tail: Tail,
    /// Where text ends that is never encoded again, in order; the prompt's end comes first.
    borders: Vec<Border>,
    /// The tokens to be judged, if the session reviews.
    reading: Option<Reading>,
    cache: Box<dyn Cache>,
    /// How many of the first tokens are entered in the store.
    shared: usize,
    /// How many tokens the cache held when it was given up; `None` if it has not been.
    evicted: Option<usize>,
    /// The logits after the last token, if every token is in the cache.
    logits: Option<Vec<f32>>,
    /// Longest session in tokens.
    context: usize,
    /// Appends whose token ids did not spell their text.
    drifted_appends: u32,
}

impl SessionText {
    /// Makes a session with this beginning; nothing is computed yet. `reading` holds the tokens to be judged, if the
    /// session reviews.
    pub(crate) fn new(
        client: ClientId,
        beginning: Beginning,
        reading: Option<Reading>,
        cache: Box<dyn Cache>,
        context: usize,
    ) -> Self {
        let Beginning { mut prompt, thought, committed } = beginning;
        let Joined { ids, spans, tail, .. } = committed;
        let begins = prompt.len();
        prompt.extend_from_slice(&ids);
        SessionText {
            client,
            tokens: prompt,
            places: Places::new(begins, spans),
            tail,
            borders: vec![Border { own_from: 0, tail: Tail::new(begins, thought) }],
            reading,
            cache,
            shared: 0,
            evicted: None,
            logits: None,
            context,
            drifted_appends: 0,
        }
    }

    /// Adds committed text of another writer if its tokens are given and spell it. Returns how many tokens that is, or
    /// `None` if the text must be encoded.
    fn append_ids(&mut self, append: &Append, tokenizer: &Tokenizer) -> Option<u32> {
        let Append { text, token_ids, .. } = append;
        let fits = self.tokens.len() + token_ids.len() <= self.context;
        // Verdicts depend on the text alone, so a session that reviews uses its own tokens.
        let are_wanted = !token_ids.is_empty() && self.reading.is_none();
        if !are_wanted || !fits || !tokenizer.spells(token_ids, text) {
            return None;
        }
        let own_from = self.tokens.len();
        self.tokens.extend_from_slice(token_ids);
        self.places.extend(spans_of_ids(token_ids, text, self.tail.end_byte(), tokenizer));
        self.logits = None;
        self.fix(own_from, text);
        Some(token_ids.len() as u32)
    }

    /// Adds committed text of another writer if that takes no longer than a decode step: its tokens are given, or it is
    /// short. Returns how many tokens it took, or `None` if it is long. On `None` and on an error nothing has changed.
    pub(crate) fn append_at_once(
        &mut self,
        append: &Append,
        encoder: &Encoder,
    ) -> Result<Option<u32>, Failure> {
        if let Some(tokens) = self.append_ids(append, encoder.tokenizer()) {
            return Ok(Some(tokens));
        }
        let Append { text, token_ids, .. } = append;
        if text.is_empty() {
            return Ok(Some(0));
        }
        if text.len() > SHORT_BYTES {
            return Ok(None);
        }
        let joined = self.tail_for(text, encoder)?.joined(text, self.context, encoder)?;
        Ok(Some(self.append(joined, !token_ids.is_empty())))
    }

    /// Returns the tail, to encode `text` after it. Refuses text that cannot fit.
    pub(crate) fn tail_for(&self, text: &str, encoder: &Encoder) -> Result<Tail, Failure> {
        encoder.check_bytes(text.len(), self.context.saturating_sub(self.tail.start()))?;
        Ok(self.tail.clone())
    }

    /// Adds committed text that was encoded after the tail. Returns how many tokens it took. Tokens that do not change
    /// stay in the cache.
    pub(crate) fn append(&mut self, joined: Joined, is_drifted: bool) -> u32 {
        let before = self.tokens.len();
        self.drifted_appends += u32::from(is_drifted && self.reading.is_none());
        self.replace(joined.start, &joined.ids, &joined.spans);
        self.tail = joined.tail;
        self.tokens.len().saturating_sub(before) as u32
    }

    /// Replaces all tokens of committed text from `start` on. Tokens that do not change stay in the cache.
    fn replace(&mut self, start: usize, ids: &[u32], spans: &[(usize, usize)]) {
        let old = &self.tokens[start..];
        let same = old.iter().zip(ids).take_while(|(old, new)| old == new).count();
        self.cut(start + same);
        if ids.len() > same {
            self.keep_row();
            self.tokens.extend_from_slice(&ids[same..]);
            self.logits = None;
        }
        self.places.truncate(start);
        self.places.extend(spans.iter().copied());
    }

    /// Ends a run of text whose tokens are given, from `own_from` on. `text` is the part of it that the tail does not
    /// hold yet.
    fn fix(&mut self, own_from: usize, text: &str) {
        self.tail.fix(text, self.tokens.len());
        self.borders.push(Border { own_from, tail: self.tail.clone() });
    }

    /// Keeps this beginning of a proposal and forgets the rest. Returns how many tokens it takes.
    pub(crate) fn commit(
        &mut self,
        own: &OwnTokens,
        kept: &str,
        encoder: &Encoder,
    ) -> Result<u32, Failure> {
        let (whole_tokens, whole_bytes) = own.whole(kept.len());
        self.cut(own.start() + whole_tokens);
        if whole_tokens > 0 {
            self.places.extend(own.spans(whole_tokens, kept, self.tail.end_byte()));
            self.fix(own.start(), &kept[..whole_bytes]);
        }
        // A token that was cut in two is encoded again from what remains of it.
        let rest = &kept[whole_bytes..];
        if !rest.is_empty() {
            let joined = self.tail_for(rest, encoder)?.joined(rest, self.context, encoder)?;
            self.append(joined, false);
        }
        Ok(self.tokens.len().saturating_sub(own.start()) as u32)
    }

    /// Forgets every token from here on, in the cache too.
    fn cut(&mut self, len: usize) {
        if len < self.tokens.len() {
            self.tokens.truncate(len);
            self.places.truncate(len);
            self.logits = None;
        }
        if let Some(reading) = &mut self.reading {
            reading.cut(len);
        }
        self.cache.truncate(len);
        self.shared = self.shared.min(len);
        self.evicted = self.evicted.map(|evicted| evicted.min(len));
    }

    /// Adds a token that this model drew.
    pub(crate) fn push_own(&mut self, token: u32) {
        self.tokens.push(token);
        self.logits = None;
    }

    /// Ensures that a token is left to compute if there are no logits to draw from. Returns how many tokens must be
    /// computed before the first draw.
    pub(crate) fn prepare_draw(&mut self) -> usize {
        if self.logits.is_none() && self.uncomputed() == 0 {
            self.cache.truncate(self.tokens.len() - 1);
        }
        self.uncomputed()
    }

    /// Returns how many tokens are not in the cache.
    pub(crate) fn uncomputed(&self) -> usize {
        self.tokens.len() - self.cache.len()
    }

    /// Returns the next tokens to compute, at most `most`. Asks for the logits of the session's last token, and of
    /// every token from the first on whose successor is to be judged.
    pub(crate) fn row(&mut self, most: usize) -> BatchRow<'_> {
        let start = self.cache.len();
        let end = (start + most).min(self.tokens.len());
        let wanted = self.reading.as_ref().and_then(|reading| reading.first_wanted(start + 1));
        let logits = match wanted {
            Some(wanted) if wanted <= end => WantedLogits::From(wanted - 1 - start),
            _ if end == self.tokens.len() => WantedLogits::Last,
            _ => WantedLogits::None,
        };
        BatchRow { tokens: &self.tokens[start..end], cache: &mut *self.cache, logits }
    }

    /// Starts the cache with what the client's other sessions computed for the same tokens. Returns how many tokens
    /// that is.
    pub(crate) fn adopt(&mut self, kv: &mut KvStore) -> usize {
        self.shared = kv.adopt(self.client, &self.tokens, &mut *self.cache);
        self.rewind();
        self.shared
    }

    /// Lets the client's other sessions start with the committed text that is computed.
    pub(crate) fn share(&mut self, kv: &mut KvStore) {
        if self.cache.len() / BLOCK > self.shared / BLOCK {
            kv.share(self.client, &self.tokens, &mut *self.cache);
            self.shared = self.cache.len();
        }
    }

    /// Gives up the cache for other sessions. Returns whether it held anything.
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

    /// Refills the cache after an eviction with what is still shared.
    pub(crate) fn revive(&mut self, kv: &mut KvStore) {
        if self.cache.is_empty()
            && let Some(evicted) = self.evicted.take()
        {
            let kept = self.adopt(kv);
            kv.count_recomputed(evicted.saturating_sub(kept));
        }
    }

    /// Returns how many blocks the next `most` tokens need beyond those the cache has.
    pub(crate) fn missing_blocks(&self, most: usize) -> usize {
        self.cache.missing_blocks(most.min(self.uncomputed()))
    }

    /// Reserves cache blocks for the next `most` tokens.
    pub(crate) fn reserve(&mut self, most: usize) -> candle_core::Result<()> {
        self.cache.reserve(most.min(self.uncomputed()))
    }

    /// Returns the logits after the last token, if they are known.
    pub(crate) fn logits(&self) -> Option<&[f32]> {
        self.logits.as_deref()
    }

    /// Cuts the cache back to this length after a pass that failed halfway.
    pub(crate) fn forget_computed(&mut self, len: usize) {
        self.cache.truncate(len);
        self.logits = None;
    }

    /// Returns how many tokens are in the cache.
    pub(crate) fn computed(&self) -> usize {
        self.cache.len()
    }

    /// Returns the tokens of prompt, committed text and open proposal.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns whether no further token fits.
    pub(crate) fn is_full(&self) -> bool {
        self.tokens.len() >= self.context
    }

    /// Returns how many appends had token ids that did not spell their text.
    pub(crate) fn drifted_appends(&self) -> u32 {
        self.drifted_appends
    }
}
