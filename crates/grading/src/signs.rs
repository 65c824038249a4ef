//! Converts characters that have an equivalent in ASCII or LaTeX: dashes, spaces, digits of other scripts, superscript
//! and subscript digits, single-character fractions.
//!
//! What does not live here: signs with a meaning of their own, such as "≤" and "∪" ([`crate::grade`] reads them).

use std::{borrow::Cow, iter::Peekable, str::Chars};

/// Single-character fractions, with numerator and denominator.
const FRACTIONS: [(char, &str, &str); 19] = [
    ('¼', "1", "4"),
    ('½', "1", "2"),
    ('¾', "3", "4"),
    ('⅐', "1", "7"),
    ('⅑', "1", "9"),
    ('⅒', "1", "10"),
    ('⅓', "1", "3"),
    ('⅔', "2", "3"),
    ('⅕', "1", "5"),
    ('⅖', "2", "5"),
    ('⅗', "3", "5"),
    ('⅘', "4", "5"),
    ('⅙', "1", "6"),
    ('⅚', "5", "6"),
    ('⅛', "1", "8"),
    ('⅜', "3", "8"),
    ('⅝', "5", "8"),
    ('⅞', "7", "8"),
    ('↉', "0", "3"),
];

/// The zero of each script whose decimal digits are recognised.
const ZEROS: [char; 5] = ['٠', '۰', '०', '০', '０'];

/// Replaces every character that has an equivalent in ASCII or LaTeX.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if let Some(raised) = superscript(c) {
            let above = run(raised, superscript, &mut rest);
            push_raised(&mut out, &above, &mut rest);
        } else if let Some(lowered) = subscript(c) {
            let below = run(lowered, subscript, &mut rest);
            out.push_str(&format!("_{{{below}}}"));
        } else if let Some((_, above, below)) = FRACTIONS.iter().find(|(sign, ..)| *sign == c) {
            out.push_str(&format!("\\frac{{{above}}}{{{below}}}"));
        } else if let Some(root) = root(c) {
            out.push_str(root);
            push_radicand(&mut out, &mut rest);
        } else if c == 'π' || c == '𝜋' {
            let letter = rest.peek().is_some_and(char::is_ascii_alphabetic);
            out.push_str(if letter { "\\pi " } else { "\\pi" });
        } else if is_long_dash(c) && rest.peek().is_some_and(|c| is_long_dash(*c)) {
            while rest.next_if(|c| is_long_dash(*c)).is_some() {}
            out.push_str(" - ");
        } else if !is_invisible(c) {
            out.push(similar(c));
            // Unlike a dash, this minus belongs to its number even across a space.
            if c == '−' && !follows_operand(&out) {
                while rest.next_if(|c| similar(*c) == ' ').is_some() {}
            }
        }
    }
    Cow::Owned(out)
}

/// Returns whether the minus at the end follows an operand, and not a word.
fn follows_operand(text: &str) -> bool {
    let before = text.trim_end_matches('-').trim_end();
    let bare = before.trim_end_matches(|c: char| c.is_alphabetic());
    let letters = before[bare.len()..].chars().count();
    letters == 1 || letters == 0 && before.ends_with(|c: char| c.is_numeric() || ")}]%".contains(c))
}

/// Returns the run of characters that are raised or lowered like the first, as plain ones.
fn run(first: char, shift: fn(char) -> Option<char>, rest: &mut Peekable<Chars<'_>>) -> String {
    let mut run = String::from(first);
    while let Some(c) = rest.peek().copied().and_then(shift) {
        run.push(c);
        rest.next();
    }
    run
}

/// Adds a power. If a slash and lowered digits follow, adds a fraction. A raised minus alone is a minus.
fn push_raised(out: &mut String, above: &str, rest: &mut Peekable<Chars<'_>>) {
    if above == "-" {
        out.push('-');
        return;
    }
    let mut ahead = rest.clone();
    let slash = ahead.next().is_some_and(|c| similar(c) == '/');
    let lowered = if slash { ahead.next().and_then(subscript) } else { None };
    match lowered {
        Some(first) => {
            let below = run(first, subscript, &mut ahead);
            out.push_str(&format!("\\frac{{{above}}}{{{below}}}"));
            *rest = ahead;
        }
        None => out.push_str(&format!("^{{{above}}}")),
    }
}

fn root(c: char) -> Option<&'static str> {
    match c {
        '√' => Some("\\sqrt"),
        '∛' => Some("\\sqrt[3]"),
        '∜' => Some("\\sqrt[4]"),
        _ => None,
    }
}

/// Adds the number under a root sign in braces. Without them, LaTeX takes only the 1 of `\sqrt17`.
fn push_radicand(out: &mut String, rest: &mut Peekable<Chars<'_>>) {
    let mut number = String::new();
    while let Some(digit) =
        rest.peek().map(|c| similar(*c)).filter(|c| c.is_ascii_digit() || *c == '.')
    {
        number.push(digit);
        rest.next();
    }
    let digits = number.trim_end_matches('.');
    let point = &number[digits.len()..];
    if !digits.is_empty() {
        out.push_str(&format!("{{{digits}}}"));
    } else if rest.peek().is_some_and(char::is_ascii_alphabetic) {
        out.push(' ');
    }
    out.push_str(point);
}

fn superscript(c: char) -> Option<char> {
    Some(match c {
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁰' | '⁴'..='⁹' => digit(c, '⁰')?,
        '⁺' => '+',
        '⁻' => '-',
        '⁽' => '(',
        '⁾' => ')',
        'ⁿ' => 'n',
        'ˣ' => 'x',
        _ => return None,
    })
}

fn subscript(c: char) -> Option<char> {
    Some(match c {
        '₀'..='₉' => digit(c, '₀')?,
        '₊' => '+',
        '₋' => '-',
        '₍' => '(',
        '₎' => ')',
        'ₙ' => 'n',
        'ₓ' => 'x',
        _ => return None,
    })
}

/// Returns the ASCII digit of a character, if it is one of the ten that begin with this zero.
fn digit(c: char, zero: char) -> Option<char> {
    let value = u32::from(c).checked_sub(u32::from(zero))?;
    char::from_digit(value, 10)
}

/// Returns whether two of this dash in a row are one dash, and not a minus.
fn is_long_dash(c: char) -> bool {
    matches!(c, '—' | '―')
}

/// Returns whether it is a mark of direction or joining, which does not change a value.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{fe0e}' | '\u{fe0f}' | '\u{feff}')
}

/// Returns the ASCII equivalent of a character, or the character itself.
fn similar(c: char) -> char {
    match c {
        '−' | '‐' | '‑' | '‒' | '–' | '—' | '―' | '˗' | '﹘' | '﹣' | '➖' => '-',
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        '⁄' | '∕' => '/',
        '∶' => ':',
        '‘' | '’' => '\'',
        '“' | '”' => '"',
        '、' | '٬' => ',',
        '。' | '٫' => '.',
        '٪' | '﹪' => '%',
        '﹢' | '➕' => '+',
        '﹦' => '=',
        'ℎ' => 'h',
        _ => styled(c).unwrap_or(c),
    }
}

/// Returns the plain form of a full-width or mathematical character, or the ASCII digit of one in another script.
fn styled(c: char) -> Option<char> {
    if let Some(digit) = ZEROS.iter().find_map(|zero| digit(c, *zero)) {
        return Some(digit);
    }
    let code = u32::from(c);
    let of_alphabet = |first: u32, length: u32| (code - first) % length;
    match code {
        // Full-width forms are in the order of ASCII.
        0xff01..=0xff5e => char::from_u32(code - 0xff01 + u32::from('!')),
        // Thirteen Latin alphabets, then Greek ones of 58 characters each, then five sets of digits.
        0x1d400..=0x1d6a3 => match of_alphabet(0x1d400, 52) {
            capital @ 0..=25 => char::from_u32(u32::from('A') + capital),
            small => char::from_u32(u32::from('a') + small - 26),
        },
        0x1d6a8..=0x1d7c9 => match of_alphabet(0x1d6a8, 58) {
            capital @ 0..=24 => char::from_u32(u32::from('Α') + capital),
            small @ 26..=50 => char::from_u32(u32::from('α') + small - 26),
            _ => None,
        },
        0x1d7ce..=0x1d7ff => char::from_digit(of_alphabet(0x1d7ce, 10), 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn characters_become_what_they_stand_for() {
        for (text, want) in [
            ("−6 –6 ‒6 —6 ﹣6 －6 ‑6 ➖6 ⁻6", "-6 -6 -6 -6 -6 -6 -6 -6 -6"),
            ("is − 6, = − 6, x − 6, 7 − 6 – 6", "is -6, = -6, x - 6, 7 - 6 - 6"),
            ("答案——6", "答案 - 6"),
            ("1\u{202f}234\u{a0}567\u{2009}8\u{3000}9", "1 234 567 8 9"),
            ("１７．５％，（ｘ＋１）／２", "17.5%,(x+1)/2"),
            ("١٧ ۱۷ १७ 𝟏𝟕 𝟷𝟽", "17 17 17 17 17"),
            ("½ 3½ −¼", "\\frac{1}{2} 3\\frac{1}{2} -\\frac{1}{4}"),
            ("³⁄₄ ¹/₂", "\\frac{3}{4} \\frac{1}{2}"),
            ("10⁻³ x²ⁿ log₁₀", "10^{-3} x^{2n} log_{10}"),
            ("√117. ∛8 √x √(2)", "\\sqrt{117}. \\sqrt[3]{8} \\sqrt x \\sqrt(2)"),
            ("2π πr 𝜋", "2\\pi \\pi r \\pi"),
            ("𝑥 𝐀 𝛼", "x A α"),
            ("\u{200b}5\u{2060}\u{feff}", "5"),
            ("3⁄4 5∕6 1∶2", "3/4 5/6 1:2"),
            ("≤ ∪ é 答案", "≤ ∪ é 答案"),
        ] {
            assert_eq!(plain(text), want, "{text}");
        }
    }
}
