//! The hot index: which lanes may start, in three levels (company, agent, lane), each with the
//! rank of the best below it. What may not start is not in it, so that picking costs the same
//! with ten waiting wakeups or ten million.
//!
//! Whoever changes something a lane's readiness depends on calls [`refresh`] in the same transaction, and holds the
//! lock on the lane's agent when it does: two who derived a place from what the other had not yet committed would
//! leave a lane out that nothing brings back.
//!
//! Locks are waited for in the order task → agents by id → company, so that nobody waits in a circle. A claim picks an
//! agent first; from there on it waits for nobody but the company ([`try_lock_task`]).

use wakeful_domain::id::{AgentId, CompanyId, RunId, TaskId};
use wakeful_domain::run::Run;

use crate::ops::assignments;
use crate::ops::subscriptions::waiting;
use crate::value::task_key;
use crate::{Error, Tx};

const REFRESH_LANE: &str = "
    update lanes
    set ready_rank = case
      when live_run_id is not null or budget_id is not null then null
      when circuit_opened_at is not null then null
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
      when state = 'active' and quota_until is null and budget_id is null and live_runs < max_concurrent_runs then (
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
      when state = 'active' and budget_id is null and live_runs < max_concurrent_runs then (
        select ready_rank
        from agents
        where agents.company_id = companies.id
          and agents.ready_rank is not null
        order by agents.ready_rank
        limit 1)
      else null
      end
    where id = $1";

const LOCK_TASK: &str = "select id from tasks where id = $1 {for_update}";
const LOCK_AGENT: &str = "select id from agents where id = $1 {for_update}";
const LOCK_AGENTS_OF_TASK: &str = "
    select id
    from agents
    where id in (
      select cast($1 as text)
      union
      select agent_id from lanes where task_id = $2 and task_id <> '')
    order by id
    {for_update}";
const AGENTS_OF_TASK: &str = "
    select agent_id from lanes where task_id = $1 and task_id <> ''
    union
    select assignee_id from tasks where id = $1 and assignee_id is not null";
const HELD_BY: &str = "select id from tasks where held_by_run = $1 order by id";
const LOCK_COMPANY: &str = "select id from companies where id = $1 {for_update}";

/// Keeps others from the agents and from the lanes of the tasks, which must be all that the transaction will wake.
pub(crate) async fn lock(tx: &mut Tx, mut tasks: Vec<TaskId>, mut agents: Vec<AgentId>) -> Result<(), Error> {
    tasks.sort_unstable();
    tasks.dedup();
    for task in tasks {
        tx.lock(LOCK_TASK, &[task.into()]).await?;
    }
    agents.sort_unstable();
    agents.dedup();
    for agent in agents {
        tx.lock(LOCK_AGENT, &[agent.into()]).await?;
    }
    Ok(())
}

/// Keeps others from an agent, and from all that a change of who holds the task touches.
pub(crate) async fn lock_lane(tx: &mut Tx, agent: AgentId, task: Option<TaskId>) -> Result<(), Error> {
    if let Some(task) = task {
        tx.lock(LOCK_TASK, &[task.into()]).await?;
    }
    tx.lock(LOCK_AGENTS_OF_TASK, &[agent.into(), task_key(task)]).await
}

/// Keeps others from all that the end of a run touches: its lane, the tasks it holds and their lanes, the assignee of
/// its own, and those who are told of its end or wait for it. Returns the tasks it holds.
pub(crate) async fn lock_run(tx: &mut Tx, run: &Run) -> Result<Vec<TaskId>, Error> {
    let waiting = waiting::of_run(tx, run).await?;
    let mut tasks = held_by(tx, run.id).await?;
    tasks.extend(run.task);
    tasks.extend(told_of(tx, run).await?);
    lock(tx, waiting.tasks_with(tasks.iter().copied()), Vec::new()).await?;
    let mut agents = waiting.agents_with([run.agent]);
    for task in &tasks {
        for mut row in tx.query(AGENTS_OF_TASK, &[(*task).into()]).await? {
            agents.push(row.get()?);
        }
    }
    lock(tx, Vec::new(), agents).await?;
    if !tx.is_alone() {
        waiting.require_all(&waiting::of_run(tx, run).await?)?;
    }
    // What it checked out while we waited is not locked.
    let held = held_by(tx, run.id).await?;
    let now_told = told_of(tx, run).await?;
    match held.iter().chain(&now_told).all(|task| tasks.contains(task)) {
        true => Ok(held),
        false => Err(Error::changed_meanwhile("the tasks that a run holds, or whose agents are told of its end")),
    }
}

async fn told_of(tx: &mut Tx, run: &Run) -> Result<Vec<TaskId>, Error> {
    match run.task {
        Some(task) => assignments::told_of(tx, task).await,
        None => Ok(Vec::new()),
    }
}

async fn held_by(tx: &mut Tx, run: RunId) -> Result<Vec<TaskId>, Error> {
    let mut held = Vec::new();
    for mut row in tx.query(HELD_BY, &[run.into()]).await? {
        held.push(row.get()?);
    }
    Ok(held)
}

/// Keeps others from what must be decided once for a company. Tasks and agents are locked before.
pub(crate) async fn lock_company(tx: &mut Tx, company: CompanyId) -> Result<(), Error> {
    tx.lock(LOCK_COMPANY, &[company.into()]).await
}

const TRY_LOCK_TASK: &str = "
    select id
    from tasks
    where id = $1
    {skip_locked}";
const AGENTS_NOT_LOCKED: &str = "
    select (select count(*) from lanes where task_id = $1 and task_id <> '') - count(*)
    from (
      select id
      from agents
      where id in (select agent_id from lanes where task_id = $1 and task_id <> '')
      {skip_locked}) as locked";

/// The same for one that already holds an agent and must not wait. False if someone is at the task or at one of its
/// agents at this moment; that one looks for what may start when it is done.
pub(crate) async fn try_lock_task(tx: &mut Tx, task: TaskId) -> Result<bool, Error> {
    if tx.query_first(TRY_LOCK_TASK, &[task.into()]).await?.is_none() {
        return Ok(false);
    }
    let not_locked: i64 = tx.query_one(AGENTS_NOT_LOCKED, &[task.into()]).await?.get()?;
    Ok(not_locked == 0)
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
    lock_company(tx, company).await?;
    tx.execute(REFRESH_COMPANY, &[company.into()]).await?;
    Ok(())
}

const LANES_OF_TASK: &str =
    "select agent_id from lanes where task_id = $1 and task_id <> '' and agent_id <> $2 order by agent_id";

/// Brings the other agents' lanes of a task up to date, after it was held or released by `except`.
/// The caller has locked them.
pub async fn refresh_task(tx: &mut Tx, company: CompanyId, task: TaskId, except: AgentId) -> Result<(), Error> {
    let mut others = Vec::new();
    for mut row in tx.query(LANES_OF_TASK, &[task.into(), except.into()]).await? {
        others.push((company, row.get()?, Some(task)));
    }
    refresh_many(tx, &others).await
}

/// Brings several lanes up to date: lanes and agents first, then each company once. The caller has locked the agents.
pub(crate) async fn refresh_many(tx: &mut Tx, lanes: &[(CompanyId, AgentId, Option<TaskId>)]) -> Result<(), Error> {
    let mut agents = Vec::with_capacity(lanes.len());
    for (company, agent, task) in lanes {
        refresh_lane(tx, *agent, *task).await?;
        agents.push((*company, *agent));
    }
    refresh_agents(tx, agents).await
}

/// Brings several agents up to date, then each company once. The caller has locked the agents.
pub(crate) async fn refresh_agents(tx: &mut Tx, mut agents: Vec<(CompanyId, AgentId)>) -> Result<(), Error> {
    agents.sort_unstable();
    agents.dedup();
    for (_, agent) in &agents {
        tx.execute(REFRESH_AGENT, &[(*agent).into()]).await?;
    }
    let mut companies: Vec<CompanyId> = agents.into_iter().map(|(company, _)| company).collect();
    companies.dedup();
    for company in companies {
        refresh_company(tx, company).await?;
    }
    Ok(())
}
