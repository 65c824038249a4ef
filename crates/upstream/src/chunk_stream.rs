//! A server's stream, event by event. How the events are used is in `proposal` and `ahead`.

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

/// The last event of a stream in OpenAI's API.
const DONE: &str = "[DONE]";

/// A requested stream. Dropping it drops the connection.
pub(crate) struct ChunkStream<'a> {
    http: &'a Http,
    dialect: &'a dyn Dialect,
    signs: &'a watch::Sender<()>,
    stream: EventStream<'a>,
    events: VecDeque<String>,
}

impl<'a> ChunkStream<'a> {
    /// Requests a stream. While nothing arrives, the server's health is checked.
    pub(crate) async fn open(
        http: &'a Http,
        dialect: &'a dyn Dialect,
        signs: &'a watch::Sender<()>,
        call: &Call,
    ) -> Result<ChunkStream<'a>, Failure> {
        let stream = http.waited_for(signs, dialect.health(), http.stream(call)).await?;
        Ok(ChunkStream { http, dialect, signs, stream, events: VecDeque::new() })
    }

    /// Returns the next event, or `None` at the end of the stream.
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
        let strange = || failure::unavailable(address, "sends an event that cannot be understood");
        let event: Value = serde_json::from_str(&event).map_err(|_| strange())?;
        if event["error"].is_object() || event["error"].is_string() {
            return Err(failure::from_error_event(address, &event["error"]));
        }
        self.signs.send_replace(());
        self.dialect.chunk(&event).map(Some).ok_or_else(strange)
    }
}
