//! The Thinker in front of a server: what its sessions share. What one session does is in `session`.

use std::sync::{Arc, Mutex, PoisonError};

use thinking::thinker::{Code, Failure, ModelCard, Session, Thinker, Traffic};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::{
    config::{UpstreamConfig, UpstreamError},
    server::Server,
    session,
};

/// A model in a server that speaks OpenAI's completions API, as a [`Thinker`].
///
/// Its sessions run as tasks of the runtime in which `session` is called; dropping the `Upstream` ends them.
#[derive(Debug)]
pub struct Upstream {
    server: Arc<Server>,
    sessions: Mutex<JoinSet<()>>,
}

impl Upstream {
    /// Creates a Thinker for the server. Reads the files that the configuration names, but does not connect yet.
    ///
    /// # Errors
    /// When the server must not be reached in plain text, or a file is unusable.
    pub fn new(config: UpstreamConfig) -> Result<Upstream, UpstreamError> {
        Ok(Upstream { server: Arc::new(Server::new(config)?), sessions: Mutex::default() })
    }

    /// Asks the server what it serves, unless that is known already, and returns its card.
    ///
    /// # Errors
    /// When it does not answer, or does not serve what was requested.
    pub async fn card(&self) -> Result<ModelCard, Failure> {
        Ok(self.server.served().await?.card.clone())
    }

    /// Checks that the server answers now and still lists the model. Once the server is known, this requests only its
    /// list of models.
    ///
    /// # Errors
    /// When it does not answer, or does not serve what was requested.
    pub async fn answers(&self) -> Result<(), Failure> {
        self.server.answers().await
    }

    /// Checks that the server serves the requested model, or only one. An unreachable server passes: it may be back by
    /// the time it is needed, and its sessions check the model again.
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
                tracing::error!(%why, "a session's task failed");
            }
        }
        sessions.spawn(session::run(Arc::clone(&self.server), server).in_current_span());
        session
    }

    fn traffic(&self) -> Option<Traffic> {
        Some(self.server.http.meter.traffic())
    }
}
