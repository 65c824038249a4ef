//! What the server of a Thinker counts: connections, calls, sessions, tokens, times. Only numbers;
//! docs/observability.md explains each.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{Metric, MetricSet, Reading, write_readings};
use thinking::thinker::{Command, Event, Finished, Load};
use tokio::time::Instant;
use tracing::{Span, field::Empty, trace_span};

use crate::node_rates::NodeRates;

static CALLS: Metric = Metric::counter(
    "specthink_node_calls_total",
    "Finished calls, by call and outcome; think calls are sessions.",
);
static TOKENS: Metric =
    Metric::counter("specthink_node_tokens_total", "Tokens prefilled, decoded or found cached.");
static OBJECTIONS: Metric = Metric::counter(
    "specthink_node_objections_total",
    "Objections of reviews to text that another model wrote.",
);
static PREFILL: Metric = Metric::times(
    "specthink_node_prefill_seconds",
    "Time of computing a text before the model continues it.",
);
static DECODE: Metric =
    Metric::times("specthink_node_decode_seconds", "Time of decoding the tokens of a proposal.");
static QUEUE: Metric =
    Metric::times("specthink_node_queue_seconds", "Time that a proposal waited for its turn.");
static DURATION: Metric = Metric::times(
    "gen_ai_server_request_duration_seconds",
    "Time from the request for a proposal to its end.",
);
static FIRST_TOKEN: Metric = Metric::times(
    "gen_ai_server_time_to_first_token_seconds",
    "Time from the request for a proposal to its first text.",
);
static OUTPUT_TOKEN: Metric = Metric::times(
    "gen_ai_server_time_per_output_token_seconds",
    "Time of a proposal after its first text, per token.",
);
static COUNTED: &[&Metric] = &[
    &CALLS,
    &TOKENS,
    &OBJECTIONS,
    &PREFILL,
    &DECODE,
    &QUEUE,
    &DURATION,
    &FIRST_TOKEN,
    &OUTPUT_TOKEN,
];

static SESSIONS: Metric = Metric::gauge("specthink_node_sessions", "Open sessions.");
static PROPOSALS: Metric = Metric::gauge(
    "specthink_node_proposals",
    "Requested proposals, by whether they wait for their first text or are being written.",
);
static DRAINING: Metric = Metric::gauge(
    "specthink_node_draining",
    "1 once the shutdown has begun and new sessions are refused.",
);
static READY: Metric = Metric::gauge("specthink_node_ready", "1 while new sessions are accepted.");
static CONNECTIONS: Metric =
    Metric::gauge("specthink_node_connections", "Open connections of clients.");
static ACCEPTED: Metric =
    Metric::counter("specthink_node_connections_total", "Accepted connections of clients.");
static TURNED_AWAY: Metric = Metric::counter(
    "specthink_node_connections_refused_total",
    "Connections that were closed, new or without a call, because all places were taken.",
);
static BYTES: Metric = Metric::counter(
    "specthink_node_network_bytes_total",
    "Bytes to and from clients, with TLS and framing.",
);

/// The counts of a server of a Thinker. Cheap to clone; clones share their counts.
#[derive(Debug, Clone)]
pub struct NodeMeter(Arc<NodeCounts>);

#[derive(Debug)]
struct NodeCounts {
    set: MetricSet,
    rates: NodeRates,
    phase: AtomicU8,
    sessions: AtomicU64,
    waiting: AtomicU64,
    written: AtomicU64,
    connections: AtomicU64,
    accepted: AtomicU64,
    turned_away: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

/// The phase of a server's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NodePhase {
    /// It does not serve yet.
    Loading,
    /// It accepts new sessions.
    Serving,
    /// It refuses new sessions.
    Draining,
}

impl Default for NodeMeter {
    fn default() -> Self {
        let set = MetricSet::new(COUNTED);
        for kind in ["prefilled", "decoded", "cached"] {
            set.declare(&TOKENS, &[("kind", kind)]);
        }
        set.declare(&OBJECTIONS, &[]);
        for times in [&PREFILL, &DECODE, &QUEUE, &DURATION, &FIRST_TOKEN, &OUTPUT_TOKEN] {
            set.declare(times, &[]);
        }
        NodeMeter(Arc::new(NodeCounts {
            set,
            rates: NodeRates::default(),
            phase: AtomicU8::new(NodePhase::Loading as u8),
            sessions: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            written: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        }))
    }
}

impl NodeMeter {
    /// Returns the current phase of the server.
    pub fn phase(&self) -> NodePhase {
        match self.0.phase.load(Ordering::Relaxed) {
            0 => NodePhase::Loading,
            1 => NodePhase::Serving,
            _ => NodePhase::Draining,
        }
    }

    /// Returns all metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let NodeCounts { set, .. } = &*self.0;
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let counts = &self.0;
        let is = |phase| u64::from(self.phase() == phase);
        let mut text = set.text();
        let readings = [
            Reading::new(&SESSIONS, &[], read(&counts.sessions)),
            Reading::new(&PROPOSALS, &[("state", "waiting")], read(&counts.waiting)),
            Reading::new(&PROPOSALS, &[("state", "writing")], read(&counts.written)),
            Reading::new(&READY, &[], is(NodePhase::Serving)),
            Reading::new(&DRAINING, &[], is(NodePhase::Draining)),
            Reading::new(&CONNECTIONS, &[], read(&counts.connections)),
            Reading::new(&ACCEPTED, &[], read(&counts.accepted)),
            Reading::new(&TURNED_AWAY, &[], read(&counts.turned_away)),
            Reading::new(&BYTES, &[("direction", "received")], read(&counts.received_bytes)),
            Reading::new(&BYTES, &[("direction", "sent")], read(&counts.sent_bytes)),
        ];
        write_readings(&mut text, &readings);
        text
    }

    /// Returns how busy the server is, as far as it is counted here.
    pub(crate) fn load(&self) -> Load {
        let read =
            |number: &AtomicU64| number.load(Ordering::Relaxed).try_into().unwrap_or(u32::MAX);
        let [prefill_tokens_per_s, decode_tokens_per_s] = self.0.rates.tokens_per_s();
        Load {
            sessions: read(&self.0.sessions),
            waiting: read(&self.0.waiting),
            writing: read(&self.0.written),
            prefill_tokens_per_s,
            decode_tokens_per_s,
            ..Load::default()
        }
    }

    pub(crate) fn set_phase(&self, phase: NodePhase) {
        self.0.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Counts a finished call.
    pub(crate) fn call(&self, call: &str, outcome: &str) {
        self.0.set.add(&CALLS, &[("call", call), ("code", outcome)], 1);
    }

    /// Counts a connection that was opened.
    pub(crate) fn opened(&self) {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        self.0.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was closed.
    pub(crate) fn closed(&self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection that got no place.
    pub(crate) fn turned_away(&self) {
        self.0.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.0.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.0.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Counts one session, which is open as long as this lives.
#[derive(Debug)]
pub(crate) struct SessionMeter {
    meter: NodeMeter,
    /// How the session ended. A session whose client went away ends without an outcome: it counts as cancelled.
    outcome: &'static str,
    /// The requested proposals, in order; the first one is being computed.
    asked: VecDeque<AskedProposal>,
}

#[derive(Debug)]
struct AskedProposal {
    at: Instant,
    first_text: Option<Instant>,
    /// The proposal's span in the trace, which ends when this is dropped.
    span: Span,
}

impl SessionMeter {
    pub(crate) fn new(meter: NodeMeter) -> SessionMeter {
        meter.0.sessions.fetch_add(1, Ordering::Relaxed);
        SessionMeter { meter, outcome: "cancelled", asked: VecDeque::new() }
    }

    /// Sets the session's outcome, unless it has one already.
    pub(crate) fn end(&mut self, outcome: &'static str) {
        if self.outcome == "cancelled" {
            self.outcome = outcome;
        }
    }

    /// Records a command of the client.
    pub(crate) fn asked(&mut self, command: &Command) {
        if matches!(command, Command::Propose(_)) {
            self.meter.0.waiting.fetch_add(1, Ordering::Relaxed);
            let span = proposal_span();
            self.asked.push_back(AskedProposal { at: Instant::now(), first_text: None, span });
        }
    }

    /// Records an event of the Thinker.
    pub(crate) fn answered(&mut self, event: &Event) {
        self.meter.0.rates.see(event);
        let set = &self.meter.0.set;
        let tokens = |kind, count: u32| set.add(&TOKENS, &[("kind", kind)], count.into());
        match event {
            Event::Opened(opened) => tokens("cached", opened.cached_tokens),
            Event::Warmed(warmed) => {
                tokens("prefilled", warmed.prefill_tokens);
                if warmed.prefill_tokens > 0 {
                    set.observe_time(&PREFILL, &[], Duration::from_micros(warmed.prefill_us));
                }
            }
            Event::Delta(_) => self.first_text(),
            Event::Finished(finished) => {
                tokens("prefilled", finished.prefill_tokens);
                tokens("cached", finished.cached_tokens);
                tokens("decoded", finished.tokens);
                let times = &finished.timing;
                for (metric, us) in [
                    (&QUEUE, times.queue_us),
                    (&PREFILL, times.prefill_us),
                    (&DECODE, times.decode_us),
                ] {
                    set.observe_time(metric, &[], Duration::from_micros(us));
                }
                self.finished(finished);
            }
            Event::Objection(_) => set.add(&OBJECTIONS, &[], 1),
            Event::Failed(failure) => self.end(failure.code.into()),
        }
    }

    fn first_text(&mut self) {
        let counts = &self.meter.0;
        let Some(proposal) = self.asked.front_mut().filter(|it| it.first_text.is_none()) else {
            return;
        };
        let now = Instant::now();
        proposal.first_text = Some(now);
        counts.set.observe_time(&FIRST_TOKEN, &[], now - proposal.at);
        counts.waiting.fetch_sub(1, Ordering::Relaxed);
        counts.written.fetch_add(1, Ordering::Relaxed);
    }

    fn finished(&mut self, finished: &Finished) {
        let Some(proposal) = self.asked.pop_front() else { return };
        let Finished { tokens, prefill_tokens, timing, reason, .. } = finished;
        proposal.span.record("tokens", tokens).record("prefill_tokens", prefill_tokens);
        proposal.span.record("end", <&str>::from(reason)).record("queue_us", timing.queue_us);
        proposal.span.record("prefill_us", timing.prefill_us).record("decode_us", timing.decode_us);
        let (set, now) = (&self.meter.0.set, Instant::now());
        set.observe_time(&DURATION, &[], now - proposal.at);
        if let (Some(first), tokens @ 2..) = (proposal.first_text, *tokens) {
            set.observe_time(&OUTPUT_TOKEN, &[], (now - first) / (tokens - 1));
        }
        self.forget(&proposal);
    }

    /// Removes a finished proposal from the gauges.
    fn forget(&self, proposal: &AskedProposal) {
        let counts = &self.meter.0;
        let state = if proposal.first_text.is_some() { &counts.written } else { &counts.waiting };
        state.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns the span of a proposal, inside that of its session.
fn proposal_span() -> Span {
    trace_span!(
        target: traces::TARGET,
        "proposal",
        tokens = Empty,
        prefill_tokens = Empty,
        end = Empty,
        queue_us = Empty,
        prefill_us = Empty,
        decode_us = Empty
    )
}

impl Drop for SessionMeter {
    fn drop(&mut self) {
        self.asked.iter().for_each(|proposal| self.forget(proposal));
        self.meter.0.sessions.fetch_sub(1, Ordering::Relaxed);
        self.meter.call("think", self.outcome);
    }
}

#[cfg(test)]
mod tests {
    use metrics::testing::Exposition;
    use thinking::thinker::{
        Code, Delta, Failure, FinishReason, Objection, Propose, Timing, Warmed,
    };

    use super::*;

    fn read(meter: &NodeMeter) -> Exposition {
        let text = meter.text();
        Exposition::read(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
    }

    fn propose() -> Command {
        let stop = Vec::new();
        Command::Propose(Propose {
            max_tokens: 9,
            stop,
            watch: None,
            seed: 1,
            report_entropy: false,
        })
    }

    fn finished(tokens: u32) -> Event {
        Event::Finished(Finished {
            reason: FinishReason::EndOfText,
            tokens,
            bytes: 1,
            prefill_tokens: 2,
            cached_tokens: 4,
            timing: Timing { queue_us: 10, prefill_us: 20, decode_us: 30 },
            passes_milli: 1000,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_counted_from_its_begin_to_its_end() {
        let meter = NodeMeter::default();
        let mut session = SessionMeter::new(meter.clone());
        let hash = Default::default();
        let warmed = Warmed {
            committed_bytes: 0,
            hash,
            tokens: 3,
            prefill_tokens: 3,
            prefill_us: 500,
            reviewed_bytes: 0,
            passes_milli: 0,
        };
        session.answered(&Event::Warmed(warmed));
        session.asked(&propose());
        session.asked(&propose());
        let proposals = |state| read(&meter).value("specthink_node_proposals", &[("state", state)]);
        assert_eq!((proposals("waiting"), proposals("writing")), (Some(2.0), Some(0.0)));
        tokio::time::advance(Duration::from_secs(2)).await;
        session.answered(&Event::Delta(Delta::default()));
        session.answered(&Event::Delta(Delta::default()));
        assert_eq!((proposals("waiting"), proposals("writing")), (Some(1.0), Some(1.0)));
        tokio::time::advance(Duration::from_secs(4)).await;
        session.answered(&finished(5));
        session.answered(&Event::Objection(Box::new(Objection {
            at_byte: 0,
            bytes: 1,
            gap: 2.0,
            rank: 1,
            log_p: -3.0,
            instead: None,
            tokens: 1,
            token_ids: Vec::new(),
        })));
        let now = read(&meter);
        assert_eq!(now.value("specthink_node_objections_total", &[]), Some(1.0));
        assert_eq!(now.value("gen_ai_server_time_to_first_token_seconds_sum", &[]), Some(2.0));
        assert_eq!(now.value("gen_ai_server_time_per_output_token_seconds_sum", &[]), Some(1.0));
        assert_eq!(now.value("gen_ai_server_request_duration_seconds_sum", &[]), Some(6.0));
        assert_eq!(now.value("specthink_node_prefill_seconds_count", &[]), Some(2.0));
        for (kind, count) in [("prefilled", 5.0), ("decoded", 5.0), ("cached", 4.0)] {
            let tokens = now.value("specthink_node_tokens_total", &[("kind", kind)]);
            assert_eq!(tokens, Some(count), "{kind}");
        }
        assert_eq!(now.value("specthink_node_sessions", &[]), Some(1.0));
        session.answered(&Event::Failed(Failure::new(Code::ContextTooLong, "full")));
        drop(session);
        drop(SessionMeter::new(meter.clone()));
        let now = read(&meter);
        assert_eq!(now.value("specthink_node_sessions", &[]), Some(0.0));
        assert_eq!(now.sum("specthink_node_proposals"), 0.0);
        for code in ["context_too_long", "cancelled"] {
            let labels = [("call", "think"), ("code", code)];
            assert_eq!(now.value("specthink_node_calls_total", &labels), Some(1.0), "{code}");
        }
    }
}
