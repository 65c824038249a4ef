//! The streaming trigger matcher: finds a trigger phrase in the window after a paragraph break.
//!
//! It works on decoded text, character by character, never on token ids, so that its result does not
//! depend on how the text was cut into tokens, deltas or messages.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// What kind of thing a trigger phrase announces (paper, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// "Yes, ...": the writer agrees with itself.
    Affirmation,
    /// "Wait, ...": the writer doubts.
    Reflection,
    /// "Let me check ...": the writer verifies.
    Verification,
}

/// A phrase to look for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Phrase {
    /// What it announces.
    pub kind: TriggerKind,
    /// Its text; case does not matter.
    pub text: String,
}

/// What to watch for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The paragraph breaks, usually "\n\n".
    pub delimiters: Vec<String>,
    /// Length of the window after a delimiter, in characters.
    pub window_chars: u32,
    /// The phrases.
    pub phrases: Vec<Phrase>,
    /// Only windows after breaks that lie in the watched text itself: a phrase at the place where it begins was
    /// answered, or passed over, already.
    #[serde(default)]
    pub from_next_break: bool,
    /// Texts that end the watching, in the committed text or in the watched: behind the first of them nothing triggers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub until: Vec<String>,
}

/// Where a trigger phrase was found; positions are bytes of the watched text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerMatch {
    /// What the phrase announces.
    pub kind: TriggerKind,
    /// The phrase as the watch gave it.
    pub phrase: String,
    /// End of the paragraph break before the phrase: where to cut; 0 when the break was already
    /// committed.
    pub cut: u64,
    /// Where the phrase starts.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
}

/// Watches a text as it grows.
///
/// The rules, all on Unicode scalar values and none of them dependent on how the text is chunked:
/// - The end of a delimiter opens a window of `window_chars` characters; a delimiter that ends
///   inside the window opens it anew. `cut` is the end of the latest.
/// - A phrase counts when it starts in the watched text, lies wholly inside the window and has no
///   letter, digit or underscore next to its own ones: "another" is not in "anothers". A break is a
///   boundary. Letters are compared one by one in lower case.
/// - The end of a phrase that ends in a letter is confirmed by the character after it, or by
///   [`Matcher::finish`]. The phrase confirmed first wins, then the longest, then the first listed.
/// - Behind the first text of `until` nothing counts. A phrase that it ends or confirms does.
/// - Empty texts match nothing.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The watch's texts in the form they are compared in.
    delimiters: Vec<Vec<char>>,
    until: Vec<Vec<char>>,
    phrases: Vec<Folded>,
    window_chars: usize,
    /// The last characters read, as many as the longest delimiter or text of `until` has.
    tail: VecDeque<char>,
    /// Bytes read, those of the committed tail counted.
    read: u64,
    /// Of those, the committed tail's.
    base: u64,
    window: Option<Window>,
    /// Matched or finished: nothing counts any more.
    spent: bool,
}

#[derive(Debug, Clone)]
struct Folded {
    phrase: Phrase,
    /// In lower case.
    chars: Vec<char>,
    /// Where the first or last character is a letter, none may stand next to it.
    word_start: bool,
    word_end: bool,
}

/// The text since the latest delimiter.
#[derive(Debug, Clone, Default)]
struct Window {
    cut: u64,
    /// Each character and where it starts.
    chars: Vec<(char, u64)>,
    /// Phrases that end where the text does, unless a letter follows.
    pending: Vec<Found>,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    /// Index of the phrase.
    phrase: usize,
    start: u64,
    end: u64,
}

impl Matcher {
    /// A matcher for the text that will follow `committed`: a delimiter may begin, or already stand,
    /// at the end of `committed`, and so may an open window; unless the watch begins with the next break.
    pub fn new(watch: Watch, committed: &str) -> Self {
        let not_empty = |text: &&String| !text.is_empty();
        let chars = |texts: &[String]| -> Vec<Vec<char>> {
            texts.iter().filter(not_empty).map(|text| text.chars().collect()).collect()
        };
        let (delimiters, until) = (chars(&watch.delimiters), chars(&watch.until));
        let is_over = watch.until.iter().filter(not_empty).any(|text| committed.contains(text));
        let phrases = watch.phrases.into_iter().filter(|p| not_empty(&&p.text)).map(Folded::new);
        let mut matcher = Matcher {
            phrases: phrases.collect(),
            window_chars: watch.window_chars as usize,
            tail: VecDeque::new(),
            read: 0,
            base: u64::MAX, // nothing starts in the watched text yet
            window: None,
            spent: is_over,
            delimiters,
            until,
        };
        let before = if watch.from_next_break { "" } else { committed };
        for c in matcher.relevant_tail(before).chars() {
            matcher.read_char(c);
        }
        matcher.base = matcher.read;
        matcher.close_full_window();
        if is_over {
            matcher.window = None;
        }
        matcher
    }

    /// Reads on. Returns the first match; after one, the matcher is spent.
    pub fn push(&mut self, text: &str) -> Option<TriggerMatch> {
        for c in text.chars() {
            if self.spent {
                self.read += c.len_utf8() as u64;
            } else if let Some(found) = self.read_char(c) {
                return self.found(found);
            }
        }
        None
    }

    /// The text is complete, the writer ended it: a phrase that stands at its very end now counts.
    ///
    /// Not for a proposal that merely ran out of tokens: more text may follow that one.
    pub fn finish(&mut self) -> Option<TriggerMatch> {
        if self.spent {
            return None;
        }
        let found = self.window.as_ref().and_then(|window| self.best(&window.pending));
        match found {
            Some(found) => self.found(found),
            None => {
                self.window = None;
                self.spent = true;
                None
            }
        }
    }

    /// How many bytes of the text read so far no match can cut any more: up to the cut while the
    /// window is open, else all. It never falls.
    pub fn settled_bytes(&self) -> u64 {
        let settled = self.window.as_ref().map_or(self.read, |window| window.cut);
        settled.saturating_sub(self.base)
    }

    /// The end of the committed text that the window and the delimiters can depend on.
    fn relevant_tail<'a>(&self, committed: &'a str) -> &'a str {
        let chars = self.window_chars.saturating_add(self.longest());
        let start = committed.char_indices().rev().nth(chars).map_or(0, |(at, _)| at);
        &committed[start..]
    }

    /// Characters of the longest text that is looked for at the end of what was read.
    fn longest(&self) -> usize {
        self.delimiters.iter().chain(&self.until).map(Vec::len).max().unwrap_or(0)
    }

    fn found(&mut self, found: Found) -> Option<TriggerMatch> {
        self.spent = true;
        let cut = self.window.as_ref()?.cut;
        let phrase = self.phrases.get(found.phrase)?;
        Some(TriggerMatch {
            kind: phrase.phrase.kind,
            phrase: phrase.phrase.text.clone(),
            cut: cut.saturating_sub(self.base),
            start: found.start - self.base,
            end: found.end - self.base,
        })
    }

    /// The longest of phrases that are confirmed at once, then the first listed.
    fn best(&self, found: &[Found]) -> Option<Found> {
        let length = |found: &Found| self.phrases[found.phrase].chars.len();
        // `max_by_key` gives the last of equals.
        found.iter().rev().max_by_key(|found| length(found)).copied()
    }

    fn read_char(&mut self, c: char) -> Option<Found> {
        let start = self.read;
        self.read += c.len_utf8() as u64;
        let found = self.read_in_window(c, start);
        if found.is_some() {
            return found;
        }
        self.tail.push_back(c);
        if self.tail.len() > self.longest() {
            self.tail.pop_front();
        }
        let ends = |text: &Vec<char>| {
            text.len() <= self.tail.len()
                && text.iter().rev().eq(self.tail.iter().rev().take(text.len()))
        };
        if self.until.iter().any(ends) {
            (self.window, self.spent) = (None, true);
            return None;
        }
        if self.delimiters.iter().any(ends) && self.window_chars > 0 && !self.phrases.is_empty() {
            self.window = Some(Window { cut: self.read, ..Window::default() });
        }
        None
    }

    fn read_in_window(&mut self, c: char, start: u64) -> Option<Found> {
        let mut window = self.window.take()?;
        // In order of phrases: those that `c` confirms, and those that it ends itself.
        let mut confirmed =
            if is_word(c) { Vec::new() } else { std::mem::take(&mut window.pending) };
        window.pending.clear();
        if window.chars.len() < self.window_chars {
            window.chars.push((c, start));
            for (index, phrase) in self.phrases.iter().enumerate() {
                let Some(at) = phrase.ends(&window.chars).filter(|at| *at >= self.base) else {
                    continue;
                };
                let found = Found { phrase: index, start: at, end: self.read };
                if phrase.word_end {
                    window.pending.push(found);
                } else {
                    confirmed.push(found);
                }
            }
        }
        confirmed.sort_by_key(|found| found.phrase);
        let best = self.best(&confirmed);
        self.window = Some(window);
        if best.is_none() {
            self.close_full_window();
        }
        best
    }

    /// Closes the window when nothing in it can match any more.
    fn close_full_window(&mut self) {
        let full = |window: &mut Window| {
            window.chars.len() >= self.window_chars && window.pending.is_empty()
        };
        self.window.take_if(full);
    }
}

impl Folded {
    fn new(phrase: Phrase) -> Self {
        let word = |c: Option<char>| c.is_some_and(is_word);
        Folded {
            chars: phrase.text.chars().flat_map(char::to_lowercase).collect(),
            word_start: word(phrase.text.chars().next()),
            word_end: word(phrase.text.chars().next_back()),
            phrase,
        }
    }

    /// Where the phrase starts if it stands at the end of the window's text.
    fn ends(&self, window: &[(char, u64)]) -> Option<u64> {
        let mut left = self.chars.as_slice();
        let mut before = window.len();
        while !left.is_empty() {
            before = before.checked_sub(1)?;
            // A character may have several in lower case: all of them or none.
            for lower in window[before].0.to_lowercase().rev() {
                left = left.strip_suffix(&[lower])?;
            }
        }
        let joined = self.word_start && before > 0 && is_word(window[before - 1].0);
        (!joined).then(|| window[before].1)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
