//! `specthink probe`: checks over HTTP whether a program is healthy. For health checks in images that have no other
//! HTTP client.

use std::{pin::pin, time::Duration};

use cli::{CliError, Exit, until_enough};
use hyper::{Request, StatusCode, Uri, client::conn::http1::handshake, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

const AFTER_HELP: &str = "\
Examples:
  A server, and a node with --metrics 127.0.0.1:9101:
    specthink probe http://127.0.0.1:8080/health
    specthink probe http://127.0.0.1:9101/readyz
  Whichever of the two runs on this machine:
    specthink probe http://127.0.0.1:8080/health http://127.0.0.1:9101/healthz

Exits with 0 as soon as one URL answers with a status from 200 to 299, else with 24.";

/// Arguments of `probe`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ProbeArgs {
    /// The URL to request over plain HTTP: http://HOST:PORT/PATH. Of several, one must succeed.
    #[arg(required = true, value_name = "URL", value_parser = plain_url)]
    urls: Vec<Uri>,
    /// How long to wait for each.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = flags::positive_duration)]
    timeout: Duration,
}

fn plain_url(text: &str) -> Result<Uri, String> {
    let remedy = "write http://HOST:PORT/PATH";
    let url: Uri = text.parse().map_err(|why| format!("{why}: {remedy}"))?;
    match (url.scheme_str(), url.authority()) {
        (Some("http"), Some(_)) => Ok(url),
        (Some("https"), _) => Err(format!("probe does not use TLS: {remedy}")),
        _ => Err(remedy.to_owned()),
    }
}

pub(crate) fn run(args: &ProbeArgs) -> Result<Exit, CliError> {
    until_enough(async |enough| {
        tokio::select! {
            well = any_is_well(args) => well,
            () = enough.notified() => Ok(Exit::Cancelled),
        }
    })
}

/// Succeeds as soon as one of the URLs does; else says why each of them failed.
async fn any_is_well(args: &ProbeArgs) -> Result<Exit, CliError> {
    let mut faults = Vec::new();
    for url in &args.urls {
        let answer = timeout(args.timeout, ask(url)).await;
        let fault = match answer {
            Ok(Ok(status)) if status.is_success() => return Ok(Exit::Ok),
            Ok(Ok(status)) => format!("it answered {status}"),
            Ok(Err(why)) => why,
            Err(_) => {
                let given = humantime::format_duration(args.timeout);
                format!("no answer within {given}: check whether it is stuck, or raise --timeout")
            }
        };
        faults.push(format!("{url}: {fault}"));
    }
    Err(CliError::new(Exit::Unhealthy, faults.join("; ")))
}

/// Requests the URL and returns the status of the answer.
async fn ask(url: &Uri) -> Result<StatusCode, String> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let connected = TcpStream::connect((host, url.port_u16().unwrap_or(80))).await;
    let stream =
        connected.map_err(|why| format!("cannot connect: {why}; check whether it has started"))?;
    let broken = |why: hyper::Error| format!("what answers is not an HTTP server: {why}");
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, authority).body(String::new());
    let request = request.map_err(|why| why.to_string())?;
    let mut asking = pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut asking => answer,
        // The connection is closed: the answer is here, or never comes.
        _ = connection => asking.await,
    };
    answer.map(|answer| answer.status()).map_err(broken)
}
