//! Connections over in-memory pipes, in simulated time.

use futures_util::stream::BoxStream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
    time::timeout,
};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A listener whose sockets the test makes, and the connections that it accepts.
struct Listening {
    sockets: mpsc::UnboundedSender<io::Result<DuplexStream>>,
    connections: BoxStream<'static, io::Result<Connection<DuplexStream>>>,
}

impl Listening {
    fn new(max_connections: u32) -> Listening {
        let (sockets, arriving) = mpsc::unbounded_channel();
        let arriving = stream::unfold(arriving, |mut arriving| async move {
            Some((arriving.recv().await?, arriving))
        });
        let connections =
            bounded(Box::pin(arriving), max_connections, NodeMeter::default()).boxed();
        Listening { sockets, connections }
    }

    /// Returns the client's end and the node's end; `None`: the node closed it at once.
    async fn connect(&mut self) -> (DuplexStream, Option<Connection<DuplexStream>>) {
        let (client, node) = duplex(64);
        self.sockets.send(Ok(node)).unwrap();
        let connection = timeout(Duration::from_millis(1), self.connections.next()).await;
        (client, connection.ok().flatten().map(Result::unwrap))
    }
}

/// Returns how long it took until reading failed, and why it failed.
async fn kept(connection: &mut Connection<DuplexStream>) -> (Duration, String) {
    let begin = Instant::now();
    let error = timeout(HOUR, connection.read(&mut [0; 64])).await.unwrap().unwrap_err();
    (begin.elapsed(), error.to_string())
}

fn call(connection: &Connection<DuplexStream>) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(connection.connect_info());
    request
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_call_is_closed() {
    let (mut client, connection) = Listening::new(1).connect().await;
    let mut connection = connection.unwrap();
    // Bytes without a call do not count.
    client.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    assert_eq!(connection.read(&mut [0; 64]).await.unwrap(), 16);
    let (waited, why) = kept(&mut connection).await;
    assert!(waited.abs_diff(FIRST_CALL_WITHIN) < Duration::from_secs(1), "{waited:?}");
    assert_eq!(why, "the connection was idle");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_for_its_session_and_a_while_longer() {
    let (_client, connection) = Listening::new(1).connect().await;
    let mut connection = connection.unwrap();
    noting_call(call(&connection)).unwrap();
    let session = KeptConnection::of(&call(&connection));
    assert!(timeout(HOUR, connection.read(&mut [0; 64])).await.is_err());
    drop(session);
    let (waited, _) = kept(&mut connection).await;
    assert!(waited.abs_diff(IDLE) < Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    let (mut client, connection) = Listening::new(1).connect().await;
    let mut connection = connection.unwrap();
    let _session = KeptConnection::of(&call(&connection));
    connection.write_all(&[0; 64]).await.unwrap();
    let begin = Instant::now();
    let error = timeout(HOUR, connection.write_all(&[0; 64])).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the client accepts none of the bytes sent to it");
    assert!(begin.elapsed().abs_diff(STUCK) < Duration::from_secs(1));
    // A slow client accepts something now and then.
    client.read_exact(&mut [0; 64]).await.unwrap();
    let slow = async {
        for _ in 0..64 {
            sleep(STUCK / 2).await;
            client.read_exact(&mut [0; 4]).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(connection.write_all(&[0; 256]), slow);
    written.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_without_a_call_gives_way_and_one_with_a_call_does_not() {
    let mut listening = Listening::new(2);
    let (_first, Some(first)) = listening.connect().await else { panic!() };
    note_call(&call(&first));
    let (_second, Some(mut second)) = listening.connect().await else { panic!() };
    // Its read is already waiting, and is woken.
    let (why, third) = tokio::join!(kept(&mut second), listening.connect());
    assert_eq!(why, (Duration::ZERO, "it gave its place to another connection".to_owned()));
    let (_third, Some(third)) = third else { panic!() };
    note_call(&call(&third));
    let (mut fourth, None) = listening.connect().await else { panic!() };
    assert_eq!(fourth.read(&mut [0; 64]).await.unwrap(), 0, "it is closed");
    // A call keeps the activity alive, but not the place of a closed connection.
    let _call = call(&third);
    drop(third);
    assert!(listening.connect().await.1.is_some());
    let mut first = first;
    assert_eq!(kept(&mut first).await.1, "the connection was idle");
}

#[tokio::test(start_paused = true)]
async fn connections_that_came_and_went_are_forgotten() {
    let sockets = stream::iter((0..1000).map(|_| Ok(duplex(1).1)));
    let (uncalled, full, failing) = (VecDeque::new(), LogLimit::default(), LogLimit::default());
    let places = Arc::new(Semaphore::new(10));
    let meter = NodeMeter::default();
    let mut acceptor =
        Acceptor { sockets, places, max_connections: 10, meter, uncalled, full, failing };
    while acceptor.next().await.is_some() {
        assert!(acceptor.uncalled.len() <= 20);
    }
}

#[tokio::test(start_paused = true)]
async fn a_system_that_cannot_accept_is_asked_once_a_second_and_logged_once_a_minute() {
    let mut listening = Listening::new(2);
    let too_many_open_files = 24;
    for _ in 0..120 {
        listening.sockets.send(Err(io::Error::from_raw_os_error(too_many_open_files))).unwrap();
    }
    // An error of one connection says nothing about the next.
    listening.sockets.send(Err(io::ErrorKind::ConnectionAborted.into())).unwrap();
    let begin = Instant::now();
    let (_client, node) = duplex(64);
    listening.sockets.send(Ok(node)).unwrap();
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    assert!(listening.connections.next().await.is_some());
    assert!(begin.elapsed().abs_diff(120 * ACCEPT_PAUSE) < ACCEPT_PAUSE);
    assert_eq!(lines.0.load(std::sync::atomic::Ordering::Relaxed), 2);
}

/// Counts the warnings that are logged.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::atomic::AtomicUsize>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
