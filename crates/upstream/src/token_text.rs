//! A session's text as a server's token ids: what it made is kept as it was made, what others wrote is encoded by it.
//!
//! Pure: whoever has the server encodes [`TokenText::unencoded`]. Which text is committed is in [`thinking::session`].

/// The tokens of a prompt and of the committed text.
#[derive(Debug)]
pub(crate) struct TokenText {
    /// Tokens that will not be encoded anew.
    fixed: Vec<u32>,
    /// The text behind them, of others; further text is encoded together with it.
    tail: String,
    /// The tail's tokens, once they are known.
    tail_ids: Option<Vec<u32>>,
}

/// The tokens of a proposal, as they came.
#[derive(Debug, Default)]
pub(crate) struct OwnChunks(Vec<OwnChunk>);

#[derive(Debug)]
struct OwnChunk {
    /// `None`: the server did not tell all of them.
    ids: Option<Vec<u32>>,
    /// Where its text ends in the proposal, in bytes.
    end: usize,
    /// Whether the text of all tokens so far ends here too, and no character is half made.
    is_edge: bool,
}

impl OwnChunks {
    /// Adds tokens after which the proposal has this many bytes; `None` where they are not all known.
    pub(crate) fn push(&mut self, ids: Option<Vec<u32>>, text: &str, end: usize) {
        self.0.push(OwnChunk { ids, end, is_edge: !text.is_empty() });
    }

    /// The known tokens of the first bytes, and how many bytes they stand for.
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
    /// The text that begins with a prompt of these tokens.
    pub(crate) fn new(prompt: Vec<u32>) -> Self {
        TokenText { fixed: prompt, tail: String::new(), tail_ids: None }
    }

    /// Adds text that others wrote as these tokens, which are kept as they are where all before them is encoded.
    pub(crate) fn append_tokens(&mut self, text: &str, ids: &[u32]) {
        if self.unencoded().is_some() {
            return self.append(text);
        }
        self.fixed.extend(self.tail_ids.take().unwrap_or_default());
        self.tail.clear();
        self.fixed.extend(ids);
    }

    /// Adds text that others wrote.
    pub(crate) fn append(&mut self, text: &str) {
        if !text.is_empty() {
            self.tail.push_str(text);
            self.tail_ids = None;
        }
    }

    /// Keeps the beginning of a proposal. Everything before it must be encoded.
    pub(crate) fn commit(&mut self, own: &OwnChunks, kept: &str) {
        let (ids, bytes) = own.known(kept.len());
        if bytes > 0 {
            self.fixed.extend(self.tail_ids.take().unwrap_or_default());
            self.tail.clear();
            self.fixed.extend(ids);
        }
        // A token that was cut in two is encoded again from what is left of it.
        self.append(&kept[bytes..]);
    }

    /// The text whose tokens are not known.
    pub(crate) fn unencoded(&self) -> Option<&str> {
        (!self.tail.is_empty() && self.tail_ids.is_none()).then_some(&self.tail)
    }

    /// Notes the tokens of [`Self::unencoded`].
    pub(crate) fn encoded(&mut self, ids: Vec<u32>) {
        self.tail_ids = Some(ids);
    }

    /// Notes the tokens of the tail as it was when it had so many bytes, if it still is what it was. No proposal may
    /// have been kept in between.
    pub(crate) fn encoded_at(&mut self, bytes: usize, ids: Vec<u32>) {
        if self.tail.len() == bytes {
            self.tail_ids = Some(ids);
        }
    }

    /// All tokens; those of text that is not encoded are missing.
    pub(crate) fn ids(&self) -> Vec<u32> {
        [&self.fixed[..], self.tail_ids.as_deref().unwrap_or_default()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "ab" as one token, "é" as two, then "c", all after "x" of somebody else.
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
}
