//! How the conformance kit talks to a Thinker: through a session that checks every answer against the contract.

use std::time::Duration;

use tokio::time::timeout;

use super::case::{KitSettings, Outcome};
use crate::thinker::{
    Append, Code, Command, Event, Failure, Finished, Open, Opened, Propose, Review, Session,
    TextHash, Thinker, ThoughtStart, Warmed,
};

/// A conversation with a session that checks every answer against the contract.
pub(super) struct Talk<'a> {
    session: Option<Session>,
    settings: &'a KitSettings,
    /// What the committed text must be.
    pub(super) committed: String,
}

/// A finished proposal.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Proposal {
    pub(super) text: String,
    /// The entropies that were reported, each with the start of its piece.
    pub(super) entropies: Vec<(usize, f32)>,
    pub(super) finished: Finished,
}

impl<'a> Talk<'a> {
    pub(super) fn new(thinker: &dyn Thinker, settings: &'a KitSettings) -> Self {
        Talk { session: Some(thinker.session()), settings, committed: String::new() }
    }

    /// Opens a session with this committed text.
    pub(super) async fn opened(
        thinker: &dyn Thinker,
        settings: &'a KitSettings,
        committed: &str,
    ) -> Result<(Self, Opened), String> {
        let mut talk = Talk::new(thinker, settings);
        talk.send(talk.open(committed, None)).await?;
        committed.clone_into(&mut talk.committed);
        let opened = talk.read_opened().await?;
        talk.read_warmed().await?;
        Ok((talk, opened))
    }

    /// Opens a session that reviews.
    pub(super) async fn reviewing(
        thinker: &dyn Thinker,
        settings: &'a KitSettings,
        committed: &str,
        review: Review,
    ) -> Result<Self, String> {
        let mut talk = Talk::new(thinker, settings);
        talk.send(talk.open_reviewing(committed, review)).await?;
        committed.clone_into(&mut talk.committed);
        talk.read_opened().await?;
        talk.read_warmed().await?;
        Ok(talk)
    }

    pub(super) fn open_reviewing(&self, committed: &str, review: Review) -> Command {
        match self.open(committed, None) {
            Command::Open(open) => Command::Open(Open { review: Some(review), ..open }),
            other => other,
        }
    }

    pub(super) fn open(&self, committed: &str, deadline: Option<Duration>) -> Command {
        Command::Open(Open {
            question_id: "conformance".into(),
            prompt: self.settings.prompt.clone(),
            committed: committed.into(),
            sampling: self.settings.sampling,
            deadline,
            thought: ThoughtStart::Unknown,
            review: None,
        })
    }

    pub(super) async fn send(&self, command: Command) -> Outcome {
        let Some(session) = &self.session else {
            return Err("the kit dropped this session".into());
        };
        let sent = timeout(self.settings.wait, session.commands.send(command)).await;
        sent.map_err(|_| "the command queue stays full")?
            .map_err(|_| "the command channel is closed".to_owned())
    }

    /// Drops the command sender and keeps the events.
    pub(super) fn half_close(&mut self) {
        if let Some(session) = &mut self.session {
            // The only way to drop one field of a session that remains borrowed.
            let (closed, _) = tokio::sync::mpsc::channel(1);
            session.commands = closed;
        }
    }

    /// Drops the whole session.
    pub(super) fn drop_session(&mut self) {
        self.session = None;
    }

    /// Returns the next event; `None` when the channel has closed.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, String> {
        let Some(session) = &mut self.session else {
            return Err("the kit dropped this session".into());
        };
        timeout(self.settings.wait, session.events.recv())
            .await
            .map_err(|_| format!("no event within {:?}", self.settings.wait))
    }

    pub(super) async fn read_opened(&mut self) -> Result<Opened, String> {
        match self.next().await? {
            Some(Event::Opened(opened)) => Ok(*opened),
            other => Err(format!("open must be answered by Opened first, came {other:?}")),
        }
    }

    /// Reads `Warmed` and checks it against the committed text.
    pub(super) async fn read_warmed(&mut self) -> Result<Warmed, String> {
        let warmed = match self.next().await? {
            Some(Event::Warmed(warmed)) => warmed,
            other => return Err(format!("expected Warmed, came {other:?}")),
        };
        self.hold(&warmed)?;
        Ok(warmed)
    }

    /// Checks a `Warmed` against the committed text.
    pub(super) fn hold(&self, warmed: &Warmed) -> Outcome {
        let (bytes, hash) = (self.committed.len() as u64, TextHash::of(&self.committed));
        if (warmed.committed_bytes, warmed.hash) != (bytes, hash) {
            return Err(format!(
                "Warmed must report {bytes} bytes and {hash:?} for {:?}, came {warmed:?}",
                self.committed
            ));
        }
        Ok(())
    }

    /// Reads deltas up to `Finished` and checks what must hold for any proposal.
    pub(super) async fn read_proposal(&mut self, max_tokens: u32) -> Result<Proposal, String> {
        let (mut text, mut tokens, mut settled) = (String::new(), 0u64, 0u64);
        let mut entropies = Vec::new();
        loop {
            match self.next().await? {
                Some(Event::Delta(delta)) => {
                    entropies.extend(delta.first_token_entropy.map(|it| (text.len(), it)));
                    text.push_str(&delta.text);
                    tokens += u64::from(delta.tokens);
                    let read = text.len() as u64;
                    if delta.settled_bytes < settled || delta.settled_bytes > read {
                        return Err(format!(
                            "settled_bytes must not fall or pass the text: {settled} before, then \
                             {} of {read}",
                            delta.settled_bytes
                        ));
                    }
                    settled = delta.settled_bytes;
                    if !text.is_char_boundary(settled as usize) {
                        return Err(format!("settled_bytes {settled} splits a character"));
                    }
                }
                Some(Event::Finished(finished)) => {
                    if finished.bytes != text.len() as u64 {
                        return Err(format!(
                            "the deltas hold {} bytes, Finished reports {}",
                            text.len(),
                            finished.bytes
                        ));
                    }
                    if finished.tokens > max_tokens || tokens > u64::from(finished.tokens) {
                        return Err(format!(
                            "asked for {max_tokens} tokens, the deltas hold {tokens}, Finished \
                             reports {}",
                            finished.tokens
                        ));
                    }
                    return Ok(Proposal { text, entropies, finished });
                }
                other => return Err(format!("expected Delta or Finished, came {other:?}")),
            }
        }
    }

    /// An ordinary ask with this seed.
    pub(super) fn ask(&self, seed: u64) -> Propose {
        Propose {
            max_tokens: self.settings.proposal_tokens,
            stop: Vec::new(),
            watch: None,
            seed,
            report_entropy: false,
        }
    }

    pub(super) async fn propose(&mut self, propose: Propose) -> Result<Proposal, String> {
        let max_tokens = propose.max_tokens;
        self.send(Command::Propose(propose)).await?;
        self.read_proposal(max_tokens).await
    }

    pub(super) async fn append(&mut self, text: &str) -> Result<Warmed, String> {
        self.send(Command::Append(Append::text(text))).await?;
        self.committed.push_str(text);
        self.read_warmed().await
    }

    pub(super) async fn commit(&mut self, kept: &str) -> Result<Warmed, String> {
        self.send(Command::Commit { bytes: kept.len() as u64 }).await?;
        self.committed.push_str(kept);
        self.read_warmed().await
    }

    /// Reads up to `Failed` with this code and to the channel's end; other events may come before.
    pub(super) async fn read_failed(&mut self, code: Code) -> Result<Failure, String> {
        loop {
            match self.next().await? {
                Some(Event::Failed(failure)) if failure.code == code => {
                    return match self.next().await? {
                        None => Ok(failure),
                        Some(event) => Err(format!("after Failed came {event:?}")),
                    };
                }
                Some(Event::Failed(failure)) => {
                    return Err(format!("expected {code:?}, failed with {failure:?}"));
                }
                Some(_) => {}
                None => return Err(format!("the events ended without Failed({code:?})")),
            }
        }
    }

    /// Requires that the event channel closes now.
    pub(super) async fn read_end(&mut self) -> Outcome {
        match self.next().await? {
            None => Ok(()),
            Some(event) => Err(format!("expected the end of events, came {event:?}")),
        }
    }
}

/// Fails with the message unless the condition holds.
pub(super) fn ensure(condition: bool, message: impl FnOnce() -> String) -> Outcome {
    if condition { Ok(()) } else { Err(message()) }
}
