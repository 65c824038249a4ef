//! One trace over all programs: the context of a span as it goes over gRPC and HTTP, and the export of spans by OTLP.
//!
//! Spans are tracing's; which of them are exported is said here. Those of the target [`TARGET`] are for traces alone;
//! those that say whose lines the log's are, of the level of errors, are in both. Nothing else is exported, no event
//! either, so that no text of a question or an answer is. Without the feature `otel` nothing is, and no context is
//! read or written.
//!
//! Sources: <https://www.w3.org/TR/trace-context/>, <https://opentelemetry.io/docs/specs/otlp/>.

#[cfg(feature = "otel")]
mod export;

use tracing::Span;
use tracing_subscriber::{Layer, Registry};

/// The target of spans that are for traces and not for the log.
pub const TARGET: &str = "traces";

/// What takes spans in, as a part of a program's log.
pub type SpanLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// A collector that cannot be used. One line.
#[derive(Debug, thiserror::Error)]
pub enum BadCollector {
    /// This program cannot export spans.
    #[error(
        "--otlp: this program was built without traces; build it with --features otel, or leave --otlp out"
    )]
    NotBuilt,
    /// Its address means nothing.
    #[error(
        "cannot send traces to '{}': {why}; give --otlp (or OTEL_EXPORTER_OTLP_ENDPOINT) the address of a collector \
         that takes OTLP over HTTP, such as http://127.0.0.1:4318",
        address.escape_debug()
    )]
    Address {
        /// As it was given.
        address: String,
        /// In one line.
        why: String,
    },
}

/// Sends a program's spans to a collector, and what is left of them when it is dropped.
#[derive(Debug)]
pub struct TraceExporter {
    #[cfg(feature = "otel")]
    provider: export::Provider,
}

impl TraceExporter {
    /// Starts to send the spans of a program of this name to the collector at `address`, else to the one that the
    /// variables of OpenTelemetry name; without either there is nothing to send to. Must be called outside of a tokio
    /// runtime, as the exporter must be dropped.
    ///
    /// # Errors
    /// When the address means nothing, or one is given and this program cannot export.
    #[cfg(feature = "otel")]
    pub fn start(
        program: &'static str,
        address: Option<&str>,
    ) -> Result<Option<TraceExporter>, BadCollector> {
        let provider = export::start(program, address)?;
        Ok(provider.map(|provider| TraceExporter { provider }))
    }

    /// Starts nothing.
    ///
    /// # Errors
    /// When an address is given.
    #[cfg(not(feature = "otel"))]
    pub fn start(
        _program: &'static str,
        address: Option<&str>,
    ) -> Result<Option<TraceExporter>, BadCollector> {
        if address.is_some() { Err(BadCollector::NotBuilt) } else { Ok(None) }
    }

    /// What takes the spans in.
    pub fn layer(&self) -> Option<SpanLayer> {
        #[cfg(feature = "otel")]
        {
            Some(self.provider.layer())
        }
        #[cfg(not(feature = "otel"))]
        {
            None
        }
    }
}

/// The current span's context, as names and values of headers; none where nothing is exported.
pub fn headers() -> Vec<(&'static str, String)> {
    #[cfg(feature = "otel")]
    {
        export::headers(&Span::current())
    }
    #[cfg(not(feature = "otel"))]
    {
        Vec::new()
    }
}

/// Makes a new span part of the trace that a caller's headers tell of, if they do. `value` looks a header up by its
/// name.
pub fn follow<'a>(span: &Span, value: impl Fn(&str) -> Option<&'a str>) {
    #[cfg(feature = "otel")]
    export::follow(span, value);
    #[cfg(not(feature = "otel"))]
    let _ = (span, value);
}
