//! One trace across all programs: passes a span's context over gRPC and HTTP, and exports spans by OTLP.
//!
//! The spans are those of the `tracing` crate; this crate decides which are exported. Spans with the target [`TARGET`]
//! are only for traces. Spans at error level, which label the log's lines, are in both. Nothing else is exported, not
//! even events, so no text of a question or an answer leaves the program. Without the feature `otel` nothing is
//! exported, and no context is read or written.
//!
//! Sources: <https://www.w3.org/TR/trace-context/>, <https://opentelemetry.io/docs/specs/otlp/>.

#[cfg(test)]
mod error_tests;
#[cfg(feature = "otel")]
mod export;

use tracing::Span;
use tracing_subscriber::{Layer, Registry};

/// The target of spans that are for traces and not for the log.
pub const TARGET: &str = "traces";

/// A layer of a program's log that receives spans.
pub type SpanLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// A collector that cannot be used. One line.
#[derive(Debug, thiserror::Error)]
pub enum BadCollector {
    /// This program cannot export spans.
    #[error(
        "--otlp: this program was built without traces; build it with --features otel, or leave --otlp out"
    )]
    NotBuilt,
    /// Its address is invalid.
    #[error(
        "cannot send traces to '{}': {why}; give --otlp (or OTEL_EXPORTER_OTLP_ENDPOINT) the address of a collector \
         that takes OTLP over HTTP, such as http://127.0.0.1:4318",
        address.escape_debug()
    )]
    Address {
        /// The address as given.
        address: String,
        /// The reason, in one line.
        why: String,
    },
}

/// Sends a program's spans to a collector; dropping it sends the remaining ones.
#[derive(Debug)]
pub struct TraceExporter {
    #[cfg(feature = "otel")]
    provider: export::Provider,
}

impl TraceExporter {
    /// Starts to send the spans of a program with this name to the collector at `address`, or to the one in
    /// OpenTelemetry's environment variables. Returns `None` if neither is set. Must be called outside of a tokio
    /// runtime, and the exporter must be dropped outside of one too.
    ///
    /// # Errors
    /// When the address is invalid, or one is given and this program cannot export.
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

    /// Returns the layer that receives the spans.
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

/// Returns the current span's context as header names and values; empty if nothing is exported.
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

/// Makes a new span part of the trace in a caller's headers, if there is one. `value` looks up a header by its name.
pub fn follow<'a>(span: &Span, value: impl Fn(&str) -> Option<&'a str>) {
    #[cfg(feature = "otel")]
    export::follow(span, value);
    #[cfg(not(feature = "otel"))]
    let _ = (span, value);
}
