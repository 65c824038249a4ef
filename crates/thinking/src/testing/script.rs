//! What a [`ScriptedThinker`](super::ScriptedThinker) writes, and how it counts tokens.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    draw::splitmix64,
    thinker::{Prompt, Propose, Sampling, TextHash},
};

/// The token that ends the text: it counts as a token and has no text.
pub const END_OF_TEXT: &str = "<eos>";

/// What a script can base its continuation on.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// What to answer.
    pub prompt: &'a Prompt,
    /// The committed text so far.
    pub committed: &'a str,
    /// How tokens are drawn.
    pub sampling: &'a Sampling,
    /// What was asked for.
    pub propose: &'a Propose,
}

/// The tokens of one proposal, one string each. When they run out, the text ends.
pub(crate) type Tokens = Box<dyn Iterator<Item = String> + Send>;

type Speak = dyn Fn(&Moment<'_>) -> Tokens + Send + Sync;

/// What a scripted Thinker writes.
#[derive(Clone)]
pub struct Script(Arc<Speak>);

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    /// A script that computes its tokens from the committed text and the ask.
    pub fn function<F>(function: F) -> Self
    where
        F: Fn(&str, &Propose) -> Vec<String> + Send + Sync + 'static,
    {
        Script(Arc::new(move |moment| {
            Box::new(function(moment.committed, moment.propose).into_iter())
        }))
    }

    /// A script with one list of tokens per proposal, in the order in which proposals begin in all sessions. After the
    /// last list every proposal is empty and ends the text. It ignores the committed text, so rule 6 of the contract
    /// does not hold for it.
    pub fn lists<L, T>(lists: L) -> Self
    where
        L: IntoIterator<Item = T>,
        T: IntoIterator,
        T::Item: Into<String>,
    {
        let lists: VecDeque<Vec<String>> =
            lists.into_iter().map(|tokens| tokens.into_iter().map(Into::into).collect()).collect();
        let lists = Mutex::new(lists);
        Script(Arc::new(move |_| {
            let next = lists.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            Box::new(next.unwrap_or_default().into_iter())
        }))
    }

    /// A script of one long text: every proposal continues where the committed text ends in it, cut into [`pieces`]. If
    /// the committed text is not a start of it, the proposal begins with the text's start.
    pub fn text(text: impl Into<String>) -> Self {
        let text: String = text.into();
        Script::function(move |committed, _| {
            pieces(text.strip_prefix(committed).unwrap_or(&text)).map(str::to_owned).collect()
        })
    }

    /// A script of endless words that depend only on the prompt, the committed text, the sampling and the seed:
    /// paragraphs, trigger phrases, words in several scripts. For the conformance kit.
    pub fn babble() -> Self {
        Script(Arc::new(|moment| {
            let mut hash = TextHash::of(moment.committed);
            hash.push(&format!("{:?}{:?}", moment.prompt, moment.sampling));
            let seed = hash.0 ^ moment.propose.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Box::new((0u64..).map(move |n| babbled(seed, n).to_owned()))
        }))
    }

    /// Returns the token that it would continue with for a seed; `None` ends the text.
    pub(crate) fn next_token(
        &self,
        prompt: &Prompt,
        committed: &str,
        sampling: &Sampling,
        seed: u64,
    ) -> Option<String> {
        let propose =
            &Propose { max_tokens: 1, stop: Vec::new(), watch: None, seed, report_entropy: false };
        let moment = Moment { prompt, committed, sampling, propose };
        self.tokens(&moment).next().filter(|token| token != END_OF_TEXT)
    }

    /// Returns the tokens of a proposal.
    pub(crate) fn tokens(&self, moment: &Moment<'_>) -> Tokens {
        (self.0)(moment)
    }
}

const BABBLE: [&str; 24] = [
    " the", " sum", " is", " 7", " x", ".", "\n\n", "\n\n", "\n", "Wait", ",", " Let", " me",
    " check", " Yes", " so", " 数学", " é", " 🙂", " another", " we", " have", " equals", "ly",
];

fn babbled(seed: u64, n: u64) -> &'static str {
    let draw = splitmix64(seed, n.wrapping_add(1));
    BABBLE[(draw % BABBLE.len() as u64) as usize]
}

/// Cuts text into the fake's tokens: words with one leading space, "\n\n", or single white space characters.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = if rest.starts_with("\n\n") {
            2
        } else {
            let head = first.len_utf8();
            let word_end = |from: usize| {
                rest[from..].find(char::is_whitespace).map_or(rest.len(), |at| from + at)
            };
            match (first.is_whitespace(), first) {
                (false, _) => word_end(0),
                (true, ' ') => word_end(head),
                (true, _) => head,
            }
        };
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_words_with_their_space_breaks_and_single_white_space() {
        let cut = |text| pieces(text).collect::<Vec<_>>();
        assert_eq!(cut("a bc\n\n\nd  é🙂"), ["a", " bc", "\n\n", "\n", "d", " ", " é🙂"]);
        assert_eq!(cut(""), Vec::<&str>::new());
    }
}
