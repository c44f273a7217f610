//! Agents: how each of them stands, what it did last, what it has spent.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::{Shown, page};
use crate::call::query;
use crate::choices;
use crate::failure::Failure;
use crate::frame::Frame;
use crate::pieces;
use crate::seen::List;
use crate::visit::Visit;

/// Agents of one page.
const SHOWN: usize = 50;
/// Agents that one call gives.
const ASKED: usize = 200;
/// Calls that the one filter may take that the API has not: whether an agent is failing is told by its runs.
const CALLS_MAX: usize = 10;
const FAILING: &str = "failing";
const STATES: &[&str] = &["running", "idle", "paused", "pending_approval", "terminated", "failing", "parked"];

/// An agent, as its pages show it.
#[derive(Debug, Deserialize)]
pub struct Agent {
    pub id: String,
    pub name: String,
    pub title: Option<String>,
    pub adapter: Value,
    pub state: String,
    pub state_reason: Option<String>,
    pub status: String,
    pub liveness: Liveness,
    pub live_runs: i64,
    pub max_concurrent_runs: i64,
    pub pending_wakeups: i64,
    pub open_circuits: Vec<OpenCircuit>,
    pub last_run: Option<LastRun>,
    pub totals: Totals,
    pub created_at: String,
}

/// A lane on which nothing starts until a person says so.
#[derive(Debug, Deserialize)]
pub struct OpenCircuit {
    pub task: Option<String>,
    pub since: String,
}

/// How an agent fares, and why.
#[derive(Debug, Deserialize)]
pub struct Liveness {
    pub status: String,
    pub reason: Option<String>,
    pub since: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct LastRun {
    pub id: String,
    pub status: String,
    pub finished_at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Totals {
    pub runs: i64,
    pub tokens: i64,
    pub cost_micros: i64,
}

impl Agent {
    /// The kind of its adapter, and the model if it has one.
    pub fn kind(&self) -> String {
        let word = |key: &str| self.adapter[key].as_str().unwrap_or_default();
        [word("type"), word("model")].join(" ").trim().to_owned()
    }

    fn is_failing(&self) -> bool {
        self.liveness.status == FAILING
    }
}

/// What is asked for, as it stands in the address.
#[derive(Debug)]
struct Filter {
    state: String,
    name: String,
}

impl Filter {
    fn is_set(&self) -> bool {
        !self.state.is_empty() || !self.name.is_empty()
    }
}

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    frame: Frame,
    filter: Filter,
    agents: Vec<Agent>,
    next: Option<String>,
    /// How many were looked through, if there are more that were not.
    looked_through: Option<usize>,
}

impl AgentsPage {
    fn states(&self) -> &'static [&'static str] {
        STATES
    }
}

/// Shows agents, newest first.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "agents", "agent run wakeup").await?.titled("Agents");
    let filter = Filter { state: visit.asked("state"), name: visit.asked("name") };
    let is_looked_for = filter.state == FAILING;
    let (agents, next) = if is_looked_for { failing(&visit, &filter).await? } else { listed(&visit, &filter).await? };
    let looked_through = (is_looked_for && next.is_some() && agents.len() < SHOWN).then_some(ASKED * CALLS_MAX);
    let next = next
        .map(|cursor| query(&[("state", filter.state.as_str()), ("name", filter.name.as_str()), ("cursor", &cursor)]));
    page(&AgentsPage { frame, filter, agents, next, looked_through })
}

/// A page of the agents that are like the filter.
async fn listed(visit: &Visit, filter: &Filter) -> Result<(Vec<Agent>, Option<String>), Failure> {
    let cursor = visit.asked("cursor");
    let asked = [
        ("limit", SHOWN.to_string()),
        ("q", filter.name.clone()),
        ("status", filter.state.clone()),
        ("cursor", cursor),
    ];
    let asked: Vec<(&str, &str)> = asked.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let list: List<Agent> = visit.calls.get(&visit.of_company(&format!("agents{}", query(&asked)))).await?;
    Ok((list.items, list.next_cursor))
}

/// The agents that are failing, as far as was looked, and where the list goes on.
async fn failing(visit: &Visit, filter: &Filter) -> Result<(Vec<Agent>, Option<String>), Failure> {
    let mut agents: Vec<Agent> = Vec::new();
    let mut cursor = visit.asked("cursor");
    for _ in 0..CALLS_MAX {
        let asked = query(&[("limit", &ASKED.to_string()), ("q", filter.name.as_str()), ("cursor", &cursor)]);
        let some: List<Agent> = visit.calls.get(&visit.of_company(&format!("agents{asked}"))).await?;
        for agent in some.items {
            cursor.clone_from(&agent.id);
            if agent.is_failing() {
                agents.push(agent);
            }
            if agents.len() > SHOWN {
                agents.truncate(SHOWN);
                let last = agents.last().map(|agent| agent.id.clone());
                return Ok((agents, last));
            }
        }
        match some.next_cursor {
            None => return Ok((agents, None)),
            Some(next) if agents.len() == SHOWN => return Ok((agents, Some(next))),
            Some(next) => cursor = next,
        }
    }
    Ok((agents, Some(cursor)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_agent_is_of_a_kind_and_fares_somehow() {
        let agent: Agent = serde_json::from_value(json!({
            "id": "agt_1", "name": "Coder-2", "title": null, "adapter": {"type": "claude", "model": "opus"},
            "state": "active", "state_reason": null, "status": "idle",
            "liveness": {"status": "failing", "reason": null, "since": null}, "live_runs": 0, "max_concurrent_runs": 1,
            "pending_wakeups": 0, "open_circuits": [], "last_run": null, "totals": {"runs": 0, "tokens": 0, "cost_micros": 0},
            "created_at": "2026-11-22T05:00:00.000Z"
        }))
        .unwrap();
        assert_eq!(agent.kind(), "claude opus");
        assert!(agent.is_failing());
    }
}
