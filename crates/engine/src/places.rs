//! Where each token of the committed text is in it, in bytes.
//!
//! A span covers whole characters: tokens that share a character each cover all of it. So a token that begins before
//! the end of the previous one begins inside a character.

/// The spans of a session's tokens, without those of the prompt.
#[derive(Debug)]
pub(crate) struct Places {
    /// Number of tokens of the prompt.
    prompt: usize,
    spans: Vec<(usize, usize)>,
}

impl Places {
    /// Makes the spans of the tokens after a prompt of `prompt` tokens.
    pub(crate) fn new(prompt: usize, spans: Vec<(usize, usize)>) -> Self {
        Places { prompt, spans }
    }

    /// Returns the span of a token of the session.
    pub(crate) fn span(&self, token: usize) -> Option<(usize, usize)> {
        self.spans.get(token.checked_sub(self.prompt)?).copied()
    }

    /// Returns the spans of these tokens of the session.
    pub(crate) fn spans(&self, tokens: std::ops::Range<usize>) -> &[(usize, usize)] {
        self.spans.get(tokens.start - self.prompt..tokens.end - self.prompt).unwrap_or_default()
    }

    /// Returns whether a token of the session begins where a character does.
    pub(crate) fn is_edge(&self, token: usize) -> bool {
        match token.checked_sub(self.prompt) {
            None => false,
            Some(0) => true,
            Some(at) => match (self.spans.get(at - 1), self.spans.get(at)) {
                (Some(before), Some(this)) => before.1 <= this.0,
                _ => true,
            },
        }
    }

    /// Returns how many tokens of the session are entirely in the first `bytes` bytes of the text, and where the last
    /// of them ends. Trailing tokens without text do not count.
    pub(crate) fn whole(&self, bytes: usize) -> (usize, usize) {
        let mut tokens = self.spans.partition_point(|&(_, end)| end <= bytes);
        while tokens > 0 && {
            let (start, end) = self.spans[tokens - 1];
            start == end || !self.is_edge(self.prompt + tokens)
        } {
            tokens -= 1;
        }
        let end = self.spans[..tokens].last().map_or(0, |&(_, end)| end);
        (self.prompt + tokens, end)
    }

    /// Forgets the spans of all tokens after the session's first `tokens`.
    pub(crate) fn truncate(&mut self, tokens: usize) {
        self.spans.truncate(tokens.saturating_sub(self.prompt));
    }

    /// Adds the spans of the tokens that follow.
    pub(crate) fn extend(&mut self, spans: impl IntoIterator<Item = (usize, usize)>) {
        self.spans.extend(spans);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_share_a_character_are_kept_together() {
        // "a", "é" in two tokens, a token without text, "bc".
        let places = Places::new(7, vec![(0, 1), (1, 3), (1, 3), (3, 3), (3, 5)]);
        for (bytes, expected) in
            [(0, (7, 0)), (1, (8, 1)), (3, (10, 3)), (4, (10, 3)), (5, (12, 5))]
        {
            assert_eq!(places.whole(bytes), expected, "{bytes}");
        }
        let edges = [false, true, true, false, true, true].into_iter().enumerate();
        edges.for_each(|(at, is_edge)| assert_eq!(places.is_edge(6 + at), is_edge, "{at}"));
        // A token over the border of two characters holds both together.
        let places = Places::new(0, vec![(0, 3), (0, 6), (3, 6), (6, 7)]);
        for (bytes, expected) in [(3, (0, 0)), (6, (3, 6)), (7, (4, 7))] {
            assert_eq!(places.whole(bytes), expected, "{bytes}");
        }
    }
}
