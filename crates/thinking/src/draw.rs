//! Seeded draws: the sequence of numbers that policies and the coordinator draw from, and the conversion of random bits
//! to a number. How a model draws its tokens is up to the engine.

/// Returns the n-th number of a seeded sequence without computing those before it (Steele, Lea, Flood: Fast splittable
/// pseudorandom number generators, 2014).
pub fn splitmix64(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns a number uniform in [0, 1) from 64 random bits. It uses the upper 53, which is what a double holds.
pub fn uniform(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    #[test]
    fn uniform_numbers_begin_at_zero_and_stay_below_one() {
        for (bits, number) in [
            (0, 0.0),
            ((1 << 11) - 1, 0.0),
            (1 << 11, 1.0 / (1u64 << 53) as f64),
            (1 << 63, 0.5),
            (u64::MAX, 1.0 - f64::EPSILON / 2.0),
        ] {
            assert_eq!(super::uniform(bits), number, "{bits:#x}");
        }
    }

    #[test]
    fn the_sequence_is_the_published_one() {
        // The first outputs of the reference implementation with seed 0.
        assert_eq!(super::splitmix64(0, 1), 0xe220_a839_7b1d_cdaf);
        assert_eq!(super::splitmix64(0, 2), 0x6e78_9e6a_a1b9_65f4);
    }
}
