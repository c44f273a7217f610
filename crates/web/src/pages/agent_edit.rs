//! Changing an agent: what people change as fields, the rest as JSON.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;
use wakeful_domain::agent::Limits;
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::session::SessionPolicy;

use super::{Shown, page};
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
    value: Option<u32>,
}

#[derive(Template)]
#[template(path = "agent_edit.html")]
struct EditPage {
    frame: Frame,
    agent: Configured,
}

impl EditPage {
    fn pretty(&self, value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap_or_default()
    }

    fn limits(&self) -> Vec<Limit> {
        let limit = |name, title, hint, kind, value| Limit { name, title, hint, kind, value };
        let set = self.agent.limits;
        let (time, number) = ("duration_s", "number");
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
        serde_json::to_string(&self.agent.retry.delays_s).unwrap_or_default()
    }
}

/// Shows the form.
pub async fn show(visit: Visit) -> Shown {
    let agent: Configured = visit.calls.get(&format!("/agents/{}", visit.id)).await?;
    // No events: what is being written stays as it is.
    let frame = Frame::around(&visit, "agents", "").await?.titled(format!("Edit {}", agent.name));
    page(&EditPage { frame, agent })
}
