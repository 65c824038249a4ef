//! A Thinker that answers from a script, with configurable faults and delays.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    bytes::byte_tokens,
    review,
    script::{END_OF_TEXT, Moment, Script, pieces},
};
use crate::{
    session::{ProposalRules, Protocol, Refusal},
    thinker::{
        Code, Command, Delta, Event, Failure, FinishReason, Finished, ModelCard, Open, Opened,
        Prompt, Propose, Sampling, Session, SessionServer, TextHash, Thinker, Timing, TokenFuture,
        TokenQuery, Warmed,
    },
};

/// How a scripted Thinker behaves, apart from its text.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long one token takes.
    pub token_delay: Duration,
    /// How long one prefilled token takes.
    pub prefill_delay: Duration,
    /// The card it reports; it enforces `context_tokens` as a limit.
    pub card: ModelCard,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        let card = ModelCard {
            name: "scripted".into(),
            family: "scripted".into(),
            context_tokens: 1 << 20,
            device: "cpu".into(),
            tokenizer_fingerprint: "pieces".into(),
            can_review: true,
            can_report_entropy: true,
            ..ModelCard::default()
        };
        Options {
            token_delay: Duration::ZERO,
            prefill_delay: Duration::ZERO,
            card,
            faults: Vec::new(),
        }
    }
}

/// Something that goes wrong at a place in a session.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The session's number, from 0, in the order in which sessions start; `None` for every session.
    pub session: Option<u32>,
    /// The number of the command in the session, from 0 (which is `Open`).
    pub command: u32,
    /// For a `Propose`: happen after this many of its tokens, instead of before it.
    pub after_tokens: u32,
    /// What happens.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum FaultKind {
    /// The session fails.
    Fail(Failure),
    /// No more events come, and the channel stays open.
    Silence,
    /// The event channel closes without a failure.
    Vanish,
}

/// A Thinker that answers from a [`Script`] and keeps the contract of [`crate::thinker`].
///
/// Its sessions run as tasks of the tokio runtime that `session` is called in. Dropping the Thinker ends them.
#[derive(Debug)]
pub struct ScriptedThinker {
    shared: Arc<Shared>,
    sessions: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Shared {
    script: Script,
    options: Options,
    computed_tokens: AtomicU64,
    started: AtomicU32,
    open: watch::Sender<u32>,
    commands: Mutex<Vec<(u32, Command)>>,
}

impl ScriptedThinker {
    /// A Thinker that writes what the script says.
    pub fn new(script: Script) -> Self {
        ScriptedThinker::with_options(script, Options::default())
    }

    /// A Thinker with delays, a card or faults.
    pub fn with_options(script: Script, options: Options) -> Self {
        let shared = Shared {
            script,
            options,
            computed_tokens: AtomicU64::new(0),
            started: AtomicU32::new(0),
            open: watch::Sender::new(0),
            commands: Mutex::new(Vec::new()),
        };
        ScriptedThinker { shared: Arc::new(shared), sessions: Mutex::new(JoinSet::new()) }
    }

    /// Returns the number of tokens generated so far in all sessions. Tests use it to check that compute stopped.
    pub fn computed_tokens(&self) -> u64 {
        self.shared.computed_tokens.load(Ordering::SeqCst)
    }

    /// Returns the number of sessions that have not ended.
    pub fn open_sessions(&self) -> u32 {
        *self.shared.open.borrow()
    }

    /// Waits until every session has ended.
    pub async fn idle(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.shared.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Returns the number of sessions ever started.
    pub fn started_sessions(&self) -> u32 {
        self.shared.started.load(Ordering::SeqCst)
    }

    /// Returns every command carried out so far, with its session's number.
    pub fn commands(&self) -> Vec<(u32, Command)> {
        self.shared.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Thinker for ScriptedThinker {
    fn session(&self) -> Session {
        let (session, server) = Session::channel();
        let number = self.shared.started.fetch_add(1, Ordering::SeqCst);
        self.shared.open.send_modify(|open| *open += 1);
        let guard = OpenSession(Arc::clone(&self.shared));
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        while sessions.try_join_next().is_some() {}
        sessions.spawn(async move {
            let mut state = State::new(Arc::clone(&guard.0), number, server);
            match state.run().await {
                Stop::Over => {}
                Stop::Failed(failure) => {
                    let _ = state.server.events.send(Event::Failed(failure)).await;
                }
                Stop::Silent => state.server.events.closed().await,
            }
            drop(guard);
        });
        session
    }

    /// Each byte is a token.
    fn tokens(&self, query: TokenQuery) -> TokenFuture {
        let context_tokens = self.shared.options.card.context_tokens;
        Box::pin(async move { byte_tokens(query, context_tokens).map(Some) })
    }
}

/// Counts a session as open until it is dropped, even if its task is aborted.
struct OpenSession(Arc<Shared>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// Why a session stops.
enum Stop {
    /// The caller gave it up or will send no more commands, or it vanishes.
    Over,
    Failed(Failure),
    Silent,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Failed(refusal.into())
    }
}

impl From<FaultKind> for Stop {
    fn from(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Fail(failure) => Stop::Failed(failure),
            FaultKind::Silence => Stop::Silent,
            FaultKind::Vanish => Stop::Over,
        }
    }
}

/// One session.
struct State {
    shared: Arc<Shared>,
    number: u32,
    server: SessionServer,
    /// How many commands were taken from the queue so far.
    taken: u32,
    /// A command that was read while a proposal ran and is not a cancel.
    next: Option<Command>,
    protocol: Protocol,
    prompt: Prompt,
    sampling: Sampling,
    deadline: Option<Instant>,
    /// Tokens of the prompt and the committed text.
    tokens: u32,
    /// Where each token of the last proposal ends, in bytes.
    ends: Vec<usize>,
    /// Where the text that others wrote last begins, in bytes of the committed text.
    others_from: usize,
}

impl State {
    fn new(shared: Arc<Shared>, number: u32, server: SessionServer) -> Self {
        State {
            shared,
            number,
            server,
            taken: 0,
            next: None,
            protocol: Protocol::default(),
            prompt: Prompt::Raw(String::new()),
            sampling: Sampling::default(),
            deadline: None,
            tokens: 0,
            ends: Vec::new(),
            others_from: 0,
        }
    }

    async fn run(&mut self) -> Stop {
        loop {
            let command = match self.next.take() {
                Some(command) => command,
                None => tokio::select! {
                    command = self.server.commands.recv() => match command {
                        Some(command) => command,
                        None => return Stop::Over,
                    },
                    () = self.server.events.closed() => return Stop::Over,
                },
            };
            if let Err(stop) = self.carry_out(command).await {
                return stop;
            }
        }
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), Stop> {
        let number = self.record(&command);
        if let Some(fault) = self.fault(number, 0) {
            return Err(fault.into());
        }
        match command {
            Command::Open(open) => self.open(open).await,
            Command::Append(append) => {
                self.protocol.append(&append)?;
                let tokens = self.take(&append.text)?;
                let prefill = if self.protocol.is_objecting() { 0 } else { tokens };
                self.warmed(tokens, prefill).await
            }
            Command::Cut(cut) => {
                if self.protocol.cut(cut)?.is_some() {
                    self.others_from = self.protocol.committed().len();
                }
                self.others_from = self.others_from.min(self.protocol.committed().len());
                self.warmed(0, 0).await
            }
            Command::Propose(propose) => self.propose(number, propose).await,
            Command::Commit { bytes } => self.commit(bytes).await,
            Command::Cancel => Ok(()),
        }
    }

    /// Records that a command is carried out. Returns its number in the session.
    fn record(&mut self, command: &Command) -> u32 {
        let record = (self.number, command.clone());
        self.shared.commands.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        self.taken += 1;
        self.taken - 1
    }

    fn fault(&self, command: u32, tokens: u32) -> Option<FaultKind> {
        let here = |fault: &&Fault| {
            fault.command == command
                && fault.after_tokens == tokens
                && fault.session.is_none_or(|session| session == self.number)
        };
        self.shared.options.faults.iter().find(here).map(|fault| fault.kind.clone())
    }

    async fn send(&self, event: Event) -> Result<(), Stop> {
        self.server.events.send(event).await.map_err(|_| Stop::Over)
    }

    async fn open(&mut self, open: Open) -> Result<(), Stop> {
        self.protocol.open(&open)?;
        self.deadline = open.deadline.map(|left| Instant::now() + left);
        let prompt_tokens = match &open.prompt {
            Prompt::Raw(text) => pieces(text).count(),
            Prompt::Messages(messages) => {
                messages.iter().map(|m| pieces(&m.content).count() + 1).sum()
            }
        } as u32;
        self.tokens = prompt_tokens;
        let committed_tokens = self.take(&open.committed)?;
        (self.prompt, self.sampling) = (open.prompt, open.sampling);
        let card = self.shared.options.card.clone();
        self.send(Event::Opened(Box::new(Opened { card, prompt_tokens, cached_tokens: 0 })))
            .await?;
        self.warmed(committed_tokens, prompt_tokens + committed_tokens).await
    }

    /// Counts text that another writer wrote. Returns its tokens.
    fn take(&mut self, text: &str) -> Result<u32, Stop> {
        let tokens = pieces(text).count() as u32;
        let context = self.shared.options.card.context_tokens;
        if self.tokens + tokens > context {
            let message = format!("the text does not fit the context of {context} tokens");
            return Err(Stop::Failed(Failure::new(Code::ContextTooLong, message)));
        }
        self.tokens += tokens;
        Ok(tokens)
    }

    async fn warmed(&mut self, tokens: u32, prefill_tokens: u32) -> Result<(), Stop> {
        let start = Instant::now();
        let delay = self.shared.options.prefill_delay * prefill_tokens;
        if delay > Duration::ZERO {
            tokio::select! {
                () = sleep_until(start + delay) => {}
                () = self.server.events.closed() => return Err(Stop::Over),
            }
        }
        if let Some(objection) =
            review::judge(&mut self.protocol, self.others_from, |committed, seed| {
                self.shared.script.next_token(&self.prompt, committed, &self.sampling, seed)
            })
        {
            self.send(Event::Objection(Box::new(objection))).await?;
        }
        self.send(Event::Warmed(Warmed {
            tokens,
            prefill_tokens,
            prefill_us: start.elapsed().as_micros() as u64,
            ..self.protocol.warmed()
        }))
        .await
    }

    async fn commit(&mut self, bytes: u64) -> Result<(), Stop> {
        let kept = self.protocol.commit(bytes)?.len();
        // A token that is cut in two still counts as one: its kept part is encoded again.
        let whole = self.ends.iter().filter(|end| **end <= kept).count();
        let cut = self.ends[..whole].last().copied().unwrap_or(0) < kept;
        let tokens = whole as u32 + u32::from(cut);
        self.tokens += tokens;
        self.others_from = self.protocol.committed().len();
        self.warmed(tokens, u32::from(cut)).await
    }

    async fn propose(&mut self, command: u32, propose: Propose) -> Result<(), Stop> {
        let mut rules = self.protocol.propose(&propose)?;
        let start = Instant::now();
        let reason = if self.protocol.is_objecting() {
            FinishReason::Cancelled
        } else {
            self.speak(command, &propose, &mut rules).await?
        };
        let timing = Timing { decode_us: start.elapsed().as_micros() as u64, ..Timing::default() };
        let finished = Finished { timing, ..self.protocol.finish(rules, reason) };
        self.send(Event::Finished(finished)).await
    }

    /// Generates the tokens of a proposal. Returns why it ended.
    async fn speak(
        &mut self,
        command: u32,
        propose: &Propose,
        rules: &mut ProposalRules,
    ) -> Result<FinishReason, Stop> {
        let moment = Moment {
            prompt: &self.prompt,
            committed: self.protocol.committed(),
            sampling: &self.sampling,
            propose,
        };
        let mut tokens = self.shared.script.tokens(&moment);
        self.ends.clear();
        loop {
            if self.tokens + rules.tokens() >= self.shared.options.card.context_tokens {
                return Ok(FinishReason::ContextFull);
            }
            if let Some(reason) = self.interrupted().await? {
                return Ok(reason);
            }
            self.shared.computed_tokens.fetch_add(1, Ordering::SeqCst);
            let Some(token) = tokens.next().filter(|token| token != END_OF_TEXT) else {
                return Ok(rules.end_of_text());
            };
            let first_token_entropy = self.entropy(rules);
            let reason = rules.push(&token, 1);
            self.ends.push(rules.text().len());
            if let Some(delta) = rules.delta(reason.as_ref()) {
                self.send(Event::Delta(Delta { first_token_entropy, ..delta })).await?;
            }
            if let Some(fault) = self.fault(command, rules.tokens()) {
                return Err(fault.into());
            }
            if let Some(reason) = reason {
                return Ok(reason);
            }
        }
    }

    /// Returns the entropy of the next token if requested: from 0 to 4 nats, derived only from the text before it.
    fn entropy(&self, rules: &ProposalRules) -> Option<f32> {
        let committed = self.protocol.committed();
        let is_wanted =
            self.shared.options.card.can_report_entropy && rules.wants_entropy(committed);
        let hash = TextHash::of(&format!("{committed}{}", rules.text())).0 >> 32;
        is_wanted.then(|| (hash % 4096) as f32 / 1024.0)
    }

    /// Waits for the time of one token. Returns a reason to stop before it, if there is one.
    async fn interrupted(&mut self) -> Result<Option<FinishReason>, Stop> {
        // Without a delay, other tasks must still get to run, or no cancel could arrive.
        tokio::task::yield_now().await;
        let due = Instant::now() + self.shared.options.token_delay;
        loop {
            if self.server.events.is_closed() {
                return Err(Stop::Over);
            }
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(Some(FinishReason::Deadline));
            }
            if self.next.is_none() {
                // If the queue is empty or closed, there is nothing to do.
                self.next = self.server.commands.try_recv().ok();
            }
            // Only the command that directly follows the proposal is ever read ahead.
            if let Some(cancel) = self.next.take_if(|next| *next == Command::Cancel) {
                self.record(&cancel);
                return Ok(Some(FinishReason::Cancelled));
            }
            if due <= Instant::now() {
                return Ok(None);
            }
            let until = self.deadline.map_or(due, |deadline| deadline.min(due));
            self.wait(until).await;
        }
    }

    /// Waits until this time, or until the caller gives up or sends a command.
    async fn wait(&mut self, until: Instant) {
        if self.next.is_some() || self.server.commands.is_closed() {
            let _ = timeout_at(until, self.server.events.closed()).await;
            return;
        }
        tokio::select! {
            () = sleep_until(until) => {}
            () = self.server.events.closed() => {}
            command = self.server.commands.recv() => self.next = command,
        }
    }
}
