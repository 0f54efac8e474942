//! What the replica counts, in the form that Prometheus reads. Labels come from closed sets and from the names of
//! providers, guardrails and rules: never from what a client sent.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use tollgate_policy::usage::{Outcome, Tokens};

use crate::{
    gate::{Facts, Settled},
    rates::Decisions,
};

/// The metrics of one replica.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    refusals: Family<KindLabel, Counter>,
    own: Histogram,
    first_byte: Histogram,
    whole: Histogram,
    tokens: Family<KindLabel, Counter>,
    cost: Counter,
    unpriced: Counter,
    attempts: Family<AttemptLabels, Counter>,
    findings: Family<FindingLabels, Counter>,
    cut: Counter,
    audit_conflicts: Counter,
    gauges: Gauges,
}

/// What is looked up when somebody asks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Levels {
    /// Connections of clients.
    pub(crate) connections: usize,
    /// Visits that are open or wait to be settled.
    pub(crate) visits: usize,
    /// Visits that a change of policy can cut: those that are at a provider.
    pub(crate) admitted: usize,
    /// Records that are not reported.
    pub(crate) spool_records: u64,
    /// What the spool takes, in bytes.
    pub(crate) spool_bytes: u64,
    /// The bound of the spool, in bytes.
    pub(crate) spool_bytes_max: u64,
    /// Records that found no room or could not be written.
    pub(crate) spool_dropped: u64,
    /// The policy revision that holds; 0 when there is none.
    pub(crate) revision: u64,
    /// How long ago the control plane last confirmed it.
    pub(crate) age: Duration,
    /// Whether the control plane is connected.
    pub(crate) connected: bool,
    /// What requests hold of all budgets, in nano-dollars.
    pub(crate) funds_held: i64,
    /// What is borrowed and neither held nor spent, in nano-dollars.
    pub(crate) funds_free: i64,
    /// Attempts that did not find enough funds at once.
    pub(crate) funds_waits: u64,
    /// How rate limits were decided where there is a Redis.
    pub(crate) rate_decisions: Decisions,
}

#[derive(Clone, Default)]
struct Gauges {
    connections: Gauge,
    visits: Gauge,
    admitted: Gauge,
    spool_records: Gauge,
    spool_bytes: Gauge,
    spool_bytes_max: Gauge,
    spool_dropped: Gauge,
    revision: Gauge,
    age: Gauge,
    connected: Gauge,
    funds_held: Gauge,
    funds_free: Gauge,
    funds_waits: Gauge,
    rates_shared: Gauge,
    rates_local: Gauge,
    rates_unheard: Gauge,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    operation: &'static str,
    outcome: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AttemptLabels {
    provider: Arc<str>,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FindingLabels {
    guardrail: Arc<str>,
    rule: Arc<str>,
    direction: &'static str,
    action: &'static str,
    shadow: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Makes and registers all of them.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("tollgate");
        // From 10 µs to 0.3 s: what the gateway itself takes.
        let own = Histogram::new(exponential_buckets(0.000_01, 2.0, 16));
        // From 10 ms to 10 minutes: what models take.
        let slow = || Histogram::new(exponential_buckets(0.01, 2.0, 17));
        let metrics = Self {
            requests: Family::default(),
            refusals: Family::default(),
            own,
            first_byte: slow(),
            whole: slow(),
            tokens: Family::default(),
            cost: Counter::default(),
            unpriced: Counter::default(),
            attempts: Family::default(),
            findings: Family::default(),
            cut: Counter::default(),
            audit_conflicts: Counter::default(),
            gauges: Gauges::default(),
            registry: Mutex::default(),
        };
        metrics.register_counts(&mut registry);
        metrics.gauges.register(&mut registry);
        *metrics.lock() = registry;
        metrics
    }

    /// Counts a settled visit.
    pub(crate) fn settled(&self, facts: &Facts, settled: &Settled) {
        let labels = RequestLabels {
            operation: facts.operation.word(),
            outcome: settled.outcome.word(),
            status: status_class(facts.status),
        };
        self.requests.get_or_create(&labels).inc();
        if let Some(refusal) = settled.refusal {
            self.refusals.get_or_create(&KindLabel { kind: refusal.word() }).inc();
        }
        if settled.outcome == Outcome::Cut {
            self.cut.inc();
        }
        self.count_tokens(&settled.tokens);
        self.cost.inc_by(settled.cost.get().try_into().unwrap_or_default());
        self.unpriced.inc_by(u64::from(settled.unpriced));
        for (provider, result) in &facts.failed_attempts {
            self.count_attempt(provider, result.word());
        }
        if let Some(last) = &facts.attempt {
            self.count_attempt(&last.provider_name, last.result.word());
        }
        for found in &*facts.circumstances.findings {
            let labels = FindingLabels {
                guardrail: Arc::clone(&found.guardrail),
                rule: Arc::clone(&found.rule),
                direction: found.direction.word(),
                action: found.action.word(),
                shadow: if found.shadow { "true" } else { "false" },
            };
            self.findings.get_or_create(&labels).inc_by(u64::from(found.count));
        }
        self.time(facts);
    }

    /// Counts checkpoints of the audit log that contradict what was witnessed.
    pub(crate) fn audit_conflicts(&self) -> Counter {
        self.audit_conflicts.clone()
    }

    /// Writes everything in the OpenMetrics text format.
    pub(crate) fn text(&self, levels: &Levels) -> String {
        self.gauges.set(levels);
        let mut written = String::new();
        match text::encode(&mut written, &self.lock()) {
            Ok(()) => written,
            // Writing into a string does not fail.
            Err(fmt::Error) => String::new(),
        }
    }

    fn count_tokens(&self, tokens: &Tokens) {
        for (kind, count) in [
            ("input", tokens.input),
            ("output", tokens.output),
            ("cache_read", tokens.cache_read),
            ("cache_write_5m", tokens.cache_write_5m),
            ("cache_write_1h", tokens.cache_write_1h),
        ] {
            if count > 0 {
                self.tokens.get_or_create(&KindLabel { kind }).inc_by(count);
            }
        }
    }

    fn count_attempt(&self, provider: &std::sync::Arc<str>, result: &'static str) {
        self.attempts.get_or_create(&AttemptLabels { provider: std::sync::Arc::clone(provider), result }).inc();
    }

    // Own time is what remains of the time to the first byte without the client's upload and the provider's thinking.
    fn time(&self, facts: &Facts) {
        let times = &facts.times;
        let ended = times.ended.map(|ended| ended - times.arrived).unwrap_or_default();
        let upstream = match (times.sent, times.answered) {
            (Some(sent), Some(answered)) => answered.saturating_duration_since(sent),
            _ => Duration::ZERO,
        };
        if let Some(sent) = times.sent {
            let before = sent.saturating_duration_since(times.arrived).saturating_sub(times.body);
            self.own.observe(before.as_secs_f64());
            self.first_byte.observe(upstream.as_secs_f64());
        }
        self.whole.observe(ended.as_secs_f64());
    }

    fn register_counts(&self, registry: &mut Registry) {
        registry.register("requests", "Visits, by operation, outcome and class of status", self.requests.clone());
        registry.register(
            "guardrail_findings",
            "What guardrails found, by rule and what was done",
            self.findings.clone(),
        );
        registry.register("refusals", "Refused and cut visits, by kind", self.refusals.clone());
        let own = "From a request's arrival to its leaving for the provider, without the time its body took to arrive";
        registry.register_with_unit("own_time", own, Unit::Seconds, self.own.clone());
        let upstream = "From a request's leaving for the provider to the head of the answer";
        registry.register_with_unit("upstream_time", upstream, Unit::Seconds, self.first_byte.clone());
        let whole = "From a request's arrival to the last byte of its answer";
        registry.register_with_unit("request_time", whole, Unit::Seconds, self.whole.clone());
        registry.register("tokens", "Metered tokens, by kind", self.tokens.clone());
        registry.register("cost_nano_usd", "Metered cost in nano-dollars", self.cost.clone());
        registry.register("unpriced", "Visits of a model without a price", self.unpriced.clone());
        registry.register("upstream_attempts", "Attempts at providers, by result", self.attempts.clone());
        registry.register("streams_cut", "Answers that a change of policy cut", self.cut.clone());
        let conflicts = "Checkpoints of the audit log that contradict what this replica has witnessed";
        registry.register("audit_conflicts", conflicts, self.audit_conflicts.clone());
    }

    // No code panics while it holds the lock.
    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

// === impl Gauges ===

impl Gauges {
    fn register(&self, registry: &mut Registry) {
        let all: [(&str, &str, &Gauge); 16] = [
            ("connections", "Connections of clients", &self.connections),
            ("visits_open", "Visits that are open or wait to be settled", &self.visits),
            ("streams_open", "Visits that are at a provider", &self.admitted),
            ("spool_records", "Records that are not reported", &self.spool_records),
            ("spool_bytes", "What the spool takes", &self.spool_bytes),
            ("spool_bytes_max", "The bound of the spool", &self.spool_bytes_max),
            ("spool_dropped", "Records that found no room in the spool or could not be written", &self.spool_dropped),
            ("snapshot_revision", "The policy revision that holds", &self.revision),
            ("snapshot_age_seconds", "Since the control plane last confirmed the policy", &self.age),
            ("control_plane_connected", "Whether the control plane is connected", &self.connected),
            ("budget_held_nano_usd", "What requests hold of budgets", &self.funds_held),
            ("budget_free_nano_usd", "What is borrowed of budgets and not held or spent", &self.funds_free),
            (
                "budget_waits",
                "Attempts that did not find enough borrowed, and waited or were refused",
                &self.funds_waits,
            ),
            ("rate_decisions_by_redis", "Requests whose rate limits Redis decided", &self.rates_shared),
            (
                "rate_decisions_by_share",
                "Requests that this replica's share decided, since Redis was late or away",
                &self.rates_local,
            ),
            ("rate_ends_unheard", "Ends of requests of which Redis did not hear", &self.rates_unheard),
        ];
        for (name, help, gauge) in all {
            registry.register(name, help, gauge.clone());
        }
    }

    fn set(&self, levels: &Levels) {
        let Levels {
            connections,
            visits,
            admitted,
            spool_records,
            spool_bytes,
            spool_bytes_max,
            spool_dropped,
            revision,
            age,
            connected,
            funds_held,
            funds_free,
            funds_waits,
            rate_decisions: Decisions { shared, local, unheard },
        } = *levels;
        let set = |gauge: &Gauge, level: u64| gauge.set(i64::try_from(level).unwrap_or(i64::MAX));
        set(&self.connections, connections as u64);
        set(&self.visits, visits as u64);
        set(&self.admitted, admitted as u64);
        set(&self.spool_records, spool_records);
        set(&self.spool_bytes, spool_bytes);
        set(&self.spool_bytes_max, spool_bytes_max);
        set(&self.spool_dropped, spool_dropped);
        set(&self.revision, revision);
        set(&self.age, age.as_secs());
        set(&self.connected, u64::from(connected));
        self.funds_held.set(funds_held);
        self.funds_free.set(funds_free);
        set(&self.funds_waits, funds_waits);
        set(&self.rates_shared, shared);
        set(&self.rates_local, local);
        set(&self.rates_unheard, unheard);
    }
}

fn status_class(status: u16) -> &'static str {
    match status {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_written_with_its_help() {
        let text = Metrics::new().text(&Levels { revision: 7, age: Duration::from_secs(3), ..Levels::default() });
        for line in [
            "tollgate_snapshot_revision 7",
            "tollgate_snapshot_age_seconds 3",
            "tollgate_cost_nano_usd_total 0",
            "tollgate_own_time_seconds_count 0",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
