//! Tasks in requests and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wakeful_domain::task::{Task, TaskStatus};

use super::agents::present;

/// A task to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    pub title: String,
    pub description: Option<String>,
    /// `todo` by default.
    #[schema(value_type = Option<String>)]
    pub status: Option<TaskStatus>,
    /// Id of the agent that is to do it.
    pub assignee: Option<String>,
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
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub assignee: Option<Option<String>>,
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskView {
    pub id: String,
    pub company: String,
    pub title: String,
    pub description: Option<String>,
    #[schema(value_type = String)]
    pub status: TaskStatus,
    pub assignee: Option<String>,
    /// The live run that works on it.
    pub held_by: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

impl From<Task> for TaskView {
    fn from(task: Task) -> Self {
        TaskView {
            id: task.id.to_string(),
            company: task.company.to_string(),
            title: task.title,
            description: task.description,
            status: task.status,
            assignee: task.assignee.map(|agent| agent.to_string()),
            held_by: task.held_by.map(|run| run.to_string()),
            created_at: task.created_at.to_string(),
            updated_at: task.updated_at.to_string(),
        }
    }
}
