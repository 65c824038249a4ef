//! Counters, gauges and histograms, and the only writer of Prometheus' text format.
//!
//! This crate defines no metrics of its own and has no network code: its users define their [`Metric`]s and serve the
//! text.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
//!
//! # Example
//!
//! A counter, which a [`MetricSet`] counts, and a gauge, whose value is read elsewhere:
//!
//! ```
//! use metrics::{Metric, MetricSet, Reading, write_readings};
//!
//! static PAGES: Metric = Metric::counter("pages_total", "Pages sent, by format.");
//! static SENDING: Metric = Metric::gauge("pages_sending", "Pages that are being sent.");
//!
//! // A metric that is not registered here is not in the text.
//! let set = MetricSet::new(&[&PAGES]);
//! set.add(&PAGES, &[("format", "html")], 2);
//! let mut text = set.text();
//! write_readings(&mut text, &[Reading::new(&SENDING, &[], 1)]);
//!
//! let lines: Vec<&str> = text.lines().collect();
//! assert_eq!(
//!     lines,
//!     [
//!         "# HELP pages_total Pages sent, by format.",
//!         "# TYPE pages_total counter",
//!         "pages_total{format=\"html\"} 2",
//!         "# HELP pages_sending Pages that are being sent.",
//!         "# TYPE pages_sending gauge",
//!         "pages_sending 1",
//!     ]
//! );
//! ```

mod metric;
mod metric_set;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use metric::{CONTENT_TYPE, Metric, MetricKind, Reading, TIME_BOUNDS_S, write_readings};
pub use metric_set::MetricSet;
