//! Tests whether a chat-only server continues an answer exactly where its text ends.
//!
//! The server generates one token after each of several prompts, and the prompt lengths that it reports are compared.
//! An answer that is continued adds exactly the tokens of its text; one that was closed, shortened or moved adds a
//! different number. What the model writes does not matter, so the test works with any model.

use thinking::thinker::{Code, Failure, Message, Sampling, ThoughtStart};
use tokio::{sync::watch, try_join};

use crate::{
    chat::{AnswerSoFar, ChatForm, ThoughtForm},
    chunk_stream::ChunkStream,
    config::ServerKind,
    dialect::{Dialect, PromptForm, Stretch},
    failure,
    http::Http,
};

/// Precedes the words of a question, so that they split into the same tokens there as in an answer.
const QUESTION: &str = "Colours:\n";
/// Words that add the same number of tokens each time they are repeated.
const WORDS: &str = "red, green\n";
/// The same without trailing white space, which templates may strip.
const TIGHT: &str = "red, green";
const OPEN: &str = "<think>\n";
const CLOSE: &str = "\n</think>\n\n";

/// A server under test.
pub(crate) struct ExactnessTest<'a> {
    pub(crate) http: &'a Http,
    pub(crate) dialect: &'a dyn Dialect,
    pub(crate) kind: ServerKind,
    pub(crate) model: &'a str,
    pub(crate) context_tokens: u32,
}

/// How a server continues answers, as found by the test.
pub(crate) struct Exactness {
    pub(crate) form: ChatForm,
    /// Whether it was seen to report a thought separately from the answer.
    pub(crate) tells_apart: bool,
    /// How far the thought is where the text of an answer begins.
    pub(crate) thought: ThoughtStart,
}

/// A server's reply to a prompt.
struct Said {
    prompt_tokens: i64,
    text: String,
    thought: String,
}

/// The reply to an answer that is to be continued, or why the server refused it.
type Continued = Result<Said, String>;

/// The number of tokens of the question alone, and of the marks.
struct Counts {
    bare: i64,
    open: i64,
    close: i64,
}

impl ExactnessTest<'_> {
    /// Tests how the server continues answers.
    ///
    /// # Errors
    /// When it does not continue them exactly, or cannot be asked.
    pub(crate) async fn run(&self) -> Result<Exactness, Failure> {
        let (bare, opened, closed) = try_join!(
            self.counted(WORDS.repeat(2)),
            self.counted(format!("{WORDS}{OPEN}{WORDS}")),
            self.counted(format!("{WORDS}{CLOSE}{WORDS}")),
        )?;
        let counts = Counts { bare, open: opened - bare, close: closed - bare };
        let (tight, once, twice, open, over) = try_join!(
            self.letters(TIGHT.to_owned()),
            self.letters(WORDS.to_owned()),
            self.letters(WORDS.repeat(2)),
            self.letters(format!("{OPEN}{WORDS}")),
            self.letters(format!("{OPEN}{WORDS}{CLOSE}{WORDS}")),
        )?;
        let (unlike, more) = match counts.check([&tight, &once, &twice], [0, -counts.open]) {
            Ok(more) => (None, more),
            Err(why) => (Some(why), 0),
        };
        let keeps_indented = self.keeps_indented().await?;
        if unlike.is_none()
            && let Some(tells_apart) = counts.keeps_marks([&once, &twice, &open, &over])
        {
            let form = ChatForm { unlike, keeps_indented, thought: ThoughtForm::Letters };
            // The prompt ended with a mark, and the begun answer replaced it.
            let is_open = more < 0 && !tells_apart;
            let thought = if is_open { ThoughtStart::Open } else { ThoughtStart::Unopened };
            return Ok(Exactness { form, tells_apart, thought });
        }
        let thought = ThoughtStart::Unopened;
        let (tight, once, twice) = try_join!(
            self.field(TIGHT.to_owned()),
            self.field(WORDS.to_owned()),
            self.field(WORDS.repeat(2)),
        )?;
        if counts.check([&tight, &once, &twice], [0, counts.open]).is_ok() {
            let form = ChatForm { unlike, keeps_indented, thought: ThoughtForm::Field };
            return Ok(Exactness { form, tells_apart: true, thought });
        }
        match unlike {
            Some(why) => Err(inexact(self.http, self.kind, &why)),
            None => {
                let form = ChatForm { unlike, keeps_indented, thought: ThoughtForm::Nowhere };
                Ok(Exactness { form, tells_apart: false, thought })
            }
        }
    }

    /// Returns whether trailing white space is kept in an answer that begins with white space; transformers strips it.
    async fn keeps_indented(&self) -> Result<bool, Failure> {
        let (tight, once) =
            try_join!(self.letters(format!(" {TIGHT}")), self.letters(format!(" {WORDS}")),)?;
        Ok(
            matches!((tight, once), (Ok(tight), Ok(once)) if once.prompt_tokens > tight.prompt_tokens),
        )
    }

    /// Returns how many tokens a question with these words has.
    async fn counted(&self, words: String) -> Result<i64, Failure> {
        Ok(self.asked(&words, None).await?.prompt_tokens)
    }

    async fn letters(&self, text: String) -> Result<Continued, Failure> {
        self.continued(AnswerSoFar { thought: String::new(), text }).await
    }

    async fn field(&self, thought: String) -> Result<Continued, Failure> {
        self.continued(AnswerSoFar { thought, text: String::new() }).await
    }

    async fn continued(&self, answer: AnswerSoFar) -> Result<Continued, Failure> {
        match self.asked(&WORDS.repeat(2), Some(&answer)).await {
            Ok(said) => Ok(Ok(said)),
            Err(why) if matches!(why.code, Code::InvalidArgument | Code::Internal) => {
                let address = format!("{} ", self.http.config.address);
                let why = why.message.strip_prefix(&address).unwrap_or(&why.message);
                Ok(Err(format!("it {why}")))
            }
            Err(why) => Err(why),
        }
    }

    /// Returns the server's reply to a question.
    async fn asked(&self, words: &str, answer: Option<&AnswerSoFar>) -> Result<Said, Failure> {
        let content = format!("{QUESTION}{words}");
        let messages = [Message { role: "user".to_owned(), content }];
        let call = self.dialect.stretch(&Stretch {
            model: self.model,
            prompt: PromptForm::Chat { messages: &messages, answer },
            max_tokens: 1,
            context_tokens: self.context_tokens,
            seed: 0,
            sampling: &Sampling::default(),
            slot: None,
        });
        let signs = watch::Sender::new(());
        let mut stream = ChunkStream::open(self.http, self.dialect, &signs, &call).await?;
        let (mut prompt_tokens, mut text, mut thought) = (None, String::new(), String::new());
        while let Some(chunk) = stream.next().await? {
            text.push_str(&chunk.text);
            thought.push_str(&chunk.thought);
            prompt_tokens = chunk.usage.map(|usage| usage.prompt_tokens.into()).or(prompt_tokens);
        }
        let prompt_tokens = prompt_tokens.ok_or_else(|| {
            let what =
                "does not count the tokens of prompts, by which a continued answer is recognised";
            failure::noticed(&self.http.config.address, Code::InvalidArgument, what)
        })?;
        Ok(Said { prompt_tokens, text, thought })
    }
}

/// The failure of a server that does not continue answers exactly.
pub(crate) fn inexact(http: &Http, kind: ServerKind, why: &str) -> Failure {
    let what = format!(
        "does not continue an answer exactly with kind {}: {why}; give another kind (chat-continue, chat-prefix or \
         chat-assistant), or a server with /v1/completions",
        kind.name()
    );
    failure::noticed(&http.config.address, Code::InvalidArgument, what)
}

impl Counts {
    /// Checks that an answer continues where it ends, from the replies to some words without trailing white space, with
    /// it, and to twice the words. Apart from the words, the prompt may have any of the token counts in `beside`;
    /// returns the one it has.
    fn check(&self, said: [&Continued; 3], beside: [i64; 2]) -> Result<i64, String> {
        let [tight, once, twice] = said.map(|said| said.as_ref().map_err(Clone::clone));
        let (tight, once, twice) = (tight?, once?, twice?);
        let is_repeated = |text: &str| text.trim_start().starts_with(TIGHT);
        if is_repeated(&once.text) || is_repeated(&once.thought) {
            return Err("it repeats the beginning of the answer".to_owned());
        }
        let words = twice.prompt_tokens - once.prompt_tokens;
        if words <= 0 {
            return Err("it leaves out the beginning of the answer".to_owned());
        }
        if once.prompt_tokens <= tight.prompt_tokens {
            return Err("it takes white space off the end of the answer".to_owned());
        }
        let more = once.prompt_tokens - self.bare - words;
        if !beside.contains(&more) {
            return Err(format!(
                "it begins a new turn, or changes the answer: its prompt has {more:+} tokens besides the answer's own"
            ));
        }
        Ok(more)
    }

    /// Returns whether the marks of a thought are kept in an answer's text and, if so, whether thoughts are reported
    /// separately.
    fn keeps_marks(&self, said: [&Continued; 4]) -> Option<bool> {
        let [once, twice, open, over] = said.map(|said| said.as_ref().ok());
        let (once, twice, open, over) = (once?, twice?, open?, over?);
        let words = twice.prompt_tokens - once.prompt_tokens;
        let is_kept = open.prompt_tokens - once.prompt_tokens == self.open
            && over.prompt_tokens - open.prompt_tokens == self.close + words;
        is_kept.then_some(!open.thought.is_empty())
    }
}
