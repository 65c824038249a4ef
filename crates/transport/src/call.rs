//! One session on a remote node: commands out, events in, heartbeats both ways.
//!
//! A session is one task, and the task is one future: dropping the session's event receiver drops
//! everything in it, and with it the call, which is how the node learns of it.

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

/// Commands between the session's queue and the connection. The queue proper is the session's.
const OUTBOUND: usize = 4;
/// How much later than the session's deadline the call is cut off on the way: the node ends the
/// proposal at the deadline and must still be able to say so.
const DEADLINE_GRACE: Duration = Duration::from_secs(10);

/// Carries a session to the node until it is over or given up.
pub(crate) async fn run(link: Arc<NodeLink>, session: SessionServer) {
    let SessionServer { commands, events, signs } = session;
    let session = async {
        if let Err(failure) = converse(&link, commands, &events, &signs).await {
            // A full queue makes this wait for the caller, a caller that went away ends it.
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
    // Nothing is connected for a session that is never used.
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

/// Sends commands until the caller drops its end. Then the stream is half-closed.
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
            // The call is over; the other half knows why, or the silence will tell.
            pending::<()>().await;
        }
    }
}

/// How a stream of events ended.
enum End {
    /// By a failure, which was handed on.
    Failed,
    /// By the node closing it.
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
            // Given up; `run` sees it too.
            return Ok(End::Failed);
        }
        if failed {
            return Ok(End::Failed);
        }
    }
}
