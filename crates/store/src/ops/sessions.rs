//! Sessions: one row per (agent, adapter, lane), so that the next run of the lane resumes it.

use wakeful_domain::agent::Agent;
use wakeful_domain::id::{AgentId, RunId, TaskId};
use wakeful_domain::outcome::{SessionChange, SessionState};
use wakeful_domain::time::Timestamp;

use crate::ops::agents::adapter_type;
use crate::value::{json, task_key};
use crate::{Error, Refusal, Tx};

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
    select params, display_id
    from sessions
    where agent_id = $1
      and adapter = $2
      and task_id = $3";

/// The session that the next run of the lane would resume.
pub(crate) async fn find(tx: &mut Tx, agent: &Agent, task: Option<TaskId>) -> Result<Option<SessionState>, Error> {
    let parameters = [agent.id.into(), adapter_type(&agent.adapter).into(), task_key(task)];
    match tx.query_first(FIND, &parameters).await? {
        Some(mut row) => Ok(Some(SessionState { params: row.json()?, display_id: row.get()? })),
        None => Ok(None),
    }
}

/// What the end of a run brings to its lane's session.
#[derive(Debug)]
pub(crate) struct SessionEnd<'a> {
    pub agent: AgentId,
    pub adapter: &'a str,
    pub task: Option<TaskId>,
    pub run: RunId,
    pub change: &'a SessionChange,
    pub error: Option<&'a str>,
    pub tokens: i64,
    pub now: Timestamp,
}

const CLEAR: &str = "
    delete from sessions
    where agent_id = $1
      and adapter = $2
      and task_id = $3";
const NOTE: &str = "
    update sessions
    set last_run_id = $4,
      last_error = $5,
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
      turns = case when sessions.display_id = excluded.display_id then sessions.turns + 1 else 1 end,
      tokens = case when sessions.display_id = excluded.display_id then sessions.tokens + excluded.tokens else excluded.tokens end,
      created_at = case when sessions.display_id = excluded.display_id then sessions.created_at else excluded.created_at end,
      updated_at = excluded.updated_at";

/// Carries the end of a run into its lane's session.
pub(crate) async fn end_run(tx: &mut Tx, end: &SessionEnd<'_>) -> Result<(), Error> {
    let key = [end.agent.into(), end.adapter.into(), task_key(end.task)];
    match end.change {
        SessionChange::Clear => {
            tx.execute(CLEAR, &key).await?;
        }
        SessionChange::Keep => {
            let [agent, adapter, task] = key;
            let note = [agent, adapter, task, end.run.into(), end.error.into(), end.tokens.into(), end.now.into()];
            tx.execute(NOTE, &note).await?;
        }
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
            ];
            tx.execute(PUT, &row).await?;
        }
    }
    Ok(())
}

const OF_AGENT: &str = "
    select adapter, task_id, display_id, last_run_id, last_error, turns, tokens, created_at, updated_at
    from sessions
    where agent_id = $1
    order by updated_at desc
    limit 200";

/// The newest 200 sessions of an agent.
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

const RESET_LANE: &str = "delete from sessions where agent_id = $1 and task_id = $2";
const RESET_ALL: &str = "delete from sessions where agent_id = $1";

/// Forgets the sessions of one lane, or of all lanes of an agent; tells how many there were.
pub async fn reset(tx: &mut Tx, agent: AgentId, lane: Option<Option<TaskId>>) -> Result<u64, Refusal> {
    Ok(match lane {
        Some(task) => tx.execute(RESET_LANE, &[agent.into(), task_key(task)]).await?,
        None => tx.execute(RESET_ALL, &[agent.into()]).await?,
    })
}
