//! What happens that somebody may wait for: the end of a run, a change of a task, a comment, a change of an agent's
//! state. Each is called in the transaction of the event itself, by the operation that makes it, which has locked
//! whoever waits ([`super::waiting`]). Topics and webhooks have files of their own.

use serde_json::{Map, Value as Json, json as object};
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::{Agent, AgentState};
use wakeful_domain::comment::Comment;
use wakeful_domain::id::{RunId, TaskId};
use wakeful_domain::run::{Run, RunStatus};
use wakeful_domain::subscription::{EventName, Source};
use wakeful_domain::task::{Task, TaskStatus};
use wakeful_domain::time::Timestamp;

use super::deliver::{Happening, Seen, tell};
use super::{told, waiting};
use crate::ops::origin::Origin;
use crate::ops::tasks;
use crate::{Error, Refusal, Tx};

fn fields(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(fields) => fields,
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => Map::new(),
    }
}

/// What the end of a run is called.
fn names_of_end(status: RunStatus) -> Vec<EventName> {
    match status {
        RunStatus::Succeeded => vec![EventName::RunSucceeded, EventName::RunFinished],
        RunStatus::Failed | RunStatus::Cancelled | RunStatus::TimedOut | RunStatus::Lost => {
            vec![EventName::RunFailed, EventName::RunFinished]
        }
        RunStatus::Starting | RunStatus::Running => Vec::new(),
    }
}

/// The end of a run as something that happened.
pub(super) async fn end_of_run(tx: &mut Tx, now: Timestamp, run: &Run) -> Result<Happening, Refusal> {
    let agent = crate::ops::agents::get(tx, run.agent).await?;
    let task = match run.task {
        Some(task) => tasks::find(tx, task).await?,
        None => None,
    };
    let data = object!({
        "run": run.id,
        "agent": run.agent,
        "agent_name": agent.name,
        "task": run.task,
        "task_key": task.as_ref().map(|task| &task.key),
        "status": run.status,
        "error_code": run.error_code,
        "retried": told::is_retried(tx, run.id).await?,
    });
    let child = told::finished_child(task.as_ref(), Some(run), run.status.as_str());
    let mut detail = Map::from_iter([("finished_child".into(), child)]);
    if let Some(task) = &task {
        told::add_siblings(tx, &mut detail, task).await?;
    }
    Ok(Happening {
        now,
        at: run.finished_at.unwrap_or(now),
        company: run.company,
        key: Some(format!("end of {}", run.id)),
        cause: Some(run.id),
        what: told::say_end(run, &agent.name, task.as_ref()),
        data: fields(data),
        detail,
    })
}

/// What the end of a run is to those who wait for something of a source.
pub(super) fn seen_end(run: &Run, source: Source) -> Seen {
    let is_last = matches!(source, Source::Run(_));
    Seen { source, names: names_of_end(run.status), is_last }
}

/// A run has ended: tells whoever waits for it.
pub(crate) async fn run_ended(tx: &mut Tx, now: Timestamp, run: &Run) -> Result<(), Refusal> {
    let sources = waiting::sources_of_run(tx, run).await?;
    let sources = waiting::heard(tx, run.company, sources).await?;
    if sources.is_empty() {
        return Ok(());
    }
    let happening = end_of_run(tx, now, run).await?;
    let seen: Vec<Seen> = sources.into_iter().map(|source| seen_end(run, source)).collect();
    tell(tx, &happening, &seen).await.map(|_| ())
}

const OPEN_BELOW: &str = "
    with recursive below (id) as (
      select id from tasks where parent_id = $1
      union
      select tasks.id
      from tasks
      join below on tasks.parent_id = below.id)
    select count(*), coalesce(sum(case when tasks.status in ('done', 'cancelled') then 0 else 1 end), 0)
    from tasks
    where tasks.id in (select id from below)";

/// How many tasks lie below one, at any depth, and how many of them are open.
pub(super) async fn count_below(tx: &mut Tx, task: TaskId) -> Result<(i64, i64), Error> {
    let mut row = tx.query_one(OPEN_BELOW, &[task.into()]).await?;
    Ok((row.get()?, row.get()?))
}

/// A task whose status is another now, as something that happened.
pub(super) async fn change_of_task(
    tx: &mut Tx,
    now: Timestamp,
    task: &Task,
    from: Option<TaskStatus>,
    by: (&Actor, Option<RunId>),
) -> Result<Happening, Refusal> {
    let (actor, cause) = by;
    let data = object!({
        "task": task.id,
        "task_key": task.key,
        "title": task.title,
        "status": task.status,
        "from": from,
        "assignee": task.assignee,
        "actor": actor,
        "run": cause,
    });
    let mut detail = Map::new();
    let mut at = now;
    if task.status.is_closed() {
        at = task.closed_at.unwrap_or(now);
        let run = match cause {
            Some(run) => Some(crate::ops::runs::get(tx, run).await?),
            None => told::last_run(tx, task.id).await?,
        };
        detail.insert("finished_child".into(), told::finished_child(Some(task), run.as_ref(), task.status.in_words()));
    }
    told::add_siblings(tx, &mut detail, task).await?;
    Ok(Happening {
        now,
        at,
        company: task.company,
        key: None,
        cause,
        what: format!("{} \"{}\" is {}", task.key, task.title, task.status.in_words()),
        data: fields(data),
        detail,
    })
}

/// The status of a task has changed: tells whoever waits for it.
pub(crate) async fn status_changed(
    tx: &mut Tx,
    now: Timestamp,
    task: &Task,
    from: TaskStatus,
    by: (&Actor, Option<RunId>),
) -> Result<(), Refusal> {
    if task.status == from {
        return Ok(());
    }
    let Some((company, sources)) = waiting::sources_of_task(tx, task.id).await? else { return Ok(()) };
    let sources = waiting::heard(tx, company, sources).await?;
    if sources.is_empty() {
        return Ok(());
    }
    let is_closing = task.status.is_closed() && !from.is_closed();
    let mut seen = Vec::with_capacity(sources.len());
    for source in sources {
        let mut names = Vec::new();
        if let Source::Children(parent) = source
            && is_closing
        {
            if count_below(tx, parent).await?.1 == 0 {
                names.push(EventName::AllClosed);
            }
            names.push(EventName::AnyClosed);
        }
        if is_closing {
            names.push(EventName::TaskClosed);
        }
        names.push(EventName::TaskStatusChanged);
        seen.push(Seen { source, names, is_last: false });
    }
    let happening = change_of_task(tx, now, task, Some(from), by).await?;
    tell(tx, &happening, &seen).await.map(|_| ())
}

/// A task was moved, with all below it, from below a parent: what is left there may be all closed. `above` is the parent.
pub(crate) async fn moved_away(
    tx: &mut Tx,
    now: Timestamp,
    task: &Task,
    above: TaskId,
    by: (&Actor, Option<RunId>),
) -> Result<(), Refusal> {
    let is_open = !task.status.is_closed() || count_below(tx, task.id).await?.1 > 0;
    let Some((company, mut left)) = waiting::sources_of_task(tx, above).await?.filter(|_| is_open) else {
        return Ok(());
    };
    left.retain(|source| *source != Source::Task(above));
    left.push(Source::Children(above));
    // Those above both places have it below them as before.
    let kept = waiting::sources_of_task(tx, task.id).await?.map(|(_, sources)| sources).unwrap_or_default();
    left.retain(|source| !kept.contains(source));
    let mut seen = Vec::new();
    for source in waiting::heard(tx, company, left).await? {
        if let Source::Children(parent) = source
            && let (1.., 0) = count_below(tx, parent).await?
        {
            seen.push(Seen { source, names: vec![EventName::AllClosed], is_last: false });
        }
    }
    if seen.is_empty() {
        return Ok(());
    }
    let what = format!("{} \"{}\" was moved away, and what is left is closed", task.key, task.title);
    let happening = Happening { what, ..change_of_task(tx, now, task, None, by).await? };
    tell(tx, &happening, &seen).await.map(|_| ())
}

/// Something was said about a task: tells whoever waits for it. `by` is the name of who said it.
pub(crate) async fn commented(
    tx: &mut Tx,
    origin: &Origin,
    task: &Task,
    comment: &Comment,
    by: &str,
) -> Result<(), Refusal> {
    let Some((company, sources)) = waiting::sources_of_task(tx, task.id).await? else { return Ok(()) };
    let sources = waiting::heard(tx, company, sources).await?;
    if sources.is_empty() {
        return Ok(());
    }
    let data = object!({
        "task": task.id,
        "task_key": task.key,
        "status": task.status,
        "comment": comment.id,
        "actor": comment.actor,
        "by": by,
        "run": comment.run,
        "body": told::cut(&comment.body),
    });
    let happening = Happening {
        now: origin.now,
        at: origin.now,
        company,
        key: Some(format!("comment {}", comment.id)),
        cause: origin.run(),
        what: format!("{by} commented on {} \"{}\"", task.key, task.title),
        data: fields(data),
        detail: Map::from_iter([("comment_id".into(), object!(comment.id))]),
    };
    let seen: Vec<Seen> = sources
        .into_iter()
        .map(|source| Seen { source, names: vec![EventName::TaskCommented], is_last: false })
        .collect();
    tell(tx, &happening, &seen).await.map(|_| ())
}

/// An agent's state as something that happened.
pub(super) fn state_of_agent(
    now: Timestamp,
    agent: &Agent,
    from: Option<AgentState>,
    reason: Option<&str>,
) -> Happening {
    let words = agent.state.as_str().replace('_', " ");
    let told = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let data = object!({
        "agent": agent.id,
        "name": agent.name,
        "state": agent.state,
        "from": from,
        "reason": reason,
    });
    Happening {
        now,
        at: agent.updated_at,
        company: agent.company,
        key: None,
        cause: None,
        what: format!("{} is {words}{told}", agent.name),
        data: fields(data),
        detail: Map::new(),
    }
}

/// What an agent's state is to those who wait for something of it: nothing more comes of one that is terminated.
pub(super) fn seen_state(agent: &Agent) -> Seen {
    Seen {
        source: Source::Agent(agent.id),
        names: vec![EventName::AgentStateChanged],
        is_last: agent.state == AgentState::Terminated,
    }
}

/// The state of an agent has changed: tells whoever waits for something of it.
pub(crate) async fn state_changed(
    tx: &mut Tx,
    now: Timestamp,
    agent: &Agent,
    from: AgentState,
    reason: Option<&str>,
) -> Result<(), Refusal> {
    if agent.state == from {
        return Ok(());
    }
    tell(tx, &state_of_agent(now, agent, Some(from), reason), &[seen_state(agent)]).await.map(|_| ())
}
