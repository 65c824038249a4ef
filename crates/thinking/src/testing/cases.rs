//! The cases of the conformance kit, one function each.

use std::time::Duration;

use super::{
    case::{Case, KitSettings, Outcome},
    talk::{Talk, ensure},
};
use crate::{
    thinker::{Append, Code, Command, Event, FinishReason, Propose, Thinker},
    trigger::{Matcher, Phrase, TriggerKind, Watch},
};

/// Builds the list of [`Case`]s with these names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        vec![$(Case { name: stringify!($name), run: |t, s| Box::pin($name(t, s)) }),*]
    };
}

pub(super) use cases;

/// Returns every case except those about reviews and entropies.
pub(super) fn all() -> Vec<Case> {
    cases![
        open_is_answered_by_opened_then_warmed,
        open_takes_up_committed_text,
        append_is_answered_by_warmed_with_bytes_and_hash,
        empty_append_is_warmed,
        proposal_keeps_max_tokens,
        commit_keeps_a_part_nothing_or_all,
        commit_and_propose_travel_together,
        queued_appends_are_each_warmed,
        same_seed_gives_same_text_after_commit_of_nothing,
        same_seed_gives_same_text_in_another_session,
        appended_text_counts_as_committed_text,
        own_text_reopened_goes_on_alike,
        stop_text_ends_at_its_token,
        trigger_watch_ends_where_the_matcher_matches,
        cancel_ends_the_proposal_and_keeps_the_session,
        cancel_elsewhere_does_nothing,
        cancel_commit_append_and_propose_travel_together,
        deadline_ends_a_proposal,
        deadline_of_zero_is_kept,
        propose_before_open_is_refused,
        second_open_is_refused,
        append_while_a_proposal_is_open_is_refused,
        propose_while_a_proposal_is_open_is_refused,
        commit_without_a_proposal_is_refused,
        commit_beyond_the_proposal_is_refused,
        commit_inside_a_character_is_refused,
        propose_of_no_tokens_is_refused,
        half_close_completes_queued_commands,
        dropped_session_stops_and_leaves_others_alone,
        sessions_do_not_mix,
    ]
}

const FOREIGN: &str = "First, 7 times 8.\n\nLet us see: é 数学 🙂";

/// Returns the longest start of `text` with at most `bytes` bytes.
fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

async fn open_is_answered_by_opened_then_warmed(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (_, opened) = Talk::opened(t, s, "").await?;
    ensure(opened.prompt_tokens > 0, || "a prompt has tokens, Opened reports 0".into())?;
    ensure(opened.card.context_tokens > opened.prompt_tokens, || {
        format!("the context must hold more than the prompt: {opened:?}")
    })
}

async fn open_takes_up_committed_text(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, FOREIGN).await?;
    let proposal = talk.propose(talk.ask(1)).await?;
    talk.commit(&proposal.text).await.map(drop)
}

async fn append_is_answered_by_warmed_with_bytes_and_hash(
    t: &dyn Thinker,
    s: &KitSettings,
) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    let warmed = talk.append(FOREIGN).await?;
    ensure(warmed.tokens > 0, || format!("appended text has tokens: {warmed:?}"))?;
    talk.append("\n").await?;
    talk.append("\n").await?;
    talk.append("So").await.map(drop)
}

async fn empty_append_is_warmed(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    talk.append("").await?;
    talk.append("Then").await?;
    talk.append("").await?;
    talk.propose(talk.ask(1)).await.map(drop)
}

async fn proposal_keeps_max_tokens(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    for max_tokens in [1, 2, s.proposal_tokens] {
        let proposal = talk.propose(Propose { max_tokens, ..talk.ask(2) }).await?;
        let finished = &proposal.finished;
        let spent = finished.tokens == max_tokens;
        let right = match finished.reason {
            FinishReason::MaxTokens => spent,
            FinishReason::EndOfText | FinishReason::ContextFull => true,
            _ => false,
        };
        ensure(right, || format!("asked for {max_tokens} tokens, got {finished:?}"))?;
        talk.commit("").await?;
    }
    Ok(())
}

async fn commit_keeps_a_part_nothing_or_all(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    for (seed, percent) in [(3, 50), (4, 0), (5, 100), (6, 10)] {
        let text = talk.propose(Propose { max_tokens: s.proposal_tokens / 2, ..talk.ask(seed) });
        let text = text.await?.text;
        talk.commit(beginning(&text, text.len() * percent / 100)).await?;
    }
    Ok(())
}

async fn commit_and_propose_travel_together(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    let ask = Propose { max_tokens: s.proposal_tokens / 2, ..talk.ask(7) };
    let first = talk.propose(ask.clone()).await?;
    let kept = beginning(&first.text, first.text.len() / 2).to_owned();
    talk.send(Command::Commit { bytes: kept.len() as u64 }).await?;
    talk.send(Command::Propose(ask.clone())).await?;
    talk.committed.push_str(&kept);
    talk.read_warmed().await?;
    let second = talk.read_proposal(ask.max_tokens).await?;
    talk.commit(&second.text).await.map(drop)
}

async fn queued_appends_are_each_warmed(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    let parts = ["One ", "word", " af", "ter\n", "\n", "the other", " 数", "学"];
    for part in parts {
        talk.send(Command::Append(Append::text(part))).await?;
    }
    for part in parts {
        talk.committed.push_str(part);
        talk.read_warmed().await?;
    }
    talk.propose(talk.ask(1)).await.map(drop)
}

async fn same_seed_gives_same_text_after_commit_of_nothing(
    t: &dyn Thinker,
    s: &KitSettings,
) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    let first = talk.propose(talk.ask(8)).await?.text;
    talk.commit("").await?;
    talk.propose(talk.ask(9)).await?;
    talk.commit("").await?;
    let again = talk.propose(talk.ask(8)).await?.text;
    ensure(first == again, || format!("first {first:?}, then with the same seed {again:?}"))
}

async fn same_seed_gives_same_text_in_another_session(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut one, _) = Talk::opened(t, s, FOREIGN).await?;
    let first = one.propose(one.ask(10)).await?.text;
    one.drop_session();
    let (mut two, _) = Talk::opened(t, s, FOREIGN).await?;
    let again = two.propose(two.ask(10)).await?.text;
    ensure(first == again, || format!("first {first:?}, re-opened {again:?}"))
}

async fn appended_text_counts_as_committed_text(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut one, _) = Talk::opened(t, s, FOREIGN).await?;
    let first = one.propose(one.ask(11)).await?.text;
    let (mut two, _) = Talk::opened(t, s, "").await?;
    let mut rest = FOREIGN;
    while !rest.is_empty() {
        let part = beginning(rest, 7);
        two.append(part).await?;
        rest = &rest[part.len()..];
    }
    let again = two.propose(two.ask(11)).await?.text;
    ensure(first == again, || format!("opened with the text {first:?}, appended {again:?}"))
}

async fn own_text_reopened_goes_on_alike(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut one, _) = Talk::opened(t, s, "").await?;
    let text = one.propose(one.ask(12)).await?.text;
    one.commit(&text).await?;
    let first = one.propose(one.ask(13)).await?.text;
    let (mut two, _) = Talk::opened(t, s, &text).await?;
    let again = two.propose(two.ask(13)).await?.text;
    let alike = first == again || !s.exact_resume;
    ensure(alike, || format!("continued with {first:?}, reopened with {again:?}"))
}

async fn stop_text_ends_at_its_token(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    let whole = talk.propose(talk.ask(14)).await?;
    talk.commit("").await?;
    // Two characters from the middle of the text that will be written again.
    let middle = beginning(&whole.text, whole.text.len() / 2).len();
    let stop: String = whole.text[middle..].chars().take(2).collect();
    if stop.is_empty() {
        return Ok(());
    }
    let end = whole.text.find(&stop).map_or(0, |at| at + stop.len());
    let propose = Propose { stop: vec!["\u{1}never\u{1}".into(), stop.clone()], ..talk.ask(14) };
    let stopped = talk.propose(propose).await?;
    let right = stopped.finished.reason == FinishReason::Stop { end: end as u64 };
    ensure(right, || format!("{stop:?} ends at {end}, finished {:?}", stopped.finished))?;
    ensure(whole.text.starts_with(&stopped.text) && stopped.text.len() >= end, || {
        format!("without the stop text {:?}, with it {:?}", whole.text, stopped.text)
    })?;
    talk.commit(&stopped.text).await.map(drop)
}

/// Builds a watch that is likely to match in this text: a character as the break, the words after it as phrases.
fn likely_watch(text: &str) -> Watch {
    let mut places = text.char_indices().filter(|(_, c)| !c.is_alphanumeric());
    let (delimiter, after) = match places.find(|(at, _)| *at * 3 > text.len()) {
        Some((at, c)) => (c.to_string(), &text[at + c.len_utf8()..]),
        None => ("\n\n".to_owned(), ""),
    };
    let words = after.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let phrases = words
        .take(3)
        .map(|word| Phrase { kind: TriggerKind::Reflection, text: word.to_lowercase() });
    Watch {
        delimiters: vec![delimiter],
        window_chars: 80,
        phrases: phrases.collect(),
        from_next_break: false,
        until: Vec::new(),
    }
}

async fn trigger_watch_ends_where_the_matcher_matches(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    for seed in 15..19 {
        let (mut talk, _) = Talk::opened(t, s, "").await?;
        let whole = talk.propose(talk.ask(seed)).await?;
        talk.commit("").await?;
        let watch = likely_watch(&whole.text);
        let mut matcher = Matcher::new(watch.clone(), "");
        let inside = matcher.push(&whole.text);
        let at_end = matcher.finish();
        let watched = talk.propose(Propose { watch: Some(watch), ..talk.ask(seed) }).await?;
        let reason = &watched.finished.reason;
        let right = match (inside, at_end) {
            (Some(found), _) => {
                *reason == FinishReason::Trigger(found.clone())
                    && watched.text.len() as u64 >= found.end
                    && whole.text.starts_with(&watched.text)
            }
            // At a proposal's very end a phrase may count or not, since more text might follow.
            (None, Some(found)) => {
                *reason == FinishReason::Trigger(found) || *reason == whole.finished.reason
            }
            (None, None) => *reason == whole.finished.reason && watched.text == whole.text,
        };
        ensure(right, || format!("without a watch {whole:?}, with it {watched:?}"))?;
    }
    Ok(())
}

async fn cancel_ends_the_proposal_and_keeps_the_session(
    t: &dyn Thinker,
    s: &KitSettings,
) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    let max_tokens = 1 << 30;
    talk.send(Command::Propose(Propose { max_tokens, ..talk.ask(20) })).await?;
    talk.send(Command::Cancel).await?;
    let proposal = talk.read_proposal(max_tokens).await?;
    // A short text or context may end before the cancel is seen.
    let right = matches!(
        proposal.finished.reason,
        FinishReason::Cancelled | FinishReason::EndOfText | FinishReason::ContextFull
    );
    ensure(right, || format!("cancelled, finished {:?}", proposal.finished))?;
    talk.commit("").await?;
    talk.propose(talk.ask(21)).await.map(drop)
}

/// Gives up a takeover and asks for the next one without waiting for the first one's end.
async fn cancel_commit_append_and_propose_travel_together(
    t: &dyn Thinker,
    s: &KitSettings,
) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    let max_tokens = 1 << 30;
    let next = talk.ask(43);
    talk.send(Command::Propose(Propose { max_tokens, ..talk.ask(20) })).await?;
    talk.send(Command::Cancel).await?;
    talk.send(Command::Commit { bytes: 0 }).await?;
    talk.send(Command::Append(Append::text(FOREIGN))).await?;
    talk.send(Command::Propose(next.clone())).await?;
    talk.read_proposal(max_tokens).await?;
    talk.read_warmed().await?;
    talk.committed.push_str(FOREIGN);
    talk.read_warmed().await?;
    let proposal = talk.read_proposal(next.max_tokens).await?;
    talk.commit(&proposal.text).await?;
    // The abandoned proposal must have left no trace.
    let (mut other, _) = Talk::opened(t, s, FOREIGN).await?;
    let alone = other.propose(next).await?.text;
    ensure(proposal.text == alone, || {
        format!("after an abandoned proposal {:?}, in a new session {alone:?}", proposal.text)
    })
}

async fn cancel_elsewhere_does_nothing(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    talk.send(Command::Cancel).await?;
    talk.append("Then").await?;
    talk.send(Command::Cancel).await?;
    let proposal = talk.propose(talk.ask(22)).await?;
    ensure(proposal.finished.reason != FinishReason::Cancelled, || {
        "a cancel before the proposal ended it".into()
    })?;
    talk.send(Command::Cancel).await?;
    talk.commit(&proposal.text).await.map(drop)
}

/// Reads a proposal that a deadline must end, or a failure because the deadline passed before.
async fn read_deadline(mut talk: Talk<'_>, max_tokens: u32) -> Outcome {
    loop {
        match talk.next().await? {
            Some(Event::Failed(failure)) => {
                return ensure(failure.code == Code::DeadlineExceeded, || {
                    format!("the deadline passed, failed with {failure:?}")
                });
            }
            Some(Event::Finished(finished)) => {
                let right = matches!(
                    finished.reason,
                    FinishReason::Deadline | FinishReason::EndOfText | FinishReason::ContextFull
                );
                return ensure(right && finished.tokens < max_tokens, || {
                    format!("the deadline passed, finished {finished:?}")
                });
            }
            Some(_) => {}
            None => return Err("the deadline passed and the events ended without a word".into()),
        }
    }
}

async fn deadline_ends_a_proposal(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let talk = Talk::new(t, s);
    let max_tokens = 1 << 30;
    talk.send(talk.open("", Some(Duration::from_millis(300)))).await?;
    talk.send(Command::Propose(Propose { max_tokens, ..talk.ask(23) })).await?;
    read_deadline(talk, max_tokens).await
}

async fn deadline_of_zero_is_kept(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let talk = Talk::new(t, s);
    let max_tokens = 1 << 30;
    talk.send(talk.open("", Some(Duration::ZERO))).await?;
    // The session may have failed already.
    let _ = talk.send(Command::Propose(Propose { max_tokens, ..talk.ask(24) })).await;
    read_deadline(talk, max_tokens).await
}

async fn propose_before_open_is_refused(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let mut talk = Talk::new(t, s);
    talk.send(Command::Propose(talk.ask(25))).await?;
    talk.read_failed(Code::InvalidArgument).await.map(drop)
}

async fn second_open_is_refused(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    talk.send(talk.open("", None)).await?;
    talk.read_failed(Code::InvalidArgument).await.map(drop)
}

async fn append_while_a_proposal_is_open_is_refused(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    talk.propose(talk.ask(26)).await?;
    talk.send(Command::Append(Append::text("no"))).await?;
    talk.read_failed(Code::InvalidArgument).await.map(drop)
}

async fn propose_while_a_proposal_is_open_is_refused(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    talk.propose(talk.ask(27)).await?;
    talk.send(Command::Propose(talk.ask(28))).await?;
    talk.read_failed(Code::InvalidArgument).await.map(drop)
}

async fn commit_without_a_proposal_is_refused(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, FOREIGN).await?;
    talk.send(Command::Commit { bytes: 0 }).await?;
    talk.read_failed(Code::InvalidArgument).await.map(drop)
}

async fn commit_beyond_the_proposal_is_refused(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, FOREIGN).await?;
    let bytes = talk.propose(talk.ask(29)).await?.text.len() as u64 + 1;
    talk.send(Command::Commit { bytes }).await?;
    talk.read_failed(Code::InvalidArgument).await.map(drop)
}

async fn commit_inside_a_character_is_refused(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    // It is not known in advance which seed gives a character of several bytes, if any.
    for seed in 30..38 {
        let (mut talk, _) = Talk::opened(t, s, FOREIGN).await?;
        let text = talk.propose(talk.ask(seed)).await?.text;
        if let Some((at, _)) = text.char_indices().find(|(_, c)| c.len_utf8() > 1) {
            talk.send(Command::Commit { bytes: at as u64 + 1 }).await?;
            return talk.read_failed(Code::InvalidArgument).await.map(drop);
        }
    }
    Ok(())
}

async fn propose_of_no_tokens_is_refused(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    talk.send(Command::Propose(Propose { max_tokens: 0, ..talk.ask(38) })).await?;
    talk.read_failed(Code::InvalidArgument).await.map(drop)
}

async fn half_close_completes_queued_commands(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let mut talk = Talk::new(t, s);
    let ask = talk.ask(39);
    talk.send(talk.open("", None)).await?;
    talk.send(Command::Append(Append::text(FOREIGN))).await?;
    talk.send(Command::Propose(ask.clone())).await?;
    talk.send(Command::Commit { bytes: 0 }).await?;
    talk.half_close();
    talk.read_opened().await?;
    talk.read_warmed().await?;
    talk.committed.push_str(FOREIGN);
    talk.read_warmed().await?;
    talk.read_proposal(ask.max_tokens).await?;
    talk.read_warmed().await?;
    talk.read_end().await
}

async fn dropped_session_stops_and_leaves_others_alone(
    t: &dyn Thinker,
    s: &KitSettings,
) -> Outcome {
    let (mut other, _) = Talk::opened(t, s, "").await?;
    let (mut talk, _) = Talk::opened(t, s, "").await?;
    talk.send(Command::Propose(Propose { max_tokens: 1 << 30, ..talk.ask(40) })).await?;
    talk.next().await?;
    talk.drop_session();
    if let Some(computed) = &s.computed_tokens {
        let still = async {
            let (mut last, mut alike) = (computed(), 0);
            while alike < 10 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let now = computed();
                alike = if now == last { alike + 1 } else { 0 };
                last = now;
            }
        };
        let stopped = tokio::time::timeout(s.wait, still).await;
        stopped.map_err(|_| "compute continues after the session was dropped")?;
    }
    let text = other.propose(other.ask(41)).await?.text;
    other.commit(&text).await.map(drop)
}

async fn sessions_do_not_mix(t: &dyn Thinker, s: &KitSettings) -> Outcome {
    let (mut one, _) = Talk::opened(t, s, FOREIGN).await?;
    let alone = one.propose(one.ask(42)).await?.text;
    one.commit("").await?;
    let (mut two, _) = Talk::opened(t, s, "Quite another text.").await?;
    // Both proposals run at once.
    let (ask, max_tokens) = (one.ask(42), s.proposal_tokens);
    one.send(Command::Propose(ask.clone())).await?;
    two.send(Command::Propose(ask)).await?;
    two.read_proposal(max_tokens).await?;
    let beside = one.read_proposal(max_tokens).await?.text;
    ensure(alone == beside, || format!("alone {alone:?}, beside another session {beside:?}"))
}
