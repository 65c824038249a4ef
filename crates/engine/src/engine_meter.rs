//! What an engine counts beside what its sessions tell: the times of its steps. docs/observability.md says what each
//! number means.

use std::{sync::Arc, time::Duration};

use metrics::{Metric, MetricSet, Reading, write_readings};

use crate::kv::KvUsage;

static STEPS: Metric = Metric::times(
    "specthink_engine_step_seconds",
    "Time of one pass through the model, by what was computed.",
);
static COUNTED: &[&Metric] = &[&STEPS];

static KV: Metric =
    Metric::gauge("specthink_engine_kv_bytes", "Memory that the caches of keys and values take.");
static KV_LIMIT: Metric = Metric::gauge(
    "specthink_engine_kv_limit_bytes",
    "Memory that the caches of keys and values may take.",
);
static EVICTED: Metric = Metric::counter(
    "specthink_engine_kv_evicted_tokens_total",
    "Tokens whose keys and values open sessions lost to others.",
);
static RECOMPUTED: Metric = Metric::counter(
    "specthink_engine_kv_recomputed_tokens_total",
    "Tokens that were computed again after that.",
);

/// Counts an engine's steps. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct EngineMeter(Arc<MetricSet>);

impl Default for EngineMeter {
    fn default() -> Self {
        let set = MetricSet::new(COUNTED);
        for work in ["prefill", "decode"] {
            set.declare(&STEPS, &[("work", work)]);
        }
        EngineMeter(Arc::new(set))
    }
}

impl EngineMeter {
    /// A pass is over.
    pub(crate) fn step(&self, work: &str, time: Duration) {
        self.0.observe_time(&STEPS, &[("work", work)], time);
    }

    /// Everything in Prometheus' text format.
    pub(crate) fn text(&self, kv: &KvUsage) -> String {
        let mut text = self.0.text();
        let readings = [
            Reading::new(&KV, &[], kv.held_bytes),
            Reading::new(&KV_LIMIT, &[], kv.budget_bytes),
            Reading::new(&EVICTED, &[], kv.evicted_tokens),
            Reading::new(&RECOMPUTED, &[], kv.recomputed_tokens),
        ];
        write_readings(&mut text, &readings);
        text
    }
}
