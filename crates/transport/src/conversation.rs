//! One session of a client on the Thinker, seen from the node.

use std::{error::Error, future::pending, sync::Arc, time::Duration};

use proto::v1 as wire;
use thinking::{
    session::limits,
    thinker::{Code, Command, Event, Failure, Session, Thinker},
};
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep_until},
};
use tonic::Streaming;
use tracing::Span;

use crate::{
    config::ServerConfig,
    connections::KeptConnection,
    convert,
    lifecycle::{Lifecycle, going_away, stopping},
    node_meter::SessionMeter,
    status,
};

/// How long a client may take to open its session: until then it takes one of the open sessions for nothing.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How long a client may say nothing, no heartbeat either, while nothing is computed for it: twelve of
/// the usual heartbeats. A client that left without a word does not keep its cache.
const CLIENT_SILENCE: Duration = Duration::from_secs(60);
/// A Thinker whose pulse stands still for so long hangs. In less it may compute one layer over a long text.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// A client's session, seen from the node.
pub(crate) struct Conversation {
    /// From the client. `None`: it will send nothing more.
    inbound: Option<Streaming<wire::Command>>,
    /// A command that the Thinker's queue has no room for yet; until then no other is read.
    waiting: Option<Command>,
    /// To the Thinker. `None`: there will be no more.
    commands: Option<mpsc::Sender<Command>>,
    /// From the Thinker. Closed once the session is over, which ends its compute.
    events: mpsc::Receiver<Event>,
    over: bool,
    /// When the session must have been opened. `None`: it was.
    open_by: Option<Instant>,
    /// Commands that the Thinker has not answered.
    owed: usize,
    /// When the client last said something or was answered.
    quiet_since: Instant,
    heartbeat: Duration,
    pulse: PulseWatch,
    lifecycle: watch::Receiver<Lifecycle>,
    meter: SessionMeter,
    /// What it takes of the node until it is over.
    _place: (OwnedSemaphorePermit, KeptConnection),
}

impl Conversation {
    /// A session that is still to be opened.
    pub(crate) fn begin(
        inbound: Streaming<wire::Command>,
        Session { commands, events, .. }: Session,
        pulse: PulseWatch,
        lifecycle: watch::Receiver<Lifecycle>,
        config: &ServerConfig,
        place: (OwnedSemaphorePermit, KeptConnection),
    ) -> Self {
        Conversation {
            inbound: Some(inbound),
            waiting: None,
            commands: Some(commands),
            events,
            over: false,
            open_by: Some(Instant::now() + OPEN_WITHIN),
            owed: 0,
            quiet_since: Instant::now(),
            heartbeat: config.heartbeat,
            pulse,
            lifecycle,
            meter: SessionMeter::new(config.meter.clone()),
            _place: place,
        }
    }

    /// The next message for the client; `None` when the session is over.
    pub(crate) async fn next(&mut self) -> Option<wire::Event> {
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

    /// Waits for the next thing to happen. May be dropped and called again without loss.
    async fn step(&mut self, heartbeat: Instant) -> Step {
        let abandoned_by = self.abandoned_by();
        let Conversation { inbound, waiting, commands, events, open_by, lifecycle, .. } = self;
        // No order of preference: neither a client that talks without end nor a Thinker that does
        // may keep the other from being heard.
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

    /// When the client counts as gone if it says nothing. `None`: something is under way, or nothing
    /// more is expected of it.
    fn abandoned_by(&self) -> Option<Instant> {
        let idle = self.owed == 0 && self.waiting.is_none();
        let expected = self.inbound.is_some() && self.open_by.is_none();
        (idle && expected).then(|| self.quiet_since + CLIENT_SILENCE)
    }

    /// Hands an event of the Thinker on.
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
                    Event::Opened(_) | Event::Delta(_) => {}
                }
                Some(convert::event_to_wire(event))
            }
            // The client had half-closed and everything it asked for is done.
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

    /// Takes what the client sent.
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

    /// Closes the Thinker's commands once the client is done and nothing waits.
    fn half_close(&mut self) {
        if self.inbound.is_none() && self.waiting.is_none() {
            self.open_by = None;
            self.commands = None;
        }
    }

    /// Ends the session, and says why.
    pub(crate) fn fail(&mut self, failure: Failure) -> wire::Event {
        tracing::info!(code = ?failure.code, %failure, "session ended by the node");
        self.meter.end(failure.code.into());
        self.end();
        convert::event_to_wire(Event::Failed(failure))
    }

    /// Whether nothing follows.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    fn end(&mut self) {
        self.over = true;
        self.meter.end("ok");
        self.commands = None;
        self.events.close();
    }
}

/// Watches whether the Thinker's own loop goes round: a heartbeat is its sign of life, and not only the connection's.
pub(crate) struct PulseWatch {
    thinker: Arc<dyn Thinker>,
    last: Option<u64>,
    /// When it was last seen to be another one than before.
    moved_at: Instant,
}

impl PulseWatch {
    pub(crate) fn new(thinker: Arc<dyn Thinker>) -> Self {
        PulseWatch { last: thinker.pulse(), thinker, moved_at: Instant::now() }
    }

    /// Whether the Thinker hangs. One without a pulse never does.
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
    /// The Thinker answered; `None`: it is done.
    Event(Option<Event>),
    /// The client sent something.
    Received(Result<Received, Gone>),
    /// The Thinker took the waiting command.
    HandedOver,
    /// The node's time is over.
    Stopping,
    /// The client never opened the session.
    NotOpened,
    /// The client says nothing any more.
    Abandoned,
    /// Nothing, for a heartbeat's interval.
    Silent,
}

/// What came from the client.
enum Received {
    Command(Command),
    Heartbeat,
    /// Nothing more will.
    End,
}

/// Why nothing can come from the client any more.
enum Gone {
    /// It sent something that cannot be accepted.
    Failed(Failure),
    /// It went away; nobody is left to be told.
    Left,
}

async fn receive(inbound: &mut Option<Streaming<wire::Command>>) -> Result<Received, Gone> {
    let Some(stream) = inbound else { return Ok(Received::End) };
    match stream.message().await {
        Ok(Some(command)) => match convert::command_from_wire(command) {
            // Here and not only when it is its turn: a command that is too large is dropped on this
            // connection's time, and never waits in a queue.
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

/// Gives the waiting command to the Thinker as soon as there is room.
async fn hand_over(commands: &Option<mpsc::Sender<Command>>, waiting: &mut Option<Command>) {
    if let Some(commands) = commands
        && let Ok(permit) = commands.reserve().await
        && let Some(command) = waiting.take()
    {
        permit.send(command);
    }
    // A Thinker that takes no more commands has failed; its events say why.
    *waiting = None;
}

/// Waits until a point in time, or forever when there is none.
async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

fn never_opened() -> Failure {
    Failure::new(
        Code::DeadlineExceeded,
        format!("the session was not opened within {OPEN_WITHIN:?}; send open first"),
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
