//! Subscriptions as the mirror sees them: what each asks for, how far it has come, what its window holds, and which
//! wakeups name it.

use std::collections::BTreeMap;
use std::time::Duration;

use wakeful_domain::id::{AgentId, CompanyId, RunId, SubscriptionId, TaskId, WakeupId};
use wakeful_domain::subscription::{EventName, Source};
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::wake::Wake;
use wakeful_store::{Error, Row, Tx};

#[derive(Debug, Clone, PartialEq)]
pub struct Subscribed {
    pub company: CompanyId,
    pub agent: AgentId,
    pub task: Option<TaskId>,
    pub source: Source,
    pub on: Vec<EventName>,
    /// What a publication must say, if it must say anything.
    pub wants: Option<i64>,
    pub once: bool,
    pub debounce: Option<Duration>,
    pub key: Option<String>,
    pub by_run: Option<RunId>,
    pub matches: i64,
    pub wakeups: i64,
    /// When its window was opened, and when it closes.
    pub window: Option<(Timestamp, Timestamp)>,
    pub timeout_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub end_reason: Option<String>,
}

impl Subscribed {
    pub fn is_open(&self) -> bool {
        self.ended_at.is_none()
    }
}

/// What a window holds: each match by its number, with the run that did it.
pub type Matches = BTreeMap<i64, Option<RunId>>;

/// What a wakeup says of the subscription that made it: which, and what it was told.
pub type Asked = (SubscriptionId, String);

pub const SELECT: &str = "
    select company_id, agent_id, task_id, source, events, filter, once, debounce_ms, key, by_run, matches, wakeups,
      window_since, window_at, timeout_at, ended_at, end_reason
    from subscriptions
    where id = $1";

pub const SELECT_MATCH: &str = "
    select run_id
    from subscription_matches
    where subscription_id = $1
      and number = cast($2 as integer)";

pub fn read(mut row: Row) -> Result<Subscribed, Error> {
    let wrong = |place: usize| move |what: String| Error::Column { place, what };
    Ok(Subscribed {
        company: row.get()?,
        agent: row.get()?,
        task: row.task()?,
        source: row.get::<String>()?.parse().map_err(wrong(3))?,
        on: row.json()?,
        wants: row.json::<serde_json::Value>()?.get("n").and_then(serde_json::Value::as_i64),
        once: row.get()?,
        debounce: row.get::<Option<i64>>()?.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
        key: row.get()?,
        by_run: row.get()?,
        matches: row.get()?,
        wakeups: row.get()?,
        window: {
            let since: Option<Timestamp> = row.get()?;
            since.zip(row.get()?)
        },
        timeout_at: row.get()?,
        ended_at: row.get()?,
        end_reason: row.get()?,
    })
}

const ASKED: &str = "
    select json_extract(context, '$.subscription'), trigger_detail
    from wakeups
    where id = $1
      and source = 'subscription'
      and json_extract(context, '$.subscription') is not null";

/// What a wakeup says of the subscription that made it, if one did.
pub async fn asked(tx: &mut Tx, wakeup: &str) -> Result<Option<Asked>, Error> {
    let Some(mut row) = tx.query_first(ASKED, &[wakeup.into()]).await? else { return Ok(None) };
    Ok(Some((row.get()?, row.get::<Option<String>>()?.unwrap_or_default())))
}

/// Keeps what a wakeup says; it says it for good.
pub fn keep(asked: &mut BTreeMap<WakeupId, Asked>, wakeup: WakeupId, found: Option<Asked>) {
    if let Some(found) = found {
        asked.insert(wakeup, found);
    }
}

/// What a wakeup that is expected says.
pub fn asked_by(wake: &Wake) -> Option<Asked> {
    let id = wake.context.get("subscription")?.as_str()?.parse().ok()?;
    Some((id, wake.trigger_detail.clone().unwrap_or_default()))
}
