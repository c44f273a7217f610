//! A task: what an agent works on. Its lane keeps the runs about it apart.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{AgentId, CompanyId, GoalId, ProjectId, RunId, TaskId};
use crate::time::Timestamp;

/// Blockers of one task.
pub const BLOCKERS_MAX: usize = 100;
/// Tasks from a root to a leaf. Deeper trees help nobody, and every look up a chain is bounded by it.
pub const DEPTH_MAX: usize = 32;
/// Labels of one task.
pub const LABELS_MAX: usize = 50;
/// A longer label is refused.
pub const LABEL_CHARS_MAX: usize = 80;

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

    /// Whether its assignee is to work on it now, as far as the status says.
    pub fn calls_for_work(self) -> bool {
        match self {
            TaskStatus::Todo | TaskStatus::InProgress => true,
            TaskStatus::Backlog
            | TaskStatus::InReview
            | TaskStatus::Blocked
            | TaskStatus::Done
            | TaskStatus::Cancelled => false,
        }
    }

    /// Its name in words.
    pub fn in_words(self) -> &'static str {
        match self {
            TaskStatus::Backlog => "backlog",
            TaskStatus::Todo => "todo",
            TaskStatus::InProgress => "in progress",
            TaskStatus::InReview => "in review",
            TaskStatus::Blocked => "blocked",
            TaskStatus::Done => "done",
            TaskStatus::Cancelled => "cancelled",
        }
    }
}

/// How urgent a task is, for people and for lists. What orders runs is the priority of wakeups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskPriority {
    Low,
    #[default]
    Medium,
    High,
    Critical,
}

/// When a child's end wakes the agent of its parent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WakeParent {
    #[default]
    Each,
    All,
    Never,
}

/// What overlays the assignee's adapter in runs of this task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterOverrides {
    /// Laid over the adapter's configuration, key by key; `type` cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// Whether runs work in the project's directory; true unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_project_workspace: Option<bool>,
}

impl AdapterOverrides {
    /// Keys of the configuration that a task cannot change, and why.
    const FIXED: &[(&str, &str)] = &[
        ("type", "cannot be changed by a task: assign it to an agent of that kind"),
        ("account", "cannot be changed by a task: usage limits are kept for the agent's account"),
    ];

    /// What is wrong with it, if anything, whatever the adapter: the field and the message.
    pub fn problem(&self) -> Option<(String, String)> {
        let config = self.config.as_ref()?;
        let Value::Object(settings) = config else {
            return Some(("adapter_overrides.config".into(), "must be an object".into()));
        };
        let fixed = Self::FIXED.iter().find(|(key, _)| settings.contains_key(*key));
        fixed.map(|(key, message)| (format!("adapter_overrides.config.{key}"), (*message).to_owned()))
    }

    /// An adapter's configuration with this laid over it, key by key. Null takes a key away.
    pub fn over(&self, adapter: &Value) -> Value {
        let mut overlaid = adapter.clone();
        let settings = self.config.as_ref().and_then(Value::as_object);
        if let (Some(overlaid), Some(settings)) = (overlaid.as_object_mut(), settings) {
            for (key, value) in settings.iter().filter(|(key, _)| Self::FIXED.iter().all(|(fixed, _)| fixed != key)) {
                match value {
                    Value::Null => overlaid.remove(key),
                    value => overlaid.insert(key.clone(), value.clone()),
                };
            }
        }
        overlaid
    }
}

/// Where runs of a task work, beyond what its project says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskWorkspace {
    /// A git worktree of its own for each lane of the task.
    pub worktree: bool,
}

/// What an agent works on.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub id: TaskId,
    pub company: CompanyId,
    /// `T-12`: unique in the company, for people.
    pub key: String,
    pub title: String,
    pub description: Option<String>,
    pub status: TaskStatus,
    pub priority: TaskPriority,
    pub assignee: Option<AgentId>,
    pub goal: Option<GoalId>,
    pub project: Option<ProjectId>,
    pub parent: Option<TaskId>,
    pub wake_parent: WakeParent,
    pub due_at: Option<Timestamp>,
    pub labels: Vec<String>,
    /// Millionths of a US dollar.
    pub reward: Option<i64>,
    pub adapter_overrides: Option<AdapterOverrides>,
    pub workspace: TaskWorkspace,
    /// The live run that works on it; no other run may meanwhile.
    pub held_by: Option<RunId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub closed_at: Option<Timestamp>,
}

impl Task {
    /// A task that says nothing but its title: to be done, by nobody yet. The store gives it its key.
    pub fn new(id: TaskId, company: CompanyId, title: impl Into<String>, now: Timestamp) -> Self {
        Self {
            id,
            company,
            key: String::new(),
            title: title.into(),
            description: None,
            status: TaskStatus::Todo,
            priority: TaskPriority::default(),
            assignee: None,
            goal: None,
            project: None,
            parent: None,
            wake_parent: WakeParent::default(),
            due_at: None,
            labels: Vec::new(),
            reward: None,
            adapter_overrides: None,
            workspace: TaskWorkspace::default(),
            held_by: None,
            created_at: now,
            updated_at: now,
            closed_at: None,
        }
    }

    /// What overlays the adapter of `agent` in runs of this task: overrides are the assignee's alone.
    pub fn overrides_for(&self, agent: AgentId) -> Option<&AdapterOverrides> {
        self.adapter_overrides.as_ref().filter(|_| self.assignee == Some(agent))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn overrides_lie_over_a_configuration_key_by_key() {
        let adapter = json!({ "type": "claude", "model": "small", "env": { "A": "1" } });
        let check = |config: Value, expected: Value| {
            let overrides = AdapterOverrides { config: Some(config), use_project_workspace: None };
            assert_eq!(overrides.over(&adapter), expected);
        };
        check(json!({}), adapter.clone());
        check(json!({ "model": "large" }), json!({ "type": "claude", "model": "large", "env": { "A": "1" } }));
        check(json!({ "env": { "B": "2" } }), json!({ "type": "claude", "model": "small", "env": { "B": "2" } }));
        check(json!({ "env": null, "type": "codex" }), json!({ "type": "claude", "model": "small" }));
    }

    #[test]
    fn the_kind_and_the_account_of_an_adapter_stay() {
        let check = |config: Value, field: Option<&str>| {
            let overrides = AdapterOverrides { config: Some(config), use_project_workspace: None };
            assert_eq!(overrides.problem().map(|(field, _)| field).as_deref(), field);
        };
        check(json!({ "model": "large" }), None);
        check(json!({ "type": "claude" }), Some("adapter_overrides.config.type"));
        check(json!({ "account": "other" }), Some("adapter_overrides.config.account"));
        check(json!("large"), Some("adapter_overrides.config"));
    }
}
