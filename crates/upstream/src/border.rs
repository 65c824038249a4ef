//! Decides when appended text is worth a request that computes it ahead. Pure.

/// This many new tokens are computed ahead even within a paragraph.
const STEP_TOKENS: u32 = 64;

/// The text that no request contained yet.
#[derive(Debug, Default)]
pub(crate) struct UnaskedText {
    tokens: u32,
    ends_line: bool,
    has_break: bool,
}

impl UnaskedText {
    /// The text at the start of an answer, which ends at a border.
    pub(crate) fn prompt(tokens: u32) -> Self {
        UnaskedText { tokens, ends_line: false, has_break: true }
    }

    /// Adds a text of about `tokens` tokens.
    pub(crate) fn push(&mut self, text: &str, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.has_break |= text.contains("\n\n") || (self.ends_line && text.starts_with('\n'));
        if !text.is_empty() {
            self.ends_line = text.ends_with('\n');
        }
    }

    /// Returns whether a paragraph ended.
    pub(crate) fn has_break(&self) -> bool {
        self.has_break
    }

    /// Returns whether a border was passed: the end of a paragraph, or many tokens.
    pub(crate) fn is_due(&self) -> bool {
        self.has_break || self.tokens >= STEP_TOKENS
    }
}

/// Returns whether a text that grew from `asked_tokens` to `tokens` fills another block of the server's cache. A server
/// that caches only whole blocks would compute an incomplete one again.
pub(crate) fn fills_block(asked_tokens: u32, tokens: u32, block_tokens: u32) -> bool {
    let blocks = |tokens: u32| tokens / block_tokens.max(1);
    blocks(tokens) > blocks(asked_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_is_a_paragraphs_end_or_many_tokens() {
        let due = |texts: &[(&str, u32)]| {
            let mut unasked = UnaskedText::default();
            texts.iter().for_each(|(text, tokens)| unasked.push(text, *tokens));
            unasked.is_due()
        };
        for (texts, is_due) in [
            (&[("First, ", 2), ("7.\n", 3)][..], false),
            (&[("First.\n\nThen", 5)], true),
            (&[("First.\n", 3), ("", 0), ("\n", 1)], true),
            (&[("First.\n", 3), ("So\n", 2)], false),
            (&[("a", 63)], false),
            (&[("a", 63), ("b", 1)], true),
        ] {
            assert_eq!(due(texts), is_due, "{texts:?}");
        }
        assert!(UnaskedText::prompt(1).is_due());
    }

    #[test]
    fn a_block_is_filled_once() {
        for (asked, tokens, block, fills) in [
            (0, 15, 16, false),
            (0, 16, 16, true),
            (16, 31, 16, false),
            (31, 32, 16, true),
            (7, 8, 1, true),
        ] {
            assert_eq!(fills_block(asked, tokens, block), fills, "{asked} to {tokens}");
        }
        assert!(!fills_block(8, 8, 0));
    }
}
