//! Expressions, and the few simplifications that are made while a formula is parsed.
//!
//! What does not live here: parsing ([`super::parse`]), evaluation ([`super::eval`]).

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, Zero};

/// A function of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Func {
    Sin,
    Cos,
    Tan,
    Cot,
    Sec,
    Csc,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Exp,
    Ln,
    Abs,
    Floor,
    Ceil,
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// A number as written. Decimals are compared by rounding, whole numbers and fractions exactly.
    Num {
        value: BigRational,
        decimal: bool,
    },
    /// A percentage.
    Percent(Box<Expr>),
    Pi,
    E,
    I,
    Infinity,
    /// A free symbol or a word, in lower case.
    Sym(String),
    Neg(Box<Expr>),
    Add(Vec<Expr>),
    Mul(Vec<Expr>),
    Div(Box<Expr>, Box<Expr>),
    Pow(Box<Expr>, Box<Expr>),
    Log {
        base: Box<Expr>,
        arg: Box<Expr>,
    },
    Func(Func, Box<Expr>),
    Factorial(Box<Expr>),
    Binomial(Box<Expr>, Box<Expr>),
    /// An unknown function, equal only to itself.
    Apply(String, Vec<Expr>),
    Matrix(Vec<Vec<Expr>>),
}

impl Expr {
    /// Returns a whole number.
    pub(super) fn int(value: i64) -> Self {
        Expr::Num { value: BigRational::from_integer(BigInt::from(value)), decimal: false }
    }

    /// Negates the expression. Numbers and the cells of matrices are negated directly.
    pub(super) fn neg(self) -> Self {
        match self {
            Expr::Num { value, decimal } => Expr::Num { value: -value, decimal },
            Expr::Matrix(rows) => Expr::cells(rows, Expr::neg),
            other => Expr::Neg(Box::new(other)),
        }
    }

    /// Returns the quotient. That of two whole numbers is a number.
    pub(super) fn div(self, below: Expr) -> Self {
        match (self, below) {
            (a, b) if a.whole().is_some() && b.whole().is_some_and(|b| !b.is_zero()) => {
                match (a.whole(), b.whole()) {
                    (Some(above), Some(below)) => {
                        Expr::Num { value: above / below, decimal: false }
                    }
                    _ => Expr::Div(Box::new(a), Box::new(b)),
                }
            }
            (Expr::Matrix(rows), b) => Expr::cells(rows, |cell| cell.div(b.clone())),
            (a, b) => Expr::Div(Box::new(a), Box::new(b)),
        }
    }

    /// Returns the product. A scalar times a matrix is a matrix.
    pub(super) fn mul(self, other: Expr) -> Self {
        match (self, other) {
            (Expr::Matrix(rows), scalar) | (scalar, Expr::Matrix(rows))
                if !matches!(scalar, Expr::Matrix(_)) =>
            {
                Expr::cells(rows, |cell| Expr::Mul(vec![scalar.clone(), cell]))
            }
            (Expr::Mul(mut factors), b) => {
                factors.push(b);
                Expr::Mul(factors)
            }
            (a, b) => Expr::Mul(vec![a, b]),
        }
    }

    fn cells(rows: Vec<Vec<Expr>>, change: impl Fn(Expr) -> Expr) -> Self {
        Expr::Matrix(rows.into_iter().map(|row| row.into_iter().map(&change).collect()).collect())
    }

    /// Returns the value of a whole number that is written as one.
    pub(super) fn whole(&self) -> Option<&BigRational> {
        match self {
            Expr::Num { value, decimal: false } if value.is_integer() => Some(value),
            _ => None,
        }
    }

    /// Returns whether it is a positive fraction or whole number, which makes "2 1/2" a mixed number.
    pub(super) fn is_positive_rational(&self) -> bool {
        matches!(self, Expr::Num { value, decimal: false } if value.is_positive())
    }

    /// Returns whether it is a decimal, with or without a percent sign.
    pub(super) fn is_decimal(&self) -> bool {
        match self {
            Expr::Num { decimal, .. } => *decimal,
            Expr::Percent(inner) => matches!(**inner, Expr::Num { decimal: true, .. }),
            _ => false,
        }
    }

    /// Returns its direct parts.
    pub(super) fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Num { .. } | Expr::Pi | Expr::E | Expr::I | Expr::Infinity | Expr::Sym(_) => {
                Vec::new()
            }
            Expr::Percent(a) | Expr::Neg(a) | Expr::Func(_, a) | Expr::Factorial(a) => vec![a],
            Expr::Add(items) | Expr::Mul(items) | Expr::Apply(_, items) => items.iter().collect(),
            Expr::Div(a, b) | Expr::Pow(a, b) | Expr::Binomial(a, b) => vec![a, b],
            Expr::Log { base, arg } => vec![base, arg],
            Expr::Matrix(rows) => rows.iter().flatten().collect(),
        }
    }

    /// Adds its free symbols, each only once.
    pub(super) fn symbols<'a>(&'a self, into: &mut Vec<&'a str>) {
        if let Expr::Sym(name) = self
            && !into.contains(&name.as_str())
        {
            into.push(name);
        }
        for child in self.children() {
            child.symbols(into);
        }
    }

    /// Returns whether it consists of symbols only, so that "... = 5" assigns it a value.
    pub(super) fn is_only_symbols(&self) -> bool {
        match self {
            Expr::Sym(_) => true,
            Expr::Apply(_, args) => args.iter().all(Expr::is_only_symbols),
            Expr::Mul(items) | Expr::Add(items) => items.iter().all(Expr::is_only_symbols),
            Expr::Div(a, b) => a.is_only_symbols() && b.is_only_symbols(),
            _ => false,
        }
    }

    /// Returns the word that a product of letters spells.
    pub(super) fn spelled(&self) -> Option<String> {
        let letter = |expr: &Expr| match expr {
            Expr::Sym(name) => Some(name.clone()),
            Expr::E => Some("e".to_owned()),
            _ => None,
        };
        match self {
            Expr::Mul(items) => items.iter().map(letter).collect(),
            other => letter(other),
        }
    }
}
