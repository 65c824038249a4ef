//! The Wilson score interval: a confidence interval for a share of right answers.
//!
//! E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of
//! the American Statistical Association 22 (1927), 209-212; recommended for small samples by Brown,
//! Cai and DasGupta, "Interval Estimation for a Binomial Proportion", Statistical Science 16 (2001).

/// The 97.5 % quantile of the normal distribution: two tails of 2.5 % leave 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Returns the 95 % interval for a share of `k` right answers out of `n`, as fractions from 0 to 1.
///
/// Without any answer nothing is known, and it is `(0.0, 1.0)`. A `k` above `n` counts as `n`.
pub fn wilson(k: u64, n: u64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    // Counts of answers are far below 2^53, where f64 stops being exact.
    let (right, total) = (k.min(n) as f64, n as f64);
    wilson_share(right / total, total)
}

/// Returns Wilson's interval for a share of `total` answers. The total need not be whole: dependent answers count as
/// fewer independent ones.
pub fn wilson_share(share: f64, total: f64) -> (f64, f64) {
    if total <= 0.0 {
        return (0.0, 1.0);
    }
    let z2 = Z * Z;
    let centre = share + z2 / (2.0 * total);
    let spread = Z * (share * (1.0 - share) / total + z2 / (4.0 * total * total)).sqrt();
    let scale = 1.0 + z2 / total;
    // At the ends, rounding would leave the bound slightly off the exact 0 or 1.
    let low = if share <= 0.0 { 0.0 } else { (centre - spread) / scale };
    let high = if share >= 1.0 { 1.0 } else { (centre + spread) / scale };
    (low.max(0.0), high.min(1.0))
}

#[cfg(test)]
mod tests {
    use super::wilson;

    fn near(got: (f64, f64), want: (f64, f64)) {
        assert!((got.0 - want.0).abs() < 5e-5 && (got.1 - want.1).abs() < 5e-5, "{got:?} {want:?}");
    }

    #[test]
    fn agrees_with_published_values() {
        // Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        near(wilson(81, 263), (0.2553, 0.3662));
        near(wilson(15, 148), (0.0624, 0.1605));
        near(wilson(0, 20), (0.0, 0.1611));
        near(wilson(1, 29), (0.0061, 0.1718));
    }

    #[test]
    fn ends_are_exact_and_nothing_asked_is_nothing_known() {
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        assert_eq!(wilson(0, 10).0, 0.0);
        assert_eq!(wilson(10, 10).1, 1.0);
        assert_eq!(wilson(11, 10), wilson(10, 10));
    }
}
