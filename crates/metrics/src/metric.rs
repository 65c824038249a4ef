//! What a metric is, and how its lines are written.

use std::fmt::{Display, Write as _};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The upper ends of the buckets of times, in seconds.
pub const TIME_BOUNDS_S: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 60.0, 600.0,
];

/// A number with a name; with labels, several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name, with its unit; that of a counter ends with `_total`.
    pub name: &'static str,
    /// What it is, in one line.
    pub help: &'static str,
    /// How its value moves.
    pub kind: MetricKind,
}

/// How a metric's value moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It is the value of the moment.
    Gauge,
    /// Values are counted in buckets, each up to one of these bounds, and beyond the last one.
    Histogram(&'static [f64]),
}

impl Metric {
    /// A number that only grows.
    pub const fn counter(name: &'static str, help: &'static str) -> Metric {
        Metric { name, help, kind: MetricKind::Counter }
    }

    /// A number of the moment.
    pub const fn gauge(name: &'static str, help: &'static str) -> Metric {
        Metric { name, help, kind: MetricKind::Gauge }
    }

    /// Times in seconds, counted in buckets.
    pub const fn times(name: &'static str, help: &'static str) -> Metric {
        Metric { name, help, kind: MetricKind::Histogram(TIME_BOUNDS_S) }
    }
}

/// A number as it is now, of a metric that is read and not counted by a [`MetricSet`](crate::MetricSet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    labels: String,
    value: u64,
}

impl Reading {
    /// The value of a counter or a gauge, with these labels.
    pub fn new(metric: &Metric, labels: &[(&str, &str)], value: u64) -> Reading {
        let Metric { name, help, kind } = *metric;
        Reading { name, help, kind: kind.name(), labels: label_set(labels), value }
    }
}

/// Writes readings at the end of a text. Those of one metric follow each other.
pub fn write_readings(text: &mut String, readings: &[Reading]) {
    let mut last = "";
    for Reading { name, help, kind, labels, value } in readings {
        if *name != last {
            write_head(text, name, help, kind);
        }
        write_sample(text, name, labels, value);
        last = name;
    }
}

impl MetricKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram(_) => "histogram",
        }
    }
}

/// Labels as a line has them; none are nothing.
pub(crate) fn label_set(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let label = |(name, value): &(&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    format!("{{{}}}", labels.iter().map(label).collect::<Vec<_>>().join(","))
}

pub(crate) fn write_head(text: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

pub(crate) fn write_sample(text: &mut String, name: &str, labels: &str, value: &dyn Display) {
    let _ = writeln!(text, "{name}{labels} {value}");
}
