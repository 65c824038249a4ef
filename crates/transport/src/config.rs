//! How a node is reached and how a Thinker is served: the settings of both ends, and tonic's builders
//! made from them. Nothing connects or listens here.

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

/// Streams on one connection beside sessions: health, reflection, refusals.
const SPARE_STREAMS: u32 = 100;

/// How a node is reached.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// Where it is.
    pub address: Address,
    /// What people call it, beside its address.
    pub name: Option<String>,
    /// The model that it must serve; absent: any. A session of a node that serves another one fails.
    pub model: Option<String>,
    /// A forwarder (a proxy, a tunnel) that leads to the address, or one of several machines that have its name:
    /// connected to in its place. Messages and checks,
    /// those of names in certificates too, use the address.
    pub via: Option<SocketAddr>,
    /// Whom to trust and who one is; only used where the address says `https`.
    pub tls: ClientTls,
    /// Shown to the node with every call.
    pub token: Option<Token>,
    /// Allow plain text, the token too, to another machine.
    pub insecure: bool,
    /// How long reaching the node may take, all tries counted.
    pub connect_timeout: Duration,
    /// A heartbeat is sent when nothing else was for this long.
    pub heartbeat: Duration,
    /// A node that sends nothing for this long, not even a heartbeat, is given up. Several times
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

    /// The same node's name at one of the addresses that it leads to.
    pub fn at(&self, place: SocketAddr) -> Self {
        let name = match &self.name {
            Some(name) => format!("{name} {place}"),
            None => place.to_string(),
        };
        RemoteConfig { name: Some(name), via: Some(place), ..self.clone() }
    }

    /// What to call the node in journals and figures: its address, behind its name where it has one.
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.address),
            None => self.address.to_string(),
        }
    }

    /// Where tonic connects to. The TLS files are read again when they change.
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

/// How a Thinker is served.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// What it serves; sent to whoever asks.
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
    /// Greatest number of connections at a time. Of those that are too many, the ones without a call yet are closed
    /// first.
    pub max_connections: u32,
    /// A heartbeat is sent on a session when nothing else was for this long.
    pub heartbeat: Duration,
    /// Pings on every connection.
    pub keepalive: Keepalive,
    /// How long running sessions may go on after the shutdown began.
    pub drain: Duration,
    /// Counts what goes on.
    pub meter: NodeMeter,
    /// Reads the files of TLS and the token again at once, where they changed. It is done from time to time anyway.
    pub reload_now: Arc<Notify>,
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
            max_connections: DEFAULT_MAX_SESSIONS + SPARE_CONNECTIONS,
            heartbeat: DEFAULT_HEARTBEAT,
            keepalive: Keepalive::default(),
            drain: DEFAULT_DRAIN,
            meter: NodeMeter::default(),
            reload_now: Arc::default(),
        }
    }

    /// Checks that these settings may be served on an address, and that the TLS files work. `serve`
    /// does it too; this is for finding out before a model is loaded.
    ///
    /// # Errors
    /// When a TLS file does not work, or when plain text would leave the machine unasked.
    pub fn check(&self, address: SocketAddr) -> Result<(), ServeError> {
        self.server(address)?;
        self.tls.as_ref().map(ServerTls::for_nodes).transpose()?;
        Ok(())
    }

    /// What tonic serves with, below TLS.
    pub(crate) fn server(&self, address: SocketAddr) -> Result<Server, ServeError> {
        if self.tls.is_none() && !self.insecure && !address.ip().to_canonical().is_loopback() {
            return Err(ServeError::Plaintext { address });
        }
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(self.keepalive.interval))
            .http2_keepalive_timeout(Some(self.keepalive.timeout))
            // More than there are sessions, so that one too many is refused by us with a reason and
            // does not wait in silence at the client's end of the connection.
            .max_concurrent_streams(self.max_sessions.saturating_add(SPARE_STREAMS));
        Ok(server)
    }
}

fn setup(error: tonic::transport::Error) -> TlsError {
    TlsError::Setup { why: why(&error) }
}
