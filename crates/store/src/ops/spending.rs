//! What runs spend, counted on the budgets that they fall under, in the transaction that tells what was used: the claim,
//! a report, the end of a run. Here it is only noted that a line was crossed; the dispatcher then tells the agents and
//! stops the runs ([`super::budgets_due`]), so that a crash in between loses nothing.
//!
//! Locks: agents, then runs, then the company, then budgets by their ids.

use wakeful_domain::budget::{Budget, Level, Metric, Window};
use wakeful_domain::id::{AgentId, CompanyId, RunId, TaskId};
use wakeful_domain::run::{Run, StopRequest};
use wakeful_domain::time::Timestamp;

use crate::ops::{budgets, messages, run_events, runs};
use crate::value::{name, task_key};
use crate::{Error, Refusal, Tx};

/// The budgets that a run of this agent on this task falls under; `$4` is the run. Before there is one, a schedule's
/// counts if nothing else waits on the lane: what others ask for is not kept back with it.
const OVER: &str = "
    with recursive tree (id) as (
      select cast($3 as text)
      union
      select tasks.parent_id
      from tasks
      join tree on tasks.id = tree.id
      where tasks.parent_id is not null)
    select {columns}
    from budgets
    where company_id = $1
      and (scope = 'company'
        or (scope = 'agent' and scope_id = $2)
        or (scope = 'task' and scope_id in (select id from tree where id <> ''))
        or (scope = 'schedule' and scope_id in (
          select slots.schedule_id
          from slots
          where slots.task_id = $3
            and slots.task_id <> ''
          union
          select slots.schedule_id
          from batches
          join slots on slots.wakeup_id = batches.wakeup_id
          where batches.run_id = $4
          union
          select min(slots.schedule_id)
          from wakeups
          left join slots on slots.wakeup_id = wakeups.id
          where $4 = ''
            and wakeups.agent_id = $2
            and wakeups.task_id = $3
            and wakeups.status = 'pending'
            and wakeups.eligible = 1
          having count(*) = count(slots.schedule_id)
            and min(slots.schedule_id) = max(slots.schedule_id))))
    order by id";

pub(super) async fn over(
    tx: &mut Tx,
    (company, agent, task): (CompanyId, AgentId, Option<TaskId>),
    run: Option<RunId>,
    lock: &str,
) -> Result<Vec<Budget>, Error> {
    let run = run.map(|run| run.to_string()).unwrap_or_default();
    let sql = format!("{}\n    {lock}", OVER.replace("{columns}", budgets::COLUMNS));
    let rows = tx.query(&sql, &[company.into(), agent.into(), task_key(task), run.into()]).await?;
    rows.into_iter().map(budgets::read).collect()
}

const ANY: &str = "select 1 from budgets where company_id = $1 limit 1";

pub(super) async fn has_any(tx: &mut Tx, company: CompanyId) -> Result<bool, Error> {
    Ok(tx.query_first(ANY, &[company.into()]).await?.is_some())
}

/// What follows at once for the run itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spent {
    /// The run has used up what each run may use, and has been asked to stop: why.
    pub stop: Option<String>,
    /// What its agent is told.
    pub told: Option<messages::Message>,
}

const SPEND: &str = "
    update budgets
    set spent = $2,
      period_starts_at = $3,
      period_ends_at = $4,
      told = $5,
      due_at = case when $6 = 1 then $7 else due_at end
    where id = $1";

/// Counts what a run has used on every budget that it falls under. `used` says how much of its metric more than before.
async fn count(tx: &mut Tx, now: Timestamp, run: &Run, used: impl Fn(&Budget) -> i64) -> Result<(), Refusal> {
    let zone = budgets::zone(tx, run.company).await?;
    for mut budget in over(tx, (run.company, run.agent, run.task), Some(run.id), "{for_update}").await? {
        let more = used(&budget);
        if more == 0 || budget.window == Window::Run {
            continue;
        }
        budget.roll(&zone, now);
        budget.spent = budget.spent.saturating_add(more).max(0);
        let is_news = budget.level() != budget.told;
        let parameters = [
            budget.id.into(),
            budget.spent.into(),
            budget.window_started_at.into(),
            budget.window_ends_at.into(),
            name(&budget.told),
            is_news.into(),
            now.into(),
        ];
        tx.execute(SPEND, &parameters).await?;
    }
    Ok(())
}

/// Counts a run that was claimed; the caller holds its company.
pub(crate) async fn claimed(tx: &mut Tx, now: Timestamp, run: &Run) -> Result<(), Refusal> {
    if has_any(tx, run.company).await? {
        count(tx, now, run, |budget| i64::from(budget.metric == Metric::Runs)).await?;
    }
    Ok(())
}

/// Counts what a live run has used since `before`.
pub(crate) async fn used(tx: &mut Tx, now: Timestamp, before: &Run, after: &Run) -> Result<Spent, Refusal> {
    if !has_any(tx, after.company).await? {
        return Ok(Spent::default());
    }
    let spent = of_each_run(tx, now, before, after).await?;
    count(tx, now, after, |budget| budget.used_by(after) - budget.used_by(before)).await?;
    Ok(spent)
}

/// Budgets of each run by itself: it is told at 80 %, and stopped for good at 100 %.
async fn of_each_run(tx: &mut Tx, now: Timestamp, before: &Run, after: &Run) -> Result<Spent, Refusal> {
    let mut spent = Spent::default();
    let over = over(tx, (after.company, after.agent, after.task), Some(after.id), "").await?;
    for budget in over.into_iter().filter(|budget| budget.window == Window::Run) {
        let level = |run: &Run| Level::of(budget.used_by(run), budget.limit);
        match level(after) {
            level_now if level_now <= level(before) => {}
            Level::Ok => {}
            Level::Warned => spent.told = Some(warn(tx, now, after.id, &budget).await?),
            Level::Exhausted => {
                let told = format!("it has used up its budget of {}", budget.words());
                match runs::request_stop(tx, after.id, &StopRequest::spent(&told, now)).await {
                    Ok(_) => spent.stop = Some(told),
                    // Its end has come anyway.
                    Err(Refusal::Conflict { .. }) => {}
                    Err(refusal) => return Err(refusal),
                }
            }
        }
    }
    Ok(spent)
}

pub(super) const RELEASE: &str = "
    update budgets
    set due_at = $2
    where id = $1
      and (due_at is null or due_at > $2)";

/// Counts what a run has used at last. What it had set aside is there for others again.
pub(crate) async fn ended(tx: &mut Tx, now: Timestamp, before: &Run, after: &Run) -> Result<(), Refusal> {
    if !has_any(tx, after.company).await? {
        return Ok(());
    }
    let more = |budget: &Budget| match budget.metric {
        Metric::Runs => 0,
        Metric::WallS => budget.used_by(after),
        Metric::CostMicros | Metric::Tokens => budget.used_by(after) - budget.used_by(before),
    };
    count(tx, now, after, more).await?;
    for budget in over(tx, (after.company, after.agent, after.task), Some(after.id), "").await? {
        if budget.reserve > 0 {
            tx.execute(RELEASE, &[budget.id.into(), now.into()]).await?;
        }
    }
    Ok(())
}

/// Says that an agent has little left.
pub(super) async fn warn(
    tx: &mut Tx,
    now: Timestamp,
    run: RunId,
    budget: &Budget,
) -> Result<messages::Message, Refusal> {
    let message = messages::Message {
        id: format!("{}-{}", budget.id, now.as_millis()),
        kind: messages::BUDGET,
        at: now,
        text: format!(
            "Of the budget of {} ({}) {} are spent. Come to an end, and leave what the next run needs: at 100 % the run \
             is stopped.",
            budget.words(),
            budget.scope.kind(),
            budget.spent
        ),
    };
    run_events::append(tx, run, now, &messages::budget(&message)).await?;
    Ok(message)
}

const LIVE: &str = "
    select id, agent_id, task_id
    from runs
    where company_id = $1
      and status in ('starting', 'running')
    order by id";

/// The live runs that fall under a budget: those of one company are few, by its cap.
pub(super) async fn live_under(tx: &mut Tx, budget: &Budget) -> Result<Vec<RunId>, Error> {
    let mut found = Vec::new();
    for mut row in tx.query(LIVE, &[budget.company.into()]).await? {
        let (run, agent, task) = (row.get()?, row.get()?, row.task()?);
        let over = over(tx, (budget.company, agent, task), Some(run), "").await?;
        if over.iter().any(|over| over.id == budget.id) {
            found.push(run);
        }
    }
    Ok(found)
}
