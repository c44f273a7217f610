//! Counters of this process, for `/metrics` and `doctor`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::RunMeters;

/// A counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    RunsStarted,
    RunsAdopted,
    /// Work that only the safety sweep found: should stay 0.
    SweepRepairs,
    StoreErrors,
    /// Gates and actions that were asked.
    Questions,
    /// Times that the wall clock was set.
    ClockSteps,
    /// Times that the machine has slept.
    Suspends,
    /// Ended runs whose trace had no room or was refused.
    TracesDropped,
    /// Requests to the receiver of OTLP that failed.
    OtlpFailures,
}

/// The counters of this process.
#[derive(Debug, Default)]
pub struct Meters {
    counts: [AtomicU64; 9],
    /// Microseconds since 1970 at the last completed dispatch beat.
    last_beat_micros: AtomicI64,
    pub runs: RunMeters,
}

impl Meters {
    /// Every counter with its name in `/metrics` and what it counts.
    pub const ALL: [(Meter, &'static str, &'static str); 9] = [
        (Meter::RunsStarted, "wakeful_runs_started", "Runs whose process was started by this process"),
        (Meter::RunsAdopted, "wakeful_runs_adopted", "Live runs found again at start"),
        (Meter::SweepRepairs, "wakeful_sweep_repairs", "Work that only the safety sweep found; should stay 0"),
        (Meter::StoreErrors, "wakeful_store_errors", "Transactions that failed for a reason of the store's"),
        (Meter::Questions, "wakeful_questions", "Gates and actions asked by this process"),
        (Meter::ClockSteps, "wakeful_clock_steps", "Times that the wall clock was set"),
        (Meter::Suspends, "wakeful_suspends", "Times that the machine has slept"),
        (Meter::TracesDropped, "wakeful_otlp_traces_dropped", "Ended runs whose trace was not sent"),
        (Meter::OtlpFailures, "wakeful_otlp_failures", "Requests to the receiver of OTLP that failed"),
    ];

    /// Counts one.
    pub fn count(&self, meter: Meter) {
        self.counts[meter as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts many.
    pub fn count_all(&self, meter: Meter, count: u64) {
        self.counts[meter as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self, meter: Meter) -> u64 {
        self.counts[meter as usize].load(Ordering::Relaxed)
    }

    /// Notes that the dispatcher is alive.
    pub fn beat(&self, now: wakeful_domain::time::Timestamp) {
        self.last_beat_micros.store(now.as_micros(), Ordering::Relaxed);
    }

    /// When the dispatcher last completed a beat.
    pub fn last_beat(&self) -> wakeful_domain::time::Timestamp {
        wakeful_domain::time::Timestamp::from_micros(self.last_beat_micros.load(Ordering::Relaxed))
    }
}
