//! Splits a formula in LaTeX or plain signs into tokens.
//!
//! What does not live here: what tokens mean together ([`super::parse`]).

use super::{
    braces::braced,
    style::{SYMBOL_COMMANDS, TEXT_COMMANDS},
};
use crate::decimal::exponent_length;

/// A formula with more tokens is not parsed: answers are short, and nesting must stay shallow.
const MAX_TOKENS: usize = 600;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tok {
    /// Digits, with an optional point and an optional exponent after "E" or "e".
    Num(String),
    /// One letter of the Latin alphabet.
    Letter(char),
    /// A word that is marked as text, in lower case, without spaces and parentheses.
    Word(String),
    /// A command under its canonical name, without its backslash.
    Cmd(String),
    /// Any other sign.
    Op(char),
    /// The start and the end of an environment.
    Begin(String),
    End(String),
}

/// Greek letters and their commands.
const GREEK: [(char, &str); 33] = [
    ('α', "alpha"),
    ('β', "beta"),
    ('γ', "gamma"),
    ('δ', "delta"),
    ('ε', "epsilon"),
    ('ζ', "zeta"),
    ('η', "eta"),
    ('θ', "theta"),
    ('ι', "iota"),
    ('κ', "kappa"),
    ('λ', "lambda"),
    ('μ', "mu"),
    ('ν', "nu"),
    ('ξ', "xi"),
    ('ρ', "rho"),
    ('σ', "sigma"),
    ('τ', "tau"),
    ('υ', "upsilon"),
    ('φ', "phi"),
    ('χ', "chi"),
    ('ψ', "psi"),
    ('ω', "omega"),
    ('Γ', "Gamma"),
    ('Δ', "Delta"),
    ('Θ', "Theta"),
    ('Λ', "Lambda"),
    ('Σ', "Sigma"),
    ('Φ', "Phi"),
    ('Ψ', "Psi"),
    ('Ω', "Omega"),
    ('ℓ', "ell"),
    ('ħ', "hbar"),
    ('ϕ', "phi"),
];

/// Commands that turn what they are written over into another symbol.
const ACCENTS: [&str; 5] = ["overline", "bar", "vec", "hat", "overrightarrow"];

/// Commands that only affect space or size.
const IGNORED: [&str; 26] = [
    ",",
    ":",
    ";",
    "!",
    " ",
    "thinspace",
    "medspace",
    "thickspace",
    "quad",
    "qquad",
    "negthinspace",
    "displaystyle",
    "textstyle",
    "limits",
    "big",
    "Big",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "bigg",
    "Bigg",
    "hfill",
    "ldots",
    "dots",
    "cdots",
];

/// Returns the tokens, or `None` if a sign is unknown.
pub(super) fn lex(text: &str) -> Option<Vec<Tok>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if tokens.len() > MAX_TOKENS {
            return None;
        }
        rest = match c {
            // In LaTeX a tilde is a space.
            _ if c.is_whitespace() || c == '~' => &rest[c.len_utf8()..],
            '0'..='9' | '.' => number(rest, &mut tokens)?,
            'a'..='z' | 'A'..='Z' => {
                tokens.push(Tok::Letter(c));
                &rest[1..]
            }
            '\\' => command(&rest[1..], &mut tokens)?,
            _ => {
                tokens.push(sign(c)?);
                &rest[c.len_utf8()..]
            }
        };
    }
    Some(tokens)
}

fn number<'a>(text: &'a str, tokens: &mut Vec<Tok>) -> Option<&'a str> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut end = digits(text);
    if text[end..].starts_with('.') {
        let fraction = digits(&text[end + 1..]);
        if fraction == 0 {
            return None;
        }
        end += 1 + fraction;
    }
    end += exponent_length(&text[end..]);
    tokens.push(Tok::Num(text[..end].to_owned()));
    Some(&text[end..])
}

/// Returns the token of a sign. Signs outside ASCII become their commands.
fn sign(c: char) -> Option<Tok> {
    let cmd = |name: &str| Some(Tok::Cmd(name.to_owned()));
    match c {
        '+' | '-' | '*' | '/' | ':' | '^' | '_' | '!' | ',' | ';' | '(' | ')' | '[' | ']' | '{'
        | '}' | '|' | '<' | '>' | '=' | '%' | '&' => Some(Tok::Op(c)),
        '×' | '⋅' | '·' | '∗' | '∙' | '•' | '✕' | '✖' | '⨯' => Some(Tok::Op('*')),
        '∣' => Some(Tok::Op('|')),
        '÷' => Some(Tok::Op('/')),
        '∞' => cmd("infty"),
        '°' | 'º' | '˚' => cmd("circ"),
        '±' | '∓' => cmd("pm"),
        '≤' | '≦' | '⩽' => cmd("le"),
        '≥' | '≧' | '⩾' => cmd("ge"),
        '≠' => cmd("ne"),
        '≈' => cmd("approx"),
        '∈' => cmd("in"),
        '∪' => cmd("cup"),
        '∩' => cmd("cap"),
        '∅' => cmd("emptyset"),
        '∖' => cmd("setminus"),
        '⌊' => cmd("lfloor"),
        '⌋' => cmd("rfloor"),
        '⌈' => cmd("lceil"),
        '⌉' => cmd("rceil"),
        'ℝ' => cmd("reals"),
        'ℤ' => cmd("integers"),
        'ℕ' => cmd("naturals"),
        'ℚ' => cmd("rationals"),
        'ℂ' => cmd("complexes"),
        _ => GREEK.iter().find(|(letter, _)| *letter == c).and_then(|(_, name)| cmd(name)),
    }
}

/// Returns the canonical name of a command with several names.
fn canonical(name: &str) -> &str {
    match name {
        "dfrac" | "tfrac" | "cfrac" => "frac",
        "dbinom" | "tbinom" => "binom",
        "leq" | "leqslant" => "le",
        "geq" | "geqslant" => "ge",
        "lt" => "<",
        "gt" => ">",
        "neq" => "ne",
        "mp" => "pm",
        "degree" => "circ",
        "lbrace" => "{",
        "rbrace" => "}",
        "varnothing" => "emptyset",
        "arcsin" => "asin",
        "arccos" => "acos",
        "arctan" => "atan",
        other => other,
    }
}

fn command<'a>(text: &'a str, tokens: &mut Vec<Tok>) -> Option<&'a str> {
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let length = if letters == 0 { text.chars().next()?.len_utf8() } else { letters };
    let (name, rest) = text.split_at(length);
    match name {
        _ if IGNORED.contains(&name) => {}
        "left" | "right" | "mleft" | "mright" => {
            // A delimiter must follow, or the formula is broken.
            let next = rest.trim_start();
            let known = ["(", ")", "[", "]", "\\{", "\\}", "|", "\\|", "\\l", "\\r", "\\v"];
            if !known.iter().any(|delimiter| next.starts_with(delimiter)) {
                return None;
            }
        }
        "begin" | "end" => return environment(name, rest, tokens),
        "mathbb" => {
            let (inner, used) = braced(rest)?;
            let set = match inner.trim() {
                "R" => "reals",
                "Z" => "integers",
                "N" => "naturals",
                "Q" => "rationals",
                "C" => "complexes",
                _ => return None,
            };
            tokens.push(Tok::Cmd(set.to_owned()));
            return Some(&rest[used..]);
        }
        _ if ACCENTS.contains(&name) || SYMBOL_COMMANDS.contains(&name) => {
            let (inner, used) = braced(rest)?;
            tokens.push(Tok::Word(format!("{name}:{}", word(inner))));
            return Some(&rest[used..]);
        }
        _ if TEXT_COMMANDS.contains(&name) => {
            let (inner, used) = braced(rest)?;
            let word = word(inner);
            if !word.is_empty() {
                tokens.push(Tok::Word(word));
            }
            return Some(&rest[used..]);
        }
        "times" | "cdot" | "ast" => tokens.push(Tok::Op('*')),
        "div" => tokens.push(Tok::Op('/')),
        "%" | "&" | "_" => tokens.push(Tok::Op(name.chars().next()?)),
        "lvert" | "rvert" | "vert" => tokens.push(Tok::Op('|')),
        _ => tokens.push(Tok::Cmd(canonical(name).to_owned())),
    }
    Some(rest)
}

fn environment<'a>(which: &str, rest: &'a str, tokens: &mut Vec<Tok>) -> Option<&'a str> {
    let (name, used) = braced(rest)?;
    let name = name.trim().to_owned();
    let mut rest = &rest[used..];
    if which == "end" {
        tokens.push(Tok::End(name));
        return Some(rest);
    }
    if name == "array" {
        let (_, used) = braced(rest)?;
        rest = &rest[used..];
    }
    tokens.push(Tok::Begin(name));
    Some(rest)
}

fn word(text: &str) -> String {
    let kept = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')'));
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::{Tok, lex};

    #[test]
    fn spaces_and_sizes_are_no_tokens() {
        assert_eq!(lex("\\left( 3,\\, x \\right)"), lex("(3,x)"));
        assert_eq!(lex("\\dfrac12"), lex("\\frac12"));
        assert_eq!(lex("\\text{ (C) }"), Some(vec![Tok::Word("c".into())]));
    }

    #[test]
    fn broken_formulas_have_no_tokens() {
        for text in ["\\left-13", "3.", "\\text{open", "\\", "?"] {
            assert_eq!(lex(text), None, "{text}");
        }
    }
}
