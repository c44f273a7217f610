//! The claim: the best ready lane gets a run with a fence one higher, and all its eligible
//! wakeups. One transaction; of two claimers exactly one wins.
//!
//! Of two nodes that claim at once the later passes over what the other has locked; only for a company it waits.

use serde_json::{Value as Json, json as object};
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::{Agent, AgentState};
use wakeful_domain::comment::Comment;
use wakeful_domain::company::Company;
use wakeful_domain::goal::Goal;
use wakeful_domain::id::{AgentId, CompanyId, GoalId, RunId, TaskId, WakeupId};
use wakeful_domain::lane::{BATCH_BYTES_MAX, BATCH_WAKEUPS_MAX};
use wakeful_domain::project::Project;
use wakeful_domain::run::Run;
use wakeful_domain::session::KnownSession;
use wakeful_domain::task::{Task, TaskStatus};
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{GOAL_KEY, Source, Wakeup};
use wakeful_domain::worktree::Worktree;

use crate::ops::run_events::NewRunEvent;
use crate::ops::{
    agents, budget_holds, checkpoints, comments, companies, events, goals, guards, projects, quiet_hours, ready,
    run_events, runs, sessions, spending, subscriptions, tasks, timers, wakeups, worktrees,
};
use crate::value::task_key;
use crate::{Error, Refusal, Tx};

/// What the claimer brings.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    pub now: Timestamp,
    /// The id the run will have.
    pub run: RunId,
    /// SHA-256 of the token the run will have.
    pub token_hash: String,
}

/// A run that has been claimed, with all that starting it needs.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub run: Run,
    pub agent: Agent,
    pub company: Company,
    pub task: Option<Task>,
    /// What was said about the task since the lane's last run.
    pub comments: Vec<Comment>,
    /// The tasks that it is a part of, its parent first.
    pub ancestors: Vec<Task>,
    /// What the task is for: its goal, and those above it; the goal to be broken down, if that is asked.
    pub goals: Vec<Goal>,
    /// Where the task is worked on.
    pub project: Option<Project>,
    /// What was made for the lane, if the task asks for it.
    pub worktree: Option<Worktree>,
    pub wakeups: Vec<Wakeup>,
    pub session: Option<KnownSession>,
    /// What an earlier run of the lane noted down.
    pub checkpoint: Option<Json>,
}

/// Claims the best ready lanes, one for each request, until nothing more may start.
pub async fn claim_some(tx: &mut Tx, requests: &[ClaimRequest]) -> Result<Vec<Claimed>, Refusal> {
    let mut claimed = Vec::new();
    for request in requests {
        match claim(tx, request).await? {
            Some(run) => claimed.push(run),
            None => break,
        }
    }
    Ok(claimed)
}

/// Lanes found empty in one transaction before it gives up; the sweep repairs the rest.
const TRIES_MAX: usize = 8;

/// Claims the best ready lane; `None` when nothing may start.
pub async fn claim(tx: &mut Tx, request: &ClaimRequest) -> Result<Option<Claimed>, Refusal> {
    let mut tries = 0;
    while tries < TRIES_MAX {
        tries += 1;
        let Some((company, agent, task)) = pick(tx).await? else { return Ok(None) };
        if let Some(task) = task
            && !(ready::try_lock_task(tx, task).await? && subscriptions::waiting::try_lock_of_task(tx, task).await?)
        {
            return Ok(None);
        }
        if let Some(id) = task
            && tasks::get(tx, id).await?.held_by.is_some()
        {
            // The index says otherwise; only a bug of ours makes it.
            ready::refresh(tx, company, agent, task).await?;
            continue;
        }
        let agent = agents::get_locked(tx, agent).await?;
        if quiet_hours::hold_back(tx, company, agent.id, task, &agent.heartbeat, request.now).await? {
            ready::refresh(tx, company, agent.id, task).await?;
            // It leaves the index for good, so however many there are, none is looked at twice.
            tries -= 1;
            continue;
        }
        if budget_holds::hold_back(tx, request.now, company, agent.id, task).await? {
            ready::refresh(tx, company, agent.id, task).await?;
            // As above.
            tries -= 1;
            continue;
        }
        match batch(tx, request.now, agent.id, task).await? {
            Some(batch) if may_start(&agent) => {
                if !count_up(tx, company, agent.id).await? {
                    // Another claim has filled the company; it leaves the index, others stay.
                    ready::refresh_company(tx, company).await?;
                    continue;
                }
                return start(tx, request, agent, task, &batch).await.map(Some);
            }
            // Nothing eligible after all: put the index right and look again.
            Some(_) => ready::refresh(tx, company, agent.id, task).await?,
            None => {
                // The index knows no time: what has expired stands in it until it is marked so.
                timers::expire_lane(tx, request.now, agent.id, task).await?;
                ready::refresh(tx, company, agent.id, task).await?;
            }
        }
    }
    Ok(None)
}

const PICK_COMPANY: &str = "
    select id
    from companies
    where ready_rank is not null
    order by live_runs, ready_rank, id
    limit 1";
const PICK_AGENT: &str = "
    select id
    from agents
    where company_id = $1
      and ready_rank is not null
    order by ready_rank, id
    limit 1
    {skip_locked}";
const PICK_LANE: &str = "
    select task_id
    from lanes
    where agent_id = $1
      and ready_rank is not null
    order by ready_rank, task_id
    limit 1";

/// Fair between companies (least live runs first), then the smallest rank.
async fn pick(tx: &mut Tx) -> Result<Option<(CompanyId, AgentId, Option<TaskId>)>, Error> {
    let Some(mut company) = tx.query_first(PICK_COMPANY, &[]).await? else { return Ok(None) };
    let company: CompanyId = company.get()?;
    let Some(mut agent) = tx.query_first(PICK_AGENT, &[company.into()]).await? else { return Ok(None) };
    let agent: AgentId = agent.get()?;
    let Some(mut lane) = tx.query_first(PICK_LANE, &[agent.into()]).await? else { return Ok(None) };
    Ok(Some((company, agent, lane.task()?)))
}

fn may_start(agent: &Agent) -> bool {
    agent.state == AgentState::Active && agent.quota_until.is_none() && agent.live_runs < agent.max_concurrent_runs
}

const COUNT_AGENT: &str = "update agents set live_runs = live_runs + 1 where id = $1";
const COUNT_COMPANY: &str = "
    update companies
    set live_runs = live_runs + 1
    where id = $1
      and state = 'active'
      and live_runs < max_concurrent_runs";

/// Takes a place under both caps; tells whether there was one.
async fn count_up(tx: &mut Tx, company: CompanyId, agent: AgentId) -> Result<bool, Error> {
    if tx.execute(COUNT_COMPANY, &[company.into()]).await? == 0 {
        return Ok(false);
    }
    tx.execute(COUNT_AGENT, &[agent.into()]).await?;
    Ok(true)
}

const CANDIDATES: &str = "
    select id, rank, octet_length(payload) + octet_length(context)
    from wakeups
    where agent_id = $1
      and task_id = $2
      and status = 'pending'
      and eligible = 1
      and (expires_at is null or expires_at > $3)
    order by rank, id
    limit $4";

/// The wakeups that go into the batch: all from the best one to the last that fits.
struct Batch {
    lead: WakeupId,
    last: WakeupId,
    last_rank: i64,
}

async fn batch(tx: &mut Tx, now: Timestamp, agent: AgentId, task: Option<TaskId>) -> Result<Option<Batch>, Error> {
    let parameters = [agent.into(), task_key(task), now.into(), BATCH_WAKEUPS_MAX.into()];
    let mut batch: Option<Batch> = None;
    let mut bytes = 0;
    for mut row in tx.query(CANDIDATES, &parameters).await? {
        let (id, rank, size): (WakeupId, i64, i64) = (row.get()?, row.get()?, row.get()?);
        bytes += size;
        match &mut batch {
            None => batch = Some(Batch { lead: id, last: id, last_rank: rank }),
            Some(batch) if bytes <= BATCH_BYTES_MAX => (batch.last, batch.last_rank) = (id, rank),
            Some(_) => break,
        }
    }
    Ok(batch)
}

const RAISE_FENCE: &str = "
    update lanes
    set fence = fence + 1,
      live_run_id = $3
    where agent_id = $1
      and task_id = $2
      and live_run_id is null
    returning fence";
const CLAIM_WAKEUPS: &str = "
    update wakeups
    set status = 'claimed',
      run_id = $4,
      attempt = attempt + 1,
      lead = case when id = $5 then 1 else 0 end
    where agent_id = $1
      and task_id = $2
      and status = 'pending'
      and eligible = 1
      and (expires_at is null or expires_at > $3)
      and (rank < $6 or (rank = $6 and id <= $7))";
const KEEP_BATCH: &str = "
    insert into batches (run_id, wakeup_id, lead)
    select run_id, id, lead
    from wakeups
    where run_id = $1
      and status = 'claimed'";
const TELL_CLAIMED: &str = "
    insert into events (company_id, at, type, subject, data)
    select company_id, $2, 'wakeup.claimed', id, $3
    from wakeups
    where run_id = $1
      and status = 'claimed'
    order by requested_at, id";
const TO_IN_PROGRESS: &str = "
    update tasks
    set status = 'in_progress',
      updated_at = $3
    where id = $1
      and assignee_id = $2
      and status = 'todo'";

async fn start(
    tx: &mut Tx,
    request: &ClaimRequest,
    agent: Agent,
    task: Option<TaskId>,
    batch: &Batch,
) -> Result<Claimed, Refusal> {
    let run = request.run;
    let raised = tx.query_first(RAISE_FENCE, &[agent.id.into(), task_key(task), run.into()]).await?;
    let Some(mut raised) = raised else {
        return Err(Refusal::conflict("lane_busy", "the lane has a live run already", Json::Null));
    };
    let fence: i64 = raised.get()?;
    let mut is_taken_up = false;
    if let Some(task) = task {
        if !tasks::hold(tx, task, run).await? {
            return Err(Refusal::conflict("task_held", "another run holds the task", Json::Null));
        }
        is_taken_up = tx.execute(TO_IN_PROGRESS, &[task.into(), agent.id.into(), request.now.into()]).await? > 0;
        if is_taken_up {
            let data = object!({ "status": "in_progress", "assignee": agent.id, "run": run });
            events::append(tx, agent.company, request.now, "task.updated", &task.to_string(), &data).await?;
        }
        ready::refresh_task(tx, agent.company, task, agent.id).await?;
    }
    let parameters = [
        agent.id.into(),
        task_key(task),
        request.now.into(),
        run.into(),
        batch.lead.into(),
        batch.last_rank.into(),
        batch.last.into(),
    ];
    tx.execute(CLAIM_WAKEUPS, &parameters).await?;
    tx.execute(KEEP_BATCH, &[run.into()]).await?;
    let wakeups = wakeups::of_run(tx, run).await?;
    runs::insert(tx, request, &agent, task, fence, wakeups.iter().find(|wakeup| wakeup.lead)).await?;
    ready::refresh(tx, agent.company, agent.id, task).await?;
    let data = object!({ "run": run, "agent": agent.id });
    tx.execute(TELL_CLAIMED, &[run.into(), request.now.into(), data.to_string().into()]).await?;
    if wakeups.iter().any(|wakeup| wakeup.depth > 0) {
        guards::count_run(tx, request.now, run).await?;
    }
    tell_starting(tx, request, &agent, wakeups.len()).await?;
    let place = place(tx, run, agent.id, task, &wakeups).await?;
    if let Some(task) = place.task.as_ref().filter(|_| is_taken_up) {
        let by = (&Actor::agent(agent.id), Some(run));
        subscriptions::happening::status_changed(tx, request.now, task, TaskStatus::Todo, by).await?;
    }
    let run = runs::get(tx, run).await?;
    spending::claimed(tx, request.now, &run).await?;
    Ok(Claimed {
        run,
        company: companies::get(tx, agent.company).await?,
        comments: place.comments,
        ancestors: place.ancestors,
        goals: place.goals,
        project: place.project,
        worktree: place.worktree,
        task: place.task,
        session: sessions::find(tx, &agent, task).await?,
        checkpoint: checkpoints::latest_of_lane(tx, agent.id, task).await?,
        wakeups,
        agent,
    })
}

/// A task, what is said about it, what it is for and where it is worked on.
#[derive(Debug, Default)]
pub struct Place {
    pub task: Option<Task>,
    pub comments: Vec<Comment>,
    pub ancestors: Vec<Task>,
    pub goals: Vec<Goal>,
    pub project: Option<Project>,
    pub worktree: Option<Worktree>,
}

/// The task of a run's lane, what is said about it, what it is for and where it is worked on, as it is when the run is
/// claimed: what changes later changes nothing for the run. A task without a goal serves that of the nearest one above.
pub async fn place(
    tx: &mut Tx,
    run: RunId,
    agent: AgentId,
    task: Option<TaskId>,
    wakeups: &[Wakeup],
) -> Result<Place, Error> {
    let goal = wakeups.iter().find_map(goal_of);
    let mut chain = match task {
        Some(id) => tasks::chain(tx, id).await?,
        None => Vec::new(),
    };
    let goals = match goal.or_else(|| chain.iter().find_map(|task| task.goal)) {
        Some(goal) => goals::chain(tx, goal).await?,
        None => Vec::new(),
    };
    let (Some(id), false) = (task, chain.is_empty()) else { return Ok(Place { goals, ..Place::default() }) };
    let task = chain.remove(0);
    let project = match task.project {
        Some(project) => projects::find(tx, project).await?,
        None => None,
    };
    let worktree = match task.workspace.worktree {
        true => worktrees::find(tx, agent, id).await?,
        false => None,
    };
    let comments = comments::since_last_run(tx, agent, id, run).await?;
    Ok(Place { task: Some(task), comments, ancestors: chain, goals, project, worktree })
}

/// The goal that a wakeup asks to be broken down.
fn goal_of(wakeup: &Wakeup) -> Option<GoalId> {
    let named = wakeup.context.get(GOAL_KEY).filter(|_| wakeup.source == Source::Goal)?;
    named.as_str()?.parse().ok()
}

async fn tell_starting(tx: &mut Tx, request: &ClaimRequest, agent: &Agent, count: usize) -> Result<(), Error> {
    let data = object!({ "agent": agent.id, "wakeups": count });
    events::append(tx, agent.company, request.now, "run.starting", &request.run.to_string(), &data).await?;
    let told = match count {
        1 => "claimed with 1 wakeup".to_owned(),
        count => format!("claimed with {count} wakeups"),
    };
    run_events::append(tx, request.run, request.now, &NewRunEvent::plain("starting", told, data)).await
}
