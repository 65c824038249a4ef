//! Metrics that are counted as things happen.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::metric::{Metric, MetricKind, label_set, write_head, write_sample};

/// Counters and histograms, by name and labels.
#[derive(Debug)]
pub struct MetricSet {
    metrics: Vec<&'static Metric>,
    counted: Mutex<BTreeMap<(&'static str, String), Counted>>,
}

#[derive(Debug)]
enum Counted {
    Count(u64),
    Values(Histogram),
}

#[derive(Debug)]
struct Histogram {
    bounds: &'static [f64],
    /// How many values each bucket has: values up to its bound and above the previous one.
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
}

impl MetricSet {
    /// Creates a set with its metrics in the order of the text. Nothing is counted yet.
    pub fn new(metrics: &[&'static Metric]) -> MetricSet {
        MetricSet { metrics: metrics.to_vec(), counted: Mutex::default() }
    }

    /// Shows a counter or a histogram with these labels from the start, with a count of zero.
    pub fn declare(&self, metric: &Metric, labels: &[(&str, &str)]) {
        self.with(metric, labels, |_| {});
    }

    /// Adds to a counter.
    pub fn add(&self, metric: &Metric, labels: &[(&str, &str)], more: u64) {
        self.with(metric, labels, |counted| {
            if let Counted::Count(count) = counted {
                *count += more;
            }
        });
    }

    /// Counts a value in a histogram.
    pub fn observe(&self, metric: &Metric, labels: &[(&str, &str)], value: f64) {
        self.with(metric, labels, |counted| {
            if let Counted::Values(histogram) = counted {
                histogram.count(value);
            }
        });
    }

    /// Counts a duration in a histogram of seconds.
    pub fn observe_time(&self, metric: &Metric, labels: &[(&str, &str)], time: Duration) {
        self.observe(metric, labels, time.as_secs_f64());
    }

    /// Returns all metrics as text.
    pub fn text(&self) -> String {
        let counted = self.counted();
        let mut text = String::new();
        for metric in &self.metrics {
            write_head(&mut text, metric.name, metric.help, metric.kind.name());
            let of_it = counted.iter().filter(|((name, _), _)| *name == metric.name);
            for ((name, labels), counted) in of_it {
                match counted {
                    Counted::Count(count) => write_sample(&mut text, name, labels, count),
                    Counted::Values(histogram) => histogram.write(&mut text, name, labels),
                }
            }
        }
        text
    }

    fn with(&self, metric: &Metric, labels: &[(&str, &str)], change: impl FnOnce(&mut Counted)) {
        let mut counted = self.counted();
        let new = || match metric.kind {
            MetricKind::Histogram(bounds) => Counted::Values(Histogram::new(bounds)),
            MetricKind::Counter | MetricKind::Gauge => Counted::Count(0),
        };
        change(counted.entry((metric.name, label_set(labels))).or_insert_with(new));
    }

    fn counted(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), Counted>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, buckets: vec![0; bounds.len()], count: 0, sum: 0.0 }
    }

    fn count(&mut self, value: f64) {
        let ends = self.bounds.iter().position(|bound| value <= *bound);
        if let Some(bucket) = ends.and_then(|at| self.buckets.get_mut(at)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += value;
    }

    fn write(&self, text: &mut String, name: &str, labels: &str) {
        let bucket = format!("{name}_bucket");
        let up_to = |bound: &str| match labels.strip_suffix('}') {
            Some(labels) => format!("{labels},le=\"{bound}\"}}"),
            None => format!("{{le=\"{bound}\"}}"),
        };
        let mut count = 0;
        for (bound, more) in self.bounds.iter().zip(&self.buckets) {
            count += more;
            write_sample(text, &bucket, &up_to(&bound.to_string()), &count);
        }
        write_sample(text, &bucket, &up_to("+Inf"), &self.count);
        write_sample(text, &format!("{name}_sum"), labels, &self.sum);
        write_sample(text, &format!("{name}_count"), labels, &self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reading, testing::Exposition, write_readings};

    static ASKED: Metric = Metric::counter("asked_total", "What was asked.");
    static TIMES: Metric = Metric::times("time_seconds", "How long it took.");
    static OPEN: Metric = Metric::gauge("open", "What is open.");

    #[test]
    fn what_is_counted_is_text_that_a_strict_reader_takes() {
        let set = MetricSet::new(&[&ASKED, &TIMES]);
        let odd = "a \"b\"\n\\,}";
        set.add(&ASKED, &[("by", odd)], 2);
        set.add(&ASKED, &[("by", odd)], 3);
        set.add(&ASKED, &[], 1);
        set.declare(&TIMES, &[("work", "decode")]);
        for millis in [50, 100, 700_000] {
            set.observe_time(&TIMES, &[("work", "prefill")], Duration::from_millis(millis));
        }
        let mut text = set.text();
        let readings = ["x", "y"].map(|by| Reading::new(&OPEN, &[("by", by)], 7));
        write_readings(&mut text, &readings);
        let read = Exposition::read(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
        assert_eq!(read.names(), ["asked_total", "time_seconds", "open"]);
        assert_eq!(read.value("asked_total", &[("by", odd)]), Some(5.0));
        assert_eq!(read.value("asked_total", &[]), Some(1.0));
        assert_eq!(read.value("open", &[("by", "y")]), Some(7.0));
        let bucket =
            |le: &str| read.value("time_seconds_bucket", &[("le", le), ("work", "prefill")]);
        assert_eq!(
            (bucket("0.025"), bucket("0.05"), bucket("0.1")),
            (Some(0.0), Some(1.0), Some(2.0))
        );
        assert_eq!((bucket("600"), bucket("+Inf")), (Some(2.0), Some(3.0)));
        assert_eq!(read.value("time_seconds_sum", &[("work", "prefill")]), Some(700.15));
        assert_eq!(read.value("time_seconds_count", &[("work", "decode")]), Some(0.0));
    }
}
