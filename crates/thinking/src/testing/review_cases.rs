//! The cases of the conformance kit about reviews and cuts, for Thinkers that support them ([`ModelCard::can_review`]).
//!
//! [`ModelCard::can_review`]: crate::thinker::ModelCard::can_review

use super::{
    case::{Case, KitSettings, Outcome},
    cases::cases,
    talk::{Talk, ensure},
};
use crate::thinker::{
    Append, Code, Command, Cut, Event, FinishReason, Objection, Review, TextEnd, Thinker, Warmed,
};

/// Returns every case about reviews.
pub(super) fn all() -> Vec<Case> {
    cases![
        the_card_says_whether_it_reviews,
        verdicts_depend_on_the_text_alone,
        an_objection_waits_for_its_cut,
        a_cut_is_answered_before_what_follows_is_judged,
        what_is_accepted_is_not_judged_again,
        the_end_is_judged_once_its_text_is,
        nothing_within_the_gap_is_objected_to,
        exempt_text_stands,
        text_before_the_first_byte_is_not_judged,
        a_cut_forgets_own_text_and_that_of_others,
        a_cut_beyond_the_text_is_refused,
        accepting_nothing_is_refused,
        a_gap_below_zero_is_refused,
    ]
}

const TEXT: &str = "First, 7 times 8 is 54.\n\nWait, let us see: é 数学 🙂 and so on.";
const STRICTEST: Review = Review { gap: 0.0, from_byte: 0, skip_openings: false, draw: None };

/// Opens a session that reviews; `None` if the Thinker cannot.
async fn reviewing<'a>(
    t: &dyn Thinker,
    s: &'a KitSettings,
    committed: &str,
    review: Review,
) -> Result<Option<Talk<'a>>, String> {
    let (talk, opened) = Talk::opened(t, s, committed).await?;
    if !opened.card.can_review {
        return Ok(None);
    }
    drop(talk);
    let talk = Talk::reviewing(t, s, committed, review).await?;
    Ok(Some(talk))
}

impl Talk<'_> {
    /// Appends another writer's text. Returns the objection that came before its `Warmed`, if any.
    async fn judged(&mut self, append: Append) -> Result<(Option<Objection>, Warmed), String> {
        self.committed.push_str(&append.text);
        self.send(Command::Append(append)).await?;
        let mut objection = None;
        loop {
            match self.next().await? {
                Some(Event::Objection(it)) if objection.is_none() => {
                    objection = Some(self.sound(*it)?);
                }
                Some(Event::Warmed(warmed)) => {
                    self.hold(&warmed)?;
                    return Ok((objection, warmed));
                }
                other => return Err(format!("expected Objection or Warmed, came {other:?}")),
            }
        }
    }

    /// Checks what must hold for any objection.
    fn sound(&self, objection: Objection) -> Result<Objection, String> {
        let Objection { at_byte, bytes, gap, log_p, instead, tokens, .. } = &objection;
        let (at, end) = (*at_byte as usize, *at_byte as usize + *bytes as usize);
        let is_sound = self.committed.is_char_boundary(at)
            && self.committed.is_char_boundary(end)
            && *gap >= 0.0
            && *log_p <= 0.0
            && instead.as_ref().is_none_or(|it| !it.is_empty() && *tokens > 0);
        ensure(is_sound, || format!("to {:?} came {objection:?}", self.committed))?;
        Ok(objection)
    }

    async fn cut(&mut self, bytes: usize, accepted: Option<&str>) -> Result<Warmed, String> {
        let cut = Cut { bytes: bytes as u64, accept: accepted.is_some() };
        self.send(Command::Cut(cut)).await?;
        self.committed.truncate(bytes);
        self.committed.push_str(accepted.unwrap_or_default());
        self.read_warmed().await
    }

    /// Returns the first objection to a text that comes in these pieces and ends there.
    async fn first_objection<'t>(
        &mut self,
        pieces: impl Iterator<Item = &'t str>,
    ) -> Result<Option<Objection>, String> {
        let mut first = None;
        for piece in pieces {
            let (objection, _) = self.judged(Append::text(piece)).await?;
            first = first.or(objection);
        }
        let last = Append { end: TextEnd::Stretch, ..Append::default() };
        let (objection, warmed) = self.judged(last).await?;
        first = first.or(objection);
        let expected = first.as_ref().map_or(self.committed.len() as u64, |it| it.at_byte);
        ensure(warmed.reviewed_bytes == expected, || {
            format!("{first:?} was objected to, and the review reaches {}", warmed.reviewed_bytes)
        })?;
        Ok(first)
    }
}

async fn the_card_says_whether_it_reviews(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (_, opened) = Talk::opened(t, s, "").await?;
    ensure(opened.card.can_review == s.reviews, || format!("it says {}", opened.card.can_review))
}

async fn verdicts_depend_on_the_text_alone(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    for (gap, draw) in [(0.0, None), (1.5, None), (3.0, None), (0.0, Some(7)), (1.5, Some(8))] {
        for from_byte in [0, 9, 27] {
            let review = Review { gap, from_byte, draw, ..STRICTEST };
            let Some(mut whole) = reviewing(t, s, "", review).await? else { return Ok(()) };
            let expected = whole.first_objection([TEXT].into_iter()).await?;
            for chars in [1, 3, 10] {
                let Some(mut talk) = reviewing(t, s, "", review).await? else { return Ok(()) };
                let edges: Vec<usize> = TEXT.char_indices().map(|(at, _)| at).collect();
                let starts: Vec<usize> = edges.chunks(chars).map(|chunk| chunk[0]).collect();
                let ends = starts.iter().skip(1).copied().chain([TEXT.len()]);
                let pieces = starts.iter().zip(ends).map(|(start, end)| &TEXT[*start..end]);
                let found = talk.first_objection(pieces).await?;
                let essence = |it: &Option<Objection>| {
                    it.as_ref().map(|it| (it.at_byte, it.bytes, it.instead.clone()))
                };
                let difference =
                    found.iter().zip(&expected).map(|(a, b)| (a.gap - b.gap).abs()).next();
                let is_same = essence(&found) == essence(&expected)
                    && difference.unwrap_or(0.0) <= s.gap_tolerance;
                ensure(is_same, || {
                    format!("in pieces of {chars} came {found:?}, in one {expected:?}")
                })?;
            }
        }
    }
    Ok(())
}

/// Opens a session and gets an objection. `None` if there is none, or if it would end the answer.
async fn objecting<'a>(
    t: &dyn Thinker,
    s: &'a KitSettings,
) -> Result<Option<(Talk<'a>, Objection, String)>, String> {
    for text in [TEXT, "Zebras hum.", " 7 7 7 7 7 7"] {
        let Some(mut talk) = reviewing(t, s, "", STRICTEST).await? else { return Ok(None) };
        if let Some(objection) = talk.first_objection([text].into_iter()).await?
            && let Some(instead) = objection.instead.clone()
        {
            return Ok(Some((talk, objection, instead)));
        }
    }
    Ok(None)
}

async fn an_objection_waits_for_its_cut(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let Some((mut talk, objection, instead)) = objecting(t, s).await? else { return Ok(()) };
    let (second, warmed) = talk.judged(Append::text(" and more")).await?;
    ensure(second.is_none() && warmed.prefill_tokens == 0, || {
        format!("before the cut nothing is computed, came {second:?}, {warmed:?}")
    })?;
    let proposal = talk.propose(talk.ask(1)).await?;
    let is_none = proposal.text.is_empty() && proposal.finished.reason == FinishReason::Cancelled;
    ensure(is_none, || format!("before the cut nothing is written, came {proposal:?}"))?;
    talk.commit("").await?;
    let at = objection.at_byte as usize;
    talk.cut(at, Some(&instead)).await?;
    let proposal = talk.propose(talk.ask(1)).await?;
    ensure(proposal.finished.reason != FinishReason::Cancelled, || {
        "it does not continue after the cut".to_owned()
    })?;
    Ok(())
}

async fn a_cut_is_answered_before_what_follows_is_judged(
    t: &dyn Thinker,
    s: &KitSettings,
) -> Outcome {
    let Some((mut talk, objection, _)) = objecting(t, s).await? else { return Ok(()) };
    let at = objection.at_byte as usize;
    talk.send(Command::Cut(Cut { bytes: at as u64, accept: false })).await?;
    talk.send(Command::Append(Append { end: TextEnd::Stretch, ..Append::text(" zebra") })).await?;
    talk.committed.truncate(at);
    talk.read_warmed().await?;
    talk.committed.push_str(" zebra");
    loop {
        match talk.next().await? {
            Some(Event::Objection(it)) => drop(talk.sound(*it)?),
            Some(Event::Warmed(warmed)) => return talk.hold(&warmed),
            other => return Err(format!("expected Objection or Warmed, came {other:?}")),
        }
    }
}

async fn what_is_accepted_is_not_judged_again(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let Some((mut talk, mut objection, mut instead)) = objecting(t, s).await? else {
        return Ok(());
    };
    for _ in 0..s.proposal_tokens {
        let at = objection.at_byte as usize;
        talk.cut(at, Some(&instead)).await?;
        let end = talk.committed.len() as u64;
        let found = talk.first_objection([" what others write"].into_iter()).await?;
        let Some(next) = found else { return Ok(()) };
        ensure(next.at_byte >= end, || format!("{next:?} is to its own text before {end}"))?;
        let Some(text) = next.instead.clone() else { return Ok(()) };
        (objection, instead) = (next, text);
    }
    Ok(())
}

async fn the_end_is_judged_once_its_text_is(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let review = Review { from_byte: TEXT.len() as u64, ..STRICTEST };
    let Some(mut talk) = reviewing(t, s, "", review).await? else { return Ok(()) };
    let append = Append { end: TextEnd::Answer, ..Append::text(TEXT) };
    let (objection, warmed) = talk.judged(append).await?;
    let is_to_end = |it: &Objection| it.at_byte == TEXT.len() as u64 && it.bytes == 0;
    ensure(objection.as_ref().is_none_or(is_to_end), || format!("came {objection:?}"))?;
    ensure(warmed.reviewed_bytes == TEXT.len() as u64, || format!("came {warmed:?}"))
}

async fn nothing_within_the_gap_is_objected_to(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let review = Review { gap: f32::MAX, ..STRICTEST };
    let Some(mut talk) = reviewing(t, s, "", review).await? else { return Ok(()) };
    let append = Append { end: TextEnd::Answer, ..Append::text(TEXT) };
    let (objection, _) = talk.judged(append).await?;
    ensure(objection.is_none(), || format!("came {objection:?}"))?;
    let found = talk.first_objection([" more"].into_iter()).await?;
    ensure(found.is_none(), || format!("came {found:?}"))
}

async fn exempt_text_stands(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let Some(mut talk) = reviewing(t, s, "", STRICTEST).await? else { return Ok(()) };
    let append = Append { exempt: true, end: TextEnd::Stretch, ..Append::text(TEXT) };
    let (objection, warmed) = talk.judged(append).await?;
    let is_passed = objection.is_none() && warmed.reviewed_bytes == TEXT.len() as u64;
    ensure(is_passed, || format!("came {objection:?}, {warmed:?}"))
}

async fn text_before_the_first_byte_is_not_judged(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let review = Review { from_byte: TEXT.len() as u64, ..STRICTEST };
    let Some(mut talk) = reviewing(t, s, TEXT, review).await? else { return Ok(()) };
    let found = talk.first_objection([" and more"].into_iter()).await?;
    let is_behind = found.as_ref().is_none_or(|it| it.at_byte >= TEXT.len() as u64);
    ensure(is_behind, || format!("came {found:?}"))
}

async fn a_cut_forgets_own_text_and_that_of_others(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let review = Review { gap: f32::MAX, ..STRICTEST };
    let Some(mut talk) = reviewing(t, s, "So", review).await? else { return Ok(()) };
    talk.append(TEXT).await?;
    let proposal = talk.propose(talk.ask(3)).await?;
    talk.commit(&proposal.text).await?;
    talk.append(" and 数学 too").await?;
    let before_own = 2 + TEXT.len();
    let in_own = proposal.text.char_indices().nth(1).map_or(0, |(at, _)| at);
    for place in [before_own + proposal.text.len() + 5, before_own + in_own, 2 + 9, 1, 0] {
        talk.cut(place, None).await?;
        let mut other = Talk::opened(t, s, &talk.committed).await?.0;
        let again = talk.propose(talk.ask(5)).await?;
        talk.commit("").await?;
        if s.exact_resume {
            let expected = other.propose(other.ask(5)).await?;
            ensure(again.text == expected.text, || {
                format!("cut to {place} it writes {:?}, not {:?}", again.text, expected.text)
            })?;
        }
    }
    talk.append("done").await.map(|_| ())
}

async fn a_cut_beyond_the_text_is_refused(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    for (text, bytes) in [("ab", 3), ("é", 1)] {
        let Some(mut talk) = reviewing(t, s, text, STRICTEST).await? else { return Ok(()) };
        talk.send(Command::Cut(Cut { bytes, accept: false })).await?;
        talk.read_failed(Code::InvalidArgument).await?;
    }
    Ok(())
}

async fn accepting_nothing_is_refused(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let Some(mut talk) = reviewing(t, s, "ab", STRICTEST).await? else { return Ok(()) };
    talk.send(Command::Cut(Cut { bytes: 1, accept: true })).await?;
    talk.read_failed(Code::InvalidArgument).await.map(|_| ())
}

async fn a_gap_below_zero_is_refused(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    for gap in [-1.0, f32::NAN, f32::INFINITY] {
        let (_, opened) = Talk::opened(t, s, "").await?;
        if !opened.card.can_review {
            return Ok(());
        }
        let mut talk = Talk::new(t, s);
        talk.send(talk.open_reviewing("", Review { gap, ..STRICTEST })).await?;
        talk.read_failed(Code::InvalidArgument).await?;
    }
    Ok(())
}
