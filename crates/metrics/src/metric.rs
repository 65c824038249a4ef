//! The definition of a metric, and the format of its lines.

use std::fmt::{Display, Write as _};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The upper bounds of the buckets for times, in seconds.
pub const TIME_BOUNDS_S: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 60.0, 600.0,
];

/// A named number, or several that differ in their labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// The name, with its unit; a counter's name ends with `_total`.
    pub name: &'static str,
    /// A description, in one line.
    pub help: &'static str,
    /// How the value changes.
    pub kind: MetricKind,
}

/// How a metric's value changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// It only increases.
    Counter,
    /// It is a current value.
    Gauge,
    /// Values are counted in buckets with these upper bounds, plus one bucket beyond the last bound.
    Histogram(&'static [f64]),
}

impl Metric {
    /// Defines a counter, which only increases.
    pub const fn counter(name: &'static str, help: &'static str) -> Metric {
        Metric { name, help, kind: MetricKind::Counter }
    }

    /// Defines a gauge, which has a current value.
    pub const fn gauge(name: &'static str, help: &'static str) -> Metric {
        Metric { name, help, kind: MetricKind::Gauge }
    }

    /// Defines a histogram of times in seconds.
    pub const fn times(name: &'static str, help: &'static str) -> Metric {
        Metric { name, help, kind: MetricKind::Histogram(TIME_BOUNDS_S) }
    }
}

/// The current value of a metric that is read elsewhere and not counted by a [`MetricSet`](crate::MetricSet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    labels: String,
    value: u64,
}

impl Reading {
    /// Creates a reading of a counter or a gauge with these labels.
    pub fn new(metric: &Metric, labels: &[(&str, &str)], value: u64) -> Reading {
        let Metric { name, help, kind } = *metric;
        Reading { name, help, kind: kind.name(), labels: label_set(labels), value }
    }
}

/// Appends readings to a text. The readings of one metric must be adjacent.
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

/// Formats labels; the result is empty if there are none.
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
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

pub(crate) fn write_sample(text: &mut String, name: &str, labels: &str, value: &dyn Display) {
    let _ = writeln!(text, "{name}{labels} {value}");
}
