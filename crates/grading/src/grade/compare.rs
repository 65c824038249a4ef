//! Decides whether two values are the same, in the sense of Python's math-verify.
//!
//! The right value comes first, because its form matters. "5" is matched by "x = 5" and "x = 5" by "5", but other
//! equations are matched only by equations. What does not live here: parsing.

use num_traits::Zero as _;

use super::{
    eval::{ratio, same_everywhere},
    expr::Expr,
    num::Num,
    region::same_region,
    value::{Chain, Relation, Value},
};

/// Returns whether the answer is the right value.
pub(super) fn same(right: &Value, answer: &Value) -> bool {
    let (right, answer) = unwrap(right, answer);
    if right == answer {
        return true;
    }
    match (&right, &answer) {
        (Value::Chain(right), Value::Chain(answer)) => same_chains(right, answer),
        (Value::Expr(right), Value::Expr(answer)) => same_exprs(right, answer),
        (Value::Chain(_), collection) => collection.is_collection() && same_region(&right, &answer),
        _ if right.is_collection() || answer.is_collection() => same_collections(&right, &answer),
        _ => false,
    }
}

/// Removes "x =" if the other side has none, and the middle of "x = 1 + 1 = 2".
fn unwrap(right: &Value, answer: &Value) -> (Value, Value) {
    let shortened = |value: &Value| match value {
        Value::Chain(chain) if chain.is_assignment() => Value::Chain(Box::new(Chain {
            first: chain.first.clone(),
            rest: vec![(Relation::Equal, chain.last().clone())],
        })),
        other => other.clone(),
    };
    let equation = |value: &Value| matches!(value, Value::Chain(chain) if chain.is_equation());
    match (right, answer) {
        (_, Value::Chain(chain)) if chain.is_equation() && !equation(right) => {
            (shortened(right), chain.last().clone())
        }
        (Value::Chain(chain), _) if chain.is_assignment() && !equation(answer) => {
            (chain.last().clone(), shortened(answer))
        }
        _ => (shortened(right), shortened(answer)),
    }
}

fn same_collections(right: &Value, answer: &Value) -> bool {
    if let (Value::Interval(a), Value::Interval(b)) = (right, answer) {
        let ends = (a.low_open, a.high_open) == (b.low_open, b.high_open);
        return ends && same_exprs(&a.low, &b.low) && same_exprs(&a.high, &b.high);
    }
    // "(1, 2)" is parsed as an interval. Compared with a list or a tuple it is a pair.
    let finite = |value: &Value| matches!(value, Value::Set(_) | Value::Tuple(_));
    let right_pair = if finite(answer) { right.as_pair() } else { None };
    let answer_pair = if finite(right) { answer.as_pair() } else { None };
    let (a, b) = (right_pair.as_ref().unwrap_or(right), answer_pair.as_ref().unwrap_or(answer));
    match (a.items(), b.items()) {
        (Some(left), Some(other)) => match a {
            Value::Tuple(_) => {
                left.len() == other.len() && left.iter().zip(&other).all(|(a, b)| same(a, b))
            }
            _ => same_in_any_order(&left, other),
        },
        _ => same_region(right, answer),
    }
}

fn same_in_any_order(right: &[Value], answer: Vec<Value>) -> bool {
    let right = distinct(right.to_vec());
    let mut left_over = distinct(answer);
    if right.len() != left_over.len() {
        return false;
    }
    right.iter().all(|item| {
        let found = left_over.iter().position(|other| same(item, other));
        found.map(|at| left_over.swap_remove(at)).is_some()
    })
}

/// Removes duplicates, since a set has each of its members once.
fn distinct(items: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::with_capacity(items.len());
    for item in items {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

fn same_chains(right: &Chain, answer: &Chain) -> bool {
    let links = right.rest.len() == answer.rest.len();
    links && right.links().zip(answer.links()).all(|(a, b)| same_links(a, b))
}

fn same_links(a: (&Value, Relation, &Value), b: (&Value, Relation, &Value)) -> bool {
    let (Some(right), Some(answer)) = (difference(a.0, a.2), difference(b.0, b.2)) else {
        return a.1 == b.1 && same(a.0, b.0) && same(a.2, b.2);
    };
    let symmetric = matches!(a.1, Relation::Equal | Relation::Unequal);
    if a.1 == b.1 && same_everywhere(&right, &answer) {
        return true;
    }
    if a.1.flipped() == b.1 && same_everywhere(&right, &answer.clone().neg()) {
        return true;
    }
    // Multiplying both sides by a number changes nothing except the direction, if it is negative.
    match ratio(&right, &answer) {
        Some(_) if symmetric => a.1 == b.1,
        Some(true) => a.1 == b.1,
        Some(false) => a.1.flipped() == b.1,
        None => false,
    }
}

fn difference(left: &Value, right: &Value) -> Option<Expr> {
    match (left, right) {
        (Value::Expr(left), Value::Expr(right)) => {
            Some(Expr::Add(vec![left.clone(), right.clone().neg()]))
        }
        _ => None,
    }
}

/// Returns whether both expressions are the same.
pub(super) fn same_exprs(right: &Expr, answer: &Expr) -> bool {
    if right == answer {
        return true;
    }
    if let (Expr::Matrix(a), Expr::Matrix(b)) = (right, answer) {
        let shape = |rows: &[Vec<Expr>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
        let (cells, others) = (a.iter().flatten(), b.iter().flatten());
        return shape(a) == shape(b) && cells.zip(others).all(|(a, b)| same_exprs(a, b));
    }
    if spells(right, answer) || spells(answer, right) {
        return true;
    }
    if let (Some(a), Some(b)) = (counted(right), counted(answer)) {
        // "9 %" matches "9": the question says which of them was asked for.
        if a == b {
            return true;
        }
    }
    if right.is_decimal() || answer.is_decimal() {
        return same_rounded(right, answer);
    }
    same_everywhere(right, answer)
}

/// Returns whether a word is spelled by a product of letters: `\text{east}` and "east".
fn spells(word: &Expr, letters: &Expr) -> bool {
    match word {
        Expr::Sym(word) => letters.spelled().is_some_and(|spelled| &spelled == word),
        _ => false,
    }
}

/// Returns the value of a whole number, with or without a percent sign.
fn counted(expr: &Expr) -> Option<&num_rational::BigRational> {
    match expr {
        Expr::Percent(inner) => inner.whole(),
        other => other.whole(),
    }
}

/// Returns whether both are the same to six decimals. A value that rounds to zero does not equal zero.
fn same_rounded(right: &Expr, answer: &Expr) -> bool {
    let value = |expr: &Expr| -> Option<Num> {
        let mut symbols = Vec::new();
        expr.symbols(&mut symbols);
        if symbols.is_empty() { super::eval::eval(expr, 0) } else { None }
    };
    match (value(right), value(answer)) {
        (Some(a), Some(b)) => match (a.millionths(), b.millionths()) {
            (Some(right), Some(answer)) if right.is_zero() && answer.is_zero() => a.same(&b),
            (Some(right), Some(answer)) => right == answer,
            _ => a.same(&b),
        },
        _ => false,
    }
}
