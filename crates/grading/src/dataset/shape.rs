//! From one line to a problem: which fields hold the question, the answer and the id.
//!
//! | shape | question | answer | id |
//! | --- | --- | --- | --- |
//! | ours | `question` | `answer` | `id` |
//! | GSM8K | `question` | `answer`, behind its last `####` | `idx` |
//! | MATH-500 | `problem` | `answer` | `unique_id` |
//! | AIME, AMC | `problem` or `question` | `answer` | `id` |
//! | SVAMP | `Body` and `Question` | `Answer` | `ID` |
//!
//! What does not live here: files and what lines have in common.

use serde_json::{Map, Number, Value};

use super::{LineFault, Problem};

/// Fields that hold an id, the first one first.
const IDS: [&str; 4] = ["id", "ID", "unique_id", "idx"];
/// Fields that hold an answer.
const ANSWERS: [&str; 2] = ["answer", "Answer"];
/// Fields that hold a whole question.
const QUESTIONS: [&str; 2] = ["question", "problem"];

const QUESTION_FIELDS: &str = "\"question\", \"problem\", \"Body\" with \"Question\"";
const ANSWER_FIELDS: &str = "\"answer\", \"Answer\"";

/// The problem on a line.
pub(super) fn problem(text: &str, line: usize) -> Result<Problem, LineFault> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        // The parser counts lines within this one: only the column says anything.
        let why = error.to_string();
        let why = why.split(" at line ").next().unwrap_or("").to_owned();
        LineFault::NotJson { why: format!("{why}, column {}", error.column()) }
    })?;
    let Value::Object(fields) = value else {
        return Err(LineFault::NotObject { found: type_name(&value) });
    };
    Ok(Problem { question: question(&fields)?, answer: answer(&fields)?, id: id(&fields, line)? })
}

fn question(fields: &Map<String, Value>) -> Result<String, LineFault> {
    if fields.contains_key("Body") && fields.contains_key("Question") {
        let (body, question) = (text(fields, "Body")?, text(fields, "Question")?);
        return Ok(format!("{body} {question}"));
    }
    match QUESTIONS.into_iter().find(|name| fields.contains_key(*name)) {
        Some(name) => text(fields, name),
        None => Err(LineFault::NoQuestion { looked_for: QUESTION_FIELDS }),
    }
}

fn text(fields: &Map<String, Value>, field: &'static str) -> Result<String, LineFault> {
    match fields.get(field) {
        Some(Value::String(text)) if text.trim().is_empty() => Err(LineFault::EmptyField { field }),
        Some(Value::String(text)) => Ok(text.trim().to_owned()),
        other => {
            let found = other.map_or("missing", type_name);
            Err(LineFault::WrongType { field, found, must_be: "a text" })
        }
    }
}

fn answer(fields: &Map<String, Value>) -> Result<String, LineFault> {
    let Some((field, value)) = ANSWERS.into_iter().find_map(|name| Some((name, fields.get(name)?)))
    else {
        return Err(LineFault::NoAnswer { looked_for: ANSWER_FIELDS });
    };
    let answer = match value {
        Value::Number(number) => plain_number(number),
        Value::String(text) => match text.rsplit_once("####") {
            Some((_, gold)) => gold.trim().replace(',', ""),
            None => text.trim().to_owned(),
        },
        other => {
            let found = type_name(other);
            return Err(LineFault::WrongType { field, found, must_be: "a text or a number" });
        }
    };
    if answer.is_empty() { Err(LineFault::EmptyField { field }) } else { Ok(answer) }
}

fn id(fields: &Map<String, Value>, line: usize) -> Result<String, LineFault> {
    let Some((field, value)) = IDS.into_iter().find_map(|name| Some((name, fields.get(name)?)))
    else {
        return Ok(line.to_string());
    };
    match value {
        Value::Number(number) => Ok(plain_number(number)),
        Value::String(text) if text.trim().is_empty() => Err(LineFault::EmptyField { field }),
        Value::String(text) => Ok(text.trim().to_owned()),
        other => {
            let found = type_name(other);
            Err(LineFault::WrongType { field, found, must_be: "a text or a number" })
        }
    }
}

/// A number without a point that says nothing: 27.0 is 27.
fn plain_number(number: &Number) -> String {
    let text = number.to_string();
    match text.strip_suffix(".0") {
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
