//! Evaluates an expression, with numbers in place of its free symbols.
//!
//! Two expressions with the same value at several arbitrary points are the same function. The points are fractions, so
//! that polynomials are compared exactly.

use num_bigint::BigInt;
use num_complex::Complex64;
use num_rational::BigRational;

use super::{
    expr::{Expr, Func},
    num::Num,
};

/// The number of points at which expressions with free symbols are compared.
pub(super) const POINTS: u64 = 5;

/// Returns the number that replaces a symbol at a point.
fn stand_in(name: &str, point: u64) -> Num {
    // FNV-1a over the name and the point, then a mix, so that names that differ in one letter get unrelated numbers.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325 ^ point.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= hash >> 32;
    // An odd number over 128: never zero, never whole, small enough for high powers.
    let above = i64::try_from(hash % 256).unwrap_or(0) * 2 + 1;
    let above = if hash & 0x1_0000 == 0 { above } else { -above };
    Num::Exact(BigRational::new(BigInt::from(above), BigInt::from(128)))
}

/// Returns the value at a point. `None` if it has no value, or none that is known precisely enough.
pub(super) fn eval(expr: &Expr, point: u64) -> Option<Num> {
    match expr {
        Expr::Num { value, .. } => Some(Num::Exact(value.clone())),
        Expr::Percent(inner) => eval(inner, point)?.div(&Num::int(100)),
        Expr::Pi => Some(Num::float(std::f64::consts::PI)),
        Expr::E => Some(Num::float(std::f64::consts::E)),
        Expr::I => Some(Num::i()),
        Expr::Sym(name) => Some(stand_in(name, point)),
        Expr::Neg(inner) => Some(eval(inner, point)?.neg()),
        Expr::Add(items) => {
            items.iter().try_fold(Num::int(0), |sum, item| sum.add(&eval(item, point)?))
        }
        Expr::Mul(items) => {
            items.iter().try_fold(Num::int(1), |product, item| product.mul(&eval(item, point)?))
        }
        Expr::Div(a, b) => eval(a, point)?.div(&eval(b, point)?),
        Expr::Pow(a, b) => eval(a, point)?.pow(&eval(b, point)?),
        Expr::Log { base, arg } => ln(&eval(arg, point)?)?.div(&ln(&eval(base, point)?)?),
        Expr::Func(func, arg) => apply(*func, &eval(arg, point)?),
        Expr::Factorial(inner) => eval(inner, point)?.factorial(),
        Expr::Binomial(a, b) => eval(a, point)?.binomial(&eval(b, point)?),
        Expr::Infinity | Expr::Apply(..) | Expr::Matrix(_) => None,
    }
}

fn ln(arg: &Num) -> Option<Num> {
    if arg.is_zero() { None } else { arg.map(Complex64::ln, |z| z.inv()) }
}

fn apply(func: Func, arg: &Num) -> Option<Num> {
    let inverse = |value: Option<Num>| Num::int(1).div(&value?);
    let root = |z: Complex64| (Complex64::new(1.0, 0.0) - z * z).sqrt().inv();
    let square = |z: Complex64| (Complex64::new(1.0, 0.0) + z * z).inv();
    match func {
        Func::Sin => arg.map(Complex64::sin, Complex64::cos),
        Func::Cos => arg.map(Complex64::cos, Complex64::sin),
        Func::Tan => apply(Func::Sin, arg)?.div(&apply(Func::Cos, arg)?),
        Func::Cot => apply(Func::Cos, arg)?.div(&apply(Func::Sin, arg)?),
        Func::Sec => inverse(apply(Func::Cos, arg)),
        Func::Csc => inverse(apply(Func::Sin, arg)),
        Func::Asin => arg.map(Complex64::asin, root),
        Func::Acos => arg.map(Complex64::acos, root),
        Func::Atan => arg.map(Complex64::atan, square),
        Func::Sinh => arg.map(Complex64::sinh, Complex64::cosh),
        Func::Cosh => arg.map(Complex64::cosh, Complex64::sinh),
        Func::Tanh => apply(Func::Sinh, arg)?.div(&apply(Func::Cosh, arg)?),
        Func::Exp => Num::float(std::f64::consts::E).pow(arg),
        Func::Ln => ln(arg),
        Func::Abs => arg.abs(),
        Func::Floor => arg.floor(),
        Func::Ceil => Some(arg.neg().floor()?.neg()),
    }
}

/// Returns whether both have the same value at all points where both have one.
pub(super) fn same_everywhere(a: &Expr, b: &Expr) -> bool {
    let mut symbols = Vec::new();
    a.symbols(&mut symbols);
    b.symbols(&mut symbols);
    let points = if symbols.is_empty() { 1 } else { POINTS };
    let mut compared = 0;
    for point in 0..points {
        match (eval(a, point), eval(b, point)) {
            (Some(a), Some(b)) if a.same(&b) => compared += 1,
            // Outside the domain of both, such as a root of a negative number under a floor.
            (None, None) => {}
            _ => return false,
        }
    }
    // A single point may agree by accident.
    compared >= points.min(2)
}

/// If one is a constant times the other, returns whether that constant is positive.
pub(super) fn ratio(a: &Expr, b: &Expr) -> Option<bool> {
    let mut first: Option<Num> = None;
    let mut compared = 0;
    for point in 0..POINTS {
        let (Some(a), Some(b)) = (eval(a, point), eval(b, point)) else {
            continue;
        };
        if a.is_zero() || b.is_zero() {
            return None;
        }
        let ratio = a.div(&b)?;
        match &first {
            Some(first) if !first.same(&ratio) => return None,
            Some(_) => {}
            None => first = Some(ratio),
        }
        compared += 1;
    }
    if compared < 3 { None } else { Some(first?.real()? > 0.0) }
}
