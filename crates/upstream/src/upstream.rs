//! The Thinker over a server: what its sessions share. What one session does is in `session`.

use std::sync::{Arc, Mutex, PoisonError};

use thinking::thinker::{Code, Failure, ModelCard, Session, Thinker, Traffic};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::{
    config::{UpstreamConfig, UpstreamError},
    server::Server,
    session,
};

/// A model in a server that speaks OpenAI's completions, as a [`Thinker`].
///
/// Its sessions run as tasks of the runtime that `session` is called in; dropping it ends them.
#[derive(Debug)]
pub struct Upstream {
    server: Arc<Server>,
    sessions: Mutex<JoinSet<()>>,
}

impl Upstream {
    /// A Thinker over the server. Reads the files that the configuration names; connects to nothing yet.
    ///
    /// # Errors
    /// When the server may not be reached in plain text, or a file does not work.
    pub fn new(config: UpstreamConfig) -> Result<Upstream, UpstreamError> {
        Ok(Upstream { server: Arc::new(Server::new(config)?), sessions: Mutex::default() })
    }

    /// What the server serves; asks it.
    ///
    /// # Errors
    /// When it does not answer, or does not serve what is wanted.
    pub async fn card(&self) -> Result<ModelCard, Failure> {
        Ok(self.server.served().await?.card.clone())
    }

    /// Whether the server answers now, and still lists the model: asked by its list of models alone, once it is known.
    ///
    /// # Errors
    /// When it does not answer, or does not serve what is wanted.
    pub async fn answers(&self) -> Result<(), Failure> {
        self.server.answers().await
    }

    /// Whether the server serves what is asked of it: the model that is named, or its only one. One that cannot be
    /// asked passes: it may be back when it is needed, and its sessions check it again.
    ///
    /// # Errors
    /// When it serves something else.
    pub async fn check_model(&self) -> Result<(), Failure> {
        match self.server.served().await {
            Err(failure) if failure.code == Code::InvalidArgument => Err(failure),
            _ => Ok(()),
        }
    }
}

impl Thinker for Upstream {
    fn session(&self) -> Session {
        let (session, server) = Session::channel();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = sessions.try_join_next() {
            if let Err(why) = ended {
                tracing::error!(%why, "a session's task broke off");
            }
        }
        sessions.spawn(session::run(Arc::clone(&self.server), server).in_current_span());
        session
    }

    fn traffic(&self) -> Option<Traffic> {
        Some(self.server.http.meter.traffic())
    }
}
