//! Where words begin and end: the word boundaries of Unicode (UAX 29), except that
//! - scripts without spaces between words, and Hangul, whose words take endings, have a boundary next to each
//!   character;
//! - the underscores of Markdown's emphasis belong to no word.

use unicode_segmentation::UnicodeSegmentation as _;

/// Appended to a text, these show whether following text may continue its last word.
const WORD_GOES_ON: [char; 2] = ['a', '0'];

/// Whether a word ends at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WordEnd {
    Yes,
    No,
    /// Yes if nothing follows; otherwise what follows decides.
    Open,
}

/// Returns whether a word may begin at this byte of a text.
pub(super) fn begins(text: &str, at: usize) -> bool {
    let first = text[at..].chars().next();
    !first.is_some_and(is_word) || is_border(text, at)
}

/// Returns whether a word ends at this byte of a text that may continue. Once the result is yes or no, more text does
/// not change it.
pub(super) fn ends(text: &str, at: usize) -> WordEnd {
    if !is_border(text, at) {
        return WordEnd::No;
    }
    let is_sure = WORD_GOES_ON.iter().all(|c| is_border(&format!("{text}{c}"), at));
    if is_sure { WordEnd::Yes } else { WordEnd::Open }
}

fn is_border(text: &str, at: usize) -> bool {
    let (before, after) = text.split_at(at);
    let (Some(last), Some(first)) = (before.chars().next_back(), after.chars().next()) else {
        return true;
    };
    if writes_no_spaces(last) || writes_no_spaces(first) {
        return true;
    }
    without_emphasis(text).split_word_bound_indices().any(|(border, _)| border == at)
}

/// Returns the text with the underscores of Markdown's emphasis replaced: those of `_word_` and `__word__`, not that of
/// `snake_case`. A run of underscores begins an emphasis if it is before a word and not after one, and ends an open one
/// if it is after a word and not before one.
fn without_emphasis(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut rest, mut is_begun) = (text, false);
    while let Some(at) = rest.find('_') {
        let (before, run) = rest.split_at(at);
        plain.push_str(before);
        let length = run.len() - run.trim_start_matches('_').len();
        rest = &run[length..];
        let joins_before = plain.chars().next_back().is_some_and(char::is_alphanumeric);
        let joins_after = rest.chars().next().is_some_and(char::is_alphanumeric);
        let is_emphasis =
            if is_begun { joins_before && !joins_after } else { joins_after && !joins_before };
        is_begun ^= is_emphasis;
        let mark = if is_emphasis { "*" } else { "_" };
        plain.push_str(&mark.repeat(length));
    }
    plain.push_str(rest);
    plain
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns whether a character belongs to a script in which no space shows where a word ends.
fn writes_no_spaces(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0FFF}' // Thai, Lao, Tibetan
        | '\u{1000}'..='\u{109F}' | '\u{A9E0}'..='\u{A9FF}' | '\u{AA60}'..='\u{AA7F}' // Myanmar
        | '\u{1780}'..='\u{17FF}' // Khmer
        | '\u{1950}'..='\u{19DF}' | '\u{1A20}'..='\u{1AAF}' | '\u{AA80}'..='\u{AADF}' // Tai scripts
        | '\u{1B00}'..='\u{1B7F}' | '\u{A980}'..='\u{A9DF}' // Balinese, Javanese
        | '\u{2E80}'..='\u{2FDF}' | '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{4DBF}' // Han
        | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}'
        | '\u{3040}'..='\u{312F}' | '\u{31A0}'..='\u{31FF}' | '\u{FF66}'..='\u{FF9F}' // Kana, Bopomofo
        | '\u{1100}'..='\u{11FF}' | '\u{3130}'..='\u{318F}' | '\u{A960}'..='\u{A97F}' // Hangul
        | '\u{AC00}'..='\u{D7FF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscores_around_words_are_emphasis_and_those_within_are_not() {
        for (text, plain) in [
            ("_Wait_, no", "*Wait*, no"),
            ("so __wait__", "so **wait**"),
            ("_Wait, no_.", "*Wait, no*."),
            ("snake_case", "snake_case"),
            ("wait_, no", "wait_, no"),
            ("_ and __", "_ and __"),
            ("_a_b_ c", "*a_b* c"),
        ] {
            assert_eq!(without_emphasis(text), plain, "{text}");
        }
    }

    #[test]
    fn a_word_ends_when_nothing_can_go_on_with_it() {
        for (text, ends_at_4) in [
            ("wait", WordEnd::Open),
            ("wait ", WordEnd::Yes),
            ("wait,", WordEnd::Yes),
            ("waits", WordEnd::No),
            ("wait\u{301}", WordEnd::No),
            ("wait'", WordEnd::Open),
            ("wait's", WordEnd::No),
            ("wait’s", WordEnd::No),
            ("wait' ", WordEnd::Yes),
            ("wait.", WordEnd::Open),
            ("wait数", WordEnd::Yes),
            ("wait_", WordEnd::No),
        ] {
            assert_eq!(ends(text, 4), ends_at_4, "{text:?}");
        }
    }
}
