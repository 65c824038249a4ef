//! The pieces in which a proposal arrived, as a journal records them: numbers only, since their text is the answer's.

use serde::{Deserialize, Serialize};

/// The pieces of a proposal, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Lists", into = "Lists")]
pub struct DeltaLog(Vec<LoggedDelta>);

/// A piece of a proposal; times and positions are relative to the whole proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedDelta {
    /// When it arrived, in microseconds since the ask.
    pub at_us: u64,
    /// Where it ends, in bytes.
    pub end: u64,
    /// How many tokens it has.
    pub tokens: u32,
    /// How many of the proposal's first bytes no rule could cut any more.
    pub settled: u64,
}

impl FromIterator<LoggedDelta> for DeltaLog {
    fn from_iter<I: IntoIterator<Item = LoggedDelta>>(deltas: I) -> Self {
        DeltaLog(deltas.into_iter().collect())
    }
}

impl DeltaLog {
    /// Returns whether there are no pieces.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the pieces, in order.
    pub fn iter(&self) -> impl Iterator<Item = LoggedDelta> {
        self.0.iter().copied()
    }
}

/// The form in a journal. It is compact, since there is a piece for nearly every token: one list per number, most
/// numbers have one to five digits, and a list is left out if all pieces have the default.
#[derive(Serialize, Deserialize)]
struct Lists {
    /// Time since the previous piece, for the first one since the ask, in microseconds.
    us: Vec<u64>,
    /// Bytes of text.
    bytes: Vec<u64>,
    /// Tokens; left out if every piece has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<u32>,
    /// Bytes at the end of the text so far that a rule may still cut; left out if there never are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unsettled: Vec<u64>,
}

impl From<DeltaLog> for Lists {
    fn from(DeltaLog(deltas): DeltaLog) -> Self {
        let before = |index: usize| match index.checked_sub(1).map(|before| deltas[before]) {
            Some(LoggedDelta { at_us, end, .. }) => (at_us, end),
            None => (0, 0),
        };
        let since = deltas.iter().enumerate().map(|(index, delta)| {
            let (at_us, end) = before(index);
            (delta.at_us.saturating_sub(at_us), delta.end.saturating_sub(end))
        });
        let (us, bytes) = since.unzip();
        let mut tokens: Vec<u32> = deltas.iter().map(|delta| delta.tokens).collect();
        let unsettled = |delta: &LoggedDelta| delta.end.saturating_sub(delta.settled);
        let mut unsettled: Vec<u64> = deltas.iter().map(unsettled).collect();
        if tokens.iter().all(|tokens| *tokens == 1) {
            tokens.clear();
        }
        if unsettled.iter().all(|bytes| *bytes == 0) {
            unsettled.clear();
        }
        Lists { us, bytes, tokens, unsettled }
    }
}

impl From<Lists> for DeltaLog {
    fn from(Lists { us, bytes, tokens, unsettled }: Lists) -> Self {
        let (mut at_us, mut end) = (0_u64, 0_u64);
        let deltas = us.iter().zip(&bytes).enumerate().map(|(index, (us, bytes))| {
            (at_us, end) = (at_us.saturating_add(*us), end.saturating_add(*bytes));
            let tokens = tokens.get(index).copied().unwrap_or(1);
            let unsettled = unsettled.get(index).copied().unwrap_or(0);
            LoggedDelta { at_us, end, tokens, settled: end.saturating_sub(unsettled) }
        });
        deltas.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(at_us: u64, end: u64, tokens: u32, settled: u64) -> LoggedDelta {
        LoggedDelta { at_us, end, tokens, settled }
    }

    #[test]
    fn pieces_are_the_same_again() {
        let deltas = [delta(900, 4, 1, 4), delta(900, 6, 2, 4), delta(1_000, 9, 1, 9)];
        let log: DeltaLog = deltas.into_iter().collect();
        let lists = Lists::from(log.clone());
        assert_eq!((&lists.us[..], &lists.bytes[..]), (&[900, 0, 100][..], &[4, 2, 3][..]));
        assert_eq!(DeltaLog::from(lists), log);
        assert!(!log.is_empty() && DeltaLog::default().is_empty());
    }

    #[test]
    fn what_is_the_same_of_all_is_left_out() {
        let log: DeltaLog = (1..=3).map(|n| delta(50 * n, 4 * n, 1, 4 * n)).collect();
        let lists = Lists::from(log.clone());
        assert_eq!((lists.tokens.len(), lists.unsettled.len()), (0, 0));
        assert_eq!(DeltaLog::from(lists), log);
    }
}
