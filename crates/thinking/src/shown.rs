//! Makes text from elsewhere (another machine, a file, a model) safe to show to a person: it cannot control the
//! terminal, forge a line or reverse the reading direction.

use std::borrow::Cow;

use serde::{Deserialize as _, Deserializer};

/// The longest line that is shown whole, in characters.
const LONGEST_LINE: usize = 4_000;

/// Replaces characters that must not be shown with U+FFFD. Newlines and tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect(),
    )
}

/// Turns a text into one line: unsafe characters replaced, every run of white space turned into one space, and overlong
/// text cut off.
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&visible(word));
    }
    if let Some((end, _)) = line.char_indices().nth(LONGEST_LINE) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// Escapes the characters of a JSON text that must not be shown. The result has the same meaning.
pub fn visible_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            c if steers(c) => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

/// Deserializes a string as [`one_line`], for serde's `deserialize_with`.
///
/// # Errors
/// If it is not a string.
pub fn deserialize_line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| one_line(&text))
}

/// Deserializes an optional string as [`one_line`], for serde's `deserialize_with`.
///
/// # Errors
/// If it is not a string.
pub fn deserialize_optional_line<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(|text| one_line(&text)))
}

/// Returns whether a character controls a terminal or the order of the characters around it.
fn steers(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Marks, embeddings, overrides and isolates of the bidirectional algorithm.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOSTILE: [char; 18] = [
        '\0', '\x07', '\x08', '\r', '\x1b', '\x7f', '\u{80}', '\u{9b}', '\u{9d}', '\u{61c}',
        '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}',
        '\u{2069}',
    ];

    #[test]
    fn what_steers_a_terminal_or_the_reading_direction_is_made_visible() {
        for c in HOSTILE {
            assert_eq!(visible(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        let harmless = "a\tb\nWait, 数学 é 🙂 \u{200d}\u{5d0}";
        assert_eq!(visible(harmless), harmless);
    }

    #[test]
    fn a_line_stays_one_line_of_bounded_length() {
        assert_eq!(
            one_line(" no\r\nerror:\tfake \u{2028}x\u{1b}]0;t\u{7} "),
            "no error: fake x\u{fffd}]0;t\u{fffd}"
        );
        let long = one_line(&"数".repeat(2 * LONGEST_LINE));
        assert_eq!(long.chars().count(), LONGEST_LINE + 1);
        assert!(long.ends_with('…'));
    }

    proptest! {
        #[test]
        fn json_means_the_same_and_holds_nothing_hostile(text: String, c in prop::sample::select(HOSTILE.to_vec())) {
            let text = format!("{text}{c}");
            let shown = visible_json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!shown.contains(steers), "{shown:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }

        #[test]
        fn a_line_that_was_shown_is_shown_as_it_is(text: String) {
            let line = one_line(&text);
            prop_assert!(!line.contains(steers) && !line.contains(['\n', '\t']), "{line:?}");
            prop_assert_eq!(one_line(&line), line);
        }
    }
}
