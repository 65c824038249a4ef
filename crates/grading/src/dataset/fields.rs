//! The fields of a JSON object with the text of each value, so that numbers of any size stay exact.
//!
//! What does not live here: which fields a problem has ([`super::shape`]).

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Deserializer, Error};

use super::LineFault;

/// The fields of an object, in order. A name that occurs twice has its last value.
pub(super) struct Fields<'a>(Vec<(String, &'a str)>);

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    /// Its name, as spelled in the file.
    pub(super) name: &'a str,
    /// Its value as JSON.
    value: &'a str,
}

impl<'a> Fields<'a> {
    /// Parses one object.
    pub(super) fn read(text: &'a str) -> Result<Self, LineFault> {
        serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
        let text = text.trim();
        let Some(mut rest) = text.strip_prefix('{').map(str::trim_start) else {
            return Err(LineFault::NotObject { found: type_name(text) });
        };
        let mut fields = Vec::new();
        while !rest.starts_with('}') {
            let (name, after) = first::<String>(rest).map_err(not_json)?;
            let after = after.trim_start().trim_start_matches(':').trim_start();
            let (_, next) = first::<IgnoredAny>(after).map_err(not_json)?;
            fields.push((name, after[..after.len() - next.len()].trim()));
            rest = next.trim_start().trim_start_matches(',').trim_start();
        }
        Ok(Fields(fields))
    }

    /// Returns the field with this name. An exact match takes precedence over a case-insensitive one.
    pub(super) fn get(&self, name: &str) -> Option<Field<'_>> {
        let named =
            |same: fn(&str, &str) -> bool| self.0.iter().rev().find(|(field, _)| same(field, name));
        let (name, value) = named(|field, name| field == name)
            .or_else(|| named(|field, name| field.eq_ignore_ascii_case(name)))?;
        Some(Field { name, value })
    }
}

impl Field<'_> {
    /// Returns the field's string, trimmed. `None` if it has another type.
    pub(super) fn text(&self) -> Option<Result<String, LineFault>> {
        let text = || serde_json::from_str::<String>(self.value).map_err(not_json);
        self.value.starts_with('"').then(|| text().map(|text| text.trim().to_owned()))
    }

    /// Returns the field's number as written in JSON. `None` if it has another type.
    pub(super) fn number(&self) -> Option<&str> {
        (type_name(self.value) == "a number").then_some(self.value)
    }

    /// Returns the fault of a field with the wrong type.
    pub(super) fn wrong_type(&self, must_be: &'static str) -> LineFault {
        let found = type_name(self.value);
        LineFault::WrongType { field: self.name.to_owned(), found, must_be }
    }
}

/// Parses the first value in a text. Returns it with what follows.
fn first<'a, T: Deserialize<'a>>(text: &'a str) -> Result<(T, &'a str), Error> {
    let mut values = Deserializer::from_str(text).into_iter::<T>();
    let value = values.next().unwrap_or_else(|| serde_json::from_str(""))?;
    let end = values.byte_offset();
    Ok((value, &text[end..]))
}

fn not_json(error: Error) -> LineFault {
    // The parser counts lines within this one, so only the column is meaningful.
    let why = error.to_string();
    let why = why.split(" at line ").next().unwrap_or("").to_owned();
    LineFault::NotJson { why: format!("{why}, column {}", error.column()) }
}

/// Returns the type of a JSON value, by its first character.
fn type_name(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'n') | None => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(_) => "a number",
    }
}
