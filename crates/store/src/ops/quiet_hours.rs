//! Timers outside their agent's active hours: they are no candidates for a run until the hours begin.
//! A timer is looked at when it is accepted and once more when it would start: hours may have ended meanwhile.

use jiff::tz::TimeZone;
use wakeful_domain::agent::Heartbeat;
use wakeful_domain::id::{AgentId, CompanyId, TaskId};
use wakeful_domain::time::Timestamp;

use crate::ops::ready;
use crate::value::task_key;
use crate::{Error, Tx};

const COMPANY_ZONE: &str = "select time_zone from companies where id = $1";

/// When the agent's hours begin next, seen from `at`; `None` within them, or if it has none.
pub(crate) async fn closed_until(
    tx: &mut Tx,
    company: CompanyId,
    heartbeat: &Heartbeat,
    at: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let Some(hours) = &heartbeat.active_hours else { return Ok(None) };
    let name = match &heartbeat.time_zone {
        Some(name) => name.clone(),
        None => tx.query_one(COMPANY_ZONE, &[company.into()]).await?.get()?,
    };
    // A zone that this machine does not know any more must not stop the agent.
    let zone = TimeZone::get(&name).unwrap_or(TimeZone::UTC);
    Ok(hours.closed_until(at, &zone))
}

const HOLD_BACK: &str = "
    update wakeups
    set eligible = 0,
      eligible_at = $3
    where agent_id = $1
      and task_id = $2
      and status = 'pending'
      and eligible = 1
      and source = 'timer'";

/// Takes the timers of a lane out of the candidates until the hours begin; tells whether there were any.
pub(crate) async fn hold_back(
    tx: &mut Tx,
    company: CompanyId,
    agent: AgentId,
    task: Option<TaskId>,
    heartbeat: &Heartbeat,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some(until) = closed_until(tx, company, heartbeat, now).await? else { return Ok(false) };
    Ok(tx.execute(HOLD_BACK, &[agent.into(), task_key(task), until.into()]).await? > 0)
}

const LOOK_AGAIN: &str = "
    update wakeups
    set eligible_at = due_at,
      eligible = case when due_at <= $2 then 1 else 0 end
    where agent_id = $1
      and task_id in (select task_id from lanes where agent_id = $1)
      and status = 'pending'
      and eligible = 0
      and source = 'timer'
      and eligible_at > due_at
    returning task_id";

const WAITING: &str = "
    select distinct agent_id
    from wakeups
    where company_id = $1
      and status = 'pending'
      and eligible = 0
      and eligible_at > due_at
    order by agent_id";

/// The agents of a company whose timers wait for their hours.
pub(crate) async fn waiting(tx: &mut Tx, company: CompanyId) -> Result<Vec<AgentId>, Error> {
    let mut agents = Vec::new();
    for mut row in tx.query(WAITING, &[company.into()]).await? {
        agents.push(row.get()?);
    }
    Ok(agents)
}

/// Keeps others from those agents; before the company is locked.
pub(crate) async fn lock_waiting(tx: &mut Tx, company: CompanyId) -> Result<(), Error> {
    let agents = waiting(tx, company).await?;
    ready::lock(tx, Vec::new(), agents).await
}

/// Looks at the waiting timers of an agent afresh, after its hours were changed. The caller has locked the agent.
pub(crate) async fn look_again(tx: &mut Tx, now: Timestamp, company: CompanyId, agent: AgentId) -> Result<(), Error> {
    let mut lanes = Vec::new();
    for mut row in tx.query(LOOK_AGAIN, &[agent.into(), now.into()]).await? {
        lanes.push((company, agent, row.task()?));
    }
    ready::refresh_many(tx, &lanes).await
}
