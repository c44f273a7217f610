//! What the question "why does this wakeup wait?" depends on, read at one moment in one statement.

use wakeful_domain::id::RunId;
use wakeful_domain::waiting::{AgentStanding, CompanyStanding, Standing};
use wakeful_domain::wakeup::Wakeup;

use crate::value::task_key;
use crate::{Error, Refusal, Tx};

const STANDING: &str = "
    select agents.name, agents.state, agents.state_reason, agents.live_runs, agents.max_concurrent_runs,
      agents.quota_until, companies.slug, companies.state, companies.state_reason, companies.live_runs,
      companies.max_concurrent_runs, lanes.live_run_id, tasks.held_by_run
    from agents
    join companies on companies.id = agents.company_id
    left join lanes on lanes.agent_id = agents.id and lanes.task_id = $2
    left join tasks on tasks.id = $2
    where agents.id = $1";

/// How a wakeup stands.
pub async fn of(tx: &mut Tx, wakeup: &Wakeup) -> Result<Standing, Refusal> {
    let Some(mut row) = tx.query_first(STANDING, &[wakeup.agent.into(), task_key(wakeup.task)]).await? else {
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
    let holder: Result<Option<RunId>, Error> = row.get();
    Ok(Standing {
        due_at: wakeup.due_at,
        attempt: wakeup.attempt,
        max_attempts: wakeup.max_attempts,
        agent,
        company,
        lane_live_run,
        task_holder: wakeup.task.zip(holder?),
    })
}
