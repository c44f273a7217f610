//! What a subscriber reads about runs, tasks and what lies beside them. Bounded: a wakeup is read by an agent.

use serde_json::{Map, Value as Json, json as object};
use wakeful_domain::id::{RunId, TaskId};
use wakeful_domain::run::{Run, RunStatus};
use wakeful_domain::subscription::Source;
use wakeful_domain::task::Task;

use crate::ops::{agents, runs, tasks, webhooks};
use crate::{Error, Refusal, Tx};

/// A larger result is left out; the run has it.
const RESULT_BYTES_MAX: usize = 64 * 1024;
/// Longer texts are cut.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Tasks beside the one that is told about.
const SIBLINGS_MAX: i64 = 100;

/// The text, if need be cut.
pub(super) fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `finished_child`: how a run ended, and the task it was about; `status` is the task's where that is what happened.
pub(super) fn finished_child(task: Option<&Task>, run: Option<&Run>, status: &str) -> Json {
    let result = run.and_then(|run| run.result.as_ref());
    let bytes = result.map_or(0, |result| result.to_string().len());
    let is_told = bytes <= RESULT_BYTES_MAX;
    let mut told = object!({
        "task": task.map(|task| task.id),
        "task_key": task.map(|task| &task.key),
        "run": run.map(|run| run.id),
        "agent": run.map(|run| run.agent).or(task.and_then(|task| task.assignee)),
        "status": status,
        "summary": run.and_then(|run| run.summary.as_deref()).map(cut),
        "result": result.filter(|_| is_told),
        "error": run.and_then(|run| run.error.as_deref()).map(cut),
        "error_code": run.and_then(|run| run.error_code.as_deref()),
        "usage": run.map(|run| run.usage),
    });
    if !is_told {
        told["result_omitted_bytes"] = object!(bytes);
    }
    told
}

const SIBLINGS: &str = "
    select id, key, title, status, assignee_id
    from tasks
    where parent_id = $1
      and id <> $2
    order by id
    limit $3";
const SIBLINGS_COUNT: &str = "select count(*) from tasks where parent_id = $1 and id <> $2";

/// Adds how the tasks stand that have the same parent.
pub(super) async fn add_siblings(tx: &mut Tx, detail: &mut Map<String, Json>, task: &Task) -> Result<(), Error> {
    let Some(parent) = task.parent else { return Ok(()) };
    let mut siblings = Vec::new();
    for mut row in tx.query(SIBLINGS, &[parent.into(), task.id.into(), SIBLINGS_MAX.into()]).await? {
        let (id, key, title, status): (TaskId, String, String, String) =
            (row.get()?, row.get()?, row.get()?, row.get()?);
        let assignee: Option<String> = row.get()?;
        siblings.push(object!({ "task": id, "key": key, "title": title, "status": status, "assignee": assignee }));
    }
    let total: i64 = tx.query_one(SIBLINGS_COUNT, &[parent.into(), task.id.into()]).await?.get()?;
    detail.insert("siblings".into(), siblings.into());
    detail.insert("siblings_total".into(), total.into());
    Ok(())
}

const LAST_RUN: &str = "
    select id
    from runs
    where task_id = $1
      and task_id <> ''
    order by id desc
    limit 1";

/// The newest run of a task.
pub(super) async fn last_run(tx: &mut Tx, task: TaskId) -> Result<Option<Run>, Refusal> {
    match tx.query_first(LAST_RUN, &[task.into()]).await? {
        Some(mut row) => Ok(Some(runs::get(tx, row.get()?).await?)),
        None => Ok(None),
    }
}

const IS_RETRIED: &str = "
    select 1
    from batches
    join wakeups on wakeups.id = batches.wakeup_id
    where batches.run_id = $1
      and wakeups.status = 'pending'
    limit 1";

/// Whether what a run was started for is tried again.
pub(super) async fn is_retried(tx: &mut Tx, run: RunId) -> Result<bool, Error> {
    Ok(tx.query_first(IS_RETRIED, &[run.into()]).await?.is_some())
}

/// How a run ended, in a sentence.
pub(super) fn say_end(run: &Run, agent: &str, task: Option<&Task>) -> String {
    let whose = match task {
        Some(task) => format!("{} of {} ({agent})", run.id, task.key),
        None => format!("{} of {agent}", run.id),
    };
    let how = match run.status {
        RunStatus::Succeeded => "succeeded".to_owned(),
        RunStatus::Failed => "failed".to_owned(),
        RunStatus::TimedOut => "timed out".to_owned(),
        RunStatus::Lost => "was lost".to_owned(),
        RunStatus::Cancelled => "was cancelled".to_owned(),
        RunStatus::Starting | RunStatus::Running => "is live".to_owned(),
    };
    let said = run.error.as_deref().or(run.summary.as_deref());
    match said.and_then(|text| text.lines().next()) {
        Some(line) => format!("{whose} {how}: {}", line.chars().take(300).collect::<String>()),
        None => format!("{whose} {how}"),
    }
}

/// A source in words.
pub(super) async fn words(tx: &mut Tx, source: &Source) -> Result<String, Refusal> {
    Ok(match source {
        Source::Run(run) => run.to_string(),
        Source::Task(task) => tasks::get(tx, *task).await?.key,
        Source::Children(task) => format!("the tasks below {}", tasks::get(tx, *task).await?.key),
        Source::Agent(agent) => agents::get(tx, *agent).await?.name,
        Source::Topic(name) => format!("the topic `{name}`"),
        Source::Webhook(webhook) => {
            let found = webhooks::find(tx, *webhook).await?;
            found.map_or_else(|| webhook.to_string(), |webhook| format!("the webhook `{}`", webhook.name))
        }
    })
}
