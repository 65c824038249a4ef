//! The service's methods on the node's side: one session of a client on the Thinker, and what needs none.
//!
//! The connection takes a session's events where it writes them, so that those that are there go out in one frame. How
//! it takes them, and what becomes of a session whose client reads nothing, is in [`crate::outgoing`].

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use proto::v1 as wire;
use thinking::{
    session::limits,
    thinker::{ClientId, Thinker},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use tracing::field;

use crate::{
    PROTOCOL_VERSION,
    admission::SessionLimit,
    config::ServerConfig,
    connections::{KeptConnection, client_of},
    conversation::{Conversation, PulseWatch},
    convert,
    lifecycle::{Lifecycle, going_away},
    outgoing::Outgoing,
    status,
};

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

    /// Whose call it is. Whoever shows the node's token is one of those whom it was given to; without a token nothing
    /// says that two connections are one client's.
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
        // Before the lifecycle is read: whoever waits until all are closed waits for this one too.
        let permit = self.limit.admit();
        let is_going = *self.lifecycle.borrow() != Lifecycle::Serving;
        let permit = if is_going { Err(going_away()) } else { permit };
        let permit = permit.map_err(|failure| {
            self.config.meter.call("think", failure.code.into());
            status::status_from_failure(failure)
        })?;
        // Of the level of errors, so that whatever is logged about the session says which question it is.
        let span = tracing::error_span!("session", question_id = field::Empty);
        traces::follow(&span, |name| request.metadata().get(name)?.to_str().ok());
        let place = (permit, KeptConnection::of(&request));
        let client = self.client(&request);
        let session = span.in_scope(|| self.thinker.session_of(client));
        let pulse = PulseWatch::new(Arc::clone(&self.thinker));
        let lifecycle = self.lifecycle.clone();
        let conversation = Conversation::begin(
            request.into_inner(),
            session,
            pulse,
            lifecycle,
            &self.config,
            place,
        );
        Ok(Response::new(Box::pin(Outgoing::of(conversation, span, self.lifecycle.clone()))))
    }

    async fn describe(
        &self,
        _: Request<wire::DescribeRequest>,
    ) -> Result<Response<wire::DescribeResponse>, Status> {
        self.config.meter.call("describe", "ok");
        Ok(Response::new(wire::DescribeResponse {
            protocol_version: PROTOCOL_VERSION,
            model: Some(convert::card_to_wire(self.config.card.clone())),
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
