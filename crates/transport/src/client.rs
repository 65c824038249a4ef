//! A `Thinker` that a remote node serves.
//!
//! The connection is in `node_link`, and what happens in one session in `call`.

use std::sync::Arc;

use proto::v1::DescribeRequest;
use thinking::thinker::{
    Failure, Load, ModelCard, Session, Thinker, TokenFuture, TokenQuery, TokenReply, Traffic,
};
use tokio::time::timeout;

use crate::{
    address::Address, call, config::RemoteConfig, convert, error::RemoteError, node_link::NodeLink,
};

/// A remote node as a [`Thinker`]. Cheap to clone: clones share one connection, which is opened at the first use and
/// opened again after it was lost. Sessions hold what they need of it, so a session may outlive the `Remote` it came
/// from.
#[derive(Debug, Clone)]
pub struct Remote {
    pub(crate) link: Arc<NodeLink>,
}

impl Remote {
    /// Creates a remote node from its configuration. Reads the TLS files, but does not connect yet.
    ///
    /// # Errors
    /// When a TLS file is unusable, or when plain text would leave the machine without `insecure`.
    pub fn new(config: RemoteConfig) -> Result<Remote, RemoteError> {
        Ok(Remote { link: Arc::new(NodeLink::new(config)?) })
    }

    /// The node's address.
    pub fn address(&self) -> &Address {
        &self.link.config.address
    }

    /// Returns the node's protocol version and what it serves. Connects if needed, and retries for a moment when
    /// nothing answers.
    ///
    /// # Errors
    /// When the node cannot be reached, refuses, is not a specthink node, or serves another model than configured.
    pub async fn describe(&self) -> Result<(u32, ModelCard), Failure> {
        let (version, card, _) = self.description().await?;
        self.link.check_model(&card)?;
        Ok((version, card))
    }

    /// Checks that the node serves the configured model. An unreachable node passes: it may be back by the time it is
    /// needed, and its sessions check the model again.
    ///
    /// # Errors
    /// When it serves another model.
    pub async fn check_model(&self) -> Result<(), Failure> {
        if self.link.config.model.is_none() {
            return Ok(());
        }
        match self.description().await {
            Ok((_, card, _)) => self.link.check_model(&card),
            Err(_) => Ok(()),
        }
    }

    /// Asks the node's tokenizer. Returns `None` when the node has no tokenizer, or does not know the call.
    async fn token_reply(&self, query: TokenQuery) -> Result<Option<TokenReply>, Failure> {
        let link = &self.link;
        let request = convert::query_to_wire(query);
        link.check_size(&request)?;
        let mut client = link.client().await?;
        let call = timeout(link.config.silence, client.tokenize(link.request(request)));
        match call.await.map_err(|_| link.silent())? {
            Ok(response) => {
                link.answered();
                Ok(Some(convert::reply_from_wire(response.into_inner())))
            }
            Err(status) if status.code() == tonic::Code::Unimplemented => Ok(None),
            Err(status) => Err(link.explain(&status)),
        }
    }

    /// Returns the node's protocol version, what it serves and how busy it is.
    pub(crate) async fn description(&self) -> Result<(u32, ModelCard, Option<Load>), Failure> {
        let link = &self.link;
        let mut client = link.client().await?;
        let call = client.describe(link.request(DescribeRequest {}));
        let response = timeout(link.config.silence, call)
            .await
            .map_err(|_| link.silent())?
            .map_err(|status| link.explain(&status))?;
        link.answered();
        convert::description_from_wire(response.into_inner())
    }
}

impl Thinker for Remote {
    /// Starts a session. Must be called within a tokio runtime; the session's task ends with the session.
    fn session(&self) -> Session {
        let (session, server) = Session::channel();
        self.link.spawn(call::run(self.link.clone(), server));
        session
    }

    fn tokens(&self, query: TokenQuery) -> TokenFuture {
        let remote = self.clone();
        Box::pin(async move { remote.token_reply(query).await })
    }

    fn traffic(&self) -> Option<Traffic> {
        Some(self.link.traffic())
    }
}
