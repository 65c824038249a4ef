//! Serving a Thinker: the listener, TLS, the services around ours, and the orderly end.
//!
//! What happens in one session is in `service`.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use proto::v1::thinker_server::ThinkerServer;
use thinking::thinker::{ModelCard, Thinker};
use tokio::{net::TcpListener, select, sync::watch, time::timeout};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    CONNECTION_WINDOW_BYTES, DEFAULT_DRAIN, DEFAULT_HEARTBEAT, DEFAULT_MAX_MESSAGE_BYTES,
    DEFAULT_MAX_SESSIONS, Keepalive, STREAM_WINDOW_BYTES,
    auth::Token,
    service::{Phase, Rooms, Service, gate},
    status,
    tls::{ServerTls, TlsError},
};

/// The service's full name, as health checks ask for it.
const SERVICE: &str = "specthink.v1.Thinker";
/// After the drain: how long connections may take to say goodbye. Not a budget for work.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a Thinker is served.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// What it serves; told to whoever asks.
    pub card: ModelCard,
    /// Absent: plain text.
    pub tls: Option<ServerTls>,
    /// When given, every call but health checks must show it.
    pub token: Option<Token>,
    /// Allow plain text, the token too, to other machines.
    pub insecure: bool,
    /// Greatest size of a message from a client, in bytes.
    pub max_message_bytes: usize,
    /// Greatest number of sessions at a time; more are refused as overloaded.
    pub max_sessions: u32,
    /// A sign of life is sent on a session when nothing else was for so long.
    pub heartbeat: Duration,
    /// Pings on every connection.
    pub keepalive: Keepalive,
    /// How long running sessions may go on after the shutdown began.
    pub drain: Duration,
}

impl ServerConfig {
    /// The usual settings for a model.
    pub fn new(card: ModelCard) -> Self {
        ServerConfig {
            card,
            tls: None,
            token: None,
            insecure: false,
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            max_sessions: DEFAULT_MAX_SESSIONS,
            heartbeat: DEFAULT_HEARTBEAT,
            keepalive: Keepalive::default(),
            drain: DEFAULT_DRAIN,
        }
    }

    /// Checks that these settings may be served on an address, and that the TLS files work. `serve`
    /// does it too; this is for finding out before a model is loaded.
    ///
    /// # Errors
    /// When a TLS file does not work, or when plain text would leave the machine unasked.
    pub fn check(&self, address: SocketAddr) -> Result<(), ServeError> {
        builder(self, address).map(|_| ())
    }
}

/// Serving that cannot begin, or that broke.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {why}; choose another address with --listen")]
    Bind {
        /// What was asked for.
        address: String,
        /// The system's reason.
        why: io::Error,
    },
    /// Plain text would leave the machine.
    #[error(
        "{address} can be reached from other machines and the connection would be plain text: give --tls-cert and --tls-key, or allow it with --insecure"
    )]
    Plaintext {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The TLS files do not work.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listener broke.
    #[error("serving stopped: {why}")]
    Broken {
        /// The reason.
        why: String,
    },
}

/// Listens on an address, `HOST:PORT`; port 0 takes a free one.
///
/// # Errors
/// When the address means nothing or is taken.
pub async fn bind(address: &str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|why| ServeError::Bind { address: address.escape_debug().to_string(), why })
}

/// Serves a Thinker until the shutdown, and then until the drain is over.
///
/// At the shutdown the health service turns NOT_SERVING and new sessions are refused, while the
/// running ones may go on for [`ServerConfig::drain`]; what still runs then fails as unavailable.
///
/// # Errors
/// When the configuration does not work or the listener breaks.
pub async fn serve(
    listener: TcpListener,
    thinker: Arc<dyn Thinker>,
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(broken)?;
    let mut server = builder(&config, address)?;
    let (phase, phases) = watch::channel(Phase::Serving);
    let rooms = Rooms::new(config.max_sessions);
    let health = HealthReporter::new();
    for name in ["", SERVICE] {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::v1::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(
                tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
            )
            .include_reflection_service(false)
    };
    let gate = gate(config.token.clone());
    let drain = config.drain;
    let max_message_bytes = config.max_message_bytes;
    let ours = Service::new(thinker, config, rooms.clone(), phases);
    let ours = ThinkerServer::new(ours).max_decoding_message_size(max_message_bytes);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = server
        .add_service(tonic_health::pb::health_server::HealthServer::new(
            tonic_health::server::HealthService::from_health_reporter(health.clone()),
        ))
        .add_service(InterceptedService::new(ours, gate.clone()))
        .add_service(InterceptedService::new(
            reflection().build_v1().map_err(broken)?,
            gate.clone(),
        ))
        .add_service(InterceptedService::new(reflection().build_v1alpha().map_err(broken)?, gate))
        .serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
        });
    let ending = async {
        shutdown.await;
        end(health, &phase, &rooms, drain).await;
        let _ = stop.send(());
        // Streams of health or reflection that a client leaves open would hold us for ever.
        tokio::time::sleep(FAREWELL).await;
    };
    tracing::info!(%address, "serving");
    select! {
        done = serving => done.map_err(|error| ServeError::Broken { why: status::why(&error) }),
        () = ending => Ok(()),
    }
}

/// From the first sign of the end to the last session.
async fn end(
    mut health: HealthReporter,
    phase: &watch::Sender<Phase>,
    rooms: &Rooms,
    drain: Duration,
) {
    for name in ["", SERVICE] {
        health.set_service_status(name, ServingStatus::NotServing).await;
    }
    phase.send_replace(Phase::Draining);
    tracing::info!(sessions = rooms.taken(), ?drain, "shutting down, waiting for sessions");
    if timeout(drain, rooms.all_left()).await.is_err() {
        tracing::warn!(sessions = rooms.taken(), "drain time is over, ending sessions");
        phase.send_replace(Phase::Stopping);
        // Each session now fails by itself; a client that does not read must not hold us.
        let _ = timeout(FAREWELL, rooms.all_left()).await;
    }
    // Forgetting the services ends the streams that watch their health.
    for name in ["", SERVICE] {
        health.clear_service_status(name).await;
    }
}

fn builder(config: &ServerConfig, address: SocketAddr) -> Result<Server, ServeError> {
    if config.tls.is_none() && !config.insecure && !address.ip().to_canonical().is_loopback() {
        return Err(ServeError::Plaintext { address });
    }
    let mut server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(config.keepalive.interval))
        .http2_keepalive_timeout(Some(config.keepalive.timeout))
        // More than there are sessions, so that one too many is refused by us with a reason and does
        // not wait in silence at the client's end of the connection.
        .max_concurrent_streams(config.max_sessions.saturating_add(SPARE_STREAMS));
    if let Some(tls) = &config.tls {
        server = server
            .tls_config(tls.load()?)
            .map_err(|error| TlsError::Setup { why: status::why(&error) })?;
    }
    Ok(server)
}

/// Streams on one connection beside sessions: health, reflection, refusals.
const SPARE_STREAMS: u32 = 100;

fn broken(error: impl std::error::Error) -> ServeError {
    ServeError::Broken { why: error.to_string() }
}
