//! The way to one server and what is known of it; shared by its sessions.

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

/// The way to a server and what is known of it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) http: Http,
    /// Our own tokenizer of its model.
    pub(crate) own: Option<Tokenizer>,
    served: OnceCell<Served>,
    /// Whether our own tokenizer was seen to count as the server does.
    pub(crate) counts_alike: AtomicBool,
    is_warned: AtomicBool,
}

impl Server {
    /// Reads the files that the configuration names; connects to nothing yet.
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

    /// What it serves. Asks it the first time, and again while that fails.
    pub(crate) async fn served(&self) -> Result<&Served, Failure> {
        self.served.get_or_try_init(|| discover(&self.http, self.own.as_ref())).await
    }

    /// Whether it answers now and still serves the same.
    pub(crate) async fn answers(&self) -> Result<(), Failure> {
        match self.served.get() {
            Some(served) => served.is_still_served(&self.http).await,
            None => self.served().await.map(drop),
        }
    }

    /// Says, once, that answers come all at once.
    pub(crate) fn warn_of_buffering(&self) {
        if !self.is_warned.swap(true, Ordering::Relaxed) {
            let address = &self.http.config.address;
            tracing::warn!(
                "{address} gives its answers all at once: what stands before the server holds them back; turn its \
                 buffering off (nginx: proxy_buffering off), or each stretch costs the time and tokens of a whole one"
            );
        }
    }
}

/// A `tokenizer.json`, or the folder that holds it.
fn read_tokenizer(path: &Path) -> Result<Tokenizer, TokenizerError> {
    let is_folder = fs::metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let path = if is_folder { path.join("tokenizer.json") } else { path.to_owned() };
    Tokenizer::from_json(&path)
}
