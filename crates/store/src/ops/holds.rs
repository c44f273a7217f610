//! Checking a task out and letting it go. A hold is a lease that lives as long as its run: it is never stamped on
//! queued work, and nothing has to clean it up.

use serde_json::json as object;
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{IdSource, RunId, TaskId};
use wakeful_domain::run::Run;
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::TaskHolder;

use crate::ops::run_events::NewRunEvent;
use crate::ops::{assignments, events, kept_wakes, ready, run_events, runs, standing, subscriptions, tasks};
use crate::{Error, Refusal, Tx};

/// A run that wants a task, or lets it go.
#[derive(Debug, Clone)]
pub struct HoldRequest {
    pub now: Timestamp,
    pub run: RunId,
    pub fence: i64,
    pub task: TaskId,
}

const TAKE_UP: &str = "
    update tasks
    set status = case when status in ('backlog', 'todo', 'blocked') then 'in_progress' else status end,
      assignee_id = coalesce(assignee_id, $2),
      updated_at = $3
    where id = $1";

/// Gives a task to a live run, for as long as it lives. Doing it twice changes nothing.
pub async fn check_out(tx: &mut Tx, request: &HoldRequest) -> Result<Task, Refusal> {
    let agent = runs::get(tx, request.run).await?.agent;
    // Its status changes: those who wait for that, too.
    assignments::lock(tx, request.task, &[], &[agent]).await?;
    let run = proven(tx, request).await?;
    let task = tasks::get(tx, request.task).await?;
    if task.status.is_closed() {
        return Err(Refusal::conflict(
            "task_closed",
            format!("{} is {}: re-open it first", task.key, task.status.in_words()),
            object!({ "status": task.status }),
        ));
    }
    if task.held_by == Some(run.id) {
        return Ok(task);
    }
    if !tasks::hold(tx, task.id, run.id).await? {
        return Err(held(tx, &run, &task).await?);
    }
    tx.execute(TAKE_UP, &[task.id.into(), run.agent.into(), request.now.into()]).await?;
    if task.assignee.is_none() {
        // Nobody else makes ids that follow from those of the run and the task.
        let mut ids = IdSource::new((run.id.uuid().as_u128() ^ task.id.uuid().as_u128()) as u64);
        kept_wakes::issue(tx, request.now, &mut ids, &task, run.agent).await?;
    }
    refresh(tx, &run, task.id).await?;
    tell(tx, request.now, &run, task.id, "checked out").await?;
    let taken = tasks::get(tx, task.id).await?;
    let data = object!({ "status": taken.status, "assignee": taken.assignee, "held_by": run.id });
    events::append(tx, run.company, request.now, "task.updated", &task.id.to_string(), &data).await?;
    let by = (&Actor::agent(run.agent), Some(run.id));
    subscriptions::happening::status_changed(tx, request.now, &taken, task.status, by).await?;
    Ok(taken)
}

/// Lets a task go that the run has checked out. The task of the run's own lane stays with it until it ends: two runs
/// never work on one task. Letting go what is not held changes nothing.
pub async fn release(tx: &mut Tx, request: &HoldRequest) -> Result<Task, Refusal> {
    let run = locked(tx, request).await?;
    let task = tasks::get(tx, request.task).await?;
    if task.held_by.is_some() && task.held_by != Some(run.id) {
        return Err(held(tx, &run, &task).await?);
    }
    if task.held_by == Some(run.id) && run.task != Some(task.id) {
        tasks::release(tx, task.id, run.id).await?;
        refresh(tx, &run, task.id).await?;
        tell(tx, request.now, &run, task.id, "released").await?;
    }
    tasks::get(tx, task.id).await
}

async fn locked(tx: &mut Tx, request: &HoldRequest) -> Result<Run, Refusal> {
    let agent = runs::get(tx, request.run).await?.agent;
    ready::lock_lane(tx, agent, Some(request.task)).await?;
    proven(tx, request).await
}

/// The run, if it is live and the task is its company's. The caller has locked its lane.
async fn proven(tx: &mut Tx, request: &HoldRequest) -> Result<Run, Refusal> {
    let run = runs::get_live(tx, request.run, request.fence).await?;
    match tasks::brief(tx, request.task).await? {
        Some(task) if task.company == run.company => Ok(run),
        Some(_) | None => Err(Refusal::not_found(request.task)),
    }
}

/// The lanes of the task may start again, or no longer.
async fn refresh(tx: &mut Tx, run: &Run, task: TaskId) -> Result<(), Error> {
    ready::refresh_task(tx, run.company, task, run.agent).await?;
    ready::refresh(tx, run.company, run.agent, Some(task)).await
}

async fn held(tx: &mut Tx, run: &Run, task: &Task) -> Result<Refusal, Refusal> {
    let Some(TaskHolder { run: holder, agent, agent_name, until, .. }) = standing::holder(tx, task.id).await? else {
        return Ok(Refusal::conflict("task_held", "the task was taken at this moment: try again", object!({})));
    };
    let is_ending = runs::get(tx, holder).await?.stop.is_some();
    // Whoever waits for a colleague would wait while holding its own place; what is ending is worth another try.
    let advice = if is_ending || agent == run.agent { "retry" } else { "yield" };
    Ok(Refusal::conflict(
        "task_held",
        format!(
            "{} is held by {agent_name} ({holder}): {}",
            task.key,
            match advice {
                "retry" => "try again when that run has ended",
                _ => "leave it to that agent and go on with something else",
            }
        ),
        object!({
            "holder": { "run": holder, "agent": agent, "agent_name": agent_name },
            "live": true,
            "until": until,
            "advice": advice,
        }),
    ))
}

async fn tell(tx: &mut Tx, now: Timestamp, run: &Run, task: TaskId, what: &str) -> Result<(), Error> {
    let kind = what.replace(' ', "_");
    let event = NewRunEvent::plain(&kind, format!("{what} task {task}"), object!({ "task": task }));
    run_events::append(tx, run.id, now, &event).await
}
