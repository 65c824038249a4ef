//! The engine as others use it: a [`Thinker`] over one loaded model and one thread.
//!
//! Loading weights is the work of [`crate::model`]; what the thread does is in [`crate::scheduler`].

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use candle_core::{Device, DeviceLocation};
use thinking::thinker::{
    ClientId, Code, Event, Failure, ModelCard, Session, Thinker, TokenFuture, TokenQuery,
};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    cache_budget::{CacheDemand, cache_budget},
    encoder::Encoder,
    engine_meter::EngineMeter,
    error::LoadError,
    host::ModelHost,
    kv::{KvCounters, KvStore, KvUsage},
    memory::{self, UsableMemory},
    model::{LoadOptions, LoadProgress, LoadedModel, ModelLocation, load_model},
    preparer::Preparer,
    prompt,
    scheduler::{Arrival, Scheduler},
    tokens,
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
    /// Longest session in tokens, where it shall be less than the model's context. By default that, or
    /// as much of it as there is memory for.
    pub context_tokens: Option<usize>,
    /// Memory that caches may take, in bytes; by default what all sessions at full length would take,
    /// within half of the memory that may be used. Never more than seven eighths of that.
    pub kv_memory_bytes: Option<u64>,
    /// A directory that stands for `/` where it is read what memory may be used; for tests.
    pub memory_root: Option<PathBuf>,
    /// How long after its deadline a session is kept that waits for its caller's next command, or
    /// for its caller to read.
    pub deadline_grace: Duration,
    /// CPU threads that compute; by default `RAYON_NUM_THREADS`, or one per logical core.
    pub threads: Option<usize>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            name: None,
            max_sessions: 16,
            prefill_chunk_tokens: 128,
            context_tokens: None,
            kv_memory_bytes: None,
            memory_root: None,
            deadline_grace: Duration::from_secs(10),
            threads: None,
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
    meter: EngineMeter,
    memory: Option<UsableMemory>,
    no_template: Option<String>,
    notes: Vec<String>,
    preparer: Arc<Preparer>,
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
    /// options that mean nothing or allow no session, [`LoadError::SessionTooLarge`] when there is no
    /// memory for one, [`LoadError::Thread`] when the system refuses a thread.
    pub fn new(model: LoadedModel, options: EngineOptions) -> Result<Engine, LoadError> {
        if options.max_sessions == 0 || options.prefill_chunk_tokens == 0 {
            let message = "max sessions and prefill chunk must be at least 1";
            return Err(LoadError::Options(message.to_owned()));
        }
        let LoadedModel { decoder, tokenizer, parameters, quantisation, note, .. } = model;
        let tokenizer = tokenizer.load()?;
        let facts = decoder.facts();
        // What is left once the weights are there.
        let memory = memory::usable(decoder.device(), options.memory_root.as_deref());
        let demand = CacheDemand {
            block_bytes: decoder.ledger().block_bytes(),
            model_context_tokens: facts.context,
            max_sessions: options.max_sessions,
            context_tokens: options.context_tokens,
            memory_bytes: options.kv_memory_bytes,
        };
        let budget = cache_budget(&demand, memory.as_ref())?;
        let (context, kv_budget_bytes) = (budget.context_tokens, budget.bytes);
        let card = ModelCard {
            name: options.name.unwrap_or_else(|| facts.family.to_owned()),
            family: facts.family.to_owned(),
            parameters,
            quantisation,
            context_tokens: context as u32,
            device: device_name(decoder.device()),
            tokenizer_fingerprint: tokenizer.fingerprint().to_owned(),
            thought: prompt::thought_start(&tokenizer),
            can_review: facts.gives_all_logits,
            can_report_entropy: true,
        };
        let store = KvStore::new(Arc::clone(decoder.ledger()), kv_budget_bytes);
        let kv = store.counters();
        let (computed_tokens, encoded_bytes) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let (pulse, meter) = (Arc::clone(decoder.pulse()), EngineMeter::default());
        let no_template = tokenizer.template().unusable().map(str::to_owned);
        let notes = note.into_iter().chain(budget.note).chain(tokenizer.notes().to_vec()).collect();
        let tokenizer = tokenizer.for_context(context);
        let encoder = Arc::new(Encoder::new(tokenizer, Arc::clone(&encoded_bytes)));
        let preparer = Preparer::start(Arc::clone(&encoder)).map_err(LoadError::Thread)?;
        let host = ModelHost {
            decoder,
            encoder,
            preparer: Arc::clone(&preparer),
            card: card.clone(),
            context,
            max_sessions: options.max_sessions,
            prefill_chunk_tokens: options.prefill_chunk_tokens,
            deadline_grace: options.deadline_grace,
            computed_tokens: Arc::clone(&computed_tokens),
            meter: meter.clone(),
        };
        let (arrivals, thread) =
            start_thread(host, store, options.threads).map_err(LoadError::Thread)?;
        Ok(Engine {
            card,
            computed_tokens,
            encoded_bytes,
            pulse,
            kv_budget_bytes,
            kv,
            meter,
            memory,
            no_template,
            notes,
            preparer,
            arrivals: Some(arrivals),
            thread: Some(thread),
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

    /// What is counted, in Prometheus' text format.
    pub fn metrics_text(&self) -> String {
        self.meter.text(&self.kv_usage())
    }

    /// The memory that could be used when the weights were there and no cache yet; `None` where that is
    /// not known.
    pub fn memory(&self) -> Option<&UsableMemory> {
        self.memory.as_ref()
    }

    /// Why the model takes raw prompts only; `None` when it takes messages.
    pub fn no_template(&self) -> Option<&str> {
        self.no_template.as_deref()
    }

    /// What whoever loaded the model should know of its files, and of what they got less of than they
    /// asked for; one line each.
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

    /// What there is room for before anything is dropped that no session holds.
    fn free_cache_tokens(&self) -> Option<u64> {
        let KvUsage { budget_bytes, held_bytes, token_bytes, .. } = self.kv_usage();
        budget_bytes.saturating_sub(held_bytes).checked_div(token_bytes)
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

    fn tokens(&self, query: TokenQuery) -> TokenFuture {
        let context = self.card.context_tokens as usize;
        let pending = self.preparer.ask(move |encoder| tokens::reply_to(&query, encoder, context));
        Box::pin(async move {
            let Some(pending) = pending else {
                let message = "too many questions to the tokenizer wait; try again later";
                let failure = Failure::new(Code::Overloaded, message);
                return Err(Failure { retry_after_ms: Some(1000), ..failure });
            };
            let defect = |_| {
                let message = "the tokenizer broke off; see the node's log";
                Failure::new(Code::Internal, message)
            };
            pending.await.map_err(defect)?.map(Some)
        })
    }
}

/// Starts what carries a model's sessions out. Returns where they arrive, too.
fn start_thread(
    host: ModelHost,
    store: KvStore,
    threads: Option<usize>,
) -> io::Result<(mpsc::Sender<Arrival>, JoinHandle<()>)> {
    let (arrivals, arriving) = mpsc::channel(ARRIVALS);
    let thread = std::thread::Builder::new().name(format!("engine {}", host.card.name));
    let thread = thread.spawn(move || {
        let _pool = join_pool(threads);
        Scheduler::new(host, store, arriving).run();
    })?;
    Ok((arrivals, thread))
}

/// Makes this thread one of a pool of its own that computes for it. A parallel loop of any other thread is handed to
/// one of a pool and waited for, which takes longer than most loops over one token; and two engines in one process
/// would wait for each other. `None`: the system refuses the threads, and the process's common pool computes.
fn join_pool(threads: Option<usize>) -> Option<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or_default());
    let pool = pool.use_current_thread().build();
    pool.inspect_err(|why| tracing::warn!(%why, "the model computes with the common threads")).ok()
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

fn device_name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_computes_in_a_pool_of_its_own() {
        for threads in [1, 3] {
            let thread = std::thread::spawn(move || {
                let _pool = join_pool(Some(threads));
                (rayon::current_num_threads(), rayon::current_thread_index())
            });
            assert_eq!(thread.join().unwrap(), (threads, Some(0)), "it is one of them");
        }
    }
}
