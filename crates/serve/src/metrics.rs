//! The server's metrics, in Prometheus' text format. Only numbers and names: nothing that anybody asked or was
//! answered.
//!
//! docs/observability.md explains each. Names that begin with `gen_ai` follow OpenTelemetry's conventions for model
//! servers.

use std::time::Duration;

use answer::{Summary, account::ModelTotals};
use metrics::{Metric, MetricKind, MetricSet, Reading, write_readings};

static REQUESTS: Metric =
    Metric::counter("specthink_http_requests_total", "Requests, by route and status.");
static ERRORS: Metric =
    Metric::counter("specthink_errors_total", "Requests and answers that failed, by code.");
static ANSWERS: Metric =
    Metric::counter("specthink_answers_total", "Answers, by policy and why they ended.");
static TOKENS: Metric = Metric::counter("specthink_tokens_total", "Tokens of answers, by writer.");
static DISCARDED: Metric = Metric::counter(
    "specthink_discarded_tokens_total",
    "Tokens that were generated and discarded, by writer.",
);
static TAKEOVERS: Metric = Metric::counter(
    "specthink_takeovers_total",
    "Stretches that the large model wrote, by reason.",
);
static CORRECTIONS: Metric = Metric::counter(
    "specthink_corrections_total",
    "Places where a review replaced the small model's text by the large one's.",
);
static ABANDONED: Metric = Metric::counter(
    "specthink_abandoned_takeovers_total",
    "Takeovers that were given up, and verdicts of a review that were late.",
);
static DEGRADED: Metric = Metric::counter(
    "specthink_degraded_answers_total",
    "Answers that had no large model for a part.",
);
static RESUMED: Metric = Metric::counter(
    "specthink_resumes_total",
    "How often another node continued after one was lost, by part.",
);
static REJOINED: Metric =
    Metric::counter("specthink_rejoins_total", "How often a lost large node came back.");
static DURATION: Metric = Metric::times(
    "gen_ai_server_request_duration_seconds",
    "Time from the question to the end of the answer.",
);
static FIRST_TOKEN: Metric = Metric::times(
    "gen_ai_server_time_to_first_token_seconds",
    "Time from the question to the first text of the answer.",
);
static OUTPUT_TOKEN: Metric = Metric::times(
    "gen_ai_server_time_per_output_token_seconds",
    "Time per token after the first text of an answer.",
);
static HANDOFF: Metric = Metric::times(
    "specthink_handoff_seconds",
    "Time from asking for a takeover to its first text.",
);
static QUEUE: Metric = Metric::times(
    "specthink_queue_seconds",
    "How long requests waited for their turn, whether it came or not.",
);
static SHARE: Metric = Metric {
    name: "specthink_takeover_share_ratio",
    help: "The share of an answer's tokens that the large model wrote.",
    kind: MetricKind::Histogram(&[0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0]),
};
static COUNTED: &[&Metric] = &[
    &REQUESTS,
    &ERRORS,
    &ANSWERS,
    &TOKENS,
    &DISCARDED,
    &TAKEOVERS,
    &CORRECTIONS,
    &ABANDONED,
    &DEGRADED,
    &RESUMED,
    &REJOINED,
    &DURATION,
    &FIRST_TOKEN,
    &OUTPUT_TOKEN,
    &HANDOFF,
    &QUEUE,
    &SHARE,
];

/// Answers in progress.
pub(crate) static RUNNING: Metric =
    Metric::gauge("specthink_answers_running", "Answers in progress.");
/// Requests that wait.
pub(crate) static WAITING: Metric =
    Metric::gauge("specthink_requests_waiting", "Requests that wait for their turn.");
/// Whether the shutdown has begun.
pub(crate) static DRAINING: Metric = Metric::gauge(
    "specthink_draining",
    "1 once the shutdown has begun and new requests are refused.",
);
/// Whether each node answers.
pub(crate) static NODE_UP: Metric = Metric::gauge(
    "specthink_node_up",
    "1 if the node accepts sessions, according to its last report, else 0.",
);
pub(crate) static NODE_STATE: Metric =
    Metric::gauge("specthink_node_state", "1 for the state that each node is in.");
pub(crate) static NODE_SESSIONS: Metric = Metric::gauge(
    "specthink_node_open_sessions",
    "Sessions that this server's answers have open with each node.",
);
/// Bytes on each link.
pub(crate) static LINK_BYTES: Metric = Metric::counter(
    "specthink_link_bytes_total",
    "Bytes to and from each node, everything counted.",
);
/// Requests on each link that is made of requests.
pub(crate) static LINK_REQUESTS: Metric = Metric::counter(
    "specthink_link_requests_total",
    "Requests to each model server; absent for nodes, which use one stream.",
);

/// The counters and histograms.
#[derive(Debug)]
pub(crate) struct Metrics(MetricSet);

impl Default for Metrics {
    fn default() -> Self {
        let set = MetricSet::new(COUNTED);
        let alone = [
            &CORRECTIONS,
            &ABANDONED,
            &DEGRADED,
            &REJOINED,
            &DURATION,
            &FIRST_TOKEN,
            &OUTPUT_TOKEN,
            &HANDOFF,
            &QUEUE,
            &SHARE,
        ];
        for metric in alone {
            set.declare(metric, &[]);
        }
        Metrics(set)
    }
}

impl Metrics {
    /// Counts a request and the status of its response.
    pub(crate) fn request(&self, route: &str, status: u16) {
        self.0.add(&REQUESTS, &[("route", route), ("status", &status.to_string())], 1);
    }

    /// Counts a request or an answer that failed.
    pub(crate) fn error(&self, code: &str) {
        self.0.add(&ERRORS, &[("code", code)], 1);
    }

    /// Counts how long a request waited for its turn.
    pub(crate) fn queued(&self, waited: Duration) {
        self.0.observe_time(&QUEUE, &[], waited);
    }

    /// Counts an answer that has ended.
    pub(crate) fn answer(&self, policy: &str, end: &str, summary: &Summary) {
        let Metrics(set) = self;
        set.add(&ANSWERS, &[("policy", policy), ("end", end)], 1);
        let tokens = |writer, totals: &ModelTotals| {
            set.add(&TOKENS, &[("writer", writer)], totals.tokens);
            set.add(&DISCARDED, &[("writer", writer)], totals.discarded_tokens);
        };
        tokens("small", &summary.small);
        tokens("large", &summary.large);
        for (why, count) in summary.takeovers_by_reason() {
            set.add(&TAKEOVERS, &[("why", &why.to_string())], count.into());
        }
        set.add(&CORRECTIONS, &[], summary.corrections.into());
        set.add(&ABANDONED, &[], summary.abandoned.into());
        set.add(&DEGRADED, &[], summary.degraded.is_some().into());
        set.add(&RESUMED, &[("part", "small")], summary.resumes.into());
        set.add(&RESUMED, &[("part", "large")], summary.large_resumes.into());
        set.add(&REJOINED, &[], summary.rejoins.into());
        let total = Duration::from_micros(summary.time.total_us);
        set.observe_time(&DURATION, &[], total);
        if summary.tokens() > 0 {
            set.observe(&SHARE, &[], summary.takeover_share());
        }
        if let Some(first) = summary.time.first_text_us.map(Duration::from_micros) {
            set.observe_time(&FIRST_TOKEN, &[], first);
            let behind = summary.tokens().saturating_sub(1);
            if let Ok(behind @ 1..) = u32::try_from(behind) {
                set.observe_time(&OUTPUT_TOKEN, &[], total.saturating_sub(first) / behind);
            }
        }
        for handoff_us in summary.takeovers.iter().filter_map(|it| it.handoff_us) {
            set.observe_time(&HANDOFF, &[], Duration::from_micros(handoff_us));
        }
    }

    /// Returns all metrics as text, followed by these readings.
    pub(crate) fn text(&self, readings: &[Reading]) -> String {
        let mut text = self.0.text();
        write_readings(&mut text, readings);
        text
    }
}

#[cfg(test)]
mod tests {
    use answer::account::TimeSplit;
    use metrics::testing::Exposition;

    use super::*;

    #[test]
    fn what_an_answer_came_to_is_counted() {
        let metrics = Metrics::default();
        metrics.request("/v1/models", 200);
        metrics.error("queue_full");
        metrics.queued(Duration::from_millis(30));
        let time =
            TimeSplit { total_us: 2_100_000, first_text_us: Some(100_000), ..TimeSplit::default() };
        let small = ModelTotals { tokens: 18, ..ModelTotals::default() };
        let large = ModelTotals { tokens: 3, discarded_tokens: 2, ..ModelTotals::default() };
        let summary =
            Summary { time, small, large, corrections: 2, resumes: 1, ..Summary::default() };
        metrics.answer("strict", "stop", &summary);
        let text = metrics.text(&[Reading::new(&NODE_UP, &[("node", "a \"b\"\n\\")], 1)]);
        let read = Exposition::read(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
        for (name, labels, value) in [
            (
                "specthink_http_requests_total",
                &[("route", "/v1/models"), ("status", "200")][..],
                1.0,
            ),
            ("specthink_errors_total", &[("code", "queue_full")], 1.0),
            ("specthink_answers_total", &[("policy", "strict"), ("end", "stop")], 1.0),
            ("specthink_tokens_total", &[("writer", "small")], 18.0),
            ("specthink_discarded_tokens_total", &[("writer", "large")], 2.0),
            ("specthink_corrections_total", &[], 2.0),
            ("specthink_abandoned_takeovers_total", &[], 0.0),
            ("specthink_resumes_total", &[("part", "small")], 1.0),
            ("specthink_takeover_share_ratio_bucket", &[("le", "0.1")], 0.0),
            ("specthink_takeover_share_ratio_bucket", &[("le", "0.2")], 1.0),
            ("gen_ai_server_time_to_first_token_seconds_bucket", &[("le", "0.05")], 0.0),
            ("gen_ai_server_time_to_first_token_seconds_bucket", &[("le", "0.1")], 1.0),
            ("gen_ai_server_time_per_output_token_seconds_sum", &[], 0.1),
            ("gen_ai_server_request_duration_seconds_count", &[], 1.0),
            ("specthink_queue_seconds_sum", &[], 0.03),
            ("specthink_node_up", &[("node", "a \"b\"\n\\")], 1.0),
        ] {
            assert_eq!(read.value(name, labels), Some(value), "{name}: {text}");
        }
        assert_eq!(read.names().len(), COUNTED.len() + 1);
    }
}
