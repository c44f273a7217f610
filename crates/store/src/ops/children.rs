//! Children tell the agent of their parent how they ended: in the transaction of the end itself, once for each run that
//! is not tried again and once for a close outside any run. A run that closes its own task tells at its end, with
//! what it has to report. Who has the parent is looked up when it is told; if nobody has, it is kept for whoever gets it.

use serde_json::{Map, Value as Json, json as object};
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, IdSource, RunId, TaskId};
use wakeful_domain::run::Run;
use wakeful_domain::task::{Task, TaskStatus, WakeParent};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::Source;

use crate::ops::origin::Origin;
use crate::ops::wake::{Maker, Wake, accept_held};
use crate::ops::{agents, assignments, kept_wakes, late_ends, runs, tasks};
use crate::value::task_key;
use crate::{Error, Refusal, Tx};

/// Siblings that a wakeup lists, the open ones first; all are counted.
const SIBLINGS_TOLD_MAX: i64 = 50;
/// A larger result is not copied into the wakeup; the run has it.
const RESULT_BYTES_MAX: usize = 64 * 1024;
/// Longer summaries and errors are cut there; the run has them whole.
const TEXT_BYTES_MAX: usize = 16 * 1024;

const CLOSED_BY: &str = "select closed_task from runs where id = $1";

/// A run has ended. It is told unless its wakeups are tried again; if it has closed its task, in any case.
pub(crate) async fn after_run(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdSource,
    run: &Run,
    goes_on: bool,
) -> Result<(), Refusal> {
    let Some(child) = run.task else { return Ok(()) };
    let Some(child) = tasks::find(tx, child).await? else { return Ok(()) };
    let Some(parent) = child.parent else { return Ok(()) };
    let closed: Option<String> = tx.query_one(CLOSED_BY, &[run.id.into()]).await?.get()?;
    let is_last = closed.as_deref() == Some(ALL_CLOSED);
    let is_told = match child.wake_parent {
        WakeParent::Each => !goes_on || closed.is_some(),
        WakeParent::All | WakeParent::Never => is_last,
    };
    late_ends::after_run(tx, run, is_told || child.wake_parent != WakeParent::Each).await?;
    if !is_told {
        return Ok(());
    }
    let parent = tasks::get(tx, parent).await?;
    let reason = match child.wake_parent {
        WakeParent::Each => finished(run, &child, &parent),
        WakeParent::All | WakeParent::Never => {
            format!(
                "all children of {} are closed; the last was {}, by {}: {}",
                parent.key, child.key, run.id, run.status
            )
        }
    };
    tell_run(tx, now, ids, run, &child, &parent, reason).await
}

fn finished(run: &Run, child: &Task, parent: &Task) -> String {
    format!("{} of {} (child of {}) finished: {}", run.id, child.key, parent.key, run.status)
}

/// What a run left to be tried again was called off, all of it: its end is told after all. The caller has locked the
/// child, its parent and the parent's agent.
pub(crate) async fn after_giving_up(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdSource,
    run: &Run,
    child: &Task,
) -> Result<(), Refusal> {
    let Some(parent) = child.parent else { return Ok(()) };
    let parent = tasks::get(tx, parent).await?;
    let reason = format!("{}, and is not tried again", finished(run, child, &parent));
    tell_run(tx, now, ids, run, child, &parent, reason).await
}

async fn tell_run(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdSource,
    run: &Run,
    child: &Task,
    parent: &Task,
    reason: String,
) -> Result<(), Refusal> {
    let mut told = of_run(run);
    told["task_status"] = object!(child.status);
    let origin = Origin { now, actor: Actor::system(), by_run: None, id_seed: 0 };
    tell(tx, &origin, ids, child, parent, reason, told, Maker::After { run: run.id, is_asked: false }).await
}

fn of_run(run: &Run) -> Json {
    let result = run.result.as_ref().filter(|result| result.to_string().len() <= RESULT_BYTES_MAX);
    let cut =
        |text: &Option<String>| text.as_ref().map(|text| text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned());
    object!({
        "task": run.task,
        "run": run.id,
        "agent": run.agent,
        "status": run.status,
        "summary": cut(&run.summary),
        "result": result,
        "result_is_omitted": result.is_none() && run.result.is_some(),
        "error_code": run.error_code,
        "error": cut(&run.error),
        "usage": run.usage,
        "cost_micros": run.cost_micros,
    })
}

/// The run that closes a task is one of the task's own lanes; it tells at its end.
const CLOSED: &str = "closed";
/// The same, and it was the last open child of a parent that is to know when all are closed.
const ALL_CLOSED: &str = "all_closed";
const NOTE_CLOSE: &str = "
    update runs
    set closed_task = $2
    where id = $1";
const FORGET_CLOSE: &str = "
    update runs
    set closed_task = null
    where task_id = $1
      and status in ('starting', 'running')
      and closed_task is not null";

/// A task was closed. The caller has locked its parent and the parent's agent.
pub(crate) async fn after_close(
    tx: &mut Tx,
    origin: &Origin,
    ids: &mut IdSource,
    old: &Task,
    new: &Task,
) -> Result<(), Refusal> {
    late_ends::forget_of_task(tx, new.id).await?;
    let Some(parent) = old.parent else { return Ok(()) };
    let is_last = new.parent == old.parent && is_last_of_all(tx, parent).await?;
    if let Some(own) = origin.run()
        && runs::get(tx, own).await?.task == Some(new.id)
    {
        let how = if is_last { ALL_CLOSED } else { CLOSED };
        tx.execute(NOTE_CLOSE, &[own.into(), how.into()]).await?;
        return Ok(());
    }
    let is_told = match new.wake_parent {
        WakeParent::Each => true,
        WakeParent::All | WakeParent::Never => is_last,
    };
    if !is_told {
        return Ok(());
    }
    let parent = tasks::get(tx, parent).await?;
    let status = new.status.in_words();
    let reason = match new.wake_parent {
        WakeParent::Each => format!("{} (child of {}) was closed: {status}", new.key, parent.key),
        WakeParent::All | WakeParent::Never => {
            format!("all children of {} are closed; the last was {}: {status}", parent.key, new.key)
        }
    };
    let told = outside_any_run(new, object!(new.status));
    tell(tx, origin, ids, new, &parent, reason, told, Maker::Wakeful).await
}

/// An open task was moved away from its parent: those that are left may all be closed.
pub(crate) async fn after_move(
    tx: &mut Tx,
    origin: &Origin,
    ids: &mut IdSource,
    old: &Task,
    new: &Task,
) -> Result<(), Refusal> {
    let Some(parent) = old.parent else { return Ok(()) };
    if !is_last_of_all(tx, parent).await? {
        return Ok(());
    }
    let parent = tasks::get(tx, parent).await?;
    let reason = format!("all children of {} are closed; {} was moved away", parent.key, new.key);
    let told = outside_any_run(new, "moved_away".into());
    tell(tx, origin, ids, new, &parent, reason, told, Maker::Wakeful).await
}

/// A task was opened again: what its live run has closed is open, and is told like any other end.
pub(crate) async fn after_reopen(tx: &mut Tx, task: TaskId) -> Result<(), Error> {
    tx.execute(FORGET_CLOSE, &[task_key(Some(task))]).await?;
    Ok(())
}

fn outside_any_run(child: &Task, status: Json) -> Json {
    object!({
        "task": child.id,
        "run": null,
        "agent": child.assignee,
        "status": status,
        "task_status": child.status,
        "summary": null,
        "result": null,
        "error_code": null,
        "error": null,
        "usage": null,
    })
}

const LEFT: &str = "
    select
      (select count(*) from tasks where parent_id = $1 and status not in ('done', 'cancelled')),
      (select count(*) from tasks where parent_id = $1 and wake_parent = 'all')";

/// Whether no child of a parent is open any more, and one of them wanted that to be told.
async fn is_last_of_all(tx: &mut Tx, parent: TaskId) -> Result<bool, Error> {
    let mut row = tx.query_one(LEFT, &[parent.into()]).await?;
    let (open, waited_for): (i64, i64) = (row.get()?, row.get()?);
    Ok(open == 0 && waited_for > 0)
}

/// The agent of an open child was terminated: nobody will finish it.
pub(crate) async fn after_termination(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdSource,
    child: &Task,
    agent: AgentId,
) -> Result<(), Refusal> {
    let Some(parent) = child.parent.filter(|_| child.wake_parent != WakeParent::Never) else { return Ok(()) };
    let parent = tasks::get(tx, parent).await?;
    let name = agents::get(tx, agent).await?.name;
    let reason = format!("{name}, which has {} (child of {}), was terminated", child.key, parent.key);
    let told = outside_any_run(child, "agent_terminated".into());
    let origin = Origin { now, actor: Actor::system(), by_run: None, id_seed: 0 };
    tell(tx, &origin, ids, child, &parent, reason, told, Maker::Wakeful).await
}

#[expect(clippy::too_many_arguments, reason = "one end of one child, told from three places")]
async fn tell(
    tx: &mut Tx,
    origin: &Origin,
    ids: &mut IdSource,
    child: &Task,
    parent: &Task,
    reason: String,
    told: Json,
    maker: Maker,
) -> Result<(), Refusal> {
    let mut payload = Map::new();
    payload.insert("finished_child".into(), with_key(told, child));
    siblings(tx, parent.id, child.id, &mut payload).await?;
    let agent = parent.assignee.unwrap_or_else(|| AgentId::from_uuid(parent.id.uuid()));
    let wake = Wake { maker, ..assignments::about(origin, ids, parent, agent, Source::Child, reason, payload) };
    match parent.assignee {
        Some(_) => accept_held(tx, &wake).await.map(|_| ()),
        None => Ok(kept_wakes::keep(tx, parent, &wake).await?),
    }
}

fn with_key(mut told: Json, child: &Task) -> Json {
    told["key"] = object!(child.key);
    told["title"] = object!(child.title);
    told
}

const SIBLINGS: &str = "
    select id, key, status, assignee_id
    from tasks
    where parent_id = $1
      and id <> $2
    order by case when status in ('done', 'cancelled') then 1 else 0 end, id
    limit $3";
const CHILDREN_BY_STATUS: &str = "
    select status, count(*)
    from tasks
    where parent_id = $1
    group by status
    order by status";

/// How the other children of the parent stand.
async fn siblings(tx: &mut Tx, parent: TaskId, child: TaskId, payload: &mut Map<String, Json>) -> Result<(), Error> {
    let mut listed = Vec::new();
    for mut row in tx.query(SIBLINGS, &[parent.into(), child.into(), SIBLINGS_TOLD_MAX.into()]).await? {
        let (id, key): (TaskId, String) = (row.get()?, row.get()?);
        let (status, assignee): (TaskStatus, Option<AgentId>) = (row.name()?, row.get()?);
        listed.push(object!({ "task": id, "key": key, "status": status, "assignee": assignee }));
    }
    let mut counted = Map::new();
    let (mut total, mut open) = (0, 0);
    for mut row in tx.query(CHILDREN_BY_STATUS, &[parent.into()]).await? {
        let (status, count): (TaskStatus, i64) = (row.name()?, row.get()?);
        total += count;
        open += if status.is_closed() { 0 } else { count };
        counted.insert(status.in_words().replace(' ', "_"), object!(count));
    }
    payload.insert("siblings".into(), Json::Array(listed));
    payload.insert("children".into(), object!({ "total": total, "open": open, "by_status": counted }));
    Ok(())
}

const LIVE_ON: &str = "
    select live_run_id
    from lanes
    where agent_id = $1
      and task_id = $2";

/// The live run of an agent on a task, if there is one.
pub(crate) async fn live_run_on(tx: &mut Tx, agent: AgentId, task: Option<TaskId>) -> Result<Option<RunId>, Error> {
    match tx.query_first(LIVE_ON, &[agent.into(), task_key(task)]).await? {
        Some(mut row) => row.get(),
        None => Ok(None),
    }
}
