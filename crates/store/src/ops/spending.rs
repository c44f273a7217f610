//! What runs spend, counted on the budgets that they fall under; what happens at 80 % and at 100 %.
//!
//! Counting is part of the transaction that tells what was used: the claim, a report, the end of a run. It only notes
//! that a line was crossed; the dispatcher then tells the agents and stops the runs ([`due`]), so that a crash in
//! between loses nothing. Whether another run may start is decided under the company's lock, by the claim.
//!
//! Locks: agents, then runs, then the company, then budgets by their ids.

use serde_json::json as object;
use std::hash::{DefaultHasher, Hash, Hasher};

use wakeful_domain::actor::Actor;
use wakeful_domain::budget::{Budget, Level, Metric, Scope, Window};
use wakeful_domain::escalation::{EscalationKind, Severity};
use wakeful_domain::id::{AgentId, BudgetId, CompanyId, IdSource, RunId, ScheduleId, TaskId};
use wakeful_domain::run::{Run, StopRequest};
use wakeful_domain::time::Timestamp;

use crate::ops::escalations::{self, Raise};
use crate::ops::{budgets, events, messages, ready, run_events, runs};
use crate::value::{name, task_key};
use crate::{Error, Refusal, Tx};

/// The budgets that a run of this agent on this task falls under; `$4` is the run, once there is one.
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
          where batches.run_id = $4)))
    order by id";

async fn over(
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

async fn has_any(tx: &mut Tx, company: CompanyId) -> Result<bool, Error> {
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
        let is_news = budget.level() > budget.told;
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
                match runs::request_stop(tx, after.id, &StopRequest::cancel(&told, now)).await {
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

const RELEASE: &str = "
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
async fn warn(tx: &mut Tx, now: Timestamp, run: RunId, budget: &Budget) -> Result<messages::Message, Refusal> {
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

const HOLD_COMPANY: &str = "update companies set budget_id = $2 where id = $1";
const HOLD_AGENT: &str = "update agents set budget_id = $2 where id = $1";
const HOLD_LANE: &str = "update lanes set budget_id = $3 where agent_id = $1 and task_id = $2";
const HOLDS: &str = "
    update budgets
    set due_at = $2
    where id = $1
      and (due_at is null or due_at > $2)";

/// Keeps a lane that is to be claimed out of the index, with all that its budget keeps back, if nothing is left for
/// another run. The caller has locked the agent, and brings the index up to date if this says so.
pub(crate) async fn hold_back(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    agent: AgentId,
    task: Option<TaskId>,
) -> Result<bool, Refusal> {
    if !has_any(tx, company).await? {
        return Ok(false);
    }
    ready::lock_company(tx, company).await?;
    let zone = budgets::zone(tx, company).await?;
    for mut budget in over(tx, (company, agent, task), None, "").await? {
        budget.roll(&zone, now);
        let live = if budget.reserve > 0 { live_under(tx, &budget).await?.len() } else { 0 };
        if budget.has_room(i64::try_from(live).unwrap_or(i64::MAX)) {
            continue;
        }
        match budget.scope {
            Scope::Company => tx.execute(HOLD_COMPANY, &[company.into(), budget.id.into()]).await?,
            Scope::Agent(agent) => tx.execute(HOLD_AGENT, &[agent.into(), budget.id.into()]).await?,
            Scope::Task(_) | Scope::Schedule(_) => {
                tx.execute(HOLD_LANE, &[agent.into(), task_key(task), budget.id.into()]).await?
            }
        };
        if let Some(ends) = budget.window_ends_at {
            tx.execute(HOLDS, &[budget.id.into(), ends.into()]).await?;
        }
        return Ok(true);
    }
    Ok(false)
}

const OF_SCHEDULE: &str = "
    select {columns}
    from budgets
    where company_id = $1
      and scope = 'schedule'
      and scope_id = $2";

/// Whether a schedule has spent what it may.
pub(crate) async fn is_spent(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    schedule: ScheduleId,
) -> Result<bool, Refusal> {
    let rows =
        tx.query(&OF_SCHEDULE.replace("{columns}", budgets::COLUMNS), &[company.into(), schedule.into()]).await?;
    if rows.is_empty() {
        return Ok(false);
    }
    let zone = budgets::zone(tx, company).await?;
    for row in rows {
        let mut budget = budgets::read(row)?;
        budget.roll(&zone, now);
        if budget.window != Window::Run && budget.level() == Level::Exhausted {
            return Ok(true);
        }
    }
    Ok(false)
}

const CONCERNED: &str = "
    select id from agents where budget_id = $1
    union
    select agent_id from lanes where budget_id = $1";
const FREE_LANES: &str = "
    update lanes
    set budget_id = null
    where budget_id = $1
    returning agent_id, task_id";
const FREE_AGENTS: &str = "update agents set budget_id = null where budget_id = $1";
const FREE_COMPANY: &str = "update companies set budget_id = null where budget_id = $1";
const COMPANY_OF: &str = "select company_id from budgets where id = $1";

/// Lets go of all that a budget holds back. What still has nothing to spend is held back by the next claim.
pub(crate) async fn let_go(tx: &mut Tx, id: BudgetId) -> Result<(), Refusal> {
    let Some(mut row) = tx.query_first(COMPANY_OF, &[id.into()]).await? else { return Err(Refusal::not_found(id)) };
    let company: CompanyId = row.get()?;
    let mut agents: Vec<AgentId> = Vec::new();
    for mut row in tx.query(CONCERNED, &[id.into()]).await? {
        agents.push(row.get()?);
    }
    ready::lock(tx, Vec::new(), agents.clone()).await?;
    let mut lanes = Vec::new();
    for mut row in tx.query(FREE_LANES, &[id.into()]).await? {
        lanes.push((company, row.get()?, row.task()?));
    }
    if lanes.iter().any(|(_, agent, _)| !agents.contains(agent)) {
        return Err(Error::changed_meanwhile("what a budget holds back").into());
    }
    tx.execute(FREE_AGENTS, &[id.into()]).await?;
    for (_, agent, task) in lanes {
        ready::refresh_lane(tx, agent, task).await?;
    }
    ready::lock_company(tx, company).await?;
    tx.execute(FREE_COMPANY, &[id.into()]).await?;
    ready::refresh_agents(tx, agents.into_iter().map(|agent| (company, agent)).collect()).await?;
    Ok(ready::refresh_company(tx, company).await?)
}

const LIVE: &str = "
    select id, agent_id, task_id
    from runs
    where company_id = $1
      and status in ('starting', 'running')
    order by id";

/// The live runs that fall under a budget: those of one company are few, by its cap.
async fn live_under(tx: &mut Tx, budget: &Budget) -> Result<Vec<RunId>, Error> {
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

/// What the dispatcher did about budgets, and what is to follow from it.
#[derive(Debug, Clone, Default)]
pub struct BudgetsDue {
    /// Runs that have been asked to stop, and why.
    pub stops: Vec<(RunId, String)>,
    /// What agents are told.
    pub told: Vec<(RunId, messages::Message)>,
}

/// When the next budget has to be looked at.
pub(crate) const NEXT_DUE: &str = "
    select due_at
    from budgets
    where due_at is not null
    order by due_at
    limit 1";

const DUE: &str = "
    select id
    from budgets
    where due_at is not null
      and due_at <= $1
    order by due_at, id
    limit $2";

/// Budgets in one transaction; the rest follow in the next.
const BITE: i64 = 20;

/// Looks at every budget that has crossed a line, or whose window has ended.
pub async fn due(tx: &mut Tx, now: Timestamp) -> Result<BudgetsDue, Refusal> {
    let mut found: Vec<BudgetId> = Vec::new();
    for mut row in tx.query(DUE, &[now.into(), BITE.into()]).await? {
        found.push(row.get()?);
    }
    let mut done = BudgetsDue::default();
    for id in found {
        look(tx, now, id, &mut done).await?;
    }
    Ok(done)
}

const LOOKED: &str = "
    update budgets
    set spent = $2,
      period_starts_at = $3,
      period_ends_at = $4,
      told = $5,
      due_at = $6
    where id = $1";
const LOCK: &str = "select id from budgets where id = $1 {for_update}";

async fn look(tx: &mut Tx, now: Timestamp, id: BudgetId, done: &mut BudgetsDue) -> Result<(), Refusal> {
    let_go(tx, id).await?;
    let seen = budgets::get(tx, now, id).await?;
    let is_exhausted = seen.window != Window::Run && seen.level() == Level::Exhausted;
    // Runs before their budget, as everywhere.
    if is_exhausted {
        let told = format!("the budget of {} ({}) is spent", seen.words(), seen.scope.kind());
        for run in live_under(tx, &seen).await? {
            let stop = StopRequest { puts_back: true, ..StopRequest::cancel(&told, now) };
            match runs::request_stop(tx, run, &stop).await {
                Ok(_) => done.stops.push((run, told.clone())),
                // It has ended by itself meanwhile.
                Err(Refusal::Conflict { .. }) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }
    tx.lock(LOCK, &[id.into()]).await?;
    let mut budget = budgets::get(tx, now, id).await?;
    if budget.level() != seen.level() {
        // A report came in between.
        return Err(Error::changed_meanwhile("what is left of a budget").into());
    }
    if budget.level() > budget.told {
        match budget.level() {
            Level::Ok => {}
            Level::Warned => {
                for run in live_under(tx, &budget).await? {
                    done.told.push((run, warn(tx, now, run, &budget).await?));
                }
            }
            Level::Exhausted => tell_exhausted(tx, now, &budget).await?,
        }
        let kind = if is_exhausted { "budget.exhausted" } else { "budget.warned" };
        let data = object!({ "spent": budget.spent, "limit": budget.limit, "scope": budget.scope.kind(), "about": budget.scope.id() });
        events::append(tx, budget.company, now, kind, &id.to_string(), &data).await?;
    }
    if !is_exhausted {
        escalations::resolve_key(tx, now, budget.company, &key(id), "there is something left").await?;
    }
    budget.told = budget.level();
    let due_at = budget.window_ends_at.filter(|_| budget.told > Level::Ok);
    let parameters = [
        id.into(),
        budget.spent.into(),
        budget.window_started_at.into(),
        budget.window_ends_at.into(),
        name(&budget.told),
        due_at.into(),
    ];
    tx.execute(LOOKED, &parameters).await?;
    Ok(())
}

/// Has the dispatcher look at a budget now.
pub(crate) async fn look_again(tx: &mut Tx, now: Timestamp, id: BudgetId) -> Result<(), Error> {
    tx.execute(RELEASE, &[id.into(), now.into()]).await?;
    Ok(())
}

const AHEAD: &str = "
    update budgets
    set due_at = $1
    where due_at > $1";

/// After the clock was set back: what was to be looked at in a time that has not come is looked at now.
pub(crate) async fn rewind(tx: &mut Tx, now: Timestamp) -> Result<(), Error> {
    tx.execute(AHEAD, &[now.into()]).await?;
    Ok(())
}

/// The key of the escalation about a budget that is spent.
pub(crate) fn key(id: BudgetId) -> String {
    format!("budget:{id}")
}

async fn tell_exhausted(tx: &mut Tx, now: Timestamp, budget: &Budget) -> Result<(), Refusal> {
    // The same however often the operation is run.
    let mut seed = DefaultHasher::new();
    (key(budget.id), now.as_micros()).hash(&mut seed);
    let until = match budget.window_ends_at {
        Some(ends) => format!("until {ends}, or until the limit is raised"),
        None => "until the limit is raised".into(),
    };
    let raise = Raise {
        id: IdSource::new(seed.finish()).next(now),
        now,
        company: budget.company,
        kind: EscalationKind::BudgetExhausted,
        severity: Severity::High,
        key: key(budget.id),
        subject: budget.id.to_string(),
        title: format!("the budget of {} is spent", budget.words()),
        detail: format!(
            "nothing that falls under it ({} {}) is started {until}: `wakeful budget set {} --limit N`",
            budget.scope.kind(),
            budget.scope.id(),
            budget.id
        ),
        actor: Actor::system(),
    };
    escalations::raise(tx, &raise).await.map(|_| ())
}
