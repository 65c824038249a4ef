//! What all sessions on one node share: the connection, the token, the error messages, and the set that holds their
//! tasks. What is sent over the connection is in `client` and `call`.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use prost::Message;
use proto::v1::thinker_client::ThinkerClient;
use reload::Reloaded;
use thinking::thinker::{Code, Failure, ModelCard, Noticed, Traffic};
use tokio::{sync, task::JoinSet, time::timeout};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use tracing::Instrument as _;

use crate::{
    auth::Token,
    config::RemoteConfig,
    connect::{self, Meter, Peer},
    error::RemoteError,
    proxy, status,
};

/// The connection to a node. Connects at the first use, and again after the connection was lost.
pub(crate) struct NodeLink {
    pub(crate) config: RemoteConfig,
    endpoint: Reloaded<Endpoint>,
    /// The channel, with the endpoint that it was opened from. The lock is held while connecting, so that concurrent
    /// callers connect only once.
    channel: sync::Mutex<Option<(Channel, Arc<Endpoint>)>>,
    meter: Arc<Meter>,
    /// Each task holds the link, so that sessions outlive the `Remote` they came from.
    sessions: Mutex<JoinSet<()>>,
}

impl NodeLink {
    /// Reads the TLS files, but does not connect yet.
    pub(crate) fn new(config: RemoteConfig) -> Result<NodeLink, RemoteError> {
        let endpoint = config.endpoints()?;
        Ok(NodeLink {
            config,
            endpoint,
            channel: sync::Mutex::default(),
            meter: Arc::default(),
            sessions: Mutex::default(),
        })
    }

    /// Spawns a session's task in the caller's tracing span. The task ends with the session.
    pub(crate) fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = sessions.try_join_next() {
            if let Err(why) = ended {
                tracing::error!(%why, "a session's task failed");
            }
        }
        sessions.spawn(session.in_current_span());
    }

    /// Returns a client on the shared connection.
    pub(crate) async fn client(&self) -> Result<ThinkerClient<Channel>, Failure> {
        let channel = self.channel().await?;
        // Outgoing messages are checked in `check_size`, which gives a better message.
        Ok(ThinkerClient::new(channel).max_decoding_message_size(self.config.max_message_bytes))
    }

    /// Wraps a message in a request with the token and the caller's trace headers.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        if let Some(value) = self.config.token.as_ref().and_then(Token::header) {
            metadata.insert("authorization", value);
        }
        for (name, value) in traces::headers() {
            if let Ok(value) = value.parse() {
                metadata.insert(name, value);
            }
        }
        request
    }

    /// Explains why a call failed, in a line that names the node.
    pub(crate) fn explain(&self, status: &Status) -> Failure {
        status::failure_from_status(&self.config.address, self.meter.peer(), status)
    }

    /// Refuses a message that is larger than the limit.
    pub(crate) fn check_size(&self, message: &impl Message) -> Result<(), Failure> {
        let (found, limit) = (message.encoded_len(), self.config.max_message_bytes);
        if found <= limit {
            return Ok(());
        }
        Err(status::on_the_way(
            Code::MessageTooLarge,
            format!(
                "a message of {found} bytes to {} is over the limit of {limit} bytes; raise it with \
                 --max-message-bytes at both ends",
                self.config.address
            ),
        ))
    }

    /// Records that the node answered a call.
    pub(crate) fn answered(&self) {
        self.meter.see(Peer::Node);
    }

    /// Checks that the node serves the configured model.
    pub(crate) fn check_model(&self, card: &ModelCard) -> Result<(), Failure> {
        let RemoteConfig { address, model, .. } = &self.config;
        let Some(wanted) = model.as_ref().filter(|wanted| **wanted != card.name) else {
            return Ok(());
        };
        let found = &card.name;
        let message = format!(
            "{address} serves the model {found:?} and not {wanted:?}: start it with that model, or name {found:?} as \
             its model"
        );
        Err(status::on_the_way(Code::InvalidArgument, message))
    }

    /// The failure of a node that is silent for too long.
    pub(crate) fn silent(&self) -> Failure {
        status::unavailable(format!(
            "{} has been silent for {:?}; the node hangs or the network is down",
            self.config.address, self.config.silence
        ))
    }

    /// Returns the bytes transferred over the connections so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.meter.traffic()
    }

    /// Returns the shared connection; connects if there is none.
    pub(crate) async fn channel(&self) -> Result<Channel, Failure> {
        let RemoteConfig { address, via, connect_timeout, .. } = &self.config;
        let tries = async {
            let mut shared = self.channel.lock().await;
            let endpoint = self.endpoint.current();
            // Open sessions keep the connection that they use.
            if let Some((channel, by)) = &*shared
                && Arc::ptr_eq(by, &endpoint)
            {
                return Ok(channel.clone());
            }
            let channel = (|| connect::connect(&endpoint, address, *via, &self.meter))
                .retry(backoff())
                .when(connect::is_passing)
                .await
                .map_err(|error| status::failure_from_error(address, self.meter.peer(), &error))?;
            *shared = Some((channel.clone(), endpoint));
            Ok(channel)
        };
        let connected = timeout(*connect_timeout, tries).await.unwrap_or_else(|_| {
            Err(status::unreached(address, &format!("no connection within {connect_timeout:?}")))
        });
        connected.map_err(|failure| self.with_proxy_note(failure))
    }

    /// Drops the shared channel, so that the next caller connects again: the node does not answer on it. Open sessions
    /// keep it.
    pub(crate) async fn forget_channel(&self) {
        *self.channel.lock().await = None;
    }

    /// Adds a note about the proxy variables if nothing answered: programs that use the proxy may still reach the node.
    fn with_proxy_note(&self, failure: Failure) -> Failure {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_absent = failure.noticed == Noticed::NobodyThere && self.config.via.is_none();
        let note = is_absent.then(|| proxy::note(&self.config.address, is_set)).flatten();
        match note {
            Some(note) => Failure { message: format!("{}; {note}", failure.message), ..failure },
            None => failure,
        }
    }
}

impl fmt::Debug for NodeLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeLink").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Three more attempts within a second: enough for a node that its supervisor restarts, too few to keep a user waiting
/// for one that is down.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_millis(400))
        .with_max_times(3)
        .with_jitter()
}

#[cfg(test)]
mod tests {
    use thinking::thinker::Session;

    use super::*;
    use crate::call;

    #[tokio::test]
    async fn tasks_end_with_their_sessions_and_are_forgotten() {
        let config = RemoteConfig::new("http://127.0.0.1:1".parse().unwrap());
        let link = Arc::new(NodeLink::new(config).unwrap());
        let running = || link.sessions.lock().unwrap().len();
        let start = || {
            let (session, server) = Session::channel();
            link.spawn(call::run(link.clone(), server));
            session
        };
        let sessions = [start(), start()];
        assert_eq!(running(), 2);
        drop(sessions);
        let forgotten = async {
            loop {
                tokio::task::yield_now().await;
                let _session = start();
                if running() == 1 {
                    break;
                }
            }
        };
        timeout(Duration::from_secs(20), forgotten).await.unwrap();
    }
}
