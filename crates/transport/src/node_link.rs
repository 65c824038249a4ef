//! What all sessions on one node share: the connection, the token, the words for what went wrong on
//! it, and the set that their tasks belong to. What is said over it is in `client` and `call`.

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

/// The way to a node. Connects at the first use, and again when the connection was lost.
pub(crate) struct NodeLink {
    pub(crate) config: RemoteConfig,
    endpoint: Reloaded<Endpoint>,
    /// And what it was connected by. The lock is held while connecting, so that a crowd connects once.
    channel: sync::Mutex<Option<(Channel, Arc<Endpoint>)>>,
    meter: Arc<Meter>,
    /// Each task holds the link, so that sessions live on without the `Remote` they came from.
    sessions: Mutex<JoinSet<()>>,
}

impl NodeLink {
    /// Reads the TLS files; connects to nothing yet.
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

    /// Starts a session's task, in whose log is said what the caller is about. It ends with the session.
    pub(crate) fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = sessions.try_join_next() {
            if let Err(why) = ended {
                tracing::error!(%why, "a session's task broke off");
            }
        }
        sessions.spawn(session.in_current_span());
    }

    /// A client on the shared connection.
    pub(crate) async fn client(&self) -> Result<ThinkerClient<Channel>, Failure> {
        let channel = self.channel().await?;
        // The other direction is checked where the message is made, for a better line.
        Ok(ThinkerClient::new(channel).max_decoding_message_size(self.config.max_message_bytes))
    }

    /// A request that shows the token, and the caller's trace.
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

    /// Why a call failed, in a line that names the node.
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

    /// Notes that the node answered a call.
    pub(crate) fn answered(&self) {
        self.meter.see(Peer::Node);
    }

    /// Whether the node serves the model that it must serve.
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

    /// The failure of a node that says nothing.
    pub(crate) fn silent(&self) -> Failure {
        status::unavailable(format!(
            "{} has been silent for {:?}; the node hangs or the network is gone",
            self.config.address, self.config.silence
        ))
    }

    /// The bytes that went over the connections so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.meter.traffic()
    }

    /// The shared connection.
    pub(crate) async fn channel(&self) -> Result<Channel, Failure> {
        let RemoteConfig { address, via, connect_timeout, .. } = &self.config;
        let tries = async {
            let mut shared = self.channel.lock().await;
            let endpoint = self.endpoint.current();
            // Sessions that are open keep the connection that they have.
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

    /// Connects anew for whoever comes next: the node does not answer on the connection that there is. Sessions keep
    /// it.
    pub(crate) async fn forget_channel(&self) {
        *self.channel.lock().await = None;
    }

    /// A node that is not there may be there for those who use a proxy.
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

/// Three more tries within a second: enough for a node that is being restarted by its supervisor,
/// too few to make a user wait for one that is gone.
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
