//! What the question "why does this wakeup wait?" depends on, read at one moment.

use std::time::Duration;

use wakeful_domain::agent::Limits;
use wakeful_domain::id::{BudgetId, TaskId};
use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::{AgentStanding, CompanyStanding, Standing, TaskHolder};
use wakeful_domain::wakeup::Wakeup;

use crate::ops::budgets;
use crate::value::task_key;
use crate::{Error, Refusal, Tx};

const STANDING: &str = "
    select agents.name, agents.state, agents.state_reason, agents.live_runs, agents.max_concurrent_runs,
      agents.quota_until, companies.slug, companies.state, companies.state_reason, companies.live_runs,
      companies.max_concurrent_runs, lanes.live_run_id, lanes.circuit_opened_at,
      (select eligible_at from wakeups where id = $3),
      coalesce(lanes.budget_id, agents.budget_id, companies.budget_id)
    from agents
    join companies on companies.id = agents.company_id
    left join lanes on lanes.agent_id = agents.id and lanes.task_id = $2
    where agents.id = $1";

/// How a wakeup stands.
pub async fn of(tx: &mut Tx, wakeup: &Wakeup) -> Result<Standing, Refusal> {
    let parameters = [wakeup.agent.into(), task_key(wakeup.task), wakeup.id.into()];
    let Some(mut row) = tx.query_first(STANDING, &parameters).await? else {
        return Err(Refusal::not_found(wakeup.agent));
    };
    let agent = AgentStanding {
        name: row.get()?,
        state: row.name()?,
        state_reason: row.get()?,
        live_runs: row.get()?,
        max_concurrent_runs: row.get()?,
        quota_until: row.get()?,
    };
    let company = CompanyStanding {
        slug: row.get()?,
        state: row.name()?,
        state_reason: row.get()?,
        live_runs: row.get()?,
        max_concurrent_runs: row.get()?,
    };
    let lane_live_run = row.get()?;
    let circuit_opened_at = row.get()?;
    let eligible_at: Option<Timestamp> = row.get()?;
    let budget = match row.get::<Option<BudgetId>>()? {
        Some(budget) => budgets::find(tx, budget).await?,
        None => None,
    };
    let task_holder = match wakeup.task {
        Some(task) => holder(tx, task).await?,
        None => None,
    };
    Ok(Standing {
        due_at: wakeup.due_at,
        eligible_at: eligible_at.unwrap_or(wakeup.due_at),
        attempt: wakeup.attempt,
        max_attempts: wakeup.max_attempts,
        agent,
        company,
        lane_live_run,
        circuit_opened_at,
        task_holder,
        budget,
    })
}

const HOLDER: &str = "
    select runs.id, runs.agent_id, agents.name, runs.started_at, agents.limits
    from tasks
    join runs on runs.id = tasks.held_by_run
    join agents on agents.id = runs.agent_id
    where tasks.id = $1";

/// The live run that holds a task, if one does.
pub async fn holder(tx: &mut Tx, task: TaskId) -> Result<Option<TaskHolder>, Error> {
    let Some(mut row) = tx.query_first(HOLDER, &[task.into()]).await? else { return Ok(None) };
    let (run, agent, agent_name) = (row.get()?, row.get()?, row.get()?);
    let started_at: Option<Timestamp> = row.get()?;
    let limits: Limits = row.json()?;
    let longest = limits.max_duration_s.map(|seconds| Duration::from_secs(seconds.into()));
    let until = started_at.zip(longest).map(|(at, longest)| at + longest);
    Ok(Some(TaskHolder { task, run, agent, agent_name, until }))
}
