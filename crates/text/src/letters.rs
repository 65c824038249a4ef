//! Names of control tokens that are only letters: "<|im_end|>" in a question does not end a turn.
//!
//! A chat template joins what people wrote and what it writes itself into one text, and may trim, split or compare the
//! messages on the way. So messages go through it as they are, except for the names of control tokens: each is broken
//! by a character that no text has ([`BREAK`]). The character is removed again after the control tokens have been found
//! and before the text between them is cut and merged, so the text is encoded as if it had never been there.

use std::{borrow::Cow, collections::HashSet};

use tokenizers::{AddedVocabulary, NormalizerWrapper, OffsetReferential, OffsetType};

use crate::thought::is_mark;

/// Breaks a name. It is one of Unicode's noncharacters, which programs may use internally.
pub(crate) const BREAK: char = '\u{fdd0}';

/// Breaking a name may reveal another that begins within it; no vocabulary nests them deeper than this.
const PASSES: usize = 8;

/// The names of a vocabulary's control tokens.
#[derive(Debug, Clone)]
pub(crate) struct ControlNames {
    added: AddedVocabulary,
    normalizer: Option<NormalizerWrapper>,
    ids: HashSet<u32>,
    /// The ids among them that are marks around thoughts.
    marks: HashSet<u32>,
    /// Sorted.
    names: Vec<String>,
    /// Length of the longest name in bytes.
    longest: usize,
}

impl ControlNames {
    pub(crate) fn of(tokenizer: &tokenizers::Tokenizer) -> Self {
        let added = tokenizer.get_added_vocabulary().clone();
        let control = added.get_added_tokens_decoder().iter().filter(|(_, token)| token.special);
        let (ids, mut names): (HashSet<u32>, Vec<String>) =
            control.map(|(&id, token)| (id, token.content.clone())).unzip();
        names.sort_unstable();
        let longest = names.iter().map(String::len).max().unwrap_or(0);
        let is_mark = |id: &&u32| {
            added.get_added_tokens_decoder().get(id).is_some_and(|t| is_mark(&t.content))
        };
        let marks = ids.iter().filter(is_mark).copied().collect();
        let normalizer = tokenizer.get_normalizer().cloned();
        ControlNames { added, normalizer, ids, marks, names, longest }
    }

    /// Returns the text with every name in it broken, and every beginning of a name at its end, which the rest of the
    /// prompt could complete. In text by a model, marks around thoughts count as marks and are left alone.
    pub(crate) fn as_letters<'a>(&self, text: &'a str, by_model: bool) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for _ in 0..PASSES {
            let places = self.whole(&text, by_model);
            if places.is_empty() {
                break;
            }
            text = Cow::Owned(broken(&text, &places));
        }
        let places = self.begun(&text);
        if places.is_empty() { text } else { Cow::Owned(broken(&text, &places)) }
    }

    /// Returns the places after the first character of every name.
    fn whole(&self, text: &str, by_model: bool) -> Vec<usize> {
        let found = self.added.extract_and_normalize(self.normalizer.as_ref(), text);
        let splits = found.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let places = splits.into_iter().filter_map(|(_, (start, end), tokens)| {
            let id = tokens.as_ref()?.first()?.id;
            if !self.ids.contains(&id) || by_model && self.marks.contains(&id) {
                return None;
            }
            // Some tokens include the white space around them.
            let (start, first) = text
                .get(start..end)?
                .char_indices()
                .find_map(|(at, c)| (!c.is_whitespace()).then_some((start + at, c)))?;
            Some(start + first.len_utf8())
        });
        places.collect()
    }

    /// Returns the places after the first character of every end of the text that is the beginning of a name.
    fn begun(&self, text: &str) -> Vec<usize> {
        // A template may trim the text.
        let text = text.trim_end();
        let near = text.char_indices().rev().take_while(|(at, _)| text.len() - at < self.longest);
        let begun = near.filter(|&(at, _)| {
            let end = &text[at..];
            let next = self.names.partition_point(|name| name.as_str() < end);
            self.names.get(next).is_some_and(|name| name.starts_with(end))
        });
        let mut places: Vec<usize> = begun.map(|(at, first)| at + first.len_utf8()).collect();
        places.reverse();
        places
    }
}

fn broken(text: &str, places: &[usize]) -> String {
    let mut broken = String::with_capacity(text.len() + places.len() * BREAK.len_utf8());
    let mut from = 0;
    for &place in places {
        broken.push_str(&text[from..place]);
        broken.push(BREAK);
        from = place;
    }
    broken.push_str(&text[from..]);
    broken
}
