//! A wakeup: one reason to wake one agent. It is never merged away, overwritten or
//! forgotten: each ends in exactly one terminal status.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::actor::Actor;
use crate::id::{AgentId, CompanyId, RunId, TaskId, WakeupId};
use crate::time::Timestamp;

/// What gave the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Manual,
    Goal,
    Assignment,
    Comment,
    Message,
    Child,
    Dependency,
    Subscription,
    Routine,
    Webhook,
    Timer,
    Schedule,
    Recovery,
}

impl Source {
    /// Every source, by its name.
    pub const ALL: &'static [(&'static str, Source)] = &[
        ("manual", Source::Manual),
        ("goal", Source::Goal),
        ("assignment", Source::Assignment),
        ("comment", Source::Comment),
        ("message", Source::Message),
        ("child", Source::Child),
        ("dependency", Source::Dependency),
        ("subscription", Source::Subscription),
        ("routine", Source::Routine),
        ("webhook", Source::Webhook),
        ("timer", Source::Timer),
        ("schedule", Source::Schedule),
        ("recovery", Source::Recovery),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Source::ALL.iter().find(|(_, source)| *source == self).map_or("manual", |(name, _)| name)
    }

    /// How urgent it is unless the wake says otherwise (0..100). Recovery takes over the
    /// priority of what it recovers; this is what it has alone.
    pub fn default_priority(self) -> i64 {
        match self {
            Source::Manual => 80,
            Source::Goal => 75,
            Source::Assignment | Source::Comment | Source::Message => 70,
            Source::Child | Source::Dependency | Source::Subscription => 65,
            Source::Routine | Source::Webhook => 60,
            Source::Timer | Source::Schedule | Source::Recovery => 50,
        }
    }
}

impl FromStr for Source {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Source::ALL.iter().find(|(name, _)| *name == text).map(|(_, source)| *source).ok_or_else(|| {
            format!(
                "`{text}` is not a source: use one of {}",
                Source::ALL.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ")
            )
        })
    }
}

/// Where a wakeup stands. Only `Pending` and `Claimed` can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WakeupStatus {
    Pending,
    Claimed,
    Completed,
    Failed,
    Cancelled,
    Skipped,
    Coalesced,
    Expired,
}

/// What happens to a wakeup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeupEvent {
    Claim,
    Complete,
    /// Its run ended without success, and it is tried again.
    PutBack,
    Fail,
    Cancel,
    Skip,
    Coalesce,
    Expire,
    /// A person asks for a dead letter to be tried again.
    Retry,
}

impl WakeupStatus {
    /// Every status, by its name.
    pub const ALL: &'static [(&'static str, WakeupStatus)] = &[
        ("pending", WakeupStatus::Pending),
        ("claimed", WakeupStatus::Claimed),
        ("completed", WakeupStatus::Completed),
        ("failed", WakeupStatus::Failed),
        ("cancelled", WakeupStatus::Cancelled),
        ("skipped", WakeupStatus::Skipped),
        ("coalesced", WakeupStatus::Coalesced),
        ("expired", WakeupStatus::Expired),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        WakeupStatus::ALL.iter().find(|(_, status)| *status == self).map_or("pending", |(name, _)| name)
    }

    /// Whether it is a fate.
    pub fn is_terminal(self) -> bool {
        match self {
            WakeupStatus::Pending | WakeupStatus::Claimed => false,
            WakeupStatus::Completed
            | WakeupStatus::Failed
            | WakeupStatus::Cancelled
            | WakeupStatus::Skipped
            | WakeupStatus::Coalesced
            | WakeupStatus::Expired => true,
        }
    }

    /// The status after `event`; `None` where the event does not apply.
    pub fn after(self, event: WakeupEvent) -> Option<WakeupStatus> {
        use WakeupStatus::{Cancelled, Claimed, Coalesced, Completed, Expired, Failed, Pending, Skipped};
        match (self, event) {
            (Pending, WakeupEvent::Claim) => Some(Claimed),
            (Pending, WakeupEvent::Cancel) => Some(Cancelled),
            (Pending, WakeupEvent::Skip) => Some(Skipped),
            (Pending, WakeupEvent::Coalesce) => Some(Coalesced),
            (Pending, WakeupEvent::Expire) => Some(Expired),
            (Pending, WakeupEvent::Complete | WakeupEvent::PutBack | WakeupEvent::Fail | WakeupEvent::Retry) => None,
            (Claimed, WakeupEvent::Complete) => Some(Completed),
            (Claimed, WakeupEvent::PutBack) => Some(Pending),
            (Claimed, WakeupEvent::Fail) => Some(Failed),
            (Claimed, WakeupEvent::Cancel) => Some(Cancelled),
            (
                Claimed,
                WakeupEvent::Claim
                | WakeupEvent::Skip
                | WakeupEvent::Coalesce
                | WakeupEvent::Expire
                | WakeupEvent::Retry,
            ) => None,
            (Failed, WakeupEvent::Retry) => Some(Pending),
            (
                Failed,
                WakeupEvent::Claim
                | WakeupEvent::Complete
                | WakeupEvent::PutBack
                | WakeupEvent::Fail
                | WakeupEvent::Cancel
                | WakeupEvent::Skip
                | WakeupEvent::Coalesce
                | WakeupEvent::Expire,
            ) => None,
            (
                Completed | Cancelled | Skipped | Coalesced | Expired,
                WakeupEvent::Claim
                | WakeupEvent::Complete
                | WakeupEvent::PutBack
                | WakeupEvent::Fail
                | WakeupEvent::Cancel
                | WakeupEvent::Skip
                | WakeupEvent::Coalesce
                | WakeupEvent::Expire
                | WakeupEvent::Retry,
            ) => None,
        }
    }
}

impl fmt::Display for WakeupStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One reason to wake one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Wakeup {
    pub id: WakeupId,
    pub company: CompanyId,
    pub agent: AgentId,
    pub task: Option<TaskId>,
    pub source: Source,
    pub trigger_detail: Option<String>,
    pub reason: Option<String>,
    /// How many ticks a timer wakeup stands for.
    pub count: i64,
    pub priority: i64,
    /// A JSON object.
    pub payload: Value,
    /// A JSON object.
    pub context: Value,
    pub actor: Actor,
    pub idempotency_key: Option<String>,
    pub cause_id: Option<String>,
    pub root_id: WakeupId,
    pub depth: i64,
    pub requested_at: Timestamp,
    pub due_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub status: WakeupStatus,
    pub status_reason: Option<String>,
    pub run: Option<RunId>,
    pub lead: bool,
    /// How many runs have had it, those that did not count excepted.
    pub attempt: i64,
    pub max_attempts: i64,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub finished_at: Option<Timestamp>,
}

/// Priorities go from 0 to this.
pub const PRIORITY_MAX: i64 = 100;

/// Where the context of a wake says which schedule it comes from.
pub const SCHEDULE_KEY: &str = "schedule";
/// Where the context of a wake says which goal is to be broken down.
pub const GOAL_KEY: &str = "goal";
/// Where the context of a wake says which model it is for.
pub const MODEL_KEY: &str = "model";
/// What one step of priority is worth, in waiting time.
const PRIORITY_STEP_MICROS: i64 = 36 * 1_000_000;

/// What orders ready lanes: the smallest goes first. With equal due times the higher
/// priority wins, and nothing waits behind later arrivals for more than an hour.
pub fn rank(due_at: Timestamp, priority: i64) -> i64 {
    due_at.as_micros().saturating_add((PRIORITY_MAX - priority) * PRIORITY_STEP_MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_waiting_beats_any_priority() {
        let now = Timestamp::from_millis(1_000_000_000);
        let hour_ago = Timestamp::from_millis(1_000_000_000 - 3_600_001);
        assert!(rank(hour_ago, 0) < rank(now, PRIORITY_MAX));
        assert!(rank(now, 80) < rank(now, 50));
    }

    #[test]
    fn a_terminal_status_never_changes_but_for_an_explicit_retry() {
        use WakeupEvent::*;
        for (_, status) in WakeupStatus::ALL.iter().filter(|(_, status)| status.is_terminal()) {
            for event in [Claim, Complete, PutBack, Fail, Cancel, Skip, Coalesce, Expire] {
                assert_eq!(status.after(event), None, "{status} {event:?}");
            }
            assert_eq!(status.after(Retry).is_some(), *status == WakeupStatus::Failed);
        }
    }
}
