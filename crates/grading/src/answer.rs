//! The answer in what a model wrote.
//!
//! What does not live here: what the answer means ([`crate::grade`]).

use crate::thought::{TextStart, after_thoughts};

/// How far behind the word "answer" a formula may begin, in characters.
const REACH: usize = 60;
/// Boxes that are no further apart than this, in bytes, are one answer in several parts.
const CLOSE: usize = 10;
/// The same for boxes with a comma, semicolon, "and" or "or" between them.
const JOINED: usize = 70;
/// Commands that mark the answer.
const BOXES: [&str; 2] = ["\\boxed", "\\fbox"];

/// A piece of a text.
#[derive(Debug, Clone, Copy)]
struct Span<'a> {
    start: usize,
    end: usize,
    content: &'a str,
}

/// Why a text has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The text ends within a thought.
    #[error("the text ends within a thought")]
    OpenThought,
    /// There is nothing like an answer in it.
    #[error("there is no answer in the text")]
    NotFound,
}

/// The answer in a text that may begin inside a thought, or why there is none.
///
/// What follows the last thought counts (see [`after_thoughts`]), in this order:
///
/// 1. The content of the last complete `\boxed{...}` or `\fbox{...}` with balanced braces; `\boxed 5`
///    counts too, a box that is never closed does not. Boxes that follow each other closely
///    (`\boxed{1} and \boxed{2}`) are one list.
/// 2. What follows "final answer", else "answer:", else "answer", each at its last place: a formula
///    in `$...$`, `\(...\)` or `\[...\]`, else a number, behind the line's last "=" if it has one.
/// 3. The last formula or number of the text, whichever ends later.
///
/// A number may have a minus, thousands separators, decimals and a percent sign, which belongs to
/// the answer; a currency sign before it does not. `3/4` is one number.
///
/// # Errors
/// When there is no answer.
pub fn find(text: &str, start: TextStart) -> Result<String, NoAnswer> {
    let text = after_thoughts(text, start).ok_or(NoAnswer::OpenThought)?;
    boxed(text).or_else(|| announced(text)).or_else(|| last_of_all(text)).ok_or(NoAnswer::NotFound)
}

/// The answer in a text that does not begin inside a thought, as [`find`] finds it.
pub fn extract(text: &str) -> Option<String> {
    find(text, TextStart::Answer).ok()
}

/// The last box, with those close before it.
fn boxed(text: &str) -> Option<String> {
    let boxes = boxes(text);
    let (last, before) = boxes.split_last()?;
    let mut parts = vec![last.content];
    let mut next = last;
    for span in before.iter().rev() {
        let gap = text.get(span.end..next.start).unwrap_or("");
        let words = |word: &str| gap.split(|c: char| !c.is_alphanumeric()).any(|w| w == word);
        let sentence = gap.contains(['.', '!', '?', '\n']);
        let joined = !sentence && (gap.contains([',', ';']) || words("and") || words("or"));
        let differs = span.content != next.content;
        if gap.len() >= CLOSE && !(differs && joined && gap.len() < JOINED) {
            break;
        }
        if differs {
            parts.push(span.content);
        }
        next = span;
    }
    parts.reverse();
    Some(parts.join(", "))
}

/// Every complete box that has something in it, from left to right, inner ones left out.
fn boxes(text: &str) -> Vec<Span<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((start, name)) = next_box(text, at) {
        let after = start + name.len();
        at = after;
        let rest = &text[after..];
        // `\boxedness` is another command.
        if rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let open = after + (rest.len() - rest.trim_start().len());
        let (content, end) = match text[open..].strip_prefix('{') {
            Some(inner) => match closing(inner) {
                Some(length) => (&inner[..length], open + length + 2),
                None => continue,
            },
            None => {
                let stop = |c: char| c.is_whitespace() || matches!(c, '$' | ',' | ';' | '}');
                let word = text[open..].split(stop).next().unwrap_or("");
                let word = word.trim_end_matches(['.', '\\']);
                (word, open + word.len())
            }
        };
        let content = content.trim();
        if !content.is_empty() {
            found.push(Span { start, end, content });
            at = end;
        }
    }
    found
}

fn next_box(text: &str, from: usize) -> Option<(usize, &'static str)> {
    let rest = text.get(from..)?;
    let places = BOXES.iter().filter_map(|name| Some((from + rest.find(name)?, *name)));
    places.min_by_key(|(at, _)| *at)
}

/// Where the brace that is already open closes.
fn closing(inner: &str) -> Option<usize> {
    let mut depth = 1_usize;
    let mut escaped = false;
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// What follows the word "answer".
fn announced(text: &str) -> Option<String> {
    // ASCII only, so that places in the lower-cased text are places in the text.
    let lower = text.to_ascii_lowercase();
    ["final answer", "answer:", "answer"].into_iter().find_map(|words| {
        let after = lower.rfind(words)? + words.len();
        let rest = text.get(after..)?;
        let reach = rest.char_indices().nth(REACH).map_or(rest.len(), |(at, _)| at);
        let formulas = formulas(rest);
        if let Some(first) = formulas.iter().position(|span| span.start <= reach) {
            return joined_formulas(rest, &formulas[first..], false);
        }
        let line = rest.trim_start_matches(['*', ':', ' ', '\n']).lines().next().unwrap_or("");
        let tail = line.rsplit_once('=').map_or(line, |(_, tail)| tail);
        let numbers = numbers(tail);
        numbers.first().map(|span| span.content.to_owned())
    })
}

/// The last formula or number.
fn last_of_all(text: &str) -> Option<String> {
    let formulas = formulas(text);
    let number = numbers(text).pop();
    match (formulas.last(), number) {
        (Some(formula), Some(number)) if number.end > formula.end => {
            Some(number.content.to_owned())
        }
        (Some(_), _) => joined_formulas(text, &formulas, true),
        (None, number) => number.map(|number| number.content.to_owned()),
    }
}

/// The first or last formula with those that "and", "or" or a comma join to it.
fn joined_formulas(text: &str, formulas: &[Span<'_>], from_last: bool) -> Option<String> {
    let joins = |a: &Span<'_>, b: &Span<'_>| {
        let gap = text.get(a.end..b.start).unwrap_or("").trim();
        matches!(gap, "," | "and" | "or" | ", and" | ", or")
    };
    let pairs = || formulas.iter().zip(formulas.iter().skip(1));
    let (first, last) = if from_last {
        let unbroken = pairs().rev().take_while(|(a, b)| joins(a, b)).count();
        (formulas.len().checked_sub(unbroken + 1)?, formulas.len() - 1)
    } else {
        (0, pairs().take_while(|(a, b)| joins(a, b)).count())
    };
    let parts = formulas.get(first..=last)?;
    let percent = parts.last().is_some_and(|part| {
        let rest = text.get(part.end..).unwrap_or("").trim_start();
        rest.starts_with('%') || rest.starts_with("\\%") || rest.starts_with("percent")
    });
    let mut answer = parts.iter().map(|part| part.content.trim()).collect::<Vec<_>>().join(", ");
    if percent {
        answer.push_str("\\%");
    }
    Some(answer)
}

/// Formulas between math delimiters, from left to right.
fn formulas(text: &str) -> Vec<Span<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(offset) = text.get(at..).and_then(|rest| rest.find(['$', '\\'])) {
        let start = at + offset;
        let rest = &text[start..];
        let pair = [("$$", "$$"), ("\\(", "\\)"), ("\\[", "\\]"), ("$", "$")]
            .into_iter()
            .find(|(open, _)| rest.starts_with(open));
        let Some((open, close)) = pair else {
            // A backslash and what it escapes.
            at = start + 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            continue;
        };
        let from = start + open.len();
        match formula_end(text, from, close) {
            Some(end) => {
                found.push(Span { start, end: end + close.len(), content: &text[from..end] });
                at = end + close.len();
            }
            None => at = from,
        }
    }
    found
}

fn formula_end(text: &str, from: usize, close: &str) -> Option<usize> {
    let mut search = from;
    loop {
        let end = search + text.get(search..)?.find(close)?;
        if close.starts_with('$') && text[..end].ends_with('\\') {
            search = end + 1;
            continue;
        }
        let content = &text[from..end];
        if content.trim().is_empty() {
            return None;
        }
        if close != "$" {
            return Some(end);
        }
        // "$5 and $6": two prices are no formula.
        let price =
            !content.starts_with(char::is_whitespace) && content.ends_with(char::is_whitespace);
        let followed = text[end + 1..].starts_with(|c: char| c.is_ascii_digit());
        return (!price && !followed && !content.contains('\n')).then_some(end);
    }
}

/// Numbers, from left to right.
fn numbers(text: &str) -> Vec<Span<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let point = bytes[at] == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !bytes[at].is_ascii_digit() && !point {
            at += 1;
            continue;
        }
        let mut end = plain_number(bytes, at);
        if bytes.get(end) == Some(&b'/') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end = plain_number(bytes, end + 1);
        }
        let start = with_minus(bytes, at);
        let percent = usize::from(bytes.get(end) == Some(&b'%'));
        let escaped =
            if bytes.get(end) == Some(&b'\\') && bytes.get(end + 1) == Some(&b'%') { 2 } else { 0 };
        // Names such as "x2" and "R2D2" hold no number.
        let named =
            start > 0 && (bytes[start - 1].is_ascii_alphabetic() || bytes[start - 1] == b'_');
        let end_with_sign = end + percent + escaped;
        if !named {
            let content = &text[start..end_with_sign];
            found.push(Span { start, end: end_with_sign, content });
        }
        at = end_with_sign;
    }
    found
}

/// The end of digits with thousands separators and decimals.
fn plain_number(bytes: &[u8], start: usize) -> usize {
    let digits = |from: usize| {
        bytes.get(from..).unwrap_or(&[]).iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let first = digits(start);
    let mut end = start + first;
    while (1..=3).contains(&first) && bytes.get(end) == Some(&b',') && digits(end + 1) == 3 {
        end += 4;
    }
    if bytes.get(end) == Some(&b'.') {
        let decimals = digits(end + 1);
        if decimals > 0 {
            end += 1 + decimals;
        }
    }
    end
}

/// Where the number starts with its minus; between two values a minus is an operation.
fn with_minus(bytes: &[u8], start: usize) -> usize {
    let currency = usize::from(start > 0 && bytes[start - 1] == b'$');
    let Some(at) = start.checked_sub(1 + currency) else {
        return start;
    };
    let before = at.checked_sub(1).map(|before| bytes[before]);
    let operation = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b')');
    // "-$5" loses its minus rather than keep the dollar.
    if bytes[at] == b'-' && currency == 0 && !operation { at } else { start }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::extract;

    #[test]
    fn finds_what_is_meant() {
        for (text, want) in [
            ("so \\boxed{5} or else \\boxed{\\frac{1}{2}}.", "5, \\frac{1}{2}"),
            ("first we see that \\boxed{5} is too small. Then, after long work: \\boxed{6}", "6"),
            ("\\boxed{\\text{a}\\{1\\}}", "\\text{a}\\{1\\}"),
            ("\\boxed 5.", "5"),
            ("\\fbox{7}", "7"),
            ("\\boxed{8} and \\boxed{9", "8"),
            ("**Answer:** $x = 2$", "x = 2"),
            ("The answer is 2 + 3 = 5 apples", "5"),
            ("The final answer is 1,234.", "1,234"),
            ("It costs $18", "18"),
            ("It costs $18 and not $20.", "20"),
            ("We get $x = 3$ and $y = 4$", "x = 3, y = 4"),
            ("half of it is 50%", "50%"),
            ("about 3/4 of them", "3/4"),
            ("from 7 it is -5", "-5"),
            ("it is 7-5", "5"),
            ("3.5.", "3.5"),
            ("$12$ percent", "12\\%"),
        ] {
            assert_eq!(extract(text).as_deref(), Some(want), "{text}");
        }
        for text in ["", "no idea", "R2D2", "\\boxed{", "\\boxed{}"] {
            assert_eq!(extract(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}", marks in "[\\\\a-z0-9{}$.,/%\\- (\\[é]{0,80}") {
            let _ = extract(&text);
            let _ = extract(&marks);
            let _ = extract(&format!("\\boxed{marks}{text} answer: {marks}"));
        }
    }
}
