//! Wakeups as rows: read, listed, cancelled, retried. How they come into being is `wake`.

use serde_json::{Value as Json, json as object};
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::AgentState;
use wakeful_domain::id::{AgentId, CompanyId, RunId, TaskId, WakeupId, kind};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, Wakeup, WakeupEvent, WakeupStatus, rank};

use crate::ops::filter::{List, Page};
use crate::ops::{events, guards, late_ends, ready};
use crate::value::task_key;
use crate::{Error, Refusal, Row, Tx};

pub(crate) const COLUMNS: &str = "id, company_id, agent_id, task_id, source, trigger_detail, reason, count, priority, payload, \
    context, actor_type, actor_id, idempotency_key, cause_id, root_id, depth, requested_at, due_at, expires_at, status, \
    status_reason, run_id, lead, attempt, max_attempts, error_code, error, finished_at";

pub(crate) fn read(mut row: Row) -> Result<Wakeup, Error> {
    Ok(Wakeup {
        id: row.get()?,
        company: row.get()?,
        agent: row.get()?,
        task: row.task()?,
        source: row.name()?,
        trigger_detail: row.get()?,
        reason: row.get()?,
        count: row.get()?,
        priority: row.get()?,
        payload: row.json()?,
        context: row.json()?,
        actor: Actor { kind: row.name()?, id: row.get()? },
        idempotency_key: row.get()?,
        cause_id: row.get()?,
        root_id: row.get()?,
        depth: row.get()?,
        requested_at: row.get()?,
        due_at: row.get()?,
        expires_at: row.get()?,
        status: row.name()?,
        status_reason: row.get()?,
        run: row.get()?,
        lead: row.get()?,
        attempt: row.get()?,
        max_attempts: row.get()?,
        error_code: row.get()?,
        error: row.get()?,
        finished_at: row.get()?,
    })
}

/// The wakeup with this id, if there is one.
pub(crate) async fn find(tx: &mut Tx, id: WakeupId) -> Result<Option<Wakeup>, Error> {
    let sql = format!("select {COLUMNS} from wakeups where id = $1");
    tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()
}

/// The wakeup with this id.
pub async fn get(tx: &mut Tx, id: WakeupId) -> Result<Wakeup, Refusal> {
    find(tx, id).await?.ok_or_else(|| Refusal::not_found(id))
}

/// The wakeups that a run has had, in the order of their requests.
pub async fn of_run(tx: &mut Tx, run: RunId) -> Result<Vec<Wakeup>, Error> {
    let sql = format!(
        "select {COLUMNS} from wakeups where id in (select wakeup_id from batches where run_id = $1) \
         order by requested_at, id"
    );
    let mut wakeups: Vec<Wakeup> =
        tx.query(&sql, &[run.into()]).await?.into_iter().map(read).collect::<Result<_, _>>()?;
    let lead = lead_of(tx, run).await?;
    for wakeup in &mut wakeups {
        wakeup.lead = Some(wakeup.id) == lead;
    }
    Ok(wakeups)
}

const LEAD: &str = "
    select wakeup_id
    from batches
    where run_id = $1
      and lead = 1";

async fn lead_of(tx: &mut Tx, run: RunId) -> Result<Option<WakeupId>, Error> {
    match tx.query_first(LEAD, &[run.into()]).await? {
        Some(mut row) => Ok(Some(row.get()?)),
        None => Ok(None),
    }
}

const LEAD_CAUSE: &str = "
    select wakeups.source, wakeups.context
    from batches
    join wakeups on wakeups.id = batches.wakeup_id
    where batches.run_id = $1
      and batches.lead = 1";

/// What has started a run: the source and the context of the wakeup that leads its batch.
pub(crate) async fn lead_cause(tx: &mut Tx, run: RunId) -> Result<Option<(Source, Json)>, Error> {
    match tx.query_first(LEAD_CAUSE, &[run.into()]).await? {
        Some(mut row) => Ok(Some((row.name()?, row.json()?))),
        None => Ok(None),
    }
}

const RUNS_OF: &str = "
    select run_id
    from batches
    where wakeup_id = $1
    order by run_id";

/// The runs that have had a wakeup, oldest first.
pub async fn runs_of(tx: &mut Tx, wakeup: WakeupId) -> Result<Vec<RunId>, Error> {
    let mut runs = Vec::new();
    for mut row in tx.query(RUNS_OF, &[wakeup.into()]).await? {
        runs.push(row.get()?);
    }
    Ok(runs)
}

/// What a list of wakeups is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct WakeupFilter {
    pub company: Option<CompanyId>,
    pub status: Option<WakeupStatus>,
    pub agent: Option<AgentId>,
    pub task: Option<String>,
    pub source: Option<String>,
    /// By `requested_at`: from `since` on, and before `until`.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Whether somebody has seen it, of what failed for good.
    pub acknowledged: Option<bool>,
}

/// From the index of what is with a run, which is little: by the company there is much.
const CLAIMED: &str = "id in (select claimed.id from wakeups as claimed where claimed.status = 'claimed')";

/// A page of wakeups.
pub async fn list(
    tx: &mut Tx,
    filter: &WakeupFilter,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Wakeup>, Refusal> {
    let mut list = List::of(COLUMNS, "wakeups")
        .and_if("company_id = $", filter.company)
        .and_if("agent_id = $", filter.agent)
        .and_if("task_id = $", filter.task.clone())
        .and_if("source = $", filter.source.clone())
        .and_when("acknowledged_at is not null", filter.acknowledged == Some(true))
        .and_when("acknowledged_at is null", filter.acknowledged == Some(false))
        .in_time::<kind::Wakeup>("requested_at", filter.since, filter.until);
    if let Some(status) = filter.status {
        list = list.of_status(status.as_str()).and_when(CLAIMED, status == WakeupStatus::Claimed);
    }
    Ok(list.page(tx, cursor, limit, read, |wakeup| wakeup.id.to_string()).await?)
}

/// Locks the agent of a wakeup, so that nothing claims it meanwhile, and reads it.
async fn get_locked(tx: &mut Tx, id: WakeupId) -> Result<Wakeup, Refusal> {
    let wakeup = get(tx, id).await?;
    super::agents::get_locked(tx, wakeup.agent).await?;
    get(tx, id).await
}

const CANCEL: &str = "
    update wakeups
    set status = 'cancelled',
      status_reason = $3,
      finished_at = $2
    where id = $1
      and status = 'pending'";

/// Cancels a pending wakeup.
pub async fn cancel(tx: &mut Tx, now: Timestamp, id: WakeupId) -> Result<Wakeup, Refusal> {
    let wakeup = get_locked(tx, id).await?;
    if wakeup.status == WakeupStatus::Claimed {
        return Err(Refusal::conflict(
            "wakeup_claimed",
            "the wakeup is with a live run: cancel the run instead",
            object!({ "status": wakeup.status, "run": wakeup.run }),
        ));
    }
    if wakeup.status.after(WakeupEvent::Cancel).is_none() {
        return Err(Refusal::conflict(
            "wakeup_terminal",
            format!("the wakeup is {} already", wakeup.status),
            object!({ "status": wakeup.status }),
        ));
    }
    tx.execute(CANCEL, &[id.into(), now.into(), "cancelled".into()]).await?;
    tell_cancelled(tx, now, wakeup.company, id, wakeup.agent, "cancelled").await?;
    late_ends::look_again(tx, id).await?;
    ready::refresh(tx, wakeup.company, wakeup.agent, wakeup.task).await?;
    get(tx, id).await
}

/// Cancels a wakeup that still waits, whose agent the caller has locked.
pub(crate) async fn call_off(tx: &mut Tx, now: Timestamp, id: WakeupId, reason: &'static str) -> Result<(), Refusal> {
    let wakeup = get(tx, id).await?;
    if tx.execute(CANCEL, &[id.into(), now.into(), reason.into()]).await? == 0 {
        return Ok(());
    }
    tell_cancelled(tx, now, wakeup.company, id, wakeup.agent, reason).await?;
    late_ends::look_again(tx, id).await?;
    Ok(ready::refresh(tx, wakeup.company, wakeup.agent, wakeup.task).await?)
}

const OTHER_TIMER: &str = "
    select 1
    from wakeups
    where agent_id = $1
      and task_id = $2
      and source = 'timer'
      and status in ('pending', 'claimed')
    limit 1";

/// A lane has at most one pending timer; one that a run has may be put back.
async fn has_other_timer(tx: &mut Tx, wakeup: &Wakeup) -> Result<bool, Error> {
    let found = tx.query_first(OTHER_TIMER, &[wakeup.agent.into(), task_key(wakeup.task)]).await?;
    Ok(found.is_some())
}

const RETRY: &str = "
    update wakeups
    set status = 'pending',
      status_reason = null,
      run_id = null,
      lead = 0,
      attempt = 0,
      finished_at = null,
      due_at = $2,
      eligible_at = $2,
      rank = $3,
      eligible = 1,
      expires_at = null,
      acknowledged_at = null
    where id = $1
      and status = 'failed'";

const ACKNOWLEDGE: &str = "
    update wakeups
    set acknowledged_at = $2
    where id = $1
      and acknowledged_at is null";

/// Notes that somebody has seen a dead letter, and leaves it at that. Doing it twice changes nothing.
pub async fn acknowledge(tx: &mut Tx, now: Timestamp, id: WakeupId, by: &str) -> Result<Wakeup, Refusal> {
    let wakeup = get_locked(tx, id).await?;
    if wakeup.status != WakeupStatus::Failed {
        return Err(Refusal::conflict(
            "wakeup_not_failed",
            format!("only failed wakeups are acknowledged; this one is {}", wakeup.status),
            object!({ "status": wakeup.status }),
        ));
    }
    if tx.execute(ACKNOWLEDGE, &[id.into(), now.into()]).await? > 0 {
        let data = object!({ "agent": wakeup.agent, "by": by });
        events::append(tx, wakeup.company, now, "wakeup.acknowledged", &id.to_string(), &data).await?;
    }
    Ok(wakeup)
}

/// Brings a dead letter back, with all its attempts before it. It no longer expires, and its lane's circuit closes.
pub async fn retry(tx: &mut Tx, now: Timestamp, id: WakeupId) -> Result<Wakeup, Refusal> {
    let wakeup = get_locked(tx, id).await?;
    if wakeup.status.after(WakeupEvent::Retry).is_none() {
        return Err(Refusal::conflict(
            "wakeup_not_failed",
            format!("only failed wakeups can be retried; this one is {}", wakeup.status),
            object!({ "status": wakeup.status }),
        ));
    }
    let agent = super::agents::get(tx, wakeup.agent).await?;
    if agent.state == AgentState::Terminated {
        return Err(super::agents::terminated(&agent));
    }
    if wakeup.source == Source::Timer && has_other_timer(tx, &wakeup).await? {
        return Err(Refusal::conflict(
            "timer_pending",
            "a newer timer of the lane waits or is at work already, and stands for this one",
            object!({ "status": wakeup.status }),
        ));
    }
    tx.execute(RETRY, &[id.into(), now.into(), rank(now, wakeup.priority).into()]).await?;
    let data = object!({ "agent": wakeup.agent, "due_at": now, "attempt": 0, "explicit": true });
    events::append(tx, wakeup.company, now, "wakeup.retry_scheduled", &id.to_string(), &data).await?;
    guards::close_circuit(tx, now, wakeup.company, wakeup.agent, wakeup.task).await?;
    ready::refresh(tx, wakeup.company, wakeup.agent, wakeup.task).await?;
    get(tx, id).await
}

const CANCEL_OF_AGENT: &str = "
    update wakeups
    set status = 'cancelled',
      status_reason = $3,
      finished_at = $2
    where agent_id = $1
      and status = 'pending'
    returning id";
const EMPTY_LANES: &str = "update lanes set ready_rank = null where agent_id = $1";

/// Cancels all that waits for an agent.
pub(crate) async fn cancel_pending_of_agent(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    agent: AgentId,
    reason: &str,
) -> Result<(), Error> {
    for id in in_order(tx.query(CANCEL_OF_AGENT, &[agent.into(), now.into(), reason.into()]).await?)? {
        tell_cancelled(tx, now, company, id, agent, reason).await?;
    }
    late_ends::after_termination(tx, agent).await?;
    tx.execute(EMPTY_LANES, &[agent.into()]).await?;
    Ok(())
}

const CANCEL_OF_LANE: &str = "
    update wakeups
    set status = 'cancelled',
      status_reason = $4,
      finished_at = $3
    where agent_id = $1
      and task_id = $2
      and status = 'pending'
    returning id";

/// Cancels all that waits on a lane, whose agent the caller has locked, and returns it.
pub(crate) async fn cancel_pending_of_lane(
    tx: &mut Tx,
    now: Timestamp,
    agent: AgentId,
    task: TaskId,
    reason: &str,
) -> Result<Vec<Wakeup>, Refusal> {
    let parameters = [agent.into(), task_key(Some(task)), now.into(), reason.into()];
    let mut cancelled = Vec::new();
    for id in in_order(tx.query(CANCEL_OF_LANE, &parameters).await?)? {
        let wakeup = get(tx, id).await?;
        tell_cancelled(tx, now, wakeup.company, wakeup.id, agent, reason).await?;
        cancelled.push(wakeup);
    }
    cancelled.sort_by_key(|wakeup| (wakeup.requested_at, wakeup.id));
    if let Some(wakeup) = cancelled.first() {
        ready::refresh(tx, wakeup.company, agent, Some(task)).await?;
    }
    Ok(cancelled)
}

/// The ids of rows that a statement has changed, in the order of acceptance: an engine may return them in any.
fn in_order(rows: Vec<Row>) -> Result<Vec<WakeupId>, Error> {
    let mut ids = Vec::with_capacity(rows.len());
    for mut row in rows {
        ids.push(row.get()?);
    }
    ids.sort_unstable();
    Ok(ids)
}

pub(crate) async fn tell_cancelled(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    id: WakeupId,
    agent: AgentId,
    reason: &str,
) -> Result<(), Error> {
    let data = object!({ "agent": agent, "reason": reason });
    events::append(tx, company, now, "wakeup.cancelled", &id.to_string(), &data).await.map(|_| ())
}
