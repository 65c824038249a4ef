//! The fields of a JSON object with the text of each value, so that numbers of any size stay what they are.
//!
//! What does not live here: which fields a problem has ([`super::shape`]).

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Deserializer, Error};

use super::LineFault;

/// The fields of an object, in their order. A name that occurs twice has its last value.
pub(super) struct Fields<'a>(Vec<(String, &'a str)>);

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    /// Its name as the file spells it.
    pub(super) name: &'a str,
    /// Its value as JSON.
    value: &'a str,
}

impl<'a> Fields<'a> {
    /// Reads one object.
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

    /// The field of this name, spelled so or else in other cases.
    pub(super) fn get(&self, name: &str) -> Option<Field<'_>> {
        let named =
            |same: fn(&str, &str) -> bool| self.0.iter().rev().find(|(field, _)| same(field, name));
        let (name, value) = named(|field, name| field == name)
            .or_else(|| named(|field, name| field.eq_ignore_ascii_case(name)))?;
        Some(Field { name, value })
    }
}

impl Field<'_> {
    /// The text that the field holds, without white space around it; `None` if it holds another type.
    pub(super) fn text(&self) -> Option<Result<String, LineFault>> {
        let text = || serde_json::from_str::<String>(self.value).map_err(not_json);
        self.value.starts_with('"').then(|| text().map(|text| text.trim().to_owned()))
    }

    /// The number that the field holds, as JSON has it; `None` if it holds another type.
    pub(super) fn number(&self) -> Option<&str> {
        (type_name(self.value) == "a number").then_some(self.value)
    }

    /// The fault of a field that holds another type.
    pub(super) fn wrong_type(&self, must_be: &'static str) -> LineFault {
        let found = type_name(self.value);
        LineFault::WrongType { field: self.name.to_owned(), found, must_be }
    }
}

/// The first value in a text, and what follows it.
fn first<'a, T: Deserialize<'a>>(text: &'a str) -> Result<(T, &'a str), Error> {
    let mut values = Deserializer::from_str(text).into_iter::<T>();
    let value = values.next().unwrap_or_else(|| serde_json::from_str(""))?;
    let end = values.byte_offset();
    Ok((value, &text[end..]))
}

fn not_json(error: Error) -> LineFault {
    // The parser counts lines within this one: only the column says anything.
    let why = error.to_string();
    let why = why.split(" at line ").next().unwrap_or("").to_owned();
    LineFault::NotJson { why: format!("{why}, column {}", error.column()) }
}

/// What a JSON value is, by how it begins.
fn type_name(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'n') | None => "null",
        Some(b't' | b'f') => "a truth value",
        Some(b'"') => "a text",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(_) => "a number",
    }
}
