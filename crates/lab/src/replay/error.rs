//! What cannot be replayed, and why.

/// Why a journal cannot be replayed. Each is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The answer's end is missing.
    #[error(
        "question {question:?}: its journal breaks off before the answer's end, so what is missing \
         cannot be timed; replay a run that ended"
    )]
    Incomplete {
        /// The question's id.
        question: String,
    },
    /// The answer failed or was stopped.
    #[error(
        "question {question:?}: the answer did not end by itself ({why}), so its journal lacks the \
         rest; replay a complete run"
    )]
    Stopped {
        /// The question's id.
        question: String,
        /// What ended it.
        why: String,
    },
    /// A node was lost or late, or was sent its text again.
    #[error(
        "question {question:?}: {why}: that depends on the link it was recorded over, not on the \
         answer; record it again over loopback"
    )]
    Disturbed {
        /// The question's id.
        question: String,
        /// What happened.
        why: String,
    },
    /// The whole text was sent at every takeover.
    #[error(
        "question {question:?}: the whole text was sent at every takeover, and replay follows \
         sessions; record it without --resend"
    )]
    Resent {
        /// The question's id.
        question: String,
    },
    /// Another model judged it while it was being written.
    #[error(
        "question {question:?}: the large model reviewed it while it was written, and how far ahead the small one was \
         then depends on the link; measure it live"
    )]
    Reviewed {
        /// The question's id.
        question: String,
    },
    /// The large model was asked for marks outside the answer.
    #[error(
        "question {question:?}: the large model was asked for marks outside the answer, and a journal does not hold \
         that text; measure it live"
    )]
    Scored {
        /// The question's id.
        question: String,
    },
    /// Two asks were open at a time, and neither is an overlap.
    #[error(
        "question {question:?}: ask {ask} began before the previous one was finished, and is no overlap; \
         the journal was changed, or another version wrote it: give an unchanged copy"
    )]
    Overlapping {
        /// The question's id.
        question: String,
        /// The later ask.
        ask: u32,
    },
    /// Something in it was decided by the time that a node took.
    #[error(
        "question {question:?}: {what} depended on the recorded nodes' speed, so it would end otherwise on other \
         machines; record the answer without that"
    )]
    DecidedByTime {
        /// The question's id.
        question: String,
        /// What was decided.
        what: String,
    },
    /// Its events contradict each other.
    #[error(
        "question {question:?}: {why}; the journal was changed, or another version wrote it: give an unchanged copy"
    )]
    Inconsistent {
        /// The question's id.
        question: String,
        /// Which events contradict each other.
        why: String,
    },
    /// The link resets its connections.
    #[error(
        "link {link:?} resets connections, which makes answers degrade, and replay times answers \
         that did not; leave reset out, or measure it live"
    )]
    Resets {
        /// The link.
        link: String,
    },
}
