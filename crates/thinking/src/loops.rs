//! Exact loops: texts that end with the same cycle repeated, byte for byte.
//!
//! A model that has fallen into a loop seldom leaves it by itself. What to do about it is up to the policy.

/// A cycle is a loop only if it occurs at least this many times.
const LEAST_TIMES: usize = 3;
/// A cycle is a loop only if its occurrences cover at least this many bytes.
const LEAST_BYTES: usize = 200;
/// Longer cycles are not searched for.
const LONGEST_CYCLE_BYTES: usize = 4096;
/// How much of a text's end is searched.
const SEEN_BYTES: usize = LEAST_TIMES * LONGEST_CYCLE_BYTES;
/// How many bytes are read between two searches. A search takes time in proportion to the searched text.
const STEP_BYTES: usize = 32;

/// Finds loops in a text as it grows. The result does not depend on how the text is cut into pieces.
#[derive(Debug, Clone, Default)]
pub struct LoopFinder {
    /// The end of the text: at most twice the length that is searched.
    end: Vec<u8>,
    /// Bytes read since the last search.
    unseen_bytes: usize,
}

impl LoopFinder {
    /// Reads more text. If a loop is found, returns the number of bytes of `text` read until then, which is a character
    /// boundary. The rest is not read, and the next loop is searched for behind that place.
    pub fn read(&mut self, text: &str) -> Option<usize> {
        for (start, c) in text.char_indices() {
            let end = start + c.len_utf8();
            self.pass(&text[start..end]);
            self.unseen_bytes += c.len_utf8();
            if self.unseen_bytes < STEP_BYTES {
                continue;
            }
            self.unseen_bytes = 0;
            if cycle_at_end(&self.end).is_some() {
                self.end.clear();
                return Some(end);
            }
        }
        None
    }

    /// Reads text without searching it; a loop that began before can still continue through it.
    pub fn pass(&mut self, text: &str) {
        self.end.extend_from_slice(text.as_bytes());
        if self.end.len() > 2 * SEEN_BYTES {
            self.end.drain(..self.end.len() - SEEN_BYTES);
        }
    }
}

/// Returns the length in bytes of the shortest cycle if a text ends in a loop. The cycle must occur at least three
/// times (the first occurrence may be cut off at its start) and cover at least 200 bytes.
pub fn cycle_at_end(text: &[u8]) -> Option<usize> {
    let reversed: Vec<u8> = text.iter().rev().take(SEEN_BYTES).copied().collect();
    // For each cycle length: how far the reversed text agrees with itself when shifted by that length (the Z-algorithm:
    // Gusfield, Algorithms on Strings, Trees and Sequences, section 1.4).
    let mut agrees = vec![0; reversed.len() / LEAST_TIMES + 1];
    let (mut left, mut right) = (0, 0);
    for cycle in 1..agrees.len() {
        let known = if cycle < right { agrees[cycle - left].min(right - cycle) } else { 0 };
        let rest = reversed[known..].iter().zip(&reversed[cycle + known..]);
        let length = known + rest.take_while(|(one, other)| one == other).count();
        agrees[cycle] = length;
        if cycle + length > right {
            (left, right) = (cycle, cycle + length);
        }
        if cycle + length >= LEAST_BYTES.max(LEAST_TIMES * cycle) {
            return Some(cycle);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns after how many bytes a loop is found.
    fn found_at(text: &str) -> Option<usize> {
        LoopFinder::default().read(text)
    }

    fn paragraphs(numbers: impl IntoIterator<Item = usize>) -> String {
        let of = |n| {
            format!(
                "Then {n} of them remain, and {n} is what was to be shown in the end, so we go on.\n\n"
            )
        };
        numbers.into_iter().map(of).collect()
    }

    #[test]
    fn a_cycle_is_a_loop_when_it_is_there_three_times_and_over_two_hundred_bytes() {
        let paragraph = paragraphs([12]);
        assert!((70..200).contains(&paragraph.len()));
        let (beginning, rest) = ("So we begin. ", paragraphs(20..30));
        for (cycle, times, is_loop) in [
            ("1, 111", 20, false),
            ("1, 111", 50, true),
            (paragraph.as_str(), 2, false),
            (paragraph.as_str(), 4, true),
            (&paragraphs([1, 2, 3, 4, 5]), 2, false),
            (&paragraphs([1, 2, 3, 4, 5]), 4, true),
            ("数学", 50, true),
            ("\n", 250, true),
        ] {
            let text = format!("{beginning}{}", cycle.repeat(times));
            let found = found_at(&text);
            assert_eq!(found.is_some(), is_loop, "{cycle:?} {times} times");
            if let Some(found) = found {
                let least = LEAST_BYTES.max(LEAST_TIMES * cycle.len());
                let reached = beginning.len() + least;
                // The loop may happen to begin in the text before it.
                assert!(text.is_char_boundary(found), "{cycle:?}");
                assert!(
                    (reached - cycle.len()..reached + STEP_BYTES + 4).contains(&found),
                    "{found}, {reached}"
                );
            }
            assert_eq!(
                found_at(&format!("{text}{rest}")).is_some(),
                is_loop,
                "{cycle:?} {times} times"
            );
        }
        assert_eq!(found_at(&paragraphs(0..500)), None);
    }

    #[test]
    fn a_loop_is_found_at_the_same_place_however_the_text_comes() {
        let text = format!("数 So. {}", "é, 111 ".repeat(60));
        let whole = found_at(&text);
        assert!(whole.is_some());
        for length in [1, 3, 7, 50] {
            let (mut finder, mut read, mut found) = (LoopFinder::default(), 0, None);
            let chars: Vec<char> = text.chars().collect();
            for piece in chars.chunks(length) {
                let piece: String = piece.iter().collect();
                found = found.or_else(|| finder.read(&piece).map(|at| read + at));
                read += piece.len();
            }
            assert_eq!(found, whole, "pieces of {length} characters");
        }
    }

    #[test]
    fn the_next_loop_is_looked_for_behind_the_last_one() {
        let text = "1, 111 ".repeat(200);
        let mut finder = LoopFinder::default();
        let first = finder.read(&text).unwrap();
        let second = finder.read(&text[first..]).unwrap();
        assert!(second >= LEAST_BYTES, "{second}");
        assert_eq!(finder.read(&text[..LEAST_BYTES - 10]), None);
    }

    #[test]
    fn a_loop_goes_on_through_text_in_which_none_is_looked_for() {
        let text = "1, 111 ".repeat(60);
        let mut finder = LoopFinder::default();
        finder.pass(&text);
        assert!(finder.read(&text).unwrap() <= STEP_BYTES + 4);
    }

    #[test]
    fn what_is_kept_of_a_long_text_is_bounded() {
        let mut finder = LoopFinder::default();
        assert_eq!(finder.read(&paragraphs(0..2000)), None);
        assert!(finder.end.len() <= 2 * SEEN_BYTES);
        let long = paragraphs(0..45);
        assert!(long.len() < LONGEST_CYCLE_BYTES);
        assert!(finder.read(&long.repeat(4)).is_some(), "a cycle of {} bytes", long.len());
    }
}
