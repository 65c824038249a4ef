//! Converts between the wire's messages and the types of `thinking`.
//!
//! Every function is total: whatever a peer sends that has no meaning here becomes a typed [`Failure`] that says what
//! it was. A heartbeat becomes `None`, because it concerns only the connection. Names and reasons are made safe to show
//! on one line (`thinking::shown`); an answer's text is left as it is.

mod load;
mod review;
mod tokens;

use std::time::Duration;

use proto::v1 as wire;
use thinking::{
    shown::one_line,
    thinker::{
        Code, Command, Cut, Delta, Event, Failure, FinishReason, Finished, Load, Message,
        ModelCard, Open, Opened, Prompt, Propose, Sampling, TextHash, ThoughtStart, Timing, Warmed,
    },
    trigger::{Phrase, TriggerKind, TriggerMatch, Watch},
};

use self::load::load_from_wire;
pub(crate) use self::load::load_to_wire;
pub(crate) use self::tokens::{query_from_wire, query_to_wire, reply_from_wire, reply_to_wire};
use crate::PROTOCOL_VERSION;

/// Longer deadlines are cut to this, a year, so that adding one to a clock never overflows it.
pub(crate) const FURTHEST_DEADLINE: Duration = Duration::from_secs(365 * 24 * 3600);

/// A client's command, as it is sent on the wire.
pub(crate) fn command_to_wire(command: Command) -> wire::Command {
    use wire::command::Command as To;
    let command = match command {
        Command::Open(open) => To::Open(open_to_wire(open)),
        Command::Append(append) => To::Append(review::append_to_wire(append)),
        Command::Propose(propose) => To::Propose(propose_to_wire(propose)),
        Command::Commit { bytes } => To::Commit(wire::Commit { bytes }),
        Command::Cancel => To::Cancel(wire::Cancel {}),
        Command::Cut(Cut { bytes, accept }) => To::Cut(wire::Cut { bytes, accept }),
    };
    wire::Command { command: Some(command) }
}

/// A client's heartbeat.
pub(crate) fn client_heartbeat() -> wire::Command {
    wire::Command { command: Some(wire::command::Command::Heartbeat(wire::Heartbeat {})) }
}

/// Reads a client's command.
pub(crate) fn command_from_wire(command: wire::Command) -> Result<Option<Command>, Failure> {
    use wire::command::Command as From;
    let command = command.command.ok_or_else(|| {
        invalid(
            "the client sent a command that this node does not know; is it newer than the node?",
        )
    })?;
    Ok(Some(match command {
        From::Open(open) => Command::Open(open_from_wire(open)?),
        From::Append(append) => Command::Append(review::append_from_wire(append)?),
        From::Propose(propose) => Command::Propose(propose_from_wire(propose)?),
        From::Commit(wire::Commit { bytes }) => Command::Commit { bytes },
        From::Cancel(wire::Cancel {}) => Command::Cancel,
        From::Cut(wire::Cut { bytes, accept }) => Command::Cut(Cut { bytes, accept }),
        From::Heartbeat(wire::Heartbeat {}) => return Ok(None),
    }))
}

/// A node's event, as it is sent on the wire.
pub(crate) fn event_to_wire(event: Event) -> wire::Event {
    use wire::event::Event as To;
    let event = match event {
        Event::Opened(opened) => To::Opened(opened_to_wire(*opened)),
        Event::Delta(Delta { text, tokens, token_ids, settled_bytes, first_token_entropy }) => {
            To::Delta(wire::Delta { text, tokens, token_ids, settled_bytes, first_token_entropy })
        }
        Event::Finished(finished) => To::Finished(finished_to_wire(finished)),
        Event::Warmed(warmed) => To::Warmed(warmed_to_wire(warmed)),
        Event::Objection(objection) => To::Objection(review::objection_to_wire(*objection)),
        Event::Failed(failure) => To::Failed(failure_to_wire(failure)),
    };
    wire::Event { event: Some(event) }
}

fn warmed_to_wire(warmed: Warmed) -> wire::Warmed {
    let Warmed { committed_bytes, hash, tokens, prefill_tokens, .. } = warmed;
    let Warmed { prefill_us, reviewed_bytes, passes_milli, .. } = warmed;
    wire::Warmed {
        committed_bytes,
        hash: hash.0,
        tokens,
        prefill_tokens,
        prefill_us,
        reviewed_bytes,
        passes_milli,
    }
}

fn opened_to_wire(opened: Opened) -> wire::Opened {
    let Opened { card, prompt_tokens, cached_tokens } = opened;
    wire::Opened { model: Some(card_to_wire(card)), prompt_tokens, cached_tokens }
}

/// A node's heartbeat.
pub(crate) fn node_heartbeat() -> wire::Event {
    wire::Event { event: Some(wire::event::Event::Heartbeat(wire::Heartbeat {})) }
}

/// Reads a node's event.
pub(crate) fn event_from_wire(event: wire::Event) -> Result<Option<Event>, Failure> {
    use wire::event::Event as From;
    let event = event.event.ok_or_else(|| {
        invalid("the node sent an event that this program does not know; is the node newer?")
    })?;
    Ok(Some(match event {
        From::Opened(wire::Opened { model, prompt_tokens, cached_tokens }) => {
            let card = model.map(card_from_wire).ok_or_else(|| missing("Opened.model"))?;
            Event::Opened(Box::new(Opened { card, prompt_tokens, cached_tokens }))
        }
        From::Delta(delta) => {
            let wire::Delta { text, tokens, token_ids, settled_bytes, first_token_entropy } = delta;
            Event::Delta(Delta { text, tokens, token_ids, settled_bytes, first_token_entropy })
        }
        From::Finished(finished) => Event::Finished(finished_from_wire(finished)?),
        From::Warmed(warmed) => Event::Warmed(Warmed {
            committed_bytes: warmed.committed_bytes,
            hash: TextHash(warmed.hash),
            tokens: warmed.tokens,
            prefill_tokens: warmed.prefill_tokens,
            prefill_us: warmed.prefill_us,
            reviewed_bytes: warmed.reviewed_bytes,
            passes_milli: warmed.passes_milli,
        }),
        From::Objection(objection) => {
            Event::Objection(Box::new(review::objection_from_wire(objection)))
        }
        From::Failed(failed) => Event::Failed(failure_from_wire(failed)),
        From::Heartbeat(wire::Heartbeat {}) => return Ok(None),
    }))
}

/// A model card, as it is sent on the wire.
pub(crate) fn card_to_wire(card: ModelCard) -> wire::ModelCard {
    let ModelCard {
        name,
        family,
        parameters,
        quantisation,
        context_tokens,
        device,
        tokenizer_fingerprint,
        thought,
        can_review,
        can_report_entropy,
    } = card;
    wire::ModelCard {
        name,
        family,
        parameters,
        quantisation,
        context_tokens,
        device,
        tokenizer_fingerprint,
        thought: thought_to_wire(thought).into(),
        can_review,
        can_report_entropy,
    }
}

/// Reads a model card.
pub(crate) fn card_from_wire(card: wire::ModelCard) -> ModelCard {
    let wire::ModelCard {
        name,
        family,
        parameters,
        quantisation,
        context_tokens,
        device,
        tokenizer_fingerprint,
        thought,
        can_review,
        can_report_entropy,
    } = card;
    ModelCard {
        name: one_line(&name),
        family: one_line(&family),
        parameters,
        quantisation: one_line(&quantisation),
        context_tokens,
        device: one_line(&device),
        tokenizer_fingerprint: one_line(&tokenizer_fingerprint),
        thought: thought_from_wire(thought),
        can_review,
        can_report_entropy,
    }
}

/// Reads a node's description: its protocol version, what it serves and, if reported, how busy it is.
pub(crate) fn description_from_wire(
    description: wire::DescribeResponse,
) -> Result<(u32, ModelCard, Option<Load>), Failure> {
    let wire::DescribeResponse { protocol_version, model, load } = description;
    let card = model.map(card_from_wire).ok_or_else(|| missing("DescribeResponse.model"))?;
    Ok((protocol_version, card, load.map(load_from_wire)))
}

fn open_to_wire(open: Open) -> wire::Open {
    let Open { question_id, prompt, committed, sampling, deadline, thought, review } = open;
    let (messages, raw_prompt) = match prompt {
        Prompt::Messages(messages) => (messages, None),
        Prompt::Raw(text) => (Vec::new(), Some(text)),
    };
    let Sampling { temperature, top_k, top_p, min_p, repetition_penalty } = sampling;
    wire::Open {
        protocol_version: PROTOCOL_VERSION,
        question_id,
        messages: messages
            .into_iter()
            .map(|Message { role, content }| wire::Message { role, content })
            .collect(),
        raw_prompt,
        committed,
        sampling: Some(wire::Sampling { temperature, top_k, top_p, min_p, repetition_penalty }),
        deadline_ms: deadline.map(|left| left.min(FURTHEST_DEADLINE).as_millis() as u64),
        thought: thought_to_wire(thought).into(),
        review: review.map(review::review_to_wire),
    }
}

fn open_from_wire(open: wire::Open) -> Result<Open, Failure> {
    let wire::Open {
        protocol_version,
        question_id,
        messages,
        raw_prompt,
        committed,
        sampling,
        deadline_ms,
        thought,
        review,
    } = open;
    if protocol_version != PROTOCOL_VERSION {
        return Err(Failure::new(
            Code::UnsupportedVersion,
            format!(
                "the client speaks protocol version {protocol_version} and this node version \
                 {PROTOCOL_VERSION}: bring the older of the two up to date"
            ),
        ));
    }
    let prompt = match raw_prompt {
        Some(_) if !messages.is_empty() => {
            return Err(invalid("Open holds both messages and raw_prompt: send one of them"));
        }
        Some(text) => Prompt::Raw(text),
        None if messages.is_empty() => {
            return Err(invalid("Open holds neither messages nor raw_prompt: send one of them"));
        }
        None => Prompt::Messages(
            messages
                .into_iter()
                .map(|wire::Message { role, content }| Message { role, content })
                .collect(),
        ),
    };
    // An absent message means its defaults in the .proto file: every rule off, so greedy.
    let wire::Sampling { temperature, top_k, top_p, min_p, repetition_penalty } =
        sampling.unwrap_or_default();
    Ok(Open {
        question_id: one_line(&question_id),
        prompt,
        committed,
        sampling: Sampling { temperature, top_k, top_p, min_p, repetition_penalty },
        deadline: deadline_ms.map(|left| Duration::from_millis(left).min(FURTHEST_DEADLINE)),
        thought: thought_from_wire(thought),
        review: review.map(review::review_from_wire),
    })
}

fn thought_to_wire(thought: ThoughtStart) -> wire::ThoughtStart {
    match thought {
        ThoughtStart::Unknown => wire::ThoughtStart::Unspecified,
        ThoughtStart::Unopened => wire::ThoughtStart::Unopened,
        ThoughtStart::Open => wire::ThoughtStart::Open,
        ThoughtStart::Over => wire::ThoughtStart::Over,
    }
}

/// A value of a later version is no failure: it is treated as absent.
fn thought_from_wire(thought: i32) -> ThoughtStart {
    match wire::ThoughtStart::try_from(thought) {
        Ok(wire::ThoughtStart::Unopened) => ThoughtStart::Unopened,
        Ok(wire::ThoughtStart::Open) => ThoughtStart::Open,
        Ok(wire::ThoughtStart::Over) => ThoughtStart::Over,
        Ok(wire::ThoughtStart::Unspecified) | Err(_) => ThoughtStart::Unknown,
    }
}

fn propose_to_wire(propose: Propose) -> wire::Propose {
    let Propose { max_tokens, stop, watch, seed, report_entropy } = propose;
    wire::Propose { max_tokens, stop, watch: watch.map(watch_to_wire), seed, report_entropy }
}

fn propose_from_wire(propose: wire::Propose) -> Result<Propose, Failure> {
    let wire::Propose { max_tokens, stop, watch, seed, report_entropy } = propose;
    let watch = watch.map(watch_from_wire).transpose()?;
    Ok(Propose { max_tokens, stop, watch, seed, report_entropy })
}

fn watch_to_wire(watch: Watch) -> wire::TriggerWatch {
    let Watch { delimiters, window_chars, phrases, from_next_break, until } = watch;
    wire::TriggerWatch {
        delimiters,
        window_chars,
        from_next_break,
        until,
        phrases: phrases
            .into_iter()
            .map(|Phrase { kind, text }| wire::TriggerPhrase {
                kind: kind_to_wire(kind).into(),
                text,
            })
            .collect(),
    }
}

fn watch_from_wire(watch: wire::TriggerWatch) -> Result<Watch, Failure> {
    let wire::TriggerWatch { delimiters, window_chars, phrases, from_next_break, until } = watch;
    let phrases = phrases
        .into_iter()
        .map(|wire::TriggerPhrase { kind, text }| {
            let kind = kind_from_wire(kind, "TriggerPhrase.kind")?;
            Ok(Phrase { kind, text })
        })
        .collect::<Result<_, Failure>>()?;
    Ok(Watch { delimiters, window_chars, phrases, from_next_break, until })
}

fn kind_to_wire(kind: TriggerKind) -> wire::TriggerKind {
    match kind {
        TriggerKind::Affirmation => wire::TriggerKind::Affirmation,
        TriggerKind::Reflection => wire::TriggerKind::Reflection,
        TriggerKind::Verification => wire::TriggerKind::Verification,
    }
}

fn kind_from_wire(kind: i32, field: &str) -> Result<TriggerKind, Failure> {
    match wire::TriggerKind::try_from(kind) {
        Ok(wire::TriggerKind::Affirmation) => Ok(TriggerKind::Affirmation),
        Ok(wire::TriggerKind::Reflection) => Ok(TriggerKind::Reflection),
        Ok(wire::TriggerKind::Verification) => Ok(TriggerKind::Verification),
        Ok(wire::TriggerKind::Unspecified) | Err(_) => Err(unknown(field, kind)),
    }
}

fn finished_to_wire(finished: Finished) -> wire::Finished {
    use wire::FinishReason as To;
    let Finished { reason, tokens, bytes, prefill_tokens, cached_tokens, timing, passes_milli } =
        finished;
    let (reason, trigger, stop_end) = match reason {
        FinishReason::EndOfText => (To::EndOfText, None, None),
        FinishReason::MaxTokens => (To::MaxTokens, None, None),
        FinishReason::Stop { end } => (To::Stop, None, Some(end)),
        FinishReason::Trigger(found) => (To::Trigger, Some(match_to_wire(found)), None),
        FinishReason::Cancelled => (To::Cancelled, None, None),
        FinishReason::Deadline => (To::Deadline, None, None),
        FinishReason::ContextFull => (To::ContextFull, None, None),
    };
    let Timing { queue_us, prefill_us, decode_us } = timing;
    wire::Finished {
        reason: reason.into(),
        trigger,
        stop_end,
        tokens,
        bytes,
        prefill_tokens,
        cached_tokens,
        timing: Some(wire::Timing { queue_us, prefill_us, decode_us }),
        passes_milli,
    }
}

fn finished_from_wire(finished: wire::Finished) -> Result<Finished, Failure> {
    use wire::FinishReason as From;
    let wire::Finished { reason, trigger, stop_end, tokens, bytes, .. } = finished;
    let wire::Finished { prefill_tokens, cached_tokens, timing, passes_milli, .. } = finished;
    let reason = match From::try_from(reason) {
        Ok(From::EndOfText) => FinishReason::EndOfText,
        Ok(From::MaxTokens) => FinishReason::MaxTokens,
        Ok(From::Stop) => {
            FinishReason::Stop { end: stop_end.ok_or_else(|| missing("Finished.stop_end"))? }
        }
        Ok(From::Trigger) => {
            let found = trigger.ok_or_else(|| missing("Finished.trigger"))?;
            FinishReason::Trigger(match_from_wire(found)?)
        }
        Ok(From::Cancelled) => FinishReason::Cancelled,
        Ok(From::Deadline) => FinishReason::Deadline,
        Ok(From::ContextFull) => FinishReason::ContextFull,
        Ok(From::Unspecified) | Err(_) => return Err(unknown("Finished.reason", reason)),
    };
    let wire::Timing { queue_us, prefill_us, decode_us } = timing.unwrap_or_default();
    let timing = Timing { queue_us, prefill_us, decode_us };
    Ok(Finished { reason, tokens, bytes, prefill_tokens, cached_tokens, timing, passes_milli })
}

fn match_to_wire(found: TriggerMatch) -> wire::TriggerMatch {
    let TriggerMatch { kind, phrase, cut, start, end } = found;
    wire::TriggerMatch { kind: kind_to_wire(kind).into(), phrase, cut, start, end }
}

fn match_from_wire(found: wire::TriggerMatch) -> Result<TriggerMatch, Failure> {
    let wire::TriggerMatch { kind, phrase, cut, start, end } = found;
    let kind = kind_from_wire(kind, "TriggerMatch.kind")?;
    Ok(TriggerMatch { kind, phrase, cut, start, end })
}

fn code_to_wire(code: Code) -> wire::Code {
    match code {
        Code::InvalidArgument => wire::Code::InvalidArgument,
        Code::UnsupportedVersion => wire::Code::UnsupportedVersion,
        Code::ContextTooLong => wire::Code::ContextTooLong,
        Code::MessageTooLarge => wire::Code::MessageTooLarge,
        Code::Unauthenticated => wire::Code::Unauthenticated,
        Code::Overloaded => wire::Code::Overloaded,
        Code::Unavailable => wire::Code::Unavailable,
        Code::DeadlineExceeded => wire::Code::DeadlineExceeded,
        Code::Template => wire::Code::Template,
        Code::Internal => wire::Code::Internal,
    }
}

/// A failure, as it is sent on the wire: in an event, or in the details of a status.
pub(crate) fn failure_to_wire(failure: Failure) -> wire::Failed {
    let Failure { code, message, retry_after_ms, .. } = failure;
    wire::Failed { code: code_to_wire(code).into(), message, retry_after_ms }
}

/// Accepts a failure even with an unknown code of a later version: the node's own message says more than a complaint
/// about the number would.
pub(crate) fn failure_from_wire(failed: wire::Failed) -> Failure {
    let wire::Failed { code, message, retry_after_ms } = failed;
    let code = code_from_wire(code).unwrap_or(Code::Internal);
    Failure { retry_after_ms, ..Failure::new(code, one_line(&message)) }
}

/// Reads a failure's code. Returns `None` if this version does not know it.
pub(crate) fn code_from_wire(code: i32) -> Option<Code> {
    match wire::Code::try_from(code).ok()? {
        wire::Code::Unspecified => None,
        wire::Code::InvalidArgument => Some(Code::InvalidArgument),
        wire::Code::UnsupportedVersion => Some(Code::UnsupportedVersion),
        wire::Code::ContextTooLong => Some(Code::ContextTooLong),
        wire::Code::MessageTooLarge => Some(Code::MessageTooLarge),
        wire::Code::Unauthenticated => Some(Code::Unauthenticated),
        wire::Code::Overloaded => Some(Code::Overloaded),
        wire::Code::Unavailable => Some(Code::Unavailable),
        wire::Code::DeadlineExceeded => Some(Code::DeadlineExceeded),
        wire::Code::Template => Some(Code::Template),
        wire::Code::Internal => Some(Code::Internal),
    }
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::InvalidArgument, message)
}

fn missing(field: &str) -> Failure {
    invalid(format!("{field} is missing from the message; the sender breaks the protocol"))
}

fn unknown(field: &str, value: i32) -> Failure {
    invalid(format!(
        "{field} has the value {value}, which protocol version {PROTOCOL_VERSION} does not know"
    ))
}

#[cfg(test)]
pub(crate) mod tests;
