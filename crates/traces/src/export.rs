//! Exports spans to a collector with OpenTelemetry's crates: OTLP over HTTP, in protobuf.

use std::{env, time::Duration};

use opentelemetry::{
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Level, Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer as _, filter::filter_fn};

use crate::{BadCollector, SpanLayer, TARGET};

/// The variables that name a collector: for traces, and for all signals.
const VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// The headers of a trace context.
const HEADERS: [&str; 2] = ["traceparent", "tracestate"];
/// How long a program waits at its end until the last spans are sent.
const FAREWELL: Duration = Duration::from_secs(2);

/// Creates spans and sends them in batches, from its own thread.
#[derive(Debug)]
pub(crate) struct Provider(SdkTracerProvider);

/// Starts to export spans. Returns `None` if no collector is configured.
pub(crate) fn start(
    program: &'static str,
    address: Option<&str>,
) -> Result<Option<Provider>, BadCollector> {
    let named = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let named = address.map(str::to_owned).or_else(|| VARIABLES.into_iter().find_map(named));
    let Some(shown) = named else { return Ok(None) };
    let bad = |why: String| BadCollector::Address { address: shown.clone(), why };
    if !["http://", "https://"].iter().any(|scheme| shown.starts_with(scheme)) {
        return Err(bad("it begins with neither http:// nor https://".to_owned()));
    }
    // A crypto provider that the process has already chosen stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut exporter = SpanExporter::builder().with_http();
    if let Some(address) = address {
        exporter = exporter.with_endpoint(format!("{}/v1/traces", address.trim_end_matches('/')));
    }
    let exporter = exporter.build().map_err(|why| bad(why.to_string()))?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(program).build())
        .build();
    Ok(Some(Provider(provider)))
}

impl Provider {
    pub(crate) fn layer(&self) -> SpanLayer {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(TARGET))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_exported))
            .boxed()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Err(why) = self.0.shutdown_with_timeout(FAREWELL) {
            tracing::warn!(%why, "the last spans were not sent");
        }
    }
}

/// Returns whether a span is exported. Events never are.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && (*metadata.level() == Level::ERROR || metadata.target() == TARGET)
}

/// Returns a span's context as headers.
pub(crate) fn headers(span: &Span) -> Vec<(&'static str, String)> {
    let mut headers = Headers::default();
    TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
    headers.0
}

/// Makes a span continue the trace in a caller's headers.
pub(crate) fn follow<'a>(span: &Span, value: impl Fn(&str) -> Option<&'a str>) {
    let sent = HEADERS.iter().filter_map(|name| Some((*name, value(name)?.to_owned())));
    let headers = Headers(sent.collect());
    if !headers.0.is_empty() {
        // Without an exporter, or inside another trace, the span stays as it is.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&headers));
    }
}

/// Headers of a trace context, incoming or outgoing.
#[derive(Default)]
struct Headers(Vec<(&'static str, String)>);

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        // Empty headers are left out.
        if let Some(name) = HEADERS.iter().find(|name| **name == key).filter(|_| !value.is_empty())
        {
            self.0.push((name, value));
        }
    }
}

impl Extractor for Headers {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{layer::SubscriberExt as _, registry};

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_span_goes_on_from_the_caller_and_is_gone_on_from() {
        let provider = Provider(SdkTracerProvider::default());
        tracing::subscriber::with_default(registry().with(vec![provider.layer()]), || {
            let span = tracing::trace_span!(target: TARGET, "request");
            follow(&span, |name| (name == "traceparent").then_some(PARENT));
            let headers = span.in_scope(crate::headers);
            let [(name, value)] = &headers[..] else { panic!("{headers:?}") };
            assert_eq!((*name, &value[..36]), ("traceparent", &PARENT[..36]), "the same trace");
            assert_ne!(value, PARENT, "another span");
            let apart = tracing::error_span!("apart");
            follow(&apart, |_| Some("nonsense"));
            assert_ne!(apart.in_scope(crate::headers)[0].1[..36], PARENT[..36]);
        });
        assert!(crate::headers().is_empty(), "nothing is exported");
    }

    #[test]
    fn what_is_no_collector_is_one_line() {
        for address in ["127.0.0.1:4318", "http://", "http://a b"] {
            let line = start("x", Some(address)).unwrap_err().to_string();
            assert!(
                line.contains(address) && line.contains("--otlp") && !line.contains('\n'),
                "{line}"
            );
        }
    }
}
