//! Peers that are not what they should be: no node, another service, another version.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use proto::v1 as wire;
use thinking::{
    testing::{Script, ScriptedThinker},
    thinker::{Code, Failure},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_stream::{StreamExt, wrappers::TcpListenerStream};
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    transport::{Channel, Server},
};
use transport::{Remote, RemoteConfig};

use crate::support::{Node, closed_port, failure_of_open};

fn remote(port: u16) -> Remote {
    Remote::new(RemoteConfig::new(format!("127.0.0.1:{port}").parse().unwrap())).unwrap()
}

/// Returns the failure of a session, which must have the same message as that of a description.
async fn refusal(port: u16) -> Failure {
    let failure = failure_of_open(&remote(port)).await;
    assert_eq!(remote(port).describe().await.unwrap_err().message, failure.message);
    assert!(failure.message.contains(&format!("http://127.0.0.1:{port}")), "{failure}");
    failure
}

/// A server that reads a little, sends `answer`, and hangs up.
async fn says(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut connections = TcpListenerStream::new(listener);
        while let Some(Ok(mut stream)) = connections.next().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
            // Read until the client is done, or the kernel resets the connection.
            while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
        }
    });
    port
}

#[tokio::test]
async fn a_closed_port() {
    let port = closed_port().await;
    let failure = refusal(port).await;
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.message.starts_with("cannot reach http://127.0.0.1:"), "{failure}");
    assert!(failure.message.contains("refused"), "{failure}");
}

#[tokio::test]
async fn an_http_1_server() {
    let port = says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let failure = refusal(port).await;
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.message.contains("is not a specthink node: it answers HTTP/1"), "{failure}");
}

#[tokio::test]
async fn something_that_is_no_http_at_all() {
    let port = says(b"SSH-2.0-OpenSSH_9.2p1\r\n").await;
    let failure = refusal(port).await;
    assert!(failure.message.contains("is not a specthink node"), "{failure}");
}

#[tokio::test]
async fn something_that_hangs_up() {
    let port = says(b"").await;
    let failure = refusal(port).await;
    assert_eq!(failure.code, Code::Unavailable);
}

#[tokio::test]
async fn a_grpc_server_without_our_service() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let incoming = TcpListenerStream::new(listener);
    let server = tokio::spawn(Server::builder().add_service(health).serve_with_incoming(incoming));
    let failure = refusal(port).await;
    assert_eq!(failure.code, Code::Unavailable);
    assert!(
        failure.message.contains("it speaks gRPC but has no service specthink.v1.Thinker"),
        "{failure}"
    );
    server.abort();
}

/// A server that answers our calls with a bare HTTP 200.
#[derive(Clone)]
struct NoGrpc;

impl NamedService for NoGrpc {
    const NAME: &'static str = "specthink.v1.Thinker";
}

impl Service<http::Request<Body>> for NoGrpc {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        ready(Ok(http::Response::new(Body::empty())))
    }
}

#[tokio::test]
async fn an_http_2_server_without_grpc() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let incoming = TcpListenerStream::new(listener);
    let server = tokio::spawn(Server::builder().add_service(NoGrpc).serve_with_incoming(incoming));
    let failure = refusal(port).await;
    assert_eq!(failure.code, Code::Unavailable);
    assert!(
        failure.message.contains("is not a specthink node: it answers HTTP but not gRPC"),
        "{failure}"
    );
    server.abort();
}

/// Sends raw messages to a node and returns its first answer.
async fn answer_to(commands: Vec<wire::Command>) -> wire::event::Event {
    let node = Node::start(Arc::new(ScriptedThinker::new(Script::babble()))).await;
    let url = format!("http://127.0.0.1:{}", node.port);
    let mut client = wire::thinker_client::ThinkerClient::connect(url).await.unwrap();
    let commands = tokio_stream::iter(commands).chain(tokio_stream::pending());
    let mut events = client.think(commands).await.unwrap().into_inner();
    let event = events.message().await.unwrap().unwrap().event.unwrap();
    if matches!(event, wire::event::Event::Failed(_)) {
        assert_eq!(events.message().await.unwrap(), None);
    }
    event
}

fn opening(protocol_version: u32) -> wire::Command {
    let open =
        wire::Open { protocol_version, raw_prompt: Some("?".into()), ..wire::Open::default() };
    wire::Command { command: Some(wire::command::Command::Open(open)) }
}

#[tokio::test]
async fn a_client_of_another_version() {
    let wire::event::Event::Failed(failed) = answer_to(vec![opening(2)]).await else { panic!() };
    assert_eq!(failed.code(), wire::Code::UnsupportedVersion);
    assert_eq!(
        failed.message,
        "the client speaks protocol version 2 and this node version 1: bring the older of the two \
         up to date"
    );
}

#[tokio::test]
async fn a_client_that_sends_what_is_not_known() {
    let nothing = wire::Command { command: None };
    let wire::event::Event::Failed(failed) = answer_to(vec![nothing]).await else { panic!() };
    assert_eq!(failed.code(), wire::Code::InvalidArgument);
    assert!(failed.message.contains("does not know"), "{}", failed.message);

    let heartbeat = wire::command::Command::Heartbeat(wire::Heartbeat {});
    let heartbeat = wire::Command { command: Some(heartbeat) };
    let answer = answer_to(vec![heartbeat, opening(1)]).await;
    assert!(matches!(answer, wire::event::Event::Opened(_)), "{answer:?}");
}

#[tokio::test]
async fn a_client_without_our_files_finds_everything_by_reflection() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let node = Node::start(Arc::new(ScriptedThinker::new(Script::babble()))).await;
    let channel = Channel::from_shared(format!("http://127.0.0.1:{}", node.port)).unwrap();
    let mut client = ServerReflectionClient::new(channel.connect().await.unwrap());
    let asked = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("specthink.v1.Thinker".into()),
    ];
    let requests = tokio_stream::iter(asked.map(|message| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message),
    }));
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let mut answer = async || answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer().await else { panic!() };
    let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "specthink.v1.Thinker",
        ]
    );
    let MessageResponse::FileDescriptorResponse(file) = answer().await else { panic!() };
    assert!(!file.file_descriptor_proto.is_empty());
}
