//! Changing an agent: what people change as fields, the rest as JSON.

use std::time::Duration;

use askama::Template;
use serde::Deserialize;
use serde_json::Value;
use wakeful_domain::agent::Limits;
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::schedule::trigger::write_duration;
use wakeful_domain::session::SessionPolicy;

use super::{Shown, page};
use crate::cli;
use crate::frame::Frame;
use crate::visit::Visit;

/// An agent as it is set up.
#[derive(Debug, Deserialize)]
struct Configured {
    id: String,
    name: String,
    title: Option<String>,
    adapter: Value,
    capabilities: Vec<String>,
    heartbeat: Heartbeat,
    max_concurrent_runs: i64,
    retry: RetryPolicy,
    limits: Limits,
    session: SessionPolicy,
}

#[derive(Debug, Deserialize)]
struct Heartbeat {
    enabled: bool,
    wake_on_demand: bool,
    every: Option<String>,
    cron: Option<String>,
    only_when_work: bool,
    model: Option<String>,
    gate: Option<Value>,
    active_hours: Option<Value>,
    time_zone: Option<String>,
}

/// One limit of a run: a field of the form.
#[derive(Debug)]
struct Limit {
    name: &'static str,
    title: &'static str,
    hint: &'static str,
    /// As the console's script reads it.
    kind: &'static str,
    value: String,
}

/// What a process agent starts, as one line.
#[derive(Debug)]
struct CommandLine {
    text: String,
    /// Words, started without a shell; else a line for the shell.
    is_argv: bool,
}

impl CommandLine {
    /// The command in the settings of an adapter, if it is one that a line can say.
    fn of(adapter: &Value) -> Option<CommandLine> {
        if adapter["type"] != "process" {
            return None;
        }
        let command = &adapter["command"];
        if let Some(line) = command.as_str() {
            return Some(CommandLine { text: line.to_owned(), is_argv: false });
        }
        let words: Vec<&str> = command.as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
        match words.as_slice() {
            ["sh" | "/bin/sh", "-c", line] => Some(CommandLine { text: (*line).to_owned(), is_argv: false }),
            words => Some(CommandLine { text: cli::line(words), is_argv: true }),
        }
    }
}

#[derive(Template)]
#[template(path = "agent_edit.html")]
struct EditPage {
    frame: Frame,
    agent: Configured,
    /// Of a process agent: a field of its own, as when it was made.
    command: Option<CommandLine>,
}

impl EditPage {
    fn pretty(&self, value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap_or_default()
    }

    fn limits(&self) -> Vec<Limit> {
        let (time, number) = ("duration_s", "number");
        let said = |kind, value: u32| if kind == time { written(u64::from(value)) } else { value.to_string() };
        let limit = |name, title, hint, kind, value: Option<u32>| {
            let value = value.map(|value| said(kind, value)).unwrap_or_default();
            Limit { name, title, hint, kind, value }
        };
        let set = self.agent.limits;
        vec![
            limit("max_duration_s", "Stopped after", "Empty: never. As 30m or 2h.", time, set.max_duration_s),
            limit("grace_s", "Time to stop", "Between the signal and the kill.", time, set.grace_s),
            limit("first_output_s", "First output within", "Empty: as its adapter says.", time, set.first_output_s),
            limit("stale_after_s", "Silent for", "Then it is nudged; 0 for never.", time, set.stale_after_s),
            limit("max_memory_mb", "Memory, MiB", "Of its whole process tree.", number, set.max_memory_mb),
            limit("max_processes", "Processes", "Of its whole process tree.", number, set.max_processes),
            limit("max_log_mb", "Log, MiB", "Kept from the beginning; 64 if empty.", number, set.max_log_mb),
        ]
    }

    fn delays(&self) -> String {
        let delays = self.agent.retry.delays_s.iter().map(|seconds| written(u64::from(*seconds)));
        delays.collect::<Vec<_>>().join(", ")
    }

    fn max_age(&self) -> String {
        written(self.agent.session.max_age_s.unsigned_abs())
    }

    /// The settings of the adapter that have no field of their own.
    fn adapter_rest(&self) -> String {
        let mut rest = self.agent.adapter.clone();
        if self.command.is_some()
            && let Some(settings) = rest.as_object_mut()
        {
            settings.remove("command");
        }
        self.pretty(&rest)
    }
}

/// Seconds as the form takes them: `5m`, `1h30m`, `30d`.
fn written(seconds: u64) -> String {
    write_duration(Duration::from_secs(seconds))
}

/// Shows the form.
pub async fn show(visit: Visit) -> Shown {
    let agent: Configured = visit.calls.get(&format!("/agents/{}", visit.id)).await?;
    // No events: what is being written stays as it is.
    let frame = Frame::around(&visit, "agents", "").await?.titled(format!("Edit {}", agent.name));
    let command = CommandLine::of(&agent.adapter);
    page(&EditPage { frame, agent, command })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_is_a_line_where_a_line_can_say_it() {
        let check = |command: Value, expected: Option<(&str, bool)>| {
            let found = CommandLine::of(&json!({"type": "process", "command": command}));
            assert_eq!(found.as_ref().map(|line| (line.text.as_str(), line.is_argv)), expected);
        };
        check(json!("echo hello | tee x"), Some(("echo hello | tee x", false)));
        check(json!(["sh", "-c", "echo hello"]), Some(("echo hello", false)));
        check(json!(["python3", "my agent.py"]), Some(("python3 'my agent.py'", true)));
        check(json!(["sh", 1]), None);
        assert!(CommandLine::of(&json!({"type": "claude"})).is_none());
    }
}
