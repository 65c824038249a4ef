//! The form in which phrases and texts are compared. It ignores case, the width of characters, the shape of quotes and
//! spaces, and Markdown's marks around a word.

/// Returns a character in that form, which may be several characters.
pub(super) fn folded(c: char) -> impl DoubleEndedIterator<Item = char> {
    let plain = match c {
        // Full-width forms of ASCII.
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        '‘' | '’' | '‛' | 'ʼ' | '′' | '´' => '\'',
        '“' | '”' | '„' | '«' | '»' => '"',
        '\u{2010}' | '\u{2011}' => '-',
        '。' | '｡' => '.',
        '、' | '､' => ',',
        '\n' | '\r' => c,
        c if c.is_whitespace() => ' ',
        c => c,
    };
    plain.to_lowercase()
}

/// Returns how many of a text's last characters match this phrase, which must be folded; `None` if the text does not
/// end with it.
///
/// Where the phrase has a space, the text may have several, a line break, and Markdown's marks around the adjacent
/// words: "**hold** on".
pub(super) fn length_at_end(text: &[(char, u64)], phrase: &[char]) -> Option<usize> {
    let (mut left, mut before) = (phrase, text.len());
    let mut is_behind_space = false;
    while let Some((&wanted, rest)) = left.split_last() {
        before = before.checked_sub(1)?;
        let c = text[before].0;
        let is_at_space = wanted == ' ' || is_behind_space;
        if wanted == ' ' && c == '\n' {
            left = rest;
        } else if let Some(rest) = without_end(left, c) {
            left = rest;
        } else if is_at_space && left.len() < phrase.len() && is_dress(c) {
            continue;
        } else {
            return None;
        }
        is_behind_space = wanted == ' ';
    }
    Some(text.len() - before)
}

/// Returns the phrase without this last character, all of its folded form; `None` if the phrase does not end with it.
fn without_end(phrase: &[char], c: char) -> Option<&[char]> {
    folded(c).rev().try_fold(phrase, |left, lower| left.strip_suffix(&[lower]))
}

/// Returns whether a character may surround a word next to a space.
fn is_dress(c: char) -> bool {
    matches!(c, '*' | '_' | '~' | '`') || folded(c).eq([' '])
}
