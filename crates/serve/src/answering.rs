//! One answer in progress: a task that sends what is written, and how the answer ended, to the response.
//!
//! The task ends with the answer. It is cancelled, and both models with it, when the response is dropped, when the
//! client falls too far behind, and when the server stops.

mod narrator;
mod shaper;

use std::{fs::File, sync::Arc};

use answer::{Ended, Observer, Outcome, Run, Stamped, answer, journal::JournalWriter};
use thinking::policy::{End, PolicyKind};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    narrator::{Answered, Narrator, end_name},
    shaper::{MessagePart, MessagePiece},
};
use crate::{
    error::{ApiError, ErrorCode},
    journals::JournalFolder,
    metrics::Metrics,
    queue::Turn,
};

/// How many pieces a listener may be behind.
pub(crate) const MOST_UNREAD: usize = 1024;

/// One of the answers to a request.
pub(crate) struct AnswerJob {
    /// The index of the answer.
    pub(crate) index: u32,
    pub(crate) run: Run,
    pub(crate) is_inline: bool,
    /// Whether to send pieces as they are written.
    pub(crate) is_streamed: bool,
    /// The journal to write, if any, and its folder.
    pub(crate) journal: Option<(JournalFolder, JournalWriter<File>)>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) policy: PolicyKind,
    /// Its place among the answers that may run at a time.
    pub(crate) turn: Turn,
    /// Cancelled when the server stops, which ends the answer too.
    pub(crate) stopping: CancellationToken,
    /// The client's connection, to close it if the client does not read.
    pub(crate) connection: CancellationToken,
}

/// News of an answer, with the answer's index.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) index: u32,
    pub(crate) what: AnswerNews,
}

/// News of an answer.
#[derive(Debug)]
pub(crate) enum AnswerNews {
    /// A small node accepted the question.
    Opened {
        /// The question's id in the nodes' logs.
        id: String,
    },
    /// A piece of the message.
    Piece(MessagePiece),
    /// No large node is left.
    Degraded(String),
    /// A large node is back.
    Rejoined(String),
    /// A node was lost, and another one continued.
    Resumed { from: String, to: String, reason: String },
    /// The answer has ended. Always the last news.
    Ended(Result<Box<Answered>, ApiError>),
}

impl AnswerJob {
    /// Runs the answer. All news goes to `told`, whose last slot is reserved for the end.
    pub(crate) async fn work(self, told: mpsc::Sender<Told>) {
        let AnswerJob { index, run, turn, stopping, connection, metrics, policy, .. } = self;
        let (folder, journal) = self.journal.unzip();
        let Ok(last) = told.clone().try_reserve_owned() else { return };
        let enough = CancellationToken::new();
        let id = run.question.id.clone();
        let mut listener = Listener {
            journal,
            index,
            told,
            is_streamed: self.is_streamed,
            enough: enough.clone(),
            connection,
            narrator: Narrator::new(
                id.clone(),
                run.question.beginning.clone(),
                self.is_inline,
                policy.reviews() || policy == PolicyKind::Score,
            ),
        };
        let gone = listener.told.clone();
        let cancel = async {
            tokio::select! {
                () = enough.cancelled() => {}
                () = stopping.cancelled() => {}
                () = gone.closed() => {}
            }
        };
        let outcome = answer(run, &mut listener, cancel).await;
        drop(turn);
        let written = listener.journal.take().map(JournalWriter::finish);
        if let Some(Err(why)) = written {
            tracing::warn!(question_id = id, %why, "the journal of an answer is incomplete");
        }
        let summary = outcome.summary.clone();
        let ended = listener.end(outcome, stopping.is_cancelled());
        match &ended {
            Ok(answered) => metrics.answer(policy.name(), answered.end, &summary),
            Err(error) => {
                tracing::info!(question_id = id, %error, "no answer");
                metrics.answer(policy.name(), error.code.into(), &summary);
            }
        }
        last.send(Told { index, what: AnswerNews::Ended(ended.map(Box::new)) });
        if let Some(folder) = folder {
            let _ = tokio::task::spawn_blocking(move || folder.prune()).await;
        }
    }
}

/// Observes an answer, and forwards news of it to the response.
struct Listener {
    journal: Option<JournalWriter<File>>,
    index: u32,
    told: mpsc::Sender<Told>,
    is_streamed: bool,
    enough: CancellationToken,
    connection: CancellationToken,
    narrator: Narrator,
}

impl Observer for Listener {
    fn see(&mut self, stamped: &Stamped) {
        if let Some(journal) = &mut self.journal {
            journal.see(stamped);
        }
        for what in self.narrator.see(stamped) {
            self.tell(what);
        }
    }
}

impl Listener {
    fn tell(&mut self, what: AnswerNews) {
        if !self.is_streamed {
            return;
        }
        let told = self.told.try_send(Told { index: self.index, what });
        if let Err(mpsc::error::TrySendError::Full(_)) = told {
            if !self.connection.is_cancelled() {
                tracing::warn!(
                    question_id = self.narrator.id(),
                    "the client does not read: its answer is cancelled"
                );
            }
            self.connection.cancel();
            self.enough.cancel();
        }
    }

    /// Returns the result of the answer.
    fn end(self, outcome: Outcome, is_stopping: bool) -> Result<Answered, ApiError> {
        match &outcome.ended {
            Ended::Failed { node, failure } => {
                let part = outcome.summary.part_of(node);
                return Err(ApiError::of_failure(part, node, failure));
            }
            Ended::Complete(End::Cancelled) if is_stopping => {
                return Err(ApiError::shutting_down());
            }
            Ended::Complete(End::Deadline) if outcome.transcript.spans().is_empty() => {
                let why =
                    "the deadline passed before there was any text: give the answer more time";
                return Err(ApiError::new(ErrorCode::DeadlineExceeded, why));
            }
            Ended::Complete(_) => {}
        }
        Ok(self.narrator.end(outcome.summary))
    }
}
