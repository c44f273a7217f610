//! What budgets keep back: lanes, agents or a company of which nothing more may start. Decided by the claim, under the
//! company's lock, and taken back when a window ends, a limit is changed, or something new waits.

use wakeful_domain::budget::{Level, Scope, Window};
use wakeful_domain::id::{AgentId, BudgetId, CompanyId, ScheduleId, TaskId};
use wakeful_domain::time::Timestamp;

use crate::ops::spending::{has_any, live_under, over};
use crate::ops::{budgets, ready};
use crate::value::task_key;
use crate::{Error, Refusal, Tx};

const HOLD_COMPANY: &str = "update companies set budget_id = $2 where id = $1";
const HOLD_AGENT: &str = "update agents set budget_id = $2 where id = $1";
const HOLD_LANE: &str = "update lanes set budget_id = $3 where agent_id = $1 and task_id = $2";
const HOLDS: &str = "
    update budgets
    set due_at = $2
    where id = $1
      and (due_at is null or due_at > $2)";

/// Keeps a lane that is to be claimed out of the index, with all that its budget keeps back, if nothing is left for
/// another run. The caller has locked the agent, and brings the index up to date if this says so.
pub(crate) async fn hold_back(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    agent: AgentId,
    task: Option<TaskId>,
) -> Result<bool, Refusal> {
    if !has_any(tx, company).await? {
        return Ok(false);
    }
    ready::lock_company(tx, company).await?;
    let zone = budgets::zone(tx, company).await?;
    for mut budget in over(tx, (company, agent, task), None, "").await? {
        budget.roll(&zone, now);
        let live = if budget.reserve > 0 { live_under(tx, &budget).await?.len() } else { 0 };
        if budget.has_room(i64::try_from(live).unwrap_or(i64::MAX)) {
            continue;
        }
        match budget.scope {
            Scope::Company => tx.execute(HOLD_COMPANY, &[company.into(), budget.id.into()]).await?,
            Scope::Agent(agent) => tx.execute(HOLD_AGENT, &[agent.into(), budget.id.into()]).await?,
            Scope::Task(_) | Scope::Schedule(_) => {
                tx.execute(HOLD_LANE, &[agent.into(), task_key(task), budget.id.into()]).await?
            }
        };
        if let Some(ends) = budget.window_ends_at {
            tx.execute(HOLDS, &[budget.id.into(), ends.into()]).await?;
        }
        return Ok(true);
    }
    Ok(false)
}

const OF_SCHEDULE: &str = "
    select {columns}
    from budgets
    where company_id = $1
      and scope = 'schedule'
      and scope_id = $2";

/// Whether a schedule has spent what it may.
pub(crate) async fn is_spent(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    schedule: ScheduleId,
) -> Result<bool, Refusal> {
    let rows =
        tx.query(&OF_SCHEDULE.replace("{columns}", budgets::COLUMNS), &[company.into(), schedule.into()]).await?;
    if rows.is_empty() {
        return Ok(false);
    }
    let zone = budgets::zone(tx, company).await?;
    for row in rows {
        let mut budget = budgets::read(row)?;
        budget.roll(&zone, now);
        if budget.window != Window::Run && budget.level() == Level::Exhausted {
            return Ok(true);
        }
    }
    Ok(false)
}

const CONCERNED: &str = "
    select id from agents where budget_id = $1
    union
    select agent_id from lanes where budget_id = $1";
const FREE_LANES: &str = "
    update lanes
    set budget_id = null
    where budget_id = $1
    returning agent_id, task_id";
const FREE_AGENTS: &str = "
    update agents
    set budget_id = null
    where budget_id = $1
    returning id";
const FREE_COMPANY: &str = "update companies set budget_id = null where budget_id = $1";
const COMPANY_OF: &str = "select company_id from budgets where id = $1";

/// Keeps others from the agents that a budget holds back, whole or a lane of theirs.
pub(super) async fn lock_held(tx: &mut Tx, id: BudgetId) -> Result<Vec<AgentId>, Error> {
    let mut agents: Vec<AgentId> = Vec::new();
    for mut row in tx.query(CONCERNED, &[id.into()]).await? {
        agents.push(row.get()?);
    }
    ready::lock(tx, Vec::new(), agents.clone()).await?;
    Ok(agents)
}

/// Lets go of all that a budget holds back. What still has nothing to spend is held back by the next claim.
pub(crate) async fn let_go(tx: &mut Tx, id: BudgetId) -> Result<(), Refusal> {
    let Some(mut row) = tx.query_first(COMPANY_OF, &[id.into()]).await? else { return Err(Refusal::not_found(id)) };
    let company: CompanyId = row.get()?;
    let agents = lock_held(tx, id).await?;
    let mut lanes = Vec::new();
    for mut row in tx.query(FREE_LANES, &[id.into()]).await? {
        lanes.push((company, row.get()?, row.task()?));
    }
    let mut freed: Vec<AgentId> = lanes.iter().map(|(_, agent, _)| *agent).collect();
    for mut row in tx.query(FREE_AGENTS, &[id.into()]).await? {
        freed.push(row.get()?);
    }
    if freed.iter().any(|agent| !agents.contains(agent)) {
        return Err(Error::changed_meanwhile("what a budget holds back").into());
    }
    for (_, agent, task) in lanes {
        ready::refresh_lane(tx, agent, task).await?;
    }
    ready::lock_company(tx, company).await?;
    tx.execute(FREE_COMPANY, &[id.into()]).await?;
    ready::refresh_agents(tx, agents.into_iter().map(|agent| (company, agent)).collect()).await?;
    Ok(ready::refresh_company(tx, company).await?)
}

const LET_LANE_GO: &str = "
    update lanes
    set budget_id = null
    where agent_id = $1
      and task_id = $2
      and budget_id is not null";

/// Something new waits on a lane: whether its budget holds it back is decided by the next claim.
pub(crate) async fn decide_again(tx: &mut Tx, agent: AgentId, task: Option<TaskId>) -> Result<(), Error> {
    tx.execute(LET_LANE_GO, &[agent.into(), task_key(task)]).await?;
    Ok(())
}
