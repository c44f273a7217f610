//! What the API answers, as far as pages show it. A field that the API renamed is an error of the page, not a blank.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::call::{Calls, query};
use crate::failure::Failure;
use crate::pieces;

/// One page of a list.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    pub items: Vec<T>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Company {
    pub slug: String,
    pub name: String,
    pub state: String,
    pub state_reason: Option<String>,
    pub time_zone: String,
    pub max_concurrent_runs: i64,
    pub live_runs: i64,
}

/// What needs a person, as far as it was counted.
#[derive(Debug, Clone, Deserialize)]
pub struct Attention {
    pub escalations: usize,
    pub approvals: usize,
    pub dead_letters: usize,
    pub mail: usize,
    pub deliveries: usize,
    pub missed: Vec<Missed>,
}

/// Slots of a schedule that came while nothing could fire them.
#[derive(Debug, Clone, Deserialize)]
pub struct Missed {
    pub schedule: String,
    pub name: String,
    pub count: i64,
    pub last_at: String,
}

impl Attention {
    /// Rows of the inbox.
    pub fn count(&self) -> usize {
        self.escalations + self.approvals + self.dead_letters + self.mail + self.deliveries + self.missed.len()
    }
}

/// The page of a thing below its company, by the kind that its id names.
pub fn page_of(id: &str) -> Option<String> {
    let page = match id.split('_').next()? {
        "run" => "runs",
        "wak" => "wakes",
        "agt" => "agents",
        "tsk" => "tasks",
        "sch" => "schedules",
        _ => return None,
    };
    Some(format!("{page}/{id}"))
}

#[derive(Debug, Clone, Deserialize)]
pub struct Usage {
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_tokens: i64,
}

impl Usage {
    /// All tokens, those from caches too.
    pub fn total(&self) -> i64 {
        self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Log {
    pub bytes: i64,
    pub lines: i64,
    pub truncated: bool,
}

/// A choice and why it was made.
#[derive(Debug, Clone, Deserialize)]
pub struct SessionChoice {
    pub choice: String,
    pub reason: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Workspace {
    pub cwd: String,
    pub reason: String,
    pub worktree: Option<Worktree>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Worktree {
    pub branch: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Stop {
    pub reason: String,
    pub at: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct RunWakeup {
    pub id: String,
    pub source: String,
    pub reason: Option<String>,
    pub lead: bool,
    pub payload: Value,
    pub status: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    pub id: String,
    pub agent: String,
    pub task: Option<String>,
    pub adapter: String,
    pub status: String,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub exit_code: Option<i64>,
    pub signal: Option<i64>,
    pub session_before: Option<String>,
    pub session_after: Option<String>,
    pub session: Option<SessionChoice>,
    pub usage: Usage,
    pub cost_micros: Option<i64>,
    pub model: Option<String>,
    pub provider: Option<String>,
    pub billing: Option<String>,
    pub summary: Option<String>,
    pub result: Option<Value>,
    pub stop: Option<Stop>,
    pub workspace: Option<Workspace>,
    pub last_output_at: Option<String>,
    pub log: Log,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub pinned_at: Option<String>,
    pub log_removed_at: Option<String>,
    pub wakeups: Vec<RunWakeup>,
}

impl Run {
    pub fn is_live(&self) -> bool {
        matches!(self.status.as_str(), "starting" | "running")
    }

    /// The wakeup that gave the run its reason.
    pub fn lead(&self) -> Option<&RunWakeup> {
        self.wakeups.iter().find(|wakeup| wakeup.lead).or(self.wakeups.first())
    }

    /// What it was for, if that failed for good: it can be tried again.
    pub fn dead_letter(&self) -> Option<&str> {
        let lead = self.lead().filter(|lead| lead.status == "failed")?;
        (!self.is_live()).then_some(lead.id.as_str())
    }

    /// From the start to the end, once it has ended.
    pub fn took(&self) -> Option<String> {
        let millis = millis_between(self.started_at.as_deref()?, self.finished_at.as_deref()?)?;
        Some(pieces::duration(millis))
    }

    /// From the claim to the start of the process.
    pub fn queued(&self) -> Option<String> {
        let millis = millis_between(&self.created_at, self.started_at.as_deref()?)?;
        Some(pieces::duration(millis))
    }
}

/// Milliseconds from one RFC 3339 time to another.
pub fn millis_between(from: &str, to: &str) -> Option<i64> {
    let (from, to): (jiff::Timestamp, jiff::Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    Some(to.as_millisecond() - from.as_millisecond())
}

#[derive(Debug, Clone, Deserialize)]
pub struct Waiting {
    pub reason: String,
    pub detail: String,
    pub until: Option<String>,
}

impl Waiting {
    /// `lane_busy` as "lane busy".
    pub fn words(&self) -> String {
        self.reason.replace('_', " ")
    }

    /// Whether a person has to let the lane start again.
    pub fn is_circuit(&self) -> bool {
        self.reason == "circuit_open"
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Wakeup {
    pub id: String,
    pub agent: String,
    pub task: Option<String>,
    pub source: String,
    pub reason: Option<String>,
    pub count: i64,
    pub priority: i64,
    pub payload: Value,
    pub context: Value,
    pub actor: Value,
    pub idempotency_key: Option<String>,
    pub cause_id: Option<String>,
    pub requested_at: String,
    pub due_at: String,
    pub expires_at: Option<String>,
    pub status: String,
    pub status_reason: Option<String>,
    pub run_id: Option<String>,
    pub attempt: i64,
    pub max_attempts: i64,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub finished_at: Option<String>,
    pub waiting: Option<Waiting>,
}

/// The answer to `why`.
#[derive(Debug, Clone, Deserialize)]
pub struct Why {
    pub summary: String,
    pub chain: Vec<Link>,
    pub next: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Link {
    pub at: String,
    pub kind: String,
    pub text: String,
    /// Of a run, or of the end of one.
    pub status: Option<String>,
}

impl Link {
    /// How its dot is drawn: by what came of it, where something did.
    pub fn drawn(&self) -> &'static str {
        match (self.status.as_deref(), self.kind.as_str()) {
            (Some(status), _) => match pieces::kind_of(status) {
                "succeeded" => "k-good",
                "running" => "k-run",
                "cancelled" => "k-plain",
                _ => "k-bad",
            },
            (None, "wakeup.completed") => "k-good",
            (None, "wakeup.failed" | "error") => "k-bad",
            (None, "wakeup.retry_scheduled" | "wakeup.expired" | "rate_limit" | "stop_requested") => "k-warn",
            (None, "starting" | "running" | "begun" | "wakeup.claimed") => "k-run",
            (None, _) => "k-plain",
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct RunEvent {
    pub seq: i64,
    pub at: String,
    pub r#type: String,
    pub level: String,
    pub message: String,
    pub data: Value,
}

/// How the server stands, as everybody may know it.
#[derive(Debug, Clone, Deserialize)]
pub struct Standing {
    pub version: String,
    pub tick_age_ms: u64,
    pub tick_within_ms: u64,
    pub live_runs: usize,
    pub live_runs_max: usize,
    pub is_draining: bool,
    pub safe_mode: Option<String>,
    pub restored_from: Option<String>,
}

/// Names of things by their ids. What has none is shown by the end of its id.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<String, String>);

#[derive(Debug, Deserialize)]
struct Name {
    id: String,
    name: String,
}

/// Ids that one call names at most.
const NAMES_MAX: usize = 200;

impl Names {
    /// Asks for the names of these; an id may come up often.
    pub async fn of(calls: &Calls, company: &str, mut ids: Vec<&str>) -> Result<Names, Failure> {
        ids.sort_unstable();
        ids.dedup();
        let mut names = BTreeMap::new();
        for some in ids.chunks(NAMES_MAX) {
            let path = format!("/companies/{company}/names{}", query(&[("ids", &some.join(","))]));
            let found: List<Name> = calls.get(&path).await?;
            names.extend(found.items.into_iter().map(|name| (name.id, name.name)));
        }
        Ok(Names(names))
    }

    /// The name of one.
    pub fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.get(id).map_or_else(|| pieces::short(id), String::as_str)
    }
}

/// Who did something.
#[derive(Debug, Clone, Deserialize)]
pub struct Actor {
    pub r#type: String,
    pub id: String,
}

impl Actor {
    /// An agent by its name, a person by that of the token, the server by its own.
    pub fn name<'a>(&'a self, names: &'a Names) -> &'a str {
        if self.r#type == "agent" { names.name(&self.id) } else { &self.id }
    }
}

/// One attempt to send a notification.
#[derive(Debug, Clone, Deserialize)]
pub struct Attempt {
    pub at: String,
    pub ok: bool,
    pub detail: String,
    pub duration_ms: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Mail {
    pub id: String,
    pub from: Actor,
    pub to: String,
    pub subject: Option<String>,
    pub body: String,
    pub thread: String,
    pub kind: String,
    pub task: Option<String>,
    pub created_at: String,
    pub acked_at: Option<String>,
}

/// What wakes an agent or makes a task by the clock.
#[derive(Debug, Clone, Deserialize)]
pub struct Schedule {
    pub id: String,
    pub name: String,
    /// `{cron, time_zone?}`, `{every}` or `{at}`.
    pub trigger: Value,
    /// `{wake}`, `{task}` or `{action}`.
    pub target: Value,
    pub gate: Option<Value>,
    pub active_hours: Option<Value>,
    pub jitter: Option<String>,
    pub overlap: String,
    pub catch_up: String,
    pub stale_after: Option<String>,
    pub starts_at: Option<String>,
    pub ends_at: Option<String>,
    pub max_fires: Option<i64>,
    pub fires: i64,
    pub wakes_avoided: i64,
    pub failures_in_row: i64,
    pub last_error: Option<String>,
    pub state: String,
    pub note: Option<String>,
    pub next_slot_at: Option<String>,
    pub words: String,
}

impl Schedule {
    /// The trigger in words, without when it is next.
    pub fn rhythm(&self) -> &str {
        self.words.split_once("; next ").map_or(&self.words, |(rhythm, _)| rhythm)
    }

    /// `wake`, `task` or `action`.
    pub fn kind(&self) -> &str {
        let kinds = self.target.as_object();
        kinds.and_then(|kinds| kinds.keys().next()).map_or("wake", String::as_str)
    }

    /// What it does, as its kind says it.
    pub fn aim(&self) -> &Value {
        &self.target[self.kind()]
    }

    /// The agent that it wakes, or has to do with.
    pub fn agent(&self) -> Option<&str> {
        let key = if self.kind() == "task" { "assignee" } else { "agent" };
        self.aim()[key].as_str()
    }

    /// What it does, in words.
    pub fn does(&self, names: &Names) -> String {
        let agent = self.agent().map(|agent| names.name(agent));
        let word = |key: &str| self.aim()[key].as_str().unwrap_or_default();
        match (self.kind(), agent) {
            ("task", Some(agent)) => format!("makes the task “{}” for {agent}", word("title")),
            ("task", None) => format!("makes the task “{}”", word("title")),
            ("action", Some(agent)) => format!("{} for {agent}", word("name")),
            ("action", None) => word("name").to_owned(),
            (_, agent) => format!("wakes {}", agent.unwrap_or("an agent")),
        }
    }

    /// Whether it is the timer of an agent, which is changed with the agent.
    pub fn is_heartbeat(&self) -> bool {
        self.name.starts_with(wakeful_domain::schedule::HEARTBEAT_PREFIX)
    }
}

/// What became of a slot of a schedule.
#[derive(Debug, Clone, Deserialize)]
pub struct Slot {
    pub slot_at: String,
    pub count: i64,
    pub status: String,
    pub reason: Option<String>,
    pub wakeup: Option<String>,
    pub task: Option<String>,
    pub answer: Option<Value>,
    pub at: String,
}
