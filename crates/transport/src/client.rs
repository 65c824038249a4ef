//! A `Thinker` that a node somewhere else serves: its configuration and its connection.
//!
//! What happens in one session is in `call`.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use proto::v1::{DescribeRequest, thinker_client::ThinkerClient};
use thinking::thinker::{Failure, ModelCard, Session, Thinker};
use tokio::{sync::Mutex, time::timeout};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{
    CONNECTION_WINDOW_BYTES, DEFAULT_HEARTBEAT, DEFAULT_MAX_MESSAGE_BYTES, Keepalive,
    MAX_HEARTBEAT, STREAM_WINDOW_BYTES,
    address::Address,
    auth::Token,
    call, connect,
    connect::{Meter, Peer, Traffic},
    convert, status,
    tls::{ClientTls, TlsError},
};

/// How a node is reached.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// Where it is.
    pub address: Address,
    /// A forwarder (a proxy, a tunnel) that leads to the address: connected to in its place. All that is said and
    /// checked, names in certificates too, goes by the address.
    pub via: Option<SocketAddr>,
    /// Whom to trust and who one is; only used where the address says `https`.
    pub tls: ClientTls,
    /// Shown to the node with every call.
    pub token: Option<Token>,
    /// Allow plain text, the token too, to another machine.
    pub insecure: bool,
    /// How long reaching the node may take, all tries counted.
    pub connect_timeout: Duration,
    /// A sign of life is sent when nothing else was for so long.
    pub heartbeat: Duration,
    /// A node that sends nothing for so long, not even a sign of life, is given up. Several times
    /// the node's own heartbeat interval.
    pub silence: Duration,
    /// Pings under a connection with a session.
    pub keepalive: Keepalive,
    /// Greatest size of a message, either way, in bytes.
    pub max_message_bytes: usize,
}

impl RemoteConfig {
    /// The usual settings for a node.
    pub fn new(address: Address) -> Self {
        RemoteConfig {
            address,
            via: None,
            tls: ClientTls::default(),
            token: None,
            insecure: false,
            connect_timeout: Duration::from_secs(5),
            heartbeat: DEFAULT_HEARTBEAT,
            silence: 2 * MAX_HEARTBEAT,
            keepalive: Keepalive::default(),
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
        }
    }
}

/// A configuration that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Plain text would leave the machine.
    #[error(
        "{address} is another machine and the connection would be plain text: write https://, or allow it with --insecure"
    )]
    Plaintext {
        /// Where it would go.
        address: Address,
    },
    /// The TLS files do not work.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A node somewhere else, as a [`Thinker`]. Cheap to clone; clones share one connection, which is
/// made at the first use and made again when it was lost. Sessions hold what they need of it: one
/// outlives the `Remote` it came from.
#[derive(Debug, Clone)]
pub struct Remote {
    link: Arc<Link>,
}

impl Remote {
    /// A node by its configuration. Reads the TLS files; connects to nothing yet.
    ///
    /// # Errors
    /// When a TLS file does not work, or when plain text would leave the machine unasked.
    pub fn new(config: RemoteConfig) -> Result<Remote, RemoteError> {
        if !config.address.tls() && !config.address.is_loopback() && !config.insecure {
            return Err(RemoteError::Plaintext { address: config.address });
        }
        let endpoint = endpoint(&config)?;
        let authorization = config.token.as_ref().and_then(Token::header);
        let link = Link {
            config,
            endpoint,
            authorization,
            channel: Mutex::default(),
            meter: Arc::default(),
        };
        Ok(Remote { link: Arc::new(link) })
    }

    /// Where the node is.
    pub fn address(&self) -> &Address {
        &self.link.config.address
    }

    /// The protocol version the node speaks and what it serves. Connects if needed, and tries again
    /// for a moment when nothing answers.
    ///
    /// # Errors
    /// When the node cannot be reached, refuses, or is no specthink node.
    pub async fn describe(&self) -> Result<(u32, ModelCard), Failure> {
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

    /// The bytes that went over the connections to the node so far.
    pub fn traffic(&self) -> Traffic {
        self.link.meter.traffic()
    }
}

impl Thinker for Remote {
    /// Starts a session. Must be called in a tokio runtime; the session's task ends with the session.
    fn session(&self) -> Session {
        let (session, server) = Session::pair();
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the session; to be owned by the client"
        )]
        tokio::spawn(call::run(self.link.clone(), server));
        session
    }
}

/// What all sessions on a node share.
pub(crate) struct Link {
    pub(crate) config: RemoteConfig,
    endpoint: Endpoint,
    authorization: Option<MetadataValue<Ascii>>,
    /// Made at the first use. The lock is held while connecting, so that a crowd connects once.
    channel: Mutex<Option<Channel>>,
    meter: Arc<Meter>,
}

impl Link {
    /// A client on the shared connection.
    pub(crate) async fn client(&self) -> Result<ThinkerClient<Channel>, Failure> {
        let channel = self.channel().await?;
        // The other direction is checked where the message is made, for a better line.
        Ok(ThinkerClient::new(channel).max_decoding_message_size(self.config.max_message_bytes))
    }

    /// A request that shows the token.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.clone());
        }
        request
    }

    /// What a call died of, in a line that names the node.
    pub(crate) fn explain(&self, status: &tonic::Status) -> Failure {
        status::failure_from_status(&self.config.address, self.meter.peer(), status)
    }

    /// Notes that the node answered a call.
    pub(crate) fn answered(&self) {
        self.meter.see(Peer::Node);
    }

    /// The node says nothing.
    pub(crate) fn silent(&self) -> Failure {
        status::unavailable(format!(
            "{} has been silent for {:?}; the node hangs or the network is gone",
            self.config.address, self.config.silence
        ))
    }

    async fn channel(&self) -> Result<Channel, Failure> {
        let RemoteConfig { address, via, connect_timeout, .. } = &self.config;
        let tries = async {
            let mut shared = self.channel.lock().await;
            if let Some(channel) = &*shared {
                return Ok(channel.clone());
            }
            let channel = (|| connect::connect(&self.endpoint, address, *via, &self.meter))
                .retry(backoff())
                .when(connect::is_passing)
                .await
                .map_err(|error| status::failure_from_error(address, self.meter.peer(), &error))?;
            *shared = Some(channel.clone());
            Ok(channel)
        };
        timeout(*connect_timeout, tries).await.unwrap_or_else(|_| {
            Err(status::unavailable(format!(
                "cannot reach {address}: no connection within {connect_timeout:?}"
            )))
        })
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("config", &self.config).finish_non_exhaustive()
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

fn endpoint(config: &RemoteConfig) -> Result<Endpoint, RemoteError> {
    let setup = |why: tonic::transport::Error| TlsError::Setup { why: status::why(&why) };
    let mut endpoint = Endpoint::from_shared(config.address.to_string())
        .map_err(setup)?
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(config.keepalive.interval)
        .keep_alive_timeout(config.keepalive.timeout);
    if config.address.tls() {
        endpoint = endpoint.tls_config(config.tls.load()?).map_err(setup)?;
    }
    Ok(endpoint)
}
