//! Actions: what a schedule does by itself. It speaks only if there is something to say.
//! Three are built in; every other name is one of the company's own, which a program or a service carries out.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::question::{TIMEOUT_DEFAULT, Whom};
use super::target::duration_text;
use crate::id::AgentId;

/// Does something that speaks only if there is something to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// `task-scan`, `daily-summary`, `portfolio-monitor`, or one of the company's own.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

/// What an action is, with its configuration read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionKind {
    TaskScan(Scan),
    DailySummary,
    PortfolioMonitor,
    External(External),
}

/// What `task-scan` looks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scan {
    /// Millionths of a US dollar; a task without a reward has 0.
    pub min_reward: i64,
    /// Those of the agent unless they are said here.
    pub capabilities: Option<Vec<String>>,
    /// Whether the agent is woken for what was found.
    pub wake: bool,
}

impl Default for Scan {
    fn default() -> Scan {
        Scan { min_reward: 0, capabilities: None, wake: true }
    }
}

/// An action of the company's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    pub whom: Whom,
    pub timeout: Duration,
    /// Given to it with every question.
    pub config: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExternalSettings {
    command: Option<Vec<String>>,
    url: Option<String>,
    #[serde(default, with = "duration_text")]
    timeout: Option<Duration>,
    config: Option<Value>,
}

/// A configuration without a key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Action {
    /// When it is due unless its schedule says: a cron pattern.
    pub fn cron_default(&self) -> Option<&'static str> {
        match self.name.as_str() {
            "task-scan" => Some("*/5 * * * *"),
            "daily-summary" => Some("0 9 * * *"),
            "portfolio-monitor" => Some("0 * * * *"),
            _ => None,
        }
    }

    /// What it is; or what is wrong with it, as (field, message).
    pub fn kind(&self) -> Result<ActionKind, (String, String)> {
        let wrong = |key: &str, message: String| (format!("target.action{key}"), message);
        let config = self.config.clone().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        if !config.is_object() {
            return Err(wrong(".config", "must be an object".into()));
        }
        let refused = |error: serde_json::Error| wrong(".config", error.to_string());
        match self.name.as_str() {
            "" => Err(wrong(".name", "must not be empty".into())),
            "task-scan" => {
                let scan: Scan = serde_json::from_value(config).map_err(refused)?;
                match self.agent {
                    None if scan.capabilities.is_none() => {
                        let told = "must be given, or `capabilities` in `config`: whose tasks are looked for?";
                        Err(wrong(".agent", told.into()))
                    }
                    _ => Ok(ActionKind::TaskScan(scan)),
                }
            }
            "daily-summary" => {
                serde_json::from_value::<Nothing>(config).map_err(refused).map(|_| ActionKind::DailySummary)
            }
            "portfolio-monitor" => {
                serde_json::from_value::<Nothing>(config).map_err(refused).map(|_| ActionKind::PortfolioMonitor)
            }
            _ => {
                let settings: ExternalSettings = serde_json::from_value(config).map_err(refused)?;
                let whom = Whom::of(settings.command.as_ref(), settings.url.as_ref(), settings.timeout);
                match whom {
                    Ok(whom) => Ok(ActionKind::External(External {
                        whom,
                        timeout: settings.timeout.unwrap_or(TIMEOUT_DEFAULT),
                        config: settings.config,
                    })),
                    Err(("", message)) => {
                        let told = "built in are task-scan, daily-summary and portfolio-monitor; any other";
                        Err(wrong(".config", format!("{told} {message}")))
                    }
                    Err((key, message)) => Err(wrong(&format!(".config.{key}"), message)),
                }
            }
        }
    }

    /// What is wrong with it, as (field, message).
    pub fn problem(&self) -> Option<(String, String)> {
        self.kind().err()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(name: &str, config: Value) -> Result<ActionKind, (String, String)> {
        Action { name: name.into(), agent: None, config: Some(config) }.kind()
    }

    #[test]
    fn actions_are_checked() {
        let field = |name: &str, config: Value| kind(name, config).unwrap_err().0;
        assert_eq!(kind("daily-summary", json!({})), Ok(ActionKind::DailySummary));
        assert_eq!(field("daily-summary", json!({ "agents": [] })), "target.action.config");
        assert_eq!(field("task-scan", json!({})), "target.action.agent");
        let scan = kind("task-scan", json!({ "capabilities": ["rust"], "min_reward": 5 }));
        let expected = Scan { min_reward: 5, capabilities: Some(vec!["rust".into()]), wake: true };
        assert_eq!(scan, Ok(ActionKind::TaskScan(expected)));
        assert_eq!(field("", json!({})), "target.action.name");
        assert_eq!(field("mail-check", json!([])), "target.action.config");
        assert_eq!(field("mail-check", json!({ "command": ["a"], "url": "https://b" })), "target.action.config");
        assert_eq!(field("mail-check", json!({ "command": [] })), "target.action.config.command");
        assert_eq!(field("mail-check", json!({ "url": "ftp://b" })), "target.action.config.url");
        assert_eq!(field("mail-check", json!({ "url": "https://b", "timeout": "6m" })), "target.action.config.timeout");
        let external = kind("mail-check", json!({ "command": ["check", "-n"], "config": { "box": 1 } })).unwrap();
        let whom = Whom::Command(vec!["check".into(), "-n".into()]);
        let config = Some(json!({ "box": 1 }));
        assert_eq!(external, ActionKind::External(External { whom, timeout: TIMEOUT_DEFAULT, config }));
        let unknown = kind("task-scam", json!({})).unwrap_err().1;
        assert!(unknown.starts_with("built in are task-scan"), "{unknown}");
    }
}
