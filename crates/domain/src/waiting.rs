//! Why a pending wakeup waits. Derived, never stored: the first condition that does not hold.

use serde::{Deserialize, Serialize};

use crate::agent::AgentState;
use crate::company::CompanyState;
use crate::id::{RunId, TaskId};
use crate::time::Timestamp;

/// The name of the condition that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingReason {
    NotDue,
    LaneBusy,
    TaskHeld,
    CompanyPaused,
    AgentPaused,
    AgentPendingApproval,
    Draining,
    AgentAtCapacity,
    CompanyAtCapacity,
    HostAtCapacity,
    QuotaUntil,
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
    pub attempt: i64,
    pub max_attempts: i64,
    pub agent: AgentStanding,
    pub company: CompanyStanding,
    pub lane_live_run: Option<RunId>,
    /// The task of the wakeup and the run that holds it.
    pub task_holder: Option<(TaskId, RunId)>,
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
    if let Some(run) = standing.lane_live_run {
        return waiting(
            WaitingReason::LaneBusy,
            format!("{} is at work on this lane ({run}); it makes the follow-up run", agent.name),
        );
    }
    if let Some((task, run)) = standing.task_holder {
        return waiting(WaitingReason::TaskHeld, format!("task {task} is held by {run}"));
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
    if host.is_draining {
        return waiting(WaitingReason::Draining, "the server is draining and starts nothing new".into());
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
    waiting(WaitingReason::Dispatching, "nothing stands in its way: it starts now".into())
}

fn with_reason(sentence: &str, reason: &Option<String>) -> String {
    match reason {
        Some(reason) => format!("{sentence} ({reason})"),
        None => sentence.to_owned(),
    }
}
