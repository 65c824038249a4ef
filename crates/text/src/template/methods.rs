//! Methods of Python's strings, lists and dictionaries that templates call and minijinja's own callback lacks.

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{ValueKind, from_args},
};
use minijinja_contrib::pycompat::unknown_method_callback;

/// On which side of a text the padding goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Left,
    Right,
    Both,
}

/// Calls a method: one of those here, else one of minijinja's.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let found = match (value.as_str(), value.kind()) {
        (Some(text), _) => of_text(text, method, args)?,
        (None, ValueKind::Seq) => of_list(value, method, args)?,
        (None, ValueKind::Map) if method == "copy" => Some(value.clone()),
        _ => None,
    };
    match found {
        Some(result) => Ok(result),
        None => unknown_method_callback(state, value, method, args),
    }
}

fn of_text(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "removeprefix" => text.strip_prefix(argument(args)?).unwrap_or(text).into(),
        "removesuffix" => text.strip_suffix(argument(args)?).unwrap_or(text).into(),
        "partition" => {
            let separator = argument(args)?;
            match text.split_once(separator) {
                Some((before, after)) => texts([before, separator, after]),
                None => texts([text, "", ""]),
            }
        }
        "rpartition" => {
            let separator = argument(args)?;
            match text.rsplit_once(separator) {
                Some((before, after)) => texts([before, separator, after]),
                None => texts(["", "", text]),
            }
        }
        "rsplit" => rsplit(text, args)?,
        "index" => place(text, text.find(argument(args)?))?,
        "rindex" => place(text, text.rfind(argument(args)?))?,
        "casefold" => text.to_lowercase().into(),
        "swapcase" => {
            let swapped = text.chars().flat_map(|c| -> Vec<char> {
                if c.is_uppercase() {
                    c.to_lowercase().collect()
                } else {
                    c.to_uppercase().collect()
                }
            });
            swapped.collect::<String>().into()
        }
        "isdecimal" => (!text.is_empty() && text.chars().all(char::is_numeric)).into(),
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) => text.split_at(text.len() - digits.len()),
                None => ("", text),
            };
            let width = width.saturating_sub(sign.len());
            format!("{sign}{}", padded(digits, width, '0', Side::Left)).into()
        }
        "center" | "ljust" | "rjust" => {
            let (width, fill): (usize, Option<char>) = from_args(args)?;
            let side = match method {
                "center" => Side::Both,
                "ljust" => Side::Right,
                _ => Side::Left,
            };
            padded(text, width, fill.unwrap_or(' '), side).into()
        }
        _ => return Ok(None),
    }))
}

fn of_list(list: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "copy" => list.clone(),
        "index" => {
            let (wanted,): (&Value,) = from_args(args)?;
            let found = list.try_iter()?.position(|item| item == *wanted);
            found.map(Value::from).ok_or_else(|| not_found("the list"))?
        }
        _ => return Ok(None),
    }))
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    texts.into_iter().map(Value::from).collect()
}

/// Returns the only argument, a string.
fn argument(args: &[Value]) -> Result<&str, Error> {
    let (text,): (&str,) = from_args(args)?;
    Ok(text)
}

/// Returns a place in characters.
fn place(text: &str, at: Option<usize>) -> Result<Value, Error> {
    let at = at.ok_or_else(|| not_found("the text"))?;
    Ok(text[..at].chars().count().into())
}

fn not_found(within: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{within} does not contain the value"))
}

/// Splits a text from the right, with at most this many cuts.
fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, cuts): (Option<&str>, Option<i64>) = from_args(args)?;
    let parts =
        usize::try_from(cuts.unwrap_or(-1)).map_or(usize::MAX, |cuts| cuts.saturating_add(1));
    let mut found: Vec<&str> = match separator {
        Some(separator) => text.rsplitn(parts, separator).collect(),
        None => {
            text.trim().rsplitn(parts, char::is_whitespace).filter(|it| !it.is_empty()).collect()
        }
    };
    found.reverse();
    Ok(texts(found))
}

/// Returns a text padded to at least this many characters.
pub(super) fn padded(text: &str, width: usize, fill: char, side: Side) -> String {
    /// No prompt needs more.
    const WIDEST: usize = 1 << 16;
    let missing = width.min(WIDEST).saturating_sub(text.chars().count());
    let (left, right) = match side {
        Side::Left => (missing, 0),
        Side::Right => (0, missing),
        Side::Both => (missing / 2, missing - missing / 2),
    };
    let fill = |count: usize| fill.to_string().repeat(count);
    format!("{}{text}{}", fill(left), fill(right))
}
