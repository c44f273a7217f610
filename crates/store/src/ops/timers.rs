//! What time does by itself: wakeups become due, expire; parked accounts come free.
//! Each step takes a bounded bite and says when it is needed next.

use serde_json::json as object;
use wakeful_domain::id::{AgentId, CompanyId, TaskId, WakeupId};
use wakeful_domain::time::Timestamp;

use crate::ops::{events, ready};
use crate::{Error, Refusal, Tx};

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
    let expired = expire(tx, now).await?;
    let became_due = become_due(tx, now).await?;
    let unparked = unpark(tx, now).await?;
    Ok(TimerReport { became_due, expired, unparked, next_at: next_at(tx).await? })
}

const BECOME_DUE: &str = "
    update wakeups
    set eligible = 1
    where id in (
      select id
      from wakeups
      where status = 'pending'
        and eligible = 0
        and due_at <= $1
      order by due_at
      limit $2
      {skip_locked})
    returning company_id, agent_id, task_id";

async fn become_due(tx: &mut Tx, now: Timestamp) -> Result<usize, Error> {
    let rows = tx.query(BECOME_DUE, &[now.into(), BITE.into()]).await?;
    let count = rows.len();
    let mut lanes: Vec<(CompanyId, AgentId, Option<TaskId>)> = Vec::with_capacity(count);
    for mut row in rows {
        lanes.push((row.get()?, row.get()?, row.task()?));
    }
    refresh_each(tx, lanes).await?;
    Ok(count)
}

/// In one order everywhere, so that two nodes do not wait for each other.
async fn refresh_each(tx: &mut Tx, mut lanes: Vec<(CompanyId, AgentId, Option<TaskId>)>) -> Result<(), Error> {
    lanes.sort_unstable();
    lanes.dedup();
    for (_, agent, _) in &lanes {
        ready::lock_agent(tx, *agent).await?;
    }
    for (company, agent, task) in lanes {
        ready::refresh(tx, company, agent, task).await?;
    }
    Ok(())
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

/// Marks what has expired, up to a bite of it.
pub(crate) async fn expire(tx: &mut Tx, now: Timestamp) -> Result<usize, Error> {
    let rows = tx.query(EXPIRE, &[now.into(), BITE.into()]).await?;
    let count = rows.len();
    let mut lanes = Vec::with_capacity(count);
    for mut row in rows {
        let id: WakeupId = row.get()?;
        let (company, agent, task) = (row.get()?, row.get()?, row.task()?);
        events::append(tx, company, now, "wakeup.expired", &id.to_string(), &object!({ "agent": agent })).await?;
        lanes.push((company, agent, task));
    }
    refresh_each(tx, lanes).await?;
    Ok(count)
}

const UNPARK: &str = "
    update agents
    set quota_until = null
    where quota_until is not null
      and quota_until <= $1
    returning company_id, id";

async fn unpark(tx: &mut Tx, now: Timestamp) -> Result<usize, Error> {
    let rows = tx.query(UNPARK, &[now.into()]).await?;
    let count = rows.len();
    for mut row in rows {
        ready::refresh_agent(tx, row.get()?, row.get()?).await?;
    }
    Ok(count)
}

const NEXT_DUE: &str = "
    select due_at
    from wakeups
    where status = 'pending'
      and eligible = 0
    order by due_at
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
    for sql in [NEXT_DUE, NEXT_EXPIRY, NEXT_UNPARK] {
        if let Some(mut row) = tx.query_first(sql, &[]).await? {
            let at: Timestamp = row.get()?;
            next = Some(next.map_or(at, |soonest| soonest.min(at)));
        }
    }
    Ok(next)
}
