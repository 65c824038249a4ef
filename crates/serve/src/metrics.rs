//! What the server counts, in Prometheus' text format. Numbers and names alone: nothing that anybody asked or answered.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>. Names that begin with `gen_ai` are those of
//! OpenTelemetry's conventions for servers of models.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use answer::{Summary, account::ModelTotals};

/// The upper ends of the buckets of times, in seconds.
const BUCKETS_S: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Counters, and what they count.
const COUNTERS: [(&str, &str); 8] = [
    ("specthink_http_requests_total", "Requests, by route and status."),
    ("specthink_errors_total", "Requests and answers that failed, by code."),
    ("specthink_answers_total", "Answers, by policy and why they ended."),
    ("specthink_tokens_total", "Tokens of answers, by writer."),
    ("specthink_discarded_tokens_total", "Tokens that were made and forgotten, by writer."),
    ("specthink_takeovers_total", "Stretches that the large model wrote, by reason."),
    ("specthink_abandoned_takeovers_total", "Takeovers that were given up."),
    ("specthink_degraded_answers_total", "Answers that were without the large model for a part."),
];

/// Histograms of times, and what they are about.
const TIMES: [(&str, &str); 4] = [
    ("gen_ai_server_request_duration_seconds", "From the question to the end of the answer."),
    ("gen_ai_server_time_to_first_token_seconds", "From the question to its first text."),
    (
        "gen_ai_server_time_per_output_token_seconds",
        "Time of an answer behind its first text, a token.",
    ),
    ("specthink_handoff_seconds", "From the ask for a takeover to its first text."),
];

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    /// By name and labels.
    counters: BTreeMap<(&'static str, String), u64>,
    times: BTreeMap<&'static str, TimeHistogram>,
}

#[derive(Debug, Default, Clone)]
struct TimeHistogram {
    /// Those up to the end of each bucket and beyond the one before.
    buckets: [u64; BUCKETS_S.len()],
    count: u64,
    sum_s: f64,
}

/// A number of the moment, with its name, its labels and what it is.
pub(crate) struct Reading {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    /// "gauge" or "counter".
    pub(crate) kind: &'static str,
    pub(crate) labels: String,
    pub(crate) value: u64,
}

impl Metrics {
    /// A request was answered with a status.
    pub(crate) fn request(&self, route: &str, status: u16) {
        let status = status.to_string();
        self.add(COUNTERS[0].0, labels(&[("route", route), ("status", &status)]), 1);
    }

    /// A request or an answer failed.
    pub(crate) fn error(&self, code: &str) {
        self.add(COUNTERS[1].0, labels(&[("code", code)]), 1);
    }

    /// An answer came to its end.
    pub(crate) fn answer(&self, policy: &str, end: &str, summary: &Summary) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.add(COUNTERS[2].0, labels(&[("policy", policy), ("end", end)]), 1);
        let mut tokens = |writer, totals: &ModelTotals| {
            counted.add(COUNTERS[3].0, labels(&[("writer", writer)]), totals.tokens);
            counted.add(COUNTERS[4].0, labels(&[("writer", writer)]), totals.discarded_tokens);
        };
        tokens("small", &summary.small);
        tokens("large", &summary.large);
        for (why, count) in summary.takeovers_by_reason() {
            counted.add(COUNTERS[5].0, labels(&[("why", &why.to_string())]), count.into());
        }
        counted.add(COUNTERS[6].0, String::new(), summary.abandoned.into());
        counted.add(COUNTERS[7].0, String::new(), summary.degraded.is_some().into());
        let total = Duration::from_micros(summary.time.total_us);
        counted.time(TIMES[0].0, total);
        if let Some(first) = summary.time.first_text_us.map(Duration::from_micros) {
            counted.time(TIMES[1].0, first);
            let behind = summary.tokens().saturating_sub(1);
            if let Ok(behind @ 1..) = u32::try_from(behind) {
                counted.time(TIMES[2].0, total.saturating_sub(first) / behind);
            }
        }
        for handoff_us in summary.takeovers.iter().filter_map(|it| it.handoff_us) {
            counted.time(TIMES[3].0, Duration::from_micros(handoff_us));
        }
    }

    fn add(&self, name: &'static str, labels: String, count: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(name, labels, count);
    }

    /// Everything as text, with these readings behind it.
    pub(crate) fn text(&self, readings: &[Reading]) -> String {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, help) in COUNTERS {
            head(&mut text, name, help, "counter");
            let of_it = counted.counters.iter().filter(|((found, _), _)| *found == name);
            for ((_, labels), count) in of_it {
                line(&mut text, name, labels, count);
            }
        }
        for (name, help) in TIMES {
            head(&mut text, name, help, "histogram");
            let times = counted.times.get(name).cloned().unwrap_or_default();
            let mut up_to = 0;
            for (bucket, end) in times.buckets.iter().zip(BUCKETS_S) {
                up_to += bucket;
                line(&mut text, &format!("{name}_bucket"), &format!("{{le=\"{end}\"}}"), &up_to);
            }
            line(&mut text, &format!("{name}_bucket"), "{le=\"+Inf\"}", &times.count);
            line(&mut text, &format!("{name}_sum"), "", &times.sum_s);
            line(&mut text, &format!("{name}_count"), "", &times.count);
        }
        let mut last = "";
        for Reading { name, help, kind, labels, value } in readings {
            if *name != last {
                head(&mut text, name, help, kind);
            }
            line(&mut text, name, labels, value);
            last = name;
        }
        text
    }
}

impl Counted {
    fn add(&mut self, name: &'static str, labels: String, count: u64) {
        *self.counters.entry((name, labels)).or_insert(0) += count;
    }

    fn time(&mut self, name: &'static str, time: Duration) {
        let histogram = self.times.entry(name).or_default();
        let seconds = time.as_secs_f64();
        let ends = BUCKETS_S.iter().position(|end| seconds <= *end);
        if let Some(bucket) = ends.and_then(|at| histogram.buckets.get_mut(at)) {
            *bucket += 1;
        }
        histogram.count += 1;
        histogram.sum_s += seconds;
    }
}

/// Labels as a line has them.
pub(crate) fn labels(labels: &[(&str, &str)]) -> String {
    let label = |(name, value): &(&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    format!("{{{}}}", labels.iter().map(label).collect::<Vec<_>>().join(","))
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: &dyn std::fmt::Display) {
    let _ = writeln!(text, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use answer::account::TimeSplit;

    use super::*;

    #[test]
    fn what_is_counted_is_prometheus_text() {
        let metrics = Metrics::default();
        metrics.request("/v1/models", 200);
        metrics.error("queue_full");
        let time =
            TimeSplit { total_us: 2_100_000, first_text_us: Some(100_000), ..TimeSplit::default() };
        let small = ModelTotals { tokens: 21, ..ModelTotals::default() };
        metrics.answer("strict", "stop", &Summary { time, small, ..Summary::default() });
        let reading = Reading {
            name: "specthink_link_bytes_total",
            help: "Bytes.",
            kind: "counter",
            labels: labels(&[("node", "a \"b\"\n\\")]),
            value: 7,
        };
        let text = metrics.text(&[reading]);
        for expected in [
            "specthink_http_requests_total{route=\"/v1/models\",status=\"200\"} 1\n",
            "specthink_errors_total{code=\"queue_full\"} 1\n",
            "specthink_answers_total{policy=\"strict\",end=\"stop\"} 1\n",
            "specthink_tokens_total{writer=\"small\"} 21\n",
            "specthink_abandoned_takeovers_total 0\n",
            "# TYPE gen_ai_server_time_to_first_token_seconds histogram\n",
            "gen_ai_server_time_to_first_token_seconds_bucket{le=\"0.05\"} 0\n",
            "gen_ai_server_time_to_first_token_seconds_bucket{le=\"0.1\"} 1\n",
            "gen_ai_server_time_to_first_token_seconds_bucket{le=\"+Inf\"} 1\n",
            "gen_ai_server_time_per_output_token_seconds_sum 0.1\n",
            "gen_ai_server_request_duration_seconds_count 1\n",
            "specthink_link_bytes_total{node=\"a \\\"b\\\"\\n\\\\\"} 7\n",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        let names = text.lines().filter(|line| line.starts_with("# TYPE")).count();
        assert_eq!(names, COUNTERS.len() + TIMES.len() + 1);
    }
}
