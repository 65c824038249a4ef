//! Serves a Thinker: the listener, TLS, the services next to ours, and the orderly shutdown.
//!
//! What happens in one session is in `service`, and what happens below TLS in `connections`.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use proto::v1::thinker_server::ThinkerServer;
use reload::{Reload, keep_reading};
use thinking::thinker::Thinker;
use tokio::{net::TcpListener, select, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{service::interceptor::InterceptedService, transport::server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    admission::{SessionLimit, gate},
    config::ServerConfig,
    connections::{bounded, noting_call},
    error::ServeError,
    handshakes::secured,
    node_meter::NodePhase,
    service::{Lifecycle, Service},
    status,
    tls::ServerTls,
};

/// The service's full name, as health checks use it.
pub(crate) const SERVICE: &str = "specthink.v1.Thinker";
/// How long connections may take to close after the drain. No work happens in this time.
const FAREWELL: Duration = Duration::from_secs(1);

/// Binds an address, `HOST:PORT`; port 0 picks a free one.
///
/// # Errors
/// When the address is invalid or in use.
pub async fn bind(address: &str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|why| ServeError::Bind { address: address.escape_debug().to_string(), why })
}

/// Serves a Thinker until the shutdown, and then until the drain is over.
///
/// At the shutdown the health service reports NOT_SERVING and new sessions are refused. Running sessions may continue
/// for [`ServerConfig::drain`]; those still running then fail as unavailable.
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
    let mut server = config.server(address)?;
    let tls = config.tls.as_ref().map(ServerTls::for_nodes).transpose()?;
    let (token, reload_now) = (config.token.clone(), Arc::clone(&config.reload_now));
    let (lifecycle, lifecycle_seen) = watch::channel(Lifecycle::Serving);
    let limit = SessionLimit::new(config.max_sessions);
    let health = HealthReporter::new();
    for name in ["", SERVICE] {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let (drain, meter) = (config.drain, config.meter.clone());
    let gate = gate(token.clone(), meter.clone());
    let ServerConfig { max_message_bytes, max_connections, .. } = config;
    let ours = Service::new(thinker, config, limit.clone(), lifecycle_seen);
    let ours = ThinkerServer::new(ours).max_decoding_message_size(max_message_bytes);
    let sockets = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming = bounded(sockets, max_connections, meter.clone());
    let stop = CancellationToken::new();
    let health_service = tonic_health::pb::health_server::HealthServer::new(
        tonic_health::server::HealthService::from_health_reporter(health.clone()),
    );
    let serving = server
        .add_service(InterceptedService::new(health_service, noting_call))
        .add_service(InterceptedService::new(ours, gate.clone()))
        .add_service(InterceptedService::new(
            reflection().build_v1().map_err(broken)?,
            gate.clone(),
        ))
        .add_service(InterceptedService::new(reflection().build_v1alpha().map_err(broken)?, gate));
    let stopped = stop.cancelled();
    let serving: BoxFuture<'_, _> = match tls.clone() {
        Some(tls) => serving.serve_with_incoming_shutdown(secured(incoming, tls), stopped).boxed(),
        None => serving.serve_with_incoming_shutdown(incoming, stopped).boxed(),
    };
    let read: Vec<&dyn Reload> = [
        tls.as_ref().map(|tls| tls as &dyn Reload),
        token.as_ref().map(|token| token as &dyn Reload),
    ]
    .into_iter()
    .flatten()
    .collect();
    let ending = async {
        shutdown.await;
        meter.set_phase(NodePhase::Draining);
        end(health, &lifecycle, &limit, drain).await;
        stop.cancel();
        // Streams of health or reflection that a client leaves open would otherwise hold the server forever.
        tokio::time::sleep(FAREWELL).await;
    };
    meter.set_phase(NodePhase::Serving);
    tracing::info!(%address, "serving");
    select! {
        done = serving => done.map_err(|error| ServeError::Broken { why: status::why(&error) }),
        () = ending => Ok(()),
        () = keep_reading(&read, &reload_now) => Ok(()),
    }
}

/// The reflection service, which describes the protocol to clients.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false)
}

/// Shuts down: from the signal to the end of the last session.
async fn end(
    mut health: HealthReporter,
    lifecycle: &watch::Sender<Lifecycle>,
    limit: &SessionLimit,
    drain: Duration,
) {
    for name in ["", SERVICE] {
        health.set_service_status(name, ServingStatus::NotServing).await;
    }
    lifecycle.send_replace(Lifecycle::Draining);
    tracing::info!(sessions = limit.open_sessions(), ?drain, "shutting down, waiting for sessions");
    if timeout(drain, limit.all_closed()).await.is_err() {
        tracing::warn!(sessions = limit.open_sessions(), "drain time is over, ending sessions");
        lifecycle.send_replace(Lifecycle::Stopping);
        // Each session now fails by itself; a client that does not read must not hold the server.
        let _ = timeout(FAREWELL, limit.all_closed()).await;
    }
    // Clearing the services ends the streams that watch their health.
    for name in ["", SERVICE] {
        health.clear_service_status(name).await;
    }
}

fn broken(error: impl std::error::Error) -> ServeError {
    ServeError::Broken { why: error.to_string() }
}
