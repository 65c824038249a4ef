//! One session on a server: commands in, requests out, events back.
//!
//! A session is one task, and the task is one future: dropping the session's event receiver drops everything in it,
//! and with it the connection, which is how the server learns of it. How a proposal is read from a stream is in
//! `proposal`.

mod open_session;
mod proposal;

use std::{future::pending, sync::Arc};

use thinking::{
    session::{Protocol, Refusal},
    thinker::{
        Code, Command, Event, Failure, FinishReason, Finished, Open, Propose, SessionServer,
        Timing, Warmed,
    },
};
use tokio::{
    select,
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout_at},
};

use self::{open_session::OpenSession, proposal::Proposal};
use crate::{failure, server::Server, token_text::OwnChunks};

/// Keeps a session until it is over or given up.
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
        };
        if let Err(failure) = session.run().await {
            // A full queue makes this wait for the caller, a caller that went away ends it.
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
    /// A command that was read while a proposal was being made and is not a cancel.
    next: Option<Command>,
    events: &'a mpsc::Sender<Event>,
    signs: &'a watch::Sender<()>,
    protocol: Protocol,
    deadline: Option<Instant>,
    open: Option<OpenSession<'a>>,
    /// The tokens of the open proposal.
    own: OwnChunks,
}

impl ActiveSession<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        loop {
            let command = match self.next.take() {
                Some(command) => Some(command),
                None => self.commands.recv().await,
            };
            let Some(command) = command else { return Ok(()) };
            self.carry_out(command).await?;
        }
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Open(open) => self.open(open).await,
            Command::Append(append) => {
                self.protocol.append(&append.text)?;
                let open = self.open.as_mut().ok_or(Refusal::NotOpen)?;
                let tokens = open.append(&append.text);
                self.warmed(tokens).await;
                Ok(())
            }
            Command::Propose(propose) => self.propose(propose).await,
            Command::Commit { bytes } => {
                let kept = self.protocol.commit(bytes)?;
                let open = self.open.as_mut().ok_or(Refusal::NotOpen)?;
                let tokens = open.commit(&std::mem::take(&mut self.own), kept);
                self.warmed(tokens).await;
                Ok(())
            }
            Command::Cancel => Ok(()),
        }
    }

    async fn open(&mut self, open: Open) -> Result<(), Failure> {
        self.protocol.open(&open)?;
        // A deadline beyond the clock's range is no deadline.
        self.deadline = open.deadline.and_then(|left| Instant::now().checked_add(left));
        let server = self.server;
        let opening = OpenSession::new(server, self.signs, &open);
        let opened = match self.deadline {
            None => opening.await,
            Some(deadline) => timeout_at(deadline, opening).await.unwrap_or_else(|_| {
                let what = "was not ready before the deadline";
                Err(failure::noticed(&server.http.config.address, Code::DeadlineExceeded, what))
            }),
        };
        let (session, opened) = opened?;
        let session = self.open.insert(session);
        let tokens = session.append(&open.committed);
        self.send(Event::Opened(opened)).await;
        self.warmed(tokens).await;
        Ok(())
    }

    async fn propose(&mut self, propose: Propose) -> Result<(), Failure> {
        let rules = self.protocol.propose(&propose)?;
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
        let Proposal { rules, own, first_text_at, prefill_tokens, .. } = proposal;
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
        let finished = Finished { prefill_tokens, timing, ..self.protocol.finish(rules, reason) };
        self.send(Event::Finished(finished)).await;
        Ok(())
    }

    /// Says that text is committed. Nothing of it is computed yet, as far as is known.
    async fn warmed(&self, tokens: u32) {
        self.send(Event::Warmed(Warmed { tokens, ..self.protocol.warmed() })).await;
    }

    /// A caller that is gone needs no event: `run` sees it too.
    async fn send(&self, event: Event) {
        let _ = self.events.send(event).await;
    }
}

/// Waits for the deadline, or for a cancel right behind the proposal.
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
