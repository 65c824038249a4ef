//! What an engine measures besides what its sessions report: the times of its passes. docs/observability.md explains
//! each number.

use std::{sync::Arc, time::Duration};

use metrics::{Metric, MetricSet, Reading, write_readings};

use crate::kv::KvUsage;

static STEPS: Metric = Metric::times(
    "specthink_engine_step_seconds",
    "Time of one pass through the model, by what was computed.",
);
static COUNTED: &[&Metric] = &[&STEPS];

static KV: Metric = Metric::gauge("specthink_engine_kv_bytes", "Memory that KV caches take.");
static KV_LIMIT: Metric =
    Metric::gauge("specthink_engine_kv_limit_bytes", "Memory that KV caches may take.");
static EVICTED: Metric = Metric::counter(
    "specthink_engine_kv_evicted_tokens_total",
    "Tokens whose keys and values open sessions lost to other sessions.",
);
static RECOMPUTED: Metric = Metric::counter(
    "specthink_engine_kv_recomputed_tokens_total",
    "Tokens that were computed again after an eviction.",
);

/// Records an engine's passes. Clones share the same metrics.
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
    /// Records the time of one pass.
    pub(crate) fn step(&self, work: &str, time: Duration) {
        self.0.observe_time(&STEPS, &[("work", work)], time);
    }

    /// Returns all metrics in Prometheus' text format.
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
