//! When a failed wakeup is tried again: the policy of an agent, and the arithmetic.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Back-off after failures: `delays_s[n - 1]` seconds after attempt n, the last one repeating.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Seconds before each retry; empty means that nothing is retried.
    pub delays_s: Vec<u32>,
    /// Every delay is stretched or shrunk by up to this share of itself.
    #[serde(default = "RetryPolicy::jitter_default")]
    pub jitter: f64,
}

impl Default for RetryPolicy {
    /// 2 min, 10 min, 30 min, 2 h, ± 25 %: five attempts.
    fn default() -> Self {
        Self { delays_s: vec![120, 600, 1_800, 7_200], jitter: Self::jitter_default() }
    }
}

/// A longer list of delays is refused.
pub const DELAYS_MAX: usize = 20;
/// A longer delay is refused: 30 days.
pub const DELAY_S_MAX: u32 = 30 * 86_400;

impl RetryPolicy {
    fn jitter_default() -> f64 {
        0.25
    }

    /// How often a wakeup is tried under this policy, unless it says otherwise itself.
    pub fn attempts_max_default(&self) -> i64 {
        self.delays_s.len() as i64 + 1
    }

    /// How long to wait after the `attempt`th attempt (from 1); `None` when nothing is retried.
    /// `draw` in 0..1 is the chance that jitter makes use of: one draw per run.
    pub fn delay_after(&self, attempt: i64, draw: f64) -> Option<Duration> {
        let last = self.delays_s.len().checked_sub(1)?;
        let place = usize::try_from(attempt - 1).unwrap_or(0).min(last);
        let factor = 1.0 + self.jitter * (2.0 * draw - 1.0);
        Some(Duration::from_secs_f64((f64::from(self.delays_s[place]) * factor).max(0.0)))
    }

    /// What is wrong with it, as (field, message).
    pub fn problem(&self) -> Option<(&'static str, String)> {
        if self.delays_s.len() > DELAYS_MAX {
            return Some((
                "retry.delays_s",
                format!("has {} entries; at most {DELAYS_MAX} are allowed", self.delays_s.len()),
            ));
        }
        if let Some(delay) = self.delays_s.iter().find(|delay| **delay > DELAY_S_MAX) {
            return Some((
                "retry.delays_s",
                format!("holds {delay}; a delay is at most {DELAY_S_MAX} seconds (30 days)"),
            ));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Some(("retry.jitter", format!("is {}; it must lie between 0 and 1", self.jitter)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_default_delays_are_reached_and_the_last_repeats() {
        let policy = RetryPolicy::default();
        let seconds = |attempt| policy.delay_after(attempt, 0.5).unwrap().as_secs();
        assert_eq!([1, 2, 3, 4, 5, 50].map(seconds), [120, 600, 1_800, 7_200, 7_200, 7_200]);
        assert_eq!(policy.attempts_max_default(), 5);
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let policy = RetryPolicy { delays_s: vec![100], jitter: 0.25 };
        assert_eq!(policy.delay_after(1, 0.0).unwrap(), Duration::from_secs(75));
        assert_eq!(policy.delay_after(1, 1.0).unwrap(), Duration::from_secs(125));
    }

    #[test]
    fn an_empty_list_means_no_retry() {
        let policy = RetryPolicy { delays_s: vec![], jitter: 0.25 };
        assert_eq!((policy.delay_after(1, 0.5), policy.attempts_max_default()), (None, 1));
    }
}
