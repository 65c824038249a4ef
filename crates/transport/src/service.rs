//! The service's methods on the node: a client's session on the Thinker, and the calls that need no session.
//!
//! A session is a task, so that its timeouts fire even when the client reads nothing and the connection therefore does
//! not poll the stream. The stream owns the task: when the client goes away, the connection drops the stream and with
//! it the Thinker's session.

use std::{error::Error, future::pending, pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use proto::v1 as wire;
use thinking::{
    session::limits,
    thinker::{ClientId, Code, Command, Event, Failure, Load, Session, Thinker},
};
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument as _, Span, field};

use crate::{
    PROTOCOL_VERSION,
    admission::{RETRY_AFTER_MS, SessionLimit},
    config::ServerConfig,
    connections::{KeptConnection, client_of},
    convert,
    node_meter::SessionMeter,
    status,
};

/// How long a client may take to open its session: until then it occupies one of the places for sessions without using
/// it.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How long a client may send nothing, not even a heartbeat, while nothing is computed for it: twelve default heartbeat
/// intervals. A client that vanished does not keep its cache.
const CLIENT_SILENCE: Duration = Duration::from_secs(60);
/// How long a client may leave an event unread while HTTP/2's windows are full. Even a slow client reads one event in
/// this time.
const UNREAD: Duration = Duration::from_secs(60);
/// A Thinker whose pulse does not change for this long hangs. Anything shorter may be one layer over a long text.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// How the server treats sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// New sessions are accepted.
    Serving,
    /// New sessions are refused, running ones continue.
    Draining,
    /// Running sessions fail.
    Stopping,
}

/// The service.
pub(crate) struct Service {
    thinker: Arc<dyn Thinker>,
    config: ServerConfig,
    limit: SessionLimit,
    lifecycle: watch::Receiver<Lifecycle>,
}

impl Service {
    pub(crate) fn new(
        thinker: Arc<dyn Thinker>,
        config: ServerConfig,
        limit: SessionLimit,
        lifecycle: watch::Receiver<Lifecycle>,
    ) -> Self {
        Service { thinker, config, limit, lifecycle }
    }

    fn load(&self) -> Load {
        Load {
            max_sessions: self.config.max_sessions,
            free_cache_tokens: self.thinker.free_cache_tokens(),
            ..self.config.meter.load()
        }
    }

    /// Returns the client that a call belongs to. With a token, all callers count as one client, because they share it;
    /// without one, nothing shows that two connections belong to the same client.
    fn client<T>(&self, request: &Request<T>) -> ClientId {
        if self.config.token.is_some() {
            return ClientId::default();
        }
        client_of(request)
    }
}

#[tonic::async_trait]
impl wire::thinker_server::Thinker for Service {
    type ThinkStream = Pin<Box<dyn Stream<Item = Result<wire::Event, Status>> + Send>>;

    async fn think(
        &self,
        request: Request<Streaming<wire::Command>>,
    ) -> Result<Response<Self::ThinkStream>, Status> {
        // Taken before the lifecycle is read, so that the shutdown, which waits until all sessions are closed, waits
        // for this one too.
        let permit = self.limit.admit();
        let is_going = *self.lifecycle.borrow() != Lifecycle::Serving;
        let permit = if is_going { Err(going_away()) } else { permit };
        let permit = permit.map_err(|failure| {
            self.config.meter.call("think", failure.code.into());
            status::status_from_failure(failure)
        })?;
        // At error level, so that the span is always enabled and every log line of the session names its question.
        let span = tracing::error_span!("session", question_id = field::Empty);
        traces::follow(&span, |name| request.metadata().get(name)?.to_str().ok());
        let client = self.client(&request);
        let Session { commands, events, .. } = span.in_scope(|| self.thinker.session_of(client));
        let kept = KeptConnection::of(&request);
        let conversation = Conversation {
            inbound: Some(request.into_inner()),
            waiting: None,
            commands: Some(commands),
            events,
            over: false,
            open_by: Some(Instant::now() + OPEN_WITHIN),
            owed: 0,
            quiet_since: Instant::now(),
            heartbeat: self.config.heartbeat,
            pulse: PulseWatch::new(Arc::clone(&self.thinker)),
            lifecycle: self.lifecycle.clone(),
            meter: SessionMeter::new(self.config.meter.clone()),
            _permit: permit,
            _connection: kept,
        };
        // HTTP/2's windows buffer enough.
        let (out, events) = mpsc::channel(1);
        let mut session = JoinSet::new();
        session.spawn(conversation.run(out).instrument(span));
        let events = stream::unfold((events, session), |(mut events, mut session)| async move {
            let event = match events.recv().await {
                Some(event) => event,
                None => last_event(&mut session).await?,
            };
            Some((Ok(event), (events, session)))
        });
        Ok(Response::new(Box::pin(events)))
    }

    async fn describe(
        &self,
        _: Request<wire::DescribeRequest>,
    ) -> Result<Response<wire::DescribeResponse>, Status> {
        self.config.meter.call("describe", "ok");
        Ok(Response::new(wire::DescribeResponse {
            protocol_version: PROTOCOL_VERSION,
            model: Some(convert::card_to_wire(self.config.card.clone())),
            load: Some(convert::load_to_wire(self.load())),
        }))
    }

    async fn tokenize(
        &self,
        request: Request<wire::TokenizeRequest>,
    ) -> Result<Response<wire::TokenizeResponse>, Status> {
        if *self.lifecycle.borrow() != Lifecycle::Serving {
            return Err(status::status_from_failure(going_away()));
        }
        let query = convert::query_from_wire(request.into_inner());
        limits::check_tokens(&query).map_err(|why| status::status_from_failure(why.into()))?;
        match self.thinker.tokens(query).await {
            Ok(Some(reply)) => Ok(Response::new(convert::reply_to_wire(reply))),
            Ok(None) => Err(Status::unimplemented(
                "this node has no tokenizer to ask: its model is in another server",
            )),
            Err(failure) => Err(status::status_from_failure(failure)),
        }
    }
}

/// A client's session, as the node sees it.
struct Conversation {
    /// From the client. `None`: it will send nothing more.
    inbound: Option<Streaming<wire::Command>>,
    /// A command that the Thinker's queue has no room for yet. No other command is read meanwhile.
    waiting: Option<Command>,
    /// To the Thinker. `None`: there will be no more commands.
    commands: Option<mpsc::Sender<Command>>,
    /// From the Thinker. Closed when the session is over, which ends its compute.
    events: mpsc::Receiver<Event>,
    over: bool,
    /// The deadline for opening the session. `None`: it is open.
    open_by: Option<Instant>,
    /// Commands that the Thinker has not answered yet.
    owed: usize,
    /// When the client last sent something or was last answered.
    quiet_since: Instant,
    heartbeat: Duration,
    pulse: PulseWatch,
    lifecycle: watch::Receiver<Lifecycle>,
    meter: SessionMeter,
    _permit: OwnedSemaphorePermit,
    _connection: KeptConnection,
}

/// Returns the last event of a finished session, which waits for the client without occupying a place.
async fn last_event(session: &mut JoinSet<Option<wire::Event>>) -> Option<wire::Event> {
    match session.join_next().await? {
        Ok(last) => last,
        Err(why) => {
            tracing::error!(%why, "a session's task failed");
            None
        }
    }
}

impl Conversation {
    /// Runs the session from its start to its end. Returns the last event, if there is one.
    async fn run(mut self, out: mpsc::Sender<wire::Event>) -> Option<wire::Event> {
        while let Some(event) = self.next().await {
            if self.over {
                return Some(event);
            }
            let room = select! {
                room = out.reserve() => room.ok(),
                () = stopping(&mut self.lifecycle) => return Some(self.fail(going_away())),
                () = sleep(UNREAD) => return Some(self.fail(unread())),
            };
            room?.send(event);
        }
        None
    }

    /// Waits for the next message for the client. Returns `None` when the session is over.
    async fn next(&mut self) -> Option<wire::Event> {
        if self.over {
            return None;
        }
        let mut heartbeat = Instant::now() + self.heartbeat;
        loop {
            match self.step(heartbeat).await {
                Step::Event(event) => return self.pass_on(event),
                Step::Received(Ok(received)) => self.take(received),
                Step::Received(Err(Gone::Failed(failure))) => return Some(self.fail(failure)),
                Step::Received(Err(Gone::Left)) => {
                    self.end();
                    return None;
                }
                Step::HandedOver => self.half_close(),
                Step::Stopping => return Some(self.fail(going_away())),
                Step::NotOpened => return Some(self.fail(never_opened())),
                Step::Abandoned => return Some(self.fail(abandoned())),
                Step::Silent if self.pulse.hangs() => heartbeat = Instant::now() + self.heartbeat,
                Step::Silent => return Some(convert::node_heartbeat()),
            }
        }
    }

    /// Waits for the next thing to happen. Cancel-safe: it may be dropped and called again without loss.
    async fn step(&mut self, heartbeat: Instant) -> Step {
        let abandoned_by = self.abandoned_by();
        let Conversation { inbound, waiting, commands, events, open_by, lifecycle, .. } = self;
        // The order is random: neither a client nor a Thinker that sends without end may starve the other.
        select! {
            event = events.recv() => Step::Event(event),
            received = receive(inbound), if waiting.is_none() && inbound.is_some() => {
                Step::Received(received)
            }
            () = hand_over(commands, waiting), if waiting.is_some() => Step::HandedOver,
            () = stopping(lifecycle) => Step::Stopping,
            () = until(*open_by) => Step::NotOpened,
            () = until(abandoned_by) => Step::Abandoned,
            () = sleep_until(heartbeat) => Step::Silent,
        }
    }

    /// Returns when the client counts as gone if it sends nothing. `None`: something is in progress, or nothing more is
    /// expected from the client.
    fn abandoned_by(&self) -> Option<Instant> {
        let idle = self.owed == 0 && self.waiting.is_none();
        let expected = self.inbound.is_some() && self.open_by.is_none();
        (idle && expected).then(|| self.quiet_since + CLIENT_SILENCE)
    }

    /// Passes an event of the Thinker on.
    fn pass_on(&mut self, event: Option<Event>) -> Option<wire::Event> {
        match event {
            Some(event) => {
                self.meter.answered(&event);
                match event {
                    Event::Failed(_) => self.end(),
                    Event::Warmed(_) | Event::Finished(_) => {
                        self.owed = self.owed.saturating_sub(1);
                        self.quiet_since = Instant::now();
                    }
                    Event::Opened(_) | Event::Delta(_) | Event::Objection(_) => {}
                }
                Some(convert::event_to_wire(event))
            }
            // The client had half-closed the stream, and everything it asked for is done.
            None if self.inbound.is_none() && self.waiting.is_none() => {
                self.end();
                None
            }
            None => Some(self.fail(Failure::new(
                Code::Internal,
                "the model's session ended without a reason; see the node's log",
            ))),
        }
    }

    /// Handles what the client sent.
    fn take(&mut self, received: Received) {
        self.quiet_since = Instant::now();
        match received {
            Received::Command(command) => {
                if let Command::Open(open) = &command {
                    Span::current().record("question_id", open.question_id.as_str());
                    tracing::info!("session opened");
                }
                self.meter.asked(&command);
                self.open_by = None;
                self.owed += usize::from(!matches!(command, Command::Cancel));
                self.waiting = Some(command);
            }
            Received::Heartbeat => {}
            Received::End => {
                self.inbound = None;
                self.half_close();
            }
        }
    }

    /// Closes the Thinker's command queue once the client is done and no command waits.
    fn half_close(&mut self) {
        if self.inbound.is_none() && self.waiting.is_none() {
            self.open_by = None;
            self.commands = None;
        }
    }

    fn fail(&mut self, failure: Failure) -> wire::Event {
        tracing::info!(code = ?failure.code, %failure, "session ended by the node");
        self.meter.end(failure.code.into());
        self.end();
        convert::event_to_wire(Event::Failed(failure))
    }

    fn end(&mut self) {
        self.over = true;
        self.meter.end("ok");
        self.commands = None;
        self.events.close();
    }
}

/// Watches the Thinker's pulse, so that a heartbeat shows that the Thinker is alive and not only the connection.
struct PulseWatch {
    thinker: Arc<dyn Thinker>,
    last: Option<u64>,
    /// When the pulse last changed.
    moved_at: Instant,
}

impl PulseWatch {
    fn new(thinker: Arc<dyn Thinker>) -> Self {
        PulseWatch { last: thinker.pulse(), thinker, moved_at: Instant::now() }
    }

    /// Returns whether the Thinker hangs. A Thinker without a pulse never does.
    fn hangs(&mut self) -> bool {
        let (pulse, now) = (self.thinker.pulse(), Instant::now());
        if pulse.is_none() || pulse != self.last {
            (self.last, self.moved_at) = (pulse, now);
        }
        let still_for = now - self.moved_at;
        if still_for >= HANGS_AFTER {
            tracing::warn!(?still_for, "the model hangs: its session gets no heartbeat");
        }
        still_for >= HANGS_AFTER
    }
}

/// What happened in a session.
enum Step {
    /// The Thinker sent an event; `None`: it is done.
    Event(Option<Event>),
    /// The client sent something.
    Received(Result<Received, Gone>),
    /// The Thinker took the waiting command.
    HandedOver,
    /// The server ends its running sessions.
    Stopping,
    /// The client never opened the session.
    NotOpened,
    /// The client has been silent for too long.
    Abandoned,
    /// Nothing happened for a heartbeat interval.
    Silent,
}

/// What came from the client.
enum Received {
    Command(Command),
    Heartbeat,
    /// Nothing more will come.
    End,
}

/// Why nothing more can come from the client.
enum Gone {
    /// It sent something that cannot be accepted.
    Failed(Failure),
    /// It went away; there is nobody to send an error to.
    Left,
}

async fn receive(inbound: &mut Option<Streaming<wire::Command>>) -> Result<Received, Gone> {
    let Some(stream) = inbound else { return Ok(Received::End) };
    match stream.message().await {
        Ok(Some(command)) => match convert::command_from_wire(command) {
            // Checked on arrival and not only when the command is its turn: a command that is too large is dropped on
            // this connection's time and never waits in a queue.
            Ok(Some(command)) => match limits::check(&command) {
                Ok(()) => Ok(Received::Command(command)),
                Err(refusal) => Err(Gone::Failed(refusal.into())),
            },
            Ok(None) => Ok(Received::Heartbeat),
            Err(failure) => Err(Gone::Failed(failure)),
        },
        Ok(None) => Ok(Received::End),
        Err(status) => Err(match status::too_large_to_take(&status) {
            Some(failure) => Gone::Failed(failure),
            None if status.source().is_some() => Gone::Left,
            None => Gone::Failed(Failure::new(Code::InvalidArgument, status.message())),
        }),
    }
}

/// Hands the waiting command to the Thinker as soon as there is room.
async fn hand_over(commands: &Option<mpsc::Sender<Command>>, waiting: &mut Option<Command>) {
    if let Some(commands) = commands
        && let Ok(permit) = commands.reserve().await
        && let Some(command) = waiting.take()
    {
        permit.send(command);
    }
    // A Thinker that accepts no more commands has failed; its events say why.
    *waiting = None;
}

/// Waits until the server ends its running sessions.
async fn stopping(lifecycle: &mut watch::Receiver<Lifecycle>) {
    // Fails only when the server is dropped, which also means the end.
    let _ = lifecycle.wait_for(|lifecycle| *lifecycle == Lifecycle::Stopping).await;
}

/// Waits until a point in time, or forever if there is none.
async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

fn going_away() -> Failure {
    let message = "node is shutting down; use another one, or try again when it is back";
    Failure { retry_after_ms: Some(RETRY_AFTER_MS), ..Failure::new(Code::Unavailable, message) }
}

fn never_opened() -> Failure {
    Failure::new(
        Code::DeadlineExceeded,
        format!("the session was not opened within {OPEN_WITHIN:?}; send open first"),
    )
}

fn unread() -> Failure {
    Failure::new(
        Code::DeadlineExceeded,
        format!("the client read nothing for {UNREAD:?}; read the session's events as they come"),
    )
}

fn abandoned() -> Failure {
    Failure::new(
        Code::DeadlineExceeded,
        format!(
            "the client said nothing for {CLIENT_SILENCE:?}; send heartbeats to keep a session"
        ),
    )
}
