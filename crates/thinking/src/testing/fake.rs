//! A Thinker that answers from a script, with faults and delays on order.

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

use super::script::{END_OF_TEXT, Moment, Script, pieces};
use crate::{
    thinker::{
        Code, Command, Delta, Event, Failure, FinishReason, Finished, ModelCard, Open, Opened,
        Prompt, Propose, Session, SessionServer, TextHash, Thinker, Timing, Warmed,
    },
    trigger::Matcher,
};

/// How a scripted Thinker behaves beside what it says.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time one token takes.
    pub token_delay: Duration,
    /// Time one prefilled token takes.
    pub prefill_delay: Duration,
    /// What it says it is; `context_tokens` is kept as a limit.
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
    /// The session, counted from 0 in the order in which they started; `None`: every one.
    pub session: Option<u32>,
    /// The command of the session, counted from 0 (which is `Open`).
    pub command: u32,
    /// With a `Propose`: after this many tokens of it instead of before it.
    pub after_tokens: u32,
    /// What happens.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum FaultKind {
    /// The session fails.
    Fail(Failure),
    /// Nothing comes any more, and the channel stays open.
    Silence,
    /// The event channel closes without a word.
    Vanish,
}

/// A Thinker that answers from a [`Script`], true to the contract of [`crate::thinker`].
///
/// Its sessions run as tasks of the tokio runtime that `session` is called in; dropping the Thinker
/// ends them.
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
    /// A Thinker that says what the script says.
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

    /// Tokens made so far, over all sessions: a test sees here that compute stopped.
    pub fn computed_tokens(&self) -> u64 {
        self.shared.computed_tokens.load(Ordering::SeqCst)
    }

    /// Sessions that have not ended.
    pub fn open_sessions(&self) -> u32 {
        *self.shared.open.borrow()
    }

    /// Waits until every session has ended.
    pub async fn idle(&self) {
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = self.shared.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Sessions ever started.
    pub fn started_sessions(&self) -> u32 {
        self.shared.started.load(Ordering::SeqCst)
    }

    /// Every command carried out so far, with its session's number.
    pub fn commands(&self) -> Vec<(u32, Command)> {
        self.shared.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Thinker for ScriptedThinker {
    fn session(&self) -> Session {
        let (session, server) = Session::pair();
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
}

/// Counts a session as open until it is dropped, also when its task is aborted.
struct OpenSession(Arc<Shared>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// Why a session stops.
enum Stop {
    /// The caller gave it up, or nothing more will be asked, or it vanishes.
    Over,
    Failed(Failure),
    Silent,
}

fn invalid(message: &str) -> Stop {
    Stop::Failed(Failure::new(Code::InvalidArgument, message))
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
    /// Commands taken from the queue so far.
    taken: u32,
    /// A command that was read while a proposal ran and is not a cancel.
    next: Option<Command>,
    open: Option<Open>,
    deadline: Option<Instant>,
    committed: String,
    tokens: u32,
    proposal: Option<Proposal>,
}

#[derive(Default)]
struct Proposal {
    text: String,
    /// Where each token ends.
    ends: Vec<usize>,
}

impl State {
    fn new(shared: Arc<Shared>, number: u32, server: SessionServer) -> Self {
        State {
            shared,
            number,
            server,
            taken: 0,
            next: None,
            open: None,
            deadline: None,
            committed: String::new(),
            tokens: 0,
            proposal: None,
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
        match (command, self.open.is_some(), self.proposal.is_some()) {
            (Command::Open(open), false, _) => self.open(open).await,
            (Command::Open(_), true, _) => Err(invalid("the session is open already")),
            (Command::Cancel, _, _) => Ok(()),
            (_, false, _) => Err(invalid("the first command must be open")),
            (Command::Append(append), _, false) => {
                let tokens = self.take(&append.text)?;
                self.warmed(tokens, tokens).await
            }
            (Command::Propose(propose), _, false) => self.propose(number, propose).await,
            (Command::Commit { bytes }, _, true) => self.commit(bytes).await,
            (Command::Commit { .. }, _, false) => Err(invalid("no proposal is open to commit")),
            (_, _, true) => Err(invalid("a proposal is open: commit it first")),
        }
    }

    /// Notes that a command is carried out; answers its number in the session.
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
        self.deadline = open.deadline.map(|left| Instant::now() + left);
        let prompt_tokens = match &open.prompt {
            Prompt::Raw(text) => pieces(text).count(),
            Prompt::Messages(messages) => {
                messages.iter().map(|m| pieces(&m.content).count() + 1).sum()
            }
        } as u32;
        self.tokens = prompt_tokens;
        let committed_tokens = self.take(&open.committed)?;
        self.open = Some(open);
        let card = self.shared.options.card.clone();
        self.send(Event::Opened(Opened { card, prompt_tokens, cached_tokens: 0 })).await?;
        self.warmed(committed_tokens, prompt_tokens + committed_tokens).await
    }

    /// Takes text that somebody else wrote; answers its tokens.
    fn take(&mut self, text: &str) -> Result<u32, Stop> {
        let tokens = pieces(text).count() as u32;
        let context = self.shared.options.card.context_tokens;
        if self.tokens + tokens > context {
            let message = format!("the text does not fit the context of {context} tokens");
            return Err(Stop::Failed(Failure::new(Code::ContextTooLong, message)));
        }
        self.tokens += tokens;
        self.committed.push_str(text);
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
        self.send(Event::Warmed(Warmed {
            committed_bytes: self.committed.len() as u64,
            hash: TextHash::of(&self.committed),
            tokens,
            prefill_tokens,
            prefill_us: start.elapsed().as_micros() as u64,
        }))
        .await
    }

    async fn commit(&mut self, bytes: u64) -> Result<(), Stop> {
        let Some(proposal) = self.proposal.take() else {
            return Err(invalid("no proposal is open to commit"));
        };
        let kept = usize::try_from(bytes).ok().and_then(|bytes| proposal.text.get(..bytes));
        let Some(kept) = kept else {
            return Err(invalid("commit must end on a character's edge of the proposal"));
        };
        // A token that is cut in two is one token still: its kept part is encoded again.
        let whole = proposal.ends.iter().filter(|end| **end <= kept.len()).count();
        let cut = proposal.ends[..whole].last().copied().unwrap_or(0) < kept.len();
        let tokens = whole as u32 + u32::from(cut);
        self.tokens += tokens;
        self.committed.push_str(kept);
        self.warmed(tokens, u32::from(cut)).await
    }

    async fn propose(&mut self, command: u32, propose: Propose) -> Result<(), Stop> {
        if propose.max_tokens == 0 {
            return Err(invalid("max_tokens must be at least 1"));
        }
        let start = Instant::now();
        let mut proposal = Proposal::default();
        let (reason, ended) = self.speak(command, &propose, &mut proposal).await?;
        let finished = Finished {
            reason,
            tokens: proposal.ends.len() as u32 + u32::from(ended),
            bytes: proposal.text.len() as u64,
            prefill_tokens: 0,
            timing: Timing { decode_us: start.elapsed().as_micros() as u64, ..Timing::default() },
        };
        self.proposal = Some(proposal);
        self.send(Event::Finished(finished)).await
    }

    /// Makes the tokens of a proposal; answers why it ended and whether by an end-of-text token.
    async fn speak(
        &mut self,
        command: u32,
        propose: &Propose,
        proposal: &mut Proposal,
    ) -> Result<(FinishReason, bool), Stop> {
        let Some(open) = &self.open else {
            return Err(invalid("the first command must be open"));
        };
        let moment = Moment {
            prompt: &open.prompt,
            committed: &self.committed,
            sampling: &open.sampling,
            propose,
        };
        let mut tokens = self.shared.script.tokens(&moment);
        let mut matcher = propose.watch.clone().map(|watch| Matcher::new(watch, &self.committed));
        loop {
            let made = proposal.ends.len() as u32;
            if made > 0
                && let Some(fault) = self.fault(command, made)
            {
                return Err(fault.into());
            }
            if made == propose.max_tokens {
                return Ok((FinishReason::MaxTokens, false));
            }
            if self.tokens + made >= self.shared.options.card.context_tokens {
                return Ok((FinishReason::ContextFull, false));
            }
            if let Some(reason) = self.interrupted().await? {
                return Ok((reason, false));
            }
            self.shared.computed_tokens.fetch_add(1, Ordering::SeqCst);
            let token = tokens.next().filter(|token| token != END_OF_TEXT);
            let Some(token) = token else {
                let trigger = matcher.as_mut().and_then(Matcher::finish);
                let reason = trigger.map_or(FinishReason::EndOfText, FinishReason::Trigger);
                return Ok((reason, true));
            };
            let before = proposal.text.len();
            proposal.text.push_str(&token);
            proposal.ends.push(proposal.text.len());
            let trigger = matcher.as_mut().and_then(|matcher| matcher.push(&token));
            let read = proposal.text.len() as u64;
            let settled_bytes = matcher.as_ref().map_or(read, Matcher::settled_bytes);
            let delta = Delta { text: token, tokens: 1, settled_bytes, ..Delta::default() };
            self.send(Event::Delta(delta)).await?;
            if let Some(trigger) = trigger {
                return Ok((FinishReason::Trigger(trigger), false));
            }
            if let Some(end) = stop_end(&proposal.text, before, &propose.stop) {
                return Ok((FinishReason::Stop { end: end as u64 }, false));
            }
        }
    }

    /// Waits for the time of one token; answers a reason to stop before it.
    async fn interrupted(&mut self) -> Result<Option<FinishReason>, Stop> {
        // Without a delay other tasks must still get their turn, or no cancel could come in.
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
                // Empty or closed: nothing to do either way.
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

    /// Waits until then, or for the caller to give up, or for a command.
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

/// Where the first stop text that ends after `before` ends.
fn stop_end(text: &str, before: usize, stops: &[String]) -> Option<usize> {
    let ends = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| {
        // One that began in an earlier token counts too.
        let mut from = before.saturating_sub(stop.len() - 1);
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        let found = text[from..].match_indices(stop.as_str()).map(|(at, _)| from + at + stop.len());
        found.filter(|end| *end > before).min()
    });
    ends.min()
}
