//! The exponential function, in a form that compilers turn into vector instructions.

/// Returns e to the power of x, for x of at most 0, to about 1e-7 of the value. Has no branch, so that a loop over it
/// becomes vector instructions. Below -87 it is 0. The coefficients are those of Cephes' expf.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let kept = if x > -87.0 { x } else { -87.0 };
    let n = (kept * std::f32::consts::LOG2_E + 0.5).floor();
    let r = kept - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits((((n as i32) + 127) << 23) as u32);
    let value = (p * r * r + r + 1.0) * power;
    if x.is_nan() {
        x
    } else if x > -87.0 {
        value
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn the_exponential_is_one_to_seven_digits() {
        for step in 0..=8_800 {
            let x = -(step as f32) / 100.0;
            let (ours, exact) = (exp(x), f64::from(x).exp());
            assert!((f64::from(ours) - exact).abs() <= 2e-7 * exact + 1e-37, "{x}: {ours} {exact}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }
}
