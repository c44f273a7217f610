//! Subscriptions as rows: read, listed, kept, removed. How one is made is [`declare`]; what happens is
//! [`happening`], and how it is told [`deliver`]; whose locks that needs is [`waiting`], and what time does
//! by itself is [`due`].

pub mod declare;
pub(crate) mod deliver;
pub(crate) mod due;
pub(crate) mod happening;
pub(crate) mod told;
pub mod topics;
pub(crate) mod waiting;

use std::time::Duration;

use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, CompanyId, SubscriptionId, TaskId};
use wakeful_domain::subscription::{EndReason, Source, Subscription, Window};
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::value::{json, name, task_key};
use crate::{Error, Refusal, Row, Tx, Value};

const COLUMNS: &str = "id, company_id, agent_id, task_id, source, events, filter, once, debounce_ms, timeout_ms, \
    include_result, payload, key, created_by_type, created_by_id, by_run, matches, wakeups, last_match_at, window_since, \
    window_bytes, window_at, timeout_at, created_at, updated_at, ended_at, end_reason";

fn read(mut row: Row) -> Result<Subscription, Error> {
    let ms = |value: i64| Duration::from_millis(u64::try_from(value).unwrap_or(0));
    Ok(Subscription {
        id: row.get()?,
        company: row.get()?,
        agent: row.get()?,
        task: row.task()?,
        source: row.get::<String>()?.parse().map_err(|what| Error::Column { place: 5, what })?,
        on: row.json()?,
        filter: row.json()?,
        once: row.get()?,
        debounce: row.get::<Option<i64>>()?.map(ms),
        timeout: row.get::<Option<i64>>()?.map(ms),
        include_result: row.get()?,
        payload: row.json()?,
        key: row.get()?,
        created_by: Actor { kind: row.name()?, id: row.get()? },
        by_run: row.get()?,
        matches: row.get()?,
        wakeups: row.get()?,
        last_match_at: row.get()?,
        window: {
            let since: Option<Timestamp> = row.get()?;
            let bytes: i64 = row.get()?;
            let closes_at: Option<Timestamp> = row.get()?;
            since.zip(closes_at).map(|(since, closes_at)| Window { since, bytes, closes_at })
        },
        timeout_at: row.get()?,
        created_at: row.get()?,
        updated_at: row.get()?,
        ended_at: row.get()?,
        end_reason: {
            let reason: Option<String> = row.get()?;
            match reason.as_deref() {
                Some("fired") => Some(EndReason::Fired),
                Some("timed_out") => Some(EndReason::TimedOut),
                Some(_) => Some(EndReason::SourceOver),
                None => None,
            }
        },
    })
}

/// The subscription with this id, if there is one.
pub async fn find(tx: &mut Tx, id: SubscriptionId) -> Result<Option<Subscription>, Error> {
    let sql = format!("select {COLUMNS} from subscriptions where id = $1");
    tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()
}

/// The subscription with this id.
pub async fn get(tx: &mut Tx, id: SubscriptionId) -> Result<Subscription, Refusal> {
    find(tx, id).await?.ok_or_else(|| Refusal::not_found(id))
}

/// The open one that an agent has under a key.
async fn of_key(tx: &mut Tx, agent: AgentId, key: &str) -> Result<Option<Subscription>, Error> {
    let sql = format!("select {COLUMNS} from subscriptions where agent_id = $1 and key = $2 and ended_at is null");
    tx.query_first(&sql, &[agent.into(), key.into()]).await?.map(read).transpose()
}

/// What a list of subscriptions is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionFilter {
    pub company: Option<CompanyId>,
    pub agent: Option<AgentId>,
    pub task: Option<TaskId>,
    pub source: Option<Source>,
    pub key: Option<String>,
    /// Those that wait, or those that have ended; all if absent.
    pub is_open: Option<bool>,
}

/// A page of subscriptions.
pub async fn list(
    tx: &mut Tx,
    filter: &SubscriptionFilter,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Subscription>, Refusal> {
    let list = List::of(COLUMNS, "subscriptions")
        .and_if("company_id = $", filter.company)
        .and_if("agent_id = $", filter.agent)
        .and_if("task_id = $", filter.task)
        .and_if("source = $", filter.source.as_ref().map(ToString::to_string))
        .and_if("key = $", filter.key.clone())
        .and_when("ended_at is null", filter.is_open == Some(true))
        .and_when("ended_at is not null", filter.is_open == Some(false));
    Ok(list.page(tx, cursor, limit, read, |subscription| subscription.id.to_string()).await?)
}

const INSERT: &str = "
    insert into subscriptions (id, company_id, agent_id, task_id, source, events, filter, filter_hash, once, debounce_ms,
      timeout_ms, include_result, payload, key, created_by_type, created_by_id, by_run, matches, wakeups, window_bytes,
      timeout_at, due_at, created_at, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 0, 0, 0, $18, $18, $19, $19)";
const COUNT: &str = "update companies set open_subscriptions = open_subscriptions + $2 where id = $1";

async fn insert(tx: &mut Tx, new: &Subscription) -> Result<(), Error> {
    let mut parameters: Vec<Value<'_>> = vec![new.id.into(), new.company.into(), new.agent.into()];
    parameters.extend(settings(new));
    parameters.extend([new.timeout_at.into(), new.created_at.into()]);
    tx.execute(INSERT, &parameters).await?;
    tx.execute(COUNT, &[new.company.into(), 1_i64.into()]).await?;
    Ok(())
}

/// What is asked for: the columns from `task_id` to `by_run`.
fn settings(of: &Subscription) -> [Value<'_>; 14] {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    [
        task_key(of.task),
        of.source.to_string().into(),
        json(&of.on),
        json(&of.filter),
        of.filter.lookup_hash().into(),
        of.once.into(),
        of.debounce.map(ms).into(),
        of.timeout.map(ms).into(),
        of.include_result.into(),
        json(&of.payload),
        (&of.key).into(),
        name(&of.created_by.kind),
        (&of.created_by.id).into(),
        of.by_run.into(),
    ]
}

const REPLACE: &str = "
    update subscriptions
    set task_id = $2,
      source = $3,
      events = $4,
      filter = $5,
      filter_hash = $6,
      once = $7,
      debounce_ms = $8,
      timeout_ms = $9,
      include_result = $10,
      payload = $11,
      key = $12,
      created_by_type = $13,
      created_by_id = $14,
      by_run = $15,
      updated_at = $16
    where id = $1";

/// Puts what is asked for now in the place of what was asked for. What has matched already stays.
async fn replace(tx: &mut Tx, new: &Subscription) -> Result<(), Error> {
    let mut parameters: Vec<Value<'_>> = vec![new.id.into()];
    parameters.extend(settings(new));
    parameters.push(new.updated_at.into());
    tx.execute(REPLACE, &parameters).await?;
    keep(tx, new).await
}

const KEEP: &str = "
    update subscriptions
    set matches = $2,
      wakeups = $3,
      last_match_at = $4,
      window_since = $5,
      window_bytes = $6,
      window_at = $7,
      timeout_at = $8,
      due_at = $9,
      ended_at = $10,
      end_reason = $11
    where id = $1";

/// Keeps how far a subscription has come.
async fn keep(tx: &mut Tx, of: &Subscription) -> Result<(), Error> {
    let closes_at = of.window.map(|window| window.closes_at);
    let due_at = closes_at.into_iter().chain(of.timeout_at).min();
    let parameters = [
        of.id.into(),
        of.matches.into(),
        of.wakeups.into(),
        of.last_match_at.into(),
        of.window.map(|window| window.since).into(),
        of.window.map_or(0, |window| window.bytes).into(),
        closes_at.into(),
        of.timeout_at.into(),
        due_at.into(),
        of.ended_at.into(),
        of.end_reason.map(EndReason::as_str).into(),
    ];
    tx.execute(KEEP, &parameters).await?;
    Ok(())
}

/// Notes that a subscription waits no more; the caller keeps it.
async fn end(tx: &mut Tx, of: &mut Subscription, now: Timestamp, reason: EndReason) -> Result<(), Error> {
    of.ended_at = Some(now);
    of.end_reason = Some(reason);
    of.timeout_at = None;
    tx.execute(COUNT, &[of.company.into(), (-1_i64).into()]).await?;
    Ok(())
}

const REMOVE: &str = "delete from subscriptions where id = $1";
const REMOVE_MATCHES: &str = "delete from subscription_matches where subscription_id = $1";
const LOCK_AGENT: &str = "select id from agents where id = $1 {for_update}";

/// Removes a subscription, with what its window holds. What it has woken goes on.
pub async fn remove(tx: &mut Tx, id: SubscriptionId) -> Result<(), Refusal> {
    let subscription = get(tx, id).await?;
    tx.lock(LOCK_AGENT, &[subscription.agent.into()]).await?;
    let subscription = get(tx, id).await?;
    tx.execute(REMOVE_MATCHES, &[id.into()]).await?;
    tx.execute(REMOVE, &[id.into()]).await?;
    if subscription.ended_at.is_none() {
        tx.execute(COUNT, &[subscription.company.into(), (-1_i64).into()]).await?;
    }
    Ok(())
}

const OPEN_OF_AGENT: &str = "select count(*) from subscriptions where agent_id = $1 and ended_at is null";
const REMOVE_MATCHES_OF_AGENT: &str = "
    delete from subscription_matches
    where subscription_id in (select id from subscriptions where agent_id = $1 and window_at is not null)";
const REMOVE_OF_AGENT: &str = "delete from subscriptions where agent_id = $1";

/// Removes all of an agent that is deleted. The caller has locked it.
pub(crate) async fn remove_of_agent(tx: &mut Tx, company: CompanyId, agent: AgentId) -> Result<(), Error> {
    let open: i64 = tx.query_one(OPEN_OF_AGENT, &[agent.into()]).await?.get()?;
    tx.execute(REMOVE_MATCHES_OF_AGENT, &[agent.into()]).await?;
    tx.execute(REMOVE_OF_AGENT, &[agent.into()]).await?;
    if open > 0 {
        tx.execute(COUNT, &[company.into(), (-open).into()]).await?;
    }
    Ok(())
}
