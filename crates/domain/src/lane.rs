//! A lane: the pair (agent, task) or (agent, no task). It holds pending wakeups and at most one live run.

use std::time::Duration;

use crate::time::Timestamp;

/// At most this many wakeups go into one batch; the rest make the next run.
pub const BATCH_WAKEUPS_MAX: i64 = 1_000;
/// At most this many bytes of payload and context go into one batch (the first wakeup always goes).
pub const BATCH_BYTES_MAX: i64 = 8 * 1024 * 1024;

/// Failed runs in a row that open a lane's circuit.
pub const CIRCUIT_FAILURES: usize = 5;
/// Failures further apart than this are no loop.
pub const CIRCUIT_WINDOW: Duration = Duration::from_secs(30 * 60);

/// The failures of a lane that came in a row, as far as they matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureStreak {
    /// The newest [`CIRCUIT_FAILURES`] of them, oldest first.
    pub failed_at: Vec<Timestamp>,
    /// Whether nothing may start on the lane until a person says so.
    pub opens_circuit: bool,
}

/// The streak after one more failure.
pub fn after_failure(mut failed_at: Vec<Timestamp>, now: Timestamp) -> FailureStreak {
    failed_at.push(now);
    let surplus = failed_at.len().saturating_sub(CIRCUIT_FAILURES);
    failed_at.drain(..surplus);
    let opens_circuit = failed_at.len() == CIRCUIT_FAILURES && now.since(failed_at[0]) <= CIRCUIT_WINDOW;
    FailureStreak { failed_at, opens_circuit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streak(minutes: &[i64]) -> FailureStreak {
        let mut streak = FailureStreak { failed_at: Vec::new(), opens_circuit: false };
        for minute in minutes {
            streak = after_failure(streak.failed_at, Timestamp::from_millis(minute * 60_000));
        }
        streak
    }

    #[test]
    fn five_failures_within_half_an_hour_open_the_circuit() {
        assert!(!streak(&[0, 1, 2, 3]).opens_circuit);
        assert!(streak(&[0, 1, 2, 3, 30]).opens_circuit);
        assert!(!streak(&[0, 1, 2, 3, 31]).opens_circuit);
        assert!(streak(&[0, 10, 11, 12, 13, 40]).opens_circuit, "only the newest five count");
        assert_eq!(streak(&[0, 1, 2, 3, 4, 5, 6]).failed_at.len(), CIRCUIT_FAILURES);
    }
}
