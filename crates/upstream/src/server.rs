//! The client of one server and what is known of the server; shared by its sessions.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use text::{Tokenizer, TokenizerError};
use thinking::thinker::Failure;
use tokio::sync::OnceCell;

use crate::{
    config::{UpstreamConfig, UpstreamError},
    discover::{Served, discover},
    http::Http,
};

/// The client of a server and what is known of the server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) http: Http,
    /// Our own tokenizer for the server's model.
    pub(crate) own: Option<Tokenizer>,
    served: OnceCell<Served>,
    /// Whether our own tokenizer was seen to count tokens as the server does.
    pub(crate) counts_alike: AtomicBool,
    is_warned: AtomicBool,
}

impl Server {
    /// Reads the files that the configuration names, but does not connect yet.
    pub(crate) fn new(config: UpstreamConfig) -> Result<Server, UpstreamError> {
        let own = config.tokenizer.as_deref().map(read_tokenizer).transpose();
        let own =
            own.map_err(|why| UpstreamError::Tokenizer { address: config.address.clone(), why })?;
        Ok(Server {
            http: Http::new(config)?,
            own,
            served: OnceCell::new(),
            counts_alike: AtomicBool::new(false),
            is_warned: AtomicBool::new(false),
        })
    }

    /// Returns what the server serves. Asks it the first time, and again after a failure.
    pub(crate) async fn served(&self) -> Result<&Served, Failure> {
        self.served.get_or_try_init(|| discover(&self.http, self.own.as_ref())).await
    }

    /// Checks that the server answers now and still serves the same model.
    pub(crate) async fn answers(&self) -> Result<(), Failure> {
        match self.served.get() {
            Some(served) => served.is_still_served(&self.http).await,
            None => self.served().await.map(drop),
        }
    }

    /// Warns, once, that answers arrive all at once.
    pub(crate) fn warn_of_buffering(&self) {
        if !self.is_warned.swap(true, Ordering::Relaxed) {
            let address = &self.http.config.address;
            tracing::warn!(
                "{address} sends its answers all at once: a proxy in front of the server holds them back; turn off its \
                 buffering (nginx: proxy_buffering off), or each stretch costs the time and tokens of a whole one"
            );
        }
    }
}

/// Reads a `tokenizer.json`, from its path or from the folder that holds it.
fn read_tokenizer(path: &Path) -> Result<Tokenizer, TokenizerError> {
    let is_folder = fs::metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let path = if is_folder { path.join("tokenizer.json") } else { path.to_owned() };
    Tokenizer::from_json(&path)
}
