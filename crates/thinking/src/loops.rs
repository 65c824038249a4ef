//! Exact loops: a text that ends with the same cycle over and over, to the byte.
//!
//! A model that has fallen into one seldom leaves it by itself. What is done about it is a policy's matter.

/// A cycle that is there so many times is a loop,
const LEAST_TIMES: usize = 3;
/// if all of them together have so many bytes.
const LEAST_BYTES: usize = 200;
/// Longer cycles are not looked for.
const LONGEST_CYCLE_BYTES: usize = 4096;
/// How much of a text's end is looked at.
const SEEN_BYTES: usize = LEAST_TIMES * LONGEST_CYCLE_BYTES;
/// After so many bytes more it is looked again. To look takes time in proportion to what is looked at.
const STEP_BYTES: usize = 32;

/// Finds loops in a text as it grows. What it finds does not depend on how the text is cut into pieces.
#[derive(Debug, Clone, Default)]
pub struct LoopFinder {
    /// The end of the text: all that is looked at, and at most as much again.
    end: Vec<u8>,
    /// Bytes read since it was last looked.
    unseen_bytes: usize,
}

impl LoopFinder {
    /// Reads on. Returns after how many bytes of `text` a loop is found, at the end of a character; what follows is not
    /// read, and the next loop is looked for behind it.
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

    /// Reads on over text in which no loop is looked for; one that began before goes on through it.
    pub fn pass(&mut self, text: &str) {
        self.end.extend_from_slice(text.as_bytes());
        if self.end.len() > 2 * SEEN_BYTES {
            self.end.drain(..self.end.len() - SEEN_BYTES);
        }
    }
}

/// The length in bytes of the shortest cycle that a text ends with in a loop: it is there at least three times, the
/// first of them perhaps from its middle on, and over at least 200 bytes.
pub fn cycle_at_end(text: &[u8]) -> Option<usize> {
    let reversed: Vec<u8> = text.iter().rev().take(SEEN_BYTES).copied().collect();
    // For each cycle how far the text agrees with itself when it is moved by it, from the end on (the Z-algorithm:
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

    /// After how many bytes a loop is found.
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
                // It may begin by chance in what is before it.
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
