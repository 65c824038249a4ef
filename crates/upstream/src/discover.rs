//! Finds out what a server is and serves, by asking it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use openai::{ModelEntry, ModelList};
use serde::Deserialize;
use serde_json::{Value, json};
use text::{Thought, Tokenizer};
use thinking::{
    names::nearest,
    shown::one_line,
    thinker::{Code, Failure, Message, ModelCard, ThoughtStart},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    chat::ChatForm,
    config::ServerKind,
    dialect::{self, Dialect, Place, Rendered},
    exactness::{Exactness, ExactnessTest},
    failure,
    http::{Call, Http},
    thought,
};

/// The longest session if neither the server nor the user specifies it, in tokens: nothing is refused for its length.
const UNKNOWN_CONTEXT: u32 = u32::MAX;

/// The block size of vLLM's prefix cache on a GPU, in tokens.
const VLLM_BLOCK: u32 = 16;

/// A text that no two tokenizers split alike.
const TOKENIZER_PROBE: &str =
    "The 3 quick foxes, 12345 of them:\n\n    don't count naïve 数学 🙂; so\n";

/// A message that occurs in no template, so that it can be found in a rendered prompt.
const PROBE: &str = "probequestion";

/// What a server serves, and how to call it.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) kind: ServerKind,
    pub(crate) dialect: Box<dyn Dialect>,
    /// The model's name on the server.
    pub(crate) model: String,
    pub(crate) card: ModelCard,
    /// Whether the server renders messages; if not, our own template does.
    pub(crate) renders: bool,
    /// The server's slots, if sessions have to share them: each caches one session's text.
    pub(crate) slots: Option<Slots>,
    /// The server caches texts in whole blocks of this many tokens.
    pub(crate) block_tokens: u32,
    /// Whether text is computed ahead.
    pub(crate) keeps_warm: bool,
    /// How a chat-only server continues answers.
    pub(crate) chat: Option<ServedChat>,
    pub(crate) reviews: Reviews,
}

/// Whether a server reports its model's probabilities for a text, and how often it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reviews {
    No,
    /// For each piece, because only new text is computed.
    Pieces,
    /// For each paragraph, because the whole text is computed each time.
    Paragraphs,
}

impl Reviews {
    /// Reviews need our own tokenizer, to find the positions of the server's tokens in the text.
    fn of(kind: ServerKind, has_tokenizer: bool, in_full: bool) -> Reviews {
        match kind {
            ServerKind::Sglang if has_tokenizer => Reviews::Pieces,
            ServerKind::Vllm if has_tokenizer && in_full => Reviews::Paragraphs,
            _ => Reviews::No,
        }
    }
}

/// How a chat-only server continues answers.
#[derive(Debug)]
pub(crate) struct ServedChat {
    pub(crate) form: ChatForm,
    tells_apart: AtomicBool,
}

impl ServedChat {
    /// Returns whether the server was seen to report a thought separately from the answer.
    pub(crate) fn tells_apart(&self) -> bool {
        self.tells_apart.load(Ordering::Relaxed)
    }

    /// Records that it was seen to do so.
    pub(crate) fn note_told_apart(&self) {
        self.tells_apart.store(true, Ordering::Relaxed);
    }
}

/// A model in a server's list.
#[derive(Debug, Clone, Deserialize)]
struct ListedModel {
    #[serde(flatten)]
    entry: ModelEntry,
    /// Further fields of the entry.
    #[serde(flatten)]
    more: Value,
}

impl Served {
    /// Returns the server's tokens of a text, or `None` if the server is sent text.
    ///
    /// # Errors
    /// When it does not answer with tokens.
    pub(crate) async fn encode(
        &self,
        http: &Http,
        text: &str,
        place: Place,
    ) -> Result<Option<Vec<u32>>, Failure> {
        let Some(call) = self.dialect.encode(&self.model, text, place) else { return Ok(None) };
        let answer = http.json(&call).await?;
        self.dialect.encoded(&answer).map(Some).ok_or_else(|| {
            let what = format!("answers {} with no tokens", call.path);
            failure::unavailable(&http.config.address, what)
        })
    }

    /// Refuses a review on a server that cannot make one, as its card says.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], with the reason.
    pub(crate) fn check_reviews(&self, http: &Http) -> Result<(), Failure> {
        let what = match (self.reviews, self.kind) {
            (Reviews::No, ServerKind::Sglang) => {
                "cannot review without the tokenizer of its model: give it"
            }
            (Reviews::No, ServerKind::Vllm) => {
                "reviews only with the tokenizer of its model and with permission to compute the whole text for each \
                 paragraph: give both"
            }
            (Reviews::No, _) => "cannot review: of third-party servers, only SGLang and vLLM can",
            _ => return Ok(()),
        };
        Err(failure::noticed(&http.config.address, Code::InvalidArgument, what))
    }

    /// Checks that the server answers now and still lists the model.
    ///
    /// # Errors
    /// When it does not answer, or lists other models.
    pub(crate) async fn is_still_served(&self, http: &Http) -> Result<(), Failure> {
        let listed = list_models(http).await?;
        choose_model(http, self.kind, &listed).map(drop)
    }
}

/// Finds out what a server is.
///
/// # Errors
/// When it does not answer, or does not serve what was requested.
pub(crate) async fn discover(http: &Http, own: Option<&Tokenizer>) -> Result<Served, Failure> {
    let listed = list_models(http).await?;
    let told_kind = listed.first().and_then(|model| dialect::kind_of(&model.entry.owned_by));
    let kind = match http.config.kind.or(told_kind) {
        Some(kind) => kind,
        None if is_ollama(http).await => ServerKind::Ollama,
        None => ServerKind::Completions,
    };
    let (model, entry) = choose_model(http, kind, &listed)?;
    let reviews = Reviews::of(kind, own.is_some(), http.config.reviews_in_full);
    let mut card = card(http, &model, &entry, own);
    (card.device, card.can_review) = (kind.name().to_owned(), reviews != Reviews::No);
    let (dialect, mut slots) = (dialect::of(kind), None);
    let renders;
    (renders, card.thought) = rendering(http, dialect.as_ref(), &model, own).await?;
    let mut chat = None;
    if kind.is_chat_only() {
        let context_tokens = card.context_tokens;
        let dialect = dialect.as_ref();
        let test = ExactnessTest { http, dialect, kind, model: &model, context_tokens };
        let Exactness { form, tells_apart, thought } = test.run().await?;
        let address = &http.config.address;
        tracing::debug!(%address, ?form, tells_apart, ?thought, "answers go on exactly");
        chat = Some(ServedChat { form, tells_apart: AtomicBool::new(tells_apart) });
        card.thought = thought;
    }
    if kind == ServerKind::LlamaCpp {
        check_begins_bare(http).await?;
        let props = http.json(&Call::get("/props")).await?;
        let total = props["total_slots"].as_u64().and_then(|total| u32::try_from(total).ok());
        slots = Some(Slots::new(total.unwrap_or(1)));
    }
    let block_tokens = match kind {
        ServerKind::Vllm => block_of_vllm(http).await,
        _ => 1,
    };
    let keeps_warm = http.config.keep_warm.unwrap_or(!kind.may_be_billed());
    let context_tokens = card.context_tokens;
    let address = &http.config.address;
    tracing::debug!(%address, ?kind, model, context_tokens, block_tokens, keeps_warm, "server found");
    let served = Served {
        kind,
        dialect,
        model,
        card,
        renders,
        slots,
        block_tokens,
        keeps_warm,
        chat,
        reviews,
    };
    if let Some(own) = own {
        check_tokenizer(http, &served, own).await?;
    }
    Ok(served)
}

/// Makes the card of a model from the server's list.
fn card(http: &Http, model: &str, entry: &Value, own: Option<&Tokenizer>) -> ModelCard {
    let meta = &entry["meta"];
    let told = entry["max_model_len"].as_u64().or_else(|| meta["n_ctx"].as_u64());
    let told = told.and_then(|tokens| u32::try_from(tokens).ok()).filter(|tokens| *tokens > 0);
    let context_tokens = [told, http.config.context_tokens].into_iter().flatten().min();
    ModelCard {
        name: http.config.card_name.clone().unwrap_or_else(|| one_line(model)),
        family: one_line(meta["architecture"].as_str().unwrap_or_default()),
        parameters: meta["n_params"].as_u64().unwrap_or(0),
        quantisation: one_line(meta["ftype"].as_str().unwrap_or_default()),
        context_tokens: context_tokens.unwrap_or(UNKNOWN_CONTEXT),
        device: String::new(),
        tokenizer_fingerprint: own.map_or_else(String::new, |own| own.fingerprint().to_owned()),
        thought: ThoughtStart::Unknown,
        can_review: false,
        can_report_entropy: false,
    }
}

/// Returns the server's list of models; empty if it has none.
async fn list_models(http: &Http) -> Result<Vec<ListedModel>, Failure> {
    let listed = http.json(&Call::get("/v1/models")).await?;
    Ok(ModelList::deserialize(&listed).map(|list| list.data).unwrap_or_default())
}

/// Chooses the requested model, and returns its name and its entry in the server's list.
fn choose_model(
    http: &Http,
    kind: ServerKind,
    listed: &[ListedModel],
) -> Result<(String, Value), Failure> {
    let address = &http.config.address;
    let names: Vec<&str> = listed.iter().map(|model| model.entry.id.as_str()).collect();
    let invalid = |what: String| failure::noticed(address, Code::InvalidArgument, what);
    let entry = |name: &str| {
        let found = listed.iter().find(|model| model.entry.id == name).or(listed.first());
        found.map(|model| model.more.clone()).unwrap_or_default()
    };
    match (&http.config.model, &names[..]) {
        // It serves its one model under any name.
        (Some(name), _) if kind == ServerKind::LlamaCpp || names.contains(&name.as_str()) => {
            Ok((name.clone(), entry(name)))
        }
        (Some(name), []) => Ok((name.clone(), Value::Null)),
        (Some(name), names) if names.contains(&format!("{name}:latest").as_str()) => {
            Ok((name.clone(), entry(&format!("{name}:latest"))))
        }
        (Some(name), names) => Err(invalid(format!(
            "does not serve {name:?}: write {}; it serves {}",
            nearest(name, names),
            names.join(", ")
        ))),
        (None, [only]) => Ok(((*only).to_owned(), entry(only))),
        (None, []) => {
            Err(invalid("does not say which models it serves: name the model".to_owned()))
        }
        (None, names) => {
            Err(invalid(format!("serves several models: name one of {}", names.join(", "))))
        }
    }
}

/// Returns whether the server renders messages, and how far its template leaves an answer's thought, if it shows that.
async fn rendering(
    http: &Http,
    dialect: &dyn Dialect,
    model: &str,
    own: Option<&Tokenizer>,
) -> Result<(bool, ThoughtStart), Failure> {
    let message = Message { role: "user".to_owned(), content: PROBE.to_owned() };
    let call = dialect.render(model, &[message]);
    let Some(call) = call.filter(|_| dialect.always_renders() || own.is_none()) else {
        let left = own.map_or(ThoughtStart::Unknown, |own| thought::left_by(own.template()));
        return Ok((false, left));
    };
    let answer = match http.json(&call).await {
        Ok(answer) => answer,
        // A question will be refused in the same way, with the reason or with a request for a tokenizer.
        Err(why) if matches!(why.code, Code::InvalidArgument | Code::Internal) => {
            return Ok((dialect.always_renders(), ThoughtStart::Unknown));
        }
        Err(why) => return Err(why),
    };
    let Some(Rendered::Text(prompt)) = dialect.rendered(&answer) else {
        return Ok((true, ThoughtStart::Unknown));
    };
    let end = prompt.rsplit_once(PROBE).map(|(_, end)| thought::start(Thought::behind(end)));
    Ok((true, end.unwrap_or_default()))
}

/// Checks that a server that can tokenize splits a text like our own tokenizer.
async fn check_tokenizer(http: &Http, served: &Served, own: &Tokenizer) -> Result<(), Failure> {
    let Some(theirs) = served.encode(http, TOKENIZER_PROBE, Place::Committed).await? else {
        return Ok(());
    };
    let ours = own.encode_committed(TOKENIZER_PROBE, Thought::Open);
    let ours = ours.map(|ours| ours.ids).unwrap_or_default();
    if ours == theirs {
        return Ok(());
    }
    let what = format!(
        "has another tokenizer than the one that was given: it splits a text into {} tokens, and the given one into \
         {}, or into others; give that of its model",
        theirs.len(),
        ours.len()
    );
    Err(failure::noticed(&http.config.address, Code::InvalidArgument, what))
}

/// Returns whether a server is Ollama, the only one that reports its version on this route.
async fn is_ollama(http: &Http) -> bool {
    let answer = http.json(&Call::get("/api/version")).await;
    answer.is_ok_and(|answer| answer["version"].is_string())
}

/// Returns the block size of vLLM's prefix cache. Only its metrics report it; if they do not, the size on a GPU is
/// assumed.
async fn block_of_vllm(http: &Http) -> u32 {
    let metrics = http.words(&Call::get("/metrics")).await.unwrap_or_default();
    dialect::block_in_metrics(&metrics).unwrap_or(VLLM_BLOCK)
}

/// Refuses a tokenizer that puts a space before every text, with which no text continues another.
async fn check_begins_bare(http: &Http) -> Result<(), Failure> {
    let body = json!({ "content": "a", "with_pieces": true, "parse_special": false });
    let answer = http.json(&Call::post("/tokenize", body)).await?;
    if answer["tokens"][0]["piece"] == "a" {
        return Ok(());
    }
    let what = "has a tokenizer that puts a space before every text, which cannot be continued exactly; use a model \
                with a byte-level tokenizer";
    Err(failure::noticed(&http.config.address, Code::InvalidArgument, what))
}

/// The slots in a server's memory to which sessions are pinned.
#[derive(Debug)]
pub(crate) struct Slots {
    total: u32,
    free: Arc<Mutex<Vec<u32>>>,
    room: Arc<Semaphore>,
}

/// A session's slot; released when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    free: Arc<Mutex<Vec<u32>>>,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(crate) fn new(total: u32) -> Self {
        let free = Arc::new(Mutex::new((0..total).rev().collect()));
        Slots { total, free, room: Arc::new(Semaphore::new(total as usize)) }
    }

    /// Returns the number of slots.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    /// Waits for a slot.
    pub(crate) async fn take(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.room).acquire_owned().await.ok()?;
        let number = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Slot { number, free: Arc::clone(&self.free), _permit: permit })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Before the permit, which is dropped after this.
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slot_is_one_sessions_until_it_is_dropped() {
        let slots = Slots::new(2);
        let (one, two) = (slots.take().await.unwrap(), slots.take().await.unwrap());
        assert_eq!((one.number, two.number, slots.total()), (0, 1, 2));
        let mut third = std::pin::pin!(slots.take());
        tokio::select! {
            biased;
            _ = &mut third => panic!("there are two"),
            () = std::future::ready(()) => {}
        }
        drop(one);
        assert_eq!(third.await.unwrap().number, 0);
    }
}
