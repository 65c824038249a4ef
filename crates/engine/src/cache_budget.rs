//! How much memory an engine's caches may take, and the longest session that fits in it. Pure: the usable memory and
//! the size of a block are inputs.

use crate::{
    error::LoadError,
    memory::{UsableMemory, in_words},
    model::BLOCK,
};

/// The part of usable memory that caches leave for computing when they were asked to take all of it: one in this many.
const COMPUTING_SHARE: u64 = 8;

/// What caches may take. There is room for at least one session of `context_tokens`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CacheBudget {
    /// In bytes; never more than is usable.
    pub(crate) bytes: u64,
    /// The longest session, in tokens.
    pub(crate) context_tokens: usize,
    /// A line on what is less than was asked for, if anything is.
    pub(crate) note: Option<String>,
}

/// What a model needs, and what was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheDemand {
    /// Memory that a block of [`BLOCK`] tokens takes, in bytes.
    pub(crate) block_bytes: u64,
    /// The model's own context, in tokens.
    pub(crate) model_context_tokens: usize,
    pub(crate) max_sessions: usize,
    /// The longest session asked for, in tokens.
    pub(crate) context_tokens: Option<usize>,
    /// The memory asked for, in bytes.
    pub(crate) memory_bytes: Option<u64>,
}

/// Divides up the usable memory; `None` means that any amount is usable. A context that nobody asked for is cut to what
/// fits.
///
/// # Errors
/// If what was asked for does not fit, or nothing does.
pub(crate) fn cache_budget(
    demand: &CacheDemand,
    usable: Option<&UsableMemory>,
) -> Result<CacheBudget, LoadError> {
    let CacheDemand { block_bytes, model_context_tokens, max_sessions, .. } = *demand;
    let context =
        demand.context_tokens.map_or(model_context_tokens, |n| n.min(model_context_tokens));
    let session = session_bytes(context, block_bytes);
    let most = usable.map_or(u64::MAX, |usable| usable.bytes);
    if let Some(asked) = demand.memory_bytes.filter(|asked| *asked < session) {
        return Err(LoadError::Options(format!(
            "{} of memory for caches is too little: one session of {context} tokens takes {}; \
             allow more or shorten the context",
            in_words(asked),
            in_words(session),
        )));
    }
    let bytes = match demand.memory_bytes {
        Some(asked) => asked.min(most - most / COMPUTING_SHARE),
        None => session.saturating_mul(max_sessions as u64).min(most / 2),
    };
    let of_usable = usable.map(|usable| format!(" of the {usable}")).unwrap_or_default();
    let caches = format!("caches may take {}{of_usable}", in_words(bytes));
    if session <= bytes {
        let asked = demand.memory_bytes.filter(|asked| *asked > bytes);
        let note = asked.map(|asked| format!("{caches}, not the {} asked for", in_words(asked)));
        return Ok(CacheBudget { bytes, context_tokens: context, note });
    }
    let fits = usize::try_from((bytes / block_bytes).saturating_sub(1)).unwrap_or(usize::MAX);
    let fits = fits.saturating_mul(BLOCK);
    let too_large = |tokens, remedy: String| LoadError::SessionTooLarge {
        tokens,
        needed: in_words(session_bytes(tokens, block_bytes)),
        caches: caches.clone(),
        remedy,
    };
    if fits == 0 {
        return Err(too_large(BLOCK, "free some or use a smaller model".to_owned()));
    }
    if demand.context_tokens.is_some() {
        let remedy = format!("free some or shorten the context to {fits} tokens");
        return Err(too_large(context, remedy));
    }
    let note = format!(
        "the context is cut from {context} tokens to {fits}: {caches}, and a session of {context} tokens takes {}",
        in_words(session)
    );
    Ok(CacheBudget { bytes, context_tokens: fits, note: Some(note) })
}

/// Returns what one session takes at most, in bytes.
fn session_bytes(tokens: usize, block_bytes: u64) -> u64 {
    // One block more: a sequence that is cut back within a shared block copies it.
    (tokens.div_ceil(BLOCK) as u64).saturating_add(1).saturating_mul(block_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryLimit;

    const KIB: u64 = 1024;

    fn budget(demand: CacheDemand, usable: Option<u64>) -> Result<CacheBudget, String> {
        let usable = usable.map(|bytes| UsableMemory { bytes, limit: MemoryLimit::Machine });
        cache_budget(&demand, usable.as_ref()).map_err(|why| why.to_string())
    }

    /// Four sessions of a model with a context of 320 tokens, which is ten blocks of a KiB.
    fn asking(context_tokens: Option<usize>, memory_bytes: Option<u64>) -> CacheDemand {
        CacheDemand {
            block_bytes: KIB,
            model_context_tokens: 320,
            max_sessions: 4,
            context_tokens,
            memory_bytes,
        }
    }

    fn is(bytes: u64, context_tokens: usize) -> CacheBudget {
        CacheBudget { bytes, context_tokens, note: None }
    }

    #[test]
    fn caches_take_what_all_sessions_need_and_at_most_half_of_what_may_be_used() {
        assert_eq!(budget(asking(None, None), None), Ok(is(4 * 11 * KIB, 320)));
        assert_eq!(budget(asking(None, None), Some(1 << 30)), Ok(is(4 * 11 * KIB, 320)));
        assert_eq!(budget(asking(None, None), Some(60 * KIB)), Ok(is(30 * KIB, 320)));
        assert_eq!(budget(asking(Some(64), None), Some(60 * KIB)), Ok(is(12 * KIB, 64)));
        assert_eq!(budget(asking(Some(9999), None), Some(60 * KIB)), Ok(is(30 * KIB, 320)));
    }

    #[test]
    fn a_context_that_nobody_asked_for_is_cut_to_what_fits() {
        for left in [4, 5, 6, 7, 20, 21] {
            let budget = budget(asking(None, None), Some(left * KIB)).unwrap();
            assert!(budget.bytes <= left * KIB / 2, "{left}: {budget:?}");
            assert_eq!(budget.context_tokens as u64, 32 * (left / 2 - 1), "{left}");
            assert!(session_bytes(budget.context_tokens, KIB) <= budget.bytes);
        }
        let note = budget(asking(None, None), Some(20 * KIB)).unwrap().note.unwrap();
        let expected = "the context is cut from 320 tokens to 288: caches may take 10.0 KiB of the 20.0 KiB left in \
                        the machine, and a session of 320 tokens takes 11.0 KiB";
        assert_eq!(note, expected);
    }

    #[test]
    fn what_was_asked_for_and_does_not_fit_is_refused() {
        let line = budget(asking(Some(256), None), Some(10 * KIB)).unwrap_err();
        let expected = "a session of 256 tokens takes 9.0 KiB of memory for its cache, and caches may take 5.0 KiB of \
                        the 10.0 KiB left in the machine; free some or shorten the context to 128 tokens";
        assert_eq!(line, expected);
        let line = budget(asking(None, None), Some(3 * KIB)).unwrap_err();
        assert!(line.starts_with("a session of 32 tokens takes 2.0 KiB of memory "), "{line}");
        assert!(line.ends_with("; free some or use a smaller model"), "{line}");
        let line = budget(asking(None, Some(10 * KIB)), None).unwrap_err();
        assert!(line.starts_with("10.0 KiB of memory for caches is too little: "), "{line}");
    }

    #[test]
    fn nobody_can_ask_for_more_than_may_be_used() {
        let budget = |kib: u64, left: u64| budget(asking(None, Some(kib * KIB)), Some(left * KIB));
        assert_eq!(budget(50, 60), Ok(is(50 * KIB, 320)));
        assert_eq!(budget(50, u64::MAX / KIB), Ok(is(50 * KIB, 320)));
        let less = budget(1 << 30, 60).unwrap();
        assert_eq!((less.bytes, less.context_tokens), (105 * KIB / 2, 320));
        let note = "caches may take 52.5 KiB of the 60.0 KiB left in the machine, not the 1.0 TiB asked for";
        assert_eq!(less.note.as_deref(), Some(note));
        assert_eq!(budget(1 << 30, 9).unwrap().context_tokens, 192);
    }
}
