//! Sessions: one row per (agent, adapter, lane), so that the next run of the lane resumes it.

use wakeful_domain::agent::Agent;
use wakeful_domain::id::{AgentId, RunId, TaskId};
use wakeful_domain::outcome::{SessionChange, SessionState};
use wakeful_domain::run::Workspace;
use wakeful_domain::session::{ENDED_BY_ADAPTER, ENDED_BY_OPERATOR, ENDED_BY_SILENCE, KnownSession, Start};
use wakeful_domain::time::Timestamp;

use crate::ops::agents::adapter_type;
use crate::value::{json, task_key};
use crate::{Error, Refusal, Tx, Value};

/// A session as it is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    pub adapter: String,
    pub task: Option<TaskId>,
    pub display_id: String,
    pub last_run: RunId,
    pub last_error: Option<String>,
    pub turns: i64,
    pub tokens: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

const FIND: &str = "
    select params, display_id, turns, tokens, created_at, last_run_id, ended_because,
      (select workspace from runs where runs.id = sessions.last_run_id)
    from sessions
    where agent_id = $1
      and adapter = $2
      and task_id = $3";

/// The lane's session, whether or not it is to be resumed.
pub(crate) async fn find(tx: &mut Tx, agent: &Agent, task: Option<TaskId>) -> Result<Option<KnownSession>, Error> {
    let parameters = [agent.id.into(), adapter_type(&agent.adapter).into(), task_key(task)];
    let Some(mut row) = tx.query_first(FIND, &parameters).await? else { return Ok(None) };
    Ok(Some(KnownSession {
        state: SessionState { params: row.json()?, display_id: row.get()? },
        turns: row.get()?,
        tokens: row.get()?,
        created_at: row.get()?,
        last_run: row.get()?,
        ended_because: row.get()?,
        cwd: row.json_option::<Workspace>()?.map(|workspace| workspace.cwd),
    }))
}

/// What the end of a run brings to its lane's session.
#[derive(Debug)]
pub(crate) struct SessionEnd<'a> {
    pub agent: AgentId,
    pub adapter: &'a str,
    pub task: Option<TaskId>,
    pub run: RunId,
    pub change: &'a SessionChange,
    /// How the run began; none if it never did.
    pub start: Option<Start>,
    pub succeeded: bool,
    pub error: Option<&'a str>,
    pub tokens: i64,
    pub now: Timestamp,
}

const END: &str = "
    update sessions
    set ended_because = $4,
      updated_at = $5
    where agent_id = $1
      and adapter = $2
      and task_id = $3
      and ended_because is null";
const NOTE_ERROR: &str = "
    update sessions
    set last_error = $4,
      updated_at = $5
    where agent_id = $1
      and adapter = $2
      and task_id = $3";
const NOTE_RUN: &str = "
    update sessions
    set last_run_id = $4,
      last_error = $5,
      turns = turns + 1,
      tokens = tokens + $6,
      updated_at = $7
    where agent_id = $1
      and adapter = $2
      and task_id = $3";
const PUT: &str = "
    insert into sessions (agent_id, adapter, task_id, params, display_id, last_run_id, last_error, turns, tokens,
      created_at, updated_at)
    values ($1, $2, $3, $8, $9, $4, $5, 1, $6, $7, $7)
    on conflict (agent_id, adapter, task_id) do update
    set params = excluded.params,
      display_id = excluded.display_id,
      last_run_id = excluded.last_run_id,
      last_error = excluded.last_error,
      turns = case when {goes_on} then sessions.turns + 1 else 1 end,
      tokens = case when {goes_on} then sessions.tokens + excluded.tokens else excluded.tokens end,
      created_at = case when {goes_on} then sessions.created_at else excluded.created_at end,
      ended_because = null,
      updated_at = excluded.updated_at";
/// An agent may give each session the same name: only one that was resumed goes on.
const GOES_ON: &str = "$10 = 1 and sessions.display_id = excluded.display_id and sessions.ended_because is null";

/// Carries the end of a run into its lane's session.
pub(crate) async fn end_run(tx: &mut Tx, end: &SessionEnd<'_>) -> Result<(), Error> {
    let key = [end.agent.into(), end.adapter.into(), task_key(end.task)];
    match end.change {
        SessionChange::Clear => {
            let [agent, adapter, task] = key;
            tx.execute(END, &[agent, adapter, task, ENDED_BY_ADAPTER.into(), end.now.into()]).await?;
        }
        SessionChange::Keep => keep(tx, end, key).await?,
        SessionChange::Set(session) => {
            let [agent, adapter, task] = key;
            let row = [
                agent,
                adapter,
                task,
                end.run.into(),
                end.error.into(),
                end.tokens.into(),
                end.now.into(),
                json(&session.params),
                (&session.display_id).into(),
                (end.start.is_none_or(|start| start == Start::Resumed)).into(),
            ];
            tx.execute(&PUT.replace("{goes_on}", GOES_ON), &row).await?;
        }
    }
    Ok(())
}

/// The run said nothing about its session: what is known stays, unless the run has worked without it.
async fn keep(tx: &mut Tx, end: &SessionEnd<'_>, key: [Value<'_>; 3]) -> Result<(), Error> {
    let [agent, adapter, task] = key;
    match end.start {
        Some(Start::Resumed) => {
            let note = [agent, adapter, task, end.run.into(), end.error.into(), end.tokens.into(), end.now.into()];
            tx.execute(NOTE_RUN, &note).await?;
        }
        Some(Start::Fresh | Start::Rotated) if end.succeeded => {
            tx.execute(END, &[agent, adapter, task, ENDED_BY_SILENCE.into(), end.now.into()]).await?;
        }
        Some(Start::Fresh | Start::Rotated) | None => {
            tx.execute(NOTE_ERROR, &[agent, adapter, task, end.error.into(), end.now.into()]).await?;
        }
    }
    Ok(())
}

const OF_AGENT: &str = "
    select adapter, task_id, display_id, last_run_id, last_error, turns, tokens, created_at, updated_at
    from sessions
    where agent_id = $1
      and ended_because is null
    order by updated_at desc
    limit 200";

/// The newest 200 sessions of an agent that may be resumed.
pub async fn of_agent(tx: &mut Tx, agent: AgentId) -> Result<Vec<Session>, Refusal> {
    let mut sessions = Vec::new();
    for mut row in tx.query(OF_AGENT, &[agent.into()]).await? {
        sessions.push(Session {
            adapter: row.get()?,
            task: row.task()?,
            display_id: row.get()?,
            last_run: row.get()?,
            last_error: row.get()?,
            turns: row.get()?,
            tokens: row.get()?,
            created_at: row.get()?,
            updated_at: row.get()?,
        });
    }
    Ok(sessions)
}

const RESET_LANE: &str = "
    update sessions
    set ended_because = $2,
      updated_at = $3
    where agent_id = $1
      and task_id = $4
      and ended_because is null";
const RESET_ALL: &str = "
    update sessions
    set ended_because = $2,
      updated_at = $3
    where agent_id = $1
      and ended_because is null";

/// Ends the sessions of one lane, or of all lanes of an agent; tells how many there were. The next run says why it
/// starts afresh.
pub async fn reset(tx: &mut Tx, now: Timestamp, agent: AgentId, lane: Option<Option<TaskId>>) -> Result<u64, Refusal> {
    let reason = ENDED_BY_OPERATOR;
    Ok(match lane {
        Some(task) => tx.execute(RESET_LANE, &[agent.into(), reason.into(), now.into(), task_key(task)]).await?,
        None => tx.execute(RESET_ALL, &[agent.into(), reason.into(), now.into()]).await?,
    })
}
