//! A subscription: "wake this lane when that happens". What it is asked for, what may come of which source, and what
//! is wrong with one. Which of what happens it is about is its [`Filter`]; when it fires is the store's business.

mod filter;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actor::Actor;
use crate::id::{AgentId, CompanyId, Id, Kind, RunId, SubscriptionId, TaskId, WebhookId};
use crate::time::{Timestamp, say_duration};

pub use filter::{Filter, hash_of};

/// Open ones of one agent; more are refused.
pub const PER_AGENT_MAX: i64 = 1_000;
/// Open ones of one company; more are refused.
pub const PER_COMPANY_MAX: i64 = 200_000;
/// Longer windows are refused.
pub const DEBOUNCE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Longer timeouts are refused.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Shorter timeouts are refused: a run that waits so little can wait by itself.
pub const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Larger payloads are refused.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// A window that holds so many matches closes at once.
pub const WINDOW_MATCHES_MAX: i64 = 1_000;
/// A window that holds so much closes at once.
pub const WINDOW_BYTES_MAX: i64 = 1024 * 1024;
/// A window closes after so many times its width, however often something comes.
pub const WINDOW_WIDTHS_MAX: u32 = 10;
/// Larger data of a topic is refused.
pub const TOPIC_BYTES_MAX: usize = 256 * 1024;
/// Data of a topic with more fields at its top is refused: each is looked up.
pub const TOPIC_FIELDS_MAX: usize = 500;
const TOPIC_NAME_BYTES_MAX: usize = 128;

/// What a wakeup of a subscription says by itself; a payload must not.
pub const RESERVED: &[&str] = &[
    "subscription",
    "source",
    "event",
    "at",
    "data",
    "timeout",
    "count",
    "matches",
    "finished_child",
    "siblings",
    "siblings_total",
    "comment_id",
];

/// Where what is waited for happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Run(RunId),
    Task(TaskId),
    /// The tasks below a task, at any depth.
    Children(TaskId),
    Agent(AgentId),
    /// A name that anyone in the company may publish to.
    Topic(String),
    Webhook(WebhookId),
}

impl Source {
    /// Its kind, as requests name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Run(_) => "run",
            Source::Task(_) => "task",
            Source::Children(_) => "children",
            Source::Agent(_) => "agent",
            Source::Topic(_) => "topic",
            Source::Webhook(_) => "webhook",
        }
    }

    /// What is waited for unless a subscription says otherwise.
    pub fn default_event(&self) -> EventName {
        match self {
            Source::Run(_) | Source::Agent(_) => EventName::RunFinished,
            Source::Task(_) => EventName::TaskClosed,
            Source::Children(_) => EventName::AllClosed,
            Source::Topic(_) => EventName::TopicPublished,
            Source::Webhook(_) => EventName::WebhookReceived,
        }
    }

    /// What can come of it.
    pub fn events(&self) -> &'static [EventName] {
        use EventName::{
            AgentStateChanged, AllClosed, AnyClosed, RunFailed, RunFinished, RunSucceeded, TaskClosed, TaskCommented,
            TaskStatusChanged, TopicPublished, WebhookReceived,
        };
        match self {
            Source::Run(_) => &[RunFinished, RunSucceeded, RunFailed],
            Source::Agent(_) => &[RunFinished, RunSucceeded, RunFailed, AgentStateChanged],
            Source::Task(_) => &[RunFinished, RunSucceeded, RunFailed, TaskStatusChanged, TaskCommented, TaskClosed],
            Source::Children(_) => &[
                RunFinished,
                RunSucceeded,
                RunFailed,
                TaskStatusChanged,
                TaskCommented,
                TaskClosed,
                AnyClosed,
                AllClosed,
            ],
            Source::Topic(_) => &[TopicPublished],
            Source::Webhook(_) => &[WebhookReceived],
        }
    }
}

/// `kind:id`, as it is kept.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Source::Run(id) => write!(f, "{kind}:{id}"),
            Source::Task(id) | Source::Children(id) => write!(f, "{kind}:{id}"),
            Source::Agent(id) => write!(f, "{kind}:{id}"),
            Source::Topic(name) => write!(f, "{kind}:{name}"),
            Source::Webhook(id) => write!(f, "{kind}:{id}"),
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        fn id<K: Kind>(text: &str) -> Result<Id<K>, String> {
            text.parse().map_err(|error: crate::id::IdError| error.to_string())
        }
        let (kind, name) = text.split_once(':').ok_or_else(|| format!("`{text}` is no source"))?;
        match kind {
            "run" => id(name).map(Source::Run),
            "task" => id(name).map(Source::Task),
            "children" => id(name).map(Source::Children),
            "agent" => id(name).map(Source::Agent),
            "topic" => Ok(Source::Topic(name.to_owned())),
            "webhook" => id(name).map(Source::Webhook),
            _ => Err(format!("`{kind}` is no kind of source")),
        }
    }
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventName {
    /// A run ended, in whatever way.
    #[serde(rename = "run.finished")]
    RunFinished,
    #[serde(rename = "run.succeeded")]
    RunSucceeded,
    /// A run ended otherwise: failed, timed out, lost or cancelled.
    #[serde(rename = "run.failed")]
    RunFailed,
    #[serde(rename = "task.status_changed")]
    TaskStatusChanged,
    #[serde(rename = "task.commented")]
    TaskCommented,
    /// A task is done or cancelled.
    #[serde(rename = "task.closed")]
    TaskClosed,
    #[serde(rename = "children.any_closed")]
    AnyClosed,
    /// The last open task below was closed.
    #[serde(rename = "children.all_closed")]
    AllClosed,
    #[serde(rename = "agent.state_changed")]
    AgentStateChanged,
    #[serde(rename = "topic.published")]
    TopicPublished,
    #[serde(rename = "webhook.received")]
    WebhookReceived,
}

/// What a subscriber is told when nothing of what it asked for can come any more.
pub const SOURCE_OVER: &str = "source.over";

impl EventName {
    /// Every one, by its name.
    pub const ALL: &'static [(&'static str, EventName)] = &[
        ("run.finished", EventName::RunFinished),
        ("run.succeeded", EventName::RunSucceeded),
        ("run.failed", EventName::RunFailed),
        ("task.status_changed", EventName::TaskStatusChanged),
        ("task.commented", EventName::TaskCommented),
        ("task.closed", EventName::TaskClosed),
        ("children.any_closed", EventName::AnyClosed),
        ("children.all_closed", EventName::AllClosed),
        ("agent.state_changed", EventName::AgentStateChanged),
        ("topic.published", EventName::TopicPublished),
        ("webhook.received", EventName::WebhookReceived),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        EventName::ALL.iter().find(|(_, event)| *event == self).map_or("run.finished", |(name, _)| name)
    }
}

impl FromStr for EventName {
    type Err = String;

    fn from_str(text: &str) -> Result<EventName, String> {
        let names = || EventName::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let found = EventName::ALL.iter().find(|(name, _)| *name == text).map(|(_, event)| *event);
        found.ok_or_else(|| format!("`{text}` is nothing that happens: use one of {}", names()))
    }
}

/// Why a subscription waits no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// It was for once, and has fired.
    Fired,
    /// It was for once, and nothing came in time.
    TimedOut,
    /// Nothing more can come of its source.
    SourceOver,
}

impl EndReason {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Fired => "fired",
            EndReason::TimedOut => "timed_out",
            EndReason::SourceOver => "source_over",
        }
    }
}

/// What has matched and is told when nothing more has come for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub since: Timestamp,
    pub bytes: i64,
    pub closes_at: Timestamp,
}

impl Window {
    /// The window with one more match of so many bytes, which keeps it open for another width.
    pub fn with(earlier: Option<Window>, width: Duration, bytes: i64, now: Timestamp) -> Window {
        let since = earlier.map_or(now, |window| window.since);
        let last = since + width * WINDOW_WIDTHS_MAX;
        Window { since, bytes: earlier.map_or(0, |window| window.bytes) + bytes, closes_at: (now + width).min(last) }
    }
}

/// Who is woken when what happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub company: CompanyId,
    pub agent: AgentId,
    /// With it, the lane that is woken.
    pub task: Option<TaskId>,
    pub source: Source,
    pub on: Vec<EventName>,
    pub filter: Filter,
    pub once: bool,
    pub debounce: Option<Duration>,
    pub timeout: Option<Duration>,
    pub include_result: bool,
    pub payload: Map<String, Value>,
    /// Unique among the open ones of the agent.
    pub key: Option<String>,
    pub created_by: Actor,
    pub by_run: Option<RunId>,
    /// What has matched so far.
    pub matches: i64,
    /// How often it has woken its agent.
    pub wakeups: i64,
    pub last_match_at: Option<Timestamp>,
    /// The window of its debounce, if one is open.
    pub window: Option<Window>,
    /// When it fires without a match.
    pub timeout_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub end_reason: Option<EndReason>,
}

impl Subscription {
    /// What is wrong with it: the field, and what to do.
    pub fn problem(&self) -> Option<(String, String)> {
        if self.on.is_empty() {
            return Some(("on".into(), "is empty: name at least one event, or leave it out".into()));
        }
        for (place, event) in self.on.iter().enumerate() {
            let possible = self.source.events();
            if !possible.contains(event) {
                let names = possible.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(", ");
                let told = format!("`{}` does not come of a {}: use {names}", event.as_str(), self.source.kind());
                return Some((format!("on[{place}]"), told));
            }
        }
        if let Source::Topic(name) = &self.source
            && let Some(problem) = topic_problem(name)
        {
            return Some(("source.topic".into(), problem));
        }
        if let Some(problem) = self.filter.problem() {
            return Some(problem);
        }
        if self.debounce.is_some_and(|width| width > DEBOUNCE_MAX || width.is_zero()) {
            return Some(("debounce".into(), format!("must lie between 1ms and {}", say_duration(DEBOUNCE_MAX))));
        }
        if self.timeout.is_some_and(|timeout| !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout)) {
            return Some(("timeout".into(), "must lie between 1s and 366d".into()));
        }
        if let Some(name) = RESERVED.iter().find(|name| self.payload.contains_key(**name)) {
            let told = "is what the wakeup says by itself: choose another name".to_owned();
            return Some((format!("payload.{name}"), told));
        }
        let bytes = serde_json::to_string(&self.payload).map_or(0, |text| text.len());
        (bytes > PAYLOAD_BYTES_MAX).then(|| ("payload".into(), format!("is larger than {PAYLOAD_BYTES_MAX} bytes")))
    }
}

/// What is wrong with the name of a topic, if anything.
pub fn topic_problem(name: &str) -> Option<String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    let is_good = (1..=TOPIC_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_allowed)
        && name.as_bytes()[0].is_ascii_alphanumeric();
    (!is_good).then(|| {
        format!(
            "must have 1 to {TOPIC_NAME_BYTES_MAX} letters (a to z), digits, `-`, `_`, `.` or `:`, and begin with a \
             letter or digit"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_is_kept() {
        let mut ids = crate::id::IdSource::new(3);
        let now = Timestamp::from_millis(1_000);
        for source in [
            Source::Run(ids.next(now)),
            Source::Task(ids.next(now)),
            Source::Children(ids.next(now)),
            Source::Agent(ids.next(now)),
            Source::Topic("a:b".into()),
            Source::Webhook(ids.next(now)),
        ] {
            assert_eq!(source.to_string().parse(), Ok(source.clone()));
            assert!(source.events().contains(&source.default_event()));
        }
        assert!("x:y".parse::<Source>().is_err() && "run".parse::<Source>().is_err());
    }

    #[test]
    fn every_event_has_its_name() {
        for (name, event) in EventName::ALL {
            assert_eq!(name.parse(), Ok(*event));
            assert_eq!(serde_json::to_value(event).unwrap(), *name);
            assert_eq!(event.as_str(), *name);
        }
        assert!("run.started".parse::<EventName>().is_err());
    }

    #[test]
    fn a_window_is_kept_open_but_not_for_ever() {
        let (start, width) = (Timestamp::from_millis(1_000), Duration::from_secs(1));
        let mut window = Window::with(None, width, 5, start);
        assert_eq!((window.since, window.closes_at, window.bytes), (start, start + width, 5));
        for tick in 1..100 {
            window = Window::with(Some(window), width, 5, start + width / 2 * tick);
        }
        assert_eq!((window.since, window.closes_at, window.bytes), (start, start + width * 10, 500));
    }

    #[test]
    fn topics_have_plain_names() {
        for good in ["a", "deploy.done", "x:y-z_1", &"a".repeat(128)] {
            assert_eq!(topic_problem(good), None, "{good}");
        }
        for bad in ["", ".a", "a b", "a/b", "ä", "a\0", &"a".repeat(129)] {
            assert!(topic_problem(bad).is_some(), "{bad:?}");
        }
    }
}
