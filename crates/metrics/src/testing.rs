//! A strict reader of Prometheus' text format, for tests: every collector accepts what it accepts.

use std::collections::{BTreeMap, BTreeSet};

/// A parsed text in Prometheus' format.
#[derive(Debug, Default)]
pub struct Exposition {
    /// The metrics in the order of the text, each with its kind.
    metrics: Vec<(String, String)>,
    samples: BTreeMap<SampleKey, f64>,
}

/// A sample's name and its labels in alphabetical order.
type SampleKey = (String, BTreeMap<String, String>);

impl Exposition {
    /// Reads a text. Each metric has one `HELP`, one `TYPE` and then its samples; no sample occurs twice; counters end
    /// with `_total`; the buckets of a histogram rise to its count.
    ///
    /// # Errors
    /// What is wrong with the first invalid line.
    pub fn read(text: &str) -> Result<Exposition, String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line has no line break".to_owned());
        }
        let mut read = Exposition::default();
        let mut helped: Option<&str> = None;
        for line in text.lines() {
            let at = |why: &str| format!("{why}: {line}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, _) = rest.split_once(' ').ok_or_else(|| at("no help"))?;
                let is_known = read.metrics.iter().any(|(known, _)| known == name);
                if helped.is_some() || is_known || !is_name(name, true) {
                    return Err(at("a second head, or no name"));
                }
                helped = Some(name);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| at("no type"))?;
                if helped.take() != Some(name) || !["counter", "gauge", "histogram"].contains(&kind)
                {
                    return Err(at("a type without its help, or an unknown type"));
                }
                if (kind == "counter") != name.ends_with("_total") {
                    return Err(at("counters end with _total, and nothing else does"));
                }
                read.metrics.push((name.to_owned(), kind.to_owned()));
            } else {
                let (key, value) = sample(line).ok_or_else(|| at("no sample"))?;
                let last = read.metrics.last().filter(|(name, kind)| belongs(&key.0, name, kind));
                if helped.is_some() || last.is_none() {
                    return Err(at("a sample that is not below its own head"));
                }
                if read.samples.insert(key, value).is_some() {
                    return Err(at("a repeated sample"));
                }
            }
        }
        read.check_histograms()?;
        Ok(read)
    }

    /// Returns the names of the metrics, in the order of the text.
    pub fn names(&self) -> Vec<&str> {
        self.metrics.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Returns a sample's value, or `None` if it is missing.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.samples.get(&(name.to_owned(), labels.collect())).copied()
    }

    /// Returns the sum of all values of a name, whatever their labels.
    pub fn sum(&self, name: &str) -> f64 {
        self.samples.iter().filter(|((of, _), _)| of == name).map(|(_, value)| value).sum()
    }

    fn check_histograms(&self) -> Result<(), String> {
        for (name, _) in self.metrics.iter().filter(|(_, kind)| kind == "histogram") {
            let bucket = format!("{name}_bucket");
            let of = |end: &str| -> BTreeSet<BTreeMap<String, String>> {
                let keys = self.samples.keys().filter(|(of, _)| *of == format!("{name}{end}"));
                keys.map(|(_, labels)| without_le(labels)).collect()
            };
            let series = of("_bucket");
            if series != of("_count") || series != of("_sum") {
                return Err(format!("{name} has buckets without a sum and a count"));
            }
            for labels in series {
                let mut buckets: Vec<(f64, f64)> = Vec::new();
                for ((of, of_labels), value) in &self.samples {
                    if *of == bucket && without_le(of_labels) == labels {
                        let bound = of_labels.get("le").and_then(|bound| number(bound));
                        buckets.push((
                            bound.ok_or(format!("{name} has a bucket without le"))?,
                            *value,
                        ));
                    }
                }
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                let count = self.samples.get(&(format!("{name}_count"), labels));
                let rises = buckets.windows(2).all(|pair| matches!(pair, [a, b] if a.1 <= b.1));
                let last = buckets.last().filter(|(bound, _)| bound.is_infinite());
                if !rises || last.map(|(_, value)| value) != count {
                    return Err(format!("the buckets of {name} do not rise to its count"));
                }
            }
        }
        Ok(())
    }
}

fn without_le(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels.iter().filter(|(name, _)| *name != "le").map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// Returns whether a sample with this name belongs to a metric.
fn belongs(sample: &str, metric: &str, kind: &str) -> bool {
    match sample.strip_prefix(metric) {
        Some("") => kind != "histogram",
        Some("_bucket" | "_sum" | "_count") => kind == "histogram",
        _ => false,
    }
}

/// Parses a line `name{label="value",...} number`.
fn sample(line: &str) -> Option<(SampleKey, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"")?;
            let (value, behind) = quoted(value)?;
            if !is_name(label, false) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match behind.strip_prefix(',') {
                Some(next) => rest = next,
                None => break rest = behind.strip_prefix('}')?,
            }
        }
    }
    let value = number(rest.strip_prefix(' ')?)?;
    is_name(name, true).then(|| ((name.to_owned(), labels), value))
}

/// Returns a value up to its quotation mark, and the text after that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, text.get(at + 1..)?)),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            (_, c) => value.push(c),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    if text == "+Inf" {
        return Some(f64::INFINITY);
    }
    let is_plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.parse().ok().filter(|_| is_plain)
}

/// Returns whether a text is a valid name of a metric, or of a label, which has no colon.
fn is_name(text: &str, is_metric: bool) -> bool {
    let is_begin = |c: char| c.is_ascii_alphabetic() || c == '_' || (is_metric && c == ':');
    text.starts_with(is_begin) && text.chars().all(|c| is_begin(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::Exposition;

    #[test]
    fn what_a_collector_would_refuse_is_refused() {
        let head = "# HELP a_total x\n# TYPE a_total counter\n";
        assert!(Exposition::read(&format!("{head}a_total{{b=\"c\"}} 1\n")).is_ok());
        for (wrong, why) in [
            ("a_total 1", "a last line without an end"),
            ("a_total{b=\"c\" 1\n", "an open label"),
            ("a_total{b=\"c\\d\"} 1\n", "an escape that there is not"),
            ("a_total{2=\"c\"} 1\n", "a label that is no name"),
            ("a_total one\n", "no number"),
            ("a_total 1\na_total 1\n", "the same twice"),
            ("b_total 1\n", "another one's sample"),
            ("# HELP a_total x\n", "a second head"),
            ("# HELP b x\n# TYPE b counter\n", "a counter without _total"),
            (
                "# HELP b x\n# TYPE b histogram\nb_bucket{le=\"+Inf\"} 1\nb_sum 1\nb_count 2\n",
                "another count",
            ),
            (
                "# HELP b x\n# TYPE b histogram\nb_bucket{le=\"1\"} 1\nb_sum 1\nb_count 1\n",
                "no last bucket",
            ),
        ] {
            assert!(Exposition::read(&format!("{head}{wrong}")).is_err(), "{why}");
        }
    }
}
