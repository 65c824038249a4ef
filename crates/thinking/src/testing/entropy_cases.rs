//! The cases of the conformance kit about the entropy of paragraphs' first tokens, for Thinkers that report it
//! ([`ModelCard::can_report_entropy`]).
//!
//! [`ModelCard::can_report_entropy`]: crate::thinker::ModelCard::can_report_entropy

use super::{
    case::{Case, KitSettings, Outcome},
    cases::cases,
    talk::{Talk, ensure},
};
use crate::thinker::{Propose, Thinker};

/// Returns every case about entropies.
pub(super) fn all() -> Vec<Case> {
    cases![the_entropy_of_a_paragraphs_first_token_is_told, no_entropy_is_told_unasked,]
}

/// Committed texts, and whether a paragraph begins after each.
const TEXTS: [(&str, bool); 3] =
    [("", true), ("First, 7 times 8", false), ("Let us see.\n\n", true)];

async fn the_entropy_of_a_paragraphs_first_token_is_told(
    t: &dyn Thinker,
    s: &KitSettings,
) -> Outcome {
    for (committed, is_beginning) in TEXTS {
        let (mut talk, opened) = Talk::opened(t, s, committed).await?;
        if !opened.card.can_report_entropy {
            return Ok(());
        }
        let mut told = Vec::new();
        for seed in [1, 2] {
            let ask = Propose { report_entropy: true, ..talk.ask(seed) };
            let proposal = talk.propose(ask).await?;
            let entropies = &proposal.entropies;
            let first = entropies.first().filter(|(at, _)| *at == 0).map(|(_, entropy)| *entropy);
            // An answer may end where its first token would be.
            let is_told = first.is_some() == is_beginning || proposal.text.is_empty();
            let are_sound =
                entropies.iter().all(|(_, entropy)| entropy.is_finite() && *entropy >= 0.0);
            ensure(is_told && are_sound, || format!("after {committed:?} came {proposal:?}"))?;
            told.extend(first);
            talk.commit("").await?;
        }
        let is_one = told.windows(2).all(|pair| (pair[0] - pair[1]).abs() <= s.gap_tolerance);
        ensure(is_one, || format!("after {committed:?} it depends on the seed: {told:?}"))?;
    }
    Ok(())
}

async fn no_entropy_is_told_unasked(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    let proposal = talk.propose(talk.ask(1)).await?;
    ensure(proposal.entropies.is_empty(), || format!("came {proposal:?}"))
}
