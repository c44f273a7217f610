//! Worktrees of lanes as rows: what was made where, and what became of it. Git itself is the runner's.

use serde_json::json as object;
use wakeful_domain::id::{AgentId, CompanyId, TaskId};
use wakeful_domain::time::Timestamp;
use wakeful_domain::worktree::{Worktree, WorktreeState};

use crate::ops::events;
use crate::ops::filter::Page;
use crate::value::{json, name};
use crate::{Error, Refusal, Row, Tx};

const COLUMNS: &str = "worktrees.agent_id, worktrees.task_id, worktrees.company_id, worktrees.repository, worktrees.path, \
    worktrees.branch, worktrees.base, worktrees.state, worktrees.state_reason, worktrees.created_at, worktrees.updated_at";

fn read(mut row: Row) -> Result<Worktree, Error> {
    Ok(Worktree {
        agent: row.get()?,
        task: row.get()?,
        company: row.get()?,
        repository: row.get()?,
        path: row.get()?,
        branch: row.get()?,
        base: row.json()?,
        state: row.name()?,
        state_reason: row.get()?,
        created_at: row.get()?,
        updated_at: row.get()?,
    })
}

/// The worktree of a lane, whatever became of it.
pub async fn find(tx: &mut Tx, agent: AgentId, task: TaskId) -> Result<Option<Worktree>, Error> {
    let sql = format!("select {COLUMNS} from worktrees where agent_id = $1 and task_id = $2");
    tx.query_first(&sql, &[agent.into(), task.into()]).await?.map(read).transpose()
}

const PUT: &str = "
    insert into worktrees (agent_id, task_id, company_id, repository, path, branch, base, state, created_at, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, 'active', $8, $8)
    on conflict (agent_id, task_id) do update
    set repository = excluded.repository,
      path = excluded.path,
      branch = excluded.branch,
      base = excluded.base,
      state = 'active',
      state_reason = null,
      updated_at = excluded.updated_at";

/// Notes that the lane works in this worktree.
pub async fn put(tx: &mut Tx, worktree: &Worktree) -> Result<(), Refusal> {
    let parameters = [
        worktree.agent.into(),
        worktree.task.into(),
        worktree.company.into(),
        (&worktree.repository).into(),
        (&worktree.path).into(),
        (&worktree.branch).into(),
        json(&worktree.base),
        worktree.updated_at.into(),
    ];
    tx.execute(PUT, &parameters).await?;
    Ok(())
}

const CLOSED: &str = "
    from worktrees
    join tasks on tasks.id = worktrees.task_id
    left join lanes on lanes.agent_id = worktrees.agent_id and lanes.task_id = worktrees.task_id
    where worktrees.state <> 'removed'
      and tasks.status in ('done', 'cancelled')
      and lanes.live_run_id is null";

/// Worktrees that nothing works in any more: their task is closed and no run of the lane is live. Of those kept,
/// the ones last looked at before `kept_before`.
pub async fn unused(tx: &mut Tx, kept_before: Timestamp, limit: i64) -> Result<Vec<Worktree>, Refusal> {
    let sql = format!(
        "select {COLUMNS} {CLOSED}
           and (worktrees.state = 'active' or worktrees.updated_at < $1)
         order by worktrees.updated_at, worktrees.task_id, worktrees.agent_id
         limit $2"
    );
    let rows = tx.query(&sql, &[kept_before.into(), limit.into()]).await?;
    Ok(rows.into_iter().map(read).collect::<Result<_, _>>()?)
}

/// The same worktree, if nothing works in it still.
pub async fn still_unused(tx: &mut Tx, agent: AgentId, task: TaskId) -> Result<Option<Worktree>, Refusal> {
    let sql = format!("select {COLUMNS} {CLOSED} and worktrees.agent_id = $1 and worktrees.task_id = $2");
    Ok(tx.query_first(&sql, &[agent.into(), task.into()]).await?.map(read).transpose()?)
}

const SET_STATE: &str = "
    update worktrees
    set state = $3,
      state_reason = $4,
      updated_at = $5
    where agent_id = $1
      and task_id = $2";

/// Notes what became of a worktree; an event tells it if it is news.
pub async fn set_state(
    tx: &mut Tx,
    now: Timestamp,
    worktree: &Worktree,
    state: WorktreeState,
    reason: Option<&str>,
    is_news: bool,
) -> Result<(), Refusal> {
    let Worktree { agent, task, company, path, branch, .. } = worktree;
    tx.execute(SET_STATE, &[(*agent).into(), (*task).into(), name(&state), reason.into(), now.into()]).await?;
    if is_news {
        let data = object!({
            "agent": agent, "task": task, "path": path, "branch": branch, "state": state, "reason": reason,
        });
        events::append(tx, *company, now, "worktree.updated", &task.to_string(), &data).await?;
    }
    Ok(())
}

/// A page of a company's worktrees, newest task first. A cursor is `<task>.<agent>`. Removed ones only if asked for.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    state: Option<WorktreeState>,
    cursor: Option<(TaskId, AgentId)>,
    limit: i64,
) -> Result<Page<Worktree>, Refusal> {
    let (task, agent) = cursor.unzip();
    let sql = format!(
        "select {COLUMNS}
         from worktrees
         where company_id = $1
           and (state = $2 or ($2 = '' and state <> 'removed'))
           and ($3 = '' or task_id < $3 or (task_id = $3 and agent_id < $4))
         order by task_id desc, agent_id desc
         limit $5"
    );
    let text = |id: Option<String>| id.unwrap_or_default();
    let parameters = [
        company.into(),
        state.map_or("".into(), |state| name(&state)),
        text(task.map(|task| task.to_string())).into(),
        text(agent.map(|agent| agent.to_string())).into(),
        (limit + 1).into(),
    ];
    let rows = tx.query(&sql, &parameters).await?;
    let mut items = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let has_more = items.len() as i64 > limit;
    items.truncate(usize::try_from(limit).unwrap_or(0));
    let last = items.last().filter(|_| has_more);
    let next_cursor = last.map(|worktree| format!("{}.{}", worktree.task, worktree.agent));
    Ok(Page { items, next_cursor })
}
