//! Examines a node step by step, to find out what does not work: its name, its port, its certificate, its answers, its
//! clock, and the speed of the path to it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prost::Message;
use proto::v1::DescribeResponse;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use thinking::thinker::{Failure, Load, ModelCard};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use tonic::{Response, client::Grpc, codegen::http::uri::PathAndQuery, metadata::MetadataMap};
use tonic_prost::ProstCodec;

use crate::{
    certificate_facts::CertificateFacts, config::RemoteConfig, convert, node_link::NodeLink,
    race::connect_tcp, status,
};

/// How many round trips to the node are measured.
const ROUND_TRIPS: usize = 7;
/// How many bytes are sent to measure the throughput.
const SENT_BYTES: usize = 1 << 20;
/// The describe call. A node ignores unknown fields, so padding can make the request larger.
const DESCRIBE: &str = "/specthink.v1.Thinker/Describe";

/// What was found out about a node, up to the first step that failed.
#[derive(Debug)]
pub struct Examination {
    /// The addresses that its name resolves to, or why there are none.
    pub addresses: Result<Vec<SocketAddr>, String>,
    /// How long connecting to its port took, or why the port cannot be reached.
    pub port: Option<Result<Duration, String>>,
    /// Its certificate if it presents one, whether or not it is to be trusted.
    pub certificate: Option<CertificateFacts>,
    /// Our own certificate, if there is one.
    pub own_certificate: Option<CertificateFacts>,
    /// Whether the connection is secured as configured and speaks the protocol's HTTP/2.
    pub connection: Option<Result<(), String>>,
    /// What it serves, or why it does not answer.
    pub description: Option<Result<Description, Failure>>,
}

/// A node's description, with its measured speed.
#[derive(Debug)]
pub struct Description {
    /// The protocol version.
    pub version: u32,
    /// What it serves.
    pub card: ModelCard,
    /// How busy it is, if it reports that.
    pub load: Option<Load>,
    /// How many seconds its clock is ahead of ours, if it reports the time.
    pub clock_ahead_s: Option<i64>,
    /// The median duration of a small call.
    pub round_trip: Duration,
    /// How many bytes a second it receives; absent if that is too fast to measure or the message was refused.
    pub bytes_per_second: Option<f64>,
}

impl RemoteConfig {
    /// Examines the node step by step. Each step takes at most the connect timeout.
    pub async fn examine(&self) -> Examination {
        let addresses = self.resolve().await;
        let mut found = Examination {
            addresses,
            port: None,
            certificate: None,
            own_certificate: None,
            connection: None,
            description: None,
        };
        if found.addresses.is_err() {
            return found;
        }
        let port = self.port().await;
        let is_reached = port.is_ok();
        found.port = Some(port);
        if !is_reached {
            return found;
        }
        if self.address.tls() {
            let identity = self.tls.identity.as_ref();
            found.own_certificate =
                identity.and_then(|(cert, _)| CertificateFacts::read(cert).ok());
            found.certificate = self.certificate().await;
        }
        let link = match NodeLink::new(self.clone()) {
            Ok(link) => link,
            Err(error) => {
                found.connection = Some(Err(error.to_string()));
                return found;
            }
        };
        let connected = link.client().await.map(drop);
        let is_connected = connected.is_ok();
        found.connection = Some(connected.map_err(|failure| failure.to_string()));
        if is_connected {
            found.description = Some(describe(&link).await);
        }
        found
    }

    /// Returns one configuration for each address that the node's name resolves to.
    ///
    /// # Errors
    /// Why the name does not resolve.
    pub async fn each_address(&self) -> Result<Vec<RemoteConfig>, String> {
        Ok(self.resolve().await?.into_iter().map(|address| self.at(address)).collect())
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let host = (self.address.host(), self.address.port());
        match timeout(self.connect_timeout, lookup_host(host)).await {
            Ok(Ok(addresses)) => {
                let addresses: Vec<SocketAddr> = addresses.collect();
                if addresses.is_empty() {
                    Err("it has no address".to_owned())
                } else {
                    Ok(addresses)
                }
            }
            Ok(Err(why)) => Err(why.to_string()),
            Err(_) => Err(format!("the name was not resolved within {:?}", self.connect_timeout)),
        }
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let host = (self.address.host(), self.address.port());
        let connecting = async {
            match self.via {
                Some(via) => TcpStream::connect(via).await,
                None => connect_tcp(host).await,
            }
        };
        match timeout(self.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(|why| why.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.connect_timeout)),
        }
    }

    async fn port(&self) -> Result<Duration, String> {
        let begun = Instant::now();
        self.connect().await.map(|_| begun.elapsed())
    }

    /// Returns the certificate that the node presents, whoever signed it.
    async fn certificate(&self) -> Option<CertificateFacts> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakesAny(provider)))
            .with_no_client_auth();
        let name = ServerName::try_from(self.address.host().to_owned()).ok()?;
        let stream = self.connect().await.ok()?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = timeout(self.connect_timeout, handshake).await.ok()?.ok()?;
        let (_, connection) = stream.get_ref();
        CertificateFacts::of(connection.peer_certificates()?.first()?)
    }
}

/// Returns what the node says of itself, with its measured speed.
async fn describe(link: &NodeLink) -> Result<Description, Failure> {
    let mut round_trips = Vec::new();
    let mut last = None;
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        last = Some(padded(link, 0).await?);
        round_trips.push(begun.elapsed());
    }
    round_trips.sort_unstable();
    let round_trip = round_trips[round_trips.len() / 2];
    let response = last.ok_or_else(|| status::unavailable("it was never asked".to_owned()))?;
    let clock_ahead_s = clock_ahead_s(response.metadata());
    let (version, card, load) = convert::description_from_wire(response.into_inner())?;
    link.check_model(&card)?;
    let begun = Instant::now();
    // A node may have a lower message limit than this.
    let sent = padded(link, SENT_BYTES).await.is_ok();
    let more = begun.elapsed().saturating_sub(round_trips[0]);
    let is_measured = sent && more > round_trips[0] / 10;
    let bytes_per_second = is_measured.then(|| SENT_BYTES as f64 / more.as_secs_f64());
    Ok(Description { version, card, load, clock_ahead_s, round_trip, bytes_per_second })
}

/// Returns how many seconds the answering server's clock is ahead of ours. The header has a resolution of one second.
fn clock_ahead_s(metadata: &MetadataMap) -> Option<i64> {
    let told = httpdate::parse_http_date(metadata.get("date")?.to_str().ok()?).ok()?;
    #[expect(clippy::disallowed_methods, reason = "two clocks are compared")]
    let now = SystemTime::now();
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Some(match told.duration_since(now) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    })
}

/// A request with extra bytes that the node ignores.
#[derive(Clone, PartialEq, Message)]
struct PaddedRequest {
    #[prost(bytes = "vec", tag = "15000")]
    padding: Vec<u8>,
}

async fn padded(link: &NodeLink, bytes: usize) -> Result<Response<DescribeResponse>, Failure> {
    let channel = link.channel().await?;
    let mut grpc = Grpc::new(channel);
    let request = link.request(PaddedRequest { padding: vec![0; bytes] });
    let asked = async {
        grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<PaddedRequest, DescribeResponse>::default();
        grpc.unary(request, PathAndQuery::from_static(DESCRIBE), codec).await
    };
    let answered = timeout(link.config.silence, asked).await.map_err(|_| link.silent())?;
    let response = answered.map_err(|status| link.explain(&status))?;
    link.answered();
    Ok(response)
}

/// Accepts any certificate, in order to show its contents. Nothing is sent over such a connection.
#[derive(Debug)]
struct TakesAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
