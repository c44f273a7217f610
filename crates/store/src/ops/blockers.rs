//! Blockers: the tasks that a task waits for. No cycles.

use wakeful_domain::id::{CompanyId, TaskId};

use crate::ops::ready;
use crate::{Error, Refusal, Tx};

const CLEAR: &str = "delete from task_blockers where task_id = $1";
const ADD: &str = "
    insert into task_blockers (task_id, blocker_id)
    values ($1, $2)
    on conflict (task_id, blocker_id) do nothing";
const BLOCKER: &str = "select 1 from tasks where id = $1 and company_id = $2";
const UPSTREAM: &str = "
    with recursive upstream (id) as (
      select cast($1 as text)
      union
      select task_blockers.blocker_id
      from task_blockers
      join upstream on task_blockers.task_id = upstream.id)
    select 1
    from upstream
    where id = $2";

/// Refuses blockers that are not there or wait for the task themselves. Before the first write of an operation.
pub(crate) async fn check(tx: &mut Tx, company: CompanyId, task: TaskId, blockers: &[TaskId]) -> Result<(), Refusal> {
    if blockers.is_empty() {
        return Ok(());
    }
    // Two changes at once could close a circle that neither sees.
    ready::lock_company(tx, company).await?;
    for (place, blocker) in blockers.iter().enumerate() {
        let field = format!("blocked_by[{place}]");
        if tx.query_first(BLOCKER, &[(*blocker).into(), company.into()]).await?.is_none() {
            return Err(Refusal::invalid(&field, format!("there is no task `{blocker}` in this company")));
        }
        if tx.query_first(UPSTREAM, &[(*blocker).into(), task.into()]).await?.is_some() {
            return Err(Refusal::invalid(
                &field,
                format!("`{blocker}` waits for this task itself: blockers must not form a circle"),
            ));
        }
    }
    Ok(())
}

/// Makes these the blockers of a task, in place of those it had.
pub(crate) async fn set(tx: &mut Tx, task: TaskId, blockers: &[TaskId]) -> Result<(), Error> {
    tx.execute(CLEAR, &[task.into()]).await?;
    for blocker in blockers {
        tx.execute(ADD, &[task.into(), (*blocker).into()]).await?;
    }
    Ok(())
}

const OF_TASK: &str = "
    select task_blockers.blocker_id, 
      cast(case when tasks.status in ('done', 'cancelled') then 0 else 1 end as bigint)
    from task_blockers
    join tasks on tasks.id = task_blockers.blocker_id
    where task_blockers.task_id = $1
    order by task_blockers.blocker_id";

/// A task that another one waits for, or has waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocker {
    pub id: TaskId,
    /// Whether it still holds the other one up.
    pub is_open: bool,
}

/// The blockers of a task, closed ones included.
pub async fn of_task(tx: &mut Tx, task: TaskId) -> Result<Vec<Blocker>, Refusal> {
    let mut found = Vec::new();
    for mut row in tx.query(OF_TASK, &[task.into()]).await? {
        found.push(Blocker { id: row.get()?, is_open: row.get::<i64>()? == 1 });
    }
    Ok(found)
}

const OPEN: &str = "
    select task_blockers.blocker_id
    from task_blockers
    join tasks on tasks.id = task_blockers.blocker_id
    where task_blockers.task_id = $1
      and tasks.status not in ('done', 'cancelled')
    order by task_blockers.blocker_id";

/// The blockers that still hold a task up. A cancelled one will never be done, so it holds up nothing.
pub async fn open(tx: &mut Tx, task: TaskId) -> Result<Vec<TaskId>, Refusal> {
    Ok(ids(tx, OPEN, task).await?)
}

const DEPENDENTS: &str = "
    select task_blockers.task_id
    from task_blockers
    join tasks on tasks.id = task_blockers.task_id
    where task_blockers.blocker_id = $1
      and tasks.status not in ('done', 'cancelled')
    order by task_blockers.task_id";

/// The open tasks that wait for this one.
pub(crate) async fn dependents(tx: &mut Tx, blocker: TaskId) -> Result<Vec<TaskId>, Error> {
    ids(tx, DEPENDENTS, blocker).await
}

async fn ids(tx: &mut Tx, sql: &'static str, of: TaskId) -> Result<Vec<TaskId>, Error> {
    let mut found = Vec::new();
    for mut row in tx.query(sql, &[of.into()]).await? {
        found.push(row.get()?);
    }
    Ok(found)
}
