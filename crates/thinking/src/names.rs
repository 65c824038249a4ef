//! Finds the known name that an unknown one was probably meant to be, for errors that suggest it.

/// Returns the number of edits between two names (Damerau-Levenshtein), ignoring case.
pub fn difference(name: &str, known: &str) -> usize {
    strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase())
}

/// Returns the known name closest to this one, or an empty string if no name is known. Ties are broken by case, then by
/// order.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> &'a str {
    let rank = |known: &&str| (difference(name, known), strsim::damerau_levenshtein(name, known));
    known.iter().copied().min_by_key(rank).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_the_one_with_the_fewest_edits_and_case_is_the_least_of_them() {
        for (name, known, meant) in [
            ("strickt", &["paper", "strict", "random"][..], "strict"),
            ("sedd", &["seed", "send"], "seed"),
            ("STRICT", &["paper", "strict"], "strict"),
            ("Rtt", &["RTT", "rtt"], "rtt"),
            ("xy", &["ab", "cd"], "ab"),
            ("x", &[], ""),
        ] {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
    }
}
