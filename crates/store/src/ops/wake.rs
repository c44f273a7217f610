//! Accepting a wake: find the agent → idempotency → policy → insert → event, in one transaction.
//! The caller answers only after its commit.

use serde_json::{Map, Value as Json, json as object};
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::{AgentState, Heartbeat};
use wakeful_domain::id::{AgentId, CompanyId, RunId, TaskId, WakeupId};
use wakeful_domain::retry::RetryPolicy;
use wakeful_domain::run::RunFence;
use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::{Source, Wakeup, WakeupStatus, rank};

use crate::ops::tasks::TaskBrief;
use crate::ops::{budget_holds, events, guards, quiet_hours, ready, runs, tasks, wake_keys, wakeups};
use crate::value::{json, task_key};
use crate::{Error, Refusal, Tx, Value};

/// A request to wake an agent.
#[derive(Debug, Clone)]
pub struct Wake {
    pub id: WakeupId,
    /// The agent must belong to it, if given.
    pub company: Option<CompanyId>,
    pub agent: AgentId,
    pub task: Option<TaskId>,
    pub source: Source,
    pub trigger_detail: Option<String>,
    pub reason: Option<String>,
    pub priority: Option<i64>,
    pub payload: Map<String, Json>,
    pub context: Map<String, Json>,
    pub actor: Actor,
    pub idempotency_key: Option<String>,
    /// Tells requests under one key apart.
    pub request_hash: Option<String>,
    pub now: Timestamp,
    /// Later than now, if at all.
    pub due_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub max_attempts: Option<i64>,
    /// The run whose token asked for it: its cause.
    pub by_run: Option<RunFence>,
    pub maker: Maker,
}

/// Who makes a wake. Only a request is refused because of the agent's state; what Wakeful makes itself waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Maker {
    /// A caller of a wake route.
    #[default]
    Request,
    /// Wakeful: an assignment, a dependency, …
    Wakeful,
    /// Wakeful, because of what a run did or how it ended: it goes on in that run's chain, live or not. `is_asked` if
    /// the run asked for this by name: then it may be for its own lane.
    After { run: RunId, is_asked: bool },
    /// Wakeful, in the stead of a wakeup that its agent can no longer take: it goes on in that one's chain.
    InStead(WakeupId),
}

/// What became of the request.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    pub wakeup: Wakeup,
    /// False when an earlier wakeup was returned in its stead.
    pub is_new: bool,
}

/// Accepts a wake, or refuses it without a trace.
pub async fn accept(tx: &mut Tx, wake: &Wake) -> Result<Accepted, Refusal> {
    // The task too, so that whoever holds or releases it meanwhile finds this lane, or is found by it.
    ready::lock(tx, wake.task.into_iter().collect(), vec![wake.agent]).await?;
    accept_held(tx, wake).await
}

/// The same for one that has locked the agent and the task already.
pub(crate) async fn accept_held(tx: &mut Tx, wake: &Wake) -> Result<Accepted, Refusal> {
    let agent = Target::of(tx, wake.agent).await?;
    if wake.company.is_some_and(|company| company != agent.company) {
        return Err(Refusal::not_found(wake.agent));
    }
    if let Some(earlier) = wake_keys::earlier(tx, agent.company, wake).await? {
        return Ok(Accepted { wakeup: earlier, is_new: false });
    }
    if wake.maker == Maker::Request {
        refuse_by_state(&agent)?;
    }
    let lane = Lane::of(tx, &agent, wake.task).await?;
    let cause = Cause::of(tx, wake).await?;
    let task = match wake.task {
        Some(task) => tasks::brief(tx, task).await?.filter(|task| task.company == agent.company),
        None => None,
    };
    let mut wakeup = draft(&agent, wake, &cause, task.as_ref());
    if let Some(reason) = skip_reason(tx, &agent, wake, &cause, task.as_ref()).await? {
        wakeup.status = WakeupStatus::Skipped;
        wakeup.status_reason = Some(reason.to_owned());
        wakeup.finished_at = Some(wake.now);
        return settled(tx, wakeup, wake, "wakeup.skipped").await;
    }
    if wake.source == Source::Timer {
        if let Some(waiting) = pending_timer(tx, &wakeup).await? {
            wake_keys::keep_counted(tx, wake, &waiting).await?;
            return Ok(Accepted { wakeup: waiting, is_new: false });
        }
        if let Some(run) = lane.as_ref().and_then(|lane| lane.live_run) {
            if let Some(satisfied) = satisfied_timer(tx, run).await? {
                wake_keys::keep_counted(tx, wake, &satisfied).await?;
                return Ok(Accepted { wakeup: satisfied, is_new: false });
            }
            wakeup.status = WakeupStatus::Coalesced;
            wakeup.status_reason = Some("lane_live".to_owned());
            wakeup.run = Some(run);
            wakeup.finished_at = Some(wake.now);
            return settled(tx, wakeup, wake, "wakeup.coalesced").await;
        }
    }
    if lane.is_none() {
        make_lane(tx, &agent, wake.task).await?;
    }
    let closed_until = match wake.source {
        Source::Timer => quiet_hours::closed_until(tx, agent.company, &agent.heartbeat, wakeup.due_at).await?,
        _ => None,
    };
    let eligible_at = closed_until.unwrap_or(wakeup.due_at);
    insert(tx, &wakeup, eligible_at, wake.request_hash.as_deref()).await?;
    let data =
        object!({ "agent": agent.id, "source": wakeup.source, "reason": wakeup.reason, "due_at": wakeup.due_at });
    events::append(tx, agent.company, wake.now, "wakeup.accepted", &wakeup.id.to_string(), &data).await?;
    if lane.as_ref().is_some_and(|lane| lane.budget.is_some()) {
        budget_holds::decide_again(tx, agent.id, wake.task).await?;
    }
    let stands_first = lane.is_none_or(|lane| lane.could_lead(rank(wakeup.due_at, wakeup.priority)));
    if stands_first && eligible_at <= wake.now {
        ready::refresh(tx, agent.company, agent.id, wake.task).await?;
    }
    Ok(Accepted { wakeup, is_new: true })
}

const TARGET: &str = "
    select id, company_id, name, state, heartbeat, retry
    from agents
    where id = $1";

/// What accepting needs to know of the agent: little, since most wakes come to the same few.
struct Target {
    id: AgentId,
    company: CompanyId,
    name: String,
    state: AgentState,
    heartbeat: Heartbeat,
    attempts_max_default: i64,
}

impl Target {
    async fn of(tx: &mut Tx, id: AgentId) -> Result<Target, Refusal> {
        let Some(mut row) = tx.query_first(TARGET, &[id.into()]).await? else { return Err(Refusal::not_found(id)) };
        Ok(Target {
            id: row.get()?,
            company: row.get()?,
            name: row.get()?,
            state: row.name()?,
            heartbeat: row.json()?,
            attempts_max_default: row.json::<RetryPolicy>()?.attempts_max_default(),
        })
    }
}

/// Accepts many wakes in one transaction. A refused one leaves no trace and does not touch the others;
/// an error of the store ends them all.
pub async fn accept_all(tx: &mut Tx, wakes: &[Wake]) -> Result<Vec<Result<Accepted, Refusal>>, Refusal> {
    let tasks = wakes.iter().filter_map(|wake| wake.task).collect();
    ready::lock(tx, tasks, wakes.iter().map(|wake| wake.agent).collect()).await?;
    let mut answers = Vec::with_capacity(wakes.len());
    for wake in wakes {
        match accept_held(tx, wake).await {
            Err(Refusal::Store(error)) => return Err(error.into()),
            answer => answers.push(answer),
        }
    }
    Ok(answers)
}

async fn settled(tx: &mut Tx, wakeup: Wakeup, wake: &Wake, event: &str) -> Result<Accepted, Refusal> {
    insert(tx, &wakeup, wakeup.due_at, wake.request_hash.as_deref()).await?;
    let data = object!({ "agent": wakeup.agent, "source": wakeup.source, "reason": wakeup.status_reason });
    events::append(tx, wakeup.company, wake.now, event, &wakeup.id.to_string(), &data).await?;
    Ok(Accepted { wakeup, is_new: true })
}

fn refuse_by_state(agent: &Target) -> Result<(), Refusal> {
    let remedy = match agent.state {
        AgentState::Active => return Ok(()),
        AgentState::Paused => "resume it first",
        AgentState::PendingApproval => "approve it first",
        AgentState::Terminated => "wake another agent",
    };
    Err(Refusal::conflict(
        "agent_not_wakeable",
        format!("agent `{}` is {}: {remedy}", agent.name, agent.state.as_str().replace('_', " ")),
        object!({ "state": agent.state, "agent": agent.id }),
    ))
}

/// Where a wake comes from, when a run asked for it.
struct Cause {
    cause_id: Option<String>,
    root_id: WakeupId,
    depth: i64,
    /// The lane of the run that asked.
    by_lane: Option<(AgentId, Option<TaskId>)>,
}

/// Of all that a run was started for: one wake from outside among them does not make a chain any shorter.
const LONGEST_CHAIN: &str = "
    select wakeups.root_id, wakeups.depth
    from batches
    join wakeups on wakeups.id = batches.wakeup_id
    where batches.run_id = $1
    order by wakeups.depth desc, batches.lead desc, wakeups.id
    limit 1";

impl Cause {
    async fn of(tx: &mut Tx, wake: &Wake) -> Result<Cause, Refusal> {
        let alone = Cause { cause_id: None, root_id: wake.id, depth: 0, by_lane: None };
        if let Maker::InStead(earlier) = wake.maker {
            return Ok(match wakeups::find(tx, earlier).await? {
                Some(earlier) => {
                    let cause_id = Some(earlier.id.to_string());
                    Cause { cause_id, root_id: earlier.root_id, depth: earlier.depth, by_lane: None }
                }
                // Kept for an assignee for longer than it was kept itself.
                None => alone,
            });
        }
        let (run, is_asked) = match (wake.maker, wake.by_run) {
            (Maker::After { run, is_asked }, _) => match runs::find(tx, run).await? {
                Some(run) => (run, is_asked),
                None => return Ok(alone),
            },
            (_, Some(RunFence { run, fence })) => (runs::get_live(tx, run, fence).await?, false),
            (_, None) => return Ok(alone),
        };
        let (root_id, depth) = match tx.query_first(LONGEST_CHAIN, &[run.id.into()]).await? {
            Some(mut row) => (row.get()?, row.get::<i64>()? + 1),
            None => (wake.id, 0),
        };
        let cause_id = Some(run.id.to_string());
        let by_lane = (!is_asked).then_some((run.agent, run.task));
        Ok(Cause { cause_id, root_id, depth, by_lane })
    }
}

async fn skip_reason(
    tx: &mut Tx,
    agent: &Target,
    wake: &Wake,
    cause: &Cause,
    task: Option<&TaskBrief>,
) -> Result<Option<&'static str>, Refusal> {
    if agent.state == AgentState::Terminated {
        return Ok(Some("agent_terminated"));
    }
    if let Some(reason) = agent.heartbeat.declines(wake.source) {
        return Ok(Some(reason));
    }
    if matches!(wake.maker, Maker::InStead(_)) {
        // It was accepted once; only its agent is another.
        return Ok(None);
    }
    match task {
        None if wake.task.is_some() => return Ok(Some("task_not_found")),
        Some(task) if task.status.is_closed() => return Ok(Some("task_closed")),
        Some(_) | None => {}
    }
    // A run may ask for its own lane by name: at a later time.
    if cause.by_lane == Some((agent.id, wake.task)) && wake.due_at.is_none_or(|at| at <= wake.now) {
        return Ok(Some("self_caused"));
    }
    let Some(why) = guards::loop_of(tx, wake.now, agent.company, cause.root_id, cause.depth).await? else {
        return Ok(None);
    };
    guards::raise_loop(tx, wake.now, agent.company, wake.id, cause.root_id, &why).await?;
    Ok(Some("loop_limit"))
}

fn draft(agent: &Target, wake: &Wake, cause: &Cause, task: Option<&TaskBrief>) -> Wakeup {
    let mut context = wake.context.clone();
    fill_comments(&mut context, &wake.payload);
    fill(&mut context, "source", Some(wake.source.as_str()));
    fill(&mut context, "reason", wake.reason.as_deref());
    fill(&mut context, "trigger_detail", wake.trigger_detail.as_deref());
    fill(&mut context, "task", wake.task.map(|task| task.to_string()).as_deref());
    fill(&mut context, "task_key", task.map(|task| task.key.as_str()));
    Wakeup {
        id: wake.id,
        company: agent.company,
        agent: agent.id,
        task: wake.task,
        source: wake.source,
        trigger_detail: wake.trigger_detail.clone(),
        reason: wake.reason.clone(),
        count: 1,
        priority: wake.priority.unwrap_or_else(|| wake.source.default_priority()),
        payload: Json::Object(wake.payload.clone()),
        context: Json::Object(context),
        actor: wake.actor.clone(),
        idempotency_key: wake.idempotency_key.clone(),
        cause_id: cause.cause_id.clone(),
        root_id: cause.root_id,
        depth: cause.depth,
        requested_at: wake.now,
        due_at: wake.due_at.unwrap_or(wake.now).max(wake.now),
        expires_at: wake.expires_at,
        status: WakeupStatus::Pending,
        status_reason: None,
        run: None,
        lead: false,
        attempt: 0,
        max_attempts: wake.max_attempts.unwrap_or(agent.attempts_max_default),
        error_code: None,
        error: None,
        finished_at: None,
    }
}

/// What the caller left empty is filled; nothing is overwritten.
fn fill(context: &mut Map<String, Json>, key: &str, value: Option<&str>) {
    let is_empty = match context.get(key) {
        None | Some(Json::Null) => true,
        Some(Json::String(text)) => text.trim().is_empty(),
        Some(_) => false,
    };
    if let Some(value) = value.filter(|_| is_empty) {
        context.insert(key.to_owned(), value.into());
    }
}

/// The comments that a wake is about, by their ids, all of them and in order.
fn fill_comments(context: &mut Map<String, Json>, payload: &Map<String, Json>) {
    let is_named = context.get("comment_ids").and_then(Json::as_array).is_some_and(|ids| !ids.is_empty());
    if is_named {
        return;
    }
    let one = [context.get("comment_id"), payload.get("comment_id")];
    let many = payload.get("comment_ids").and_then(Json::as_array);
    let mut ids: Vec<Json> = Vec::new();
    for id in one.into_iter().flatten().chain(many.into_iter().flatten()) {
        if id.as_str().is_some_and(|id| !id.trim().is_empty()) && !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    if !ids.is_empty() {
        context.insert("comment_ids".to_owned(), Json::Array(ids));
    }
}

const LANE: &str = "
    select live_run_id, ready_rank, budget_id
    from lanes
    where agent_id = $1
      and task_id = $2";
const MAKE_LANE: &str = "
    insert into lanes (agent_id, task_id, company_id)
    values ($1, $2, $3)
    on conflict (agent_id, task_id) do nothing";

/// What accepting needs to know of the lane.
struct Lane {
    live_run: Option<RunId>,
    ready_rank: Option<i64>,
    /// What keeps it back, if a budget does.
    budget: Option<String>,
}

impl Lane {
    async fn of(tx: &mut Tx, agent: &Target, task: Option<TaskId>) -> Result<Option<Lane>, Error> {
        match tx.query_first(LANE, &[agent.id.into(), task_key(task)]).await? {
            Some(mut row) => Ok(Some(Lane { live_run: row.get()?, ready_rank: row.get()?, budget: row.get()? })),
            None => Ok(None),
        }
    }

    /// Whether a wakeup of this rank may change the lane's place in the hot index.
    fn could_lead(&self, rank: i64) -> bool {
        self.live_run.is_none() && self.ready_rank.is_none_or(|best| rank < best)
    }
}

async fn make_lane(tx: &mut Tx, agent: &Target, task: Option<TaskId>) -> Result<(), Error> {
    tx.execute(MAKE_LANE, &[agent.id.into(), task_key(task), agent.company.into()]).await?;
    Ok(())
}

const COUNT_TIMER: &str = "
    update wakeups
    set count = count + 1
    where agent_id = $1
      and task_id = $2
      and source = 'timer'
      and status = 'pending'
    returning id";

/// A lane has at most one pending timer wakeup: a later tick is counted on it.
async fn pending_timer(tx: &mut Tx, wakeup: &Wakeup) -> Result<Option<Wakeup>, Refusal> {
    match tx.query_first(COUNT_TIMER, &[wakeup.agent.into(), task_key(wakeup.task)]).await? {
        Some(mut row) => Ok(Some(wakeups::get(tx, row.get()?).await?)),
        None => Ok(None),
    }
}

const COUNT: &str = "
    update wakeups
    set count = count + 1
    where id = $1";

/// Counts one more that a wakeup stands for.
pub(crate) async fn count(tx: &mut Tx, wakeup: WakeupId) -> Result<(), Error> {
    tx.execute(COUNT, &[wakeup.into()]).await?;
    Ok(())
}

/// Enters a wake for which a live run stands: a row of its own, final whatever becomes of the run.
pub(crate) async fn coalesce(tx: &mut Tx, wake: &Wake, run: RunId) -> Result<WakeupId, Refusal> {
    let agent = Target::of(tx, wake.agent).await?;
    let cause = Cause::of(tx, wake).await?;
    let mut wakeup = draft(&agent, wake, &cause, None);
    wakeup.status = WakeupStatus::Coalesced;
    wakeup.status_reason = Some("overlap".to_owned());
    wakeup.run = Some(run);
    wakeup.finished_at = Some(wake.now);
    settled(tx, wakeup, wake, "wakeup.coalesced").await.map(|accepted| accepted.wakeup.id)
}

const COUNT_SATISFIED: &str = "
    update wakeups
    set count = count + 1
    where run_id = $1
      and status = 'coalesced'
      and source = 'timer'
    returning id";

/// One row counts all the ticks that a live run has satisfied.
async fn satisfied_timer(tx: &mut Tx, run: RunId) -> Result<Option<Wakeup>, Refusal> {
    match tx.query_first(COUNT_SATISFIED, &[run.into()]).await? {
        Some(mut row) => Ok(Some(wakeups::get(tx, row.get()?).await?)),
        None => Ok(None),
    }
}

const INSERT: &str = "
    insert into wakeups (id, company_id, agent_id, task_id, source, trigger_detail, reason, count, priority, payload,
      context, actor_type, actor_id, idempotency_key, request_hash, cause_id, root_id, depth, requested_at, due_at,
      expires_at, status, status_reason, run_id, attempt, max_attempts, finished_at, rank, eligible, eligible_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
      $24, $25, $26, $27, $28, $29, $30)";

async fn insert(tx: &mut Tx, wakeup: &Wakeup, eligible_at: Timestamp, request_hash: Option<&str>) -> Result<(), Error> {
    let is_eligible = eligible_at <= wakeup.requested_at;
    let parameters: [Value<'_>; 30] = [
        wakeup.id.into(),
        wakeup.company.into(),
        wakeup.agent.into(),
        task_key(wakeup.task),
        wakeup.source.as_str().into(),
        (&wakeup.trigger_detail).into(),
        (&wakeup.reason).into(),
        wakeup.count.into(),
        wakeup.priority.into(),
        json(&wakeup.payload),
        json(&wakeup.context),
        crate::value::name(&wakeup.actor.kind),
        (&wakeup.actor.id).into(),
        (&wakeup.idempotency_key).into(),
        request_hash.into(),
        (&wakeup.cause_id).into(),
        wakeup.root_id.into(),
        wakeup.depth.into(),
        wakeup.requested_at.into(),
        wakeup.due_at.into(),
        wakeup.expires_at.into(),
        wakeup.status.as_str().into(),
        (&wakeup.status_reason).into(),
        wakeup.run.into(),
        wakeup.attempt.into(),
        wakeup.max_attempts.into(),
        wakeup.finished_at.into(),
        rank(wakeup.due_at, wakeup.priority).into(),
        is_eligible.into(),
        eligible_at.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    Ok(())
}
