//! Subscriptions in requests and answers, and what is published to topics.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use wakeful_domain::actor::Actor;
use wakeful_domain::subscription::{Filter, Source, Subscription};
use wakeful_store::ops::subscriptions::topics::Published;

/// Where what is waited for happens: exactly one of them.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourceText {
    /// Id of a run.
    pub run: Option<String>,
    /// Id or key of a task.
    pub task: Option<String>,
    /// Id or key of a task: those below it, at any depth.
    pub children: Option<String>,
    /// Id or name of an agent.
    pub agent: Option<String>,
    /// Name of a topic.
    pub topic: Option<String>,
    /// Id or name of a webhook.
    pub webhook: Option<String>,
}

/// A subscription to be made, or to be put in the place of the one under its key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSubscription {
    /// Who is woken; an agent's own token need not say it.
    pub agent: Option<String>,
    /// With it, the lane that is woken.
    pub task: Option<String>,
    pub source: SourceText,
    /// What of the source, as `run.finished`; what it is usually waited for if absent.
    pub on: Option<Vec<String>>,
    /// Equalities on the event's data: `{"status": "failed", "data.env": ["test", "stage"]}`.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Filter>,
    /// Fires for the first match, and waits no more.
    #[serde(default)]
    pub once: bool,
    /// Matches are told together when nothing more has come for so long: `5s`.
    pub debounce: Option<String>,
    /// Fires without a match after so long, with `timeout: true`: `10m`.
    pub timeout: Option<String>,
    /// Whether `finished_child` has the summary and the result; true if absent.
    pub include_result: Option<bool>,
    /// Fields of the wakeup's payload.
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Map<String, Value>>,
    /// Unique among the agent's open ones: declaring it again replaces it.
    pub key: Option<String>,
}

/// Who is woken when what happens.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionView {
    pub id: String,
    pub company: String,
    pub agent: String,
    pub task: Option<String>,
    /// `{"run": id}`, `{"task": id}`, `{"children": id}`, `{"agent": id}`, `{"topic": name}` or `{"webhook": id}`.
    #[schema(value_type = Object)]
    pub source: Source,
    pub on: Vec<String>,
    #[schema(value_type = Object)]
    pub filter: Filter,
    pub once: bool,
    pub debounce_ms: Option<u64>,
    pub timeout_ms: Option<u64>,
    pub include_result: bool,
    #[schema(value_type = Object)]
    pub payload: Map<String, Value>,
    pub key: Option<String>,
    #[schema(value_type = Object)]
    pub created_by: Actor,
    pub by_run: Option<String>,
    /// `open` or `ended`.
    pub state: &'static str,
    /// `fired`, `timed_out` or `source_over`.
    pub end_reason: Option<&'static str>,
    pub matches: i64,
    pub wakeups: i64,
    pub last_match_at: Option<String>,
    /// When what has matched is told.
    pub window_at: Option<String>,
    /// When it fires without a match.
    pub timeout_at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
    pub ended_at: Option<String>,
}

impl From<Subscription> for SubscriptionView {
    fn from(of: Subscription) -> Self {
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        SubscriptionView {
            id: of.id.to_string(),
            company: of.company.to_string(),
            agent: of.agent.to_string(),
            task: of.task.map(|task| task.to_string()),
            on: of.on.iter().map(|event| event.as_str().to_owned()).collect(),
            source: of.source,
            filter: of.filter,
            once: of.once,
            debounce_ms: of.debounce.map(ms),
            timeout_ms: of.timeout.map(ms),
            include_result: of.include_result,
            payload: of.payload,
            key: of.key,
            created_by: of.created_by,
            by_run: of.by_run.map(|run| run.to_string()),
            state: if of.ended_at.is_none() { "open" } else { "ended" },
            end_reason: of.end_reason.map(|reason| reason.as_str()),
            matches: of.matches,
            wakeups: of.wakeups,
            last_match_at: of.last_match_at.map(|at| at.to_string()),
            window_at: of.window.map(|window| window.closes_at.to_string()),
            timeout_at: of.timeout_at.map(|at| at.to_string()),
            created_at: of.created_at.to_string(),
            updated_at: of.updated_at.to_string(),
            ended_at: of.ended_at.map(|at| at.to_string()),
        }
    }
}

/// What came of something that was published.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublishedView {
    /// The id of the event.
    pub event: String,
    pub topic: String,
    /// How many subscriptions it matched.
    pub matched: i64,
}

impl PublishedView {
    pub fn new(topic: String, published: &Published) -> Self {
        PublishedView { event: published.event.to_string(), topic, matched: published.matched }
    }
}
