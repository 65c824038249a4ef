//! The trigger phrases: the authors' lists, how their loop matches them, and how ours does. Their counterparts in other
//! languages are in [`super::languages`].

use serde::{Deserialize, Serialize};

use super::languages::counterparts;
use crate::trigger::{Matcher, Phrase, TriggerKind, Watch};

/// The phrases that announce an affirmation, a reflection or a verification. The field names are the authors'.
///
/// In our reading one of the authors' phrases also represents its counterparts in other languages; any other phrase
/// represents only itself. In the authors' reading every phrase represents only itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keywords {
    /// Phrases of verification.
    pub verify: Vec<String>,
    /// Phrases of reflection.
    pub negative: Vec<String>,
    /// Phrases of affirmation.
    pub positive: Vec<String>,
}

impl Default for Keywords {
    /// The authors' published lists.
    fn default() -> Self {
        let list = |words: [&str; 4]| words.map(str::to_owned).to_vec();
        Keywords {
            verify: list(["verify", "think again", "recap", "check"]),
            negative: list(["wait", "alternatively", "hold on", "another"]),
            positive: list(["yeah", "yes", "final answer", "confident"]),
        }
    }
}

/// Which way a text leans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leaning {
    /// It doubts or verifies.
    Negative,
    /// It does neither.
    Neutral,
    /// It agrees.
    Positive,
}

impl Keywords {
    /// Returns all phrases with their kinds, in all languages. Verification comes first, so it wins ties.
    pub fn phrases(&self) -> Vec<Phrase> {
        let kinds = [
            (TriggerKind::Verification, &self.verify),
            (TriggerKind::Reflection, &self.negative),
            (TriggerKind::Affirmation, &self.positive),
        ];
        kinds.into_iter().flat_map(|(kind, list)| phrases_of(kind, list)).collect()
    }

    /// Returns whether any phrase is empty.
    pub(crate) fn has_empty(&self) -> bool {
        let lists = [&self.verify, &self.negative, &self.positive];
        lists.into_iter().flatten().any(String::is_empty)
    }

    /// Returns the leaning in the authors' reading: it counts substrings of the lower-cased text. Verification counts
    /// as negative, and equal counts lean negative.
    pub(crate) fn leaning(&self, text: &str) -> Leaning {
        let text = text.to_lowercase();
        let count = |words: &[String]| -> usize {
            words.iter().map(|word| text.matches(word.as_str()).count()).sum()
        };
        let positive = count(&self.positive);
        let negative = count(&self.negative) + count(&self.verify);
        match (positive, negative) {
            (0, 0) => Leaning::Neutral,
            (positive, negative) if positive > negative => Leaning::Positive,
            _ => Leaning::Negative,
        }
    }

    /// Returns whether, in the authors' reading, a phrase of verification is a substring of the lower-cased text.
    pub(crate) fn verifies_somewhere(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.verify.iter().any(|word| text.contains(word.as_str()))
    }

    /// Returns whether, in our reading, a phrase of verification occurs anywhere in the text on word boundaries.
    pub(crate) fn verifies(&self, text: &str) -> bool {
        // One open window over the whole text applies the matcher's rules everywhere.
        let watch = Watch {
            delimiters: vec!["\n".into()],
            window_chars: u32::MAX,
            phrases: phrases_of(TriggerKind::Verification, &self.verify).collect(),
            from_next_break: false,
            until: Vec::new(),
        };
        let mut matcher = Matcher::new(watch, "\n");
        matcher.push(text).or_else(|| matcher.finish()).is_some()
    }
}

/// Returns the phrases of a list, each followed by its counterparts.
fn phrases_of(kind: TriggerKind, list: &[String]) -> impl Iterator<Item = Phrase> {
    let all = list.iter().flat_map(|text| {
        let others = counterparts(text).iter().copied();
        std::iter::once(text.as_str()).chain(others)
    });
    all.map(move |text| Phrase { kind, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_reading_counts_substrings_and_leans_negative_on_ties() {
        let keywords = Keywords::default();
        let table = [
            ("Nothing of the kind", Leaning::Neutral),
            ("", Leaning::Neutral),
            ("Yesterday", Leaning::Positive),
            ("YES, yes", Leaning::Positive),
            ("yes, but WAIT", Leaning::Negative),
            ("yes, yes, wait", Leaning::Positive),
            ("Let me recheck", Leaning::Negative),
        ];
        for (text, leaning) in table {
            assert_eq!(keywords.leaning(text), leaning, "{text:?}");
        }
        assert!(keywords.verifies_somewhere("the CHECKERBOARD"));
    }

    #[test]
    fn the_authors_phrases_have_counterparts_and_others_have_none() {
        let texts = |keywords: &Keywords| {
            keywords.phrases().into_iter().map(|phrase| phrase.text).collect::<Vec<_>>()
        };
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let keywords =
            Keywords { verify: list(&["Check"]), negative: list(&["hmm"]), positive: Vec::new() };
        let phrases = texts(&keywords);
        assert_eq!(phrases[..2], ["Check", "检查"]);
        assert_eq!(phrases.last().unwrap(), "hmm");
        let all = texts(&Keywords::default());
        assert!(
            ["等等", "ちょっと待", "잠깐", "最终答案"].iter().all(|it| all.iter().any(|p| p == it))
        );
        let unique: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
        assert!(keywords.verifies("那么，让我检查一下。"));
        assert!(!keywords.verifies_somewhere("让我检查一下。"), "the authors knew none");
    }

    #[test]
    fn our_reading_wants_words() {
        let keywords = Keywords::default();
        assert!(keywords.verifies("So, let me check"));
        assert!(keywords.verifies("First.\n\nSecond: verify it."));
        assert!(!keywords.verifies("the checkerboard is unverified"));
    }
}
