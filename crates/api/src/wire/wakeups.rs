//! Wakes and wakeups in requests and answers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use wakeful_domain::actor::Actor;
use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::Waiting;
use wakeful_domain::wakeup::Wakeup;

/// A wake.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WakeRequest {
    /// `manual` by default.
    pub source: Option<String>,
    pub reason: Option<String>,
    pub trigger_detail: Option<String>,
    /// 0..100; by the source by default.
    pub priority: Option<i64>,
    /// Id or key.
    pub task: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Map<String, Value>>,
    #[schema(value_type = Option<Object>)]
    pub context: Option<Map<String, Value>>,
    pub idempotency_key: Option<String>,
    /// RFC 3339. Not together with `delay_ms`.
    #[schema(value_type = Option<String>)]
    pub due_at: Option<Timestamp>,
    pub delay_ms: Option<i64>,
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    /// 1..100; one more than the agent's retry delays by default.
    pub max_attempts: Option<i64>,
}

/// Many wakes for one transaction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkWakes {
    /// Up to 1,000 wakes, each with the `agent` (id or name) that it is for.
    #[schema(value_type = Vec<WakeRequest>)]
    pub wakes: Vec<Value>,
}

/// A wakeup.
#[derive(Debug, Serialize, ToSchema)]
pub struct WakeupView {
    pub id: String,
    pub company: String,
    pub agent: String,
    pub task: Option<String>,
    pub source: String,
    pub trigger_detail: Option<String>,
    pub reason: Option<String>,
    pub count: i64,
    pub priority: i64,
    #[schema(value_type = Object)]
    pub payload: Value,
    #[schema(value_type = Object)]
    pub context: Value,
    #[schema(value_type = Object)]
    pub actor: Actor,
    pub idempotency_key: Option<String>,
    pub cause_id: Option<String>,
    pub root_id: String,
    pub depth: i64,
    pub requested_at: String,
    pub due_at: String,
    pub expires_at: Option<String>,
    pub status: String,
    pub status_reason: Option<String>,
    pub run_id: Option<String>,
    pub lead: bool,
    pub attempt: i64,
    pub max_attempts: i64,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub finished_at: Option<String>,
    /// Why it waits; only while it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub waiting: Option<Waiting>,
}

impl WakeupView {
    /// A wakeup, and why it waits if it does.
    pub fn new(wakeup: Wakeup, waiting: Option<Waiting>) -> WakeupView {
        WakeupView {
            id: wakeup.id.to_string(),
            company: wakeup.company.to_string(),
            agent: wakeup.agent.to_string(),
            task: wakeup.task.map(|task| task.to_string()),
            source: wakeup.source.as_str().into(),
            trigger_detail: wakeup.trigger_detail,
            reason: wakeup.reason,
            count: wakeup.count,
            priority: wakeup.priority,
            payload: wakeup.payload,
            context: wakeup.context,
            actor: wakeup.actor,
            idempotency_key: wakeup.idempotency_key,
            cause_id: wakeup.cause_id,
            root_id: wakeup.root_id.to_string(),
            depth: wakeup.depth,
            requested_at: wakeup.requested_at.to_string(),
            due_at: wakeup.due_at.to_string(),
            expires_at: wakeup.expires_at.map(|at| at.to_string()),
            status: wakeup.status.as_str().into(),
            status_reason: wakeup.status_reason,
            run_id: wakeup.run.map(|run| run.to_string()),
            lead: wakeup.lead,
            attempt: wakeup.attempt,
            max_attempts: wakeup.max_attempts,
            error_code: wakeup.error_code,
            error: wakeup.error,
            finished_at: wakeup.finished_at.map(|at| at.to_string()),
            waiting,
        }
    }
}
