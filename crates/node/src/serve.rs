//! A node's life: bind, find the model, load it, serve it, drain. The order matters: problems with the address or the
//! TLS files show before minutes of loading, and the address is reserved meanwhile.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use candle_core::{DType, Device};
use engine::{
    Engine, EngineOptions, LoadError, LoadOptions, LoadProgress, ModelLocation, gguf_parts,
    load_model,
};
use hub::{Console, WantedFile, bytes, choose, list};
use thinking::thinker::{Code, ModelCard, Thinker};
use tokio::{net::TcpListener, task::JoinSet};
use upstream::{Upstream, UpstreamConfig};

use crate::{
    builtin,
    config::{DeviceChoice, Dtype, ModelSource, NodeConfig},
    error::NodeError,
    metrics_port::{self, ModelView, NodeView},
};

/// A node that has bound its address and loaded its model and is ready to serve.
pub(crate) struct ReadyNode {
    listener: TcpListener,
    thinker: Arc<dyn Thinker>,
    server: transport::ServerConfig,
    address: SocketAddr,
    /// Ends with the reason when the device fails for good.
    lost: Lost,
    /// Runs the metrics endpoint as long as the node exists.
    watched: JoinSet<()>,
}

type Lost = Pin<Box<dyn Future<Output = String> + Send>>;

impl std::fmt::Debug for ReadyNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadyNode").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl ReadyNode {
    /// Binds, downloads if necessary, and loads. Reports its progress on the console; the last line is `listening on
    /// URL`.
    ///
    /// # Errors
    /// [`NodeError`]: one line each, with an exit code.
    pub(crate) async fn start(
        config: NodeConfig,
        console: &Console,
    ) -> Result<ReadyNode, NodeError> {
        let listener = transport::bind(&config.listen).await?;
        let address = listener
            .local_addr()
            .map_err(|why| NodeError::Internal(format!("the listener has no address: {why}")))?;
        config.server.check(address)?;
        if let Some(warning) = open_to_everybody(&config.server, address) {
            console.note(&warning);
        }
        let view = Arc::new(NodeView { meter: config.server.meter.clone(), ..NodeView::default() });
        let watched = watched(config.metrics.as_deref(), &view, console).await?;
        let mut lost: Lost = Box::pin(std::future::pending());
        let (thinker, model, card): (Arc<dyn Thinker>, ModelView, ModelCard) = match &config.model {
            ModelSource::Upstream(upstream) => {
                let mut upstream = UpstreamConfig::clone(upstream);
                if let Some(place) = &config.tokenizer {
                    upstream.tokenizer = Some(config.hub.tokenizer(place, console).await?);
                }
                let (upstream, card) = reach(&upstream, console).await?;
                let upstream = Arc::new(upstream);
                (upstream.clone(), ModelView::Server(upstream), card)
            }
            _ => {
                let engine = own_engine(&config, console).await?;
                let card = engine.card().clone();
                lost = Box::pin(engine.device_lost());
                let engine = Arc::new(engine);
                (engine.clone(), ModelView::Engine(engine), card)
            }
        };
        // It was empty.
        let _ = view.model.set(model);
        let server = transport::ServerConfig { card, ..config.server };
        let node = ReadyNode { listener, thinker, server, address, lost, watched };
        console.fact(&format!("listening on {}", node.url()));
        Ok(node)
    }

    /// Returns the URL for clients.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.server.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Returns what it serves.
    pub(crate) fn card(&self) -> &ModelCard {
        &self.server.card
    }

    /// Serves until the shutdown, or until the device fails for good, then drains.
    ///
    /// # Errors
    /// When the listener breaks, or the device has failed.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
        let ReadyNode { listener, thinker, server, lost, watched: _watched, .. } = self;
        let device = server.card.device.clone();
        let mut failed = None;
        let end = async {
            tokio::select! {
                () = shutdown => {}
                why = lost => failed = Some(why),
            }
        };
        transport::serve(listener, thinker, server, end).await?;
        match failed {
            Some(why) => Err(NodeError::DeviceLost { device, why }),
            None => Ok(()),
        }
    }
}

/// Starts the metrics endpoint, and prints its address.
async fn watched(
    address: Option<&str>,
    view: &Arc<NodeView>,
    console: &Console,
) -> Result<JoinSet<()>, NodeError> {
    let mut watched = JoinSet::new();
    if let Some(address) = address {
        let (listener, address) = metrics_port::bind(address).await?;
        watched.spawn(metrics_port::serve(listener, Arc::clone(view)));
        console.fact(&format!("metrics on http://{address}/metrics"));
    }
    Ok(watched)
}

/// Returns a warning for a node that accepts any client from another machine.
fn open_to_everybody(server: &transport::ServerConfig, address: SocketAddr) -> Option<String> {
    let asks_who =
        server.token.is_some() || server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let is_local = address.ip().to_canonical().is_loopback();
    (!asks_who && !is_local).then(|| {
        format!(
            "anyone who can reach {address} may use this node: give --token-file or --tls-client-ca to restrict access"
        )
    })
}

/// Connects to the server that computes the model, and asks what it serves. Waits while the server is loading its
/// model.
async fn reach(
    config: &UpstreamConfig,
    console: &Console,
) -> Result<(Upstream, ModelCard), NodeError> {
    let upstream = Upstream::new(config.clone())?;
    let mut is_told = false;
    let card = loop {
        let failure = match upstream.card().await {
            Ok(card) => break card,
            Err(failure) => failure,
        };
        let (Code::Unavailable, Some(wait_ms)) = (failure.code, failure.retry_after_ms) else {
            return Err(failure.into());
        };
        if !std::mem::replace(&mut is_told, true) {
            console.note(&format!("{failure}; waiting for it"));
        }
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    };
    let context = match card.context_tokens {
        u32::MAX => "of unknown length; give --context".to_owned(),
        tokens => format!("{tokens} tokens"),
    };
    console
        .fact(&format!("model {}: computed by {}, context {context}", card.name, config.address));
    Ok((upstream, card))
}

/// Loads the engine for a model that is computed here.
async fn own_engine(config: &NodeConfig, console: &Console) -> Result<Engine, NodeError> {
    let device = device(config.device)?;
    let location = find(config, console).await?;
    let loaded = match load(config, location, device.clone(), console).await {
        Err(NodeError::Load(why)) if drop_damaged(config, &why, console).await => {
            load(config, find(config, console).await?, device, console).await?
        }
        loaded => loaded?,
    };
    say(loaded.engine.card(), &loaded, console);
    if let Some(pace) = &config.pace {
        console.fact(&format!("pace: {}, {}: {}", pace.name, pace.kind, pace.basis));
    }
    if matches!(config.model, ModelSource::Builtin(_)) {
        console.note(&builtin::note());
    }
    for note in loaded.engine.notes() {
        console.note(note);
    }
    if let Some(why) = loaded.engine.no_template() {
        console.note(&format!("{why}: only raw prompts (specthink ask --raw) will work"));
    }
    Ok(loaded.engine)
}

/// Returns where the model is, after a download if necessary.
async fn find(config: &NodeConfig, console: &Console) -> Result<ModelLocation, NodeError> {
    let file = WantedFile { name: config.file.as_deref(), parts: gguf_parts };
    match &config.model {
        ModelSource::Builtin(model) => Ok(ModelLocation::Embedded(*model)),
        ModelSource::Name(name) => {
            Ok(ModelLocation::Path(config.hub.fetch(name, file, console).await?))
        }
        ModelSource::Path(path) if path.is_dir() => {
            let selection = choose(&list(path), file)
                .map_err(|why| NodeError::Choose { path: path.clone(), why })?;
            Ok(ModelLocation::Path(selection.path(path)))
        }
        ModelSource::Path(path) if file.name.is_some() => Err(NodeError::Usage(format!(
            "--file chooses a file of a folder or repository, but {} is a file",
            path.display()
        ))),
        ModelSource::Path(path) => Ok(ModelLocation::Path(path.clone())),
        ModelSource::Upstream(config) => {
            Err(NodeError::Internal(format!("{} has no files here", config.address)))
        }
    }
}

/// Removes damaged files of a cached model that could not be loaded from the cache. Returns whether there were any.
async fn drop_damaged(config: &NodeConfig, why: &LoadError, console: &Console) -> bool {
    let ModelSource::Name(name) = &config.model else { return false };
    if !may_be_damage(why) || config.hub.offline {
        return false;
    }
    console.note(&format!("{why}; looking for damage in the cache"));
    let (hub, name) = (config.hub.clone(), name.clone());
    match tokio::task::spawn_blocking(move || hub.drop_damaged(&name)).await {
        Ok(Ok(dropped)) if !dropped.is_empty() => {
            console.note(&format!("damaged, downloading again: {}", dropped.join(", ")));
            true
        }
        Ok(Err(why)) => {
            console.note(&why.to_string());
            false
        }
        _ => false,
    }
}

/// Returns whether damaged files may explain why a model could not be loaded.
fn may_be_damage(why: &LoadError) -> bool {
    matches!(
        why,
        LoadError::Damaged { .. }
            | LoadError::NotFound { .. }
            | LoadError::Config { .. }
            | LoadError::MissingTensor { .. }
            | LoadError::WrongShape { .. }
            | LoadError::Tokenizer(_)
    )
}

/// An engine, and the facts about its memory to report.
struct Loaded {
    engine: Engine,
    weight_bytes: u64,
    cache_bytes_per_token: u64,
}

async fn load(
    config: &NodeConfig,
    location: ModelLocation,
    device: Device,
    console: &Console,
) -> Result<Loaded, NodeError> {
    let name = config.name.clone().unwrap_or_else(|| config.model.name());
    let paced = config.pace.as_ref().map(|pace| pace.curve.prefill_chunk_tokens() as usize);
    let usual = EngineOptions::default();
    let options = EngineOptions {
        name: Some(name.clone()),
        prefill_chunk_tokens: paced,
        max_sessions: config.server.max_sessions as usize,
        context_tokens: config.context_tokens.map(|tokens| tokens as usize),
        kv_memory_bytes: config.kv_memory_bytes,
        threads: config.threads,
        pace: config.pace.as_ref().map(|pace| pace.curve.clone()),
        ..usual
    };
    let load = LoadOptions { dtype: config.dtype.map(dtype), device, ..LoadOptions::default() };
    let console = console.clone();
    // Reads files and computes, so it must not block the threads that serve.
    let task = tokio::task::spawn_blocking(move || {
        load_blocking(&location, &load, options, &format!("loading {name}"), &console)
    });
    task.await.map_err(|why| NodeError::Internal(format!("loading failed: {why}")))?
}

fn load_blocking(
    location: &ModelLocation,
    load: &LoadOptions,
    options: EngineOptions,
    what: &str,
    console: &Console,
) -> Result<Loaded, NodeError> {
    let mut progress = None;
    let model = load_model(location, load, &mut |LoadProgress { done_bytes, total_bytes }| {
        progress.get_or_insert_with(|| console.progress(what, total_bytes)).set(done_bytes);
    })?;
    drop(progress);
    let cache_bytes_per_token = model.decoder.kv_bytes_per_token();
    let weight_bytes = model.weight_bytes;
    Ok(Loaded { engine: Engine::new(model, options)?, weight_bytes, cache_bytes_per_token })
}

fn say(card: &ModelCard, loaded: &Loaded, console: &Console) {
    let context = u64::from(card.context_tokens);
    let cache = loaded.cache_bytes_per_token.saturating_mul(context);
    console.fact(&format!(
        "model {}: {} family, {} parameters, {}, context {context} tokens",
        card.name,
        card.family,
        count(card.parameters),
        card.quantisation,
    ));
    let left = loaded.engine.memory().map(|usable| format!(" of the {usable}")).unwrap_or_default();
    console.fact(&format!(
        "memory: weights {}, caches up to {}{left}, each session up to {} ({} a token)",
        bytes(loaded.weight_bytes),
        bytes(loaded.engine.kv_usage().budget_bytes),
        bytes(cache),
        bytes(loaded.cache_bytes_per_token),
    ));
    let threads = candle_core::utils::get_num_threads();
    console.fact(&format!("device: {}, {threads} CPU threads", card.device));
}

/// Formats a number of weights: `494 M`, `1.54 B`.
fn count(parameters: u64) -> String {
    match parameters {
        0..1_000_000 => format!("{parameters}"),
        1_000_000..1_000_000_000 => format!("{:.0} M", parameters as f64 / 1e6),
        _ => format!("{:.2} B", parameters as f64 / 1e9),
    }
}

fn device(choice: DeviceChoice) -> Result<Device, NodeError> {
    let device = match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(number) => engine::open_cuda(number),
        DeviceChoice::Metal => engine::open_metal(),
    };
    device.map_err(|why| NodeError::Device { device: choice.to_string(), why: why.to_string() })
}

fn dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F32 => DType::F32,
        Dtype::Bf16 => DType::BF16,
        Dtype::F16 => DType::F16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_written_as_people_write_them() {
        assert_eq!(count(120_000), "120000");
        assert_eq!(count(494_032_768), "494 M");
        assert_eq!(count(1_543_714_304), "1.54 B");
    }

    #[test]
    fn a_node_that_everybody_may_use_says_so() {
        let mut server = transport::ServerConfig::new(ModelCard::default());
        let said = |server: &transport::ServerConfig, address: &str| {
            open_to_everybody(server, address.parse().unwrap()).is_some()
        };
        assert!(
            said(&server, "0.0.0.0:7102") && said(&server, "[::]:1") && said(&server, "10.0.0.7:1")
        );
        assert!(!said(&server, "127.0.0.1:7102") && !said(&server, "[::ffff:127.0.0.1]:1"));
        let (cert, key) = ("c".into(), "k".into());
        server.tls = Some(transport::ServerTls { cert, key, client_ca: None });
        assert!(said(&server, "0.0.0.0:7102"), "TLS alone does not authenticate clients");
        server.tls =
            server.tls.map(|tls| transport::ServerTls { client_ca: Some("a".into()), ..tls });
        assert!(!said(&server, "0.0.0.0:7102"));
        server.tls = None;
        server.token = Some(transport::Token::new("s3cret").unwrap());
        assert!(!said(&server, "0.0.0.0:7102"));
    }

    #[tokio::test]
    async fn a_device_that_fails_for_good_ends_the_node() {
        use thinking::testing::{Script, ScriptedThinker};

        let listener = transport::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let card = ModelCard { device: "cuda:0".to_owned(), ..ModelCard::default() };
        let node = ReadyNode {
            listener,
            address,
            thinker: Arc::new(ScriptedThinker::new(Script::text("56"))),
            server: transport::ServerConfig::new(card),
            lost: Box::pin(std::future::ready("the GPU is gone".to_owned())),
            watched: JoinSet::new(),
        };
        let error = node.serve(std::future::pending()).await.unwrap_err();
        assert_eq!(error.exit(), crate::error::NodeExit::Device);
        assert!(
            error.to_string().starts_with("cuda:0 has failed and cannot be used again: "),
            "{error}"
        );
    }

    #[test]
    fn a_device_that_was_not_built_in_is_said() {
        if !candle_core::utils::cuda_is_available() {
            let error = device(DeviceChoice::Cuda(1)).unwrap_err();
            let line =
                "cannot compute on cuda:1: this program was built without the feature cuda; ";
            assert!(error.to_string().starts_with(line), "{error}");
        }
        assert!(device(DeviceChoice::Cpu).is_ok());
    }
}
