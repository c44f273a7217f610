//! An agent: whom Wakeful wakes, how it is started, and how often it may run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::active_hours::ActiveHours;
use crate::id::{AgentId, CompanyId};
use crate::retry::RetryPolicy;
use crate::schedule::{Gate, Trigger, TriggerError, TriggerText};
use crate::session::SessionPolicy;
use crate::time::Timestamp;
use crate::wakeup::Source;

/// Live runs of one agent, unless it says otherwise.
pub const MAX_CONCURRENT_RUNS_DEFAULT: i64 = 1;
/// An agent may not ask for more live runs than this.
pub const MAX_CONCURRENT_RUNS_MAX: i64 = 50;
/// Longer names are refused.
pub const NAME_CHARS_MAX: usize = 80;

/// Whether an agent may be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    Active,
    Paused,
    PendingApproval,
    Terminated,
}

/// How an agent stands, for lists: its state, and what an active one is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentStatus {
    /// Active, with a live run.
    Running,
    /// Active, without one.
    Idle,
    /// Active, while a usage limit holds its account.
    Parked,
    Paused,
    PendingApproval,
    Terminated,
}

/// What is done to an agent's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentEvent {
    Pause,
    Resume,
    Approve,
    Terminate,
}

impl AgentState {
    /// The state after `event`; `None` where the event does not apply.
    pub fn after(self, event: AgentEvent) -> Option<AgentState> {
        use AgentState::{Active, Paused, PendingApproval, Terminated};
        match (self, event) {
            (Active | Paused, AgentEvent::Pause) => Some(Paused),
            (Active | Paused, AgentEvent::Resume) => Some(Active),
            (Active | PendingApproval, AgentEvent::Approve) => Some(Active),
            (Active | Paused | PendingApproval | Terminated, AgentEvent::Terminate) => Some(Terminated),
            (PendingApproval | Terminated, AgentEvent::Pause | AgentEvent::Resume) => None,
            (Paused | Terminated, AgentEvent::Approve) => None,
        }
    }

    /// As it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            AgentState::Active => "active",
            AgentState::Paused => "paused",
            AgentState::PendingApproval => "pending_approval",
            AgentState::Terminated => "terminated",
        }
    }
}

/// Whether, and when, an agent is woken by the clock and by others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heartbeat {
    /// Whether timers wake it.
    pub enabled: bool,
    /// Whether anything but a timer wakes it.
    pub wake_on_demand: bool,
    /// Period of its timer, as `30m`; or `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// Pattern of its timer; or `every`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Whether its timer passes over it when it has nothing to do.
    pub only_when_work: bool,
    /// Laid over the model of its adapter when its timer wakes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Asked before its timer wakes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// When timers may start it; always if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_hours: Option<ActiveHours>,
    /// IANA name of the zone of its active hours; the company's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            enabled: false,
            wake_on_demand: true,
            every: None,
            cron: None,
            only_when_work: true,
            model: None,
            gate: None,
            active_hours: None,
            time_zone: None,
        }
    }
}

impl Heartbeat {
    /// When its timer ticks; `None` if it has none.
    pub fn trigger(&self) -> Result<Option<Trigger>, TriggerError> {
        if !self.enabled || (self.every.is_none() && self.cron.is_none()) {
            return Ok(None);
        }
        let time_zone = self.time_zone.clone().filter(|_| self.cron.is_some());
        let text = TriggerText { cron: self.cron.clone(), every: self.every.clone(), time_zone, at: None };
        Trigger::try_from(text).map(Some)
    }

    /// Why a wake from `source` is not wanted, by this policy.
    pub fn declines(&self, source: Source) -> Option<&'static str> {
        match source {
            Source::Timer => (!self.enabled).then_some("heartbeat_disabled"),
            Source::Manual
            | Source::Goal
            | Source::Assignment
            | Source::Comment
            | Source::Message
            | Source::Child
            | Source::Dependency
            | Source::Subscription
            | Source::Routine
            | Source::Webhook
            | Source::Schedule
            | Source::Recovery => (!self.wake_on_demand).then_some("wake_on_demand_disabled"),
        }
    }
}

/// What a single run may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Seconds after which a run is stopped as `timed_out`; none by default.
    pub max_duration_s: Option<u32>,
    /// Seconds between the stop signal and the kill; the adapter's default if absent.
    pub grace_s: Option<u32>,
    /// Seconds within which the agent must write its first byte; 120 for agents that report as they work,
    /// none for a `process`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_output_s: Option<u32>,
    /// Seconds of silence after which the agent is nudged; after twice as many a person is told, after
    /// four times as many the run is stopped. 1800 by default, 0 for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_after_s: Option<u32>,
    /// MiB of memory that the whole process tree may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory_mb: Option<u32>,
    /// Processes and threads that the whole tree may have at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_processes: Option<u32>,
    /// MiB of output that are kept from the beginning; 64 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_log_mb: Option<u32>,
}

impl Limits {
    /// What is wrong with the limits, if anything: the field and the remedy.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        let is_zero = |limit: Option<u32>| limit == Some(0);
        if is_zero(self.max_memory_mb) || is_zero(self.max_processes) || is_zero(self.first_output_s) {
            return Some((
                "limits",
                "max_memory_mb, max_processes and first_output_s must be at least 1; leave one out for no limit",
            ));
        }
        match self.max_log_mb {
            Some(mb) if !(1..=LOG_MB_MAX).contains(&mb) => Some(("limits.max_log_mb", "must lie between 1 and 4096")),
            _ => None,
        }
    }
}

/// Longer logs are not kept, whatever an agent asks for.
const LOG_MB_MAX: u32 = 4096;

/// Whom Wakeful wakes.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    pub id: AgentId,
    pub company: CompanyId,
    pub name: String,
    pub title: Option<String>,
    /// `{type, …}`: checked by the adapter it names.
    pub adapter: Value,
    pub capabilities: Vec<String>,
    pub heartbeat: Heartbeat,
    pub max_concurrent_runs: i64,
    pub retry: RetryPolicy,
    pub limits: Limits,
    /// When the session of a lane is rotated.
    pub session: SessionPolicy,
    pub state: AgentState,
    pub state_reason: Option<String>,
    /// A usage limit holds all of the agent's provider account until then.
    pub quota_until: Option<Timestamp>,
    pub live_runs: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What is wrong with a name, if anything. Names stand in `@mentions` and on the command line.
pub fn name_problem(name: &str) -> Option<String> {
    let count = name.chars().count();
    if count == 0 || count > NAME_CHARS_MAX {
        return Some(format!("must have 1 to {NAME_CHARS_MAX} characters"));
    }
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!name.chars().all(allowed) || name.starts_with("agt_"))
        .then(|| "may hold letters, digits, `-`, `_` and `.` only, and not begin with `agt_`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminated_agent_stays_terminated() {
        for event in [AgentEvent::Pause, AgentEvent::Resume, AgentEvent::Approve] {
            assert_eq!(AgentState::Terminated.after(event), None);
        }
        assert_eq!(AgentState::Paused.after(AgentEvent::Resume), Some(AgentState::Active));
    }

    #[test]
    fn names_fit_mentions_and_the_command_line() {
        for good in ["coder", "Ann-2", "größe.x"] {
            assert_eq!(name_problem(good), None, "{good}");
        }
        for bad in ["", "two words", "a/b", "agt_x", "a@b"] {
            assert!(name_problem(bad).is_some(), "{bad}");
        }
    }
}
