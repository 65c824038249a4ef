//! Decides whether an answer is right, and gives the verdict on a text.
//!
//! Both sides are cleaned, parsed as formulas and compared by meaning: numbers exactly, decimals to six places,
//! expressions with symbols by their values at several points, lists and sets in any order, tuples and intervals in
//! their order. The aim is to agree with Python's math-verify 0.9.0 where it is right. What does not live here: finding
//! the answer in a text ([`crate::answer`]), asking math-verify itself ([`crate::math_verify`]).

mod braces;
mod clean;
mod compare;
mod eval;
mod expr;
mod lex;
mod num;
mod parse;
mod region;
mod style;
mod value;

use crate::{answer::find, signs::plain, thought::TextStart};

/// The longest answer that is parsed as a formula, in bytes. The work may grow with their square.
const MAX_FORMULA: usize = 1 << 14;

/// A text's answer, and whether it is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The answer that was found, if the text has one.
    pub answer: Option<String>,
    /// Whether it equals the right one.
    pub right: bool,
    /// Who decided.
    pub judge: Judge,
}

/// Who gave a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// This crate.
    Own,
    /// Python's math-verify.
    MathVerify,
}

/// Returns whether an answer equals the right one.
///
/// The right answer comes first, because its form matters: see the table of cases in the tests. A text that cannot be
/// parsed as a formula equals only the same text, ignoring white space.
pub fn equivalent(gold: &str, answer: &str) -> bool {
    let (gold, answer) = (readable(gold), readable(answer));
    if let Some(same) = same_text(&gold, &answer) {
        return same;
    }
    match (parse(&gold), parse(&answer)) {
        (Some(gold), Some(answer)) => compare::same(&gold, &answer),
        _ => false,
    }
}

/// Returns whether both are the same text, or the same whole number or fraction.
///
/// This is narrower than [`equivalent`]: it accepts only what nobody could dispute.
pub fn exactly_equal(gold: &str, answer: &str) -> bool {
    let (gold, answer) = (readable(gold), readable(answer));
    if let Some(same) = same_text(&gold, &answer) {
        return same;
    }
    let number = |text: &str| match parse(text)? {
        value::Value::Expr(expr::Expr::Num { value, decimal: false }) => Some(value),
        _ => None,
    };
    number(&gold).is_some_and(|gold| number(&answer) == Some(gold))
}

/// Grades a text that ends in an answer and does not begin inside a thought.
pub fn grade(gold: &str, text: &str) -> Verdict {
    grade_from(gold, text, TextStart::Answer)
}

/// Grades a text that ends in an answer. [`find`] says why a text has no answer.
pub fn grade_from(gold: &str, text: &str, start: TextStart) -> Verdict {
    let answer = find(text, start).ok();
    let right = answer.as_deref().is_some_and(|answer| equivalent(gold, answer));
    Verdict { answer, right, judge: Judge::Own }
}

/// Removes whatever does not affect an answer's value. If it is too long to parse, only converts characters.
fn readable(text: &str) -> String {
    if text.len() > MAX_FORMULA { plain(text).trim().to_owned() } else { clean::clean(text) }
}

fn parse(text: &str) -> Option<value::Value> {
    if text.len() > MAX_FORMULA { None } else { parse::parse(text) }
}

/// Returns whether both are the same text or the same whole number, or `None` if that cannot decide.
fn same_text(a: &str, b: &str) -> Option<bool> {
    if let (Some(a), Some(b)) = (clean::whole_number(a), clean::whole_number(b)) {
        return Some(a == b);
    }
    let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let a = bare(a);
    (!a.is_empty() && a == bare(b)).then_some(true)
}
