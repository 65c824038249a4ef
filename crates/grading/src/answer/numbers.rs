//! Finds numbers and other values outside of formulas: fractions, mixed numbers, powers, roots.
//!
//! What does not live here: formulas ([`super`]), and what a value means ([`crate::grade`]).

use std::borrow::Cow;

use super::boxes::closing;
use crate::decimal::exponent_length;

/// Signs between a number and a power of ten.
const TIMES: [&str; 8] = ["×", "·", "⋅", "∗", "*", "x", "\\times", "\\cdot"];
/// Currency signs before a number.
const CURRENCIES: [&str; 6] = ["\\$", "$", "€", "£", "¥", "₹"];

/// The longest group of a value, in bytes.
const MAX_GROUP: usize = 200;

/// A value in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number {
    /// Where it ends, in bytes.
    pub(super) end: usize,
    /// The value, with its sign and without a currency.
    pub(super) content: String,
}

/// Returns the values in a text from this position on, from left to right. A minus between two values is an operation;
/// the text before the position counts for this too.
pub(super) fn numbers(text: &str, from: usize) -> Vec<Number> {
    let mut found = Vec::new();
    let mut at = from;
    while let Some(byte) = text.as_bytes().get(at) {
        if matches!(byte, b'^' | b'_') {
            // Powers and subscripts of something that is not a value: "cm^2", "x_1".
            at = script(text, at).unwrap_or(at + 1);
            continue;
        }
        let Some(end) = value(text, at) else {
            at += 1;
            while !text.is_char_boundary(at) {
                at += 1;
            }
            continue;
        };
        let percent = ["%", "\\%"].iter().find(|sign| text[end..].starts_with(**sign));
        let signed = end + percent.map_or(0, |sign| sign.len());
        // Names such as "x2" and "R2D2" contain no number.
        let named = text[..at].ends_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !named {
            let minus = if is_negative(&text[..at]) { "-" } else { "" };
            let content = format!("{minus}{}", in_formula_signs(&text[at..signed]));
            found.push(Number { end: signed, content });
        }
        at = signed;
    }
    found
}

/// Writes a value as in a formula: "2 and 1/4" becomes 2 1/4, and the letter in "3 x 10^8" becomes a sign.
fn in_formula_signs(value: &str) -> Cow<'_, str> {
    let mixed = !value.contains('^') && value.contains(' ') && value.contains(['/', '\\']);
    if mixed {
        Cow::Owned(value.replace(" and ", " ").replace(',', ""))
    } else if value.contains("x") && !value.contains('\\') {
        Cow::Owned(value.replace('x', "*"))
    } else {
        Cow::Borrowed(value)
    }
}

/// Returns the end of the value that begins at this position.
fn value(text: &str, at: usize) -> Option<usize> {
    let end = product(text, at)?;
    let spaced = skip_spaces(text, end);
    if !text[spaced..].starts_with('/') {
        return Some(end);
    }
    // "3/4" and "3 / 4", but not "3/ 4".
    let after = skip_spaces(text, spaced + 1);
    let even = (spaced > end) == (after > spaced + 1);
    Some(if even { product(text, after).unwrap_or(end) } else { end })
}

/// Returns the end of factors without a sign between them, of a mixed number, or of a number times a power of ten.
fn product(text: &str, at: usize) -> Option<usize> {
    let mut end = factor(text, at)?;
    let whole = text[at..end].bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
    if let Some(mixed) = whole.then(|| proper_fraction(text, end)).flatten() {
        return Some(mixed);
    }
    if let Some(scaled) = power_of_ten(text, end) {
        return Some(scaled);
    }
    loop {
        let next = skip_spaces(text, end);
        match text[next..].starts_with('\\').then(|| factor(text, next)).flatten() {
            Some(next) => end = next,
            None => return Some(end),
        }
    }
}

/// Returns the end of the fraction that forms a mixed number with the whole number before it: "2 1/4", "2 and 1/4".
fn proper_fraction(text: &str, whole_end: usize) -> Option<usize> {
    let spaced = skip_spaces(text, whole_end);
    let and = text[spaced..].starts_with("and ") && spaced > whole_end;
    let start = if and { skip_spaces(text, spaced + 3) } else { spaced };
    if text[start..].starts_with("\\frac") {
        return factor(text, start);
    }
    let slash = start + digits(&text[start..]);
    let below = text[slash..].strip_prefix('/')?;
    let end = slash + 1 + digits(below);
    let (above, below) = (&text[start..slash], &text[slash + 1..end]);
    let smaller = (above.len(), above) < (below.len(), below);
    // "1 2/3/2024" contains no fraction.
    let date = text[end..].starts_with('/');
    (start > whole_end && !above.is_empty() && smaller && !date).then_some(end)
}

/// Returns the end of "× 10^3" after a number.
fn power_of_ten(text: &str, number_end: usize) -> Option<usize> {
    let at = skip_spaces(text, number_end);
    let sign = TIMES.iter().find(|sign| text[at..].starts_with(**sign))?;
    let ten = skip_spaces(text, at + sign.len());
    text[ten..].strip_prefix("10")?;
    text[ten + 2..].starts_with('^').then(|| script(text, ten + 2))?
}

/// Returns the end of a number with its power, a root, a fraction or pi.
fn factor(text: &str, at: usize) -> Option<usize> {
    let end = match text[at..].strip_prefix('\\') {
        None => plain_number(text, at)?,
        Some(command) => {
            let name = command.split(|c: char| !c.is_ascii_alphabetic()).next()?;
            let after = at + 1 + name.len();
            match name {
                "pi" => after,
                "sqrt" => {
                    let degree = text[after..].strip_prefix('[').and_then(|rest| rest.find(']'));
                    let radicand = degree.map_or(after, |length| after + length + 2);
                    group(text, radicand)?
                }
                "frac" | "dfrac" | "tfrac" => group(text, group(text, after)?)?,
                _ => return None,
            }
        }
    };
    Some(if text[end..].starts_with('^') { script(text, end).unwrap_or(end) } else { end })
}

/// Returns the end of a braced group.
fn group(text: &str, at: usize) -> Option<usize> {
    let inner = text[at..].strip_prefix('{')?;
    let inner = &inner[..inner.floor_char_boundary(MAX_GROUP)];
    Some(at + 1 + closing(inner)? + 1)
}

/// Returns the end of a power or subscript with its sign: `^2`, `^-3`, `^{10}`.
fn script(text: &str, at: usize) -> Option<usize> {
    let start = at + 1;
    if text[start..].starts_with('{') {
        return group(text, start);
    }
    let minus = usize::from(text[start..].starts_with('-'));
    let digits = digits(&text[start + minus..]);
    (digits > 0).then_some(start + minus + digits)
}

fn skip_spaces(text: &str, at: usize) -> usize {
    at + text[at..].bytes().take_while(|byte| *byte == b' ').count()
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Returns the end of digits with thousands separators, decimals, and an exponent as programs print it.
fn plain_number(text: &str, start: usize) -> Option<usize> {
    let first = digits(&text[start..]);
    let mut end = start + first;
    for separator in [',', ' '] {
        // "1 234" is one number, but in "3 125/1000" the second part is a fraction.
        let group = |end: usize| {
            let rest = text[end..].strip_prefix(separator)?;
            let spaced = separator == ' ';
            let fits = digits(rest) == 3 && !(spaced && rest[3..].starts_with('/'));
            fits.then_some(end + 4)
        };
        if (1..=3).contains(&first) && end == start + first {
            while let Some(longer) = group(end) {
                end = longer;
            }
        }
    }
    let decimals = text[end..].strip_prefix('.').map_or(0, digits);
    if decimals > 0 {
        end += 1 + decimals;
    }
    (end > start).then(|| end + exponent_length(&text[end..]))
}

/// Returns whether the text before a number ends in its minus.
fn is_negative(before: &str) -> bool {
    let bare = CURRENCIES.iter().find_map(|sign| before.strip_suffix(sign)).unwrap_or(before);
    for word in ["minus ", "Minus ", "negative ", "Negative "] {
        if let Some(rest) = bare.strip_suffix(word) {
            return !rest
                .trim_end()
                .ends_with(|c: char| c.is_ascii_digit() || matches!(c, ')' | '}'));
        }
    }
    let Some(rest) = bare.trim_end_matches(' ').strip_suffix('-') else { return false };
    let apart = bare.ends_with(' ');
    let operand = rest.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, ')' | '}'));
    // "x = - 5" has a minus; " - 5" in running text is a dash.
    if apart { rest.trim_end().ends_with('=') } else { !operand }
}
