//! Numbers for comparing answers: exact rationals, and complex floats with an error bound.
//!
//! An operation without a value returns `None`; nothing panics. What does not live here: expressions.

use num_bigint::BigInt;
use num_complex::Complex64;
use num_rational::BigRational;
use num_traits::{FromPrimitive, One, Pow, Signed, ToPrimitive, Zero};

/// The most bits of an exact value. A larger one becomes a float, so that no text takes minutes.
const MAX_BITS: u64 = 1 << 14;
/// The largest relative error of a value. Beyond it, two values cannot be distinguished.
const MAX_RELATIVE_ERROR: f64 = 1e-9;
/// The largest argument of factorials and binomials.
const MAX_FACTORIAL: u32 = 1000;

/// A number.
#[derive(Debug, Clone)]
pub(super) enum Num {
    /// An exact value.
    Exact(BigRational),
    /// An approximate value.
    Approx {
        /// The value.
        z: Complex64,
        /// A bound on its distance from the true value.
        err: f64,
    },
}

use Num::{Approx, Exact};

impl Num {
    /// Returns a whole number.
    pub(super) fn int(value: i64) -> Self {
        Exact(BigRational::from_integer(BigInt::from(value)))
    }

    /// Returns a float that is correct up to rounding.
    pub(super) fn float(value: f64) -> Self {
        Approx { z: Complex64::new(value, 0.0), err: value.abs() * f64::EPSILON }
    }

    /// Returns the imaginary unit.
    pub(super) fn i() -> Self {
        Approx { z: Complex64::i(), err: 0.0 }
    }

    /// Returns the value and its error bound as floats.
    fn parts(&self) -> Option<(Complex64, f64)> {
        match self {
            Exact(value) => {
                let value = value.to_f64().filter(|value| value.is_finite())?;
                Some((Complex64::new(value, 0.0), value.abs() * f64::EPSILON))
            }
            Approx { z, err } => Some((*z, *err)),
        }
    }

    /// Returns the real value, if there is one.
    pub(super) fn real(&self) -> Option<f64> {
        let (z, err) = self.parts()?;
        (z.im.abs() <= 16.0 * err).then_some(z.re)
    }

    fn approx(z: Complex64, err: f64) -> Option<Self> {
        let usable = z.re.is_finite() && z.im.is_finite() && err.is_finite();
        usable.then_some(Approx { z, err: err + z.norm() * f64::EPSILON })
    }

    fn exact(value: BigRational) -> Option<Self> {
        if bits(&value) <= MAX_BITS {
            return Some(Exact(value));
        }
        value.to_f64().filter(|value| value.is_finite()).map(Num::float)
    }

    /// Returns the sum.
    pub(super) fn add(&self, other: &Num) -> Option<Num> {
        if let (Exact(a), Exact(b)) = (self, other) {
            return Num::exact(a + b);
        }
        let ((a, ea), (b, eb)) = (self.parts()?, other.parts()?);
        Num::approx(a + b, ea + eb + f64::EPSILON * (a.norm() + b.norm()))
    }

    /// Returns the negated number.
    pub(super) fn neg(&self) -> Num {
        match self {
            Exact(value) => Exact(-value),
            Approx { z, err } => Approx { z: -z, err: *err },
        }
    }

    /// Returns the product.
    pub(super) fn mul(&self, other: &Num) -> Option<Num> {
        if let (Exact(a), Exact(b)) = (self, other) {
            return Num::exact(a * b);
        }
        let ((a, ea), (b, eb)) = (self.parts()?, other.parts()?);
        let norm = a.norm() * b.norm();
        Num::approx(a * b, a.norm() * eb + b.norm() * ea + ea * eb + 2.0 * f64::EPSILON * norm)
    }

    /// Returns the quotient. `None` if the divisor is or may be zero.
    pub(super) fn div(&self, other: &Num) -> Option<Num> {
        if let (Exact(a), Exact(b)) = (self, other) {
            return if b.is_zero() { None } else { Num::exact(a / b) };
        }
        let ((a, ea), (b, eb)) = (self.parts()?, other.parts()?);
        let room = b.norm() - eb;
        if room <= 0.0 {
            return None;
        }
        let quotient = a / b;
        let err = (ea + quotient.norm() * eb) / room;
        Num::approx(quotient, err + 4.0 * f64::EPSILON * quotient.norm())
    }

    /// Returns the power, on the principal branch.
    pub(super) fn pow(&self, exponent: &Num) -> Option<Num> {
        if let Exact(power) = exponent {
            if power.is_integer() {
                return self.whole_power(power.numer());
            }
            if let Exact(base) = self
                && let Some(root) = exact_root(base, power)
            {
                return root.whole_power(power.numer());
            }
        }
        let (z, ez) = self.parts()?;
        let (w, ew) = exponent.parts()?;
        if z.norm() <= ez {
            // Zero to a positive power is zero. Other powers of zero have no value.
            let err = ez.powf(w.re);
            return if w.re > 0.0 { Num::approx(Complex64::zero(), err) } else { None };
        }
        let log = z.ln();
        let power = (w * log).exp();
        let relative = w.norm() * ez / z.norm() + log.norm() * ew;
        let rounding = 4.0 * f64::EPSILON * (1.0 + (w * log).norm());
        Num::approx(power, power.norm() * (relative + rounding))
    }

    fn whole_power(&self, power: &BigInt) -> Option<Num> {
        let size = power.abs().to_u64()?;
        let result = match self {
            Exact(base) if bits(base).saturating_mul(size.max(1)) <= MAX_BITS => {
                Exact(Pow::pow(base.clone(), u32::try_from(size).ok()?))
            }
            // One is the only base whose large powers need few bits.
            Exact(base) if base.is_one() => self.clone(),
            _ => {
                let (z, err) = self.parts()?;
                let (n, steps) = (i32::try_from(size).ok()?, size.to_f64()?);
                let value = z.powi(n);
                let slope = steps * z.norm().powf(steps - 1.0);
                Num::approx(value, slope * err + steps * f64::EPSILON * value.norm())?
            }
        };
        if power.is_negative() { Num::int(1).div(&result) } else { Some(result) }
    }

    /// Applies a function, given the function and its derivative.
    pub(super) fn map(
        &self,
        function: impl Fn(Complex64) -> Complex64,
        derivative: impl Fn(Complex64) -> Complex64,
    ) -> Option<Num> {
        let (z, err) = self.parts()?;
        let (value, slope) = (function(z), derivative(z).norm());
        Num::approx(value, slope * (err + 4.0 * f64::EPSILON * z.norm()) + 4.0 * f64::EPSILON)
    }

    /// Returns the absolute value.
    pub(super) fn abs(&self) -> Option<Num> {
        match self {
            Exact(value) => Some(Exact(value.abs())),
            Approx { z, err } => Num::approx(Complex64::new(z.norm(), 0.0), *err),
        }
    }

    /// Returns the largest whole number that is not greater.
    pub(super) fn floor(&self) -> Option<Num> {
        match self {
            Exact(value) => Some(Exact(value.floor())),
            Approx { err, .. } => {
                let real = self.real()?;
                let floor = real.floor();
                // So close to a whole number that either side is possible: no value.
                let sure = real - floor > 16.0 * err && floor + 1.0 - real > 16.0 * err;
                let floor = BigRational::from_float(floor)?;
                sure.then_some(Exact(floor))
            }
        }
    }

    /// Returns the factorial.
    pub(super) fn factorial(&self) -> Option<Num> {
        let n = self.small_count()?;
        Num::exact(BigRational::from_integer((1..=n).map(BigInt::from).product()))
    }

    /// Returns the binomial coefficient.
    pub(super) fn binomial(&self, lower: &Num) -> Option<Num> {
        let (n, k) = (self.small_count()?, lower.small_count()?);
        if k > n {
            return Some(Num::int(0));
        }
        let mut value = BigInt::one();
        for step in 1..=k.min(n - k) {
            value = value * BigInt::from(n - step + 1) / BigInt::from(step);
        }
        Num::exact(BigRational::from_integer(value))
    }

    fn small_count(&self) -> Option<u32> {
        match self {
            Exact(value) if value.is_integer() => {
                value.numer().to_u32().filter(|n| *n <= MAX_FACTORIAL)
            }
            _ => None,
        }
    }

    /// Returns whether it is zero within its error.
    pub(super) fn is_zero(&self) -> bool {
        match self {
            Exact(value) => value.is_zero(),
            Approx { z, err } => z.norm() <= 16.0 * err,
        }
    }

    /// Returns whether both are the same number within their errors.
    pub(super) fn same(&self, other: &Num) -> bool {
        if let (Exact(a), Exact(b)) = (self, other) {
            return a == b;
        }
        let (Some((a, ea)), Some((b, eb))) = (self.parts(), other.parts()) else {
            return false;
        };
        let err = ea + eb;
        let known = err <= MAX_RELATIVE_ERROR * (a.norm() + b.norm()).max(1e-3);
        known && (a - b).norm() <= 16.0 * err
    }

    /// Returns the value in millionths, rounded. Decimals are compared to this precision.
    pub(super) fn millionths(&self) -> Option<BigInt> {
        match self {
            Exact(value) => {
                let scaled = value * BigRational::from_integer(BigInt::from(1_000_000));
                Some(scaled.round().to_integer())
            }
            Approx { .. } => BigInt::from_f64((self.real()? * 1e6).round()),
        }
    }
}

/// Returns the size of a fraction in bits.
fn bits(value: &BigRational) -> u64 {
    value.numer().bits() + value.denom().bits()
}

/// Returns the root given by the power's denominator, if it is rational.
fn exact_root(base: &BigRational, power: &BigRational) -> Option<Num> {
    let degree = power.denom().to_u32()?;
    if base.is_negative() {
        return None;
    }
    let (above, below) = (base.numer().nth_root(degree), base.denom().nth_root(degree));
    let fits = above.bits() * u64::from(degree) <= 2 * MAX_BITS;
    let root = BigRational::new(above, below);
    (fits && &Pow::pow(root.clone(), degree) == base).then_some(Exact(root))
}

#[cfg(test)]
mod tests {
    use super::Num;

    #[test]
    fn errors_grow_with_what_cancels() {
        let big = Num::float(1e12);
        let root = Num::int(2).pow(&Num::int(1).div(&Num::int(2)).unwrap()).unwrap();
        let back = big.add(&root).unwrap().add(&big.neg()).unwrap();
        // The true value is within the bound, but the bound is too wide to call them equal.
        assert!(!back.same(&root));
        assert!(root.mul(&root).unwrap().same(&Num::int(2)));
        assert!(!root.same(&Num::float(std::f64::consts::SQRT_2 + 1e-9)));
    }

    #[test]
    fn powers_are_exact_where_they_can_be() {
        let half = Num::int(1).div(&Num::int(2)).unwrap();
        assert!(matches!(Num::int(9).pow(&half), Some(Num::Exact(_))));
        assert!(matches!(Num::int(8).pow(&half), Some(Num::Approx { .. })));
        assert!(Num::int(0).pow(&Num::int(-1)).is_none());
        assert!(Num::int(10).pow(&Num::int(1_000_000_000)).is_none());
    }
}
