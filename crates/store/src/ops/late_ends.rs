//! Ends of children's runs that their parents are not told yet, since what the runs had is to be tried again. Whoever
//! calls such a wakeup off, or lets it expire, only marks the end ([`look_again`]): it has not locked the parent. The
//! dispatcher tells it, once, if nothing of the run is left to be tried.

use wakeful_domain::id::{AgentId, IdSource, RunId, TaskId, WakeupId};
use wakeful_domain::run::Run;
use wakeful_domain::task::{Task, WakeParent};
use wakeful_domain::time::Timestamp;

use crate::ops::subscriptions::waiting::{Waiting, try_lock};
use crate::ops::{children, runs, tasks};
use crate::value::task_key;
use crate::{Error, Refusal, Tx};

/// Ends told in one transaction; the rest follow in the next.
const BITE: i64 = 100;

const SUPERSEDE: &str = "
    delete from late_ends
    where task_id = $2
      and run_id in (
        select earlier.run_id
        from batches
        join batches as earlier on earlier.wakeup_id = batches.wakeup_id
        where batches.run_id = $1)";
const KEEP: &str = "
    insert into late_ends (run_id, agent_id, task_id, is_due)
    select $1, $2, $3, 0
    where exists (
      select 1
      from batches
      join wakeups on wakeups.id = batches.wakeup_id
      where batches.run_id = $1
        and wakeups.status = 'pending')";

/// A child's run has ended. It speaks for the earlier runs of what it had; if the parent is not told now, its end is
/// kept as long as something of it is to be tried again.
pub(crate) async fn after_run(tx: &mut Tx, run: &Run, is_told: bool) -> Result<(), Error> {
    tx.execute(SUPERSEDE, &[run.id.into(), task_key(run.task)]).await?;
    if !is_told {
        tx.execute(KEEP, &[run.id.into(), run.agent.into(), task_key(run.task)]).await?;
    }
    Ok(())
}

const LOOK_AGAIN: &str = "
    update late_ends
    set is_due = 1
    where is_due = 0
      and run_id in (select run_id from batches where wakeup_id = $1)";

/// A wakeup that waited was called off, or has expired.
pub(crate) async fn look_again(tx: &mut Tx, wakeup: WakeupId) -> Result<(), Error> {
    tx.execute(LOOK_AGAIN, &[wakeup.into()]).await.map(|_| ())
}

const FORGET_OF_TASK: &str = "delete from late_ends where task_id = $1";
const FORGET_OF_AGENT: &str = "
    delete from late_ends
    where agent_id = $1
      and task_id in (select id from tasks where assignee_id = $1)";
const LOOK_AGAIN_OF_AGENT: &str = "
    update late_ends
    set is_due = 1
    where agent_id = $1";
const FORGET_OF_LANE: &str = "
    delete from late_ends
    where agent_id = $1
      and task_id = $2";

/// The task was closed, which its parent is told.
pub(crate) async fn forget_of_task(tx: &mut Tx, task: TaskId) -> Result<(), Error> {
    tx.execute(FORGET_OF_TASK, &[task_key(Some(task))]).await.map(|_| ())
}

/// All that waited for an agent was called off, since it was terminated. The parents of its tasks are told that.
pub(crate) async fn after_termination(tx: &mut Tx, agent: AgentId) -> Result<(), Error> {
    tx.execute(FORGET_OF_AGENT, &[agent.into()]).await?;
    tx.execute(LOOK_AGAIN_OF_AGENT, &[agent.into()]).await.map(|_| ())
}

/// Another agent has the task now and goes on with it.
pub(crate) async fn forget_of_lane(tx: &mut Tx, agent: AgentId, task: TaskId) -> Result<(), Error> {
    tx.execute(FORGET_OF_LANE, &[agent.into(), task_key(Some(task))]).await.map(|_| ())
}

const DUE: &str = "
    select run_id
    from late_ends
    where is_due = 1
    order by run_id
    limit $1";
const IS_LEFT: &str = "
    select 1
    from batches
    join wakeups on wakeups.id = batches.wakeup_id
    where batches.run_id = $1
      and wakeups.status in ('pending', 'claimed')
    limit 1";
const NOT_YET: &str = "update late_ends set is_due = 0 where run_id = $1";
const FORGET: &str = "delete from late_ends where run_id = $1";

/// Tells the ends of which nothing is left to be tried, up to a bite.
pub(crate) async fn tell_due(tx: &mut Tx, now: Timestamp) -> Result<(), Refusal> {
    let mut due: Vec<RunId> = Vec::new();
    for mut row in tx.query(DUE, &[BITE.into()]).await? {
        due.push(row.get()?);
    }
    for id in due {
        let Some(run) = runs::find(tx, id).await? else {
            // Retention has removed it: nobody is waiting any more.
            tx.execute(FORGET, &[id.into()]).await?;
            continue;
        };
        let child = match child_of(tx, &run).await? {
            Some(child) if !try_lock_told(tx, &run, &child).await? => continue,
            found => found,
        };
        if tx.query_first(IS_LEFT, &[id.into()]).await?.is_some() {
            tx.execute(NOT_YET, &[id.into()]).await?;
            continue;
        }
        tx.execute(FORGET, &[id.into()]).await?;
        let Some(child) = child else { continue };
        // It happens once to a run, so that ids which follow from its own are nobody else's.
        let mut ids = IdSource::new(id.uuid().as_u128() as u64);
        children::after_giving_up(tx, now, &mut ids, &run, &child).await?;
    }
    Ok(())
}

/// The task of a run, if the end of each of its runs is still to be told.
async fn child_of(tx: &mut Tx, run: &Run) -> Result<Option<Task>, Error> {
    let Some(task) = run.task else { return Ok(None) };
    let is_told = |child: &Task| child.wake_parent == WakeParent::Each && !child.status.is_closed();
    Ok(tasks::find(tx, task).await?.filter(|child| is_told(child) && child.parent.is_some()))
}

/// Keeps others from a child, its parent and whoever has that, unless somebody is there: then the dispatcher looks
/// again when that one is done.
async fn try_lock_told(tx: &mut Tx, run: &Run, child: &Task) -> Result<bool, Refusal> {
    let Some(parent) = child.parent else { return Ok(true) };
    let agent = tasks::get(tx, parent).await?.assignee;
    let waiting = Waiting {
        tasks: [child.id, parent].into_iter().collect(),
        agents: [run.agent].into_iter().chain(agent).collect(),
    };
    let is_locked = try_lock(tx, &waiting).await?;
    let is_same = child_of(tx, run).await?.and_then(|child| child.parent) == Some(parent)
        && tasks::get(tx, parent).await?.assignee == agent;
    Ok(is_locked && is_same)
}
