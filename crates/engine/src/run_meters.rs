//! What this process measures of runs: counted when they are claimed and when they end, so that asking costs nothing,
//! however many there have been.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use wakeful_domain::failure::class_of;
use wakeful_domain::run::Run;
use wakeful_domain::wakeup::Wakeup;

/// Seconds: an answer at once to a day.
const SECONDS: [f64; 14] =
    [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0];

/// What is measured of runs.
#[derive(Debug, Clone)]
pub struct RunMeters {
    pub ended: Family<Ended, Counter>,
    /// From the claim to the end.
    pub duration: Family<Status, Histogram, Seconds>,
    /// From when a run's oldest wakeup was due to the claim.
    pub queue_time: Histogram,
    pub tokens: Family<Kind, Counter>,
    pub cost_micros: Counter,
    pub log_bytes: Counter,
}

/// How a run ended; as many kinds as there are statuses and classes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Ended {
    status: &'static str,
    /// Of its failure; `none` if it did not fail.
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Status {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    kind: &'static str,
}

/// Makes histograms of seconds.
#[derive(Debug, Clone)]
pub struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

impl Default for RunMeters {
    fn default() -> RunMeters {
        RunMeters {
            ended: Family::default(),
            duration: Family::new_with_constructor(Seconds),
            queue_time: Seconds.new_metric(),
            tokens: Family::default(),
            cost_micros: Counter::default(),
            log_bytes: Counter::default(),
        }
    }
}

impl RunMeters {
    /// A run was claimed with these wakeups.
    pub fn claimed(&self, run: &Run, wakeups: &[Wakeup]) {
        let due = wakeups.iter().map(|wakeup| wakeup.due_at.max(wakeup.requested_at)).min();
        if let Some(due) = due {
            self.queue_time.observe(run.created_at.since(due).as_secs_f64());
        }
    }

    /// A run has ended.
    pub fn ended(&self, run: &Run) {
        let status = run.status.as_str();
        let class = run.error_code.as_deref().map_or("none", |code| class_of(code).as_str());
        self.ended.get_or_create(&Ended { status, class }).inc();
        if let Some(at) = run.finished_at {
            let took = at.since(run.created_at).as_secs_f64();
            self.duration.get_or_create(&Status { status }).observe(took);
        }
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let usage = &run.usage;
        for (kind, tokens) in [
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_tokens),
            ("cache_write", usage.cache_write_tokens),
        ] {
            self.tokens.get_or_create(&Kind { kind }).inc_by(count(tokens));
        }
        self.cost_micros.inc_by(count(run.cost_micros.unwrap_or(0)));
        self.log_bytes.inc_by(count(run.log.bytes));
    }
}
