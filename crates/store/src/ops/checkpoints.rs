//! Checkpoints: what a run notes down for the next run of its lane. Another task never sees it.

use serde_json::Value as Json;
use wakeful_domain::id::{AgentId, RunId, TaskId};
use wakeful_domain::time::Timestamp;

use crate::ops::runs;
use crate::value::{json, task_key};
use crate::{Error, Refusal, Tx};

const PUT: &str = "
    insert into checkpoints (run_id, agent_id, task_id, body, updated_at)
    values ($1, $2, $3, $4, $5)
    on conflict (run_id) do update
    set body = excluded.body,
      updated_at = excluded.updated_at";

/// Notes down what a live run hands over.
pub async fn put(tx: &mut Tx, now: Timestamp, run: RunId, fence: i64, body: &Json) -> Result<(), Refusal> {
    let run = runs::get_live(tx, run, fence).await?;
    tx.execute(PUT, &[run.id.into(), run.agent.into(), task_key(run.task), json(body), now.into()]).await?;
    runs::heard(tx, now, run.id, run.fence).await?;
    Ok(())
}

const GET: &str = "select body from checkpoints where run_id = $1";

/// What a run noted down.
pub async fn of_run(tx: &mut Tx, run: RunId) -> Result<Option<Json>, Refusal> {
    match tx.query_first(GET, &[run.into()]).await? {
        Some(mut row) => Ok(Some(row.json()?)),
        None => Ok(None),
    }
}

const LATEST: &str = "
    select body
    from checkpoints
    where agent_id = $1
      and task_id = $2
    order by updated_at desc
    limit 1";

/// The newest checkpoint of a lane.
pub(crate) async fn latest_of_lane(tx: &mut Tx, agent: AgentId, task: Option<TaskId>) -> Result<Option<Json>, Error> {
    match tx.query_first(LATEST, &[agent.into(), task_key(task)]).await? {
        Some(mut row) => Ok(Some(row.json()?)),
        None => Ok(None),
    }
}
