//! Strips an answer's text of whatever does not affect its value: dollar signs, units, words between values.
//!
//! What does not live here: the meaning of LaTeX commands ([`super::lex`] and [`super::parse`]).

use super::{
    braces::braced,
    style::{TEXT_COMMANDS, unstyled, without_space_after},
};
use crate::signs::plain;

/// Units that may follow a number without markup. Plural endings are removed first.
const UNITS: [&str; 60] = [
    "acre",
    "apple",
    "cc",
    "cent",
    "centimeter",
    "cm",
    "coin",
    "cubic",
    "day",
    "deg",
    "degree",
    "digit",
    "dm",
    "dollar",
    "edge",
    "feet",
    "foot",
    "ft",
    "g",
    "gal",
    "gallon",
    "gm",
    "h",
    "hectare",
    "hour",
    "hr",
    "in",
    "inch",
    "inche",
    "kg",
    "km",
    "l",
    "lb",
    "liter",
    "litre",
    "m",
    "meter",
    "metre",
    "mile",
    "min",
    "minute",
    "mm",
    "month",
    "mph",
    "ohm",
    "people",
    "point",
    "pound",
    "ratio",
    "rupee",
    "s",
    "sec",
    "second",
    "square",
    "sq",
    "student",
    "unit",
    "way",
    "yard",
    "year",
];

/// Returns the text to parse.
pub(super) fn clean(text: &str) -> String {
    let text = plain(text);
    let text = strip_delimiters(text.trim());
    let text = join_braced_signs(&unstyled(&drop_marks(text)));
    let text = replace_words(strip_braces(text.trim()));
    let mut text = text.trim().trim_end_matches(['.', ',', ';']).trim_end().to_owned();
    for _ in 0..3 {
        let shorter = strip_text_unit(&text).or_else(|| strip_plain_unit(&text));
        match shorter {
            Some(end) => text.truncate(end),
            None => break,
        }
    }
    text.trim().to_owned()
}

/// Returns a number with separators, and nothing else, as a plain number: "1,234", "1 234" and `1\,234`.
///
/// Within a list the comma separates items, so this applies to whole texts only.
pub(super) fn grouped_number(text: &str) -> Option<String> {
    let spaces = ["\\,", "\\;", "\\:", "\\ ", "~"];
    let text = spaces.iter().fold(text.to_owned(), |text, space| text.replace(space, ","));
    let text = if text.contains(',') { text } else { text.replace(' ', ",") };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest.trim_start()),
        None => ("", text.as_str()),
    };
    let (digits, fraction) = digits.split_once('.').map_or((digits, None), |(a, b)| (a, Some(b)));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let mut groups = digits.split(',');
    let first = groups.next().filter(|first| all_digits(first) && first.len() <= 3)?;
    let rest: Vec<&str> = groups.collect();
    let grouped =
        !rest.is_empty() && rest.iter().all(|group| all_digits(group) && group.len() == 3);
    if !grouped || !fraction.is_none_or(all_digits) {
        return None;
    }
    let fraction = fraction.map_or_else(String::new, |digits| format!(".{digits}"));
    Some(format!("{sign}{first}{}{fraction}", rest.concat()))
}

/// Returns whether a whole number of any size is negative, and its digits: "1,234", "-0012", "5.0".
pub(super) fn whole_number(text: &str) -> Option<(bool, String)> {
    let grouped = grouped_number(text);
    let text = grouped.as_deref().unwrap_or(text);
    let digits = text.strip_prefix('-').map_or(text, str::trim_start);
    let whole = match digits.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return None,
        None => digits,
    };
    if whole.is_empty() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    Some((text.starts_with('-') && !whole.is_empty(), whole.to_owned()))
}

/// Removes the math delimiters around the whole text.
fn strip_delimiters(text: &str) -> &str {
    let marks = [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**")];
    for (open, close) in marks {
        let inner = text.strip_prefix(open).and_then(|text| text.strip_suffix(close));
        if let Some(inner) = inner.filter(|inner| !inner.ends_with('\\')) {
            return inner;
        }
    }
    text
}

/// Removes the braces around the whole text, which LaTeX does not show.
fn strip_braces(text: &str) -> &str {
    match braced(text) {
        Some((inner, used)) if used == text.len() => inner.trim(),
        _ => text,
    }
}

/// Removes dollar signs, quotes, and negative spaces with the white space after them.
fn drop_marks(text: &str) -> String {
    let text = text.replace("\\$", "").replace(['$', '"', '\'', '`'], "");
    let text = text.replace("\\displaystyle", " ");
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split("\\!");
    out.push_str(pieces.next().unwrap_or(""));
    for piece in pieces {
        out.push_str(piece.trim_start());
    }
    out
}

/// Removes the braces that keep LaTeX from adding space around a sign: "1{,}234" and "{-}5".
fn join_braced_signs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let inner = from[1..].trim_start();
        let after = inner.strip_prefix([',', '-']).map(str::trim_start);
        match after.and_then(|after| after.strip_prefix('}')) {
            Some(after) => {
                out.push_str(&inner[..1]);
                rest = after;
            }
            None => {
                out.push('{');
                rest = &from[1..];
            }
        }
    }
    out + rest
}

/// Returns the sign that a word between values represents.
fn word_meaning(word: &str) -> Option<&'static str> {
    match word {
        "and" | "or" => Some(","),
        "percent" | "percentage" | "pct" => Some("\\%"),
        "infinity" => Some("\\infty "),
        _ => None,
    }
}

/// Replaces words between values by their signs, whether or not they are marked as text.
fn replace_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (piece, meaning) = if c == '\\' {
            let name: String = rest[1..].chars().take_while(char::is_ascii_alphabetic).collect();
            let command = 1 + name.len().max(rest[1..].chars().next().map_or(0, char::len_utf8));
            let braced = TEXT_COMMANDS.contains(&name.as_str()).then(|| braced(&rest[command..]));
            match braced.flatten() {
                Some((inner, used)) => {
                    let word = inner.trim().trim_matches(',').trim();
                    (&rest[..command + used], word_meaning(word))
                }
                None => (&rest[..command], None),
            }
        } else if c.is_ascii_alphabetic() {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            (&rest[..end], word_meaning(&rest[..end]))
        } else {
            (&rest[..c.len_utf8()], None)
        };
        match meaning {
            Some(meaning) => {
                let kept = out.trim_end().trim_end_matches(',').len();
                out.truncate(kept);
                out.push_str(meaning);
            }
            None if matches!(piece, "\n" | "\t" | "\\ ") => out.push(' '),
            None => out.push_str(piece),
        }
        rest = &rest[piece.len()..];
    }
    out
}

/// Returns where the text ends without its unit in a text command, which may have a power.
fn strip_text_unit(text: &str) -> Option<usize> {
    let bare = ["^2", "^3", "^{2}", "^{3}", "{^2}", "{^3}"];
    let body = bare.iter().find_map(|power| text.strip_suffix(power)).unwrap_or(text).trim_end();
    let inner_end = body.strip_suffix('}')?.len();
    let at = TEXT_COMMANDS
        .iter()
        .filter_map(|name| body.rfind(&format!("\\{name}")))
        .max()
        .filter(|at| *at < inner_end)?;
    let command = body[at + 1..].find(|c: char| !c.is_ascii_alphabetic()).map(|n| at + 1 + n)?;
    let (_, used) = braced(&body[command..])?;
    let rest = without_space_after(&text[..at]);
    (command + used == body.len() && holds_a_value(rest)).then_some(rest.len())
}

/// Returns where the text ends without its unit in plain letters.
fn strip_plain_unit(text: &str) -> Option<usize> {
    let bare = ["^2", "^3", "^{2}", "^{3}"];
    let body = bare.iter().find_map(|power| text.strip_suffix(power)).unwrap_or(text);
    let rest = body.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let word = body[rest.len()..].to_ascii_lowercase();
    let singular = word.strip_suffix('s').unwrap_or(&word);
    let known = UNITS.contains(&word.as_str()) || UNITS.contains(&singular);
    // A single letter with a power, as in "3 m^2", is more likely a variable.
    let plain = body.len() == text.len() || word.len() > 1;
    let kept = without_space_after(rest);
    let apart = kept.len() < rest.len();
    let after_value = apart || rest.ends_with(|c: char| c.is_ascii_digit() || c == '}');
    (known && plain && after_value && holds_a_value(kept)).then_some(kept.len())
}

/// Returns whether what remains can have a unit, and is not the open half of an operation.
fn holds_a_value(text: &str) -> bool {
    let open = ['=', '+', '-', '*', '/', '^', '_', '(', '[', '{', ',', ';', '<', '>', '\\', '&'];
    let command = text.rfind('\\').map_or("", |at| &text[at + 1..]);
    let dangling =
        ["in", "le", "leq", "ge", "geq", "ne", "neq", "cdot", "times", "cup", "cap", "approx"];
    !text.is_empty() && !text.ends_with(open) && !dangling.contains(&command)
}

#[cfg(test)]
mod tests {
    use super::{clean, grouped_number, whole_number};

    #[test]
    fn units_and_marks_go() {
        for (text, want) in [
            ("864 \\mbox{ inches}^2", "864"),
            ("5.4 \\text{ cents}", "5.4"),
            ("\\$32,\\!348", "32,348"),
            ("10{,}080", "10,080"),
            ("12 square feet", "12"),
            ("12\\,cm", "12"),
            ("12~\\mathrm{\\,cm}", "12"),
            ("\\text{12 cm}", "12"),
            ("\\text{east}", "\\text{east}"),
            ("x = \\text{east}", "x = \\text{east}"),
            ("2\\pi", "2\\pi"),
            ("1 \\text{ and } 2", "1, 2"),
            ("1, 2, or 3", "1, 2, 3"),
            ("30 percent", "30\\%"),
            ("$\\frac{1}{2}$", "\\frac{1}{2}"),
        ] {
            assert_eq!(clean(text), want, "{text}");
        }
    }

    #[test]
    fn only_whole_texts_are_grouped_numbers() {
        assert_eq!(grouped_number("11,111,100").as_deref(), Some("11111100"));
        assert_eq!(grouped_number("-1,234.5").as_deref(), Some("-1234.5"));
        assert_eq!(grouped_number("1\\,234").as_deref(), Some("1234"));
        assert_eq!(grouped_number("1 234 567").as_deref(), Some("1234567"));
        for text in ["500,58", "1,23", "1, 234", "1234,567", "12", ""] {
            assert_eq!(grouped_number(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_told_by_their_digits() {
        let number = |text: &str| whole_number(text);
        for text in ["1,234", "1234", "001234", "1234.0", "1 234.00"] {
            assert_eq!(number(text), Some((false, "1234".to_owned())), "{text}");
        }
        assert_eq!(number("- 5"), Some((true, "5".to_owned())));
        assert_eq!(number("-0"), number("0"));
        for text in ["", "-", "1.5", "1.", "x", "1/2", "1e5", "--1"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
