//! The environment in which chat templates are rendered: that of transformers' `apply_chat_template`, which has
//! Jinja2's statements, filters, tests and functions and a few more. Here is what minijinja lacks; methods of strings
//! and lists are in [`super::methods`].

use std::io::{self, Write};

use minijinja::{
    Environment, Error, ErrorKind, Value,
    syntax::SyntaxConfig,
    value::{Kwargs, ValueKind},
};
use serde::Serialize;

use super::methods::{self, Side};

/// The template's name in errors.
pub(super) const NAME: &str = "chat template";

/// The fuel that a template has for any context: about one unit for each step, and one for every 64 bytes that it
/// makes.
const FUEL: u64 = 100_000;
/// The fuel for each token of the context: some steps, and every byte of its text several times over.
const FUEL_PER_TOKEN: u64 = 8;

/// Returns the fuel of a template for a context of this many tokens. It limits the steps and, at 64 bytes each, the
/// memory, including what the template writes.
pub(super) fn fuel(context_tokens: usize) -> u64 {
    FUEL.saturating_add(FUEL_PER_TOKEN.saturating_mul(context_tokens as u64))
}

/// Makes the environment of a template, for a context of this many tokens.
pub(super) fn environment(
    source: &str,
    context_tokens: usize,
) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(fuel(context_tokens)));
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(methods::call);
    environment.add_function("raise_exception", |message: Value| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message.to_string()))
    });
    environment.add_function("strftime_now", |format: String| {
        let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
        jiff::fmt::strtime::format(&format, &now)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
    });
    environment.add_filter("tojson", to_json);
    environment.add_filter("center", |text: String, width: Option<usize>| {
        methods::padded(&text, width.unwrap_or(80), ' ', Side::Both)
    });
    environment.add_filter("wordcount", |text: String| text.split_whitespace().count());
    environment.add_filter("truncate", truncate);
    environment.add_filter("striptags", strip_tags);
    environment.add_test("callable", |value: Value| value.kind() == ValueKind::Plain);
    environment.add_template_owned(NAME, without_generation_tags(source))?;
    Ok(environment)
}

/// Replaces `{% generation %}`, which marks the assistant's words for training, by a statement that does nothing. Names
/// that are set within it thus end with it, as in transformers.
fn without_generation_tags(source: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(source.len()), source);
    while let Some(start) = rest.find("{%") {
        let end = rest[start..].find("%}").map_or(rest.len(), |end| start + end + 2);
        let tag = &rest[start..end];
        plain.push_str(&rest[..start]);
        rest = &rest[end..];
        match tag.trim_matches(|c: char| "{}%-+".contains(c) || c.is_whitespace()) {
            "generation" => plain.push_str(&tag.replace("generation", "with")),
            "endgeneration" => plain.push_str(&tag.replace("endgeneration", "endwith")),
            word => {
                plain.push_str(tag);
                if word == "raw" {
                    let end = rest.find("endraw").unwrap_or(rest.len());
                    plain.push_str(&rest[..end]);
                    rest = &rest[end..];
                }
            }
        }
    }
    plain + rest
}

/// Shortens a text as Jinja does: cut at a word, with an ellipsis, unless it is only a little too long.
fn truncate(text: String, options: Kwargs) -> Result<String, Error> {
    let length: usize = options.get::<Option<usize>>("length")?.unwrap_or(255);
    let end: String = options.get::<Option<String>>("end")?.unwrap_or_else(|| "...".to_owned());
    let leeway: usize = options.get::<Option<usize>>("leeway")?.unwrap_or(5);
    let killwords = options.get::<Option<bool>>("killwords")?.unwrap_or(false);
    options.assert_all_used()?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text);
    }
    let kept: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    let kept = match kept.rsplit_once(' ') {
        Some((words, _)) if !killwords => words,
        _ => &kept,
    };
    Ok(format!("{kept}{end}"))
}

/// Removes tags as Jinja does, and leaves single spaces.
fn strip_tags(text: String) -> String {
    let (mut stripped, mut rest) = (String::new(), text.as_str());
    while let Some((before, tag)) = rest.split_once('<') {
        stripped.push_str(before);
        rest = tag.split_once('>').map_or("", |(_, after)| after);
    }
    stripped.push_str(rest);
    stripped.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes JSON as transformers does: as Python's `json.dumps(..., ensure_ascii=False)`. minijinja's own filter leaves
/// the spaces out and escapes for HTML.
fn to_json(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ensure_ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let separators: Option<Vec<String>> = options.get("separators")?;
    options.assert_all_used()?;
    let bad = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let mut bytes = Vec::new();
    let separators = match separators.as_deref() {
        Some([item, key]) => [item.clone(), key.clone()],
        _ => [", ".to_owned(), ": ".to_owned()],
    };
    let indent = indent.map(|width| " ".repeat(width));
    if sort_keys {
        let mut json = serde_json::to_value(&value).map_err(bad)?;
        sort(&mut json);
        write_json(&json, indent, separators, &mut bytes)
    } else {
        write_json(&value, indent, separators, &mut bytes)
    }
    .map_err(bad)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Value::from_safe_string(if ensure_ascii { in_ascii(&text) } else { text }))
}

fn write_json(
    value: &impl Serialize,
    indent: Option<String>,
    separators: [String; 2],
    into: &mut Vec<u8>,
) -> serde_json::Result<()> {
    match indent {
        Some(indent) => {
            let pretty = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(into, pretty))
        }
        None => {
            let separators = Separators(separators);
            value.serialize(&mut serde_json::Serializer::with_formatter(into, separators))
        }
    }
}

/// Escapes everything in JSON that is not ASCII, which occurs in strings only.
fn in_ascii(json: &str) -> String {
    let escaped = |c: char| -> String {
        if c.is_ascii() {
            return c.to_string();
        }
        c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    json.chars().map(escaped).collect()
}

fn sort(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Object(fields) => {
            let mut sorted: Vec<(String, serde_json::Value)> =
                std::mem::take(fields).into_iter().collect();
            sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
            sorted.iter_mut().for_each(|(_, value)| sort(value));
            fields.extend(sorted);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}

/// The separators between items, and between a key and its value.
struct Separators([String; 2]);

impl serde_json::ser::Formatter for Separators {
    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(self.0[0].as_bytes()) }
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(self.0[0].as_bytes()) }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.0[1].as_bytes())
    }
}
