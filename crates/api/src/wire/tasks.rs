//! Tasks and comments in requests and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wakeful_domain::actor::Actor;
use wakeful_domain::comment::Comment;
use wakeful_domain::task::{AdapterOverrides, Task, TaskPriority, TaskStatus, TaskWorkspace, WakeParent};
use wakeful_store::ops::blockers::Blocker;

use super::agents::present;
use super::hidden::hide_keys;

/// A task to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    pub title: String,
    pub description: Option<String>,
    /// `todo` by default.
    #[schema(value_type = Option<String>)]
    pub status: Option<TaskStatus>,
    /// `low`, `medium` (default), `high` or `critical`.
    #[schema(value_type = Option<String>)]
    pub priority: Option<TaskPriority>,
    /// Id of the agent that is to do it; it is woken.
    pub assignee: Option<String>,
    pub goal: Option<String>,
    pub project: Option<String>,
    /// Id or key of the task that this one is a part of.
    pub parent: Option<String>,
    /// When an end of this task wakes the parent's agent: `each` (default), `all` or `never`.
    #[schema(value_type = Option<String>)]
    pub wake_parent: Option<WakeParent>,
    /// Ids or keys of tasks that must be done first.
    pub blocked_by: Option<Vec<String>>,
    pub due_at: Option<String>,
    pub labels: Option<Vec<String>>,
    /// Millionths of a US dollar.
    pub reward: Option<i64>,
    #[schema(value_type = Option<Object>)]
    pub adapter_overrides: Option<AdapterOverrides>,
    #[schema(value_type = Option<Object>)]
    pub workspace: Option<TaskWorkspace>,
}

/// Changes to a task; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskPatch {
    pub title: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    #[schema(value_type = Option<String>)]
    pub status: Option<TaskStatus>,
    #[schema(value_type = Option<String>)]
    pub priority: Option<TaskPriority>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub assignee: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub goal: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub project: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<Option<String>>,
    #[schema(value_type = Option<String>)]
    pub wake_parent: Option<WakeParent>,
    pub blocked_by: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub due_at: Option<Option<String>>,
    pub labels: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    pub reward: Option<Option<i64>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub adapter_overrides: Option<Option<AdapterOverrides>>,
    #[schema(value_type = Option<Object>)]
    pub workspace: Option<TaskWorkspace>,
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskView {
    pub id: String,
    pub company: String,
    /// `T-12`: unique in the company.
    pub key: String,
    pub title: String,
    pub description: Option<String>,
    #[schema(value_type = String)]
    pub status: TaskStatus,
    #[schema(value_type = String)]
    pub priority: TaskPriority,
    pub assignee: Option<String>,
    pub goal: Option<String>,
    pub project: Option<String>,
    pub parent: Option<String>,
    #[schema(value_type = String)]
    pub wake_parent: WakeParent,
    /// Ids of the tasks that must be done first, closed ones included.
    pub blocked_by: Vec<String>,
    /// Those of them that still hold it up.
    pub open_blockers: Vec<String>,
    pub due_at: Option<String>,
    pub labels: Vec<String>,
    /// Millionths of a US dollar.
    pub reward: Option<i64>,
    #[schema(value_type = Option<Object>)]
    pub adapter_overrides: Option<AdapterOverrides>,
    #[schema(value_type = Object)]
    pub workspace: TaskWorkspace,
    /// The live run that works on it.
    pub held_by: Option<String>,
    pub created_at: String,
    pub updated_at: String,
    pub closed_at: Option<String>,
}

impl TaskView {
    /// A task with the tasks it waits for; what may hold keys only if `shows_keys`.
    pub fn new(mut task: Task, blocked_by: &[Blocker], shows_keys: bool) -> Self {
        let config = task.adapter_overrides.as_mut().and_then(|overrides| overrides.config.as_mut());
        if let Some(config) = config.filter(|_| !shows_keys) {
            hide_keys(config);
        }
        TaskView {
            id: task.id.to_string(),
            company: task.company.to_string(),
            key: task.key,
            title: task.title,
            description: task.description,
            status: task.status,
            priority: task.priority,
            assignee: task.assignee.map(|agent| agent.to_string()),
            goal: task.goal.map(|goal| goal.to_string()),
            project: task.project.map(|project| project.to_string()),
            parent: task.parent.map(|parent| parent.to_string()),
            wake_parent: task.wake_parent,
            blocked_by: blocked_by.iter().map(|blocker| blocker.id.to_string()).collect(),
            open_blockers: blocked_by
                .iter()
                .filter(|blocker| blocker.is_open)
                .map(|blocker| blocker.id.to_string())
                .collect(),
            due_at: task.due_at.map(|at| at.to_string()),
            labels: task.labels,
            reward: task.reward,
            adapter_overrides: task.adapter_overrides,
            workspace: task.workspace,
            held_by: task.held_by.map(|run| run.to_string()),
            created_at: task.created_at.to_string(),
            updated_at: task.updated_at.to_string(),
            closed_at: task.closed_at.map(|at| at.to_string()),
        }
    }
}

/// A comment to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewComment {
    /// At most 64 KiB.
    pub body: String,
    /// Whether a closed task is opened again.
    #[serde(default)]
    pub reopen: bool,
}

/// A comment.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommentView {
    pub id: String,
    pub company: String,
    pub task: String,
    #[schema(value_type = Object)]
    pub actor: Actor,
    /// The run that said it, if one did.
    pub run: Option<String>,
    pub body: String,
    pub created_at: String,
}

impl From<Comment> for CommentView {
    fn from(comment: Comment) -> Self {
        CommentView {
            id: comment.id.to_string(),
            company: comment.company.to_string(),
            task: comment.task.to_string(),
            actor: comment.actor,
            run: comment.run.map(|run| run.to_string()),
            body: comment.body,
            created_at: comment.created_at.to_string(),
        }
    }
}

/// Why a result is rejected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectRequest {
    pub reason: String,
}
