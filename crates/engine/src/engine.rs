//! The engine as others use it: a [`Thinker`] over one loaded model, with a thread of its own.
//!
//! [`crate::model`] loads the weights; [`crate::scheduler`] is what the thread runs.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use machines::SpeedCurve;
use text::Tokenizer;
use thinking::thinker::{
    ClientId, Code, Event, Failure, ModelCard, Session, Thinker, TokenFuture, TokenQuery,
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};

use crate::{
    cache_budget::{CacheDemand, cache_budget},
    device,
    encoder::Encoder,
    engine_meter::EngineMeter,
    error::{ForwardError, LoadError},
    host::ModelHost,
    kv::{KvCounters, KvStore, KvUsage},
    memory::{self, UsableMemory},
    model::{
        BatchRow, Decode, LoadOptions, LoadProgress, LoadedModel, ModelLocation, WantedLogits,
        load_model,
    },
    preparer::Preparer,
    prompt,
    scheduler::{Arrival, Scheduler},
    tokens,
};

/// Tokens of prefill in one pass, unless the options say otherwise.
const CHUNK_TOKENS: usize = 128;
const CHUNK_TOKENS_ON_GPU: usize = 512;

/// How many new sessions may be queued for the thread.
const ARRIVALS: usize = 64;

/// How an engine runs its sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineOptions {
    /// The model's name in the card; by default the name of its location.
    pub name: Option<String>,
    /// Sessions that hold a cache at once; further ones are refused as overloaded.
    pub max_sessions: usize,
    /// Tokens of prefill in one pass. Other sessions wait at most that long for their next token. By default 128 on the
    /// CPU and 512 on a GPU, which needs more rows to be busy.
    pub prefill_chunk_tokens: Option<usize>,
    /// Longest session in tokens, if it should be shorter than the model's context. By default the model's context, or
    /// as much of it as there is memory for.
    pub context_tokens: Option<usize>,
    /// Memory that caches may take, in bytes. By default what all sessions take at full length, within half of the
    /// usable memory. Never more than seven eighths of the usable memory.
    pub kv_memory_bytes: Option<u64>,
    /// A directory to use in place of `/` when usable memory is read; for tests.
    pub memory_root: Option<PathBuf>,
    /// How long after its deadline a session is kept while it waits for its caller to send a command or to read.
    pub deadline_grace: Duration,
    /// Threads that compute on the CPU; by default `RAYON_NUM_THREADS`, or one per logical core.
    pub threads: Option<usize>,
    /// How long a forward pass takes at least: that of another machine, for experiments.
    pub pace: Option<SpeedCurve>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            name: None,
            max_sessions: 16,
            prefill_chunk_tokens: None,
            context_tokens: None,
            kv_memory_bytes: None,
            memory_root: None,
            deadline_grace: Duration::from_secs(10),
            threads: None,
            pace: None,
        }
    }
}

/// Computes a prompt of two tokens and one token more, so that the first question is as fast as the second, and a
/// device that cannot run the model is found before anyone is served.
fn warm_up(decoder: &dyn Decode) -> Result<(), LoadError> {
    let failed = |why| LoadError::FirstPass { device: device::name(decoder.device()), why };
    let pass = catch_unwind(AssertUnwindSafe(|| first_pass(decoder)));
    pass.map_err(|_| failed("the computation panicked".to_owned()))?
        .map_err(|why| failed(why.cause()))
}

fn first_pass(decoder: &dyn Decode) -> Result<(), ForwardError> {
    let mut cache = decoder.new_cache();
    for tokens in [&[0, 0][..], &[0]] {
        cache.reserve(tokens.len())?;
        let row = BatchRow { tokens, cache: &mut *cache, logits: WantedLogits::Last };
        // A device may compute only when its result is read.
        let logits = decoder.forward(&mut [row])?.flatten_all()?.to_vec1::<f32>()?;
        if logits.iter().any(|logit| !logit.is_finite()) {
            let why =
                "the logits are not all numbers (f16 is too narrow for some models: try bf16)";
            return Err(candle_core::Error::Msg(why.to_owned()).into());
        }
    }
    Ok(())
}

/// A local model that holds sessions. Dropping it fails the open sessions and ends its thread.
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
    /// Why the device has failed for good, if it has.
    lost: watch::Receiver<Option<String>>,
    /// `None` only while dropping.
    arrivals: Option<mpsc::Sender<Arrival>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Loads a model and starts its thread.
    ///
    /// # Errors
    /// Those of [`load_model`] and [`Engine::new`].
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
    /// [`LoadError::Tokenizer`] if the tokenizer cannot be built, [`LoadError::Options`] if the options are invalid or
    /// allow no session, [`LoadError::SessionTooLarge`] if there is not enough memory for one session,
    /// [`LoadError::FirstPass`] if the device cannot run the model,
    /// [`LoadError::Thread`] if the system refuses to start a thread.
    pub fn new(model: LoadedModel, options: EngineOptions) -> Result<Engine, LoadError> {
        if options.max_sessions == 0 || options.prefill_chunk_tokens == Some(0) {
            let message = "max sessions and prefill chunk must be at least 1";
            return Err(LoadError::Options(message.to_owned()));
        }
        let LoadedModel { decoder, tokenizer, parameters, quantisation, note, .. } = model;
        let tokenizer = tokenizer.load()?;
        let facts = decoder.facts();
        let chunk = if decoder.device().is_cpu() { CHUNK_TOKENS } else { CHUNK_TOKENS_ON_GPU };
        // What remains once the weights are loaded.
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
            parameters,
            quantisation,
            context_tokens: context as u32,
            ..card(&*decoder, &tokenizer)
        };
        warm_up(&*decoder)?;
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
            prefill_chunk_tokens: options.prefill_chunk_tokens.unwrap_or(chunk),
            deadline_grace: options.deadline_grace,
            computed_tokens: Arc::clone(&computed_tokens),
            meter: meter.clone(),
            pace: options.pace,
        };
        let (report, lost) = watch::channel(None);
        let (arrivals, thread) =
            start_thread(host, store, options.threads, report).map_err(LoadError::Thread)?;
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
            lost,
            arrivals: Some(arrivals),
            thread: Some(thread),
        })
    }

    /// Returns the card of the served model.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Returns what the caches hold, and how many tokens were reused, evicted and recomputed since the start.
    pub fn kv_usage(&self) -> KvUsage {
        self.kv.usage(self.kv_budget_bytes)
    }

    /// Returns the metrics in Prometheus' text format.
    pub fn metrics_text(&self) -> String {
        self.meter.text(&self.kv_usage())
    }

    /// Returns the memory that was usable after the weights were loaded and before any cache; `None` if unknown.
    pub fn memory(&self) -> Option<&UsableMemory> {
        self.memory.as_ref()
    }

    /// Returns why the model takes raw prompts only; `None` if it takes messages.
    pub fn no_template(&self) -> Option<&str> {
        self.no_template.as_deref()
    }

    /// Returns what the user should know about the model's files, and about limits lower than requested; one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Waits until the device fails for good, and returns why: all sessions have failed then, and no others are taken.
    /// Without such a failure it waits for ever.
    pub fn device_lost(&self) -> impl Future<Output = String> + Send + 'static {
        let mut lost = self.lost.clone();
        async move {
            match lost.wait_for(Option::is_some).await.map(|why| why.clone()) {
                Ok(why) => why.unwrap_or_default(),
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Returns the number of tokens computed since the start, prefill included. Tests use it to check that computing
    /// stopped.
    pub fn computed_tokens(&self) -> u64 {
        self.computed_tokens.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes of text encoded since the start. Tests use it to see what is encoded again.
    pub fn encoded_bytes(&self) -> u64 {
        self.encoded_bytes.load(Ordering::Relaxed)
    }
}

impl Thinker for Engine {
    fn pulse(&self) -> Option<u64> {
        Some(self.pulse.load(Ordering::Relaxed))
    }

    /// Counts unused memory only: blocks that no session holds any more still count as taken.
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
                    let message = "too many sessions are starting at once; try again later";
                    (arrival, Code::Overloaded, message)
                }
                Err(TrySendError::Closed(arrival)) => {
                    (arrival, Code::Unavailable, "the engine has stopped; use another node")
                }
            };
        let retry_after_ms = (code == Code::Overloaded).then_some(1000);
        let failure = Failure { retry_after_ms, ..Failure::new(code, message) };
        // Cannot fail: the session's queue is new and empty.
        let _ = server.events.try_send(Event::Failed(failure));
        session
    }

    fn tokens(&self, query: TokenQuery) -> TokenFuture {
        let context = self.card.context_tokens as usize;
        let pending = self.preparer.ask(move |encoder| tokens::reply_to(&query, encoder, context));
        Box::pin(async move {
            let Some(pending) = pending else {
                let message = "too many requests to the tokenizer are waiting; try again later";
                let failure = Failure::new(Code::Overloaded, message);
                return Err(Failure { retry_after_ms: Some(1000), ..failure });
            };
            let defect = |_| {
                let message = "the tokenizer failed; see the node's log";
                Failure::new(Code::Internal, message)
            };
            pending.await.map_err(defect)?.map(Some)
        })
    }
}

/// Starts the thread that runs a model's sessions. Returns the queue for new sessions and the thread's handle.
fn start_thread(
    host: ModelHost,
    store: KvStore,
    threads: Option<usize>,
    lost: watch::Sender<Option<String>>,
) -> io::Result<(mpsc::Sender<Arrival>, JoinHandle<()>)> {
    let (arrivals, arriving) = mpsc::channel(ARRIVALS);
    let thread = std::thread::Builder::new().name(format!("engine {}", host.card.name));
    let thread = thread.spawn(move || {
        let _pool = join_pool(threads);
        let mut scheduler = Scheduler::new(host, store, arriving);
        if let Some(why) = scheduler.run() {
            tracing::error!(why, "the device has failed for good");
            scheduler.abandon();
            lost.send_replace(Some(why));
        }
    })?;
    Ok((arrivals, thread))
}

/// Makes this thread a member of its own rayon pool. From any other thread, a parallel loop would be handed to the pool
/// and waited for, which takes longer than most loops over one token; two engines in one process would also wait for
/// each other. Returns `None` if the system refuses the threads: then the process's global pool computes.
fn join_pool(threads: Option<usize>) -> Option<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or_default());
    let pool = pool.use_current_thread().build();
    pool.inspect_err(|why| tracing::warn!(%why, "cannot start threads; using the global pool")).ok()
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

/// Returns what a decoder and its tokenizer say of themselves.
fn card(decoder: &dyn Decode, tokenizer: &Tokenizer) -> ModelCard {
    let facts = decoder.facts();
    ModelCard {
        family: facts.family.to_owned(),
        device: device::name(decoder.device()),
        tokenizer_fingerprint: tokenizer.fingerprint().to_owned(),
        thought: prompt::thought_start(tokenizer),
        can_review: facts.gives_all_logits,
        can_report_entropy: true,
        ..ModelCard::default()
    }
}

#[cfg(test)]
mod tests {
    use thinking::thinker::{Command, Open, Prompt, Sampling, ThoughtStart};

    use super::*;
    use crate::model::testing::{Fault, Faulty};

    fn tiny() -> LoadedModel {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/tiny-llama");
        let location = PathBuf::from(folder).as_path().into();
        load_model(&location, &LoadOptions::default(), &mut |_| {}).unwrap()
    }

    #[test]
    fn a_device_that_cannot_compute_is_found_before_the_first_question() {
        let loaded = tiny();
        warm_up(&*loaded.decoder).unwrap();
        assert_eq!(loaded.decoder.ledger().live_blocks(), 0, "what it took is given back");
        let (broken, fault) = Faulty::new(loaded.decoder);
        for (kind, why) in
            [(Fault::Fails, "no kernel image;"), (Fault::Panics, "the computation panicked")]
        {
            fault.set(kind);
            let line = warm_up(&broken).unwrap_err().to_string();
            assert!(line.starts_with("cpu cannot run the model: ") && line.contains(why), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }

    #[tokio::test]
    async fn an_engine_whose_device_failed_for_good_says_so_and_takes_no_more_sessions() {
        let loaded = tiny();
        let (faulty, fault) = Faulty::new(loaded.decoder);
        let loaded = LoadedModel { decoder: Box::new(faulty), ..loaded };
        let engine = Engine::new(loaded, EngineOptions::default()).unwrap();
        let lost = engine.device_lost();
        fault.set(Fault::Lost);
        let mut session = engine.session();
        session.commands.send(Command::Open(question())).await.unwrap();
        let failure = failure_of(&mut session).await;
        assert_eq!(failure.code, Code::Unavailable);
        assert_eq!(failure.message, "the node's device has failed; use another node");
        assert_eq!(lost.await, "no memory on a device that is gone");
        let failure = failure_of(&mut engine.session()).await;
        assert_eq!(failure.message, "the engine has stopped; use another node");
    }

    fn question() -> Open {
        Open {
            question_id: "test".into(),
            prompt: Prompt::Raw("What is 7 times 8?".into()),
            committed: String::new(),
            sampling: Sampling::default(),
            deadline: None,
            thought: ThoughtStart::Unknown,
            review: None,
        }
    }

    async fn failure_of(session: &mut Session) -> Failure {
        loop {
            match session.events.recv().await {
                Some(Event::Failed(failure)) => return failure,
                Some(_) => {}
                None => panic!("the session ended without a failure"),
            }
        }
    }

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
