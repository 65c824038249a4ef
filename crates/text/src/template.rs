//! Chat templates: the prompt of a conversation, exactly as the model was trained to see it.
//!
//! Templates are Jinja, rendered with what Hugging Face transformers gives them ([`mod@environment`]). What a template
//! does with `<think>` is left to it. The committed text of an answer follows the rendered prompt byte for byte; it
//! never goes through the template. Neither does a raw prompt.

mod environment;
mod methods;

use std::collections::BTreeMap;

use minijinja::{Environment, Error, ErrorKind, Value, context};

use self::environment::{NAME, environment, fuel};
use crate::{error::TemplateError, letters::ControlNames, thought::Thought};

/// Messages that no template contains, to find them in what it renders.
const PROBES: [&str; 3] = ["probequestion", "probeanswer", "probenext"];

/// The context, in tokens, that a template is rendered for until its model's is known.
const USUAL_CONTEXT: usize = 32_768;

/// Makes the prompts of one model.
#[derive(Debug)]
pub struct ChatTemplate {
    /// The compiled template, or why there is none.
    environment: Result<Environment<'static>, String>,
    /// The texts of special tokens by their names in templates: `bos_token`, `eos_token`, ...
    tokens: BTreeMap<String, String>,
    /// Names that are only text in messages; `None` takes every message as it is.
    control_names: Option<ControlNames>,
    thought: Thought,
}

impl ChatTemplate {
    /// Makes a template with the texts of the begin-of-text and end-of-text tokens. Never fails: a model without a
    /// usable template still takes raw prompts, and says why it takes no messages.
    ///
    /// It knows no names of control tokens, unlike a tokenizer's own template ([`crate::Tokenizer::template`]).
    pub fn new(source: Option<&str>, bos: &str, eos: &str) -> Self {
        let token = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        ChatTemplate::with_tokens(source, [token("bos_token", bos), token("eos_token", eos)].into())
    }

    /// Makes a template with the texts of special tokens by their names in templates.
    pub(crate) fn with_tokens(source: Option<&str>, tokens: BTreeMap<String, String>) -> Self {
        let environment = match source {
            None => Err("the model has no chat template".to_owned()),
            Some(source) => environment(source, USUAL_CONTEXT).map_err(|error| {
                format!("the model's chat template cannot be read ({})", one_line(&error))
            }),
        };
        let thought = Thought::default();
        let template = ChatTemplate { environment, tokens, control_names: None, thought };
        ChatTemplate { thought: template.probed_thought(), ..template }
    }

    /// Returns the same template, which takes these names in messages as letters.
    pub(crate) fn with_control_names(self, names: ControlNames) -> Self {
        ChatTemplate { control_names: Some(names), ..self }
    }

    /// Returns the same template, which may use up as much as a context of `tokens` tokens can need.
    pub(crate) fn for_context(mut self, tokens: usize) -> Self {
        if let Ok(environment) = &mut self.environment {
            environment.set_fuel(Some(fuel(tokens)));
        }
        self
    }

    /// Returns why messages cannot be taken, without how to fix it; `None` if they can.
    pub fn unusable(&self) -> Option<&str> {
        self.environment.as_ref().err().map(String::as_str)
    }

    /// Renders the prompt of a conversation, with the assistant's turn opened. A message is its role ("system", "user"
    /// or "assistant") and its text. Names of control tokens in its text are broken by a character that
    /// [`crate::Tokenizer::encode_prompt`] removes again, so that they stay letters.
    ///
    /// # Errors
    /// [`TemplateError`] if the model has no usable template or it refuses the messages.
    pub fn render<'a>(
        &self,
        messages: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<String, TemplateError> {
        self.conversation(messages, true)
    }

    /// Renders a conversation like [`ChatTemplate::render`], but without opening the assistant's turn.
    ///
    /// # Errors
    /// Those of [`ChatTemplate::render`].
    pub fn render_closed<'a>(
        &self,
        messages: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<String, TemplateError> {
        self.conversation(messages, false)
    }

    /// Returns what it writes right after an assistant's message; `None` if it takes no such conversation.
    pub(crate) fn after_answer(&self) -> Option<String> {
        let [question, answer, next] = PROBES;
        let messages = [("user", question), ("assistant", answer), ("user", next)];
        let rendered = self.conversation(messages, false).ok()?;
        let (_, after) = rendered.rsplit_once(answer)?;
        Some(after.split(next).next().unwrap_or_default().to_owned())
    }

    /// Returns the state of an answer's thought after its prompts: whether they end within one.
    pub fn thought(&self) -> Thought {
        self.thought
    }

    /// Renders like [`ChatTemplate::render`], but with the thought in this state, whatever the template leaves it in:
    /// marks around thoughts are added to the prompt's end or removed.
    ///
    /// # Errors
    /// Those of [`ChatTemplate::render`].
    pub fn render_to<'a>(
        &self,
        messages: impl IntoIterator<Item = (&'a str, &'a str)>,
        thought: Thought,
    ) -> Result<String, TemplateError> {
        let mut prompt = self.render(messages)?;
        if thought != self.thought {
            self.thought.lead_to(thought, &mut prompt);
        }
        Ok(prompt)
    }

    fn probed_thought(&self) -> Thought {
        let [question, ..] = PROBES;
        let rendered = self.render([("user", question)]).unwrap_or_default();
        Thought::behind(rendered.rsplit_once(question).map_or(&*rendered, |(_, after)| after))
    }

    /// Renders a conversation; `add_generation_prompt` opens the assistant's turn.
    fn conversation<'a>(
        &self,
        messages: impl IntoIterator<Item = (&'a str, &'a str)>,
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        let environment =
            self.environment.as_ref().map_err(|why| TemplateError::Unusable(why.clone()))?;
        let messages: Vec<Value> = messages
            .into_iter()
            .map(|(role, content)| self.message(role, content))
            .collect::<Result<_, _>>()?;
        let rendered = environment.get_template(NAME).and_then(|template| {
            template.render(context! {
                messages,
                add_generation_prompt,
                tools => (),
                documents => (),
                ..Value::from_pairs(self.tokens.iter().map(|(name, text)| (name.as_str(), text.as_str())))
            })
        });
        rendered.map_err(|error| match error.kind() {
            ErrorKind::OutOfFuel => TemplateError::TooCostly,
            _ => TemplateError::Refused(one_line(&error)),
        })
    }

    /// Returns a message as templates see it.
    fn message(&self, role: &str, content: &str) -> Result<Value, TemplateError> {
        // Templates build control tokens from roles.
        let is_word =
            !role.is_empty() && role.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
        if !is_word {
            let why = format!("the role {role:?} is not a word such as \"user\"");
            return Err(TemplateError::Refused(why));
        }
        let content = match &self.control_names {
            Some(names) => names.as_letters(content, role == "assistant"),
            None => content.into(),
        };
        Ok(Value::from_pairs([("role", role), ("content", &content)]))
    }
}

/// Returns the template's own words if it refused by `raise_exception`, else the error with its line.
fn one_line(error: &Error) -> String {
    let text = error.detail().map_or_else(|| error.to_string(), str::to_owned);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match error.line() {
        Some(line) => format!("{text} (line {line})"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(source: &str) -> Result<String, TemplateError> {
        ChatTemplate::new(Some(source), "<s>", "</s>").render([("user", "Hi \"<you>\"")])
    }

    #[test]
    fn templates_get_what_transformers_gives_them() {
        let cases = [
            ("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", "<s>Hi \"<you>\"</s>"),
            ("{{ messages | tojson }}", r#"[{"role": "user", "content": "Hi \"<you>\""}]"#),
            ("{{ messages[0]['content'].split(' ')[0].lower() }}", "hi"),
            (
                "{%- for m in messages %}\n{%- if loop.last %}{% break %}{% endif %}\n{%- endfor %}x",
                "x",
            ),
            ("{% set ns = namespace(n=1) %}\n{% set ns.n = ns.n + 1 %}\n{{ ns.n }}", "2"),
            ("  {% if add_generation_prompt %}\nyes{% endif %}\n", "yes"),
            ("{% if tools is none and documents is none %}none{% endif %}", "none"),
        ];
        for (source, expected) in cases {
            assert_eq!(rendered(source).unwrap(), expected, "{source}");
        }
        let year = rendered("{{ strftime_now('%Y') }}").unwrap();
        assert!(year.parse::<u32>().unwrap() >= 2025, "{year}");
    }

    #[test]
    fn a_template_that_fails_says_why_in_one_line() {
        let cases = [
            (
                "{{ raise_exception('roles must alternate') }}",
                "refuses the messages: roles must alternate",
            ),
            ("{% if %}", "cannot be read"),
            ("{{ strftime_now('%') }}", "refuses the messages"),
            ("{{ messages | no_such_filter }}", "no_such_filter"),
            (
                "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
                "takes too many steps",
            ),
        ];
        for (source, expected) in cases {
            let message = rendered(source).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn what_a_template_may_use_up_grows_with_the_context() {
        // About two steps a turn; and a text that is doubled over and over, so that one step makes megabytes.
        let loops = |turns: u32| format!("{{% for a in range({turns}) %}}{{% endfor %}}");
        let doubles = |times: u32| {
            format!(
                "{{% set ns = namespace(s='x') %}}{{% for a in range({times}) %}}\
                 {{% set ns.s = ns.s + ns.s %}}{{% endfor %}}"
            )
        };
        for (source, short, long) in [
            (loops(10_000), true, true),
            (loops(90_000), false, true),
            (doubles(20), true, true),
            (doubles(24), false, true),
            (doubles(30), false, false),
        ] {
            for (tokens, expected) in [(512, short), (131_072, long)] {
                let template = ChatTemplate::new(Some(&source), "", "").for_context(tokens);
                let rendered = template.render([("user", "Hi")]);
                match rendered {
                    Ok(_) => assert!(expected, "{source} for {tokens}"),
                    Err(TemplateError::TooCostly) => assert!(!expected, "{source} for {tokens}"),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    #[test]
    fn without_a_template_no_messages_are_taken() {
        let template = ChatTemplate::new(None, "", "");
        let error = template.render([("user", "Hi")]).unwrap_err();
        assert!(matches!(error, TemplateError::Unusable(_)), "{error}");
        assert_eq!(template.unusable(), Some("the model has no chat template"));
        assert!(error.to_string().contains("no chat template"), "{error}");
    }
}
