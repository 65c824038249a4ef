//! One session on a remote node: commands out, events in, heartbeats both ways.
//!
//! A session is one task, and the task is one future. Dropping the session's event receiver drops the future and with
//! it the gRPC call, which is how the node learns that the session is over.

use std::{future::pending, pin::pin, sync::Arc};

use proto::v1 as wire;
use thinking::thinker::{Command, Event, Failure, SessionServer};
use tokio::{
    select,
    sync::{mpsc, watch},
    time::{Duration, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{convert, node_link::NodeLink, status};

/// How many commands may wait between the session's queue and the connection. The session's own queue is the real
/// buffer.
const OUTBOUND: usize = 4;
/// How long after the session's deadline the call itself is cut off: the node ends the proposal at the deadline and
/// needs time to report it.
const DEADLINE_GRACE: Duration = Duration::from_secs(10);

/// Carries a session to the node until it ends or is dropped.
pub(crate) async fn run(link: Arc<NodeLink>, session: SessionServer) {
    let SessionServer { commands, events, signs } = session;
    let session = async {
        if let Err(failure) = converse(&link, commands, &events, &signs).await {
            // A full queue makes this wait for the caller; a caller that went away ends it.
            let _ = events.send(Event::Failed(failure)).await;
        }
    };
    select! {
        () = events.closed() => {}
        () = session => {}
    }
}

async fn converse(
    link: &NodeLink,
    mut commands: mpsc::Receiver<Command>,
    events: &mpsc::Sender<Event>,
    signs: &watch::Sender<()>,
) -> Result<(), Failure> {
    // Do not connect for a session that is never used.
    let Some(first) = commands.recv().await else { return Ok(()) };
    let deadline = match &first {
        Command::Open(open) => open.deadline,
        _ => None,
    };
    let mut client = link.client().await?;
    let (out, outbound) = mpsc::channel(OUTBOUND);
    let mut request = link.request(ReceiverStream::new(outbound));
    if let Some(deadline) = deadline {
        request.set_timeout(deadline.min(convert::FURTHEST_DEADLINE) + DEADLINE_GRACE);
    }
    let inbound = async {
        let call = timeout(link.config.silence, client.think(request));
        let stream =
            call.await.map_err(|_| link.silent())?.map_err(|status| link.explain(&status))?;
        receive(link, stream.into_inner(), events, signs).await
    };
    let mut inbound = pin!(inbound);
    let mut outbound = pin!(send(link, first, commands, out));
    let mut half_closed = false;
    loop {
        select! {
            sent = &mut outbound, if !half_closed => {
                sent?;
                half_closed = true;
            }
            end = &mut inbound => {
                return match end? {
                    End::Failed => Ok(()),
                    End::Closed if half_closed => Ok(()),
                    End::Closed => Err(status::unavailable(format!(
                        "{} ended the session without a reason",
                        link.config.address
                    ))),
                };
            }
        }
    }
}

/// Sends commands until the caller drops its end, then half-closes the stream.
async fn send(
    link: &NodeLink,
    first: Command,
    mut commands: mpsc::Receiver<Command>,
    out: mpsc::Sender<wire::Command>,
) -> Result<(), Failure> {
    let mut next = Some(convert::command_to_wire(first));
    loop {
        let command = match next.take() {
            Some(command) => command,
            None => match timeout(link.config.heartbeat, commands.recv()).await {
                Ok(Some(command)) => convert::command_to_wire(command),
                Ok(None) => return Ok(()),
                Err(_) => convert::client_heartbeat(),
            },
        };
        link.check_size(&command)?;
        if out.send(command).await.is_err() {
            // The call is over: the receiving half knows why, or the silence timeout will end it.
            pending::<()>().await;
        }
    }
}

/// How a stream of events ended.
enum End {
    /// By a failure, which was passed to the caller.
    Failed,
    /// The node closed it.
    Closed,
}

async fn receive(
    link: &NodeLink,
    mut stream: Streaming<wire::Event>,
    events: &mpsc::Sender<Event>,
    signs: &watch::Sender<()>,
) -> Result<End, Failure> {
    loop {
        let event = timeout(link.config.silence, stream.message())
            .await
            .map_err(|_| link.silent())?
            .map_err(|status| link.explain(&status))?;
        let Some(event) = event else { return Ok(End::Closed) };
        link.answered();
        let Some(event) = convert::event_from_wire(event)? else {
            signs.send_replace(());
            continue;
        };
        if let Event::Opened(opened) = &event {
            link.check_model(&opened.card)?;
        }
        let failed = matches!(event, Event::Failed(_));
        if events.send(event).await.is_err() {
            // The caller dropped the session; `run` notices it too.
            return Ok(End::Failed);
        }
        if failed {
            return Ok(End::Failed);
        }
    }
}
