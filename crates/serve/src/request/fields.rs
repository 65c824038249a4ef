//! The fields of a JSON object, read one by one, so that an error names the field, its value and what it must be.

use serde_json::{Map, Value};
use thinking::shown::one_line;

use crate::error::{ApiError, ErrorCode};

/// How much of a value an error shows, in characters.
const MOST_SHOWN: usize = 60;

/// The fields of an object. `null` counts as absent.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// The path of the object, followed by a dot.
    place: String,
}

impl<'a> Fields<'a> {
    /// Returns the fields of a whole request.
    pub(crate) fn of(body: &'a Value) -> Result<Self, ApiError> {
        let refused = || {
            let message = format!("the body is {}: it must be a JSON object", shown(body));
            ApiError::new(ErrorCode::InvalidType, message)
        };
        let map = body.as_object().ok_or_else(refused)?;
        Ok(Fields { map, place: String::new() })
    }

    /// Returns the fields of an object at a path.
    pub(crate) fn at(place: &str, value: &'a Value) -> Result<Self, ApiError> {
        let map = value.as_object().ok_or_else(|| wrong_type(place, value, "an object"))?;
        Ok(Fields { map, place: format!("{place}.") })
    }

    /// Returns the path of a field, as errors name it.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    /// Returns the names of all fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        #[cfg(test)]
        ASKED.with_borrow_mut(|asked| asked.insert(self.path(name)));
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn required(&self, name: &str) -> Result<&'a Value, ApiError> {
        self.get(name).ok_or_else(|| {
            let path = self.path(name);
            let message = format!("{path} is missing: add it");
            ApiError::new(ErrorCode::MissingField, message).about(path)
        })
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<Fields<'a>>, ApiError> {
        self.get(name).map(|value| Fields::at(&self.path(name), value)).transpose()
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, ApiError> {
        self.read(name, "a text", Value::as_str)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.read(name, "true or false", Value::as_bool)
    }

    pub(crate) fn list(&self, name: &str) -> Result<Option<&'a Vec<Value>>, ApiError> {
        self.read(name, "a list", Value::as_array)
    }

    /// Reads a whole number in a range.
    pub(crate) fn whole(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let must_be = format!("a whole number from {least} to {most}");
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            None if !value.is_number() => Err(wrong_type(&self.path(name), value, &must_be)),
            _ => Err(wrong_value(&self.path(name), value, &must_be)),
        }
    }

    /// Reads a number in a range.
    pub(crate) fn number(
        &self,
        name: &str,
        least: f64,
        most: f64,
    ) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let must_be = format!("a number from {least} to {most}");
        match value.as_f64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            None => Err(wrong_type(&self.path(name), value, &must_be)),
            _ => Err(wrong_value(&self.path(name), value, &must_be)),
        }
    }

    fn read<T>(
        &self,
        name: &str,
        must_be: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(wrong_type(&self.path(name), value, must_be)),
        }
    }
}

/// Returns the error of a value of the wrong type.
pub(crate) fn wrong_type(path: &str, value: &Value, must_be: &str) -> ApiError {
    wrong(ErrorCode::InvalidType, path, value, must_be)
}

/// Returns the error of an invalid value.
pub(crate) fn wrong_value(path: &str, value: &Value, must_be: &str) -> ApiError {
    wrong(ErrorCode::InvalidValue, path, value, must_be)
}

fn wrong(code: ErrorCode, path: &str, value: &Value, must_be: &str) -> ApiError {
    ApiError::new(code, format!("{path} is {}: it must be {must_be}", shown(value))).about(path)
}

/// Returns a value as an error shows it.
pub(crate) fn shown(value: &Value) -> String {
    let line = one_line(&value.to_string());
    match line.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
thread_local! {
    /// The paths of all fields that were read.
    static ASKED: std::cell::RefCell<std::collections::BTreeSet<String>> = const {
        std::cell::RefCell::new(std::collections::BTreeSet::new())
    };
}

/// Returns the paths of the fields that `read` reads.
#[cfg(test)]
pub(crate) fn asked_fields<T>(read: impl FnOnce() -> T) -> std::collections::BTreeSet<String> {
    ASKED.take();
    read();
    ASKED.take()
}
