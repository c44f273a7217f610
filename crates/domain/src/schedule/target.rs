//! What a schedule does at its slots, and what is asked before.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::Action;
use super::question::{MESSAGE_BYTES_MAX, TIMEOUT_DEFAULT, Whom};
use super::template::{self, Variables};
use super::trigger::write_duration;
use crate::id::{AgentId, GoalId, ProjectId};
use crate::task::{LABEL_CHARS_MAX, LABELS_MAX, TaskPriority};
use crate::time::parse_duration;
use crate::wakeup::PRIORITY_MAX;

/// What a schedule does. Written as `{"wake": {…}}`, `{"task": {…}}` or `{"action": {…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Wake(Wake),
    /// A routine: makes a task; the assignment wakes its agent, once.
    Task(TaskTemplate),
    Action(Action),
}

/// Wakes an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wake {
    pub agent: AgentId,
    /// A JSON object for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Of the wakeup, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Laid over the model of the agent's adapter for these wakes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// The task that a routine makes. Title, description and labels may hold variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskTemplate {
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default)]
    pub priority: TaskPriority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<GoalId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Millionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<i64>,
    /// The task is due this long after the slot.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration_text")]
    pub due_in: Option<Duration>,
}

/// What is asked before an agent is woken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// A program and its arguments; or `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Where JSON is posted to; or `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration_text")]
    pub timeout: Option<Duration>,
    #[serde(default)]
    pub on_failure: GateFailure,
}

/// What a gate that failed counts as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateFailure {
    /// As a yes.
    #[default]
    FailOpen,
    /// As a no.
    FailClosed,
}

impl Gate {
    /// How long it has.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT_DEFAULT)
    }

    /// Who is asked; an error for a gate that could not have been made.
    pub fn whom(&self) -> Result<Whom, (&'static str, String)> {
        Whom::of(self.command.as_ref(), self.url.as_ref(), self.timeout)
    }

    /// What is wrong with it, as (field, message).
    pub fn problem(&self) -> Option<(String, String)> {
        let (key, message) = self.whom().err()?;
        Some((if key.is_empty() { "gate".to_owned() } else { format!("gate.{key}") }, message))
    }
}

impl Target {
    /// Its kind.
    pub fn as_str(&self) -> &'static str {
        match self {
            Target::Wake(_) => "wake",
            Target::Task(_) => "task",
            Target::Action(_) => "action",
        }
    }

    /// The agent that it wakes, or has to do with.
    pub fn agent(&self) -> Option<AgentId> {
        match self {
            Target::Wake(wake) => Some(wake.agent),
            Target::Task(task) => task.assignee,
            Target::Action(action) => action.agent,
        }
    }

    /// What is wrong with it, as (field, message).
    pub fn problem(&self) -> Option<(String, String)> {
        let refused = |field: &str, message: String| Some((field.to_owned(), message));
        let no_object = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_object());
        match self {
            Target::Wake(wake) => {
                if no_object(&wake.payload) {
                    return refused("target.wake.payload", "must be an object".into());
                }
                if wake.reason.as_ref().is_some_and(|reason| reason.len() > MESSAGE_BYTES_MAX) {
                    let message = format!("is too long: at most {MESSAGE_BYTES_MAX} bytes are taken");
                    return refused("target.wake.reason", message);
                }
                let priority = wake.priority.filter(|priority| !(0..=PRIORITY_MAX).contains(priority))?;
                let message = format!("is {priority}; it must lie between 0 and {PRIORITY_MAX}");
                refused("target.wake.priority", message)
            }
            Target::Task(task) => task.problem(),
            Target::Action(action) => action.problem(),
        }
    }
}

impl TaskTemplate {
    /// The template with its variables filled in.
    pub fn fill(&self, variables: &Variables<'_>) -> Result<TaskTemplate, template::TemplateError> {
        let mut task = self.clone();
        task.title = template::fill(&self.title, variables)?;
        task.description = self.description.as_ref().map(|text| template::fill(text, variables)).transpose()?;
        task.labels = self.labels.iter().map(|text| template::fill(text, variables)).collect::<Result<_, _>>()?;
        Ok(task)
    }

    fn problem(&self) -> Option<(String, String)> {
        if self.title.trim().is_empty() {
            return Some(("target.task.title".into(), "must not be empty".into()));
        }
        if self.labels.len() > LABELS_MAX {
            return Some(("target.task.labels".into(), format!("at most {LABELS_MAX} are allowed")));
        }
        if self.labels.iter().any(|label| label.is_empty() || label.chars().count() > LABEL_CHARS_MAX) {
            let message = format!("a label has 1 to {LABEL_CHARS_MAX} characters");
            return Some(("target.task.labels".into(), message));
        }
        let description = self.description.iter().map(|text| ("target.task.description", text));
        let labels = self.labels.iter().map(|text| ("target.task.labels", text));
        let mut texts = std::iter::once(("target.task.title", &self.title)).chain(description).chain(labels);
        texts.find_map(|(field, text)| Some((field.to_owned(), template::check(text).err()?.to_string())))
    }
}

/// Durations as people write them, if there is one.
pub(super) mod duration_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::{Duration, parse_duration, write_duration};

    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_some(&write_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| parse_duration(&text).map_err(de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AGENT: &str = "agt_01h455vb4pex5vsknk084sn02q";

    fn problem(target: Value) -> Option<String> {
        serde_json::from_value::<Target>(target).unwrap().problem().map(|(field, _)| field)
    }

    #[test]
    fn targets_are_checked() {
        assert_eq!(problem(json!({ "wake": { "agent": AGENT, "payload": { "a": 1 }, "priority": 100 } })), None);
        let wrong = json!({ "wake": { "agent": AGENT, "priority": 101 } });
        assert_eq!(problem(wrong).as_deref(), Some("target.wake.priority"));
        let wrong = json!({ "wake": { "agent": AGENT, "payload": [] } });
        assert_eq!(problem(wrong).as_deref(), Some("target.wake.payload"));
        let task = json!({ "task": { "title": "Report of {{date}}", "assignee": AGENT, "due_in": "2h30m" } });
        assert_eq!(problem(task.clone()), None);
        assert_eq!(problem(json!({ "task": { "title": "{{day}}" } })).as_deref(), Some("target.task.title"));
        assert_eq!(problem(json!({ "action": { "name": "" } })).as_deref(), Some("target.action.name"));
        let target: Target = serde_json::from_value(task).unwrap();
        assert_eq!(target.agent(), Some(AGENT.parse().unwrap()));
        assert_eq!(serde_json::to_value(&target).unwrap()["task"]["due_in"], "2h30m");
        assert!(serde_json::from_value::<Target>(json!({ "wake": { "agent": AGENT, "who": 1 } })).is_err());
    }

    #[test]
    fn gates_are_checked() {
        let field = |gate: Value| serde_json::from_value::<Gate>(gate).unwrap().problem().map(|(field, _)| field);
        assert_eq!(field(json!({ "command": ["check"] })), None);
        assert_eq!(field(json!({ "url": "https://example.com/gate", "timeout": "5m" })), None);
        assert_eq!(field(json!({})).as_deref(), Some("gate"));
        assert_eq!(field(json!({ "command": [] })).as_deref(), Some("gate.command"));
        assert_eq!(field(json!({ "url": "ftp://x" })).as_deref(), Some("gate.url"));
        assert_eq!(field(json!({ "command": ["a"], "timeout": "6m" })).as_deref(), Some("gate.timeout"));
    }
}
