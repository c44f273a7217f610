//! `portfolio-monitor`: assigned tasks about which somebody should know something, and budgets that are nearly spent. It tells of what is
//! new; of what stays as it is once a day; and what went away and comes back is new.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use serde_json::json as object;
use wakeful_domain::budget::{self, Budget, Scope};
use wakeful_domain::id::{AgentId, TaskId};
use wakeful_domain::notification::Level;
use wakeful_domain::schedule::{Action, SlotStatus, until_words};
use wakeful_domain::time::Timestamp;

use super::{notice, reported, tell};
use crate::ops::budgets;
use crate::ops::fires::Moment;
use crate::ops::slots::Fate;
use crate::{Error, Refusal, Tx};

/// A deadline is told of so long before.
const DEADLINE_NEAR: Duration = Duration::from_secs(2 * 60 * 60);
/// Nothing has happened for so long.
const QUIET: Duration = Duration::from_secs(24 * 60 * 60);
/// What stays as it is is told again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Alerts that are written out; of more, only how many.
const NAMED_MAX: usize = 100;

/// What somebody should know.
enum Alert<'a> {
    Task(&'static str, &'a Assigned),
    Budget(&'a Budget),
}

struct Assigned {
    id: TaskId,
    key: String,
    title: String,
    assignee: AgentId,
    due_at: Option<Timestamp>,
    /// When it was last changed, talked about or worked on.
    last_at: Timestamp,
    rejected_at: Option<Timestamp>,
    blocked_by_failed: bool,
}

const ASSIGNED: &str = "
    select id, key, title, assignee_id, due_at, updated_at,
      (select max(comments.created_at) from comments where comments.task_id = tasks.id),
      (select max(coalesce(runs.finished_at, $3)) from runs where runs.task_id = tasks.id and runs.task_id <> ''),
      rejected_at,
      case when exists (
        select 1
        from task_blockers
        join tasks as blockers on blockers.id = task_blockers.blocker_id
        where task_blockers.task_id = tasks.id
          and blockers.closed_at is null
          and (select status from runs where runs.task_id = blockers.id and runs.task_id <> '' order by id desc limit 1)
            in ('failed', 'timed_out', 'lost')
          and not exists (
            select 1
            from wakeups
            where wakeups.agent_id = blockers.assignee_id
              and wakeups.task_id = blockers.id
              and wakeups.status = 'pending')) then 1 else 0 end
    from tasks
    where company_id = $1
      and assignee_id is not null
      and status in ('todo', 'in_progress', 'in_review', 'blocked')
      and ($2 = '' or assignee_id = $2)
    order by id";

pub(super) async fn carry_out(tx: &mut Tx, moment: &Moment<'_>, action: &Action) -> Result<Fate, Refusal> {
    let (now, schedule) = (moment.now, moment.schedule);
    let found = assigned(tx, moment, action.agent).await?;
    let tasks: BTreeSet<TaskId> = found.iter().map(|task| task.id).collect();
    let budgets = warned(tx, moment, action.agent, &tasks).await?;
    let of_tasks = found.iter().flat_map(|task| {
        alerts_of(task, now).map(move |kind| (format!("{kind}:{}", task.id), Alert::Task(kind, task)))
    });
    let of_budgets = budgets.iter().map(|budget| (format!("budget:{}", budget.id), Alert::Budget(budget)));
    let alerts: BTreeMap<String, Alert<'_>> = of_tasks.chain(of_budgets).collect();
    let told = reported::all(tx, schedule.id).await?;
    for gone in told.keys().filter(|key| !alerts.contains_key(*key)) {
        reported::forget(tx, schedule.id, gone).await?;
    }
    let is_new = |key: &String| !told.contains_key(key);
    let is_old = |key: &String| told.get(key).is_some_and(|at| now.since(*at) >= AGAIN_AFTER);
    let new: Vec<&String> = alerts.keys().filter(|key| is_new(key)).collect();
    let again: Vec<&String> = alerts.keys().filter(|key| is_old(key)).collect();
    for key in new.iter().chain(&again) {
        reported::keep(tx, now, schedule.id, key).await?;
    }
    if new.is_empty() && again.is_empty() {
        return Ok(super::quiet());
    }
    let mut text = format!("{} new alerts", new.len());
    if !again.is_empty() {
        // Writing to a text does not fail.
        write!(text, ", {} that still stand", again.len()).ok();
    }
    for key in new.iter().chain(&again).take(NAMED_MAX) {
        match alerts.get(*key) {
            Some(Alert::Task(kind, task)) => {
                write!(text, "\n- {} {}: {}", task.key, task.title, words(kind, task, now)).ok();
            }
            Some(Alert::Budget(budget)) => {
                write!(
                    text,
                    "\n- the budget of {} ({}): {} are spent",
                    budget.words(),
                    budget.scope.kind(),
                    budget.spent
                )
                .ok();
            }
            None => {}
        }
    }
    let listed: Vec<_> = new
        .iter()
        .chain(&again)
        .take(NAMED_MAX)
        .filter_map(|key| alerts.get(*key).map(|alert| (key, alert)))
        .map(|(key, alert)| match alert {
            Alert::Task(kind, task) => {
                object!({ "kind": kind, "task": task.id, "key": task.key, "agent": task.assignee, "is_new": is_new(key) })
            }
            Alert::Budget(budget) => object!({
                "kind": "budget",
                "budget": budget.id,
                "level": budget.level(),
                "spent": budget.spent,
                "limit": budget.limit,
                "is_new": is_new(key),
            }),
        })
        .collect();
    let metadata = object!({ "new": new.len(), "again": again.len(), "alerts": listed });
    let told = tell(tx, moment, notice(schedule, Level::Warning, text, metadata), true).await?;
    Ok(Fate { answer: Some(object!({ "action": told })), ..Fate::of(SlotStatus::Fired) })
}

/// The budgets of which little or nothing is left: all of the company; or those of one agent and its tasks.
async fn warned(
    tx: &mut Tx,
    moment: &Moment<'_>,
    agent: Option<AgentId>,
    tasks: &BTreeSet<TaskId>,
) -> Result<Vec<Budget>, Refusal> {
    let mut found = budgets::all(tx, moment.now, moment.schedule.company).await?;
    found.retain(|budget| {
        let concerns = agent.is_none_or(|agent| match budget.scope {
            Scope::Agent(of) => of == agent,
            Scope::Task(task) => tasks.contains(&task),
            Scope::Company | Scope::Schedule(_) => false,
        });
        concerns && budget.level() > budget::Level::Ok
    });
    Ok(found)
}

async fn assigned(tx: &mut Tx, moment: &Moment<'_>, agent: Option<AgentId>) -> Result<Vec<Assigned>, Error> {
    let only = agent.map(|id| id.to_string()).unwrap_or_default();
    let parameters = [moment.schedule.company.into(), (&only).into(), moment.now.into()];
    let mut found = Vec::new();
    for mut row in tx.query(ASSIGNED, &parameters).await? {
        let (id, key, title, assignee, due_at) = (row.get()?, row.get()?, row.get()?, row.get()?, row.get()?);
        let changed_at: Timestamp = row.get()?;
        let (said_at, worked_at): (Option<Timestamp>, Option<Timestamp>) = (row.get()?, row.get()?);
        let last_at = changed_at.max(said_at.unwrap_or(changed_at)).max(worked_at.unwrap_or(changed_at));
        let rejected_at = row.get()?;
        let blocked_by_failed = row.get::<i64>()? == 1;
        found.push(Assigned { id, key, title, assignee, due_at, last_at, rejected_at, blocked_by_failed });
    }
    Ok(found)
}

fn alerts_of(task: &Assigned, now: Timestamp) -> impl Iterator<Item = &'static str> {
    let is_overdue = task.due_at.is_some_and(|due| due <= now);
    let is_near = task.due_at.is_some_and(|due| due > now && due.since(now) <= DEADLINE_NEAR);
    [
        ("deadline", is_near),
        ("overdue", is_overdue),
        ("blocked_by_failed", task.blocked_by_failed),
        ("no_activity", now.since(task.last_at) >= QUIET),
        ("rejected", task.rejected_at.is_some()),
    ]
    .into_iter()
    .filter_map(|(kind, holds)| holds.then_some(kind))
}

fn words(kind: &str, task: &Assigned, now: Timestamp) -> String {
    let until = |at: Option<Timestamp>| at.map(|at| until_words(now, at)).unwrap_or_default();
    match kind {
        "deadline" => format!("due {}", until(task.due_at)),
        "overdue" => format!("was due at {}", task.due_at.unwrap_or(now)),
        "blocked_by_failed" => "waits for a task whose last run failed".into(),
        "no_activity" => format!("nothing has happened since {}", task.last_at),
        "rejected" => "its result was rejected".into(),
        other => other.to_owned(),
    }
}
