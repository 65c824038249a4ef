//! Compares sets of real numbers by where they begin and end.
//!
//! Two sets are equal if they agree on membership at every end of either set and between neighbouring ends. What does
//! not live here: finite sets alone ([`super::compare`]).

use super::{
    expr::Expr,
    parse::number,
    value::{Chain, Relation, SetOp, Value},
};

/// The most ends that both sets may have together.
const MAX_ENDS: usize = 64;

/// Returns whether both are the same set of real numbers. `false` if that cannot be decided.
pub(super) fn same_region(a: &Value, b: &Value) -> bool {
    let mut ends = Vec::new();
    if collect_ends(a, &mut ends).is_none() || collect_ends(b, &mut ends).is_none() {
        return false;
    }
    ends.retain(|end| end.is_finite());
    ends.sort_by(f64::total_cmp);
    // The same end may have been computed in two ways.
    ends.dedup_by(|b, a| near(*a, *b));
    if ends.len() > MAX_ENDS {
        return false;
    }
    let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
        return contains(a, 0.0) == contains(b, 0.0);
    };
    let outside = [first - 1.0, last + 1.0];
    let between: Vec<f64> = ends
        .iter()
        .zip(ends.iter().skip(1))
        .map(|(low, high)| f64::midpoint(*low, *high))
        .collect();
    let probes = outside.iter().chain(&between).chain(&ends);
    probes.copied().all(|at| contains(a, at) == contains(b, at))
}

fn near(a: f64, b: f64) -> bool {
    // The difference of two infinities is meaningless, and so is a margin of infinity.
    a.is_finite() && b.is_finite() && (a - b).abs() <= 1e-12 * (a.abs() + b.abs()).max(1e-3)
}

/// Adds where the set begins and ends. Returns `None` if it is not a set of real numbers.
fn collect_ends(set: &Value, ends: &mut Vec<f64>) -> Option<()> {
    match set {
        Value::Interval(interval) => {
            ends.push(number(&interval.low)?);
            ends.push(number(&interval.high)?);
        }
        Value::Set(items) => {
            for item in items {
                match item {
                    Value::Expr(expr) => ends.push(number(expr)?),
                    _ => return None,
                }
            }
        }
        Value::Named(name) if name == "reals" => {}
        Value::Combined(_, a, b) => {
            collect_ends(a, ends)?;
            collect_ends(b, ends)?;
        }
        Value::Chain(chain) => {
            let mut symbol = None;
            for (left, _, right) in chain.links() {
                let (name, end) = bound(left, right)?;
                if *symbol.get_or_insert(name) != name {
                    return None;
                }
                ends.push(end);
            }
        }
        _ => return None,
    }
    Some(())
}

/// Returns the symbol and the number of a link that has one of each.
fn bound<'a>(left: &'a Value, right: &'a Value) -> Option<(&'a str, f64)> {
    match (left, right) {
        (Value::Expr(Expr::Sym(name)), Value::Expr(other))
        | (Value::Expr(other), Value::Expr(Expr::Sym(name))) => Some((name, number(other)?)),
        _ => None,
    }
}

fn contains(set: &Value, at: f64) -> bool {
    match set {
        Value::Interval(interval) => {
            let (Some(low), Some(high)) = (number(&interval.low), number(&interval.high)) else {
                return false;
            };
            let above = if near(at, low) { !interval.low_open } else { at > low };
            let below = if near(at, high) { !interval.high_open } else { at < high };
            above && below
        }
        Value::Set(items) => items.iter().any(|item| match item {
            Value::Expr(expr) => number(expr).is_some_and(|value| near(at, value)),
            _ => false,
        }),
        Value::Combined(op, a, b) => {
            let (a, b) = (contains(a, at), contains(b, at));
            match op {
                SetOp::Union => a || b,
                SetOp::Intersection => a && b,
                SetOp::Difference => a && !b,
            }
        }
        Value::Chain(chain) => holds(chain, at),
        Value::Named(_) => true,
        _ => false,
    }
}

fn holds(chain: &Chain, at: f64) -> bool {
    chain.links().all(|(left, relation, right)| {
        let value = |side: &Value| match side {
            Value::Expr(Expr::Sym(_)) => Some(at),
            Value::Expr(expr) => number(expr),
            _ => None,
        };
        let (Some(left), Some(right)) = (value(left), value(right)) else {
            return false;
        };
        let equal = near(left, right);
        match relation {
            Relation::Equal => equal,
            Relation::Unequal => !equal,
            Relation::Less => !equal && left < right,
            Relation::LessEqual => equal || left < right,
            Relation::Greater => !equal && left > right,
            Relation::GreaterEqual => equal || left > right,
        }
    })
}
