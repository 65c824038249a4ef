//! The settings of both ends, client and server, and tonic's builders made from them. Nothing connects or listens here.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use reload::Reloaded;
use thinking::thinker::ModelCard;
use tokio::sync::Notify;
use tonic::transport::{Endpoint, Server};

use crate::{
    CONNECTION_WINDOW_BYTES, DEFAULT_DRAIN, DEFAULT_HEARTBEAT, DEFAULT_MAX_MESSAGE_BYTES,
    DEFAULT_MAX_SESSIONS, Keepalive, MAX_HEARTBEAT, SPARE_CONNECTIONS, STREAM_WINDOW_BYTES,
    address::Address,
    auth::Token,
    error::{RemoteError, ServeError},
    node_meter::NodeMeter,
    pem::TlsError,
    status::why,
    tls::{ClientTls, ServerTls},
};

/// Streams allowed on one connection beyond its sessions: for health checks, reflection and refusals.
const SPARE_STREAMS: u32 = 100;

/// How to reach a node.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// The node's address.
    pub address: Address,
    /// A display name, in addition to its address.
    pub name: Option<String>,
    /// The model that it must serve; absent: any. A session on a node that serves another model fails.
    pub model: Option<String>,
    /// Connects here instead of to `address`: a forwarder (a proxy, a tunnel) that leads to the address, or one of
    /// several machines that share its name. Messages and checks still use `address`, including the check of names in
    /// certificates.
    pub via: Option<SocketAddr>,
    /// Which authorities to trust and which identity to show; only used if the address is `https`.
    pub tls: ClientTls,
    /// Shown to the node with every call.
    pub token: Option<Token>,
    /// Allow plain text to another machine, including the token.
    pub insecure: bool,
    /// How long connecting may take, all attempts together.
    pub connect_timeout: Duration,
    /// A heartbeat is sent after this long without another message.
    pub heartbeat: Duration,
    /// The client gives up on a node that sends nothing for this long, not even a heartbeat. Should be several times
    /// the node's heartbeat interval.
    pub silence: Duration,
    /// Pings on a connection with a session.
    pub keepalive: Keepalive,
    /// The largest message in either direction, in bytes.
    pub max_message_bytes: usize,
}

impl RemoteConfig {
    /// The default settings for a node.
    pub fn new(address: Address) -> Self {
        RemoteConfig {
            address,
            name: None,
            model: None,
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

    /// Returns the configuration of the same node name at one of the addresses that it resolves to.
    pub fn at(&self, place: SocketAddr) -> Self {
        let name = match &self.name {
            Some(name) => format!("{name} {place}"),
            None => place.to_string(),
        };
        RemoteConfig { name: Some(name), via: Some(place), ..self.clone() }
    }

    /// What to call the node in journals and figures: its address, preceded by its name if it has one.
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.address),
            None => self.address.to_string(),
        }
    }

    /// The endpoint for tonic to connect to. The TLS files are read again when they change.
    pub(crate) fn endpoints(&self) -> Result<Reloaded<Endpoint>, RemoteError> {
        let endpoint = self.endpoint()?;
        if !self.address.tls() {
            return Ok(Reloaded::fixed(endpoint));
        }
        let what = format!("the certificates for {}", self.address);
        let this = self.clone();
        Ok(Reloaded::new(what, self.tls.files(), endpoint, move || {
            let endpoint = this.endpoint()?;
            this.tls.check_days()?;
            Ok::<_, RemoteError>(endpoint)
        }))
    }

    fn endpoint(&self) -> Result<Endpoint, RemoteError> {
        if !self.address.tls() && !self.address.is_loopback() && !self.insecure {
            return Err(RemoteError::Plaintext { address: self.address.clone() });
        }
        let mut endpoint = Endpoint::from_shared(self.address.to_string())
            .map_err(setup)?
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(self.keepalive.interval)
            .keep_alive_timeout(self.keepalive.timeout);
        if self.address.tls() {
            endpoint = endpoint.tls_config(self.tls.load()?).map_err(setup)?;
        }
        Ok(endpoint)
    }
}

/// How to serve a Thinker.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The model card, sent to every client that asks.
    pub card: ModelCard,
    /// Absent: plain text.
    pub tls: Option<ServerTls>,
    /// If set, every call except health checks must show it.
    pub token: Option<Token>,
    /// Allow plain text to other machines, including the token.
    pub insecure: bool,
    /// The largest message accepted from a client, in bytes.
    pub max_message_bytes: usize,
    /// The most sessions at a time; more are refused as overloaded.
    pub max_sessions: u32,
    /// The most connections at a time. Beyond that, connections without a call yet are closed first.
    pub max_connections: u32,
    /// A heartbeat is sent on a session after this long without another message.
    pub heartbeat: Duration,
    /// Pings on every connection.
    pub keepalive: Keepalive,
    /// How long running sessions may continue after the shutdown began.
    pub drain: Duration,
    /// Counts connections, calls, sessions and tokens.
    pub meter: NodeMeter,
    /// Notify this to reload the TLS files and the token at once if they changed. They are checked from time to time
    /// anyway.
    pub reload_now: Arc<Notify>,
}

impl ServerConfig {
    /// The default settings for a model.
    pub fn new(card: ModelCard) -> Self {
        ServerConfig {
            card,
            tls: None,
            token: None,
            insecure: false,
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            max_sessions: DEFAULT_MAX_SESSIONS,
            max_connections: DEFAULT_MAX_SESSIONS + SPARE_CONNECTIONS,
            heartbeat: DEFAULT_HEARTBEAT,
            keepalive: Keepalive::default(),
            drain: DEFAULT_DRAIN,
            meter: NodeMeter::default(),
            reload_now: Arc::default(),
        }
    }

    /// Checks that these settings may be served on an address, and that the TLS files are usable. `serve` makes the
    /// same checks; this method is for failing before a model is loaded.
    ///
    /// # Errors
    /// When a TLS file is unusable, or when plain text would leave the machine without `insecure`.
    pub fn check(&self, address: SocketAddr) -> Result<(), ServeError> {
        self.server(address)?;
        self.tls.as_ref().map(ServerTls::for_nodes).transpose()?;
        Ok(())
    }

    /// The server that tonic runs, without TLS.
    pub(crate) fn server(&self, address: SocketAddr) -> Result<Server, ServeError> {
        if self.tls.is_none() && !self.insecure && !address.ip().to_canonical().is_loopback() {
            return Err(ServeError::Plaintext { address });
        }
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(self.keepalive.interval))
            .http2_keepalive_timeout(Some(self.keepalive.timeout))
            // More than there are sessions, so that an excess one reaches us and is refused with a reason, and does not
            // wait silently at the client's end of the connection.
            .max_concurrent_streams(self.max_sessions.saturating_add(SPARE_STREAMS));
        Ok(server)
    }
}

fn setup(error: tonic::transport::Error) -> TlsError {
    TlsError::Setup { why: why(&error) }
}
