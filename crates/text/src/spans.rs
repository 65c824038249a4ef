//! Where tokens are in the text that they spell, and up to which place the text alone decides them.

use crate::{Detokenizer, Tokenizer};

/// Returns the spans of tokens. Each mark says where the text ended after a token, and whether it ended with a whole
/// character. The text begins at `byte` of the committed one.
pub fn spans_of<'a>(
    marks: impl IntoIterator<Item = (usize, bool)> + 'a,
    text: &'a str,
    byte: usize,
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut before = 0;
    marks.into_iter().map(move |(text_end, is_clean)| {
        let start = std::mem::replace(&mut before, text_end);
        // A token covers all of a character that it ends in.
        let end = if is_clean { text_end } else { text.ceil_char_boundary(text_end + 1) };
        (byte + start.min(text.len()), byte + end.min(text.len()))
    })
}

/// Returns the spans of tokens that spell `text`, which begins at `byte` of the committed one.
pub fn spans_of_ids(
    ids: &[u32],
    text: &str,
    byte: usize,
    tokenizer: &Tokenizer,
) -> Vec<(usize, usize)> {
    let (mut detokenizer, mut bytes, mut piece) = (Detokenizer::new(), 0, String::new());
    let marks = ids.iter().map(|&id| {
        piece.clear();
        detokenizer.push(tokenizer.piece(id), &mut piece);
        bytes += piece.len();
        (bytes, detokenizer.is_clean())
    });
    let marks: Vec<_> = marks.collect();
    spans_of(marks, text, byte).collect()
}

/// Returns the longest beginning of a text that is encoded the same whatever follows the text, in bytes and in tokens.
/// It ends at the last space that follows something other than white space, where every supported tokenizer starts
/// afresh.
pub fn before_last_word(text: &str, spans: &[(usize, usize)]) -> (usize, usize) {
    let mut edges = text
        .match_indices(' ')
        .map(|(at, _)| at)
        .filter(|&at| text[..at].chars().next_back().is_some_and(|before| !before.is_whitespace()));
    let mut found = (0, 0);
    while let Some(edge) = edges.next_back() {
        let tokens = spans.partition_point(|&(_, end)| end <= edge);
        // A token across the edge would mean that the tokenizer does not start afresh there.
        if spans.get(tokens).is_none_or(|&(start, _)| start >= edge) {
            found = (edge, tokens);
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_spans_of_whole_characters() {
        let marks = [(1, true), (1, false), (4, false), (7, true), (7, true)];
        let spans: Vec<_> = spans_of(marks, "a数学", 10).collect();
        assert_eq!(spans, [(10, 11), (11, 14), (11, 17), (14, 17), (17, 17)]);
    }

    #[test]
    fn the_edge_is_before_the_last_word() {
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
            assert_eq!(before_last_word(text, &words(text)), expected, "{text:?}");
        }
        // A token that reaches over the edge moves the edge back.
        assert_eq!(before_last_word("a b c", &[(0, 1), (1, 5)]), (1, 1));
        assert_eq!(before_last_word("a b", &[(0, 3)]), (0, 0));
    }
}
