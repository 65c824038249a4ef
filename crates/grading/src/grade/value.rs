//! The kinds of answers: an expression, a set, a tuple, an interval, a statement.
//!
//! What does not live here: when two of them are equal ([`super::compare`], [`super::region`]).

use super::expr::Expr;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Expr(Expr),
    /// A finite set, or a list without brackets, in the order written.
    Set(Vec<Value>),
    Tuple(Vec<Value>),
    Interval(Box<Interval>),
    /// A named set.
    Named(String),
    /// Two sets, combined.
    Combined(SetOp, Box<Value>, Box<Value>),
    /// An equation, an inequality, or a chain of them.
    Chain(Box<Chain>),
}

/// An interval.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Interval {
    pub(super) low: Expr,
    pub(super) high: Expr,
    pub(super) low_open: bool,
    pub(super) high_open: bool,
}

/// How two sets are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetOp {
    Union,
    Intersection,
    Difference,
}

/// A relation between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Relation {
    /// Returns the relation with its sides swapped.
    pub(super) fn flipped(self) -> Self {
        match self {
            Relation::Less => Relation::Greater,
            Relation::LessEqual => Relation::GreaterEqual,
            Relation::Greater => Relation::Less,
            Relation::GreaterEqual => Relation::LessEqual,
            Relation::Equal | Relation::Unequal => self,
        }
    }
}

/// "a = b", "a < b < c" and so on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chain {
    pub(super) first: Value,
    /// Never empty.
    pub(super) rest: Vec<(Relation, Value)>,
}

impl Chain {
    /// Returns its links: left side, relation, right side.
    pub(super) fn links(&self) -> impl Iterator<Item = (&Value, Relation, &Value)> {
        let left = std::iter::once(&self.first).chain(self.rest.iter().map(|(_, value)| value));
        left.zip(&self.rest).map(|(left, (relation, right))| (left, *relation, right))
    }

    /// Returns whether every link is an equation.
    pub(super) fn is_equation(&self) -> bool {
        self.rest.iter().all(|(relation, _)| *relation == Relation::Equal)
    }

    /// Returns whether it assigns a value to a symbol.
    pub(super) fn is_assignment(&self) -> bool {
        let names = match &self.first {
            Value::Expr(expr) => expr.is_only_symbols(),
            Value::Tuple(items) => {
                items.iter().all(|item| matches!(item, Value::Expr(expr) if expr.is_only_symbols()))
            }
            Value::Interval(pair) => pair.low.is_only_symbols() && pair.high.is_only_symbols(),
            _ => false,
        };
        names && self.is_equation()
    }

    /// Returns the right side of the last link.
    pub(super) fn last(&self) -> &Value {
        self.rest.last().map_or(&self.first, |(_, value)| value)
    }
}

impl Value {
    /// Returns the items of a finite collection. An expression or statement is its own only item.
    pub(super) fn items(&self) -> Option<Vec<Value>> {
        match self {
            Value::Set(items) | Value::Tuple(items) => Some(items.clone()),
            Value::Expr(_) | Value::Chain(_) => Some(vec![self.clone()]),
            _ => None,
        }
    }

    /// Returns an open interval as a pair, which may be what was meant.
    pub(super) fn as_pair(&self) -> Option<Value> {
        match self {
            Value::Interval(pair) if pair.low_open && pair.high_open => Some(Value::Tuple(vec![
                Value::Expr(pair.low.clone()),
                Value::Expr(pair.high.clone()),
            ])),
            _ => None,
        }
    }

    /// Returns whether it is more than an expression or a statement.
    pub(super) fn is_collection(&self) -> bool {
        !matches!(self, Value::Expr(_) | Value::Chain(_))
    }
}
