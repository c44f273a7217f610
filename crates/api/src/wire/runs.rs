//! Runs in requests and answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wakeful_domain::outcome::End;
use wakeful_domain::run::{LogSummary, ProcessIdentity, Run, SessionChoice, StopRequest, Workspace};
use wakeful_domain::time::Timestamp;
use wakeful_domain::usage::Usage;
use wakeful_domain::wakeup::Wakeup;
use wakeful_runner::process::TreeProcess;
use wakeful_store::ops::messages::Message;
use wakeful_store::ops::run_events::RunEvent;

use super::{MailView, WakeupView};

/// A run.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunView {
    pub id: String,
    pub company: String,
    pub agent: String,
    pub task: Option<String>,
    pub lane: LaneView,
    pub adapter: String,
    pub fence: i64,
    pub status: String,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub exit_code: Option<i64>,
    pub signal: Option<i64>,
    pub session_before: Option<String>,
    pub session_after: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub session: Option<SessionChoice>,
    #[schema(value_type = Object)]
    pub usage: Usage,
    /// Millionths of a US dollar.
    pub cost_micros: Option<i64>,
    pub model: Option<String>,
    pub provider: Option<String>,
    pub billing: Option<String>,
    pub summary: Option<String>,
    pub result: Option<Value>,
    #[schema(value_type = Option<Object>)]
    pub stop: Option<StopRequest>,
    #[schema(value_type = Option<Object>)]
    pub workspace: Option<Workspace>,
    #[schema(value_type = Option<Object>)]
    pub process: Option<ProcessIdentity>,
    /// Local runs have none: their shim owns them.
    pub lease_expires_at: Option<String>,
    pub last_output_at: Option<String>,
    pub last_event_at: Option<String>,
    #[schema(value_type = Object)]
    pub log: LogSummary,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    /// Since when it is kept whatever its age.
    pub pinned_at: Option<String>,
    /// When the body of its log was removed; `log` still says what it was.
    pub log_removed_at: Option<String>,
    /// In order of their requests.
    pub wakeups: Vec<RunWakeup>,
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunsPage {
    pub items: Vec<RunView>,
    /// Where to go on; null at the end.
    pub next_cursor: Option<String>,
    /// With `q`: how many of the newest runs were searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searched: Option<i64>,
}

/// The lane of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct LaneView {
    pub agent: String,
    pub task: Option<String>,
}

/// A wakeup of a run's batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunWakeup {
    pub id: String,
    pub source: String,
    pub reason: Option<String>,
    pub lead: bool,
    #[schema(value_type = Object)]
    pub payload: Value,
    pub status: String,
}

impl RunView {
    /// A run with its batch.
    pub fn new(run: Run, batch: Vec<Wakeup>) -> RunView {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        RunView {
            id: run.id.to_string(),
            company: run.company.to_string(),
            agent: run.agent.to_string(),
            task: run.task.map(|task| task.to_string()),
            lane: LaneView { agent: run.agent.to_string(), task: run.task.map(|task| task.to_string()) },
            adapter: run.adapter,
            fence: run.fence,
            status: run.status.as_str().into(),
            error_code: run.error_code,
            error: run.error,
            exit_code: run.exit_code,
            signal: run.signal,
            session_before: run.session_before,
            session_after: run.session_after,
            session: run.session_choice,
            usage: run.usage,
            cost_micros: run.cost_micros,
            model: run.model,
            provider: run.provider,
            billing: run.billing,
            summary: run.summary,
            result: run.result,
            stop: run.stop,
            workspace: run.workspace,
            process: run.process,
            lease_expires_at: None,
            last_output_at: time(run.last_output_at),
            last_event_at: time(run.last_event_at),
            log: run.log,
            created_at: run.created_at.to_string(),
            started_at: time(run.started_at),
            finished_at: time(run.finished_at),
            pinned_at: time(run.pinned_at),
            log_removed_at: time(run.log_removed_at),
            wakeups: batch.into_iter().map(RunWakeup::from).collect(),
        }
    }
}

impl From<Wakeup> for RunWakeup {
    fn from(wakeup: Wakeup) -> Self {
        RunWakeup {
            id: wakeup.id.to_string(),
            source: wakeup.source.as_str().into(),
            reason: wakeup.reason,
            lead: wakeup.lead,
            payload: wakeup.payload,
            status: wakeup.status.as_str().into(),
        }
    }
}

/// Why a run is to stop.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    pub reason: Option<String>,
}

/// What the agent of a live run is to know or to do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SteerRequest {
    pub message: String,
}

/// What was said to the agent of a live run, and where it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct SteerView {
    /// `session`: on its way into the live session, an event `steered` of the run confirms it.
    /// `inbox`: it waits for the agent to look, and for the next run of the lane.
    /// `skipped`: the agent's policy does not want it; the wakeup says why.
    pub delivery: &'static str,
    pub wakeup: WakeupView,
}

/// A process of a live run.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProcessView {
    pub pid: i32,
    pub parent: i32,
    /// Program and arguments, cut at 4,096 characters.
    pub command: String,
    /// `R` runs, `S` sleeps, `D` waits for a device, `T` is stopped, `Z` has ended.
    pub state: char,
    pub rss_bytes: u64,
    pub cpu_ms: u64,
    pub started_at: String,
}

impl From<TreeProcess> for ProcessView {
    fn from(process: TreeProcess) -> Self {
        let TreeProcess { pid, parent, command, state, rss_bytes, cpu_ms, started_at } = process;
        ProcessView { pid, parent, command, state, rss_bytes, cpu_ms, started_at: started_at.to_string() }
    }
}

/// Something that happened in a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunEventView {
    pub seq: i64,
    pub at: String,
    pub r#type: String,
    pub level: String,
    pub message: String,
    pub data: Value,
}

impl From<RunEvent> for RunEventView {
    fn from(event: RunEvent) -> Self {
        RunEventView {
            seq: event.seq,
            at: event.at.to_string(),
            r#type: event.kind,
            level: event.level,
            message: event.message,
            data: event.data,
        }
    }
}

/// What came while a run is live.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboxView {
    pub wakeups: Vec<WakeupView>,
    /// Mail and nudges that the run has not read. Nudges end with it.
    pub messages: Vec<InboxMessage>,
}

/// Something that a live run is to read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum InboxMessage {
    Mail(Box<MailView>),
    Nudge(MessageView),
}

/// Something that a live run is told.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageView {
    pub id: String,
    /// `nudge`: nothing was heard from the agent for long.
    pub kind: &'static str,
    #[schema(value_type = String)]
    pub at: Timestamp,
    pub text: String,
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        let Message { id, kind, at, text } = message;
        Self { id, kind, at, text }
    }
}

/// What a run takes over.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    #[serde(default)]
    pub wakeups: Vec<String>,
    #[serde(default)]
    pub messages: Vec<String>,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AckView {
    pub acknowledged: Vec<String>,
    pub refused: Vec<Refused>,
}

/// What was not taken over, and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct Refused {
    pub id: String,
    pub reason: String,
}

/// What an agent reports while it works.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgressRequest {
    pub message: Option<String>,
    /// The total so far.
    #[schema(value_type = Option<Object>)]
    pub usage: Option<Usage>,
    pub data: Option<Value>,
}

/// How a run ended, reported by whoever carried it out.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishReport {
    pub fence: i64,
    /// `succeeded`, `failed`, `cancelled` or `timed_out`.
    #[schema(value_type = String)]
    pub outcome: End,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub retry_at: Option<Timestamp>,
}
