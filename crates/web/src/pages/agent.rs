//! One agent: how it stands and why, what it does, what waits for it, what it remembers, how it is set up.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::agents::Agent;
use super::{Shown, page};
use crate::call::query;
use crate::cli;
use crate::failure::Failure;
use crate::frame::Frame;
use crate::pieces;
use crate::seen::{List, Names, Run, Wakeup, Why};
use crate::visit::Visit;

/// Shown of each at most; the lists of runs and wakes go on.
const SHOWN: &str = "25";

const TABS: &[(&str, &str)] = &[
    ("overview", "Overview"),
    ("runs", "Runs"),
    ("wakes", "Wakes"),
    ("sessions", "Sessions"),
    ("heartbeat", "Heartbeat"),
    ("configuration", "Configuration"),
];

#[derive(Template)]
#[template(path = "agent.html")]
struct AgentPage {
    frame: Frame,
    agent: Agent,
    why: Why,
    tab: &'static str,
    /// Right after it was made: waking it is what comes next.
    is_new: bool,
    runs: Vec<Run>,
    wakeups: Vec<Wakeup>,
    sessions: Vec<Session>,
    heartbeat: Heartbeat,
    timer: Option<Timer>,
    configuration: Value,
    names: Names,
}

/// What an agent remembers of a lane.
#[derive(Debug, Deserialize)]
struct Session {
    adapter: String,
    task: Option<String>,
    display_id: String,
    last_run: String,
    last_error: Option<String>,
    turns: i64,
    tokens: i64,
    updated_at: String,
}

/// When its own timer wakes it, and who else may.
#[derive(Debug, Deserialize)]
struct Heartbeat {
    enabled: bool,
    wake_on_demand: bool,
    only_when_work: bool,
    model: Option<String>,
    gate: Option<Value>,
    active_hours: Option<Value>,
    time_zone: Option<String>,
}

/// The schedule behind a heartbeat.
#[derive(Debug, Deserialize)]
struct Timer {
    id: String,
    words: String,
    next_slot_at: Option<String>,
    last_slot: Option<String>,
    fires: u64,
    wakes_avoided: u64,
}

impl AgentPage {
    fn tabs(&self) -> &'static [(&'static str, &'static str)] {
        TABS
    }

    fn pretty(&self, value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap_or_default()
    }

    /// The command that wakes it, with what the form says.
    fn command(&self) -> String {
        let name = cli::quoted(&self.agent.name);
        format!("wakeful wake {name}[ -m {{reason}}][ --task {{task}}][ --priority {{priority}}][ --at {{due_at}}]")
    }

    /// The same before anything is typed.
    fn command_now(&self) -> String {
        let reason = if self.is_new { " -m 'say hello'" } else { "" };
        format!("wakeful wake {}{reason}", cli::quoted(&self.agent.name))
    }
}

/// Shows an agent.
pub async fn show(visit: Visit) -> Shown {
    let calls = &visit.calls;
    let whole: Value = calls.get(&format!("/agents/{}", visit.id)).await?;
    let agent: Agent = serde_json::from_value(whole.clone()).map_err(Failure::of_ours)?;
    let heartbeat: Heartbeat = serde_json::from_value(whole["heartbeat"].clone()).map_err(Failure::of_ours)?;
    let frame = Frame::around(&visit, "agents", "agent run wakeup").await?.titled(&agent.name);
    let why: Why = calls.get(&format!("/agents/{}/why", agent.id)).await?;
    let asked = visit.asked("tab");
    let tab = TABS.iter().find(|(name, _)| *name == asked).map_or("overview", |(name, _)| name);
    let of_agent = query(&[("agent", &agent.id), ("limit", SHOWN)]);
    let runs = match tab {
        "overview" | "runs" => calls.get::<List<Run>>(&visit.of_company(&format!("runs{of_agent}"))).await?.items,
        _ => Vec::new(),
    };
    let wakeups = wakeups(&visit, &agent, tab).await?;
    let sessions: Vec<Session> = match tab {
        "sessions" => calls.get::<List<Session>>(&format!("/agents/{}/sessions", agent.id)).await?.items,
        _ => Vec::new(),
    };
    let timer = match heartbeat.enabled {
        true => timer(&visit, &agent.id).await?,
        false => None,
    };
    let of_runs = runs.iter().filter_map(|run| run.task.as_deref());
    let of_wakeups = wakeups.iter().filter_map(|wakeup| wakeup.task.as_deref());
    let of_sessions = sessions.iter().filter_map(|session| session.task.as_deref());
    let of_circuits = agent.open_circuits.iter().filter_map(|circuit| circuit.task.as_deref());
    let ids = of_runs.chain(of_wakeups).chain(of_sessions).chain(of_circuits).collect();
    let names = Names::of(calls, &visit.company, ids).await?;
    let is_new = !visit.asked("new").is_empty() && agent.totals.runs == 0 && agent.live_runs == 0;
    let configuration = configured(whole);
    page(&AgentPage { frame, agent, why, tab, is_new, runs, wakeups, sessions, heartbeat, timer, configuration, names })
}

/// Those that wait, or the newest of all.
async fn wakeups(visit: &Visit, agent: &Agent, tab: &str) -> Result<Vec<Wakeup>, Failure> {
    let status = match tab {
        "overview" => "pending",
        "wakes" => "",
        _ => return Ok(Vec::new()),
    };
    let asked = query(&[("agent", &agent.id), ("status", status), ("limit", SHOWN)]);
    let list: List<Wakeup> = visit.calls.get(&visit.of_company(&format!("wakeups{asked}"))).await?;
    Ok(list.items)
}

/// The schedule that is an agent's own timer, by its name.
async fn timer(visit: &Visit, agent: &str) -> Result<Option<Timer>, Failure> {
    let asked = query(&[("name", &format!("{}{agent}", wakeful_domain::schedule::HEARTBEAT_PREFIX))]);
    let list: List<Timer> = visit.calls.get(&visit.of_company(&format!("schedules{asked}"))).await?;
    Ok(list.items.into_iter().next())
}

/// What was set, without what came of it.
fn configured(whole: Value) -> Value {
    let Value::Object(mut fields) = whole else { return whole };
    let set =
        ["name", "title", "adapter", "capabilities", "heartbeat", "max_concurrent_runs", "retry", "limits", "session"];
    fields.retain(|name, value| set.contains(&name.as_str()) && !value.is_null());
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_configuration_is_what_was_set() {
        let whole =
            json!({"id": "agt_1", "name": "ann", "title": null, "adapter": {"type": "process"}, "live_runs": 2});
        assert_eq!(configured(whole), json!({"name": "ann", "adapter": {"type": "process"}}));
    }
}
