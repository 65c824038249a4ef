//! Quantiles by nearest rank: the rule behind every "median" and "p95" in this workspace.

/// Returns the quantile by nearest rank: the smallest of the sorted values that at least this share of all values does
/// not exceed. The median of two values is thus the lower one. `None` without values.
pub fn quantile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    sorted.get(rank(sorted.len(), share)).copied()
}

/// Returns the index of [`quantile`] among this many sorted values, or 0 if there are none.
pub fn rank(count: usize, share: f64) -> usize {
    ((share * count as f64).ceil() as usize).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn the_median_of_an_even_number_is_the_lower_of_the_middle_two() {
        for (sorted, median, p95) in [
            (&[][..], None, None),
            (&[7], Some(7), Some(7)),
            (&[1, 2], Some(1), Some(2)),
            (&[1, 2, 3], Some(2), Some(3)),
            (&[1, 2, 3, 4], Some(2), Some(4)),
        ] {
            assert_eq!(
                (quantile(sorted, 0.5), quantile(sorted, 0.95)),
                (median, p95),
                "{sorted:?}"
            );
        }
    }
}
