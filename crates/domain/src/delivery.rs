//! A delivery: one notification on its way through one channel. Here are its states, what an attempt may come to,
//! when the next one is due, and the pace of a channel.
//!
//! A delivery is made at least once: a receiver that has it already knows it by its id, which stays the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{ChannelId, CompanyId, DeliveryId, NotificationId};
use crate::time::Timestamp;

/// Seconds before each further attempt; after the last one the delivery has failed. Together about 15 hours.
const DELAYS_S: [u64; 7] = [30, 120, 600, 1_800, 7_200, 14_400, 28_800];
/// Each delay is stretched or shrunk by up to this share of itself.
const JITTER: f64 = 0.1;
/// A receiver may ask for a longer pause than the delay, up to this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// So many failed attempts in a row of one delivery are an incident of its channel.
pub const INCIDENT_ATTEMPTS: i64 = 3;
/// Attempts whose log is kept: those of one try in full, and what was before somebody asked for another.
pub const LOG_MAX: usize = 20;
/// Longer details of an attempt are cut.
pub const DETAIL_CHARS_MAX: usize = 500;
/// So many attempts of a channel may come at once …
const BURST: u32 = 10;
/// … and one more each time this has passed: never more than 20 in a minute.
const PACE: Duration = Duration::from_secs(6);

/// One notification on its way through one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub company: CompanyId,
    pub channel: ChannelId,
    pub notification: NotificationId,
    pub status: DeliveryStatus,
    /// Attempts since it was made, or since somebody asked for it again.
    pub attempts: i64,
    /// What became of the last attempts, oldest first.
    pub log: Vec<Attempt>,
    /// When the next attempt is due; while one is made, when it is given up.
    pub due_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// It waits for its next attempt.
    Pending,
    /// An attempt is made.
    Sending,
    /// The receiver has said that it has it.
    Delivered,
    /// It was given up.
    Failed,
    /// Its channel was disabled or removed.
    Cancelled,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Timestamp,
    pub ok: bool,
    pub detail: String,
    pub duration_ms: u64,
}

/// What an attempt came to. No text of it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The receiver has it.
    Accepted(String),
    /// It may go better later.
    Deferred { detail: String, retry_after: Option<Duration> },
    /// It will not go better: the receiver refuses it, or the settings are wrong.
    Refused(String),
}

impl Answer {
    /// A failure that time may mend.
    pub fn deferred(detail: impl Into<String>) -> Answer {
        Answer::Deferred { detail: detail.into(), retry_after: None }
    }

    /// What it says.
    pub fn detail(&self) -> &str {
        match self {
            Answer::Accepted(detail) | Answer::Refused(detail) | Answer::Deferred { detail, .. } => detail,
        }
    }
}

/// The id of the `place`th delivery of a notification: the same however often the operation is run, and in the order
/// of the notifications.
pub fn id_of(notification: NotificationId, place: usize) -> DeliveryId {
    DeliveryId::from_uuid(Uuid::from_u128(notification.uuid().as_u128().wrapping_add(place as u128)))
}

/// When the attempt after the `attempts`th is due, counted from the end of that one; `None` if there is none.
/// `draw` in 0..1 is the chance that jitter makes use of.
pub fn next_attempt_in(attempts: i64, retry_after: Option<Duration>, draw: f64) -> Option<Duration> {
    let place = usize::try_from(attempts - 1).unwrap_or(0);
    let delay = DELAYS_S.get(place)?;
    let delay = Duration::from_secs(*delay).mul_f64(1.0 + JITTER * (2.0 * draw - 1.0));
    Some(delay.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)))
}

/// When a channel that is paced until `paced_until` may make its next attempt.
pub fn may_attempt_at(paced_until: Timestamp) -> Timestamp {
    paced_until - PACE * (BURST - 1)
}

/// How far the pace of a channel is used up once it has made an attempt at `now`.
pub fn pace(paced_until: Timestamp, now: Timestamp) -> Timestamp {
    paced_until.max(now) + PACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_over_hours_and_end() {
        let seconds = |attempts| next_attempt_in(attempts, None, 0.5).map(|delay| delay.as_secs());
        let found: Vec<_> = (1..=8).map(seconds).collect();
        let expected = [Some(30), Some(120), Some(600), Some(1_800), Some(7_200), Some(14_400), Some(28_800), None];
        assert_eq!(found, expected);
        let total: u64 = DELAYS_S.iter().sum();
        assert!(total > 12 * 3_600);
    }

    #[test]
    fn jitter_stays_within_its_share_and_a_receiver_may_ask_for_more_time() {
        let check = |retry_after: Option<u64>, draw: f64, expected_s: u64| {
            let found = next_attempt_in(1, retry_after.map(Duration::from_secs), draw);
            assert_eq!(found, Some(Duration::from_secs(expected_s)));
        };
        check(None, 0.0, 27);
        check(None, 1.0, 33);
        check(Some(5), 0.5, 30);
        check(Some(3_600), 0.5, 3_600);
        check(Some(u64::MAX), 0.5, RETRY_AFTER_MAX.as_secs());
        assert_eq!(next_attempt_in(8, Some(Duration::from_secs(1)), 0.5), None, "nobody asks for one more");
    }

    #[test]
    fn a_channel_makes_at_most_20_attempts_in_any_minute() {
        let mut paced_until = Timestamp::from_millis(0);
        let start = Timestamp::from_millis(1_000_000);
        let mut made: Vec<Timestamp> = Vec::new();
        // Always one more as soon as it may, with a rest in between that lets the burst come again.
        let mut now = start;
        for count in 0..100 {
            now = now.max(may_attempt_at(paced_until)) + Duration::from_secs(if count == 50 { 300 } else { 0 });
            paced_until = pace(paced_until, now);
            made.push(now);
        }
        assert_eq!(made[9], start, "ten may come at once");
        assert!(made[10] > start);
        let minute = Duration::from_secs(60);
        for at in &made {
            let within = made.iter().filter(|other| *other >= at && **other < *at + minute).count();
            assert!(within <= 20, "{within} within a minute");
        }
    }
}
