//! A run: one execution of an agent for one lane, started with a batch of wakeups.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{AgentId, CompanyId, RunId, TaskId};
use crate::outcome::End;
use crate::session::Start;
use crate::time::Timestamp;
use crate::usage::Usage;
use crate::worktree::Base;

/// Where a run stands. `Starting` and `Running` are live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    Starting,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
    Lost,
}

/// What happens to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEvent {
    /// Its process has been started.
    Started,
    Ended(End),
}

impl RunStatus {
    /// Every status, by its name.
    pub const ALL: &'static [(&'static str, RunStatus)] = &[
        ("starting", RunStatus::Starting),
        ("running", RunStatus::Running),
        ("succeeded", RunStatus::Succeeded),
        ("failed", RunStatus::Failed),
        ("cancelled", RunStatus::Cancelled),
        ("timed_out", RunStatus::TimedOut),
        ("lost", RunStatus::Lost),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        RunStatus::ALL.iter().find(|(_, status)| *status == self).map_or("starting", |(name, _)| name)
    }

    /// Whether it holds its lane, its task and its place under the caps.
    pub fn is_live(self) -> bool {
        match self {
            RunStatus::Starting | RunStatus::Running => true,
            RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled | RunStatus::TimedOut | RunStatus::Lost => {
                false
            }
        }
    }

    /// The status after `event`; `None` where the event does not apply.
    pub fn after(self, event: RunEvent) -> Option<RunStatus> {
        match (self, event) {
            (RunStatus::Starting, RunEvent::Started) => Some(RunStatus::Running),
            (RunStatus::Running, RunEvent::Started) => None,
            (RunStatus::Starting | RunStatus::Running, RunEvent::Ended(end)) => Some(RunStatus::of(end)),
            (
                RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled | RunStatus::TimedOut | RunStatus::Lost,
                RunEvent::Started | RunEvent::Ended(_),
            ) => None,
        }
    }

    fn of(end: End) -> RunStatus {
        match end {
            End::Succeeded => RunStatus::Succeeded,
            End::Failed => RunStatus::Failed,
            End::Cancelled => RunStatus::Cancelled,
            End::TimedOut => RunStatus::TimedOut,
            End::Lost => RunStatus::Lost,
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A process and its incarnation: pids come round again, these three together do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    pub pid: i32,
    /// Clock ticks since boot, field 22 of `/proc/<pid>/stat`.
    pub start_time: u64,
    pub boot_id: String,
}

/// A run as its own writes name it: they count only while it lives under this fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunFence {
    pub run: RunId,
    pub fence: i64,
}

/// A wish to stop that outlives the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    pub reason: String,
    pub at: Timestamp,
    /// Whether the wakeups go back to waiting (a pause) or end with the run (a cancel).
    #[serde(default)]
    pub puts_back: bool,
    /// Whether the run is stopped because it was silent for too long: then it failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stalled: bool,
    /// Whether a budget is spent: work that was finished all the same stands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spent: bool,
}

impl StopRequest {
    /// A stop that ends the wakeups with the run.
    pub fn cancel(reason: impl Into<String>, at: Timestamp) -> StopRequest {
        StopRequest { reason: reason.into(), at, puts_back: false, stalled: false, spent: false }
    }

    /// A stop after which the wakeups wait again.
    pub fn pause(reason: impl Into<String>, at: Timestamp) -> StopRequest {
        StopRequest { puts_back: true, ..StopRequest::cancel(reason, at) }
    }

    /// A stop of a run that has nothing left to spend.
    pub fn spent(reason: impl Into<String>, at: Timestamp) -> StopRequest {
        StopRequest { spent: true, ..StopRequest::cancel(reason, at) }
    }

    /// A stop of a run that was silent for too long.
    pub fn stall(reason: impl Into<String>, at: Timestamp) -> StopRequest {
        StopRequest { stalled: true, ..StopRequest::cancel(reason, at) }
    }
}

/// Bytes and lines of a run's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSummary {
    pub bytes: i64,
    pub lines: i64,
    pub sha256: Option<String>,
    pub truncated: bool,
}

/// How the run came by its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionChoice {
    pub choice: Start,
    pub reason: String,
}

/// The directory the run works in, and why that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    pub cwd: String,
    /// `project`, `adapter`, `session` or `agent_home`; with a worktree, where that is of.
    pub source: String,
    pub reason: String,
    /// The git worktree that it lies in, if the task asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<WorktreeUse>,
}

/// A worktree that a run works in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorktreeUse {
    pub repository: String,
    pub path: String,
    pub branch: String,
    pub base: Base,
}

/// One execution of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub id: RunId,
    pub company: CompanyId,
    pub agent: AgentId,
    pub task: Option<TaskId>,
    pub adapter: String,
    /// Rises with every claim of the lane; every write of the run proves it.
    pub fence: i64,
    pub status: RunStatus,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub exit_code: Option<i64>,
    pub signal: Option<i64>,
    pub session_before: Option<String>,
    pub session_after: Option<String>,
    pub session_choice: Option<SessionChoice>,
    pub usage: Usage,
    pub cost_micros: Option<i64>,
    pub model: Option<String>,
    pub provider: Option<String>,
    pub billing: Option<String>,
    pub summary: Option<String>,
    pub result: Option<Value>,
    pub stop: Option<StopRequest>,
    pub workspace: Option<Workspace>,
    pub process: Option<ProcessIdentity>,
    pub last_output_at: Option<Timestamp>,
    pub last_event_at: Option<Timestamp>,
    pub log: LogSummary,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Since when it is kept whatever its age.
    pub pinned_at: Option<Timestamp>,
    /// When the body of its log was removed; what the row says of it stays.
    pub log_removed_at: Option<Timestamp>,
}

impl Run {
    /// The run as its own writes name it.
    pub fn proof(&self) -> RunFence {
        RunFence { run: self.id, fence: self.fence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_run_takes_no_more_events() {
        for (_, status) in RunStatus::ALL.iter().filter(|(_, status)| !status.is_live()) {
            for event in [RunEvent::Started, RunEvent::Ended(End::Succeeded), RunEvent::Ended(End::Lost)] {
                assert_eq!(status.after(event), None);
            }
        }
    }
}
