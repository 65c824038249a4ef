//! One session with a node: the writer's, or one that judges.

use thinking::thinker::{
    Append, Command, Cut, Event, FinishReason, Objection, Open, Prompt, Propose, Review, Sampling,
    Session, TextEnd, Thinker, ThoughtStart, Warmed,
};

use crate::Result;

/// A session, and what is counted of it.
pub(crate) struct NodeSession {
    session: Session,
    /// How many bytes of the answer it has.
    pub(crate) given: usize,
    /// How many bytes of the answer it can no longer object to.
    pub(crate) reviewed: usize,
    /// Whether it waits for a cut.
    is_objecting: bool,
    /// Its tokenizer's fingerprint.
    tokenizer: String,
    pub(crate) counts: Counts,
}

/// What a session did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Tokens that it put in place of others.
    pub(crate) corrections: u32,
    /// Pieces of text that it judged.
    pub(crate) pieces: u32,
    /// Tokens of the answer that it read.
    pub(crate) read: u32,
}

/// What a writer wrote.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) text: String,
    /// Where each part of it ends, with the number of its tokens.
    pub(crate) tokens: Vec<(usize, u32)>,
    /// Whether the writer ended the answer.
    pub(crate) is_over: bool,
    /// Whether it can write no more.
    pub(crate) is_cut_off: bool,
}

impl NodeSession {
    /// Opens a session, which judges with this gap if there is one.
    pub(crate) async fn open(
        thinker: &dyn Thinker,
        prompt: Prompt,
        sampling: Sampling,
        gap: Option<f32>,
    ) -> Result<Self> {
        let review = gap.map(|gap| Review { gap, from_byte: 0, skip_openings: false, draw: None });
        let mut session = NodeSession {
            session: thinker.session(),
            given: 0,
            reviewed: 0,
            is_objecting: false,
            tokenizer: String::new(),
            counts: Counts::default(),
        };
        let open = Open {
            question_id: "variant".to_owned(),
            prompt,
            committed: String::new(),
            sampling,
            deadline: None,
            thought: ThoughtStart::Unknown,
            review,
        };
        session.send(Command::Open(open)).await?;
        session.warmed().await?;
        session.counts = Counts::default();
        Ok(session)
    }

    async fn send(&self, command: Command) -> Result<()> {
        Ok(self.session.commands.send(command).await?)
    }

    async fn next(&mut self) -> Result<Event> {
        match self.session.events.recv().await {
            Some(Event::Failed(failure)) => Err(failure.to_string().into()),
            Some(event) => Ok(event),
            None => Err("the session ended".into()),
        }
    }

    /// Waits until what was sent last is computed. Returns the objection that came with it.
    async fn warmed(&mut self) -> Result<Option<Objection>> {
        let mut objection = None;
        loop {
            match self.next().await? {
                Event::Opened(opened) => self.tokenizer = opened.card.tokenizer_fingerprint,
                Event::Objection(it) => objection = Some(*it),
                Event::Warmed(Warmed {
                    prefill_tokens, reviewed_bytes, committed_bytes, ..
                }) => {
                    self.counts.read += prefill_tokens;
                    self.given = usize::try_from(committed_bytes)?;
                    self.reviewed = usize::try_from(reviewed_bytes)?;
                    self.is_objecting = objection.is_some();
                    return Ok(objection);
                }
                _ => {}
            }
        }
    }

    /// Gives it text to judge, or text that stands if `exempt` is set. Returns its objection.
    pub(crate) async fn read(
        &mut self,
        text: &str,
        end: TextEnd,
        exempt: bool,
    ) -> Result<Option<Objection>> {
        if text.is_empty() && end == TextEnd::Open {
            return Ok(None);
        }
        self.send(Command::Append(Append { end, exempt, ..Append::text(text) })).await?;
        self.warmed().await
    }

    /// Gives it the replacement that another one proposes.
    pub(crate) async fn take(&mut self, objection: &Objection, from: &str) -> Result<()> {
        let Some(text) = objection.instead.clone() else { return Ok(()) };
        let is_same = self.tokenizer == from;
        let token_ids = if is_same { objection.token_ids.clone() } else { Vec::new() };
        let append = Append { text, token_ids, end: TextEnd::Open, exempt: true };
        self.send(Command::Append(append)).await?;
        self.warmed().await?;
        Ok(())
    }

    /// Makes it forget the text from here on, if it has any, and an objection.
    pub(crate) async fn cut(&mut self, to: usize) -> Result<()> {
        if self.given > to || self.is_objecting {
            self.send(Command::Cut(Cut { bytes: to as u64, accept: false })).await?;
            self.warmed().await?;
        }
        Ok(())
    }

    /// Puts its own replacement in the place of what it objects to. Returns the fingerprint of its tokenizer.
    pub(crate) async fn accept(&mut self, objection: &Objection) -> Result<String> {
        self.send(Command::Cut(Cut { bytes: objection.at_byte, accept: true })).await?;
        self.warmed().await?;
        self.counts.corrections += 1;
        Ok(self.tokenizer.clone())
    }

    /// Has it write.
    pub(crate) async fn write(&mut self, max_tokens: u32, seed: u64) -> Result<Written> {
        let (stop, watch) = (Vec::new(), None);
        let propose = Propose { max_tokens, stop, watch, seed, report_entropy: false };
        self.send(Command::Propose(propose)).await?;
        let mut written = Written::default();
        loop {
            match self.next().await? {
                Event::Delta(delta) => {
                    written.text += &delta.text;
                    written.tokens.push((written.text.len(), delta.tokens));
                }
                Event::Finished(finished) => {
                    // A token that ends the answer has no text.
                    let told: u32 = written.tokens.iter().map(|(_, tokens)| tokens).sum();
                    let more = finished.tokens.saturating_sub(told);
                    written.tokens.push((written.text.len(), more));
                    written.is_over = finished.reason == FinishReason::EndOfText;
                    let can_go_on = finished.reason == FinishReason::MaxTokens;
                    written.is_cut_off =
                        !written.is_over && (!can_go_on || written.text.is_empty());
                    break;
                }
                _ => {}
            }
        }
        self.send(Command::Commit { bytes: written.text.len() as u64 }).await?;
        self.warmed().await?;
        Ok(written)
    }
}
