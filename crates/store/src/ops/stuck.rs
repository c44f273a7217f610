//! Blockers that go no further by themselves: the last wakeup about one was given up, or its agent was terminated.
//! Whoever waits for it is told, as when it is cancelled; so are the parents of a terminated agent's tasks.

use serde_json::{Value as Json, json as object};
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, IdSource, TaskId};
use wakeful_domain::run::Run;
use wakeful_domain::task::{Task, TaskStatus, WakeParent};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::Source;

use crate::ops::origin::Origin;
use crate::ops::subscriptions::waiting;
use crate::ops::wake::{Maker, Wake, accept_held};
use crate::ops::{agents, assignments, blockers, children, ready, tasks};
use crate::{Error, Refusal, Tx};

const WAITING: &str = "
    select 1
    from wakeups
    where agent_id in (select agent_id from lanes where task_id = $1 and task_id <> '')
      and task_id = $1
      and status in ('pending', 'claimed')
    limit 1";

/// A run has ended and wakeups of it were given up. If nothing more is to come for its task, those that wait for it
/// are told. The caller has locked them.
pub(crate) async fn after_dead_letter(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdSource,
    run: &Run,
) -> Result<(), Refusal> {
    let Some(task) = run.task else { return Ok(()) };
    let Some(blocker) = tasks::find(tx, task).await?.filter(|task| !task.status.is_closed()) else { return Ok(()) };
    if tx.query_first(WAITING, &[blocker.id.into()]).await?.is_some() {
        return Ok(());
    }
    let code = run.error_code.as_deref().unwrap_or("failed");
    let why = format!("is stuck: {} was given up ({code})", run.id);
    let stuck = object!({ "run": run.id, "agent": run.agent, "error_code": run.error_code, "error": run.error });
    tell(tx, now, ids, &blocker, &why, &stuck, Maker::After { run: run.id, is_asked: false }).await
}

async fn tell(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdSource,
    blocker: &Task,
    why: &str,
    stuck: &Json,
    maker: Maker,
) -> Result<(), Refusal> {
    let origin = Origin { now, actor: Actor::system(), by_run: None, id_seed: 0 };
    for id in blockers::dependents(tx, blocker.id).await? {
        let task = tasks::get(tx, id).await?;
        let Some(assignee) = task.assignee.filter(|_| task.status != TaskStatus::Backlog) else { continue };
        let payload = object!({
            "blocker": { "task": blocker.id, "key": blocker.key, "title": blocker.title, "status": blocker.status },
            "stuck": stuck,
            "still_blocked_by": blockers::open(tx, id).await?,
        });
        let payload = payload.as_object().cloned().unwrap_or_default();
        let reason = format!("{}, which {} waits for, {why}", blocker.key, task.key);
        let wake = assignments::about(&origin, ids, &task, assignee, Source::Dependency, reason, payload);
        accept_held(tx, &Wake { maker, ..wake }).await?;
    }
    Ok(())
}

const OPEN_OF_AGENT: &str = "
    select id
    from tasks
    where assignee_id = $1
      and status not in ('done', 'cancelled')
    order by id";
const TASKS_CONCERNED: &str = "
    select id
    from tasks
    where assignee_id = $1
      and status not in ('done', 'cancelled')
    union
    select parent_id
    from tasks
    where assignee_id = $1
      and status not in ('done', 'cancelled')
      and parent_id is not null
    union
    select task_blockers.task_id
    from task_blockers
    join tasks on tasks.id = task_blockers.blocker_id
    where tasks.assignee_id = $1
      and tasks.status not in ('done', 'cancelled')
    order by 1";
const ASSIGNEE: &str = "select assignee_id from tasks where id = $1";

/// Keeps others from all that the termination of an agent touches: it, its open tasks, those that wait for them,
/// their parents, who has these, and who waits for something of it.
pub(crate) async fn lock(tx: &mut Tx, agent: AgentId) -> Result<(), Error> {
    let concerned = tasks_of(tx, TASKS_CONCERNED, agent).await?;
    let waiting = waiting::of_agent(tx, agent).await?;
    ready::lock(tx, waiting.tasks_with(concerned.iter().copied()), Vec::new()).await?;
    let mut agents = waiting.agents_with([agent]);
    for task in &concerned {
        let assignee: Option<AgentId> = tx.query_one(ASSIGNEE, &[(*task).into()]).await?.get()?;
        agents.extend(assignee);
    }
    ready::lock(tx, Vec::new(), agents).await?;
    // What it was given while we waited is not locked, nor who has come to wait.
    waiting.require_all(&waiting::of_agent(tx, agent).await?)?;
    match tasks_of(tx, TASKS_CONCERNED, agent).await?.iter().all(|task| concerned.contains(task)) {
        true => Ok(()),
        false => Err(Error::changed_meanwhile("the tasks of an agent")),
    }
}

async fn tasks_of(tx: &mut Tx, sql: &'static str, agent: AgentId) -> Result<Vec<TaskId>, Error> {
    let mut found = Vec::new();
    for mut row in tx.query(sql, &[agent.into()]).await? {
        found.push(row.get()?);
    }
    Ok(found)
}

/// An agent was terminated: nobody will finish its open tasks. A live run of it tells a parent that is told of
/// each at its end.
pub(crate) async fn after_termination(tx: &mut Tx, now: Timestamp, agent: AgentId) -> Result<(), Refusal> {
    // It happens once to an agent, so that ids which follow from its own are nobody else's.
    let mut ids = IdSource::new(agent.uuid().as_u128() as u64);
    let name = agents::get(tx, agent).await?.name;
    for id in tasks_of(tx, OPEN_OF_AGENT, agent).await? {
        let task = tasks::get(tx, id).await?;
        let why = format!("is stuck: its agent {name} was terminated");
        let stuck = object!({ "run": null, "agent": agent, "error_code": "agent_terminated", "error": null });
        tell(tx, now, &mut ids, &task, &why, &stuck, Maker::Wakeful).await?;
        let is_told_at_its_end =
            task.wake_parent == WakeParent::Each && children::live_run_on(tx, agent, Some(id)).await?.is_some();
        if !is_told_at_its_end {
            children::after_termination(tx, now, &mut ids, &task, agent).await?;
        }
    }
    Ok(())
}
