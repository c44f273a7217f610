//! A subscription is made, or put in the place of the one that its agent has under the same key. The source is locked
//! first: what happens to it happens before, and then it is told at once, or after, and then it finds the subscription.

use serde_json::json as object;
use wakeful_domain::agent::AgentState;
use wakeful_domain::id::{AgentId, RunId, TaskId};
use wakeful_domain::run::RunFence;
use wakeful_domain::subscription::{EventName, PER_AGENT_MAX, PER_COMPANY_MAX, Source, Subscription};
use wakeful_domain::time::Timestamp;

use super::deliver::{Happening, Seen, tell_one};
use super::{get, happening, insert, of_key, replace};
use crate::ops::request_keys::{self, RequestKey};
use crate::ops::{agents, ready, runs, tasks};
use crate::{Refusal, Tx};

/// A subscription that somebody asks for.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// As it is to be; its id is used if there is none under the key.
    pub subscription: Subscription,
    /// The live run that asks, if one does.
    pub by_run: Option<RunFence>,
    pub request_key: Option<RequestKey>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    pub subscription: Subscription,
    /// False if it stands in the place of an earlier one.
    pub is_new: bool,
}

/// Makes a subscription. What it waits for may be over already: then it fires at once.
pub async fn declare(tx: &mut Tx, declaration: &Declaration) -> Result<Declared, Refusal> {
    let wanted = &declaration.subscription;
    // Before anything of another company is locked; and once more after it. A run that is over hears that first.
    if let Err(refusal) = check(tx, wanted).await {
        if let Some(RunFence { run, fence }) = declaration.by_run {
            runs::get_live(tx, run, fence).await?;
        }
        return Err(refusal);
    }
    lock(tx, wanted).await?;
    if let Some(RunFence { run, fence }) = declaration.by_run {
        runs::get_live(tx, run, fence).await?;
    }
    let (now, company) = (wanted.updated_at, Some(wanted.company));
    if let Some(key) = &declaration.request_key
        && let Some(earlier) = request_keys::find(tx, company, key).await?
    {
        let earlier = earlier.parse().unwrap_or(wanted.id);
        return Ok(Declared { subscription: get(tx, earlier).await?, is_new: true });
    }
    check(tx, wanted).await?;
    let earlier = match &wanted.key {
        Some(key) => of_key(tx, wanted.agent, key).await?,
        None => None,
    };
    let mut subscription = wanted.clone();
    subscription.timeout_at = wanted.timeout.map(|timeout| now + timeout);
    let mut is_told = false;
    let is_new = earlier.is_none();
    match earlier {
        None => {
            refuse_too_many(tx, &subscription).await?;
            insert(tx, &subscription).await?;
        }
        Some(earlier) => {
            // It was open all the time: whatever happened since has been told.
            is_told = earlier.source == wanted.source && earlier.on == wanted.on && earlier.filter == wanted.filter;
            subscription = Subscription {
                id: earlier.id,
                matches: earlier.matches,
                wakeups: earlier.wakeups,
                last_match_at: earlier.last_match_at,
                window: earlier.window,
                // What has matched, even if it is not told yet, has come in time.
                timeout_at: subscription.timeout_at.filter(|_| earlier.window.is_none()),
                created_at: earlier.created_at,
                ..subscription
            };
            replace(tx, &subscription).await?;
        }
    }
    if let Some(key) = &declaration.request_key {
        request_keys::keep(tx, now, company, key, &subscription.id.to_string()).await?;
    }
    if !is_told && let Some((happening, seen)) = past(tx, now, &subscription).await? {
        tell_one(tx, &mut subscription, &happening, &seen, true).await?;
    }
    Ok(Declared { subscription: get(tx, subscription.id).await?, is_new })
}

const BELOW: &str = "
    with recursive below (id) as (
      select id from tasks where parent_id = $1
      union
      select tasks.id
      from tasks
      join below on tasks.parent_id = below.id)
    select id from below";

/// Keeps others from the source and from the lane that is to be woken.
async fn lock(tx: &mut Tx, wanted: &Subscription) -> Result<(), Refusal> {
    if tx.is_alone() {
        return Ok(());
    }
    let mut tasks: Vec<TaskId> = wanted.task.into_iter().collect();
    let mut concerned: Vec<AgentId> = vec![wanted.agent];
    match &wanted.source {
        Source::Run(run) => {
            let run = runs::get(tx, *run).await?;
            tasks.extend(run.task);
            concerned.push(run.agent);
        }
        Source::Task(task) => tasks.push(*task),
        Source::Children(parent) => {
            tasks.push(*parent);
            for mut row in tx.query(BELOW, &[(*parent).into()]).await? {
                tasks.push(row.get()?);
            }
        }
        Source::Agent(agent) => concerned.push(*agent),
        Source::Topic(_) | Source::Webhook(_) => {}
    }
    Ok(ready::lock(tx, tasks, concerned).await?)
}

const TASK: &str = "select 1 from tasks where id = $1 and company_id = $2";
const RUN: &str = "select 1 from runs where id = $1 and company_id = $2";
const WEBHOOK: &str = "select 1 from webhooks where id = $1 and company_id = $2 {for_update}";
const AGENT: &str = "select 1 from agents where id = $1 and company_id = $2 and deleted_at is null";

/// Whatever a subscription names must be there, in its own company.
async fn check(tx: &mut Tx, wanted: &Subscription) -> Result<(), Refusal> {
    let nobody = || Refusal::invalid("agent", format!("there is no agent `{}` in this company", wanted.agent));
    let agent = match agents::get(tx, wanted.agent).await {
        Ok(agent) if agent.company == wanted.company => agent,
        Ok(_) | Err(Refusal::NotFound { .. }) => return Err(nobody()),
        Err(refusal) => return Err(refusal),
    };
    if agent.state == AgentState::Terminated {
        return Err(agents::terminated(&agent));
    }
    let lane = wanted.task.map(|task| ("task", TASK, "task", task.to_string()));
    let source = match &wanted.source {
        Source::Run(id) => Some(("source.run", RUN, "run", id.to_string())),
        Source::Task(id) => Some(("source.task", TASK, "task", id.to_string())),
        Source::Children(id) => Some(("source.children", TASK, "task", id.to_string())),
        Source::Agent(id) => Some(("source.agent", AGENT, "agent", id.to_string())),
        Source::Webhook(id) => Some(("source.webhook", WEBHOOK, "webhook", id.to_string())),
        Source::Topic(_) => None,
    };
    for (field, sql, noun, id) in lane.into_iter().chain(source) {
        if tx.query_first(sql, &[(&id).into(), wanted.company.into()]).await?.is_none() {
            return Err(Refusal::invalid(field, format!("there is no {noun} `{id}` in this company")));
        }
    }
    Ok(())
}

const OPEN: &str = "
    select (select count(*) from subscriptions where agent_id = $1 and ended_at is null), open_subscriptions
    from companies
    where id = $2
    {for_update}";

async fn refuse_too_many(tx: &mut Tx, wanted: &Subscription) -> Result<(), Refusal> {
    let mut row = tx.query_one(OPEN, &[wanted.agent.into(), wanted.company.into()]).await?;
    let (of_agent, of_company): (i64, i64) = (row.get()?, row.get()?);
    let refused = |whose: &str, max: i64| {
        let told = format!("{whose} has {max} open subscriptions, which is the most: remove some first");
        Err(Refusal::conflict("too_many_subscriptions", told, object!({ "max": max })))
    };
    match (of_agent >= PER_AGENT_MAX, of_company >= PER_COMPANY_MAX) {
        (true, _) => refused("the agent", PER_AGENT_MAX),
        (_, true) => refused("the company", PER_COMPANY_MAX),
        (false, false) => Ok(()),
    }
}

/// What has happened already and will not happen again, as far as a subscription asks for it.
async fn past(tx: &mut Tx, now: Timestamp, wanted: &Subscription) -> Result<Option<(Happening, Seen)>, Refusal> {
    let asks = |name: EventName| wanted.on.contains(&name);
    let source = wanted.source.clone();
    Ok(match &wanted.source {
        Source::Run(run) => past_run(tx, now, *run).await?,
        Source::Task(task) if asks(EventName::TaskClosed) => {
            let task = tasks::get(tx, *task).await?;
            match task.status.is_closed() {
                true => {
                    let happening = happening::change_of_task(tx, now, &task, None, (&wanted.created_by, None)).await?;
                    Some((happening, Seen { source, names: vec![EventName::TaskClosed], is_last: false }))
                }
                false => None,
            }
        }
        // With nothing open below there is nothing left to be closed.
        Source::Children(parent) if asks(EventName::AllClosed) || asks(EventName::AnyClosed) => {
            match happening::count_below(tx, *parent).await? {
                (0, _) | (_, 1..) => None,
                _ => {
                    let last = last_closed_below(tx, *parent).await?;
                    let happening = happening::change_of_task(tx, now, &last, None, (&wanted.created_by, None)).await?;
                    let names = vec![EventName::AllClosed, EventName::AnyClosed];
                    Some((happening, Seen { source, names, is_last: false }))
                }
            }
        }
        Source::Agent(agent) => {
            let agent = agents::get(tx, *agent).await?;
            let is_over = agent.state == AgentState::Terminated;
            let reason = agent.state_reason.clone();
            is_over.then(|| {
                let happening = happening::state_of_agent(now, &agent, None, reason.as_deref());
                (happening, happening::seen_state(&agent))
            })
        }
        Source::Task(_) | Source::Children(_) | Source::Topic(_) | Source::Webhook(_) => None,
    })
}

async fn past_run(tx: &mut Tx, now: Timestamp, run: RunId) -> Result<Option<(Happening, Seen)>, Refusal> {
    let run = runs::get(tx, run).await?;
    if run.status.is_live() {
        return Ok(None);
    }
    let happening = happening::end_of_run(tx, now, &run).await?;
    Ok(Some((happening, happening::seen_end(&run, Source::Run(run.id)))))
}

const LAST_CLOSED: &str = "
    with recursive below (id) as (
      select id from tasks where parent_id = $1
      union
      select tasks.id
      from tasks
      join below on tasks.parent_id = below.id)
    select id
    from tasks
    where id in (select id from below)
    order by closed_at desc, id desc
    limit 1";

async fn last_closed_below(tx: &mut Tx, parent: TaskId) -> Result<wakeful_domain::task::Task, Refusal> {
    let id = tx.query_one(LAST_CLOSED, &[parent.into()]).await?.get()?;
    tasks::get(tx, id).await
}
