//! The fake server's prompt cache.

use std::sync::{Mutex, PoisonError};

/// The computed texts, as tokens.
#[derive(Debug, Default)]
pub(super) struct PromptCache(Mutex<Vec<CachedText>>);

#[derive(Debug)]
struct CachedText {
    /// The slot that holds it, on a server with slots.
    slot: Option<u64>,
    tokens: Vec<u32>,
}

impl PromptCache {
    /// Returns how many of a prompt's first tokens are cached, in whole blocks; the last token never counts. Afterwards
    /// the prompt is cached; a slot holds nothing else.
    pub(super) fn compute(&self, slot: Option<u64>, prompt: &[u32], block_tokens: usize) -> usize {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alike = |text: &CachedText| {
            text.tokens.iter().zip(prompt).take_while(|(cached, wanted)| cached == wanted).count()
        };
        let found = texts.iter().filter(|text| text.slot == slot).map(alike).max().unwrap_or(0);
        texts.retain(|text| slot.is_none() || text.slot != slot);
        texts.push(CachedText { slot, tokens: prompt.to_vec() });
        found.min(prompt.len().saturating_sub(1)) / block_tokens * block_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_alike_is_cached() {
        let cache = PromptCache::default();
        assert_eq!(cache.compute(None, &[1, 2, 3, 4], 1), 0);
        assert_eq!(cache.compute(None, &[1, 2, 3, 4], 1), 3, "the last one is computed");
        assert_eq!(cache.compute(None, &[1, 2, 3, 4, 5], 4), 4);
        assert_eq!(cache.compute(None, &[1, 2, 3, 4], 4), 0);
        assert_eq!(cache.compute(Some(0), &[1, 2, 3], 1), 0, "a slot has its own");
        assert_eq!(cache.compute(Some(0), &[9], 1), 0);
        assert_eq!(cache.compute(Some(0), &[1, 2, 3], 1), 0);
    }
}
