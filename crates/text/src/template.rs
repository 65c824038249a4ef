//! Chat templates: the prompt of a conversation, exactly as the model was trained to see it.
//!
//! Templates are Jinja, rendered with what Hugging Face transformers gives them. What a template does
//! with `<think>` is left to it. The committed text of an answer follows the rendered prompt byte for
//! byte; it never goes through the template. Neither does a raw prompt.

use minijinja::{Environment, Error, ErrorKind, Value, context, syntax::SyntaxConfig};
use serde::Serialize;

use crate::{error::TemplateError, tokenizer::Tokenizer};

const NAME: &str = "chat template";

/// What a template may use up: about one for each step, and one for every 64 bytes that it makes, so
/// that a prompt of 4 MiB could be copied a hundred times and one that loops without end stops.
const FUEL: u64 = 10_000_000;

/// Makes the prompts of one model.
#[derive(Debug)]
pub struct ChatTemplate {
    /// The compiled template, or why there is none.
    environment: Result<Environment<'static>, String>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// The template of a tokenizer's model. Never fails: a model without a usable template still
    /// takes raw prompts, and says why it takes no messages.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        ChatTemplate::new(
            tokenizer.chat_template(),
            tokenizer.bos_text().unwrap_or_default(),
            tokenizer.eos_text().unwrap_or_default(),
        )
    }

    /// A template with the texts of the begin-of-text and end-of-text tokens.
    pub fn new(source: Option<&str>, bos: &str, eos: &str) -> Self {
        let environment = match source {
            None => Err("the model has no chat template".to_owned()),
            Some(source) => environment(source).map_err(|error| {
                format!("the model's chat template cannot be read ({})", one_line(&error))
            }),
        };
        ChatTemplate { environment, bos: bos.to_owned(), eos: eos.to_owned() }
    }

    /// Why messages cannot be taken, without how to fix it; `None` when they can.
    pub fn unusable(&self) -> Option<&str> {
        self.environment.as_ref().err().map(String::as_str)
    }

    /// The prompt of a conversation, with the assistant's turn opened. A message is its role ("system",
    /// "user" or "assistant") and its text.
    ///
    /// # Errors
    /// [`TemplateError`] when the model has no usable template or it refuses the messages.
    pub fn render<'a>(
        &self,
        messages: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<String, TemplateError> {
        let environment =
            self.environment.as_ref().map_err(|why| TemplateError::Unusable(why.clone()))?;
        let messages: Vec<Value> = messages
            .into_iter()
            .map(|(role, content)| Value::from_pairs([("role", role), ("content", content)]))
            .collect();
        let rendered = environment.get_template(NAME).and_then(|template| {
            template.render(context! {
                messages,
                add_generation_prompt => true,
                bos_token => self.bos.as_str(),
                eos_token => self.eos.as_str(),
            })
        });
        rendered.map_err(|error| TemplateError::Refused(one_line(&error)))
    }
}

/// An environment that behaves as that of transformers' `apply_chat_template`.
fn environment(source: &str) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| {
        let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
        jiff::fmt::strtime::format(&format, &now)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
    });
    environment.add_filter("tojson", to_json);
    environment.add_template_owned(NAME, source.to_owned())?;
    Ok(environment)
}

/// JSON as Python's `json.dumps(..., ensure_ascii=False)` writes it: minijinja's own filter leaves the
/// spaces out and escapes for HTML.
fn to_json(value: Value, options: minijinja::value::Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _ensure_ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        Some(width) => {
            let indent = " ".repeat(width);
            let pretty = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, pretty))
        }
        None => {
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonSpacing))
        }
    };
    written.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    Ok(Value::from_safe_string(String::from_utf8_lossy(&bytes).into_owned()))
}

/// ", " and ": ".
struct PythonSpacing;

impl serde_json::ser::Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The template's own words where it refused by `raise_exception`, else the error with its line.
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
            ("{% if tools is defined %}tools{% endif %}{% if not tools %}none{% endif %}", "none"),
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
                "out of fuel",
            ),
        ];
        for (source, expected) in cases {
            let message = rendered(source).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "{message}");
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
