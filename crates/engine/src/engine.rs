//! The engine as others use it: a [`Thinker`] over one loaded model and one thread.
//!
//! Loading weights is the work of [`crate::model`]; what the thread does is in [`crate::scheduler`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use candle_core::{Device, DeviceLocation};
use text::Tokenizer;
use thinking::thinker::{ClientId, Code, Event, Failure, ModelCard, Session, Thinker};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    encoder::Encoder,
    error::LoadError,
    host::ModelHost,
    kv::{KvCounters, KvStore, KvUsage},
    memory,
    model::{
        BLOCK, Decoder, LoadOptions, LoadProgress, LoadedModel, ModelLocation, TokenizerSource,
        load_model,
    },
    preparer::Preparer,
    prompt,
    scheduler::{Arrival, Scheduler},
};

/// Sessions that wait for the thread to notice them.
const ARRIVALS: usize = 64;

/// How an engine runs its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// What the model is called in the card; by default its location's name.
    pub name: Option<String>,
    /// Sessions that hold a cache at once; one more is refused as overloaded.
    pub max_sessions: usize,
    /// Tokens of prefill computed in one go; what others wait at most for their next token.
    pub prefill_chunk_tokens: usize,
    /// Longest session in tokens, where it shall be less than the model's context.
    pub context_tokens: Option<usize>,
    /// Memory that caches may take, in bytes; by default what all sessions at full length would take,
    /// within half of the memory that is free.
    pub kv_memory_bytes: Option<u64>,
    /// How long after its deadline a session is kept that waits for its caller's next command, or
    /// for its caller to read.
    pub deadline_grace: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            name: None,
            max_sessions: 16,
            prefill_chunk_tokens: 128,
            context_tokens: None,
            kv_memory_bytes: None,
            deadline_grace: Duration::from_secs(10),
        }
    }
}

/// A local model that holds sessions. Dropping it fails what is still open and ends its thread.
#[derive(Debug)]
pub struct Engine {
    card: ModelCard,
    computed_tokens: Arc<AtomicU64>,
    encoded_bytes: Arc<AtomicU64>,
    pulse: Arc<AtomicU64>,
    kv_budget_bytes: u64,
    kv: Arc<KvCounters>,
    no_template: Option<String>,
    notes: Vec<String>,
    /// Gone only while dropping.
    arrivals: Option<mpsc::Sender<Arrival>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Loads a model and starts its thread.
    ///
    /// # Errors
    /// As [`load_model`] and [`Engine::new`].
    pub fn load(
        location: &ModelLocation,
        load: &LoadOptions,
        mut options: EngineOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Engine, LoadError> {
        options.name.get_or_insert_with(|| location.name());
        Engine::new(load_model(location, load, progress)?, options)
    }

    /// Starts the thread of a loaded model.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`] for a tokenizer that cannot be built, [`LoadError::Options`] for
    /// options that mean nothing or allow no session, [`LoadError::Thread`] when the system refuses a
    /// thread.
    pub fn new(model: LoadedModel, options: EngineOptions) -> Result<Engine, LoadError> {
        if options.max_sessions == 0 || options.prefill_chunk_tokens == 0 {
            let message = "max sessions and prefill chunk must be at least 1";
            return Err(LoadError::Options(message.to_owned()));
        }
        let LoadedModel { decoder, tokenizer, parameters, quantisation, .. } = model;
        let tokenizer = match tokenizer {
            TokenizerSource::Json(path) => Tokenizer::from_json(&path)?,
            TokenizerSource::Gguf(metadata) => Tokenizer::from_gguf(&metadata)?,
        };
        let config = decoder.config();
        let context = options.context_tokens.unwrap_or(config.context).min(config.context);
        let kv_budget_bytes = kv_budget_bytes(&options, &decoder, context)?;
        let card = ModelCard {
            name: options.name.unwrap_or_else(|| config.family.name().to_owned()),
            family: config.family.name().to_owned(),
            parameters,
            quantisation,
            context_tokens: context as u32,
            device: device_name(decoder.device()),
            tokenizer_fingerprint: tokenizer.fingerprint().to_owned(),
            thought: prompt::thought_start(&tokenizer),
        };
        let store = KvStore::new(Arc::clone(&decoder.kv), kv_budget_bytes);
        let kv = store.counters();
        let (computed_tokens, encoded_bytes) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let pulse = Arc::clone(&decoder.pulse);
        let no_template = tokenizer.template().unusable().map(str::to_owned);
        let notes = tokenizer.notes().to_vec();
        let tokenizer = tokenizer.for_context(context);
        let encoder = Arc::new(Encoder::new(tokenizer, Arc::clone(&encoded_bytes)));
        let preparer = Preparer::start(Arc::clone(&encoder)).map_err(LoadError::Thread)?;
        let host = ModelHost {
            decoder,
            encoder,
            preparer,
            card: card.clone(),
            context,
            max_sessions: options.max_sessions,
            prefill_chunk_tokens: options.prefill_chunk_tokens,
            deadline_grace: options.deadline_grace,
            computed_tokens: Arc::clone(&computed_tokens),
        };
        let (arrivals, arriving) = mpsc::channel(ARRIVALS);
        let thread = std::thread::Builder::new()
            .name(format!("engine {}", card.name))
            .spawn(move || Scheduler::new(host, store, arriving).run())
            .map_err(LoadError::Thread)?;
        let (arrivals, thread) = (Some(arrivals), Some(thread));
        Ok(Engine {
            card,
            computed_tokens,
            encoded_bytes,
            pulse,
            kv_budget_bytes,
            kv,
            no_template,
            notes,
            arrivals,
            thread,
        })
    }

    /// What is served.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// What the caches hold, and what keeping or giving them up came to since the start.
    pub fn kv_usage(&self) -> KvUsage {
        self.kv.usage(self.kv_budget_bytes)
    }

    /// Why the model takes raw prompts only; `None` when it takes messages.
    pub fn no_template(&self) -> Option<&str> {
        self.no_template.as_deref()
    }

    /// What whoever loaded the model should know of its files; one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Tokens computed since the start, prefilled ones counted: a test sees here that compute
    /// stopped.
    pub fn computed_tokens(&self) -> u64 {
        self.computed_tokens.load(Ordering::Relaxed)
    }

    /// Bytes of text encoded since the start: a test sees here what is encoded again.
    pub fn encoded_bytes(&self) -> u64 {
        self.encoded_bytes.load(Ordering::Relaxed)
    }
}

impl Thinker for Engine {
    fn pulse(&self) -> Option<u64> {
        Some(self.pulse.load(Ordering::Relaxed))
    }

    fn session(&self) -> Session {
        self.session_of(ClientId::default())
    }

    fn session_of(&self, client: ClientId) -> Session {
        let (session, server) = Session::channel();
        let Some(arrivals) = &self.arrivals else { return session };
        let (Arrival { server, .. }, code, message) =
            match arrivals.try_send(Arrival { client, server }) {
                Ok(()) => return session,
                Err(TrySendError::Full(arrival)) => {
                    (arrival, Code::Overloaded, "too many sessions start at once; try again later")
                }
                Err(TrySendError::Closed(arrival)) => {
                    (arrival, Code::Unavailable, "the engine has stopped; use another node")
                }
            };
        let retry_after_ms = (code == Code::Overloaded).then_some(1000);
        let failure = Failure { retry_after_ms, ..Failure::new(code, message) };
        // Its queue is new and empty.
        let _ = server.events.try_send(Event::Failed(failure));
        session
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.arrivals = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the engine's thread panicked");
        }
    }
}

/// Memory that caches may take, in bytes; never less than one session needs.
fn kv_budget_bytes(
    options: &EngineOptions,
    decoder: &Decoder,
    context: usize,
) -> Result<u64, LoadError> {
    // One block more: a sequence that is cut back within a shared block copies it.
    let session = (context.div_ceil(BLOCK) as u64 + 1) * decoder.kv.block_bytes();
    let all = session.saturating_mul(options.max_sessions as u64);
    match options.kv_memory_bytes {
        Some(bytes) if bytes < session => Err(LoadError::Options(format!(
            "{} of memory for caches is too little, one session of {context} tokens takes {}; \
             allow more or shorten the context",
            memory::in_words(bytes),
            memory::in_words(session),
        ))),
        Some(bytes) => Ok(bytes),
        None => {
            let free = memory::available_bytes(decoder.device()).unwrap_or(u64::MAX);
            Ok(all.min(free / 2).max(session))
        }
    }
}

fn device_name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}
