//! What is to be said about a task that nobody is assigned to: kept, and issued to the next assignee. Comments need no
//! keeping: they stand with the task.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, IdSource, RunId, TaskId, WakeupId};
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, Wakeup};

use crate::ops::wake::{Maker, Wake, accept_held};
use crate::value::json;
use crate::{Error, Refusal, Tx};

/// A wake without the agent it is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    source: Source,
    trigger_detail: Option<String>,
    reason: Option<String>,
    priority: Option<i64>,
    payload: Map<String, Json>,
    context: Map<String, Json>,
    actor: Actor,
    due_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    max_attempts: Option<i64>,
    /// The run in whose chain it goes on.
    run: Option<RunId>,
    /// The wakeup of a former assignee in whose stead it is.
    wakeup: Option<WakeupId>,
}

const KEEP: &str = "
    insert into kept_wakes (id, company_id, task_id, wake)
    values ($1, $2, $3, $4)";

async fn insert(tx: &mut Tx, id: WakeupId, task: &Task, kept: &Kept) -> Result<(), Error> {
    tx.execute(KEEP, &[id.into(), task.company.into(), task.id.into(), json(kept)]).await?;
    Ok(())
}

/// Keeps a wake that would have gone to the task's assignee, if it had one.
pub(crate) async fn keep(tx: &mut Tx, task: &Task, wake: &Wake) -> Result<(), Error> {
    let run = match wake.maker {
        Maker::After { run, .. } => Some(run),
        Maker::Request | Maker::Wakeful | Maker::InStead(_) => wake.by_run.map(|own| own.run),
    };
    let kept = Kept {
        source: wake.source,
        trigger_detail: wake.trigger_detail.clone(),
        reason: wake.reason.clone(),
        priority: wake.priority,
        payload: wake.payload.clone(),
        context: wake.context.clone(),
        actor: wake.actor.clone(),
        due_at: None,
        expires_at: None,
        max_attempts: wake.max_attempts,
        run,
        wakeup: None,
    };
    insert(tx, wake.id, task, &kept).await
}

/// Keeps what a wakeup says that was called off, since its task was taken from its agent and given to nobody.
pub(crate) async fn keep_called_off(tx: &mut Tx, id: WakeupId, task: &Task, wakeup: &Wakeup) -> Result<(), Error> {
    let object_of = |json: &Json| json.as_object().cloned().unwrap_or_default();
    let kept = Kept {
        source: wakeup.source,
        trigger_detail: wakeup.trigger_detail.clone(),
        reason: wakeup.reason.clone(),
        priority: Some(wakeup.priority),
        payload: object_of(&wakeup.payload),
        context: object_of(&wakeup.context),
        actor: wakeup.actor.clone(),
        due_at: (wakeup.attempt == 0).then_some(wakeup.due_at),
        expires_at: wakeup.expires_at,
        max_attempts: Some(wakeup.max_attempts),
        run: None,
        wakeup: Some(wakeup.id),
    };
    insert(tx, id, task, &kept).await
}

const OF_TASK: &str = "
    select wake
    from kept_wakes
    where task_id = $1
    order by id";
const FORGET: &str = "delete from kept_wakes where task_id = $1";

/// Issues what was kept for a task to the agent that has it now. The caller has locked both.
pub(crate) async fn issue(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdSource,
    task: &Task,
    agent: AgentId,
) -> Result<(), Refusal> {
    let rows = tx.query(OF_TASK, &[task.id.into()]).await?;
    if rows.is_empty() {
        return Ok(());
    }
    tx.execute(FORGET, &[task.id.into()]).await?;
    for mut row in rows {
        let kept: Kept = row.json()?;
        let maker = match (kept.wakeup, kept.run) {
            (Some(earlier), _) => Maker::InStead(earlier),
            (None, Some(run)) => Maker::After { run, is_asked: false },
            (None, None) => Maker::Wakeful,
        };
        let wake = Wake {
            id: ids.next(now),
            company: Some(task.company),
            agent,
            task: Some(task.id),
            source: kept.source,
            trigger_detail: kept.trigger_detail,
            reason: kept.reason,
            priority: kept.priority,
            payload: kept.payload,
            context: kept.context,
            actor: kept.actor,
            idempotency_key: None,
            request_hash: None,
            now,
            due_at: kept.due_at,
            expires_at: kept.expires_at,
            max_attempts: kept.max_attempts,
            by_run: None,
            maker,
        };
        accept_held(tx, &wake).await?;
    }
    Ok(())
}

const COUNT: &str = "select count(*) from kept_wakes where task_id = $1";

/// How many wakes wait for somebody to be assigned to a task.
pub async fn count(tx: &mut Tx, task: TaskId) -> Result<i64, Refusal> {
    Ok(tx.query_one(COUNT, &[task.into()]).await?.get()?)
}
