//! Who is woken, and whose wakeups are called off, when a task is made, assigned, unblocked or closed.
//! All in the transaction of the change itself.

use serde_json::{Map, Value as Json, json as object};
use wakeful_domain::id::{AgentId, CompanyId, IdSource, RunId, TaskId, WakeupId};
use wakeful_domain::task::{Task, TaskStatus};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, Wakeup};

use crate::ops::origin::Origin;
use crate::ops::subscriptions::waiting;
use crate::ops::wake::{Maker, Wake, accept_held};
use crate::ops::{blockers, children, kept_wakes, late_ends, ready, tasks, wakeups};
use crate::value::task_key;
use crate::{Error, Refusal, Tx};

const AGENTS_CONCERNED: &str = "
    select agent_id from lanes where task_id = $1 and task_id <> ''
    union
    select assignee_id from tasks where id = $1 and assignee_id is not null
    union
    select tasks.assignee_id
    from task_blockers
    join tasks on tasks.id = task_blockers.task_id
    where task_blockers.blocker_id = $1
      and tasks.assignee_id is not null
    union
    select parents.assignee_id
    from tasks
    join tasks as parents on parents.id = tasks.parent_id
    where tasks.id = $1
      and parents.assignee_id is not null";

/// Keeps others from a task, from its parent, from those that wait for it or that it is to wait for, and from every
/// agent that a change of it can wake or call off, those who subscribed to it among them; `agents` are further ones.
pub(crate) async fn lock(tx: &mut Tx, task: TaskId, others: &[TaskId], agents: &[AgentId]) -> Result<(), Error> {
    let told = told_of(tx, task).await?;
    let waiting = waiting::of_task(tx, task).await?;
    let concerned = told.iter().chain(others).copied().chain([task]);
    ready::lock(tx, waiting.tasks_with(concerned), Vec::new()).await?;
    // One that came while we waited is not locked.
    if told_of(tx, task).await?.iter().any(|found| !told.contains(found)) {
        return Err(Error::changed_meanwhile("the parent of a task, or the tasks that wait for it"));
    }
    let mut agents = waiting.agents_with(agents.iter().copied());
    for mut row in tx.query(AGENTS_CONCERNED, &[task.into()]).await? {
        agents.push(row.get()?);
    }
    ready::lock(tx, Vec::new(), agents).await?;
    match tx.is_alone() {
        true => Ok(()),
        false => waiting.require_all(&waiting::of_task(tx, task).await?),
    }
}

const PARENT: &str = "select parent_id from tasks where id = $1 and parent_id is not null";

/// The tasks whose agents are told what becomes of a task: its parent, and those that wait for it.
pub(crate) async fn told_of(tx: &mut Tx, task: TaskId) -> Result<Vec<TaskId>, Error> {
    let mut told = blockers::dependents(tx, task).await?;
    if let Some(mut row) = tx.query_first(PARENT, &[task.into()]).await? {
        told.push(row.get()?);
    }
    Ok(told)
}

/// Whom a task calls to work, if it calls anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call(Option<AgentId>);

impl Call {
    pub(crate) async fn of(tx: &mut Tx, task: &Task) -> Result<Call, Refusal> {
        match task.status.calls_for_work() && blockers::open(tx, task.id).await?.is_empty() {
            true => Ok(Call(task.assignee)),
            false => Ok(Call(None)),
        }
    }

    /// The same for one who was assigned at this moment: a review is something to look at, too.
    async fn of_new_assignee(tx: &mut Tx, task: &Task) -> Result<Call, Refusal> {
        let status = if task.status == TaskStatus::InReview { TaskStatus::Todo } else { task.status };
        Call::of(tx, &Task { status, ..task.clone() }).await
    }
}

/// Wakes the agent that a new task calls.
pub(crate) async fn after_insert(tx: &mut Tx, origin: &Origin, task: &Task) -> Result<(), Refusal> {
    let Call(Some(agent)) = Call::of_new_assignee(tx, task).await? else { return Ok(()) };
    wake_assignee(tx, origin, &mut origin.ids(), task, agent).await
}

/// Carries a change of a task to the wakeups about it.
pub(crate) async fn after_change(
    tx: &mut Tx,
    origin: &Origin,
    old: &Task,
    before: Call,
    new: &Task,
) -> Result<(), Refusal> {
    let mut ids = origin.ids();
    let is_given = old.assignee != new.assignee;
    if let Some(former) = old.assignee.filter(|_| is_given) {
        hand_over(tx, origin, &mut ids, new, former).await?;
    }
    if let Some(assignee) = new.assignee.filter(|_| is_given) {
        tx.execute(MARK_RUN, &[assignee.into(), new.id.into(), false.into()]).await?;
        kept_wakes::issue(tx, origin.now, &mut ids, new, assignee).await?;
    }
    if new.status.is_closed() && !old.status.is_closed() {
        call_off(tx, origin, new).await?;
        wake_dependents(tx, origin, &mut ids, new).await?;
        children::after_close(tx, origin, &mut ids, old, new).await?;
    }
    if new.parent != old.parent && !old.status.is_closed() {
        children::after_move(tx, origin, &mut ids, old, new).await?;
    }
    if old.status.is_closed() && !new.status.is_closed() {
        children::after_reopen(tx, new.id).await?;
    }
    let after = match is_given {
        true => Call::of_new_assignee(tx, new).await?,
        false => Call::of(tx, new).await?,
    };
    match after {
        Call(Some(agent)) if is_given || after != before => wake_assignee(tx, origin, &mut ids, new, agent).await,
        Call(_) => Ok(()),
    }
}

async fn wake_assignee(
    tx: &mut Tx,
    origin: &Origin,
    ids: &mut IdSource,
    task: &Task,
    agent: AgentId,
) -> Result<(), Refusal> {
    let reason = format!("{} was assigned to you: {}", task.key, task.title);
    let wake = about(origin, ids, task, agent, Source::Assignment, reason, Map::new());
    accept_held(tx, &wake).await.map(|_| ())
}

pub(crate) fn about(
    origin: &Origin,
    ids: &mut IdSource,
    task: &Task,
    agent: AgentId,
    source: Source,
    reason: String,
    payload: Map<String, Json>,
) -> Wake {
    Wake {
        id: ids.next(origin.now),
        company: Some(task.company),
        agent,
        task: Some(task.id),
        source,
        trigger_detail: None,
        reason: Some(reason),
        priority: None,
        payload,
        context: Map::new(),
        actor: origin.actor.clone(),
        idempotency_key: None,
        request_hash: None,
        now: origin.now,
        due_at: None,
        expires_at: None,
        max_attempts: None,
        by_run: origin.by_run,
        maker: Maker::Wakeful,
    }
}

const MARK_RUN: &str = "
    update runs
    set is_reassigned = $3
    where id = (select live_run_id from lanes where agent_id = $1 and task_id = $2)";

/// Calls off what waits for the former assignee. What others have to say goes to the new one. A live run goes on;
/// what it puts back goes the same way.
async fn hand_over(
    tx: &mut Tx,
    origin: &Origin,
    ids: &mut IdSource,
    task: &Task,
    former: AgentId,
) -> Result<(), Refusal> {
    let called_off = wakeups::cancel_pending_of_lane(tx, origin.now, former, task.id, "reassigned").await?;
    for wakeup in called_off {
        if task.assignee.is_none() {
            late_ends::look_again(tx, wakeup.id).await?;
        }
        reissue(tx, origin.now, ids, task, &wakeup).await?;
    }
    if task.assignee.is_some() {
        late_ends::forget_of_lane(tx, former, task.id).await?;
    }
    tx.execute(MARK_RUN, &[former.into(), task.id.into(), true.into()]).await?;
    Ok(())
}

/// Whether a wakeup says something that the task's next assignee has to hear.
pub(crate) fn is_handed_on(source: Source) -> bool {
    match source {
        Source::Comment | Source::Child | Source::Dependency | Source::Subscription => true,
        Source::Manual
        | Source::Goal
        | Source::Assignment
        | Source::Message
        | Source::Routine
        | Source::Webhook
        | Source::Timer
        | Source::Schedule
        | Source::Recovery => false,
    }
}

/// Issues a wakeup anew for the task's present assignee, if it is one to be handed on; if nobody has the task, it is
/// kept for the next.
pub(crate) async fn reissue(
    tx: &mut Tx,
    now: Timestamp,
    ids: &mut IdSource,
    task: &Task,
    wakeup: &Wakeup,
) -> Result<(), Refusal> {
    if !is_handed_on(wakeup.source) {
        return Ok(());
    }
    let Some(assignee) = task.assignee else {
        return Ok(kept_wakes::keep_called_off(tx, ids.next(now), task, wakeup).await?);
    };
    let object_of = |json: &Json| json.as_object().cloned().unwrap_or_default();
    let wake = Wake {
        id: ids.next(now),
        company: Some(task.company),
        agent: assignee,
        task: Some(task.id),
        source: wakeup.source,
        trigger_detail: wakeup.trigger_detail.clone(),
        reason: wakeup.reason.clone(),
        priority: Some(wakeup.priority),
        payload: object_of(&wakeup.payload),
        context: object_of(&wakeup.context),
        actor: wakeup.actor.clone(),
        idempotency_key: None,
        request_hash: None,
        now,
        // A pause after a failure was the former agent's; what was asked for later is still for later.
        due_at: (wakeup.attempt == 0).then_some(wakeup.due_at),
        expires_at: wakeup.expires_at,
        max_attempts: Some(wakeup.max_attempts),
        by_run: None,
        maker: Maker::InStead(wakeup.id),
    };
    accept_held(tx, &wake).await.map(|_| ())
}

const CALL_OFF: &str = "
    update wakeups
    set status = 'cancelled',
      status_reason = 'task_closed',
      finished_at = $2
    where agent_id in (select agent_id from lanes where task_id = $1 and task_id <> '')
      and task_id = $1
      and status = 'pending'
      and source in ('assignment', 'dependency', 'recovery', 'timer', 'schedule')
    returning id, agent_id";

/// Whether a closed task makes a wakeup pointless; the list of [`CALL_OFF`].
pub(crate) fn ends_with_task(source: Source) -> bool {
    match source {
        Source::Assignment | Source::Dependency | Source::Recovery | Source::Timer | Source::Schedule => true,
        Source::Manual
        | Source::Goal
        | Source::Comment
        | Source::Message
        | Source::Child
        | Source::Subscription
        | Source::Routine
        | Source::Webhook => false,
    }
}

/// Cancels what a closed task makes pointless. What others have to say keeps its follow-up.
async fn call_off(tx: &mut Tx, origin: &Origin, task: &Task) -> Result<(), Refusal> {
    let mut called_off: Vec<(WakeupId, AgentId)> = Vec::new();
    for mut row in tx.query(CALL_OFF, &[task_key(Some(task.id)), origin.now.into()]).await? {
        called_off.push((row.get()?, row.get()?));
    }
    called_off.sort_unstable();
    let mut lanes: Vec<(CompanyId, AgentId, Option<TaskId>)> = Vec::new();
    for (id, agent) in called_off {
        wakeups::tell_cancelled(tx, origin.now, task.company, id, agent, "task_closed").await?;
        lanes.push((task.company, agent, Some(task.id)));
    }
    lanes.sort_unstable();
    lanes.dedup();
    Ok(ready::refresh_many(tx, &lanes).await?)
}

/// Wakes those who waited for a task that was closed.
async fn wake_dependents(tx: &mut Tx, origin: &Origin, ids: &mut IdSource, closed: &Task) -> Result<(), Refusal> {
    for id in blockers::dependents(tx, closed.id).await? {
        let task = tasks::get(tx, id).await?;
        let is_wanted = task.status != TaskStatus::Backlog;
        let Some(assignee) = task.assignee.filter(|_| is_wanted) else { continue };
        let left = blockers::open(tx, id).await?;
        let reason = match closed.status {
            TaskStatus::Cancelled => format!("{}, which {} waits for, was cancelled", closed.key, task.key),
            _ if left.is_empty() => format!("{} is done; nothing blocks {} any more", closed.key, task.key),
            _ => continue,
        };
        let payload = object!({
            "blocker": { "task": closed.id, "key": closed.key, "title": closed.title, "status": closed.status },
            "still_blocked_by": left,
        });
        let payload = payload.as_object().cloned().unwrap_or_default();
        let wake = about(origin, ids, &task, assignee, Source::Dependency, reason, payload);
        accept_held(tx, &wake).await?;
    }
    Ok(())
}

const IS_REASSIGNED: &str = "select is_reassigned from runs where id = $1";

/// Whether the task of a run was given to another agent while it was live.
pub(crate) async fn is_reassigned(tx: &mut Tx, run: RunId) -> Result<bool, Error> {
    tx.query_one(IS_REASSIGNED, &[run.into()]).await?.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_and_the_function_name_the_same_sources() {
        for (name, source) in Source::ALL {
            assert_eq!(CALL_OFF.contains(&format!("'{name}'")), ends_with_task(*source), "{name}");
        }
    }
}
