//! A figure's numbers. Its picture, its CSV file and its HTML table are all made from this table, so that a number
//! cannot differ between them.

use crate::stats::Estimate;

/// Digits of a displayed number: more than an interval of tens of questions is worth.
const DIGITS: i32 = 5;

/// One cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A name or word.
    Text(String),
    /// A number; if it is not finite, it is shown as absent.
    Number(f64),
    /// Nothing is known.
    Absent,
}

impl Value {
    /// Returns its form in CSV and HTML.
    pub(crate) fn shown(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Number(number) => shown(*number),
            Value::Absent => String::new(),
        }
    }
}

/// Formats a number with a few digits and no trailing zeros.
pub(crate) fn shown(number: f64) -> String {
    if !number.is_finite() {
        return String::new();
    }
    if number != 0.0 && number.abs() < 1e-6 {
        return format!("{number:.2e}");
    }
    // The logarithm of an f64 is below 400.
    let before = if number == 0.0 { 1 } else { number.abs().log10().floor() as i32 + 1 };
    let decimals = usize::try_from(DIGITS - before).unwrap_or(0);
    let text = format!("{number:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(number as f64)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Value::Number(number as f64)
    }
}

impl From<Option<f64>> for Value {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Value::Absent, Value::Number)
    }
}

/// Returns a value and the two ends of its interval, for three columns.
pub(crate) fn estimated(estimate: Option<Estimate>) -> [Value; 3] {
    let interval = estimate.and_then(|estimate| estimate.interval);
    [
        estimate.map(|estimate| estimate.value).into(),
        interval.map(|(low, _)| low).into(),
        interval.map(|(_, high)| high).into(),
    ]
}

/// Rows under named columns; the names include the units.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    pub(crate) fn new(columns: &[&'static str]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Appends a row, given in parts.
    pub(crate) fn push<const N: usize>(&mut self, parts: [Vec<Value>; N]) {
        let row = parts.concat();
        debug_assert_eq!(row.len(), self.columns.len(), "{row:?}");
        self.rows.push(row);
    }

    pub(crate) fn columns(&self) -> &[&'static str] {
        &self.columns
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { columns: &self.columns, values })
    }

    /// Returns a CSV file (RFC 4180): a line of names, a line for each row.
    pub(crate) fn csv(&self) -> String {
        let names = self.columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let rows = self.rows.iter().map(|row| row.iter().map(Value::shown).collect());
        let lines = std::iter::once(names).chain(rows).map(|fields: Vec<String>| {
            fields.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",") + "\n"
        });
        lines.collect()
    }
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// One row of a table.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    columns: &'a [&'static str],
    values: &'a [Value],
}

impl<'a> Row<'a> {
    pub(crate) fn values(self) -> &'a [Value] {
        self.values
    }

    fn get(self, column: &str) -> Option<&'a Value> {
        let at = self.columns.iter().position(|name| *name == column)?;
        self.values.get(at)
    }

    pub(crate) fn number(self, column: &str) -> Option<f64> {
        match self.get(column) {
            Some(Value::Number(number)) if number.is_finite() => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn text(self, column: &str) -> &'a str {
        match self.get(column) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits_and_no_zeros_behind() {
        let table = [
            (0.0, "0"),
            (12.0, "12"),
            (0.875, "0.875"),
            (1234.5678, "1234.6"),
            (123_456_789.0, "123456789"),
            (0.000_123_456_7, "0.00012346"),
            (1e-9, "1.00e-9"),
            (-2.5, "-2.5"),
            (f64::NAN, ""),
        ];
        for (number, text) in table {
            assert_eq!(shown(number), text);
        }
    }

    #[test]
    fn csv_quotes_what_would_break_it() {
        let mut table = Table::new(&["policy", "accuracy"]);
        table.push([vec!["a,\"b\"".into()], vec![0.5.into()]]);
        table.push([vec!["=c".into()], vec![Value::Absent]]);
        assert_eq!(table.csv(), "policy,accuracy\n\"a,\"\"b\"\"\",0.5\n=c,\n");
    }
}
