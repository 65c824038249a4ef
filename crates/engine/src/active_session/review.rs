//! How a session objects to text that others wrote, and how text is cut back. [`thinking::session::review`] says what
//! is judged; [`crate::session_text`] gives the verdicts.

use text::Detokenizer;
use thinking::{
    session::Refusal,
    thinker::{Append, Code, Command, Cut, Event, Failure, Objection, Warmed},
};

use super::{ActiveSession, OpenSession, Phase, Preparing};
use crate::{
    encoder::Encoder,
    host::ModelHost,
    kv::KvStore,
    sample::SampleError,
    session_text::{Finding, SHORT_BYTES},
    tail::Joined,
    verdict::{Verdict, best},
};

/// The most tokens that are made of what would stand instead at one place.
const MOST_INSTEAD: usize = 8;

/// What would stand in place of what is objected to, made token by token until its characters are whole.
pub(super) struct Instead {
    objection: Objection,
    /// Its first token, if the verdict is on the first token of a character.
    first: Option<u32>,
    token_ids: Vec<u32>,
    text: String,
    detokenizer: Detokenizer,
}

impl ActiveSession {
    /// Inspects the text that was just committed, before any of it is computed.
    pub(super) fn look_ahead(&mut self, host: &ModelHost) {
        if let Some(OpenSession { text, .. }) = &mut self.session
            && let Some(rules) = self.protocol.review().filter(|it| it.objection().is_none())
        {
            text.look_ahead(rules, self.protocol.committed(), host.encoder.tokenizer());
        }
    }

    /// Continues with committed text whenever part of it has been computed. Returns whether there was anything to do.
    pub(super) fn go_on_warming(&mut self, host: &ModelHost, kv: &mut KvStore) -> bool {
        // Text that is about to be cut need not be computed.
        let is_given_up = matches!(self.next, Some(Command::Cut(_)));
        if !is_given_up {
            match self.review(host) {
                Ok(true) => {}
                Ok(false) => return self.merge_append(host),
                Err(failure) => {
                    self.fail(failure);
                    return true;
                }
            }
        }
        let is_given_up = is_given_up || self.protocol.is_objecting();
        self.merge_append(host) || self.answer_warmed(kv, is_given_up)
    }

    /// Judges what is computed. Returns whether that is all for now.
    fn review(&mut self, host: &ModelHost) -> Result<bool, Failure> {
        let tokenizer = host.encoder.tokenizer();
        let Phase::Warming(warming) = &mut self.phase else { return Ok(true) };
        let Some(OpenSession { text, .. }) = &mut self.session else { return Ok(true) };
        if self.protocol.is_objecting() {
            return Ok(true);
        }
        if warming.instead.is_some() {
            return self.go_on_instead(host);
        }
        let Some((rules, committed)) = self.protocol.judging() else { return Ok(true) };
        let found = text.judge(rules, committed, tokenizer).map_err(unusable)?;
        let Finding::Objection { span: (start, end), is_edge, verdict } = found else {
            return Ok(found == Finding::Done);
        };
        let Verdict { gap, instead: first, rank, log_p } = verdict;
        let (at_byte, bytes) = (start as u64, (end - start) as u32);
        let mut objection = Objection {
            at_byte,
            bytes,
            gap,
            rank,
            log_p,
            instead: None,
            tokens: 1,
            token_ids: Vec::new(),
        };
        let piece = std::str::from_utf8(tokenizer.piece(first)).ok();
        match piece {
            _ if is_edge && tokenizer.is_end_of_text(first) => {}
            Some(piece) if is_edge => {
                objection.instead = Some(piece.to_owned());
                objection.token_ids = vec![first];
            }
            _ => {
                text.lead_to(&committed[..start], &host.encoder)?;
                warming.instead = Some(Box::new(Instead {
                    objection,
                    first: is_edge.then_some(first),
                    token_ids: Vec::new(),
                    text: String::new(),
                    detokenizer: Detokenizer::new(),
                }));
                return Ok(false);
            }
        }
        self.object(objection);
        Ok(true)
    }

    /// Takes the next token of what would stand instead. Returns whether that is all.
    fn go_on_instead(&mut self, host: &ModelHost) -> Result<bool, Failure> {
        let tokenizer = host.encoder.tokenizer();
        let Phase::Warming(warming) = &mut self.phase else { return Ok(true) };
        let Some(OpenSession { text, .. }) = &mut self.session else { return Ok(true) };
        let (Some(instead), Some(logits)) = (&mut warming.instead, text.logits()) else {
            return Ok(false);
        };
        let token = instead.first.take().or_else(|| best(logits, tokenizer));
        let token = token.ok_or_else(|| unusable(SampleError::BadLogits))?;
        let mut is_over = tokenizer.is_end_of_text(token);
        if !is_over {
            text.push_own(token);
            instead.token_ids.push(token);
            instead.detokenizer.push(tokenizer.piece(token), &mut instead.text);
            is_over = instead.detokenizer.is_clean()
                || instead.token_ids.len() >= MOST_INSTEAD
                || text.is_full();
        }
        let Some(instead) = warming.instead.take_if(|_| is_over) else { return Ok(false) };
        let Instead { mut objection, token_ids, text, detokenizer, .. } = *instead;
        objection.tokens = token_ids.len().max(1) as u32;
        // Bytes that do not make a character are left out; then the tokens do not spell the text.
        if !text.is_empty() {
            objection.instead = Some(text);
            objection.token_ids = if detokenizer.is_clean() { token_ids } else { Vec::new() };
        }
        self.object(objection);
        Ok(true)
    }

    fn object(&mut self, objection: Objection) {
        tracing::debug!(question_id = self.question_id, ?objection, "objected");
        if let Some(rules) = self.protocol.review_mut() {
            rules.object(objection.clone());
        }
        self.outbox.push_back(Event::Objection(Box::new(objection)));
    }

    /// Takes in text while an objection waits for its cut. Until then it is stored as text only, without tokens.
    pub(super) fn append_unread(
        &mut self,
        append: &Append,
        host: &ModelHost,
    ) -> Result<(), Failure> {
        let bytes = self.protocol.committed().len() + append.text.len();
        host.encoder.check_bytes(bytes, host.context)?;
        self.protocol.append(append)?;
        self.warm(0, 0, host);
        Ok(())
    }

    pub(super) fn cut(&mut self, cut: Cut, host: &ModelHost) -> Result<(), Failure> {
        let accepted = self.protocol.cut(cut)?;
        let OpenSession { text, .. } = self.session.as_mut().ok_or(Refusal::NotOpen)?;
        let kept = usize::try_from(cut.bytes).unwrap_or(usize::MAX);
        let kept = self.protocol.committed().get(..kept).unwrap_or_default();
        if let Some((objection, instead)) =
            accepted.as_ref().and_then(|it| Some((it, it.instead.as_deref()?)))
        {
            let ids = &objection.token_ids;
            let tokens = text.cut_and_write(kept, instead, ids, &host.encoder)?;
            self.answer_cut(tokens, host);
            return Ok(());
        }
        let (tail, context) = (text.cut_back(kept), host.context);
        let rest = &kept[tail.start_byte()..];
        host.encoder.check_bytes(rest.len(), context.saturating_sub(tail.start()))?;
        if rest.len() > SHORT_BYTES {
            let (rest, rest_bytes) = (rest.to_owned(), rest.len());
            let prepare = move |encoder: &Encoder| tail.joined(&rest, context, encoder);
            let joined = host.preparer.prepare(rest_bytes, prepare);
            self.phase = Phase::Preparing(Preparing::Cut(joined));
            return Ok(());
        }
        let joined = tail.joined(rest, context, &host.encoder)?;
        self.was_cut(joined, host);
        Ok(())
    }

    /// Continues with the tokens at the end of the text that a cut left.
    pub(super) fn was_cut(&mut self, joined: Joined, host: &ModelHost) {
        if let Some(OpenSession { text, .. }) = &mut self.session {
            text.append(joined, false);
        }
        self.answer_cut(0, host);
    }

    /// Answers a cut at once, before anything more is taken in: later objections are to the text as it is after the
    /// cut.
    fn answer_cut(&mut self, tokens: u32, host: &ModelHost) {
        self.look_ahead(host);
        let warmed = Warmed { tokens, ..self.protocol.warmed() };
        self.outbox.push_back(Event::Warmed(warmed));
    }
}

fn unusable(error: SampleError) -> Failure {
    Failure::new(Code::Internal, error.to_string())
}
