//! Finds the answer in what a model wrote.
//!
//! What does not live here: what the answer means ([`crate::grade`]).

mod boxes;
mod numbers;

pub(crate) use self::boxes::boxed;
use self::numbers::numbers;
use crate::{
    signs::plain,
    thought::{TextStart, after_thoughts},
};

/// How far after the word "answer" a formula may begin, in characters.
const REACH: usize = 60;

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
    /// The text contains nothing like an answer.
    #[error("there is no answer in the text")]
    NotFound,
}

/// Finds the answer in a text that may begin inside a thought.
///
/// Only what follows the last thought counts (see [`after_thoughts`]). Characters with an equivalent in ASCII or LaTeX,
/// such as the minus "−", are replaced by it. The answer is the first of these that exists:
///
/// 1. The content of the last complete `\boxed{...}` or `\fbox{...}` with balanced braces. `\boxed 5` counts too. A
///    box that is never closed does not. A box that is denied (`not \boxed{5}`) counts only if all are. Boxes that
///    follow each other closely (`\boxed{1} and \boxed{2}`) are one list, unless the words between them take the first
///    one back (`\boxed{1}, no, \boxed{2}`) or derive the second from it.
/// 2. What follows the last "final answer", else the last "answer:", else the last "answer": a formula in `$...$`,
///    `\(...\)` or `\[...\]`, else a number, after the line's last "=" if it has one.
/// 3. The last formula or number of the text, whichever ends later.
///
/// A number may have a minus, thousands separators, decimals, an exponent and a percent sign, which is part of the
/// answer. A currency sign before it is not. `3/4`, `2 1/4`, `1.2 × 10^3`, `2\sqrt{3}` and `\frac{1}{2}` are numbers
/// too.
///
/// # Errors
/// When the text has no answer.
pub fn find(text: &str, start: TextStart) -> Result<String, NoAnswer> {
    let text = plain(after_thoughts(text, start).ok_or(NoAnswer::OpenThought)?);
    boxed(&text)
        .or_else(|| announced(&text))
        .or_else(|| last_of_all(&text))
        .ok_or(NoAnswer::NotFound)
}

/// Returns the answer that [`find`] finds in a text that does not begin inside a thought.
pub fn extract(text: &str) -> Option<String> {
    find(text, TextStart::Answer).ok()
}

/// Returns what follows the word "answer".
fn announced(text: &str) -> Option<String> {
    // ASCII only, so that positions in the lower-cased text are positions in the text.
    let lower = text.to_ascii_lowercase();
    ["final answer", "answer:", "answer"].into_iter().find_map(|words| {
        let after = lower.rfind(words)? + words.len();
        let rest = text.get(after..)?;
        let reach = rest.char_indices().nth(REACH).map_or(rest.len(), |(at, _)| at);
        let formulas = formulas(rest);
        if let Some(first) = formulas.iter().position(|span| span.start <= reach) {
            return joined_formulas(rest, &formulas[first..], false);
        }
        let start = text.len() - rest.trim_start_matches(['*', ':', ' ', '\n']).len();
        let line = text[start..].lines().next().unwrap_or("");
        let from = start + line.rfind('=').map_or(0, |at| at + 1);
        numbers(&text[..start + line.len()], from).into_iter().next().map(|number| number.content)
    })
}

/// Returns the last formula or number.
fn last_of_all(text: &str) -> Option<String> {
    let formulas = formulas(text);
    let number = numbers(text, 0).pop();
    match (formulas.last(), number) {
        (Some(formula), Some(number)) if number.end > formula.end => Some(number.content),
        (Some(_), _) => joined_formulas(text, &formulas, true),
        (None, number) => number.map(|number| number.content),
    }
}

/// Returns the first or last formula, with those that "and", "or" or a comma join to it.
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

/// Returns the formulas between math delimiters, from left to right.
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
        // "$5 and $6" is two prices and not a formula.
        let price =
            !content.starts_with(char::is_whitespace) && content.ends_with(char::is_whitespace);
        let followed = text[end + 1..].starts_with(|c: char| c.is_ascii_digit());
        return (!price && !followed && !content.contains('\n')).then_some(end);
    }
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
