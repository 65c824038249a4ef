//! Removes commands that only change how a value looks.
//!
//! What does not live here: words set upright, such as `\text{east}` and units, which stay words ([`super::lex`],
//! [`super::clean`]).

use super::braces::braced;

/// Commands that set text upright. Their argument is a word or a value.
pub(super) const TEXT_COMMANDS: [&str; 22] = [
    "text",
    "mbox",
    "hbox",
    "mathrm",
    "mathit",
    "mathbf",
    "mathsf",
    "mathtt",
    "mathnormal",
    "textbf",
    "textit",
    "textrm",
    "textsf",
    "texttt",
    "textsc",
    "textsl",
    "textup",
    "textmd",
    "textnormal",
    "emph",
    "operatorname",
    "underline",
];
/// Commands that style formulas. Applied to something other than a value, they make a different symbol.
pub(super) const SYMBOL_COMMANDS: [&str; 6] =
    ["boldsymbol", "bm", "pmb", "mathbb", "mathds", "mathfrak"];
/// Commands that style a value and nothing else.
const VALUE_COMMANDS: [&str; 9] =
    ["bold", "mathcal", "ensuremath", "fbox", "mathord", "mathop", "mathbin", "mathrel", "uline"];
/// Commands for a minus.
const MINUSES: [&str; 3] = ["minus", "textminus", "textendash"];
/// Commands whose first arguments set a style or are invisible, and the number of these arguments.
const PAINTS: [(&str, usize); 8] = [
    ("textcolor", 1),
    ("color", 1),
    ("colorbox", 1),
    ("fcolorbox", 2),
    ("phantom", 1),
    ("hphantom", 1),
    ("vphantom", 1),
    ("tag", 1),
];
/// Commands that affect everything after them.
const SWITCHES: [&str; 28] = [
    "bf",
    "rm",
    "it",
    "sf",
    "tt",
    "sc",
    "em",
    "cal",
    "bfseries",
    "itshape",
    "upshape",
    "rmfamily",
    "sffamily",
    "ttfamily",
    "normalfont",
    "boldmath",
    "tiny",
    "scriptsize",
    "footnotesize",
    "small",
    "normalsize",
    "large",
    "Large",
    "LARGE",
    "huge",
    "Huge",
    "scriptstyle",
    "displaystyle",
];
/// Commands for space.
const SPACES: [&str; 7] = ["~", "\\,", "\\;", "\\:", "\\!", "\\ ", "\\quad"];
/// How deeply nested styles are followed.
const MAX_DEPTH: usize = 8;

/// Removes the commands that only style a value: `\textbf{17 cm}` becomes `17 \text{cm}`.
pub(super) fn unstyled(text: &str) -> String {
    unstyled_at(text, 0)
}

fn unstyled_at(text: &str, depth: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let letters = rest[at + 1..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (name, after) = rest[at + 1..].split_at(letters);
        rest = &rest[at..];
        let used = match styled(name, after, depth) {
            Some(Styled::Value(value, used)) => {
                push(&mut out, &value);
                used
            }
            Some(Styled::Nothing(used)) => used,
            None => {
                // The command, or the one character that is escaped.
                let escaped = rest[1..].chars().next().map_or(0, char::len_utf8);
                let length = 1 + letters.max(escaped);
                out.push_str(&rest[..length]);
                rest = &rest[length..];
                continue;
            }
        };
        rest = &rest[1 + letters + used..];
    }
    out + rest
}

/// What remains of a styling command, and how many bytes after its name belong to it.
enum Styled {
    Value(String, usize),
    Nothing(usize),
}

fn styled(name: &str, after: &str, depth: usize) -> Option<Styled> {
    if SWITCHES.contains(&name) {
        return Some(Styled::Nothing(after.len() - after.trim_start().len()));
    }
    if let Some((_, arguments)) = PAINTS.iter().find(|(paint, _)| *paint == name) {
        let mut used = 0;
        for _ in 0..*arguments {
            used += braced(&after[used..])?.1;
        }
        return Some(match braced(&after[used..]).filter(|_| depth < MAX_DEPTH) {
            Some((inner, more)) => Styled::Value(unstyled_at(inner, depth + 1), used + more),
            None => Styled::Nothing(used),
        });
    }
    if MINUSES.contains(&name) {
        let space = after.len() - after.trim_start().len();
        let used = if after.starts_with("{}") { 2 } else { space };
        return Some(Styled::Value("-".to_owned(), used));
    }
    let text = TEXT_COMMANDS.contains(&name);
    let known = text || SYMBOL_COMMANDS.contains(&name) || VALUE_COMMANDS.contains(&name);
    if !known || depth >= MAX_DEPTH {
        return None;
    }
    let (inner, used) = braced(after)?;
    let inner = unstyled_at(inner, depth + 1);
    if is_value(&inner) {
        return Some(Styled::Value(with_words_marked(inner.trim()), used));
    }
    // A command that only styles values has no other meaning.
    VALUE_COMMANDS.contains(&name).then_some(Styled::Value(inner, used))
}

/// Returns whether the text is a value or a sign and not a word: "17 cm" and "x = 5", but not "(C)", "R2D2", "Room 5"
/// or "east".
fn is_value(text: &str) -> bool {
    let text = without_space_before(text);
    if matches!(text.trim_end(), "-" | "+") {
        return true;
    }
    let start = text.find(|c: char| c.is_alphanumeric() || c == '\\').unwrap_or(text.len());
    let first = &text[start..];
    if let Some(command) = first.strip_prefix('\\') {
        return !TEXT_COMMANDS.iter().any(|name| command.starts_with(name));
    }
    if first.starts_with(|c: char| c.is_ascii_digit()) {
        return true;
    }
    let letter = first.chars().next().map_or(0, char::len_utf8);
    let alone = !first[letter..].starts_with(char::is_alphanumeric);
    alone && text.contains(['+', '=', '^', '<', '>', '\\'])
}

/// Removes white space and commands for space at the start of a text.
fn without_space_before(text: &str) -> &str {
    let mut text = text;
    loop {
        let trimmed = text.trim_start();
        let space = SPACES.iter().find_map(|space| trimmed.strip_prefix(space));
        match space {
            Some(rest) => text = rest,
            None => return trimmed,
        }
    }
}

/// Removes white space and commands for space at the end of a text.
pub(super) fn without_space_after(text: &str) -> &str {
    let mut text = text;
    loop {
        let trimmed = text.trim_end();
        // One of the commands itself ends in white space.
        match SPACES.iter().find_map(|s| text.strip_suffix(s).or(trimmed.strip_suffix(s))) {
            Some(rest) => text = rest,
            None => return trimmed,
        }
    }
}

/// Marks the words after spaces as text: "17 cm" becomes `17 \text{cm}`. Words between values stay.
fn with_words_marked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            out.push(' ');
        }
        let joins = matches!(word, "and" | "or" | "percent" | "percentage" | "pct" | "infinity");
        let bare = word.trim_matches(['(', ')']);
        if index > 0 && !joins && bare.len() > 1 && bare.bytes().all(|b| b.is_ascii_alphabetic()) {
            out.push_str(&format!("\\text{{{word}}}"));
        } else {
            out.push_str(word);
        }
    }
    out
}

/// Appends a value, in braces if it is an argument or would lengthen a command's name.
fn push(out: &mut String, value: &str) {
    let name = out.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let argument = out.ends_with(['^', '_']) || (name.len() < out.len() && name.ends_with('\\'));
    if argument {
        out.push_str(&format!("{{{value}}}"));
    } else {
        out.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::unstyled;

    #[test]
    fn values_lose_their_style_and_words_keep_it() {
        for (text, want) in [
            ("\\text{17}", "17"),
            ("\\textbf{\\textit{ -17 }}", "-17"),
            ("\\mathrm{17 red apples}", "17 \\text{red} \\text{apples}"),
            ("\\text{3 and 5}", "3 and 5"),
            ("2^\\text{10}", "2^{10}"),
            ("\\text{-}5", "-5"),
            ("5\\mathrm{\\,cm}", "5\\mathrm{\\,cm}"),
            ("\\mathrm{5\\,cm}", "5\\,cm"),
            ("\\sqrt\\mathbf{2}", "\\sqrt{2}"),
            ("\\mathbf{\\frac{1}{2}}", "\\frac{1}{2}"),
            ("\\mathbf{x = 5}", "x = 5"),
            ("{\\bf 17}", "{17}"),
            ("\\textcolor{red}{17}", "17"),
            ("\\color{red} 17", " 17"),
            ("\\ensuremath{x}", "x"),
            ("\\mathbb{17}", "17"),
            ("\\mathbb{R}", "\\mathbb{R}"),
            ("\\textminus{}5 \\minus 5", "-5 -5"),
            ("\\phantom{0}5\\tag{1}", "5"),
            ("\\text{east}", "\\text{east}"),
            ("\\text{(C)}", "\\text{(C)}"),
            ("\\text{R2D2}", "\\text{R2D2}"),
            ("\\text{Room 5}", "\\text{Room 5}"),
            ("\\bm{v}", "\\bm{v}"),
            ("5\\text{ cm}", "5\\text{ cm}"),
            ("\\text{open", "\\text{open"),
            ("\\\\text{17}", "\\\\text{17}"),
            ("\\é\\", "\\é\\"),
        ] {
            assert_eq!(unstyled(text), want, "{text}");
        }
    }
}
