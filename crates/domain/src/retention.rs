//! What is kept for how long: by age, and by number where rows come without end. Not here: what is kept whatever its
//! age, because something that is kept refers to it.

use std::time::Duration;

use crate::time::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// Nothing younger than this is removed, whatever else is said: callers repeat requests for a day.
pub const YOUNG: Duration = DAY;

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Runs, wakeups, slots, notifications, receipts, mail that was read, subscriptions that ended.
    pub rows: Duration,
    /// Events of companies.
    pub events: Duration,
    /// Bodies of logs: shorter than their runs.
    pub logs: Duration,
    /// Idempotency keys of requests.
    pub keys: Duration,
    /// Runs, wakeups and events each, the newest.
    pub rows_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { rows: 90 * DAY, events: 30 * DAY, logs: 30 * DAY, keys: 7 * DAY, rows_max: 1_000_000 }
    }
}

/// What came before this may go, given an age and the time of the oldest row that is kept for its number.
pub fn cutoff(now: Timestamp, age: Duration, oldest_of_number: Option<Timestamp>) -> Timestamp {
    let by_age = before(now, age);
    oldest_of_number.map_or(by_age, |oldest| oldest.max(by_age)).min(before(now, YOUNG))
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_or_number_removes_and_a_day_is_always_kept() {
        let now = Timestamp::from_millis(1_000 * 86_400_000);
        let days = |count: i64| Timestamp::from_millis((1_000 - count) * 86_400_000);
        assert_eq!(cutoff(now, 90 * DAY, None), days(90));
        assert_eq!(cutoff(now, 90 * DAY, Some(days(10))), days(10));
        assert_eq!(cutoff(now, 90 * DAY, Some(days(200))), days(90));
        assert_eq!(cutoff(now, Duration::ZERO, None), days(1));
        assert_eq!(cutoff(now, 90 * DAY, Some(now)), days(1));
        assert_eq!(cutoff(now, Duration::MAX, None).as_micros(), now.as_micros() - i64::MAX);
    }
}
