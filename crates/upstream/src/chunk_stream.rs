//! What a server's stream says, event by event. What is made of it is in `proposal` and `ahead`.

use std::collections::VecDeque;

use serde_json::Value;
use thinking::thinker::Failure;
use tokio::sync::watch;

use crate::{
    chunk::Chunk,
    dialect::Dialect,
    failure,
    http::{Call, EventStream, Http},
};

/// What a stream ends with in OpenAI's API.
const DONE: &str = "[DONE]";

/// A stream that was asked for. Dropping it drops the connection.
pub(crate) struct ChunkStream<'a> {
    http: &'a Http,
    dialect: &'a dyn Dialect,
    signs: &'a watch::Sender<()>,
    stream: EventStream<'a>,
    events: VecDeque<String>,
}

impl<'a> ChunkStream<'a> {
    /// Asks for a stream. While nothing comes of it the server is asked whether it lives.
    pub(crate) async fn open(
        http: &'a Http,
        dialect: &'a dyn Dialect,
        signs: &'a watch::Sender<()>,
        call: &Call,
    ) -> Result<ChunkStream<'a>, Failure> {
        let stream = http.waited_for(signs, dialect.health(), http.stream(call)).await?;
        Ok(ChunkStream { http, dialect, signs, stream, events: VecDeque::new() })
    }

    /// The next event; `None` at the stream's end.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        let address = &self.http.config.address;
        while self.events.is_empty() {
            let events = self.stream.next();
            let events = self.http.waited_for(self.signs, self.dialect.health(), events).await?;
            let Some(events) = events else { return Ok(None) };
            self.events.extend(events);
        }
        let Some(event) = self.events.pop_front().filter(|event| event != DONE) else {
            return Ok(None);
        };
        let strange = || failure::unavailable(address, "sends an event that means nothing");
        let event: Value = serde_json::from_str(&event).map_err(|_| strange())?;
        if event["error"].is_object() || event["error"].is_string() {
            return Err(failure::from_error_event(address, &event["error"]));
        }
        self.signs.send_replace(());
        self.dialect.chunk(&event).map(Some).ok_or_else(strange)
    }
}
