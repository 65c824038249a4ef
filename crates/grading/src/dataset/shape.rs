//! Converts a line to a problem: finds the fields with the question, the answer and the id.
//!
//! | shape | question | answer | id |
//! | --- | --- | --- | --- |
//! | ours | `question` | `answer` | `id` |
//! | GSM8K | `question` | `answer`, after its last `####` | `idx` |
//! | MATH-500 | `problem` | `answer` | `unique_id` |
//! | AIME, AMC | `problem` or `question` | `answer`, else the box in `solution` | `id` |
//! | SVAMP | `Body` and `Question` | `Answer` | `ID` |
//!
//! Names are case-insensitive, because sets are published with `Problem` and with `problem`. What does not live here:
//! files, checks across lines, and JSON ([`super::fields`]).

use super::{
    LineFault, Problem,
    fields::{Field, Fields},
};
use crate::{answer::boxed, decimal::written_out};

/// Fields that hold an id, in order of preference.
const IDS: [&str; 3] = ["id", "unique_id", "idx"];
/// Fields that hold a whole question.
const QUESTIONS: [&str; 2] = ["question", "problem"];

const QUESTION_FIELDS: &str = "\"question\", \"problem\", \"Body\" with \"Question\"";
const ANSWER_FIELDS: &str = "\"answer\", \"Answer\"";

/// Returns the problem on a line.
pub(super) fn problem(text: &str, line: usize) -> Result<Problem, LineFault> {
    let fields = Fields::read(text)?;
    Ok(Problem { question: question(&fields)?, answer: answer(&fields)?, id: id(&fields, line)? })
}

fn question(fields: &Fields<'_>) -> Result<String, LineFault> {
    if let (Some(body), Some(question)) = (fields.get("body"), fields.get("question")) {
        return Ok(format!("{} {}", text(body)?, text(question)?));
    }
    match QUESTIONS.into_iter().find_map(|name| fields.get(name)) {
        Some(field) => text(field),
        None => Err(LineFault::NoQuestion { looked_for: QUESTION_FIELDS }),
    }
}

fn text(field: Field<'_>) -> Result<String, LineFault> {
    let text = field.text().unwrap_or_else(|| Err(field.wrong_type("a string")))?;
    not_empty(field, text)
}

fn answer(fields: &Fields<'_>) -> Result<String, LineFault> {
    let Some(field) = fields.get("answer") else {
        // A worked solution has the answer in its box.
        let solution = fields.get("solution").and_then(|field| field.text()).transpose()?;
        let answer = solution.as_deref().and_then(boxed);
        return answer.ok_or(LineFault::NoAnswer { looked_for: ANSWER_FIELDS });
    };
    let answer = text_or_number(field)?;
    let answer = match answer.rsplit_once("####") {
        Some((_, gold)) => gold.trim().replace(',', ""),
        None => answer,
    };
    not_empty(field, answer)
}

fn id(fields: &Fields<'_>, line: usize) -> Result<String, LineFault> {
    match IDS.into_iter().find_map(|name| fields.get(name)) {
        Some(field) => not_empty(field, text_or_number(field)?),
        None => Ok(line.to_string()),
    }
}

fn text_or_number(field: Field<'_>) -> Result<String, LineFault> {
    match (field.text(), field.number()) {
        (Some(text), _) => text,
        (None, Some(number)) => Ok(written_out(number)),
        (None, None) => Err(field.wrong_type("a string or a number")),
    }
}

fn not_empty(field: Field<'_>, text: String) -> Result<String, LineFault> {
    if text.is_empty() {
        Err(LineFault::EmptyField { field: field.name.to_owned() })
    } else {
        Ok(text)
    }
}
