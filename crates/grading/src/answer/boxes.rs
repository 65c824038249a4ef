//! Finds the boxes in a text, and decides which of them are the answer.
//!
//! What does not live here: answers outside of boxes ([`super`]).

use super::Span;

/// Boxes less than this many bytes apart are parts of one answer.
const CLOSE: usize = 10;
/// The same limit for boxes with a comma, semicolon, "and" or "or" between them.
const JOINED: usize = 70;
/// Commands that mark the answer.
const BOXES: [&str; 2] = ["\\boxed", "\\fbox"];

/// Words between two boxes that replace the first one by the second.
const CORRECTIONS: [&str; 49] = [
    "actually",
    "ah",
    "apologies",
    "better",
    "but",
    "correct",
    "corrected",
    "correcting",
    "correction",
    "equivalently",
    "error",
    "final",
    "finally",
    "hence",
    "hm",
    "hmm",
    "hold",
    "however",
    "ignore",
    "incorrect",
    "instead",
    "make",
    "mean",
    "meant",
    "mistake",
    "mistaken",
    "never",
    "no",
    "nope",
    "not",
    "oh",
    "oops",
    "pardon",
    "precisely",
    "rather",
    "recheck",
    "replace",
    "revised",
    "scratch",
    "should",
    "simplified",
    "simplifies",
    "so",
    "sorry",
    "therefore",
    "thus",
    "typo",
    "wait",
    "wrong",
];
/// The same as signs, and as words of a language without spaces.
const CORRECTING_SIGNS: [&str; 13] =
    ["?", "~~", "...", "…", "✗", "✘", "❌", "不", "错", "錯", "等等", "更正", "应"];
/// What precedes text that is struck out.
const STRUCK_OUT: [&str; 5] = ["cancel{", "sout{", "st{", "<s>", "<del>"];
/// Signs, in lower case, that derive the second box from the first.
const STEPS: [&str; 10] =
    ["=", "≈", "→", "⇒", "->", "\\to", "\\approx", "\\rightarrow", "\\longrightarrow", "\\implies"];

/// Returns the last box that is not denied, with those shortly before it that form one list with it.
pub(crate) fn boxed(text: &str) -> Option<String> {
    let mut boxes = boxes(text);
    if boxes.iter().any(|span| !is_denied(text, span)) {
        boxes.retain(|span| !is_denied(text, span));
    }
    let (last, before) = boxes.split_last()?;
    let mut parts = vec![last.content];
    let mut next = last;
    for span in before.iter().rev() {
        let gap = text.get(span.end..next.start).unwrap_or("");
        let differs = span.content != next.content;
        if !(gap.len() < CLOSE || differs && joins(gap)) || replaces(gap) {
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

/// Returns whether the text between two boxes joins them to a list.
fn joins(gap: &str) -> bool {
    let words = |word: &str| words(gap).any(|w| w == word);
    let sentence = gap.contains(['.', '!', '?', '\n']);
    gap.len() < JOINED && !sentence && (gap.contains([',', ';']) || words("and") || words("or"))
}

/// Returns whether the text between two boxes takes the first one back, or derives the second from it.
fn replaces(gap: &str) -> bool {
    let gap = gap.to_lowercase();
    // "but also" adds.
    let adds = words(&gap).any(|word| word == "also");
    let corrects = |word: &str| CORRECTIONS.contains(&word) && !(adds && word == "but");
    let start = gap.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '$' | '*' | '}'));
    let start = start.strip_prefix("\\)").or(start.strip_prefix("\\]")).unwrap_or(start);
    words(&gap).any(corrects)
        || CORRECTING_SIGNS.iter().any(|sign| gap.contains(sign))
        || STEPS.iter().any(|sign| start.trim_start().starts_with(sign))
}

fn words(gap: &str) -> impl Iterator<Item = &str> {
    gap.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Returns whether the text denies that a box is the answer: `not \boxed{8}`, `~~\boxed{8}~~`.
fn is_denied(text: &str, span: &Span<'_>) -> bool {
    let before = text.get(..span.start).unwrap_or("");
    let after = text.get(span.end..).unwrap_or("");
    let opening = |c: char| c.is_whitespace() || matches!(c, '$' | '*' | '(' | '[' | '\\');
    let before = before.trim_end_matches(opening);
    let struck_out = |text: &str| STRUCK_OUT.iter().any(|mark| text.ends_with(mark));
    let content = span.content.find('{').map_or("", |at| &span.content[..=at]);
    if struck_out(before) || content.starts_with('\\') && struck_out(content) {
        return true;
    }
    if before.ends_with("~~") && after.trim_start_matches(['$', '*']).starts_with("~~") {
        return true;
    }
    let mut words = before.rsplit(|c: char| !c.is_alphanumeric() && c != '\'');
    let mut word = || words.next().unwrap_or("").to_lowercase();
    let (last, before_last) = (word(), word());
    let denies = |word: &str| ["not", "never", "cannot"].contains(&word) || word.ends_with("n't");
    denies(&last)
        || (last == "be" && denies(&before_last))
        || matches!((before_last.as_str(), last.as_str()), ("rather", "than") | ("instead", "of"))
        || last.ends_with("不是")
}

/// Returns every complete, non-empty box from left to right, without nested ones.
fn boxes(text: &str) -> Vec<Span<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((start, name)) = next_box(text, at) {
        let after = start + name.len();
        at = after;
        let rest = &text[after..];
        // `\boxedness` is a different command.
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

/// Returns where the brace that is already open closes.
pub(super) fn closing(inner: &str) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use super::boxed;

    #[test]
    fn boxes_in_a_row_are_a_list() {
        for text in [
            "\\boxed{8}, \\boxed{9}",
            "\\boxed{8} and \\boxed{9}",
            "\\boxed{8}; \\boxed{9}",
            "\\boxed{8}\n\\boxed{9}",
            "$\\boxed{8}$ and $\\boxed{9}$",
            "x = \\boxed{8} or x = \\boxed{9}",
            "\\boxed{8} for the first, and \\boxed{9} for the second",
            "\\boxed{8}, but also \\boxed{9}",
            "not only \\boxed{8}, \\boxed{9}",
        ] {
            assert_eq!(boxed(text).as_deref(), Some("8, 9"), "{text}");
        }
    }

    #[test]
    fn a_box_that_is_taken_back_is_no_part_of_a_list() {
        for text in [
            "It is \\boxed{8}, no, \\boxed{9}",
            "\\boxed{8}, but no, \\boxed{9}",
            "$\\boxed{8}$, but no, $\\boxed{9}$",
            "\\boxed{8}. No: \\boxed{9}",
            "\\boxed{8}? \\boxed{9}",
            "\\boxed{8}... wait, \\boxed{9}",
            "\\boxed{8}, or rather \\boxed{9}",
            "\\boxed{8}, or, more precisely, \\boxed{9}",
            "\\boxed{8}, sorry, I meant \\boxed{9}",
            "\\boxed{8} (wrong), \\boxed{9}",
            "\\boxed{8}, Correction: \\boxed{9}",
            "\\boxed{8}，不对，\\boxed{9}",
            "\\boxed{8}, so the final answer is \\boxed{9}",
            "\\boxed{8} → \\boxed{9}",
            "\\boxed{8} = \\boxed{9}",
            "$\\boxed{8}$ \\to $\\boxed{9}$",
            "~~\\boxed{8}~~ \\boxed{9}",
            "\\cancel{\\boxed{8}} \\boxed{9}",
            "\\boxed{\\cancel{8}}, \\boxed{9}",
            "<s>\\boxed{8}</s> \\boxed{9}",
            "\\boxed{9} ~~\\boxed{8}~~",
            "\\boxed{8} ❌ \\boxed{9}",
            "not \\boxed{8} but \\boxed{9}",
            "It isn't \\boxed{8}, \\boxed{9}",
            "\\boxed{9}, not \\boxed{8}",
            "\\boxed{9} rather than \\boxed{8}",
            "$\\boxed{9}$ and not $\\boxed{8}$",
            "\\boxed{9}, instead of **\\boxed{8}**",
        ] {
            assert_eq!(boxed(text).as_deref(), Some("9"), "{text}");
        }
        // If every box is denied, the last one counts.
        assert_eq!(boxed("not \\boxed{8}").as_deref(), Some("8"));
    }
}
