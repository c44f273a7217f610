//! Agents in requests and answers.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wakeful_domain::agent::{Agent, AgentState, Heartbeat, Limits};
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::session::SessionPolicy;
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::agents::{Figures, OpenCircuit};

use super::hidden::hide_keys;

/// An agent to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgent {
    pub name: String,
    pub title: Option<String>,
    /// `{type, …}`: `process`, `claude` or `codex`, and its configuration.
    #[schema(value_type = Object)]
    pub adapter: Value,
    #[serde(default)]
    pub capabilities: Vec<String>,
    #[schema(value_type = Option<Object>)]
    pub heartbeat: Option<Heartbeat>,
    /// 1..50; 1 by default.
    pub max_concurrent_runs: Option<i64>,
    /// `{delays_s, jitter}`; 2 min, 10 min, 30 min, 2 h ± 25 % by default.
    #[schema(value_type = Option<Object>)]
    pub retry: Option<RetryPolicy>,
    /// `{max_duration_s, grace_s}`.
    #[schema(value_type = Option<Object>)]
    pub limits: Option<Limits>,
    /// `{max_runs, max_tokens, max_age_s}`: when the session of a lane is rotated; 0 for no limit.
    #[schema(value_type = Option<Object>)]
    pub session: Option<SessionPolicy>,
}

/// Changes to an agent; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentPatch {
    pub name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub title: Option<Option<String>>,
    #[schema(value_type = Option<Object>)]
    pub adapter: Option<Value>,
    pub capabilities: Option<Vec<String>>,
    #[schema(value_type = Option<Object>)]
    pub heartbeat: Option<Heartbeat>,
    pub max_concurrent_runs: Option<i64>,
    #[schema(value_type = Option<Object>)]
    pub retry: Option<RetryPolicy>,
    #[schema(value_type = Option<Object>)]
    pub limits: Option<Limits>,
    #[schema(value_type = Option<Object>)]
    pub session: Option<SessionPolicy>,
}

/// Tells null (clear it) from absent (leave it).
pub(super) fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// An agent and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentView {
    pub id: String,
    pub company: String,
    pub name: String,
    pub title: Option<String>,
    #[schema(value_type = Object)]
    pub adapter: Value,
    pub capabilities: Vec<String>,
    #[schema(value_type = Object)]
    pub heartbeat: Heartbeat,
    pub max_concurrent_runs: i64,
    #[schema(value_type = Object)]
    pub retry: RetryPolicy,
    #[schema(value_type = Object)]
    pub limits: Limits,
    #[schema(value_type = Object)]
    pub session: SessionPolicy,
    /// `active`, `paused`, `pending_approval` or `terminated`.
    pub state: String,
    pub state_reason: Option<String>,
    /// `running`, `idle`, or the state where it is not active.
    pub status: String,
    pub liveness: Liveness,
    pub live_runs: i64,
    pub pending_wakeups: i64,
    /// Lanes that failed too often in a row: nothing starts there before the agent is resumed or a wakeup retried.
    pub open_circuits: Vec<OpenCircuitView>,
    pub last_run: Option<LastRunView>,
    pub totals: Totals,
    pub created_at: String,
    pub updated_at: String,
}

/// How an agent fares, derived from its runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    /// `healthy`, `failing`, `parked`, `paused` or `idle`.
    pub status: String,
    pub reason: Option<String>,
    pub since: Option<String>,
}

/// A lane of an agent on which nothing starts until a person says so.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenCircuitView {
    /// The task of the lane; null of the agent's own.
    pub task: Option<String>,
    pub since: String,
}

/// The newest run of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct LastRunView {
    pub id: String,
    pub status: String,
    pub finished_at: Option<String>,
}

/// What an agent used over its life.
#[derive(Debug, Serialize, ToSchema)]
pub struct Totals {
    pub runs: i64,
    pub tokens: i64,
    /// Millionths of a US dollar.
    pub cost_micros: i64,
}

/// Runs that must have failed in a row for an agent to be called failing.
const FAILING_RUNS: i64 = 3;

impl AgentView {
    /// An agent with its figures; what may hold keys only if `shows_keys`.
    pub fn new(mut agent: Agent, figures: Figures, shows_keys: bool) -> AgentView {
        if !shows_keys {
            hide_keys(&mut agent.adapter);
        }
        let status = match agent.state {
            AgentState::Active if agent.live_runs > 0 => "running",
            AgentState::Active => "idle",
            AgentState::Paused | AgentState::PendingApproval | AgentState::Terminated => agent.state.as_str(),
        };
        AgentView {
            liveness: liveness(&agent, &figures),
            id: agent.id.to_string(),
            company: agent.company.to_string(),
            name: agent.name,
            title: agent.title,
            adapter: agent.adapter,
            capabilities: agent.capabilities,
            heartbeat: agent.heartbeat,
            max_concurrent_runs: agent.max_concurrent_runs,
            retry: agent.retry,
            limits: agent.limits,
            session: agent.session,
            state: agent.state.as_str().into(),
            state_reason: agent.state_reason,
            status: status.into(),
            live_runs: agent.live_runs,
            pending_wakeups: figures.pending_wakeups,
            open_circuits: figures.open_circuits.into_iter().map(OpenCircuitView::from).collect(),
            last_run: figures.last_run.map(|run| LastRunView {
                id: run.id.to_string(),
                status: run.status,
                finished_at: run.finished_at.map(|at| at.to_string()),
            }),
            totals: Totals {
                runs: figures.runs_total,
                tokens: figures.tokens_total,
                cost_micros: figures.cost_micros_total,
            },
            created_at: agent.created_at.to_string(),
            updated_at: agent.updated_at.to_string(),
        }
    }
}

impl From<OpenCircuit> for OpenCircuitView {
    fn from(circuit: OpenCircuit) -> Self {
        OpenCircuitView { task: circuit.task.map(|task| task.to_string()), since: circuit.since.to_string() }
    }
}

fn liveness(agent: &Agent, figures: &Figures) -> Liveness {
    let since = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let last_end = figures.last_run.as_ref().and_then(|run| run.finished_at);
    let (status, reason, at) = match agent.state {
        AgentState::Paused | AgentState::PendingApproval | AgentState::Terminated => {
            ("paused", agent.state_reason.clone(), Some(agent.updated_at))
        }
        AgentState::Active if agent.quota_until.is_some() => {
            let until = agent.quota_until.map(|until| until.to_string()).unwrap_or_default();
            ("parked", Some(format!("a usage limit holds its account until {until}")), None)
        }
        AgentState::Active if figures.recent_failures >= FAILING_RUNS => {
            ("failing", Some(format!("its last {FAILING_RUNS} runs failed")), last_end)
        }
        AgentState::Active if agent.live_runs == 0 && figures.pending_wakeups == 0 => ("idle", None, last_end),
        AgentState::Active => ("healthy", None, last_end),
    };
    Liveness { status: status.into(), reason, since: since(at) }
}

/// A session of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    pub adapter: String,
    pub task: Option<String>,
    pub display_id: String,
    pub last_run: String,
    pub last_error: Option<String>,
    pub turns: i64,
    pub tokens: i64,
    pub created_at: String,
    pub updated_at: String,
}

impl From<wakeful_store::ops::sessions::Session> for SessionView {
    fn from(session: wakeful_store::ops::sessions::Session) -> Self {
        SessionView {
            adapter: session.adapter,
            task: session.task.map(|task| task.to_string()),
            display_id: session.display_id,
            last_run: session.last_run.to_string(),
            last_error: session.last_error,
            turns: session.turns,
            tokens: session.tokens,
            created_at: session.created_at.to_string(),
            updated_at: session.updated_at.to_string(),
        }
    }
}
