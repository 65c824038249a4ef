//! One session on a server: commands in, requests out, events back.
//!
//! A session is one task, and the task is one future. Dropping the session's event receiver drops the future and with
//! it the connection, which is how the server learns that the session is over. How a proposal is read from a stream is
//! in `proposal`; how text is computed ahead or judged while no command waits is in `ahead` and `reading`.

mod ahead;
mod computed;
mod open_session;
mod pace;
mod proposal;
mod reading;

use std::{future::pending, sync::Arc};

use thinking::{
    session::{Protocol, Refusal},
    thinker::{
        Code, Command, Cut, Event, Failure, FinishReason, Finished, Open, Propose, SessionServer,
        Timing, Warmed,
    },
};
use tokio::{
    select,
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout_at},
};

use self::{
    ahead::Computing, computed::ComputedText, open_session::OpenSession, proposal::Proposal,
};
use crate::{failure, server::Server, token_text::OwnChunks};

/// Runs a session until it ends or is dropped.
pub(crate) async fn run(server: Arc<Server>, session: SessionServer) {
    let SessionServer { commands, events, signs } = session;
    let session = async {
        let mut session = ActiveSession {
            server: &server,
            commands,
            next: None,
            events: &events,
            signs: &signs,
            protocol: Protocol::default(),
            deadline: None,
            open: None,
            own: OwnChunks::default(),
            held: Vec::new(),
            ahead: None,
        };
        if let Err(failure) = session.run().await {
            session.stop_ahead().await;
            // A full queue makes this wait for the caller; a caller that went away ends it.
            let _ = events.send(Event::Failed(failure)).await;
        }
    };
    select! {
        () = events.closed() => {}
        () = session => {}
    }
}

struct ActiveSession<'a> {
    server: &'a Server,
    commands: mpsc::Receiver<Command>,
    /// A command other than a cancel that was read while a proposal was being made.
    next: Option<Command>,
    events: &'a mpsc::Sender<Event>,
    signs: &'a watch::Sender<()>,
    protocol: Protocol,
    deadline: Option<Instant>,
    open: Option<OpenSession<'a>>,
    /// The tokens of the open proposal.
    own: OwnChunks,
    /// Answers to finished commands, held back until their text is computed ahead.
    held: Vec<Warmed>,
    ahead: Option<Ahead<'a>>,
}

/// Text that is being computed ahead.
struct Ahead<'a> {
    /// How many of the held answers concern it.
    answers: usize,
    computing: Computing<'a>,
}

impl<'a> ActiveSession<'a> {
    async fn run(&mut self) -> Result<(), Failure> {
        loop {
            let command = match self.next.take() {
                Some(command) => Some(command),
                None => self.next_command().await?,
            };
            let Some(command) = command else {
                self.stop_ahead().await;
                return Ok(());
            };
            self.carry_out(command).await?;
        }
    }

    /// Waits for a command. Meanwhile computes text ahead or judges it, one request at a time.
    async fn next_command(&mut self) -> Result<Option<Command>, Failure> {
        loop {
            if let Ok(command) = self.commands.try_recv() {
                return Ok(Some(command));
            }
            self.begin_ahead();
            let Some(ahead) = &mut self.ahead else {
                self.answer(self.held.len()).await;
                return Ok(self.commands.recv().await);
            };
            select! {
                biased;
                command = self.commands.recv() => return Ok(command),
                computed = by(self.deadline, &mut ahead.computing) => {
                    self.end_ahead(computed).await?;
                }
            }
        }
    }

    /// Starts computing or judging text, if any is worth a request.
    fn begin_ahead(&mut self) {
        if self.ahead.is_none()
            && let Some(open) = &mut self.open
        {
            let committed = self.protocol.committed();
            let computing = match self.protocol.review() {
                Some(rules) => open.judge(rules, committed, self.signs),
                None => open.ahead(committed, self.signs),
            };
            let answers = self.held.len();
            self.ahead = computing.map(|computing| Ahead { answers, computing });
        }
    }

    /// Handles the end of computing ahead. A failure there is not reported: the next proposal will report why the text
    /// cannot be continued. Failing to judge a text ends the session.
    async fn end_ahead(
        &mut self,
        computed: Option<Result<ComputedText, Failure>>,
    ) -> Result<(), Failure> {
        let Some(Ahead { answers, .. }) = self.ahead.take() else { return Ok(()) };
        match (computed, &mut self.open) {
            (Some(Ok(mut computed)), Some(open)) => {
                let judged = computed.judged.take();
                let prefill_us = computed.prefill_us;
                let prefill_tokens = open.computed(computed);
                tracing::debug!(prefill_tokens, prefill_us, "computed ahead");
                if let Some(last) = self.held[..answers].last_mut() {
                    *last = Warmed { prefill_tokens, prefill_us, ..*last };
                }
                if let (Some(judged), Some((rules, text))) = (judged, self.protocol.judging())
                    && let Some(objection) = judged.tell(rules, text)
                {
                    self.send(Event::Objection(Box::new(objection))).await;
                }
            }
            (Some(Err(failure)), _) if self.protocol.review().is_some() => return Err(failure),
            (Some(Err(failure)), _) => tracing::debug!(%failure, "not computed ahead"),
            _ => {}
        }
        self.answer(answers).await;
        Ok(())
    }

    /// Cancels what is being computed ahead, and sends the answers that waited for it.
    async fn stop_ahead(&mut self) {
        if let (Some(_), Some(open)) = (self.ahead.take(), &mut self.open) {
            open.forget_read();
        }
        self.answer(self.held.len()).await;
    }

    async fn answer(&mut self, answers: usize) {
        let reviewed = self.protocol.warmed().reviewed_bytes;
        for warmed in self.held.drain(..answers) {
            let reviewed_bytes = reviewed.min(warmed.committed_bytes);
            // A caller that has gone needs no answer; `run` notices it too.
            let _ = self.events.send(Event::Warmed(Warmed { reviewed_bytes, ..warmed })).await;
        }
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Open(open) => self.open(open).await,
            Command::Append(append) => {
                self.protocol.append(&append)?;
                let open = self.open.as_mut().ok_or(Refusal::NotOpen)?;
                // A review judges the tokens into which the server itself splits the text, not those of its writer.
                let is_judged = self.protocol.review().is_some();
                let token_ids = if is_judged { &[] } else { &append.token_ids[..] };
                let tokens = open.append(&append.text, token_ids);
                self.warmed(tokens);
                Ok(())
            }
            Command::Propose(propose) => self.propose(propose).await,
            Command::Commit { bytes } => {
                let kept = self.protocol.commit(bytes)?;
                let open = self.open.as_mut().ok_or(Refusal::NotOpen)?;
                let tokens = open.commit(&std::mem::take(&mut self.own), kept);
                self.warmed(tokens);
                Ok(())
            }
            Command::Cut(cut) => self.cut(cut).await,
            Command::Cancel => Ok(()),
        }
    }

    async fn open(&mut self, open: Open) -> Result<(), Failure> {
        self.protocol.open(&open)?;
        // A deadline beyond the clock's range counts as none.
        self.deadline = open.deadline.and_then(|left| Instant::now().checked_add(left));
        let server = self.server;
        let opening = OpenSession::new(server, self.signs, &open);
        let (session, opened) = by(self.deadline, opening).await.unwrap_or_else(|| {
            let what = "was not ready before the deadline";
            Err(failure::noticed(&server.http.config.address, Code::DeadlineExceeded, what))
        })?;
        let session = self.open.insert(session);
        let tokens = session.append(&open.committed, &[]);
        self.send(Event::Opened(Box::new(opened))).await;
        self.warmed(tokens);
        Ok(())
    }

    /// Cuts committed text. This is reported before any later text is judged.
    async fn cut(&mut self, cut: Cut) -> Result<(), Failure> {
        let open = self.open.as_mut().ok_or(Refusal::NotOpen)?;
        open.served.check_reviews(&self.server.http)?;
        let accepted = self.protocol.cut(cut)?;
        self.ahead = None;
        let bytes = self.protocol.committed().len();
        let tokens = open.cut(bytes, accepted.as_ref())?;
        self.warmed(tokens);
        self.answer(self.held.len()).await;
        Ok(())
    }

    async fn propose(&mut self, propose: Propose) -> Result<(), Failure> {
        let is_objecting = self.protocol.is_objecting();
        let rules = self.protocol.propose(&propose)?;
        self.stop_ahead().await;
        if is_objecting {
            let finished = self.protocol.finish(rules, FinishReason::Cancelled);
            self.own = OwnChunks::default();
            self.send(Event::Finished(finished)).await;
            return Ok(());
        }
        let open = self.open.as_mut().ok_or(Refusal::NotOpen)?;
        let committed = self.protocol.committed();
        let mut proposal = Proposal::new(rules, self.events, self.signs);
        let began = Instant::now();
        let reason = select! {
            biased;
            reason = interruption(&mut self.commands, &mut self.next, self.deadline) => Ok(reason),
            reason = proposal.make(self.server, open, committed, &propose) => reason,
        }?;
        proposal.send_rest(&reason).await;
        let Proposal { rules, own, first_text_at, prefill_tokens, cached_tokens, .. } = proposal;
        let cached_tokens = cached_tokens.saturating_add(open.take_ahead_cached_tokens());
        self.own = own;
        let micros =
            |from: Instant, to: Instant| to.saturating_duration_since(from).as_micros() as u64;
        let now = Instant::now();
        let first_text_at = first_text_at.unwrap_or(now);
        let timing = Timing {
            queue_us: 0,
            prefill_us: micros(began, first_text_at),
            decode_us: micros(first_text_at, now),
        };
        let finished = self.protocol.finish(rules, reason);
        let finished = Finished { prefill_tokens, cached_tokens, timing, ..finished };
        self.send(Event::Finished(finished)).await;
        Ok(())
    }

    /// Records that text is committed; this is reported as soon as nothing is being computed ahead for it.
    fn warmed(&mut self, tokens: u32) {
        self.held.push(Warmed { tokens, ..self.protocol.warmed() });
    }

    /// Sends an event. A caller that has gone needs none; `run` notices it too.
    async fn send(&mut self, event: Event) {
        let _ = self.events.send(event).await;
    }
}

/// Returns the output of a future, or `None` if the deadline passes first.
async fn by<T>(deadline: Option<Instant>, something: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, something).await.ok(),
        None => Some(something.await),
    }
}

/// Waits for the deadline, or for a cancel directly after the proposal.
async fn interruption(
    commands: &mut mpsc::Receiver<Command>,
    next: &mut Option<Command>,
    deadline: Option<Instant>,
) -> FinishReason {
    let passed = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    };
    let cancelled = async {
        if next.is_none() {
            *next = commands.recv().await;
        }
        if next.take_if(|next| *next == Command::Cancel).is_none() {
            pending::<()>().await;
        }
    };
    select! {
        biased;
        () = passed => FinishReason::Deadline,
        () = cancelled => FinishReason::Cancelled,
    }
}
