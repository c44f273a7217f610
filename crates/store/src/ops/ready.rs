//! The hot index: which lanes may start, in three levels (company, agent, lane), each with the
//! rank of the best below it. What may not start is not in it, so that picking costs the same
//! with ten waiting wakeups or ten million.
//!
//! Whoever changes something a lane's readiness depends on calls [`refresh`] in the same transaction, and holds the
//! lock on the lane's agent ([`lock_agent`]) when it does: two who derived a place from what the other had not yet
//! committed would leave a lane out that nothing brings back.

use wakeful_domain::id::{AgentId, CompanyId, TaskId};

use crate::value::task_key;
use crate::{Error, Tx};

const REFRESH_LANE: &str = "
    update lanes
    set ready_rank = case
      when live_run_id is not null then null
      when exists (select 1 from tasks where tasks.id = lanes.task_id and tasks.held_by_run is not null) then null
      else (
        select rank
        from wakeups
        where wakeups.agent_id = lanes.agent_id
          and wakeups.task_id = lanes.task_id
          and wakeups.status = 'pending'
          and wakeups.eligible = 1
        order by rank
        limit 1)
      end
    where agent_id = $1
      and task_id = $2";

const REFRESH_AGENT: &str = "
    update agents
    set ready_rank = case
      when state = 'active' and quota_until is null and live_runs < max_concurrent_runs then (
        select ready_rank
        from lanes
        where lanes.agent_id = agents.id
          and lanes.ready_rank is not null
        order by lanes.ready_rank
        limit 1)
      else null
      end
    where id = $1";

const REFRESH_COMPANY: &str = "
    update companies
    set ready_rank = case
      when state = 'active' and live_runs < max_concurrent_runs then (
        select ready_rank
        from agents
        where agents.company_id = companies.id
          and agents.ready_rank is not null
        order by agents.ready_rank
        limit 1)
      else null
      end
    where id = $1";

const LOCK_AGENT: &str = "select id from agents where id = $1 {for_update}";
const LOCK_COMPANY: &str = "select id from companies where id = $1 {for_update}";

/// Keeps others from the agent and its lanes until the transaction ends.
pub(crate) async fn lock_agent(tx: &mut Tx, agent: AgentId) -> Result<(), Error> {
    tx.lock(LOCK_AGENT, &[agent.into()]).await
}

/// Brings a lane's place in the index up to date, and what stands above it.
pub async fn refresh(tx: &mut Tx, company: CompanyId, agent: AgentId, task: Option<TaskId>) -> Result<(), Error> {
    refresh_lane(tx, agent, task).await?;
    refresh_agent(tx, company, agent).await
}

/// Brings a lane's place up to date; the caller sees to the agent.
pub async fn refresh_lane(tx: &mut Tx, agent: AgentId, task: Option<TaskId>) -> Result<(), Error> {
    tx.execute(REFRESH_LANE, &[agent.into(), task_key(task)]).await?;
    Ok(())
}

/// Brings an agent's place up to date, and its company's.
pub async fn refresh_agent(tx: &mut Tx, company: CompanyId, agent: AgentId) -> Result<(), Error> {
    tx.execute(REFRESH_AGENT, &[agent.into()]).await?;
    refresh_company(tx, company).await
}

/// Brings a company's place up to date.
pub async fn refresh_company(tx: &mut Tx, company: CompanyId) -> Result<(), Error> {
    tx.lock(LOCK_COMPANY, &[company.into()]).await?;
    tx.execute(REFRESH_COMPANY, &[company.into()]).await?;
    Ok(())
}

const LANES_OF_TASK: &str = "select agent_id from lanes where task_id = $1 and agent_id <> $2 order by agent_id";

/// Brings the other agents' lanes of a task up to date, after it was held or released by `except`.
/// Agents before the company, as everywhere.
pub async fn refresh_task(tx: &mut Tx, company: CompanyId, task: TaskId, except: AgentId) -> Result<(), Error> {
    let others = tx.query(LANES_OF_TASK, &[task.into(), except.into()]).await?;
    if others.is_empty() {
        return Ok(());
    }
    for mut row in others {
        let agent: AgentId = row.get()?;
        lock_agent(tx, agent).await?;
        refresh_lane(tx, agent, Some(task)).await?;
        tx.execute(REFRESH_AGENT, &[agent.into()]).await?;
    }
    refresh_company(tx, company).await
}
