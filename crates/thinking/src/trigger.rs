//! The streaming trigger matcher: finds a trigger phrase in the window after a paragraph break.
//!
//! It works on decoded text, character by character, never on token ids, so the result does not depend on how the text
//! is cut into tokens, deltas or messages. `folding` defines which characters count as equal, `border` where words
//! begin and end.

mod border;
mod folding;

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use self::border::WordEnd;

/// After this many more characters, a phrase whose end is still undecided ends there, since a word may be followed by
/// any number of combining marks.
const LOOKAHEAD_CHARS: usize = 8;

/// What a trigger phrase announces (paper, section 3.2).
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
    /// Its text. Case, full-width forms and the shape of quotes and spaces do not matter.
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
    /// Only open windows after breaks in the watched text itself. A phrase where the watched text begins has been
    /// answered or skipped already.
    #[serde(default)]
    pub from_next_break: bool,
    /// Texts that end the watch, in the committed or the watched text: nothing triggers after the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub until: Vec<String>,
}

/// Where a trigger phrase was found. Positions are bytes of the watched text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerMatch {
    /// What the phrase announces.
    pub kind: TriggerKind,
    /// The phrase as given in the watch.
    pub phrase: String,
    /// Where to cut: the end of the paragraph break before the phrase; 0 if the break was already committed.
    pub cut: u64,
    /// Where the phrase starts.
    pub start: u64,
    /// Where the phrase ends.
    pub end: u64,
}

/// Watches a text as it grows.
///
/// The rules work on Unicode scalar values, and none of them depends on how the text is cut into pieces:
/// - The end of a delimiter opens a window of `window_chars` characters. A delimiter that ends inside the window
///   restarts it. `cut` is the end of the latest delimiter.
/// - A phrase counts if it starts in the watched text, lies completely inside the window and consists of whole words:
///   "another" does not match "anothers". Word boundaries are those of Unicode, with two exceptions: next to a
///   character of a script without spaces there is always one, and Markdown's marks belong to no word. A break is a
///   boundary. Characters are compared in the form that `folding` gives them.
/// - If a phrase ends in a word, what follows must confirm that the word ends there: usually the next character, or
///   [`Matcher::finish`]. The phrase confirmed first wins, then the longest, then the first listed.
/// - Nothing counts after the first text of `until`, except a phrase that this text ends with or confirms.
/// - Empty texts match nothing.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The watch's texts in the form in which they are compared.
    delimiters: Vec<Vec<char>>,
    until: Vec<Vec<char>>,
    phrases: Vec<Folded>,
    window_chars: usize,
    /// The last characters read, as many as the longest delimiter or text of `until` has.
    tail: VecDeque<char>,
    /// Bytes read, including those of the committed tail.
    read: u64,
    /// How many of them are the committed tail's.
    base: u64,
    window: Option<Window>,
    /// Whether there was a match or the text is over: nothing counts any more.
    spent: bool,
}

#[derive(Debug, Clone)]
struct Folded {
    phrase: Phrase,
    /// The characters that are compared.
    chars: Vec<char>,
}

/// The text since the latest delimiter.
#[derive(Debug, Clone, Default)]
struct Window {
    cut: u64,
    /// The whole text.
    text: String,
    /// Its characters inside the window, each with its position.
    chars: Vec<(char, u64)>,
    /// Phrases whose last word may still continue.
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
    /// A matcher for the text that will follow `committed`. Unless the watch begins with the next break, the end of
    /// `committed` may contain a delimiter, the start of one, or an open window.
    pub fn new(watch: Watch, committed: &str) -> Self {
        let not_empty = |text: &&String| !text.is_empty();
        let chars = |texts: &[String]| -> Vec<Vec<char>> {
            texts.iter().filter(not_empty).map(|text| text.chars().collect()).collect()
        };
        let (delimiters, until) = (chars(&watch.delimiters), chars(&watch.until));
        let is_over = watch.until.iter().filter(not_empty).any(|text| committed.contains(text));
        let phrases = watch.phrases.into_iter().filter(|p| not_empty(&&p.text)).map(Folded::new);
        // Of equal phrases the first listed wins, so comparing the others would be wasted work.
        let mut seen = HashSet::new();
        let phrases = phrases.filter(|folded| seen.insert(folded.chars.clone()));
        let mut matcher = Matcher {
            phrases: phrases.collect(),
            window_chars: watch.window_chars as usize,
            tail: VecDeque::new(),
            read: 0,
            base: u64::MAX, // no phrase may start before the watched text
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

    /// Reads more text. Returns the first match; after it nothing else matches.
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

    /// Ends the text: the writer ended it, so a phrase at its very end now counts.
    ///
    /// Do not call this for a proposal that merely ran out of tokens, since more text may follow it.
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

    /// Returns how many bytes of the text read so far no match can cut any more: up to the cut while a window is open,
    /// otherwise all. The number never falls.
    pub fn settled_bytes(&self) -> u64 {
        let settled = self.window.as_ref().map_or(self.read, |window| window.cut);
        settled.saturating_sub(self.base)
    }

    /// Returns the end of the committed text on which the window and the delimiters can depend.
    fn relevant_tail<'a>(&self, committed: &'a str) -> &'a str {
        let chars = self.window_chars.saturating_add(self.longest());
        let start = committed.char_indices().rev().nth(chars).map_or(0, |(at, _)| at);
        &committed[start..]
    }

    /// Returns the length in characters of the longest text that is searched for at the end of the text read.
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

    /// Returns the longest of several phrases that are confirmed at once; of equals, the first listed.
    fn best(&self, found: &[Found]) -> Option<Found> {
        let length = |found: &Found| self.phrases[found.phrase].chars.len();
        // `max_by_key` returns the last of equals.
        found.iter().rev().max_by_key(|found| length(found)).copied()
    }

    fn read_char(&mut self, c: char) -> Option<Found> {
        let start = self.read;
        self.read += c.len_utf8() as u64;
        self.tail.push_back(c);
        if self.tail.len() > self.longest() {
            self.tail.pop_front();
        }
        let ends = |text: &Vec<char>| {
            text.len() <= self.tail.len()
                && text.iter().rev().eq(self.tail.iter().rev().take(text.len()))
        };
        let is_over = self.until.iter().any(ends);
        let is_break = !is_over && self.delimiters.iter().any(ends);
        let found = self.read_in_window(c, start, is_break);
        if found.is_none() && is_over {
            (self.window, self.spent) = (None, true);
        }
        if found.is_none() && is_break && self.window_chars > 0 && !self.phrases.is_empty() {
            self.window = Some(Window { cut: self.read, ..Window::default() });
        }
        found
    }

    fn read_in_window(&mut self, c: char, start: u64, is_break: bool) -> Option<Found> {
        let mut window = self.window.take()?;
        window.text.push(c);
        // In order of phrases: those that `c` confirms, and those that end with it.
        let mut confirmed = window.decide(is_break);
        if window.chars.len() < self.window_chars {
            window.chars.push((c, start));
            let last = folding::folded(c).last();
            let ends = |phrase: &Folded| phrase.chars.last().copied() == last;
            for (index, phrase) in self.phrases.iter().enumerate().filter(|(_, it)| ends(it)) {
                let Some(start) = phrase.start_at_end_of(&window).filter(|at| *at >= self.base)
                else {
                    continue;
                };
                let found = Found { phrase: index, start, end: self.read };
                match window.ends(&found) {
                    WordEnd::Yes => confirmed.push(found),
                    WordEnd::Open => window.pending.push(found),
                    WordEnd::No => {}
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

    /// Closes the window if nothing in it can match any more.
    fn close_full_window(&mut self) {
        let full = |window: &mut Window| {
            window.chars.len() >= self.window_chars && window.pending.is_empty()
        };
        self.window.take_if(full);
    }
}

impl Window {
    /// Takes the pending phrases that the last character confirms, and drops those whose last word it continues.
    fn decide(&mut self, is_break: bool) -> Vec<Found> {
        let (mut confirmed, pending) = (Vec::new(), std::mem::take(&mut self.pending));
        for found in pending {
            let behind = &self.text[self.place(found.end)..];
            let is_over = is_break || behind.chars().count() >= LOOKAHEAD_CHARS;
            match self.ends(&found) {
                WordEnd::No => {}
                WordEnd::Open if !is_over => self.pending.push(found),
                WordEnd::Open | WordEnd::Yes => confirmed.push(found),
            }
        }
        confirmed
    }

    fn ends(&self, found: &Found) -> WordEnd {
        border::ends(&self.text, self.place(found.end))
    }

    /// Converts a position in the whole text to one in the window.
    fn place(&self, at: u64) -> usize {
        usize::try_from(at - self.cut).unwrap_or(usize::MAX)
    }
}

impl Folded {
    fn new(phrase: Phrase) -> Self {
        Folded { chars: phrase.text.chars().flat_map(folding::folded).collect(), phrase }
    }

    /// Returns where the phrase starts if the window's text ends with it.
    fn start_at_end_of(&self, window: &Window) -> Option<u64> {
        let chars = folding::length_at_end(&window.chars, &self.chars)?;
        let (_, start) = window.chars[window.chars.len() - chars];
        border::begins(&window.text, window.place(start)).then_some(start)
    }
}
