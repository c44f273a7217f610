//! What the question "why does this wakeup wait?" depends on, read at one moment.

use wakeful_domain::id::RunId;
use wakeful_domain::waiting::Standing;
use wakeful_domain::wakeup::Wakeup;

use crate::ops::{agents, companies, tasks};
use crate::value::task_key;
use crate::{Refusal, Tx};

const LANE_LIVE_RUN: &str = "
    select live_run_id
    from lanes
    where agent_id = $1
      and task_id = $2
      and live_run_id is not null";

/// How a wakeup stands.
pub async fn of(tx: &mut Tx, wakeup: Wakeup) -> Result<Standing, Refusal> {
    let lane_live_run: Option<RunId> =
        match tx.query_first(LANE_LIVE_RUN, &[wakeup.agent.into(), task_key(wakeup.task)]).await? {
            Some(mut row) => row.get()?,
            None => None,
        };
    let task_holder = match wakeup.task {
        Some(id) => tasks::find(tx, id).await?.and_then(|task| task.held_by.map(|run| (id, run))),
        None => None,
    };
    Ok(Standing {
        agent: agents::get(tx, wakeup.agent).await?,
        company: companies::get(tx, wakeup.company).await?,
        lane_live_run,
        task_holder,
        wakeup,
    })
}
