//! Why a pending wakeup waits. Derived, never stored: the first condition that does not hold.

use serde::{Deserialize, Serialize};

use crate::agent::AgentState;
use crate::budget::Budget;
use crate::company::CompanyState;
use crate::id::{AgentId, RunId, TaskId};
use crate::lane::CIRCUIT_FAILURES;
use crate::time::Timestamp;

/// The name of the condition that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingReason {
    NotDue,
    QuietHours,
    LaneBusy,
    TaskHeld,
    CompanyPaused,
    AgentPaused,
    AgentPendingApproval,
    CircuitOpen,
    Draining,
    SafeMode,
    /// The store was restored, and nobody has said yet that it is to go on.
    Restored,
    AgentAtCapacity,
    CompanyAtCapacity,
    HostAtCapacity,
    QuotaUntil,
    BudgetExhausted,
    HostPressure,
    /// Nothing stands in its way: the dispatcher is about to take it.
    Dispatching,
}

/// Why a wakeup waits, said whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub reason: WaitingReason,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What the answer depends on.
#[derive(Debug, Clone)]
pub struct Standing {
    pub due_at: Timestamp,
    /// Later than `due_at` for a timer outside the agent's active hours.
    pub eligible_at: Timestamp,
    pub attempt: i64,
    pub max_attempts: i64,
    pub agent: AgentStanding,
    pub company: CompanyStanding,
    pub lane_live_run: Option<RunId>,
    pub circuit_opened_at: Option<Timestamp>,
    /// Who holds the task of the wakeup.
    pub task_holder: Option<TaskHolder>,
    /// What keeps new runs back, if a budget does.
    pub budget: Option<Budget>,
}

/// A live run that holds a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskHolder {
    pub task: TaskId,
    pub run: RunId,
    pub agent: AgentId,
    pub agent_name: String,
    /// When it is stopped at the latest, if it has a limit.
    pub until: Option<Timestamp>,
}

/// How the agent of a wakeup stands.
#[derive(Debug, Clone)]
pub struct AgentStanding {
    pub name: String,
    pub state: AgentState,
    pub state_reason: Option<String>,
    pub live_runs: i64,
    pub max_concurrent_runs: i64,
    pub quota_until: Option<Timestamp>,
}

/// How the company of a wakeup stands.
#[derive(Debug, Clone)]
pub struct CompanyStanding {
    pub slug: String,
    pub state: CompanyState,
    pub state_reason: Option<String>,
    pub live_runs: i64,
    pub max_concurrent_runs: i64,
}

/// How the server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    pub live_runs: usize,
    pub live_runs_max: usize,
    pub is_draining: bool,
    pub is_in_safe_mode: bool,
    /// When the backup was taken that the store was restored from, until somebody says that it is to go on.
    pub restored_from: Option<Timestamp>,
    /// What the host is short of, in words.
    pub pressure: Option<&'static str>,
}

impl Host {
    /// Whether nothing may start here, however many places are free.
    pub fn starts_nothing(&self) -> bool {
        self.is_draining || self.is_in_safe_mode || self.restored_from.is_some() || self.pressure.is_some()
    }
}

/// The first condition that keeps a pending wakeup from starting.
pub fn why_waiting(standing: &Standing, host: Host, now: Timestamp) -> Waiting {
    let Standing { agent, company, .. } = standing;
    let waiting = |reason, detail: String| Waiting { reason, detail, until: None };
    if standing.due_at > now {
        let detail = match standing.attempt {
            0 => "it is not due yet".to_owned(),
            attempt => {
                format!("attempt {attempt} of {} failed; it is tried again after a pause", standing.max_attempts)
            }
        };
        return Waiting { reason: WaitingReason::NotDue, detail, until: Some(standing.due_at) };
    }
    if standing.eligible_at > now {
        let detail = format!("a timer waits for the active hours of {}", agent.name);
        return Waiting { reason: WaitingReason::QuietHours, detail, until: Some(standing.eligible_at) };
    }
    if let Some(run) = standing.lane_live_run {
        return waiting(
            WaitingReason::LaneBusy,
            format!("{} is at work on this lane ({run}); it makes the follow-up run", agent.name),
        );
    }
    if let Some(holder) = &standing.task_holder {
        let detail = format!("task {} is held by {} of {}", holder.task, holder.run, holder.agent_name);
        return Waiting { reason: WaitingReason::TaskHeld, detail, until: holder.until };
    }
    if company.state == CompanyState::Paused {
        return waiting(
            WaitingReason::CompanyPaused,
            with_reason(&format!("company {} is paused", company.slug), &company.state_reason),
        );
    }
    match agent.state {
        AgentState::Active => {}
        AgentState::Paused => {
            let detail = with_reason(&format!("agent {} is paused", agent.name), &agent.state_reason);
            return waiting(WaitingReason::AgentPaused, detail);
        }
        AgentState::PendingApproval | AgentState::Terminated => {
            let detail = format!("agent {} is {}", agent.name, agent.state.as_str().replace('_', " "));
            return waiting(WaitingReason::AgentPendingApproval, detail);
        }
    }
    if let Some(since) = standing.circuit_opened_at {
        let detail = format!(
            "{CIRCUIT_FAILURES} runs in a row failed on this lane by {since}; it starts again after `wakeful agent resume {}` or an explicit retry",
            agent.name
        );
        return waiting(WaitingReason::CircuitOpen, detail);
    }
    if host.is_draining {
        return waiting(WaitingReason::Draining, "the server is draining and starts nothing new".into());
    }
    if host.is_in_safe_mode {
        return waiting(WaitingReason::SafeMode, "the server is in safe mode and starts nothing".into());
    }
    if let Some(taken_at) = host.restored_from {
        let detail = format!("the store was restored from the backup of {taken_at}; `wakeful restore --go-on` goes on");
        return waiting(WaitingReason::Restored, detail);
    }
    if agent.live_runs >= agent.max_concurrent_runs {
        let detail = format!("agent {} has {} of {} runs live", agent.name, agent.live_runs, agent.max_concurrent_runs);
        return waiting(WaitingReason::AgentAtCapacity, detail);
    }
    if company.live_runs >= company.max_concurrent_runs {
        let detail =
            format!("company {} has {} of {} runs live", company.slug, company.live_runs, company.max_concurrent_runs);
        return waiting(WaitingReason::CompanyAtCapacity, detail);
    }
    if host.live_runs >= host.live_runs_max {
        let detail = format!("the server has {} of {} runs live", host.live_runs, host.live_runs_max);
        return waiting(WaitingReason::HostAtCapacity, detail);
    }
    if let Some(until) = agent.quota_until.filter(|until| *until > now) {
        let detail = format!("a usage limit holds the account of agent {}", agent.name);
        return Waiting { reason: WaitingReason::QuotaUntil, detail, until: Some(until) };
    }
    if let Some(budget) = &standing.budget {
        let detail = format!(
            "the budget of {} ({} {}) has no room for another run: {} are spent",
            budget.words(),
            budget.scope.kind(),
            budget.id,
            budget.spent
        );
        return Waiting { reason: WaitingReason::BudgetExhausted, detail, until: budget.window_ends_at };
    }
    if let Some(pressure) = host.pressure {
        return waiting(
            WaitingReason::HostPressure,
            format!("the host is {pressure}; nothing more is started until it recovers"),
        );
    }
    waiting(WaitingReason::Dispatching, "nothing stands in its way: it starts now".into())
}

fn with_reason(sentence: &str, reason: &Option<String>) -> String {
    match reason {
        Some(reason) => format!("{sentence} ({reason})"),
        None => sentence.to_owned(),
    }
}
