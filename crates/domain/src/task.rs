//! A task: what an agent works on. Its lane keeps the runs about it apart.

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, CompanyId, RunId, TaskId};
use crate::time::Timestamp;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    Backlog,
    Todo,
    InProgress,
    InReview,
    Blocked,
    Done,
    Cancelled,
}

impl TaskStatus {
    /// Whether nothing more is to be done about it.
    pub fn is_closed(self) -> bool {
        match self {
            TaskStatus::Done | TaskStatus::Cancelled => true,
            TaskStatus::Backlog
            | TaskStatus::Todo
            | TaskStatus::InProgress
            | TaskStatus::InReview
            | TaskStatus::Blocked => false,
        }
    }
}

/// What an agent works on.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub id: TaskId,
    pub company: CompanyId,
    pub title: String,
    pub description: Option<String>,
    pub status: TaskStatus,
    pub assignee: Option<AgentId>,
    /// The live run that works on it; no other run may meanwhile.
    pub held_by: Option<RunId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
