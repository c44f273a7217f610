//! What time does by itself: wakeups become due, expire; parked accounts come free.
//! Each step takes a bounded bite and says when it is needed next.

use serde_json::json as object;
use wakeful_domain::id::{AgentId, CompanyId, TaskId, WakeupId};
use wakeful_domain::time::Timestamp;

use crate::ops::subscriptions::due;
use crate::ops::{budget_holds, budgets_due, events, firing, late_ends, ready};
use crate::value::task_key;
use crate::{Error, Refusal, Tx, Value};

/// Rows handled in one transaction; the rest follow in the next.
const BITE: i64 = 500;

/// What a tick did, and when the next is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimerReport {
    pub became_due: usize,
    pub expired: usize,
    pub unparked: usize,
    /// When something is due next; `None` if nothing waits for a time.
    pub next_at: Option<Timestamp>,
}

/// Does all that is due at `now`, up to a bite of each kind.
pub async fn tick(tx: &mut Tx, now: Timestamp) -> Result<TimerReport, Refusal> {
    let soonest = next_at(tx).await?;
    if soonest.is_none_or(|at| at > now) {
        return Ok(TimerReport { next_at: soonest, ..TimerReport::default() });
    }
    tx.lock(LOCK_CONCERNED, &[now.into(), BITE.into()]).await?;
    let mut lanes = expire(tx, EXPIRE, &[now.into(), BITE.into()], now).await?;
    let expired = lanes.len();
    lanes.extend(become_due(tx, now).await?);
    let became_due = lanes.len() - expired;
    for (_, agent, task) in &lanes[expired..] {
        budget_holds::decide_again(tx, *agent, *task).await?;
    }
    lanes.sort_unstable();
    lanes.dedup();
    let parked = parked_until(tx, now).await?;
    // Nearly always the same again; a wakeup may have come in between.
    let agents = lanes.iter().map(|(_, agent, _)| *agent).chain(parked.iter().map(|(_, agent)| *agent)).collect();
    ready::lock(tx, Vec::new(), agents).await?;
    let unparked = match parked.is_empty() {
        true => 0,
        false => tx.execute(UNPARK, &[now.into()]).await?,
    };
    ready::refresh_many(tx, &lanes).await?;
    ready::refresh_agents(tx, parked).await?;
    let unparked = usize::try_from(unparked).unwrap_or(usize::MAX);
    Ok(TimerReport { became_due, expired, unparked, next_at: next_at(tx).await? })
}

/// Agents before their wakeups, as everywhere.
const LOCK_CONCERNED: &str = "
    select id
    from agents
    where id in (
      (select agent_id from wakeups where status = 'pending' and eligible = 0 and eligible_at <= $1
        order by eligible_at limit $2)
      union
      (select agent_id from wakeups where status = 'pending' and expires_at is not null and expires_at <= $1
        order by expires_at limit $2)
      union
      (select id from agents where quota_until is not null and quota_until <= $1))
    order by id
    {for_update}";

/// A wakeup's lane and its company.
type Lane = (CompanyId, AgentId, Option<TaskId>);

const BECOME_DUE: &str = "
    update wakeups
    set eligible = 1
    where id in (
      select id
      from wakeups
      where status = 'pending'
        and eligible = 0
        and eligible_at <= $1
      order by eligible_at
      limit $2
      {skip_locked})
    returning company_id, agent_id, task_id";

async fn become_due(tx: &mut Tx, now: Timestamp) -> Result<Vec<Lane>, Error> {
    let rows = tx.query(BECOME_DUE, &[now.into(), BITE.into()]).await?;
    let mut lanes = Vec::with_capacity(rows.len());
    for mut row in rows {
        lanes.push((row.get()?, row.get()?, row.task()?));
    }
    Ok(lanes)
}

const EXPIRE: &str = "
    update wakeups
    set status = 'expired',
      status_reason = 'expired',
      finished_at = $1
    where id in (
      select id
      from wakeups
      where status = 'pending'
        and expires_at is not null
        and expires_at <= $1
      order by expires_at
      limit $2
      {skip_locked})
    returning id, company_id, agent_id, task_id";

const EXPIRE_OF_LANE: &str = "
    update wakeups
    set status = 'expired',
      status_reason = 'expired',
      finished_at = $1
    where agent_id = $2
      and task_id = $3
      and status = 'pending'
      and eligible = 1
      and expires_at <= $1
    returning id, company_id, agent_id, task_id";

async fn expire(tx: &mut Tx, sql: &'static str, parameters: &[Value<'_>], now: Timestamp) -> Result<Vec<Lane>, Error> {
    let rows = tx.query(sql, parameters).await?;
    let mut expired: Vec<(WakeupId, Lane)> = Vec::with_capacity(rows.len());
    for mut row in rows {
        expired.push((row.get()?, (row.get()?, row.get()?, row.task()?)));
    }
    // An engine may return them in any order.
    expired.sort_unstable();
    let mut lanes = Vec::with_capacity(expired.len());
    for (id, (company, agent, task)) in expired {
        events::append(tx, company, now, "wakeup.expired", &id.to_string(), &object!({ "agent": agent })).await?;
        late_ends::look_again(tx, id).await?;
        lanes.push((company, agent, task));
    }
    Ok(lanes)
}

/// Marks what has expired in one lane; the caller has locked its agent and brings the index up to date.
pub(crate) async fn expire_lane(
    tx: &mut Tx,
    now: Timestamp,
    agent: AgentId,
    task: Option<TaskId>,
) -> Result<(), Error> {
    expire(tx, EXPIRE_OF_LANE, &[now.into(), agent.into(), task_key(task)], now).await.map(|_| ())
}

const PARKED_UNTIL: &str = "
    select company_id, id
    from agents
    where quota_until is not null
      and quota_until <= $1";
const UNPARK: &str = "
    update agents
    set quota_until = null
    where quota_until is not null
      and quota_until <= $1";

async fn parked_until(tx: &mut Tx, now: Timestamp) -> Result<Vec<(CompanyId, AgentId)>, Error> {
    let mut parked = Vec::new();
    for mut row in tx.query(PARKED_UNTIL, &[now.into()]).await? {
        parked.push((row.get()?, row.get()?));
    }
    Ok(parked)
}

const NEXT_ELIGIBLE: &str = "
    select eligible_at
    from wakeups
    where status = 'pending'
      and eligible = 0
    order by eligible_at
    limit 1";
const NEXT_EXPIRY: &str = "
    select expires_at
    from wakeups
    where status = 'pending'
      and expires_at is not null
    order by expires_at
    limit 1";
const NEXT_UNPARK: &str = "
    select quota_until
    from agents
    where quota_until is not null
    order by quota_until
    limit 1";

async fn next_at(tx: &mut Tx) -> Result<Option<Timestamp>, Error> {
    let mut next: Option<Timestamp> = None;
    for sql in [NEXT_ELIGIBLE, NEXT_EXPIRY, NEXT_UNPARK, firing::NEXT_DUE, budgets_due::NEXT_DUE, due::NEXT_DUE] {
        if let Some(mut row) = tx.query_first(sql, &[]).await? {
            let at: Timestamp = row.get()?;
            next = Some(next.map_or(at, |soonest| soonest.min(at)));
        }
    }
    Ok(next)
}
