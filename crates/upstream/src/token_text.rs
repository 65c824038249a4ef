//! A session's text as a server's token ids: tokens that the server generated are kept as they are, and all other text
//! is encoded by the server.
//!
//! Pure: the caller has the server encode [`TokenText::unencoded`]. Which text is committed is in
//! [`thinking::session`].

use text::{Thought, Tokenizer, TokenizerError, spans_of_ids};

/// The tokens of a prompt and of the committed text.
#[derive(Debug)]
pub(crate) struct TokenText {
    prompt: Vec<u32>,
    /// Committed text, in order.
    runs: Vec<Run>,
    /// The text after the runs, which the server did not generate; further such text is encoded together with it.
    tail: String,
    /// The tokens of the tail's start, which is the whole tail once it is encoded.
    tail_ids: Vec<u32>,
    /// The length of that start, in bytes.
    encoded: usize,
}

/// Committed text that is not encoded again as long as it stays whole.
#[derive(Debug)]
struct Run {
    text: String,
    ids: Vec<u32>,
    /// Whether the tokens are given: those of the model's own text, or those of the text's writer.
    is_given: bool,
}

/// A text's tokens, divided at the start of its tail, which the server did not generate.
#[derive(Debug)]
pub(crate) struct AtTail {
    /// The tokens before the tail.
    pub(crate) ids: Vec<u32>,
    /// The tail; more text may be appended to it.
    pub(crate) tail: String,
    /// Where the tail begins in the committed text, in bytes.
    pub(crate) tail_from: usize,
    /// The tail's tokens, if they are known.
    pub(crate) tail_ids: Option<Vec<u32>>,
}

/// The tokens of a proposal, as they arrived.
#[derive(Debug, Default)]
pub(crate) struct OwnChunks(Vec<OwnChunk>);

#[derive(Debug)]
struct OwnChunk {
    /// `None`: the server did not report all of them.
    ids: Option<Vec<u32>>,
    /// Where its text ends in the proposal, in bytes.
    end: usize,
    /// Whether the text of all tokens so far ends here too, with no character incomplete.
    is_edge: bool,
}

impl OwnChunks {
    /// Adds tokens after which the proposal has `end` bytes; `None` if not all of them are known.
    pub(crate) fn push(&mut self, ids: Option<Vec<u32>>, text: &str, end: usize) {
        self.0.push(OwnChunk { ids, end, is_edge: !text.is_empty() });
    }

    /// Returns the known tokens of the first bytes, and how many bytes they represent.
    fn known(&self, bytes: usize) -> (Vec<u32>, usize) {
        let known = self.0.iter().take_while(|chunk| chunk.ids.is_some() && chunk.end <= bytes);
        let known: Vec<&OwnChunk> = known.collect();
        let Some(last) = known.iter().rposition(|chunk| chunk.is_edge) else {
            return (Vec::new(), 0);
        };
        let ids = known[..=last].iter().filter_map(|chunk| chunk.ids.as_deref());
        (ids.flatten().copied().collect(), known[last].end)
    }
}

impl TokenText {
    /// Creates a text that begins with a prompt of these tokens.
    pub(crate) fn new(prompt: Vec<u32>) -> Self {
        TokenText {
            prompt,
            runs: Vec::new(),
            tail: String::new(),
            tail_ids: Vec::new(),
            encoded: 0,
        }
    }

    /// Appends text with given tokens, which are kept if all text before them is encoded.
    pub(crate) fn append_tokens(&mut self, text: &str, ids: &[u32]) {
        match self.unencoded() {
            Some(_) => self.append(text),
            None => self.push_given(text, ids),
        }
    }

    /// Appends text that the server did not generate.
    pub(crate) fn append(&mut self, text: &str) {
        self.tail.push_str(text);
    }

    /// Commits the start of a proposal. Everything before it must be encoded.
    pub(crate) fn commit(&mut self, own: &OwnChunks, kept: &str) {
        let (ids, bytes) = own.known(kept.len());
        if bytes > 0 {
            self.push_given(&kept[..bytes], &ids);
        }
        // A token that was cut in two is encoded again from the remaining text.
        self.append(&kept[bytes..]);
    }

    /// Cuts the committed text to its first bytes.
    pub(crate) fn cut(&mut self, bytes: usize, tokenizer: &Tokenizer) {
        let tail_from = self.tail_from();
        if bytes >= tail_from {
            let kept = bytes - tail_from;
            self.tail.truncate(kept);
            if kept < self.encoded {
                self.forget_tail_ids();
            }
            return;
        }
        self.tail.clear();
        self.forget_tail_ids();
        let mut from = tail_from;
        while let Some(mut run) = self.runs.pop() {
            from -= run.text.len();
            if from >= bytes {
                continue;
            }
            let kept = bytes - from;
            if kept == run.text.len() {
                self.runs.push(run);
            } else if run.is_given {
                let (tokens, end) = whole_tokens(&run.ids, &run.text, kept, tokenizer);
                self.tail.push_str(&run.text[end..kept]);
                run.ids.truncate(tokens);
                run.text.truncate(end);
                self.runs.extend((end > 0).then_some(run));
            } else {
                self.tail.push_str(&run.text[..kept]);
            }
            break;
        }
        // Text that the server did not generate is encoded in one piece with the text that follows.
        if let Some(run) = self.runs.pop_if(|run| !run.is_given) {
            self.tail.insert_str(0, &run.text);
        }
    }

    /// Cuts the committed text to its first bytes, whose tokens do not change, and writes `text` with its tokens after
    /// them.
    ///
    /// # Errors
    /// When the tokenizer has no tokens for the rest of a token that was cut in two.
    pub(crate) fn cut_and_write(
        &mut self,
        bytes: usize,
        text: &str,
        ids: &[u32],
        tokenizer: &Tokenizer,
    ) -> Result<(), TokenizerError> {
        let (tokens, end) = match bytes.checked_sub(self.tail_from()) {
            Some(kept) => whole_tokens(&self.tail_ids, &self.tail[..self.encoded], kept, tokenizer),
            None => (0, 0),
        };
        let mut tail_ids = self.tail_ids[..tokens].to_vec();
        self.cut(bytes, tokenizer);
        tail_ids.extend(tokenizer.encode_committed(&self.tail[end..], Thought::Over)?.ids);
        (self.tail_ids, self.encoded) = (tail_ids, self.tail.len());
        self.push_given(text, ids);
        Ok(())
    }

    /// Appends text with given tokens. Everything before it must be encoded.
    fn push_given(&mut self, text: &str, ids: &[u32]) {
        let tail = Run {
            text: std::mem::take(&mut self.tail),
            ids: std::mem::take(&mut self.tail_ids),
            is_given: false,
        };
        self.encoded = 0;
        self.runs.extend((!tail.text.is_empty()).then_some(tail));
        match self.runs.last_mut().filter(|run| run.is_given) {
            Some(run) => {
                run.text.push_str(text);
                run.ids.extend(ids);
            }
            None => {
                let (text, ids) = (text.to_owned(), ids.to_vec());
                self.runs.push(Run { text, ids, is_given: true });
            }
        }
    }

    /// Returns the text whose tokens are not known.
    pub(crate) fn unencoded(&self) -> Option<&str> {
        (self.encoded < self.tail.len()).then_some(&self.tail)
    }

    /// Records the tokens of [`Self::unencoded`].
    pub(crate) fn encoded(&mut self, ids: Vec<u32>) {
        (self.tail_ids, self.encoded) = (ids, self.tail.len());
    }

    /// Records the tokens of the tail's first `bytes` bytes, all of which still exist. No proposal may have been
    /// committed in between.
    pub(crate) fn encoded_at(&mut self, bytes: usize, ids: Vec<u32>) {
        if bytes <= self.tail.len() {
            (self.tail_ids, self.encoded) = (ids, bytes);
        }
    }

    /// Returns all known tokens; those of unencoded text are missing.
    pub(crate) fn ids(&self) -> Vec<u32> {
        let runs = self.runs.iter().flat_map(|run| &run.ids);
        self.prompt.iter().chain(runs).chain(self.known_tail_ids()).copied().collect()
    }

    /// Returns the same, divided at the start of the tail.
    pub(crate) fn at_tail(&self) -> AtTail {
        let mut ids = self.ids();
        let tail_ids = ids.split_off(ids.len() - self.known_tail_ids().len());
        AtTail {
            ids,
            tail: self.tail.clone(),
            tail_from: self.tail_from(),
            tail_ids: self.unencoded().is_none().then_some(tail_ids),
        }
    }

    fn tail_from(&self) -> usize {
        self.runs.iter().map(|run| run.text.len()).sum()
    }

    fn known_tail_ids(&self) -> &[u32] {
        if self.unencoded().is_none() { &self.tail_ids } else { &[] }
    }

    fn forget_tail_ids(&mut self) {
        self.tail_ids.clear();
        self.encoded = 0;
    }
}

/// Returns how many tokens of a text lie entirely in its first bytes, and where the last of them ends. Leaves out the
/// tokens of a character that does not lie entirely in them.
pub(crate) fn whole_tokens(
    ids: &[u32],
    text: &str,
    bytes: usize,
    tokenizer: &Tokenizer,
) -> (usize, usize) {
    let spans = spans_of_ids(ids, text, 0, tokenizer);
    let mut tokens = spans.partition_point(|&(_, end)| end <= bytes);
    while tokens > 0 && spans.get(tokens).is_some_and(|next| next.0 < spans[tokens - 1].1) {
        tokens -= 1;
    }
    (tokens, spans[..tokens].last().map_or(0, |&(_, end)| end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    /// "ab" as one token, "é" as two, then "c", all after an appended "x".
    fn proposed() -> (TokenText, OwnChunks) {
        let mut text = TokenText::new(vec![1]);
        text.append("x");
        assert_eq!(text.unencoded(), Some("x"));
        text.encoded(vec![2]);
        let mut own = OwnChunks::default();
        own.push(Some(vec![3]), "ab", 2);
        own.push(Some(vec![4]), "", 2);
        own.push(Some(vec![5]), "é", 4);
        own.push(Some(vec![6]), "c", 5);
        (text, own)
    }

    #[test]
    fn own_tokens_are_kept_as_they_were_made() {
        for (kept, ids, unencoded) in [
            ("abéc", &[1, 2, 3, 4, 5, 6][..], None),
            ("abé", &[1, 2, 3, 4, 5], None),
            ("ab", &[1, 2, 3], None),
            ("a", &[1], Some("xa")),
            ("", &[1, 2], None),
        ] {
            let (mut text, own) = proposed();
            text.commit(&own, kept);
            assert_eq!((text.ids(), text.unencoded()), (ids.to_vec(), unencoded), "{kept:?}");
        }
    }

    #[test]
    fn what_a_server_did_not_tell_is_encoded_again() {
        let mut text = TokenText::new(vec![1]);
        let mut own = OwnChunks::default();
        own.push(Some(vec![2]), "a", 1);
        own.push(None, "🙂", 5);
        own.push(Some(vec![3]), "b", 6);
        text.commit(&own, "a🙂b");
        assert_eq!((text.ids(), text.unencoded()), (vec![1, 2], Some("🙂b")));
    }

    #[test]
    fn tokens_of_others_are_kept_where_all_before_them_is_encoded() {
        let mut text = TokenText::new(vec![1]);
        text.append_tokens("ab", &[2, 3]);
        assert_eq!((text.ids(), text.unencoded()), (vec![1, 2, 3], None));
        text.append("c");
        text.append_tokens("d", &[4]);
        assert_eq!((text.ids(), text.unencoded()), (vec![1, 2, 3], Some("cd")));
        text.encoded(vec![5]);
        text.append_tokens("e", &[6]);
        assert_eq!((text.ids(), text.unencoded()), (vec![1, 2, 3, 5, 6], None));
    }

    #[test]
    fn text_in_parts_is_encoded_as_one() {
        let (mut text, own) = proposed();
        text.commit(&own, "");
        text.append("y");
        assert_eq!((text.ids(), text.unencoded()), (vec![1], Some("xy")));
    }

    /// Bytes without merges.
    fn tokenizer() -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        crate::testing::write_tokenizer(folder.path()).unwrap();
        Tokenizer::from_json(&folder.path().join("tokenizer.json")).unwrap()
    }

    /// An appended "ab", a generated " the sum", an appended "cd", all encoded; a token is a byte or one of the words.
    fn written() -> (TokenText, u32, u32) {
        let tokenizer = tokenizer();
        let own = tokenizer.encode_text(" the sum", false).unwrap();
        let mut text = TokenText::new(vec![7]);
        text.append("ab");
        text.encoded(vec![97, 98]);
        text.push_given(" the sum", &own);
        text.append("cd");
        text.encoded(vec![99, 100]);
        let [the, sum] = own[..] else { panic!("{own:?}") };
        (text, the, sum)
    }

    #[test]
    fn a_cut_keeps_own_tokens_and_encodes_text_of_others_as_one() {
        let tokenizer = tokenizer();
        for (bytes, ids, unencoded) in [
            (12, &["a", "b", " the", " sum", "c", "d"][..], None),
            (11, &["a", "b", " the", " sum"], Some("c")),
            (10, &["a", "b", " the", " sum"], None),
            (8, &["a", "b", " the"], Some(" s")),
            (6, &["a", "b", " the"], None),
            (2, &[], Some("ab")),
            (1, &[], Some("a")),
            (0, &[], None),
        ] {
            let (mut text, ..) = written();
            text.cut(bytes, &tokenizer);
            let mut expected = vec![7];
            for word in ids {
                expected.extend(tokenizer.encode_text(word, false).unwrap());
            }
            assert_eq!((text.ids(), text.unencoded()), (expected, unencoded), "{bytes}");
        }
    }

    #[test]
    fn what_is_accepted_leaves_the_tokens_before_it_as_they_are() {
        let tokenizer = tokenizer();
        let (mut text, the, sum) = written();
        // Text was appended after the encoded text.
        text.append("ef");
        text.cut_and_write(11, " the", &[the], &tokenizer).unwrap();
        assert_eq!((text.ids(), text.unencoded()), (vec![7, 97, 98, the, sum, 99, the], None));
        let at = text.at_tail();
        assert_eq!((at.ids.len(), at.tail.as_str(), at.tail_from), (7, "", 15));
        text.append("g");
        let at = text.at_tail();
        assert_eq!((at.ids.len(), at.tail.as_str(), at.tail_ids), (7, "g", None));
        // Within a generated token.
        text.cut_and_write(8, "x", &[120], &tokenizer).unwrap();
        let s = tokenizer.encode_text(" s", false).unwrap();
        assert_eq!(text.ids(), [&[7, 97, 98, the][..], &s, &[120]].concat());
    }

    #[test]
    fn a_character_of_several_tokens_is_not_divided() {
        let tokenizer = tokenizer();
        let ids: Vec<u32> = "aéb".bytes().map(u32::from).collect();
        for (bytes, expected) in [(0, (0, 0)), (1, (1, 1)), (3, (3, 3)), (4, (4, 4))] {
            assert_eq!(whole_tokens(&ids, "aéb", bytes, &tokenizer), expected, "{bytes}");
        }
    }
}
