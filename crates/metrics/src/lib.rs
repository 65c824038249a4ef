//! Counters, gauges and histograms, and their text in Prometheus' format: the one writer of it.
//!
//! Here live no metric of any program and no network: whoever counts defines its [`Metric`]s and serves the text.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

mod metric;
mod metric_set;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use metric::{CONTENT_TYPE, Metric, MetricKind, Reading, TIME_BOUNDS_S, write_readings};
pub use metric_set::MetricSet;
