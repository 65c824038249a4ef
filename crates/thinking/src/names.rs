//! The known name that was probably meant by an unknown one, for errors that suggest it.

/// How many edits lead from one name to the other (Damerau-Levenshtein); letters' case does not count.
pub fn difference(name: &str, known: &str) -> usize {
    strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase())
}

/// The known name most like this one, the first of equals; letters' case decides between names that
/// are otherwise equally near. Empty when no name is known.
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
