//! A session that a server has accepted: its text as it is sent to the server, and its slot there.

mod judging;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use text::{Thought, Tokenizer};
use thinking::thinker::{
    Code, Failure, Message, Open, Opened, Prompt, Sampling, TextEnd, ThoughtStart,
};
use tokio::{sync::watch, time::timeout};

use super::{
    ahead::{AheadText, Computing, SessionPrompt},
    computed::ComputedText,
};
use crate::{
    border::{UnaskedText, fills_block},
    chat::{ThinksAnew, ThoughtMarks},
    chunk::{Chunk, Usage},
    dialect::{Place, Rendered, Stretch, unknown_field},
    discover::{Served, Slot},
    exactness::inexact,
    failure,
    http::Http,
    server::Server,
    thought,
    token_text::{OwnChunks, TokenText},
};

/// How long a session waits for another one that is ending to release its slot.
const SLOT_WAIT: Duration = Duration::from_secs(2);
/// Two token counts may differ by a begin-of-text token and one more before the tokenizers count as different.
const COUNT_TOLERANCE: usize = 2;
/// Bytes per token, if nothing better is known.
const TOKEN_BYTES: usize = 4;

/// An open session.
pub(crate) struct OpenSession<'a> {
    http: &'a Http,
    own: Option<&'a Tokenizer>,
    counts_alike: &'a AtomicBool,
    pub(crate) served: &'a Served,
    sampling: Sampling,
    text: SessionText,
    slot: Option<Slot>,
    /// The approximate number of tokens of prompt and committed text, if the server does not count them.
    tokens: u32,
    /// How many of them the server generated or had in a request.
    asked_tokens: u32,
    /// The text that no request contained yet.
    unasked: UnaskedText,
    /// Tokens that requests ahead found cached and that no proposal has reported yet.
    ahead_cached_tokens: u32,
    /// How far the text was sent to be judged, and how it ended then.
    read: (usize, TextEnd),
    /// How many tokens the requested text has by our own tokenizer, until that is known to be the server's.
    own_count: Option<usize>,
}

/// The text in the form in which the server continues it.
enum SessionText {
    /// The prompt; the committed text follows it.
    Text(String),
    Ids(TokenText),
    /// A conversation, and what the answer begins with before the committed text.
    Chat(Vec<Message>, String),
}

impl<'a> OpenSession<'a> {
    /// Opens a session and renders the prompt.
    pub(crate) async fn new(
        server: &'a Server,
        signs: &watch::Sender<()>,
        open: &Open,
    ) -> Result<(OpenSession<'a>, Opened), Failure> {
        let invalid = |why: String| Failure::new(Code::InvalidArgument, why);
        open.sampling.check().map_err(|error| invalid(error.to_string()))?;
        let served = server.served().await?;
        let (http, address) = (&server.http, &server.http.config.address);
        if let Some(field) = unknown_field(served.dialect.as_ref(), &open.sampling)
            && !http.config.lenient
        {
            let what = format!("does not know {field}: turn it off, or allow it to be left out");
            return Err(failure::noticed(address, Code::InvalidArgument, what));
        }
        let mut session = OpenSession {
            http,
            own: server.own.as_ref(),
            counts_alike: &server.counts_alike,
            served,
            sampling: open.sampling,
            text: SessionText::Text(String::new()),
            slot: None,
            tokens: 0,
            asked_tokens: 0,
            unasked: UnaskedText::default(),
            ahead_cached_tokens: 0,
            read: (0, TextEnd::Open),
            own_count: None,
        };
        session.take_slot().await?;
        if served.chat.is_some() {
            session.begin_chat(&open.prompt, open.thought)?;
        } else {
            let rendered = session.render(&open.prompt, open.thought).await?;
            session.begin(rendered).await?;
        }
        if session.tokens == 0 {
            let message = "the prompt is empty; send at least one character";
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        session.unasked = UnaskedText::prompt(session.tokens);
        signs.send_replace(());
        let card = served.card.clone();
        if session.tokens >= card.context_tokens {
            let (tokens, context) = (session.tokens, card.context_tokens);
            let what = format!("holds {context} tokens and the prompt has {tokens}; shorten it");
            return Err(failure::noticed(address, Code::ContextTooLong, what));
        }
        let opened = Opened { card, prompt_tokens: session.tokens, cached_tokens: 0 };
        Ok((session, opened))
    }

    async fn take_slot(&mut self) -> Result<(), Failure> {
        let Some(slots) = &self.served.slots else { return Ok(()) };
        let Ok(slot) = timeout(SLOT_WAIT, slots.take()).await else {
            let what = format!("has {} slots and all are taken; try again later", slots.total());
            let full = failure::noticed(&self.http.config.address, Code::Overloaded, what);
            return Err(Failure { retry_after_ms: Some(1000), ..full });
        };
        self.slot = slot;
        Ok(())
    }

    /// Renders the prompt, by the server's template if it can, otherwise by our own. If the result is text, it ends
    /// with the thought in the wanted state.
    async fn render(&self, prompt: &Prompt, wanted: ThoughtStart) -> Result<Rendered, Failure> {
        let messages = match prompt {
            Prompt::Raw(text) => return Ok(Rendered::Text(text.clone())),
            Prompt::Messages(messages) => messages,
        };
        let address = &self.http.config.address;
        let dialect = &self.served.dialect;
        let call = dialect.render(&self.served.model, messages);
        if let Some(call) = call.filter(|_| self.served.renders) {
            let refused = |failure: Failure| match failure.code {
                Code::InvalidArgument | Code::Internal => {
                    Failure { code: Code::Template, ..failure }
                }
                _ => failure,
            };
            let answer = self.http.json(&call).await.map_err(refused)?;
            let mut rendered = dialect.rendered(&answer).ok_or_else(|| {
                failure::unavailable(address, format!("answers {} with no prompt", call.path))
            })?;
            if let Rendered::Text(prompt) = &mut rendered {
                thought::lead(prompt, self.served.card.thought, wanted);
            }
            return Ok(rendered);
        }
        let Some(tokenizer) = self.own else {
            let what = "does not render messages: give the tokenizer of its model, a raw prompt, or the kind of a \
                        server that has chats only (chat-continue, chat-prefix or chat-assistant)";
            return Err(failure::noticed(address, Code::Template, what));
        };
        let messages = messages.iter().map(|one| (one.role.as_str(), one.content.as_str()));
        let template = tokenizer.template();
        let wanted = thought::known(wanted).unwrap_or(template.thought());
        let text = template.render_to(messages, wanted);
        let text = text.map_err(|error| Failure::new(Code::Template, error.to_string()))?;
        // The server puts a begin-of-text token before every text if its model needs one.
        let is_added = |bos: &&str| {
            tokenizer.encode_prompt(&format!("{bos}a")).ok()
                == tokenizer.encode_raw_prompt("a").ok()
        };
        let bos = tokenizer.bos_text().filter(is_added).unwrap_or_default();
        Ok(Rendered::Text(text.strip_prefix(bos).unwrap_or(&text).to_owned()))
    }

    async fn begin(&mut self, rendered: Rendered) -> Result<(), Failure> {
        let ids = match rendered {
            Rendered::Ids(ids) => Some(ids),
            Rendered::Text(text) => {
                match self.served.encode(self.http, &text, Place::Prompt).await? {
                    Some(ids) => Some(ids),
                    None => {
                        self.tokens = self.about(&text);
                        self.text = SessionText::Text(text);
                        None
                    }
                }
            }
        };
        if let Some(ids) = ids {
            self.tokens = ids.len() as u32;
            self.text = SessionText::Ids(TokenText::new(ids));
        }
        Ok(())
    }

    /// Sets up a chat: the prompt is the conversation, and the answer begins with the thought in the wanted state.
    fn begin_chat(&mut self, prompt: &Prompt, wanted: ThoughtStart) -> Result<(), Failure> {
        let Prompt::Messages(messages) = prompt else {
            let what = "has chats only, which cannot continue raw text: ask a question, or name a server with \
                        /v1/completions";
            let address = &self.http.config.address;
            return Err(failure::noticed(address, Code::InvalidArgument, what));
        };
        let left = self.served.card.thought;
        let wanted = if wanted.is_unknown() { left } else { wanted };
        let mut lead = String::new();
        thought::lead(&mut lead, ThoughtStart::Unopened, wanted);
        self.tokens = messages.iter().map(|message| self.about(&message.content)).sum();
        self.text = SessionText::Chat(messages.clone(), lead);
        Ok(())
    }

    /// Appends text that the server did not generate. Keeps its given tokens if they spell the text and the server
    /// takes tokens. Returns about how many tokens it has.
    pub(crate) fn append(&mut self, text: &str, token_ids: &[u32]) -> u32 {
        let is_spelled = !token_ids.is_empty() && self.spells(token_ids, text);
        let tokens = match &mut self.text {
            SessionText::Ids(ids) if is_spelled => {
                ids.append_tokens(text, token_ids);
                self.tokens = self.tokens.saturating_add(token_ids.len() as u32);
                token_ids.len() as u32
            }
            SessionText::Ids(ids) => {
                ids.append(text);
                self.count(text)
            }
            SessionText::Text(_) | SessionText::Chat(..) => self.count(text),
        };
        self.unasked.push(text, tokens);
        tokens
    }

    /// Commits the first bytes of a proposal. Returns about how many tokens they have.
    pub(crate) fn commit(&mut self, own: &OwnChunks, kept: &str) -> u32 {
        if let SessionText::Ids(ids) = &mut self.text {
            ids.commit(own, kept);
        }
        let tokens = self.count(kept);
        self.asked_tokens = self.asked_tokens.saturating_add(tokens);
        tokens
    }

    /// Returns a request that computes the text so far ahead, if that is worth it.
    pub(crate) fn ahead(
        &mut self,
        committed: &str,
        signs: &'a watch::Sender<()>,
    ) -> Option<Computing<'a>> {
        let Served { keeps_warm, block_tokens, .. } = *self.served;
        let is_worth = keeps_warm
            && self.unasked.is_due()
            && fills_block(self.asked_tokens, self.tokens, block_tokens);
        if !is_worth {
            return None;
        }
        self.unasked = UnaskedText::default();
        // If the text cannot be continued, the next proposal will report why.
        let prompt = self.prompt(committed).ok()?;
        let text = AheadText {
            http: self.http,
            served: self.served,
            signs,
            sampling: self.sampling,
            slot: self.slot.as_ref().map(|slot| slot.number),
            prompt,
            about_tokens: self.tokens,
            asked_tokens: self.asked_tokens,
        };
        Some(Box::pin(text.compute()))
    }

    /// Records the result of computing text ahead. Returns how many tokens the server computed for it.
    pub(crate) fn computed(&mut self, computed: ComputedText) -> u32 {
        let ComputedText { encoded, about_tokens, tokens, usage, judged: _, prefill_us: _ } =
            computed;
        self.tokens = self.tokens.saturating_sub(about_tokens).saturating_add(tokens);
        if let (SessionText::Ids(text), Some((bytes, ids))) = (&mut self.text, encoded) {
            text.encoded_at(bytes, ids);
        }
        let Some(usage) = usage else { return 0 };
        let (prefill_tokens, cached_tokens) = usage.split(self.asked_tokens);
        self.ahead_cached_tokens = self.ahead_cached_tokens.saturating_add(cached_tokens);
        self.asked_tokens = tokens;
        prefill_tokens
    }

    /// Returns how many tokens requests ahead found cached since the last call.
    pub(crate) fn take_ahead_cached_tokens(&mut self) -> u32 {
        std::mem::take(&mut self.ahead_cached_tokens)
    }

    fn count(&mut self, text: &str) -> u32 {
        let tokens = self.about(text);
        self.tokens = self.tokens.saturating_add(tokens);
        tokens
    }

    /// Estimates how many tokens a text has: by our own tokenizer, or from its length.
    fn about(&self, text: &str) -> u32 {
        let encoded = self.own.and_then(|own| own.encode_committed(text, Thought::Open).ok());
        encoded.map_or(text.len().div_ceil(TOKEN_BYTES), |encoded| encoded.ids.len()) as u32
    }

    /// Returns whether these tokens also spell the text in our tokenizer, so that another Thinker can use them.
    pub(crate) fn spells(&self, ids: &[u32], text: &str) -> bool {
        self.own.is_some_and(|own| own.spells(ids, text))
    }

    /// Checks our own tokenizer against the server's count of the last requested text.
    pub(crate) fn check_count(&mut self, usage: Usage) -> Result<(), Failure> {
        let Some(ours) = self.own_count.take() else { return Ok(()) };
        let theirs = usage.prompt_tokens as usize;
        if ours.abs_diff(theirs) > COUNT_TOLERANCE {
            let what = format!(
                "counts {theirs} tokens in a text that has {ours} by the tokenizer that was given; give that of its \
                 model"
            );
            return Err(failure::noticed(&self.http.config.address, Code::InvalidArgument, what));
        }
        self.counts_alike.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Prepares a request for a continuation of at most `max_tokens`. Returns `None` when the context is full.
    pub(crate) async fn ask(
        &mut self,
        committed: &str,
        max_tokens: u32,
        seed: u64,
    ) -> Result<Option<Ask>, Failure> {
        if let SessionText::Ids(ids) = &self.text
            && let Some(text) = ids.unencoded()
        {
            let encoded = self.served.encode(self.http, text, Place::Committed).await?;
            let encoded = encoded.unwrap_or_default();
            if let SessionText::Ids(ids) = &mut self.text {
                ids.encoded(encoded);
            }
        }
        let prompt = self.prompt(committed)?;
        match (&prompt, self.own) {
            (SessionPrompt::Ids(ids, _), _) => self.tokens = ids.len() as u32,
            (SessionPrompt::Text(text), Some(own))
                if !self.counts_alike.load(Ordering::Relaxed) =>
            {
                self.own_count = own.encode_raw_prompt(text).ok().map(|ids| ids.len());
            }
            _ => {}
        }
        let max_tokens =
            max_tokens.min(self.served.card.context_tokens.saturating_sub(self.tokens));
        let (tokens, asked_tokens) = (self.tokens, self.asked_tokens);
        self.asked_tokens = tokens;
        self.unasked = UnaskedText::default();
        if max_tokens == 0 {
            return Ok(None);
        }
        let call = self.served.dialect.stretch(&Stretch {
            model: &self.served.model,
            prompt: prompt.form(),
            max_tokens,
            context_tokens: self.served.card.context_tokens,
            seed,
            sampling: &self.sampling,
            slot: self.slot.as_ref().map(|slot| slot.number),
        });
        let marks = self.marks(committed);
        Ok(Some(Ask { call, max_tokens, tokens, asked_tokens, marks }))
    }

    /// Returns the whole text, as it is sent to the server.
    fn prompt(&self, committed: &str) -> Result<SessionPrompt, Failure> {
        Ok(match &self.text {
            SessionText::Text(prompt) => SessionPrompt::Text(format!("{prompt}{committed}")),
            SessionText::Ids(ids) => {
                SessionPrompt::Ids(ids.ids(), ids.unencoded().unwrap_or_default().to_owned())
            }
            SessionText::Chat(messages, lead) => {
                let form = self.served.chat.as_ref().map(|chat| &chat.form);
                let answer = form.map(|form| form.answer_so_far(&format!("{lead}{committed}")));
                let answer = answer.transpose();
                let answer = answer.map_err(|why| inexact(self.http, self.served.kind, &why))?;
                SessionPrompt::Chat(messages.clone(), answer.flatten())
            }
        })
    }

    /// Returns what restores the marks around a thought after the committed text, if the server may report thoughts
    /// separately.
    fn marks(&self, committed: &str) -> Option<ThoughtMarks> {
        let (SessionText::Chat(_, lead), Some(chat)) = (&self.text, &self.served.chat) else {
            return None;
        };
        let text = format!("{lead}{committed}");
        Some(ThoughtMarks::behind(&text, chat.form.thought, chat.tells_apart()))
    }

    /// Returns a chunk whose text includes the marks around a separately reported thought.
    pub(crate) fn with_marks(
        &self,
        chunk: Chunk,
        marks: Option<&mut ThoughtMarks>,
    ) -> Result<Chunk, Failure> {
        let (Some(marks), Some(chat)) = (marks, &self.served.chat) else { return Ok(chunk) };
        let put = marks.put(&chunk.thought, &chunk.text);
        let text = put.map_err(|ThinksAnew| {
            let why = "it starts a new thought where the answer should continue";
            inexact(self.http, self.served.kind, why)
        })?;
        if marks.is_told_apart {
            chat.note_told_apart();
        }
        Ok(Chunk { text, thought: String::new(), ..chunk })
    }
}

/// A continuation to request.
pub(crate) struct Ask {
    pub(crate) call: crate::http::Call,
    /// Limited to what the context holds.
    pub(crate) max_tokens: u32,
    /// The approximate number of tokens of the text.
    pub(crate) tokens: u32,
    /// How many of them the server had before.
    pub(crate) asked_tokens: u32,
    /// Restores the marks around a thought, if the server may report it separately.
    pub(crate) marks: Option<ThoughtMarks>,
}
