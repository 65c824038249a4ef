//! The transcript: the committed text of an answer as spans, each of which says who wrote it and why.
