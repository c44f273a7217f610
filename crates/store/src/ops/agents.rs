//! Agents: made, read, changed; paused, resumed, terminated, hidden.

use serde_json::{Value as Json, json as object};
use wakeful_domain::agent::{Agent, AgentEvent, AgentState, AgentStatus, Heartbeat, Limits};
use wakeful_domain::id::{AgentId, CompanyId, RunId, TaskId};
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::session::SessionPolicy;
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::ops::{events, guards, heartbeats, quiet_hours, ready, schedules, stuck, subscriptions, wakeups};
use crate::value::{json, name};
use crate::{Error, Refusal, Row, Tx, dialect};

const COLUMNS: &str = "id, company_id, name, title, adapter, capabilities, heartbeat, max_concurrent_runs, retry, \
    limits, session, state, state_reason, quota_until, live_runs, created_at, updated_at";

pub(crate) fn read(mut row: Row) -> Result<Agent, Error> {
    Ok(Agent {
        id: row.get()?,
        company: row.get()?,
        name: row.get()?,
        title: row.get()?,
        adapter: row.json()?,
        capabilities: row.json()?,
        heartbeat: row.json()?,
        max_concurrent_runs: row.get()?,
        retry: row.json()?,
        limits: row.json()?,
        session: row.json()?,
        state: row.name()?,
        state_reason: row.get()?,
        quota_until: row.get()?,
        live_runs: row.get()?,
        created_at: row.get()?,
        updated_at: row.get()?,
    })
}

/// The provider account an adapter configuration uses: what a usage limit parks.
fn account(adapter: &Json) -> &str {
    adapter.get("account").and_then(Json::as_str).unwrap_or("default")
}

/// The name of the adapter that a configuration is for.
pub(crate) fn adapter_type(adapter: &Json) -> &str {
    adapter.get("type").and_then(Json::as_str).unwrap_or_default()
}

const INSERT: &str = "
    insert into agents (id, company_id, name, title, adapter, adapter_type, account, capabilities, heartbeat,
      max_concurrent_runs, retry, limits, session, state, created_at, updated_at, quota_until)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15,
      (select max(quota_until) from agents where company_id = $2 and adapter_type = $6 and account = $7))";

/// Makes an agent. An account that is parked is parked for it too.
pub async fn insert(tx: &mut Tx, agent: &Agent) -> Result<(), Refusal> {
    refuse_taken_name(tx, agent.company, &agent.name, None).await?;
    let parameters = [
        agent.id.into(),
        agent.company.into(),
        (&agent.name).into(),
        (&agent.title).into(),
        json(&agent.adapter),
        adapter_type(&agent.adapter).into(),
        account(&agent.adapter).into(),
        json(&agent.capabilities),
        json(&agent.heartbeat),
        agent.max_concurrent_runs.into(),
        json(&agent.retry),
        json(&agent.limits),
        json(&agent.session),
        name(&agent.state),
        agent.created_at.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    heartbeats::keep(tx, agent.created_at, agent).await?;
    let data = object!({ "state": agent.state, "name": agent.name });
    events::append(tx, agent.company, agent.created_at, "agent.status", &agent.id.to_string(), &data).await?;
    Ok(())
}

async fn refuse_taken_name(tx: &mut Tx, company: CompanyId, name: &str, but: Option<AgentId>) -> Result<(), Refusal> {
    match by_name(tx, company, name).await? {
        Some(taken) if Some(taken.id) != but => Err(Refusal::conflict(
            "name_taken",
            format!("the company has an agent `{name}` already: choose another name"),
            object!({ "agent": taken.id }),
        )),
        Some(_) | None => Ok(()),
    }
}

/// The agent of this name.
pub async fn by_name(tx: &mut Tx, company: CompanyId, name: &str) -> Result<Option<Agent>, Error> {
    let sql = format!("select {COLUMNS} from agents where company_id = $1 and name = $2 and deleted_at is null");
    tx.query_first(&sql, &[company.into(), name.into()]).await?.map(read).transpose()
}

/// The agent with this id; deleted ones are found too, their runs stay readable.
pub async fn get(tx: &mut Tx, id: AgentId) -> Result<Agent, Refusal> {
    let sql = format!("select {COLUMNS} from agents where id = $1");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    found.ok_or_else(|| Refusal::not_found(id))
}

/// The same, its row locked until the transaction ends.
pub async fn get_locked(tx: &mut Tx, id: AgentId) -> Result<Agent, Refusal> {
    let sql = format!("select {COLUMNS} from agents where id = $1 {{for_update}}");
    let found = tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()?;
    found.ok_or_else(|| Refusal::not_found(id))
}

/// Figures about an agent that the API shows with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    pub pending_wakeups: i64,
    pub runs_total: i64,
    pub tokens_total: i64,
    pub cost_micros_total: i64,
    pub last_run: Option<LastRun>,
    /// Of its last three finished runs, how many failed.
    pub recent_failures: i64,
    /// The lanes on which nothing starts until a person says so, the one that has stood longest first.
    pub open_circuits: Vec<OpenCircuit>,
}

/// A lane that failed too often in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenCircuit {
    pub task: Option<TaskId>,
    pub since: Timestamp,
}

/// The newest run of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct LastRun {
    pub id: RunId,
    pub status: String,
    pub finished_at: Option<Timestamp>,
}

const TOTALS: &str = "
    select runs_total, tokens_total, cost_micros_total,
      (select count(*) from wakeups where wakeups.agent_id = agents.id and wakeups.status = 'pending')
    from agents
    where id = $1";
const LAST_RUN: &str = "
    select id, status, finished_at
    from runs
    where agent_id = $1
    order by id desc
    limit 1";
const RECENT_FAILURES: &str = "
    select count(*)
    from (
      select status
      from runs
      where agent_id = $1
        and status not in ('starting', 'running')
      order by id desc
      limit 3) as recent
    where status in ('failed', 'lost', 'timed_out')";

const OPEN_CIRCUITS: &str = "
    select task_id, circuit_opened_at
    from lanes
    where agent_id = $1
      and circuit_opened_at is not null
    order by circuit_opened_at, task_id
    limit $2";
/// Open circuits that are shown of an agent: nobody reads more.
const OPEN_CIRCUITS_SHOWN: i64 = 20;

/// Figures about an agent.
pub async fn figures(tx: &mut Tx, id: AgentId) -> Result<Figures, Refusal> {
    let mut totals = tx.query_one(TOTALS, &[id.into()]).await?;
    let last_run = match tx.query_first(LAST_RUN, &[id.into()]).await? {
        Some(mut row) => Some(LastRun { id: row.get()?, status: row.get()?, finished_at: row.get()? }),
        None => None,
    };
    let recent_failures = tx.query_one(RECENT_FAILURES, &[id.into()]).await?.get()?;
    let mut open_circuits = Vec::new();
    for mut row in tx.query(OPEN_CIRCUITS, &[id.into(), OPEN_CIRCUITS_SHOWN.into()]).await? {
        open_circuits.push(OpenCircuit { task: row.task()?, since: row.get()? });
    }
    Ok(Figures {
        runs_total: totals.get()?,
        tokens_total: totals.get()?,
        cost_micros_total: totals.get()?,
        pending_wakeups: totals.get()?,
        last_run,
        recent_failures,
        open_circuits,
    })
}

/// Which agents of a company are listed: those that every part is true of.
#[derive(Debug, Clone, Default)]
pub struct AgentFilter {
    pub name: Option<String>,
    /// Part of the name or the title, in either case.
    pub text: Option<String>,
    pub status: Option<AgentStatus>,
}

fn is_of(status: AgentStatus) -> &'static str {
    match status {
        AgentStatus::Running => "state = 'active' and live_runs > 0",
        AgentStatus::Idle => "state = 'active' and live_runs = 0",
        AgentStatus::Parked => "state = 'active' and quota_until is not null",
        AgentStatus::Paused => "state = 'paused'",
        AgentStatus::PendingApproval => "state = 'pending_approval'",
        AgentStatus::Terminated => "state = 'terminated'",
    }
}

/// A page of a company's agents.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    filter: &AgentFilter,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Agent>, Refusal> {
    let text = filter.text.as_deref().map(dialect::containing);
    let mut list = List::of(COLUMNS, "agents")
        .and("company_id = $ and deleted_at is null", company)
        .and_if("name = $", filter.name.clone())
        .and_if("(name {ilike} $ escape '\\' or title {ilike} $ escape '\\')", text);
    if let Some(status) = filter.status {
        list = list.and_when(is_of(status), true);
    }
    Ok(list.page(tx, cursor, limit, read, |agent| agent.id.to_string()).await?)
}

/// Changes to an agent; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct AgentChange {
    pub name: Option<String>,
    pub title: Option<Option<String>>,
    pub adapter: Option<Json>,
    pub capabilities: Option<Vec<String>>,
    pub heartbeat: Option<Heartbeat>,
    pub max_concurrent_runs: Option<i64>,
    pub retry: Option<RetryPolicy>,
    pub limits: Option<Limits>,
    pub session: Option<SessionPolicy>,
}

const UPDATE: &str = "
    update agents
    set name = $2,
      title = $3,
      adapter = $4,
      adapter_type = $5,
      account = $6,
      quota_until = case
        when adapter_type = $5 and account = $6 then quota_until
        else (
          select max(others.quota_until)
          from agents as others
          where others.company_id = agents.company_id
            and others.adapter_type = $5
            and others.account = $6
            and others.id <> $1)
        end,
      capabilities = $7,
      heartbeat = $8,
      max_concurrent_runs = $9,
      retry = $10,
      limits = $11,
      session = $12,
      updated_at = $13
    where id = $1";

/// Changes an agent's configuration. Live runs keep what they were started with. With another provider account
/// it takes over that one's usage limit, if there is one, and leaves its own behind.
pub async fn change(tx: &mut Tx, now: Timestamp, id: AgentId, change: &AgentChange) -> Result<Agent, Refusal> {
    let old = get_locked(tx, id).await?;
    if old.state == AgentState::Terminated {
        return Err(terminated(&old));
    }
    if let Some(name) = &change.name {
        refuse_taken_name(tx, old.company, name, Some(id)).await?;
    }
    let adapter = change.adapter.as_ref().unwrap_or(&old.adapter);
    let parameters = [
        id.into(),
        change.name.as_ref().unwrap_or(&old.name).into(),
        change.title.as_ref().unwrap_or(&old.title).into(),
        json(adapter),
        adapter_type(adapter).into(),
        account(adapter).into(),
        json(change.capabilities.as_ref().unwrap_or(&old.capabilities)),
        json(change.heartbeat.as_ref().unwrap_or(&old.heartbeat)),
        change.max_concurrent_runs.unwrap_or(old.max_concurrent_runs).into(),
        json(change.retry.as_ref().unwrap_or(&old.retry)),
        json(change.limits.as_ref().unwrap_or(&old.limits)),
        json(change.session.as_ref().unwrap_or(&old.session)),
        now.into(),
    ];
    tx.execute(UPDATE, &parameters).await?;
    if change.heartbeat.as_ref().is_some_and(|heartbeat| *heartbeat != old.heartbeat) {
        quiet_hours::look_again(tx, now, old.company, id).await?;
        let agent = get(tx, id).await?;
        heartbeats::keep(tx, now, &agent).await?;
    }
    ready::refresh_agent(tx, old.company, id).await?;
    get(tx, id).await
}

/// A terminated agent takes nothing more.
pub(crate) fn terminated(agent: &Agent) -> Refusal {
    Refusal::conflict(
        "agent_terminated",
        format!("agent `{}` is terminated; that cannot be undone: add a new agent", agent.name),
        object!({ "state": agent.state }),
    )
}

const SET_STATE: &str = "
    update agents
    set quota_until = case when $2 = 'active' then null else quota_until end,
      state = $2,
      state_reason = $3,
      updated_at = $4
    where id = $1";

/// Pauses, resumes, approves or terminates an agent. Resuming forgets a usage limit and closes the circuits of its
/// lanes, terminating cancels its pending wakeups.
/// Live runs are the engine's to stop.
pub async fn set_state(
    tx: &mut Tx,
    now: Timestamp,
    id: AgentId,
    event: AgentEvent,
    reason: Option<&str>,
) -> Result<Agent, Refusal> {
    match event {
        AgentEvent::Terminate => stuck::lock(tx, id).await?,
        _ => subscriptions::waiting::lock_agent(tx, id).await?,
    }
    let agent = get_locked(tx, id).await?;
    let Some(state) = agent.state.after(event) else {
        return Err(match agent.state {
            AgentState::Terminated => terminated(&agent),
            AgentState::Active | AgentState::Paused | AgentState::PendingApproval => Refusal::conflict(
                "agent_state",
                format!("agent `{}` is {}; this does not apply to it", agent.name, agent.state.as_str()),
                object!({ "state": agent.state }),
            ),
        });
    };
    tx.execute(SET_STATE, &[id.into(), name(&state), reason.into(), now.into()]).await?;
    if event == AgentEvent::Resume {
        guards::close_circuits(tx, now, agent.company, id).await?;
    }
    if state == AgentState::Terminated {
        wakeups::cancel_pending_of_agent(tx, now, agent.company, id, "agent_terminated").await?;
        if agent.state != AgentState::Terminated {
            stuck::after_termination(tx, now, id).await?;
        }
    }
    ready::refresh_agent(tx, agent.company, id).await?;
    let data = object!({ "state": state, "reason": reason, "name": agent.name });
    events::append(tx, agent.company, now, "agent.status", &id.to_string(), &data).await?;
    let changed = get(tx, id).await?;
    subscriptions::happening::state_changed(tx, now, &changed, agent.state, reason).await?;
    Ok(changed)
}

const HIDE: &str = "
    update agents
    set deleted_at = $2,
      updated_at = $2
    where id = $1
      and deleted_at is null";
const UNASSIGN: &str = "
    update tasks
    set assignee_id = null,
      updated_at = $2
    where assignee_id = $1
      and status not in ('done', 'cancelled')
    returning id, status";

/// Terminates an agent and hides it; its rows stay readable.
pub async fn delete(tx: &mut Tx, now: Timestamp, id: AgentId) -> Result<Agent, Refusal> {
    let agent = set_state(tx, now, id, AgentEvent::Terminate, Some("deleted")).await?;
    tx.execute(HIDE, &[id.into(), now.into()]).await?;
    schedules::disable_of_agent(tx, now, id).await?;
    subscriptions::remove_of_agent(tx, agent.company, id).await?;
    for mut row in tx.query(UNASSIGN, &[id.into(), now.into()]).await? {
        let (task, status): (TaskId, String) = (row.get()?, row.get()?);
        let data = object!({ "status": status, "assignee": null, "from": { "status": status, "assignee": id } });
        events::append(tx, agent.company, now, "task.updated", &task.to_string(), &data).await?;
    }
    Ok(agent)
}

const LOCK_ACCOUNT: &str = "
    select id
    from agents
    where company_id = $1
      and adapter_type = $2
      and account = $3
    order by id
    {for_update}";
const PARK: &str = "
    update agents
    set quota_until = $4
    where company_id = $1
      and adapter_type = $2
      and account = $3
      and (quota_until is null or quota_until < $4)
    returning id";

/// Holds every agent of the provider account until a usage limit lifts.
pub(crate) async fn park_account(tx: &mut Tx, agent: &Agent, until: Timestamp) -> Result<(), Error> {
    let parameters =
        [agent.company.into(), adapter_type(&agent.adapter).into(), account(&agent.adapter).into(), until.into()];
    tx.lock(LOCK_ACCOUNT, &parameters[..3]).await?;
    for mut row in tx.query(PARK, &parameters).await? {
        let parked: AgentId = row.get()?;
        ready::refresh_agent(tx, agent.company, parked).await?;
    }
    Ok(())
}
